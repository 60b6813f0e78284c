//! The agent's side: sends its journal to one host after the other's last record, as it grows.

use std::path::{Path, PathBuf};

use mainstay_store::Reader;
use mainstay_store::journal::RecordLine;
use mainstay_wire::message::Head;
use tokio::sync::watch;

/// How many records one message holds at most.
const BATCH: usize = 256;

/// How many bytes of records one message holds at most, beyond the first.
const BATCH_BYTES: usize = 4 << 20;

/// The journal that is copied.
#[derive(Clone, Debug)]
pub struct Source {
    state_dir: PathBuf,
    /// The number of the last record that is durable.
    durable: watch::Receiver<u64>,
}

/// Why a host gets no copy.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The journal can't be read.
    #[error("the journal can't be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the host has is another journal.
    #[error(
        "record {seq} of the copy is not that of this journal: move the folder `copy` on that host away, and it is copied anew"
    )]
    Foreign {
        /// Which.
        seq: u64,
    },
    /// The agent ends.
    #[error("the agent ends")]
    Ended,
}

impl Source {
    /// The journal in a state directory; `durable` says how far it is on the disk.
    pub fn new(state_dir: &Path, durable: watch::Receiver<u64>) -> Source {
        Source { state_dir: state_dir.to_owned(), durable }
    }

    /// How far it is on the disk.
    pub fn durable(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Waits until it is further than it was when this was asked last.
    ///
    /// # Errors
    /// The agent ends.
    pub async fn grows(&mut self) -> Result<u64, SendError> {
        self.durable.changed().await.map_err(|_| SendError::Ended)?;
        Ok(*self.durable.borrow_and_update())
    }

    /// The records after `head`, as lines, once there are any: at most a few hundred. `head` must be of this journal.
    ///
    /// # Errors
    /// It is not, or the journal can't be read, or the agent ends.
    pub async fn after(&mut self, head: &Head) -> Result<Vec<String>, SendError> {
        // Nothing is sent that is not durable, so that a copy that is ahead is of another journal.
        if head.seq > self.durable() {
            return Err(SendError::Foreign { seq: head.seq });
        }
        let durable = *self.durable.wait_for(|it| *it > head.seq).await.map_err(|_| SendError::Ended)?;
        let (state_dir, head) = (self.state_dir.clone(), head.clone());
        let read = tokio::task::spawn_blocking(move || read(&state_dir, &head, durable)).await;
        read.unwrap_or_else(|panic| Err(SendError::Unreadable(Box::new(panic))))
    }
}

fn read(state_dir: &Path, head: &Head, durable: u64) -> Result<Vec<String>, SendError> {
    let unreadable = |it: Box<dyn std::error::Error + Send + Sync>| SendError::Unreadable(it);
    let reader = Reader::open(state_dir).map_err(|it| unreadable(Box::new(it)))?;
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for record in reader.records(head.seq.max(1)) {
        let record = record.map_err(|it| unreadable(Box::new(it)))?;
        if record.seq == head.seq {
            if record.hash.to_string() != head.hash {
                return Err(SendError::Foreign { seq: head.seq });
            }
            continue;
        }
        let line = RecordLine::from(&record).to_json();
        bytes += line.len();
        if record.seq > durable || lines.len() == BATCH || (bytes > BATCH_BYTES && !lines.is_empty()) {
            break;
        }
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_store::{Entry, Journal, Options};

    use super::super::kept::KeptCopy;
    use super::*;

    fn entry(nth: u64) -> Entry {
        let payload = format!("{{\"nth\":{nth}}}").into_bytes();
        Entry { wall_ns: 1, mono_ns: 2, kind: "health_changed".to_owned(), version: 1, payload }
    }

    fn grow(folder: &Path, by: u64) {
        let (journal, before) = Journal::open(folder, Options::default(), |_| {}).expect("a folder of its own");
        let from = before.len() as u64;
        journal.append((from..from + by).map(entry).collect()).expect("it takes them");
        journal.close(Duration::from_secs(10)).expect("it is written");
    }

    fn head((seq, hash): (u64, String)) -> Head {
        Head { seq, hash }
    }

    #[tokio::test]
    async fn a_copy_grows_with_its_journal_in_batches() {
        let (agent, host) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        grow(agent.path(), 600);
        let (grown, durable) = watch::channel(600);
        let mut source = Source::new(agent.path(), durable);
        let mut copy = KeptCopy::open(host.path()).expect("it is new");
        let mut batches = 0;
        while copy.head().0 < 600 {
            let lines = source.after(&head(copy.head())).await.expect("it is the same journal");
            copy.keep(&lines).await.expect("they follow");
            batches += 1;
        }
        assert_eq!(batches, 3);
        let waits = tokio::time::timeout(Duration::from_millis(50), source.after(&head(copy.head()))).await;
        assert!(waits.is_err(), "there is nothing to send");
        grow(agent.path(), 1);
        grown.send_replace(601);
        let lines = source.after(&head(copy.head())).await.expect("it is the same journal");
        assert_eq!(copy.keep(&lines).await.expect("they follow").0, 601);
    }

    #[tokio::test]
    async fn a_copy_of_another_journal_gets_nothing() {
        let agent = tempfile::tempdir().expect("a folder");
        grow(agent.path(), 3);
        let (_grown, durable) = watch::channel(3);
        let mut source = Source::new(agent.path(), durable);
        let other = Head { seq: 2, hash: "00".repeat(32) };
        assert!(matches!(source.after(&other).await, Err(SendError::Foreign { seq: 2 })));
        let ahead = Head { seq: 4, hash: "00".repeat(32) };
        assert!(matches!(source.after(&ahead).await, Err(SendError::Foreign { seq: 4 })));
    }
}
