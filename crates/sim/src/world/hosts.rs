//! Hosts: machines beside the agent's own that act for it, hold leases and serve routes; the connections to them; and the book in
//! which the agent keeps who was granted what.
//!
//! Intuition: on each machine sits a keeper with an alarm clock. Each grant sets it anew; when it rings he stops what he keeps,
//! whoever else is asleep. The agent, who set it last, knows when it has rung for sure, although he can't hear it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::effect::{Grant, Order};
use mainstay_engine::record::{Body, Fence, ReportedTarget, StepRef};
use mainstay_engine::{Input, Record};
use mainstay_plan::action::{Action, LeaseEnd, Outcome};
use mainstay_plan::hosts::LeaseTimes;
use mainstay_plan::observation::SeenRole;
use mainstay_plan::route::OnSilence;
use mainstay_plan::routing::{RoutingTable, TargetState};
use mainstay_plan::strategy::StepKind;
use mainstay_plan::{HostIx, Plan, Time};

use super::staying::{Stance, Standing as Stands, Staying};
use super::{Event, Link, Server, World};

/// How what is said between a host and the agent arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Both ways.
    Whole,
    /// Nothing arrives.
    Cut,
    /// The agent hears the host, and the host hears nothing.
    ToAgent,
    /// The host hears the agent, and the agent hears nothing.
    ToHost,
    /// Both ways, so much later.
    Slow(Duration),
}

/// What happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTrouble {
    /// The connection to the agent changes.
    Way(Way),
    /// The host's process is killed, and started again after so long. What was under way to it is lost; the keeper of leases goes on.
    Killed(Duration),
    /// The host's process is stopped for so long. What was under way to it waits; the keeper goes on.
    Stopped(Duration),
    /// The keeper is stopped for so long. A host that runs notices it, and starts another one.
    KeeperStopped(Duration),
    /// Host and keeper are stopped for so long, and what they keep goes on.
    Suspended(Duration),
    /// The host's process runs, if this is the end of its last standstill.
    Runs(u64),
    /// The keeper runs, if this is the end of its last standstill.
    KeeperRuns(u64),
    /// The paths between this host and all others break (`true`), or are whole again.
    ApartFromHosts(bool),
    /// The machine loses power, with all that runs on it; it comes back without having started anything.
    PowerCut,
}

/// What a test lets hosts, or the agent's book, do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// The book grants a lease before what another instance was granted is over.
    GrantedTooSoon,
    /// The keeper does not stop what he keeps when the lease is over.
    KeptPastTheEnd,
    /// A table counts as the agent's word from when it arrives, however long it was under way.
    TableTakenForWord,
    /// Nothing ends what is kept while host and keeper stand still, although it runs on a leash.
    LooseLeash,
    /// A host that has promised to let another one stay what it is does not remember it.
    ForgottenPromise,
    /// A host stays what it is without the word of one of those who have to agree.
    StaysWithOneMissing,
}

impl HostFault {
    /// All of them.
    pub const ALL: [HostFault; 6] = [
        HostFault::GrantedTooSoon,
        HostFault::KeptPastTheEnd,
        HostFault::TableTakenForWord,
        HostFault::LooseLeash,
        HostFault::ForgottenPromise,
        HostFault::StaysWithOneMissing,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            HostFault::GrantedTooSoon => "granted-too-soon",
            HostFault::KeptPastTheEnd => "kept-past-the-end",
            HostFault::TableTakenForWord => "table-taken-for-word",
            HostFault::LooseLeash => "loose-leash",
            HostFault::ForgottenPromise => "forgotten-promise",
            HostFault::StaysWithOneMissing => "stays-with-one-missing",
        }
    }

    /// What goes wrong, as a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            HostFault::GrantedTooSoon => "The book grants a lease before what another instance was granted is over.",
            HostFault::KeptPastTheEnd => "A host goes on with what it guards when its lease is over.",
            HostFault::TableTakenForWord => {
                "A table that was long under way counts as the agent's word when it arrives."
            }
            HostFault::LooseLeash => "A leash does not end its program while host and keeper stand still.",
            HostFault::ForgottenPromise => "A host forgets that it has promised to let another one stay what it is.",
            HostFault::StaysWithOneMissing => {
                "A host stays what it is without its agent, and one of those who have to agree has not."
            }
        }
    }

    /// The checker that has to see it.
    pub const fn caught_by(self) -> &'static str {
        match self {
            HostFault::GrantedTooSoon
            | HostFault::KeptPastTheEnd
            | HostFault::TableTakenForWord
            | HostFault::LooseLeash
            | HostFault::ForgottenPromise => "S3",
            HostFault::StaysWithOneMissing => "S1",
        }
    }
}

/// A lease as its host knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// Really, by the host's clock.
    pub(super) until: Time,
    /// Which alarm counts.
    nth: u64,
}

