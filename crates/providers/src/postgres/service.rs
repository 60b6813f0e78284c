//! A server as a service of its machine: `pg_ctl` starts and stops it, and its processes show whether anything of it is left.
//!
//! The number in `postmaster.pid` is the first of many processes. When that one is killed the others go by themselves, but not at once: one that is
//! about to commit commits and says so to its client. So a stop counts when no process works in the data directory any more.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_plan::action::{Outcome, ServiceOp};
use mainstay_plan::postgres::PostgresFiles;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::rewind;
use crate::action::Attempt;
use crate::action::declared::Declared;
use crate::action::look::Seen;
use crate::trouble;

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The name of every process of a server, as the kernel has it.
const PROCESS: &str = "postgres";

/// What is run to start and to stop it. Nothing is asked of `pg_ctl status`: it takes a corpse for a server that runs.
pub(crate) fn programs(files: &PostgresFiles) -> [Vec<String>; 2] {
    let data = files.data.display().to_string();
    let log = log(files).display().to_string();
    let mut start = vec!["-D", &data, "-s", "-w", "-l", &log];
    let config = files.config_file.as_ref().map(|it| format!("-c config_file={}", it.display()));
    if let Some(config) = &config {
        start.extend(["-o", config]);
    }
    start.push("start");
    let stop = ["-D", &data, "-s", "-w", "-m", "fast", "stop"];
    [files.command("pg_ctl", &start), files.command("pg_ctl", &stop)]
}

pub(crate) async fn operate(attempt: &Attempt<'_>, op: ServiceOp, files: &PostgresFiles) -> Outcome {
    match op {
        ServiceOp::Start => by_pg_ctl(attempt, op, files).await,
        ServiceOp::Stop | ServiceOp::Kill => stop(attempt, op, files).await,
        ServiceOp::Restart => {
            let stopped = stop(attempt, ServiceOp::Stop, files).await;
            if stopped == Outcome::Done { by_pg_ctl(attempt, ServiceOp::Start, files).await } else { stopped }
        }
    }
}

/// Whether it is as `op` leaves it.
pub(crate) async fn look(attempt: &Attempt<'_>, op: ServiceOp, files: &PostgresFiles) -> Seen {
    let [start, stop] = programs(files);
    let seen = declared(attempt, files, [&start, &stop], &pid_file(files)).look(op).await;
    if seen != Seen::Done || matches!(op, ServiceOp::Start | ServiceOp::Restart) {
        return seen;
    }
    match in_directory(attempt, files, None).await {
        Ok(0) => Seen::Done,
        Ok(left) => Seen::Between(format!("{left} of its processes are left")),
        Err(why) => Seen::Between(why),
    }
}

async fn by_pg_ctl(attempt: &Attempt<'_>, op: ServiceOp, files: &PostgresFiles) -> Outcome {
    if op == ServiceOp::Start
        && let Err(why) = can_start(attempt, files).await
    {
        return Outcome::Failed(trouble::clip(&why));
    }
    let [start, stop] = programs(files);
    let outcome = declared(attempt, files, [&start, &stop], &pid_file(files)).operate(op).await;
    let (ServiceOp::Start, Outcome::Failed(why)) = (op, &outcome) else { return outcome };
    let file = log(files);
    let key = format!("log of {}", files.data.display());
    let said = attempt.inner.gates.run(key, move || last_word(&file)).await.ok().flatten();
    said.map_or(outcome.clone(), |it| Outcome::Failed(trouble::clip(&format!("{why}: {it}"))))
}

/// What a server says while it starts.
fn log(files: &PostgresFiles) -> PathBuf {
    files.data.join("mainstay-start.log")
}

/// How much of the end of a log is read, in bytes.
const END_OF_LOG: u64 = 16 << 10;

/// Why a server did not start, as its log says last, with PostgreSQL's hint (such as which port is taken); `None`: it says nothing of it.
fn last_word(log: &Path) -> io::Result<Option<String>> {
    let mut file = fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END_OF_LOG)))?;
    let mut end = Vec::new();
    file.take(END_OF_LOG).read_to_end(&mut end)?;
    Ok(said_last(&String::from_utf8_lossy(&end)))
}

fn said_last(log: &str) -> Option<String> {
    let this_start = log.rsplit_once("starting PostgreSQL").map_or(log, |it| it.1);
    let last = |levels: &[&str]| {
        let said = |line: &str| levels.iter().find_map(|it| Some(line.split_once(it)?.1.trim().to_owned()));
        this_start.lines().rev().find_map(said)
    };
    let why = last(&["FATAL:", "PANIC:"])?;
    Some(last(&["HINT:"]).map_or(why.clone(), |hint| format!("{why} ({hint})")))
}

fn pid_file(files: &PostgresFiles) -> PathBuf {
    files.data.join("postmaster.pid")
}

fn declared<'a>(
    attempt: &'a Attempt<'a>,
    files: &PostgresFiles,
    [start, stop]: [&'a [String]; 2],
    pid_file: &'a Path,
) -> Declared<'a> {
    Declared { attempt, start, stop: Some(stop), status: None, pid_file: Some(pid_file), stop_grace: files.stop_grace }
}

