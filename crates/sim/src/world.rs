//! The world: servers that die and hang, a disk that syncs late and loses what was not synced, a traffic process, and an
//! agent that can be killed between any two effects.
//!
//! What is in it and what happens to it stands here; how each part behaves is in a file of its own.

mod agent;
mod channels;
mod digest;
mod disk;
mod hosts;
mod kept;
pub mod log;
mod logs;
mod orders;
mod places;
mod servers;
mod staying;
mod traffic;
mod trouble;
mod vaults;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::driver::Driver;
use mainstay_engine::effect::{Line, Telling};
use mainstay_engine::record::StepRef;
use mainstay_engine::{Command, Engine, Input, Record, Refusal};
use mainstay_plan::action::Outcome;
use mainstay_plan::location::Location;
use mainstay_plan::observation::{Observation, SeenRole};
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{Plan, ProbeIx, Time};

use crate::broken::{Broken, Pace};
use crate::checkers::Checkers;
use crate::gray::{Gray, Grays};

pub use agent::{Crash, CrashKind};
pub use channels::Carrier;
pub(crate) use hosts::KEEPER_IS_MISSED;
pub use hosts::{HostFault, HostTrouble, Way};
use log::Log;
pub use servers::Server;
pub use trouble::{Answers, Lie, Link, Trouble};

pub use vaults::{Vault, VaultTrouble};

use servers::{at_first, role_at_first};

#[derive(Clone, Debug)]
enum Event {
    Wake,
    Answer(Box<Observation>),
    Synced,
    SecondFile(u64),
    /// An instance that crash-loops dies.
    Dies(String),
    /// What an action does to its server, whoever hears of it.
    Effect(String, Server),
    /// An action brings an instance to another address.
    Moved(String, IpAddr),
    /// What an action makes of an instance.
    Becomes(String, SeenRole),
    ActionEnded(Box<(StepRef, Outcome)>),
    /// What is done for a series of backups has ended, or who waits for its folder looks again.
    Vault(Box<(vaults::Asked, bool)>),
    Applied(Box<RoutingTable>),
    /// The traffic process says what it serves.
    Greeted,
    /// A message reaches somebody, whoever hears of it.
    Arrives(Box<Telling>),
    /// The host says what became of a message.
    Told(Box<Input>),
    /// Something between the agent and its hosts.
    Host(Box<hosts::HostEvent>),
    StartAgent,
    Fault(Box<Fault>),
    Say(Box<Command>),
}

