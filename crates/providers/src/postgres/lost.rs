//! What a server has alone: the end of its log from where the one to follow went another way. It is counted and kept for inspection before it
//! is taken back.
//!
//! The history of a timeline says where it left the one before. The first place at which two histories differ is where the two servers
//! went apart; whatever this one wrote after it nobody else has. `pg_waldump` reads that out of the files of the log, with the server stopped.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use mainstay_plan::action::{LostWrites, Outcome};
use mainstay_plan::postgres::{PostgresFiles, PostgresServer};
use serde::{Deserialize, Serialize};

use super::clone::{named, sync_parent};
use super::conninfo::following;
use super::own::{Control, newest_segment, plain, said, segment_name, write};
use crate::action::Attempt;
use crate::child::{self, Leftovers, Output};
use crate::trouble;

/// What has to stay free on the disk that lost writes are kept on.
const ROOM: u64 = 64 << 20;

/// A part of the log: one timeline, from where it began to where it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    timeline: u32,
    end: u64,
}

/// A place in the log, as PostgreSQL writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Lsn(u64);

impl Lsn {
    fn parse(text: &str) -> Option<Lsn> {
        let (high, low) = text.split_once('/')?;
        let part = |it: &str| u32::from_str_radix(it, 16).ok().map(u64::from);
        Some(Lsn((part(high)? << 32) | part(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// How a server came to be on `timeline`, by what its history file says.
fn history(text: &str, timeline: u32) -> Option<Vec<Part>> {
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    let part = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Part { timeline: words.next()?.parse().ok()?, end: Lsn::parse(words.next()?)?.0 })
    };
    let mut all: Vec<Part> = lines.map(part).collect::<Option<_>>()?;
    all.push(Part { timeline, end: u64::MAX });
    Some(all)
}

/// The parts of `own` that `leader` does not have, each with where it begins; empty: it has everything. `None`: they have nothing in common.
fn apart(own: &[Part], leader: &[Part]) -> Option<Vec<(u64, Part)>> {
    let mut begin = None;
    for (nth, part) in own.iter().enumerate() {
        match leader.get(nth).filter(|it| it.timeline == part.timeline) {
            Some(same) if same.end == part.end => begin = Some((nth + 1, part.end)),
            Some(same) => {
                begin = Some((nth, part.end.min(same.end)));
                break;
            }
            None => break,
        }
    }
    let (first, mut at) = begin?;
    let parts = own[first..].iter().map(|it| (std::mem::replace(&mut at, it.end), *it));
    Some(parts.filter(|(begin, part)| *begin < part.end).collect())
}

/// What a server has alone, if it is known that its leader went another way.
pub(super) struct Alone {
    parts: Vec<(u64, Part)>,
}

/// What the leader, a primary, says of how it came to be on its timeline.
///
/// # Errors
/// Why that is not known, for people.
async fn history_of(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    leader: &PostgresServer,
) -> Result<Vec<Part>, String> {
    let source = format!("{} dbname=postgres replication=true", following("", leader));
    let ask = |what: &str| files.command("psql", &["-X", "-q", "-A", "-t", "-w", "-d", &source, "-c", what]);
    let gates = &attempt.inner.gates;
    let what = said(gates, &ask("IDENTIFY_SYSTEM")).await?;
    let timeline = what.trim().split('|').nth(1).and_then(|it| it.parse::<u32>().ok());
    let timeline = timeline.ok_or("the one to follow does not say its timeline")?;
    let text = match timeline {
        // It has no history, and so no file of it.
        1 => String::new(),
        _ => said(gates, &ask(&format!("TIMELINE_HISTORY {timeline}"))).await?,
    };
    let content = text.split_once('|').map_or(text.as_str(), |it| it.1);
    history(content, timeline).ok_or_else(|| "the history of the one to follow can't be read".to_owned())
}

/// How far the server, which is stopped, went on alone; `None`: its leader has everything that it has.
///
/// # Errors
/// Why that is not known, for people.
pub(super) async fn alone(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    leader: &PostgresServer,
    control: &Control,
) -> Result<Option<Alone>, String> {
    let others = history_of(attempt, files, leader).await?;
    let own = match control.timeline {
        1 => String::new(),
        timeline => {
            let path = files.data.join(format!("pg_wal/{timeline:08X}.history"));
            let key = format!("read {}", path.display());
            let read = attempt.inner.gates.run(key, move || fs::read_to_string(path)).await;
            read.map_err(|error| format!("the history of its own timeline: {}", trouble::describe(&error)))?
        }
    };
    let own = history(&own, control.timeline).ok_or("the history of its own timeline can't be read")?;
    let parts = apart(&own, &others).ok_or("its timelines and those of the one to follow have nothing in common")?;
    Ok((!parts.is_empty()).then_some(Alone { parts }))
}

/// Counts what the server has alone, keeps it, and notes that it is to be told. Gives how long that is, in bytes.
///
/// # Errors
/// Why not, for people. Then nothing of it may be taken back.
pub(super) async fn keep(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    alone: &Alone,
    control: &Control,
) -> Result<u64, String> {
    let doing = |doing: &'static str| move |error: io::Error| format!("{doing}: {}", trouble::describe(&error));
    let (fork, Part { timeline, .. }) = *alone.parts.first().ok_or("nothing to keep")?;
    let name = format!("{timeline}-{}", Lsn(fork).to_string().replace('/', "-"));
    let folder = named(&files.data, ".lost").join(name);
    let key = format!("keep in {}", folder.display());
    let (data, made, segment) = (files.data.clone(), folder.clone(), control.segment);
    let begin = move || {
        make(&data, &made)?;
        newest_segment(&data, segment)
    };
    let newest = attempt.inner.gates.run(key.clone(), begin).await.map_err(doing("a folder for what it alone has"))?;
    // Where they went apart is behind the end of its last file: no file was begun for what it alone has.
    let is_nothing = newest.is_some_and(|it| it < fork / segment);
    // Under its name only once it is whole: what was kept before may be all that there is.
    let (read, listed) = (folder.join("transactions.new"), folder.join("transactions.txt"));
    let mut end = Lsn(fork);
    for (nth, (begin, part)) in alone.parts.iter().enumerate().filter(|_| !is_nothing) {
        end = end.max(dump(attempt, files, &read, nth == 0, *begin, *part).await?);
    }
    let (data, parts) = (files.data.clone(), alone.parts.clone());
    let work = move || {
        let counted = if is_nothing { Counted::default() } else { count(BufReader::new(fs::File::open(&read)?))? };
        let end = end.max(counted.last_begins);
        let mut lost = LostWrites {
            bytes: end.0 - fork,
            transactions: counted.transactions,
            committed: counted.committed,
            kept_at: None,
        };
        if counted.is_worth_keeping {
            fs::rename(&read, listed)?;
            copy(&data, &folder, &parts, end, segment)?;
            explain(&data, &folder, &lost, (Lsn(fork), end))?;
            lost.kept_at = Some(folder);
        } else {
            fs::remove_dir_all(&folder)?;
        }
        let bytes = lost.bytes;
        Note { lost, told: None }.write(&data)?;
        Ok(bytes)
    };
    attempt.inner.gates.run(key, work).await.map_err(doing("keeping what it alone has"))
}

fn make(data: &Path, folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(data)?;
    for it in [folder.parent(), Some(folder)].into_iter().flatten().filter(|it| !it.exists()) {
        fs::create_dir(it)?;
        lchown(it, Some(owner.uid()), Some(owner.gid()))?;
    }
    sync_parent(data)
}

/// Writes down the transactions of one part of the log, and gives where it ends.
async fn dump(
    attempt: &Attempt<'_>,
    files: &PostgresFiles,
    to: &Path,
    is_first: bool,
    begin: u64,
    part: Part,
) -> Result<Lsn, String> {
    let (path, begin) = (format!("--path={}", files.data.join("pg_wal").display()), Lsn(begin));
    let (timeline, start) = (format!("--timeline={}", part.timeline), format!("--start={begin}"));
    let mut arguments = vec![path.as_str(), &timeline, &start, "--rmgr=Transaction", "--rmgr=LogicalMessage"];
    let end = format!("--end={}", Lsn(part.end));
    arguments.extend((part.end != u64::MAX).then_some(end.as_str()));
    let argv = files.command("pg_waldump", &arguments);
    let path = to.to_owned();
    let open = move || fs::File::options().create(true).write(true).append(!is_first).truncate(is_first).open(path);
    let opened = attempt.inner.gates.run(format!("write {}", to.display()), open).await;
    let file = opened.map_err(|error| format!("{}: {}", to.display(), trouble::describe(&error)))?;
    let ended = child::run(&attempt.inner.gates, &argv, &plain(), Output::Into(&file), Leftovers::Kill).await;
    let ended = ended.map_err(|error| format!("pg_waldump: {}", trouble::describe(&error)))?;
    match end_of_log(&ended.stderr_text(), begin) {
        _ if ended.success() => Ok(Lsn(part.end)),
        Some(end) => Ok(end),
        None => Err(format!("pg_waldump {}", ended.describe())),
    }
}

/// Where the log ends, by what `pg_waldump` found behind the last record that is whole.
fn end_of_log(said: &str, begin: Lsn) -> Option<Lsn> {
    if said.contains("could not find a valid record after") {
        return Some(begin);
    }
    let after = said.split_once("error in WAL record at ")?.1;
    let place = |text: &str| Lsn::parse(text.split([' ', ':', ',', '\n']).find(|it| it.contains('/'))?);
    let (last, why) = after.split_once(": ")?;
    let at = why.split(" at ").skip(1).find_map(place);
    at.or(place(last)).filter(|it| *it >= begin)
}

/// What transactions a dump tells of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    transactions: u64,
    committed: Option<(u64, u64)>,
    /// Whether anything is there that is not ours.
    is_worth_keeping: bool,
    last_begins: Lsn,
}

fn count(dump: impl BufRead) -> io::Result<Counted> {
    let mut counted = Counted::default();
    // Each of our questions to a primary is a transaction with nothing in it but this.
    let mut ours = BTreeSet::new();
    for line in dump.lines() {
        let line = line?;
        let field = |name: &str| Some(line.split_once(name)?.1.split([',', ' ']).find(|it| !it.is_empty())?.to_owned());
        let Some((_, what)) = line.split_once("desc: ") else { continue };
        let transaction = field("tx:").unwrap_or_default();
        counted.last_begins = field("lsn:").and_then(|it| Lsn::parse(&it)).unwrap_or(counted.last_begins);
        if what.starts_with("MESSAGE") && what.contains("prefix \"mainstay\"") {
            ours.insert(transaction);
        } else if what.starts_with("COMMIT") && !ours.remove(&transaction) {
            counted.transactions += 1;
            counted.is_worth_keeping = true;
            if let Some(at) = moment(what) {
                let (first, last) = counted.committed.unwrap_or((at, at));
                counted.committed = Some((first.min(at), last.max(at)));
            }
        } else if what.starts_with("PREPARE") || what.starts_with("MESSAGE") {
            counted.is_worth_keeping = true;
        }
    }
    Ok(counted)
}

/// When something was committed, in seconds since 1970: `2026-11-29 20:05:35.884880 UTC` stands somewhere in it.
fn moment(what: &str) -> Option<u64> {
    let words: Vec<&str> = what.split([' ', ';']).collect();
    let zone = words.iter().position(|it| *it == "UTC")?;
    let (date, time) = (words.get(zone.checked_sub(2)?)?, words.get(zone - 1)?);
    let numbers = |text: &str, by: char| {
        text.split(by).map(|it| it.split('.').next()?.parse().ok()).collect::<Option<Vec<u64>>>()
    };
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let [hour, minute, second] = numbers(time, ':')?.try_into().ok()?;
    Some(days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970 to a date of the Gregorian calendar, whose year begins in March here: then the leap day is its last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day.checked_sub(1)?;
    before.checked_sub(719_468)
}

/// Copies the files of the log that hold these parts.
fn copy(data: &Path, folder: &Path, parts: &[(u64, Part)], end: Lsn, segment: u64) -> io::Result<()> {
    let owner = fs::metadata(data)?;
    let mut files = Vec::new();
    for (begin, part) in parts {
        let last = part.end.min(end.0).max(begin + 1) - 1;
        files.extend((begin / segment..=last / segment).map(|it| segment_name(part.timeline, it, segment)));
    }
    let disk = rustix::fs::statvfs(folder)?;
    let needed = segment * files.len() as u64 + ROOM;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < needed {
        return Err(io::Error::other(format!("{} needs {} MB", folder.display(), needed >> 20)));
    }
    for file in files {
        let to = folder.join(&file);
        fs::copy(data.join("pg_wal").join(file), &to)?;
        lchown(&to, Some(owner.uid()), Some(owner.gid()))?;
        fs::File::open(&to)?.sync_all()?;
    }
    Ok(())
}

fn explain(data: &Path, folder: &Path, lost: &LostWrites, (begin, end): (Lsn, Lsn)) -> io::Result<()> {
    let mut text = Vec::new();
    writeln!(
        text,
        "What {} had alone, from {begin} to {end} of its log, when another server had taken over: {} transactions, {} bytes. \
         transactions.txt lists them; the log itself lies here: pg_waldump --path={} --start={begin}",
        data.display(),
        lost.transactions,
        lost.bytes,
        folder.display()
    )?;
    write(data, &folder.join("README"), &text)?;
    fs::File::open(folder)?.sync_all()
}

/// What was lost, until it is told: whoever counted it may have been killed before it could say so.
#[derive(Serialize, Deserialize)]
struct Note {
    lost: LostWrites,
    /// The key of the order that told it.
    told: Option<String>,
}

impl Note {
    fn path(data: &Path) -> PathBuf {
        named(data, ".lost").join("counted.json")
    }

    fn write(&self, data: &Path) -> io::Result<()> {
        write(data, &Note::path(data), &serde_json::to_vec(self)?)
    }
}

/// The outcome of an order that is done: it tells what was counted and has not been told by another.
pub(super) async fn told(attempt: &Attempt<'_>, files: &PostgresFiles) -> Outcome {
    let (data, key) = (files.data.clone(), attempt.order.idempotency_key.clone());
    let tell = move || {
        let text = match fs::read(Note::path(&data)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut note: Note = serde_json::from_slice(&text)?;
        match &note.told {
            Some(other) if *other != key => return Ok(None),
            Some(_) => {}
            None => {
                note.told = Some(key);
                note.write(&data)?;
            }
        }
        Ok(Some(note.lost))
    };
    let found: io::Result<_> = attempt.inner.gates.run(format!("tell of {}", files.data.display()), tell).await;
    found.ok().flatten().map_or(Outcome::Done, Outcome::DoneLosing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(of: &[(u32, u64)]) -> Vec<Part> {
        of.iter().map(|(timeline, end)| Part { timeline: *timeline, end: *end }).collect()
    }

    const NOW: u64 = u64::MAX;

    #[test]
    fn what_one_has_alone_begins_where_the_histories_differ() {
        let alone = |own: &[(u32, u64)], leader: &[(u32, u64)]| {
            apart(&parts(own), &parts(leader)).map(|all| all.iter().map(|it| (it.1.timeline, it.0)).collect::<Vec<_>>())
        };
        assert_eq!(alone(&[(1, NOW)], &[(1, 70), (2, NOW)]), Some(vec![(1, 70)]), "it took over");
        assert_eq!(alone(&[(1, 70), (2, NOW)], &[(1, 70), (2, 90), (3, NOW)]), Some(vec![(2, 90)]));
        assert_eq!(alone(&[(1, NOW)], &[(1, NOW)]), Some(vec![]), "nobody did");
        assert_eq!(alone(&[(1, 70), (2, NOW)], &[(1, 60), (3, NOW)]), Some(vec![(1, 60), (2, 70)]), "both did");
        assert_eq!(alone(&[(1, 70), (2, NOW)], &[(1, 70), (3, NOW)]), Some(vec![(2, 70)]), "both did at once");
        assert_eq!(alone(&[(1, 70), (2, NOW)], &[(1, NOW)]), Some(vec![(2, 70)]), "the leader is of the past");
        assert_eq!(alone(&[(4, NOW)], &[(1, NOW)]), None);
    }

    #[test]
    fn a_history_is_read() {
        let text = "1\t0/3018000\tno recovery target specified\n\n2\t1/A0\tafter LSN 1/80\n";
        let all = history(text, 3).expect("it is one");
        assert_eq!(all, parts(&[(1, 0x301_8000), (2, 0x1_0000_00A0), (3, NOW)]));
        assert_eq!(history("1\tnonsense", 2), None);
    }

    const DUMP: &str = "rmgr: Transaction len (rec/tot):    405/   405, tx:        724, lsn: 0/03017E68, prev 0/03017E20, desc: COMMIT 2026-11-29 20:05:35.632061 UTC; inval msgs: catcache 80
rmgr: Transaction len (rec/tot):     34/    34, tx:        727, lsn: 0/03018008, prev 0/03018018, desc: ABORT 2026-11-29 20:05:36.884880 UTC
rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/03018058, prev 0/03018018, desc: COMMIT 2026-11-29 20:05:37.884880 UTC
rmgr: LogicalMessage len (rec/tot):     59/    59, tx:        726, lsn: 0/03018080, prev 0/03018058, desc: MESSAGE transactional, prefix \"mainstay\"; payload (0 bytes): 
rmgr: Transaction len (rec/tot):     34/    34, tx:        726, lsn: 0/030180C0, prev 0/03018080, desc: COMMIT 2026-11-29 20:05:39.951216 UTC
";

    #[test]
    fn transactions_are_counted_without_our_own() {
        let counted = count(DUMP.as_bytes()).expect("it is read");
        let at = 1_795_982_735;
        assert_eq!(
            counted,
            Counted {
                transactions: 2,
                committed: Some((at, at + 2)),
                is_worth_keeping: true,
                last_begins: Lsn(0x301_80C0),
            }
        );
        let ours: String = DUMP.lines().skip(3).map(|it| format!("{it}\n")).collect();
        assert!(!count(ours.as_bytes()).expect("it is read").is_worth_keeping);
    }

    #[test]
    fn the_end_of_a_log_is_what_is_no_record() {
        let begin = Lsn(0x301_8000);
        let said = "pg_waldump: error: error in WAL record at 0/30180C0: invalid record length at 0/30180E8: wanted 24, got 0\n";
        assert_eq!(end_of_log(said, begin), Some(Lsn(0x301_80E8)));
        let none = "pg_waldump: error: could not find a valid record after 0/3018000\n";
        assert_eq!(end_of_log(none, begin), Some(begin));
        assert_eq!(end_of_log("pg_waldump: error: could not open directory\n", begin), None);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(2026, 11, 29), Some(20_786));
        assert_eq!(days(1969, 12, 31), None);
    }
}
