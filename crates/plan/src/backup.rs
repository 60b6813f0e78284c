//! Backups: how old the newest usable copy may be, and where copies live.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::hosts::Host;
use crate::location::Location;
use crate::postgres::{Keeping, PostgresAction, PostgresBackup, PostgresOp};
use crate::{ComponentIx, InstanceIx, Plan};

/// A series of backups of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its name, unique in its component.
    pub name: String,
    /// From the start of one backup to the start of the next.
    pub every: Duration,
    /// The longest that one backup takes.
    pub takes: Duration,
    /// From the end of a backup to its being complete at `location`.
    pub copy_lag: Duration,
    /// How far a continuous archive of changes (write-ahead log, binary log) is behind at `location`; `None`: there is none,
    /// and only whole backups can be restored.
    pub archive_lag: Option<Duration>,
    /// How long a backup is kept.
    pub keep: Duration,
    /// Where it is kept.
    pub location: Location,
    /// Further copies.
    pub copies: Vec<BackupCopy>,
    /// How often one is restored to see that it can be; `None`: never.
    pub restore_test: Option<Duration>,
    /// How Mainstay takes and restores it; `None`: somebody else does.
    pub postgres: Option<Box<PostgresBackup>>,
    /// What was measured of it, where somebody knows: no text of a plan says it, see [`Plan::measured`].
    pub measured: Option<Measured>,
}

/// A restore takes at most so many times as long as the longest restore test of the backups that are there: the log since the last backup may be
/// longer by then, and disks busier.
pub const MEASURED_MARGIN: u32 = 2;

/// What restore tests of a series have shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The longest that one took of the backups that are there, and how long ago the last one was; `None`: none was made.
    pub good: Option<(Duration, Duration)>,
    /// Whether the last one failed.
    pub failed: bool,
}

/// Who begins what keeps a series of backups as the plan says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenBy {
    /// The agent, as soon as something is due.
    #[default]
    Agent,
    /// A timer of the system, or a person.
    Timer,
}

impl TakenBy {
    /// Whether it is the agent.
    pub fn is_agent(&self) -> bool {
        *self == TakenBy::Agent
    }

    /// All of them.
    pub const ALL: [TakenBy; 2] = [TakenBy::Agent, TakenBy::Timer];

    /// The word for it in YAML.
    pub const fn word(self) -> &'static str {
        match self {
            TakenBy::Agent => "agent",
            TakenBy::Timer => "timer",
        }
    }
}

/// What is done so that a series stays as the plan says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepingJob {
    /// A base backup is taken.
    Backup,
    /// One is restored to see that it can be, and removed again.
    RestoreTest,
}

impl KeepingJob {
    /// All of them, in the order in which they are done where both are due.
    pub const ALL: [KeepingJob; 2] = [KeepingJob::Backup, KeepingJob::RestoreTest];

    /// Stable, for scripts.
    pub const fn word(self) -> &'static str {
        match self {
            KeepingJob::Backup => "backup",
            KeepingJob::RestoreTest => "restore_test",
        }
    }
}

impl fmt::Display for KeepingJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepingJob::Backup => write!(f, "backup"),
            KeepingJob::RestoreTest => write!(f, "restore test"),
        }
    }
}

/// What the folder of a series holds, as whoever works there has found it. Ages and no moments: no two clocks are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesSeen {
    /// Whether something was done now. It is not where it was not due: somebody else had done it.
    pub done: bool,
    /// The newest backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<BackupSeen>,
    /// The last good restore test of the backups that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<TestSeen>,
    /// What is wrong all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A base backup that is whole and was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSeen {
    /// Its name.
    pub name: String,
    /// How long ago it was begun, in milliseconds.
    pub age_ms: u64,
    /// How long taking and verifying it took, in milliseconds.
    pub took_ms: u64,
    /// How much it holds.
    pub bytes: u64,
    /// The server that it was taken from.
    pub from: String,
    /// Whether that was a `primary` or a `standby`.
    pub role: String,
}

/// A restore whose only purpose was to see that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSeen {
    /// What was restored.
    pub backup: String,
    /// How long ago it ended, in milliseconds.
    pub age_ms: u64,
    /// From the order to a server that takes writes and has passed its check, in milliseconds.
    pub took_ms: u64,
    /// The longest that this took for any of the backups that are there, in milliseconds.
    pub longest_ms: u64,
}

