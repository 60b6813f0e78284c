//! The engine's state as the socket tells it.

use std::time::Duration;

use mainstay_api as api;
use mainstay_engine::breaker::Hold;
use mainstay_engine::command::{AdoptAs, Command, Drained, Override};
use mainstay_engine::machine::IncidentState;
use mainstay_engine::record::{Completion, Ended, Fence, RecoveryId, TermValue};
use mainstay_engine::repair::{self, Standing, Unrepaired};
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::rules::evaluate::Truth;
use mainstay_engine::rules::{Present, shown, shown_health};
use mainstay_engine::state::notices::Notice;
use mainstay_engine::state::{
    Control, Drain, Fenced, Halt, Incident, Pause, Recovery, RecoveryStatus, RouteHold, State, StepLog,
};
use mainstay_engine::status::{self, Recoverable};
use mainstay_engine::{Engine, WaitingOn};
use mainstay_host::ResolvedName;
use mainstay_plan::action::LostWrites;
use mainstay_plan::control::ControlPlane;
use mainstay_plan::notification::{NoticeLevel, NotificationChannel};
use mainstay_plan::route::Route;
use mainstay_plan::routing::{RouteCounters, TargetState, TrafficReport};
use mainstay_plan::strategy::{Phase, StepKind};
use mainstay_plan::{ComponentIx, InstanceIx, ProbeIx, RouteIx, Time};

use crate::series;

/// Components, each with whether it could be recovered at this moment.
pub(crate) fn components(engine: &Engine, now: Time) -> Vec<api::Component> {
    let recoverable = status::recoverable_now(engine, now);
    (0u32..).map(ComponentIx).zip(recoverable).map(|(ix, can)| component(engine, ix, can, now)).collect()
}

fn component(engine: &Engine, ix: ComponentIx, can: Recoverable, now: Time) -> api::Component {
    let state = engine.state();
    let planned = state.plan.component(ix);
    let lasting = &state.components[ix.index()];
    let bound = &state.instances[lasting.bound.index()];
    let waiting = status::waiting(state, ix).map(|(id, waiting, since)| self::waiting(id, &waiting, since));
    api::Component {
        name: planned.name.clone(),
        kind: planned.kind.word().to_owned(),
        criticality: planned.criticality.word().to_owned(),
        health: health(engine, lasting.bound).to_owned(),
        since_ns: (bound.since > Time::ZERO).then(|| bound.since.as_nanos()),
        bound_to: state.plan.instance(lasting.bound).name.clone(),
        instances: planned.instances.iter().map(|it| instance(engine, *it, now)).collect(),
        waiting,
        approved_in_advance: (lasting.advance.iter().filter(|(_, it)| it.until > now))
            .map(|(by, it)| api::Pause {
                until_ns: it.until.as_nanos(),
                by: by.clone(),
                reason: it.reason.clone(),
                since_ns: 0,
                owner: None,
            })
            .collect(),
        paused: lasting.paused.as_ref().filter(|it| it.until > now).map(pause),
        backups: series::all(state, ix, now),
        recoverable: match can {
            Recoverable::By { strategy, to, .. } => api::Recoverable::By { strategy: strategy.word().to_owned(), to },
            Recoverable::No { why } => api::Recoverable::No { why },
        },
        rto_ns: planned.objectives.rto.map(nanos),
        rpo_ns: planned.objectives.rpo.map(nanos),
    }
}

/// What lasts, or *suspect* while the probes are in doubt: that is soft and stands in no record.
fn health(engine: &Engine, ix: InstanceIx) -> &'static str {
    let state = engine.state();
    shown_health(state, engine.soft(), ix).word()
}

