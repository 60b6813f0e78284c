//! `mainstay journal replay`: every decision made again, and compared.

use std::path::Path;

use mainstay_engine::ENGINE_VERSION;
use mainstay_engine::replay::{ReplayError, Replayed, replay};
use mainstay_plan::{Surroundings, compile_in};
use serde::Serialize;

use super::show::encoded;
use super::{Cx, broken, open};
use crate::exit::{Answer, Code, Failure, causes};
use crate::look::{say, say_json};

/// Make every decision again, and compare
///
/// Facts are taken from the journal as they stand. Decisions are made again by this version under the plan that the
/// journal holds, and must be the same, byte for byte. Nothing is done and nothing is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay journal replay
  mainstay --state ./copy-of-state journal replay

Exit codes:
  0  every decision is the same
  1  a decision differs
  3  the journal can't be reached or read")]
pub(crate) struct Replay {
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    same: bool,
    records: u64,
    decisions: u64,
    engines: Vec<u32>,
    this_engine: u32,
    differs: Option<Difference>,
    misfits: Vec<String>,
}

#[derive(Serialize)]
struct Difference {
    seq: u64,
    then: String,
    now: String,
}

impl Replay {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let reader = open(cx)?;
        let mut unread = None;
        let mut read = 0;
        let records = reader.records(1).map_while(|record| match record {
            Ok(record) => {
                read += 1;
                Some((record.seq, encoded(&record)))
            }
            Err(error) => {
                unread = Some(error);
                None
            }
        });
        let replayed = replay(records, |text, base| {
            compile_in("the journal's plan", text, Path::new(base), &Surroundings::REPLAY).plan
        });
        if let Some(error) = unread {
            return Err(broken(&error));
        }
        let misfits = |it: &Replayed| -> Vec<String> {
            it.misfits.iter().map(|it| format!("record {} changes nothing: {}", it.seq, it.what)).collect()
        };
        match replayed {
            Ok(it) if self.json => say_json(&Report {
                same: true,
                records: it.records,
                decisions: it.decisions,
                misfits: misfits(&it),
                engines: it.engines,
                this_engine: ENGINE_VERSION,
                differs: None,
            })?,
            Ok(it) => {
                let versions: Vec<String> = it.engines.iter().map(ToString::to_string).collect();
                say(&format!(
                    "the same: {} decisions reproduced from {} records\n\
                     decided then by engine {}, now by engine {ENGINE_VERSION}\n",
                    it.decisions,
                    it.records,
                    if versions.is_empty() { "unknown".to_owned() } else { versions.join(", ") },
                ))?;
                say(&misfits(&it).iter().map(|it| format!("{it}\n")).collect::<String>())?;
            }
            Err(ReplayError::Differs { seq, then, now }) if self.json => {
                say_json(&Report {
                    same: false,
                    records: read,
                    decisions: 0,
                    engines: Vec::new(),
                    this_engine: ENGINE_VERSION,
                    differs: Some(Difference { seq, then, now }),
                    misfits: Vec::new(),
                })?;
                return Ok(Answer::No);
            }
            Err(error) => return Err(not_replayed(&error)),
        }
        Ok(Answer::Yes)
    }
}

fn not_replayed(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Differs { .. } => Failure::new(Code::No, error.to_string()).help(
            "replay with the version that decided then; if it differs there too, please report it with the journal",
        ),
        ReplayError::Unreadable { .. } | ReplayError::NoPlan { .. } => Failure::unreachable(causes(error)),
        ReplayError::Plan { .. } => {
            Failure::unreachable(causes(error)).help("replay with the version that wrote the journal")
        }
    }
}
