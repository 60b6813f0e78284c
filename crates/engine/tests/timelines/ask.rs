//! Questions to the engine, as `mainstay status` and its relatives put them.

use std::time::Duration;

use mainstay_engine::elsewhere;
use mainstay_engine::evacuate::{self, PartIs};
use mainstay_engine::record::TermValue;
use mainstay_engine::repair::{self, Standing};
use mainstay_engine::rules::{Present, shown};
use mainstay_engine::status::{self, Recoverable};
use mainstay_engine::{Command, Engine};
use mainstay_plan::{ComponentIx, Time};

use crate::show::{self, Names};

/// The answer, one line or more.
pub(crate) fn answer(engine: &Engine, question: &str, names: &Names, now: Time) -> Result<Vec<String>, String> {
    match question.split_once(' ') {
        None if question == "status" => {
            let all = (0u32..).map(ComponentIx).take(engine.state().plan.components.len());
            let trouble = elsewhere::trouble(engine.state()).into_iter().map(|it| format!("trouble: {it}"));
            Ok(all.flat_map(|it| component(engine, it, now)).chain(trouble).collect())
        }
        None if question == "rules" => Ok(rules(engine, now)),
        None if question == "notices" => Ok(notices(engine)),
        None if question == "evacuations" => Ok(evacuations(engine, now)),
        Some(("evacuation", rest)) => foreseen(engine, rest, now),
        Some(("status", name)) => Ok(component(engine, named(engine, name)?, now)),
        Some(("waiting", name)) => Ok(waiting(engine, named(engine, name)?)),
        Some(("recoverable", name)) => Ok(vec![recoverable(engine, named(engine, name)?, now)]),
        Some(("recovery", name)) => recovery(engine, names.journals(name).ok_or("no such recovery was opened")?, now),
        _ => Err(format!(
            "ask `notices`, `evacuations`, `evacuation of PLACE`, `rules`, `status`, `status COMPONENT`, `waiting COMPONENT`, `recoverable COMPONENT` or `recovery R1`; not `{question}`"
        )),
    }
}

fn evacuations(engine: &Engine, now: Time) -> Vec<String> {
    let state = engine.state();
    let name = |it| &state.plan.instance(it).name;
    let mut lines = Vec::new();
    for it in state.evacuating.values() {
        let way = if it.graceful { "graceful" } else { "at once" };
        let (status, until) = (it.status.word(), show::moment(it.until));
        lines.push(format!("{} is evacuated by {}, {way}, until {until} [{status}]: {}", it.place, it.by, it.reason));
        for part in evacuate::parts(state, it, now) {
            let (component, from) = (&state.plan.component(part.component).name, name(part.from));
            lines.push(match part.is {
                PartIs::Gone { to, by } => {
                    let by = by.map(|it| format!(" ({it})")).unwrap_or_default();
                    format!("    {component}: from {from} to {}{by}", name(to))
                }
                PartIs::Moves { to, by } => format!("    {component}: moves from {from} to {} ({by})", name(to)),
                PartIs::Stays(why, since) => {
                    let until = why.until().map(|it| format!(" (at {})", show::moment(it))).unwrap_or_default();
                    format!(
                        "    {component}: stays since {} [{}]: {why}; until {}{until}; to go on: {}",
                        show::moment(since),
                        why.code(),
                        why.ends_when(),
                        why.way_out(&it.place, component)
                    )
                }
                PartIs::Next => format!("    {component}: as soon as everything was seen"),
            });
        }
        for component in evacuate::kept_out(state, it) {
            lines.push(format!("    {} does not go back by itself", state.plan.component(component).name));
        }
    }
    if lines.is_empty() { vec!["nothing is evacuated".to_owned()] } else { lines }
}

/// `evacuation of hall-1`, `evacuation of hall-1 --now`: what it would do.
fn foreseen(engine: &Engine, rest: &str, now: Time) -> Result<Vec<String>, String> {
    let state = engine.state();
    let place = rest.strip_prefix("of ").ok_or("`evacuation of PLACE`")?;
    let (place, graceful) = place.strip_suffix(" --now").map_or((place, None), |it| (it, Some(false)));
    let command = Command::Evacuate { place: place.to_owned(), until: None, graceful, reason: String::new() };
    let preview = engine.foresee(&command, "operator", now).map_err(|it| it.to_string())?;
    let name = |it| &state.plan.instance(it).name;
    let mut lines = vec![format!("{} would be evacuated until {}", preview.place, show::moment(preview.until))];
    for it in &preview.moves {
        let component = &state.plan.component(it.component).name;
        lines.push(match &it.to {
            Ok(to) => format!("    {component}: from {} to {}", name(it.from), name(*to)),
            Err(why) => format!("    {component}: stays on {} [{}]: {why}", name(it.from), why.code()),
        });
    }
    for (route, target, why) in &preview.targets {
        let route = &state.plan.route(*route).name;
        lines.push(match why {
            None => format!("    {} leaves route {route}", name(*target)),
            Some(why) => format!("    {} stays on route {route}: {why}", name(*target)),
        });
    }
    Ok(lines)
}

fn named(engine: &Engine, name: &str) -> Result<ComponentIx, String> {
    engine.state().component(name).ok_or_else(|| format!("there is no component `{name}`"))
}

