//! What goes wrong between an order and its effect, between a question and its answer, on the disk and with the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::WaitingOn;
use mainstay_engine::state::Recovery;
use mainstay_plan::Time;
use mainstay_plan::observation::{Answer, SeenRole};

use super::{Event, Server, World};
use crate::broken::Broken;

/// The network between the agent and one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Both ways work.
    Whole,
    /// What the agent says arrives, and it hears nothing: orders are done, and their outcome stays unknown.
    NoAnswers,
    /// Probes pass and orders do not: their outcome stays unknown, and they are not done.
    NoOrders,
}

/// What a probe says whatever is the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// That all is well.
    Good,
    /// That it is refused.
    Refused,
}

/// How the answers of probes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// As soon as they are there.
    InTime,
    /// So much later.
    Late(Duration),
    /// Not at all.
    Lost,
}

/// Trouble that comes and goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The network to an instance changes.
    Link(String, Link),
    /// The probes of an instance lie from now on, or tell the truth again.
    Lies(String, Option<Lie>),
    /// An instance needs so long to start from now on.
    StartsSlowly(String, Duration),
    /// An instance that is told to start does not, and whoever told it hears that it did; or it starts again.
    DoesNotStart(String, bool),
    /// An instance dies, and again so long after each start; or no more.
    CrashLoops(String, Option<Duration>),
    /// A command with this program fails, or works again.
    CommandFails(String, bool),
    /// A sync takes so long from now on; `None`: as long as ever.
    SlowDisk(Option<Duration>),
    /// The power goes: of what was not synced so many records stay, because the tail was torn behind them.
    PowerCut {
        /// How many at most.
        keeps: usize,
        /// How long until the agent is started again.
        down_for: Duration,
    },
    /// The clock of the agent's machine is set forward: it shows when the agent is started the next time.
    ClockJumps(Duration),
    /// The clock of the agent's machine is set back: it shows when the agent is started the next time, as far as the newest record
    /// lets it.
    ClockIsSetBack(Duration),
    /// The traffic process refuses tables, or takes them again.
    TrafficRefuses(bool),
    /// The connection to the traffic process is cut, or there again.
    TrafficLinkCut(bool),
    /// The next action is done, or not, and nobody ever says.
    NeverAnswers(bool),
    /// How the answers of an instance or witness come from now on.
    Answers(String, Answers),
}

/// The trouble there is.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    links: BTreeMap<String, Link>,
    lies: BTreeMap<String, Lie>,
    slow: BTreeMap<String, Duration>,
    stuck: BTreeMap<String, bool>,
    loops: BTreeMap<String, Duration>,
    pub(super) sync_takes: Option<Duration>,
    /// What the wall clock is ahead, in nanoseconds; negative: behind.
    wall: i64,
    /// The same of the clock of the agent that runs.
    ahead: i64,
    pub(super) refuses: bool,
    pub(super) is_cut: bool,
    /// Whether the next action, of which nobody hears, is done.
    pub(super) never_answers: Option<bool>,
    answers: BTreeMap<String, Answers>,
}

impl Troubles {
    pub(super) fn link(&self, name: &str) -> Link {
        self.links.get(name).copied().unwrap_or(Link::Whole)
    }

    /// How long an instance needs to start beyond what is usual; `None`: it does not start.
    pub(super) fn start_takes(&self, name: &str) -> Option<Duration> {
        let stuck = self.stuck.get(name).copied().unwrap_or(false);
        (!stuck).then(|| self.slow.get(name).copied().unwrap_or_default())
    }

    /// How long an instance lives that was started, if it dies by itself.
    pub(super) fn lives_for(&self, name: &str) -> Option<Duration> {
        self.loops.get(name).copied()
    }

    /// How much later an answer comes; `None`: never.
    pub(super) fn comes_after(&self, name: &str) -> Option<Duration> {
        match self.answers.get(name) {
            None | Some(Answers::InTime) => Some(Duration::ZERO),
            Some(Answers::Late(by)) => Some(*by),
            Some(Answers::Lost) => None,
        }
    }

    /// What is heard instead of a true answer.
    pub(super) fn told(&self, name: &str, answer: Answer) -> Answer {
        match self.lies.get(name) {
            None => answer,
            Some(Lie::Good) => Answer::Good,
            Some(Lie::Refused) => Answer::Refused("connection refused".to_owned()),
        }
    }
}

