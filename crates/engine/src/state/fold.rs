//! Folding records into the state, one function a kind of record; steps and what people say are beside it. Nothing but folding
//! changes [`State`].

use std::time::Duration;

use mainstay_plan::action::LostWrites;
use mainstay_plan::observation::Health;
use mainstay_plan::{ComponentIx, InstanceIx, Time};

use super::concerned::Concerned;
use super::control::Change;
use super::elsewhere::Begun;
use super::notices::Draft;
use super::switch::Started;
use super::{Doubt, Fenced, HISTORY, MISFITS, Misfit, Observed, Recovery, RecoveryStatus, State, StepAt, Whereabouts};
use crate::lease::{Event, Leadership, LeaseMachine, May, Role};
use crate::machine::{
    EvacuationInput, Illegal, IncidentInput, Machine, RecoveryInput, RecoveryLife, StepInput, TrafficProcess,
    TrafficWord,
};
use crate::outbox;
use crate::planted::{Fault, planted};
use crate::record::{Body, Completion, Ended, Fence, IncidentId, Record, RecoveryId};
use crate::repair;

impl State {
    /// Folds a record in. Names that the plan does not know are passed over: they belong to a plan before.
    pub fn apply(&mut self, seq: u64, record: &Record) {
        let concerned = self.concerned(&record.body);
        self.fold(seq, record);
        match concerned {
            Concerned::All => {
                self.recount_all();
                let open: Vec<ComponentIx> = self.open.values().chain(self.seats.keys()).copied().collect();
                open.into_iter().for_each(|it| self.reseat(it));
            }
            Concerned::Component(component) => {
                self.recount(component);
                self.reseat(component);
            }
            Concerned::Open | Concerned::Domain(_) | Concerned::Nobody | Concerned::Outbox => {}
        }
    }

