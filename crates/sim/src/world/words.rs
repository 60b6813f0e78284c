//! What happens to the world, in a few words.

use super::{Answers, Carrier, Fault, HostTrouble, Lie, Link, Server, Trouble, VaultTrouble, Way};
use crate::gray::Gray;

impl Fault {
    /// What it is, as a clause.
    pub fn told(&self) -> String {
        match self {
            Fault::Channel(name, Carrier::Works) => format!("{name} carries messages"),
            Fault::Channel(name, Carrier::Fails) => format!("{name} refuses messages"),
            Fault::Channel(name, Carrier::Hangs) => format!("{name} takes messages and never answers"),
            Fault::Channel(name, Carrier::Swallows) => format!("{name} loses messages and says nothing"),
            Fault::Server(name, how) => format!("{name} {}", how.told()),
            Fault::Zone(zone, how) => format!("all of zone {zone} {}", how.told()),
            Fault::Region(region, how) => format!("all of region {region} {}", how.told()),
            Fault::OwnPath(true) => "the agent's own path breaks".to_owned(),
            Fault::OwnPath(false) => "the agent's own path is whole".to_owned(),
            Fault::Traffic(true) => "the traffic process is there".to_owned(),
            Fault::Traffic(false) => "the traffic process dies".to_owned(),
            Fault::AgentStops(span) => format!("the agent is stopped for {span:?}"),
            Fault::Lag(name, Some(lag)) => format!("{name} lags {lag:?} behind"),
            Fault::Lag(name, None) => format!("{name} does not say how far it lags behind"),
            Fault::Outcome(outcome) => format!("the next action will end like this, whatever it does: {outcome:?}"),
            Fault::AgentKilled(down_for) => format!("the agent is killed, for {down_for:?}"),
            Fault::CannotAsk(name, true) => format!("{name} can't be asked"),
            Fault::CannotAsk(name, false) => format!("{name} can be asked"),
            Fault::JournalLost => "the journal can't be written any more".to_owned(),
            Fault::Reload(_) => "another version of the plan is adopted".to_owned(),
            Fault::Breaks(broken) => format!("broken from here on, and nothing else: {broken:?}"),
            Fault::AgentsMachineGone => "the agent's machine is gone".to_owned(),
            Fault::Gray(gray) => gray.told(),
            Fault::OldSelf(name, how) => format!("where {name} was, something {}", how.told()),
            Fault::Role(name, role) => format!("somebody makes {name} {}", role.word()),
            Fault::Trouble(trouble) => trouble.told(),
            Fault::Host(host, trouble) => trouble.told(host),
            Fault::Vault(folder, trouble) => match trouble {
                VaultTrouble::None => format!("all is well in {} again", folder.display()),
                VaultTrouble::Full => format!("the disk of {} is full", folder.display()),
                VaultTrouble::Damaged => format!("what is in {} can't be restored", folder.display()),
            },
        }
    }
}

impl HostTrouble {
    fn told(self, host: &str) -> String {
        match self {
            HostTrouble::Way(Way::Whole) => format!("the way to host {host} is whole"),
            HostTrouble::Way(Way::Cut) => format!("the way to host {host} is cut"),
            HostTrouble::Way(Way::ToAgent) => format!("host {host} is heard, and hears nothing"),
            HostTrouble::Way(Way::ToHost) => format!("host {host} hears, and is not heard"),
            HostTrouble::Way(Way::Slow(by)) => format!("the way to host {host} takes {by:?} longer"),
            HostTrouble::Killed(span) => format!("the process of host {host} is killed, for {span:?}"),
            HostTrouble::Stopped(span) => format!("the process of host {host} is stopped for {span:?}"),
            HostTrouble::KeeperStopped(span) => format!("the keeper of host {host} is stopped for {span:?}"),
            HostTrouble::Suspended(span) => format!("process and keeper of host {host} are stopped for {span:?}"),
            HostTrouble::Runs(_) => format!("the process of host {host} runs again"),
            HostTrouble::KeeperRuns(_) => format!("the keeper of host {host} runs again"),
            HostTrouble::ApartFromHosts(true) => format!("the paths between host {host} and other hosts are cut"),
            HostTrouble::ApartFromHosts(false) => format!("the paths between host {host} and other hosts are whole"),
            HostTrouble::PowerCut => format!("host {host} loses power"),
        }
    }
}

