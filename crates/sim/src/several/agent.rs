//! One of several agents: its process, its disk and its clock.

use std::time::Duration;

use mainstay_engine::driver::Driver;
use mainstay_engine::{Body, Record};
use mainstay_plan::Time;

use super::site::{BEGIN, Event};
use crate::checkers::Durable;

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) driver: Option<Driver>,
    /// How often it was started: what was on its way to it before reaches nobody.
    pub(super) life: u32,
    /// The number of its connection to the traffic process: what is said on an older one reaches nobody.
    pub(super) connection: u32,
    pub(super) durable: Vec<Record>,
    pub(super) unsynced: Vec<Record>,
    pub(super) syncing: bool,
    pub(super) sync_takes: Duration,
    /// How fast its clock runs, in parts per thousand.
    rate: u64,
    /// What its wall clock is ahead, or behind if negative, in milliseconds.
    pub(super) wall_ms: i64,
    /// What the clock showed when the agent started, and when that really was.
    started: (Time, Time),
    pub(super) asleep_until: Option<Time>,
    pub(super) late: Vec<Event>,
    pub(super) wake: Option<(Time, u64)>,
    pub(super) records: Durable,
    /// The highest epoch of a lease that its journal knows.
    highest: u64,
}

impl Agent {
    pub(super) fn new(name: String, rate: u64) -> Agent {
        Agent {
            name,
            driver: None,
            life: 0,
            connection: 0,
            durable: Vec::new(),
            unsynced: Vec::new(),
            syncing: false,
            sync_takes: SYNC,
            rate,
            wall_ms: 0,
            started: (BEGIN, BEGIN),
            asleep_until: None,
            late: Vec::new(),
            wake: None,
            records: Durable::default(),
            highest: 0,
        }
    }

    /// The time on its clock: it is set when the agent starts, never before the newest record, and runs on from there.
    pub(super) fn clock(&self, now: Time) -> Time {
        let passed = now.since(self.started.1).as_nanos() * u128::from(self.rate) / 1000;
        self.started.0 + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// When its clock will show that, or showed it.
    pub(super) fn really(&self, shown: Time) -> Time {
        let passed = shown.since(self.started.0).as_nanos() * 1000;
        let passed = passed.div_ceil(u128::from(self.rate));
        self.started.1 + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Its disk is empty.
    pub(super) fn forgets(&mut self) {
        self.durable.clear();
        self.records = Durable::default();
        self.highest = 0;
    }

    pub(super) fn set_clock(&mut self, now: Time) {
        let ahead = Duration::from_millis(self.wall_ms.unsigned_abs());
        let shows = if self.wall_ms < 0 {
            Time::from_nanos(now.as_nanos().saturating_sub(u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX)))
        } else {
            now + ahead
        };
        let newest = self.durable.last().map_or(Time::ZERO, |it| it.at);
        self.started = (shows.max(newest), now);
    }

    /// What was not synced is durable from now on, as far as `keeps` says.
    pub(super) fn keep(&mut self, keeps: usize) {
        for record in self.unsynced.drain(..keeps.min(self.unsynced.len())).collect::<Vec<Record>>() {
            self.records.recorded(self.durable.len() as u64 + 1, &record);
            self.obeys(&record);
            self.durable.push(record);
        }
    }
}

impl Agent {
    /// S9: an order of a lease that is known to be over is not taken.
    fn obeys(&mut self, record: &Record) {
        if let Body::LeaseChanged { epoch, .. } = &record.body {
            self.highest = self.highest.max(*epoch);
        } else if let Body::PeerOrder { from, epoch, taken: true, .. } = &record.body {
            let (name, known) = (&self.name, self.highest);
            assert!(*epoch >= known, "S9: {name} takes an order of {from} under epoch {epoch}, and knows of {known}");
        }
    }
}

/// How long a sync takes.
pub(super) const SYNC: Duration = Duration::from_millis(5);
