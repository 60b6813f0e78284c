//! A [`Redundancy`] played event by event: every unit with its own clock, crews that work through a queue, dice for what
//! starts and what is noticed.
//!
//! Availability is estimated from cycles: one begins whenever the last failed unit is back and everything is as in the
//! beginning. The mean time to failure is the mean of many first failures from there.

use std::collections::VecDeque;

use super::chance::Chance;
use super::distribution::Distribution;
use super::estimate::{self, Estimate};
use super::redundancy::{Redundancy, Role, count};

/// What trials say of a redundancy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trials {
    /// The part of the time in which it is down.
    pub unavailability: Estimate,
    /// From the moment at which nothing has failed to the first failure of the system.
    pub mttf: Estimate,
}

/// Plays so many cycles and so many first failures. `None` for less than two of either.
pub fn play(system: &Redundancy, seed: u64, cycles: usize, failures: usize, confidence: f64) -> Option<Trials> {
    let mut chance = Chance::new(seed, 0);
    let cycles: Vec<(f64, f64)> = (0..cycles).map(|_| Played::new(system, &mut chance).cycle()).collect();
    let mut chance = Chance::new(seed, 1);
    let first: Vec<f64> = (0..failures).map(|_| Played::new(system, &mut chance).first_failure()).collect();
    Some(Trials { unavailability: estimate::ratio(&cycles, confidence)?, mttf: estimate::mean(&first, confidence)? })
}

/// One world.
struct Played<'a> {
    system: &'a Redundancy,
    chance: &'a mut Chance,
    now: f64,
    roles: Vec<Role>,
    /// By unit, when something happens to it: it fails, it is found, it is repaired.
    next: Vec<f64>,
    /// Failed units that no crew works at.
    queue: VecDeque<usize>,
    /// When each zone, and behind them the region, strikes.
    strikes: Vec<f64>,
}

impl<'a> Played<'a> {
    fn new(system: &'a Redundancy, chance: &'a mut Chance) -> Played<'a> {
        let units = system.zones.len();
        let zones = system.zones.iter().max().map_or(0, |it| it + 1);
        let mut world = Played {
            system,
            chance,
            now: 0.0,
            roles: vec![Role::Waiting; units],
            next: vec![f64::INFINITY; units],
            queue: VecDeque::new(),
            strikes: vec![f64::INFINITY; zones + 1],
        };
        (0..units).for_each(|it| world.becomes(it, if it < system.active { Role::Active } else { Role::Waiting }));
        (0..=zones).for_each(|it| world.strikes[it] = world.next_strike(it));
        world
    }

    /// Nothing has failed, and in each zone as many are active as in the beginning: which of them makes no difference.
    fn is_as_in_the_beginning(&self) -> bool {
        let whole = self.roles.iter().all(|it| matches!(it, Role::Active | Role::Waiting));
        let moved = |zone: &usize| {
            let there = |(unit, it): (usize, &usize)| (it == zone).then_some(unit);
            let units: Vec<usize> = self.system.zones.iter().enumerate().filter_map(there).collect();
            let now = units.iter().filter(|it| self.roles[**it] == Role::Active).count();
            now != units.iter().filter(|it| **it < self.system.active).count()
        };
        whole && !self.system.zones.iter().any(moved)
    }

    fn is_down(&self) -> bool {
        count(&self.roles, Role::Active) < self.system.needed
    }

    /// The time in which it was down and the whole time, until all is as it was.
    fn cycle(mut self) -> (f64, f64) {
        let mut down = 0.0;
        loop {
            let (before, was_down) = (self.now, self.is_down());
            self.step();
            if was_down {
                down += self.now - before;
            }
            if self.is_as_in_the_beginning() {
                return (down, self.now);
            }
        }
    }

    fn first_failure(mut self) -> f64 {
        while !self.is_down() {
            self.step();
        }
        self.now
    }

    fn after(&mut self, rate: f64) -> f64 {
        if rate <= 0.0 {
            return f64::INFINITY;
        }
        self.now + Distribution::Exponential { mean: 1.0 / rate }.draw(self.chance)
    }

    fn next_strike(&mut self, of: usize) -> f64 {
        let region = of + 1 == self.strikes.len();
        let share = if region { self.system.region_common_cause } else { self.system.zone_common_cause };
        self.after(self.system.fails * share)
    }

    fn becomes(&mut self, unit: usize, role: Role) {
        self.roles[unit] = role;
        let rate = match role {
            Role::Active => self.system.fails_alone(),
            Role::Waiting => self.system.fails_alone() * self.system.waiting,
            Role::Hidden => self.system.found,
            // A crew comes when there is one.
            Role::Failed => 0.0,
        };
        self.next[unit] = self.after(rate);
    }

    fn step(&mut self) {
        let earliest = |of: &[f64]| of.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        let unit = earliest(&self.next).unwrap_or((0, f64::INFINITY));
        let strike = earliest(&self.strikes).unwrap_or((0, f64::INFINITY));
        if strike.1 < unit.1 {
            self.now = strike.1;
            self.struck(strike.0);
        } else {
            self.now = unit.1;
            self.happens_to(unit.0);
        }
        self.crews_go_on();
    }

    fn struck(&mut self, by: usize) {
        let region = by + 1 == self.strikes.len();
        for unit in 0..self.roles.len() {
            if region || self.system.zones[unit] == by {
                self.fails(unit);
            }
        }
        self.strikes[by] = self.next_strike(by);
        self.replace();
    }

    fn happens_to(&mut self, unit: usize) {
        match self.roles[unit] {
            Role::Active if !self.chance.happens(self.system.detected) => self.becomes(unit, Role::Hidden),
            Role::Active | Role::Hidden => {
                self.fails(unit);
                self.replace();
            }
            Role::Waiting => self.fails(unit),
            Role::Failed => {
                let role = self.system.role_of_repaired(&self.roles);
                self.becomes(unit, role);
            }
        }
    }

    fn fails(&mut self, unit: usize) {
        if self.roles[unit] != Role::Failed {
            self.becomes(unit, Role::Failed);
            self.queue.push_back(unit);
        }
    }

    /// Waiting units take over until none is missing or left.
    fn replace(&mut self) {
        while self.system.role_of_repaired(&self.roles) == Role::Active
            && let Some(unit) = self.roles.iter().position(|it| *it == Role::Waiting)
        {
            if self.chance.happens(self.system.starts) {
                self.becomes(unit, Role::Active);
            } else {
                self.fails(unit);
            }
        }
    }

    fn crews_go_on(&mut self) {
        let busy = |world: &Self| count(&world.roles, Role::Failed) - world.queue.len();
        while busy(self) < self.system.crews
            && let Some(unit) = self.queue.pop_front()
        {
            self.next[unit] = self.after(self.system.repairs);
        }
    }
}
