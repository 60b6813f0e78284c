//! One history of a model: failures come, recoveries run, repairs are made, for so many years.
//!
//! Event by event, in virtual time of seconds. Everything is whole when it begins, which is why a year is better than a
//! month: what is slow to fail has had no time to.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use mainstay_plan::strategy::Strategy;

use super::chance::Chance;
use super::model::{Loss, Member, Model, Part, Parts, Way};
use super::rates::Kind;

/// One outage of one member, from the failure to its serving again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// Which member.
    pub member: usize,
    /// What was lost.
    pub kind: Kind,
    /// How long it took, by part.
    pub parts: Parts,
    /// The place of the way that ended it among the member's; `None`: a repair or a person did.
    pub way: Option<usize>,
    /// What was lost, in seconds; `None`: it keeps no state, or nobody knows.
    pub loss: Option<f64>,
    /// Whether no probe saw it.
    pub unseen: bool,
    /// What held it, for how long.
    pub held: Option<(Guard, f64)>,
}

impl Outage {
    /// All of it, in seconds.
    pub fn total(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// What held a recovery back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// A person's approval.
    Approval,
    /// The time after the last recovery.
    CoolDown,
    /// The agent was away.
    AgentAway,
    /// The standby was further behind than the RPO.
    Rpo,
}

impl Guard {
    /// All of them.
    pub const ALL: [Guard; 4] = [Guard::Approval, Guard::CoolDown, Guard::AgentAway, Guard::Rpo];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Guard::Approval => "approval",
            Guard::CoolDown => "cool_down",
            Guard::AgentAway => "agent_away",
            Guard::Rpo => "rpo",
        }
    }
}

/// What came of one history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// By member, seconds in which its clients were not served.
    pub down: Vec<f64>,
    /// By member, seconds in which it was down itself.
    pub own: Vec<f64>,
    /// Seconds in which something that clients need was down.
    pub site: f64,
    /// By member, its share of that: at each moment, those that are down themselves share it evenly.
    pub spent: Vec<f64>,
    /// By kind of failure, the same.
    pub spent_on: [f64; 5],
    /// Ended outages.
    pub outages: Vec<Outage>,
}

/// Plays so many seconds.
pub fn play(model: &Model, seconds: f64, chance: &mut Chance) -> Told {
    let mut world = World::new(model, seconds, chance);
    while let Some(Reverse(event)) = world.events.pop() {
        if event.at >= seconds {
            break;
        }
        world.pass_to(event.at);
        world.happens(event.what);
    }
    world.pass_to(seconds);
    world.told
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Fails(usize),
    Repaired(usize, u32),
    /// A way is done; or, without one, a person is.
    Ends(usize, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Event {
    at: f64,
    /// What was planned first comes first.
    nth: u64,
    what: What,
}

impl Eq for Event {}

impl Ord for Event {
    fn cmp(&self, other: &Event) -> Ordering {
        self.at.total_cmp(&other.at).then(self.nth.cmp(&other.nth))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Event) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Copy, Debug)]
struct SourceNow {
    down: bool,
    /// Grows with every failure and repair, so that what was planned before is known to be old.
    epoch: u32,
    in_repair: bool,
}

/// An outage that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: f64,
    epoch: u32,
    kind: Kind,
    /// The unit that serves when the recovery is done; `None`: nothing recovers it.
    to: Option<usize>,
    /// When it ends; infinite while nothing recovers it.
    ends: f64,
    /// When the agent is done, and what depends on it may begin.
    done: f64,
    waits_for_agent: bool,
    parts: Parts,
    way: Option<usize>,
    loss: Option<f64>,
    unseen: bool,
    held: Option<(Guard, f64)>,
}

