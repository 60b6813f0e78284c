//! Backups: how old the newest usable copy may be, and where copies live.

use std::time::Duration;

use crate::location::Location;
use crate::postgres::PostgresBackup;

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
}

/// A further copy of a series of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupCopy {
    /// Where it is kept.
    pub location: Location,
    /// How long after `location` of the backup it is complete here.
    pub lag: Duration,
}

impl Backup {
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