/// What is said and what rings.
#[derive(Clone, Debug)]
pub(super) enum HostEvent {
    /// A host asks anew for all that lives there.
    Renews(HostIx),
    /// The agent hears it: when it was asked, and by what that host goes alone.
    Renewed(HostIx, Time, Stands),
    /// The host hears what it may hold.
    Granted(HostIx, Time, Vec<Grant>),
    /// The host hears what to do while the agent is silent.
    Told(HostIx, Stance),
    /// A host is asked whether another one may stay what it is; in which round of questions.
    Asked(HostIx, Grant, u64),
    /// Whoever asked hears that this host agrees.
    Agreed(HostIx, u64),
    /// The host is told to let go.
    Revoked(HostIx, Grant),
    /// The alarm of a lease.
    Rings(Grant, u64),
    /// What a lease was held for does not act any more, and whether the agent is told.
    Stopped(Grant, bool),
    /// The agent hears that.
    Released(Grant),
    /// The agent looks whether a lease is over.
    Looks(Grant),
    /// A table reaches the traffic process of a host.
    Table(HostIx, Box<RoutingTable>),
    /// The agent hears that it is served.
    Applied(HostIx, u64),
    /// The agent finds that nothing was heard since then.
    Silent(HostIx, Time),
    /// The agent finds the connection closed.
    Closed(HostIx),
    /// A host finds that its keeper stands still, if that is so since then.
    MissesKeeper(HostIx, u64),
}

impl HostEvent {
    /// Whether it happens in the agent's process, which may be dead or stopped.
    pub(super) const fn is_the_agents(&self) -> bool {
        match self {
            HostEvent::Renewed(..)
            | HostEvent::Released(_)
            | HostEvent::Looks(_)
            | HostEvent::Applied(..)
            | HostEvent::Silent(..)
            | HostEvent::Closed(_) => true,
            HostEvent::Renews(_)
            | HostEvent::Granted(..)
            | HostEvent::Told(..)
            | HostEvent::Asked(..)
            | HostEvent::Agreed(..)
            | HostEvent::Revoked(..)
            | HostEvent::Rings(..)
            | HostEvent::Stopped(..)
            | HostEvent::Table(..)
            | HostEvent::MissesKeeper(..) => false,
        }
    }

    /// The host whose process hears it.
    const fn heard_by(&self) -> Option<HostIx> {
        match self {
            HostEvent::Granted(host, ..)
            | HostEvent::Told(host, _)
            | HostEvent::Asked(host, ..)
            | HostEvent::Revoked(host, _)
            | HostEvent::Table(host, _) => Some(*host),
            HostEvent::Renews(_)
            | HostEvent::Renewed(..)
            | HostEvent::Agreed(..)
            | HostEvent::Rings(..)
            | HostEvent::Stopped(..)
            | HostEvent::Released(_)
            | HostEvent::Looks(_)
            | HostEvent::Applied(..)
            | HostEvent::Silent(..)
            | HostEvent::Closed(_)
            | HostEvent::MissesKeeper(..) => None,
        }
    }
}

/// What a keeper that stood still finds when it goes on, or the one that comes in its place.
#[derive(Clone, Debug)]
enum Unkept {
    /// A lease was over.
    Over(Grant),
    /// A lease was taken back.
    Revoked(Grant),
}

/// All hosts, and what the agent knows of them.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    ways: BTreeMap<u32, Way>,
    /// Whose process stands still, and since which standstill.
    pub(super) idle: BTreeMap<u32, u64>,
    /// Whose process is not there at all.
    gone: BTreeSet<u32>,
    /// What waits until a process goes on.
    unheard: BTreeMap<u32, Vec<HostEvent>>,
    /// Whose keeper stands still, and since which standstill.
    unkept: BTreeMap<u32, u64>,
    /// What waits for a keeper.
    overdue: BTreeMap<u32, Vec<Unkept>>,
    standstills: u64,
    /// Whether what is guarded runs on a leash.
    leashed: bool,
    /// By host: how fast its clock runs, in parts per thousand.
    rates: BTreeMap<u32, u32>,
    pub(super) holds: BTreeMap<Grant, Hold>,
    alarms: u64,
    /// Orders that wait for the lease.
    waiting: Vec<(Order, Time)>,
    tables: BTreeMap<u32, RoutingTable>,
    /// The last question of a serving host that was answered: since then it counts the agent's silence.
    answered: BTreeMap<u32, Time>,
    pub(super) wanted: Vec<Grant>,
    /// By component: to whom something was granted last, and when.
    pub(super) granted: BTreeMap<String, (String, Time)>,
    pub(super) ending: BTreeMap<Grant, StepRef>,
    /// When the agent heard of a host last, and sent it something that counts.
    heard: BTreeMap<u32, Time>,
    sent: BTreeMap<u32, Time>,
    connected: BTreeSet<u32>,
    /// By host, and whether it is said to the agent: when the last word arrives.
    arrived: BTreeMap<(u32, bool), Time>,
    pub(super) stays: Staying,
    pub(super) wrong: Option<HostFault>,
    /// What the agent's promises and checks have seen: how often a lease was released, and how often it ran out.
    pub(super) ends: [u64; 3],
}

