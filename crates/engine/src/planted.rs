//! Faults that tests plant in the engine, to see that the simulator's checkers find them. Nothing of this is in the product:
//! without the feature `trial` every question here is answered `false` when the engine is built.
//!
//! Each fault is one condition at one place. To add one: a line below, `planted(Fault::…)` at its place, and which checker
//! has to catch it in `sim/tests/planted.rs`.

macro_rules! faults {
    ($($(#[doc = $about:literal])+ $name:ident = $word:literal,)+) => {
        /// Something that a test makes the engine do wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $about])+ $name,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Fault] = &[$(Fault::$name),+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self { $(Fault::$name => $word,)+ }
            }

            /// What goes wrong, as a sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Fault::$name => concat!($($about),+).trim_ascii(),)+ }
            }
        }
    };
}

faults! {
    /// What is to be done is done before its record is durable.
    ActBeforeRecord = "act-before-record",
    /// A new routing table has the epoch of the one before.
    EpochUsedTwice = "epoch-used-twice",
    /// A traffic process that is ahead of the journal is not believed.
    TrafficAheadIgnored = "traffic-ahead-ignored",
    /// The epoch of a lease is not compared with the one that is known.
    LeaseEpochNotCompared = "lease-epoch-not-compared",
    /// A lease counts until it is renewed, however late that is.
    LeaseNeverOver = "lease-never-over",
    /// A lease counts from when its grant came, not from when it was asked for.
    LeaseCountedFromGrant = "lease-counted-from-grant",
    /// A new leader publishes what it knew of the routes before, and does not hear what is served.
    NewLeaseTrustsOldTable = "new-lease-trusts-old-table",
    /// What was decided under a lease is done after it is over.
    OverLeaseStillActs = "over-lease-still-acts",
    /// Who is alone says again where exclusive routes lead.
    AloneMovesExclusive = "alone-moves-exclusive",
    /// Who is active without us holds nothing back.
    StrangerIgnored = "stranger-ignored",
    /// A cut counts as made without the word of the traffic processes.
    FenceTakenForGranted = "fence-taken-for-granted",
    /// A stop of which nobody knows whether it was done counts as done.
    UnknownStopCounts = "unknown-stop-counts",
    /// A lease is granted before the record that lets it is durable.
    GrantBeforeRecord = "grant-before-record",
    /// The new owner may hold the lease while the old one's is being ended.
    GrantedWhileItEnds = "granted-while-it-ends",
    /// A lease counts as over without the word of whoever keeps the leases.
    EndLeaseTakenForGranted = "end-lease-taken-for-granted",
    /// Who is made active need not hold the lease.
    PromotedWithoutLease = "promoted-without-lease",
    /// A silent traffic process counts as cut at once.
    SilenceTakenForCut = "silence-taken-for-cut",
    /// The old owner stays on its route while another takes over.
    CutLeftOut = "cut-left-out",
    /// An instance that was displaced serves its exclusive route again at once.
    DisplacedServes = "displaced-serves",
    /// An instance that was displaced and has not rejoined takes over.
    DisplacedTakesOver = "displaced-takes-over",
    /// The witnesses are not asked.
    WitnessesNotAsked = "witnesses-not-asked",
    /// A question that could not be asked counts as a failure.
    UnknownIsFailure = "unknown-is-failure",
    /// One failure is enough, whatever `fall` says.
    FallNotAwaited = "fall-not-awaited",
    /// A standby that says where it is counts as whole until it was asked.
    PlaceTakenForWhole = "place-taken-for-whole",
    /// Where the active one was before the agent started counts as where it is now.
    PlaceOfBeforeTakenForNow = "place-of-before-taken-for-now",
    /// Of several standbys the first takes over, whatever it loses.
    LessSureTakesOver = "less-sure-takes-over",
    /// A standby whose position is not known may take over.
    UnknownPositionTakesOver = "unknown-position-takes-over",
    /// A standby may be further behind than the RPO.
    LagOverRpoTakesOver = "lag-over-rpo-takes-over",
    /// Signals of one kind are enough, whatever `signals` says.
    SignalsNotCounted = "signals-not-counted",
    /// The blast radius is judged on the state before the recovery.
    RadiusJudgedBefore = "radius-judged-before",
    /// The storm brake lets everything through.
    BrakeOff = "brake-off",
    /// An operator's halt holds nothing back.
    HaltIgnored = "halt-ignored",
    /// A pause holds nothing back.
    PauseIgnored = "pause-ignored",
    /// What dies again and again is restarted each time.
    CrashLoopIgnored = "crash-loop-ignored",
    /// The cool-down holds nothing back.
    CoolDownIgnored = "cool-down-ignored",
    /// A component is recovered before what it depends on.
    DependencyIgnored = "dependency-ignored",
    /// A mode that only observes acts.
    ObserveModeActs = "observe-mode-acts",
    /// An approval in advance counts for ever.
    ApprovalOutlivesExpiry = "approval-outlives-expiry",
    /// One approval is enough, whatever the quorum.
    QuorumNotCounted = "quorum-not-counted",
    /// Nobody has to acknowledge a failed recovery.
    AcknowledgementIgnored = "acknowledgement-ignored",
    /// A takeover goes on although the journal is lost.
    JournalLossIgnored = "journal-loss-ignored",
    /// A rung begins although its condition does not hold.
    ConditionIgnored = "condition-ignored",
    /// A route's rule on how many stay on is judged on the state before the change.
    RuleJudgedBefore = "rule-judged-before",
    /// A route changes although a gate of it is not healthy.
    GateIgnored = "gate-ignored",
    /// A route changes again before its wait is over.
    RouteWaitIgnored = "route-wait-ignored",
    /// A step that may be done once is done again after an unknown outcome.
    UnknownRepeated = "unknown-repeated",
    /// Each try of a step has another idempotency key.
    KeyOfEachTry = "key-of-each-try",
    /// A rung that failed is left as it is, and what it did is not undone.
    UndoLeftOut = "undo-left-out",
    /// What a rung did is undone from the first step on.
    UndoneInOrder = "undone-in-order",
    /// A step that nobody hears of any more never times out.
    StepNeverTimesOut = "step-never-times-out",
    /// A wait that time ends has no timer.
    TimerForgotten = "timer-forgotten",
    /// An abort is not heeded before a recovery begins.
    AbortIgnored = "abort-ignored",
    /// A recovery counts as complete although no client was served.
    VerifiedUnseen = "verified-unseen",
    /// A displaced instance rejoins before it is healthy.
    RejoinsUnwell = "rejoins-unwell",
    /// Whoever is the component is repaired, too.
    RepairsOwner = "repairs-owner",
    /// An instance is repaired that may still take writes.
    RepairsWriter = "repairs-writer",
    /// An instance is repaired while its component is being recovered.
    RepairsBesideRecovery = "repairs-beside-recovery",
    /// What is to be repaired comes before what is to be restored.
    RepairFirst = "repair-first",
    /// A backup is begun while its component is being recovered.
    KeptBesideRecovery = "kept-beside-recovery",
    /// A backup goes on while its component is being recovered.
    KeepingGoesOn = "keeping-goes-on",
    /// Two series are taken at once on one machine.
    KeptBesideOthers = "kept-beside-others",
    /// A backup is begun although its component is paused.
    KeptInPause = "kept-in-pause",
    /// A backup that is due is never begun.
    DueNeverKept = "due-never-kept",
    /// Nobody is told of a backup that is overdue.
    OverdueUntold = "overdue-untold",
    /// A breaker stays open although its canary answers.
    BreakerNeverCloses = "breaker-never-closes",
    /// A message that did not arrive is not sent again.
    MessageForgotten = "message-forgotten",
    /// The pause before a retry depends on something that the journal does not hold.
    JitterOfChance = "jitter-of-chance",
}

#[cfg(feature = "trial")]
mod on {
    use std::cell::Cell;

    use super::Fault;

    std::thread_local! {
        static ON: Cell<Option<Fault>> = const { Cell::new(None) };
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }

    /// From here on the engines of this thread have this fault, or none.
    pub fn plant(fault: Option<Fault>) {
        ON.set(fault);
    }

    pub(crate) fn planted(fault: Fault) -> bool {
        ON.get() == Some(fault)
    }

    /// Another number at each call, while that is the planted fault.
    pub(crate) fn chance(fault: Fault) -> u32 {
        COUNT.set(COUNT.get().wrapping_add(7919));
        if planted(fault) { COUNT.get() } else { 0 }
    }
}

#[cfg(feature = "trial")]
pub use on::plant;

#[cfg(feature = "trial")]
pub(crate) use on::{chance, planted};

/// Whether this fault is planted: never, in the product.
#[cfg(not(feature = "trial"))]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

#[cfg(not(feature = "trial"))]
pub(crate) const fn chance(_: Fault) -> u32 {
    0
}
