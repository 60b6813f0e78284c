//! Keeping a series as its plan says: what is due by what is in its folder is done, and what the folder holds is said.
//!
//! Whoever else takes or tests goes first, and what they did counts: the folder's lock is waited for, and only then is it looked at.
//! So doing it twice does it once.

use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use mainstay_backups::{Backup, Folder, FolderError, Listed, Lock, dated_ahead, last_test, newest};
use mainstay_plan::action::Outcome;
use mainstay_plan::backup::{BackupSeen, KeepingJob, SeriesSeen, TestSeen};
use mainstay_plan::observation::LogPosition;
use mainstay_plan::postgres::{Keeping, PostgresBackup, PostgresFiles, PostgresProbe, PostgresServer};
use mainstay_plan::probe::ProbeKind;

use super::backup::{TakeBackup, blocking, failed, io_error, take_alone};
use super::restore::{RestoreBackup, RestoreTarget, test_alone};
use crate::Inner;
use crate::action::Attempt;
use crate::bucket;

/// How long a server may take to say what it is.
const ASK: Duration = Duration::from_secs(3);

/// A standby that is that far behind is left out: what it has may be old.
const BEHIND: u64 = 64 << 20;

/// How long to wait before looking again whether somebody else has done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where a restore is tested.
const TEST: &str = "test";

pub(super) async fn keep(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    keeping: &Keeping,
) -> Result<Outcome, Outcome> {
    let series = &keeping.series;
    let lock = alone(attempt, series).await?;
    let before = list(attempt, series).await?;
    if !is_due(&before.backups, keeping, Timestamp::now()) {
        // It may have been taken, and not copied.
        let (done, trouble) = match keeping.job {
            KeepingJob::Backup => copy(attempt, keeping, &lock).await?,
            KeepingJob::RestoreTest => (false, None),
        };
        return Ok(Outcome::Kept(Box::new(seen(&before, done, trouble))));
    }
    let trouble = match keeping.job {
        KeepingJob::Backup => {
            let server = choose(attempt.inner, &keeping.servers).await;
            let server = server.map_err(|why| failed("nothing was done", &why))?;
            let order = TakeBackup { server, series, keep: keeping.keep };
            let taken = Box::pin(take_alone(attempt, &order, lock)).await?;
            let (_, not_removed) = copy(attempt, keeping, &alone(attempt, series).await?).await?;
            let trouble = taken.removed.err().map(|why| format!("nothing old was removed: {why}"));
            trouble.or(not_removed)
        }
        KeepingJob::RestoreTest => {
            let program = std::env::current_exe().map_err(|error| failed("our own program", &error.to_string()))?;
            let order = RestoreBackup {
                series,
                to: &RestoreTarget::Latest,
                backup: None,
                beside: &series.scratch.join(TEST),
                port: None,
                user: &server.user,
                program: &program,
                keeps_log: false,
            };
            Box::pin(test_alone(attempt, &order, lock)).await?;
            None
        }
    };
    Ok(Outcome::Kept(Box::new(seen(&list(attempt, series).await?, true, trouble))))
}

/// Copies the series to its buckets: whether one of them lacked something, and why not all that is old was removed there.
async fn copy(attempt: &Attempt<'_>, keeping: &Keeping, lock: &Lock) -> Result<(bool, Option<String>), Outcome> {
    let path = keeping.series.folder.clone();
    let open = move || Folder::open(path).map_err(io_error);
    let folder = blocking(attempt, &keeping.series.folder, open).await.map_err(|why| failed("not copied", &why))?;
    let (mut done, mut not_removed, mut trouble) = (false, None, Vec::new());
    for path in &keeping.series.buckets {
        attempt
            .so_far
            .set(Outcome::Failed("what was taken is there, and was not copied to its bucket in time".to_owned()));
        let copied = bucket::copy(attempt.inner, &folder, lock, path, Some(keeping.keep)).boxed();
        // One that is away does not keep the others from having it.
        match copied.await {
            Ok(copied) => {
                done |= !copied.backups.is_empty();
                not_removed = not_removed.or(copied.trouble);
            }
            Err(why) => trouble.push(why.to_string()),
        }
    }
    match trouble.is_empty() {
        true => Ok((done, not_removed)),
        false => Err(failed("what was taken is there, and not copied", &trouble.join("; "))),
    }
}