fn instance(engine: &Engine, ix: InstanceIx, now: Time) -> api::Instance {
    let state = engine.state();
    let planned = state.plan.instance(ix);
    api::Instance {
        name: planned.name.clone(),
        state: state.standby_state(ix).word().to_owned(),
        health: health(engine, ix).to_owned(),
        location: planned.location.to_string(),
        probes: planned.probes.iter().map(|it| probe(engine, *it)).collect(),
        replication: engine.soft().stand(state, ix).map(|it| api::Replication {
            place: it.place.map(|it| it.to_string()),
            lag_ns: it.behind.map(|it| nanos(it.0)),
            asked_ns: it.behind.map(|it| it.1.as_nanos()),
            lacks_bytes: it.lacks,
        }),
        impaired: (state.instances[ix.index()].impaired.iter())
            .map(|(how, (since, evidence))| api::Impaired {
                how: how.word().to_owned(),
                since_ns: since.as_nanos(),
                evidence: evidence.clone(),
            })
            .collect(),
        elsewhere: state.instances[ix.index()].elsewhere.as_ref().map(|it| api::Elsewhere {
            address: it.address,
            instead_of: it.instead_of.clone(),
            since_ns: it.since.as_nanos(),
            why: it.why.clone(),
        }),
        repair: repair::standing(state, ix, now).map(|it| shown_repair(state, ix, it)),
    }
}

fn shown_repair(state: &State, ix: InstanceIx, standing: Standing) -> api::Repair {
    let name = &state.plan.instance(ix).name;
    let waits = |why: &Unrepaired| (why.code().to_owned(), why.until().map(|it| it.as_nanos()), why.way_out(name));
    let failed = state.instances[ix.index()].mending.failed;
    match standing {
        Standing::UnderWay { repair, nth, since, doing, waits: why } => {
            let says = why.as_ref().map_or_else(|| doing.clone(), |it| format!("{doing} waits: {it}"));
            let (waits, until_ns, way_out) =
                why.as_ref().map(waits).map_or((None, None, None), |it| (Some(it.0), it.1, Some(it.2)));
            let (id, since_ns) = (Some(repair.to_string()), Some(since.as_nanos()));
            api::Repair { id, nth, since_ns, says, waits, until_ns, way_out }
        }
        Standing::Waits(why) => {
            let (code, until_ns, way_out) = waits(&why);
            let (says, waits, way_out) = (why.to_string(), Some(code), Some(way_out));
            api::Repair { id: None, nth: failed, since_ns: None, says, waits, until_ns, way_out }
        }
        Standing::Next => {
            let says = "it begins".to_owned();
            api::Repair { id: None, nth: failed, since_ns: None, says, waits: None, until_ns: None, way_out: None }
        }
    }
}

fn probe(engine: &Engine, ix: ProbeIx) -> api::Probe {
    let watch = engine.soft().watch(ix);
    let told = |answer: &mainstay_plan::observation::Answer| match answer.detail() {
        Some(detail) => format!("{}: {detail}", answer.word()),
        None => answer.word().to_owned(),
    };
    api::Probe {
        name: engine.state().plan.probe(ix).name.clone(),
        health: watch.health.word().to_owned(),
        last: watch.last.as_ref().map(|it| told(&it.0)),
        last_ns: watch.last.as_ref().map(|it| it.1.as_nanos()),
        latency_ns: watch.latency.map(nanos),
        failures: watch.failures,
    }
}

/// A host name, as the system's resolver last knew it.
pub(crate) fn host_name(name: ResolvedName, now: Time) -> api::HostName {
    let ResolvedName { host, addresses, age, trouble } = name;
    let found_ns = age.map(|it| now.as_nanos().saturating_sub(nanos(it)));
    api::HostName { host, addresses, found_ns, trouble }
}

/// How many names that can't be resolved are said one by one.
const UNRESOLVED: usize = 8;

/// What is to be said about names that can't be resolved now.
pub(crate) fn unresolved(names: Vec<ResolvedName>) -> Vec<String> {
    let troubled: Vec<ResolvedName> = names.into_iter().filter(|it| it.trouble.is_some()).collect();
    let said = |it: &ResolvedName| {
        let why = it.trouble.as_deref().unwrap_or_default();
        match it.age {
            None => format!("{why}: it was never resolved, and what is asked by that name can't be asked"),
            Some(age) => {
                let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
                format!("{why}: {} of {} s ago is used", addresses.join(", "), age.as_secs())
            }
        }
    };
    let mut lines: Vec<String> = troubled.iter().take(UNRESOLVED).map(said).collect();
    if troubled.len() > UNRESOLVED {
        let beyond = troubled.len() - UNRESOLVED;
        lines.push(format!("{beyond} other names can't be resolved; `mainstay probes --json` has them"));
    }
    lines
}

