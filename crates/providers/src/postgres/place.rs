//! A restored server in the place of the old one.
//!
//! The old server is stopped, the new one is made beside it, checked and stopped in order, and then two folders are renamed: the old one stays beside,
//! with the moment in its name. Whatever ends this in between is seen by the next attempt: what is beside is not ready, and is made
//! anew; or it is, and only the names are missing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mainstay_backups::Folder;
use mainstay_plan::action::{Outcome, ServiceOp};
use mainstay_plan::postgres::{PostgresBackup, PostgresFiles, PostgresServer};

use super::act::prefixed;
use super::backup::{blocking, failed, io_error};
use super::own::Control;
use super::restore::{KEPT_SETTINGS, OF_THE_RESTORE, RestoreBackup, RestoreTarget, mark, remove_if_there, restore};
use super::service::operate;
use super::{own, rewind};
use crate::Inner;
use crate::action::Attempt;

/// In the data directory of a server that was restored and may take the old one's place: for which order that was.
const READY: &str = "mainstay-restored";

pub(super) async fn in_place(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    series: &PostgresBackup,
) -> Result<Outcome, Outcome> {
    let Some(files) = &server.files else {
        return Err(Outcome::Failed("nothing was done: the plan does not say where its data is".to_owned()));
    };
    let beside = named(&files.data, "mainstay-restored");
    let (data, there, key) = (files.data.clone(), beside.clone(), attempt.order.idempotency_key.clone());
    let looked = blocking(attempt, &files.data, move || look(&data, &there, &key)).await;
    match looked.map_err(|why| failed("nothing was done", &why))? {
        Seen::Done => {}
        Seen::Ready => stop(attempt, files).await?,
        Seen::Nothing => {
            stop(attempt, files).await?;
            make(attempt, server, files, series, &beside)
                .await
                .map_err(|outcome| prefixed("it is stopped", outcome))?;
        }
    }
    let (data, key) = (files.data.clone(), attempt.order.idempotency_key.clone());
    let moved = blocking(attempt, &files.data, move || take_the_place(&data, &beside, &key)).await;
    moved.map_err(|why| failed("it is stopped, and what was restored is beside it", &why))?;
    let started = operate(attempt, ServiceOp::Start, files).await;
    if started == Outcome::Done { Ok(started) } else { Err(prefixed("starting what was restored", started)) }
}

/// What is run.
pub(crate) fn programs_of_restore(files: &PostgresFiles) -> Vec<Vec<String>> {
    let files = PostgresFiles { run_as: None, ..files.clone() };
    ["pg_verifybackup", "pg_controldata", "pg_ctl", "psql"].map(|it| files.command(it, &[])).into()
}

/// Whether there is something to restore.
pub(crate) async fn prepare_restore(inner: &Inner, series: &PostgresBackup) -> Result<(), String> {
    let path = series.folder.clone();
    let look = move || {
        let listed = Folder::open(&path).and_then(|it| it.backups()).map_err(io_error)?;
        let none = || io::Error::other(format!("there is no backup in {}", path.display()));
        listed.backups.last().map(|_| ()).ok_or_else(none)
    };
    let looked = inner.gates.run(format!("backups in {}", series.folder.display()), look).await;
    looked.map_err(|it| it.to_string())
}

/// How far an attempt before this one came.
enum Seen {
    Nothing,
    /// What is beside has only to get its name.
    Ready,
    /// It has it.
    Done,
}

fn look(data: &Path, beside: &Path, key: &str) -> io::Result<Seen> {
    let is_of_this_order = |it: &Path| match fs::read_to_string(it.join(READY)) {
        Ok(text) => Ok(text == key),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    };
    if is_of_this_order(data)? {
        return Ok(Seen::Done);
    }
    if is_of_this_order(beside)? {
        return Ok(Seen::Ready);
    }
    if beside.try_exists()? {
        // Ours by its name, and of no use any more: it is made anew.
        fs::write(mark(beside), "")?;
    }
    Ok(Seen::Nothing)
}

async fn stop(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), Outcome> {
    let stopped = operate(attempt, ServiceOp::Stop, files).await;
    if stopped == Outcome::Done { Ok(()) } else { Err(prefixed("stopping it", stopped)) }
}

async fn make(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    files: &PostgresFiles,
    series: &PostgresBackup,
    beside: &Path,
) -> Result<(), Outcome> {
    let program = std::env::current_exe().map_err(|error| failed("our own program", &error.to_string()))?;
    let here = PostgresBackup { bin: files.bin.clone(), run_as: files.run_as.clone(), ..series.clone() };
    let order = RestoreBackup {
        series: &here,
        to: &RestoreTarget::Latest,
        backup: None,
        beside,
        port: None,
        user: &server.user,
        program: &program,
        keeps_log: true,
    };
    restore(attempt, &order).await?;
    let copy = here.files(beside.to_owned());
    stop(attempt, &copy).await?;
    let control = Control::read(&attempt.inner.gates, &copy).await;
    let control = control.map_err(|why| failed("what was restored was not made ready", &why))?;
    let (data, beside, key) = (files.data.clone(), beside.to_owned(), attempt.order.idempotency_key.clone());
    let settled = blocking(attempt, &files.data, move || settle(&data, &beside, &control, &key)).await;
    settled.map_err(|why| failed("what was restored was not made ready", &why))
}

