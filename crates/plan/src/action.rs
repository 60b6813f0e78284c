//! Actions, and the plane that each of them runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::SeriesSeen;
use crate::postgres::{PostgresAction, PostgresFiles};

/// Which part of the world an operation needs to work. A recovery path is only as good as the worst plane on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// This host, or our own agents.
    Local,
    /// A service's data plane.
    Data,
    /// A control made for recovery and run as a data plane: ARC routing control, zonal shift.
    RecoveryControl,
    /// The service does it by itself; we only watch.
    ServiceRun,
    /// A regional control plane.
    RegionalControl,
    /// A control plane that is pinned to one region for the whole world.
    GlobalControl,
}

impl Plane {
    /// All of them, the safest first.
    pub const ALL: [Plane; 6] = [
        Plane::Local,
        Plane::Data,
        Plane::RecoveryControl,
        Plane::ServiceRun,
        Plane::RegionalControl,
        Plane::GlobalControl,
    ];

    /// The word for it in YAML, in the journal and on the screen.
    pub const fn word(self) -> &'static str {
        match self {
            Plane::Local => "local",
            Plane::Data => "data",
            Plane::RecoveryControl => "recovery_control",
            Plane::ServiceRun => "service_run",
            Plane::RegionalControl => "regional_control",
            Plane::GlobalControl => "global_control",
        }
    }

    /// Whether it is a control plane, which may be gone exactly when everybody recovers.
    pub const fn is_control(self) -> bool {
        match self {
            Plane::RegionalControl | Plane::GlobalControl => true,
            Plane::Local | Plane::Data | Plane::RecoveryControl | Plane::ServiceRun => false,
        }
    }
}

/// Something that is done to the world. A closed list: the host matches it to call a provider, the simulator matches the
/// same one. [`Action::Command`] is the user's extension point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start, stop, restart or kill a service on a host where Mainstay has hands.
    Service {
        /// What to do.
        op: ServiceOp,
        /// To which service.
        service: Service,
    },
    /// Run a command; it succeeded when it exits with 0.
    Command {
        /// The program and its arguments; no shell.
        argv: Vec<String>,
        /// Added to the agent's environment.
        env: BTreeMap<String, String>,
        /// What it needs to work, as its author states.
        plane: Plane,
        /// Whether running it twice with one idempotency key does no more than running it once.
        idempotent: bool,
        /// Whether the last line of its output is the address at which the instance is from then on.
        reports_address: bool,
    },
    /// Write a file that something else waits for (a promotion trigger, a maintenance page switch).
    TriggerFile {
        /// Which file; it is written beside and renamed, so that nobody sees half of it.
        path: PathBuf,
        /// What it holds.
        content: String,
    },
    /// Send an HTTP request; it succeeded when the answer is 200 to 299.
    Webhook {
        /// `http://` or `https://`.
        url: String,
        /// For example `POST`.
        method: String,
        /// Headers beside `Idempotency-Key`.
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
        /// What it needs to work, as its author states.
        plane: Plane,
        /// Whether the callee honours `Idempotency-Key`.
        idempotent: bool,
        /// Header of the answer that carries the address at which the instance is from then on.
        address_header: Option<String>,
    },
    /// Do something to a PostgreSQL server over its own protocol.
    Postgres(Box<PostgresAction>),
    /// End the lease of an instance: done when its host says that what it guards is stopped or demoted, or when nothing that
    /// was granted to it can last any more.
    EndLease {
        /// The component whose lease it is.
        component: String,
    },
}

impl Action {
    /// The plane that it runs on.
    pub const fn plane(&self) -> Plane {
        match self {
            Action::Service { .. } | Action::TriggerFile { .. } | Action::EndLease { .. } => Plane::Local,
            Action::Postgres(postgres) if postgres.op.is_of_one_machine() => Plane::Local,
            Action::Postgres(_) => Plane::Data,
            Action::Command { plane, .. } | Action::Webhook { plane, .. } => *plane,
        }
    }

    /// Whether doing it again does no harm. Starting what runs, stopping what is stopped and writing the same file again
    /// change nothing, and neither does promoting a primary; commands and webhooks say so themselves.
    pub const fn is_idempotent(&self) -> bool {
        match self {
            Action::Service { .. } | Action::TriggerFile { .. } | Action::Postgres(_) | Action::EndLease { .. } => true,
            Action::Command { idempotent, .. } | Action::Webhook { idempotent, .. } => *idempotent,
        }
    }