/// The decision rules, with their terms as they are now.
pub(crate) fn rules(engine: &Engine, now: Time) -> Vec<api::Rule> {
    let state = engine.state();
    let rule = |(ix, present): (usize, Present)| {
        let planned = &state.plan.rules[ix];
        let fired = state.fired(ix);
        api::Rule {
            name: present.rule,
            // As the journal knows it: a rule stays true while it is only forgotten.
            truth: if fired.is_some() { Truth::True } else { present.truth }.word().to_owned(),
            since_ns: fired.map(|it| it.since.as_nanos()),
            then: planned.then.word().to_owned(),
            of: planned.of.show(&state.plan).to_string(),
            accuses: fired.and_then(|it| it.accused).map(|it| state.plan.instance(it).name.clone()),
            idle: fired.and_then(|it| status::idle(state, it)),
            terms: present.terms.iter().map(shown).map(|it| term(&it)).collect(),
            fired: fired.iter().flat_map(|it| &it.terms).map(term).collect(),
        }
    };
    engine.present_rules(now).into_iter().enumerate().map(rule).collect()
}

fn term(it: &TermValue) -> api::Term {
    api::Term { term: it.term.clone(), value: it.value.clone() }
}

/// Zones and regions that are lost.
pub(crate) fn incidents(state: &State) -> Vec<api::Incident> {
    let incident = |it: &Incident| api::Incident {
        id: it.id.to_string(),
        scenario: it.scenario.word().to_owned(),
        lost: state.topology.domain(it.domain).name(),
        opened_ns: it.opened.as_nanos(),
        evidence: it.evidence.clone(),
        open: state.open_recoveries().filter(|open| open.incident == Some(it.id)).count(),
    };
    let lost = |it: &&Incident| matches!(it.status, IncidentState::Lost | IncidentState::Recovered);
    state.incidents.values().filter(lost).map(incident).collect()
}

/// The traffic process and its routes.
pub(crate) fn traffic(state: &State, report: Option<&TrafficReport>, lost: Option<&str>) -> Option<api::Traffic> {
    if state.plan.routes.is_empty() {
        return None;
    }
    let routes = (0u32..).map(RouteIx).take(state.plan.routes.len()).map(|ix| route(state, ix, report)).collect();
    let trouble = report.iter().flat_map(|it| it.trouble.iter().cloned());
    Some(api::Traffic {
        pid: report.map(|it| it.pid),
        epoch: state.routing.epoch,
        serves_epoch: report.map(|it| it.table.epoch),
        routes,
        trouble: trouble.chain(lost.map(str::to_owned)).chain(state.routing.refused.clone()).collect(),
    })
}

fn route(state: &State, ix: RouteIx, report: Option<&TrafficReport>) -> api::Route {
    let planned = state.plan.route(ix);
    let counters = report.and_then(|it| it.counters.iter().find(|it| it.route == planned.name));
    let (states, places) = (&state.routing.targets[ix.index()], &state.routing.addresses[ix.index()]);
    let target = |(nth, target): (usize, &mainstay_plan::route::RouteTarget)| api::Target {
        instance: state.plan.instance(target.instance).name.clone(),
        address: places[nth].map_or(target.address, |ip| (ip, target.address.port()).into()).to_string(),
        state: state_word(states[nth]).to_owned(),
    };
    api::Route {
        name: planned.name.clone(),
        exclusive: planned.sharing == mainstay_plan::route::Sharing::Exclusive,
        fronts: fronts(planned),
        targets: planned.targets.iter().enumerate().map(target).collect(),
        open_connections: counters.map_or(0, |it| it.open),
        clients: counters.filter(|_| planned.proxy.is_some()).map(clients),
        held: state.routing.held.get(&ix).map(|it| route_held(&planned.name, it)),
    }
}

