//! `mainstay journal show`: the journal as sentences.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use mainstay_engine::codec::{Encoded, decode};
use mainstay_engine::sentence::Teller;
use mainstay_store::Record;
use mainstay_store::journal::RecordLine;

use super::{Cx, broken, open};
use crate::clock;
use crate::exit::{Answer, Failure, note};
use crate::look::{Look, Tone, clean};

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
        let mut out = BufWriter::new(io::stdout().lock());
        let mut last = Last::new(self.last.or(self.from.is_none().then_some(LAST)));
        let mut teller = Teller::new(|at| clock::utc(at.as_nanos()), |it| clock::span(clock::nanos(it)));
        let mut told = Ok(());
        for record in reader.records(self.from.unwrap_or(1)) {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    // What stands before the break is still worth reading.
                    told = Err(broken(&error));
                    break;
                }
            };
            let line = line(&record, &mut teller, cx.look, self.json);
            if self.kind.as_ref().is_none_or(|kind| *kind == record.entry.kind)
                && let Some(due) = last.push(line)
            {
                out.write_all(due.as_bytes()).map_err(|error| Failure::output(&error))?;
            }
        }
        last.kept.iter().try_for_each(|it| out.write_all(it.as_bytes())).map_err(|error| Failure::output(&error))?;
        out.flush().map_err(|error| Failure::output(&error))?;
        if self.last.is_none() && last.left_out > 0 {
            note(&format!("{} earlier records are not shown: `--from 1` shows all\n", last.left_out));
        }
        told.map(|()| Answer::Yes)
    }
}

/// The last so many lines, or each at once where all are wanted.
struct Last {
    most: Option<usize>,
    kept: VecDeque<String>,
    left_out: u64,
}

impl Last {
    fn new(most: Option<usize>) -> Last {
        Last { most, kept: VecDeque::new(), left_out: 0 }
    }

    /// Takes a line; gives it back if it is to be written now.
    fn push(&mut self, line: String) -> Option<String> {
        let Some(most) = self.most else { return Some(line) };
        self.kept.push_back(line);
        if self.kept.len() > most {
            self.kept.pop_front();
            self.left_out += 1;
        }
        None
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
