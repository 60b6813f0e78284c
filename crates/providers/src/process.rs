//! Processes that are not our children: found through their pid file, held by a pidfd.
//!
//! A number read from a file may be another process's by the time it is used. A pidfd is bound to one process for good,
//! so it is opened first and the file is read again: if it still holds the number, the pidfd is the process that the
//! file meant, up to a file that was stale before we came. For that case, see [`Process::is_younger_than_its_file`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::gates::Gates;
use crate::trouble;

/// How much of a pid file is read; PostgreSQL's holds a few more lines after the number.
const MAX_PID_FILE: u64 = 4096;

/// How often the file is read again when it changes under us.
const MAX_READS: usize = 3;

/// File times are coarse and process start times are in ticks of 10 ms; clocks are slewed.
const START_SLACK: Duration = Duration::from_secs(2);

/// Makes a pidfd's end awaitable.
#[expect(
    deprecated,
    reason = "its successor is unsafe because of types whose descriptor changes; an `OwnedFd` keeps its own"
)]
pub(crate) fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// What a pid file leads to.
pub(crate) enum Found {
    /// A process that runs (perhaps stopped by a signal).
    Alive(Process),
    /// No such file, or no such process.
    Gone(String),
    /// The file holds no process id.
    Garbled(String),
    /// We could not look.
    Unreadable(String),
}

/// One process, whatever becomes of its number.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pidfd: AsyncFd<OwnedFd>,
    younger_than_its_file: bool,
}

impl Process {
    /// Sends a signal. A process that is gone has got all it needs.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it is gone.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_ready| ())
    }

    /// Whether it was started after its pid file was written: then the number is another process's by now, as after a
    /// reboot. A clock that was set forward in between looks the same, so this is reason to leave it alone, not proof.
    pub(crate) fn is_younger_than_its_file(&self) -> bool {
        self.younger_than_its_file
    }
}

/// Looks up the process of a pid file.
pub(crate) async fn find(gates: &Gates, pid_file: &Path) -> Found {
    let path: PathBuf = pid_file.to_owned();
    let opened = gates.run(format!("read {}", path.display()), move || Ok(open(&path))).await;
    match opened {
        Ok(Opened::Alive { pid, pidfd, younger_than_its_file }) => match watch(pidfd) {
            Ok(pidfd) => Found::Alive(Process { pid: pid.as_raw_nonzero().get(), pidfd, younger_than_its_file }),
            Err(error) => Found::Unreadable(format!("watching a process: {}", trouble::describe(&error))),
        },
        Ok(Opened::Not(found)) => found,
        Err(error) => Found::Unreadable(trouble::describe(&error)),
    }
}

enum Opened {
    Alive { pid: Pid, pidfd: OwnedFd, younger_than_its_file: bool },
    Not(Found),
}

fn open(path: &Path) -> Opened {
    for _ in 0..MAX_READS {
        let (pid, written) = match read(path) {
            Ok(read) => read,
            Err(found) => return Opened::Not(found),
        };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Opened::Not(gone(pid)),
            Err(error) => return Opened::Not(Found::Unreadable(format!("process {pid}: {error}"))),
        };
        match read(path) {
            Ok((again, _)) if again == pid => {}
            Ok(_) | Err(_) => continue,
        }
        if has_ended(&pidfd) {
            return Opened::Not(gone(pid));
        }
        let younger_than_its_file = match (started(pid), written) {
            (Some(started), Some(written)) => started > written + START_SLACK,
            _ => false,
        };
        return Opened::Alive { pid, pidfd, younger_than_its_file };
    }
    Opened::Not(Found::Unreadable(trouble::clip(&format!("{} changes while it is read", path.display()))))
}

fn gone(pid: Pid) -> Found {
    Found::Gone(format!("process {pid} is gone"))
}

/// The number on the first line, and when the file was written.
fn read(path: &Path) -> Result<(Pid, Option<SystemTime>), Found> {
    let unreadable = |error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            return Found::Gone(trouble::clip(&format!("there is no {}", path.display())));
        }
        Found::Unreadable(trouble::clip(&format!("{}: {}", path.display(), trouble::describe(&error))))
    };
    let file = File::open(path).map_err(unreadable)?;
    let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut bytes = Vec::new();
    file.take(MAX_PID_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    let pid = String::from_utf8_lossy(&bytes)
        .lines()
        .next()
        .and_then(|line| line.trim().parse::<i32>().ok())
        .filter(|number| *number > 0)
        .and_then(Pid::from_raw);
    match pid {
        Some(pid) => Ok((pid, written)),
        None => Err(Found::Garbled(trouble::clip(&format!("{} holds no process id", path.display())))),
    }
}

/// A pidfd is readable once the process has ended, reaped or not: a zombie counts as gone.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(ready) if ready > 0)
}

/// When a process was started, by the wall clock as it is now. `None` where `/proc` does not show it.
fn started(pid: Pid) -> Option<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let since_boot = start_since_boot(&stat, rustix::param::clock_ticks_per_second())?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    SystemTime::now().checked_sub(now.checked_sub(since_boot)?)
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)). The name in field 2 may hold blanks and parentheses.
fn start_since_boot(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let ticks: u64 = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let millis = ticks.checked_mul(1000)?.checked_div(ticks_per_second)?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_read_past_a_hostile_name() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0 18446744073709551615";
        assert_eq!(start_since_boot(stat, 100), Some(Duration::from_millis(123_450)));
        assert_eq!(start_since_boot("7 (a", 100), None);
        assert_eq!(start_since_boot(stat, 0), None);
    }

    #[test]
    fn this_process_was_started_in_the_past() {
        let started = started(rustix::process::getpid()).expect("our own start");
        assert!(started <= SystemTime::now() + START_SLACK);
    }
}
