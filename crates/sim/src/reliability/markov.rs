//! Continuous-time Markov chains, solved exactly.
//!
//! States are eliminated one after the other; what is left has the same long-run behaviour. Every operation adds,
//! multiplies or divides positive numbers, nothing is ever subtracted, so that a probability of 10⁻¹² has as many good
//! digits as one of 0.9 (Grassmann, Taksar, Heyman: *Regenerative Analysis and Steady State Distributions for Markov
//! Chains*, Operations Research 33, 1985). An LU solver from a crate would lose just those digits that a report about
//! rare failures is about; and this is forty lines.

/// A chain: from each state the rates at which it is left for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    states: usize,
    /// Row by row; what stands on the diagonal is not used.
    rates: Vec<f64>,
}

/// In the long run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongRun {
    /// The part of the time in which it is down.
    pub unavailability: f64,
    /// How often it fails, per unit of time.
    pub failures: f64,
}

impl LongRun {
    /// The part of the time in which it is up.
    pub fn availability(&self) -> f64 {
        1.0 - self.unavailability
    }

    /// Mean time between failures: from the beginning of one to the beginning of the next.
    pub fn mtbf(&self) -> f64 {
        1.0 / self.failures
    }

    /// Mean time that a failure lasts.
    pub fn mean_down(&self) -> f64 {
        self.unavailability / self.failures
    }
}

impl Chain {
    /// A chain of so many states and no transition.
    pub fn new(states: usize) -> Chain {
        Chain { states, rates: vec![0.0; states * states] }
    }

    /// Adds a transition, or to its rate.
    pub fn add(&mut self, from: usize, to: usize, rate: f64) {
        if from != to {
            self.rates[from * self.states + to] += rate;
        }
    }

    fn rate(&self, from: usize, to: usize) -> f64 {
        self.rates[from * self.states + to]
    }

    /// The part of the time in each state, in the long run. Each state has to be reachable from each other.
    pub fn steady(&self) -> Vec<f64> {
        let mut work = self.clone();
        for gone in (1..self.states).rev() {
            let out: f64 = (0..gone).map(|it| work.rate(gone, it)).sum();
            for from in 0..gone {
                let there = work.rate(from, gone) / out;
                work.rates[from * self.states + gone] = there;
                if there > 0.0 {
                    for to in (0..gone).filter(|to| *to != from) {
                        let through = there * work.rate(gone, to);
                        work.add(from, to, through);
                    }
                }
            }
        }
        let mut part = vec![0.0; self.states];
        part[0] = 1.0;
        for at in 1..self.states {
            part[at] = (0..at).map(|from| part[from] * work.rate(from, at)).sum();
        }
        let all: f64 = part.iter().sum();
        part.iter_mut().for_each(|it| *it /= all);
        part
    }

    /// What the long run says of a system that is down in these states.
    pub fn long_run(&self, is_down: &[bool]) -> LongRun {
        let part = self.steady();
        let down = (0..self.states).filter(|it| is_down[*it]);
        let fails = |from: usize| -> f64 {
            (0..self.states).filter(|to| is_down[*to] && *to != from).map(|to| self.rate(from, to)).sum()
        };
        LongRun {
            unavailability: down.map(|it| part[it]).sum(),
            failures: (0..self.states).filter(|it| !is_down[*it]).map(|it| part[it] * fails(it)).sum(),
        }
    }

    /// The mean time from `start` until one of these states is entered for the first time. Infinite if that is never.
    pub fn mean_time_to(&self, ends: &[bool], start: usize) -> f64 {
        if ends[start] {
            return 0.0;
        }
        // The rate into all ends together, and the time that is spent per visit's worth of leaving.
        let alive: Vec<usize> = (0..self.states).filter(|it| !ends[*it]).collect();
        let mut end: Vec<f64> = (0..self.states)
            .map(|from| (0..self.states).filter(|to| ends[*to] && *to != from).map(|to| self.rate(from, to)).sum())
            .collect();
        let mut time = vec![1.0; self.states];
        let mut work = self.clone();
        let mut open: Vec<usize> = alive;
        while let Some(gone) = open.iter().rposition(|it| *it != start).map(|at| open.remove(at)) {
            let out: f64 = end[gone] + open.iter().map(|it| work.rate(gone, *it)).sum::<f64>();
            if out <= 0.0 {
                // A trap: whoever enters it never ends.
                time[gone] = f64::INFINITY;
            }
            for from in open.iter().copied() {
                let rate = work.rate(from, gone);
                if rate <= 0.0 {
                    continue;
                }
                time[from] += if out > 0.0 { rate * time[gone] / out } else { f64::INFINITY };
                if out <= 0.0 {
                    continue;
                }
                end[from] += rate * end[gone] / out;
                for to in open.iter().copied().filter(|to| *to != from) {
                    let through = rate * work.rate(gone, to) / out;
                    work.add(from, to, through);
                }
            }
        }
        time[start] / end[start]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-13 * b.abs()
    }

    /// Up and down with rates λ and μ.
    fn one(fails: f64, repairs: f64) -> Chain {
        let mut chain = Chain::new(2);
        chain.add(0, 1, fails);
        chain.add(1, 0, repairs);
        chain
    }

    #[test]
    fn one_unit_is_what_the_books_say() {
        let run = one(1e-3, 0.1).long_run(&[false, true]);
        assert!(near(run.unavailability, 1e-3 / 0.101) && near(run.mtbf(), 1010.0) && near(run.mean_down(), 10.0));
        assert!(near(one(1e-3, 0.1).mean_time_to(&[false, true], 0), 1000.0));
    }

    #[test]
    fn rare_states_keep_all_their_digits() {
        // A row of births and deaths: π(n) = Π λ/μ.
        let (states, ratio) = (9, 1e-4);
        let mut chain = Chain::new(states);
        for at in 1..states {
            chain.add(at - 1, at, ratio);
            chain.add(at, at - 1, 1.0);
        }
        let part = chain.steady();
        let all: f64 = (0..9).map(|it| libm::pow(ratio, f64::from(it))).sum();
        for (at, it) in (0..9).zip(&part) {
            let exact = libm::pow(ratio, f64::from(at)) / all;
            assert!((it / exact - 1.0).abs() < 1e-13, "{at}: {it:e} is not {exact:e}");
        }
    }

    #[test]
    fn every_state_is_left_as_often_as_entered() {
        // Any chain at all: rates that follow no pattern.
        let states = 7;
        let mut chain = Chain::new(states);
        let mut chance = super::super::chance::Chance::new(2, 0);
        for from in 0..states {
            for to in 0..states {
                chain.add(from, to, chance.unit());
            }
        }
        let part = chain.steady();
        for at in 0..states {
            let (mut left, mut entered) = (0.0, 0.0);
            for other in (0..states).filter(|it| *it != at) {
                left += part[at] * chain.rate(at, other);
                entered += part[other] * chain.rate(other, at);
            }
            assert!(near(left, entered), "{at}: {left} {entered}");
        }
        assert!(near(part.iter().sum(), 1.0));
    }

    #[test]
    fn what_never_ends_takes_for_ever() {
        let mut chain = Chain::new(4);
        chain.add(0, 1, 1.0);
        chain.add(0, 2, 1.0);
        let ends = [false, false, true, true];
        assert!(chain.mean_time_to(&ends, 0).is_infinite(), "half of the time it is caught in 1");
        chain.add(1, 3, 0.5);
        assert!(near(chain.mean_time_to(&ends, 0), 0.5 + 0.5 * 2.0));
        assert!(near(chain.mean_time_to(&ends, 2) + 1.0, 1.0));
    }
}
