//! What restore tests have shown, for the proof: read where it lies, in the series' folder or in the journal of an agent on this machine.
//!
//! Nothing of it is needed. Where neither can be read from here, as in anyone's continuous integration, the proof says what it assumes.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_backups::{Folder, last_test};
use mainstay_engine::codec::{Encoded, decode};
use mainstay_engine::{Body, Record};
use mainstay_plan::Plan;
use mainstay_plan::backup::{Backup, KeepingJob, Measured};
use mainstay_store::Reader;

/// The plan with all that can be read from here.
pub(crate) fn measured(plan: Plan) -> Plan {
    let is_ours = |it: &Backup| it.postgres.is_some();
    if !plan.components.iter().flat_map(|it| &it.backups).any(is_ours) {
        return plan;
    }
    let journal = of_journal(&plan.state_dir);
    plan.measured(|component, backup| {
        let folder = of_folder(backup);
        let told = journal.iter().filter(|it| it.component == component && it.series == backup.name);
        let mut from_journal = Measured::default();
        let now = Timestamp::now();
        for it in told {
            match it.longest {
                Some(longest) => {
                    let age = Duration::try_from(now.duration_since(it.at)).unwrap_or_default() + it.age;
                    from_journal = Measured { good: Some((longest, age)), failed: false };
                }
                None => from_journal.failed = true,
            }
        }
        let found = Measured { good: folder.or(from_journal.good), failed: from_journal.failed };
        (backup.postgres.is_some() && found != Measured::default()).then_some(found)
    })
}

/// The longest restore test of the backups that are there, and how long ago the last one was.
fn of_folder(backup: &Backup) -> Option<(Duration, Duration)> {
    let listed = Folder::open(&backup.postgres.as_deref()?.folder).ok()?.backups().ok()?;
    let tests = || listed.backups.iter().filter_map(|it| it.test.as_ref());
    let longest = tests().map(|it| it.took_ms).max()?;
    let now = Timestamp::now();
    let last = last_test(&listed.backups, now).map(|it| it.1.at).or_else(|| tests().map(|it| it.at).max())?;
    let age = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    Some((Duration::from_millis(longest), age))
}

/// How a restore test ended, by a journal.
struct Told {
    component: String,
    series: String,
    at: Timestamp,
    /// The longest of those that are there; `None`: it failed.
    longest: Option<Duration>,
    /// How old the last good one was then.
    age: Duration,
}

fn of_journal(state: &Path) -> Vec<Told> {
    let Ok(reader) = Reader::open(state) else { return Vec::new() };
    let mut told = Vec::new();
    for record in reader.records(1) {
        // What is wrong with a journal says `journal verify`.
        let Ok(record) = record else { break };
        if !record.entry.kind.starts_with("keeping_") {
            continue;
        }
        let encoded = Encoded {
            at_ns: record.entry.wall_ns.cast_unsigned(),
            kind: record.entry.kind,
            version: record.entry.version,
            payload: record.entry.payload,
        };
        told.extend(decode(&encoded).ok().and_then(test_in));
    }
    told
}

fn test_in(record: Record) -> Option<Told> {
    let at = Timestamp::from_nanosecond(record.at.as_nanos().into()).ok()?;
    if let Body::KeepingFailed { component, series, job: KeepingJob::RestoreTest, .. } = record.body {
        return Some(Told { component, series, at, longest: None, age: Duration::ZERO });
    }
    let Body::KeepingCompleted { component, series, seen, .. } = record.body else { return None };
    let tested = seen.tested?;
    let (longest, age) = (Some(Duration::from_millis(tested.longest_ms)), Duration::from_millis(tested.age_ms));
    Some(Told { component, series, at, longest, age })
}
