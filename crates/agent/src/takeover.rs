//! Going on with another machine's journal: the agent's own machine is lost, and a host has kept a copy.
//!
//! The copy becomes the journal of a new state directory, record for record, and one more record follows: this agent decides
//! under a higher epoch. Hosts and traffic processes refuse the agent before it from the moment when they have heard this one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_engine::codec::{decode, encode};
use mainstay_engine::lease::Role;
use mainstay_engine::{Body, Record};
use mainstay_host::daemon::{LedgerError as HostLedgerError, epoch_seen};
use mainstay_plan::Time;
use mainstay_store::journal::{AppendError, CloseError, OpenError};
use mainstay_store::{Entry, Event, Journal, Options, Reader, StateDir, StateDirError};

use crate::ledger::{to_encoded, to_entry};

/// How many records go to the disk at once.
const BATCH: usize = 1024;

/// How long the disk may take for the whole of it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The copy's folder.
    pub folder: PathBuf,
    /// How many records.
    pub records: u64,
    /// The last one's hash.
    pub hash: String,
    /// When that was written, by the clock of the agent that wrote it.
    pub last: Time,
    /// The plan that was in force, as one text.
    pub plan: Option<String>,
    /// The highest epoch that the copy, or the host that kept it, has seen.
    pub epoch: u64,
}