/// On whose machine a series is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper<'p> {
    /// The agent's own.
    Agent,
    /// That of a host.
    Host(&'p Host),
    /// That of somebody where Mainstay has no hands.
    Nobody(&'p str),
}

impl Plan {
    /// The same plan with what was measured of its series: `of` is told the component and the series.
    #[must_use]
    pub fn measured(mut self, of: impl Fn(&str, &Backup) -> Option<Measured>) -> Plan {
        for component in &mut self.components {
            for backup in &mut component.backups {
                backup.measured = of(&component.name, backup);
            }
        }
        self
    }

    /// On whose machine a series is kept. A location that names no machine means the agent's own.
    pub fn keeper<'p>(&'p self, backup: &'p Backup) -> Keeper<'p> {
        let Some(there) = backup.location.host.as_deref() else { return Keeper::Agent };
        match self.host_named(there) {
            Some(host) => Keeper::Host(self.host(host)),
            None if self.site.location.host.as_deref() == Some(there) => Keeper::Agent,
            None => Keeper::Nobody(there),
        }
    }

    /// What is asked for, where the machine of a series is kept, so that a job of it is done when it is due. `address` is where an instance is,
    /// if not where the plan says. `None`: Mainstay does not take the series.
    pub fn keeping(
        &self,
        component: ComponentIx,
        backup: &Backup,
        job: KeepingJob,
        address: impl Fn(InstanceIx) -> Option<IpAddr>,
    ) -> Option<Action> {
        let component = self.component(component);
        let reached = |ix: &InstanceIx| {
            let server = self.instance(*ix).postgres.as_deref()?;
            Some(address(*ix).map_or_else(|| server.clone(), |ip| server.at(ip)))
        };
        let servers = match job {
            KeepingJob::Backup => {
                component.instances.iter().filter_map(reached).filter(|it| it.follow.is_some()).collect()
            }
            KeepingJob::RestoreTest => Vec::new(),
        };
        let keeping = Keeping {
            job,
            series: backup.postgres.as_deref()?.clone(),
            every: backup.every(job)?,
            keep: backup.keep,
            servers,
        };
        let server = self.instance(component.original()).postgres.as_deref()?.clone();
        Some(Action::Postgres(Box::new(PostgresAction { server, op: PostgresOp::Keep(Box::new(keeping)) })))
    }
}

/// A further copy of a series of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCopy {
    /// Where it is kept.
    pub location: Location,
    /// How long after `location` of the backup it is complete here.
    pub lag: Duration,
    /// The file, on the machine of the backup's `location`, of the bucket that Mainstay copies it to; `None`: somebody else copies it.
    pub bucket: Option<PathBuf>,
}

/// However long a backup is said to take, so much more is waited before it is given up.
const SLACK: Duration = Duration::from_secs(60);

/// No restore test is waited for longer than that.
const LONGEST_TEST: Duration = Duration::from_secs(24 * 3600);

impl Backup {
    /// How Mainstay keeps it by itself, and nobody else has to begin anything.
    pub fn kept_by_agent(&self) -> Option<&PostgresBackup> {
        self.postgres.as_deref().filter(|it| it.taken_by == TakenBy::Agent)
    }

    /// How often a job is due; `None`: never.
    pub const fn every(&self, job: KeepingJob) -> Option<Duration> {
        match job {
            KeepingJob::Backup => Some(self.every),
            KeepingJob::RestoreTest => self.restore_test,
        }
    }

    /// How long a job may take until it is given up: a backup twice as long as the plan says until its last copy in a bucket is complete, and a
    /// minute; a restore test a day.
    pub fn gives_up(&self, job: KeepingJob) -> Duration {
        let buckets = self.copies.iter().filter(|it| it.bucket.is_some());
        match job {
            KeepingJob::Backup => (self.takes + buckets.map(|it| it.lag).max().unwrap_or_default()) * 2 + SLACK,
            KeepingJob::RestoreTest => LONGEST_TEST,
        }
    }

    /// So old the last one is overdue: one is due when half of that is over.
    pub fn overdue_after(&self, job: KeepingJob) -> Option<Duration> {
        self.every(job).map(|it| it * 2)
    }

    /// How long a restore takes at most, where that was measured: [`MEASURED_MARGIN`] times the longest.
    pub fn restores_within(&self) -> Option<Duration> {
        Some(self.measured?.good?.0 * MEASURED_MARGIN)
    }

    /// The most that a restore from the first place loses: what the archive lags behind, or interval + duration + copy lag
    /// (a failure just before the next backup is complete finds the one before, which holds what was there when it began).
    pub fn loss(&self) -> Duration {
        self.archive_lag.unwrap_or(self.every + self.takes + self.copy_lag)
    }

    /// The places where it can be restored from, each with the most that a restore from there loses. The first is the
    /// newest.
    pub fn places(&self) -> impl Iterator<Item = (&Location, Duration)> {
        let own = std::iter::once((&self.location, self.loss()));
        own.chain(self.copies.iter().map(|it| (&it.location, self.loss() + it.lag)))
    }
}
