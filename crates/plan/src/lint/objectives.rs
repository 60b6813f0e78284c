//! What is promised, held against what is proved, against the components that it rests on, and against itself.

use std::time::Duration;

use super::reading::Reading;
use crate::ComponentIx;
use crate::assess::{allowed, percent};
use crate::component::{Component, Criticality};
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding};
use crate::proof::Recovery;
use crate::strategy::Strategy;

/// Four nines: 53 minutes a year.
const FOUR_NINES_PPM: u32 = 999_900;
/// A failure a quarter is few enough for one server, its host, its network and its releases together.
const FAILURES_A_YEAR: u32 = 4;
const MILLION: u128 = 1_000_000;

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    for (ix, component) in reading.components() {
        if let (Some(ppm), Some(recovery)) = (component.objectives.availability_ppm, reading.recovery(ix)) {
            availability(reading, component, ppm, recovery, findings);
        }
        region_before_zone(reading, component, findings);
        slow_detection(reading, ix, component, findings);
        for dependency in &component.depends_on {
            let dependency = reading.plan.component(*dependency);
            promises(reading, component, dependency, findings);
            criticality(reading, component, dependency, findings);
        }
    }
}

fn availability(
    reading: &Reading<'_>,
    component: &Component,
    ppm: u32,
    recovery: &Recovery,
    findings: &mut Vec<Finding>,
) {
    let name = &component.name;
    let at = || reading.at(component, &["objectives", "availability"]);
    let (year, worst) = (allowed(ppm).year, recovery.worst().total());
    let word = recovery.strategy.word();
    if year < worst * FAILURES_A_YEAR {
        let fit = year.as_nanos() / worst.as_nanos().max(1);
        let message = format!(
            "`{name}` may be down {} a year, and one recovery of it takes up to {}",
            show_duration(year),
            show_duration(worst)
        );
        let mut help = if is_slow(recovery.strategy) {
            "recover faster: add a warm standby, and `failover_to_standby` as a rung before".to_owned()
        } else {
            let parts = recovery.worst().parts();
            let (largest, time) = parts.into_iter().max_by_key(|(_, it)| *it).unwrap_or_default();
            format!("recover faster, {} of it is for {largest}", show_duration(time))
        };
        if let Some(ppm) = target_for(worst * FAILURES_A_YEAR) {
            let target = percent(ppm).replace(" %", "");
            help.push_str(&format!(
                "; or promise what {FAILURES_A_YEAR} failures a year leave: `availability: {target}`"
            ));
        }
        findings.push(
            Finding::new(Code::LittleRoom, at(), message)
                .label(match fit {
                    0 => format!("one failure is too many, by {word}"),
                    1 => format!("room for one failure a year, by {word}"),
                    fit => format!("room for {fit} failures a year, by {word}"),
                })
                .help(help),
        );
    } else if ppm >= FOUR_NINES_PPM && (is_slow(recovery.strategy) || recovery.plane.is_control()) {
        findings.push(
            Finding::new(
                Code::SlowForTarget,
                at(),
                format!("the target of {} for `{name}` rests on `{word}`", percent(ppm)),
            )
            .label(format!("{} a year, and the first recovery needs {}", show_duration(year), recovery.plane.word()))
            .help("add a warm standby, and `failover_to_standby` as a rung before"),
        );
    }
}

/// The highest target, to a hundredth of a percent, that allows this much downtime a year.
fn target_for(down: Duration) -> Option<u32> {
    let year = allowed(0).year.as_nanos();
    let lost = u32::try_from((down.as_nanos() * MILLION).div_ceil(year)).ok()?;
    Some(1_000_000_u32.checked_sub(lost)? / 100 * 100).filter(|it| *it > 0)
}

fn is_slow(strategy: Strategy) -> bool {
    match strategy {
        Strategy::RestoreFromBackup | Strategy::ReplaceInstance | Strategy::ScaleOut => true,
        Strategy::RestartService | Strategy::FailoverToStandby => false,
    }
}

fn region_before_zone(reading: &Reading<'_>, component: &Component, findings: &mut Vec<Finding>) {
    let (Some(rto), Some(region)) = (component.objectives.rto, component.objectives.region_rto) else { return };
    if region >= rto {
        return;
    }
    let message = format!(
        "`{}` is to be back from the loss of its region in {}, from less in {}",
        component.name,
        show_duration(region),
        show_duration(rto)
    );
    findings.push(
        Finding::new(Code::RegionRto, reading.at(component, &["objectives", "region_rto"]), message)
            .label("shorter than `rto`")
            .other(reading.at(component, &["objectives", "rto"]), "for an instance, a host or a zone")
            .help(format!("give the region at least as long: `region_rto: {}`; or swap the two", show_duration(rto))),
    );
}