fn clients(it: &RouteCounters) -> api::Clients {
    api::Clients {
        accepted: it.accepted,
        waiting: it.waiting,
        queued: it.queued,
        overdue: it.overdue,
        refused: it.refused,
        unserved: it.unserved,
        cut: it.cut,
        failed: it.failed,
        retried: it.retried,
        bytes_in: it.bytes_in,
        bytes_out: it.bytes_out,
    }
}

fn route_held(route: &str, hold: &RouteHold) -> api::RouteHeld {
    let objection = &hold.kept.objection;
    api::RouteHeld {
        code: objection.rule().word().to_owned(),
        targets: hold.kept.targets.clone(),
        reason: objection.to_string(),
        since_ns: hold.since.as_nanos(),
        until_ns: objection.until().map(Time::as_nanos),
        ends_when: objection.ends_when(),
        way_out: objection.way_out(route),
    }
}

/// What is taken off shared routes at the moment.
pub(crate) fn drains(state: &State, now: Time) -> Vec<api::Drain> {
    let told = |it: &Drain| api::Drain {
        what: it.what.to_string(),
        until_ns: it.until.as_nanos(),
        by: it.by.clone(),
        reason: it.reason.clone(),
        since_ns: it.since.as_nanos(),
        way_out: match &it.what {
            Drained::Instance(name) => format!("mainstay undrain {name}"),
            Drained::Zone(name) => format!("mainstay undrain --zone {name}"),
        },
    };
    state.routing.drains.iter().filter(|it| it.until > now).map(told).collect()
}

fn fronts(route: &Route) -> Vec<String> {
    let proxy = route.proxy.as_ref().map(|it| format!("proxy {}", it.listen));
    let dns = route.dns.as_ref().map(|it| format!("dns {}", it.name));
    let beacon = route.beacon.then(|| "beacon".to_owned());
    let agent_check = (!route.agent_check.is_empty()).then(|| "agent-check".to_owned());
    [proxy, dns, beacon, agent_check].into_iter().flatten().collect()
}

fn state_word(state: TargetState) -> &'static str {
    match state {
        TargetState::Serving => "serving",
        TargetState::Standby => "standby",
        TargetState::Draining => "draining",
        TargetState::Down => "down",
        TargetState::Fenced => "fenced",
    }
}

/// Control planes and their breakers.
pub(crate) fn control_planes(engine: &Engine) -> Vec<api::ControlPlane> {
    let state = engine.state();
    let shown = |(planned, control): (&ControlPlane, &Control)| api::ControlPlane {
        service: planned.service.clone(),
        region: planned.region.clone(),
        plane: planned.plane.word().to_owned(),
        breaker: control.position.word().to_owned(),
        since_ns: (control.since > Time::ZERO).then(|| control.since.as_nanos()),
        until_ns: control.until.map(Time::as_nanos),
        why: (!control.why.is_empty()).then(|| control.why.clone()),
        canary: planned.canary.map(|it| engine.soft().watch(it).health.word().to_owned()),
    };
    state.plan.controls.iter().zip(&state.controls).map(shown).collect()
}

pub(crate) fn pause(pause: &Pause) -> api::Pause {
    api::Pause {
        until_ns: pause.until.as_nanos(),
        by: pause.by.clone(),
        reason: pause.reason.clone(),
        since_ns: pause.since.as_nanos(),
        owner: pause.owner.clone(),
    }
}

pub(crate) fn halt(halt: &Halt) -> api::Halt {
    api::Halt {
        by: halt.by.clone(),
        reason: halt.reason.clone(),
        since_ns: halt.since.as_nanos(),
        way_out: "mainstay continue".to_owned(),
    }
}

fn waiting(id: RecoveryId, waiting: &WaitingOn, since: Time) -> api::Waiting {
    api::Waiting {
        recovery: id.to_string(),
        code: waiting.code().to_owned(),
        reason: waiting.to_string(),
        since_ns: since.as_nanos(),
        until_ns: waiting.until().map(Time::as_nanos),
        ends_when: waiting.ends_when(),
        way_out: waiting.way_out(id),
    }
}

