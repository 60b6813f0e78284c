//! People: who is told, who is asked, and whether anybody has ever rehearsed it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reading::{Reading, listed, rounded_down, zone};
use crate::ComponentIx;
use crate::component::{Component, Criticality};
use crate::config::scalar::show_duration;
use crate::finding::{Code, Finding};
use crate::notification::{NoticeLevel, QuietTime};
use crate::policy::Mode;

const CHANNEL: &str = "add `notifications: { on-call: { send: { webhook: { url: \"https://ALERTS/hook\" } } } }`";
const DRILL: &str = "drills: { takeover: { kind: component, components: [";

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    if reading.plan.notifications.is_empty() {
        findings.extend(no_channel(reading));
    } else {
        findings.extend(channels_with_the_zone(reading));
        findings.extend(escalation(reading));
        findings.extend(heard_nothing(reading));
        findings.extend(quiet_questions(reading));
    }
    for (ix, component) in reading.components() {
        findings.extend(late_approval(reading, ix, component));
    }
    drills(reading, findings);
}

fn critical<'a>(reading: &Reading<'a>) -> impl Iterator<Item = &'a Component> {
    reading.components().map(|(_, it)| it).filter(|it| it.criticality == Criticality::Critical)
}

fn no_channel(reading: &Reading<'_>) -> Option<Finding> {
    let asked = reading.components().map(|(_, it)| it).find(|it| it.guards.approval.is_some());
    if reading.plan.mode == Mode::Observe {
        return None;
    }
    let (at, message, label) = if reading.plan.mode == Mode::Recommend {
        let label = "every recovery waits for an approval";
        (
            reading.outline.at(&["mode"]),
            "a person is asked before anything is done, and no channel reaches one".to_owned(),
            label,
        )
    } else if let Some(component) = asked {
        let message = format!("a person must approve recoveries of `{}`, and no channel reaches one", component.name);
        (reading.at(component, &["guards", "approval"]), message, "nobody learns of the question")
    } else {
        let component = critical(reading).next()?;
        let message = format!("`{}` is critical, and nobody is told when it fails", component.name);
        (reading.at(component, &["criticality"]), message, "the plan has no `notifications`")
    };
    Some(Finding::new(Code::NobodyTold, at, message).label(label).help(CHANNEL))
}

/// All channels are in one zone, which something critical lives in.
fn channels_with_the_zone(reading: &Reading<'_>) -> Option<Finding> {
    let channels = &reading.plan.notifications;
    let zones: Option<BTreeSet<(&str, &str)>> = channels.iter().map(|it| it.location.as_ref().and_then(zone)).collect();
    let zones = zones?;
    let (1, Some(lost)) = (zones.len(), zones.first()) else { return None };
    let there: Vec<&Component> =
        critical(reading).filter(|it| zone(&reading.original(it).location).as_ref() == Some(lost)).collect();
    let component = there.first()?;
    let message = format!(
        "all notifications are lost with {}/{}, where critical components live: {}",
        lost.0,
        lost.1,
        listed(there.iter().map(|it| it.name.as_str()))
    );
    Some(
        Finding::new(Code::NobodyTold, reading.outline.at(&["notifications", &channels[0].name, "location"]), message)
            .label("silent when that zone is lost")
            .other(reading.at(component, &["location"]), "the same zone")
            .help("add a channel that is carried from elsewhere, and say where: `location: { region: ANOTHER }`"),
    )
}

fn escalation(reading: &Reading<'_>) -> Option<Finding> {
    let told: BTreeSet<usize> = reading.plan.escalation.iter().flat_map(|it| it.tell.iter().copied()).collect();
    let (1, Some(only)) = (told.len(), told.first()) else { return None };
    // Somebody else may have been told at the beginning.
    if reading.plan.notifications.len() > 1 && reading.plan.escalation.len() == 1 {
        return None;
    }
    let name = &reading.plan.notifications[*only].name;
    Some(
        Finding::new(
            Code::NobodyTold,
            reading.outline.at(&["escalation"]),
            format!("the escalation tells `{name}` only"),
        )
        .label("nobody else is told when nobody answers")
        .reason("whoever did not answer the first notice may not be able to answer the next one either")
        .help("add a step that tells somebody else: `- { after: 15m, tell: [ANOTHER] }`"),
    )
}

/// Channels that want nothing by themselves and that no escalation tells.
fn heard_nothing(reading: &Reading<'_>) -> Vec<Finding> {
    let escalated: BTreeSet<usize> = reading.plan.escalation.iter().flat_map(|it| it.tell.iter().copied()).collect();
    let deaf = reading.plan.notifications.iter().enumerate();
    deaf.filter(|(at, it)| it.levels.is_empty() && !escalated.contains(at))
        .map(|(_, it)| {
            let at = reading.outline.at(&["notifications", &it.name, "levels"]);
            Finding::new(Code::HeardNothing, at, format!("`{}` is never told anything", it.name))
                .label("wants no level, and no escalation tells it")
                .help(format!("name it in an escalation: `- {{ after: 15m, tell: [{}] }}`; or give it levels", it.name))
        })
        .collect()
}

