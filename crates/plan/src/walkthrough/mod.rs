//! What Mainstay would do, told step by step before it is needed: for each component, what has to be seen before anything
//! is done; for each instance that it may be bound to, every rung, every planned move and every step.
//!
//! Nothing is worked out here that the plan does not hold, and nothing is promised that the engine does not do: what is
//! taken back when a rung fails stands in its `recover.rs` and `route.rs`. Values of environment variables, headers and
//! request bodies are left out, because they may be secrets.

mod asked;
mod before;
mod step;

use std::time::Duration;

use serde::Serialize;

pub(crate) use self::asked::{asks, fronts};
use crate::component::{Component, Rejoin, Repair, Switch};
use crate::config::scalar::show_duration;
use crate::plan::Plan;
use crate::strategy::{Play, StepKind};
use crate::{ComponentIx, InstanceIx};

/// Everything that the plan's ladders do. Names, never indices; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Walkthrough {
    /// The site's name.
    pub site: String,
    /// The plan's hash.
    pub plan: String,
    /// How far Mainstay goes by itself.
    pub mode: &'static str,
    /// The notification channels.
    pub told: Vec<String>,
    /// What holds in every recovery.
    pub always: Vec<String>,
    /// In the plan's order.
    pub components: Vec<ComponentWalk>,
}

/// What is done about one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentWalk {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How much it matters.
    pub criticality: &'static str,
    /// Why it can't be spread, in its owner's words.
    pub constraint: Option<String>,
    /// How clients reach it.
    pub routes: Vec<String>,
    /// What is asked before a recovery begins, in this order; the first that objects is waited for.
    pub guards: Vec<Guard>,
    /// One for each instance that it may be bound to, the one that it is born with first.
    pub bindings: Vec<Binding>,
}

/// Something that may hold a recovery back before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// The code of the wait, as in `mainstay status --json`.
    pub code: &'static str,
    /// What must be so.
    pub must: String,
    /// The command that overrules it, for the recovery `rN`.
    pub overruled_by: Option<String>,
}

/// What is done while the component is bound to one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The instance that failed.
    pub instance: String,
    /// Where it lives.
    pub location: String,
    /// Whether it is the one that the component is born with; the others come into it by a takeover.
    pub original: bool,
    /// When it is down.
    pub down: Down,
    /// The ladder.
    pub rungs: Vec<RungWalk>,
    /// Where it can be moved without a failure.
    pub moves: Vec<MoveWalk>,
    /// What was displaced and is made its standby again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<RepairWalk>,
}

/// When an instance is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Down {
    /// So many of the probes must be down.
    pub need: usize,
    /// Its probes.
    pub of: Vec<ProbeWalk>,
}

/// A probe and its timing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeWalk {
    /// Its name.
    pub name: String,
    /// What it asks, in words.
    pub asks: String,
    /// Start to start while all is well.
    pub interval_ms: u64,
    /// Start to start in doubt.
    pub fast_interval_ms: u64,
    /// For one answer.
    pub timeout_ms: u64,
    /// Failures in a row that make it down.
    pub fall: u32,
}

/// One rung, as it goes from one binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RungWalk {
    /// From 1.
    pub number: usize,
    /// What it is.
    pub strategy: &'static str,
    /// The instance that the component is bound to afterwards; `None`: there is no way from here, and the rung is passed
    /// over.
    pub to: Option<String>,
    /// What must be so, or it is passed over.
    pub possible_when: Vec<String>,
    /// Whether the plan accepts two writers by name instead of a fence.
    pub accepts_two_writers: bool,
    /// In this order.
    pub steps: Vec<StepWalk>,
    /// What is taken back, what stays, and what comes next.
    pub if_it_fails: Vec<String>,
}