/// Recoveries, the newest first.
pub(crate) fn recoveries(state: &State, now: Time) -> Vec<api::Recovery> {
    status::recoveries(state).into_iter().map(|it| recovery(state, it, now)).collect()
}

fn recovery(state: &State, recovery: &Recovery, now: Time) -> api::Recovery {
    let phase = |phase| recovery.phases.get(&phase).copied().map_or(0, nanos);
    let completed = recovery.status == RecoveryStatus::RecoveryCompleted;
    let open = recovery.ended.is_none();
    let began = recovery.last_good.unwrap_or(recovery.first_failed);
    let (strategy, instance) = match &recovery.completion {
        Some(Completion::ByRung { strategy, instance }) => (Some(strategy.word().to_owned()), Some(instance.clone())),
        Some(Completion::Switched { instance }) => (Some("planned".to_owned()), Some(instance.clone())),
        Some(Completion::Adopted { instance }) => (Some("adopted".to_owned()), Some(instance.clone())),
        Some(Completion::ByItself | Completion::BySomeoneElse { .. }) | None => (None, None),
    };
    let told = |it: &Completion| match it {
        Completion::ByRung { strategy, instance } => format!("{}: `{instance}` serves", strategy.word()),
        Completion::Switched { instance } => format!("as planned: `{instance}` serves"),
        Completion::Adopted { instance } => format!("adopted: `{instance}` serves"),
        Completion::ByItself => "healthy again without us".to_owned(),
        Completion::BySomeoneElse { instance } => format!("somebody else has made `{instance}` active"),
    };
    let waits = || mainstay_engine::recover::waiting(state, recovery);
    api::Recovery {
        id: recovery.id.to_string(),
        component: recovery.component_name.clone(),
        failed: recovery.failed.clone(),
        scenario: recovery.planned().map_or(recovery.scenario.word(), |_| "planned").to_owned(),
        planned: recovery.planned().map(|it| format!("by {}: {}", it.by, it.reason)),
        stopped_ns: recovery.planned().and_then(|_| stopped(state, recovery)).map(nanos),
        rule: recovery.rule.as_ref().map(|it| api::Cause {
            rule: it.rule.clone(),
            since_ns: it.since.as_nanos(),
            terms: it.terms.iter().map(term).collect(),
        }),
        evidence: recovery.evidence.clone(),
        incident: recovery.incident.map(|it| it.to_string()),
        status: recovery.status.word().to_owned(),
        detected_ns: recovery.opened.as_nanos(),
        last_good_ns: recovery.last_good.map(Time::as_nanos),
        ended_ns: recovery.ended.map(Time::as_nanos),
        completed: recovery.completion.as_ref().map(told),
        strategy,
        instance,
        time_to_recover_ns: recovery.ended.filter(|_| completed).map(|it| nanos(it.since(began))),
        phases: api::Phases {
            detect_ns: phase(Phase::Detect),
            decide_ns: phase(Phase::Decide),
            fence_ns: phase(Phase::Fence),
            act_ns: phase(Phase::Act),
            converge_ns: phase(Phase::Converge),
        },
        rto_ns: recovery.budget.map(nanos),
        spent_ns: nanos(recovery.ended.unwrap_or(now).since(began)),
        plan: recovery.plan.clone(),
        approved_by: recovery.approved_by.iter().cloned().collect(),
        paused: recovery.paused.as_ref().map(|(by, reason)| format!("by {by}: {reason}")),
        tried: recovery.tried.clone(),
        steps: recovery.steps.iter().map(|it| step(state, recovery, it)).collect(),
        fences: recovery.fenced.iter().map(fence).collect(),
        lost_at_most_ns: recovery.lost_at_most.map(nanos),
        lost: recovery.lost.as_ref().map(lost),
        waiting: open.then(waits).flatten().map(|(on, since)| waiting(recovery.id, &on, since)),
    }
}