/// What is run.
pub(crate) fn programs_of_keeping(keeping: &Keeping) -> Vec<Vec<String>> {
    let files = PostgresFiles { run_as: None, ..keeping.series.files(keeping.series.scratch.join(TEST)) };
    let programs: &[&str] = match keeping.job {
        KeepingJob::Backup => &["pg_basebackup", "pg_verifybackup"],
        KeepingJob::RestoreTest => &["pg_verifybackup", "pg_controldata", "pg_ctl", "psql"],
    };
    programs.iter().map(|it| files.command(it, &[])).collect()
}

/// Whether its folder is there.
pub(crate) async fn prepare_keeping(inner: &Inner, keeping: &Keeping) -> Result<(), String> {
    let path = keeping.series.folder.clone();
    let look = move || Folder::open(&path).map(|_| ()).map_err(io_error);
    let looked = inner.gates.run(format!("backups in {}", keeping.series.folder.display()), look).await;
    looked.map_err(|it| it.to_string())?;
    for path in keeping.series.buckets.iter().filter(|_| keeping.job == KeepingJob::Backup) {
        bucket::prepare(inner, path).await?;
    }
    Ok(())
}

/// Waits until nobody else takes, tests or removes.
async fn alone(attempt: &Attempt<'_>, series: &PostgresBackup) -> Result<Lock, Outcome> {
    loop {
        let path = series.folder.clone();
        let lock = move || match Folder::open(path).and_then(|it| it.lock()) {
            Ok(lock) => Ok(Some(lock)),
            Err(FolderError::Locked { .. }) => Ok(None),
            Err(error) => Err(io_error(error)),
        };
        let lock = blocking(attempt, &series.folder, lock).await.map_err(|why| failed("nothing was done", &why))?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        let why = "nothing was done: somebody else has used the folder all the time".to_owned();
        attempt.so_far.set(Outcome::Failed(why));
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn list(attempt: &Attempt<'_>, series: &PostgresBackup) -> Result<Listed, Outcome> {
    let path = series.folder.clone();
    let list = move || Folder::open(path).and_then(|it| it.backups()).map_err(io_error);
    blocking(attempt, &series.folder, list).await.map_err(|why| failed("the folder can't be read", &why))
}

fn is_due(backups: &[Backup], keeping: &Keeping, now: Timestamp) -> bool {
    let last = match keeping.job {
        KeepingJob::Backup => newest(backups, now).map(|it| it.began),
        KeepingJob::RestoreTest => last_test(backups, now).map(|it| it.1.at),
    };
    last.is_none_or(|it| age(now, it) >= keeping.every)
}

fn age(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

fn ms(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

fn seen(listed: &Listed, done: bool, trouble: Option<String>) -> SeriesSeen {
    let now = Timestamp::now();
    let newest = newest(&listed.backups, now).or_else(|| listed.backups.last()).map(|it| BackupSeen {
        name: it.name.clone(),
        age_ms: ms(age(now, it.began)),
        took_ms: it.took_ms,
        bytes: it.bytes,
        from: it.from.clone(),
        role: it.role.clone(),
    });
    let tests = listed.backups.iter().filter_map(|it| it.test.as_ref());
    let longest_ms = tests.map(|it| it.took_ms).max().unwrap_or_default();
    let tested = last_test(&listed.backups, now).map(|(backup, test)| TestSeen {
        backup: backup.name.clone(),
        age_ms: ms(age(now, test.at)),
        took_ms: test.took_ms,
        longest_ms,
    });
    let damaged = listed.damaged.iter().map(|it| io_error(it).to_string());
    let trouble: Vec<String> = trouble.into_iter().chain(damaged).chain(dated_ahead(&listed.backups, now)).collect();
    let trouble = (!trouble.is_empty()).then(|| crate::trouble::clip(&trouble.join("; ")));
    SeriesSeen { done, newest, tested, trouble }
}

/// Whom a backup is copied from: a standby that keeps up, if there is one, else the primary. Of several that say that they are the primary, the one whose
/// timeline is the highest: the others were it before.
///
/// # Errors
/// None of them says what it is, and why.
pub(crate) async fn choose<'s>(inner: &Inner, servers: &'s [PostgresServer]) -> Result<&'s PostgresServer, String> {
    let (mut primaries, mut standbys, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for server in servers {
        let probe = PostgresProbe { server: server.clone(), writes: false, only_primary: false };
        let answer = crate::probe::run(inner, &ProbeKind::Postgres(Box::new(probe)), None, ASK).await;
        match answer.role.as_deref() {
            Some("primary") => primaries.push((server, answer.position)),
            Some(_) => standbys.push((server, answer.position)),
            None => {
                let why = answer.answer.detail().unwrap_or("it does not answer").to_owned();
                silent.push(format!("{}: {why}", server.address));
            }
        }
    }
    let chosen = best(&primaries, &standbys).copied();
    chosen.ok_or_else(|| format!("no server can be asked: {}", silent.join("; ")))
}

fn best<'a, S>(primaries: &'a [(S, Option<LogPosition>)], standbys: &'a [(S, Option<LogPosition>)]) -> Option<&'a S> {
    let primary = primaries.iter().max_by_key(|it| it.1.as_ref().map(|it| it.timeline));
    let keeps_up = |at: &Option<LogPosition>| match (primary, at) {
        // With nobody to compare it with, it is the best that there is.
        (None, _) => true,
        (Some((_, Some(ahead))), Some(at)) => ahead.is_comparable(at) && at.at + BEHIND >= ahead.at,
        (Some(_), _) => false,
    };
    standbys.iter().find(|it| keeps_up(&it.1)).or(primary).map(|it| &it.0)
}

#[cfg(test)]
mod tests {
    use mainstay_backups::{Lsn, Test};
    use mainstay_plan::backup::TakenBy;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).expect("a moment")
    }

    fn backup(hours: i64, tested: Option<i64>) -> Backup {
        Backup {
            name: format!("of {hours}"),
            system: 7,
            timeline: 1,
            start: Lsn(0),
            stop: Lsn(1),
            began: at(hours),
            ended: at(hours),
            verified: at(hours),
            took_ms: 1,
            files: 1,
            bytes: 1,
            from: "x".to_owned(),
            role: "primary".to_owned(),
            test: tested.map(|it| Test { at: at(it), took_ms: 1, reached: Lsn(1) }),
        }
    }

    fn keeping(job: KeepingJob) -> Keeping {
        let series = PostgresBackup {
            folder: "/nowhere".into(),
            bin: None,
            run_as: None,
            scratch: "/nowhere".into(),
            database: "postgres".to_owned(),
            check: None,
            taken_by: TakenBy::Agent,
            buckets: Vec::new(),
        };
        let day = Duration::from_secs(24 * 3600);
        Keeping { job, series, every: day, keep: day, servers: Vec::new() }
    }

    #[test]
    fn what_is_dated_in_the_future_keeps_nothing_from_being_due() {
        let all = [backup(10, Some(900)), backup(800, None)];
        let (backups, tests) = (keeping(KeepingJob::Backup), keeping(KeepingJob::RestoreTest));
        assert!(!is_due(&all, &backups, at(11)) && is_due(&all, &tests, at(11)), "it was taken, and not tested");
        assert!(is_due(&all, &backups, at(34)) && is_due(&all, &tests, at(34)));
        assert!(!is_due(&all, &backups, at(801)) && !is_due(&all, &tests, at(901)));
        let ahead = Timestamp::now() + Duration::from_secs(24 * 3600);
        let listed = Listed {
            backups: vec![backup(10, None), Backup { began: ahead, ..backup(10, None) }],
            damaged: Vec::new(),
        };
        let seen = seen(&listed, false, None);
        assert!(seen.trouble.is_some_and(|it| it.contains("dated in the future")));
        assert!(seen.newest.is_some_and(|it| it.age_ms > 24 * 3600 * 1000), "people are told when none comes any more");
    }

    #[test]
    fn a_former_primary_is_not_copied() {
        let of = |name, timeline, at| (name, Some(LogPosition { system: "7".to_owned(), timeline, at }));
        let (new, former) = (of("new", 3, 10), of("former", 2, 9 * BEHIND));
        for primaries in [[new.clone(), former.clone()], [former.clone(), new.clone()], [("silent", None), new.clone()]]
        {
            assert_eq!(best(&primaries, &[]), Some(&"new"));
            assert_eq!(best(&primaries, &[of("follows the former", 2, 9 * BEHIND)]), Some(&"new"));
            assert_eq!(best(&primaries, &[of("follows", 3, 9)]), Some(&"follows"));
        }
        assert_eq!(best(&[], &[former]), Some(&"former"), "there is no other");
        assert_eq!(best::<&str>(&[], &[]), None);
    }
}
