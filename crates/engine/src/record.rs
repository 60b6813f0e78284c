//! What the journal holds: facts that came from outside, and decisions that followed from them.
//!
//! These types are the journal's format (see [`crate::codec`]); the engine's working state is elsewhere, in
//! [`crate::state`]. Names, not indices, because a record outlives the plan under which it was written.

mod ended;
mod kind;
mod nouns;

use std::net::IpAddr;

use mainstay_plan::Time;
use mainstay_plan::backup::{KeepingJob, SeriesSeen};
use mainstay_plan::notification::NoticeLevel;
use mainstay_plan::observation::{Health, LogPosition, Scenario, SeenRole};
use mainstay_plan::strategy::{Phase, Strategy};
use serde::{Deserialize, Serialize};

use crate::breaker::Position;
use crate::codec::{health_word, level_word, phase_word, role_word, scenario_word, strategy_word, time_nanos};
use crate::command::Command;
use crate::evacuate::Stays;
use crate::gray::Impairment;
use crate::lease::Role;
use crate::route::rules::Objection;
use crate::waiting::WaitingOn;
pub use ended::{Completion, Ended, Fence, OldOwner};
pub use nouns::{
    AskedPlace, Evidence, IncidentId, LastPlaces, NoticeId, RecoveryId, ReportedTarget, StepRef, TermValue,
};

/// One record: what, and when on the agent's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The time of the tick that emitted it.
    pub at: Time,
    /// What.
    pub body: Body,
}