fn lost(lost: &LostWrites) -> api::Lost {
    let nanos = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    api::Lost {
        bytes: lost.bytes,
        transactions: lost.transactions,
        first_ns: lost.committed.map(|it| nanos(it.0)),
        last_ns: lost.committed.map(|it| nanos(it.1)),
        kept_at: lost.kept_at.as_ref().map(|it| it.display().to_string()),
    }
}

fn fence(fenced: &Fenced) -> api::Fence {
    let kind = match fenced.fence {
        Fence::TrafficCut { .. } => "traffic_cut",
        Fence::Stop {} => "stop",
        Fence::Lease {} => "lease",
    };
    api::Fence {
        instance: fenced.instance.clone(),
        kind: kind.to_owned(),
        by: fenced.by.clone(),
        confirmed_ns: fenced.at.as_nanos(),
    }
}

/// From the cut to the hand-over: nobody could write.
fn stopped(state: &State, recovery: &Recovery) -> Option<Duration> {
    let component = state.component(&recovery.component_name)?;
    let (from, to) = (state.instance(&recovery.failed)?, recovery.planned()?.to);
    let play = &state.plan.component(component).switch(from, to)?.play;
    let kind = |it: &&StepLog| play.steps.get(it.step.step).filter(|_| it.step.rung == 0).map(|it| &it.kind);
    let cut = recovery.steps.iter().find(|it| matches!(kind(it), Some(StepKind::CutTraffic { .. })))?;
    let handed = recovery.steps.iter().rev().find(|it| matches!(kind(it), Some(StepKind::TakeOver { .. })))?;
    Some(handed.ended.as_ref()?.0.since(cut.started))
}

fn step(state: &State, recovery: &Recovery, log: &StepLog) -> api::Step {
    let component = state.component(&recovery.component_name);
    let failed = state.instance(&recovery.failed);
    let rung = component.and_then(|it| state.plan.component(it).ladder.get(log.step.rung));
    let switch = component.zip(failed).zip(recovery.planned());
    let switch = switch.and_then(|((it, from), to)| state.plan.component(it).switch(from, to.to));
    let moves = switch.map(|it| if log.step.rung == 0 { &it.play } else { &it.back });
    let rung = rung.filter(|_| switch.is_none());
    let planned = moves
        .and_then(|it| it.steps.get(log.step.step))
        .or_else(|| rung.zip(failed).and_then(|(rung, from)| rung.plays.get(&from)?.steps.get(log.step.step)));
    let (outcome, why) = match &log.ended {
        None => (None, None),
        Some((_, Ended::Done | Ended::DoneAt(_) | Ended::LeaseOver(_) | Ended::DoneLosing(_) | Ended::Kept(_))) => {
            (Some("done"), None)
        }
        Some((_, Ended::Failed(why))) => (Some("failed"), Some(why.clone())),
        Some((_, Ended::Unknown(why))) => (Some("unknown"), Some(why.clone())),
    };
    api::Step {
        name: log.name.clone(),
        plane: planned.filter(|it| it.name == log.name).map(|it| it.plane.word().to_owned()),
        attempt: log.step.attempt,
        started_ns: log.started.as_nanos(),
        ended_ns: log.ended.as_ref().map(|it| it.0.as_nanos()),
        outcome: outcome.map(str::to_owned),
        why,
        address: log.address,
    }
}

/// What people should know, the newest first, and how each channel is.
pub(crate) fn notices(state: &State, now: Time) -> api::Notices {
    let channel = |planned: &NotificationChannel| {
        let tray = state.notices.tray(&planned.name);
        api::Channel {
            name: planned.name.clone(),
            waiting: tray.map_or(0, |it| it.messages.len()),
            failures: tray.map_or(0, |it| it.failures),
            trouble: tray.and_then(|it| it.trouble.clone()),
            again_ns: tray.and_then(|it| it.again).map(Time::as_nanos),
            dropped: tray.map_or(0, |it| it.dropped),
        }
    };
    api::Notices {
        now_ns: now.as_nanos(),
        notices: state.notices.all().map(|it| notice(state, it)).collect(),
        channels: state.plan.notifications.iter().map(channel).collect(),
    }
}

