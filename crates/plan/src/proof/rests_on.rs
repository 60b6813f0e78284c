//! What a recovery rests on: whatever must be there for it to work, besides the instance's own probes.

use std::fmt;
use std::time::Duration;

use super::{Said, StepAt};
use crate::backup::{KeepingJob, MEASURED_MARGIN};
use crate::config::scalar::show_duration;
use crate::location::Location;
use crate::prepared::PreparedKind;
use crate::strategy::{Precondition, StepKind};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, RouteIx};

/// One thing that a recovery rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestsOn {
    /// The agent.
    Agent,
    /// `mode: act`, which the plan does not have.
    ModeAct,
    /// A person's approval.
    Approval,
    /// The instance that takes over.
    Standby(InstanceIx),
    /// That the standby is not further behind than this.
    StandbyLag(InstanceIx, Duration),
    /// So many of this component's witnesses.
    Witnesses(ComponentIx, u32),
    /// The traffic process.
    TrafficProcess,
    /// An action.
    Action(StepAt),
    /// That an instance which comes back at another address lives where the plan says.
    ComesBackThere(InstanceIx),
    /// A service that is seen stopped.
    SeenStopped(StepAt),
    /// A host that stops what it guards when its lease is over, in time, also alone.
    LeaseEnds(StepAt),
    /// A credential or a cache entry, by place in the plan's list.
    Prepared(u32),
    /// A backup of this component, by place in its list, at one of its places.
    Backup(ComponentIx, u32, u32),
    /// A backup that the plan says nothing about.
    UnnamedBackup(StepAt),
    /// How long a restore of a series that Mainstay takes needs at most: what its tests have shown, or what the plan allows it.
    RestoreTime(StepAt, u32),
    /// A route's proxy.
    Proxy(RouteIx),
    /// Clients that ask again for a route's name.
    DnsName(RouteIx),
    /// Whoever polls a route, as the plan says.
    Poller(RouteIx),
    /// Whoever polls a route, in a time that nobody knows.
    UnknownPoller(RouteIx),
    /// A command that must need no DNS.
    CommandWithoutDns(StepAt),
    /// A probe's command that must need no DNS.
    ProbeWithoutDns(ProbeIx),
    /// That two writers are acceptable for a while.
    TwoWriters,
    /// A component that is recovered first.
    Dependency(ComponentIx),
    /// A person who does something in time.
    Person(StepAt),
    /// What must hold before the rung is tried, by place in its list.
    Precondition(Precondition),
}

