//! The readiness checklist, answered from the plan.
//!
//! The questions are those of the *DR Readiness Checklist* in *High Availability & Disaster Recovery Architecture* (chapter
//! 46, 46.10), word for word, because that is how auditors ask them. Some are asked in the words of one cloud; `read_as` says
//! what in a plan answers them. A plan says what is meant to be, not what was done: whether a drill was run and passed
//! stands in the journal, so such lines are *no* or *not known*, never *yes*.

use serde::Serialize;

use super::proved::Verdicts;
use crate::action::Action;
use crate::component::{Component, ComponentKind, Temperature};
use crate::config::scalar::show_duration;
use crate::drill::Drill;
use crate::location::{FailureDomain, SharedKind};
use crate::policy::Mode;
use crate::route::Route;
use crate::strategy::Strategy;
use crate::{ComponentIx, Plan};

/// The five parts of the checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// `infrastructure`
    Infrastructure,
    /// `database`
    Database,
    /// `application`
    Application,
    /// `network`
    Network,
    /// `operations`
    Operations,
}

impl Group {
    /// All of them, in the order of the checklist.
    pub const ALL: [Group; 5] =
        [Group::Infrastructure, Group::Database, Group::Application, Group::Network, Group::Operations];

    /// As a heading.
    pub const fn title(self) -> &'static str {
        match self {
            Group::Infrastructure => "Infrastructure",
            Group::Database => "Database",
            Group::Application => "Application",
            Group::Network => "Network",
            Group::Operations => "Operations",
        }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The plan shows it, for everything that it is asked of.
    Yes,
    /// The plan shows that it is not so for something.
    No,
    /// The plan can't show it.
    NotKnown,
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The part that it belongs to.
    pub group: Group,
    /// The line, in the checklist's words.
    pub asks: &'static str,
    /// What in a plan answers it.
    pub read_as: &'static str,
    /// The answer.
    pub answer: Answer,
    /// By name: what shows it, what lacks it, or why it is not known.
    pub evidence: Vec<String>,
    /// What to change, where the answer is no.
    pub change: Option<&'static str>,
}

/// The whole checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// How many lines are answered yes.
    pub yes: usize,
    /// How many are answered no.
    pub no: usize,
    /// How many the plan can't answer.
    pub not_known: usize,
    /// In the order of the checklist.
    pub lines: Vec<Line>,
}

impl Readiness {
    pub(super) fn of(plan: &Plan, verdicts: &Verdicts<'_>) -> Readiness {
        let cx = Cx { plan, verdicts };
        let lines: Vec<Line> = QUESTIONS.iter().map(|it| it.answer(&cx)).collect();
        let count = |answer| lines.iter().filter(|it| it.answer == answer).count();
        Readiness { yes: count(Answer::Yes), no: count(Answer::No), not_known: count(Answer::NotKnown), lines }
    }
}

struct Cx<'a> {
    plan: &'a Plan,
    verdicts: &'a Verdicts<'a>,
}