/// What is said arrives after so long.
const WAY: Duration = Duration::from_millis(3);

/// So long after a keeper has stopped its host has started another one: it asks twice a second, and waits half a second for the
/// answer.
pub(crate) const KEEPER_IS_MISSED: Duration = Duration::from_millis(1100);

impl World {
    /// Clocks of hosts run at such a rate, in parts per thousand; by place in the plan.
    pub fn host_clocks(&mut self, rates: &[u32]) {
        self.hosts.rates = (0u32..).zip(rates.iter().copied()).collect();
    }

    /// What is guarded runs on a leash: with the end of its lease the kernel ends it, whoever stands still.
    pub fn on_a_leash(&mut self) {
        self.hosts.leashed = true;
    }

    /// Lets hosts or the agent's book do something wrong.
    pub fn hosts_do_wrong(&mut self, fault: HostFault) {
        self.hosts.wrong = Some(fault);
    }

    /// How often a lease ended because its host let go, because it ran out, and because nobody held it.
    pub fn lease_ends(&self) -> [u64; 3] {
        self.hosts.ends
    }

    pub(super) fn times(&self) -> LeaseTimes {
        self.plan.link.as_ref().expect("who has hosts has a link").lease
    }

    pub(super) fn host_at(&mut self, after: Duration, event: HostEvent) {
        self.at(after, Event::Host(Box::new(event)));
    }

    /// What a host's clock shows as `span` takes so long really.
    pub(super) fn really(&self, host: HostIx, span: Duration) -> Duration {
        let rate = self.hosts.rates.get(&host.0).copied().unwrap_or(1000);
        span * 1000 / rate
    }

    /// When what is said now arrives: never before what was said earlier.
    pub(super) fn sends(&mut self, host: HostIx, to_agent: bool) -> Option<Duration> {
        let takes = self.arrives(host, to_agent)?;
        let last = self.hosts.arrived.entry((host.0, to_agent)).or_default();
        *last = (*last).max(self.now + takes);
        Some(last.since(self.now))
    }

    fn arrives(&self, host: HostIx, to_agent: bool) -> Option<Duration> {
        if self.own_path_broken || self.is_machine_lost(host) {
            return None;
        }
        match self.hosts.ways.get(&host.0).copied().unwrap_or(Way::Whole) {
            Way::Whole => Some(WAY),
            Way::Slow(by) => Some(WAY + by),
            Way::ToAgent => to_agent.then_some(WAY),
            Way::ToHost => (!to_agent).then_some(WAY),
            Way::Cut => None,
        }
    }

    /// How orders to a host, and their outcomes, arrive.
    pub(super) fn link_to(&self, host: Option<&str>) -> Link {
        let Some(host) = host.and_then(|it| self.plan.host_named(it)) else { return Link::Whole };
        let idle = self.hosts.idle.contains_key(&host.0);
        match (idle, self.arrives(host, false), self.arrives(host, true)) {
            (true, ..) | (_, None, _) => Link::NoOrders,
            (false, Some(_), None) => Link::NoAnswers,
            (false, Some(_), Some(_)) => Link::Whole,
        }
    }

    /// Whether the machine of a host is gone, as the instances that live there say.
    pub(super) fn is_machine_lost(&self, host: HostIx) -> bool {
        let name = self.plan.host(host).name.as_str();
        let mut there = self.plan.instances.iter().filter(|it| it.location.host.as_deref() == Some(name));
        !self.broken.machines.is_empty() && there.any(|it| self.broken.machines.contains(&it.name))
    }

    /// Whether a host answers what the agent asks it.
    pub(super) fn host_answers(&self, host: HostIx) -> bool {
        self.link_to(Some(&self.plan.host(host).name)) == Link::Whole
    }

    /// The world begins: everybody holds what is his.
    pub(super) fn hosts_begin(&mut self) {
        if self.plan.link.is_none() {
            return;
        }
        for host in (0u32..).map(HostIx).take(self.plan.hosts.len()) {
            self.host_at(Duration::from_millis(u64::from(host.0)), HostEvent::Renews(host));
            self.hosts.answered.insert(host.0, self.now);
        }
        let expires = self.times().expires;
        let plan = self.plan.clone();
        for component in plan.components.iter().filter(|it| is_leased(&plan, it)) {
            let instance = plan.instance(component.original()).name.clone();
            let grant = Grant { component: component.name.clone(), instance: instance.clone() };
            self.hosts.granted.insert(component.name.clone(), (instance, self.now));
            self.holds_until(grant, self.now + expires);
        }
        self.staying_begins();
    }

