//! What a server's own files say: how it is set up, how far its log goes, and what it is called.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use mainstay_plan::postgres::PostgresFiles;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::child::{self, Leftovers, Output};
use crate::gates::Gates;
use crate::trouble;

/// Endings of files in a data directory that say how this server is, and not what is in it.
const CONFIGURATION: [&str; 5] = ["conf", "crt", "key", "pem", "crl"];

/// Refuses to open what is a symbolic link: the folder is the server's user's, who may have put it there.
pub(crate) const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// What is asked here.
const PROGRAMS: [&str; 3] = ["pg_controldata", "postgres", "psql"];

/// A file that stays this server's own, whatever is brought from the leader.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Kept {
    File(Vec<u8>),
    /// Where it leads.
    Link(PathBuf),
}

impl Kept {
    /// Puts it under its name into a data directory.
    fn put(&self, data: &Path, name: &Path) -> io::Result<()> {
        let path = data.join(name);
        if let Some(folder) = path.parent().filter(|it| *it != data) {
            let found = found(folder)?;
            if found.as_ref().is_some_and(|it| !it.is_dir()) {
                // What is put there would be elsewhere.
                fs::remove_file(folder)?;
            }
            if found.is_none_or(|it| !it.is_dir()) {
                fs::DirBuilder::new().mode(0o700).create(folder)?;
                let owner = fs::metadata(data)?;
                lchown(folder, Some(owner.uid()), Some(owner.gid()))?;
            }
        }
        match self {
            Kept::File(content) => write(data, &path, content),
            Kept::Link(to) => {
                match found(&path)? {
                    Some(it) if it.is_dir() => fs::remove_dir_all(&path)?,
                    Some(_) => fs::remove_file(&path)?,
                    None => {}
                }
                symlink(to, &path)
            }
        }
    }
}

