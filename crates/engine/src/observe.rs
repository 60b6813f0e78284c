//! Soft state: the schedule of the probes and what they answered. It is lost at a restart, and nothing is decided from it.
//!
//! Intuition: this is the night watchman. He walks his rounds (the schedule), quickens his pace where something looks
//! odd, and writes into the book (the journal) only what others may act on: *the verdict on an instance changed*, *the
//! witnesses answered, so it isn't us*, *this is how far the standby was*. And when he finds that he dozed off, he writes that
//! too, and looks again before he raises an alarm.

mod replication;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_plan::observation::{Answer, Concerns, Health, OWN_LATENESS, Observation};
use mainstay_plan::probe::Watches;
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{ComponentIx, ControlIx, InstanceIx, Plan, ProbeIx, Time};

use crate::effect::Effect;
use crate::gray::{self, Replica};
use crate::lease::Role;
use crate::machine::{Told, after};
use crate::planted::{Fault, planted};
use crate::record::{Body, Ended};
use crate::roles::Tally;
use crate::scenario::{self, Question};
use crate::state::{Doubt, Observed, Recovery, State, StepAt};
use crate::verification::Verifications;
use replication::Replication;
pub(crate) use replication::Sample;
pub use replication::Stand;
pub use watch::Watch;

/// What another agent saw longer ago than that says nothing about now.
const PEERS_FRESH: Duration = Duration::from_secs(10);

/// How often whoever is to be in step is asked: nobody can write meanwhile.
const CATCHING: Duration = Duration::from_millis(200);
/// How many of the witnesses in a zone or region are asked about it.
const WITNESSES: usize = 4;

/// So many probes are asked at the same moment; those beyond are spread, so that they don't come in bursts that make each other late.
const AT_ONCE: u32 = 64;
/// Between the first questions to two of those beyond.
const BETWEEN: Duration = Duration::from_micros(100);

/// A probe whose answer has not come this long after its timeout was lost by whoever asked, and is asked again.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// What was seen lately, by probe and instance.
#[derive(Clone, Debug)]
pub struct Soft {
    probes: Vec<Watch>,
    /// Probes by when something is to be done about them.
    due: BTreeSet<(Time, ProbeIx)>,
    /// By instance: how far it is behind, and where it is.
    replication: Vec<Replication>,
    /// Instances whose verdict may have changed since the last look.
    touched: BTreeSet<InstanceIx>,
    /// Canaries that were asked since the last look.
    asked: BTreeSet<ControlIx>,
    /// Instances that a planned move waits for: they are asked more often.
    catching: BTreeSet<InstanceIx>,
    /// By instance: what is wrong with its replication.
    replicas: Vec<Replica>,
    /// Instances that may be impaired, or not any more.
    gray: BTreeSet<InstanceIx>,
    /// A verdict became too old at this moment: what follows from that is to be looked at.
    aged: Option<Time>,
    /// Questions from before this were numbered by another plan.
    since: Time,
    /// Failures asked before this are not believed.
    believe_since: Time,
    /// What other agents said last, by instance and agent.
    peers: BTreeMap<(InstanceIx, String), (Health, Time)>,
    /// Verifications under way.
    verifying: Verifications,
    /// By zone or region: the last good answer from there, by when it was asked.
    heard: Vec<Option<(Time, ProbeIx)>>,
}

/// What was taken in.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When the answer was there.
    pub ended: Time,
    /// How long it took, if it was good and says something about what was asked.
    pub latency: Option<Duration>,
}

/// Whether an unplanned recovery goes on to another rung although whoever the component is bound to is healthy: it may take writes.
fn bound_serves_between_rungs(state: &State, component: ComponentIx) -> bool {
    let open = &state.components[component.index()];
    let has_failed = |it: &Recovery| it.planned().is_none() && it.progress.is_none() && !it.failed_rungs.is_empty();
    state.instances[open.bound.index()].health == Health::Healthy && open.recovery.as_ref().is_some_and(has_failed)
}