    fn fold(&mut self, seq: u64, record: &Record) {
        self.seq = seq;
        let at = record.at;
        let about = outbox::about(self, &record.body);
        match &record.body {
            Body::AgentStarted { coordinated, .. } => {
                let started = if *coordinated { Event::StartedCoordinated } else { Event::StartedSole };
                let role = LeaseMachine::step(self.leadership.role, started).unwrap_or(Role::Sole);
                self.leadership = Leadership { role, since: at, epoch: self.leadership.epoch, ..Leadership::default() };
                self.forget_what_must_be_seen_anew(at);
                self.notices.started_again(at);
            }
            Body::AgentStopped { .. } | Body::HostRefused { .. } => {}
            Body::LeaseChanged { role, epoch, leader, .. } => self.on_lease(at, *role, *epoch, leader.as_ref()),
            Body::PeerOrder { epoch, taken, .. } => {
                if *taken {
                    self.leadership.epoch = self.leadership.epoch.max(*epoch);
                }
            }
            Body::PlanAdopted { hash, .. } => {
                // Whoever starts with another plan folds under it what came before it: from here on that makes no difference.
                if self.adopted.as_ref().is_some_and(|it| it != hash) {
                    let plan = self.plan.clone();
                    let before = std::mem::replace(self, State::new(plan.clone()));
                    *self = before.with_plan(plan, at);
                }
                self.adopted = Some(hash.clone());
            }
            Body::HealthChanged { instance, to, since, last_good, evidence, .. } => {
                let partly = evidence.iter().any(|it| it.answer == "good");
                self.on_health(at, instance, *to, *since, *last_good, partly);
            }
            Body::OwnLateness { late_ns } => {
                self.note_lateness(at, Duration::from_nanos(*late_ns));
                self.doubt_failures(at);
            }
            Body::WitnessesAnswered { component, since, .. } => {
                if let Some(ix) = self.component(component) {
                    self.components[ix.index()].witnessed = Some(*since);
                }
            }
            Body::SignalsSeen { component, since, .. } => {
                if let Some(ix) = self.component(component) {
                    self.components[ix.index()].signalled = Some(*since);
                }
            }
            Body::ObserversAnswered { component, down, healthy, since } => {
                if let Some(ix) = self.component(component) {
                    let observed = Observed { since: *since, down: down.clone(), healthy: healthy.clone() };
                    self.components[ix.index()].observed = Some(observed);
                }
            }
            Body::NeighbourAnswered { region, zone, by, asked } => {
                self.on_answered(region, zone.as_deref(), by, *asked)
            }
            Body::DependencyAnswered { instance, asked } => {
                if let Some(ix) = self.instance(instance) {
                    let answered = &mut self.instances[ix.index()].answered;
                    *answered = (*answered).max(*asked);
                }
            }
            Body::PositionFrozen { instance, loss_ns, place, .. } => {
                if let Some(ix) = self.instance(instance) {
                    self.instances[ix.index()].frozen_loss = Some(loss_ns.map(Duration::from_nanos));
                    self.instances[ix.index()].frozen_place = place.clone();
                    self.components[self.plan.instance(ix).component.index()].loss_anew = false;
                }
            }
            Body::StepEnded { step, ended } => {
                if !self.on_repair_step_ended(at, *step, ended) && !self.on_keeping_step_ended(at, *step, ended) {
                    self.on_step_ended(at, *step, ended.clone());
                }
            }
            Body::StepTimedOut { step, why } => {
                let unknown = Ended::Unknown(why.clone());
                if !self.on_repair_step_ended(at, *step, &unknown) && !self.on_keeping_step_ended(at, *step, &unknown) {
                    self.on_step_timed_out(at, *step, why);
                }
            }
            Body::RouteApplied { process, epoch } => self.on_applied(at, process, *epoch),
            Body::RouteRefused { process, epoch, reason } => {
                let newest = *epoch >= self.routing.epoch;
                self.hear(process, if newest { TrafficWord::RefusedNewest } else { TrafficWord::RefusedOlder });
                self.routing.refused = Some(reason.clone());
            }
            Body::TrafficSilent { process, since } => self.on_silent(at, process, *since),
            Body::CutBySilence { process, routes } => self.on_cut_by_silence(at, process, routes),
            Body::TrafficAhead { process, epoch, targets } => self.on_ahead(process, *epoch, targets),
            Body::Commanded { command, by } => self.on_command(at, command, by),
            Body::Told { channel, notice, nth, ended } => {
                self.notices.told(&self.plan, at, channel, *notice, *nth, ended);
            }
            Body::NoticeSent { notice, nth, escalated, level, text, to } => {
                let (nth, escalated, level) = (*nth, *escalated, *level);
                let draft = Draft { nth, escalated, level, text: text.clone(), to: to.clone() };
                self.notices.sent(&self.plan, at, *notice, &draft);
            }
            Body::NoticeResent { channel, .. } => self.notices.resent(at, channel),
            Body::JournalLost { reason } => self.journal_lost = Some(reason.clone()),
            Body::CanaryChanged { service, region, to, since, evidence } => {
                self.on_canary(service, region, *to, *since, evidence);
            }
            Body::BreakerChanged { service, region, to, why, until, by, .. } => {
                self.on_breaker(at, Change { service, region, to: *to, why, until: *until, by: *by });
            }
            Body::Impaired { instance, how, evidence } => {
                if let Some(ix) = self.instance(instance) {
                    self.instances[ix.index()].impaired.insert(*how, (at, evidence.clone()));
                }
            }
            Body::ImpairmentEnded { instance, how } => {
                if let Some(ix) = self.instance(instance) {
                    self.instances[ix.index()].impaired.remove(how);
                }
            }
            Body::RuleFired { rule, since, terms } => self.on_rule_fired(at, rule, *since, terms),
            Body::RuleCleared { rule } => self.on_rule_cleared(rule),
            Body::FailureDetected {
                component,
                instance,
                scenario,
                first_failed,
                last_good,
                evidence,
                incident,
                plan,
                rule,
            } => {
                if let Some(ix) = self.component(component) {
                    let opened = Recovery::open(ix, component, instance, *scenario, *first_failed, *last_good);
                    let budget = self.plan.component(ix).objectives.rto_for(scenario.domain());
                    let (evidence, incident, plan) = (evidence.clone(), *incident, plan.clone());
                    let rule = rule.as_ref().and_then(|it| self.fired(self.rule(it)?)).cloned();
                    let evacuated = self.evacuated(self.components[ix.index()].bound).map(|it| it.id);
                    let opened = Recovery { rule, evidence, incident, evacuated, plan, budget, ..opened };
                    self.components[ix.index()].asked = None;
                    self.components[ix.index()].recovery = Some(opened.at(RecoveryId(seq), at));
                    self.open.insert(RecoveryId(seq), ix);
                    if let Some(incident) = incident {
                        self.joins(incident);
                    }
                    self.join_evacuations(ix);
                }
            }
            Body::SwitchStarted { component, from, to, by, reason, graceful, evacuation } => {
                let evacuation = evacuation.as_deref();
                let started = Started { component, from, to, by, reason, graceful: *graceful, evacuation };
                self.on_switch_started(at, RecoveryId(seq), &started);
            }
            Body::EvacuationHeld { place, component, why } => self.on_evacuation_held(at, place, component, why),
            Body::EvacuationSettled { place, left, .. } => self.on_evacuation_settled(place, left),
            Body::EvacuationExpires { place, .. } => self.on_evacuation(place, |it| it.told = true),
            Body::EvacuationEnded { place } => self.end_evacuation(place, EvacuationInput::Expired),
            Body::SwitchUndone { recovery, why, .. } => self.on_switch_undone(at, *recovery, why),
            Body::RoleSeen { instance, role, evidence } => self.on_role_seen(at, instance, *role, evidence),
            Body::SeenElsewhere { component, active, evidence, .. } => {
                self.on_seen_elsewhere(at, component, active, evidence);
            }
            Body::ElsewhereOver { component, .. } => self.on_elsewhere_over(component),
            Body::AdoptionStarted { component, from, to, by, reason, old_owner } => {
                let begun = Begun { component, from, to, by, reason, old_owner: old_owner.clone() };
                self.on_adoption_started(at, RecoveryId(seq), &begun);
            }
            Body::InStepChanged { instance, in_step } => {
                if let Some(ix) = self.instance(instance) {
                    let instance = &mut self.instances[ix.index()];
                    instance.in_step = *in_step;
                    instance.whole_since = instance.whole_since.max(at);
                }
            }
            Body::Classified { recovery, scenario, evidence } => self.with(*recovery, |it| {
                it.scenario = *scenario;
                it.evidence.clone_from(evidence);
                it.classified = true;
                it.held = None;
            }),
            Body::IncidentOpened { scenario, region, zone, first_failed, evidence } => {
                if let Some(domain) = self.topology.named(region, zone.as_deref()) {
                    self.on_incident_opened(at, IncidentId(seq), *scenario, domain, *first_failed, evidence);
                }
            }
            Body::IncidentEnded { incident, .. } => self.on_incident_ended(*incident),
            Body::IncidentRecovered { incident, .. } => {
                self.incident_moved(*incident, IncidentInput::Recovered);
            }
            Body::Held { recovery, waiting } => self.on_held(at, *recovery, waiting),
            Body::RecoveryInitiated { recovery, approval, .. } => {
                if approval.is_some()
                    && let Some(ix) = self.open.get(recovery)
                {
                    self.components[ix.index()].advance.clear();
                }
                self.on_initiated(at, *recovery);
            }
            Body::RungSkipped { recovery, rung, strategy, why, for_later } => {
                self.moved(*recovery, RecoveryInput::RungSkipped, |it| {
                    if *for_later {
                        it.for_later.insert(*rung);
                    }
                    it.tried.push(format!("{} passed over: {why}", strategy.word()));
                    it.rung = rung + 1;
                    if it.skip.as_ref() == Some(why) {
                        it.skip = None;
                        it.given_up.insert(*rung);
                    }
                });
            }
            Body::RungStarted { recovery, rung, .. } => self.on_rung_started(*recovery, *rung),
            Body::StepStarted { step, name, .. } => {
                if !self.on_repair_step_started(at, *step) && !self.on_keeping_step_started(at, *step) {
                    self.on_step_started(at, *step, name);
                }
            }
            Body::RepairStarted { instance, owner, harmless, .. } => {
                self.on_repair_started(at, RecoveryId(seq), instance, owner, harmless);
            }
            Body::RepairFailed { repair, why, again, .. } => self.on_repair_failed(at, *repair, why, *again),
            Body::RepairCompleted { repair, .. } => self.on_repair_completed(at, *repair),
            Body::KeepingStarted { component, series, job, nth } => {
                self.on_keeping_started(at, RecoveryId(seq), (component, series), *job, *nth);
            }
            Body::KeepingCompleted { keeping, .. } => self.on_keeping_completed(at, *keeping),
            Body::KeepingFailed { keeping, why, again, .. } => self.on_keeping_failed(at, *keeping, why, *again),
            Body::KeepingGaveWay { keeping, .. } => self.on_keeping_gave_way(at, *keeping),
            Body::KeepingOverdue { component, series, job, .. } => self.on_keeping_overdue(component, series, *job),
            Body::RetryScheduled { step, at: until } => {
                self.step_moved(*step, StepInput::RetryScheduled, StepAt::Waiting { until: *until });
                self.with(step.recovery, |it| it.held = None);
            }
            Body::RollbackStarted { recovery, why, .. } => self.on_rollback_started(at, *recovery, why),
            Body::UndoStarted { step, name, .. } => self.on_undo_started(at, *step, name),
            Body::BudgetExceeded { recovery, .. } => self.with(*recovery, |it| it.over_budget = true),
            Body::RungFailed { recovery, rung, why } => {
                self.displace_half_activated(*recovery);
                if let Some(ix) = self.open.get(recovery) {
                    let bound = self.components[ix.index()].bound;
                    let others = self.plan.component(*ix).instances.iter().filter(|it| **it != bound);
                    let is_measured = others.into_iter().any(|it| self.plan.instance(*it).reports_lag);
                    let is_down = self.instances[bound.index()].health == Health::Down;
                    let component = &mut self.components[ix.index()];
                    let is_planned = component.recovery.as_ref().is_some_and(|it| it.planned().is_some());
                    component.loss_anew = is_measured && !is_down && !is_planned;
                }
                self.moved(*recovery, RecoveryInput::RungFailed, |it| {
                    it.tried.push(why.clone());
                    it.failed_rungs.insert(*rung);
                    it.rung = rung + 1;
                    it.progress = None;
                    it.cut = false;
                    it.held = None;
                    if it.skip.take().is_some() {
                        it.given_up.insert(*rung);
                    }
                });
            }
            Body::FenceConfirmed { recovery, step, instance, fence, by } => {
                if let (Fence::Stop {}, Some(ix)) = (fence, self.instance(instance)) {
                    self.instances[ix.index()].mending.stopped = true;
                }
                let (step, instance, fence, by) = (*step, instance.clone(), *fence, by.clone());
                self.with(*recovery, |it| it.fenced.push(Fenced { step, instance, fence, by, at }));
            }
            Body::FencePassedOver { step, name, why } => {
                if self.step_moved(*step, StepInput::PassedOver, StepAt::PassedOver) {
                    self.with(step.recovery, |it| it.tried.push(format!("{name}: {why}")));
                }
            }
            Body::Bound { component, instance, .. } => self.on_bound(at, component, instance),
            Body::Rejoined { instance } => {
                if let Some(ix) = self.instance(instance) {
                    self.rejoin(at, ix);
                }
            }
            Body::AddressChanged { instance, address, instead_of, step, why } => {
                let (instead_of, why) = (instead_of.clone(), why.clone());
                let now = address.map(|address| Whereabouts { address, instead_of, since: at, why });
                self.on_address(at, instance, now, *step);
            }
            Body::RouteHeld { route, targets, objection } => self.on_route_held(at, route, targets, objection),
            Body::RouteFreed { route } => {
                if let Some(ix) = self.route(route) {
                    self.routing.held.remove(&ix);
                }
            }
            Body::TablePublished { epoch, targets } => self.on_published(at, *epoch, targets),
            Body::RecoveryCompleted { recovery, how, .. } => {
                self.with(*recovery, |it| it.completion = Some(how.clone()));
                // What was seen before we acted says nothing about what is now: without this, the old verdict would
                // open the next recovery.
                let acted = !matches!(how, Completion::BySomeoneElse { .. });
                let bound = self.open.get(recovery).map(|it| self.components[it.index()].bound).filter(|_| acted);
                if let Some(bound) = bound.filter(|it| self.instances[it.index()].health == Health::Down) {
                    self.doubt(at, bound);
                }
                self.close(at, *recovery, RecoveryInput::Completed);
            }
            Body::RecoveryFailed { recovery, why } => {
                self.displace_half_activated(*recovery);
                self.with(*recovery, |it| it.tried.push(why.clone()));
                self.close(at, *recovery, RecoveryInput::Failed);
            }
        }
        if let Some(about) = about {
            let line = outbox::line(self, &record.body);
            self.notices.happened(&self.plan, seq, at, about, line);
        }
        if let Body::IncidentOpened { .. } = &record.body {
            self.merge_notices(at, IncidentId(seq));
        }
    }

