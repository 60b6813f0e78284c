//! The one thread that writes.
//!
//! It tells three kinds of trouble apart. A lock that someone else holds passes, however long it takes. A full disk
//! passes perhaps: the reserve is given up for it, and then there is a limit to patience. Everything else is final,
//! above all a failed sync: the kernel may have dropped what it could not write, and a second sync would report success.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::Options;
use super::event::{Event, Events, Loss, WaitReason};
use super::queue::{self, Queue};
use super::record::{Entry, Head, record_hash};
use super::reserve::Reserve;
use super::watch::SyncWatch;
use crate::sqlite::means_disk_full;

/// What a transaction writes besides its entries: whole pages, and the last page of the table again.
const TRANSACTION_OVERHEAD_BYTES: usize = 3 * 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    head: Head,
    options: Options,
    reserve: Reserve,
    reserve_tried: Instant,
    unmoved_bytes: usize,
    queue: Arc<Queue>,
    watch: Arc<SyncWatch>,
    events: Events,
}

/// Why a batch was not written.
#[derive(Debug)]
enum Stop {
    /// The journal is lost.
    Lost(Loss),
    /// The journal is being left, and the batch would have to wait.
    Left,
}

/// What an attempt to write ran into.
#[derive(Debug)]
enum Trouble {
    Locked,
    Full,
    Final(Loss),
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        head: Head,
        options: Options,
        mut reserve: Reserve,
        queue: Arc<Queue>,
        watch: Arc<SyncWatch>,
        events: Events,
    ) -> rusqlite::Result<Self> {
        connection.busy_timeout(options.retry_pause)?;
        // SQLite's own checkpoints keep their errors to themselves, and a sync that failed there must be seen here.
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        // Without space for a reserve the journal still works; `reserve_held` shows it.
        let _no_space = reserve.make();
        queue.set_reserve_held(reserve.held());
        let reserve_tried = Instant::now();
        Ok(Self { connection, head, options, reserve, reserve_tried, unmoved_bytes: 0, queue, watch, events })
    }

    /// Writes until the journal closes or is lost.
    pub(super) fn run(mut self) {
        let _end = End { queue: Arc::clone(&self.queue), watch: Arc::clone(&self.watch) };
        while let Some(batch) = self.queue.take() {
            match self.write(&batch) {
                Ok(()) => {}
                Err(Stop::Left) => return,
                Err(Stop::Lost(reason)) => return self.lose(reason),
            }
            if let Err(reason) = self.keep_house() {
                return self.lose(reason);
            }
        }
    }

    /// Writes one batch, however often that takes.
    fn write(&mut self, batch: &[Entry]) -> Result<(), Stop> {
        let begun = Instant::now();
        let mut told = None;
        let mut full_since = None;
        let head = loop {
            let reason = match self.attempt(batch) {
                Ok(head) => break head,
                Err(Trouble::Final(reason)) => return Err(Stop::Lost(reason)),
                Err(Trouble::Locked) => WaitReason::Locked,
                Err(Trouble::Full) if self.release_reserve() => WaitReason::OnReserve,
                Err(Trouble::Full) => {
                    let since = full_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.options.full_patience {
                        return Err(Stop::Lost(Loss::DiskFull));
                    }
                    WaitReason::DiskFull
                }
            };
            if told.replace(reason) != Some(reason) {
                self.events.tell(Event::Waiting { reason, since: begun });
            }
            // The reserve has just made room: no reason to wait.
            if reason != WaitReason::OnReserve && !self.queue.pause(self.options.retry_pause) {
                return Err(Stop::Left);
            }
        };
        self.head = head;
        self.unmoved_bytes += TRANSACTION_OVERHEAD_BYTES + batch.iter().map(queue::size).sum::<usize>();
        self.queue.written(head, batch);
        self.events.tell(Event::Durable { seq: head.seq });
        Ok(())
    }

    /// Tries once to write `batch` in one transaction.
    fn attempt(&mut self, batch: &[Entry]) -> Result<Head, Trouble> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| classify(&error))?;
        // The deadline is the disk's: the time in which somebody else holds the lock is told as what it is.
        self.watch.begin();
        let result = insert(&transaction, self.head, batch)
            .and_then(|head| transaction.commit().map(|()| head).map_err(|error| classify(&error)));
        self.watch.finish();
        result
    }

    /// What is due between batches: moving the log into the file, and setting the reserve aside again.
    fn keep_house(&mut self) -> Result<(), Loss> {
        if self.unmoved_bytes >= self.options.checkpoint_bytes {
            self.unmoved_bytes = 0;
            self.checkpoint()?;
        }
        if !self.reserve.held() && self.reserve_tried.elapsed() >= self.options.reserve_retry {
            self.reserve_tried = Instant::now();
            let _no_space = self.reserve.make_if_roomy();
            self.queue.set_reserve_held(self.reserve.held());
        }
        Ok(())
    }

    /// Moves what is in the log into the file. Without space for that, or with readers in the way, it stays in the
    /// log, where it is as durable.
    fn checkpoint(&mut self) -> Result<(), Loss> {
        loop {
            self.watch.begin();
            let result = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if self.watch.finish() {
                // The wait that was told of is over, and no batch may come to say so.
                self.events.tell(Event::Durable { seq: self.head.seq });
            }
            match result.map_err(|error| classify(&error)) {
                Err(Trouble::Final(reason)) => return Err(reason),
                Err(Trouble::Full) if self.release_reserve() => {}
                Ok(()) | Err(Trouble::Full | Trouble::Locked) => return Ok(()),
            }
        }
    }

    fn release_reserve(&mut self) -> bool {
        let released = self.reserve.release();
        if released {
            self.queue.set_reserve_held(false);
            self.reserve_tried = Instant::now();
        }
        released
    }

    fn lose(&mut self, reason: Loss) {
        // What the log holds after a failed sync must not be spread into the file, whose records were synced.
        let _unset = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.queue.lose(reason.clone());
        self.events.tell(Event::Lost { reason });
    }
}

