//! The agent: it starts, reads another plan, sleeps until it is due, and can be killed between any two effects.

use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::driver::{Driver, Todo};
use mainstay_engine::{Engine, Input};
use mainstay_plan::{Plan, Time};

use super::servers::{at_first, role_at_first};
use super::{Event, World};

/// Worlds of up to so many instances are counted from scratch after every turn.
const COUNTED: usize = 64;

/// Where an agent is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashKind {
    /// This record is durable; nothing that follows from it has happened.
    AfterRecord,
    /// This record was handed over, but the power went before it was synced: it is lost.
    BeforeSync,
    /// This record is durable; those that were handed over with it and come after it are lost: a tail that was torn.
    Torn,
    /// The action that this record (`step_started`) justifies was done, its outcome was not heard.
    BeforeOutcome,
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At which record.
    pub seq: u64,
    /// Where.
    pub kind: CrashKind,
    /// How long until the agent is started again.
    pub down_for: Duration,
}

impl World {
    /// Kills the agent at a moment that comes by itself.
    pub fn crash_at(&mut self, crash: Crash) {
        self.crash = Some(crash);
    }

    /// Tears the journal's tail behind the next record of this kind, and kills the agent then.
    pub fn tears_behind(&mut self, kind: &'static str, down_for: Duration) {
        self.tears = Some((kind, down_for));
    }

    /// How often the agent was killed by [`World::crash_at`].
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// As the agent does it: a plan that the engine finds unfit is not used.
    pub(super) fn reload(&mut self, plan: Plan) {
        if self.engine().is_some_and(|it| it.check_plan(&plan).is_err()) {
            return;
        }
        self.takes_plan(plan);
        let plan = self.plan.clone();
        self.turn(vec![Input::NewPlan { plan, base_dir: ".".to_owned() }]);
    }

    /// The agent is killed, and finds another plan when it is started again: whatever is open then, the plan is used. `false`:
    /// the agent would not start with it.
    pub fn restarts_under(&mut self, plan: Plan, down_for: Duration) -> bool {
        if self.engine().is_none_or(|it| it.check_plan(&plan).is_err()) {
            return false;
        }
        self.kill(down_for);
        self.takes_plan(plan);
        true
    }

    fn takes_plan(&mut self, plan: Plan) {
        self.plan = Arc::new(plan);
        let names = self.plan.instances.iter().map(|it| &it.name).chain(self.plan.witnesses.iter().map(|it| &it.name));
        for name in names {
            self.servers.entry(name.clone()).or_insert_with(|| at_first(&self.plan, name));
            self.lag.entry(name.clone()).or_insert(Duration::ZERO);
            self.roles.entry(name.clone()).or_insert_with(|| role_at_first(&self.plan, name));
        }
        self.checkers.plan_changed(&self.plan);
    }

    /// Whether the agent's process is stopped.
    pub fn is_asleep(&self) -> bool {
        self.frozen_until.is_some_and(|it| self.now < it)
    }

    pub(super) fn start(&mut self) {
        if self.agents_machine_gone {
            return;
        }
        self.look_at_the_clock();
        let records = self.journal();
        let folded = records.iter().map(|(seq, record)| (*seq, record));
        let now = self.clock();
        let engine = Engine::new(self.plan.clone(), ".", "sim", folded, now).remembering(self.places_kept());
        self.driver = Some(Driver::new(engine));
        self.checkers.agent_started(self.now);
        self.agent_opens_book();
        if self.traffic_up {
            self.greet_traffic();
        }
        self.turn(Vec::new());
    }

