//! The host's journal, and what waits for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_store::journal::{ChainError, JOURNAL_FILE, OpenError};
use mainstay_store::{Event, Journal, Options, Reader, Record};
use tokio::sync::mpsc;

use super::orders::{Entry, Orders};
use crate::clock::boot_ns;

/// The version of the encoding of entries.
const VERSION: u32 = 1;

/// Why the journal of a host can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be opened.
    #[error("the host's journal can't be opened")]
    Open(#[from] OpenError),
    /// It is broken.
    #[error("the host's journal is broken")]
    Broken(#[from] ChainError),
    /// A record is none of a host's, or of a newer version.
    #[error("record {seq} of the host's journal can't be read")]
    Record {
        /// Which.
        seq: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The highest epoch that the host with this state directory has seen, from its journal; 0 if it has none.
///
/// # Errors
/// It can't be read.
pub fn epoch_seen(dir: &Path) -> Result<u64, LedgerError> {
    if !dir.join(JOURNAL_FILE).exists() {
        return Ok(0);
    }
    let mut orders = Orders::default();
    for record in Reader::open(dir).map_err(OpenError::from)?.records(1) {
        let Record { seq, entry, .. } = record?;
        let read = serde_json::from_slice(&entry.payload);
        orders.fold(&read.map_err(|source| LedgerError::Record { seq, source })?, entry.wall_ns);
    }
    Ok(orders.epoch())
}

/// The wall clock, in nanoseconds since the Unix epoch.
pub(crate) fn wall_ns() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)
}

/// The journal, and by record what follows once it is durable.
pub(crate) struct Ledger<Then> {
    journal: Journal,
    pub(crate) events: mpsc::Receiver<Event>,
    waiting: BTreeMap<u64, Then>,
    pub(crate) lost: Option<String>,
}

impl<Then> Ledger<Then> {
    /// Opens the journal in `dir`, and folds it.
    pub(crate) fn open(dir: &Path) -> Result<(Ledger<Then>, Orders), LedgerError> {
        let (tell, events) = mpsc::channel(64);
        // The journal's threads may wait for the loop; the loop never waits for them.
        let tell = move |event| {
            let _ = tell.blocking_send(event);
        };
        let (journal, records) = Journal::open(dir, Options::default(), tell)?;
        let mut orders = Orders::default();
        for Record { seq, entry, .. } in records {
            let read = serde_json::from_slice(&entry.payload);
            orders.fold(&read.map_err(|source| LedgerError::Record { seq, source })?, entry.wall_ns);
        }
        Ok((Ledger { journal, events, waiting: BTreeMap::new(), lost: None }, orders))
    }

    /// Journals these, of which there is one at least, and folds them. `then` follows once they are durable; it comes back if they
    /// can't be.
    pub(crate) fn append(&mut self, orders: &mut Orders, entries: &[Entry], then: Then) -> Result<(), Then> {
        if self.lost.is_some() {
            return Err(then);
        }
        let wall_ns = wall_ns();
        let of = |entry: &Entry| mainstay_store::Entry {
            wall_ns,
            mono_ns: i64::try_from(boot_ns()).unwrap_or(i64::MAX),
            kind: entry.kind().to_owned(),
            version: VERSION,
            payload: serde_json::to_vec(entry).expect("an entry has no map with keys that are not text"),
        };
        match self.journal.append(entries.iter().map(of).collect()) {
            Ok(seqs) => {
                entries.iter().for_each(|it| orders.fold(it, wall_ns));
                self.waiting.insert(*seqs.end(), then);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the host's journal takes nothing");
                Err(then)
            }
        }
    }

    /// What follows from what the journal said; `false` beside it: it will never be durable.
    pub(crate) fn on_event(&mut self, event: Event) -> Vec<(Then, bool)> {
        match event {
            Event::Durable { seq } => {
                let rest = self.waiting.split_off(&(seq + 1));
                let durable = std::mem::replace(&mut self.waiting, rest);
                durable.into_values().map(|it| (it, true)).collect()
            }
            Event::Waiting { reason, .. } => {
                tracing::warn!(%reason, "the host's journal waits; nothing is done before its records are durable");
                Vec::new()
            }
            Event::Lost { reason } => {
                tracing::error!(%reason, "the host's journal is lost: nothing is done any more until the host is started again");
                self.lost = Some(reason.to_string());
                std::mem::take(&mut self.waiting).into_values().map(|it| (it, false)).collect()
            }
        }
    }
}