fn promises(reading: &Reading<'_>, component: &Component, on: &Component, findings: &mut Vec<Finding>) {
    let (ours, theirs) = (&component.objectives, &on.objectives);
    if let (Some(own), Some(needed)) = (ours.rto, theirs.rto)
        && own < needed
    {
        let message = format!(
            "`{}` is to be back in {}, and `{}`, which it needs, in {}",
            component.name,
            show_duration(own),
            on.name,
            show_duration(needed)
        );
        findings.push(
            Finding::new(Code::DependencyPromise, reading.at(component, &["objectives", "rto"]), message)
                .label("not before its dependency")
                .other(reading.at(on, &["objectives", "rto"]), "this may take longer")
                .help(format!("promise `rto: {}` here, or `rto: {}` there", show_duration(needed), show_duration(own))),
        );
    }
    if let (Some(own), Some(needed)) = (ours.availability_ppm, theirs.availability_ppm)
        && own > needed
    {
        let message = format!(
            "`{}` is to work {} of the time, and `{}`, which it needs, {}",
            component.name,
            percent(own),
            on.name,
            percent(needed)
        );
        let (own, needed) = (percent(own).replace(" %", ""), percent(needed).replace(" %", ""));
        findings.push(
            Finding::new(Code::DependencyPromise, reading.at(component, &["objectives", "availability"]), message)
                .label("more than its dependency")
                .other(reading.at(on, &["objectives", "availability"]), "less is promised here")
                .help(format!("promise `availability: {needed}` here, or `availability: {own}` there")),
        );
    }
}

fn criticality(reading: &Reading<'_>, component: &Component, on: &Component, findings: &mut Vec<Finding>) {
    if component.criticality != Criticality::Critical || on.criticality == Criticality::Critical {
        return;
    }
    let message =
        format!("`{}` is critical and needs `{}`, which is {}", component.name, on.name, on.criticality.word());
    findings.push(
        Finding::new(Code::DependencyCriticality, reading.at(component, &["depends_on"]), message)
            .label(format!("`{}` is held to less", on.name))
            .other(reading.at(on, &["criticality"]), format!("{} here", on.criticality.word()))
            .help(format!("say `criticality: critical` at `{}`, or remove the dependency", on.name)),
    );
}

/// Where the whole of it is over the objective, MS0501 says what to shorten.
fn slow_detection(reading: &Reading<'_>, ix: ComponentIx, component: &Component, findings: &mut Vec<Finding>) {
    let (Some(rto), Some(recovery)) = (component.objectives.rto, reading.recovery(ix)) else { return };
    let worst = recovery.worst();
    if worst.detect * 2 <= rto || worst.total() > rto {
        return;
    }
    let probes = &reading.original(component).probes;
    let time = |nth: &usize| {
        let probe = reading.plan.probe(probes[*nth]);
        let (again, within) = (reading.plan.asks_again_within(probe), reading.plan.answers_within(probe));
        probe.timing.interval + again * (probe.timing.fall - 1) + within
    };
    let Some(slowest) = (0..probes.len()).max_by_key(time) else { return };
    let timing = reading.plan.probe(probes[slowest]).timing;
    let message = format!(
        "a failure of `{}` is found after up to {}, its rto is {}",
        component.name,
        show_duration(worst.detect),
        show_duration(rto)
    );
    let pace = timing.timeout.min(timing.fast_interval);
    let faster = if timing.fast_interval > pace {
        format!("`fast_interval: {}`", show_duration(pace))
    } else {
        "a shorter `timeout`".to_owned()
    };
    findings.push(
        Finding::new(Code::SlowDetection, reading.at_probe(component.original(), slowest, "interval"), message)
            .label(format!(
                "asked every {}, in doubt every {}, {} times",
                show_duration(timing.interval),
                show_duration(timing.fast_interval),
                timing.fall
            ))
            .other(reading.at(component, &["objectives", "rto"]), "the rest must fit too")
            .help(format!("ask more often: {faster} or a shorter `interval`")),
    );
}
