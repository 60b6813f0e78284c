//! PostgreSQL servers, as far as a plan has to know them: how they are reached, where their files are, how others follow them.
//!
//! Nothing that decides knows PostgreSQL. What is asked of it and done to it are a probe and an action like all others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::{KeepingJob, TakenBy};
use crate::probe::Address;

/// A PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresServer {
    /// Where it listens.
    pub address: Address,
    /// The role that Mainstay logs in as.
    pub user: String,
    /// The database that it logs in to.
    pub database: String,
    /// Where the password is; `None`: the server asks for none.
    pub password: Option<Password>,
    /// Whether TLS is demanded, and who is trusted then; `None`: no TLS.
    pub tls: Option<PostgresTls>,
    /// Its files, where the plan says where they are.
    pub files: Option<PostgresFiles>,
    /// How other servers follow it.
    pub follow: Option<PostgresFollow>,
    /// What `synchronous_standby_names` is to be while it is the primary; `None`: as its own configuration has it.
    #[serde(default)]
    pub synchronous: Option<String>,
}

impl PostgresServer {
    /// The same at another address: the port stays, and so does the name in the certificate.
    pub fn at(&self, ip: std::net::IpAddr) -> PostgresServer {
        let address = Address::Socket(std::net::SocketAddr::new(ip, self.address.port()));
        PostgresServer { address, ..self.clone() }
    }
}

/// A file that holds a password. What is in it is read when it is used, and never kept in a plan, a journal or a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Password {
    /// Nothing else is in it.
    File(PathBuf),
    /// Lines of `host:port:database:user:password`, as libpq reads them.
    Passfile(PathBuf),
}

impl Password {
    /// Which file.
    pub fn file(&self) -> &Path {
        match self {
            Password::File(file) | Password::Passfile(file) => file,
        }
    }
}

/// Whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresTls {
    /// File with PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must carry.
    pub name: String,
}

/// What works on a server's files, on its machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresFiles {
    /// The data directory.
    pub data: PathBuf,
    /// Where `pg_ctl` and its siblings are; `None`: on the path of whoever runs them.
    pub bin: Option<PathBuf>,
    /// Its `postgresql.conf`, where that is not in the data directory.
    pub config_file: Option<PathBuf>,
    /// The system's user that they run as; `None`: who runs Mainstay there.
    pub run_as: Option<String>,
    /// How long an orderly stop may take before force is used.
    pub stop_grace: Duration,
}

impl PostgresFiles {
    /// A program of this server's version with its arguments, run as its user.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Vec<String> {
        let program = self.bin.as_ref().map_or(program.to_owned(), |it| it.join(program).display().to_string());
        let as_user = self.run_as.iter().flat_map(|it| ["runuser", "-u", it, "--"]);
        as_user.map(str::to_owned).chain([program]).chain(arguments.iter().map(|it| (*it).to_owned())).collect()
    }

    /// Where packages put the programs of the server whose data directory that is; `None`: it does not say its version.
    pub fn usual_bin(data: &Path) -> Option<PathBuf> {
        let is_version = |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
        let under = |root: &str| data.strip_prefix(root).ok()?.iter().next()?.to_str().filter(is_version);
        if let Some(version) = under("/var/lib/postgresql") {
            return Some(format!("/usr/lib/postgresql/{version}/bin").into());
        }
        under("/var/lib/pgsql").map(|version| format!("/usr/pgsql-{version}/bin").into())
    }
}

/// How other servers follow one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresFollow {
    /// The role that they log in as; it has the attribute `REPLICATION`.
    pub user: String,
    /// A passfile on the machine of whoever follows; `None`: as it follows now, or libpq's own.
    pub passfile: Option<PathBuf>,
}

/// How a series of backups of a PostgreSQL server is taken and restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresBackup {
    /// The folder of the series, on the machine where it is kept.
    pub folder: PathBuf,
    /// Where PostgreSQL's programs are there; `None`: on the path of whoever runs them.
    pub bin: Option<PathBuf>,
    /// The system's user that they run as, to whom the folder belongs; `None`: who runs Mainstay there.
    pub run_as: Option<String>,
    /// A folder on that machine where backups are restored for a look.
    pub scratch: PathBuf,
    /// A statement that gives `true` where a restored server holds what it should.
    pub check: Option<String>,
    /// The database in which that is asked.
    pub database: String,
    /// Who begins it.
    #[serde(default, skip_serializing_if = "TakenBy::is_agent")]
    pub taken_by: TakenBy,
    /// The files, on that machine, of the buckets that it is copied to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<PathBuf>,
}

impl PostgresBackup {
    /// A server's data directory that works with this series' programs.
    pub fn files(&self, data: PathBuf) -> PostgresFiles {
        PostgresFiles {
            data,
            bin: self.bin.clone(),
            config_file: None,
            run_as: self.run_as.clone(),
            stop_grace: STOP_OF_COPIES,
        }
    }
}

/// How long a restored server that was only looked at may take to stop before force is used.
const STOP_OF_COPIES: Duration = Duration::from_secs(10);

/// What is asked of a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresProbe {
    /// Which server.
    pub server: PostgresServer,
    /// Whether a primary has to show that it can write.
    pub writes: bool,
    /// Whether a standby is a wrong answer: whoever serves a route takes writes.
    pub only_primary: bool,
}

