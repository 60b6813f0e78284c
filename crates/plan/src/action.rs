//! Actions, and the plane that each of them runs on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Which part of the world an operation needs to work. A recovery path is only as good as the worst plane on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    },
}

impl Action {
    /// The plane that it runs on.
    pub const fn plane(&self) -> Plane {
        match self {
            Action::Service { .. } | Action::TriggerFile { .. } => Plane::Local,
            Action::Command { plane, .. } | Action::Webhook { plane, .. } => *plane,
        }
    }

    /// Whether doing it again does no harm. Starting what runs, stopping what is stopped and writing the same file again
    /// change nothing; commands and webhooks say so themselves.
    pub const fn is_idempotent(&self) -> bool {
        match self {
            Action::Service { .. } | Action::TriggerFile { .. } => true,
            Action::Command { idempotent, .. } | Action::Webhook { idempotent, .. } => *idempotent,
        }
    }
}

/// What can be done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Service {
    /// Whether it is controlled on the machine of whoever acts, so that it must be a service of that machine. What is
    /// controlled by commands alone may be elsewhere: the commands know how to get there.
    pub const fn is_of_this_machine(&self) -> bool {
        match self {
            Service::Systemd { .. } => true,
            Service::Declared { pid_file, .. } => pid_file.is_some(),
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
        }
    }
}

/// How an action ended, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and that was seen.
    Done,
    /// It was not done, or done and seen to have failed.
    Failed(String),
    /// It may or may not have been done: a timeout, a crash, an answer that never came.
    Unknown(String),
}

impl Outcome {
    /// The word for it everywhere.
    pub const fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Failed(_) => "failed",
            Outcome::Unknown(_) => "unknown",
        }
    }
}