    pub(super) fn kill(&mut self, down_for: Duration) {
        self.driver = None;
        self.wake = None;
        if std::mem::take(&mut self.journal_lost) {
            let left = self.journal();
            self.checkers.only_these_are_left(&left);
            self.second.clear();
        }
        self.unsynced.clear();
        self.syncing = false;
        self.in_flight.clear();
        self.frozen_until = None;
        self.late.clear();
        self.vaults_lose_agent();
        // What the dead agent had asked for may still happen to the world, but nobody hears of it.
        self.queue.retain(|_, event| {
            matches!(
                event,
                Event::Fault(_)
                    | Event::Say(_)
                    | Event::Applied(_)
                    | Event::Effect(..)
                    | Event::Dies(_)
                    | Event::Moved(..)
                    | Event::Becomes(..)
                    | Event::Arrives(_)
                    | Event::Vault(_)
            ) || matches!(event, Event::Host(it) if !it.is_the_agents())
        });
        self.at(down_for, Event::StartAgent);
    }

    /// Kills the agent if the awaited moment is this one.
    pub(super) fn strikes(&mut self, kind: CrashKind, here: impl Fn(u64) -> bool) -> bool {
        let Some(crash) = self.crash.filter(|it| it.kind == kind && here(it.seq)) else { return false };
        self.crash = None;
        self.crashes += 1;
        self.kill(crash.down_for);
        true
    }

    pub(super) fn turn(&mut self, inputs: Vec<Input>) {
        let now = self.clock();
        let Some(driver) = &mut self.driver else { return };
        if let Some(digest) = &mut self.digest {
            digest.told(now, &inputs);
        }
        let turn = driver.turn(now, inputs);
        if let Some(digest) = &mut self.digest {
            digest.said(&turn);
        }
        let wake = driver.engine().next_wakeup();
        let last = turn.first_seq + turn.append.len() as u64;
        if self.journal_lost {
            if !turn.append.is_empty() {
                self.second_file(turn.first_seq, &turn.append);
                self.at(Duration::ZERO, Event::SecondFile(last - 1));
            }
        } else {
            self.unsynced.extend(turn.append);
        }
        if self.strikes(CrashKind::BeforeSync, |seq| (turn.first_seq..last).contains(&seq)) {
            return;
        }
        if !self.unsynced.is_empty() && !self.syncing {
            self.syncing = true;
            let takes = self.troubles.sync_takes.unwrap_or(self.pace.sync(&self.plan));
            self.at(takes, Event::Synced);
        }
        for todo in turn.todo {
            self.perform(todo);
        }
        self.checkers.after_step(&self.table);
        // Where nothing was recorded nothing was folded.
        let counted = last > turn.first_seq && self.plan.instances.len() <= COUNTED;
        if let Some(driver) = self.driver.as_ref().filter(|_| counted) {
            let wrong = driver.engine().state().miscounted();
            assert!(wrong.is_empty(), "counted otherwise while folding than from scratch: {wrong:?}");
        }
        self.keep_places();
        self.wake_at(wake.map(|it| it.0));
    }

    /// The agent sleeps until one moment, and a new one replaces the old.
    pub(super) fn wake_at(&mut self, at: Option<Time>) {
        self.wake = at.map(|at| {
            self.ticket += 1;
            (self.now + at.since(self.clock()), self.ticket)
        });
    }

    pub(super) fn perform(&mut self, todo: Todo) {
        match todo {
            Todo::Probe(probe, at) => self.ask(probe, at),
            Todo::Act(order) => self.act(order),
            Todo::Cancel(step) => {
                self.queue.retain(|_, it| !matches!(it, Event::ActionEnded(it) if it.0 == step));
                self.vault_gives_up(step);
            }
            Todo::Route(table) => {
                self.checkers.ordered(&table);
                self.route_on_hosts(&table);
                if self.traffic_up && !self.troubles.is_cut {
                    self.at(self.pace.apply(&self.plan), Event::Applied(Box::new(table)));
                }
            }
            // One agent alone asks no store.
            Todo::AskLease | Todo::HearTraffic(_) => {}
            Todo::Grant(grants) => self.grants_change(grants),
            Todo::Log(line) => self.told.push(line),
            Todo::Notify(telling) => self.carry(telling),
        }
    }
}
