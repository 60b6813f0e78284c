//! The engine's lasting state: nothing but the journal's records, folded.
//!
//! Decisions read this and the time, and nothing else. [`State::apply`] is the only way to change it, so that the state
//! after a restart is the state before it.

mod address;
mod commands;
pub(crate) mod concerned;
mod control;
mod domains;
mod elsewhere;
mod evacuate;
mod fired;
mod fold;
mod held;
pub(crate) mod keeping;
pub mod notices;
mod recovery;
mod repair;
mod served;
mod site;
mod steps;
mod switch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::component::{Component, StandbyState, Temperature};
use mainstay_plan::observation::{Health, LogPosition, Scenario, SeenRole};
use mainstay_plan::routing::TargetState;
use mainstay_plan::strategy::{Play, Step};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, RouteIx, Time, Topology};

use crate::breaker::{Hold, Position};
use crate::command::Drained;
use crate::evacuation::{Orders, Queue, Seat};
use crate::gray::Impairment;
use crate::lease::Leadership;
use crate::machine::{Illegal, Standing};
use crate::record::{IncidentId, RecoveryId, StepRef};
use crate::route::rules::{Kept, RouteRule};
pub use address::{Arrival, Whereabouts};
pub use domains::{Burst, DomainState, Incident};
pub use elsewhere::{Adopting, Adopts, Elsewhere};
pub use evacuate::{Evacuating, Tried};
pub use fired::FiredRule;
pub(crate) use fired::component_of;
pub use keeping::{Job, Keeping, KnownBackup, KnownTest, Series};
use notices::Notices;
pub use recovery::{Cause, Fenced, Planned, Progress, Recovery, RecoveryStatus, StepAt, StepLog, StepProgress, UndoAt};
pub use repair::{Mending, Ordered, Repair};
pub use site::{Halt, Site};

/// How many closed recoveries are kept at hand; the journal has all of them.
const HISTORY: usize = 256;

/// How often it is remembered that the agent was late.
const TIMES_LATE: usize = 64;

/// How many records that did not fit are kept at hand. There should be none.
const MISFITS: usize = 16;

/// Everything that lasts.
#[derive(Clone, Debug)]
pub struct State {
    /// The plan in force.
    pub plan: Arc<Plan>,
    /// The sequence number of the newest record folded in.
    pub seq: u64,
    /// The hash of the plan that the journal adopted last.
    pub adopted: Option<String>,
    /// The zones and regions of the plan.
    pub topology: Arc<Topology>,
    /// By [`DomainIx`](mainstay_plan::DomainIx).
    pub domains: Vec<DomainState>,
    /// Zones and regions that are lost.
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Zones and regions that are being evacuated, as planned.
    pub evacuating: BTreeMap<IncidentId, Evacuating>,
    /// By [`InstanceIx`].
    pub instances: Vec<InstanceState>,
    /// By [`ComponentIx`].
    pub components: Vec<ComponentState>,
    /// By [`ControlIx`](mainstay_plan::ControlIx).
    pub controls: Vec<Control>,
    /// The pause of everything, if there is one.
    pub paused: Option<Pause>,
    /// What holds of the site as a whole.
    pub site: Site,
    /// What the traffic processes serve.
    pub routing: Routing,
    /// Set when the journal can't be written any more.
    pub journal_lost: Option<String>,
    /// When the agent was late itself, the newest last, and by how much.
    pub(crate) late: VecDeque<(Time, Duration)>,
    /// Recoveries that ended, the newest last.
    pub history: VecDeque<Recovery>,
    /// What this agent is among others.
    pub leadership: Leadership,
    /// What people should know, and what they were told.
    pub notices: Notices,
    /// Records that came where they can't come, the newest last: they changed nothing.
    pub misfits: VecDeque<Misfit>,
    /// Instances whose condition came into doubt, for whoever observes: what was seen of them before does not count.
    pub(crate) doubted: Vec<(InstanceIx, Doubt)>,
    /// Instances to which something was done, and components that are another instance now, for whoever observes.
    pub(crate) acted_on: Vec<InstanceIx>,
    pub(crate) rebound: Vec<ComponentIx>,
    /// Instances of which has to be known, at once, whether they are in step, for whoever observes.
    pub(crate) to_look_at: BTreeSet<InstanceIx>,
    /// Rules that are true, by place in the plan.
    fired: BTreeMap<usize, FiredRule>,
    rules_of: BTreeMap<ComponentIx, Vec<usize>>,
    standings: Vec<domains::Standing>,
    pub(crate) orders: Arc<Orders>,
    /// By place in the plan's list of evacuations.
    pub(crate) queues: Vec<Queue>,
    pub(crate) seats: BTreeMap<ComponentIx, Seat>,
    /// Evacuations in which something moved since somebody asked.
    pub(crate) queues_moved: BTreeSet<usize>,
    /// Whether some zone has more room than before.
    pub(crate) room_freed: bool,
    /// Components that wait for room in a zone.
    pub(crate) short_of_room: BTreeSet<ComponentIx>,
    open: BTreeMap<RecoveryId, ComponentIx>,
    repairs: BTreeMap<RecoveryId, InstanceIx>,
    /// What is being done for series of backups: of which component, and which of its series.
    keepings: BTreeMap<RecoveryId, (ComponentIx, usize)>,
    /// Components with a series that the agent keeps.
    pub(crate) kept: Vec<ComponentIx>,
    /// Components of which an instance could be repaired.
    pub(crate) to_repair: BTreeSet<ComponentIx>,
    /// Components whose journal names an owner that the plan does not have.
    unknown_owners: BTreeMap<ComponentIx, String>,
    names: Names,
    /// Components whose owner holds a lease.
    pub(crate) leased: Vec<ComponentIx>,
}

