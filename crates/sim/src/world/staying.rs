//! Components that may stay what they are while their agent is silent: who asks whom, who agrees, and what the agent waits for.
//!
//! What is told to hosts is numbered, as in the product: a host says with each renewal by which number it goes, and the agent
//! believes that somebody agrees no more only when he goes by a number that is new enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_engine::effect::Grant;
use mainstay_plan::{HostIx, Time};

use super::World;
use super::hosts::{HostEvent, HostFault};

/// What a host is to do while the agent is silent.
#[derive(Clone, Debug, Default)]
pub(super) struct Stance {
    nth: u64,
    /// Who lives here and may stay, and whom he asks.
    stays: Vec<(Grant, Vec<HostIx>)>,
    /// Who lives elsewhere and may stay.
    agrees: Vec<Grant>,
    /// Who acts no more.
    over: Vec<Grant>,
}

/// What a host says of that.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    nth: u64,
    promised: Vec<Grant>,
}

/// All that hosts and the agent know of it.
#[derive(Debug, Default)]
pub(super) struct Staying {
    /// By host; on its disk.
    stances: BTreeMap<u32, Stance>,
    /// To whom each host has given its word, and until when; on its disk.
    promises: BTreeMap<(u32, Grant), Time>,
    /// When each host heard the agent last.
    heard: BTreeMap<u32, Time>,
    /// When what is held was asked for that was granted or agreed to last.
    good: BTreeMap<Grant, Time>,
    /// From which stance on what is held may be held alone.
    least: BTreeMap<Grant, u64>,
    /// By round of questions: who asks, when he asked, and who has not agreed yet.
    rounds: BTreeMap<u64, (Grant, Time, BTreeSet<u32>)>,
    next_round: u64,
    apart: BTreeSet<u32>,
    /// The agent's: the number of the newest stance, from which on each component has its holder, what hosts have said, and who is
    /// known to act no more.
    nth: u64,
    since: BTreeMap<String, u64>,
    known: BTreeMap<u32, Standing>,
    over: BTreeSet<Grant>,
    /// How often a lease went on by the word of others.
    pub(super) agreements: u64,
}

/// What a host says to another arrives after so long.
const WAY: Duration = Duration::from_millis(3);

impl World {
    /// How often a lease went on by the word of other hosts alone.
    pub fn agreements(&self) -> u64 {
        self.hosts.stays.agreements
    }

    fn may_stay(&self, component: &str) -> bool {
        self.plan.component_named(component).is_some_and(|it| self.plan.stays(it))
    }

    /// The hosts where another instance lives.
    fn peers(&self, grant: &Grant) -> Vec<HostIx> {
        let Some(component) = self.plan.component_named(&grant.component) else { return Vec::new() };
        let home = self.host_of(&grant.instance);
        let all = self.plan.component(component).instances.iter().filter_map(|it| self.plan.host_of(*it));
        let peers: BTreeSet<u32> = all.filter(|it| *it != home).map(|it| it.0).collect();
        peers.into_iter().map(HostIx).collect()
    }

    /// The world begins: every host has heard who holds what.
    pub(super) fn staying_begins(&mut self) {
        let held: Vec<Grant> = self.hosts.holds.keys().cloned().collect();
        for grant in held {
            self.hosts.stays.good.insert(grant, self.now);
        }
        for host in (0u32..).take(self.plan.hosts.len()) {
            self.hosts.stays.heard.insert(host, self.now);
        }
    }

    /// Another agent process: what hosts have said was said to the one before.
    pub(super) fn stances_of_another_agent(&mut self) {
        let stays = &mut self.hosts.stays;
        stays.nth += 1;
        let nth = stays.nth;
        stays.since.values_mut().for_each(|it| *it = nth);
        stays.known.clear();
    }

    fn is_new(&mut self, component: &str) {
        let stays = &mut self.hosts.stays;
        stays.nth += 1;
        stays.since.insert(component.to_owned(), stays.nth);
    }

    /// Others may hold leases than before: the hosts are told.
    pub(super) fn stances_change(&mut self, before: &[Grant]) {
        let wanted = self.hosts.wanted.clone();
        let changed = |one: &[Grant], other: &[Grant]| -> Vec<String> {
            one.iter().filter(|it| !other.contains(it)).map(|it| it.component.clone()).collect()
        };
        let mut components = changed(before, &wanted);
        components.extend(changed(&wanted, before));
        components.sort();
        components.dedup();
        components.retain(|it| self.may_stay(it));
        components.iter().for_each(|it| self.is_new(it));
        if !components.is_empty() {
            for host in (0u32..).map(HostIx).take(self.plan.hosts.len()) {
                self.tells(host);
            }
        }
    }