/// A question to a person that may be asked, and expire, while nobody is told.
fn quiet_questions(reading: &Reading<'_>) -> Option<Finding> {
    let holds = |it: &&QuietTime| it.holds.contains(&NoticeLevel::Warning);
    let (nth, quiet) =
        reading.plan.quiet.iter().enumerate().filter(|(_, it)| holds(it)).max_by_key(|(_, it)| it.length())?;
    let asks = |it: &&Component| it.guards.approval.as_ref().is_some_and(|it| it.expires < quiet.length());
    let component = reading.components().map(|(_, it)| it).find(asks)?;
    let expires = component.guards.approval.as_ref().map(|it| it.expires).unwrap_or_default();
    let message = format!(
        "a question about `{}` stands for {}, and may be held back for {}",
        component.name,
        show_duration(expires),
        show_duration(quiet.length())
    );
    Some(
        Finding::new(Code::QuietQuestion, reading.outline.at(&["quiet", &nth.to_string()]), message)
            .label("asked in this time, nobody hears of it before it expires")
            .other(reading.at(component, &["guards", "approval", "expires"]), "then the recovery has failed")
            .help("let warnings through: `holds: [info]`; or let the question stand until the morning"),
    )
}

fn late_approval(reading: &Reading<'_>, ix: ComponentIx, component: &Component) -> Option<Finding> {
    let (approval, rto) = (component.guards.approval.as_ref()?, component.objectives.rto?);
    if approval.expires <= rto {
        return None;
    }
    let worst = reading.recovery(ix).map(|it| it.worst().total()).unwrap_or_default();
    let left = rto.saturating_sub(worst);
    let message = format!(
        "a question about `{}` stands for {}, its rto is {}",
        component.name,
        show_duration(approval.expires),
        show_duration(rto)
    );
    let (label, help) = if left.is_zero() {
        (
            "every answer is too late".to_owned(),
            "leave `approval` out, or promise the time that a person takes".to_owned(),
        )
    } else {
        let left = show_duration(rounded_down(left));
        (
            format!("an answer after {left} is too late"),
            format!("let it end in time: `approval: {{ expires: {left} }}`; or raise the objective"),
        )
    };
    Some(
        Finding::new(Code::LateApproval, reading.at(component, &["guards", "approval", "expires"]), message)
            .label(label)
            .other(reading.at(component, &["objectives", "rto"]), "counted from the failure, not from the approval")
            .help(help),
    )
}

fn drills(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    let real = || reading.plan.drills.iter().filter(|it| it.kind.is_real());
    let mut soonest: BTreeMap<ComponentIx, (Duration, &str)> = BTreeMap::new();
    for drill in real() {
        for component in &drill.components {
            let it = soonest.entry(*component).or_insert((drill.every, &drill.name));
            *it = (*it).min((drill.every, &drill.name));
        }
    }
    if real().next().is_none() {
        findings.extend(nothing_drilled(reading));
        return;
    }
    let mut rare = BTreeSet::new();
    for (ix, component) in reading.components().filter(|(_, it)| it.criticality != Criticality::Standard) {
        match soonest.get(&ix) {
            _ if component.ladder.is_empty() => {}
            None => findings.push(
                Finding::new(
                    Code::NotDrilled,
                    reading.at(component, &["recovery"]),
                    format!("no drill recovers `{}`", component.name),
                )
                .label(format!("{}, and never rehearsed", component.criticality.word()))
                .help(format!("add it to one: `{DRILL}{}], every: 90d }} }}`", component.name)),
            ),
            Some((every, drill)) if *every > super::YEAR && rare.insert(*drill) => findings.push(
                Finding::new(
                    Code::NotDrilled,
                    reading.outline.at(&["drills", drill, "every"]),
                    format!("`{}` is rehearsed only every {}", component.name, show_duration(*every)),
                )
                .label("longer than a year")
                .reason("in a year people, versions and networks change, and nobody remembers the last one")
                .help("rehearse it more often: `every: 90d`"),
            ),
            Some(_) => {}
        }
    }
}

/// One finding for the whole plan.
fn nothing_drilled(reading: &Reading<'_>) -> Option<Finding> {
    let with_ladder: Vec<&Component> = critical(reading).filter(|it| !it.ladder.is_empty()).collect();
    let first = with_ladder.first()?;
    let names = listed(with_ladder.iter().map(|it| it.name.as_str()));
    let (at, label) = match reading.plan.drills.first() {
        Some(drill) => (reading.outline.at(&["drills"]), format!("`{}` is a {}", drill.name, drill.kind.word())),
        None => (reading.at(first, &["criticality"]), "critical, and never rehearsed".to_owned()),
    };
    Some(
        Finding::new(Code::NotDrilled, at, format!("no drill recovers what is critical: {names}"))
            .label(label)
            .help(format!("rehearse it: `{DRILL}{}], every: 90d }} }}`", first.name)),
    )
}
