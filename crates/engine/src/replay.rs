//! Replaying a journal: facts are taken as they stand, decisions are made again by the code of today and compared, byte for
//! byte, with the decisions of then.

use std::borrow::Cow;
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
pub fn replay<P: Into<Arc<Plan>>>(
    records: impl IntoIterator<Item = (u64, Encoded)>,
    compile: impl Fn(&str, &str) -> Option<P>,
) -> Result<Replayed, ReplayError> {
    let read = |(seq, stored): (u64, Encoded)| match decode(&stored) {
        Ok(record) => Ok(Stored { seq, record: Cow::Owned(record), stored: Some(stored) }),
        Err(source) => Err(ReplayError::Unreadable { seq, source }),
    };
    replay_all(records.into_iter().map(read), compile)
}

/// The same of records that were read already: decisions are compared as they are, and not their bytes.
pub fn replay_read<'a, P: Into<Arc<Plan>>>(
    records: impl IntoIterator<Item = (u64, &'a Record)>,
    compile: impl Fn(&str, &str) -> Option<P>,
) -> Result<Replayed, ReplayError> {
    let read = |(seq, record)| Ok(Stored { seq, record: Cow::Borrowed(record), stored: None });
    replay_all(records.into_iter().map(read), compile)
}

fn replay_all<'a, P: Into<Arc<Plan>>>(
    records: impl Iterator<Item = Result<Stored<'a>, ReplayError>>,
    compile: impl Fn(&str, &str) -> Option<P>,
) -> Result<Replayed, ReplayError> {
    let mut found = Replayed::default();
    let mut core: Option<Core> = None;
    let mut decided: VecDeque<Record> = VecDeque::new();
    let mut torn: Option<Torn<'a>> = None;
    let mut at = Time::ZERO;
    let mut reader = Reader { records, ahead: VecDeque::new() };
    while let Some(next) = reader.next() {
        let next = next?;
        let (seq, record) = (next.seq, &*next.record);
        found.records += 1;
        // Whatever the journal does not hold was lost with the crash before it was durable: nobody acted on it.
        if is_start(record) && !decided.is_empty() {
            decided.clear();
            if let (Some(core), Some(before)) = (&mut core, torn.take()) {
                *core = before.again();
            }
        }
        if let Body::PlanAdopted { source, base_dir, .. } = &record.body {
            let plan: Arc<Plan> = compile(source, base_dir).ok_or(ReplayError::Plan { seq })?.into();
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
                return Err(differs(&next, Some(&extra)));
            }
            torn = None;
            core.state.forget_notes();
            core.take(record);
            at = record.at;
            continue;
        }
        if decided.is_empty() {
            at = at.max(record.at);
            torn = reader.start_follows()?.then(|| Torn { core: core.clone(), kept: Vec::new() });
            decided.extend(core.decide(at).into_iter().map(|it| it.1));
        }
        let again = decided.pop_front();
        if !again.as_ref().is_some_and(|it| next.is(it)) {
            return Err(differs(&next, again.as_ref()));
        }
        if let Some(torn) = &mut torn {
            torn.kept.push(next.record);
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
struct Torn<'a> {
    /// Before the first of them.
    core: Core,
    /// Those that the journal has.
    kept: Vec<Cow<'a, Record>>,
}

impl Torn<'_> {
    /// What is known once the rest is lost.
    fn again(mut self) -> Core {
        for record in &self.kept {
            self.core.take(record);
        }
        self.core
    }
}

struct Stored<'a> {
    seq: u64,
    record: Cow<'a, Record>,
    /// As it stands in the journal, if it was read from there.
    stored: Option<Encoded>,
}

impl Stored<'_> {
    fn is(&self, again: &Record) -> bool {
        match &self.stored {
            Some(stored) => encode(again) == *stored,
            None => *again == *self.record,
        }
    }
}

/// Reads records, and can look ahead as far as the next fact.
struct Reader<'a, I> {
    records: I,
    ahead: VecDeque<Stored<'a>>,
}

impl<'a, I: Iterator<Item = Result<Stored<'a>, ReplayError>>> Reader<'a, I> {
    fn next(&mut self) -> Option<Result<Stored<'a>, ReplayError>> {
        self.ahead.pop_front().map(Ok).or_else(|| self.records.next())
    }

    /// Whether the next fact is the start of an agent.
    fn start_follows(&mut self) -> Result<bool, ReplayError> {
        loop {
            if let Some(fact) = self.ahead.iter().find(|it| it.record.body.is_fact()) {
                return Ok(is_start(&fact.record));
            }
            match self.records.next() {
                None => return Ok(false),
                Some(next) => self.ahead.push_back(next?),
            }
        }
    }
}

fn differs(then: &Stored<'_>, now: Option<&Record>) -> ReplayError {
    let line = |it: &Encoded| format!("{} {} at {}", it.kind, String::from_utf8_lossy(&it.payload), it.at_ns);
    ReplayError::Differs {
        seq: then.seq,
        then: line(then.stored.as_ref().unwrap_or(&encode(&then.record))),
        now: now.map_or_else(|| "nothing".to_owned(), |it| line(&encode(it))),
    }
}