impl RestsOn {
    /// The word for its kind in JSON.
    pub fn kind(&self, plan: &Plan) -> &'static str {
        match self {
            RestsOn::Agent => "agent",
            RestsOn::ModeAct => "mode",
            RestsOn::Approval => "approval",
            RestsOn::Standby(_) => "standby",
            RestsOn::StandbyLag(..) => "standby_lag",
            RestsOn::Witnesses(..) => "witnesses",
            RestsOn::TrafficProcess => "traffic_process",
            RestsOn::Action(_) => "action",
            RestsOn::ComesBackThere(_) => "place",
            RestsOn::SeenStopped(_) => "seen_stopped",
            RestsOn::LeaseEnds(_) => "lease",
            RestsOn::Prepared(at) => match plan.prepared[*at as usize].kind {
                PreparedKind::Credential => "credential",
                PreparedKind::CacheEntry { .. } => "cache_entry",
            },
            RestsOn::Backup(..) | RestsOn::UnnamedBackup(_) => "backup",
            RestsOn::RestoreTime(..) => "restore_time",
            RestsOn::Proxy(_) => "proxy",
            RestsOn::DnsName(_) => "dns_name",
            RestsOn::Poller(_) | RestsOn::UnknownPoller(_) => "poller",
            RestsOn::CommandWithoutDns(_) | RestsOn::ProbeWithoutDns(_) => "no_dns_needed",
            RestsOn::TwoWriters => "two_writers",
            RestsOn::Dependency(_) => "dependency",
            RestsOn::Person(_) => "person",
            RestsOn::Precondition(_) => "precondition",
        }
    }

    /// What the plan calls it, where it has a name there.
    pub fn name<'p>(&self, plan: &'p Plan) -> Option<&'p str> {
        match self {
            RestsOn::Standby(ix) | RestsOn::StandbyLag(ix, _) | RestsOn::ComesBackThere(ix) => {
                Some(&plan.instance(*ix).name)
            }
            RestsOn::Action(at)
            | RestsOn::SeenStopped(at)
            | RestsOn::LeaseEnds(at)
            | RestsOn::Person(at)
            | RestsOn::UnnamedBackup(at)
            | RestsOn::CommandWithoutDns(at) => Some(&at.of(plan).name),
            RestsOn::Precondition(it) => Some(it.of.name(plan)),
            RestsOn::Prepared(at) => Some(&plan.prepared[*at as usize].name),
            RestsOn::RestoreTime(step, at) => {
                let of = step.component;
                Some(&plan.component(of).backups[*at as usize].name)
            }
            RestsOn::Backup(of, at, _) => Some(&plan.component(*of).backups[*at as usize].name),
            RestsOn::Proxy(route)
            | RestsOn::DnsName(route)
            | RestsOn::Poller(route)
            | RestsOn::UnknownPoller(route) => Some(&plan.route(*route).name),
            RestsOn::ProbeWithoutDns(probe) => Some(&plan.probe(*probe).name),
            RestsOn::Dependency(on) => Some(&plan.component(*on).name),
            RestsOn::Agent
            | RestsOn::ModeAct
            | RestsOn::Approval
            | RestsOn::Witnesses(..)
            | RestsOn::TrafficProcess
            | RestsOn::TwoWriters => None,
        }
    }

    /// The failure domain that it lives in, where it has one.
    pub fn location<'p>(&self, plan: &'p Plan) -> Option<&'p Location> {
        match self {
            // Our own process for traffic runs beside the agent.
            RestsOn::Agent | RestsOn::TrafficProcess | RestsOn::Proxy(_) => Some(&plan.site.location),
            RestsOn::Standby(ix) | RestsOn::StandbyLag(ix, _) | RestsOn::ComesBackThere(ix) => {
                Some(&plan.instance(*ix).location)
            }
            RestsOn::Action(at)
            | RestsOn::SeenStopped(at)
            | RestsOn::UnnamedBackup(at)
            | RestsOn::CommandWithoutDns(at) => match &at.of(plan).kind {
                StepKind::Act { on, .. } => Some(&plan.instance(*on).location),
                StepKind::Stop { from, .. } => Some(&plan.instance(*from).location),
                StepKind::CutTraffic { .. }
                | StepKind::EndLease { .. }
                | StepKind::Manual { .. }
                | StepKind::CatchUp { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. } => None,
            },
            RestsOn::Prepared(at) => Some(&plan.prepared[*at as usize].location),
            RestsOn::Backup(of, at, place) => {
                plan.component(*of).backups[*at as usize].places().nth(*place as usize).map(|(location, _)| location)
            }
            RestsOn::Dependency(on) => Some(&plan.instance(plan.component(*on).original()).location),
            // A host that is lost does nothing any more: the time alone is waited for.
            RestsOn::LeaseEnds(_)
            | RestsOn::RestoreTime(..)
            | RestsOn::ModeAct
            | RestsOn::Approval
            | RestsOn::Person(_)
            | RestsOn::Precondition(_)
            | RestsOn::Witnesses(..)
            | RestsOn::DnsName(_)
            | RestsOn::Poller(_)
            | RestsOn::UnknownPoller(_)
            | RestsOn::ProbeWithoutDns(_)
            | RestsOn::TwoWriters => None,
        }
    }

    /// In the plan's names.
    pub fn said<'a>(&'a self, plan: &'a Plan) -> Said<'a, RestsOn> {
        Said { plan, it: self }
    }
}

fn whole_seconds(it: Duration) -> Duration {
    Duration::from_secs(it.as_secs())
}

