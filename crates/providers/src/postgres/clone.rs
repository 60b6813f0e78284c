//! A fresh copy of the leader in the place of a server's own data, for what can't be rewound.
//!
//! The copy is made beside the data, under a name of ours, and changes places with it by renames once it is whole. Whatever is killed in the
//! middle leaves the old data in its place, or a copy that its name calls whole; the next try goes on from there. The old data is moved aside.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use mainstay_plan::action::Outcome;
use mainstay_plan::postgres::{OldData, PostgresFiles, PostgresServer};

use super::act::nothing_done;
use super::connect::{Session, answer};
use super::conninfo::following;
use super::own::{Kept, put_back, write};
use super::rejoin::{follow_from_start, stopped};
use super::rewind;
use crate::action::Attempt;
use crate::child::Output;
use crate::trouble;

/// Holds the key of the order that made a copy, so that one order makes one.
const MADE_BY: &str = "mainstay-copy";

/// What has to be free beside a tenth more than the databases: log that comes in meanwhile, and what is no database.
const ROOM: u64 = 256 << 20;

/// The names beside a data directory.
pub(super) struct Beside {
    /// A copy that is being made, or was when somebody was killed.
    pub(super) half: PathBuf,
    /// One that is whole, and is about to take its place.
    whole: PathBuf,
    /// Old data that is to be removed once it is not needed.
    unwanted: PathBuf,
}

impl Beside {
    pub(super) fn of(data: &Path) -> Beside {
        let named = |suffix: &str| named(data, suffix);
        Beside { half: named(".mainstay-copy"), whole: named(".mainstay-whole"), unwanted: named(".mainstay-unwanted") }
    }
}

pub(super) fn named(data: &Path, suffix: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    data.with_file_name(name)
}

/// What the leader says of itself before it is copied.
pub(super) struct Size {
    bytes: u64,
    tablespaces: u64,
}

impl Size {
    pub(super) async fn ask(session: &Session) -> Result<Size, Outcome> {
        let row = "SELECT (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint AS bytes, \
                   (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')) AS tablespaces";
        let row = session.row(row).await.map_err(|error| nothing_done(&answer("asking how large it is", &error)))?;
        let number = |name| row.get(name).and_then(|it| it.parse().ok()).unwrap_or(0);
        Ok(Size { bytes: number("bytes"), tablespaces: number("tablespaces") })
    }
}

/// Whom the copy is to follow.
pub(super) struct Followed<'a> {
    pub(super) leader: &'a PostgresServer,
    /// The slot in which it keeps its place there; empty: none.
    pub(super) slot: &'a str,
    /// Its `primary_conninfo` until now, of which the rest stays.
    pub(super) before: &'a str,
}

/// Ends what somebody who was killed could not: a whole copy takes its place, which is empty.
pub(super) fn go_on(data: &Path) -> io::Result<()> {
    let beside = Beside::of(data);
    if fs::exists(data)? || !fs::exists(&beside.whole)? {
        return Ok(());
    }
    into_place(data, &beside)
}

/// Whether the data there is a copy that this very order has made.
pub(super) fn is_made_by(data: &Path, key: &str) -> bool {
    fs::read_to_string(data.join(MADE_BY)).is_ok_and(|it| it == key)
}

/// Removes old data that nobody wants any more.
pub(super) fn remove_unwanted(data: &Path) -> io::Result<()> {
    remove(&Beside::of(data).unwanted)
}

