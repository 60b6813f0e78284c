//! A rung that survives: its worst case, what it may lose, and what it rests on.

use std::time::Duration;

use super::judge::{Judge, Tried};
use super::reasons::StepAt;
use super::rests_on::RestsOn;
use super::{Bound, Condition, DataLoss, Recovery};
use crate::RouteIx;
use crate::action::{Action, Plane, Service};
use crate::policy::Mode;
use crate::probe::ProbeKind;
use crate::route::Sharing;
use crate::strategy::{OnExpiry, Play, Rung, Step, StepKind, Strategy};

impl Judge<'_> {
    pub(super) fn recovery(&self, at: usize, rung: &Rung, tried: &Tried) -> Recovery {
        let plays = tried.bindings.iter().filter_map(|it| rung.plays.get(it));
        let bound = plays.map(|it| self.common(it, rung, tried)).max_by_key(Bound::total).unwrap_or_default();
        let play = &rung.plays[&self.home];
        let routes: Vec<Option<RouteIx>> = match self.component.routes.as_slice() {
            [] => vec![None],
            routes => routes.iter().copied().map(Some).collect(),
        };
        let with_route = |route: Option<RouteIx>| {
            let after = route.map_or(Duration::ZERO, |it| self.after_completion(it, play));
            (route, Bound { converge: bound.converge + after, ..bound })
        };
        Recovery {
            rung: at,
            strategy: rung.strategy,
            to: play.to,
            plane: play.steps.iter().map(|it| it.plane).max().unwrap_or(Plane::Local),
            bounds: routes.into_iter().map(with_route).collect(),
            completed: bound.total(),
            data_loss: self.data_loss(rung),
            rests_on: self.rests_on(at, rung, play, tried),
        }
    }

    fn data_loss(&self, rung: &Rung) -> DataLoss {
        let Some(rpo) = self.component.objectives.rpo else { return DataLoss::NoState };
        match rung.strategy {
            Strategy::RestartService => DataLoss::AtMost(Duration::ZERO),
            Strategy::FailoverToStandby => DataLoss::AtMost(rpo),
            Strategy::RestoreFromBackup => {
                let place = rung.backup.and_then(|it| self.backup_place(it));
                place.map_or(DataLoss::Unknown, |(_, loss)| DataLoss::AtMost(loss))
            }
            Strategy::ReplaceInstance | Strategy::ScaleOut => DataLoss::Unknown,
        }
    }

    fn rests_on(&self, at: usize, rung: &Rung, play: &Play, tried: &Tried) -> Vec<RestsOn> {
        let mut list = vec![RestsOn::Agent];
        let moves = play.to != self.home;
        let arrives = play.brings_address();
        if moves {
            list.push(RestsOn::Standby(play.to));
            let rpo = self.component.objectives.rpo.filter(|_| rung.strategy == Strategy::FailoverToStandby);
            let most = |rpo: Duration| {
                let seen = rpo.saturating_sub(self.age_of_lag(play.to));
                self.kept_lag(play.to, tried.time).map_or(seen, |it| it.min(seen))
            };
            list.extend(rpo.map(|it| RestsOn::StandbyLag(play.to, most(it))));
        }
        let rule = &self.component.witnesses;
        list.extend(rung.only_if.iter().map(|it| RestsOn::Precondition(*it)));
        if rule.need > 0 {
            list.push(RestsOn::Witnesses(self.ix, u32::try_from(rule.need).unwrap_or(u32::MAX)));
        }
        if self.plan.mode == Mode::Observe {
            list.push(RestsOn::ModeAct);
        } else if self.plan.mode == Mode::Recommend || self.component.guards.approval.is_some() {
            list.push(RestsOn::Approval);
        }
        if rung.strategy == Strategy::RestoreFromBackup {
            let small = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
            list.push(match rung.backup.and_then(|it| Some((it, self.backup_place(it)?.0))) {
                Some((backup, place)) => RestsOn::Backup(self.ix, small(backup), place),
                None => RestsOn::UnnamedBackup(self.at(at, self.home, 0)),
            });
        }
        for (nth, step) in play.steps.iter().enumerate() {
            self.step_rests_on(self.at(at, self.home, nth), play, step, &mut list);
        }
        if moves || arrives {
            for route in &self.component.routes {
                let it = self.plan.route(*route);
                list.extend(it.proxy.as_ref().map(|_| RestsOn::Proxy(*route)));
                list.extend(self.is_stuck(*route).then_some(RestsOn::DnsName(*route)));
            }
        }
        for route in &self.component.routes {
            let it = self.plan.route(*route);
            if (it.beacon || !it.agent_check.is_empty()) && (moves || arrives || it.sharing == Sharing::Shared) {
                let known = it.polled.is_some();
                list.push(if known { RestsOn::Poller(*route) } else { RestsOn::UnknownPoller(*route) });
            }
        }
        if play.accepts_two_writers {
            list.push(RestsOn::TwoWriters);
        }
        list
    }

    fn step_rests_on(&self, at: StepAt, play: &Play, step: &Step, list: &mut Vec<RestsOn>) {
        let mut once = |it: RestsOn| {
            if !list.contains(&it) {
                list.push(it);
            }
        };
        for need in &step.needs {
            once(RestsOn::Prepared(u32::try_from(*need).unwrap_or(u32::MAX)));
        }
        let without_dns = self.condition == Condition::DnsGone;
        match &step.kind {
            StepKind::CutTraffic { .. } if !play.accepts_two_writers => once(RestsOn::TrafficProcess),
            StepKind::Stop { or_cut: false, .. } => once(RestsOn::SeenStopped(at)),
            StepKind::EndLease { .. } => once(RestsOn::LeaseEnds(at)),
            // The cut before it counts where this fails.
            StepKind::Stop { or_cut: true, .. } => {}
            StepKind::Act { on, .. } => {
                once(RestsOn::Action(at));
                if let Some((nth, _)) = self.restored(step) {
                    once(RestsOn::RestoreTime(at, u32::try_from(nth).unwrap_or(u32::MAX)));
                }
                if step.brings_address() {
                    once(RestsOn::ComesBackThere(*on));
                }
            }
            StepKind::Manual { on_expiry: OnExpiry::Fail, .. } => once(RestsOn::Person(at)),
            StepKind::Manual { on_expiry: OnExpiry::Proceed, .. }
            | StepKind::CutTraffic { .. }
            | StepKind::CatchUp { .. }
            | StepKind::TakeOver { .. } => {}
            StepKind::Verify { probes } if without_dns => {
                let homes = &self.plan.instance(self.home).probes;
                let tos = &self.plan.instance(play.to).probes;
                for probe in homes.iter().chain(tos).chain(probes) {
                    if let ProbeKind::Command { .. } = self.plan.probe(*probe).kind {
                        once(RestsOn::ProbeWithoutDns(*probe));
                    }
                }
            }
            StepKind::Verify { .. } => {}
        }
        if without_dns && runs_a_command(step) {
            once(RestsOn::CommandWithoutDns(at));
        }
    }
}

/// Whether it runs something of the user's, into which nobody can look.
fn runs_a_command(step: &Step) -> bool {
    let declared = |it: &Service| matches!(it, Service::Declared { .. });
    match &step.kind {
        StepKind::Stop { service, .. } => declared(service),
        StepKind::Act { action, .. } => match action.as_ref() {
            Action::Service { service, .. } => declared(service),
            Action::Command { .. } => true,
            Action::TriggerFile { .. } | Action::Webhook { .. } | Action::Postgres(_) | Action::EndLease { .. } => {
                false
            }
        },
        StepKind::EndLease { .. }
        | StepKind::Manual { .. }
        | StepKind::CatchUp { .. }
        | StepKind::CutTraffic { .. }
        | StepKind::TakeOver { .. }
        | StepKind::Verify { .. } => false,
    }
}