/// A planned move, from one binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MoveWalk {
    /// The instance that the component is bound to afterwards.
    pub to: String,
    /// What asks for it.
    pub command: String,
    /// When it is done without being asked for.
    pub by_itself: Option<String>,
    /// What must be so, or it is refused.
    pub possible_when: Vec<String>,
    /// In this order.
    pub steps: Vec<StepWalk>,
    /// What is taken back, and what stays.
    pub if_it_fails: Vec<String>,
}

/// The repair of a displaced instance, for one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairWalk {
    /// The instance that is repaired.
    pub instance: String,
    /// What orders it by hand.
    pub command: String,
    /// What must be so, or it is waited for.
    pub only_if: Vec<String>,
    /// In this order.
    pub steps: Vec<StepWalk>,
    /// What is done then.
    pub if_it_fails: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepWalk {
    /// From 1.
    pub number: usize,
    /// As it stands in the journal.
    pub name: String,
    /// Which sort of step.
    pub kind: &'static str,
    /// Which part of the time to recover it counts as.
    pub phase: &'static str,
    /// What it needs to work.
    pub plane: &'static str,
    /// For one attempt.
    pub timeout_ms: u64,
    /// How often it is tried at most.
    pub attempts: u32,
    /// What must be there for it.
    pub needs: Vec<Need>,
    /// What is different afterwards.
    pub changes: Vec<String>,
    /// How that is taken back.
    pub undo: Undo,
    /// Whether it may be done again when it is not known whether it was done.
    pub idempotent: bool,
    /// The step before, if they begin together.
    pub together_with: Option<usize>,
    /// How long it waits between attempts, where it does.
    pub apart: Option<String>,
    /// What happens when that is not known.
    pub repeat: String,
    /// Whether it can't be taken back, so that witnesses, journal and instances are looked at once more before it.
    pub irreversible: bool,
}

/// What a step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// `host`, `service`, `command`, `file`, `address`, `acknowledgement`, `probe`, `credential` or `cache_entry`.
    pub kind: &'static str,
    /// Which, in words.
    pub what: String,
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undo {
    /// Who takes it back: `mainstay` by itself, a `person`, or `nothing` where there is nothing to take back.
    pub by: &'static str,
    /// How, or what stays.
    pub how: String,
}

impl Walkthrough {
    /// Of the components that `wanted` says yes to.
    pub fn of(plan: &Plan, wanted: impl Fn(&Component) -> bool) -> Walkthrough {
        let all = (0u32..).map(ComponentIx).take(plan.components.len());
        Walkthrough {
            site: plan.site.name.clone(),
            plan: plan.hash.clone(),
            mode: plan.mode.word(),
            told: plan.notifications.iter().map(|it| it.name.clone()).collect(),
            always: before::always(plan),
            components: all.filter(|it| wanted(plan.component(*it))).map(|it| component(plan, it)).collect(),
        }
    }
}

impl ProbeWalk {
    /// Its timing in words.
    pub fn timing(&self) -> String {
        let show = |ms| show_duration(Duration::from_millis(ms));
        let mut text = format!("every {}", show(self.interval_ms));
        if self.fast_interval_ms != self.interval_ms {
            text.push_str(&format!(", in doubt every {}", show(self.fast_interval_ms)));
        }
        let fall = if self.fall == 1 { "1 failure".to_owned() } else { format!("{} failures in a row", self.fall) };
        text.push_str(&format!(", timeout {}; down after {fall}", show(self.timeout_ms)));
        text
    }
}

impl StepWalk {
    /// Plane, timeout, attempts, and whether it may be repeated, in words.
    pub fn limits(&self) -> String {
        let attempts = if self.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", self.attempts) };
        let repeatable = if self.idempotent { ", repeatable" } else { "" };
        let timeout = show_duration(Duration::from_millis(self.timeout_ms));
        let apart = self.apart.as_ref().map(|it| format!(", {it} apart")).unwrap_or_default();
        format!("{}, {timeout} × {attempts}{apart}{repeatable}", self.plane)
    }
}