impl Soft {
    /// Nothing was seen yet; every instance and witness is asked at once, or soon where there are many.
    pub fn new(plan: &Plan, now: Time) -> Soft {
        let mut soft = Soft {
            probes: plan.probes.iter().map(|_| Watch::unseen()).collect(),
            due: BTreeSet::new(),
            replication: vec![Replication::default(); plan.instances.len()],
            touched: BTreeSet::new(),
            asked: BTreeSet::new(),
            catching: BTreeSet::new(),
            replicas: vec![Replica::default(); plan.instances.len()],
            gray: BTreeSet::new(),
            aged: None,
            since: now,
            believe_since: Time::ZERO,
            peers: BTreeMap::new(),
            verifying: Verifications::default(),
            heard: Vec::new(),
        };
        for (probe, ix) in plan.probes.iter().zip((0u32..).map(ProbeIx)) {
            match probe.watches {
                Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) => {
                    let ramp = BETWEEN * ix.0.saturating_sub(AT_ONCE);
                    soft.schedule(ix, now + ramp.min(probe.timing.interval));
                }
                Watches::Route(_) => {}
            }
        }
        soft
    }

    /// What a probe says at the moment, for people.
    pub fn watch(&self, probe: ProbeIx) -> &Watch {
        &self.probes[probe.index()]
    }

    /// When the next probe is due.
    pub fn next_due(&self) -> Option<Time> {
        self.aged.or_else(|| self.due.first().map(|it| it.0))
    }

    /// Takes an answer in; `None`: it is none of ours.
    pub fn take(&mut self, state: &State, now: Time, observation: Observation) -> Option<Taken> {
        let plan = &*state.plan;
        let probe = plan.probes.get(observation.probe.index()).filter(|_| observation.started >= self.since)?;
        let timing = probe.timing;
        let watch = &mut self.probes[observation.probe.index()];
        let asked = watch.in_flight.take();
        if asked.is_none() && watch.scheduled.is_none() {
            return None;
        }
        let took = observation.ended.since(observation.started);
        let late = took > timing.timeout + plan.allowances.lateness || observation.started < self.believe_since;
        // Whoever asks may begin later than it was told to, and then asks where the instance was.
        let outdated = observation.started < watch.anew || asked.is_some_and(|it| it < watch.anew);
        let answer = if outdated {
            Answer::CouldNotAsk("it was asked before something was done to it".to_owned())
        } else if late && observation.answer.is_failure() {
            Answer::CouldNotAsk(OWN_LATENESS.to_owned())
        } else {
            observation.answer
        };
        watch.late = observation.started.since(watch.due);
        let before = watch.health;
        let was_in_doubt = watch.in_doubt();
        watch.fold(&timing, &answer, observation.started, observation.ended);
        // An answer that took longer than it may was measured by someone who was late.
        let measured = answer == Answer::Good && probe.kind.reports_latency() && took <= timing.timeout;
        let latency = measured.then_some(took);
        let changed = match &answer {
            Answer::Good => watch.pulse.good(latency, timing.timeout),
            Answer::Refused(_) | Answer::TimedOut | Answer::Wrong(_) => {
                watch.pulse.failed(watch.health == Health::Down)
            }
            Answer::CouldNotAsk(_) => false,
        };
        let mut changed = changed || before != watch.health;
        if answer == Answer::Good && watch.concerns.as_deref().unwrap_or(&Concerns::NONE) != &observation.concerns {
            changed = true;
            watch.concerns = (observation.concerns != Concerns::NONE).then(|| Box::new(observation.concerns));
        }
        let lag = match probe.watches {
            Watches::Instance(instance) if !outdated => {
                let said = (observation.lag, observation.position);
                replication::take(&mut self.replication, state, instance, observation.started, said)
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) | Watches::Route(_) => None,
        };
        if let Watches::Instance(instance) = probe.watches {
            if probe.kind.reports_role() {
                let lasting = &state.instances[instance.index()];
                Tally::take(
                    &mut watch.tally,
                    &answer,
                    observation.role.as_deref(),
                    observation.started,
                    lasting.role_anew,
                );
                watch.role_in_doubt = watch.tally.as_ref().is_some_and(|it| it.differs(lasting.role));
            }
            if answer == Answer::Good && probe.kind.reports_lag() {
                self.judge_replication(state, instance, lag);
            }
            if changed {
                self.gray.insert(instance);
            }
        }
        if answer == Answer::Good {
            self.verifying.answered(observation.probe, observation.started);
            self.hear(state, observation.probe, observation.started);
        }
        self.reschedule(plan, observation.probe, observation.started, was_in_doubt, now);
        if let Watches::Control(control) = probe.watches {
            self.asked.insert(control);
        }
        if let Watches::Instance(instance) = probe.watches {
            self.touched.insert(instance);
            if answer.is_failure() {
                self.ask_witnesses(plan, instance, now);
                self.ask_around(state, instance, now);
            }
        }
        Some(Taken { ended: observation.ended, latency })
    }

    /// What is wrong with the replication of an instance.
    pub(crate) fn replica(&self, instance: InstanceIx) -> &Replica {
        &self.replicas[instance.index()]
    }

    /// Instances that are impaired, or not any more, as facts.
    pub(crate) fn impairments(&mut self, state: &State) -> Vec<Body> {
        let mut facts = Vec::new();
        while let Some(instance) = self.gray.pop_first() {
            facts.append(&mut gray::changes(state, self, instance));
        }
        facts
    }

    /// We were late: failures seen up to now are not believed, and counting starts again.
    pub fn distrust(&mut self, state: &State, now: Time) {
        self.believe_since = now;
        for (watch, probe) in self.probes.iter_mut().zip(&state.plan.probes) {
            if let Watches::Instance(_) = probe.watches {
                watch.failures = 0;
                watch.first_failed = None;
                watch.health = after(watch.health, Told::Distrusted);
            }
        }
    }

    /// What was seen of an instance up to now does not count; it is asked at once.
    pub(crate) fn look_again(&mut self, plan: &Plan, instance: InstanceIx, why: Doubt, now: Time) {
        for probe in &plan.instance(instance).probes {
            let watch = &mut self.probes[probe.index()];
            watch.health = after(watch.health, Told::LookAgain);
            watch.failures = 0;
            watch.goods = 0;
            watch.first_failed = None;
            watch.anew = now;
            self.ask_now(*probe, now);
        }
        match why {
            Doubt::Late => self.replication[instance.index()].distrust(),
            Doubt::ActedOn => self.replication[instance.index()].clear(),
        }
    }

    /// The instances that were observed since the last call.
    pub(crate) fn seen(&mut self) -> BTreeSet<InstanceIx> {
        self.aged = None;
        std::mem::take(&mut self.touched)
    }

    /// Changes of the health of these instances, as facts.
    pub fn health_changes(&self, state: &State, seen: &BTreeSet<InstanceIx>) -> Vec<Body> {
        let mut facts = Vec::new();
        for instance in seen {
            facts.extend(self.health_change(state, *instance));
            facts.extend(self.role_change(state, *instance));
            facts.extend(self.in_step_change(state, *instance));
        }
        facts
    }

    /// What a probe was told of its instance's role.
    pub(crate) fn tally(&self, probe: ProbeIx) -> Option<&Tally> {
        self.probes[probe.index()].tally.as_ref()
    }

    /// Changes of the verdict on canaries since the last call, as facts.
    pub fn canary_changes(&mut self, state: &State) -> Vec<Body> {
        let mut facts = Vec::new();
        while let Some(control) = self.asked.pop_first() {
            facts.extend(self.canary_change(state, control));
        }
        facts
    }

    fn canary_change(&self, state: &State, ix: ControlIx) -> Option<Body> {
        let planned = state.plan.control(ix);
        let probe = planned.canary?;
        let watch = &self.probes[probe.index()];
        let to = watch.health;
        let told = to != Health::Suspect && to != state.controls[ix.index()].canary;
        told.then(|| Body::CanaryChanged {
            service: planned.service.clone(),
            region: planned.region.clone(),
            to,
            since: watch.first_failed.or(watch.last_good_asked).unwrap_or_default(),
            evidence: watch.evidence(&state.plan.probe(probe).name),
        })
    }

    fn health_change(&self, state: &State, instance: InstanceIx) -> Option<Body> {
        let planned = state.plan.instance(instance);
        let from = state.instances[instance.index()].health;
        let to = self.verdict(&state.plan, instance);
        if to == from || to == Health::Suspect {
            return None;
        }
        let watches = || planned.probes.iter().map(|it| (*it, &self.probes[it.index()]));
        let down = || watches().filter(|(_, it)| it.health == Health::Down).map(|(_, it)| it);
        let (since, last_good) = if to == Health::Down {
            (down().filter_map(|it| it.first_failed).min(), down().filter_map(|it| it.last_good).max())
        } else {
            (watches().filter_map(|(_, it)| it.last.as_ref().map(|it| it.1)).max(), None)
        };
        Some(Body::HealthChanged {
            instance: planned.name.clone(),
            from,
            to,
            since: since.unwrap_or_default(),
            last_good,
            evidence: watches().map(|(ix, it)| it.evidence(&state.plan.probe(ix).name)).collect(),
        })
    }

    /// What the probes of an instance add up to. One probe that is not known leaves the whole not known: a good answer
    /// elsewhere must not hide the one that has not been asked yet.
    pub fn verdict(&self, plan: &Plan, instance: InstanceIx) -> Health {
        let planned = plan.instance(instance);
        let count = |health| planned.probes.iter().filter(|it| self.probes[it.index()].health == health).count();
        if count(Health::Down) >= planned.down_when {
            Health::Down
        } else if count(Health::Unknown) > 0 || planned.probes.is_empty() {
            Health::Unknown
        } else if count(Health::Suspect) > 0 {
            Health::Suspect
        } else {
            Health::Healthy
        }
    }

    /// Facts that an open failure waits for: that the witnesses answered, how far standbys were, that clients are served.
    pub fn answers_awaited(&mut self, state: &State, components: &[ComponentIx], now: Time) -> Vec<Body> {
        let mut facts = Vec::new();
        let mut told = BTreeSet::new();
        self.verifying.retain(|it| state.running(it).is_some());
        for component in components {
            let open = &state.components[component.index()];
            if let Some(since) = state.failing_since(*component) {
                facts.extend(self.witnesses_answered(state, *component, since));
                let bound = &state.instances[open.bound.index()];
                // What was not seen to answer since then has acknowledged nothing since then, whatever was tried with it.
                let failed = bound.out_since.filter(|_| bound.health == Health::Down).unwrap_or(since);
                facts.extend(self.positions(state, *component, failed, now));
            } else if bound_serves_between_rungs(state, *component) {
                facts.extend(self.positions(state, *component, now, now));
            }
            let bound = &state.instances[open.bound.index()];
            if bound.health == Health::Down {
                facts.extend(self.signals_seen(state, *component, bound.since));
                facts.extend(self.observers_answered(state, *component, bound.since, now));
                facts.extend(self.surroundings(state, *component, now, &mut told));
            }
            if let Some(recovery) = &open.recovery {
                facts.extend(self.caught_up(state, recovery, now));
                facts.extend(self.verified(state, recovery, now));
            }
        }
        facts
    }

    /// A witness that failed meanwhile says that our path was broken: once it answers again, what failed has to fail once
    /// more, because it may only be the last to be seen again.
    fn witnesses_answered(&self, state: &State, component: ComponentIx, since: Time) -> Option<Body> {
        let bound = state.plan.instance(state.components[component.index()].bound);
        let is_down = state.instances[state.components[component.index()].bound.index()].health == Health::Down;
        // Of whom a rule accuses any answer counts: it went into the rule, which still says so.
        let failed = |it: &ProbeIx| {
            let watch = &self.probes[it.index()];
            if is_down { watch.last_failed } else { watch.last_failed.max(watch.last_good_asked) }
        };
        let failed = bound.probes.iter().filter_map(failed).max();
        let shows = |witness: &Watch| {
            let whole = witness.last_failed.is_none_or(|it| it < since) || failed >= witness.good_since;
            whole && witness.last_good_asked.is_some_and(|it| it >= since)
        };
        let rule = &state.plan.component(component).witnesses;
        let known = state.components[component.index()].witnessed.is_some_and(|it| it >= since);
        let answered: Vec<String> = (rule.of.iter())
            .map(|it| state.plan.witness(*it))
            .filter(|it| shows(&self.probes[it.probe.index()]))
            .map(|it| it.name.clone())
            .collect();
        (rule.need > 0 && !known && answered.len() >= rule.need).then(|| Body::WitnessesAnswered {
            component: state.plan.component(component).name.clone(),
            answered,
            since,
        })
    }

    /// Whether as many probes of different kinds as the plan asks for find the instance down: a defect of one kind of probe, or
    /// of what it asks, is one signal however often it is asked.
    fn signals_seen(&self, state: &State, component: ComponentIx, since: Time) -> Option<Body> {
        let planned = state.plan.component(component);
        let lasting = &state.components[component.index()];
        if planned.guards.signals < 2 || lasting.signalled.is_some_and(|it| it >= since) {
            return None;
        }
        let probes = &state.plan.instance(lasting.bound).probes;
        let down = probes.iter().filter(|it| self.probes[it.index()].health == Health::Down);
        let by_kind: BTreeMap<&str, &str> =
            down.map(|it| state.plan.probe(*it)).map(|it| (it.kind.word(), it.name.as_str())).collect();
        (by_kind.len() >= planned.guards.signals as usize).then(|| Body::SignalsSeen {
            component: planned.name.clone(),
            probes: by_kind.into_values().map(str::to_owned).collect(),
            since,
        })
    }

    /// Takes in what another agent of the plan sees.
    pub fn take_peer(&mut self, state: &State, agent: String, instance: &str, health: Health, asked: Time) {
        let Some(ix) = state.instance(instance) else { return };
        if state.plan.agents.iter().any(|it| it.name == agent) {
            let newest = self.peers.entry((ix, agent)).or_insert((health, asked));
            if asked >= newest.1 {
                *newest = (health, asked);
            }
        }
    }

    /// What the other agents see of what is down here: who sees it down too, and who sees it healthy.
    fn observers_answered(&self, state: &State, component: ComponentIx, since: Time, now: Time) -> Option<Body> {
        let planned = state.plan.component(component);
        if planned.guards.observers.is_none() || state.leadership.role == Role::Sole {
            return None;
        }
        let lasting = &state.components[component.index()];
        let of_it = (lasting.bound, String::new())..(InstanceIx(lasting.bound.0 + 1), String::new());
        let fresh = |it: &(&(InstanceIx, String), &(Health, Time))| it.1.1 >= since && now.since(it.1.1) <= PEERS_FRESH;
        let who = |health: Health| -> Vec<String> {
            let seen = self.peers.range(of_it.clone()).filter(fresh).filter(|it| it.1.0 == health);
            seen.map(|it| it.0.1.clone()).collect()
        };
        let (down, healthy) = (who(Health::Down), who(Health::Healthy));
        let observed = Observed { since, down: down.clone(), healthy: healthy.clone() };
        let known = lasting.observed.as_ref().map_or(down.is_empty() && healthy.is_empty(), |it| *it == observed);
        (!known).then(|| Body::ObserversAnswered { component: planned.name.clone(), down, healthy, since })
    }

    fn verified(&mut self, state: &State, recovery: &Recovery, now: Time) -> Option<Body> {
        let (step, probes, since) =
            state.open_steps(recovery).find_map(|(at, step, stand)| match (&step.kind, &stand.at) {
                (StepKind::Verify { probes }, StepAt::Running { since }) => Some((at, probes, since)),
                _ => None,
            })?;
        if !state.leads_there(recovery.component) {
            return None;
        }
        let Some(is_complete) = self.verifying.is_complete(step) else {
            self.verifying.begin(step, *since, probes);
            for probe in probes {
                self.ask_now(*probe, now);
            }
            return None;
        };
        // What a rule began is not over while a rule still says that it has failed.
        let accused = |to| recovery.rule.is_some() && state.accuser(to).is_some();
        let still_failed = state.play(recovery).is_some_and(|it| accused(it.to));
        ((is_complete && !still_failed) || planted(Fault::VerifiedUnseen))
            .then_some(Body::StepEnded { step, ended: Ended::Done })
    }

    /// Emits the probes that are due, and gives up on answers that never came.
    pub fn emit_due(&mut self, state: &State, now: Time, effects: &mut Vec<Effect>) {
        let plan = &*state.plan;
        while let Some((at, ix)) = self.due.first().copied()
            && at <= now
        {
            self.due.remove(&(at, ix));
            let probe = plan.probe(ix);
            let watch = &mut self.probes[ix.index()];
            watch.scheduled = None;
            watch.due = at;
            if watch.in_flight.take().is_some() {
                watch.fold(&probe.timing, &Answer::CouldNotAsk("no answer came back".to_owned()), now, now);
            }
            if let Watches::Route(_) = probe.watches
                && !self.verifying.awaits(ix)
            {
                continue;
            }
            if watch.age(&probe.timing, now) {
                self.aged = Some(now);
            }
            watch.in_flight = Some(now);
            let at = if let Watches::Instance(instance) = probe.watches { state.address(instance) } else { None };
            effects.push(Effect::Probe(ix, at));
            match probe.watches {
                Watches::Instance(instance) => drop(self.touched.insert(instance)),
                Watches::Control(control) => drop(self.asked.insert(control)),
                Watches::Witness(_) | Watches::Route(_) => {}
            }
            self.schedule(ix, now + probe.timing.timeout + LOST_AFTER);
        }
    }

    /// An answer counts from the first failure of the probe that is found down. Which one that will be is not known yet, so
    /// each of them is followed by a question.
    fn ask_witnesses(&mut self, plan: &Plan, instance: InstanceIx, now: Time) {
        let Some(since) =
            plan.instance(instance).probes.iter().filter_map(|it| self.probes[it.index()].first_failed).max()
        else {
            return;
        };
        self.ask_witnesses_since(plan, instance, since, now);
    }

    /// Asks the witnesses of an instance's component, unless they have answered a question of `since` or later.
    pub(crate) fn ask_witnesses_since(&mut self, plan: &Plan, instance: InstanceIx, since: Time, now: Time) {
        for witness in &plan.component(plan.instance(instance).component).witnesses.of {
            let probe = plan.witness(*witness).probe;
            let watch = &mut self.probes[probe.index()];
            if watch.last_good_asked.is_none_or(|it| it < since) {
                if watch.in_flight.is_some_and(|it| it < since) {
                    watch.ask_again = true;
                } else if watch.in_flight.is_none() {
                    self.ask_now(probe, now);
                }
            }
        }
    }

    /// Whom the failure of an instance may be shared with: whoever lives near it, and what its component depends on. They
    /// are asked at once, so that what fell with it is seen as soon.
    fn ask_around(&mut self, state: &State, instance: InstanceIx, now: Time) {
        let plan = &*state.plan;
        let failed = plan.instance(instance).probes.iter().filter_map(|it| self.probes[it.index()].first_failed).max();
        let Some(since) = failed.filter(|_| !plan.allowances.correlation.is_zero()) else { return };
        let topology = &*state.topology;
        let planned = plan.instance(instance);
        let near = topology.zone_neighbours(instance).iter().chain(topology.region_neighbours(instance));
        let needed = plan.component(planned.component).depends_on.iter().map(|it| &state.components[it.index()].bound);
        for other in near.chain(needed) {
            for probe in &plan.instance(*other).probes {
                self.ask_after(*probe, since, now);
            }
        }
        for domain in topology.place(instance).domains().map(|it| topology.domain(it)).filter(|it| it.is_told_apart) {
            for witness in domain.witnesses.iter().take(WITNESSES) {
                self.ask_after(plan.witness(*witness).probe, since, now);
            }
        }
    }

    /// Asks a probe, unless it was asked since.
    fn ask_after(&mut self, probe: ProbeIx, since: Time, now: Time) {
        let watch = &mut self.probes[probe.index()];
        if watch.last_good_asked.max(watch.last_failed).is_some_and(|it| it >= since) {
            return;
        }
        if watch.in_flight.is_some_and(|it| it < since) {
            watch.ask_again = true;
        } else if watch.in_flight.is_none() {
            self.ask_now(probe, now);
        }
    }

    /// Clients could not reach an instance. That is no verdict: it is looked at now instead of at the next interval, as often
    /// as while in doubt and no oftener.
    pub fn clients_failed(&mut self, plan: &Plan, instance: InstanceIx, now: Time) {
        for probe in &plan.instance(instance).probes {
            let watch = &self.probes[probe.index()];
            let last = watch.in_flight.max(watch.last_good_asked).max(watch.last_failed);
            if last.is_none_or(|it| now.since(it) >= plan.probe(*probe).timing.fast_interval) {
                self.ask_now(*probe, now);
            }
        }
    }

    fn hear(&mut self, state: &State, probe: ProbeIx, asked: Time) {
        let place = match state.plan.probe(probe).watches {
            Watches::Instance(instance) => state.topology.place(instance),
            Watches::Witness(witness) => state.topology.place_of_witness(witness),
            Watches::Route(_) | Watches::Control(_) => return,
        };
        self.heard.resize(state.domains.len(), None);
        for domain in place.domains() {
            let last = &mut self.heard[domain.index()];
            if last.is_none_or(|it| it.0 < asked) {
                *last = Some((asked, probe));
            }
        }
    }

    /// That something near a failed instance lives, or that what its component depends on is well: whichever is in question.
    fn surroundings(
        &self,
        state: &State,
        component: ComponentIx,
        now: Time,
        told: &mut BTreeSet<String>,
    ) -> Option<Body> {
        let since = state.instances[state.components[component.index()].bound.index()].since;
        match scenario::question(state, component, now)? {
            Question::Lives(domain) => {
                let (asked, probe) = self.heard.get(domain.index()).copied().flatten().filter(|it| it.0 >= since)?;
                let probe = state.plan.probe(probe);
                let place = match probe.watches {
                    Watches::Instance(instance) => state.topology.place(instance),
                    Watches::Witness(witness) => state.topology.place_of_witness(witness),
                    Watches::Route(_) | Watches::Control(_) => return None,
                };
                let from = state.topology.domain(place.zone.unwrap_or(place.region));
                told.insert(probe.name.clone()).then(|| Body::NeighbourAnswered {
                    region: from.region.clone(),
                    zone: from.zone.clone(),
                    by: probe.name.clone(),
                    asked,
                })
            }
            Question::Well(instance) => {
                let planned = state.plan.instance(instance);
                let asked = self.well_as_of(state, instance).filter(|it| *it >= since)?;
                told.insert(planned.name.clone())
                    .then(|| Body::DependencyAnswered { instance: planned.name.clone(), asked })
            }
        }
    }

    /// The newest moment as of which so many of its probes were good that it can't go down by failures from before.
    fn well_as_of(&self, state: &State, instance: InstanceIx) -> Option<Time> {
        let planned = state.plan.instance(instance);
        let need = (planned.probes.len() + 1).saturating_sub(planned.down_when);
        let mut goods: Vec<Time> =
            planned.probes.iter().filter_map(|it| self.probes[it.index()].last_good_asked).collect();
        goods.sort_unstable_by(|a, b| b.cmp(a));
        goods.get(need.saturating_sub(1)).copied()
    }

    fn ask_now(&mut self, probe: ProbeIx, now: Time) {
        let watch = &mut self.probes[probe.index()];
        if watch.in_flight.is_some() {
            watch.ask_again = true;
        } else {
            self.schedule(probe, now);
        }
    }

    fn reschedule(&mut self, plan: &Plan, probe: ProbeIx, started: Time, was_in_doubt: bool, now: Time) {
        let timing = plan.probe(probe).timing;
        let is_one_of_many = self.probes.len() > AT_ONCE as usize;
        let watch = &mut self.probes[probe.index()];
        let again = std::mem::take(&mut watch.ask_again);
        let awaited = matches!(plan.probe(probe).watches, Watches::Instance(it) if self.catching.contains(&it));
        let usual = if watch.in_doubt() || watch.role_in_doubt { timing.fast_interval } else { timing.interval };
        let spacing = if awaited { usual.min(CATCHING) } else { usual };
        // Sooner is always allowed: whoever is well again takes a place of its own in the interval.
        let takes_a_place = is_one_of_many && was_in_doubt && !watch.in_doubt();
        let spacing = if takes_a_place { part_of(spacing, probe) } else { spacing };
        // From when it was due, so that the pace holds; from when it was asked, if that was much later.
        let from = if watch.late <= timing.interval / 2 { started.min(watch.due) } else { started };
        let at = if again { now } else { now.max(from + spacing) };
        self.schedule(probe, at);
    }

    fn schedule(&mut self, probe: ProbeIx, at: Time) {
        let watch = &mut self.probes[probe.index()];
        if let Some(before) = watch.scheduled.replace(at) {
            self.due.remove(&(before, probe));
        }
        self.due.insert((at, probe));
    }
}

/// A part of an interval, by the golden ratio: the parts of any number of neighbours lie evenly.
fn part_of(interval: Duration, probe: ProbeIx) -> Duration {
    let turns = probe.0.wrapping_add(1).wrapping_mul(0x9e37_79b9);
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(u64::try_from((u128::from(nanos) * u128::from(turns)) >> 32).unwrap_or(nanos))
}