/// What is there, and not where it leads; `None`: nothing.
fn found(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(it) => Ok(Some(it)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Its own configuration, as far as it is in its data directory, by name. Of a `conf.d` that leads elsewhere only that is kept: its server's user
/// says where to, and root would read what is there for that one.
pub(super) fn configuration(data: &Path) -> io::Result<Vec<(PathBuf, Kept)>> {
    let mut all = Vec::new();
    for folder in ["", "conf.d"] {
        if !folder.is_empty() {
            let at = data.join(folder);
            match found(&at)? {
                Some(it) if it.is_dir() => {}
                Some(it) if it.is_symlink() => {
                    all.push((PathBuf::from(folder), Kept::Link(fs::read_link(&at)?)));
                    continue;
                }
                Some(_) | None => continue,
            }
        }
        for entry in fs::read_dir(data.join(folder))? {
            let (path, name) = entry.map(|it| (it.path(), Path::new(folder).join(it.file_name())))?;
            if !path.extension().and_then(|it| it.to_str()).is_some_and(|it| CONFIGURATION.contains(&it)) {
                continue;
            }
            let found = fs::symlink_metadata(&path)?;
            if found.is_symlink() {
                all.push((name, Kept::Link(fs::read_link(&path)?)));
            } else if found.is_file() {
                let mut content = Vec::new();
                fs::File::options().read(true).custom_flags(NO_LINK).open(&path)?.read_to_end(&mut content)?;
                all.push((name, Kept::File(content)));
            }
        }
    }
    Ok(all)
}

/// Makes it the only configuration there, in whose place the leader's was brought.
pub(super) fn put_back(data: &Path, all: &[(PathBuf, Kept)]) -> io::Result<()> {
    all.iter().try_for_each(|(name, it)| it.put(data, name))?;
    let brought = configuration(data)?;
    let others = brought.into_iter().filter(|(name, _)| !all.iter().any(|(own, _)| own == name));
    others.map(|(name, _)| name).try_for_each(|name| fs::remove_file(data.join(name)))
}

/// Beside it and renamed, synced, and its server's own. A symbolic link beside it is refused.
pub(super) fn write(data: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("mainstay");
    let mut how = fs::File::options();
    let mut file = how.create(true).write(true).truncate(true).mode(0o600).custom_flags(NO_LINK).open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    let owner = fs::metadata(data)?;
    fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    fs::File::open(path.parent().unwrap_or(data))?.sync_all()
}

/// What its control file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// Which database it is, as all copies of it say.
    pub(super) system: String,
    pub(super) timeline: u32,
    /// How large a file of its log is, in bytes.
    pub(super) segment: u64,
    /// Whether it was stopped in order, so that nothing of its log waits to be replayed.
    pub(super) is_shut_down: bool,
    /// Whether pages that only `pg_rewind` has to know of are in its log.
    pub(super) can_be_rewound: bool,
}

impl Control {
    /// # Errors
    /// Why it could not be read, for people.
    pub(super) async fn read(gates: &Gates, files: &PostgresFiles) -> Result<Control, String> {
        let data = files.data.display().to_string();
        let text = said(gates, &files.command("pg_controldata", &["-D", &data])).await?;
        Control::parse(&text).ok_or_else(|| "pg_controldata does not say what is in its control file".to_owned())
    }

    fn parse(text: &str) -> Option<Control> {
        let of = |name: &str| {
            let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let state = of("Database cluster state")?;
        // A primary says there which timeline it began until its first checkpoint on it; after that nothing.
        let ended = of("Min recovery ending loc's timeline").and_then(|it| it.parse().ok());
        let checkpoint: u32 = of("Latest checkpoint's TimeLineID")?.parse().ok()?;
        Some(Control {
            system: of("Database system identifier")?.to_owned(),
            timeline: checkpoint.max(ended.unwrap_or(0)),
            segment: of("Bytes per WAL segment")?.parse().ok().filter(|it: &u64| it.is_power_of_two())?,
            is_shut_down: ["shut down", "shut down in recovery"].contains(&state),
            can_be_rewound: of("wal_log_hints setting") == Some("on")
                || of("Data page checksum version").is_some_and(|it| it != "0"),
        })
    }
}

/// A setting of a server that is stopped; empty where it has none.
///
/// # Errors
/// Why it could not be asked, for people.
pub(super) async fn setting(gates: &Gates, files: &PostgresFiles, name: &str) -> Result<String, String> {
    let data = files.data.display().to_string();
    let config = files.config_file.as_ref().map(|it| format!("config_file={}", it.display()));
    let mut arguments = vec!["-D", &data, "-C", name];
    arguments.extend(config.iter().flat_map(|it| ["-c", it]));
    Ok(said(gates, &files.command("postgres", &arguments)).await?.trim().to_owned())
}

/// What a program prints, in no language and in UTC.
///
/// # Errors
/// Why it failed, for people.
pub(super) async fn said(gates: &Gates, argv: &[String]) -> Result<String, String> {
    let program = argv.iter().find_map(|it| Path::new(it).file_name()?.to_str().filter(|it| PROGRAMS.contains(it)));
    let program = program.unwrap_or("a program of PostgreSQL");
    match child::run(gates, argv, &plain(), Output::Capture, Leftovers::Kill).await {
        Ok(ended) if ended.success() => Ok(ended.stdout_text()),
        Ok(ended) => Err(format!("{program} {}", ended.describe())),
        Err(error) => Err(format!("{program}: {}", trouble::describe(&error))),
    }
}

/// The surroundings of a program whose output is read.
pub(super) fn plain() -> BTreeMap<String, String> {
    [("LC_ALL", "C"), ("TZ", "UTC")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The newest file of a log whose beginning was written: one that waits to be used has the name of what will be in it, and not yet what.
pub(super) fn newest_segment(data: &Path, segment: u64) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(data.join("pg_wal"))? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|it| segment_number(it, segment)) else { continue };
        let mut head = [0; 16];
        let read = fs::File::open(entry.path()).and_then(|mut it| it.read_exact(&mut head));
        let [_, _, _, _, _, _, _, _, begins @ ..] = head;
        if read.is_ok() && u64::from_ne_bytes(begins) == number * segment {
            newest = newest.max(Some(number));
        }
    }
    Ok(newest)
}

/// The files of a timeline's log before the one that is written, by name. The first may begin with a page of the timeline before; a file that waits to be used
/// still has a page in which the timeline or the place is another.
pub(super) fn finished_segments(data: &Path, timeline: u32, segment: u64) -> io::Result<Vec<String>> {
    let (mut all, mut written) = (Vec::new(), None);
    for entry in fs::read_dir(data.join("pg_wal"))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(number) = segment_number(&name, segment).filter(|it| segment_name(timeline, *it, segment) == name)
        else {
            continue;
        };
        let mut head = [0; 16];
        let read = fs::File::open(entry.path()).and_then(|mut it| it.read_exact(&mut head));
        // `XLogPageHeaderData` of `xlog_internal.h`: two short numbers, the timeline, and the place.
        let [_, _, _, _, a, b, c, d, begins @ ..] = head;
        let is_its_own = u32::from_ne_bytes([a, b, c, d]) == timeline && u64::from_ne_bytes(begins) == number * segment;
        if read.is_ok() && is_its_own {
            written = written.max(Some(number));
        }
        all.push((number, name));
    }
    let finished = all.into_iter().filter(|it| written.is_some_and(|written| it.0 < written));
    Ok(finished.map(|it| it.1).collect())
}