fn component(plan: &Plan, ix: ComponentIx) -> ComponentWalk {
    let component = plan.component(ix);
    ComponentWalk {
        name: component.name.clone(),
        kind: component.kind.word(),
        criticality: component.criticality.word(),
        constraint: component.constraint.as_ref().map(|it| format!("{}: {}", it.kind.word(), it.reason)),
        routes: component.routes.iter().map(|it| asked::route(plan, *it)).collect(),
        guards: before::guards(plan, component),
        bindings: component.instances.iter().map(|it| binding(plan, component, *it)).collect(),
    }
}

fn binding(plan: &Plan, component: &Component, bound: InstanceIx) -> Binding {
    let instance = plan.instance(bound);
    Binding {
        instance: instance.name.clone(),
        location: instance.location.to_string(),
        original: component.original() == bound,
        down: Down { need: instance.down_when, of: instance.probes.iter().map(|it| asked::probe(plan, *it)).collect() },
        rungs: (0..component.ladder.len()).map(|nth| rung(plan, component, bound, nth)).collect(),
        moves: component.switches.iter().filter(|it| it.from == bound).map(|it| moved(plan, component, it)).collect(),
        repairs: (component.repairs.iter().filter(|it| it.owner == bound))
            .map(|it| repaired(plan, component, it))
            .collect(),
    }
}

fn repaired(plan: &Plan, component: &Component, repair: &Repair) -> RepairWalk {
    let name = &plan.instance(repair.instance).name;
    let play = Play { to: repair.instance, steps: repair.steps.clone(), accepts_two_writers: false };
    let telling = step::Telling { plan, component, bound: repair.instance, play: &play, hands_over: false };
    RepairWalk {
        instance: name.clone(),
        command: format!("mainstay repair {name}"),
        only_if: before::repaired_when(plan, component, repair),
        steps: (0..play.steps.len()).map(|at| telling.step(at)).collect(),
        if_it_fails: format!(
            "it is tried again from its first step: after {}, then twice as long each time, at most {}",
            show_duration(Repair::FIRST_WAIT),
            show_duration(Repair::LONGEST_WAIT)
        ),
    }
}

fn moved(plan: &Plan, component: &Component, switch: &Switch) -> MoveWalk {
    let (bound, play) = (switch.from, &switch.play);
    let (from, to) = (&plan.instance(bound).name, &plan.instance(play.to).name);
    let telling = step::Telling { plan, component, bound, play, hands_over: switch.demotes };
    let command = match play.to == component.original() {
        true => format!("mainstay failback {}", component.name),
        false => format!("mainstay switch {} --to {to}", component.name),
    };
    let back: Vec<&str> = switch.back.steps.iter().map(|it| it.name.as_str()).collect();
    MoveWalk {
        to: to.clone(),
        command,
        by_itself: before::goes_back(component, switch),
        possible_when: before::movable_when(plan, component, switch),
        steps: (0..play.steps.len()).map(|at| telling.step(at)).collect(),
        if_it_fails: vec![
            format!("before a step marked *: clients are led back to {from}; nothing was changed"),
            format!("after it, before the hand-over: {from} is made active again: {}", back.join(", ")),
            format!("from the hand-over on: {to} stays; if it is down, that is recovered as any failure"),
        ],
    }
}

fn rung(plan: &Plan, component: &Component, bound: InstanceIx, nth: usize) -> RungWalk {
    let rung = &component.ladder[nth];
    let (number, strategy) = (nth + 1, rung.strategy.word());
    let Some(play) = rung.plays.get(&bound) else {
        return RungWalk {
            number,
            strategy,
            to: None,
            possible_when: Vec::new(),
            accepts_two_writers: false,
            steps: Vec::new(),
            if_it_fails: Vec::new(),
        };
    };
    let telling = step::Telling { plan, component, bound, play, hands_over: false };
    RungWalk {
        number,
        strategy,
        to: Some(plan.instance(play.to).name.clone()),
        possible_when: before::possible_when(plan, component, bound, rung, play),
        accepts_two_writers: play.accepts_two_writers,
        steps: (0..play.steps.len()).map(|at| telling.step(at)).collect(),
        if_it_fails: if_it_fails(plan, component, bound, nth, play),
    }
}

