//! The disk: it syncs late, loses what was not synced, and can be lost.

use std::time::Duration;

use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::{Input, Record};
use mainstay_plan::Time;

use super::{CrashKind, World};

impl World {
    /// The records on the disk, read from there.
    pub fn journal(&self) -> Vec<(u64, Record)> {
        let read = |it: &Record| decode(&encode(it)).expect("what this engine wrote it can read");
        (1..).zip(self.durable.iter().map(read)).collect()
    }

    /// The records on the disk as they were written.
    pub fn written(&self) -> impl Iterator<Item = (u64, &Record)> {
        (1..).zip(&self.durable)
    }

    /// When the newest record on the disk was written.
    pub(super) fn newest(&self) -> Option<Time> {
        self.durable.last().map(|it| it.at)
    }

    /// The records on the disk as they stand there.
    pub fn stored(&self) -> Vec<(u64, Encoded)> {
        (1..).zip(self.durable.iter().map(encode)).collect()
    }

    /// Loses the journal: the agent dies and its disk is empty.
    pub fn lose_journal(&mut self, down_for: Duration) {
        self.durable.clear();
        self.checkers.forget_journal();
        self.kill(down_for);
    }

    /// What was not synced goes to the second file, and so does everything from here on.
    pub(super) fn lose_disk(&mut self) {
        let Some(driver) = &self.driver else { return };
        let all = driver.engine().state().seq;
        self.journal_lost = true;
        let first = self.durable.len() as u64 + 1;
        let unsynced = std::mem::take(&mut self.unsynced);
        self.second_file(first, &unsynced);
        self.turn(vec![Input::JournalLost { reason: "the disk is gone".to_owned() }, Input::Recorded(all)]);
    }

    /// What is written there counts for this agent, and is not read by the next.
    pub(super) fn second_file(&mut self, first_seq: u64, records: &[Record]) {
        for (seq, record) in (first_seq..).zip(records) {
            self.checkers.recorded(seq, record);
        }
    }

    pub(super) fn synced(&mut self) {
        let before = self.durable.len() as u64;
        self.durable.append(&mut self.unsynced);
        self.syncing = false;
        let now_durable = self.durable.len() as u64;
        for (seq, record) in (before + 1..).zip(&self.durable[usize::try_from(before).expect("fits")..]) {
            self.checkers.recorded(seq, record);
        }
        if self.strikes(CrashKind::AfterRecord, |seq| (before + 1..=now_durable).contains(&seq)) {
            return;
        }
        self.turn(vec![Input::Recorded(now_durable)]);
    }
}
