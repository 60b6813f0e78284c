//! What must be so before anything is done, in the order in which the engine asks (its `guard.rs` and `recover/`).

use super::{Guard, asks, until};
use crate::InstanceIx;
use crate::agents::Alone;
use crate::component::{Component, Failback, Repair, Switch};
use crate::config::scalar::show_duration;
use crate::plan::Plan;
use crate::policy::{AfterFailure, Mode, OnJournalLoss};
use crate::route::{Route, Sharing};
use crate::strategy::{OnExpiry, Play, Precondition, Rung, Step, StepKind, Whom};

/// What is asked before a recovery of `component` begins.
pub(super) fn guards(plan: &Plan, component: &Component) -> Vec<Guard> {
    let overrule = |guard: &str| Some(format!("mainstay approve rN --override {guard}"));
    let mut guards = Vec::new();
    let mut add = |code, must: String, overruled_by| guards.push(Guard { code, must, overruled_by });
    add("halted", "nobody has said `mainstay halt`".to_owned(), Some("mainstay continue".to_owned()));
    if plan.coordination.is_some() {
        let must = match plan.coordination.as_ref().map(|it| it.alone) {
            Some(Alone::Proceed) => "this agent leads, or none can be asked who does",
            Some(Alone::SharedOnly) => "this agent leads; alone it recovers only what nothing exclusive depends on",
            Some(Alone::Hold) | None => "this agent leads",
        };
        add("lease", must.to_owned(), overrule("lease"));
    }
    if plan.on_journal_loss == OnJournalLoss::Hold {
        add("journal_lost", "the journal can be written".to_owned(), overrule("journal-lost"));
    }
    if let Some(must) = witnesses(plan, component) {
        add("witnesses", must, overrule("witnesses"));
    }
    if let Some(need) = component.guards.observers {
        let must = format!("{need} agents see it down, and none of them healthy");
        add("observers", must, overrule("observers"));
    }
    if component.guards.signals > 1 {
        let must = format!("{} probes of different kinds find it down", component.guards.signals);
        add("signals", must, overrule("signals"));
    }
    if !plan.allowances.correlation.is_zero() {
        let must = format!(
            "it is known whether more is lost, or what it depends on; asked for at most {}",
            show_duration(plan.allowances.correlation)
        );
        add("correlation", must, overrule("correlation"));
    }
    if !component.routes.is_empty() {
        let must =
            "the traffic process has said what it serves (asked only while the journal knows of no routing table)";
        add("traffic", must.to_owned(), overrule("journal-lost"));
    }
    let tell = |it: &&InstanceIx| plan.instance(**it).probes.iter().any(|it| plan.probe(*it).kind.reports_role());
    let telling: Vec<&str> =
        component.instances.iter().filter(tell).map(|it| plan.instance(*it).name.as_str()).collect();
    if component.instances.len() > 1 && !telling.is_empty() {
        let must = format!("nobody else has made another instance active ({} say what they are)", telling.join(", "));
        add("someone_else", must, overrule("someone-else"));
    }
    let must = format!("no `mainstay pause` of everything or of {} is in force", component.name);
    add("paused", must, Some("mainstay resume".to_owned()));
    if !component.depends_on.is_empty() {
        let names: Vec<&str> = component.depends_on.iter().map(|it| plan.component(*it).name.as_str()).collect();
        let must = format!("{}: not down, and not being recovered", names.join(", "));
        add("dependency", must, overrule("dependency"));
    }
    if plan.mode == Mode::Observe {
        let must = "another mode: in `observe` nothing is ever done".to_owned();
        add("observe_mode", must, overrule("observe-mode"));
    }
    if !component.guards.cool_down.is_zero() {
        let must = format!(
            "{} have passed since the recovery before ended (one that ended well before its first step does not count)",
            show_duration(component.guards.cool_down)
        );
        add("cool_down", must, overrule("cool-down"));
    }
    if let Some(must) = acknowledgement(component) {
        add("acknowledgement", must, Some(format!("mainstay acknowledge {}", component.name)));
    }
    if let Some(radius) = plan.guards.blast_radius {
        let (allowed, of) = (radius.allowed(plan.components.len()), plan.components.len());
        let must = format!(
            "at most {allowed} of {of} components would be down or moved; a lost zone or region does not count"
        );
        add("blast_radius", must, overrule("blast-radius"));
    }
    if let Some(approval) = &component.guards.approval {
        let who = match (approval.quorum, &approval.role) {
            (1, None) => "a person approves".to_owned(),
            (1, Some(role)) => format!("a person with the role `{role}` approves"),
            (more, None) => format!("{more} different people approve"),
            (more, Some(role)) => format!("{more} different people with the role `{role}` approve"),
        };
        let after = match approval.on_expiry {
            OnExpiry::Fail => "it has failed",
            OnExpiry::Proceed => "it goes on",
        };
        let must = format!("{who} it within {}; after that {after}", show_duration(approval.expires));
        add("approval", must, Some("mainstay approve rN".to_owned()));
    } else if plan.mode == Mode::Recommend {
        let must = "a person approves it: the mode is `recommend`".to_owned();
        add("approval", must, Some("mainstay approve rN".to_owned()));
    }
    if !plan.evacuations.is_empty() {
        let must = "it is its turn, when its zone or region is lost and has an entry in `evacuations`".to_owned();
        add("turn", must, overrule("turn"));
    }
    if let Some(brake) = plan.guards.storm_brake {
        let must = format!("fewer than {} recoveries have begun within {}", brake.at_most, show_duration(brake.within));
        add("storm_brake", must, overrule("storm-brake"));
    }
    add("no_rung_possible", "a rung of the ladder is possible".to_owned(), None);
    guards
}