/// Something that happens to the world.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A notification channel changes.
    Channel(String, Carrier),
    /// A server changes.
    Server(String, Server),
    /// Everything in a zone changes.
    Zone(String, Server),
    /// Everything in a region changes.
    Region(String, Server),
    /// The path from the agent to everything outside its own machine breaks, or is whole again.
    OwnPath(bool),
    /// The traffic process dies, or is back (with the table from its disk).
    Traffic(bool),
    /// The agent is stopped for a while, and wakes up late.
    AgentStops(Duration),
    /// How a standby's replication lags from now on.
    Lag(String, Option<Duration>),
    /// The next action has this outcome instead of what really happened to it.
    Outcome(Outcome),
    /// The agent's process is killed and started again later.
    AgentKilled(Duration),
    /// An instance or witness can't be asked (no descriptor, no route of ours), or can again.
    CannotAsk(String, bool),
    /// The journal can't be written any more, until the agent is started again.
    JournalLost,
    /// The agent reads another plan.
    Reload(Box<Plan>),
    /// From now on this is broken, and nothing else.
    Breaks(Box<Broken>),
    /// The agent's machine is gone, with the traffic process on it.
    AgentsMachineGone,
    /// A server is neither up nor down.
    Gray(Gray),
    /// Where the plan has an instance that is elsewhere, this answers.
    OldSelf(String, Server),
    /// Something else is in the way.
    Trouble(Trouble),
    /// Somebody makes an instance active, or a standby, without asking us.
    Role(String, SeenRole),
    /// Something happens to a host.
    Host(String, HostTrouble),
    /// Something is wrong where a series of backups is kept, from now on.
    Vault(PathBuf, VaultTrouble),
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Now.
    pub now: Time,
    /// By instance or witness name.
    pub servers: BTreeMap<String, Server>,
    /// By instance name: where it really is, if not where the plan says.
    pub homes: BTreeMap<String, IpAddr>,
    /// By name of an instance that is elsewhere: what answers where the plan has it.
    pub old_selves: BTreeMap<String, Server>,
    /// By instance name: what it is, whoever made it so.
    pub roles: BTreeMap<String, SeenRole>,
    /// By instance name.
    pub lag: BTreeMap<String, Duration>,
    /// By name of the component whose servers say where they are: the log that they share.
    pub logs: BTreeMap<String, Log>,
    /// By name of an instance: where it said that it was.
    said: BTreeMap<String, VecDeque<kept::Said>>,
    kept: kept::Kept,
    /// Every action that was really done: its key, and what.
    pub done: Vec<(String, String)>,
    /// Everything that was written into the log for people.
    pub told: Vec<Line>,
    /// Everything that reached somebody over a channel, whether the agent heard of that or not.
    pub arrived: Vec<Telling>,
    /// What happened to the world, by the agent's clock, in a few words.
    pub happened: Vec<(Time, String)>,
    channels: BTreeMap<String, Carrier>,
    /// What the traffic process serves.
    pub table: RoutingTable,
    /// Checked after every step.
    pub checkers: Checkers,
    queue: BTreeMap<(Time, u64), Event>,
    ticket: u64,
    /// When the agent wants to be woken.
    wake: Option<(Time, u64)>,
    driver: Option<Driver>,
    durable: Vec<Record>,
    /// What the agent that runs has written into the second file.
    second: Vec<(u64, Record)>,
    unsynced: Vec<Record>,
    syncing: bool,
    in_flight: BTreeSet<ProbeIx>,
    traffic_up: bool,
    own_path_broken: bool,
    frozen_until: Option<Time>,
    late: Vec<Event>,
    crash: Option<Crash>,
    /// The kind of record behind which the next tail is torn, and how long the agent is away then.
    tears: Option<(&'static str, Duration)>,
    fake_outcome: Option<Outcome>,
    /// What becomes of the action of a record: `None`: nobody ever says; and whether it is done.
    scripted: BTreeMap<u64, (Option<Outcome>, bool)>,
    broken_commands: BTreeSet<String>,
    /// By idempotency key: where an action brought its instance. Doing it again brings it nowhere else.
    brought: BTreeMap<String, IpAddr>,
    cannot_ask: BTreeSet<String>,
    journal_lost: bool,
    crashes: u32,
    broken: Broken,
    pace: Pace,
    agents_machine_gone: bool,
    grays: Grays,
    troubles: trouble::Troubles,
    hosts: hosts::Hosts,
    vaults: vaults::Vaults,
    shifts: u64,
    digest: Option<Box<digest::Digest>>,
}

impl World {
    /// All servers are up but the cold standbys; the agent starts at once. Nothing takes long.
    pub fn new(plan: Plan) -> World {
        World::at_pace(plan, Pace::Quick)
    }

    /// The same at another pace.
    pub fn at_pace(plan: Plan, pace: Pace) -> World {
        World::of(Arc::new(plan), pace)
    }

    /// The same, of a plan that others have, too.
    pub fn of(plan: Arc<Plan>, pace: Pace) -> World {
        let names = plan.instances.iter().map(|it| &it.name).chain(plan.witnesses.iter().map(|it| &it.name));
        let mut world = World {
            now: Time::from_millis(1_000_000),
            servers: names.map(|it| (it.clone(), at_first(&plan, it))).collect(),
            homes: BTreeMap::new(),
            old_selves: BTreeMap::new(),
            brought: BTreeMap::new(),
            roles: plan.instances.iter().map(|it| (it.name.clone(), role_at_first(&plan, &it.name))).collect(),
            lag: plan.instances.iter().map(|it| (it.name.clone(), Duration::ZERO)).collect(),
            logs: BTreeMap::new(),
            said: BTreeMap::new(),
            kept: kept::Kept::default(),
            done: Vec::new(),
            told: Vec::new(),
            arrived: Vec::new(),
            happened: Vec::new(),
            channels: BTreeMap::new(),
            table: RoutingTable::empty(&plan.site.name),
            checkers: Checkers::new(&plan),
            queue: BTreeMap::new(),
            ticket: 0,
            wake: None,
            driver: None,
            durable: Vec::new(),
            second: Vec::new(),
            unsynced: Vec::new(),
            syncing: false,
            in_flight: BTreeSet::new(),
            traffic_up: true,
            own_path_broken: false,
            frozen_until: None,
            late: Vec::new(),
            crash: None,
            tears: None,
            fake_outcome: None,
            scripted: BTreeMap::new(),
            broken_commands: BTreeSet::new(),
            cannot_ask: BTreeSet::new(),
            journal_lost: false,
            crashes: 0,
            broken: Broken::default(),
            pace,
            agents_machine_gone: false,
            grays: Grays::default(),
            troubles: trouble::Troubles::default(),
            hosts: hosts::Hosts::default(),
            vaults: vaults::Vaults::new(),
            shifts: 0,
            digest: None,
            plan,
        };
        world.logs_begin();
        world.hosts_begin();
        world.at(Duration::ZERO, Event::StartAgent);
        world
    }

