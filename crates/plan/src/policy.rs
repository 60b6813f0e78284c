//! What Mainstay may do, and what may hold it back.

use std::time::Duration;

use crate::location::Location;
use crate::strategy::OnExpiry;

/// How far Mainstay goes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// `observe`: watches and records failures; does nothing. `mainstay status` says what it would do.
    Observe,
    /// `recommend`: prepares a recovery and waits for `mainstay approve`.
    Recommend,
    /// `act`: recovers by itself.
    Act,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Observe, Mode::Recommend, Mode::Act];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Observe => "observe",
            Mode::Recommend => "recommend",
            Mode::Act => "act",
        }
    }
}

/// What may hold back the recovery of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    /// From the end of one recovery to the beginning of the next. An operator may overrule it.
    pub cool_down: Duration,
    /// Whether a person must approve, and for how long the question stands.
    pub approval: Option<Approval>,
    /// What has to come before the next recovery after one that failed.
    pub after_failure: AfterFailure,
    /// So many recoveries within a time are all that is done without a person who has looked; `None`: no limit.
    pub flapping: Option<Flapping>,
    /// How many signals of different kinds must say that it is down, at least 1.
    pub signals: u32,
    /// How many agents must see it down, the deciding one among them. `None`: the deciding one is enough.
    pub observers: Option<u32>,
}

/// What has to come before the next recovery after one that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// `cool_down`, the default: the same time as after any other.
    CoolDown,
    /// `acknowledge`: a person who has looked, and says so with `mainstay acknowledge`.
    Acknowledge,
}

impl AfterFailure {
    /// All of them.
    pub const ALL: [AfterFailure; 2] = [AfterFailure::CoolDown, AfterFailure::Acknowledge];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            AfterFailure::CoolDown => "cool_down",
            AfterFailure::Acknowledge => "acknowledge",
        }
    }
}

/// `at_most` recoveries of one component within `within`; the next one waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// How many.
    pub at_most: u32,
    /// In which time.
    pub within: Duration,
}

/// A person must approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// How long the question stands.
    pub expires: Duration,
    /// How many different people must approve, at least 1.
    pub quorum: u32,
    /// Who may; `None`: anyone who may speak to the agent.
    pub role: Option<String>,
    /// What becomes of the recovery when too few approved in time.
    pub on_expiry: OnExpiry,
}

/// Somebody who may speak to the agent, and what they may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name, as the machine of the agent knows the user.
    pub name: String,
    /// What they may do.
    pub roles: Vec<String>,
}

/// What happens when the journal can't be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnJournalLoss {
    /// `refuse_exclusive`, the default: takeovers of something exclusive are refused; others go on, recorded in a second
    /// file and in the log.
    RefuseExclusive,
    /// `proceed`: everything goes on, recorded in a second file and in the log.
    Proceed,
    /// `hold`: nothing is done until the journal can be written again.
    Hold,
}

impl OnJournalLoss {
    /// All of them.
    pub const ALL: [OnJournalLoss; 3] = [OnJournalLoss::RefuseExclusive, OnJournalLoss::Proceed, OnJournalLoss::Hold];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            OnJournalLoss::RefuseExclusive => "refuse_exclusive",
            OnJournalLoss::Proceed => "proceed",
            OnJournalLoss::Hold => "hold",
        }
    }
}

/// The site that this agent decides for, and where the agent itself lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Where the agent runs.
    pub location: Location,
}

/// What the agent itself is allowed. Part of every bound that the proof computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// How late the agent may notice something before it takes itself for broken.
    pub lateness: Duration,
    /// For one sync of the journal to the disk.
    pub journal_sync: Duration,
    /// For a traffic process to write, swap and acknowledge a routing table.
    pub route_apply: Duration,
    /// For whoever supervises the agent to start it again after it died.
    pub agent_restart: Duration,
    /// For a process that is ended by force, which is how a fence stops an old owner, to be seen stopped.
    pub forced_stop: Duration,
    /// How long a failure may wait for the word of its neighbours, before it is taken for one of its instance alone. Zero asks
    /// nobody.
    pub correlation: Duration,
}

/// How many probes may be under way at the same time. One beyond waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Of all.
    pub at_once: u32,
    /// Of those that ask one host.
    pub at_once_per_target: u32,
}

/// What holds back recoveries of the whole site. `None`: that guard is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SiteGuards {
    /// At most so many recoveries begin within a time.
    pub storm_brake: Option<StormBrake>,
    /// At most this share of the components may be moved or down after an action.
    pub blast_radius: Option<BlastRadius>,
    /// At least so many targets of each shared route stay on.
    pub minimum_healthy: Option<u32>,
}

/// At most `at_most` recoveries begin within `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormBrake {
    /// How many.
    pub at_most: u32,
    /// In which time.
    pub within: Duration,
}

/// The share of the components that a storm of recoveries may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlastRadius {
    /// In parts per million of all components.
    pub share_ppm: u32,
    /// This many are always allowed: a share of a small number means nothing.
    pub always: u32,
}

impl BlastRadius {
    /// How many of `all` components may be down or moved after an action: the share, rounded down, and never less than
    /// `always`.
    pub fn allowed(&self, all: usize) -> usize {
        let share = u64::from(self.share_ppm) * all as u64 / 1_000_000;
        usize::try_from(share).unwrap_or(usize::MAX).max(self.always as usize)
    }
}