/// When a person must have looked at what happened before.
fn acknowledgement(component: &Component) -> Option<String> {
    let failed = (component.guards.after_failure == AfterFailure::Acknowledge)
        .then(|| "after a recovery that failed a person has looked".to_owned());
    let flapping = component
        .guards
        .flapping
        .map(|it| format!("after {} recoveries within {} a person has looked", it.at_most, show_duration(it.within)));
    let all: Vec<String> = failed.into_iter().chain(flapping).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn witnesses(plan: &Plan, component: &Component) -> Option<String> {
    let rule = &component.witnesses;
    let named = |it: &crate::WitnessIx| {
        let witness = plan.witness(*it);
        format!("{} ({})", witness.name, asks(&plan.probe(witness.probe).kind))
    };
    let names: Vec<String> = rule.of.iter().map(named).collect();
    let have = if rule.need == 1 { "has" } else { "have" };
    (rule.need > 0).then(|| {
        format!("{} of {} {have} answered a question asked since the first failure", rule.need, names.join(", "))
    })
}

/// What must be so for a rung, or it is passed over. Empty: it is always possible.
pub(super) fn possible_when(
    plan: &Plan,
    component: &Component,
    bound: InstanceIx,
    rung: &Rung,
    play: &Play,
) -> Vec<String> {
    let asked = |it: &Precondition| {
        let whichever = match it.of {
            Whom::Component(_) => ", whichever instance it is,",
            Whom::Instance(_) => "",
        };
        format!(
            "{}{whichever} is {}; if that is not known yet, it is waited for, for a while",
            it.of.name(plan),
            it.health.word()
        )
    };
    let mut all: Vec<String> = rung.only_if.iter().map(asked).collect();
    if let Some(limit) = rung.restarts {
        all.push(format!(
            "{} was restarted fewer than {} times within {} (overruled by `mainstay approve rN --override crash-loop`)",
            plan.instance(bound).name,
            limit.at_most,
            show_duration(limit.within)
        ));
    }
    if play.to == bound {
        return all;
    }
    let to = plan.instance(play.to);
    all.push(format!("{} is not displaced; if it was, it is so {}", to.name, until(plan, component, &to.name)));
    all.push(format!("{} is healthy; if that is not known yet, it is waited for, for a while", to.name));
    if let Some(rpo) = component.objectives.rpo {
        let unmeasured =
            if to.reports_lag { "" } else { "; no probe of it reports that, so an operator has to say it" };
        all.push(format!(
            "{} is known to lag at most {} behind the moment of failure{unmeasured} (overruled by `mainstay approve rN \
             --override rpo`)",
            to.name,
            show_duration(rpo)
        ));
    }
    all.extend(component.routes.iter().flat_map(|it| route_rules(plan, plan.route(*it))));
    let fences =
        |it: &Step| matches!(it.kind, StepKind::CutTraffic { .. } | StepKind::Stop { .. } | StepKind::EndLease { .. });
    let fenced = play.steps.iter().any(fences);
    let exclusive = component.routes.iter().any(|it| plan.route(*it).sharing == Sharing::Exclusive);
    if (fenced || exclusive || play.accepts_two_writers) && plan.on_journal_loss != OnJournalLoss::Proceed {
        all.push("the journal can be written (overruled by `mainstay approve rN --override journal-lost`)".to_owned());
    }
    all
}

/// What a route's own rules ask before it points elsewhere.
fn route_rules(plan: &Plan, route: &Route) -> Vec<String> {
    let overruled = "overruled by `mainstay approve rN --override route-rules`";
    let mut all = Vec::new();
    if !route.rules.gates.is_empty() {
        let names: Vec<&str> = route.rules.gates.iter().map(|it| plan.component(*it).name.as_str()).collect();
        all.push(format!("the gates of route {} are healthy: {} ({overruled})", route.name, names.join(", ")));
    }
    if !route.rules.wait.is_zero() {
        let wait = show_duration(route.rules.wait);
        all.push(format!("route {} was not changed within the last {wait} ({overruled})", route.name));
    }
    all
}

/// What must be so for a planned move, or it is refused.
pub(super) fn movable_when(plan: &Plan, component: &Component, switch: &Switch) -> Vec<String> {
    let (from, to) = (&plan.instance(switch.from).name, plan.instance(switch.play.to));
    let mut all = vec![
        format!("{from} and {} are healthy, and {} is not displaced", to.name, to.name),
        "no recovery of it is open, the journal can be written, and nobody has said `mainstay halt`".to_owned(),
    ];
    if to.reports_lag {
        all.push(format!("{} lags at most {} behind", to.name, show_duration(component.switch_lag())));
    } else if component.objectives.rpo.is_some() {
        all.push(format!("`--ungraceful`: nothing says how far {} lags behind", to.name));
    }
    let rules = component.routes.iter().flat_map(|it| route_rules(plan, plan.route(*it)));
    all.extend(rules.map(|it| format!("{it}; that is waited for")));
    all
}

/// What must be so for a repair, or it waits.
pub(super) fn repaired_when(plan: &Plan, component: &Component, repair: &Repair) -> Vec<String> {
    let (name, owner) = (&plan.instance(repair.instance).name, &plan.instance(repair.owner).name);
    let mut all = vec![
        format!("{name} was displaced, and {owner} is healthy and active"),
        "no recovery of it is open, none of another component is at work, nothing is paused or halted".to_owned(),
    ];
    if plan.mode != Mode::Act {
        all.push(format!("somebody orders it: the mode is `{}`", plan.mode.word()));
    }
    let mut shown = vec!["it says that it is a standby"];
    if repair.cut_fences {
        shown.push("its clients are cut off");
    }
    if plan.is_leased(plan.instance(repair.instance).component) {
        shown.push("its lease is over");
    }
    shown.push("a fence has stopped it, and it was not seen to run since");
    let routes = &component.routes;
    if !routes.is_empty() && routes.iter().all(|it| plan.route(*it).sharing == Sharing::Shared) {
        shown.push("nothing exclusive changes hands");
    }
    all.push(format!("something keeps it from taking writes: {}", shown.join(", or ")));
    all
}

/// When it goes back to its original without being asked.
pub(super) fn goes_back(component: &Component, switch: &Switch) -> Option<String> {
    let Failback::WhenWhole { stable_for } = component.failback else { return None };
    let stable = show_duration(stable_for);
    (switch.play.to == component.original()).then(|| {
        format!(
            "once both sides have been healthy and in step for {stable}, the cool-down is over and nothing is paused"
        )
    })
}

/// What holds in every recovery of the plan.
pub(super) fn always(plan: &Plan) -> Vec<String> {
    let mut all = vec![
        "Every decision is in the journal before anything is done about it.".to_owned(),
        "Before a step marked * the witnesses must have answered as above, and whoever failed and whoever is to take over \
         must have been seen. A standby that went down meanwhile ends the rung."
            .to_owned(),
        "Repeatable: done again when nobody knows whether it was done. What is not waits for a person then.".to_owned(),
        "If what failed is healthy again before the first step marked *, the recovery is over, and a cut is taken back."
            .to_owned(),
        "`mainstay abort rN` ends a recovery where it stands; the same is taken back as when its rung fails.".to_owned(),
        "Displaced: fenced on its exclusive routes, and part of no recovery, until it rejoins.".to_owned(),
    ];
    if plan.on_journal_loss == OnJournalLoss::Hold {
        all.push("Before a step marked * the journal must be writable.".to_owned());
    }
    if plan.mode == Mode::Observe {
        all.push("The mode is `observe`: nothing of this is done unless an operator overrules that.".to_owned());
    }
    let channels: Vec<&str> = plan.notifications.iter().map(|it| it.name.as_str()).collect();
    if !channels.is_empty() {
        all.push(format!(
            "{}: told when a failure is detected, when a recovery waits, and how it ended.",
            channels.join(", ")
        ));
    }
    all
}