/// The first process, then whatever it left.
async fn stop(attempt: &Attempt<'_>, op: ServiceOp, files: &PostgresFiles) -> Outcome {
    if let Err(why) = end_standalone(attempt, files).await {
        return Outcome::Failed(why);
    }
    let stopped = by_pg_ctl(attempt, op, files).await;
    // Whatever its lock file is taken for: where nobody works, nobody is left.
    if stopped != Outcome::Done && in_directory(attempt, files, None).await != Ok(0) {
        return stopped;
    }
    loop {
        match in_directory(attempt, files, Some(Signal::KILL)).await {
            // Now: whoever works on its data next removes what tells of the corpse.
            Ok(0) => return bury(attempt, files).await.map_or_else(Outcome::Unknown, |()| Outcome::Done),
            Ok(left) => {
                let text = format!("{left} of its processes are left, and were sent SIGKILL");
                attempt.so_far.set(Outcome::Unknown(text));
            }
            Err(why) => return Outcome::Unknown(why),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Ends one that only replays its log (`postgres --single`, which whoever was killed had begun), and removes the lock that it leaves, in which the number of its
/// process is negative.
async fn end_standalone(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), String> {
    loop {
        let data = files.data.clone();
        let key = format!("processes in {}", files.data.display());
        let ended = attempt.inner.gates.run(key, move || standalone(&data)).await;
        match ended.map_err(|error| trouble::clip(&format!("its lock file: {}", trouble::describe(&error))))? {
            0 => return Ok(()),
            _ => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

fn standalone(data: &Path) -> io::Result<usize> {
    let lock = data.join("postmaster.pid");
    if !fs::read_to_string(&lock).is_ok_and(|it| it.starts_with('-')) {
        return Ok(0);
    }
    let left = find(data, Some(Signal::KILL))?;
    if left == 0 {
        fs::remove_file(lock)?;
    }
    Ok(left)
}

/// How many processes work in the data directory. Each is sent `signal`, if there is one.
async fn in_directory(attempt: &Attempt<'_>, files: &PostgresFiles, signal: Option<Signal>) -> Result<usize, String> {
    let data = files.data.clone();
    let key = format!("processes in {}", files.data.display());
    let looked = attempt.inner.gates.run(key, move || find(&data, signal)).await;
    looked.map_err(|error| trouble::clip(&format!("looking for its processes: {}", trouble::describe(&error))))
}

fn find(data: &Path, signal: Option<Signal>) -> io::Result<usize> {
    let there = match fs::metadata(data) {
        Ok(there) => (there.dev(), there.ino()),
        // Nobody works where nothing is.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut found = 0;
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let number = process.file_name().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        if !is_server(&process) {
            continue;
        }
        match fs::metadata(process.join("cwd")) {
            Ok(works_in) if (works_in.dev(), works_in.ino()) == there => {}
            Ok(_) => continue,
            // It has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => continue,
            Err(error) => {
                let why = format!("where process {} works: {}", pid.as_raw_nonzero(), trouble::describe(&error));
                return Err(io::Error::other(why));
            }
        }
        found += 1;
        match signal.map_or(Ok(()), |it| rustix::process::kill_process(pid, it)) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// See [`forget_corpse`].
///
/// # Errors
/// What could not be read or removed, for people.
/// Buries what is dead of it, and finds out whether its data may be used.
async fn can_start(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), String> {
    bury(attempt, files).await?;
    let data = files.data.clone();
    let key = format!("work in {}", files.data.display());
    match attempt.inner.gates.run(key, move || rewind::did_not_end(&data)).await {
        Ok(None) => Ok(()),
        Ok(Some(why)) => Err(format!("nothing was done: {why}; `rejoin` with a fresh copy makes it usable")),
        Err(error) => Err(format!("nothing was done: whether its data is whole: {}", trouble::describe(&error))),
    }
}

async fn bury(attempt: &Attempt<'_>, files: &PostgresFiles) -> Result<(), String> {
    let data = files.data.clone();
    let key = format!("processes in {}", files.data.display());
    let buried = attempt.inner.gates.run(key, move || forget_corpse(&data)).await;
    buried.map_err(|error| trouble::clip(&format!("looking for what is left of it: {}", trouble::describe(&error))))
}

/// Removes the lock files of a server that is dead and that nobody has buried: the next one would take its corpse for one that runs, for as long as
/// it lies there. In a container without somebody who buries orphans that is for ever.
fn forget_corpse(data: &Path) -> io::Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else { return Ok(()) };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let Some(first) = lines.first().and_then(|it| it.parse::<i32>().ok()) else { return Ok(()) };
    let is_corpse = fs::read_to_string(format!("/proc/{first}/stat")).is_ok_and(|it| it.contains(") Z "));
    if !is_corpse || find(data, None)? > 0 {
        return Ok(());
    }
    if let [_, _, _, port, sockets, ..] = lines.as_slice() {
        let of_socket = Path::new(sockets).join(format!(".s.PGSQL.{port}.lock"));
        let is_its = fs::read_to_string(&of_socket).is_ok_and(|it| it.lines().next() == lines.first().copied());
        if is_its {
            fs::remove_file(of_socket)?;
        }
    }
    fs::remove_file(lock)
}

/// Whether it is a process of some PostgreSQL server and no corpse, which has no directory.
fn is_server(process: &Path) -> bool {
    let named = fs::read_to_string(process.join("comm")).is_ok_and(|it| it.trim_end() == PROCESS);
    named && fs::read_to_string(process.join("stat")).is_ok_and(|it| !it.contains(") Z "))
}
