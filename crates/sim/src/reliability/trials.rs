//! Many histories of a model, and what is kept of them.
//!
//! Each history has a stream of chance of its own, and they are added up in blocks of a fixed size and in their order: how
//! many threads there are changes nothing, down to the last bit.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::YEAR_S;
use super::chance::Chance;
use super::history::{self, Outage, Told};
use super::model::Model;

/// How many histories, how long, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How many histories.
    pub trials: usize,
    /// How long each of them is, in years of 365 days.
    pub years: f64,
    /// Which chance.
    pub seed: u64,
    /// What confidence intervals hold, from 0 to 1.
    pub confidence: f64,
}

/// Histories of one block.
const BLOCK: usize = 64;

/// Of one member, times of so many outages are kept for the percentiles; further ones are counted.
pub const KEPT: usize = 40_000;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// By history, seconds in which something that clients need was down.
    pub site: Vec<f64>,
    /// By member, by history: seconds in which its clients were not served.
    pub down: Vec<Vec<f64>>,
    /// By member, by history: seconds in which it was down itself.
    pub own: Vec<Vec<f64>>,
    /// By member, seconds of the site's downtime that are its share.
    pub spent: Vec<f64>,
    /// The same by kind of failure.
    pub spent_on: [f64; 5],
    /// By member, the first outages.
    pub outages: Vec<Vec<Outage>>,
    /// By member, how many there were.
    pub counted: Vec<usize>,
}

/// Plays all histories, on all cores.
pub fn play(model: &Model, options: &Options) -> Tally {
    play_on(model, options, thread::available_parallelism().map_or(1, NonZero::get))
}

/// The same with so many threads.
pub fn play_on(model: &Model, options: &Options, threads: usize) -> Tally {
    let blocks = options.trials.div_ceil(BLOCK);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done: Vec<(usize, Tally)> = Vec::new();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                return done;
            }
            done.push((block, of_block(model, options, block)));
        }
    };
    let mut done: Vec<(usize, Tally)> = thread::scope(|scope| {
        let all: Vec<_> = (0..threads.clamp(1, blocks.max(1))).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|it| it.join().expect("a history never panics")).collect()
    });
    done.sort_by_key(|it| it.0);
    let mut all = Tally::empty(model.members.len());
    done.into_iter().for_each(|(_, it)| all.add(it));
    all
}

fn of_block(model: &Model, options: &Options, block: usize) -> Tally {
    let mut tally = Tally::empty(model.members.len());
    for trial in block * BLOCK..((block + 1) * BLOCK).min(options.trials) {
        let mut chance = Chance::new(options.seed, trial as u64);
        tally.tell(history::play(model, options.years * YEAR_S, &mut chance));
    }
    tally
}

impl Tally {
    fn empty(members: usize) -> Tally {
        Tally {
            down: vec![Vec::new(); members],
            own: vec![Vec::new(); members],
            spent: vec![0.0; members],
            outages: vec![Vec::new(); members],
            counted: vec![0; members],
            ..Tally::default()
        }
    }

    fn tell(&mut self, told: Told) {
        self.site.push(told.site);
        for (at, (down, own)) in told.down.iter().zip(&told.own).enumerate() {
            self.down[at].push(*down);
            self.own[at].push(*own);
            self.spent[at] += told.spent[at];
        }
        self.spent_on.iter_mut().zip(told.spent_on).for_each(|(sum, it)| *sum += it);
        for outage in told.outages {
            self.counted[outage.member] += 1;
            if self.outages[outage.member].len() < KEPT {
                self.outages[outage.member].push(outage);
            }
        }
    }

    fn add(&mut self, other: Tally) {
        self.site.extend(other.site);
        for (at, (down, own)) in other.down.into_iter().zip(other.own).enumerate() {
            self.down[at].extend(down);
            self.own[at].extend(own);
            self.spent[at] += other.spent[at];
            self.counted[at] += other.counted[at];
        }
        self.spent_on.iter_mut().zip(other.spent_on).for_each(|(sum, it)| *sum += it);
        for (kept, more) in self.outages.iter_mut().zip(other.outages) {
            kept.extend(more.into_iter().take(KEPT - kept.len()));
        }
    }
}
