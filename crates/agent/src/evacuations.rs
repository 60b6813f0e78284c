//! Evacuations as the socket tells them: how far they are, and what one would do.

use mainstay_api as api;
use mainstay_engine::command::Command;
use mainstay_engine::evacuate::{self, Foreseen, Part, PartIs, Stays};
use mainstay_engine::state::{Evacuating, State};
use mainstay_engine::{Engine, RecoveryId};
use mainstay_plan::{InstanceIx, Time};

use crate::view;

/// All that stand.
pub(crate) fn all(state: &State, now: Time) -> Vec<api::Evacuation> {
    state.evacuating.values().map(|it| one(state, it, now)).collect()
}

fn one(state: &State, it: &Evacuating, now: Time) -> api::Evacuation {
    let name = |ix| state.plan.component(ix).name.clone();
    api::Evacuation {
        place: it.place.clone(),
        status: it.status.word().to_owned(),
        graceful: it.graceful,
        by: it.by.clone(),
        reason: it.reason.clone(),
        since_ns: it.since.as_nanos(),
        until_ns: it.until.as_nanos(),
        components: evacuate::parts(state, it, now).iter().map(|part| leaving(state, it, part)).collect(),
        kept_out: evacuate::kept_out(state, it).into_iter().map(name).collect(),
        way_out: format!("mainstay evacuate {} --end", it.place),
    }
}

fn leaving(state: &State, it: &Evacuating, part: &Part) -> api::Leaving {
    let component = state.plan.component(part.component).name.clone();
    let instance = |ix: InstanceIx| state.plan.instance(ix).name.clone();
    let recovery = |id: &RecoveryId| id.to_string();
    let (to, is, recovery, why) = match &part.is {
        PartIs::Gone { to, by } => (Some(instance(*to)), "gone", by.as_ref().map(recovery), None),
        PartIs::Moves { to, by } => (Some(instance(*to)), "moves", Some(recovery(by)), None),
        PartIs::Stays(why, since) => (None, "stays", None, Some(staying(why, &it.place, &component, Some(*since)))),
        PartIs::Next => (None, "stays", None, None),
    };
    api::Leaving { from: instance(part.from), to, is: is.to_owned(), recovery, why, component }
}

fn staying(why: &Stays, place: &str, component: &str, since: Option<Time>) -> api::Staying {
    api::Staying {
        code: why.code().to_owned(),
        reason: why.to_string(),
        since_ns: since.map(Time::as_nanos),
        until_ns: why.until().map(Time::as_nanos),
        ends_when: why.ends_when(),
        way_out: why.way_out(place, component),
    }
}

/// What it would do if it was said now.
pub(crate) fn foreseen(engine: &Engine, command: &Command, by: &str, now: Time) -> Result<api::Foreseen, api::Problem> {
    if !matches!(command, Command::Evacuate { .. }) {
        return Err(api::Problem::new("bad_request", "only an evacuation is foreseen".to_owned()));
    }
    let found = engine.foresee(command, by, now).map_err(view::refused)?;
    let plan = &engine.state().plan;
    let instance = |ix: InstanceIx| plan.instance(ix).name.clone();
    let part = |it: &Foreseen| {
        let component = plan.component(it.component).name.clone();
        let (to, is, why) = match &it.to {
            Ok(to) => (Some(instance(*to)), "leaves", None),
            Err(why) => (None, "stays", Some(staying(why, &found.place, &component, None))),
        };
        api::Leaving { from: instance(it.from), to, is: is.to_owned(), recovery: None, why, component }
    };
    let target = |(route, ix, stays): &(mainstay_plan::RouteIx, InstanceIx, Option<String>)| api::LeavingTarget {
        route: plan.route(*route).name.clone(),
        instance: instance(*ix),
        stays: stays.clone(),
    };
    Ok(api::Foreseen {
        graceful: found.graceful,
        until_ns: found.until.as_nanos(),
        components: found.moves.iter().map(part).collect(),
        targets: found.targets.iter().map(target).collect(),
        place: found.place,
    })
}
