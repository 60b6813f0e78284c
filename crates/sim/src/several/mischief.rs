//! What comes between several agents: kinds that are switched on or off as a whole, and what each draws.

use std::time::Duration;

use mainstay_plan::Plan;
use mainstay_plan::action::Outcome;

use crate::dice::Dice;
use crate::world::Server;

macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $name:ident = $word:literal,)+) => {
        /// A kind of mischief.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum MischiefKind {
            $($(#[doc = $about])+ $name,)+
        }

        impl MischiefKind {
            /// All of them.
            pub const ALL: &'static [MischiefKind] = &[$(MischiefKind::$name),+];

            /// The word for it.
            pub const fn word(self) -> &'static str {
                match self { $(MischiefKind::$name => $word,)+ }
            }
        }
    };
}

kinds! {
    /// A server dies, hangs or is back.
    Server = "server",
    /// The way from an agent to the store breaks, in both directions or in one.
    StoreLink = "store-link",
    /// The way from an agent to the traffic process breaks.
    TrafficLink = "traffic-link",
    /// The way from an agent to a server breaks.
    ServerLink = "server-link",
    /// The way from an agent to another one breaks.
    PeerLink = "peer-link",
    /// An agent is cut off from everything.
    CutOff = "cut-off",
    /// The store is gone.
    StoreGone = "store-gone",
    /// Whatever is sent takes long.
    SlowNetwork = "slow-network",
    /// An agent's process is stopped, and wakes up late.
    Sleeps = "sleeps",
    /// An agent is killed, or its machine loses power, and what was not synced is lost or torn.
    Killed = "killed",
    /// An agent's journal is gone.
    JournalGone = "journal-gone",
    /// The disk of an agent is slow.
    SlowDisk = "slow-disk",
    /// The clock of an agent's machine jumps, forward or back.
    Clock = "clock",
    /// The traffic process dies.
    Traffic = "traffic-dies",
    /// A provider answers *unknown* after it has acted, or *failed*, or nothing at all.
    Outcome = "outcome",
}

/// Whom an agent speaks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The store.
    Store,
    /// The traffic process.
    Traffic,
    /// An instance or a witness.
    Server(String),
    /// Another agent.
    Agent(usize),
}

/// What happens at one moment.
#[derive(Clone, Debug)]
pub enum Mischief {
    /// A server changes.
    Server(String, Server),
    /// The way between an agent and somebody changes; in which directions it works: there, and back.
    Way(usize, Whom, bool, bool),
    /// An agent is cut off from everything, or not any more.
    CutOff(usize, bool),
    /// The store is gone, or back.
    StoreGone(bool),
    /// Everything that is sent takes up to so long.
    Slow(Duration),
    /// An agent's process is stopped for so long.
    Sleeps(usize, Duration),
    /// An agent ends, of what was not synced so many records stay, and it is started again after so long.
    Killed(usize, usize, Duration),
    /// An agent ends, its disk is empty, and it is started again after so long.
    JournalGone(usize, Duration),
    /// A sync of an agent takes so long.
    SlowDisk(usize, Duration),
    /// The clock of an agent's machine is set so many milliseconds forward, or back.
    Clock(usize, i64),
    /// The traffic process dies, or is back with the table from its disk.
    Traffic(bool),
    /// The next action ends so, whatever becomes of it; `None`: nobody ever says.
    Outcome(Option<Outcome>),
}

/// The ways in which a link works: there, and back.
const WAYS: [(bool, bool); 5] = [(true, true), (false, false), (false, false), (true, false), (false, true)];

