//! What probes answer, and what a series of answers adds up to.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::location::FailureDomain;
use crate::{ProbeIx, Time};

/// The answer of one run of one probe, stamped where it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Which probe.
    pub probe: ProbeIx,
    /// When the question was sent. What it says is true of some moment between `started` and `ended`.
    pub started: Time,
    /// When the answer was there, or waiting for it ended.
    pub ended: Time,
    /// The answer.
    pub answer: Answer,
    /// How far the instance lags behind the active one, where the probe reports it.
    pub lag: Option<Duration>,
    /// What the instance says that it is, in its own word, where the probe reports it; [`SeenRole::read`] reads it.
    pub role: Option<String>,
    /// What a good answer says that is wrong beside the work.
    pub concerns: Concerns,
    /// How far the instance's data goes, where the probe reports it.
    pub position: Option<LogPosition>,
}

/// What works, and yet wants a person before it stops: each in the same words as long as it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    /// A certificate that was good and expires soon.
    pub expiring: Option<String>,
    /// What is to be done beside the work and is not: log that is not archived, that nobody fetches.
    pub upkeep: Option<String>,
}

impl Concerns {
    /// Nothing is wrong.
    pub const NONE: Concerns = Concerns { expiring: None, upkeep: None };

    /// What each of two says; the first one goes before.
    pub fn or(self, other: Concerns) -> Concerns {
        Concerns { expiring: self.expiring.or(other.expiring), upkeep: self.upkeep.or(other.upkeep) }
    }
}

/// Of so many of the newest places of an active instance each is kept for an agent that starts after this one.
pub const PLACES_KEPT: usize = 32;

/// How far the data of an instance goes, in a history that its copies share: what one of them has at a place, all of them have
/// there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Which data set it is, by a name that no other has: PostgreSQL's system identifier, for example.
    pub system: String,
    /// Which line of its history. Each takeover begins another, and places on two lines can't be compared.
    pub timeline: u32,
    /// How many bytes were written to the history up to here. Of an active instance: that are safe on its own disk. Of a
    /// standby: that it has received.
    pub at: u64,
}

impl LogPosition {
    /// Whether `self` and `other` are places in one line of one history.
    pub fn is_comparable(&self, other: &LogPosition) -> bool {
        self.system == other.system && self.timeline == other.timeline
    }
}

impl fmt::Display for LogPosition {
    /// As PostgreSQL writes a place in its log: two halves in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X} on timeline {}", self.at >> 32, self.at & 0xffff_ffff, self.timeline)
    }
}

/// What a probe got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As expected.
    Good,
    /// Actively refused: nobody listens, the process is gone, the command exited with an error.
    Refused(String),
    /// No answer within the timeout.
    TimedOut,
    /// An answer, but the wrong one.
    Wrong(String),
    /// We could not ask: no descriptor, no route of ours, no such command, we were late. Says nothing about the target.
    CouldNotAsk(String),
}

/// How a *could not ask* begins that says that whoever asked was late, and not what was asked.
pub const OWN_LATENESS: &str = "we were late ourselves";

impl Answer {
    /// Whether it was not believed because whoever asked was late.
    pub fn is_own_lateness(&self) -> bool {
        matches!(self, Answer::CouldNotAsk(why) if why.starts_with(OWN_LATENESS))
    }

    /// Whether it counts as a failure of the target: refused, timed out, or wrong.
    pub const fn is_failure(&self) -> bool {
        match self {
            Answer::Refused(_) | Answer::TimedOut | Answer::Wrong(_) => true,
            Answer::Good | Answer::CouldNotAsk(_) => false,
        }
    }

    /// The word for it in the journal and on the screen.
    pub const fn word(&self) -> &'static str {
        match self {
            Answer::Good => "good",
            Answer::Refused(_) => "refused",
            Answer::TimedOut => "timed out",
            Answer::Wrong(_) => "wrong answer",
            Answer::CouldNotAsk(_) => "could not ask",
        }
    }

    /// What was seen, in the words of whoever saw it.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Answer::Refused(text) | Answer::Wrong(text) | Answer::CouldNotAsk(text) => Some(text),
            Answer::Good | Answer::TimedOut => None,
        }
    }
}

/// What an instance says that it is: a statement of its own, whatever it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeenRole {
    /// It takes writes.
    Active,
    /// It follows another.
    Standby,
    /// A word that nobody knows, none at all, or two that contradict each other.
    Unclear,
}

impl SeenRole {
    /// All of them.
    pub const ALL: [SeenRole; 3] = [SeenRole::Active, SeenRole::Standby, SeenRole::Unclear];

    /// The words for *active*, as servers use them.
    pub const ACTIVE: [&'static str; 5] = ["active", "primary", "master", "leader", "writable"];

    /// The words for *standby*.
    pub const STANDBY: [&'static str; 6] = ["standby", "replica", "secondary", "slave", "follower", "read_only"];

    /// Reads a server's word, in capitals or not.
    pub fn read(word: &str) -> SeenRole {
        let is = |known: &&str| word.trim().eq_ignore_ascii_case(known);
        if SeenRole::ACTIVE.iter().any(is) {
            SeenRole::Active
        } else if SeenRole::STANDBY.iter().any(is) {
            SeenRole::Standby
        } else {
            SeenRole::Unclear
        }
    }

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            SeenRole::Active => "active",
            SeenRole::Standby => "standby",
            SeenRole::Unclear => "unclear",
        }
    }
}

/// What a series of observations adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Good answers, `rise` of them since it was last not healthy.
    Healthy,
    /// Failures, but fewer than `fall` in a row.
    Suspect,
    /// `fall` failures in a row.
    Down,
    /// Not known: just started, could not ask, or answers too old. Never taken for down.
    Unknown,
}

impl Health {
    /// All of them.
    pub const ALL: [Health; 4] = [Health::Healthy, Health::Suspect, Health::Down, Health::Unknown];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Suspect => "suspect",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
    }
}

/// What failed, classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// The instance is gone or silent as a whole.
    InstanceFailure,
    /// The instance answers somewhere, its service does not.
    ServiceFailure,
    /// A zone is lost.
    AvailabilityZoneFailure,
    /// A region is lost.
    RegionFailure,
}

impl Scenario {
    /// All of them, the smallest first.
    pub const ALL: [Scenario; 4] = [
        Scenario::InstanceFailure,
        Scenario::ServiceFailure,
        Scenario::AvailabilityZoneFailure,
        Scenario::RegionFailure,
    ];

    /// What is lost with it.
    pub const fn domain(self) -> FailureDomain {
        match self {
            Scenario::InstanceFailure | Scenario::ServiceFailure => FailureDomain::Instance,
            Scenario::AvailabilityZoneFailure => FailureDomain::Zone,
            Scenario::RegionFailure => FailureDomain::Region,
        }
    }

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Scenario::InstanceFailure => "instance_failure",
            Scenario::ServiceFailure => "service_failure",
            Scenario::AvailabilityZoneFailure => "availability_zone_failure",
            Scenario::RegionFailure => "region_failure",
        }
    }
}