    /// The agent starts: whatever was granted may have been granted just now, and nobody was heard.
    pub(super) fn agent_opens_book(&mut self) {
        self.hosts.wanted.clear();
        self.hosts.ending.clear();
        self.hosts.connected.clear();
        let now = self.now;
        self.hosts.granted.values_mut().for_each(|it| it.1 = now);
        self.stances_of_another_agent();
        let serving: Vec<HostIx> = self.serving().collect();
        for host in serving {
            self.hosts.heard.insert(host.0, now);
            self.hosts.sent.insert(host.0, now);
            let expires = self.times().expires;
            self.host_at(expires, HostEvent::Silent(host, now));
        }
    }

    fn serving(&self) -> impl Iterator<Item = HostIx> + use<> {
        let serves: Vec<bool> = self.plan.hosts.iter().map(|it| it.serves).collect();
        (0u32..).map(HostIx).zip(serves).filter(|it| it.1).map(|it| it.0)
    }

    /// From now on these may hold a lease.
    pub(super) fn grants_change(&mut self, wanted: Vec<Grant>) {
        let state = self.engine().expect("it says so").state();
        for grant in &wanted {
            let ix = state.plan.component_named(&grant.component).expect("of its plan");
            let bound = self.checkers.bound(&grant.component);
            if bound == grant.instance || self.checkers.lease_is_over(&grant.component) {
                continue;
            }
            let recovery = state.components[ix.index()].recovery.as_ref();
            let ended = recovery.and_then(|it| Some((it.id, it.progress.as_ref()?, state.play(it)?)));
            let is_over = ended.is_some_and(|(_, progress, play)| {
                let mut steps = play.steps.iter().zip(&progress.steps);
                steps.any(|(step, at)| matches!(step.kind, StepKind::EndLease { .. }) && at.is_done())
            });
            let Grant { component, instance } = grant;
            assert!(is_over, "S3: {instance} may hold the lease of {component}, and that of {bound} is not over");
            panic!("S2: {instance} may hold the lease of {component} before the record that says so is durable");
        }
        let before = std::mem::replace(&mut self.hosts.wanted, wanted);
        self.stances_change(&before);
    }

    pub(super) fn host_event(&mut self, event: HostEvent) {
        if let Some(host) = event.heard_by().filter(|it| self.hosts.idle.contains_key(&it.0)) {
            // The kernel keeps it for a process that is stopped.
            if !self.hosts.gone.contains(&host.0) {
                self.hosts.unheard.entry(host.0).or_default().push(event);
            }
            return;
        }
        match event {
            HostEvent::Renews(host) => self.renews(host, true),
            HostEvent::Renewed(host, asked, stands) => {
                self.host_stands(host, stands);
                self.renewed(host, asked);
            }
            HostEvent::Told(host, stance) => self.told(host, stance),
            HostEvent::Asked(host, grant, round) => self.asked_to_agree(host, &grant, round),
            HostEvent::Agreed(host, round) => self.agreed(host, round),
            HostEvent::Granted(host, asked, grants) => self.granted(host, asked, grants),
            HostEvent::Revoked(host, grant) => self.revoked(host, grant),
            HostEvent::Rings(grant, nth) => self.rings(grant, nth),
            HostEvent::Stopped(grant, says) => self.stops(grant, says),
            HostEvent::Released(grant) => self.released(&grant, LeaseEnd::Released),
            HostEvent::Looks(grant) => self.looks(&grant),
            HostEvent::Table(host, table) => self.host_serves(host, *table),
            HostEvent::Applied(host, epoch) => {
                let process = self.plan.host(host).name.clone();
                if self.hosts.connected.contains(&host.0) {
                    self.turn(vec![Input::RouteApplied { process, epoch }]);
                }
            }
            HostEvent::Silent(host, since) => {
                if self.hosts.heard.get(&host.0) == Some(&since) {
                    self.loses(host, since);
                }
            }
            HostEvent::Closed(host) => {
                if self.hosts.connected.contains(&host.0) {
                    let heard = self.hosts.heard.get(&host.0).copied();
                    self.loses(host, heard.unwrap_or(self.now));
                }
            }
            HostEvent::MissesKeeper(host, nth) => {
                if self.hosts.unkept.get(&host.0) != Some(&nth) {
                } else if self.hosts.idle.contains_key(&host.0) {
                    self.host_at(KEEPER_IS_MISSED, HostEvent::MissesKeeper(host, nth));
                } else {
                    self.keeper_goes_on(host);
                }
            }
        }
    }

    fn loses(&mut self, host: HostIx, since: Time) {
        self.hosts.connected.remove(&host.0);
        if self.plan.host(host).serves {
            let sent = self.hosts.sent.get(&host.0).copied().unwrap_or(since);
            let process = self.plan.host(host).name.clone();
            self.turn(vec![Input::TrafficSilent { process, since: sent }]);
        }
    }

