//! What happens in one trial with three servers: faults drawn from a seed.

use std::time::Duration;

use rustix::process::Signal;

use super::{SERVERS, Trio};
use crate::network::{Machine, Trouble};
use crate::schedule::Dice;

/// At most so many faults, one after the other or at the same time.
const FAULTS: u64 = 4;

/// A stopped host or machine stays so for longer than any lease.
const STOPPED: Duration = Duration::from_secs(5);

/// One thing that is done, and taken back later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    OneWay(Machine, Machine, Trouble),
    BothWays(Machine, Machine, Trouble),
    /// From everybody else, in both directions.
    Isolated(usize),
    /// A server is killed, all its processes.
    ServerKilled(usize),
    /// They are stopped, and continued later.
    ServerStopped(usize),
    /// What receives the log of the primary is stopped: the standby falls behind.
    Behind(usize),
    /// A host's process is killed; its server is not.
    HostKilled(usize),
    HostStopped(usize),
    /// All that runs on a host's machine.
    MachineStopped(usize),
    MachineKilled(usize),
    AgentKilled,
    /// It is killed, and comes back later.
    AgentAway,
}

impl Fault {
    const fn is_of_paths(&self) -> bool {
        matches!(self, Fault::OneWay(..) | Fault::BothWays(..) | Fault::Isolated(_))
    }
}

/// What happens when: each fault begins so long after the one before began, and lasts so long.
#[derive(Clone, Debug)]
pub(super) struct Schedule(pub(super) Vec<(Duration, Fault, Duration)>);

impl Schedule {
    pub(super) fn drawn(dice: &mut Dice) -> Schedule {
        let one = |dice: &mut Dice| {
            let (after, fault, lasts) = (dice.millis(0, 2500), fault(dice), dice.millis(500, 8000));
            let lasts = if matches!(fault, Fault::HostStopped(_) | Fault::MachineStopped(_)) { STOPPED } else { lasts };
            (after, fault, lasts)
        };
        let mut all: Vec<_> = (0..=dice.below(FAULTS)).map(|_| one(dice)).collect();
        // Half of them hurt the primary for certain.
        if dice.below(2) == 0 {
            let hurts = dice.pick(&[0, 1, 2, 3]);
            let fault = match hurts {
                0 => Fault::ServerKilled(0),
                1 => Fault::ServerStopped(0),
                2 => Fault::MachineKilled(0),
                _ => Fault::Isolated(0),
            };
            all.insert(0, (dice.millis(0, 500), fault, dice.millis(4000, 9000)));
        }
        Schedule(all)
    }

    /// Plays it. Afterwards nothing is wrong any more.
    pub(super) fn play(&self, trio: &mut Trio, look: &mut impl FnMut(&mut Trio)) {
        let mut clock = Duration::ZERO;
        let mut events: Vec<(Duration, bool, &Fault)> = Vec::new();
        for (after, fault, lasts) in &self.0 {
            clock += *after;
            events.push((clock, true, fault));
            events.push((clock + *lasts, false, fault));
        }
        events.sort_by_key(|it| it.0);
        let mut now = Duration::ZERO;
        let mut broken: Vec<&Fault> = Vec::new();
        for (at, begins, fault) in events {
            while now < at {
                let step = (at - now).min(Duration::from_secs(1));
                trio.pass(step);
                look(trio);
                now += step;
            }
            match begins {
                true => begin(fault, trio),
                false => end(fault, trio),
            }
            if begins && fault.is_of_paths() {
                broken.push(fault);
            } else if let Some(nth) = broken.iter().position(|it| *it == fault) {
                // All paths are mended together, so what still lasts is done again.
                broken.remove(nth);
                broken.iter().for_each(|it| begin(it, trio));
            }
        }
        trio.network.heal();
    }
}

fn begin(fault: &Fault, trio: &mut Trio) {
    match *fault {
        Fault::OneWay(from, to, trouble) => trio.network.trouble(from, to, trouble),
        Fault::BothWays(one, other, trouble) => {
            trio.network.trouble(one, other, trouble);
            trio.network.trouble(other, one, trouble);
        }
        Fault::Isolated(nth) => {
            for other in Machine::WITH_THREE_SERVERS.into_iter().filter(|it| *it != SERVERS[nth]) {
                // Clients reach it, which makes it worse.
                if other != Machine::Client {
                    trio.network.trouble(SERVERS[nth], other, Trouble::Cut);
                    trio.network.trouble(other, SERVERS[nth], Trouble::Cut);
                }
            }
        }
        Fault::ServerKilled(nth) => trio.signal_server(nth, "", Signal::KILL),
        Fault::ServerStopped(nth) => trio.signal_server(nth, "", Signal::STOP),
        Fault::Behind(nth) => trio.signal_server(nth, "walreceiver", Signal::STOP),
        Fault::HostKilled(nth) => trio.signal_host(nth, Signal::KILL),
        Fault::HostStopped(nth) => trio.signal_host(nth, Signal::STOP),
        Fault::MachineStopped(nth) => trio.network.signal(SERVERS[nth], Signal::STOP),
        Fault::MachineKilled(nth) => {
            trio.hold_back(nth, true);
            // Until nothing is left: who is begun by somebody that is being killed dies with the machine, too.
            while !trio.network.pids(SERVERS[nth]).is_empty() {
                trio.network.signal(SERVERS[nth], Signal::KILL);
            }
        }
        Fault::AgentKilled => trio.kill_agent(),
        Fault::AgentAway => {
            trio.agent.held_back = true;
            trio.kill_agent();
        }
    }
}

fn end(fault: &Fault, trio: &mut Trio) {
    match *fault {
        Fault::OneWay(..) | Fault::BothWays(..) | Fault::Isolated(_) => trio.network.heal(),
        Fault::ServerStopped(nth) | Fault::Behind(nth) => trio.signal_server(nth, "", Signal::CONT),
        Fault::HostStopped(nth) => trio.signal_host(nth, Signal::CONT),
        Fault::MachineStopped(nth) => trio.network.signal(SERVERS[nth], Signal::CONT),
        Fault::MachineKilled(nth) => trio.hold_back(nth, false),
        Fault::AgentAway => trio.agent.held_back = false,
        Fault::ServerKilled(_) | Fault::HostKilled(_) | Fault::AgentKilled => {}
    }
}

fn fault(dice: &mut Dice) -> Fault {
    let nth = usize::try_from(dice.below(3)).expect("it is small");
    let one = dice.pick(&Machine::WITH_THREE_SERVERS);
    let others: Vec<Machine> = Machine::WITH_THREE_SERVERS.into_iter().filter(|it| *it != one).collect();
    let other = dice.pick(&others);
    let trouble = dice.pick(&[Trouble::Cut, Trouble::Cut, Trouble::Loss, Trouble::Delay]);
    match dice.below(14) {
        0 | 1 => Fault::OneWay(one, other, trouble),
        2 => Fault::OneWay(Machine::Agent, SERVERS[nth], trouble),
        3 => Fault::BothWays(one, other, trouble),
        4 => Fault::BothWays(Machine::Agent, SERVERS[nth], trouble),
        5 => Fault::Isolated(nth),
        6 => Fault::ServerKilled(nth),
        7 => Fault::ServerStopped(nth),
        8 => Fault::Behind(nth),
        9 => Fault::HostKilled(nth),
        10 => Fault::HostStopped(nth),
        11 => Fault::MachineStopped(nth),
        12 => Fault::MachineKilled(nth),
        _ => dice.pick(&[Fault::AgentKilled, Fault::AgentAway]),
    }
}
