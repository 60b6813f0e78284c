//! What happens in one trial: faults drawn from a seed.

use std::time::Duration;

use rustix::process::Signal;

use crate::network::{Machine, Trouble};
use crate::site::{HOSTS, Site};

/// At most so many faults, one after the other or at the same time.
const FAULTS: u64 = 4;

/// A stopped host or machine stays so for longer than any lease.
const STOPPED: Duration = Duration::from_secs(5);

/// One thing that is done to a site, and taken back later.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A path is in trouble, in this direction.
    OneWay(Machine, Machine, Trouble),
    /// In both.
    BothWays(Machine, Machine, Trouble),
    /// A host's process is killed; what it guards is not.
    HostKilled(usize),
    /// It is stopped for longer than its leases, and continued.
    HostStopped(usize),
    /// All that runs on a host's machine is, and continued in any order.
    MachineStopped(usize),
    /// All that runs there is killed, and comes back later.
    MachineKilled(usize),
    /// The instance of a host is killed.
    InstanceKilled(usize),
    AgentKilled,
    /// It is killed, and comes back later.
    AgentAway,
    /// The wall clock of a machine is moved by so many seconds.
    ClockMoved(Machine, i64),
}

/// What happens when.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) faults: Vec<(Duration, Fault, Duration)>,
    order: u64,
}

/// Numbers that follow from a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("it is small")]
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

impl Schedule {
    /// Draws one.
    pub(crate) fn drawn(dice: &mut Dice) -> Schedule {
        let faults = (0..=dice.below(FAULTS)).map(|_| (dice.millis(0, 2500), fault(dice), dice.millis(500, 8000)));
        Schedule { faults: faults.collect(), order: dice.next() }
    }

    /// The same where a component may stay without its agent: that one is often away, and for longer.
    pub(crate) fn drawn_alone(dice: &mut Dice) -> Schedule {
        let mut schedule = Schedule::drawn(dice);
        for (_, fault, _) in schedule.faults.iter_mut().filter(|it| it.1 == Fault::AgentKilled) {
            *fault = Fault::AgentAway;
        }
        let at = usize::try_from(dice.below(schedule.faults.len() as u64 + 1)).expect("it is small");
        schedule.faults.insert(at, (dice.millis(0, 2500), Fault::AgentAway, dice.millis(2000, 12_000)));
        schedule
    }

    /// Plays it: each fault begins so long after the one before began. Afterwards nothing is wrong any more.
    pub(crate) fn play(&self, site: &mut Site, look: &mut impl FnMut(&mut Site)) {
        let mut clock = Duration::ZERO;
        let mut events: Vec<(Duration, bool, &Fault)> = Vec::new();
        for (after, fault, lasts) in &self.faults {
            clock += *after;
            let lasts =
                if matches!(fault, Fault::HostStopped(_) | Fault::MachineStopped(_)) { STOPPED } else { *lasts };
            events.push((clock, true, fault));
            events.push((clock + lasts, false, fault));
        }
        events.sort_by_key(|it| it.0);
        let mut now = Duration::ZERO;
        for (at, begins, fault) in events {
            while now < at {
                let step = (at - now).min(Duration::from_millis(300));
                site.pass(step);
                look(site);
                now += step;
            }
            if begins { self.begin(fault, site) } else { self.end(fault, site) }
        }
        site.network.heal();
    }

    fn begin(&self, fault: &Fault, site: &mut Site) {
        match *fault {
            Fault::OneWay(from, to, trouble) => site.network.trouble(from, to, trouble),
            Fault::BothWays(one, other, trouble) => {
                site.network.trouble(one, other, trouble);
                site.network.trouble(other, one, trouble);
            }
            Fault::HostKilled(host) => site.kill(HOSTS[host]),
            Fault::HostStopped(host) => site.signal_host(host, Signal::STOP),
            Fault::MachineStopped(host) => site.network.signal(HOSTS[host], Signal::STOP),
            Fault::MachineKilled(host) => {
                site.hold_back(HOSTS[host], true);
                site.network.signal(HOSTS[host], Signal::KILL);
            }
            Fault::InstanceKilled(host) => site.kill_instance(host),
            Fault::AgentKilled => site.kill(Machine::Agent),
            Fault::AgentAway => {
                site.hold_back(Machine::Agent, true);
                site.kill(Machine::Agent);
            }
            Fault::ClockMoved(machine, seconds) => site.move_clock(machine, seconds),
        }
    }

    fn end(&self, fault: &Fault, site: &mut Site) {
        match *fault {
            // All paths are mended together: what is left of others is over sooner.
            Fault::OneWay(..) | Fault::BothWays(..) => site.network.heal(),
            Fault::HostStopped(host) => site.signal_host(host, Signal::CONT),
            Fault::MachineStopped(host) => {
                let mut pids = site.network.pids(HOSTS[host]);
                let turn = usize::try_from(self.order % 97).expect("it is small") % pids.len().max(1);
                pids.rotate_left(turn);
                for pid in pids {
                    let _ = rustix::process::kill_process(pid, Signal::CONT);
                }
            }
            Fault::MachineKilled(host) => site.hold_back(HOSTS[host], false),
            Fault::AgentAway => site.hold_back(Machine::Agent, false),
            Fault::ClockMoved(machine, _) => site.move_clock(machine, 0),
            Fault::HostKilled(_) | Fault::InstanceKilled(_) | Fault::AgentKilled => {}
        }
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let host = usize::try_from(dice.below(2)).expect("it is small");
    let one = dice.pick(&Machine::ALL);
    let others: Vec<Machine> = Machine::ALL.into_iter().filter(|it| *it != one).collect();
    let other = dice.pick(&others);
    let trouble = dice.pick(&[Trouble::Cut, Trouble::Cut, Trouble::Loss, Trouble::Delay]);
    match dice.below(12) {
        0 | 1 => Fault::OneWay(one, other, trouble),
        // The path that leases go over.
        2 => Fault::OneWay(Machine::Agent, HOSTS[host], trouble),
        3 => Fault::BothWays(Machine::Agent, HOSTS[host], trouble),
        4 => Fault::BothWays(one, other, trouble),
        5 => Fault::HostKilled(host),
        6 => Fault::HostStopped(host),
        7 => Fault::MachineStopped(host),
        8 => Fault::MachineKilled(host),
        9 => Fault::InstanceKilled(host),
        10 => Fault::AgentKilled,
        _ => Fault::ClockMoved(dice.pick(&[Machine::Agent, Machine::A, Machine::B]), dice.pick(&[-10, 10])),
    }
}