    fn revoked(&mut self, host: HostIx, grant: Grant) {
        let held = self.hosts.holds.contains_key(&grant);
        if held && self.hosts.unkept.contains_key(&host.0) {
            self.hosts.overdue.entry(host.0).or_default().push(Unkept::Revoked(grant));
            return;
        }
        self.hosts.holds.remove(&grant);
        // It takes as long as a quick stop; whoever holds nothing says so at once.
        let takes = if held { self.times().demote / 4 } else { Duration::ZERO };
        self.host_at(takes, HostEvent::Stopped(grant, true));
    }

    fn rings(&mut self, grant: Grant, nth: u64) {
        let rings = self.hosts.holds.get(&grant).is_some_and(|it| it.nth == nth);
        if !rings || self.hosts.wrong == Some(HostFault::KeptPastTheEnd) {
            return;
        }
        let host = self.host_of(&grant.instance);
        let is_unkept = self.hosts.unkept.contains_key(&host.0);
        if is_unkept && !(self.hosts.leashed && self.hosts.wrong != Some(HostFault::LooseLeash)) {
            self.hosts.overdue.entry(host.0).or_default().push(Unkept::Over(grant));
            return;
        }
        self.hosts.holds.remove(&grant);
        // The leash ends it at once; a keeper asks first, and takes as long as it may.
        let takes = if is_unkept { Duration::ZERO } else { self.really(host, self.times().demote) };
        self.host_at(takes, HostEvent::Stopped(grant, false));
    }

    /// Whether a lease was taken back, and its keeper has not heard that yet.
    pub(super) fn is_taken_back(&self, grant: &Grant) -> bool {
        let is_it = |it: &Unkept| matches!(it, Unkept::Revoked(it) if it == grant);
        self.hosts.overdue.values().flatten().any(is_it)
    }

    /// The keeper goes on, or there is another one: it does what should have been done.
    fn keeper_goes_on(&mut self, host: HostIx) {
        self.hosts.unkept.remove(&host.0);
        let by_force = self.really(host, self.plan.allowances.forced_stop);
        for left in self.hosts.overdue.remove(&host.0).unwrap_or_default() {
            match left {
                Unkept::Over(grant) => {
                    let is_over = self.hosts.holds.get(&grant).is_some_and(|it| it.until <= self.now);
                    if is_over {
                        self.hosts.holds.remove(&grant);
                        self.host_at(by_force, HostEvent::Stopped(grant, false));
                    }
                }
                Unkept::Revoked(grant) => self.revoked(host, grant),
            }
        }
    }

    pub(super) fn host_of(&self, instance: &str) -> HostIx {
        let ix = self.plan.instance_named(instance).expect("of the plan");
        self.plan.host_of(ix).expect("who holds a lease is on a host")
    }

    /// The agent looks whether a lease is over: the term has passed, and nobody lets its holder stay.
    pub(super) fn looks(&mut self, grant: &Grant) {
        let term = self.term();
        let granted = self.hosts.granted.get(&grant.component);
        let over = granted.is_none_or(|(holder, last)| *holder != grant.instance || *last + term <= self.now);
        if over && self.stays_no_more(grant) {
            self.released(grant, LeaseEnd::RanOut);
        }
    }

    /// How long after the last grant a lease is over for sure.
    fn term(&self) -> Duration {
        match self.hosts.wrong {
            Some(HostFault::GrantedTooSoon) => self.times().expires / 2,
            Some(
                HostFault::KeptPastTheEnd
                | HostFault::TableTakenForWord
                | HostFault::LooseLeash
                | HostFault::ForgottenPromise
                | HostFault::StaysWithOneMissing,
            )
            | None => self.times().term(&self.plan.allowances),
        }
    }

    fn renews(&mut self, host: HostIx, again: bool) {
        if again {
            let every = self.really(host, self.times().renew);
            self.host_at(every, HostEvent::Renews(host));
        }
        if self.hosts.idle.contains_key(&host.0) {
            return;
        }
        if let Some(way) = self.sends(host, true) {
            let stands = self.stands(host);
            self.host_at(way, HostEvent::Renewed(host, self.now, stands));
        }
        if again {
            self.asks_to_stay(host);
        }
    }

