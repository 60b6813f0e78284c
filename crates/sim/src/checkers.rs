//! What must always hold, checked after every step against a small model that knows the truth.
//!
//! Each check carries the code of its invariant and panics with it in front: a violated invariant ends the run, and a trial
//! knows which it was ([`crate::trial::Violation`]).
//!
//! | code | what must hold | where |
//! |---|---|---|
//! | S1 | one recovery a component, one owner an exclusive route; nobody is made active beside a stranger; of several agents only the one with the lease acts, and of instances that live by one only the holder | `single.rs`, `strangers.rs`, `among.rs`, `several/site.rs`, `world/hosts.rs` |
//! | S2 | nothing is done, served, granted or told before its record is durable | `durable.rs`, `world/hosts.rs` |
//! | S3 | an exclusive takeover follows a fence that really holds; who may hold a lease follows the end of another's | `fence.rs`, `world/hosts.rs` |
//! | S4 | rules of shared routes, judged on the state that a change leads to | `routes.rs` |
//! | S5 | no takeover at an unknown position or behind the RPO | `position.rs` |
//! | S6 | blast radius, storm brake, and an operator's halt | `site.rs` |
//! | S7 | done once, or again under the same key, or observed not done | `once.rs` |
//! | S8 | witnesses since the failure; down rests on failures seen; seen anew after a start | `seen.rs` |
//! | S9 | epochs grow, name one table, and are never older than what is served | `epochs.rs` |
//! | S10 | the journal replays to the same decisions | [`replays`] |
//! | L1 | a failure with a proved rung and open guards is recovered within its bound | `trial/promise.rs` |
//! | L2 | each wait has a reason, an age and a way out, and ends when it says | `waits.rs` |
//! | L3 | restoring goes before repair | `order.rs` |
//! | G1 | a component's own guards: pause, cool-down, dependency, mode, approval, acknowledgement, condition | `guards.rs` |
//! | G2 | complete means that the route answered | `served.rs` |
//! | G3 | a failed rung is undone, the last step first; who is unwell does not rejoin | `undone.rs` |
//! | G4 | a breaker closes when its canary answers | `breaker.rs` |
//! | G5 | the phases of a recovery add up to its time | `trial.rs` |
//! | G6 | an evacuation goes as slowly as the plan says, and nobody goes into what is left | `evacuations.rs` |
//! | G7 | a repair: of whom was displaced or is astray, never of the owner or beside a recovery, and only of whom something keeps from writes | `repairs.rs` |
//! | G8 | nothing is restarted more often than its rung lets, and nothing is taken for a crash loop that was not | `loops.rs` |
//! | G9 | series of backups: one at a time works in a folder and on a machine, nobody beside a recovery of the component or in a pause; what is due and may be done is begun, and what is overdue is told | `keeping.rs` |
//!
//! What is on the disk is folded once for all of them, in `facts.rs`.

mod among;
mod breaker;
mod durable;
mod epochs;
mod evacuations;
mod facts;
mod fence;
mod guards;
mod keeping;
mod loops;
mod once;
mod order;
mod position;
mod repairs;
mod routes;
mod seen;
mod served;
mod single;
mod site;
mod strangers;
mod undone;
mod waits;

pub use among::Among;
pub(crate) use durable::Durable;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::effect::{Order, Telling};
use mainstay_engine::record::StepRef;
use mainstay_engine::replay::{Replayed, replay};
use mainstay_engine::{Body, Engine, Record, RecoveryId};
use mainstay_plan::backup::KeepingJob;
use mainstay_plan::observation::{Observation, SeenRole};
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{Plan, Time};

/// What was recorded, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Records.
    pub records: u64,
    /// Recoveries that ended.
    pub recoveries: u64,
    /// By code of the wait: how often one was held.
    pub waits: BTreeMap<&'static str, u64>,
    /// By rule: how often a route was held.
    pub rules: BTreeMap<&'static str, u64>,
}

impl Census {
    pub(crate) fn recorded(&mut self, record: &Record) {
        self.records += 1;
        if let Body::Held { waiting, .. } = &record.body {
            *self.waits.entry(waiting.code()).or_default() += 1;
        } else if let Body::StepStarted { .. } = &record.body {
            *self.waits.entry("step").or_default() += 1;
        } else if let Body::RetryScheduled { .. } = &record.body {
            *self.waits.entry("retry").or_default() += 1;
        } else if let Body::RouteHeld { objection, .. } = &record.body {
            *self.rules.entry(objection.rule().word()).or_default() += 1;
        } else if let Body::RecoveryCompleted { .. } | Body::RecoveryFailed { .. } = &record.body {
            self.recoveries += 1;
        }
    }
}