    /// Whether what it leads to can be seen afterwards by somebody who was not there when it was done. Whether something was
    /// restarted can't: it runs, before and after.
    pub const fn can_be_seen(&self) -> bool {
        match self {
            Action::Service { op: ServiceOp::Restart, .. } => false,
            Action::Service { op: ServiceOp::Start | ServiceOp::Stop | ServiceOp::Kill, service } => {
                service.can_be_seen()
            }
            Action::TriggerFile { .. } => true,
            Action::Command { .. } | Action::Webhook { .. } | Action::Postgres(_) | Action::EndLease { .. } => false,
        }
    }

    /// Whether the instance may be at another address once it is done: it ends as [`Outcome::DoneAt`].
    pub const fn reports_address(&self) -> bool {
        match self {
            Action::Command { reports_address, .. } => *reports_address,
            Action::Webhook { address_header, .. } => address_header.is_some(),
            Action::Service { .. } | Action::TriggerFile { .. } | Action::Postgres(_) | Action::EndLease { .. } => {
                false
            }
        }
    }

    /// Whether it is done on the machine of its instance, so that the host there does it.
    pub const fn is_of_one_machine(&self) -> bool {
        match self {
            Action::Service { .. } | Action::Command { .. } | Action::TriggerFile { .. } => true,
            // The agent keeps the leases, and says nothing to a host that can't be lost on the way.
            Action::Postgres(postgres) => postgres.op.is_of_one_machine(),
            Action::Webhook { .. } | Action::EndLease { .. } => false,
        }
    }
}

/// The address that whoever brought an instance somewhere says: one IP address, without a port, and nothing else.
///
/// # Errors
/// What was read instead. It is quoted only where it looks like an address: anything else may be a secret.
pub fn read_address(text: Option<&str>) -> Result<IpAddr, String> {
    let Some(text) = text.map(str::trim).filter(|it| !it.is_empty()) else {
        return Err("it said no address, so nobody knows where the instance is".to_owned());
    };
    let usable = |it: &IpAddr| !it.is_unspecified() && !it.is_multicast();
    if let Some(address) = text.parse().ok().filter(usable) {
        return Ok(address);
    }
    let of_addresses = |it: char| it.is_ascii_hexdigit() || ".:/%[], ".contains(it);
    let looks_like_one = text.len() <= LONGEST_ADDRESS && text.contains(['.', ':']) && text.chars().all(of_addresses);
    let said = match looks_like_one {
        true => format!("`{text}`"),
        false => format!("{} characters", text.chars().count()),
    };
    Err(format!("it said {said}, which is not one IP address, so nobody knows where the instance is"))
}

/// How long what looks like an address may be: an IPv6 address with a port.
const LONGEST_ADDRESS: usize = 60;

/// What can be done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceOp {
    /// Start it; done when it runs.
    Start,
    /// Stop it in order, then by force if it does not go; done when it is *seen* stopped.
    Stop,
    /// Stop it as above, then start it.
    Restart,
    /// End it by force at once; done when it is *seen* stopped.
    Kill,
}

impl ServiceOp {
    /// All of them.
    pub const ALL: [ServiceOp; 4] = [ServiceOp::Start, ServiceOp::Stop, ServiceOp::Restart, ServiceOp::Kill];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            ServiceOp::Start => "start",
            ServiceOp::Stop => "stop",
            ServiceOp::Restart => "restart",
            ServiceOp::Kill => "kill",
        }
    }
}

/// How a service is controlled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// By systemd.
    Systemd {
        /// For example `postgresql.service`.
        unit: String,
    },
    /// By commands of the user's, and by its process id where a pid file is given.
    Declared {
        /// Starts it and returns (it does not stay in the foreground).
        start: Vec<String>,
        /// Stops it; `None`: SIGTERM to the process of the pid file.
        stop: Option<Vec<String>>,
        /// Exits with 0 while it runs and with anything else when it does not; `None`: the process of the pid file.
        status: Option<Vec<String>>,
        /// The file that holds its process id.
        pid_file: Option<PathBuf>,
        /// How long an orderly stop may take before force is used.
        stop_grace: Duration,
    },
    /// By `pg_ctl`, and by the processes that work in its data directory.
    Postgres(Box<PostgresFiles>),
}

impl Service {
    /// Whether it is controlled on the machine of whoever acts, so that it must be a service of that machine. What is
    /// controlled by commands alone may be elsewhere: the commands know how to get there.
    pub const fn is_of_this_machine(&self) -> bool {
        match self {
            Service::Systemd { .. } | Service::Postgres(_) => true,
            Service::Declared { pid_file, .. } => pid_file.is_some(),
        }
    }