    /// The agent hears of a host: it grants what that may hold and no other may act on any more.
    fn renewed(&mut self, host: HostIx, asked: Time) {
        if self.driver.is_none() {
            return;
        }
        let expires = self.times().expires;
        let serves = self.plan.host(host).serves;
        if self.hosts.connected.insert(host.0) && serves {
            let process = self.plan.host(host).name.clone();
            let table = self.hosts.tables.get(&host.0).cloned();
            let table = table.unwrap_or_else(|| RoutingTable::empty(&self.plan.site.name));
            let targets = ReportedTarget::all_of(&table);
            self.turn(vec![Input::TrafficServes { process, epoch: table.epoch, targets }]);
        }
        self.hosts.heard.insert(host.0, self.now);
        if serves {
            self.host_at(expires, HostEvent::Silent(host, self.now));
        }
        let term = self.term();
        let mut grants = Vec::new();
        for want in self.hosts.wanted.clone() {
            if self.host_of(&want.instance) != host {
                continue;
            }
            let free = self
                .hosts
                .granted
                .get(&want.component)
                .is_none_or(|(holder, last)| *holder == want.instance || *last + term <= self.now);
            let before = self.hosts.granted.get(&want.component).map(|it| it.0.clone());
            let before = before.map(|instance| Grant { component: want.component.clone(), instance });
            if free && before.is_none_or(|it| it == want || self.stays_no_more(&it)) {
                self.is_granted_anew(&want);
                self.hosts.granted.insert(want.component.clone(), (want.instance.clone(), self.now));
                grants.push(want);
            }
        }
        self.hosts.sent.insert(host.0, self.now);
        self.tells(host);
        if let Some(way) = self.sends(host, false) {
            self.host_at(way, HostEvent::Granted(host, asked, grants));
        }
    }

    fn granted(&mut self, host: HostIx, asked: Time, grants: Vec<Grant>) {
        let answered = self.hosts.answered.entry(host.0).or_insert(asked);
        *answered = (*answered).max(asked);
        self.hears_agent(host);
        for grant in grants {
            if self.is_promised(host, &grant.component) {
                continue;
            }
            let until = asked + self.really(host, self.times().expires);
            if until > self.now {
                self.renewed_for_real(&grant, asked);
                self.holds_until(grant, until);
            }
        }
        let waiting = std::mem::take(&mut self.hosts.waiting);
        for (order, until) in waiting {
            match (self.holds(&order.instance), until > self.now) {
                (true, true) => {
                    // What it has waited is not there any more for doing it.
                    self.queue.retain(|_, it| !matches!(it, Event::ActionEnded(it) if it.0 == order.step));
                    let timeout = until.since(self.now);
                    self.act(Order { timeout, ..order });
                }
                (false, true) => self.hosts.waiting.push((order, until)),
                (_, false) => {}
            }
        }
    }

    pub(super) fn holds_until(&mut self, grant: Grant, until: Time) {
        let before = self.hosts.holds.get(&grant).map(|it| it.until);
        let until = before.map_or(until, |it| it.max(until));
        self.checkers.may_act(&grant.instance, true);
        self.hosts.alarms += 1;
        let nth = self.hosts.alarms;
        self.hosts.holds.insert(grant.clone(), Hold { until, nth });
        self.host_at(until.since(self.now), HostEvent::Rings(grant, nth));
    }

    fn holds(&self, instance: &str) -> bool {
        self.hosts.holds.iter().any(|(grant, hold)| grant.instance == instance && hold.until > self.now)
    }

    /// What a lease was held for is stopped, and is a standby when it is started again.
    fn stops(&mut self, grant: Grant, says: bool) {
        let Grant { instance, .. } = &grant;
        if self.servers.get(instance) != Some(&Server::Dead) {
            self.checkers.lives(instance, false, self.now);
            self.servers.insert(instance.clone(), Server::Dead);
        }
        self.shifts += 1;
        self.checkers.may_act(instance, false);
        let host = self.host_of(instance);
        if let Some(way) = self.sends(host, true).filter(|_| says && !self.hosts.idle.contains_key(&host.0)) {
            self.host_at(way, HostEvent::Released(grant));
        }
    }

    /// The agent knows that a lease is over.
    fn released(&mut self, grant: &Grant, how: LeaseEnd) {
        if self.hosts.granted.get(&grant.component).is_some_and(|it| it.0 == grant.instance) {
            self.hosts.granted.remove(&grant.component);
        }
        self.acts_no_more(grant);
        if let Some(step) = self.hosts.ending.remove(grant) {
            self.hosts.ends[how as usize] += 1;
            self.turn(vec![Input::Outcome { step, outcome: Outcome::LeaseOver(how) }]);
        }
    }

    /// Ends a lease: its host is told, and otherwise it runs out.
    pub(super) fn ends_lease(&mut self, order: &Order) -> bool {
        let Action::EndLease { component } = &order.action else { return false };
        let grant = Grant { component: component.clone(), instance: order.instance.clone() };
        self.done.push((order.key.clone(), format!("end the lease of {component}")));
        self.hosts.ending.insert(grant.clone(), order.step);
        let held = self.hosts.granted.get(component).filter(|it| it.0 == order.instance).map(|it| it.1);
        let Some(last) = held else {
            self.hosts.ending.remove(&grant);
            self.hosts.ends[LeaseEnd::NotHeld as usize] += 1;
            let outcome = Outcome::LeaseOver(LeaseEnd::NotHeld);
            self.at(Duration::ZERO, Event::ActionEnded(Box::new((order.step, outcome))));
            return true;
        };
        let host = self.host_of(&order.instance);
        if let Some(way) = self.sends(host, false) {
            self.host_at(way, HostEvent::Revoked(host, grant.clone()));
        }
        let over = (last + self.term()).since(self.now);
        self.host_at(over, HostEvent::Looks(grant));
        true
    }