/// The body of a record. Facts come from outside and are taken as they are by a replay; decisions follow from the
/// records before them and are made again by a replay, and compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    // Facts.
    /// An agent started: whatever was under way is unknown from here on, and health has to be seen anew.
    AgentStarted {
        /// [`crate::ENGINE_VERSION`] of the engine that decides from here on.
        engine: u32,
        /// The version of the program.
        version: String,
        /// Whether it asks a store for the lease, because other agents may decide, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        coordinated: bool,
        /// Where active instances were when the agent before this one asked them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        places: Vec<LastPlaces>,
    },
    /// What this agent is among the others changed.
    LeaseChanged {
        /// What it is from here on.
        role: Role,
        /// The highest epoch that was seen; its own while it leads.
        epoch: u64,
        /// Who holds the lease, if another one does.
        leader: Option<String>,
        /// Why.
        why: String,
    },
    /// An order of another agent that decides. One that carries an epoch which is over is refused.
    PeerOrder {
        /// The agent.
        from: String,
        /// The epoch that it acts under.
        epoch: u64,
        /// What is to be done.
        what: String,
        /// Whether it was taken.
        taken: bool,
    },
    /// Somebody came as a host and was turned away; the same one for the same reason is recorded again after some minutes only.
    HostRefused {
        /// Who, as far as it is known.
        who: String,
        /// Why.
        why: String,
    },
    /// An agent ended in order.
    AgentStopped {
        /// Why, for people.
        reason: String,
    },
    /// The plan under which everything that follows was decided.
    PlanAdopted {
        /// Its hash.
        hash: String,
        /// Its text.
        source: String,
        /// The folder against which the text's relative paths were resolved.
        base_dir: String,
    },
    /// The verdict on an instance changed.
    HealthChanged {
        /// The instance.
        instance: String,
        /// From.
        #[serde(with = "health_word")]
        from: Health,
        /// To.
        #[serde(with = "health_word")]
        to: Health,
        /// When the first of the answers that make the new verdict was asked.
        #[serde(with = "time_nanos")]
        since: Time,
        /// The end of the last good observation before that.
        #[serde(with = "crate::codec::optional_time_nanos")]
        last_good: Option<Time>,
        /// What the probes answered.
        evidence: Vec<Evidence>,
    },
    /// We were late or suspended: what we saw meanwhile is not believed.
    OwnLateness {
        /// By how much.
        late_ns: u64,
    },
    /// Enough witnesses have answered since a component's first failed observation: our own path works.
    WitnessesAnswered {
        /// The component.
        component: String,
        /// Who answered.
        answered: Vec<String>,
        /// Since when.
        #[serde(with = "time_nanos")]
        since: Time,
    },
    /// Enough signals of different kinds say that the instance which a component is bound to is down.
    SignalsSeen {
        /// The component.
        component: String,
        /// The probes.
        probes: Vec<String>,
        /// When the instance's first failed observation was asked.
        #[serde(with = "time_nanos")]
        since: Time,
    },
    /// Something in a zone or region answered since a failure there: it is not lost.
    NeighbourAnswered {
        /// Its region.
        region: String,
        /// Its zone, where one is stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// What answered: the probe's name.
        by: String,
        /// When it was asked.
        #[serde(with = "time_nanos")]
        asked: Time,
    },
    /// What a failed component depends on was well after it had failed.
    DependencyAnswered {
        /// The instance.
        instance: String,
        /// When it was asked.
        #[serde(with = "time_nanos")]
        asked: Time,
    },
    /// What the other agents see of a component that is down here.
    ObserversAnswered {
        /// The component.
        component: String,
        /// Who sees it down, too.
        down: Vec<String>,
        /// Who sees it healthy.
        healthy: Vec<String>,
        /// When the first failed observation was asked here.
        #[serde(with = "time_nanos")]
        since: Time,
    },
    /// How much a standby would lose at most, frozen when the failure was seen.
    PositionFrozen {
        /// The standby.
        instance: String,
        /// The bound on the loss; `None`: it did not say.
        loss_ns: Option<u64>,
        /// Where it was, if it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<LogPosition>,
        /// How many bytes the active instance was further when it last said where it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lacks: Option<u64>,
    },
    /// An action, or the verification, ended.
    StepEnded {
        /// Which step.
        step: StepRef,
        /// How.
        ended: Ended,
    },
    /// A traffic process serves a routing table.
    RouteApplied {
        /// The process.
        process: String,
        /// The table's epoch.
        epoch: u64,
    },
    /// A traffic process refused a routing table.
    RouteRefused {
        /// The process.
        process: String,
        /// The table's epoch.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// Nothing is heard of a traffic process on a host any more, and nothing is sent to it until it is there again.
    TrafficSilent {
        /// The process.
        process: String,
        /// The last moment at which it may have had a word of this agent.
        #[serde(with = "time_nanos")]
        since: Time,
    },
    /// A traffic process that is silent has stopped serving these routes by itself, as they say what silence means.
    CutBySilence {
        /// The process.
        process: String,
        /// The routes.
        routes: Vec<String>,
    },
    /// A traffic process serves a later epoch than this journal knows: the journal was lost or is an old copy. What the
    /// process serves is taken over as the truth.
    TrafficAhead {
        /// The process.
        process: String,
        /// Its epoch.
        epoch: u64,
        /// What it serves.
        targets: Vec<ReportedTarget>,
    },
    /// An operator said something.
    Commanded {
        /// What.
        command: Command,
        /// Who, as the socket's peer was known.
        by: String,
    },
    /// The journal can't be written any more; from here on records go to the second file.
    JournalLost {
        /// Why.
        reason: String,
    },
    /// An instance says that it is active, or a standby, and has said so often enough.
    RoleSeen {
        /// The instance.
        instance: String,
        /// What it says.
        #[serde(with = "role_word")]
        role: SeenRole,
        /// What its probes were told.
        evidence: Vec<String>,
    },
    /// Whether an instance to which its component may go back is nearly in step.
    InStepChanged {
        /// The instance.
        instance: String,
        /// Whether it is.
        in_step: bool,
    },
    /// The verdict on a control plane's canary changed.
    CanaryChanged {
        /// The service.
        service: String,
        /// The region.
        region: String,
        /// To.
        #[serde(with = "health_word")]
        to: Health,
        /// When the first of the answers that make the new verdict was asked.
        #[serde(with = "time_nanos")]
        since: Time,
        /// What it answered.
        evidence: Evidence,
    },
    /// An instance is neither whole nor down.
    Impaired {
        /// The instance.
        instance: String,
        /// How.
        how: Impairment,
        /// What was seen.
        evidence: String,
    },
    /// It is not so any more.
    ImpairmentEnded {
        /// The instance.
        instance: String,
        /// How it was impaired.
        how: Impairment,
    },
    /// A decision rule became true.
    RuleFired {
        /// The rule.
        rule: String,
        /// Since when what it says has held.
        #[serde(with = "time_nanos")]
        since: Time,
        /// The value of each of its terms at that moment.
        terms: Vec<TermValue>,
    },
    /// A decision rule is not true any more.
    RuleCleared {
        /// The rule.
        rule: String,
    },
    /// A channel said what became of a message.
    Told {
        /// The channel.
        channel: String,
        /// The notice.
        notice: NoticeId,
        /// Which of its messages.
        nth: u32,
        /// What became of it.
        ended: Ended,
    },

    // Decisions.
    /// A failure was recognised; this opens a recovery, named after this record.
    FailureDetected {
        /// The component.
        component: String,
        /// The instance that failed.
        instance: String,
        /// Classified.
        #[serde(with = "scenario_word")]
        scenario: Scenario,
        /// When the first failed observation was asked.
        #[serde(with = "time_nanos")]
        first_failed: Time,
        /// The end of the last good observation before it: where the clock of the objectives starts.
        #[serde(with = "crate::codec::optional_time_nanos")]
        last_good: Option<Time>,
        /// The rule that says so, where the probes alone do not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The hash of the plan under which it is recovered.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        plan: String,
        /// Why it was classified so, as far as it was known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<String>,
        /// The incident that it belongs to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incident: Option<IncidentId>,
    },
    /// What failed is known now, after waiting for the word of its neighbours.
    Classified {
        /// The recovery.
        recovery: RecoveryId,
        /// What failed.
        #[serde(with = "scenario_word")]
        scenario: Scenario,
        /// Why it is called so.
        evidence: Vec<String>,
    },
    /// A zone or a region is lost; this opens an incident, named after this record. The open recoveries of what lived there
    /// are merged into it.
    IncidentOpened {
        /// Which of the two.
        #[serde(with = "scenario_word")]
        scenario: Scenario,
        /// The region.
        region: String,
        /// The zone; `None`: the whole region.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// When the first failed observation was asked.
        #[serde(with = "time_nanos")]
        first_failed: Time,
        /// Why it is called lost.
        evidence: Vec<String>,
    },
    /// What was lost lives again.
    IncidentEnded {
        /// The incident.
        incident: IncidentId,
        /// Why.
        why: String,
    },
    /// The last open recovery of what lived there has ended.
    IncidentRecovered {
        /// The incident.
        incident: IncidentId,
        /// How many were recovered.
        recovered: usize,
        /// How many recoveries failed.
        failed: usize,
    },
    /// A planned move begins; this opens a recovery, named after this record.
    SwitchStarted {
        /// The component.
        component: String,
        /// The instance that hands over.
        from: String,
        /// The instance that takes over.
        to: String,
        /// Who wants it.
        by: String,
        /// Why.
        reason: String,
        /// Whether the new owner is waited for until it is in step.
        graceful: bool,
        /// The zone or region that it leaves with others, where that is being evacuated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evacuation: Option<String>,
    },
    /// A component stays in a zone or region that is being evacuated, for now, and why.
    EvacuationHeld {
        /// What is evacuated.
        place: String,
        /// The component.
        component: String,
        /// Why.
        why: Stays,
    },
    /// Whoever could leave has left.
    EvacuationSettled {
        /// What is evacuated.
        place: String,
        /// How many components were moved.
        moved: usize,
        /// The components that are still there.
        left: Vec<String>,
    },
    /// An evacuation ends soon by itself.
    EvacuationExpires {
        /// What is evacuated.
        place: String,
        /// When.
        #[serde(with = "time_nanos")]
        at: Time,
    },
    /// The time of an evacuation is over.
    EvacuationEnded {
        /// What was evacuated.
        place: String,
    },
    /// Another instance than the component's own says that it is active, and none of our recoveries made it so.
    SeenElsewhere {
        /// The component.
        component: String,
        /// The instance that it is bound to.
        bound: String,
        /// Who says that it is active; more than one are two writers.
        active: Vec<String>,
        /// What is known of each of them.
        evidence: Vec<String>,
    },
    /// That is so no more.
    ElsewhereOver {
        /// The component.
        component: String,
        /// Why.
        why: String,
    },
    /// An operator says that an instance which somebody else made active is the component; this opens a recovery, named after
    /// this record.
    AdoptionStarted {
        /// The component.
        component: String,
        /// The instance that was it.
        from: String,
        /// The instance that shall be it.
        to: String,
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
        /// Why the old owner is no second writer.
        old_owner: OldOwner,
    },
    /// A planned move failed after something was done to an instance: the old owner is made active again.
    SwitchUndone {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        why: String,
        /// It was an adoption: nothing is made active, the route alone is given back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adopted: bool,
    },
    /// The recovery waits, and for what.
    Held {
        /// The recovery.
        recovery: RecoveryId,
        /// For what.
        waiting: WaitingOn,
    },
    /// The guards let it pass.
    RecoveryInitiated {
        /// The recovery.
        recovery: RecoveryId,
        /// Guards that an operator overruled.
        overruled: Vec<String>,
        /// How the approval was had, where one was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval: Option<String>,
    },
    /// A rung is not possible now and is passed over.
    RungSkipped {
        /// The recovery.
        recovery: RecoveryId,
        /// The rung.
        rung: usize,
        /// Its strategy.
        #[serde(with = "strategy_word")]
        strategy: Strategy,
        /// Why.
        why: String,
        /// Only because a control plane is known to be down, or because it leads into what is being evacuated: it comes again
        /// when nothing else is left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        for_later: bool,
    },
    /// A rung is tried.
    RungStarted {
        /// The recovery.
        recovery: RecoveryId,
        /// The rung.
        rung: usize,
        /// Its strategy.
        #[serde(with = "strategy_word")]
        strategy: Strategy,
        /// The instance that shall be the component.
        to: String,
        /// The fence before it, or the risk that the plan accepts instead; `None` where nothing exclusive changes hands.
        fence: Option<String>,
    },
    /// The intent to do a step. It is done only once this is durable.
    StepStarted {
        /// Which step.
        step: StepRef,
        /// Its name.
        name: String,
        /// What the callee sees: the same again when the outcome of the try before is unknown.
        key: String,
        /// What takes it back, if that has to be: known before it is done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<String>,
    },
    /// A step is tried again, but not at once.
    RetryScheduled {
        /// The try that did not succeed.
        step: StepRef,
        /// When it is tried again.
        #[serde(with = "time_nanos")]
        at: Time,
    },
    /// A rung failed, or was aborted, before the hand-over: what it did is undone, the last step first.
    RollbackStarted {
        /// The recovery.
        recovery: RecoveryId,
        /// The rung.
        rung: usize,
        /// Why.
        why: String,
    },
    /// The intent to undo a step. It is done only once this is durable.
    UndoStarted {
        /// The step, with a try of its own.
        step: StepRef,
        /// What is done.
        name: String,
        /// What the callee sees.
        key: String,
    },
    /// The recovery has taken longer than the objective for it. It goes on.
    BudgetExceeded {
        /// The recovery.
        recovery: RecoveryId,
        /// The recovery time objective.
        rto_ns: u64,
    },
    /// A step did not end within its time.
    StepTimedOut {
        /// Which step.
        step: StepRef,
        /// Whether it may have been done.
        why: String,
    },
    /// A fence holds: the old owner can't act any more, and who says so.
    FenceConfirmed {
        /// The recovery.
        recovery: RecoveryId,
        /// The step that fenced.
        step: StepRef,
        /// The instance that is fenced.
        instance: String,
        /// How.
        fence: Fence,
        /// What confirms it, in words.
        by: String,
    },
    /// A fence could not be confirmed, and the one before it is enough: the rung goes on.
    FencePassedOver {
        /// The step that did not fence.
        step: StepRef,
        /// Its name.
        name: String,
        /// Why it did not, and what fences all the same.
        why: String,
    },
    /// A rung failed; the next one is tried.
    RungFailed {
        /// The recovery.
        recovery: RecoveryId,
        /// The rung.
        rung: usize,
        /// Why.
        why: String,
    },
    /// Which instance is the component from here on.
    Bound {
        /// The component.
        component: String,
        /// The instance.
        instance: String,
        /// The recovery that bound it.
        recovery: RecoveryId,
    },
    /// A displaced instance can take over again.
    Rejoined {
        /// The instance.
        instance: String,
    },
    /// A displaced instance is being made a standby of the owner again; this opens a repair, named after this record.
    RepairStarted {
        /// The component.
        component: String,
        /// The instance.
        instance: String,
        /// The owner.
        owner: String,
        /// Which try in a row, from 1.
        nth: u32,
        /// Why it takes no writes.
        harmless: OldOwner,
        /// Who ordered it, where a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// Why, where a person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A repair ended without success.
    RepairFailed {
        /// The repair.
        repair: RecoveryId,
        /// The instance.
        instance: String,
        /// Why.
        why: String,
        /// When it may be tried again; `None`: a person has to order it.
        #[serde(with = "crate::codec::optional_time_nanos", default)]
        again: Option<Time>,
        /// The action that was being done then, which is ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        running: Option<StepRef>,
    },
    /// The instance was seen as a healthy standby, and can take over again.
    RepairCompleted {
        /// The repair.
        repair: RecoveryId,
        /// The instance.
        instance: String,
    },
    /// A backup or a restore test that is due is begun by the agent; this opens a keeping, named after this record.
    KeepingStarted {
        /// The component.
        component: String,
        /// The series of its backups.
        series: String,
        /// What is done.
        job: KeepingJob,
        /// Which try in a row, from 1.
        nth: u32,
    },
    /// It was done, or somebody else had done it before.
    KeepingCompleted {
        /// The keeping.
        keeping: RecoveryId,
        /// The component.
        component: String,
        /// The series of its backups.
        series: String,
        /// What was done.
        job: KeepingJob,
        /// What the folder of the series holds.
        seen: Box<SeriesSeen>,
    },
    /// It failed.
    KeepingFailed {
        /// The keeping.
        keeping: RecoveryId,
        /// The component.
        component: String,
        /// The series of its backups.
        series: String,
        /// What was to be done.
        job: KeepingJob,
        /// Why.
        why: String,
        /// When it may be tried again.
        #[serde(with = "time_nanos")]
        again: Time,
    },
    /// It was given up for something that goes first, and begins again after that.
    KeepingGaveWay {
        /// The keeping.
        keeping: RecoveryId,
        /// The component.
        component: String,
        /// The series of its backups.
        series: String,
        /// What was to be done.
        job: KeepingJob,
        /// To what.
        why: String,
        /// What its host was asked for, and does not do any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        running: Option<StepRef>,
    },
    /// The last good backup, or restore test, is older than twice what the plan says.
    KeepingOverdue {
        /// The component.
        component: String,
        /// The series of its backups.
        series: String,
        /// Of what.
        job: KeepingJob,
        /// When that was; `None`: there is none.
        #[serde(with = "crate::codec::optional_time_nanos", default)]
        last: Option<Time>,
    },
    /// Where an instance is changed: probes ask it there from here on, and routes lead there.
    AddressChanged {
        /// The instance.
        instance: String,
        /// Where it is; `None`: where the plan says.
        address: Option<IpAddr>,
        /// The hosts at which the plan has it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        instead_of: Vec<String>,
        /// The step that brought it there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepRef>,
        /// Who says so.
        why: String,
    },
    /// A rule of a route keeps targets on that would leave.
    RouteHeld {
        /// The route.
        route: String,
        /// The targets that stay on.
        targets: Vec<String>,
        /// Why.
        objection: Objection,
    },
    /// No rule holds anything of a route back any more.
    RouteFreed {
        /// The route.
        route: String,
    },
    /// A new routing table.
    TablePublished {
        /// Its epoch.
        epoch: u64,
        /// Every target's state.
        targets: Vec<ReportedTarget>,
    },
    /// Whether actions that need a control plane are tried from here on.
    BreakerChanged {
        /// The service.
        service: String,
        /// The region.
        region: String,
        /// From.
        from: Position,
        /// To.
        to: Position,
        /// Why.
        why: String,
        /// When one recovery may try it again, where it opened.
        #[serde(with = "crate::codec::optional_time_nanos", default)]
        until: Option<Time>,
        /// Who tries it, where it is half open.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<RecoveryId>,
    },
    /// The recovery worked, as seen from the client's side.
    RecoveryCompleted {
        /// The recovery.
        recovery: RecoveryId,
        /// How.
        how: Completion,
        /// Time to recover by phase, in nanoseconds; they add up to the whole.
        phases_ns: Vec<(PhaseName, u64)>,
    },
    /// The recovery ended without success.
    RecoveryFailed {
        /// The recovery.
        recovery: RecoveryId,
        /// Why.
        why: String,
    },
    /// People are told something: each channel carries it until it says that it has arrived.
    NoticeSent {
        /// The notice.
        notice: NoticeId,
        /// Which of its messages, from 1.
        nth: u32,
        /// How many steps of the escalation are taken with it.
        escalated: usize,
        /// How loud.
        #[serde(with = "level_word")]
        level: NoticeLevel,
        /// The words.
        text: String,
        /// The channels.
        to: Vec<String>,
    },
    /// A channel that failed, or of which nothing was heard, is tried again.
    NoticeResent {
        /// The channel.
        channel: String,
        /// The notice.
        notice: NoticeId,
        /// Which of its messages.
        nth: u32,
    },
}

/// A phase by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhaseName(#[serde(with = "phase_word")] pub Phase);