/// Makes of a copy that was looked at one that is as the old server was set.
fn settle(data: &Path, beside: &Path, control: &Control, key: &str) -> io::Result<()> {
    OF_THE_RESTORE.iter().try_for_each(|it| remove_if_there(&beside.join(it)))?;
    let kept = beside.join(KEPT_SETTINGS);
    if kept.try_exists()? {
        fs::rename(&kept, beside.join("postgresql.auto.conf"))?;
    }
    // Where there is none, or its disk is empty, that of the backup has to do.
    let own = rewind::own_configuration(data).unwrap_or_default();
    if !own.is_empty() {
        own::put_back(beside, &own)?;
    }
    archive_later(beside, control)?;
    own::write(beside, &beside.join(READY), key.as_bytes())
}

/// It began its timeline while it archived nothing: the history of that, and all that it has finished of its log, are given to its archiver. The
/// segment that is written is archived when it ends.
fn archive_later(beside: &Path, control: &Control) -> io::Result<()> {
    let log = beside.join("pg_wal");
    let status = log.join("archive_status");
    let mut names = own::finished_segments(beside, control.timeline, control.segment)?;
    let history = format!("{:08X}.history", control.timeline);
    names.extend(log.join(&history).try_exists()?.then_some(history));
    for name in names {
        if !status.join(format!("{name}.done")).try_exists()? {
            own::write(beside, &status.join(format!("{name}.ready")), b"")?;
        }
    }
    Ok(())
}

/// Two renames. Whoever is killed between them finds the second one undone.
fn take_the_place(data: &Path, beside: &Path, key: &str) -> io::Result<()> {
    match look(data, beside, key)? {
        Seen::Done => return Ok(()),
        Seen::Nothing => return Err(io::Error::other("what was restored is not there any more")),
        Seen::Ready => {}
    }
    if data.try_exists()? {
        let moment = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        fs::rename(data, named(data, &format!("before-restore-{moment}")))?;
    }
    fs::rename(beside, data)?;
    rewind::forget(data)?;
    fs::File::open(data.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Beside the data directory.
fn named(data: &Path, what: &str) -> PathBuf {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    data.with_file_name(format!("{name}.{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(at: &Path, key: Option<&str>) {
        fs::create_dir(at).expect("made");
        key.into_iter().for_each(|it| fs::write(at.join(READY), it).expect("written"));
    }

    #[test]
    fn each_place_where_it_may_be_killed_is_known_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, beside) = (dir.path().join("data"), named(&dir.path().join("data"), "mainstay-restored"));
        let seen = || look(&data, &beside, "r7/1").expect("looked");
        folder(&data, Some("r1/1"));
        assert!(matches!(seen(), Seen::Nothing), "that was another order");
        folder(&beside, None);
        assert!(matches!(seen(), Seen::Nothing));
        assert!(mark(&beside).is_file(), "it may be removed");
        assert!(take_the_place(&data, &beside, "r7/1").is_err());
        fs::write(beside.join(READY), "r7/1").expect("written");
        assert!(matches!(seen(), Seen::Ready));
        fs::rename(&data, dir.path().join("old")).expect("killed after the first name");
        assert!(matches!(seen(), Seen::Ready));
        for _ in 0..2 {
            take_the_place(&data, &beside, "r7/1").expect("it has the name");
            assert!(matches!(seen(), Seen::Done));
        }
    }

    #[test]
    fn what_it_has_finished_is_archived_later() {
        const SIZE: u64 = 1 << 20;
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("pg_wal");
        fs::create_dir_all(log.join("archive_status")).expect("made");
        // What a segment's first page says: of which timeline it is, and where it begins.
        let segment = |timeline: u32, number: u64, says: (u32, u64)| {
            let mut page = vec![0; 40];
            page[4..8].copy_from_slice(&says.0.to_ne_bytes());
            page[8..16].copy_from_slice(&(says.1 * SIZE).to_ne_bytes());
            let name = own::segment_name(timeline, number, SIZE);
            fs::write(log.join(&name), page).expect("written");
            name
        };
        segment(1, 4, (1, 4));
        // It begins with what the timeline before has in the one where it ends.
        let first = segment(2, 5, (1, 5));
        let second = segment(2, 6, (2, 6));
        segment(2, 7, (2, 7));
        // Two that wait to be used: one held that part of the old timeline, one an earlier part of the new one.
        segment(2, 8, (1, 8));
        segment(2, 9, (2, 4));
        fs::write(log.join("00000002.history"), "1\t0/500100\treason\n").expect("written");
        let control =
            Control { system: "7".to_owned(), timeline: 2, segment: SIZE, is_shut_down: true, can_be_rewound: false };
        archive_later(dir.path(), &control).expect("marked");
        let marked = fs::read_dir(log.join("archive_status")).expect("read");
        let mut marked: Vec<_> = marked.flatten().filter_map(|it| it.file_name().into_string().ok()).collect();
        marked.sort();
        assert_eq!(marked, ["00000002.history.ready".to_owned(), format!("{first}.ready"), format!("{second}.ready")]);
    }

    #[test]
    fn the_old_one_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, beside) = (dir.path().join("data"), named(&dir.path().join("data"), "mainstay-restored"));
        folder(&data, None);
        fs::write(data.join("precious"), "").expect("written");
        folder(&beside, Some("r7/1"));
        take_the_place(&data, &beside, "r7/1").expect("it has the name");
        let names = fs::read_dir(dir.path()).expect("read").map(|it| it.expect("an entry").path());
        assert!(names.filter(|it| it.join("precious").is_file()).count() == 1);
    }
}