/// What lasts about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceState {
    /// The verdict. `Suspect` is soft and never stands here.
    pub health: Health,
    /// When the first of the answers behind the verdict was asked.
    pub since: Time,
    /// When it was found down, the last time.
    pub down_at: Time,
    /// It was well as of then, when something that depends on it had failed.
    pub answered: Time,
    /// Since when nothing is known of it, while that is so.
    pub unseen_since: Time,
    /// The end of the last good observation before a `Down`.
    pub last_good: Option<Time>,
    /// Of one that is down: since when it has not been seen to answer, also where something was done to it meanwhile.
    pub out_since: Option<Time>,
    /// Whether some probe of it still answered when it went down.
    pub partly_answering: bool,
    /// Whether it was displaced by a takeover and has not rejoined.
    pub displaced: bool,
    /// Whether it handed over in order and was told so: its data did not diverge, and it rejoins once it is healthy.
    pub in_order: bool,
    /// Since when it is healthy, and not displaced.
    pub whole_since: Time,
    /// Whether it is nearly in step, where its component may go back to it by itself.
    pub in_step: bool,
    /// What it would lose as a standby, frozen when the failure was seen: outer `None`: not frozen; inner `None`: unknown.
    pub frozen_loss: Option<Option<Duration>>,
    /// Where it was then, if it says so. It holds only where `frozen_loss` is there.
    pub frozen_place: Option<LogPosition>,
    /// What it says that it is; `None`: it has not said so since the agent started, or since something was done to it.
    pub role: Option<SeenRole>,
    /// What its probes were told of it.
    pub role_told: Vec<String>,
    /// What was asked before this says nothing about its role.
    pub role_anew: Time,
    /// How it is neither whole nor down: since when, and what was seen.
    pub impaired: BTreeMap<Impairment, (Time, String)>,
    /// Where it is, if not where the plan says.
    pub elsewhere: Option<Whereabouts>,
    /// Where it was said to be, until that is recorded.
    pub arrival: Option<Arrival>,
    /// The step that brought it to another address last, and where it was before.
    pub came_from: Option<(StepRef, Option<IpAddr>)>,
    /// What is known for its repair.
    pub mending: Mending,
    /// When it was restarted by a rung of its ladder, the newest last, since somebody has looked.
    pub restarts: VecDeque<Time>,
}

