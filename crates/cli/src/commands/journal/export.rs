//! `mainstay journal export`: the journal as JSON lines.

use std::io::{self, BufWriter, Write};

use mainstay_store::Reader;
use mainstay_store::journal::RecordLine;

use super::{Cx, broken, open};
use crate::exit::{Answer, Failure};

/// Write the journal as JSON lines
///
/// One record a line, with its hash and the hash before it, so that whoever reads them can check the chain.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay journal export > journal.jsonl
  mainstay journal export --from 1000 | jq -c 'select(.kind == \"bound\")'")]
pub(crate) struct Export {
    /// Begin with this record
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
}

impl Export {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let reader = open(cx)?;
        write(&reader, self.from, io::stdout().lock())?;
        Ok(Answer::Yes)
    }
}

/// Writes the records from this one on, one a line. What can be read in front of one that can't is written.
pub(crate) fn write(reader: &Reader, from: u64, out: impl Write) -> Result<(), Failure> {
    let mut out = BufWriter::new(out);
    let unwritten = |error: io::Error| Failure::output(&error);
    for record in reader.records(from) {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                out.flush().map_err(unwritten)?;
                return Err(broken(&error));
            }
        };
        writeln!(out, "{}", RecordLine::from(&record).to_json()).map_err(unwritten)?;
    }
    out.flush().map_err(unwritten)
}
