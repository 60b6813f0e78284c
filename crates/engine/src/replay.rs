//! Replaying a journal: facts are taken as they stand, decisions are made again by the code of today and compared, byte for
//! byte, with the decisions of then.

use std::collections::VecDeque;
use std::sync::Arc;

use mainstay_plan::{Plan, Time};

use crate::codec::{DecodeError, Encoded, decode, encode};
use crate::engine::Core;
use crate::record::{Body, Record};
use crate::state::Misfit;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records read.
    pub records: u64,
    /// Decisions made again, all of them the same.
    pub decisions: u64,
    /// The versions of the engine that the journal names.
    pub engines: Vec<u32>,
    /// Records that came where they can't come, the newest last: they changed nothing, then and now.
    pub misfits: Vec<Misfit>,
}

/// Why a replay ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record can't be read.
    #[error("record {seq} can't be read")]
    Unreadable {
        /// Its number.
        seq: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The journal does not begin with a plan.
    #[error("record {seq} comes before any plan was adopted: the journal's beginning is missing")]
    NoPlan {
        /// Its number.
        seq: u64,
    },
    /// The plan in the journal does not compile any more.
    #[error("the plan that record {seq} adopted does not compile with this version")]
    Plan {
        /// Its number.
        seq: u64,
    },
    /// Another decision than then.
    #[error("record {seq} differs:\n  the journal has {then}\n  this version decides {now}")]
    Differs {
        /// Its number.
        seq: u64,
        /// The decision of then.
        then: String,
        /// The decision of now.
        now: String,
    },
}

/// Replays records from the first on. `compile` turns a plan's text and base folder into a plan.
pub fn replay(
    records: impl IntoIterator<Item = (u64, Encoded)>,
    compile: impl Fn(&str, &str) -> Option<Plan>,
) -> Result<Replayed, ReplayError> {
    let mut found = Replayed::default();
    let mut core: Option<Core> = None;
    let mut decided: VecDeque<Record> = VecDeque::new();
    let mut torn: Option<Torn> = None;
    let mut at = Time::ZERO;
    let mut reader = Reader { records: records.into_iter(), ahead: VecDeque::new() };
    while let Some(next) = reader.next() {
        let Stored { seq, stored, record } = next?;
        found.records += 1;
        // Whatever the journal does not hold was lost with the crash before it was durable: nobody acted on it.
        if is_start(&record) && !decided.is_empty() {
            decided.clear();
            if let (Some(core), Some(before)) = (&mut core, torn.take()) {
                *core = before.again();
            }
        }
        if let Body::PlanAdopted { source, base_dir, .. } = &record.body {
            let plan = Arc::new(compile(source, base_dir).ok_or(ReplayError::Plan { seq })?);
            match &mut core {
                None => core = Some(Core::new(plan)),
                Some(core) if core.state.plan.hash != plan.hash => core.replace_plan(plan, record.at),
                Some(_) => {}
            }
        }
        if let Body::AgentStarted { engine, .. } = &record.body
            && !found.engines.contains(engine)
        {
            found.engines.push(*engine);
        }
        let core = core.as_mut().ok_or(ReplayError::NoPlan { seq })?;
        if record.body.is_fact() {
            if let Some(extra) = decided.pop_front() {
                return Err(differs(seq, &stored, Some(&extra)));
            }
            torn = None;
            core.state.forget_notes();
            core.take(&record);
            at = record.at;
            continue;
        }
        if decided.is_empty() {
            at = at.max(record.at);
            torn = reader.start_follows()?.then(|| Torn { core: core.clone(), kept: Vec::new() });
            decided.extend(core.decide(at).into_iter().map(|it| it.1));
        }
        let again = decided.pop_front();
        if again.as_ref().map(encode).as_ref() != Some(&stored) {
            return Err(differs(seq, &stored, again.as_ref()));
        }
        if let Some(torn) = &mut torn {
            torn.kept.push(record);
        }
        found.decisions += 1;
    }
    found.misfits = core.map(|it| it.state.misfits.into()).unwrap_or_default();
    Ok(found)
}

/// Whether an agent begins anew with this record.
const fn is_start(record: &Record) -> bool {
    matches!(record.body, Body::AgentStarted { .. } | Body::PlanAdopted { .. })
}

/// A batch of decisions of which a crash may have kept the beginning alone.
struct Torn {
    /// Before the first of them.
    core: Core,
    /// Those that the journal has.
    kept: Vec<Record>,
}

impl Torn {
    /// What is known once the rest is lost.
    fn again(mut self) -> Core {
        for record in &self.kept {
            self.core.take(record);
        }
        self.core
    }
}

struct Stored {
    seq: u64,
    stored: Encoded,
    record: Record,
}

/// Reads records, and can look ahead as far as the next fact.
struct Reader<I> {
    records: I,
    ahead: VecDeque<Stored>,
}

impl<I: Iterator<Item = (u64, Encoded)>> Reader<I> {
    fn next(&mut self) -> Option<Result<Stored, ReplayError>> {
        self.ahead.pop_front().map(Ok).or_else(|| self.read())
    }

    fn read(&mut self) -> Option<Result<Stored, ReplayError>> {
        let (seq, stored) = self.records.next()?;
        let read = decode(&stored).map_err(|source| ReplayError::Unreadable { seq, source });
        Some(read.map(|record| Stored { seq, stored, record }))
    }

    /// Whether the next fact is the start of an agent.
    fn start_follows(&mut self) -> Result<bool, ReplayError> {
        loop {
            if let Some(fact) = self.ahead.iter().find(|it| it.record.body.is_fact()) {
                return Ok(is_start(&fact.record));
            }
            match self.read() {
                None => return Ok(false),
                Some(next) => self.ahead.push_back(next?),
            }
        }
    }
}

fn differs(seq: u64, then: &Encoded, now: Option<&Record>) -> ReplayError {
    let line = |it: &Encoded| format!("{} {} at {}", it.kind, String::from_utf8_lossy(&it.payload), it.at_ns);
    ReplayError::Differs {
        seq,
        then: line(then),
        now: now.map_or_else(|| "nothing".to_owned(), |it| line(&encode(it))),
    }
}