fn notices(engine: &Engine) -> Vec<String> {
    let state = engine.state();
    let mut lines = Vec::new();
    for notice in state.notices.all() {
        let over = notice.over.map_or("stands".to_owned(), |at| format!("over since {}", show::moment(at)));
        let seen = notice.acknowledged.as_ref().map_or("nobody".to_owned(), |it| it.by.clone());
        let (level, opened) = (notice.level.word(), show::moment(notice.opened));
        lines.push(format!("{} [{level}] about {}, opened {opened}, {over}, seen by {seen}", notice.id, notice.topic));
        lines.push(format!("    {}", notice.text));
    }
    for channel in &state.plan.notifications {
        let Some(tray) = state.notices.tray(&channel.name) else { continue };
        let trouble = tray.trouble.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let again = tray.again.map(|it| format!(", tried again at {}", show::moment(it))).unwrap_or_default();
        let (waiting, failures) = (tray.messages.len(), tray.failures);
        lines.push(format!("{}: {waiting} waiting, {failures} failures in a row{trouble}{again}", channel.name));
    }
    if lines.is_empty() { vec!["nobody has to know anything".to_owned()] } else { lines }
}

fn component(engine: &Engine, ix: ComponentIx, now: Time) -> Vec<String> {
    let state = engine.state();
    let planned = state.plan.component(ix);
    let bound = state.components[ix.index()].bound;
    let health = engine.soft().verdict(&state.plan, bound).word();
    let mut lines = vec![format!("{} is {}, {health}", planned.name, state.plan.instance(bound).name)];
    for instance in planned.instances.iter().filter(|it| **it != bound) {
        let name = &state.plan.instance(*instance).name;
        let health = state.instances[instance.index()].health.word();
        lines.push(format!("    {name} is {}, {health}", state.standby_state(*instance).word()));
    }
    for instance in &planned.instances {
        let name = &state.plan.instance(*instance).name;
        let elsewhere = state.instances[instance.index()].elsewhere.as_ref();
        lines.extend(elsewhere.map(|it| {
            let instead = it.instead_of.join(", ");
            format!("    {name} is at {} since {}, not at {instead}: {}", it.address, show::moment(it.since), it.why)
        }));
        let impaired = &state.instances[instance.index()].impaired;
        lines.extend(impaired.iter().map(|(how, (since, evidence))| {
            format!("    {name} is impaired ({}) since {}: {evidence}", how.word(), show::moment(*since))
        }));
    }
    for instance in &planned.instances {
        let name = &state.plan.instance(*instance).name;
        lines.extend(repair::standing(state, *instance, now).map(|it| match it {
            Standing::UnderWay { repair, nth, doing, waits, .. } => {
                let waits = waits.map(|it| format!(" waits [{}]: {it}", it.code())).unwrap_or_default();
                format!("    {name} is being repaired ({repair}, try {nth}): {doing}{waits}")
            }
            Standing::Waits(why) => {
                let until = why.until().map(|it| format!(" until {}", show::moment(it))).unwrap_or_default();
                let (code, help) = (why.code(), why.way_out(name));
                format!("    {name} is not being repaired{until} [{code}]: {why}; by hand: {help}")
            }
            Standing::Next => format!("    {name} is repaired next"),
        }));
    }
    lines.extend(waiting(engine, ix).into_iter().filter(|it| !it.contains("waits for nothing")));
    lines.push(format!("    {}", recoverable(engine, ix, now)));
    lines
}

fn waiting(engine: &Engine, ix: ComponentIx) -> Vec<String> {
    let name = &engine.state().plan.component(ix).name;
    let Some((id, waiting, since)) = status::waiting(engine.state(), ix) else {
        return vec![format!("{name} waits for nothing")];
    };
    let until = waiting.until().map(|it| format!(" (at {})", show::moment(it))).unwrap_or_default();
    vec![
        format!("{name}: {id} waits since {} [{}]: {waiting}", show::moment(since), waiting.code()),
        format!("    until {}{until}; to overrule: {}", waiting.ends_when(), waiting.way_out(id)),
    ]
}

/// Every rule, with its terms as they are now.
fn rules(engine: &Engine, now: Time) -> Vec<String> {
    let state = engine.state();
    let rule = |(ix, present): (usize, Present)| {
        let terms: Vec<TermValue> = present.terms.iter().map(shown).collect();
        let fired = state.fired(ix).map(|it| format!(", fired at {}", show::moment(it.at))).unwrap_or_default();
        let idle = state.fired(ix).and_then(|it| status::idle(state, it)).map(|it| format!("    {it}"));
        let line = format!("{} is {}{fired}: {}", present.rule, present.truth.word(), TermValue::list(&terms));
        std::iter::once(line).chain(idle)
    };
    engine.present_rules(now).into_iter().enumerate().flat_map(rule).collect()
}

fn recoverable(engine: &Engine, ix: ComponentIx, now: Time) -> String {
    let name = &engine.state().plan.component(ix).name;
    match &status::recoverable_now(engine, now)[ix.index()] {
        Recoverable::By { strategy, to, .. } => format!("{name} would be recovered by {} to {to}", strategy.word()),
        Recoverable::No { why } => format!("{name} would not be recovered: {why}"),
    }
}

fn recovery(engine: &Engine, id: &str, now: Time) -> Result<Vec<String>, String> {
    let all = status::recoveries(engine.state());
    let found = all.into_iter().find(|it| it.id.to_string() == id).ok_or("it is not at hand any more")?;
    let mut lines = vec![format!("{id} of {}: {}", found.component_name, found.status.word())];
    lines.extend(found.tried.iter().map(|it| format!("    tried: {it}")));
    let ended = found.ended.unwrap_or(now);
    let whole: Duration = ended.since(found.last_good.unwrap_or(found.first_failed));
    let phases: Vec<String> = found.phases.iter().map(|it| format!("{} {}", it.0.word(), show::span(*it.1))).collect();
    lines.push(format!("    {} from the last good answer: {}", show::span(whole), phases.join(", ")));
    lines.extend(found.lost_at_most.map(|it| format!("    loses what was written within {} at most", show::span(it))));
    lines.extend(found.lost.as_ref().map(|it| format!("    {it}")));
    Ok(lines)
}
