//! What is broken in the world beside servers: machines, planes, names, backups. And how long things take while they work.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstay_plan::action::{Action, Plane};
use mainstay_plan::probe::{Address, Probe, ProbeKind, Whom};
use mainstay_plan::strategy::{Step, Strategy};
use mainstay_plan::{ComponentIx, Plan};

/// What does not work, for as long as it stands here.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    /// Instances whose machine is gone: nothing can be done to them.
    pub machines: BTreeSet<String>,
    /// Planes on which every action runs into its timeout.
    pub planes: BTreeSet<Plane>,
    /// Rungs, by component, that can't do what they are for: their backup is gone, or what they ask for is.
    pub rungs: BTreeSet<(ComponentIx, usize)>,
    /// What is prepared and gone, by place in the plan's list.
    pub prepared: BTreeSet<usize>,
    /// Names that our own traffic process does not serve do not resolve.
    pub dns: bool,
    /// Whether what fails runs into its timeout. Otherwise it fails at once.
    pub hangs: bool,
}

/// How long things take while they work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Hardly any time.
    Quick,
    /// All that the plan allows.
    Allowed,
}

const ROUND_TRIP: Duration = Duration::from_millis(2);
const SYNC: Duration = Duration::from_millis(5);
const ACTION: Duration = Duration::from_millis(20);

impl Pace {
    /// For a good answer to a probe.
    pub const fn answer(self, probe: &Probe) -> Duration {
        match self {
            Pace::Quick => ROUND_TRIP,
            Pace::Allowed => probe.timing.timeout,
        }
    }

    /// For a refusal, which needs no server.
    pub const fn refusal(self) -> Duration {
        ROUND_TRIP
    }

    /// For one sync of the journal.
    pub const fn sync(self, plan: &Plan) -> Duration {
        match self {
            Pace::Quick => SYNC,
            Pace::Allowed => plan.allowances.journal_sync,
        }
    }

    /// For a traffic process to write, swap and acknowledge a table.
    pub fn apply(self, plan: &Plan) -> Duration {
        match self {
            Pace::Quick => ROUND_TRIP + SYNC,
            Pace::Allowed => plan.allowances.route_apply,
        }
    }

    /// For a question to reach a host, and its answer to come back.
    pub fn by_host(self, plan: &Plan) -> Duration {
        match self {
            Pace::Quick => ROUND_TRIP,
            Pace::Allowed => plan.allowances.lateness,
        }
    }

    /// For an action that may take `timeout`.
    pub fn action(self, timeout: Duration) -> Duration {
        match self {
            Pace::Quick => ACTION.min(timeout),
            Pace::Allowed => timeout,
        }
    }

    /// Until an action that may take `timeout` has its effect: a quick one has it at once, and says so a little later.
    pub const fn effect(self, timeout: Duration) -> Duration {
        match self {
            Pace::Quick => Duration::ZERO,
            Pace::Allowed => timeout,
        }
    }
}

/// How a probe fares when names do not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutDns {
    Works,
    CannotAsk,
    TimesOut,
}

pub(crate) fn without_dns(plan: &Plan, probe: &Probe) -> WithoutDns {
    kind_without_dns(plan, &probe.kind)
}

fn kind_without_dns(plan: &Plan, kind: &ProbeKind) -> WithoutDns {
    match kind.whom() {
        Whom::NameServer(server) => {
            let ours = plan.dns_listen.is_some_and(|it| it.port() == server.port() && it.ip() == server.ip());
            if ours { WithoutDns::Works } else { WithoutDns::TimesOut }
        }
        Whom::Server(Address::Name { .. }) => WithoutDns::CannotAsk,
        Whom::Server(Address::Socket(_) | Address::ResolvedBy { .. }) | Whom::Machine(_) | Whom::Nobody => {
            WithoutDns::Works
        }
        Whom::Several(composite) => {
            // What can't be asked might have been good: it changes neither a good answer nor a failure, or nothing is known.
            let enough = |names| composite.enough(|it| kind_without_dns(plan, it) == names);
            let certain = enough(WithoutDns::Works) && !enough(WithoutDns::CannotAsk);
            match composite.enough(|it| kind_without_dns(plan, it) != WithoutDns::TimesOut) {
                true if certain => WithoutDns::Works,
                true => WithoutDns::CannotAsk,
                false => WithoutDns::TimesOut,
            }
        }
    }
}

impl Broken {
    /// Whether a step's action on an instance can't be done.
    pub(crate) fn breaks(
        &self,
        instance: &str,
        action: &Action,
        rung: Option<(ComponentIx, usize, Strategy)>,
        step: Option<&Step>,
    ) -> bool {
        let on_machine = match action {
            Action::Service { .. } | Action::Postgres(_) => true,
            // What the user's own command touches is known where the rung says what it is for.
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => {
                matches!(rung, Some((_, _, Strategy::FailoverToStandby)))
            }
            // It is over in its time, whatever is broken.
            Action::EndLease { .. } => return false,
        };
        let by_name = match action {
            Action::Webhook { url, .. } => url.split('/').nth(2).is_some_and(is_name),
            Action::Postgres(postgres) => matches!(postgres.server.address, Address::Name { .. }),
            Action::Service { .. } | Action::Command { .. } | Action::TriggerFile { .. } | Action::EndLease { .. } => {
                false
            }
        };
        let plane = step.map_or(action.plane(), |it| it.plane);
        self.planes.contains(&plane)
            || step.is_some_and(|it| it.needs.iter().any(|it| self.prepared.contains(it)))
            || (on_machine && self.machines.contains(instance))
            || (by_name && self.dns)
            || rung.is_some_and(|(component, rung, _)| self.rungs.contains(&(component, rung)))
    }
}

/// Whether the host of `HOST:PORT` is a name.
fn is_name(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err()
}