    fn merge_notices(&mut self, at: Time, incident: IncidentId) {
        let merged: Vec<(String, RecoveryId)> = (self.open_recoveries())
            .filter(|it| it.incident == Some(incident))
            .map(|it| (it.component_name.clone(), it.id))
            .collect();
        for (component, recovery) in merged {
            self.notices.merge(&self.plan, at, incident, &component, recovery);
        }
    }

    pub(super) fn with(&mut self, id: RecoveryId, change: impl FnOnce(&mut Recovery)) {
        let Some(ix) = self.open.get(&id) else { return };
        if let Some(found) = &mut self.components[ix.index()].recovery {
            change(found);
        }
    }

    /// Moves a recovery on, and changes what goes with it. What can't come is noted, and changes nothing; of a recovery that
    /// is not known any more nobody can say whether it could.
    pub(super) fn moved(&mut self, id: RecoveryId, input: RecoveryInput, change: impl FnOnce(&mut Recovery)) {
        let open = self.open.get(&id).and_then(|it| self.components[it.index()].recovery.as_mut());
        let illegal = match open {
            Some(recovery) => match RecoveryLife::step(recovery.status, input) {
                Ok(next) => {
                    recovery.status = next;
                    change(recovery);
                    return;
                }
                Err(illegal) => Some(illegal),
            },
            None => {
                let ended = self.history.iter().rev().find(|it| it.id == id);
                ended.and_then(|it| RecoveryLife::next(it.status, input).err())
            }
        };
        self.note(illegal);
    }

