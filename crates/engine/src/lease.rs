//! Who of several agents decides.
//!
//! Intuition: a lease is a promise of the store, *nobody else gets it before then*. Whoever has it decides; it asks again
//! long before the end, and lays everything down while its own clock still says that the lease can't have ended. So two never
//! act at once, however long one of them was asleep.
//!
//! [`LeaseMachine`] knows no time; `Tenure` holds the clock against the lease, and turns what it finds into
//! facts. Everything that decides reads [`Leadership`], which is those facts folded. No network carries the inputs yet: an
//! agent that was not told that it is coordinated is [`Role::Sole`], and decides as if there were no other.

use std::time::Duration;

use mainstay_plan::agents::{Alone, Coordination};
use mainstay_plan::route::Sharing;
use mainstay_plan::{Plan, Time};
use serde::{Deserialize, Serialize};

use crate::machine::{Illegal, Machine};
use crate::planted::{Fault, planted};
use crate::record::Body;

/// What an agent is among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// There is no other: it decides.
    #[default]
    Sole,
    /// It has no lease, and does not know who has: it asks.
    Candidate,
    /// Another one has the lease: it observes.
    Follower,
    /// It has the lease: it decides.
    Leader,
    /// It can't reach the store: it does what the plan says for that.
    Alone,
}

impl Role {
    /// Whether it is known who decides.
    pub(crate) const fn leads_or_follows(self) -> bool {
        match self {
            Role::Sole | Role::Follower | Role::Leader => true,
            Role::Candidate | Role::Alone => false,
        }
    }

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Role::Sole => "sole",
            Role::Candidate => "candidate",
            Role::Follower => "follower",
            Role::Leader => "leader",
            Role::Alone => "alone",
        }
    }
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// An agent started that nothing connects to a store.
    StartedSole,
    /// An agent started that asks a store.
    StartedCoordinated,
    /// The store granted it the lease.
    Granted,
    /// The store says that another one has it.
    Held,
    /// By its own clock, its lease may be over soon.
    Expired,
    /// The store can't be reached.
    StoreGone,
    /// Somebody acts under a higher epoch than its own.
    Outranked,
}

/// Leadership, as a state machine.
#[derive(Clone, Copy, Debug)]
pub struct LeaseMachine;

impl Machine for LeaseMachine {
    type State = Role;
    type Input = Event;

    const NAME: &'static str = "An agent among others";
    const ABOUT: &'static str = "Only `sole` and `leader` decide; `alone` does what the plan says for that. `lease_changed` records each \
        change. What an agent sees of the lease while it is `sole` changes nothing.";
    const STATES: &'static [Role] = &[Role::Sole, Role::Candidate, Role::Follower, Role::Leader, Role::Alone];
    const INPUTS: &'static [Event] = &[
        Event::StartedSole,
        Event::StartedCoordinated,
        Event::Granted,
        Event::Held,
        Event::Expired,
        Event::StoreGone,
        Event::Outranked,
    ];

    fn state(state: Role) -> &'static str {
        state.word()
    }

    fn input(input: Event) -> &'static str {
        match input {
            Event::StartedSole => "agent_started, without a store",
            Event::StartedCoordinated => "agent_started, with a store",
            Event::Granted => "the store granted it the lease",
            Event::Held => "another one holds the lease",
            Event::Expired => "its lease may be over",
            Event::StoreGone => "the store can't be reached",
            Event::Outranked => "a higher epoch was seen",
        }
    }

    fn next(state: Role, input: Event) -> Result<Role, Illegal> {
        use Event as I;
        use Role as R;
        match (state, input) {
            (R::Sole | R::Candidate | R::Follower | R::Leader | R::Alone, I::StartedSole) => Ok(R::Sole),
            (R::Sole | R::Candidate | R::Follower | R::Leader | R::Alone, I::StartedCoordinated)
            | (R::Leader, I::Expired | I::Outranked)
            | (R::Candidate, I::Outranked) => Ok(R::Candidate),
            // A lease that was granted is good until its end, whatever became of the store.
            (R::Candidate | R::Follower | R::Alone | R::Leader, I::Granted) | (R::Leader, I::StoreGone) => {
                Ok(R::Leader)
            }
            (R::Candidate | R::Follower | R::Leader | R::Alone, I::Held) | (R::Follower, I::Outranked) => {
                Ok(R::Follower)
            }
            (R::Candidate | R::Follower | R::Alone, I::StoreGone) | (R::Alone, I::Outranked) => Ok(R::Alone),
            (R::Candidate | R::Follower | R::Alone, I::Expired)
            | (R::Sole, I::Granted | I::Held | I::Expired | I::StoreGone | I::Outranked) => Self::illegal(state, input),
        }
    }
}

