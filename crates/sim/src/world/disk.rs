//! The disk: it syncs late, loses what was not synced, and can be lost.

use std::time::Duration;

use mainstay_engine::codec::{Encoded, decode, encode};
use mainstay_engine::{Input, Record};
use mainstay_plan::Time;

use super::{Crash, CrashKind, World};

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
            self.second.push((seq, record.clone()));
        }
    }

    /// What the agent that runs has written into the second file since its journal was lost.
    pub fn second_file_of(&self) -> &[(u64, Record)] {
        &self.second
    }

    pub(super) fn synced(&mut self) {
        let before = self.durable.len() as u64;
        let handed_over = before + self.unsynced.len() as u64;
        if let Some((kind, down_for)) = self.tears
            && let Some(nth) = self.unsynced.iter().position(|it| it.body.kind() == kind)
        {
            self.tears = None;
            self.crash = Some(Crash { seq: before + 1 + nth as u64, kind: CrashKind::Torn, down_for });
        }
        let torn = self.crash.filter(|it| it.kind == CrashKind::Torn && (before + 1..=handed_over).contains(&it.seq));
        if let Some(crash) = torn {
            self.unsynced.truncate(usize::try_from(crash.seq - before).expect("fits"));
        }
        self.durable.append(&mut self.unsynced);
        self.syncing = false;
        let now_durable = self.durable.len() as u64;
        for (seq, record) in (before + 1..).zip(&self.durable[usize::try_from(before).expect("fits")..]) {
            self.checkers.recorded(seq, record);
        }
        for record in &self.durable[usize::try_from(before).expect("fits")..] {
            self.fence_is_true(record);
        }
        let is_new = |seq: u64| (before + 1..=now_durable).contains(&seq);
        if self.strikes(CrashKind::AfterRecord, is_new) || self.strikes(CrashKind::Torn, is_new) {
            return;
        }
        self.turn(vec![Input::Recorded(now_durable)]);
    }
}