    /// Whether an order waits on its host for the lease: whoever is to be made active asks for it at once.
    pub(super) fn waits_for_lease(&mut self, order: &Order) -> bool {
        let leased = self.plan.instance_named(&order.instance).map(|it| self.plan.instance(it).component);
        let leased = leased.is_some_and(|it| self.plan.is_leased(it));
        let makes_active = self.becomes(order) == Some(SeenRole::Active) && !order.key.contains("/undo/");
        if !leased || self.holds(&order.instance) {
            return false;
        }
        assert!(
            order.needs_lease || !makes_active,
            "S3: {} is made active, and whoever does it need not hold the lease",
            order.instance
        );
        if !order.needs_lease {
            return false;
        }
        let host = self.host_of(&order.instance);
        if self.link_to(order.host.as_deref()) != Link::NoOrders {
            self.renews(host, false);
            self.hosts.waiting.push((order.clone(), self.now + order.timeout));
        }
        let unknown = Outcome::Unknown("no answer in time".to_owned());
        self.at(order.timeout, Event::ActionEnded(Box::new((order.step, unknown))));
        true
    }

    /// Of one that was stopped for want of its lease.
    pub(super) fn came_back(&mut self, instance: &str) {
        let ix = self.plan.instance_named(instance);
        let leased = ix.is_some_and(|it| self.plan.is_leased(self.plan.instance(it).component));
        if leased && !self.holds(instance) {
            self.roles.insert(instance.to_owned(), SeenRole::Standby);
        }
    }

    pub(super) fn host_suffers(&mut self, host: &str, trouble: HostTrouble) {
        let Some(ix) = self.plan.host_named(host) else { return };
        match trouble {
            HostTrouble::Way(way) => drop(self.hosts.ways.insert(ix.0, way)),
            HostTrouble::Killed(down_for) => {
                self.stands_still(ix, down_for);
                self.hosts.gone.insert(ix.0);
                self.hosts.unheard.remove(&ix.0);
                if let Some(way) = self.sends(ix, true) {
                    self.host_at(way, HostEvent::Closed(ix));
                }
            }
            HostTrouble::Stopped(span) => self.stands_still(ix, span),
            HostTrouble::KeeperStopped(span) => self.keeper_stands_still(ix, span),
            HostTrouble::Suspended(span) => {
                self.stands_still(ix, span);
                self.keeper_stands_still(ix, span);
            }
            HostTrouble::Runs(nth) => {
                if self.hosts.idle.get(&ix.0) == Some(&nth) {
                    self.process_goes_on(ix);
                }
            }
            HostTrouble::KeeperRuns(nth) => {
                if self.hosts.unkept.get(&ix.0) == Some(&nth) {
                    self.keeper_goes_on(ix);
                }
            }
            HostTrouble::ApartFromHosts(apart) => self.apart(ix, apart),
            HostTrouble::PowerCut => {
                self.starts_anew(ix);
                self.hosts.tables.remove(&ix.0);
                self.hosts.unheard.remove(&ix.0);
                self.hosts.unkept.remove(&ix.0);
                self.hosts.overdue.remove(&ix.0);
                let plan = self.plan.clone();
                for instance in plan.instances.iter().filter(|it| it.location.host.as_deref() == Some(host)) {
                    self.hosts.holds.retain(|it, _| it.instance != instance.name);
                    self.checkers.lives(&instance.name, false, self.now);
                    self.servers.insert(instance.name.clone(), Server::Dead);
                    self.checkers.may_act(&instance.name, false);
                }
            }
        }
    }

    fn stands_still(&mut self, host: HostIx, span: Duration) {
        self.hosts.standstills += 1;
        let nth = self.hosts.standstills;
        self.hosts.idle.insert(host.0, nth);
        let name = self.plan.host(host).name.clone();
        self.fault(span, super::Fault::Host(name, HostTrouble::Runs(nth)));
    }

    fn keeper_stands_still(&mut self, host: HostIx, span: Duration) {
        self.hosts.standstills += 1;
        let nth = self.hosts.standstills;
        self.hosts.unkept.insert(host.0, nth);
        let name = self.plan.host(host).name.clone();
        self.fault(span, super::Fault::Host(name, HostTrouble::KeeperRuns(nth)));
        self.host_at(KEEPER_IS_MISSED, HostEvent::MissesKeeper(host, nth));
    }

    /// The process goes on, and hears what it has not heard; one that was started anew has nothing to hear.
    fn process_goes_on(&mut self, host: HostIx) {
        self.hosts.idle.remove(&host.0);
        if self.hosts.gone.remove(&host.0) {
            // A process that has just begun does not know when an agent was heard last.
            self.hears_agent(host);
        }
        for event in self.hosts.unheard.remove(&host.0).unwrap_or_default() {
            self.host_event(event);
        }
    }