/// What lasts about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The role.
    pub role: Role,
    /// The highest epoch that was seen; its own while it leads.
    pub epoch: u64,
    /// Who has the lease, if another one has.
    pub leader: Option<String>,
    /// Since when.
    pub since: Time,
    /// Alone, and yet another agent was seen to act: it does nothing until the store answers.
    pub yields: bool,
}

/// How much may be done at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum May {
    /// Nothing: it only observes.
    Nothing,
    /// What can't give something exclusive two owners.
    Shared,
    /// Everything.
    Everything,
}

impl May {
    /// Whether a table may be sent. It says of every route where it leads: with an exclusive one in it, it could take back what
    /// another agent does.
    pub(crate) fn routes(self, plan: &Plan) -> bool {
        match self {
            May::Nothing => false,
            May::Shared => {
                planted(Fault::AloneMovesExclusive) || plan.routes.iter().all(|it| it.sharing == Sharing::Shared)
            }
            May::Everything => true,
        }
    }
}

impl Leadership {
    /// After a change that was recorded. Who is alone and becomes so once more has seen another one act.
    pub(crate) fn changed(&self, role: Role, epoch: u64, leader: Option<String>, since: Time) -> Leadership {
        let yields = role == Role::Alone && self.role == Role::Alone;
        Leadership { role, epoch: self.epoch.max(epoch), leader, since, yields }
    }

    /// How much it may do.
    pub fn may(&self, plan: &Plan) -> May {
        match self.role {
            Role::Sole | Role::Leader => May::Everything,
            Role::Candidate | Role::Follower => May::Nothing,
            Role::Alone if self.yields => May::Nothing,
            Role::Alone => match plan.coordination.as_ref().map(|it| it.alone) {
                Some(Alone::Proceed) => May::Everything,
                Some(Alone::SharedOnly) => May::Shared,
                Some(Alone::Hold) | None => May::Nothing,
            },
        }
    }

    /// The lowest epoch of a routing table that this agent publishes: tables of an earlier lease, or of before a takeover, are lower, and
    /// the traffic processes refuse them as they refuse every older table.
    pub const fn table_floor(&self) -> u64 {
        self.epoch << TABLES_A_LEASE
    }
}

/// A lease has room for so many bits of tables.
const TABLES_A_LEASE: u32 = 32;

/// The epoch of the lease under which a table was published.
pub(crate) const fn of_table(epoch: u64) -> u64 {
    epoch >> TABLES_A_LEASE
}

/// The lease against the clock. It is soft: what it finds becomes a fact before anything is decided.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    /// What the facts so far add up to, those included that are not recorded yet.
    known: Leadership,
    /// Until then nobody else gets the lease, as far as this clock can tell.
    until: Option<Time>,
    /// When the store is asked next.
    ask_at: Time,
}

impl Tenure {
    pub(crate) fn new(known: Leadership, now: Time) -> Tenure {
        Tenure { known, until: None, ask_at: now }
    }

    /// An agent starts.
    pub(crate) fn start(&mut self, coordinated: bool) {
        self.known.role = if coordinated { Role::Candidate } else { Role::Sole };
    }

    /// How much may be done, facts included that are not recorded yet: who has just started holds no lease.
    pub(crate) fn may(&self, plan: &Plan) -> May {
        self.known.may(plan)
    }

    /// The store granted the lease when it was asked at `asked`.
    pub(crate) fn granted(&mut self, plan: &Plan, now: Time, epoch: u64, asked: Time) -> Option<Body> {
        let coordination = plan.coordination.as_ref()?;
        let leads = self.known.role == Role::Leader;
        // One that was granted long ago, or under an epoch that is over, is no lease any more.
        let stale = (epoch < self.known.epoch && !planted(Fault::LeaseEpochNotCompared))
            || (leads && epoch != self.known.epoch && epoch <= self.known.epoch);
        let from = if planted(Fault::LeaseCountedFromGrant) { now } else { asked };
        let until = from + coordination.lease.expires.saturating_sub(coordination.lease.drift);
        if stale || over(plan, coordination, until, now) {
            return None;
        }
        let renewed = leads && epoch == self.known.epoch;
        self.until = if renewed { self.until.max(Some(until)) } else { Some(until) };
        let anew = leads && !renewed;
        self.happens(Event::Granted, epoch, None, "the store granted the lease".to_owned(), anew)
    }