fn notice(state: &State, notice: &Notice) -> api::Notice {
    let waits = |channel: &str| {
        state.notices.tray(channel).is_some_and(|it| it.messages.iter().any(|it| it.notice == notice.id))
    };
    api::Notice {
        id: notice.id.to_string(),
        about: notice.topic.to_string(),
        level: notice.level.word().to_owned(),
        text: notice.text.clone(),
        opened_ns: notice.opened.as_nanos(),
        over_ns: notice.over.map(Time::as_nanos),
        acknowledged: notice.acknowledged.as_ref().map(|it| api::Acknowledged {
            by: it.by.clone(),
            at_ns: it.at.as_nanos(),
            reason: it.reason.clone(),
        }),
        recoveries: notice.recoveries.iter().map(ToString::to_string).collect(),
        messages: notice.messages,
        escalated: notice.escalated,
        told: notice.told.keys().map(|it| api::ToldOver { channel: it.clone(), arrived: !waits(it) }).collect(),
    }
}

/// How many notices stand, for the overview.
pub(crate) fn notice_count(state: &State) -> api::NoticeCount {
    let unseen = |it: &&Notice| it.acknowledged.is_none() && it.level > NoticeLevel::Info;
    let late = |it: &&NotificationChannel| state.notices.tray(&it.name).is_some_and(|it| it.failures > 0);
    api::NoticeCount {
        standing: state.notices.standing().count(),
        unseen: state.notices.standing().filter(unseen).count(),
        failing: state.plan.notifications.iter().filter(late).map(|it| it.name.clone()).collect(),
    }
}

/// Why a command is not taken.
pub(crate) fn refused(it: mainstay_engine::Refusal) -> api::Problem {
    api::Problem {
        reason: Some(it.code().to_owned()),
        way_out: Some(it.way_out()),
        ..api::Problem::new("refused", it.to_string())
    }
}