struct World<'a> {
    model: &'a Model,
    chance: &'a mut Chance,
    until: f64,
    now: f64,
    events: BinaryHeap<Reverse<Event>>,
    planned: u64,
    sources: Vec<SourceNow>,
    repairs: VecDeque<usize>,
    busy: usize,
    /// By unit, how many of its sources are down.
    dead: Vec<u32>,
    /// By source, who lives on it.
    on: Vec<Vec<usize>>,
    /// By unit, whose it is.
    of: Vec<usize>,
    bound: Vec<usize>,
    open: Vec<Option<Open>>,
    epochs: Vec<u32>,
    last_end: Vec<f64>,
    served: Vec<bool>,
    /// Those that are not, in their order: few of many, as a rule.
    not_served: Vec<usize>,
    is_changed: bool,
    told: Told,
}

impl<'a> World<'a> {
    fn new(model: &'a Model, until: f64, chance: &'a mut Chance) -> World<'a> {
        let members = model.members.len();
        let mut on = vec![Vec::new(); model.sources.len()];
        for (unit, it) in model.units.iter().enumerate() {
            it.sources.iter().for_each(|source| on[*source].push(unit));
        }
        let mut of = vec![0; model.units.len()];
        for (member, it) in model.members.iter().enumerate() {
            it.units.iter().for_each(|unit| of[*unit] = member);
        }
        let mut world = World {
            model,
            chance,
            until,
            now: 0.0,
            events: BinaryHeap::new(),
            planned: 0,
            sources: vec![SourceNow { down: false, epoch: 0, in_repair: false }; model.sources.len()],
            repairs: VecDeque::new(),
            busy: 0,
            dead: vec![0; model.units.len()],
            on,
            of,
            bound: model.members.iter().map(|it| it.units[0]).collect(),
            open: vec![None; members],
            epochs: vec![0; members],
            last_end: vec![f64::NEG_INFINITY; members],
            served: vec![true; members],
            not_served: Vec::new(),
            is_changed: false,
            told: Told {
                down: vec![0.0; members],
                own: vec![0.0; members],
                spent: vec![0.0; members],
                ..Told::default()
            },
        };
        for source in 0..model.sources.len() {
            world.plan_failure(source);
        }
        world
    }

    fn plan(&mut self, at: f64, what: What) {
        if at < self.until {
            self.planned += 1;
            self.events.push(Reverse(Event { at, nth: self.planned, what }));
        }
    }

    fn plan_failure(&mut self, source: usize) {
        let after = self.model.sources[source].fails.draw(self.chance);
        self.plan(self.now + after, What::Fails(source));
    }

    /// Time passes, and is counted.
    fn pass_to(&mut self, at: f64) {
        if self.is_changed {
            self.is_changed = false;
            self.not_served.clear();
            for (member, it) in self.model.members.iter().enumerate() {
                self.served[member] = self.open[member].is_none();
                // Those before it are done; the traffic process alone comes behind, and needs nobody.
                let needs = it
                    .needs
                    .iter()
                    .all(|need| if *need < member { self.served[*need] } else { self.open[*need].is_none() });
                self.served[member] &= needs;
                if !self.served[member] {
                    self.not_served.push(member);
                }
            }
        }
        let passed = at - self.now;
        self.now = at;
        if passed <= 0.0 || self.not_served.is_empty() {
            return;
        }
        let mut spending = 0_u32;
        for member in &self.not_served {
            self.told.down[*member] += passed;
            if self.open[*member].is_some() {
                self.told.own[*member] += passed;
                spending += u32::from(self.model.members[*member].clients_need);
            }
        }
        if spending == 0 {
            return;
        }
        self.told.site += passed;
        let each = passed / f64::from(spending);
        for member in &self.not_served {
            if let Some(open) = &self.open[*member]
                && self.model.members[*member].clients_need
            {
                self.told.spent[*member] += each;
                self.told.spent_on[open.kind as usize] += each;
            }
        }
    }

    fn happens(&mut self, what: What) {
        match what {
            What::Fails(source) => self.fails(source),
            What::Repaired(source, epoch) if self.sources[source].epoch == epoch => {
                self.busy -= usize::from(self.needs_crew(source));
                self.is_back(source);
                self.next_repair();
            }
            What::Ends(member, epoch) if self.epochs[member] == epoch => self.recovery_ends(member),
            // Planned before something else came.
            What::Repaired(..) | What::Ends(..) => {}
        }
    }

    fn needs_crew(&self, source: usize) -> bool {
        let crews = self.model.rates.crews.is_some();
        // Zones and regions are somebody else's to repair.
        crews && matches!(self.model.sources[source].kind, Kind::Instance | Kind::Host | Kind::SharedPart)
    }

    fn fails(&mut self, source: usize) {
        let it = &self.model.sources[source];
        if let Some(unit) = it.only_while_serving
            && self.bound[self.of[unit]] != unit
        {
            self.plan_failure(source);
            return;
        }
        if self.sources[source].down {
            return;
        }
        let now = &mut self.sources[source];
        now.down = true;
        now.epoch += 1;
        self.asks_for_repair(source);
        let mut lost: Vec<usize> = Vec::new();
        for unit in self.on[source].clone() {
            self.dead[unit] += 1;
            let member = self.of[unit];
            if self.dead[unit] == 1 && self.bound[member] == unit && self.open[member].is_none() {
                lost.push(member);
            }
        }
        lost.sort_unstable();
        let kind = it.kind;
        lost.iter().for_each(|member| self.begins(*member, kind, self.now, &lost));
    }

    fn asks_for_repair(&mut self, source: usize) {
        if self.needs_crew(source) && Some(self.busy) >= self.model.rates.crews {
            self.repairs.push_back(source);
        } else {
            self.begins_repair(source);
        }
    }

    fn begins_repair(&mut self, source: usize) {
        self.busy += usize::from(self.needs_crew(source));
        self.sources[source].in_repair = true;
        let takes = self.model.sources[source].repair.draw(self.chance);
        self.plan(self.now + takes, What::Repaired(source, self.sources[source].epoch));
    }

    fn next_repair(&mut self) {
        while Some(self.busy) < self.model.rates.crews
            && let Some(source) = self.repairs.pop_front()
        {
            self.begins_repair(source);
        }
    }

    /// It works again, however that came.
    fn is_back(&mut self, source: usize) {
        let now = &mut self.sources[source];
        now.down = false;
        now.in_repair = false;
        now.epoch += 1;
        self.plan_failure(source);
        for unit in self.on[source].clone() {
            self.dead[unit] -= 1;
            let member = self.of[unit];
            if self.dead[unit] > 0 {
                continue;
            }
            match self.open[member] {
                // What is whole again serves, where nothing else was on its way.
                Some(open) if open.to.is_none() => self.repaired(member, unit),
                Some(_) => {}
                // The way back costs nothing.
                None if self.model.members[member].units[0] == unit => self.bound[member] = unit,
                None => {}
            }
        }
        if self.model.agent.contains(&source) && self.agent_is_there() {
            let waiting: Vec<usize> =
                (0..self.open.len()).filter(|it| self.open[*it].is_some_and(|it| it.waits_for_agent)).collect();
            for member in waiting.iter().copied() {
                if let Some(open) = self.open[member].take() {
                    self.begins(member, open.kind, open.since, &waiting);
                }
            }
        }
    }

    /// Somebody restarted or replaced it: the repair that was planned is not needed any more.
    fn is_mended(&mut self, source: usize) {
        if !self.sources[source].down {
            return;
        }
        if self.sources[source].in_repair {
            self.busy -= usize::from(self.needs_crew(source));
        } else {
            self.repairs.retain(|it| *it != source);
        }
        self.is_back(source);
        self.next_repair();
    }

    fn agent_is_there(&self) -> bool {
        self.model.agent.iter().all(|it| !self.sources[*it].down)
    }

    /// The recovery of an outage is worked out: all of its times, and how it ends.
    fn begins(&mut self, member: usize, kind: Kind, since: f64, lost: &[usize]) {
        self.is_changed = true;
        self.epochs[member] += 1;
        let it = &self.model.members[member];
        let mut open = Open {
            since,
            epoch: self.epochs[member],
            kind,
            to: None,
            ends: f64::INFINITY,
            done: f64::INFINITY,
            waits_for_agent: false,
            parts: [0.0; Part::ALL.len()],
            way: None,
            loss: None,
            unseen: false,
            held: None,
        };
        let ways = &it.ways[kind.domain() as usize];
        if !ways.is_empty() && !self.agent_is_there() {
            open.waits_for_agent = true;
        } else if !ways.is_empty() {
            let waited = self.now - since;
            if waited > 0.0 {
                open.parts[Part::Held as usize] += waited;
                open.held = Some((Guard::AgentAway, waited));
            }
            self.walks(it, member, ways, &mut open, lost);
        }
        if open.to.is_none() && !open.waits_for_agent {
            self.by_hand(&mut open);
        }
        if open.ends.is_finite() {
            self.plan(open.ends, What::Ends(member, open.epoch));
        }
        self.open[member] = Some(open);
    }

    /// The ladder, until something works.
    fn walks(&mut self, it: &Member, member: usize, ways: &[Way], open: &mut Open, lost: &[usize]) {
        let first = &ways[0];
        for (part, time) in &first.times {
            if matches!(part, Part::Detect | Part::Decide) {
                open.parts[*part as usize] += time.draw(self.chance);
            }
        }
        if !self.chance.happens(it.odds.detected) {
            open.unseen = true;
            open.parts[Part::Detect as usize] += self.model.rates.notice.draw(self.chance);
        }
        self.guards(it, member, open);
        let so_far = open.since + open.parts.iter().sum::<f64>();
        let before = it.waits_for.iter().filter(|need| lost.contains(need)).filter_map(|need| self.open[*need]);
        let dependencies = before.map(|it| it.done).filter(|it| it.is_finite()).fold(so_far, f64::max);
        open.parts[Part::Dependencies as usize] = dependencies - so_far;
        let home = it.units[0];
        for (nth, way) in ways.iter().enumerate() {
            let from = self.bound[member];
            let to = match way.strategy {
                // The same one, or another in its place.
                Strategy::RestartService
                | Strategy::RestoreFromBackup
                | Strategy::ReplaceInstance
                | Strategy::ScaleOut => from,
                // After a takeover the ladder leads back.
                Strategy::FailoverToStandby if from == way.to => home,
                Strategy::FailoverToStandby => way.to,
            };
            // A unit that takes over has to live; one that is restarted or made anew has not.
            if to != from && self.dead[to] > 0 {
                continue;
            }
            let loss = match &way.loss {
                Loss::NoState | Loss::Unknown => None,
                Loss::Nothing => Some(0.0),
                Loss::Copy(age) => Some(age.draw(self.chance)),
                Loss::Lag(lag, most) => {
                    let lag = lag.draw(self.chance);
                    if most.is_some_and(|most| lag > most) {
                        open.held = Some((Guard::Rpo, 0.0));
                        continue;
                    }
                    Some(lag)
                }
            };
            if !self.chance.happens(way.works) {
                open.parts[Part::EarlierRungs as usize] += way.failing;
                continue;
            }
            for (part, time) in &way.times {
                if !matches!(part, Part::Detect | Part::Decide) {
                    open.parts[*part as usize] += time.draw(self.chance);
                }
            }
            open.way = Some(nth);
            open.loss = loss;
            open.to = Some(to);
            open.ends = open.since + open.parts.iter().sum::<f64>();
            open.done = open.ends - way.tail * open.parts[Part::Converge as usize];
            return;
        }
    }

    fn guards(&mut self, it: &Member, member: usize, open: &mut Open) {
        let begins = open.since + open.parts.iter().sum::<f64>();
        let cool = (self.last_end[member] + it.cool_down - begins).max(0.0);
        let approval = if it.approval { self.model.rates.approve.draw(self.chance) } else { 0.0 };
        open.parts[Part::Held as usize] += cool + approval;
        let longest = if approval > cool { (Guard::Approval, approval) } else { (Guard::CoolDown, cool) };
        if longest.1 > open.held.map_or(0.0, |it| it.1) {
            open.held = Some(longest);
        }
    }

    /// Nothing recovers it: a person may, if there is one and an instance is left.
    fn by_hand(&mut self, open: &mut Open) {
        if let Some(recover) = &self.model.rates.recover {
            open.ends = self.now + recover.draw(self.chance);
        }
    }

    fn recovery_ends(&mut self, member: usize) {
        let Some(mut open) = self.open[member] else { return };
        match open.to {
            Some(to) if to == self.bound[member] => {
                // Restarted or made anew: what was its own is mended with it.
                let own: Vec<usize> = match open.kind {
                    Kind::Instance => vec![self.model.units[to].sources[0]],
                    Kind::Host => self.model.units[to].sources[..2].to_vec(),
                    Kind::SharedPart | Kind::Zone | Kind::Region => Vec::new(),
                };
                self.ended(member, to, open);
                own.into_iter().for_each(|it| self.is_mended(it));
                if self.dead[to] > 0 && self.open[member].is_none() {
                    // Something else took it meanwhile.
                    let down = self.model.units[to].sources.iter().filter(|it| self.sources[**it].down);
                    let kind = down.map(|it| self.model.sources[*it].kind).max();
                    self.begins(member, kind.unwrap_or(open.kind), self.now, &[]);
                }
            }
            Some(to) if self.dead[to] == 0 => self.ended(member, to, open),
            Some(_) => {
                // It failed while it took over: back to waiting for whatever comes first.
                open.to = None;
                open.way = None;
                open.loss = None;
                open.ends = f64::INFINITY;
                self.by_hand(&mut open);
                self.epochs[member] += 1;
                open.epoch = self.epochs[member];
                if open.ends.is_finite() {
                    self.plan(open.ends, What::Ends(member, open.epoch));
                }
                self.open[member] = Some(open);
            }
            None => match self.model.members[member].units.iter().copied().find(|it| self.dead[*it] == 0) {
                Some(unit) => self.repaired(member, unit),
                // Nothing is left to recover by hand.
                None => {
                    open.ends = f64::INFINITY;
                    self.open[member] = Some(open);
                }
            },
        }
    }

    /// It serves again, and no way of the ladder did it: all of the rest was waiting.
    fn repaired(&mut self, member: usize, unit: usize) {
        if let Some(mut open) = self.open[member] {
            let accounted: f64 = open.parts.iter().sum();
            let all = self.now - open.since;
            if all >= accounted {
                open.parts[Part::Repair as usize] += all - accounted;
            } else {
                // Repaired before anything was done.
                open.parts = [0.0; Part::ALL.len()];
                open.parts[Part::Repair as usize] = all;
            }
            open.way = None;
            self.ended(member, unit, open);
        }
    }

    fn ended(&mut self, member: usize, unit: usize, open: Open) {
        self.is_changed = true;
        self.open[member] = None;
        self.epochs[member] += 1;
        self.bound[member] = unit;
        self.last_end[member] = if open.way.is_some() { self.now } else { self.last_end[member] };
        let Open { kind, parts, way, loss, unseen, held, .. } = open;
        self.told.outages.push(Outage { member, kind, parts, way, loss, unseen, held });
        // Home again, if it is whole: the way back costs nothing.
        let home = self.model.members[member].units[0];
        if self.dead[home] == 0 {
            self.bound[member] = home;
        }
    }
}