    pub(super) fn note(&mut self, misfit: Option<Illegal>) {
        let Some(what) = misfit else { return };
        if self.misfits.len() == MISFITS {
            self.misfits.pop_front();
        }
        self.misfits.push_back(Misfit { seq: self.seq, what });
    }

    /// What a traffic process says, or what changes under it.
    pub(super) fn hear(&mut self, process: &str, word: TrafficWord) {
        match TrafficProcess::step(self.standing(process), word) {
            Ok(next) => {
                self.routing.standing.insert(process.to_owned(), next);
            }
            Err(illegal) => self.note(Some(illegal)),
        }
    }

    fn forget_what_must_be_seen_anew(&mut self, at: Time) {
        for instance in &mut self.instances {
            instance.health = Health::Unknown;
            instance.out_since = None;
            instance.unseen_since = at;
            instance.frozen_loss = None;
            instance.impaired.clear();
            instance.role = None;
            instance.role_told.clear();
            instance.role_anew = at;
        }
        for domain in &mut self.domains {
            domain.burst = None;
        }
        self.routing.acknowledged.clear();
        self.routing.silent.clear();
        for process in self.known_processes() {
            self.hear(&process, TrafficWord::AgentStarted);
        }
        self.journal_lost = None;
        self.know_series(at);
        self.forget_canaries();
        self.interrupt_steps(at, "the agent ended before the outcome was known");
    }

