//! What a host may be asked to do: its own file says so, and nothing that comes over the wire can make it more.
//!
//! Both ends read it. The host refuses what is not in it; the agent sees beforehand that an order would be refused.

use std::path::{Component, Path, PathBuf};

use mainstay_plan::action::{Action, Service};
use mainstay_plan::backup::KeepingJob;
use mainstay_plan::postgres::{Keeping, PostgresOp, PostgresServer};
use mainstay_plan::probe::ProbeKind;
use serde::{Deserialize, Serialize};

/// The last word of a command that may have any further arguments.
const ANY: &str = "*";

/// What a host may be asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct May {
    /// Services that may be started and stopped.
    pub services: Vec<MayService>,
    /// Commands that may be run, each with exactly these arguments; a last `*` stands for any further ones.
    pub commands: Vec<Vec<String>>,
    /// Files that may be written, or read and sent as a secret.
    pub files: Vec<PathBuf>,
    /// Variables that a command may be given.
    pub variables: Vec<String>,
    /// Folders where series of backups are kept, and where they are restored for a look; what is below them, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<PathBuf>,
    /// Whether it may ask over the network on behalf of the agent.
    pub network: bool,
}

/// A service that may be operated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MayService {
    /// A systemd unit.
    Unit(String),
    /// The process of a pid file.
    PidFile(PathBuf),
    /// The PostgreSQL server of a data directory.
    Postgres(PathBuf),
}

impl May {
    /// Whether it may do that.
    ///
    /// # Errors
    /// What is missing in its file, as a sentence for people.
    pub fn act(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Service { service, .. } => self.service(service),
            Action::Command { argv, env, .. } => {
                self.command(argv)?;
                match env.keys().find(|it| !self.variables.contains(it)) {
                    Some(name) => Err(missing("variable", name, "may.variables")),
                    None => Ok(()),
                }
            }
            Action::TriggerFile { path, .. } => self.file(path),
            Action::Webhook { .. } if self.network => Ok(()),
            Action::Webhook { .. } => Err(no_network()),
            Action::Postgres(postgres) => match &postgres.op {
                PostgresOp::Keep(keeping) => self.keep(keeping),
                PostgresOp::Promote
                | PostgresOp::Follow { .. }
                | PostgresOp::Rejoin { .. }
                | PostgresOp::Restore { .. } => {
                    if let Some(files) = postgres.server.files.as_ref().filter(|_| postgres.op.is_of_one_machine()) {
                        self.service(&Service::Postgres(Box::new(files.clone())))?;
                    }
                    self.postgres(&postgres.server)
                }
            },
            Action::EndLease { .. } => Err("the agent ends leases, and no host".to_owned()),
        }
    }

    /// Whether it may ask that.
    ///
    /// # Errors
    /// What is missing in its file, as a sentence for people.
    pub fn ask(&self, probe: &ProbeKind) -> Result<(), String> {
        match probe {
            ProbeKind::Command { argv, .. } => self.command(argv),
            ProbeKind::Process { .. } | ProbeKind::FileFreshness { .. } | ProbeKind::Disk(_) => Ok(()),
            ProbeKind::Heartbeat { .. } => Err("jobs call the agent, and no host".to_owned()),
            ProbeKind::Composite(composite) => composite.of.iter().try_for_each(|it| self.ask(it)),
            ProbeKind::Http(http) => match &http.auth {
                Some(auth) if self.network => self.file(auth.file()),
                Some(_) | None => self.over_network(),
            },
            ProbeKind::Postgres(postgres) => self.postgres(&postgres.server),
            ProbeKind::Tcp { .. }
            | ProbeKind::Tls(_)
            | ProbeKind::Dns { .. }
            | ProbeKind::Grpc(_)
            | ProbeKind::Udp(_)
            | ProbeKind::Icmp { .. } => self.over_network(),
        }
    }

    /// All of it, in words.
    pub fn sentences(&self) -> Vec<String> {
        let services = self.services.iter().map(|it| match it {
            MayService::Unit(unit) => format!("service {unit}"),
            MayService::PidFile(path) => format!("process of {}", path.display()),
            MayService::Postgres(data) => format!("PostgreSQL in {}", data.display()),
        });
        let commands = self.commands.iter().map(|it| format!("command {}", it.join(" ")));
        let files = self.files.iter().map(|it| format!("file {}", it.display()));
        let backups = self.backups.iter().map(|it| format!("backups in {}", it.display()));
        let network = self.network.then(|| "ask over the network".to_owned());
        services.chain(commands).chain(files).chain(backups).chain(network).collect()
    }

    fn service(&self, service: &Service) -> Result<(), String> {
        let has = |of: &MayService| self.services.contains(of);
        match service {
            Service::Systemd { unit } if has(&MayService::Unit(unit.clone())) => Ok(()),
            Service::Systemd { unit } => Err(missing("unit", unit, "may.services")),
            Service::Postgres(files) if has(&MayService::Postgres(files.data.clone())) => Ok(()),
            Service::Postgres(files) => {
                Err(missing("PostgreSQL server", &files.data.display().to_string(), "may.services"))
            }
            Service::Declared { start, stop, status, pid_file, stop_grace: _ } => {
                [Some(start), stop.as_ref(), status.as_ref()]
                    .into_iter()
                    .flatten()
                    .try_for_each(|it| self.command(it))?;
                match pid_file {
                    Some(path) if !has(&MayService::PidFile(path.clone())) => {
                        Err(missing("pid file", &path.display().to_string(), "may.services"))
                    }
                    Some(_) | None => Ok(()),
                }
            }
        }
    }

    fn postgres(&self, server: &PostgresServer) -> Result<(), String> {
        self.over_network()?;
        server.password.as_ref().map_or(Ok(()), |it| self.file(it.file()))
    }

    fn command(&self, argv: &[String]) -> Result<(), String> {
        let is = |may: &Vec<String>| match may.split_last() {
            Some((last, before)) if last == ANY && !before.is_empty() => argv.starts_with(before),
            Some(_) => argv == may,
            None => false,
        };
        if self.commands.iter().any(is) { Ok(()) } else { Err(missing("command", &argv.join(" "), "may.commands")) }
    }

    fn file(&self, path: &Path) -> Result<(), String> {
        let has = self.files.iter().any(|it| it == path);
        if has { Ok(()) } else { Err(missing("file", &path.display().to_string(), "may.files")) }
    }

    fn keep(&self, keeping: &Keeping) -> Result<(), String> {
        self.backups(&keeping.series.folder)?;
        match keeping.job {
            KeepingJob::Backup => {
                keeping.servers.iter().try_for_each(|it| self.postgres(it))?;
                keeping.series.buckets.iter().try_for_each(|it| self.file(it))
            }
            KeepingJob::RestoreTest => self.backups(&keeping.series.scratch),
        }
    }

    fn backups(&self, path: &Path) -> Result<(), String> {
        // Each part as it is written: `..` leads elsewhere.
        let is_plain = path.components().all(|it| !matches!(it, Component::ParentDir));
        if is_plain && self.backups.iter().any(|it| path.starts_with(it)) {
            return Ok(());
        }
        Err(missing("folder", &path.display().to_string(), "may.backups"))
    }

    fn over_network(&self) -> Result<(), String> {
        if self.network { Ok(()) } else { Err(no_network()) }
    }
}