    /// A lease is granted to somebody who did not hold it.
    pub(super) fn is_granted_anew(&mut self, want: &Grant) {
        let held = self.hosts.granted.get(&want.component).is_some_and(|it| it.0 == want.instance);
        if (self.hosts.stays.over.remove(want) || !held) && self.may_stay(&want.component) {
            self.is_new(&want.component);
        }
    }

    /// The agent knows that somebody acts no more: whoever was bound to him is free.
    pub(super) fn acts_no_more(&mut self, grant: &Grant) {
        if self.may_stay(&grant.component) && self.hosts.stays.over.insert(grant.clone()) {
            self.is_new(&grant.component);
        }
    }

    /// The agent tells a host what to do while it is silent, if that is new to it.
    pub(super) fn tells(&mut self, host: HostIx) {
        let nth = self.hosts.stays.nth;
        let is_known = self.hosts.stays.known.get(&host.0).is_some_and(|it| it.nth == nth);
        if is_known || !self.plan.components.iter().any(|it| self.may_stay(&it.name)) || self.driver.is_none() {
            return;
        }
        let mut stance = Stance { nth, ..Stance::default() };
        for grant in self.hosts.wanted.iter().filter(|it| self.may_stay(&it.component)) {
            let peers = self.peers(grant);
            if self.host_of(&grant.instance) == host {
                stance.stays.push((grant.clone(), peers));
            } else if peers.contains(&host) {
                stance.agrees.push(grant.clone());
            }
        }
        stance.over = self.hosts.stays.over.iter().cloned().collect();
        if let Some(way) = self.sends(host, false) {
            self.host_at(way, HostEvent::Told(host, stance));
        }
    }

    pub(super) fn told(&mut self, host: HostIx, stance: Stance) {
        self.hears_agent(host);
        let stays = &mut self.hosts.stays;
        if stays.stances.get(&host.0).is_some_and(|it| it.nth >= stance.nth) {
            return;
        }
        stays.promises.retain(|it, _| it.0 != host.0 || !stance.over.contains(&it.1));
        stays.stances.insert(host.0, stance);
        // It says at once that it knows.
        let stands = self.stands(host);
        if let Some(way) = self.sends(host, true) {
            self.host_at(way, HostEvent::Renewed(host, self.now, stands));
        }
    }

    pub(super) fn hears_agent(&mut self, host: HostIx) {
        self.hosts.stays.heard.insert(host.0, self.now);
    }

    /// By what a host goes, as it says.
    pub(super) fn stands(&self, host: HostIx) -> Standing {
        let stays = &self.hosts.stays;
        let binds = stays.promises.iter().filter(|it| it.0.0 == host.0 && *it.1 > self.now);
        let promised = binds.map(|it| it.0.1.clone()).filter(|_| self.hosts.wrong != Some(HostFault::ForgottenPromise));
        Standing { nth: stays.stances.get(&host.0).map_or(0, |it| it.nth), promised: promised.collect() }
    }

    /// The agent hears by what a host goes.
    pub(super) fn host_stands(&mut self, host: HostIx, stands: Standing) {
        self.hosts.stays.known.insert(host.0, stands);
        let ending: Vec<Grant> = self.hosts.ending.keys().filter(|it| self.may_stay(&it.component)).cloned().collect();
        ending.iter().for_each(|it| self.looks(it));
    }

    /// Whether somebody who may have stayed by the word of others can't any more: one of them agrees no more.
    pub(super) fn stays_no_more(&self, grant: &Grant) -> bool {
        if !self.may_stay(&grant.component) {
            return true;
        }
        let stays = &self.hosts.stays;
        let since = stays.since.get(&grant.component).copied().unwrap_or(0);
        let is_free =
            |it: &HostIx| stays.known.get(&it.0).is_some_and(|it| it.nth >= since && !it.promised.contains(grant));
        !self.hosts.wanted.contains(grant) && self.peers(grant).iter().any(is_free)
    }

    /// Whether a host has given its word that it takes a component over from nobody.
    pub(super) fn is_promised(&self, host: HostIx, component: &str) -> bool {
        let binds = |it: (&(u32, Grant), &Time)| it.0.0 == host.0 && it.0.1.component == component && *it.1 > self.now;
        self.hosts.wrong != Some(HostFault::ForgottenPromise) && self.hosts.stays.promises.iter().any(binds)
    }

    /// The agent has granted what was asked for at that moment.
    pub(super) fn renewed_for_real(&mut self, grant: &Grant, asked: Time) {
        let stays = &mut self.hosts.stays;
        let good = stays.good.entry(grant.clone()).or_insert(asked);
        *good = (*good).max(asked);
        let since = stays.since.get(&grant.component).copied().unwrap_or(0);
        stays.least.insert(grant.clone(), since);
    }