struct Question {
    group: Group,
    asks: &'static str,
    read_as: &'static str,
    look: fn(&Cx<'_>) -> Vec<Each>,
    /// `None` where the answer is never no.
    change: Option<&'static str>,
}

/// What was found for one component, route or other thing that a line is asked of.
pub(super) enum Each {
    /// The plan shows it.
    Shown(String),
    /// The plan shows that it is not so.
    Missing(String),
    /// The plan can't show it, for this reason.
    Unclear(String),
}

impl Question {
    fn answer(&self, cx: &Cx<'_>) -> Line {
        let (answer, evidence) = answered((self.look)(cx));
        let change = self.change.filter(|_| answer == Answer::No);
        Line { group: self.group, asks: self.asks, read_as: self.read_as, answer, evidence, change }
    }
}

/// No if it is missing anywhere, not known if it is unclear anywhere or asked of nothing, yes otherwise. What decides the answer
/// stands first in the evidence.
pub(super) fn answered(all: Vec<Each>) -> (Answer, Vec<String>) {
    let (mut shown, mut missing, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for each in all {
        match each {
            Each::Shown(it) => shown.push(it),
            Each::Missing(it) => missing.push(it),
            Each::Unclear(it) => unclear.push(it),
        }
    }
    let answer = match (missing.is_empty(), unclear.is_empty(), shown.is_empty()) {
        (false, _, _) => Answer::No,
        (true, true, false) => Answer::Yes,
        (true, false, _) | (true, true, true) => Answer::NotKnown,
    };
    (answer, missing.into_iter().chain(unclear).chain(shown).collect())
}

const QUESTIONS: [Question; 20] = [
    Question {
        group: Group::Infrastructure,
        asks: "Multi-AZ deployment for all tiers",
        read_as: "each component has an instance outside the zone of its first one",
        look: multi_az,
        change: Some("add a standby in another zone, and name its zone"),
    },
    Question {
        group: Group::Infrastructure,
        asks: "Cross-region replication configured",
        read_as: "each component with an rpo has a standby in another region that reports its lag",
        look: cross_region_replication,
        change: Some("replicate to a standby in another region, and let a probe of it report the lag"),
    },
    Question {
        group: Group::Infrastructure,
        asks: "Automated backups enabled",
        read_as: "each component with an rpo has a series of backups",
        look: automated_backups,
        change: Some("state a series of backups of each component that keeps data"),
    },
    Question {
        group: Group::Infrastructure,
        asks: "Backup retention meets RPO requirements",
        read_as: "a backup of each component with an rpo loses no more than it, and is kept until the next one is complete",
        look: retention,
        change: Some(
            "back up more often or archive changes continuously, and keep a backup until the next one is complete",
        ),
    },
    Question {
        group: Group::Database,
        asks: "Multi-AZ RDS or Aurora configured",
        read_as: "each database has a running standby in another zone, and its takeover from a lost zone is proved",
        look: multi_az_databases,
        change: Some(
            "keep a warm standby of each database in another zone; `mainstay check` says what its takeover lacks",
        ),
    },
    Question {
        group: Group::Database,
        asks: "Read replicas in DR region",
        read_as: "each database has a running standby in another region that reports its lag",
        look: replicas,
        change: Some("keep a replica of each database in another region as a warm standby"),
    },
    Question {
        group: Group::Database,
        asks: "Cross-region replication tested",
        read_as: "a drill that really recovers is planned for each database with a standby in another region",
        look: replication_tested,
        change: Some("add a `component` or `full_scale` drill of each database that has a standby in another region"),
    },
    Question {
        group: Group::Database,
        asks: "Point-in-time recovery enabled",
        read_as: "each database has a backup with a continuous archive of changes",
        look: point_in_time,
        change: Some("archive changes continuously, and state how far the archive is behind"),
    },
    Question {
        group: Group::Application,
        asks: "Stateless application design",
        read_as: "each application server has no rpo, and a shared route lets any of its instances answer any client",
        look: stateless,
        change: Some("move what it keeps to a database, a cache or a file system, and leave its rpo out"),
    },
    Question {
        group: Group::Application,
        asks: "Auto Scaling configured",
        read_as: "each application server has `scale_out` on its ladder",
        look: scaling,
        change: Some("add `scale_out` to `recovery`"),
    },
    Question {
        group: Group::Application,
        asks: "Load balancer health checks",
        read_as: "each target of each route is probed, and so leaves the route when it is down",
        look: target_checks,
        change: Some("add a probe to each target"),
    },
    Question {
        group: Group::Application,
        asks: "Blue/green deployment capability",
        read_as: "nothing in a plan is about deployment",
        look: blue_green,
        change: None,
    },
    Question {
        group: Group::Network,
        asks: "Route53 health checks configured",
        read_as: "each beacon says how it is polled",
        look: polled_beacons,
        change: Some("set `beacon: true` on what Route 53 steers, and let a health check of it poll the beacon"),
    },
    Question {
        group: Group::Network,
        asks: "Failover routing policies",
        read_as: "each route has a second target to fail over to",
        look: second_targets,
        change: Some("add a standby as second target of each route"),
    },
    Question {
        group: Group::Network,
        asks: "Cross-region VPC peering",
        read_as: "nothing in a plan is about connections between regions",
        look: peering,
        change: None,
    },
    Question {
        group: Group::Network,
        asks: "VPN/Direct Connect redundancy",
        read_as: "no component has a network part that all its instances share; what they do not name can't be seen",
        look: network_redundancy,
        change: Some("give one of the instances a way that shares no part with the others"),
    },
    Question {
        group: Group::Operations,
        asks: "DR runbook documented",
        read_as: "nothing in a plan is about documents",
        look: runbook,
        change: None,
    },
    Question {
        group: Group::Operations,
        asks: "Failover automation tested",
        read_as: "a drill that really recovers is planned for each component",
        look: failover_tested,
        change: Some("add `component` or `full_scale` drills until each component is in one; run them; act by itself"),
    },
    Question {
        group: Group::Operations,
        asks: "Communication plan established",
        read_as: "somebody is told, and an escalation says who is told when nobody answers",
        look: communication,
        change: Some("add channels under `notifications`, and an escalation"),
    },
    Question {
        group: Group::Operations,
        asks: "Regular DR drills scheduled",
        read_as: "each component is in a drill that comes again",
        look: drills,
        change: Some("add drills until each component is in one"),
    },
];

/// Components of one kind; the word where the plan has none.
fn of_kind<'a>(cx: &Cx<'a>, kind: ComponentKind, look: impl Fn(ComponentIx, &'a Component) -> Each) -> Vec<Each> {
    let all = super::components(cx.plan).map(|ix| (ix, cx.plan.component(ix)));
    let found: Vec<Each> = all.filter(|(_, it)| it.kind == kind).map(|(ix, it)| look(ix, it)).collect();
    if found.is_empty() { vec![Each::Unclear(format!("the plan has no {}", kind.word()))] } else { found }
}

/// Components that keep state.
fn of_stateful<'a>(cx: &Cx<'a>, look: impl Fn(&'a Component) -> Each) -> Vec<Each> {
    let found: Vec<Each> = cx.plan.components.iter().filter(|it| it.objectives.rpo.is_some()).map(look).collect();
    if found.is_empty() {
        vec![Each::Unclear("no component states an rpo, so the plan knows of no data".to_owned())]
    } else {
        found
    }
}

/// The standbys of a component outside the failure domain around its first instance.
fn outside<'a>(
    plan: &'a Plan,
    component: &'a Component,
    domain: FailureDomain,
) -> impl Iterator<Item = &'a crate::component::Instance> {
    let home = &plan.instance(component.original()).location;
    component.instances.iter().map(|it| plan.instance(*it)).filter(move |it| !home.shares(&it.location, domain))
}