    /// Before something is done under another lease, whatever a recovery rests on is seen anew: others may have acted.
    fn on_lease(&mut self, at: Time, role: Role, epoch: u64, leader: Option<&String>) {
        let acted = self.leadership.may(&self.plan);
        self.leadership = self.leadership.changed(role, epoch, leader.cloned(), at);
        if acted != self.leadership.may(&self.plan) || role == Role::Leader {
            self.interrupt_steps(at, "the lease was lost before the outcome was known");
            self.doubt_failures(at);
        }
        let acts = role != Role::Sole && self.leadership.may(&self.plan) != May::Nothing;
        if acts && !planted(Fault::NewLeaseTrustsOldTable) {
            self.routing.acknowledged.clear();
            for process in self.known_processes() {
                self.hear(&process, TrafficWord::LeaseBegan);
            }
        }
    }

    /// What we saw while we were late is not believed: failures, and everything that an open recovery rests on. An instance
    /// that was healthy stays so: we only say less than we knew.
    fn doubt_failures(&mut self, at: Time) {
        let involved = |it: &InstanceIx| {
            let open = self.components[self.plan.instance(*it).component.index()].recovery.is_some();
            self.instances[it.index()].health == Health::Down || open
        };
        let doubted: Vec<InstanceIx> = (0u32..).map(InstanceIx).take(self.instances.len()).filter(involved).collect();
        for instance in doubted {
            self.doubt_because(at, instance, Doubt::Late);
        }
        for component in &mut self.components {
            component.witnessed = None;
            component.signalled = None;
            component.observed = None;
        }
    }