/// Why a copy can't be gone on with. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// It can't be read.
    #[error("the copy in {} can't be read", folder.display())]
    Unreadable {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is nothing in it.
    #[error("the copy in {} has no records: the agent has never reached this host with them", folder.display())]
    Empty {
        /// Its folder.
        folder: PathBuf,
    },
    /// What the host has seen can't be read.
    #[error("the journal of the host itself can't be read")]
    Host(#[from] HostLedgerError),
    /// The new state directory can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// There is a journal in it.
    #[error("{} has a journal of {records} records already: name a state directory of its own", folder.display())]
    Used {
        /// The directory.
        folder: PathBuf,
        /// How many.
        records: usize,
    },
    /// The new journal can't be opened.
    #[error("the new journal can't be opened")]
    Open(#[from] OpenError),
    /// The new journal does not take the records.
    #[error("the new journal does not take the records")]
    Append(#[from] AppendError),
    /// The new journal is not on the disk.
    #[error("the new journal is not on the disk")]
    Close(#[from] CloseError),
}

/// Reads and checks the copy that a host keeps in its state directory: each record's hash, and all that was seen of epochs.
///
/// # Errors
/// It can't be read, is broken, or empty.
pub fn look(host_state: &Path) -> Result<Copied, TakeoverError> {
    let folder = host_state.join(mainstay_host::copy::kept::FOLDER);
    let unreadable =
        |source: Box<dyn std::error::Error + Send + Sync>| TakeoverError::Unreadable { folder: folder.clone(), source };
    let reader = Reader::open(&folder).map_err(|it| unreadable(Box::new(it)))?;
    let mut copied = Copied {
        folder: folder.clone(),
        records: 0,
        hash: String::new(),
        last: Time::ZERO,
        plan: None,
        epoch: epoch_seen(host_state)?,
    };
    for record in reader.records(1) {
        let record = record.map_err(|it| unreadable(Box::new(it)))?;
        let read = decode(&to_encoded(record.entry)).map_err(|it| unreadable(Box::new(it)))?;
        (copied.records, copied.hash, copied.last) = (record.seq, record.hash.to_string(), read.at);
        if let Body::PlanAdopted { source, .. } = read.body {
            copied.plan = Some(source);
        } else if let Body::LeaseChanged { epoch, .. } = read.body {
            copied.epoch = copied.epoch.max(epoch);
        }
    }
    if copied.records == 0 { Err(TakeoverError::Empty { folder }) } else { Ok(copied) }
}

/// Begins the journal of `state_dir` with the copy, and with the record that this agent decides under a higher epoch, which is
/// returned. `by` says who wants it and why.
///
/// # Errors
/// The directory has a journal, or can't be written; a journal that was begun is left and refused the next time.
pub fn take_over(copied: &Copied, state_dir: &Path, by: &str) -> Result<u64, TakeoverError> {
    let held = StateDir::open(state_dir)?;
    let lost = Arc::new(AtomicBool::new(false));
    let options = Options { reserve_bytes: 0, ..Options::default() };
    let (journal, before) = Journal::open(held.path(), options, {
        let lost = lost.clone();
        move |event| {
            if matches!(event, Event::Lost { .. }) {
                lost.store(true, Ordering::Relaxed);
            }
        }
    })?;
    if !before.is_empty() {
        return Err(TakeoverError::Used { folder: held.path().to_owned(), records: before.len() });
    }
    let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| TakeoverError::Unreadable {
        folder: copied.folder.clone(),
        source,
    };
    let reader = Reader::open(&copied.folder).map_err(|it| unreadable(Box::new(it)))?;
    let mut batch: Vec<Entry> = Vec::with_capacity(BATCH);
    let write = |batch: &mut Vec<Entry>| -> Result<(), TakeoverError> {
        journal.append(std::mem::take(batch))?;
        // Not more than a batch is under way, so that the queue always has room.
        while journal.undone() > 0 && !lost.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    for record in reader.records(1) {
        let record = record.map_err(|it| unreadable(Box::new(it)))?;
        if record.seq > copied.records {
            break;
        }
        batch.push(record.entry);
        if batch.len() == BATCH {
            write(&mut batch)?;
        }
    }
    let epoch = copied.epoch + 1;
    let why = format!("taken over from the copy of record {} ({}): {by}", copied.records, copied.hash);
    let body = Body::LeaseChanged { role: Role::Sole, epoch, leader: None, why };
    batch.push(to_entry(encode(&Record { at: copied.last, body })));
    write(&mut batch)?;
    journal.close(WRITTEN_WITHIN)?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use mainstay_host::copy::kept::KeptCopy;
    use mainstay_store::journal::RecordLine;

    use super::*;

    fn recorded(at: u64, body: Body) -> Entry {
        to_entry(encode(&Record { at: Time::from_millis(at), body }))
    }

    /// A host's state directory whose copy holds these.
    async fn host(entries: Vec<Entry>) -> tempfile::TempDir {
        let (agent, host) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (journal, _) = Journal::open(agent.path(), Options::default(), |_| {}).expect("it is new");
        journal.append(entries).expect("it takes them");
        journal.close(WRITTEN_WITHIN).expect("it is written");
        let reader = Reader::open(agent.path()).expect("it is there");
        let lines: Vec<String> =
            reader.records(1).map(|it| RecordLine::from(&it.expect("it is whole")).to_json()).collect();
        KeptCopy::open(host.path()).expect("it is new").keep(&lines).await.expect("they follow");
        host
    }

    fn plan() -> Body {
        let (source, base_dir) = ("version: 2\n".to_owned(), "/etc".to_owned());
        Body::PlanAdopted { hash: "h".to_owned(), source, base_dir }
    }

    fn epoch(epoch: u64) -> Body {
        Body::LeaseChanged { role: Role::Sole, epoch, leader: None, why: "before".to_owned() }
    }

    #[tokio::test]
    async fn a_copy_is_gone_on_with_under_a_higher_epoch() {
        let host = host(vec![recorded(1, plan()), recorded(2, epoch(6))]).await;
        let copied = look(host.path()).expect("it is whole");
        assert_eq!((copied.records, copied.epoch, copied.last), (2, 6, Time::from_millis(2)));
        assert_eq!(copied.plan.as_deref(), Some("version: 2\n"));
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(take_over(&copied, state.path(), "ops").expect("it is new"), 7);
        let all: Vec<_> =
            Reader::open(state.path()).expect("it is there").records(1).map(|it| it.expect("it is whole")).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].hash.to_string(), copied.hash, "it is the same journal so far");
        let last = decode(&to_encoded(all[2].entry.clone())).expect("it is a record");
        assert!(matches!(last.body, Body::LeaseChanged { epoch: 7, role: Role::Sole, .. }), "{last:?}");
        let again = take_over(&copied, state.path(), "ops").expect_err("it has a journal now");
        assert!(matches!(again, TakeoverError::Used { records: 3, .. }));
    }

    #[tokio::test]
    async fn a_copy_that_is_not_whole_is_not_gone_on_with() {
        let nothing = tempfile::tempdir().expect("a folder");
        assert!(matches!(look(nothing.path()), Err(TakeoverError::Unreadable { .. })));
        let empty = host_of_nothing();
        assert!(matches!(look(empty.path()), Err(TakeoverError::Empty { .. })));
    }

    fn host_of_nothing() -> tempfile::TempDir {
        let host = tempfile::tempdir().expect("a folder");
        drop(KeptCopy::open(host.path()).expect("it is new"));
        host
    }
}