    /// Whether it can be told from outside whether it runs.
    pub const fn can_be_seen(&self) -> bool {
        match self {
            Service::Systemd { .. } | Service::Postgres(_) => true,
            Service::Declared { status, pid_file, .. } => status.is_some() || pid_file.is_some(),
        }
    }

    /// What a person calls it.
    pub fn label(&self) -> String {
        match self {
            Service::Systemd { unit } => unit.clone(),
            Service::Declared { start, pid_file, .. } => match pid_file {
                Some(path) => path.display().to_string(),
                None => start.join(" "),
            },
            Service::Postgres(files) => files.data.display().to_string(),
        }
    }
}

/// How an action ended, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and that was seen.
    Done,
    /// The same, and the instance is at this address from now on.
    DoneAt(IpAddr),
    /// A lease is over.
    LeaseOver(LeaseEnd),
    /// It was done, and the instance lost what it alone had.
    DoneLosing(LostWrites),
    /// A series of backups is as it should be, and this is what its folder holds.
    Kept(Box<SeriesSeen>),
    /// It was not done, or done and seen to have failed.
    Failed(String),
    /// It may or may not have been done: a timeout, a crash, an answer that never came.
    Unknown(String),
}

/// What an instance had and the new owner has not: it was taken back when the instance became a standby of that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostWrites {
    /// How much of its log, in bytes.
    pub bytes: u64,
    /// How many committed transactions, without those of our own questions.
    pub transactions: u64,
    /// When the first of them was committed and when the last, in seconds since 1970 by the instance's own clock; `None`: there is none.
    pub committed: Option<(u64, u64)>,
    /// The folder that keeps it, on the instance's machine; `None`: there is nothing to keep.
    pub kept_at: Option<PathBuf>,
}

impl fmt::Display for LostWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transactions {
            0 => write!(f, "no transaction lost")?,
            1 => write!(f, "1 transaction lost ({} bytes of log)", self.bytes)?,
            many => write!(f, "{many} transactions lost ({} bytes of log)", self.bytes)?,
        }
        self.kept_at.iter().try_for_each(|it| write!(f, ", kept in {}", it.display()))
    }
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Its host said that what it guards is stopped or demoted.
    Released,
    /// Nothing was heard, and whatever was granted is over.
    RanOut,
    /// Nothing had been granted that could have lasted.
    NotHeld,
}

impl LeaseEnd {
    /// All of them.
    pub const ALL: [LeaseEnd; 3] = [LeaseEnd::Released, LeaseEnd::RanOut, LeaseEnd::NotHeld];

    /// The word for it in the journal.
    pub const fn word(self) -> &'static str {
        match self {
            LeaseEnd::Released => "released",
            LeaseEnd::RanOut => "ran_out",
            LeaseEnd::NotHeld => "not_held",
        }
    }
}

impl Outcome {
    /// The word for it everywhere.
    pub const fn word(&self) -> &'static str {
        match self {
            Outcome::Done | Outcome::DoneAt(_) | Outcome::LeaseOver(_) | Outcome::DoneLosing(_) | Outcome::Kept(_) => {
                "done"
            }
            Outcome::Failed(_) => "failed",
            Outcome::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_read_and_nothing_else() {
        assert_eq!(read_address(Some("10.0.3.7")), Ok([10, 0, 3, 7].into()));
        assert_eq!(read_address(Some(" 2001:db8::7 ")), "2001:db8::7".parse::<IpAddr>().map_err(|_| String::new()));
        for wrong in ["10.0.3.7:5432", "10.0.3.0/24", "10.0.3.7, 10.0.3.8", "0.0.0.0", "224.0.0.1"] {
            let why = read_address(Some(wrong)).expect_err(wrong);
            assert!(why.contains(&format!("`{wrong}`")), "{why}");
        }
        for nothing in [None, Some(""), Some("  ")] {
            assert!(read_address(nothing).is_err_and(|why| why.contains("said no address")));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_quoted() {
        for secret in ["password: hunter2", "deadbeefdeadbeefdeadbeef", "10.0.3.7 is up"] {
            let why = read_address(Some(secret)).expect_err(secret);
            assert!(!why.contains(secret), "{why}");
        }
        let long = "1.".repeat(100);
        assert!(read_address(Some(&long)).is_err_and(|why| why.len() < 120));
    }
}
