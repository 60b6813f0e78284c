//! `mainstay journal show`: the journal as sentences.

use std::collections::VecDeque;

use mainstay_engine::codec::{Encoded, decode};
use mainstay_store::Record;
use mainstay_store::journal::RecordLine;

use super::{Cx, broken, open};
use crate::clock;
use crate::exit::{Answer, Failure};
use crate::look::{Look, Tone, clean, say};
use crate::view::sentence::Teller;

const LAST: usize = 50;

/// Show records as sentences
///
/// One line a record: its number, the time (UTC), its kind, and what it says. Without options, the last 50.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay journal show
  mainstay journal show --from 1 --kind health_changed
  mainstay journal show --last 5 --json")]
pub(crate) struct Show {
    /// Begin with this record
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Only the last so many
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Only records of this kind: `health_changed`, `step_started`, …
    #[arg(long)]
    kind: Option<String>,
    /// Answer as JSON, one record a line
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let reader = open(cx)?;
        let last = self.last.or(self.from.is_none().then_some(LAST));
        let mut teller = Teller::default();
        let mut kept: VecDeque<String> = VecDeque::new();
        let mut left_out = 0;
        for record in reader.records(self.from.unwrap_or(1)) {
            let record = record.map_err(|error| {
                // What stands before the break is still worth reading.
                let _closed = kept.iter().try_for_each(|it| say(it));
                broken(&error)
            })?;
            let line = line(&record, &mut teller, cx.look, self.json);
            if self.kind.as_ref().is_some_and(|kind| *kind != record.entry.kind) {
                continue;
            }
            match last {
                None => say(&line)?,
                Some(_) => kept.push_back(line),
            }
            if last.is_some_and(|last| kept.len() > last) {
                kept.pop_front();
                left_out += 1;
            }
        }
        kept.iter().try_for_each(|it| say(it))?;
        if self.last.is_none() && left_out > 0 {
            eprintln!("{left_out} earlier records are not shown: `--from 1` shows all");
        }
        Ok(Answer::Yes)
    }
}

/// One record, told. Every record is told, also one that is not shown: later ones speak of it.
fn line(record: &Record, teller: &mut Teller, look: Look, json: bool) -> String {
    if json {
        return RecordLine::from(record).to_json() + "\n";
    }
    let entry = &record.entry;
    let at = u64::try_from(entry.wall_ns).unwrap_or(0);
    let told = decode(&encoded(record)).map(|it| teller.tell(&it.body));
    // A kind of a newer or another program is no error: it is shown as it stands.
    let told = told.unwrap_or_else(|_| String::from_utf8_lossy(&entry.payload).into_owned());
    let kind = look.paint(Tone::Dim, &format!("{:<18}", clean(&entry.kind)));
    format!("{:>5}  {}  {kind}  {}\n", record.seq, clock::utc(at), clean(&told))
}

/// A stored record as the engine's codec reads it.
pub(crate) fn encoded(record: &Record) -> Encoded {
    let entry = &record.entry;
    Encoded {
        at_ns: u64::try_from(entry.wall_ns).unwrap_or(0),
        kind: entry.kind.clone(),
        version: entry.version,
        payload: entry.payload.clone(),
    }
}