/// An operator's command as the engine takes it.
pub(crate) fn command(asked: api::Command, now: Time) -> Result<Command, api::Problem> {
    let bad = |message: String| api::Problem::new("bad_request", message);
    let recovery = |text: &str| text.parse::<RecoveryId>().map_err(bad);
    Ok(match asked {
        api::Command::Recover { component, reason } => Command::Recover { component, reason },
        api::Command::Approve { recovery: id, overrides, outcome, reason } => {
            let known = |word: &String| {
                let found = Override::ALL.into_iter().find(|it| it.word() == word);
                let all = || Override::ALL.map(Override::word).join(", ");
                found.ok_or_else(|| bad(format!("`{word}` is no guard that can be overruled; there are: {}", all())))
            };
            let overrides = overrides.iter().map(known).collect::<Result<_, _>>()?;
            Command::Approve { recovery: recovery(&id)?, overrides, outcome, reason }
        }
        api::Command::Abort { recovery: id, reason } => Command::Abort { recovery: recovery(&id)?, reason },
        api::Command::ApproveInAdvance { component, for_ns, reason } => {
            Command::ApproveInAdvance { component, until: now + Duration::from_nanos(for_ns), reason }
        }
        api::Command::Revoke { component } => Command::Revoke { component },
        api::Command::PauseRecovery { recovery: id, reason } => {
            Command::PauseRecovery { recovery: recovery(&id)?, reason }
        }
        api::Command::ResumeRecovery { recovery: id } => Command::ResumeRecovery { recovery: recovery(&id)? },
        api::Command::Skip { recovery: id, reason } => Command::Skip { recovery: recovery(&id)?, reason },
        api::Command::Retry { recovery: id, reason } => Command::Retry { recovery: recovery(&id)?, reason },
        api::Command::Pause { component, for_ns, reason, owner } => {
            Command::Pause { component, until: now + Duration::from_nanos(for_ns), reason, owner }
        }
        api::Command::Resume { component } => Command::Resume { component },
        api::Command::Drain { target, zone, for_ns, reason } => {
            let until = now + Duration::from_nanos(for_ns);
            Command::Drain { what: drained(target, zone).map_err(bad)?, until, reason }
        }
        api::Command::Undrain { target, zone } => Command::Undrain { what: drained(target, zone).map_err(bad)? },
        api::Command::Evacuate { place, for_ns, graceful, reason } => {
            Command::Evacuate { place, until: for_ns.map(|it| now + Duration::from_nanos(it)), graceful, reason }
        }
        api::Command::EndEvacuation { place, reason } => Command::EndEvacuation { place, reason },
        api::Command::RouteOverride { route, rule, reason } => {
            let found = RouteRule::ALL.into_iter().find(|it| it.word() == rule);
            let all = || RouteRule::ALL.map(RouteRule::word).join(", ");
            let rule = found.ok_or_else(|| bad(format!("`{rule}` is no rule of a route; there are: {}", all())))?;
            Command::RouteOverride { route, rule, reason }
        }
        api::Command::Halt { reason } => Command::Halt { reason },
        api::Command::Continue { reason } => Command::Continue { reason },
        api::Command::Switch { component, to, graceful, reason } => Command::Switch { component, to, graceful, reason },
        api::Command::Failback { component, reason } => Command::Failback { component, reason },
        api::Command::Breaker { service, region, hold, reason } => {
            let found = Hold::ALL.into_iter().find(|it| it.word() == hold);
            let hold = found.ok_or_else(|| bad(format!("`{hold}` is not one of open, closed, auto")))?;
            Command::Breaker { service, region, hold, reason }
        }
        api::Command::Adopt { instance, role, anyway, accept, address, reason } => {
            let named = |word: &String| AdoptAs::ALL.into_iter().find(|it| it.word() == word);
            let unknown = |word: &String| bad(format!("`{word}` is not one of active, standby"));
            let role = role.as_ref().map(|it| named(it).ok_or_else(|| unknown(it))).transpose()?;
            if let Some(risk) = accept.iter().find(|it| *it != TWO_WRITERS) {
                return Err(bad(format!("`{risk}` is no risk that can be accepted; there is {TWO_WRITERS}")));
            }
            Command::Adopt { instance, role, anyway, two_writers: !accept.is_empty(), address, reason }
        }
        api::Command::Repair { instance, accept, reason } => {
            if let Some(risk) = accept.iter().find(|it| *it != TWO_WRITERS) {
                return Err(bad(format!("`{risk}` is no risk that can be accepted; there is {TWO_WRITERS}")));
            }
            Command::Repair { instance, two_writers: !accept.is_empty(), reason }
        }
        api::Command::Acknowledge { what, reason } => Command::Acknowledge { what, reason },
    })
}

/// The one risk that an adoption or a repair can accept.
const TWO_WRITERS: &str = "two_writers";

fn drained(target: Option<String>, zone: Option<String>) -> Result<Drained, String> {
    match (target, zone) {
        (Some(target), None) => Ok(Drained::Instance(target)),
        (None, Some(zone)) => Ok(Drained::Zone(zone)),
        (Some(_), Some(_)) | (None, None) => Err("say either a target or a zone".to_owned()),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_t_be_resolved_are_said_with_what_is_used_instead() {
        let name = |host: &str, age: Option<u64>, trouble: Option<&str>| ResolvedName {
            host: host.to_owned(),
            addresses: age.iter().map(|_| [10, 0, 0, 1].into()).collect(),
            age: age.map(Duration::from_secs),
            trouble: trouble.map(ToOwned::to_owned),
        };
        let said = unresolved(vec![
            name("a", Some(1), None),
            name("b", Some(312), Some("the system's resolver does not answer for b")),
            name("c", None, Some("the system's resolver has no address for c")),
        ]);
        assert_eq!(
            said,
            [
                "the system's resolver does not answer for b: 10.0.0.1 of 312 s ago is used",
                "the system's resolver has no address for c: it was never resolved, and what is asked by that name can't be asked",
            ]
        );
        let many = (0..10).map(|_| name("d", Some(1), Some("why"))).collect();
        assert_eq!(unresolved(many).len(), UNRESOLVED + 1);
    }
}
