//! Backups: whether there is one when it is needed, where it is needed, and as new as was promised.

use super::reading::{Reading, smallest_shared};
use crate::backup::{Backup, Keeper};
use crate::component::Component;
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding, Severity, Span};
use crate::location::{FailureDomain, Location};
use crate::strategy::Strategy;

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (_, component) in reading.components() {
        loss(reading, component, findings);
        together(reading, component, findings);
        restores(reading, component, findings);
        for backup in &component.backups {
            schedule(reading, component, backup, findings);
            untested(reading, component, backup, findings);
            archive(reading, component, backup, findings);
            hands(reading, component, backup, findings);
        }
    }
}

fn at(reading: &Reading<'_>, component: &Component, backup: &Backup, field: &str) -> Span {
    reading.at(component, &["backups", &backup.name, field])
}

fn is_restore(strategy: Strategy) -> bool {
    match strategy {
        Strategy::RestoreFromBackup => true,
        Strategy::RestartService | Strategy::FailoverToStandby | Strategy::ReplaceInstance | Strategy::ScaleOut => {
            false
        }
    }
}

/// The backup that loses most among those that a rung restores; without such a rung the best there is, unless a standby
/// takes over instead.
fn restored<'c>(reading: &Reading<'_>, component: &'c Component) -> Option<&'c Backup> {
    let best = || component.backups.iter().min_by_key(|it| it.loss());
    let rungs = || component.ladder.iter().filter(|it| is_restore(it.strategy));
    if rungs().next().is_none() {
        return if reading.standbys(component).next().is_some() { None } else { best() };
    }
    rungs().filter_map(|it| it.backup.map(|at| &component.backups[at]).or_else(best)).max_by_key(|it| it.loss())
}

fn loss(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let (Some(rpo), Some(backup)) = (component.objectives.rpo, restored(reading, component)) else { return };
    if backup.loss() <= rpo {
        return;
    }
    let message = format!(
        "restoring `{}` loses up to {}, the rpo of `{}` is {}",
        backup.name,
        show_duration(backup.loss()),
        component.name,
        show_duration(rpo)
    );
    let whole = backup.takes + backup.copy_lag;
    let (field, reason, help) = match backup.archive_lag {
        Some(lag) => (
            "archive_lag",
            format!("the archive of changes is up to {} behind", show_duration(lag)),
            format!("ship changes sooner, and say so: `archive_lag: {}`", show_duration(rpo)),
        ),
        None => (
            "every",
            format!(
                "a failure just before a backup is complete finds the one before: {} for the interval, {} for taking and \
                 copying it",
                show_duration(backup.every),
                show_duration(whole)
            ),
            match rpo.checked_sub(whole).filter(|it| !it.is_zero()) {
                Some(every) if every * 24 >= backup.every => {
                    format!("take one more often: `every: {}`", show_duration(every))
                }
                _ => format!(
                    "archive changes continuously, and say how far behind: `archive_lag: {}`",
                    show_duration(rpo)
                ),
            },
        ),
    };
    let mut finding = Finding::new(Code::BackupLoss, at(reading, component, backup, field), message)
        .label(format!("loses up to {}", show_duration(backup.loss())))
        .other(reading.at(component, &["objectives", "rpo"]), "this is promised")
        .reason(reason)
        .help(format!("{help}; or raise the objective"));
    if reading.standbys(component).next().is_some() {
        // Only when the standby fails, too, does anybody restore.
        finding.severity = Severity::Note;
    }
    findings.push(finding);
}

fn schedule(reading: &Reading<'_>, component: &Component, backup: &Backup, findings: &mut Vec<Finding>) {
    let (every, keep) = (show_duration(backup.every), show_duration(backup.keep));
    let name = &backup.name;
    if backup.keep < backup.every * 2 {
        let (what, label) = if backup.keep < backup.every {
            ("none of them is left before the next", "deleted before there is another")
        } else {
            ("there is never one before the newest", "only the newest is there")
        };
        findings.push(
            Finding::new(
                Code::BackupKept,
                at(reading, component, backup, "keep"),
                format!("`{name}` of `{}` is taken every {every} and kept for {keep}: {what}", component.name),
            )
            .label(label)
            .other(at(reading, component, backup, "every"), "the interval")
            .help(format!("keep some: `keep: {}`", show_duration(backup.every * 7))),
        );
    }
    if backup.takes > backup.every {
        let message = format!(
            "`{name}` of `{}` takes up to {}, and is taken every {every}",
            component.name,
            show_duration(backup.takes)
        );
        findings.push(
            Finding::new(Code::BackupOverlap, at(reading, component, backup, "takes"), message)
                .label("longer than its interval")
                .other(at(reading, component, backup, "every"), "the interval")
                .help(format!("take it less often: `every: {}`", show_duration(backup.takes * 2))),
        );
    }
}