/// Makes a copy and puts it in the place of the data. The server is stopped.
///
/// # Errors
/// Why not; the old data is in its place.
pub(super) async fn copy(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    whom: Followed<'_>,
    size: &Size,
    own: Vec<(PathBuf, Kept)>,
    old: OldData,
) -> Result<(), Outcome> {
    let Followed { leader, slot, before } = whom;
    let beside = Beside::of(&files.data);
    let failed =
        |doing: &'static str| move |error: io::Error| stopped(&format!("{doing}: {}", trouble::describe(&error)));
    if size.tablespaces > 0 {
        return Err(stopped(
            "the one to follow has tablespaces of its own, which are not copied: a fresh copy is yours",
        ));
    }
    let (data, half, needed) = (files.data.clone(), beside.half.clone(), size.bytes + size.bytes / 10 + ROOM);
    let begin = move || begin(&data, &half, needed);
    let key = format!("copy into {}", files.data.display());
    attempt.inner.gates.run(key.clone(), begin).await.map_err(failed("a fresh copy"))?;
    let source = format!("{} dbname=postgres", following("", leader));
    let (target, source) = (format!("--pgdata={}", beside.half.display()), format!("--dbname={source}"));
    let slot = (!slot.is_empty()).then(|| format!("--slot={slot}"));
    let mut arguments =
        vec![target.as_str(), source.as_str(), "--checkpoint=fast", "--wal-method=stream", "--no-password"];
    arguments.extend(slot.as_deref());
    attempt.so_far.set(stopped("a fresh copy was not made in time; its old data is in its place"));
    let argv = files.command("pg_basebackup", &arguments);
    match attempt.run(&argv, &BTreeMap::new(), Output::Capture).await {
        Ok(ended) if ended.success() => {}
        Ok(ended) => return Err(stopped(&format!("pg_basebackup {}", ended.describe()))),
        Err(error) => return Err(failed("pg_basebackup")(error)),
    }
    let (data, leader, before) = (files.data.clone(), leader.clone(), before.to_owned());
    let made_by = attempt.order.idempotency_key.clone();
    let place = move || {
        let half = &Beside::of(&data).half;
        put_back(half, &own)?;
        follow_from_start(half, &before, &leader)?;
        write(half, &half.join(MADE_BY), made_by.as_bytes())?;
        change_places(&data, old)
    };
    attempt.inner.gates.run(key, place).await.map_err(failed("putting a fresh copy in its place"))
}

/// Whether a copy could take the place of this data.
///
/// # Errors
/// Why not.
pub(super) fn can_be_put_aside(data: &Path) -> io::Result<fs::Metadata> {
    let no = |why: String| Err(io::Error::other(why));
    let there = fs::symlink_metadata(data)?;
    let parent = fs::metadata(parent_of(data))?;
    if !there.is_dir() {
        return no(format!("{} is a link, which is not put aside", data.display()));
    }
    if there.dev() != parent.dev() {
        return no(format!("{} is a disk of its own, which can't be put aside", data.display()));
    }
    if fs::symlink_metadata(data.join("pg_wal")).is_ok_and(|it| it.is_symlink()) {
        return no("its pg_wal is elsewhere, and would not be in a copy".to_owned());
    }
    rustix::fs::access(parent_of(data), rustix::fs::Access::WRITE_OK)?;
    Ok(there)
}

/// An empty folder for the copy, where there is room for it.
fn begin(data: &Path, half: &Path, needed: u64) -> io::Result<()> {
    let there = can_be_put_aside(data)?;
    remove(half)?;
    // What is in place is not missed.
    remove(&Beside::of(data).whole)?;
    let disk = rustix::fs::statvfs(parent_of(data))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed {
        let why = format!("a fresh copy may need {} MB, and {} MB are free there", needed >> 20, free >> 20);
        return Err(io::Error::other(why));
    }
    fs::DirBuilder::new().mode(0o700).create(half)?;
    lchown(half, Some(there.uid()), Some(there.gid()))
}

/// The copy is whole. From the first rename on, what is in the middle of it is recognised.
fn change_places(data: &Path, old: OldData) -> io::Result<()> {
    let beside = Beside::of(data);
    fs::rename(&beside.half, &beside.whole)?;
    sync_parent(data)?;
    let aside = match old {
        OldData::Keep => aside(data),
        OldData::Remove => {
            remove(&beside.unwanted)?;
            beside.unwanted.clone()
        }
    };
    fs::rename(data, aside)?;
    into_place(data, &beside)
}

fn into_place(data: &Path, beside: &Beside) -> io::Result<()> {
    fs::rename(&beside.whole, data)?;
    rewind::forget(data)?;
    sync_parent(data)
}

/// A name that nothing has.
fn aside(data: &Path) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let names = (now..).map(|it| named(data, &format!(".old-{it}")));
    names.into_iter().find(|it| !it.exists()).unwrap_or_else(|| named(data, ".old"))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn parent_of(data: &Path) -> &Path {
    data.parent().unwrap_or(Path::new("/"))
}

pub(super) fn sync_parent(data: &Path) -> io::Result<()> {
    fs::File::open(parent_of(data))?.sync_all()
}