impl fmt::Display for Said<'_, RestsOn> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.plan;
        match self.it {
            RestsOn::Agent => write!(f, "the agent on {}", plan.site.location),
            RestsOn::ModeAct => f.write_str("`mode: act`: as it stands, the plan only observes"),
            RestsOn::Approval => f.write_str("a person's approval, which the worst case does not count"),
            RestsOn::Standby(ix) => {
                let it = plan.instance(*ix);
                write!(f, "standby {} in {}, {}", it.name, it.location, it.temperature.word())
            }
            RestsOn::StandbyLag(ix, most) => {
                write!(f, "{} being at most {} behind", plan.instance(*ix).name, show_duration(*most))
            }
            RestsOn::Witnesses(of, need) => {
                let names = plan.component(*of).witnesses.of.iter().map(|it| plan.witness(*it).name.as_str());
                write!(f, "{need} of the witnesses {}", names.collect::<Vec<_>>().join(", "))
            }
            RestsOn::TrafficProcess => f.write_str("the traffic process, which confirms the cut"),
            RestsOn::Action(at) => write!(f, "{} ({})", at.of(plan).name, at.of(plan).plane.word()),
            RestsOn::ComesBackThere(ix) => {
                let it = plan.instance(*ix);
                write!(f, "{} being in {}, whatever address it comes back at", it.name, it.location)
            }
            RestsOn::SeenStopped(at) => match &at.of(plan).kind {
                StepKind::Stop { service, .. } => write!(f, "{}, seen stopped on its host", service.label()),
                StepKind::Act { .. }
                | StepKind::CutTraffic { .. }
                | StepKind::EndLease { .. }
                | StepKind::Manual { .. }
                | StepKind::CatchUp { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. } => f.write_str(&at.of(plan).name),
            },
            RestsOn::LeaseEnds(at) => {
                let from = plan.instance(at.from);
                let host = from.location.host.as_deref().unwrap_or("its host");
                let term = show_duration(plan.lease_term().unwrap_or_default());
                write!(f, "{host} stopping {} when its lease ends, which takes {term} at most", from.name)
            }
            RestsOn::Person(at) => match &at.of(plan).kind {
                StepKind::Manual { ask, .. } => {
                    write!(f, "a person within {}: {ask}", show_duration(at.of(plan).timeout))
                }
                StepKind::Act { .. }
                | StepKind::Stop { .. }
                | StepKind::EndLease { .. }
                | StepKind::CatchUp { .. }
                | StepKind::CutTraffic { .. }
                | StepKind::TakeOver { .. }
                | StepKind::Verify { .. } => f.write_str(&at.of(plan).name),
            },
            RestsOn::Precondition(it) => write!(f, "{} being {}", it.of.name(plan), it.health.word()),
            RestsOn::Prepared(at) => {
                let it = &plan.prepared[*at as usize];
                write!(f, "{} {} in {}", it.kind.word(), it.name, it.location)?;
                match it.kind {
                    PreparedKind::CacheEntry { max_age } => {
                        write!(f, ", not older than {}", show_duration(max_age))
                    }
                    PreparedKind::Credential => Ok(()),
                }
            }
            RestsOn::Backup(of, at, place) => {
                let backup = &plan.component(*of).backups[*at as usize];
                match backup.places().nth(*place as usize) {
                    Some((location, loss)) => {
                        write!(f, "backup {} in {location}, up to {} old", backup.name, show_duration(loss))
                    }
                    None => write!(f, "backup {}", backup.name),
                }
            }
            RestsOn::RestoreTime(step, at) => {
                let backup = &plan.component(step.component).backups[*at as usize];
                match backup.measured.and_then(|it| it.good) {
                    None => {
                        let allowed = show_duration(step.of(plan).timeout);
                        write!(
                            f,
                            "restoring {} within {allowed}, which is assumed: no restore test says it",
                            backup.name
                        )
                    }
                    Some((longest, age)) => {
                        let (longest, within) = (show_duration(longest), show_duration(longest * MEASURED_MARGIN));
                        write!(
                            f,
                            "restoring {} within {within}, {MEASURED_MARGIN} times the {longest} that were measured",
                            backup.name
                        )?;
                        match backup.overdue_after(KeepingJob::RestoreTest).filter(|it| age > *it) {
                            Some(_) => write!(f, ", and that is {} old", show_duration(whole_seconds(age))),
                            None => Ok(()),
                        }
                    }
                }
            }
            RestsOn::UnnamedBackup(at) => {
                write!(f, "a backup for `{}`, of which the plan says nothing", at.of(plan).name)
            }
            RestsOn::Proxy(route) => {
                let it = plan.route(*route);
                match &it.proxy {
                    Some(proxy) => write!(f, "the proxy of {} at {}", it.name, proxy.listen),
                    None => write!(f, "the proxy of {}", it.name),
                }
            }
            RestsOn::DnsName(route) => {
                let it = plan.route(*route);
                let name = it.dns.as_ref().map_or(it.name.as_str(), |it| &it.name);
                write!(f, "clients that ask again for {name} after its TTL")
            }
            RestsOn::Poller(route) => {
                let it = plan.route(*route);
                match it.polled {
                    Some(poll) => write!(
                        f,
                        "whoever polls {} doing so every {}, and believing {} answers in a row",
                        it.name,
                        show_duration(poll.every),
                        poll.threshold
                    ),
                    None => write!(f, "whoever polls {}", it.name),
                }
            }
            RestsOn::UnknownPoller(route) => {
                write!(f, "whoever polls {}, whose time the worst case does not count", plan.route(*route).name)
            }
            RestsOn::CommandWithoutDns(at) => write!(f, "`{}` needing no DNS", at.of(plan).name),
            RestsOn::ProbeWithoutDns(probe) => write!(f, "`{}` needing no DNS", plan.probe(*probe).name),
            RestsOn::TwoWriters => f.write_str("two writers being acceptable for a while"),
            RestsOn::Dependency(on) => write!(f, "{}, which is recovered first", plan.component(*on).name),
        }
    }
}