fn untested(reading: &Reading<'_>, component: &Component, backup: &Backup, findings: &mut Vec<Finding>) {
    let name = &backup.name;
    let (message, label, field) = match backup.restore_test {
        None => (
            format!("nobody restores `{name}` of `{}` to see that it can be", component.name),
            "no `restore_test`".to_owned(),
            "",
        ),
        Some(test) if test > backup.keep => (
            format!(
                "`{name}` of `{}` is kept for {}, and one is restored every {}",
                component.name,
                show_duration(backup.keep),
                show_duration(test)
            ),
            "all that there are may be deleted untried".to_owned(),
            "restore_test",
        ),
        Some(_) => return,
    };
    let test = show_duration(backup.keep.min(super::MONTH));
    findings.push(
        Finding::new(Code::NeverRestored, at(reading, component, backup, field), message)
            .label(label)
            .help(format!("restore one regularly, somewhere else, and say how often: `restore_test: {test}`")),
    );
}

fn archive(reading: &Reading<'_>, component: &Component, backup: &Backup, findings: &mut Vec<Finding>) {
    let whole = backup.every + backup.takes + backup.copy_lag;
    let Some(lag) = backup.archive_lag.filter(|it| *it >= whole) else { return };
    let message = format!(
        "the archive of `{}` is up to {} behind, its backups alone {}",
        component.name,
        show_duration(lag),
        show_duration(whole)
    );
    findings.push(
        Finding::new(Code::ArchiveUseless, at(reading, component, backup, "archive_lag"), message)
            .label("no better than the backups")
            .other(at(reading, component, backup, "every"), "a backup is there sooner")
            .help("leave `archive_lag` out, or say how far behind it really is, for example `archive_lag: 1m`"),
    );
}

fn hands(reading: &Reading<'_>, component: &Component, backup: &Backup, findings: &mut Vec<Finding>) {
    let Keeper::Nobody(machine) = reading.plan.keeper(backup) else { return };
    if backup.kept_by_agent().is_none() {
        return;
    }
    let message =
        format!("`{}` of `{}` is kept on `{machine}`, where Mainstay has no hands", backup.name, component.name);
    let host = reading.at(component, &["backups", &backup.name, "location", "host"]);
    findings.push(
        Finding::new(Code::NobodyTakes, host, message)
            .label("neither one of `hosts`, nor the agent's own machine")
            .help(
                "run `mainstay host` there, and add it to `hosts`; or leave it to a timer on that machine, and say so: \
                 `taken_by: timer`",
            ),
    );
}

fn together(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let home = &reading.original(component).location;
    let shared: Option<Vec<FailureDomain>> = component
        .backups
        .iter()
        .flat_map(|it| it.places().map(|(location, _)| location))
        .map(|it| smallest_shared(home, it))
        .collect();
    // The place that is furthest away decides.
    let Some(widest) = shared.and_then(|it| it.into_iter().max()) else { return };
    let matters = match widest {
        FailureDomain::Instance | FailureDomain::Host | FailureDomain::Zone => true,
        FailureDomain::Region => component.objectives.region_rto.is_some(),
    };
    let Some(first) = component.backups.first().filter(|_| matters) else { return };
    let message =
        format!("every backup of `{}` is in its own {} ({})", component.name, widest.word(), domain_name(home, widest));
    let elsewhere = match widest {
        FailureDomain::Region => "{ region: ANOTHER }".to_owned(),
        FailureDomain::Instance | FailureDomain::Host | FailureDomain::Zone => {
            format!("{{ region: {}, zone: ANOTHER }}", home.region)
        }
    };
    findings.push(
        Finding::new(Code::BackupTogether, at(reading, component, first, "location"), message)
            .label(format!("lost with the {}", widest.word()))
            .other(reading.at(component, &["location"]), "what it protects")
            .help(format!("keep a copy elsewhere: `copies: [{{ location: {elsewhere}, lag: 1h }}]`")),
    );
}

/// What a failure domain around a location is called.
fn domain_name(location: &Location, domain: FailureDomain) -> String {
    let (zone, host) = match domain {
        FailureDomain::Instance | FailureDomain::Host => (true, true),
        FailureDomain::Zone => (true, false),
        FailureDomain::Region => (false, false),
    };
    let kept = |part: &Option<String>, is_kept: bool| part.clone().filter(|_| is_kept);
    Location { region: location.region.clone(), zone: kept(&location.zone, zone), host: kept(&location.host, host) }
        .to_string()
}

fn restores(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let restores = component.ladder.iter().enumerate().filter(|(_, it)| is_restore(it.strategy) && it.backup.is_none());
    for (nth, _) in restores {
        let names: Vec<&str> = component.backups.iter().map(|it| it.name.as_str()).collect();
        let help = match (names.first(), component.objectives.rpo) {
            (Some(first), _) => format!("say which: `backup: {first}`"),
            (None, Some(_)) => {
                "describe it under `backups` of the component, for example `nightly: { every: 1d, takes: 1h, \
                                keep: 14d, location: { region: ANOTHER } }`, and name it here: `backup: nightly`"
                    .to_owned()
            }
            (None, None) => continue,
        };
        let message = format!("`restore_from_backup` of `{}` names no backup", component.name);
        findings.push(
            Finding::new(Code::RestoreOfWhat, reading.at_rung(component, nth), message)
                .label("how old is what it restores?")
                .help(help),
        );
    }
}