impl World {
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let it = &mut self.troubles;
        match trouble {
            Trouble::Link(name, link) => drop(it.links.insert(name, link)),
            Trouble::Lies(name, Some(lie)) => drop(it.lies.insert(name, lie)),
            Trouble::Lies(name, None) => drop(it.lies.remove(&name)),
            Trouble::StartsSlowly(name, by) => drop(it.slow.insert(name, by)),
            Trouble::DoesNotStart(name, stuck) => drop(it.stuck.insert(name, stuck)),
            Trouble::CrashLoops(name, Some(after)) => {
                it.loops.insert(name.clone(), after);
                self.dies(name);
            }
            Trouble::CrashLoops(name, None) => drop(it.loops.remove(&name)),
            Trouble::CommandFails(program, true) => drop(self.broken_commands.insert(program)),
            Trouble::CommandFails(program, false) => drop(self.broken_commands.remove(&program)),
            Trouble::SlowDisk(takes) => it.sync_takes = takes,
            Trouble::PowerCut { keeps, down_for } => self.cut_power(keeps, down_for),
            Trouble::ClockJumps(by) => it.wall += nanos(by),
            Trouble::ClockIsSetBack(by) => it.wall -= nanos(by),
            Trouble::TrafficRefuses(refuses) => it.refuses = refuses,
            Trouble::TrafficLinkCut(true) => it.is_cut = true,
            Trouble::TrafficLinkCut(false) => {
                it.is_cut = false;
                self.greet_traffic();
            }
            Trouble::NeverAnswers(is_done) => it.never_answers = Some(is_done),
            Trouble::Answers(name, how) => drop(it.answers.insert(name, how)),
        }
    }

    /// An instance that crash-loops dies, if it lives.
    pub(super) fn dies(&mut self, name: String) {
        let loops = self.troubles.loops.contains_key(&name);
        if loops && self.servers.get(&name) == Some(&Server::Up) {
            self.suffer(super::Fault::Server(name, Server::Dead));
        }
    }

    fn cut_power(&mut self, keeps: usize, down_for: Duration) {
        self.places_forgotten();
        if !self.journal_lost {
            let kept = keeps.min(self.unsynced.len());
            let first = self.durable.len() as u64 + 1;
            self.durable.extend(self.unsynced.drain(..kept));
            let from = self.durable.len() - kept;
            for (seq, record) in (first..).zip(&self.durable[from..]) {
                self.checkers.recorded(seq, record);
            }
        }
        self.kill(down_for);
    }

    /// The time on the agent's clock.
    pub fn clock(&self) -> Time {
        let now = i64::try_from(self.now.as_nanos()).unwrap_or(i64::MAX);
        Time::from_nanos(u64::try_from(now + self.troubles.ahead).unwrap_or(0))
    }

    /// The agent is started: it looks at the wall clock once, and takes no time before its newest record.
    pub(super) fn look_at_the_clock(&mut self) {
        let now = i64::try_from(self.now.as_nanos()).unwrap_or(i64::MAX);
        let newest = self.newest().map_or(i64::MIN, |it| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX) - now);
        self.troubles.ahead = self.troubles.wall.max(newest);
    }

    /// Whoever made an instance active or a standby makes it what the agent takes it for, as soon as nothing goes on there, or what
    /// goes on waits for just that.
    pub fn outsiders_withdraw(&mut self) {
        let Some(state) = self.engine().map(mainstay_engine::Engine::state) else { return };
        let waits = |it: &Recovery| matches!(it.held, Some((WaitingOn::SomeoneElse { .. }, _)));
        let mut changed = Vec::new();
        for (planned, component) in self.plan.components.iter().zip(&state.components) {
            for instance in planned.instances.iter().filter(|_| component.recovery.as_ref().is_none_or(waits)) {
                let role = if *instance == component.bound { SeenRole::Active } else { SeenRole::Standby };
                let name = &self.plan.instance(*instance).name;
                if self.roles.get(name) != Some(&role) {
                    changed.push((name.clone(), role));
                }
            }
        }
        for (name, role) in changed {
            self.suffer(super::Fault::Role(name, role));
        }
    }

    /// Everything works from now on, and everybody is there. What the agent believes, and what it has done, stays.
    pub fn heal(&mut self) {
        let ahead = (self.troubles.wall, self.troubles.ahead);
        self.troubles = Troubles { wall: ahead.0, ahead: ahead.1, ..Troubles::default() };
        self.servers.values_mut().for_each(|it| *it = Server::Up);
        self.lag = self.plan.instances.iter().map(|it| (it.name.clone(), Duration::ZERO)).collect();
        self.broken = Broken::default();
        self.grays = crate::gray::Grays::default();
        self.cannot_ask.clear();
        self.broken_commands.clear();
        self.channels.clear();
        self.own_path_broken = false;
        self.fake_outcome = None;
        self.crash = None;
        self.tears = None;
        self.scripted.clear();
        self.traffic_up = true;
        self.hosts_heal();
        self.vaults_heal();
        // A table that was refused is sent again when the process says what it serves. An agent that is stopped hears it later.
        if self.frozen_until.is_some() {
            self.at(Duration::ZERO, Event::Greeted);
        } else {
            self.greet_traffic();
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