    /// Lets something happen after a while.
    pub fn fault(&mut self, after: Duration, fault: Fault) {
        self.at(after, Event::Fault(Box::new(fault)));
    }

    /// Lets a server be gray from now on.
    pub fn suffer_gray(&mut self, gray: Gray) {
        self.grays.suffer(gray);
    }

    /// Lets an operator say something after a while. A command that is refused at that moment is a broken test.
    pub fn say(&mut self, after: Duration, command: Command) {
        self.at(after, Event::Say(Box::new(command)));
    }

    /// Somebody says something now; refused, where the agent would refuse it. Nobody hears it while no agent runs.
    pub fn speak(&mut self, command: Command, by: &str) -> Result<(), Refusal> {
        let Some(driver) = self.driver.as_ref().filter(|_| self.frozen_until.is_none()) else { return Ok(()) };
        driver.engine().check_command(&command, by)?;
        self.turn(vec![Input::Command { command, by: by.to_owned() }]);
        Ok(())
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
    }

    /// Lets the next thing happen that comes up to a moment; where nothing does, it is that moment, and the answer `false`.
    pub fn step(&mut self, until: Time) -> bool {
        let next = self.queue.first_key_value().map(|it| *it.0);
        // The agent's own alarm is set anew after every turn: it stands beside the queue.
        let (at, event) = if let Some(wake) = self.wake.filter(|it| it.0 <= until && next.is_none_or(|next| *it < next))
        {
            self.wake = None;
            (wake.0, Event::Wake)
        } else if let Some(next) = next.filter(|it| it.0 <= until) {
            (next.0, self.queue.remove(&next).expect("it was just seen"))
        } else {
            self.now = until;
            return false;
        };
        self.now = at;
        self.logs_pass();
        self.happen(event);
        self.one_acts();
        self.logs_see();
        true
    }

    /// From here on everything that an engine is told, records and orders is hashed.
    pub fn is_hashed(&mut self) {
        self.digest = Some(Box::default());
    }

    /// SHA-256 over all that was hashed, what happened to the world and what came of it, in hexadecimal.
    pub fn digest(&self) -> Option<String> {
        let mut digest = self.digest.clone()?;
        digest.world(self);
        Some(digest.text())
    }

    /// When something happens next.
    pub fn next_event(&self) -> Option<Time> {
        self.queue.first_key_value().map(|it| *it.0).into_iter().chain(self.wake).min().map(|it| it.0)
    }

    /// Grows whenever what clients meet may have changed: a server, a table, whatever a fault does.
    pub fn shifts(&self) -> u64 {
        self.shifts
    }

    /// The engine of the agent that runs.
    pub fn engine(&self) -> Option<&Engine> {
        self.driver.as_ref().map(Driver::engine)
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.ticket += 1;
        self.queue.insert((self.now + after, self.ticket), event);
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.frozen_until {
            let of_a_host = matches!(&event, Event::Host(it) if !it.is_the_agents());
            let concerns_agent = !of_a_host
                && !matches!(
                    event,
                    Event::Fault(_)
                        | Event::StartAgent
                        | Event::Synced
                        | Event::Effect(..)
                        | Event::Dies(_)
                        | Event::Moved(..)
                        | Event::Becomes(..)
                        | Event::Arrives(_)
                );
            if self.now < until && concerns_agent {
                self.late.push(event);
                return;
            }
            if self.now >= until {
                self.frozen_until = None;
                for late in std::mem::take(&mut self.late) {
                    self.happen(late);
                }
            }
        }
        if let Event::Effect(..) | Event::Dies(_) | Event::Moved(..) | Event::Applied(_) | Event::Fault(_) = &event {
            self.shifts += 1;
        }
        match event {
            Event::Wake => self.turn(Vec::new()),
            Event::Answer(observation) => self.answers(*observation),
            Event::Greeted => self.greet_traffic(),
            Event::Synced if self.journal_lost => {}
            Event::Synced => self.synced(),
            Event::SecondFile(last) => self.turn(vec![Input::Recorded(last)]),
            Event::Effect(name, server) => {
                if let Some(after) = self.troubles.lives_for(&name).filter(|_| server == Server::Up) {
                    self.at(after, Event::Dies(name.clone()));
                }
                self.servers.insert(name, server);
            }
            Event::Dies(name) => self.dies(name),
            Event::Moved(name, address) => {
                self.moved(name, address);
            }
            Event::Becomes(name, role) => drop(self.roles.insert(name, role)),
            Event::ActionEnded(ended) => {
                let (step, outcome) = *ended;
                let begun = self.checkers.begun_at(step);
                if self.strikes(CrashKind::BeforeOutcome, |seq| begun == Some(seq)) {
                    return;
                }
                self.turn(vec![Input::Outcome { step, outcome }]);
            }
            Event::Vault(it) => {
                let (asked, is_done) = *it;
                self.vault_event(asked, is_done);
            }
            Event::Applied(table) => self.apply(*table),
            Event::Arrives(telling) => self.arrived.push(*telling),
            Event::Told(input) => self.turn(vec![*input]),
            Event::Host(event) => self.host_event(*event),
            Event::StartAgent => self.start(),
            Event::Fault(fault) => self.suffer(*fault),
            Event::Say(command) => {
                let driver = self.driver.as_ref().expect("an operator speaks to a running agent");
                driver.engine().check_command(&command, "operator").expect("the test says something acceptable");
                self.turn(vec![Input::Command { command: *command, by: "operator".to_owned() }]);
            }
        }
    }