fn missing(what: &str, which: &str, list: &str) -> String {
    format!("{what} `{which}` is not in `{list}` of the host's file")
}

fn no_network() -> String {
    "`may.network` of the host's file is not true".to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use mainstay_plan::action::{Plane, ServiceOp};
    use mainstay_plan::backup::TakenBy;
    use mainstay_plan::postgres::{Password, PostgresAction, PostgresBackup};
    use mainstay_plan::probe::{Address, HttpAuth, HttpProbe};

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn may() -> May {
        May {
            services: vec![MayService::Unit("db.service".to_owned()), MayService::PidFile("/run/db.pid".into())],
            commands: vec![words("/bin/promote db"), words("/bin/check *"), words("*"), Vec::new()],
            files: vec!["/var/promote".into()],
            variables: vec!["PGHOST".to_owned()],
            backups: Vec::new(),
            network: false,
        }
    }

    fn command(argv: &str, variable: Option<&str>) -> Action {
        let env: BTreeMap<_, _> = variable.map(|it| (it.to_owned(), String::new())).into_iter().collect();
        Action::Command { argv: words(argv), env, plane: Plane::Local, idempotent: true, reports_address: false }
    }

    fn service(service: Service) -> Action {
        Action::Service { op: ServiceOp::Kill, service }
    }

    fn declared(start: &str, pid_file: &str) -> Action {
        service(Service::Declared {
            start: words(start),
            stop: None,
            status: None,
            pid_file: Some(pid_file.into()),
            stop_grace: Duration::ZERO,
        })
    }

    #[test]
    fn what_is_listed_may_be_done() {
        let trigger = Action::TriggerFile { path: "/var/promote".into(), content: "now".to_owned() };
        let unit = service(Service::Systemd { unit: "db.service".to_owned() });
        for action in [
            command("/bin/promote db", None),
            command("/bin/promote db", Some("PGHOST")),
            command("/bin/check any thing", None),
            command("/bin/check", None),
            unit,
            declared("/bin/promote db", "/run/db.pid"),
            trigger,
        ] {
            assert_eq!(may().act(&action), Ok(()), "{action:?}");
        }
    }

    fn keep(job: KeepingJob, folder: &str, scratch: &str) -> Action {
        let address = Address::Socket(([127, 0, 0, 1], 5432).into());
        let server = PostgresServer {
            address,
            user: "mainstay".to_owned(),
            database: "orders".to_owned(),
            password: Some(Password::File("/etc/mainstay/password".into())),
            tls: None,
            files: None,
            follow: None,
            synchronous: None,
        };
        let series = PostgresBackup {
            folder: folder.into(),
            bin: None,
            run_as: None,
            scratch: scratch.into(),
            check: None,
            database: "orders".to_owned(),
            taken_by: TakenBy::Agent,
            buckets: Vec::new(),
        };
        let day = Duration::from_secs(86400);
        let keeping = Keeping { job, series, every: day, keep: day, servers: vec![server.clone()] };
        Action::Postgres(Box::new(PostgresAction { server, op: PostgresOp::Keep(Box::new(keeping)) }))
    }

    #[test]
    fn a_series_is_kept_where_its_folders_are_listed() {
        let listed = May {
            backups: vec!["/srv/backups/orders".into(), "/srv/scratch".into()],
            files: vec!["/etc/mainstay/password".into()],
            network: true,
            ..May::default()
        };
        let (backup, test) = (KeepingJob::Backup, KeepingJob::RestoreTest);
        for (job, folder, scratch) in [
            (backup, "/srv/backups/orders", "/anywhere"),
            (backup, "/srv/backups/orders/nightly", "/anywhere"),
            (test, "/srv/backups/orders", "/srv/backups/orders/restored"),
            (test, "/srv/backups/orders", "/srv/scratch/orders"),
        ] {
            assert_eq!(listed.act(&keep(job, folder, scratch)), Ok(()), "{job} {folder} {scratch}");
        }
        for (job, folder, scratch) in [
            (backup, "/srv/backups/orders-b", "/srv/scratch"),
            (backup, "/srv/backups/orders/../other", "/srv/scratch"),
            (test, "/srv/backups/orders", "/var/lib/postgresql"),
            (test, "/srv/backups/orders", "/srv/scratch/../../etc"),
        ] {
            let why = listed.act(&keep(job, folder, scratch));
            assert!(why.is_err_and(|it| it.contains("may.backups")), "{job} {folder} {scratch}");
        }
        let silent = May { network: false, ..listed.clone() };
        let at = "/srv/backups/orders";
        assert!(silent.act(&keep(backup, at, at)).is_err_and(|it| it.contains("may.network")));
        assert_eq!(silent.act(&keep(test, at, at)), Ok(()), "what is restored asks nobody");
        let poor = May { files: Vec::new(), ..listed.clone() };
        assert!(poor.act(&keep(backup, at, at)).is_err_and(|it| it.contains("may.files")));
        let mut copied = keep(backup, at, at);
        if let Action::Postgres(postgres) = &mut copied
            && let PostgresOp::Keep(keeping) = &mut postgres.op
        {
            keeping.series.buckets = vec!["/etc/mainstay/bucket".into()];
        }
        assert!(listed.act(&copied).is_err_and(|it| it.contains("/etc/mainstay/bucket") && it.contains("may.files")));
    }

    #[test]
    fn nothing_else_may() {
        let trigger = Action::TriggerFile { path: "/var/../var/promote".into(), content: String::new() };
        let unit = service(Service::Systemd { unit: "sshd.service".to_owned() });
        for action in [
            command("/bin/promote db now", None),
            command("/bin/promote", None),
            command("/bin/sh -c id", None),
            command("/bin/promote db", Some("LD_PRELOAD")),
            unit,
            declared("/bin/promote db", "/run/sshd.pid"),
            declared("/bin/sh", "/run/db.pid"),
            trigger,
        ] {
            assert!(may().act(&action).is_err_and(|it| it.contains("of the host's file")), "{action:?}");
        }
        assert!(May::default().act(&command("", None)).is_err());
    }

    #[test]
    fn a_probe_reads_no_secret_and_scans_no_network_that_is_not_listed() {
        let address = Address::Socket(([127, 0, 0, 1], 80).into());
        let tcp = ProbeKind::Tcp { address: address.clone() };
        assert!(may().ask(&tcp).is_err_and(|it| it.contains("may.network")));
        let network = May { network: true, ..may() };
        assert_eq!(network.ask(&tcp), Ok(()));
        let mut http = HttpProbe::get(address, "here", "/");
        http.auth = Some(HttpAuth::Bearer { file: "/etc/shadow".into() });
        assert!(network.ask(&ProbeKind::Http(Box::new(http))).is_err_and(|it| it.contains("may.files")));
    }
}