fn multi_az(cx: &Cx<'_>) -> Vec<Each> {
    let look = |ix: ComponentIx| {
        let it = cx.plan.component(ix);
        let home = cx.plan.instance(it.original());
        match outside(cx.plan, it, FailureDomain::Zone).next() {
            Some(other) => {
                let proved = cx.verdicts.verdict(ix, FailureDomain::Zone).is_ok();
                let but = if proved { "" } else { "; no recovery from a lost zone is proved, though" };
                Each::Shown(format!("{} in {}, {} in {}{but}", home.name, home.location, other.name, other.location))
            }
            None => Each::Missing(format!("{} has nothing outside {}", it.name, home.location)),
        }
    };
    super::components(cx.plan).map(look).collect()
}

fn cross_region_replication(cx: &Cx<'_>) -> Vec<Each> {
    of_stateful(cx, |it| {
        let there: Vec<_> = outside(cx.plan, it, FailureDomain::Region).collect();
        match (there.iter().find(|it| it.reports_lag), there.first()) {
            (Some(standby), _) => Each::Shown(format!("{} to {} in {}", it.name, standby.name, standby.location)),
            (None, Some(standby)) => {
                Each::Unclear(format!("{} does not report its lag, so nothing shows that it follows", standby.name))
            }
            (None, None) => Each::Missing(format!("{} has no standby in another region", it.name)),
        }
    })
}

fn automated_backups(cx: &Cx<'_>) -> Vec<Each> {
    of_stateful(cx, |it| match it.backups.as_slice() {
        [] => Each::Missing(format!("{} has no backup", it.name)),
        all => {
            let each = |backup: &crate::backup::Backup| {
                let tested = match backup.restore_test {
                    Some(every) => format!("restored as a test every {}", show_duration(every)),
                    None => "never restored as a test".to_owned(),
                };
                format!("{} every {}, {tested}", backup.name, show_duration(backup.every))
            };
            Each::Shown(format!("{}: {}", it.name, all.iter().map(each).collect::<Vec<_>>().join("; ")))
        }
    })
}