/// A record that came where it can't come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The record's number.
    pub seq: u64,
    /// What could not come where.
    pub what: Illegal,
}

impl InstanceState {
    /// Since when it is a standby that follows another history than the owner's; `None`: that is not known of it.
    pub(crate) fn astray_since(&self) -> Option<Time> {
        self.impaired.get(&Impairment::Astray).map(|it| it.0)
    }

    fn unseen() -> InstanceState {
        InstanceState {
            health: Health::Unknown,
            since: Time::ZERO,
            down_at: Time::ZERO,
            answered: Time::ZERO,
            unseen_since: Time::ZERO,
            last_good: None,
            out_since: None,
            partly_answering: false,
            displaced: false,
            in_order: false,
            whole_since: Time::ZERO,
            in_step: false,
            frozen_loss: None,
            frozen_place: None,
            role: None,
            role_told: Vec::new(),
            role_anew: Time::ZERO,
            impaired: BTreeMap::new(),
            elsewhere: None,
            arrival: None,
            came_from: None,
            mending: Mending::default(),
            restarts: VecDeque::new(),
        }
    }
}

/// What other agents see of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// When the first failed observation of it was asked here.
    pub since: Time,
    /// Who sees it down, too.
    pub down: Vec<String>,
    /// Who sees it healthy.
    pub healthy: Vec<String>,
}

/// What lasts about a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentState {
    /// The instance that is the component.
    pub bound: InstanceIx,
    /// The recovery that is open.
    pub recovery: Option<Recovery>,
    /// When the last recovery that did something ended.
    pub last_ended: Option<Time>,
    /// A planned move that was asked for, until it begins.
    pub asked: Option<Asked>,
    /// When a planned move ended last.
    pub moved: Option<Time>,
    /// Witnesses have answered since this failed observation.
    pub witnessed: Option<Time>,
    /// Enough signals of different kinds have said so since this failed observation.
    pub signalled: Option<Time>,
    /// What other agents see of its failure.
    pub observed: Option<Observed>,
    /// Its pause, if there is one.
    pub paused: Option<Pause>,
    /// Who approved its next recovery in advance.
    pub advance: BTreeMap<String, Advance>,
    /// The recovery that failed last, until somebody has looked or the next one began.
    pub unacknowledged: Option<RecoveryId>,
    /// When its last recoveries began, the newest last, since somebody has looked.
    pub begun: VecDeque<Time>,
    /// The incident or the evacuation that explains why it is down or moved, until it is whole again.
    pub explained: Option<IncidentId>,
    /// A rung failed, and whoever the component is bound to then may have served since the losses were frozen: they are measured anew.
    pub loss_anew: bool,
    /// Somebody else made another instance active.
    pub elsewhere: Option<Elsewhere>,
    /// An operator says that another instance is the component, until that begins.
    pub adopting: Option<Adopting>,
    /// Whether a table of this journal led clients to its own instance.
    pub served: bool,
    /// What is known of its series of backups, as the plan lists them.
    pub series: Vec<Series>,
}

impl ComponentState {
    fn at_first(planned: &Component) -> ComponentState {
        ComponentState {
            bound: planned.original(),
            series: planned.backups.iter().map(|_| Series::default()).collect(),
            recovery: None,
            last_ended: None,
            loss_anew: false,
            witnessed: None,
            signalled: None,
            observed: None,
            asked: None,
            moved: None,
            paused: None,
            unacknowledged: None,
            begun: VecDeque::new(),
            explained: None,
            elsewhere: None,
            adopting: None,
            served: false,
            advance: BTreeMap::new(),
        }
    }
}

/// An approval in advance. It is used up by the first recovery that needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// It counts until then.
    pub until: Time,
    /// Why.
    pub reason: String,
}