pub(super) fn draw(kind: MischiefKind, dice: &mut Dice, plan: &Plan, agents: usize) -> Option<Mischief> {
    let agent = usize::try_from(dice.below(agents as u64)).unwrap_or(0);
    let way = |dice: &mut Dice, whom| {
        let (there, back) = dice.pick(&WAYS)?;
        Some(Mischief::Way(agent, whom, there, back))
    };
    match kind {
        MischiefKind::Server => {
            let how = dice.pick(&[Server::Dead, Server::Dead, Server::Hung, Server::Up])?;
            let homes: Vec<String> = plan.components.iter().map(|it| it.name.clone()).collect();
            let all: Vec<String> = plan.instances.iter().map(|it| it.name.clone()).collect();
            let name = if dice.once_in(2) { dice.pick(&homes)? } else { dice.pick(&all)? };
            Some(Mischief::Server(name, how))
        }
        MischiefKind::StoreLink => way(dice, Whom::Store),
        MischiefKind::TrafficLink => way(dice, Whom::Traffic),
        MischiefKind::ServerLink => {
            let servers = plan.instances.iter().map(|it| &it.name).chain(plan.witnesses.iter().map(|it| &it.name));
            let name = dice.pick(&servers.cloned().collect::<Vec<String>>())?;
            way(dice, Whom::Server(name))
        }
        MischiefKind::PeerLink => {
            let other = usize::try_from(dice.below(agents as u64)).unwrap_or(0);
            way(dice, Whom::Agent(other))
        }
        MischiefKind::CutOff => Some(Mischief::CutOff(agent, !dice.once_in(3))),
        MischiefKind::StoreGone => Some(Mischief::StoreGone(!dice.once_in(3))),
        MischiefKind::SlowNetwork => Some(Mischief::Slow(dice.millis(4000))),
        MischiefKind::Sleeps => Some(Mischief::Sleeps(agent, dice.millis(12_000))),
        MischiefKind::Killed => {
            let keeps = usize::try_from(dice.below(5)).unwrap_or(0);
            Some(Mischief::Killed(agent, keeps, dice.millis(9_000)))
        }
        MischiefKind::JournalGone => Some(Mischief::JournalGone(agent, dice.millis(4_000))),
        MischiefKind::SlowDisk => Some(Mischief::SlowDisk(agent, dice.millis(3_000))),
        MischiefKind::Clock => {
            let by = i64::try_from(dice.below(200_000)).unwrap_or(0);
            Some(Mischief::Clock(agent, by - 100_000))
        }
        MischiefKind::Traffic => Some(Mischief::Traffic(dice.once_in(2))),
        MischiefKind::Outcome => Some(Mischief::Outcome(dice.pick(&[
            None,
            Some(Outcome::Failed("exit status 1".to_owned())),
            Some(Outcome::Unknown("the wire was cut".to_owned())),
        ])?)),
    }
}

impl Mischief {
    /// What it is, as a clause.
    pub(super) fn told(&self, name: impl Fn(usize) -> String) -> String {
        match self {
            Mischief::Server(server, how) => format!("{server} goes {how:?}"),
            Mischief::Way(agent, whom, there, back) => {
                let whom = match whom {
                    Whom::Store => "the store".to_owned(),
                    Whom::Traffic => "the traffic process".to_owned(),
                    Whom::Server(server) => server.clone(),
                    Whom::Agent(other) => name(*other),
                };
                let agent = name(*agent);
                match (there, back) {
                    (true, true) => format!("{agent} and {whom} hear each other"),
                    (true, false) => format!("{whom} hears {agent}, and is not heard"),
                    (false, true) => format!("{agent} hears {whom}, and is not heard"),
                    (false, false) => format!("{agent} and {whom} don't hear each other"),
                }
            }
            Mischief::CutOff(agent, true) => format!("{} is cut off from everything", name(*agent)),
            Mischief::CutOff(agent, false) => format!("{} is cut off no more", name(*agent)),
            Mischief::StoreGone(true) => "the store is gone".to_owned(),
            Mischief::StoreGone(false) => "the store is there".to_owned(),
            Mischief::Slow(takes) => format!("whatever is sent takes up to {takes:?}"),
            Mischief::Sleeps(agent, span) => format!("{} is stopped for {span:?}", name(*agent)),
            Mischief::Killed(agent, keeps, span) => {
                format!("{} ends for {span:?}, and of what was not synced at most {keeps} records stay", name(*agent))
            }
            Mischief::JournalGone(agent, span) => {
                format!("{} ends for {span:?}, and its journal is gone", name(*agent))
            }
            Mischief::SlowDisk(agent, takes) => format!("a sync of {} takes {takes:?}", name(*agent)),
            Mischief::Clock(agent, by) => format!("the clock of {} is set by {by} ms", name(*agent)),
            Mischief::Traffic(true) => "the traffic process is there".to_owned(),
            Mischief::Traffic(false) => "the traffic process dies".to_owned(),
            Mischief::Outcome(outcome) => format!("the next action will end like this, whatever it does: {outcome:?}"),
        }
    }
}