fn retention(cx: &Cx<'_>) -> Vec<Each> {
    of_stateful(cx, |it| {
        let most = it.objectives.rpo.unwrap_or_default();
        let Some(best) = it.backups.iter().min_by_key(|it| it.loss()) else {
            return Each::Missing(format!("{} has no backup", it.name));
        };
        // Until the next one is complete, this one is the newest that can be restored.
        let lasts = |it: &&crate::backup::Backup| it.keep >= it.every + it.takes + it.copy_lag;
        let meets = it.backups.iter().filter(|it| it.loss() <= most).find(lasts);
        let rpo = show_duration(most);
        match meets {
            Some(backup) => Each::Shown(format!(
                "{}: {} loses up to {}, rpo {rpo}, kept {}",
                it.name,
                backup.name,
                show_duration(backup.loss()),
                show_duration(backup.keep)
            )),
            None if best.loss() > most => {
                let loses = show_duration(best.loss());
                Each::Missing(format!("{}: {} loses up to {loses}, its rpo is {rpo}", it.name, best.name))
            }
            None => Each::Missing(format!(
                "{}: {} is kept {} and may be gone before the next one is complete",
                it.name,
                best.name,
                show_duration(best.keep)
            )),
        }
    })
}

fn multi_az_databases(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::Database, |ix, it| {
        let mut running = outside(cx.plan, it, FailureDomain::Zone).filter(|it| it.temperature != Temperature::Cold);
        match running.next() {
            None => Each::Missing(format!("{} has no running standby in another zone", it.name)),
            Some(standby) if cx.verdicts.verdict(ix, FailureDomain::Zone).is_err() => {
                Each::Missing(format!("{} is in {}, and its takeover is not proved", standby.name, standby.location))
            }
            Some(standby) => Each::Shown(format!("{}: {} in {}", it.name, standby.name, standby.location)),
        }
    })
}

fn replicas(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::Database, |_, it| {
        let there = outside(cx.plan, it, FailureDomain::Region).filter(|it| it.temperature != Temperature::Cold);
        let there: Vec<_> = there.collect();
        match (there.iter().find(|it| it.reports_lag), there.first()) {
            (Some(standby), _) => Each::Shown(format!("{}: {} in {}", it.name, standby.name, standby.location)),
            (None, Some(standby)) => Each::Unclear(format!(
                "{} does not report its lag, so nothing shows that it is a replica",
                standby.name
            )),
            (None, None) => Each::Missing(format!("{} has no running standby in another region", it.name)),
        }
    })
}

/// Drills that really recover `component`.
fn real_drills(plan: &Plan, component: ComponentIx) -> Vec<&Drill> {
    plan.drills.iter().filter(|it| it.kind.is_real() && it.components.contains(&component)).collect()
}

fn drill(it: &Drill) -> String {
    format!("{} ({}) every {}", it.name, it.kind.word(), show_duration(it.every))
}

/// Planned is not done: the journal knows whether it was.
fn planned(name: &str, drills: &[&Drill]) -> Each {
    let drills = drills.iter().map(|it| drill(it)).collect::<Vec<_>>().join(", ");
    Each::Unclear(format!("{name}: {drills} is planned; whether it was run and passed, the plan can't say"))
}

fn replication_tested(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::Database, |ix, it| {
        if outside(cx.plan, it, FailureDomain::Region).next().is_none() {
            return Each::Missing(format!("{} has no standby in another region", it.name));
        }
        match real_drills(cx.plan, ix).as_slice() {
            [] => Each::Missing(format!("{} is in no drill that really recovers", it.name)),
            drills => planned(&it.name, drills),
        }
    })
}

fn point_in_time(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::Database, |_, it| {
        let archived = it.backups.iter().find_map(|backup| Some((backup, backup.archive_lag?)));
        match archived {
            Some((backup, lag)) => {
                Each::Shown(format!("{}: archive of {}, up to {} behind", it.name, backup.name, show_duration(lag)))
            }
            None => Each::Missing(format!("{} has no backup with an archive of changes", it.name)),
        }
    })
}