/// The checkers, and the model that they share.
#[derive(Debug)]
pub struct Checkers {
    /// What was recorded, in numbers.
    pub census: Census,
    facts: facts::Facts,
    durable: durable::Durable,
    fences: fence::Fences,
    routes: routes::Routes,
    positions: position::Positions,
    site: site::Site,
    once: once::Once,
    seen: seen::Seen,
    epochs: epochs::Epochs,
    order: order::Order,
    guards: guards::Guards,
    served: served::Served,
    undone: undone::Undone,
    breakers: breaker::Breakers,
    evacuations: evacuations::Evacuations,
    strangers: strangers::Strangers,
    repairs: repairs::Repairs,
    loops: loops::Loops,
    keeping: keeping::Keepings,
}

impl Checkers {
    /// Knows what the plan promises.
    pub fn new(plan: &Arc<Plan>) -> Checkers {
        let mut checkers = Checkers {
            census: Census::default(),
            facts: facts::Facts::new(plan.clone()),
            durable: durable::Durable::default(),
            fences: fence::Fences::default(),
            routes: routes::Routes::new(plan),
            positions: position::Positions::default(),
            site: site::Site::new(plan),
            once: once::Once::default(),
            seen: seen::Seen::default(),
            epochs: epochs::Epochs::default(),
            order: order::Order::default(),
            guards: guards::Guards::default(),
            served: served::Served::default(),
            undone: undone::Undone::default(),
            breakers: breaker::Breakers::default(),
            evacuations: evacuations::Evacuations::new(plan),
            strangers: strangers::Strangers::new(plan),
            repairs: repairs::Repairs::default(),
            loops: loops::Loops::default(),
            keeping: keeping::Keepings::default(),
        };
        checkers.fences.under(plan);
        checkers.seen.under(plan);
        checkers
    }

    /// Another plan promises something else. What was done stays done.
    pub fn plan_changed(&mut self, plan: &Arc<Plan>) {
        self.facts.plan = plan.clone();
        self.fences.under(plan);
        self.fences.moved_by_hand(plan);
        self.seen.under(plan);
        self.epochs.plan_changed();
        self.site.under(plan);
        self.routes.under(plan);
        self.evacuations.under(plan);
    }

    /// The record under which a step was begun.
    pub fn begun_at(&self, step: StepRef) -> Option<u64> {
        self.durable.begun_at(step)
    }

    /// An agent started: orders begin anew, epochs do not, and nothing was heard yet.
    pub fn agent_started(&mut self, now: Time) {
        self.strangers.blind_until(now);
        self.epochs.agent_started();
        self.seen.agent_started();
    }

    /// Somebody else made an instance active, or a standby.
    pub fn made(&mut self, instance: &str, role: SeenRole, now: Time) {
        self.strangers.made(instance, role == SeenRole::Active, now);
    }

    /// A server answers, or does not.
    pub fn lives(&mut self, name: &str, up: bool, now: Time) {
        self.strangers.lives(name, up, now);
    }

    /// An instance is about to be made active.
    pub fn activates(&mut self, order: &Order, now: Time) {
        self.strangers.activates(order.step.recovery, &order.instance, now);
    }

    /// The journal is gone: what it said no longer counts, what was done still does.
    pub fn forget_journal(&mut self) {
        self.facts.forget_journal();
        self.durable = durable::Durable::default();
        self.once = once::Once::default();
        self.guards = guards::Guards::default();
        self.undone = undone::Undone::default();
        self.served.forget_journal();
        self.breakers = breaker::Breakers::default();
        self.site.forget_journal();
        self.routes.forget_journal();
        self.evacuations.forget_journal();
        self.repairs = repairs::Repairs::default();
        self.loops = loops::Loops::default();
        self.keeping.forget_journal();
    }

    /// What the second file said is not read by the next agent: the journal ends where it could be written last.
    pub fn only_these_are_left(&mut self, records: &[(u64, Record)]) {
        self.forget_journal();
        for (seq, record) in records {
            self.durable.recorded(*seq, record);
            self.site.recorded(*seq, record);
            self.routes.recorded(*seq, record, &self.facts);
            self.evacuations.recorded(*seq, record);
            self.guards.recorded(*seq, record, &self.facts);
            self.undone.recorded(record, &self.facts);
            self.served.recorded(record, &self.facts);
            self.breakers.recorded(record);
            self.repairs.recorded(*seq, record, &self.facts);
            self.loops.recorded(record, &self.facts);
            self.keeping.recorded(*seq, record, &self.facts);
            self.facts.fold(*seq, record);
        }
    }