/// What lasts about a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// How its breaker stands.
    pub position: Position,
    /// Since when.
    pub since: Time,
    /// When it may be tried again, where it is open.
    pub until: Option<Time>,
    /// Why it stands so.
    pub why: String,
    /// Who tries, where it is half open.
    pub by: Option<RecoveryId>,
    /// Who has tried since it opened, and how often: they let the others go first.
    pub tried: BTreeMap<ComponentIx, u32>,
    /// How often in a row a try has failed.
    pub reopened: u32,
    /// The verdict on its canary.
    pub canary: Health,
    /// Since when.
    pub canary_since: Time,
    /// What the canary answered when it went down.
    pub canary_told: Option<String>,
    /// When an action on it worked last.
    pub worked: Option<Time>,
    /// Rungs that failed on it since then, while no canary vouched for it.
    pub failed: BTreeSet<(RecoveryId, usize)>,
    /// Why the last of them failed.
    pub last: String,
    /// What an operator said, until the breaker has followed.
    pub said: Option<(Hold, String)>,
}

impl Control {
    fn unseen() -> Control {
        Control {
            position: Position::Closed,
            since: Time::ZERO,
            until: None,
            why: String::new(),
            by: None,
            tried: BTreeMap::new(),
            reopened: 0,
            canary: Health::Unknown,
            canary_since: Time::ZERO,
            canary_told: None,
            worked: None,
            failed: BTreeSet::new(),
            last: String::new(),
            said: None,
        }
    }
}

/// A planned move that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The instance that shall be the component.
    pub to: InstanceIx,
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether the new owner is waited for until it is in step.
    pub graceful: bool,
}

/// Recoveries are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Until then.
    pub until: Time,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// Whose work it is, where that is not who said it.
    pub owner: Option<String>,
}

/// What the traffic processes serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Of the newest table.
    pub epoch: u64,
    /// By [`RouteIx`], by target.
    pub targets: Vec<Vec<TargetState>>,
    /// By [`RouteIx`], by target: where it is, if not where the plan says.
    pub addresses: Vec<Vec<Option<IpAddr>>>,
    /// By process: the epoch that it acknowledged last. A process is absent until it was heard of since the agent started.
    pub acknowledged: BTreeMap<String, u64>,
    /// By process: how it stands to the newest table. One that is absent is unheard.
    pub standing: BTreeMap<String, Standing>,
    /// By process: what is known of its silence, while it is silent.
    pub silent: BTreeMap<String, Silence>,
    /// Processes that were silent and have not applied the newest table since.
    pub was_silent: BTreeSet<String>,
    /// The newest refusal, until a table is applied.
    pub refused: Option<String>,
    /// The hash of the plan under which the newest table was published.
    pub under: Option<String>,
    /// By [`RouteIx`]: when the targets that serve changed last.
    pub changed: Vec<Option<Time>>,
    /// What rules hold back.
    pub held: BTreeMap<RouteIx, RouteHold>,
    /// Rules that an operator overruled, until the route changes.
    pub overridden: BTreeSet<(RouteIx, RouteRule)>,
    /// What is taken off shared routes for a while.
    pub drains: Vec<Drain>,
}

/// A traffic process of which nothing is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The last moment at which it may have had a word of this agent.
    pub since: Time,
    /// Routes that it has stopped serving by itself.
    pub cut: BTreeSet<RouteIx>,
}

/// What a rule of a route holds back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHold {
    /// What, and why.
    pub kept: Kept,
    /// Since when.
    pub since: Time,
}

/// Something is taken off shared routes for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// What.
    pub what: Drained,
    /// Until then.
    pub until: Time,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// Why the condition of an instance came into doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// We were late, or another agent may have acted meanwhile.
    Late,
    /// Something was done to it.
    ActedOn,
}

impl State {
    /// What a takeover by this standby would lose at most, frozen when the failure was seen; `None`: not known.
    pub(crate) fn loss_of(&self, instance: InstanceIx) -> Option<Duration> {
        self.instances[instance.index()].frozen_loss.flatten()
    }