fn stateless(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::ApplicationServer, |_, it| {
        if let Some(rpo) = it.objectives.rpo {
            return Each::Missing(format!("{} keeps state: it has an rpo of {}", it.name, show_duration(rpo)));
        }
        let spread = |route: &&Route| {
            let own = route.targets.iter().filter(|target| it.instances.contains(&target.instance)).count();
            route.sharing == crate::route::Sharing::Shared && own > 1
        };
        match it.routes.iter().map(|ix| cx.plan.route(*ix)).find(spread) {
            Some(route) => Each::Shown(format!("{}: no rpo; any of its instances answers on {}", it.name, route.name)),
            None => {
                Each::Unclear(format!("{} has no rpo, but no shared route spreads its clients over instances", it.name))
            }
        }
    })
}

fn scaling(cx: &Cx<'_>) -> Vec<Each> {
    of_kind(cx, ComponentKind::ApplicationServer, |_, it| {
        if it.ladder.iter().any(|rung| rung.strategy == Strategy::ScaleOut) {
            Each::Shown(format!("{}: scale_out", it.name))
        } else {
            Each::Unclear(format!("{} has no `scale_out`; a scaling group outside the plan would not show", it.name))
        }
    })
}

fn no_route() -> Vec<Each> {
    vec![Each::Unclear("the plan has no route, and does not say how clients reach it".to_owned())]
}

fn target_checks(cx: &Cx<'_>) -> Vec<Each> {
    if cx.plan.routes.is_empty() {
        return no_route();
    }
    let look = |route: &Route| {
        let instances = || route.targets.iter().map(|it| cx.plan.instance(it.instance));
        if let Some(blind) = instances().find(|it| it.probes.is_empty()) {
            return Each::Missing(format!("{}: {} has no probe", route.name, blind.name));
        }
        let tcp = |ix: &crate::ProbeIx| cx.plan.probe(*ix).kind.is_answered_by_a_kernel();
        let shallow = instances().find(|it| it.probes.iter().all(tcp));
        let but = shallow
            .map(|it| format!("; {} by TCP connections or ICMP only, where a hanging server looks healthy", it.name));
        let targets = route.targets.len();
        Each::Shown(format!("{}: {targets} of {targets} targets probed{}", route.name, but.unwrap_or_default()))
    };
    cx.plan.routes.iter().map(look).collect()
}

fn blue_green(cx: &Cx<'_>) -> Vec<Each> {
    let several: Vec<&str> =
        cx.plan.routes.iter().filter(|it| it.targets.len() > 1).map(|it| it.name.as_str()).collect();
    let could = match several.as_slice() {
        [] => "no route has two targets that it could go between".to_owned(),
        names => format!("{} could carry it, with two targets or more", names.join(", ")),
    };
    vec![Each::Unclear(format!("the plan says nothing about deployments; {could}"))]
}

fn polled_beacons(cx: &Cx<'_>) -> Vec<Each> {
    let beacons = cx.plan.routes.iter().filter(|it| it.beacon);
    let look = |it: &Route| match it.polled {
        Some(poll) => Each::Shown(format!(
            "{}: its beacon is asked every {}, {} answers change the mind",
            it.name,
            show_duration(poll.every),
            poll.threshold
        )),
        None => Each::Unclear(format!("{} has a beacon, and the plan does not say who polls it, and how", it.name)),
    };
    let found: Vec<Each> = beacons.map(look).collect();
    if found.is_empty() {
        vec![Each::Missing("no route has a beacon that such a health check could ask".to_owned())]
    } else {
        found
    }
}

fn second_targets(cx: &Cx<'_>) -> Vec<Each> {
    if cx.plan.routes.is_empty() {
        return no_route();
    }
    let look = |it: &Route| {
        let names: Vec<&str> =
            it.targets.iter().map(|target| cx.plan.instance(target.instance).name.as_str()).collect();
        match names.as_slice() {
            [] => Each::Missing(format!("{} has no target", it.name)),
            [only] => Each::Missing(format!("{} leads to {only} alone", it.name)),
            several => Each::Shown(format!("{}: {}", it.name, several.join(", then "))),
        }
    };
    cx.plan.routes.iter().map(look).collect()
}