    /// Another agent has the lease.
    pub(crate) fn held(&mut self, by: &str, epoch: u64) -> Option<Body> {
        if epoch < self.known.epoch {
            return None;
        }
        let anew = self.known.leader.as_deref() != Some(by);
        self.happens(Event::Held, epoch, Some(by.to_owned()), format!("`{by}` holds the lease"), anew)
    }

    /// The store can't be reached.
    pub(crate) fn store_gone(&mut self, reason: &str) -> Option<Body> {
        let why = format!("the coordination store can't be reached: {reason}");
        self.happens(Event::StoreGone, self.known.epoch, None, why, false)
    }

    /// Somebody acts under `epoch`. Whether that is to be obeyed, and what it changes.
    pub(crate) fn seen(&mut self, epoch: u64, what: &str) -> (bool, Option<Body>) {
        if epoch <= self.known.epoch && !planted(Fault::LeaseEpochNotCompared) {
            return (epoch == self.known.epoch, None);
        }
        let why = format!("{what} carries the epoch {epoch}, higher than {}", self.known.epoch);
        let anew = self.known.role == Role::Alone && !self.known.yields;
        (true, self.happens(Event::Outranked, epoch, None, why, anew))
    }

    /// While this agent was alone another one published a table, which `what` names: that one decides.
    pub(crate) fn overtaken(&mut self, epoch: u64, what: &str) -> Option<Body> {
        if self.known.role != Role::Alone || self.known.yields {
            return self.seen(epoch, what).1;
        }
        let why = format!("{what} is another agent's, which acts: this one yields until the store answers");
        self.happens(Event::Outranked, self.known.epoch.max(epoch), None, why, true)
    }

    /// Looks at the clock: a lease that could be over is laid down.
    pub(crate) fn look(&mut self, plan: &Plan, now: Time) -> Option<Body> {
        let (until, coordination) = (self.until?, plan.coordination.as_ref()?);
        if self.known.role != Role::Leader || !over(plan, coordination, until, now) {
            return None;
        }
        let why = "the lease was not renewed in time".to_owned();
        self.happens(Event::Expired, self.known.epoch, None, why, false)
    }

    /// Whether the store is to be asked now.
    pub(crate) fn asks(&mut self, plan: &Plan, now: Time) -> bool {
        let Some(coordination) = &plan.coordination else { return false };
        if self.known.role == Role::Sole || now < self.ask_at {
            return false;
        }
        self.ask_at = now + coordination.lease.renew;
        true
    }

    /// When something is to be done about it.
    pub(crate) fn wakes(&self, plan: &Plan) -> Option<Time> {
        let coordination = plan.coordination.as_ref().filter(|_| self.known.role != Role::Sole)?;
        let margin = margin(plan, coordination);
        let ends = self.until.filter(|_| self.known.role == Role::Leader && !planted(Fault::LeaseNeverOver));
        let ends = ends.map(|it| Time::from_nanos(it.as_nanos().saturating_sub(nanos(margin))));
        ends.into_iter().chain([self.ask_at]).min()
    }

    fn happens(&mut self, event: Event, epoch: u64, leader: Option<String>, why: String, anew: bool) -> Option<Body> {
        let role = LeaseMachine::step(self.known.role, event).ok()?;
        if role == self.known.role && !anew {
            self.known.epoch = self.known.epoch.max(epoch);
            return None;
        }
        if role != Role::Leader {
            self.until = None;
        }
        self.known = self.known.changed(role, epoch, leader.clone(), self.known.since);
        Some(Body::LeaseChanged { role, epoch: self.known.epoch, leader, why })
    }
}

/// How long before the end everything is laid down: as long as this agent may be stopped without finding out.
const fn margin(plan: &Plan, _: &Coordination) -> Duration {
    plan.allowances.lateness
}

fn over(plan: &Plan, coordination: &Coordination, until: Time, now: Time) -> bool {
    now + margin(plan, coordination) >= until && !planted(Fault::LeaseNeverOver)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_grant_makes_a_leader_and_nothing_but_a_start_makes_a_sole() {
        for role in LeaseMachine::STATES {
            for event in LeaseMachine::INPUTS {
                let becomes = LeaseMachine::next(*role, *event).unwrap_or(*role);
                assert!(
                    becomes != Role::Leader || *role == Role::Leader || *event == Event::Granted,
                    "{role:?} {event:?}"
                );
                assert!(
                    becomes != Role::Sole || *role == Role::Sole || *event == Event::StartedSole,
                    "{role:?} {event:?}"
                );
            }
        }
    }
}