    /// The state before the first record.
    pub fn new(plan: Arc<Plan>) -> State {
        let names = Names::of(&plan);
        let topology = Arc::new(Topology::of(&plan));
        let leased = (0u32..).map(ComponentIx).take(plan.components.len()).filter(|it| plan.is_leased(*it)).collect();
        let mut state = State {
            seq: 0,
            leased,
            adopted: None,
            instances: plan.instances.iter().map(|_| InstanceState::unseen()).collect(),
            components: plan.components.iter().map(ComponentState::at_first).collect(),
            controls: plan.controls.iter().map(|_| Control::unseen()).collect(),
            paused: None,
            site: Site::default(),
            routing: Routing {
                targets: plan.routes.iter().map(|it| vec![TargetState::Standby; it.targets.len()]).collect(),
                addresses: plan.routes.iter().map(|it| vec![None; it.targets.len()]).collect(),
                changed: vec![None; plan.routes.len()],
                ..Routing::default()
            },
            journal_lost: None,
            late: VecDeque::new(),
            history: VecDeque::new(),
            leadership: Leadership::default(),
            notices: Notices::default(),
            misfits: VecDeque::new(),
            doubted: Vec::new(),
            acted_on: Vec::new(),
            rebound: Vec::new(),
            fired: BTreeMap::new(),
            rules_of: fired::by_component(&plan),
            domains: vec![DomainState::default(); topology.domains.len()],
            incidents: BTreeMap::new(),
            evacuating: BTreeMap::new(),
            to_look_at: BTreeSet::new(),
            orders: Arc::new(Orders::of(&plan)),
            queues: vec![Queue::default(); plan.evacuations.len()],
            seats: BTreeMap::new(),
            queues_moved: BTreeSet::new(),
            room_freed: false,
            short_of_room: BTreeSet::new(),
            standings: vec![domains::Standing::default(); plan.instances.len()],
            topology,
            open: BTreeMap::new(),
            repairs: BTreeMap::new(),
            keepings: BTreeMap::new(),
            kept: keeping::kept(&plan),
            to_repair: BTreeSet::new(),
            unknown_owners: BTreeMap::new(),
            names,
            plan,
        };
        state.recount_all();
        state
    }

    pub(crate) fn note_lateness(&mut self, at: Time, late: Duration) {
        if self.late.len() == TIMES_LATE {
            self.late.pop_front();
        }
        self.late.push_back((at, late));
    }

    /// When patience with something that was begun at `since` is over. The time in which the agent was not there does not
    /// count, and whoever ended meanwhile has `grace` to say so.
    pub(crate) fn out_of_patience(&self, since: Time, patience: Duration, grace: Duration) -> Time {
        let away: Duration = self.late.iter().filter(|it| it.0 >= since).map(|it| it.1).sum();
        since + patience + if away.is_zero() { away } else { away + grace }
    }