/// Says that the writer has ended, also when it panicked.
struct End {
    queue: Arc<Queue>,
    watch: Arc<SyncWatch>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.watch.end();
        self.queue.writer_ends();
    }
}

fn insert(connection: &Connection, head: Head, batch: &[Entry]) -> Result<Head, Trouble> {
    let failed = |error: rusqlite::Error| classify(&error);
    let found: i64 = connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM records")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    if found != head.seq.cast_signed() {
        return Err(Trouble::Final(Loss::ForeignWriter { expected: head.seq, found }));
    }
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO records (seq, wall_ns, mono_ns, kind, version, payload, prev_hash, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .map_err(failed)?;
    let mut head = head;
    for entry in batch {
        let seq = head.seq + 1;
        let hash = record_hash(head.hash, seq, entry);
        let Entry { wall_ns, mono_ns, kind, version, payload } = entry;
        let row = (seq.cast_signed(), wall_ns, mono_ns, kind, version, payload, head.hash.as_bytes(), hash.as_bytes());
        statement.execute(row).map_err(failed)?;
        head = Head { seq, hash };
    }
    Ok(head)
}

fn classify(error: &rusqlite::Error) -> Trouble {
    let text = error.to_string();
    let Some(failure) = error.sqlite_error() else { return Trouble::Final(Loss::Other(text)) };
    if means_disk_full(error) {
        return Trouble::Full;
    }
    let passing = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked, ErrorCode::FileLockingProtocolFailed];
    if passing.contains(&failure.code) {
        return Trouble::Locked;
    }
    let loss = if failure.code == ErrorCode::SystemIoFailure {
        Loss::Io
    } else if [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase].contains(&failure.code) {
        Loss::Corrupt
    } else {
        Loss::Other
    };
    Trouble::Final(loss(format!("{text} (SQLite code {})", failure.extended_code)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{self, Receiver};
    use std::time::Duration;

    use rusqlite::ffi;

    use super::super::record::genesis;
    use super::super::{FORMAT, JOURNAL_FILE, Reader};
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry { wall_ns: 1, mono_ns: 1, kind: "test".to_owned(), version: 1, payload: vec![7; bytes] }
    }

    fn writer(dir: &Path, options: Options) -> (Writer, Receiver<Event>) {
        let head = Head { seq: 0, hash: genesis() };
        let connection = FORMAT.open(&dir.join(JOURNAL_FILE), Duration::ZERO).expect("opens");
        let queue = Arc::new(Queue::new(head, options.max_queued_entries, options.max_queued_bytes));
        let (sender, events) = mpsc::sync_channel(4096);
        let events_out = Events::new(move |event| sender.send(event).expect("is heard"));
        let reserve = Reserve::new(dir, options.reserve_bytes);
        let writer =
            Writer::new(connection, head, options, reserve, queue, Arc::default(), events_out).expect("is set up");
        (writer, events)
    }

    fn append(writer: &mut Writer, entry: Entry) -> Result<(), Stop> {
        writer.queue.push(vec![entry]).expect("there is room");
        let batch = writer.queue.take().expect("there is a batch");
        writer.write(&batch)
    }

    #[test]
    fn a_disk_that_stays_full_costs_the_reserve_and_then_the_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { full_patience: Duration::ZERO, reserve_bytes: 4096, ..Options::default() };
        let (mut writer, events) = writer(dir.path(), options);
        append(&mut writer, entry(10)).expect("there is space");
        assert!(writer.queue.reserve_held());
        writer.connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())).expect("is set");
        let stop = append(&mut writer, entry(100_000)).expect_err("there is no space");
        assert!(matches!(stop, Stop::Lost(Loss::DiskFull)), "{stop:?}");
        assert!(!writer.queue.reserve_held());
        writer.lose(Loss::DiskFull);
        let told: Vec<Event> = events.try_iter().collect();
        assert!(
            matches!(
                told[..],
                [
                    Event::Durable { seq: 1 },
                    Event::Waiting { reason: WaitReason::OnReserve, .. },
                    Event::Lost { reason: Loss::DiskFull },
                ]
            ),
            "{told:?}"
        );
        drop(writer);
        assert_eq!(Reader::open(dir.path()).expect("opens").verify(None).expect("holds").records, 1);
    }

    #[test]
    fn a_full_disk_keeps_the_batch_until_there_is_space() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut writer, _events) = writer(dir.path(), Options { reserve_bytes: 0, ..Options::default() });
        writer.connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())).expect("is set");
        let batch = [entry(100_000)];
        assert!(matches!(writer.attempt(&batch), Err(Trouble::Full)));
        writer.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).expect("is set");
        assert_eq!(writer.attempt(&batch).expect("there is space").seq, 1);
    }

    #[test]
    fn checkpoints_move_the_log_and_keep_every_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut writer, _events) = writer(dir.path(), Options { checkpoint_bytes: 1, ..Options::default() });
        for _ in 0..50 {
            append(&mut writer, entry(5000)).expect("there is space");
            writer.keep_house().expect("the disk is well");
        }
        let log = std::fs::metadata(dir.path().join(format!("{JOURNAL_FILE}-wal"))).expect("exists").len();
        assert!(log < 50 * 5000, "the log starts over after a checkpoint: {log} bytes");
        assert_eq!(Reader::open(dir.path()).expect("opens").verify(None).expect("holds").records, 50);
    }

    #[test]
    fn troubles_are_told_apart() {
        let classify = |code| classify(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_BUSY_SNAPSHOT, ffi::SQLITE_BUSY_RECOVERY, ffi::SQLITE_PROTOCOL] {
            assert!(matches!(classify(code), Trouble::Locked), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(classify(code), Trouble::Full), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_DIR_FSYNC] {
            assert!(matches!(classify(code), Trouble::Final(Loss::Io(_))), "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(matches!(classify(code), Trouble::Final(Loss::Corrupt(_))), "{code}");
        }
        assert!(matches!(classify(ffi::SQLITE_READONLY), Trouble::Final(Loss::Other(_))));
    }
}
