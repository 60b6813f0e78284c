//! The leash: a program that runs only under a lease, and is ended by the kernel when that is over, whatever else stands still.
//!
//! The [keeper](super::keeper) is a process like any other: when the machine is stopped for longer than a lease and then goes on,
//! what is guarded may go on before it. A timer of the kernel, on the clock that counts suspended time, sends SIGKILL to the leash at the
//! end of the lease, also while all of this is stopped; and because the leash is the program's parent, the kernel then kills that,
//! too, before it does anything more.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use rustix::process::{Pid, getppid, kill_process, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::held::{Lease, Leases};
use crate::clock::boot_ns;

/// Between two looks at the lease.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// How a leash ended.
#[derive(Debug)]
pub enum Ended {
    /// There was no lease, so that the program was not started.
    NotStarted,
    /// The program ended by itself.
    Itself(ExitStatus),
    /// The lease was over or taken back, and the program was killed.
    Lease,
}

/// Runs `command` as long as `instance` holds its lease; a `standby` also before it holds one. Passes SIGTERM, SIGINT and SIGHUP on to it. It must be awaited on a
/// thread that lives as long as the process, in a runtime of that thread alone; the command must call [`heel`] with the pid of this
/// process before it becomes what is to run.
///
/// # Errors
/// The folder of leases can't be read, the program can't be started, or the kernel gives no timer: nothing runs then.
pub async fn run(folder: &Path, instance: &str, standby: bool, mut command: Command) -> io::Result<Ended> {
    let leases = Leases::look(folder)?;
    let lease = good(&leases, instance)?;
    if lease.is_none() && !(standby && leases.is_gone(instance)) {
        return Ok(Ended::NotStarted);
    }
    let kill = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_BOOTTIME, kill)?;
    let mut armed = None;
    if let Some(lease) = lease {
        armed = Some(lease.until_boot_ns);
        arm(&mut timer, lease.until_boot_ns)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status));
        }
        match good(&leases, instance) {
            Ok(Some(lease)) if armed == Some(lease.until_boot_ns) => {}
            Ok(Some(lease)) => {
                armed = Some(lease.until_boot_ns);
                arm(&mut timer, lease.until_boot_ns)?;
            }
            Ok(None) if armed.is_none() && leases.is_gone(instance) => {}
            Ok(None) => {
                child.kill()?;
                child.wait()?;
                return Ok(Ended::Lease);
            }
            // What can't be read is not lengthened: the timer ends it.
            Err(_) => {}
        }
        let heard = tokio::select! {
            _ = terminate.recv() => rustix::process::Signal::TERM,
            _ = interrupt.recv() => rustix::process::Signal::INT,
            _ = hang_up.recv() => rustix::process::Signal::HUP,
            () = sleep(LOOKS_EVERY) => continue,
        };
        // It may have ended in this moment, which the next look finds.
        let _ = pass_on(child.id(), heard);
    }
}

/// Called by the program between the leash and what is to run: from now on, and across `exec`, this process is killed when `leash`,
/// its parent, ends.
///
/// # Errors
/// The parent has ended already, or the kernel refuses.
pub fn heel(leash: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let parent = i32::try_from(leash).ok().and_then(Pid::from_raw);
    match parent.is_some() && getppid() == parent {
        true => Ok(()),
        false => Err(io::Error::other("the leash has ended already")),
    }
}

/// Becomes `command`; returns only if that fails.
pub fn become_it(mut command: Command) -> io::Error {
    command.exec()
}

/// The exit code of a shell for a program that ended so.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|it| 128 + it)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

fn pass_on(child: u32, signal: rustix::process::Signal) -> rustix::io::Result<()> {
    i32::try_from(child).ok().and_then(Pid::from_raw).map_or(Ok(()), |it| kill_process(it, signal))
}

fn good(leases: &Leases, instance: &str) -> io::Result<Option<Lease>> {
    Ok(leases.good(boot_ns())?.into_iter().find(|it| it.instance == instance))
}

fn arm(timer: &mut Timer, until_boot_ns: u64) -> io::Result<()> {
    let at = TimeSpec::from(Duration::from_nanos(until_boot_ns.min(u64::from(u32::MAX) * 1_000_000_000)));
    Ok(timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
}