    /// The same facts under another plan: what has the same name keeps its binding, its fences and its pauses. Health has to
    /// be seen anew, and open recoveries end, because their steps belong to the plan before.
    pub fn with_plan(mut self, plan: Arc<Plan>, now: Time) -> State {
        self.end_all_open(now);
        let mut next = State::new(plan);
        next.seq = self.seq;
        next.adopted = self.adopted;
        next.paused = self.paused;
        next.site = self.site.without_components();
        next.journal_lost = self.journal_lost;
        next.history = self.history;
        next.leadership = self.leadership;
        next.notices = self.notices;
        next.notices.under_another_plan(&next.plan, now);
        next.misfits = self.misfits;
        next.routing.epoch = self.routing.epoch;
        next.routing.acknowledged = self.routing.acknowledged;
        next.routing.standing = self.routing.standing;
        next.routing.silent = self.routing.silent;
        next.routing.silent.values_mut().for_each(|it| it.cut.clear());
        next.routing.was_silent = self.routing.was_silent;
        for instance in &mut next.instances {
            instance.unseen_since = now;
        }
        for (old, was) in self.plan.instances.iter().zip(&self.instances) {
            if let Some(ix) = next.instance(&old.name) {
                next.instances[ix.index()].displaced = was.displaced;
                next.instances[ix.index()].in_order = was.in_order;
                next.instances[ix.index()].mending.stopped = was.mending.stopped;
                next.instances[ix.index()].restarts.clone_from(&was.restarts);
                next.instances[ix.index()].elsewhere.clone_from(&was.elsewhere);
                next.instances[ix.index()].arrival.clone_from(&was.arrival);
            }
        }
        let mut elsewheres = Vec::new();
        for (old, was) in self.plan.components.iter().zip(self.components) {
            let bound = next.instance(&self.plan.instance(was.bound).name);
            let Some(ix) = next.component(&old.name) else { continue };
            let is_one_of_them = bound.filter(|it| next.plan.component(ix).instances.contains(it));
            let component = &mut next.components[ix.index()];
            component.bound = is_one_of_them.unwrap_or(component.bound);
            component.last_ended = was.last_ended;
            component.moved = was.moved;
            component.paused = was.paused;
            component.unacknowledged = was.unacknowledged;
            component.begun = was.begun;
            component.explained = was.explained;
            component.advance = was.advance;
            component.served = was.served;
            for (planned, known) in old.backups.iter().zip(was.series) {
                let now = next.plan.component(ix).backups.iter().position(|it| it.name == planned.name);
                if let Some(it) = now.and_then(|it| next.components[ix.index()].series.get_mut(it)) {
                    *it = known.under_another_plan();
                }
            }
            elsewheres.extend(was.elsewhere.map(|it| (ix, it)));
        }
        for (ix, it) in elsewheres {
            next.components[ix.index()].elsewhere = it.under(&self.plan, &next);
        }
        next.take_over_evacuations(&self.topology, self.evacuating);
        next.routing.drains = self.routing.drains;
        for (route, changed) in self.plan.routes.iter().zip(self.routing.changed) {
            if let Some(ix) = next.names.routes.get(&route.name) {
                next.routing.changed[ix.index()] = changed;
            }
        }
        for (old, was) in self.plan.controls.iter().zip(self.controls) {
            if let Some(ix) = next.plan.control_named(&old.service, &old.region) {
                next.controls[ix.index()] = Control { canary: Health::Unknown, tried: BTreeMap::new(), ..was };
            }
        }
        for (route, served) in self.plan.routes.iter().zip(self.routing.targets.iter().zip(&self.routing.addresses)) {
            for (target, (state, address)) in route.targets.iter().zip(served.0.iter().zip(served.1)) {
                next.set_target(&route.name, &self.plan.instance(target.instance).name, *state, *address);
            }
        }
        next.know_series(now);
        next.recount_all();
        next
    }

    /// A component of `plan` whose owner, as the journal knows it, is not among its instances there: the plan's author has
    /// to say who owns it, because guessing could give its clients to an instance that was fenced.
    pub fn lost_owner(&self, plan: &Plan) -> Option<(String, String)> {
        let owner = |(at, it): (usize, &ComponentState)| {
            let unknown = self.unknown_owners.get(&ComponentIx(u32::try_from(at).ok()?)).cloned();
            let owner = unknown.unwrap_or_else(|| self.plan.instance(it.bound).name.clone());
            Some((self.plan.components[at].name.clone(), owner))
        };
        let moved = |(component, owner): &(String, String)| {
            let Some(ix) = plan.component_named(component) else { return false };
            !plan.component(ix).instances.iter().any(|it| plan.instance(*it).name == *owner)
        };
        self.components.iter().enumerate().filter_map(owner).find(moved)
    }

    /// What was noted for whoever observes is of no use to anyone else.
    pub(crate) fn forget_notes(&mut self) {
        self.doubted.clear();
        self.acted_on.clear();
        self.rebound.clear();
        self.to_look_at.clear();
    }

    /// The rule of that name, by its place in the plan.
    pub fn rule(&self, name: &str) -> Option<usize> {
        self.names.rules.get(name).copied()
    }

    /// The component of that name.
    pub fn component(&self, name: &str) -> Option<ComponentIx> {
        self.names.components.get(name).copied()
    }

    /// The instance of that name.
    pub fn instance(&self, name: &str) -> Option<InstanceIx> {
        self.names.instances.get(name).copied()
    }

