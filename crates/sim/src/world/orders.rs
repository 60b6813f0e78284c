//! What is done to the world: every order has its effect, and an outcome that the agent may never hear.

use std::time::Duration;

use mainstay_engine::effect::Order;
use mainstay_plan::ComponentIx;
use mainstay_plan::action::{Action, Outcome, Plane, ServiceOp};
use mainstay_plan::observation::SeenRole;
use mainstay_plan::strategy::Strategy;

use super::servers::is_cold;
use super::{Event, Link, Server, World};

impl World {
    /// The action that this record (`step_started`) justifies ends so, and is done or not.
    pub fn outcome_of(&mut self, seq: u64, outcome: Outcome, is_done: bool) {
        self.scripted.insert(seq, (Some(outcome), is_done));
    }

    /// Nobody ever says how the action that this record justifies ended, and it is not done.
    pub fn never_ends(&mut self, seq: u64) {
        self.scripted.insert(seq, (None, false));
    }

    /// A command with this program fails from now on, and so does what is done to a service by it.
    pub fn breaks_command(&mut self, program: &str) {
        self.broken_commands.insert(program.to_owned());
    }

    pub(super) fn act(&mut self, order: Order) {
        self.checkers.acted(&order);
        if self.keeps(&order) || self.ends_lease(&order) || self.waits_for_lease(&order) {
            return;
        }
        let rung = self.rung_of(&order);
        let step = self.engine().and_then(|it| it.state().running(order.step));
        // Whatever its own plane is: to start a cold standby needs one.
        let takes_over = matches!(rung, Some((_, _, Strategy::FailoverToStandby)));
        let is_stopped = is_cold(&self.plan, &order.instance) && self.servers[&order.instance] != Server::Up;
        let cannot_start = takes_over && is_stopped && self.broken.planes.contains(&Plane::RegionalControl);
        let needs = step.and_then(|it| it.control).map(|it| self.plane_of(self.plan.control(it)));
        let plane_down = needs.is_some_and(|it| it != Server::Up);
        let broken = cannot_start || plane_down || self.broken.breaks(&order.instance, &order.action, rung, step);
        let repairs = self.repairs(&order);
        // Where the machine is gone, nothing is done.
        let machine_gone = repairs && self.servers.get(&order.instance) == Some(&Server::Hung);
        let what = match &order.action {
            Action::Service { op, .. } => format!("{} {}", op.word(), order.instance),
            Action::Command { argv, .. } => argv.join(" "),
            Action::TriggerFile { path, .. } => format!("write {}", path.display()),
            Action::Webhook { url, .. } => format!("call {url}"),
            Action::Postgres(postgres) => format!("{} {}", postgres.op.word(), order.instance),
            Action::EndLease { component } => format!("end the lease of {component}"),
        };
        let effect = match &order.action {
            Action::Service { op, .. } => Some(match op {
                ServiceOp::Start | ServiceOp::Restart => Server::Up,
                ServiceOp::Stop | ServiceOp::Kill => Server::Dead,
            }),
            Action::EndLease { .. } => Some(Server::Dead),
            Action::Postgres(postgres) if postgres.op.is_of_one_machine() => Some(Server::Up),
            // It speaks to a server that runs, and starts none.
            Action::Postgres(_) => None,
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } if repairs => Some(Server::Up),
            Action::Command { .. } | Action::TriggerFile { .. } | Action::Webhook { .. } => match rung {
                Some((_, _, Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut)) => {
                    Some(Server::Up)
                }
                // Whatever else it does, the activation of a cold standby starts it.
                Some((_, _, Strategy::FailoverToStandby)) if is_cold(&self.plan, &order.instance) => Some(Server::Up),
                Some((_, _, Strategy::RestartService | Strategy::FailoverToStandby)) | None => None,
            },
        };
        let becomes = self.becomes(&order);
        if becomes == Some(SeenRole::Active) && !order.key.contains("/undo/") {
            self.checkers.activates(&order, self.now);
            self.loses_no_more_than_said(&order);
        }
        let scripted = self.checkers.begun_at(order.step).and_then(|it| self.scripted.remove(&it));
        let never_ends = || self.troubles.never_answers.take().map(|is_done| (None, is_done));
        if let Some((outcome, is_done)) = scripted.or_else(never_ends) {
            if is_done {
                self.checkers.done(&order);
                self.done.push((order.key.clone(), what));
                let moves = self.brings(&order);
                self.has_effect(Duration::ZERO, &order, effect, moves);
                if let Some(role) = becomes {
                    self.at(Duration::ZERO, Event::Becomes(order.instance.clone(), role));
                }
            }
            if let Some(outcome) = outcome {
                self.at(self.pace.action(order.timeout), Event::ActionEnded(Box::new((order.step, outcome))));
            }
            return;
        }
        let link = match self.link_to(order.host.as_deref()) {
            Link::Whole => self.troubles.link(&order.instance),
            cut @ (Link::NoAnswers | Link::NoOrders) => cut,
        };
        let link = if machine_gone { Link::NoOrders } else { link };
        if link == Link::NoOrders {
            let unknown = Outcome::Unknown("no answer in time".to_owned());
            self.at(order.timeout, Event::ActionEnded(Box::new((order.step, unknown))));
            return;
        }
        if !self.is_broken(&order.action) {
            self.done.push((order.key.clone(), what));
        }
        let broken = broken || self.is_broken(&order.action);
        if broken {
            let (outcome, took) = if self.broken.hangs {
                (Outcome::Unknown("no answer in time".to_owned()), order.timeout)
            } else {
                (Outcome::Failed("it can't be reached".to_owned()), self.pace.refusal())
            };
            self.at(took, Event::ActionEnded(Box::new((order.step, outcome))));
            return;
        }
        let took = self.pace.action(order.timeout);
        self.checkers.done(&order);
        let moves = self.brings(&order);
        let starts = effect == Some(Server::Up) && moves.is_none();
        let more = if starts { self.troubles.start_takes(&order.instance) } else { Some(Duration::ZERO) };
        if let Some(more) = more {
            self.has_effect(self.pace.effect(order.timeout) + more, &order, effect, moves);
        }
        if let Some(role) = becomes {
            self.at(self.pace.effect(order.timeout), Event::Becomes(order.instance.clone(), role));
        }
        let (outcome, took) = match (self.fake_outcome.take(), link) {
            (None, Link::NoAnswers) => (Outcome::Unknown("no answer in time".to_owned()), order.timeout),
            (Some(outcome), Link::NoAnswers | Link::NoOrders | Link::Whole) => (outcome, took),
            (None, Link::NoOrders | Link::Whole) => (moves.map_or(Outcome::Done, Outcome::DoneAt), took),
        };
        self.at(took, Event::ActionEnded(Box::new((order.step, outcome))));
    }

    /// What a takeover's own actions make of an instance: active where it leads there, a standby where it leads away or is
    /// undone. What starts, stops or restarts a service changes no role.
    pub(super) fn becomes(&self, order: &Order) -> Option<SeenRole> {
        if let Action::Service { .. } | Action::EndLease { .. } = order.action {
            return None;
        }
        if self.repairs(order) {
            return Some(SeenRole::Standby);
        }
        let recovery = self.engine()?.state().open_recovery(order.step.recovery)?;
        let play = self.engine()?.state().play(recovery)?;
        let from = recovery.progress.as_ref()?.from;
        let moves = play.to != from || recovery.planned().is_some();
        let leads_there = self.plan.instance(play.to).name == order.instance && !order.key.contains("/undo/");
        moves.then_some(if leads_there { SeenRole::Active } else { SeenRole::Standby })
    }

    pub(super) fn is_broken(&self, action: &Action) -> bool {
        let program = match action {
            Action::Command { argv, .. } => argv.first(),
            Action::Service { service: mainstay_plan::action::Service::Declared { start, .. }, op } => {
                start.first().filter(|_| matches!(op, ServiceOp::Start | ServiceOp::Restart))
            }
            Action::Service { .. }
            | Action::TriggerFile { .. }
            | Action::Webhook { .. }
            | Action::Postgres(_)
            | Action::EndLease { .. } => None,
        };
        program.is_some_and(|it| self.broken_commands.contains(it))
    }

    /// Whether an order belongs to the repair of a displaced instance.
    pub(super) fn repairs(&self, order: &Order) -> bool {
        self.engine().is_some_and(|it| it.state().open_repair(order.step.recovery).is_some())
    }

    /// The rung that an order belongs to.
    pub(super) fn rung_of(&self, order: &Order) -> Option<(ComponentIx, usize, Strategy)> {
        let recovery = self.engine()?.state().open_recovery(order.step.recovery)?;
        if recovery.planned().is_some() {
            return Some((recovery.component, usize::MAX, Strategy::FailoverToStandby));
        }
        let rung = self.plan.component(recovery.component).ladder.get(order.step.rung)?;
        Some((recovery.component, order.step.rung, rung.strategy))
    }
}
