//! `mainstay journal verify`: whether the journal is what was written.

use std::str::FromStr;

use mainstay_store::Hash;
use mainstay_store::journal::{ChainError, VerifyError};
use serde::Serialize;

use super::{Cx, open};
use crate::exit::{Answer, Code, Failure, causes};
use crate::look::{say, say_json};

/// Find any change in the journal
///
/// Each record carries the hash of the one before it, so a record that was changed, removed, moved or slipped in is
/// found. A tail that was cut off is found only with an anchor: a record's number and hash that were noted elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay journal verify
  mainstay journal verify --anchor 57:9f86d081…

Exit codes:
  0  nothing was changed
  1  a change was found
  3  the journal can't be reached")]
pub(crate) struct Verify {
    /// A record's number and hash, as `mainstay status` and notifications show them
    #[arg(long, value_name = "SEQ:HASH")]
    anchor: Option<Anchor>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
struct Anchor {
    seq: u64,
    hash: Hash,
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Anchor, String> {
        let (seq, hash) = text.split_once(':').ok_or("write it as SEQ:HASH, as `mainstay status` shows it")?;
        let seq = seq.parse().map_err(|_| format!("`{seq}` is not the number of a record"))?;
        let hash = hash.parse().map_err(|error: mainstay_store::hash::NotAHash| error.to_string())?;
        Ok(Anchor { seq, hash })
    }
}

#[derive(Serialize)]
struct Report {
    unchanged: bool,
    records: Option<u64>,
    head: Option<String>,
    anchored: bool,
    found: Option<String>,
}

impl Verify {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let reader = open(cx)?;
        let anchored = self.anchor.is_some();
        let verified = reader.verify(self.anchor.map(|it| (it.seq, it.hash.to_string())));
        match verified {
            Ok(it) if self.json => {
                let head = Some(format!("{}:{}", it.head_seq, it.head_hash));
                say_json(&Report { unchanged: true, records: Some(it.records), head, anchored, found: None })?;
            }
            Ok(it) => {
                let tail = if anchored { "" } else { "; whether its tail was cut needs an `--anchor`" };
                let noun = if it.records == 1 { "record" } else { "records" };
                say(&format!("unchanged: {} {noun}{tail}\nhead {}:{}\n", it.records, it.head_seq, it.head_hash))?;
            }
            Err(error) => {
                let found = causes(&error);
                if self.json {
                    say_json(&Report { unchanged: false, records: None, head: None, anchored, found: Some(found) })?;
                    return Ok(Answer::No);
                }
                let help = advice(&error);
                return Err(Failure::new(Code::No, format!("the journal is not what was written: {found}")).help(help));
            }
        }
        Ok(Answer::Yes)
    }
}

fn advice(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Chain(ChainError::Unreadable { .. }) => {
            "the disk or the file is damaged: keep it as it is, and look at the disk"
        }
        VerifyError::Chain(
            ChainError::Gap { .. }
            | ChainError::Altered { .. }
            | ChainError::Unlinked { .. }
            | ChainError::Malformed { .. },
        ) => "keep the file as it is: nothing from that record on can be trusted",
        VerifyError::Cut { .. } => "records are gone from its end: look for another copy of the file",
        VerifyError::Anchor { .. } => {
            "this is another journal, or it was written anew: look for the one that was noted"
        }
    }
}