impl Server {
    fn told(self) -> &'static str {
        match self {
            Server::Up => "works",
            Server::Dead => "dies",
            Server::Hung => "hangs",
        }
    }
}

impl Gray {
    fn told(&self) -> String {
        match self {
            Gray::Slow(name, Some(takes)) => format!("{name} answers after {takes:?}"),
            Gray::Slow(name, None) => format!("{name} answers as fast as ever"),
            Gray::Refuses(probe, true) => format!("{probe} is refused"),
            Gray::Refuses(probe, false) => format!("{probe} is answered"),
            Gray::Flickers(name, Some((good, bad))) => format!("{name} answers {good} times and refuses {bad} times"),
            Gray::Flickers(name, None) => format!("{name} flickers no more"),
        }
    }
}

impl Trouble {
    fn told(&self) -> String {
        match self {
            Trouble::Link(name, Link::Whole) => format!("the network to {name} works"),
            Trouble::Link(name, Link::NoAnswers) => format!("nothing is heard from {name}, and it hears us"),
            Trouble::Link(name, Link::NoOrders) => format!("{name} answers probes, and no order reaches it"),
            Trouble::Lies(name, Some(Lie::Good)) => format!("{name} seems to be well, whatever it is"),
            Trouble::Lies(name, Some(Lie::Refused)) => format!("{name} seems to refuse, whatever it does"),
            Trouble::Lies(name, None) => format!("{name} seems what it is"),
            Trouble::StartsSlowly(name, by) => format!("{name} starts {by:?} late"),
            Trouble::DoesNotStart(name, true) => format!("{name} does not start, and is said to"),
            Trouble::DoesNotStart(name, false) => format!("{name} starts when it is told to"),
            Trouble::CrashLoops(name, Some(after)) => format!("{name} dies, and {after:?} after each start"),
            Trouble::CrashLoops(name, None) => format!("{name} stays up once it is started"),
            Trouble::CommandFails(program, true) => format!("`{program}` fails"),
            Trouble::CommandFails(program, false) => format!("`{program}` works"),
            Trouble::SlowDisk(Some(takes)) => format!("a sync takes {takes:?}"),
            Trouble::SlowDisk(None) => "a sync takes as long as ever".to_owned(),
            Trouble::PowerCut { keeps, down_for } => {
                format!("the power goes for {down_for:?}, and of what was not synced at most {keeps} records stay")
            }
            Trouble::ClockJumps(by) => format!("the clock is set {by:?} forward"),
            Trouble::ClockIsSetBack(by) => format!("the clock is set {by:?} back"),
            Trouble::TrafficLinkCut(true) => "the connection to the traffic process is cut".to_owned(),
            Trouble::TrafficLinkCut(false) => "the traffic process is connected".to_owned(),
            Trouble::NeverAnswers(true) => "the next action is done, and nobody ever says".to_owned(),
            Trouble::NeverAnswers(false) => "the next action is not done, and nobody ever says".to_owned(),
            Trouble::Answers(name, Answers::InTime) => format!("{name} is heard as soon as it answers"),
            Trouble::Answers(name, Answers::Late(by)) => format!("{name} is heard {by:?} late"),
            Trouble::Answers(name, Answers::Lost) => format!("answers of {name} are lost"),
            Trouble::TrafficRefuses(true) => "the traffic process refuses tables".to_owned(),
            Trouble::TrafficRefuses(false) => "the traffic process takes tables".to_owned(),
        }
    }
}
