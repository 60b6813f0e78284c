//! Ladders: rungs that are never reached or come too late, and services that a step would look for on the wrong machine.

use std::collections::{BTreeMap, BTreeSet};

use super::reading::Reading;
use crate::action::Action;
use crate::component::{Component, Failback};
use crate::config::Places;
use crate::finding::{Code, Finding};
use crate::policy::Mode;
use crate::strategy::{Rung, Strategy};
use crate::{ComponentIx, InstanceIx, Plan};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (_, component) in reading.components() {
        again(reading, component, findings);
        restart_after_takeover(reading, component, findings);
        findings.extend(never_back(reading, component));
    }
}

/// Whether the plan lets it go back by itself, and what that waits for can never be.
fn never_back(reading: &Reading<'_>, component: &Component) -> Option<Finding> {
    if component.failback == Failback::Never {
        return None;
    }
    let original = reading.plan.instance(component.original());
    let name = &component.name;
    let (why, help) = if !component.switches.iter().any(|it| it.play.to == component.original()) {
        ("nothing leads back to it".to_owned(), "add a `failover_to_standby` to its `recovery`".to_owned())
    } else if component.objectives.rpo.is_some() && !original.reports_lag {
        let why = "it has an `rpo`, and no probe says how far it is behind".to_owned();
        (why, format!("give a probe of `{name}` a `lag_header` or `lag: stdout`, or leave `failback` out"))
    } else if reading.plan.mode != Mode::Act {
        let mode = reading.plan.mode.word();
        (format!("the mode is `{mode}`"), "use `mainstay failback`, or `mode: act`".to_owned())
    } else {
        return None;
    };
    let message = format!("`{name}` never goes back to its original by itself");
    let at = reading.at(component, &["failback"]);
    Some(Finding::new(Code::NeverGoesBack, at, message).label(why).help(help))
}

/// What a rung does from the instance that the component is born with. Two that are equal do the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Deed<'r> {
    strategy: Strategy,
    to: InstanceIx,
    backup: Option<usize>,
    commands: Vec<&'r [String]>,
}

impl<'r> Deed<'r> {
    fn of(component: &Component, rung: &'r Rung) -> Option<Deed<'r>> {
        let play = rung.plays.get(&component.original())?;
        let commands = play.steps.iter().filter_map(|it| match it.kind.action()?.1 {
            Action::Command { argv, .. } => Some(argv.as_slice()),
            Action::Service { .. }
            | Action::TriggerFile { .. }
            | Action::Webhook { .. }
            | Action::Postgres(_)
            | Action::EndLease { .. } => None,
        });
        Some(Deed { strategy: rung.strategy, to: play.to, backup: rung.backup, commands: commands.collect() })
    }
}

fn again(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let strategies: BTreeSet<Strategy> = component.ladder.iter().map(|it| it.strategy).collect();
    if strategies.len() == component.ladder.len() {
        return;
    }
    let mut seen = BTreeMap::new();
    for (nth, rung) in component.ladder.iter().enumerate() {
        let Some(deed) = Deed::of(component, rung) else { continue };
        let Some(before) = seen.get(&deed) else {
            seen.insert(deed, nth);
            continue;
        };
        let word = rung.strategy.word();
        let message = format!("rungs {} and {} of `{}` do the same: `{word}`", before + 1, nth + 1, component.name);
        let help = match rung.strategy {
            Strategy::RestartService => "remove one of them; to try it twice: `attempts: 2`",
            Strategy::FailoverToStandby
            | Strategy::RestoreFromBackup
            | Strategy::ReplaceInstance
            | Strategy::ScaleOut => "remove one of them, or let it do something else",
        };
        findings.push(
            Finding::new(Code::RungOrder, reading.at_rung(component, nth), message)
                .label("again here")
                .other(reading.at_rung(component, *before), "first here")
                .reason("it is reached only when the same has failed a moment ago")
                .help(help),
        );
    }
}

fn restart_after_takeover(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let place = |strategy| component.ladder.iter().position(|it| it.strategy == strategy);
    let (Some(takeover), Some(restart)) = (place(Strategy::FailoverToStandby), place(Strategy::RestartService)) else {
        return;
    };
    if restart < takeover {
        return;
    }
    let message = format!("`restart_service` of `{}` comes after `failover_to_standby`", component.name);
    findings.push(
        Finding::new(Code::RungOrder, reading.at_rung(component, restart), message)
            .label("tried when a takeover has failed")
            .other(reading.at_rung(component, takeover), "tried first")
            .reason(
                "a restart is the smaller change: it moves nobody, and the old owner is fenced once a takeover began",
            )
            .help("put it first, or leave it out"),
    );
}

/// Services that a step would look for on the wrong machine.
pub(super) fn hands(plan: &Plan, component: ComponentIx, places: &Places, findings: &mut Vec<Finding>) {
    let steps =
        plan.component(component).ladder.iter().flat_map(|rung| rung.plays.values()).flat_map(|play| &play.steps);
    let services = steps.filter_map(|step| match step.kind.action()? {
        (on, Action::Service { service, .. }) => Some((on, service)),
        (
            _,
            Action::Command { .. }
            | Action::TriggerFile { .. }
            | Action::Webhook { .. }
            | Action::Postgres(_)
            | Action::EndLease { .. },
        ) => None,
    });
    let mut found = BTreeMap::new();
    for (on, service) in services {
        if let Some(host) = plan.out_of_reach(on, service) {
            found.insert(on, (service.label(), host));
        }
    }
    for (on, (service, host)) in found {
        let instance = &plan.instance(on).name;
        findings.push(
            Finding::new(
                Code::NoHands,
                places.instances[on.index()],
                format!("`{service}` of `{instance}` is on `{host}`, where Mainstay has no hands"),
            )
            .label("its steps would act on the agent's machine")
            .help(
                "run `mainstay host` there, and add it to `hosts`; or control it by commands that reach that host (`start`, \
                 `stop`, `status`, for example through ssh, without `pid_file`)",
            ),
        );
    }
}