    /// A host asks the others for what it holds and could not renew.
    pub(super) fn asks_to_stay(&mut self, host: HostIx) {
        let Some(stance) = self.hosts.stays.stances.get(&host.0).cloned() else { return };
        let late = self.really(host, self.times().renew * 2);
        for (grant, peers) in stance.stays {
            let holds = self.still_holds(&grant);
            let stays = &mut self.hosts.stays;
            let good = stays.good.get(&grant).copied().unwrap_or(Time::ZERO);
            let is_new_enough = stays.least.get(&grant).is_none_or(|it| stance.nth >= *it);
            if !holds || !is_new_enough || peers.is_empty() || good + late > self.now {
                continue;
            }
            stays.next_round += 1;
            let round = stays.next_round;
            stays.rounds.insert(round, (grant.clone(), self.now, peers.iter().map(|it| it.0).collect()));
            for peer in peers {
                if self.hosts_reach(host, peer) {
                    self.host_at(WAY, HostEvent::Asked(peer, grant.clone(), round));
                }
            }
            self.judge_round(round);
        }
    }

    fn still_holds(&self, grant: &Grant) -> bool {
        self.hosts.holds.get(grant).is_some_and(|it| it.until > self.now) && !self.is_taken_back(grant)
    }

    fn hosts_reach(&self, one: HostIx, other: HostIx) -> bool {
        let apart = &self.hosts.stays.apart;
        let is_there = |it: HostIx| !apart.contains(&it.0) && !self.is_machine_lost(it);
        is_there(one) && is_there(other)
    }

    pub(super) fn asked_to_agree(&mut self, host: HostIx, grant: &Grant, round: u64) {
        let heard = self.hosts.stays.heard.get(&host.0).copied().unwrap_or(self.now);
        let silent = self.now.since(heard) >= self.really(host, self.plan.heard_within());
        let holds = |it: &Grant| it.component == grant.component && self.host_of(&it.instance) == host;
        let holds = self.hosts.holds.keys().any(holds);
        let stays = &self.hosts.stays;
        let least = stays.least.get(grant).copied().unwrap_or(0);
        let is_said = stays.stances.get(&host.0).is_some_and(|it| it.nth >= least && it.agrees.contains(grant));
        let other = |it: (&(u32, Grant), &Time)| {
            let (of, to) = it.0;
            *of == host.0 && to.component == grant.component && to != grant && *it.1 > self.now
        };
        if !silent || holds || !is_said || stays.promises.iter().any(other) {
            return;
        }
        let whole = self.plan.lease_term().unwrap_or_default();
        let until = self.now + self.really(host, whole);
        self.hosts.stays.promises.insert((host.0, grant.clone()), until);
        if self.hosts_reach(host, self.host_of(&grant.instance)) {
            self.host_at(WAY, HostEvent::Agreed(host, round));
        }
    }

    pub(super) fn agreed(&mut self, host: HostIx, round: u64) {
        if let Some((_, _, missing)) = self.hosts.stays.rounds.get_mut(&round) {
            missing.remove(&host.0);
            self.judge_round(round);
        }
    }

    fn judge_round(&mut self, round: u64) {
        let may_miss = usize::from(self.hosts.wrong == Some(HostFault::StaysWithOneMissing));
        let Some((grant, asked, missing)) = self.hosts.stays.rounds.get(&round).cloned() else { return };
        let host = self.host_of(&grant.instance);
        let holds = self.still_holds(&grant);
        if missing.len() > may_miss || !holds || self.hosts.idle.contains_key(&host.0) {
            return;
        }
        let until = asked + self.really(host, self.times().expires);
        self.hosts.stays.rounds.remove(&round);
        if until > self.now {
            self.hosts.stays.good.insert(grant.clone(), asked);
            self.hosts.stays.agreements += 1;
            self.holds_until(grant, until);
        }
    }

    pub(super) fn apart(&mut self, host: HostIx, apart: bool) {
        match apart {
            true => self.hosts.stays.apart.insert(host.0),
            false => self.hosts.stays.apart.remove(&host.0),
        };
    }

    pub(super) fn hosts_meet_again(&mut self) {
        self.hosts.stays.apart.clear();
    }

    /// A machine has lost its power: what it has promised counts anew.
    pub(super) fn starts_anew(&mut self, host: HostIx) {
        let whole = self.really(host, self.plan.lease_term().unwrap_or_default());
        let until = self.now + whole;
        let now = self.now;
        for (_, it) in self.hosts.stays.promises.iter_mut().filter(|it| it.0.0 == host.0 && *it.1 > now) {
            *it = until;
        }
        self.hears_agent(host);
    }
}