fn peering(cx: &Cx<'_>) -> Vec<Each> {
    let mut regions: Vec<&str> = cx.plan.instances.iter().map(|it| it.location.region.as_str()).collect();
    regions.sort_unstable();
    regions.dedup();
    let why = match regions.as_slice() {
        [one] => format!("everything is in {one}: there is nothing to connect it to"),
        several => format!("the plan does not say how {} are connected", several.join(", ")),
    };
    vec![Each::Unclear(why)]
}

fn network_redundancy(cx: &Cx<'_>) -> Vec<Each> {
    let look = |it: &Component| {
        let instances: Vec<_> = it.instances.iter().map(|ix| cx.plan.instance(*ix)).collect();
        let named = |at: &crate::component::Instance| -> Vec<String> {
            at.shares.iter().filter(|it| it.kind == SharedKind::Network).map(|it| it.name.clone()).collect()
        };
        let first = named(instances[0]);
        let common = first.iter().find(|part| instances.iter().all(|at| named(at).contains(part)));
        match common {
            Some(part) => Each::Missing(format!("all of {} depends on network {part}", it.name)),
            None if instances.iter().any(|at| named(at).is_empty()) => {
                Each::Unclear(format!("the plan does not name every network that {} lives on", it.name))
            }
            None => Each::Unclear(format!(
                "{}: its instances name networks that differ; lines that those share are not in the plan",
                it.name
            )),
        }
    };
    cx.plan.components.iter().map(look).collect()
}

fn runbook(_: &Cx<'_>) -> Vec<Each> {
    let why = "a plan does not name documents; `mainstay assess --markdown` writes this page for one";
    vec![Each::Unclear(why.to_owned())]
}

fn failover_tested(cx: &Cx<'_>) -> Vec<Each> {
    let mut found = Vec::new();
    if cx.plan.mode == Mode::Observe {
        found.push(Each::Missing("`mode: observe`: nothing is recovered automatically".to_owned()));
    }
    for ix in super::components(cx.plan) {
        let name = &cx.plan.component(ix).name;
        found.push(match real_drills(cx.plan, ix).as_slice() {
            [] => Each::Missing(format!("{name} is in no drill that really recovers")),
            drills => planned(name, drills),
        });
    }
    found
}

fn communication(cx: &Cx<'_>) -> Vec<Each> {
    let channel = |it: &crate::notification::NotificationChannel| {
        let how = match &it.action {
            Action::Webhook { .. } => "webhook",
            Action::Command { .. } => "command",
            Action::Service { .. } | Action::TriggerFile { .. } | Action::EndLease { .. } => "on this machine",
            Action::Postgres(_) => "PostgreSQL",
        };
        format!("{} ({how})", it.name)
    };
    let told: Vec<String> = cx.plan.notifications.iter().map(channel).collect();
    let mut found = vec![if told.is_empty() {
        Each::Missing("nobody is told: there is no notification channel".to_owned())
    } else {
        Each::Shown(format!("told: {}", told.join(", ")))
    }];
    let name = |at: &usize| cx.plan.notifications.get(*at).map(|it| it.name.as_str());
    let steps = cx.plan.escalation.iter().filter(|it| !it.tell.is_empty()).map(|it| {
        let names: Vec<&str> = it.tell.iter().filter_map(name).collect();
        format!("after {} {}", show_duration(it.after), names.join(", "))
    });
    let steps: Vec<String> = steps.collect();
    found.push(if steps.is_empty() {
        Each::Missing("there is no escalation: nothing says who is told when nobody answers".to_owned())
    } else {
        Each::Shown(steps.join(", then "))
    });
    found
}

fn drills(cx: &Cx<'_>) -> Vec<Each> {
    let look = |ix: ComponentIx| {
        let name = &cx.plan.component(ix).name;
        let of_it: Vec<String> = cx.plan.drills.iter().filter(|it| it.components.contains(&ix)).map(drill).collect();
        if of_it.is_empty() {
            Each::Missing(format!("{name} is in no drill"))
        } else {
            Each::Shown(format!("{name}: {}", of_it.join(", ")))
        }
    };
    super::components(cx.plan).map(look).collect()
}
