//! What a server's own files say: how it is set up, how far its log goes, and what it is called.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use mainstay_plan::postgres::PostgresFiles;
use serde::{Deserialize, Serialize};

use crate::child::{self, Leftovers, Output};
use crate::gates::Gates;
use crate::trouble;

/// Endings of files in a data directory that say how this server is, and not what is in it.
const CONFIGURATION: [&str; 5] = ["conf", "crt", "key", "pem", "crl"];

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
        if let Some(folder) = path.parent().filter(|it| !it.exists()) {
            fs::create_dir(folder)?;
            let owner = fs::metadata(data)?;
            chown(folder, Some(owner.uid()), Some(owner.gid()))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        match self {
            Kept::File(content) => write(data, &path, content),
            Kept::Link(to) => {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
                symlink(to, &path)
            }
        }
    }
}

/// Its own configuration, as far as it is in its data directory, by name.
pub(super) fn configuration(data: &Path) -> io::Result<Vec<(PathBuf, Kept)>> {
    let mut all = Vec::new();
    for folder in ["", "conf.d"] {
        let listed = match fs::read_dir(data.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            other => other?,
        };
        for entry in listed {
            let (path, name) = entry.map(|it| (it.path(), Path::new(folder).join(it.file_name())))?;
            if !path.extension().and_then(|it| it.to_str()).is_some_and(|it| CONFIGURATION.contains(&it)) {
                continue;
            }
            let found = fs::symlink_metadata(&path)?;
            if found.is_symlink() {
                all.push((name, Kept::Link(fs::read_link(&path)?)));
            } else if found.is_file() {
                all.push((name, Kept::File(fs::read(&path)?)));
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

/// Beside it and renamed, synced, and its server's own.
pub(super) fn write(data: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("mainstay");
    let mut file = fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    let owner = fs::metadata(data)?;
    chown(&beside, Some(owner.uid()), Some(owner.gid()))?;
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
