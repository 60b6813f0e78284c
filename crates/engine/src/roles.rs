//! What instances say that they are: counted like health, and a fact once it has been said often enough.
//!
//! Soft, like everything that is observed: what stands here is lost at a restart, and the fact is said again.

use mainstay_plan::observation::{Answer, SeenRole};
use mainstay_plan::{InstanceIx, Time};

use crate::observe::Soft;
use crate::record::Body;
use crate::state::State;

/// What a probe was told, and how often in a row.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    role: SeenRole,
    word: String,
    count: u32,
    /// When the first of these was asked.
    since: Time,
}

impl Tally {
    /// Takes in an answer. A failure says nothing, and ends the row; what was asked before `anew` is not counted.
    pub(crate) fn take(it: &mut Option<Tally>, answer: &Answer, word: Option<&str>, asked: Time, anew: Time) {
        match answer {
            Answer::Good if asked >= anew => {
                let role = word.map_or(SeenRole::Unclear, SeenRole::read);
                let before = it.take().filter(|it| it.role == role && it.since >= anew);
                let (count, since) = before.map_or((0, asked), |it| (it.count, it.since));
                let word = word.unwrap_or_default().to_owned();
                *it = Some(Tally { role, word, count: count.saturating_add(1), since });
            }
            Answer::Good | Answer::Refused(_) | Answer::TimedOut | Answer::Wrong(_) => *it = None,
            Answer::CouldNotAsk(_) => {}
        }
    }

    /// Whether it says something else than is known.
    pub(crate) fn differs(&self, known: Option<SeenRole>) -> bool {
        known != Some(self.role)
    }

    fn told(&self, probe: &str) -> String {
        let times = if self.count > 1 { format!("{} times ", self.count) } else { String::new() };
        if self.word.is_empty() {
            return format!("{probe}: {times}no word about its role");
        }
        format!("{probe}: {times}{}", self.word)
    }
}

impl Soft {
    /// The change of what an instance says that it is, as a fact: confirmed by `rise` answers in a row of each probe that says
    /// something.
    pub(crate) fn role_change(&self, state: &State, instance: InstanceIx) -> Option<Body> {
        let planned = state.plan.instance(instance);
        let lasting = &state.instances[instance.index()];
        let mut said: Vec<(SeenRole, String)> = Vec::new();
        for ix in &planned.probes {
            let probe = state.plan.probe(*ix);
            if !probe.kind.reports_role() {
                continue;
            }
            let tally = self.tally(*ix).filter(|it| it.since >= lasting.role_anew)?;
            if tally.count < probe.timing.rise {
                return None;
            }
            said.push((tally.role, tally.told(&probe.name)));
        }
        let first = said.first()?.0;
        let role = if said.iter().all(|it| it.0 == first) { first } else { SeenRole::Unclear };
        (lasting.role != Some(role)).then(|| Body::RoleSeen {
            instance: planned.name.clone(),
            role,
            evidence: said.into_iter().map(|it| it.1).collect(),
        })
    }
}