/// What the engine does with a rung that failed: the cut ends with it, a standby that was activated is displaced, what was
/// bound stays bound, and the rungs behind it are looked up for whoever is bound then.
fn if_it_fails(plan: &Plan, component: &Component, bound: InstanceIx, nth: usize, play: &Play) -> Vec<String> {
    let (from, to) = (&plan.instance(bound).name, &plan.instance(play.to).name);
    let next = match component.ladder.get(nth + 1) {
        Some(rung) => format!("rung {} ({}) is next", nth + 2, rung.strategy.word()),
        None => "no rung is left: the recovery has failed".to_owned(),
    };
    let undone = play.steps.iter().any(|it| it.undo.is_some());
    if play.to == bound {
        let cut = play.steps.iter().any(|it| matches!(it.kind, StepKind::CutTraffic { .. }));
        let goes_back = cut.then(|| format!("what was cut goes back to {from}, wherever it is then"));
        let undo = undone.then(|| "what has an undo is undone, the last step first".to_owned());
        let back: Vec<String> = undo.into_iter().chain(goes_back).collect();
        let back = if back.is_empty() { "nothing is taken back".to_owned() } else { back.join("; ") };
        return vec![format!("{back}; {next}")];
    }
    let cut = play.steps.iter().any(|it| matches!(it.kind, StepKind::CutTraffic { .. }));
    let stopped = play.steps.iter().any(|it| matches!(it.kind, StepKind::Stop { .. }));
    let lease = play.steps.iter().any(|it| matches!(it.kind, StepKind::EndLease { .. }));
    let activates = play.steps.iter().any(|it| matches!(it.kind, StepKind::Act { .. }));
    let mut before = Vec::new();
    if undone {
        before.push("what has an undo is undone, the last step first".to_owned());
    }
    if cut {
        before.push(format!("what was cut goes back to {from}"));
    }
    if lease {
        before.push(format!("{from} gets its lease again, once {to} can't hold it any more"));
    }
    if stopped {
        before.push(format!("{from}, once stopped, stays stopped"));
    }
    if activates {
        let which = if undone { "an activation step without an undo" } else { "an activation step" };
        before
            .push(format!("{to}, once {which} was done or may have been, is displaced {}", until(plan, component, to)));
    }
    if before.is_empty() {
        before.push("nothing was changed".to_owned());
    }
    let mut after = format!("the component stays bound to {to}, and nothing goes back");
    after.push_str(&match component.ladder.get(nth + 1) {
        Some(rung) if has_way(component, nth + 1, play.to) => {
            format!("; rung {} ({}) is next, as it goes when bound to {to}", nth + 2, rung.strategy.word())
        }
        Some(_) => format!("; no way leads from {to} on rung {}, which is passed over", nth + 2),
        None => "; no rung is left: the recovery has failed".to_owned(),
    });
    vec![format!("before the hand-over: {}; {next}", before.join("; ")), format!("from the hand-over on: {after}")]
}

fn has_way(component: &Component, nth: usize, bound: InstanceIx) -> bool {
    component.ladder.get(nth).is_some_and(|it| it.plays.contains_key(&bound))
}

/// How a displaced instance comes back.
fn until(plan: &Plan, component: &Component, instance: &str) -> String {
    if component.repairs.iter().any(|it| plan.instance(it.instance).name == instance) {
        return format!("until it is repaired, by itself, or `mainstay adopt {instance}`");
    }
    match component.rejoin {
        Rejoin::ByHand => format!("until `mainstay adopt {instance}`"),
        Rejoin::WhenHealthy => "until its own probes find it healthy".to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