    /// What comes at the same moment is heard at once.
    fn answers(&mut self, first: Observation) {
        let mut all = vec![first];
        while let Some(next) = self.queue.first_entry()
            && next.key().0 == self.now
            && matches!(next.get(), Event::Answer(_))
        {
            if let Event::Answer(observation) = next.remove() {
                all.push(*observation);
            }
        }
        let now = self.clock();
        let ahead = now.as_nanos().wrapping_sub(self.now.as_nanos());
        for heard in &all {
            let name = self.plan.probe(heard.probe).watches.instance().map(|it| self.plan.instance(it).name.clone());
            if let (Some(name), Some(place)) = (name, heard.position.clone()) {
                self.said_where(&name, Time::from_nanos(heard.started.as_nanos().wrapping_sub(ahead)), place);
            }
        }
        all.retain(|it| self.in_flight.remove(&it.probe));
        for heard in &mut all {
            heard.ended = now;
            self.checkers.heard(heard, now, self.now);
        }
        if !all.is_empty() {
            self.turn(all.into_iter().map(Input::Observation).collect());
        }
    }

    /// Everything that is at such a place changes.
    fn everything(&mut self, state: Server, there: impl Fn(&Location) -> bool) {
        let plan = self.plan.clone();
        let places = plan.instances.iter().map(|it| (&it.name, &it.location));
        let places = places.chain(plan.witnesses.iter().map(|it| (&it.name, &it.location)));
        for (name, _) in places.filter(|it| there(it.1)) {
            self.servers.insert(name.clone(), state);
        }
    }

    fn suffer(&mut self, fault: Fault) {
        self.happened.push((self.clock(), fault.told()));
        match fault {
            Fault::Server(name, state) => {
                self.checkers.lives(&name, state == Server::Up, self.now);
                self.came_back(&name);
                self.servers.insert(name, state);
            }
            Fault::Zone(zone, state) => self.everything(state, |it| it.zone.as_deref() == Some(&zone)),
            Fault::Region(region, state) => self.everything(state, |it| it.region == region),
            Fault::Channel(name, carrier) => {
                self.channels.insert(name, carrier);
            }
            Fault::OwnPath(broken) => self.own_path_broken = broken,
            Fault::Traffic(up) => {
                self.traffic_up = up;
                if up {
                    self.greet_traffic();
                }
            }
            Fault::AgentStops(span) => {
                self.frozen_until = Some(self.now + span);
                self.at(span, Event::Wake);
            }
            Fault::Lag(name, lag) => {
                match lag {
                    Some(lag) => self.lag.insert(name, lag),
                    None => self.lag.remove(&name),
                };
            }
            Fault::Outcome(outcome) => self.fake_outcome = Some(outcome),
            Fault::AgentKilled(down_for) => self.kill(down_for),
            Fault::CannotAsk(name, cannot) => {
                if cannot {
                    self.cannot_ask.insert(name);
                } else {
                    self.cannot_ask.remove(&name);
                }
            }
            Fault::JournalLost => self.lose_disk(),
            Fault::Reload(plan) => self.reload(*plan),
            Fault::Breaks(broken) => self.broken = *broken,
            Fault::Gray(gray) => self.grays.suffer(gray),
            Fault::OldSelf(name, server) => {
                self.old_selves.insert(name, server);
            }
            Fault::Trouble(trouble) => self.trouble(trouble),
            Fault::Role(name, role) => {
                self.checkers.made(&name, role, self.now);
                self.roles.insert(name, role);
            }
            Fault::Host(host, trouble) => self.host_suffers(&host, trouble),
            Fault::Vault(folder, trouble) => self.vault(&folder).trouble = trouble,
            Fault::AgentsMachineGone => {
                self.agents_machine_gone = true;
                self.traffic_up = false;
                self.kill(Duration::ZERO);
            }
        }
    }
}