    /// The component of that name, or of the recovery that is named.
    pub(crate) fn meant_component(&self, what: &str) -> Option<ComponentIx> {
        let Ok(id) = what.parse::<RecoveryId>() else { return self.component(what) };
        let ended = || self.history.iter().rev().find(|it| it.id == id);
        self.component(&self.open_recovery(id).or_else(ended)?.component_name)
    }

    /// The route of that name.
    pub fn route(&self, name: &str) -> Option<RouteIx> {
        self.names.routes.get(name).copied()
    }

    /// The component whose recovery it is, if it is open.
    pub fn open_recovery(&self, id: RecoveryId) -> Option<&Recovery> {
        self.components[self.open.get(&id)?.index()].recovery.as_ref()
    }

    /// The play of the rung that is tried.
    pub fn play(&self, recovery: &Recovery) -> Option<&Play> {
        let progress = recovery.progress.as_ref()?;
        let component = self.plan.component(recovery.component);
        if let Some(planned) = recovery.planned() {
            if let Some(adopts) = &planned.adopts {
                let adoption = component.adoption(adopts.from, planned.to)?;
                return Some(if planned.back { &adoption.back } else { &adoption.play });
            }
            let switch = component.switch(progress.from, planned.to)?;
            return Some(if planned.back { &switch.back } else { &switch.play });
        }
        component.ladder.get(recovery.rung)?.plays.get(&progress.from)
    }

