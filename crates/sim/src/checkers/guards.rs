//! G1: no recovery begins against a guard of its own: a pause, a cool-down, a dependency, a mode, an approval, an
//! acknowledgement, a lost journal, or a rung's condition.

use std::collections::BTreeMap;

use mainstay_engine::command::{Command, Override};
use mainstay_engine::{Body, Record, RecoveryId};
use mainstay_plan::Time;
use mainstay_plan::policy::{AfterFailure, Mode, OnJournalLoss};
use mainstay_plan::route::Sharing;
use mainstay_plan::strategy::{OnExpiry, Whom};

use super::facts::{Facts, Open};

/// The model.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// Component, or all of them → until when.
    paused: BTreeMap<Option<String>, Time>,
    /// Component → when a recovery of it that did something, or failed, ended.
    ended: BTreeMap<String, Time>,
    /// Components whose last recovery failed, and nobody has said anything since.
    failed: BTreeMap<String, RecoveryId>,
    /// Component → who has approved its next recovery, and until when.
    advance: BTreeMap<String, BTreeMap<String, Time>>,
    opened: BTreeMap<RecoveryId, Time>,
}

impl Guards {
    pub(super) fn recorded(&mut self, seq: u64, record: &Record, facts: &Facts) {
        if let Body::FailureDetected { .. } = &record.body {
            self.opened.insert(RecoveryId(seq), record.at);
        } else if let Body::RecoveryInitiated { recovery, .. } = &record.body {
            if let Some(open) = facts.open.get(recovery).filter(|it| !it.is_planned) {
                self.begins(*recovery, open, record.at, facts);
            }
        } else if let Body::RungStarted { recovery, rung, to, .. } = &record.body {
            if let Some(open) = facts.open.get(recovery).filter(|it| !it.is_planned) {
                rung_begins(open, *rung, to, facts);
            }
        } else if let Body::RecoveryCompleted { recovery, .. } = &record.body {
            if let Some(open) = facts.open.get(recovery).filter(|it| !it.is_planned && it.has_acted) {
                self.ended.insert(open.component.clone(), record.at);
                self.failed.remove(&open.component);
            }
        } else if let Body::RecoveryFailed { recovery, .. } = &record.body {
            if let Some(open) = facts.open.get(recovery).filter(|it| !it.is_planned) {
                self.ended.insert(open.component.clone(), record.at);
                self.failed.insert(open.component.clone(), *recovery);
            }
        } else if let Body::PlanAdopted { .. } = &record.body {
            // Knowing less makes the check weaker, but for what lets a recovery pass: that stays with its component.
            *self = Guards { advance: std::mem::take(&mut self.advance), ..Guards::default() };
        } else if let Body::Commanded { command, by } = &record.body {
            self.commanded(command, by);
        }
    }

    fn commanded(&mut self, command: &Command, by: &str) {
        if let Command::Pause { component, until, .. } = command {
            self.paused.insert(component.clone(), *until);
        } else if let Command::Resume { component } = command {
            self.paused.remove(component);
        } else if let Command::Acknowledge { .. } | Command::Recover { .. } | Command::Retry { .. } = command {
            // What is meant by a name is the engine's business: knowing less makes the check weaker, never wrong.
            self.failed.clear();
            self.ended.clear();
        } else if let Command::ApproveInAdvance { component, until, .. } = command {
            self.advance.entry(component.clone()).or_default().insert(by.to_owned(), *until);
        } else if let Command::Revoke { component } = command {
            self.advance.remove(component);
        }
    }

    fn begins(&mut self, recovery: RecoveryId, open: &Open, at: Time, facts: &Facts) {
        let Some(ix) = facts.plan.component_named(&open.component) else { return };
        let planned = facts.plan.component(ix);
        let overruled = |it| open.overrides.contains(&it);
        for of in [None, Some(open.component.clone())] {
            let until = self.paused.get(&of).filter(|it| **it > at);
            assert!(until.is_none(), "G1: {recovery} begins, and {} is paused", of.as_deref().unwrap_or("everything"));
        }
        if !overruled(Override::CoolDown) && !open.is_wanted {
            let over = self.ended.get(&open.component).map(|it| *it + planned.guards.cool_down);
            assert!(over.is_none_or(|it| it <= at), "G1: {recovery} begins within the cool-down of {}", open.component);
        }
        if !overruled(Override::Dependency) {
            let needs = planned.depends_on.iter().map(|it| &facts.plan.component(*it).name);
            let first: Vec<&String> = needs.filter(|it| facts.of.contains_key(*it)).collect();
            assert!(first.is_empty(), "G1: {recovery} begins before {first:?}, on which {} depends", open.component);
        }
        let observes = facts.plan.mode == Mode::Observe && !overruled(Override::ObserveMode);
        assert!(!observes, "G1: {recovery} begins, and the mode is `observe`");
        let holds = facts.journal_lost && facts.plan.on_journal_loss == OnJournalLoss::Hold;
        assert!(!holds || overruled(Override::JournalLost), "G1: {recovery} begins without a journal");
        if planned.guards.after_failure == AfterFailure::Acknowledge {
            let before = self.failed.get(&open.component);
            assert!(before.is_none(), "G1: {recovery} begins, and nobody has acknowledged {before:?}");
        }
        self.is_approved(recovery, open, at, facts);
        self.advance.remove(&open.component);
    }

    fn is_approved(&self, recovery: RecoveryId, open: &Open, at: Time, facts: &Facts) {
        let Some(ix) = facts.plan.component_named(&open.component) else { return };
        let (need, role, silence) = match &facts.plan.component(ix).guards.approval {
            Some(asked) => {
                let over = self.opened.get(&recovery).is_some_and(|it| *it + asked.expires <= at);
                (asked.quorum, asked.role.as_deref(), over && asked.on_expiry == OnExpiry::Proceed)
            }
            None if facts.plan.mode == Mode::Recommend => (1, None, false),
            None => return,
        };
        let advance = self.advance.get(&open.component).into_iter().flatten();
        let in_time = advance.filter(|(_, until)| **until > at).map(|(by, _)| by);
        let given: std::collections::BTreeSet<&String> = open.approved_by.iter().chain(in_time).collect();
        let given = given.into_iter().filter(|it| facts.plan.may(it, role)).count();
        assert!(given >= need as usize || silence, "G1: {recovery} begins with {given} of {need} approvals");
    }
}

fn rung_begins(open: &Open, rung: usize, to: &str, facts: &Facts) {
    let Some(ix) = facts.plan.component_named(&open.component) else { return };
    let planned = facts.plan.component(ix);
    let Some(rung) = planned.ladder.get(rung) else { return };
    for condition in &rung.only_if {
        let name = match condition.of {
            Whom::Component(it) => facts.bound(&facts.plan.component(it).name).to_owned(),
            Whom::Instance(it) => facts.plan.instance(it).name.clone(),
        };
        let health = facts.health.get(&name);
        assert_eq!(health, Some(&condition.health), "G1: a rung begins only if {name} is {:?}", condition.health);
    }
    let exclusive = planned.routes.iter().any(|it| facts.plan.route(*it).sharing == Sharing::Exclusive);
    let takes_over = exclusive && facts.bound(&open.component) != to;
    let refused = facts.plan.on_journal_loss != OnJournalLoss::Proceed;
    if takes_over && refused && !open.overrides.contains(&Override::JournalLost) {
        assert!(!facts.journal_lost, "G1: {to} takes something exclusive over without a journal");
    }
}
