//! Running a command: in a process group of its own, with bounded output, ended as a group when it is given up.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

use crate::gates::Gates;
use crate::{process, trouble};

/// How much of each of stdout and stderr is kept: the end of it.
const MAX_OUTPUT: usize = 64 * 1024;

/// What becomes of the process group when the command itself has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// They are killed: a question leaves nothing behind.
    Kill,
    /// They stay.
    Keep,
}

/// What becomes of what the command prints.
#[derive(Clone, Copy)]
pub(crate) enum Output<'a> {
    /// The end of it is kept.
    Capture,
    /// It goes to `/dev/null`. For commands that leave a daemon behind: it inherits stdout and stderr, and a pipe that we
    /// close would end it at its next line.
    Discard,
    /// What it prints goes into a file; the end of its complaints is kept.
    Into(&'a File),
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    stdout: Tail,
    stderr: Tail,
}

impl Ended {
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }

    /// The last line of stdout that is not blank.
    pub(crate) fn last_line(&self) -> Option<String> {
        self.stdout.last_line()
    }

    /// What was printed to stdout, the end of it.
    pub(crate) fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout.0).into_owned()
    }

    /// What was printed to stderr, the end of it.
    pub(crate) fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr.0).into_owned()
    }

    /// `exited with 3: no such database`, with the last line that was printed, or `killed by signal 9`.
    pub(crate) fn describe(&self) -> String {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "ended without an exit code".to_owned(),
        };
        match self.stderr.last_line().or_else(|| self.stdout.last_line()) {
            Some(line) => trouble::clip(&format!("{how}: {line}")),
            None => how,
        }
    }
}

/// Runs `argv` to its end. The error is that it could not be started, or could not be watched.
///
/// Dropping the future kills the process group, unless the command itself has ended by then. Processes that left the
/// group (a daemon's `setsid`) are on their own.
pub(crate) async fn run(
    gates: &Gates,
    argv: &[String],
    env: &BTreeMap<String, String>,
    output: Output<'_>,
    leftovers: Leftovers,
) -> io::Result<Ended> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::Error::other("the command is empty"));
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(env).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    let (out, err) = match output {
        Output::Discard => {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            (None, None)
        }
        Output::Into(file) => {
            let (err_reader, err_writer) = io::pipe()?;
            command.stdout(file.try_clone()?).stderr(err_writer);
            (None, Some(receiver(err_reader)?))
        }
        Output::Capture => {
            let (out_reader, out_writer): (PipeReader, PipeWriter) = io::pipe()?;
            let (err_reader, err_writer) = io::pipe()?;
            command.stdout(out_writer).stderr(err_writer);
            (Some(receiver(out_reader)?), Some(receiver(err_reader)?))
        }
    };
    // Starting waits until the program is loaded, which a file system that hangs never finishes.
    let runtime = tokio::runtime::Handle::current();
    let start = move || {
        let _entered = runtime.enter();
        Running::start(command)
    };
    let mut running = gates.run(format!("start {program}"), start).await?;
    let (mut stdout, mut stderr) = (Tail::default(), Tail::default());
    {
        let reading = async { tokio::join!(stdout.fill(out.as_ref()), stderr.fill(err.as_ref())) };
        let mut reading = std::pin::pin!(reading);
        let exited = running.exited();
        let mut exited = std::pin::pin!(exited);
        // Whoever inherited a pipe may hold it open for ever, so its end is not waited for.
        tokio::select! {
            result = &mut exited => result?,
            _both_ended = &mut reading => exited.await?,
        }
    }
    let status = running.reap(leftovers).await?;
    stdout.drain(out.as_ref());
    stderr.drain(err.as_ref());
    Ok(Ended { status, stdout, stderr })
}

fn receiver(reader: PipeReader) -> io::Result<Receiver> {
    Receiver::from_owned_fd(OwnedFd::from(reader))
}

/// A command that runs. Dropping it kills its process group.
struct Running {
    child: Child,
    /// Tells that it has ended before anybody reaps it. Until it is reaped its number, and so its group's, is taken.
    pidfd: AsyncFd<OwnedFd>,
    group: Option<Pid>,
}

impl Running {
    fn start(mut command: Command) -> io::Result<Running> {
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = group.ok_or_else(|| io::Error::other("a child without a process id"))?;
        let pidfd =
            rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from).and_then(process::watch);
        match pidfd {
            Ok(pidfd) => Ok(Running { child, pidfd, group }),
            Err(error) => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                Err(error)
            }
        }
    }

    /// Waits until it has ended, and leaves it to be reaped.
    async fn exited(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_ready| ())
    }

    async fn reap(&mut self, leftovers: Leftovers) -> io::Result<ExitStatus> {
        match leftovers {
            Leftovers::Kill => self.kill_group(),
            Leftovers::Keep => self.group = None,
        }
        self.child.wait().await
    }

    /// At most once: the number may be another's after it was reaped.
    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            // It fails only when nobody is left.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// The end of what was printed.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Reads until the other end is closed. Can be dropped between reads without losing anything.
    async fn fill(&mut self, from: Option<&Receiver>) {
        let Some(from) = from else { return };
        let mut buffer = [0; 8192];
        loop {
            if from.readable().await.is_err() {
                return;
            }
            match from.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(len) => self.push(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_unreadable) => return,
            }
        }
    }

    /// Takes what already is in the pipe, without waiting. What a leftover process goes on printing is not for us, so it
    /// stops after as much as a pipe holds.
    fn drain(&mut self, from: Option<&Receiver>) {
        let Some(from) = from else { return };
        let mut buffer = [0; 8192];
        let mut left = MAX_OUTPUT;
        while left > 0 {
            match rustix::io::read(from.as_fd(), &mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(len) => {
                    self.push(&buffer[..len]);
                    left = left.saturating_sub(len);
                }
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * MAX_OUTPUT {
            self.0.drain(..self.0.len() - MAX_OUTPUT);
        }
    }

    fn last_line(&self) -> Option<String> {
        let kept = &self.0[self.0.len().saturating_sub(MAX_OUTPUT)..];
        let text = String::from_utf8_lossy(kept);
        text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(trouble::clip)
    }
}
