//! A host's copy of the agent's journal: a journal like any other, record for record and hash for hash.

use std::path::Path;

use mainstay_store::hash::Hash;
use mainstay_store::journal::{AppendError, Loss, OpenError, RecordLine, genesis, record_hash};
use mainstay_store::{Entry, Event, Journal, Options, Record};
use tokio::sync::mpsc;

/// Its folder, in a host's state directory.
pub const FOLDER: &str = "copy";

/// Events of the copy's own journal that may wait. A batch gives a few.
const EVENTS: usize = 1024;

/// A copy that is open to write.
#[derive(Debug)]
pub struct KeptCopy {
    journal: Journal,
    events: mpsc::Receiver<Event>,
    seq: u64,
    hash: Hash,
}

/// Why records are not kept. None of the batch is.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The copy's folder can't be used.
    #[error("the copy of the journal can't be opened")]
    Folder(#[from] std::io::Error),
    /// The copy's journal can't be used.
    #[error("the copy of the journal can't be opened")]
    Open(#[from] OpenError),
    /// A line is no record.
    #[error("line {line} of what was sent is no record")]
    Line {
        /// From 1.
        line: usize,
    },
    /// A record does not follow what is kept, or its hash is not its own.
    #[error("record {seq} does not follow record {head} of the copy: it belongs to another journal, or was changed")]
    Foreign {
        /// The record that was sent.
        seq: u64,
        /// The last one that is kept.
        head: u64,
    },
    /// The copy's disk does not take them.
    #[error("the copy's journal does not take them")]
    Append(#[from] AppendError),
    /// The copy's journal is lost.
    #[error("the copy's journal is lost")]
    Lost(#[source] Loss),
    /// The copy's journal has ended.
    #[error("the copy's journal has ended")]
    Ended,
}

impl KeptCopy {
    /// Opens the copy in a host's state directory, or begins one.
    ///
    /// # Errors
    /// It can't be used, or is broken; then it is left as it is.
    pub fn open(state_dir: &Path) -> Result<KeptCopy, CopyError> {
        let folder = state_dir.join(FOLDER);
        std::fs::create_dir_all(&folder)?;
        let (tell, events) = mpsc::channel(EVENTS);
        let tell = move |event| {
            let _ = tell.blocking_send(event);
        };
        let (journal, records) = Journal::open(&folder, Options { reserve_bytes: 0, ..Options::default() }, tell)?;
        let (seq, hash) = records.last().map_or((0, genesis()), |it| (it.seq, it.hash));
        Ok(KeptCopy { journal, events, seq, hash })
    }

    /// The last record that is kept, and its hash.
    pub fn head(&self) -> (u64, String) {
        (self.seq, self.hash.to_string())
    }

    /// Keeps records, each as `mainstay journal export` writes it. Numbers that are kept already are passed over: whether they are the
    /// same is seen by who compares the head that is returned. It is on the disk then.
    ///
    /// # Errors
    /// They don't follow, or can't be written.
    pub async fn keep(&mut self, lines: &[String]) -> Result<(u64, String), CopyError> {
        let (mut seq, mut hash) = (self.seq, self.hash);
        let mut entries: Vec<Entry> = Vec::new();
        for (nth, line) in lines.iter().enumerate() {
            let record: Record = RecordLine::parse(line.as_bytes()).map_err(|_| CopyError::Line { line: nth + 1 })?;
            if record.seq <= seq && entries.is_empty() {
                continue;
            }
            let follows = record.seq == seq + 1 && record.prev_hash == hash;
            if !follows || record_hash(hash, record.seq, &record.entry) != record.hash {
                return Err(CopyError::Foreign { seq: record.seq, head: seq });
            }
            (seq, hash) = (record.seq, record.hash);
            entries.push(record.entry);
        }
        if !entries.is_empty() {
            self.journal.append(entries)?;
            self.until_durable(seq).await?;
            (self.seq, self.hash) = (seq, hash);
        }
        Ok(self.head())
    }

    async fn until_durable(&mut self, seq: u64) -> Result<(), CopyError> {
        loop {
            match self.events.recv().await {
                Some(Event::Durable { seq: durable }) if durable >= seq => return Ok(()),
                Some(Event::Durable { .. } | Event::Waiting { .. }) => {}
                Some(Event::Lost { reason }) => return Err(CopyError::Lost(reason)),
                None => return Err(CopyError::Ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_store::Reader;

    use super::*;

    fn entry(nth: u64) -> Entry {
        let payload = format!("{{\"nth\":{nth}}}").into_bytes();
        Entry { wall_ns: 1, mono_ns: 2, kind: "health_changed".to_owned(), version: 1, payload }
    }

    /// A journal with so many records, as lines.
    fn lines(folder: &Path, count: u64) -> Vec<String> {
        let (journal, _) = Journal::open(folder, Options::default(), |_| {}).expect("a folder of its own");
        journal.append((0..count).map(entry).collect()).expect("it is empty");
        journal.close(Duration::from_secs(10)).expect("it is written");
        let reader = Reader::open(folder).expect("it is there");
        reader.records(1).map(|it| RecordLine::from(&it.expect("it is whole")).to_json()).collect()
    }

    #[tokio::test]
    async fn a_copy_is_the_same_journal_and_goes_on_after_a_restart() {
        let (source, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let lines = lines(source.path(), 10);
        let mut copy = KeptCopy::open(state.path()).expect("it is new");
        assert_eq!(copy.head().0, 0);
        assert_eq!(copy.keep(&lines[..4]).await.expect("they follow").0, 4);
        drop(copy);
        let mut copy = KeptCopy::open(state.path()).expect("it is there");
        assert_eq!(copy.keep(&lines[2..7]).await.expect("two are there already").0, 7);
        let head = copy.keep(&lines[7..]).await.expect("they follow");
        drop(copy);
        let read = |folder: &Path| {
            let reader = Reader::open(folder).expect("it is there");
            let all: Vec<Record> = reader.records(1).map(|it| it.expect("it is whole")).collect();
            all
        };
        assert_eq!(read(&state.path().join(FOLDER)), read(source.path()));
        assert_eq!(head.0, 10);
    }

    #[tokio::test]
    async fn what_does_not_follow_is_refused_as_a_whole() {
        let (source, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let lines = lines(source.path(), 6);
        let mut copy = KeptCopy::open(state.path()).expect("it is new");
        assert!(matches!(copy.keep(&lines[1..3]).await, Err(CopyError::Foreign { seq: 2, head: 0 })));
        let mut changed = lines[..3].to_vec();
        changed[1] = changed[1].replace("\"nth\":1", "\"nth\":9");
        assert!(matches!(copy.keep(&changed).await, Err(CopyError::Foreign { seq: 2, head: 1 })));
        assert_eq!(copy.head().0, 0, "none of it is kept");
        let garbled = vec![lines[0].clone(), "{\"seq\":2".to_owned()];
        assert!(matches!(copy.keep(&garbled).await, Err(CopyError::Line { line: 2 })));
        assert_eq!(copy.keep(&lines).await.expect("they follow").0, 6);
    }
}