/// Which part of the log a file holds: its name is the timeline and the place, in hexadecimal.
pub(super) fn segment_number(name: &str, segment: u64) -> Option<u64> {
    if name.len() != 24 || !name.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    let part = |at: usize| u64::from_str_radix(&name[at..at + 8], 16).ok();
    Some(part(8)? * ((1 << 32) / segment) + part(16)?)
}

/// The name of the file that holds a part of the log.
pub(super) fn segment_name(timeline: u32, number: u64, segment: u64) -> String {
    let in_a_log = (1 << 32) / segment;
    format!("{timeline:08X}{:08X}{:08X}", number / in_a_log, number % in_a_log)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "pg_control version number:            1300
Database system identifier:           7713687074480662168
Database cluster state:               in archive recovery
Latest checkpoint's TimeLineID:       1
Min recovery ending loc's timeline:   2
wal_log_hints setting:                off
Bytes per WAL segment:                16777216
Data page checksum version:           0
";

    #[test]
    fn a_control_file_is_read() {
        let control = Control::parse(CONTROL).expect("it is one");
        assert_eq!((control.timeline, control.segment, control.can_be_rewound), (2, 16 << 20, false));
        assert!(
            !control.is_shut_down
                && Control::parse(&CONTROL.replace("in archive", "shut down in")).is_some_and(|it| it.is_shut_down)
        );
        let promoted = CONTROL
            .replace("in archive recovery", "in production")
            .replace("hints setting:                off", "hints setting:                on");
        let control = Control::parse(&promoted).expect("it is one");
        assert_eq!((control.timeline, control.can_be_rewound), (2, true), "before its first checkpoint");
        let settled = promoted.replace("loc's timeline:   2", "loc's timeline:   0");
        assert_eq!(Control::parse(&settled).expect("it is one").timeline, 1);
        assert_eq!(Control::parse("pg_controldata: error"), None);
    }

    #[test]
    fn nothing_is_read_or_written_where_a_link_leads() {
        let dir = tempfile::tempdir().expect("a folder");
        let (data, elsewhere) = (dir.path().join("data"), dir.path().join("elsewhere"));
        [&data, &elsewhere].into_iter().for_each(|it| fs::create_dir(it).expect("made"));
        let (secret, conf) = (elsewhere.join("secret.conf"), data.join("postgresql.conf"));
        fs::write(&secret, "as it was").expect("written");
        fs::write(&conf, "port = 1").expect("written");
        symlink(&elsewhere, data.join("conf.d")).expect("made");
        let all = configuration(&data).expect("read");
        assert_eq!(all.iter().map(|it| &it.0).collect::<Vec<_>>(), [Path::new("postgresql.conf"), Path::new("conf.d")]);

        symlink(&secret, data.join("postgresql.mainstay")).expect("made");
        assert!(write(&data, &conf, b"port = 2").is_err());
        assert_eq!(fs::read_to_string(&secret).expect("read"), "as it was");
        fs::remove_file(data.join("postgresql.mainstay")).expect("removed");

        let own = [(PathBuf::from("conf.d/secret.conf"), Kept::File(b"its own".to_vec()))];
        put_back(&data, &own).expect("put");
        assert_eq!(fs::read_to_string(&secret).expect("read"), "as it was");
        assert_eq!(fs::read_to_string(data.join("conf.d/secret.conf")).expect("read"), "its own");
        assert!(!conf.exists(), "nothing but its own is left");

        put_back(&data, &all).expect("put");
        assert_eq!(fs::read_link(data.join("conf.d")).expect("it leads there again"), elsewhere);
        assert_eq!(fs::read_to_string(&secret).expect("read"), "as it was");
    }

    #[test]
    fn files_of_the_log_are_numbered_through() {
        for (name, segment, number) in [
            ("000000010000000000000003", 16 << 20, 3),
            ("0000000A00000002000000FF", 16 << 20, 2 * 256 + 255),
            ("000000010000000200000003", 1 << 30, 2 * 4 + 3),
        ] {
            assert_eq!(segment_number(name, segment), Some(number));
            assert_eq!(segment_name(u32::from_str_radix(&name[..8], 16).expect("it is one"), number, segment), name);
        }
        for other in ["00000002.history", "archive_status", "000000010000000000000003.partial"] {
            assert_eq!(segment_number(other, 16 << 20), None);
        }
    }
}