    /// The steps that are to be done at the moment: those of the stage under way that are not done.
    pub fn open_steps<'a>(
        &'a self,
        recovery: &'a Recovery,
    ) -> impl Iterator<Item = (StepRef, &'a Step, &'a StepProgress)> {
        let play = self.play(recovery);
        let open = recovery.progress.iter().flat_map(Progress::open);
        open.filter_map(move |(at, stand)| {
            let step = StepRef { recovery: recovery.id, rung: recovery.rung, step: at, attempt: stand.attempt };
            Some((step, play?.steps.get(at)?, stand))
        })
    }

    /// The step, while this very try of it is being made.
    pub fn running(&self, step: StepRef) -> Option<&Step> {
        let recovery = self.open_recovery(step.recovery)?;
        let runs = recovery.rung == step.rung && recovery.progress.as_ref()?.runs(step);
        self.play(recovery)?.steps.get(step.step).filter(|_| runs)
    }

    /// The step, while this very try of its undo is being made.
    pub fn undoing(&self, step: StepRef) -> Option<&Step> {
        let recovery = self.open_recovery(step.recovery)?;
        let undoes = recovery.rung == step.rung && recovery.progress.as_ref()?.undoes(step);
        self.play(recovery)?.steps.get(step.step).filter(|_| undoes)
    }

    /// What an instance is at the moment.
    pub fn standby_state(&self, ix: InstanceIx) -> StandbyState {
        let instance = &self.instances[ix.index()];
        let component = &self.components[self.plan.instance(ix).component.index()];
        if component.bound == ix {
            return if instance.health == Health::Down { StandbyState::Failed } else { StandbyState::Active };
        }
        match (instance.displaced, instance.health) {
            (true, Health::Healthy) => StandbyState::Recovering,
            // Being stopped is what a cold one is for.
            (false, Health::Down) if self.plan.instance(ix).temperature == Temperature::Cold => StandbyState::Standby,
            (true, _) | (false, Health::Down) => StandbyState::Failed,
            (false, _) => StandbyState::Standby,
        }
    }

    /// Whether every traffic process serves the newest table.
    pub fn routes_converged(&self) -> bool {
        self.processes().all(|it| self.standing(it) == Standing::Serves || self.routing.silent.contains_key(it))
    }

    /// Whether every traffic process has said what it serves since the agent started, or is silent.
    pub fn traffic_was_heard(&self) -> bool {
        self.processes().all(|it| self.standing(it) != Standing::Unheard || self.routing.silent.contains_key(it))
    }

    /// How a traffic process stands to the newest table.
    pub fn standing(&self, process: &str) -> Standing {
        self.routing.standing.get(process).copied().unwrap_or(Standing::Unheard)
    }

    /// The traffic processes that serve the plan's routes.
    pub fn processes(&self) -> impl Iterator<Item = &str> {
        let serving = self.plan.serving_hosts().map(|it| it.name.as_str());
        std::iter::once(LOCAL_PROCESS).chain(serving).filter(|_| !self.plan.routes.is_empty())
    }

    /// Lets `component` have just failed, alone, with its witnesses answering and its standbys as far behind as `loss` says, asks
    /// `question`, and puts everything back.
    pub(crate) fn with_failed<T>(
        &mut self,
        component: ComponentIx,
        now: Time,
        loss: impl Fn(InstanceIx) -> Option<Duration>,
        question: impl FnOnce(&mut State) -> T,
    ) -> T {
        let plan = self.plan.clone();
        let planned = plan.component(component);
        let before = self.components[component.index()].clone();
        let instances: Vec<_> = planned.instances.iter().map(|it| self.instances[it.index()].clone()).collect();
        let place = self.topology.place(before.bound);
        let domains: Vec<_> = place.domains().map(|it| (it, self.domains[it.index()].answered)).collect();
        for (domain, _) in &domains {
            self.domains[domain.index()].answered = now;
        }
        let well: Vec<_> = planned.depends_on.iter().map(|it| self.components[it.index()].bound).collect();
        let well: Vec<_> = well.into_iter().map(|it| (it, self.instances[it.index()].answered)).collect();
        for (instance, _) in &well {
            self.instances[instance.index()].answered = now;
        }
        for instance in &planned.instances {
            self.instances[instance.index()].frozen_loss.get_or_insert_with(|| loss(*instance));
        }
        let failed = &mut self.instances[before.bound.index()];
        failed.health = Health::Down;
        failed.since = now;
        self.components[component.index()].witnessed = Some(now);
        self.components[component.index()].signalled = Some(now);
        if before.recovery.is_none() {
            let name = &plan.instance(before.bound).name;
            let open = Recovery::open(component, &planned.name, name, Scenario::InstanceFailure, now, None);
            self.components[component.index()].recovery = Some(open.at(RecoveryId(u64::MAX), now));
        }
        let answer = question(self);
        self.components[component.index()] = before;
        for (instance, was) in planned.instances.iter().zip(instances) {
            self.instances[instance.index()] = was;
        }
        for (domain, was) in domains {
            self.domains[domain.index()].answered = was;
        }
        for (instance, was) in well {
            self.instances[instance.index()].answered = was;
        }
        answer
    }

    pub(crate) fn pass_over(&mut self, component: ComponentIx, rung: usize) {
        if let Some(recovery) = &mut self.components[component.index()].recovery {
            recovery.rung = rung + 1;
        }
    }

    /// The open recoveries, oldest first.
    pub fn open_recoveries(&self) -> impl Iterator<Item = &Recovery> {
        self.open.values().filter_map(|it| self.components[it.index()].recovery.as_ref())
    }
}

/// The one traffic process of a host that runs its own: later issues of a plan name more.
pub const LOCAL_PROCESS: &str = "local";

/// Names to indices, so that folding a record costs the same in a plan of ten and of ten thousand components.
#[derive(Clone, Debug)]
struct Names {
    components: BTreeMap<String, ComponentIx>,
    instances: BTreeMap<String, InstanceIx>,
    routes: BTreeMap<String, RouteIx>,
    rules: BTreeMap<String, usize>,
}

impl Names {
    fn of(plan: &Plan) -> Names {
        fn index<'a, Ix>(names: impl Iterator<Item = &'a String>, ix: impl Fn(u32) -> Ix) -> BTreeMap<String, Ix> {
            names.zip(0u32..).map(|(name, at)| (name.clone(), ix(at))).collect()
        }
        Names {
            components: index(plan.components.iter().map(|it| &it.name), ComponentIx),
            instances: index(plan.instances.iter().map(|it| &it.name), InstanceIx),
            routes: index(plan.routes.iter().map(|it| &it.name), RouteIx),
            rules: index(plan.rules.iter().map(|it| &it.name), |it| it as usize),
        }
    }
}