/// What is done to a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresAction {
    /// To which server.
    pub server: PostgresServer,
    /// What.
    pub op: PostgresOp,
}

/// What can be done to a PostgreSQL server. All of it may be done twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresOp {
    /// Make it a primary; done when it is seen to take writes.
    Promote,
    /// Let a standby follow another server; done when it is seen to stream from there.
    Follow {
        /// Whom.
        leader: Box<PostgresServer>,
    },
    /// Make it a standby of another server, whatever it is; done when it is seen to stream from there.
    Rejoin {
        /// Of whom.
        leader: Box<PostgresServer>,
        /// How.
        #[serde(default)]
        how: RejoinHow,
    },
    /// Put what a series of backups holds up to the end of its archive in the place of its data, which is kept beside; done when
    /// it was started there.
    Restore {
        /// From which series.
        series: Box<PostgresBackup>,
    },
    /// Do what a series of its backups needs, where that is due by what is in its folder; done on the machine of the folder, and ends
    /// as [`Outcome::Kept`](crate::action::Outcome::Kept).
    Keep(Box<Keeping>),
}

/// What a series of backups needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// What.
    pub job: KeepingJob,
    /// Of which series.
    pub series: PostgresBackup,
    /// It is due so long after the last one.
    pub every: Duration,
    /// How long backups are kept.
    pub keep: Duration,
    /// Whom a backup may be copied from: of these one is chosen when it is taken.
    #[serde(default)]
    pub servers: Vec<PostgresServer>,
}

/// How a server becomes a standby of another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinHow {
    /// When its data is replaced by a fresh copy of the other's.
    pub copy: FreshCopy,
    /// What becomes of the data that was replaced.
    pub old_data: OldData,
}

/// When a server's data is replaced by a fresh copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreshCopy {
    /// It is rewound, or stays stopped.
    #[default]
    Never,
    /// When it can't be rewound, or the other one does not keep what it missed any more.
    WhenNeeded,
    /// It is never rewound.
    Always,
}

impl FreshCopy {
    /// All of them.
    pub const ALL: [FreshCopy; 3] = [FreshCopy::Never, FreshCopy::WhenNeeded, FreshCopy::Always];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            FreshCopy::Never => "never",
            FreshCopy::WhenNeeded => "when_needed",
            FreshCopy::Always => "always",
        }
    }
}

/// What becomes of data that was replaced by a fresh copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldData {
    /// It lies beside, under another name.
    #[default]
    Keep,
    /// It is removed once the server is seen to stream.
    Remove,
}

impl OldData {
    /// All of them.
    pub const ALL: [OldData; 2] = [OldData::Keep, OldData::Remove];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            OldData::Keep => "keep",
            OldData::Remove => "remove",
        }
    }
}

impl PostgresOp {
    /// Whether it works on files, so that it is done on the server's own machine.
    pub const fn is_of_one_machine(&self) -> bool {
        match self {
            PostgresOp::Rejoin { .. } | PostgresOp::Restore { .. } | PostgresOp::Keep(_) => true,
            PostgresOp::Promote | PostgresOp::Follow { .. } => false,
        }
    }

    /// The word for it in YAML and on the screen.
    pub const fn word(&self) -> &'static str {
        match self {
            PostgresOp::Promote => "promote",
            PostgresOp::Follow { .. } => "follow",
            PostgresOp::Rejoin { .. } => "rejoin",
            PostgresOp::Restore { .. } => "restore",
            PostgresOp::Keep(keeping) => keeping.job.word(),
        }
    }
}

impl PostgresAction {
    /// What a person calls it.
    pub fn label(&self) -> String {
        match &self.op {
            PostgresOp::Promote => "promote".to_owned(),
            PostgresOp::Follow { leader } | PostgresOp::Rejoin { leader, .. } => {
                format!("{} {}", self.op.word(), leader.address)
            }
            PostgresOp::Restore { series } => format!("{} from {}", self.op.word(), series.folder.display()),
            PostgresOp::Keep(keeping) => format!("{} in {}", keeping.job, keeping.series.folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_where_packages_put_them() {
        let of = |data: &str| PostgresFiles::usual_bin(Path::new(data)).map(|it| it.display().to_string());
        assert_eq!(of("/var/lib/postgresql/15/main").as_deref(), Some("/usr/lib/postgresql/15/bin"));
        assert_eq!(of("/var/lib/pgsql/16/data").as_deref(), Some("/usr/pgsql-16/bin"));
        assert_eq!(of("/srv/orders"), None);
        assert_eq!(of("/var/lib/postgresql/data"), None);
    }

    #[test]
    fn programs_run_as_the_servers_user() {
        let mut files = PostgresFiles {
            data: "/srv/orders".into(),
            bin: Some("/opt/pg/bin".into()),
            config_file: None,
            run_as: Some("postgres".to_owned()),
            stop_grace: Duration::from_secs(10),
        };
        let started = files.command("pg_ctl", &["-D", "/srv/orders", "start"]);
        assert_eq!(started.join(" "), "runuser -u postgres -- /opt/pg/bin/pg_ctl -D /srv/orders start");
        files = PostgresFiles { bin: None, run_as: None, ..files };
        assert_eq!(files.command("pg_ctl", &["stop"]), ["pg_ctl", "stop"]);
    }
}