    /// An operator knows that the step of a recovery that may be done only once was not done.
    pub fn was_not_done(&mut self, recovery: RecoveryId) {
        self.once.was_not_done(recovery);
    }

    /// A record is durable.
    pub fn recorded(&mut self, seq: u64, record: &Record) {
        if let Body::AgentStarted { .. } = &record.body {
            self.facts.health.clear();
        }
        self.census.recorded(record);
        let facts = &self.facts;
        single::recorded(record, facts);
        self.durable.recorded(seq, record);
        self.fences.recorded(seq, record, facts);
        self.site.recorded(seq, record);
        self.routes.recorded(seq, record, facts);
        self.evacuations.recorded(seq, record);
        self.positions.recorded(record, facts, &self.fences);
        self.once.recorded(record);
        self.seen.recorded(seq, record, facts);
        self.order.recorded(record, facts);
        self.guards.recorded(seq, record, facts);
        self.served.recorded(record, facts);
        self.undone.recorded(record, facts);
        self.breakers.recorded(record);
        self.strangers.recorded(record);
        self.repairs.recorded(seq, record, facts);
        self.loops.recorded(record, facts);
        self.keeping.recorded(seq, record, facts);
        self.facts.fold(seq, record);
    }

    /// The agent hears an answer at `now`, on its own clock, and `really` at this moment.
    pub fn heard(&mut self, observation: &Observation, now: Time, really: Time) {
        self.seen.heard(observation, &self.facts.plan, now);
        self.served.heard(observation, &self.facts.plan);
        self.strangers.heard(observation, really);
    }

    /// An action is ordered.
    pub fn acted(&mut self, order: &Order) {
        self.durable.acted(order);
        self.once.acted(order);
    }

    /// An action really has its effect.
    pub fn done(&mut self, order: &Order) {
        self.fences.done(order);
    }

    /// Somebody begins to work in the folder of a series.
    pub fn works_in(&mut self, folder: &Path, job: KeepingJob, step: StepRef, now: Time) {
        self.keeping.works_in(folder, job, step, now, &self.facts);
    }

    /// Nobody works there any more.
    pub fn works_no_more(&mut self, folder: &Path) {
        self.keeping.works_no_more(folder);
    }

    /// An instance that lives by a lease really acts no more, or may again.
    pub fn may_act(&mut self, instance: &str, may: bool) {
        self.fences.may_act(instance, may);
    }

    /// The instance that a component is bound to, as far as it is durable.
    pub fn bound<'a>(&'a self, component: &'a str) -> &'a str {
        self.facts.bound(component)
    }

    /// Whether it is durable that the lease of whoever was the component is over.
    pub fn lease_is_over(&self, component: &str) -> bool {
        self.durable.lease_is_over(component, &self.facts)
    }

    /// People are told something.
    pub fn told(&self, telling: &Telling) {
        self.durable.told(telling);
    }

    /// A table is sent to the traffic process.
    pub fn ordered(&mut self, table: &RoutingTable) {
        self.durable.ordered(table);
        self.epochs.ordered(table);
    }

    /// A table is served from now on.
    pub fn applied(&mut self, table: &RoutingTable) {
        self.epochs.applied(table);
        single::applied(table);
        self.fences.applied(table);
    }

    /// After every step: a fenced target is nowhere an owner.
    pub fn after_step(&self, table: &RoutingTable) {
        single::after_step(table);
    }

    /// L2, at a moment when the agent is awake.
    pub fn look(engine: &Engine, now: Time) {
        waits::look(engine, now);
    }

    /// L2, when everything has worked again for long.
    pub fn after_healing(engine: &Engine) {
        waits::after_healing(engine);
    }
}

/// S10: a fact that is read from the disk is the fact that was written. Decisions are made again, and not read.
pub fn keeps_facts<'a>(written: impl IntoIterator<Item = (u64, &'a Record)>) {
    for (seq, record) in written.into_iter().filter(|it| it.1.body.is_fact()) {
        let read = decode(&encode(record));
        assert_eq!(read.as_ref(), Ok(record), "S10: record {seq} reads as something else");
    }
}

/// S10: the journal replays to the same decisions.
pub fn replays(stored: impl IntoIterator<Item = (u64, Encoded)>, plan: &Plan) -> Replayed {
    match replay(stored, |_, _| Some(plan.clone())) {
        Ok(replayed) => {
            assert!(replayed.misfits.is_empty(), "S10: records came where they can't come: {:?}", replayed.misfits);
            replayed
        }
        Err(error) => panic!("S10: {error}"),
    }
}