    /// What supervises services on the machines starts what is stopped: as a standby, where it holds no lease.
    pub fn supervisors_start(&mut self) {
        let dead = self.servers.iter().filter(|it| *it.1 == Server::Dead).map(|it| it.0.clone());
        for name in dead.collect::<Vec<_>>() {
            self.fault(Duration::ZERO, super::Fault::Server(name, Server::Up));
        }
    }

    pub(super) fn hosts_heal(&mut self) {
        self.hosts.ways.clear();
        let hosts = || (0u32..).map(HostIx).take(self.plan.hosts.len()).collect::<Vec<_>>();
        for host in hosts() {
            self.process_goes_on(host);
            self.keeper_goes_on(host);
        }
        self.hosts_meet_again();
        let names: Vec<String> = self.plan.instances.iter().map(|it| it.name.clone()).collect();
        names.iter().for_each(|it| self.came_back(it));
    }

    /// A table goes to every host that serves.
    pub(super) fn route_on_hosts(&mut self, table: &RoutingTable) {
        let serving: Vec<HostIx> = self.serving().collect();
        for host in serving {
            if let Some(way) = self.sends(host, false).filter(|_| self.hosts.connected.contains(&host.0)) {
                self.host_at(way, HostEvent::Table(host, Box::new(table.clone())));
            }
        }
    }

    fn host_serves(&mut self, host: HostIx, table: RoutingTable) {
        if self.hosts.tables.get(&host.0).is_some_and(|it| it.epoch > table.epoch) {
            return;
        }
        let epoch = table.epoch;
        self.hosts.tables.insert(host.0, table);
        if self.hosts.wrong == Some(HostFault::TableTakenForWord) {
            self.hosts.answered.insert(host.0, self.now);
        }
        if let Some(way) = self.sends(host, true) {
            self.host_at(way, HostEvent::Applied(host, epoch));
        }
    }

    /// Whether the traffic process of a host still leads clients of an exclusive route to an instance.
    fn leads_to(&self, host: HostIx, route: &str, instance: &str) -> bool {
        let Some(table) = self.hosts.tables.get(&host.0) else { return false };
        let entry = table.routes.iter().find(|it| it.name == route);
        let serves = entry
            .is_some_and(|it| it.targets.iter().any(|it| it.instance == instance && it.state == TargetState::Serving));
        let planned = self.plan.route_named(route).map(|it| self.plan.route(it).on_silence);
        let answered = self.hosts.answered.get(&host.0).copied().unwrap_or(Time::ZERO);
        let cut = match planned {
            Some(OnSilence::Cut { after }) => answered + self.really(host, after) <= self.now,
            Some(OnSilence::Keep) | None => false,
        };
        serves && !cut
    }

    /// A fence that is written down really holds.
    pub(super) fn fence_is_true(&self, record: &Record) {
        let Body::FenceConfirmed { instance, fence, .. } = &record.body else { return };
        match fence {
            Fence::Lease {} => {
                assert!(!self.acts(instance), "S3: the lease of {instance} is said to be over, and it acts");
            }
            Fence::TrafficCut { .. } => {
                let of = self.plan.instance_named(instance).map(|it| self.plan.instance(it).component);
                let ends_lease = of.is_some_and(|it| self.plan.is_leased(it));
                for host in self.serving().filter(|_| !ends_lease) {
                    for route in &self.plan.routes {
                        let name = &self.plan.host(host).name;
                        let leads = self.leads_to(host, &route.name, instance);
                        assert!(
                            !leads,
                            "S3: {instance} is said to be cut off, and {name} leads clients of {} to it",
                            route.name
                        );
                    }
                }
            }
            Fence::Stop {} => {}
        }
    }

    fn acts(&self, instance: &str) -> bool {
        let up = self.servers.get(instance).is_some_and(|it| *it != Server::Dead);
        up && self.roles.get(instance) == Some(&SeenRole::Active)
    }

    /// S1: of instances that hold a lease for it, one at most acts.
    pub(super) fn one_acts(&self) {
        if self.plan.link.is_none() {
            return;
        }
        let plan: &Plan = &self.plan;
        for component in plan.components.iter().filter(|it| is_leased(plan, it)) {
            let names = component.instances.iter().map(|it| plan.instance(*it).name.as_str());
            let acting: Vec<&str> = names.filter(|it| self.acts(it)).collect();
            assert!(acting.len() < 2, "S1: {} act as {} at once", acting.join(" and "), component.name);
        }
    }
}

fn is_leased(plan: &Plan, component: &mainstay_plan::component::Component) -> bool {
    plan.component_named(&component.name).is_some_and(|it| plan.is_leased(it))
}