    /// Something was done to it: it has to be seen anew what it is now.
    pub(super) fn doubt(&mut self, at: Time, ix: InstanceIx) {
        self.doubt_because(at, ix, Doubt::ActedOn);
    }

    fn doubt_because(&mut self, at: Time, ix: InstanceIx, why: Doubt) {
        let instance = &mut self.instances[ix.index()];
        instance.health = Health::Unknown;
        instance.unseen_since = at;
        self.doubted.push((ix, why));
    }

    fn on_health(&mut self, at: Time, name: &str, to: Health, since: Time, last_good: Option<Time>, partly: bool) {
        let Some(ix) = self.instance(name) else { return };
        let instance = &mut self.instances[ix.index()];
        if to == Health::Healthy && instance.health != Health::Healthy {
            instance.whole_since = at;
        }
        if to == Health::Healthy {
            // It runs again, so that what kept it from being repaired may be over.
            instance.mending.stopped = false;
            instance.mending.again = instance.mending.again.map(|it| it.min(at + repair::soonest()));
        }
        instance.health = to;
        instance.since = since;
        if to == Health::Healthy {
            instance.out_since = None;
        }
        if to == Health::Unknown {
            instance.unseen_since = at;
        }
        if to == Health::Down {
            let goes_on = instance.out_since.filter(|out| last_good.is_some_and(|good| good < *out));
            instance.out_since = goes_on.or(Some(since));
            instance.last_good = last_good;
            instance.partly_answering = partly;
            instance.down_at = at;
            // How far the standbys were at an earlier failure says nothing about this one.
            let component = self.plan.instance(ix).component;
            if self.components[component.index()].bound == ix {
                self.components[component.index()].loss_anew = false;
                for standby in &self.plan.component(component).instances {
                    self.instances[standby.index()].frozen_loss = None;
                }
            }
        }
        match to {
            Health::Down => self.note_failure(at, ix, since),
            Health::Healthy => self.note_life(ix),
            Health::Suspect | Health::Unknown => {}
        }
    }

