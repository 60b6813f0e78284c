//! What was known of a component at a moment, in sentences.

use std::collections::BTreeMap;

use mainstay_plan::{ComponentIx, InstanceIx};

use super::Known;
use crate::record::Body;
use crate::sentence::Teller;
use crate::state::{LOCAL_PROCESS, State};

/// The last record that said something of a thing: its number, and what it said.
#[derive(Default)]
pub(super) struct Seen {
    health: BTreeMap<String, (u64, String)>,
    witnesses: BTreeMap<String, (u64, String)>,
    /// Rules that are true.
    rules: BTreeMap<String, (u64, String)>,
    /// By instance, what is wrong with it beside its health.
    impaired: BTreeMap<(String, &'static str), (u64, String)>,
}

impl Seen {
    pub(super) fn take(&mut self, seq: u64, body: &Body, says: &str) {
        if let Body::HealthChanged { instance, .. } = body {
            self.health.insert(instance.clone(), (seq, says.to_owned()));
        } else if let Body::WitnessesAnswered { component, .. } = body {
            self.witnesses.insert(component.clone(), (seq, says.to_owned()));
        } else if let Body::RuleFired { rule, .. } = body {
            self.rules.insert(rule.clone(), (seq, says.to_owned()));
        } else if let Body::RuleCleared { rule } = body {
            self.rules.remove(rule);
        } else if let Body::Impaired { instance, how, .. } = body {
            self.impaired.insert((instance.clone(), how.word()), (seq, says.to_owned()));
        } else if let Body::ImpairmentEnded { instance, how } = body {
            self.impaired.remove(&(instance.clone(), how.word()));
        }
    }
}

/// What was known that bears on decisions about a component.
pub(super) fn of(state: &State, component: ComponentIx, seen: &Seen, teller: &Teller) -> Vec<Known> {
    let planned = state.plan.component(component);
    let mut known: Vec<Known> = planned.instances.iter().map(|it| instance(state, *it, seen, teller)).collect();
    let mut say = |about: &str, says: String| known.push(Known { about: about.to_owned(), says });
    if planned.witnesses.need > 0 {
        say("witnesses", witnesses(state, component, seen));
    }
    let names: Vec<&str> = planned.instances.iter().map(|it| state.plan.instance(*it).name.as_str()).collect();
    for ((instance, _), (seq, told)) in seen.impaired.iter().filter(|it| names.contains(&it.0.0.as_str())) {
        say(instance, format!("record {seq}: {told}"));
    }
    for (rule, (seq, told)) in &seen.rules {
        say(&format!("rule {rule}"), format!("record {seq}: {told}"));
    }
    for on in &planned.depends_on {
        let other = &state.components[on.index()];
        let health = state.instances[other.bound.index()].health.word();
        let open = other.recovery.as_ref().map(|it| format!(", {} is open", it.id)).unwrap_or_default();
        say(&state.plan.component(*on).name, format!("it depends on it; {health}{open}"));
    }
    if !planned.routes.is_empty() {
        let standing = match state.standing(LOCAL_PROCESS) {
            crate::machine::Standing::Unheard => "was not heard",
            crate::machine::Standing::Behind => "serves an older one",
            crate::machine::Standing::Refuses => "refuses it",
            crate::machine::Standing::Serves => "serves it",
        };
        say("routing", format!("epoch {}; the traffic process {standing}", state.routing.epoch));
    }
    let paused = state.components[component.index()].paused.as_ref().or(state.paused.as_ref());
    if let Some(pause) = paused {
        say("pause", format!("until {} by {}: {}", teller.moment(pause.until), pause.by, pause.reason));
    }
    say("mode", state.plan.mode.word().to_owned());
    if let Some(why) = &state.journal_lost {
        say("journal", format!("lost: {why}"));
    }
    if let Some(ended) = state.components[component.index()].last_ended {
        say("cool-down", format!("a recovery ended at {}; {:?} long", teller.moment(ended), planned.guards.cool_down));
    }
    if let Some(open) = &state.components[component.index()].recovery {
        let mut says = vec![format!("{}, opened at {}", open.status.word(), teller.moment(open.opened))];
        if let Some((waiting, since)) = &open.held {
            says.push(format!("waits since {}: {waiting}", teller.moment(*since)));
        }
        says.extend(open.approved_by.iter().map(|it| format!("approved by {it}")));
        says.extend(open.overrides.iter().map(|it| format!("{} overruled", it.word())));
        says.extend(open.tried.iter().map(|it| format!("tried: {it}")));
        say(&open.id.to_string(), says.join("; "));
    }
    known
}

fn instance(state: &State, ix: InstanceIx, seen: &Seen, teller: &Teller) -> Known {
    let name = &state.plan.instance(ix).name;
    let it = &state.instances[ix.index()];
    let mut says = vec![format!("{}, {}", state.standby_state(ix).word(), it.health.word())];
    if let Some((seq, told)) = seen.health.get(name) {
        says.push(format!("record {seq}: {told}"));
    }
    if let Some(elsewhere) = &it.elsewhere {
        says.push(format!("at {}, not where the plan says: {}", elsewhere.address, elsewhere.why));
    }
    if it.partly_answering && it.health == mainstay_plan::observation::Health::Down {
        says.push("some of its probes still answer".to_owned());
    }
    match it.frozen_loss {
        Some(Some(loss)) => says.push(format!("would lose at most {}", teller.span(loss))),
        Some(None) => says.push("does not say how much it would lose".to_owned()),
        None => {}
    }
    Known { about: name.clone(), says: says.join("; ") }
}

fn witnesses(state: &State, component: ComponentIx, seen: &Seen) -> String {
    let planned = state.plan.component(component);
    let of: Vec<&str> = planned.witnesses.of.iter().map(|it| state.plan.witness(*it).name.as_str()).collect();
    let needed = format!("{} of {} needed", planned.witnesses.need, of.join(", "));
    let it = &state.components[component.index()];
    let since = state.instances[it.bound.index()].since;
    match seen.witnesses.get(&planned.name).filter(|_| it.witnessed.is_some_and(|it| it >= since)) {
        Some((seq, told)) => format!("{needed}; record {seq}: {told}"),
        None => format!("{needed}; too few have answered since the last change of its health"),
    }
}
