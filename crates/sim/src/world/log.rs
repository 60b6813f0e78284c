//! The log of a database: one server writes it, others copy it, each a moment behind.
//!
//! A place in it is a number of bytes on a timeline, as PostgreSQL counts. Whoever is promoted begins a timeline of its own where it
//! is. A standby follows a leader whose timeline begins, in its history, no earlier than the standby has come; one that has come
//! further has gone another way, and stays where it is until it is made a copy again.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_plan::observation::{LogPosition, SeenRole};

/// What a writer adds each microsecond, in bytes.
const RATE: u64 = 1;

/// The servers of one database.
#[derive(Clone, Debug)]
pub struct Log {
    system: String,
    members: BTreeMap<String, Member>,
    now: Time,
}

/// How a server is, as the world has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Whether it runs.
    pub up: bool,
    /// What it is.
    pub role: SeenRole,
    /// How long what is written takes to come to it.
    pub lag: Duration,
}

#[derive(Clone, Debug)]
struct Member {
    stand: Stand,
    timeline: u32,
    /// The timelines before its own, each with where it was left.
    left: Vec<(u32, u64)>,
    at: u64,
    /// What it wrote last: from when, where it was then, and until when if it writes no more.
    wrote: Option<(Time, u64, Option<Time>)>,
}

impl Member {
    /// Where it was at a moment since it began to write; before that it was where it began.
    fn place(&self, at: Time) -> u64 {
        let Some((since, from, until)) = self.wrote else { return self.at };
        let at = until.map_or(at, |it| it.min(at));
        from + u64::try_from(at.since(since).as_micros()).unwrap_or(u64::MAX) * RATE
    }

    /// The same; `None` before it began to write.
    fn wrote_by(&self, at: Time) -> Option<u64> {
        let (since, ..) = self.wrote?;
        (at >= since).then(|| self.place(at))
    }

    fn writes(&self) -> bool {
        self.stand.up && self.stand.role == SeenRole::Active
    }

    /// Whether its history leads to where `follower` is.
    fn leads(&self, follower: &Member) -> bool {
        if self.timeline == follower.timeline {
            return true;
        }
        self.left.iter().any(|it| it.0 == follower.timeline && follower.at <= it.1)
    }
}

impl Log {
    /// A new database: all of it is where its one active server is.
    pub fn new(system: &str, now: Time, servers: impl IntoIterator<Item = (String, Stand)>) -> Log {
        let member = |stand: Stand| Member { stand, timeline: 1, left: Vec::new(), at: 0, wrote: None };
        let members = servers.into_iter().map(|it| (it.0, member(it.1))).collect();
        let mut log = Log { system: system.to_owned(), members, now };
        for member in log.members.values_mut().filter(|it| it.writes()) {
            member.wrote = Some((now, 0, None));
        }
        log
    }

    /// Time passes until then, and everybody is as he was. Whoever copies does it from `leader`.
    pub fn pass(&mut self, now: Time, leader: Option<&str>) {
        self.now = now;
        let leader = leader.and_then(|it| self.members.get(it)).filter(|it| it.writes()).cloned();
        for member in self.members.values_mut() {
            if member.writes() {
                member.at = member.place(now);
            } else if member.stand.up
                && let Some(leader) = &leader
                && leader.leads(member)
            {
                let lag = u64::try_from(member.stand.lag.as_nanos()).unwrap_or(u64::MAX);
                let Some(came) = leader.wrote_by(Time::from_nanos(now.as_nanos().saturating_sub(lag))) else {
                    continue;
                };
                if came > member.at || leader.timeline == member.timeline {
                    (member.timeline, member.left) = (leader.timeline, leader.left.clone());
                    member.at = member.at.max(came);
                }
            }
        }
    }

    /// A server is so from now on. Whoever becomes active is promoted where it is.
    pub fn stands(&mut self, name: &str, stand: Stand) {
        let now = self.now;
        let Some(member) = self.members.get_mut(name) else { return };
        if member.stand.role != SeenRole::Active && stand.role == SeenRole::Active {
            member.left.push((member.timeline, member.at));
            member.timeline += 1;
        }
        let wrote = member.writes();
        member.stand = stand;
        match (wrote, member.writes()) {
            (false, true) => member.wrote = Some((now, member.at, None)),
            (true, false) => member.wrote = member.wrote.map(|it| (it.0, it.1, Some(now))),
            (true, true) | (false, false) => {}
        }
    }

    /// A server is made a copy of `leader`: rewound, or copied anew.
    pub fn becomes_copy(&mut self, name: &str, leader: &str) {
        let Some(leader) = self.members.get(leader).cloned() else { return };
        let Some(member) = self.members.get_mut(name) else { return };
        (member.timeline, member.left, member.at) = (leader.timeline, leader.left, leader.at);
        member.stand.role = SeenRole::Standby;
        member.wrote = None;
    }

    /// How a server is.
    pub fn stand(&self, name: &str) -> Option<Stand> {
        self.members.get(name).map(|it| it.stand)
    }

    /// Where it says that it is, if it runs.
    pub fn position(&self, name: &str) -> Option<LogPosition> {
        let member = self.members.get(name).filter(|it| it.stand.up)?;
        Some(LogPosition { system: self.system.clone(), timeline: member.timeline, at: member.at })
    }

    /// For how long `name` wrote, until a moment, what `of` does not have: what is lost of that if `of` goes on. `None`: they have nothing in
    /// common.
    pub fn ahead(&self, name: &str, of: &str, until: Time) -> Option<Duration> {
        let (ahead, behind) = (self.members.get(name)?, self.members.get(of)?);
        let shared = match behind.left.iter().find(|it| it.0 == ahead.timeline) {
            Some(left) => left.1,
            None if behind.timeline == ahead.timeline => behind.at,
            None => return None,
        };
        Some(Duration::from_micros(ahead.place(until).saturating_sub(shared) / RATE))
    }
}