    fn on_bound(&mut self, at: Time, component: &str, instance: &str) {
        let Some(component) = self.component(component) else { return };
        let known = self.instance(instance).filter(|it| self.plan.instance(*it).component == component);
        let Some(instance) = known else {
            self.unknown_owners.insert(component, instance.to_owned());
            return;
        };
        self.unknown_owners.remove(&component);
        let before = std::mem::replace(&mut self.components[component.index()].bound, instance);
        if before != instance {
            self.rebound.push(component);
            self.instances[before.index()].displaced = true;
            self.hand_over_in_order(at, component, before);
            self.settle_adopted(component, before);
            self.components[component.index()].adopting = None;
        }
        self.instances[instance.index()].displaced = false;
        self.instances[instance.index()].in_order = false;
        self.instances[instance.index()].mending.heal();
        if let Some(recovery) = &mut self.components[component.index()].recovery {
            recovery.cut = false;
            if before != instance && recovery.planned().is_none() {
                recovery.lost_at_most = self.instances[instance.index()].frozen_loss.flatten();
            }
        }
    }

    /// What an instance had alone belongs to the newest recovery in which it was replaced; what a standby had that went astray, to the newest takeover
    /// of its component. There the old owner has more, if it has counted already.
    pub(super) fn writes_lost(&mut self, instance: InstanceIx, lost: &LostWrites) {
        let planned = self.plan.instance(instance);
        let component = &self.plan.component(planned.component).name;
        let strayed = self.instances[instance.index()].mending.strayed;
        let owner = &self.plan.instance(self.components[planned.component.index()].bound).name;
        let open = self.components[planned.component.index()].recovery.as_mut();
        let newest = open.into_iter().chain(self.history.iter_mut().rev()).find(|it| match strayed {
            true => it.component_name == *component && it.planned().is_none() && it.failed != *owner,
            false => it.failed == planned.name,
        });
        if let Some(recovery) = newest
            && !(strayed && recovery.lost.as_ref().is_some_and(|it| it.transactions >= lost.transactions))
        {
            recovery.lost = Some(lost.clone());
        }
    }

    pub(super) fn rejoin(&mut self, at: Time, ix: InstanceIx) {
        let instance = &mut self.instances[ix.index()];
        instance.displaced = false;
        instance.in_order = false;
        instance.mending.heal();
        instance.whole_since = at;
    }

    fn close(&mut self, at: Time, id: RecoveryId, how: RecoveryInput) {
        self.moved(id, how, |_| {});
        let Some(ix) = self.open.remove(&id) else { return };
        let component = &mut self.components[ix.index()];
        let Some(mut recovery) = component.recovery.take() else { return };
        recovery.close(at);
        if recovery.planned().is_some() {
            // What was planned holds no later recovery back.
            component.moved = Some(at);
        } else if recovery.status == RecoveryStatus::RecoveryFailed || !recovery.steps.is_empty() {
            component.last_ended = Some(at);
        }
        if recovery.status == RecoveryStatus::RecoveryFailed {
            component.unacknowledged = Some(id);
        }
        component.loss_anew = false;
        component.witnessed = None;
        component.signalled = None;
        self.site.set_held(ix, false);
        component.observed = None;
        self.leaves_incident(&recovery);
        self.note_evacuated(&recovery);
        for instance in &self.plan.component(ix).instances {
            self.instances[instance.index()].frozen_loss = None;
        }
        self.remember(recovery);
    }

    /// Steps belong to the plan under which they were begun, so open recoveries end with it. What still fails is detected
    /// anew.
    pub(super) fn end_all_open(&mut self, now: Time) {
        for incident in self.incidents.keys().copied().collect::<Vec<_>>() {
            self.incident_moved(incident, IncidentInput::PlanReplaced);
        }
        for ix in std::mem::take(&mut self.open).into_values() {
            if let Some(mut recovery) = self.components[ix.index()].recovery.take() {
                recovery.tried.push("the plan was replaced".to_owned());
                if let Ok(next) = RecoveryLife::step(recovery.status, RecoveryInput::PlanReplaced) {
                    recovery.status = next;
                }
                recovery.close(now);
                self.remember(recovery);
                self.site.set_held(ix, false);
            }
        }
    }

    fn remember(&mut self, recovery: Recovery) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(recovery);
    }
}
