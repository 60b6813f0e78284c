//! The keeper: a process that ends what is guarded when its lease is over.
//!
//! It is apart from the host process so that it works when that one was killed or hangs, and it needs nothing but the files of
//! [`held`](super::held) and what ends a guard. The host process starts it, asks it again and again whether it is well, and
//! renews nothing while it is not: a lease that nobody would end in time is not held.
//!
//! Where there is a watchdog device, it is kept quiet only while nothing is overdue, so that a machine on which nobody can end what
//! must not act any more is started anew by its hardware.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_plan::action::{Action, Outcome};
use mainstay_providers::{Order, Providers};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::book::Holding;
use super::held::{Lease, Leases};
use crate::clock::boot_ns;

/// Between two looks at the leases: so late the end of one may be noticed.
pub const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// How long a keeper that is well may take to say so.
const SAYS_SO_WITHIN: Duration = Duration::from_millis(500);

/// How long one that was just started may take until it can be asked.
const STARTS_WITHIN: Duration = Duration::from_secs(3);

/// What is ended with its lease, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which instance of which component.
    pub holding: Holding,
    /// What makes it act no more, and sees that. Tried in turn, again and again, until one is done.
    pub end: Vec<Action>,
}

/// The keeper at work.
#[derive(Debug)]
pub struct Keeper {
    leases: Leases,
    guards: BTreeMap<String, Guard>,
    /// What ending may take altogether where the agent has not said so, see [`Terms::demote`](super::book::Terms::demote).
    demote: Duration,
    watchdog: Option<File>,
    /// Held, so that there is one keeper.
    _lock: File,
}

impl Keeper {
    /// Takes the folder of leases, and opens the watchdog device where there is to be one: from then on the machine depends on it.
    ///
    /// # Errors
    /// `ResourceBusy`: another keeper has the folder. Otherwise what the file system says.
    pub fn take(leases: Leases, guards: Vec<Guard>, demote: Duration, watchdog: Option<&Path>) -> io::Result<Keeper> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(leases.folder().join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another keeper is at work"))?;
        let watchdog = watchdog.map(|it| OpenOptions::new().write(true).open(it)).transpose()?;
        let guards = guards.into_iter().map(|it| (it.holding.instance.clone(), it)).collect();
        Ok(Keeper { leases, guards, demote, watchdog, _lock: lock })
    }

    /// Works until the process is ended. While the folder can't be read, what was read last counts: nobody can lengthen it.
    ///
    /// # Errors
    /// The socket or the watchdog device can't be used any more. The next keeper goes on with what is being ended.
    pub async fn keep(mut self) -> io::Result<Infallible> {
        let socket = socket(self.leases.folder());
        let _ = std::fs::remove_file(&socket);
        tokio::spawn(say_so(UnixListener::bind(&socket)?));
        let mut ending: BTreeSet<String> = BTreeSet::new();
        let mut since: BTreeMap<String, Instant> = BTreeMap::new();
        let mut known: Vec<Lease> = Vec::new();
        let mut at_work = JoinSet::new();
        let mut looks = interval(LOOKS_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(done) = at_work.join_next() => {
                    let instance: String = done.map_err(io::Error::other)?;
                    if let Err(error) = self.leases.ended(&instance) {
                        tracing::error!(instance, %error, "it acts no more, and that can't be written");
                    } else {
                        tracing::info!(instance, "it acts no more");
                    }
                    ending.remove(&instance);
                    since.remove(&instance);
                }
            }
            for lease in self.over(&mut known) {
                if ending.insert(lease.instance.clone()) {
                    since.insert(lease.instance.clone(), Instant::now());
                    let why = if lease.until_boot_ns == 0 { "was taken back" } else { "is over" };
                    tracing::warn!(instance = lease.instance, "its lease {why}: it is ended");
                    at_work.spawn(end(self.guards.get(&lease.instance).cloned(), lease, self.demote()));
                }
            }
            let overdue = since.iter().find(|it| it.1.elapsed() > self.demote());
            if let (None, Some(watchdog)) = (overdue, &mut self.watchdog) {
                watchdog.write_all(b"\0")?;
            }
        }
    }
}

impl Keeper {
    fn demote(&self) -> Duration {
        self.leases.demote().unwrap_or(self.demote)
    }

    /// What is to be ended now.
    fn over(&self, known: &mut Vec<Lease>) -> Vec<Lease> {
        let now = boot_ns();
        let read = self.leases.good(now).and_then(|good| Ok((good, self.leases.over(now)?)));
        match read {
            Ok((good, over)) => {
                *known = good;
                over
            }
            Err(error) => {
                tracing::error!(%error, "leases can't be read; those that were read last count");
                known.extract_if(.., |it| it.until_boot_ns <= now).collect()
            }
        }
    }
}

/// Tries until it is seen that the instance acts no more.
async fn end(guard: Option<Guard>, lease: Lease, demote: Duration) -> String {
    let Some(guard) = guard else {
        loop {
            tracing::error!(
                instance = lease.instance,
                "nothing says how to end it, so that its lease stays over and unended"
            );
            sleep(Duration::from_secs(10)).await;
        }
    };
    let providers = Providers::new();
    let each = (demote / u32::try_from(guard.end.len().max(1)).unwrap_or(1)).max(LOOKS_EVERY);
    let mut nth: u64 = 0;
    loop {
        for action in &guard.end {
            let key = format!("lease-{}-{nth}", lease.instance);
            let order = Order { idempotency_key: key, timeout: each, address: None };
            match timeout(each, providers.act(action, &order)).await {
                Ok(
                    Outcome::Done
                    | Outcome::DoneAt(_)
                    | Outcome::LeaseOver(_)
                    | Outcome::DoneLosing(_)
                    | Outcome::Kept(_),
                ) => {
                    return lease.instance;
                }
                Ok(Outcome::Failed(why) | Outcome::Unknown(why)) => {
                    tracing::error!(instance = lease.instance, why, "it was not seen to end");
                }
                Err(_) => tracing::error!(instance = lease.instance, "it was not seen to end in time"),
            }
            nth += 1;
        }
        sleep(LOOKS_EVERY).await;
    }
}

/// Answers each byte with the same, so that whoever asks sees that this process runs.
async fn say_so(listener: UnixListener) {
    while let Ok((mut asker, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut byte = [0];
            while asker.read_exact(&mut byte).await.is_ok() && asker.write_all(&byte).await.is_ok() {}
        });
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("keeper.sock")
}

/// How the host process starts a keeper: it must end in [`Keeper::keep`] for the same folder.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Sees that a keeper is well, and starts one where none is.
///
/// # Errors
/// None is, and none could be started: nothing may be renewed.
pub async fn see_to_it(leases: &Leases, launch: &Launch) -> io::Result<()> {
    match asked(leases.folder()).await {
        Asked::Well => return Ok(()),
        Asked::Hangs(pid) => end_by_force(pid),
        Asked::Gone => {}
    }
    let log = OpenOptions::new().create(true).append(true).open(leases.folder().join("keeper.log"))?;
    let mut child = Command::new(&launch.program)
        .args(&launch.args)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    std::thread::spawn(move || child.wait());
    let until = Instant::now() + STARTS_WITHIN;
    while Instant::now() < until {
        if matches!(asked(leases.folder()).await, Asked::Well) {
            return Ok(());
        }
        sleep(LOOKS_EVERY).await;
    }
    let log = leases.folder().join("keeper.log");
    Err(io::Error::other(format!("the keeper does not start; see {}", log.display())))
}

enum Asked {
    Well,
    Hangs(Option<Pid>),
    Gone,
}

async fn asked(folder: &Path) -> Asked {
    let Ok(mut stream) = UnixStream::connect(socket(folder)).await else { return Asked::Gone };
    let pid = stream.peer_cred().ok().and_then(|it| it.pid()).and_then(Pid::from_raw);
    let exchange = async {
        stream.write_all(b"?").await?;
        stream.read_exact(&mut [0]).await
    };
    match timeout(SAYS_SO_WITHIN, exchange).await {
        Ok(Ok(_)) => Asked::Well,
        Ok(Err(_)) => Asked::Gone,
        Err(_) => Asked::Hangs(pid),
    }
}

/// What hangs ends nothing; the next one finds in the files what was to be ended.
fn end_by_force(pid: Option<Pid>) {
    if let Some(pidfd) = pid.and_then(|it| pidfd_open(it, PidfdFlags::empty()).ok()) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Child;

    use mainstay_plan::action::{Service, ServiceOp};

    use super::*;

    fn db() -> Holding {
        Holding { component: "db".to_owned(), instance: "db-a".to_owned() }
    }

    /// Something that runs, and what kills it.
    fn guarded(folder: &Path) -> (Child, Guard) {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep is there");
        let pid_file = folder.join("db.pid");
        std::fs::write(&pid_file, child.id().to_string()).expect("it is written");
        let service = Service::Declared {
            start: vec!["/bin/false".to_owned()],
            stop: None,
            status: None,
            pid_file: Some(pid_file),
            stop_grace: Duration::from_secs(1),
        };
        let end = vec![Action::Service { op: ServiceOp::Kill, service }];
        (child, Guard { holding: db(), end })
    }

    async fn until(what: impl Fn() -> bool) -> bool {
        for _ in 0..500 {
            if what() {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn what_is_guarded_lives_as_long_as_its_lease() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let leases = Leases::open(&folder.path().join("leases")).expect("it is writable");
        let (mut child, guard) = guarded(folder.path());
        let ends = boot_ns() + 400_000_000;
        leases.extend(&db(), ends, (0, 0), boot_ns()).expect("it is written");
        let demote = Duration::from_secs(1);
        let keeper = Keeper::take(leases.clone(), vec![guard], demote, None).expect("it is alone");
        let busy = Keeper::take(leases.clone(), Vec::new(), demote, None).expect_err("one is at work");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        let at_work = tokio::spawn(keeper.keep());
        assert!(until(|| leases.is_gone("db-a")).await, "it is ended");
        assert!(boot_ns() >= ends, "and not before its end");
        assert!(child.wait().is_ok_and(|it| !it.success()));
        assert!(matches!(asked(leases.folder()).await, Asked::Well));
        at_work.abort();
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_lengthens_nothing() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let leases = Leases::open(&folder.path().join("leases")).expect("it is writable");
        let (mut child, guard) = guarded(folder.path());
        leases.extend(&db(), boot_ns() + 400_000_000, (0, 0), boot_ns()).expect("it is written");
        let keeper = Keeper::take(leases.clone(), vec![guard], Duration::from_secs(1), None).expect("it is alone");
        let at_work = tokio::spawn(keeper.keep());
        sleep(LOOKS_EVERY * 5).await;
        std::fs::remove_dir_all(leases.folder()).expect("it is removed");
        let mut ended = false;
        for _ in 0..500 {
            if child.try_wait().is_ok_and(|it| it.is_some()) {
                ended = true;
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert!(ended, "its lease is over");
        at_work.abort();
    }

    #[tokio::test]
    async fn a_watchdog_is_kept_quiet_only_while_nothing_is_overdue() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let device = folder.path().join("watchdog");
        std::fs::write(&device, b"").expect("it is written");
        let leases = Leases::open(&folder.path().join("leases")).expect("it is writable");
        let never = Action::Command {
            argv: vec!["/bin/false".to_owned()],
            env: BTreeMap::new(),
            plane: mainstay_plan::action::Plane::Local,
            idempotent: true,
            reports_address: false,
        };
        let guard = Guard { holding: db(), end: vec![never] };
        let demote = Duration::from_millis(200);
        let keeper = Keeper::take(leases.clone(), vec![guard], demote, Some(&device)).expect("it is alone");
        let at_work = tokio::spawn(keeper.keep());
        let written = || std::fs::metadata(&device).map_or(0, |it| it.len());
        assert!(until(|| written() > 2).await, "it is kept quiet");
        leases.revoke(&db()).expect("it is written");
        sleep(demote * 3).await;
        let then = written();
        sleep(demote).await;
        assert_eq!(written(), then, "what must not act was not seen to end");
        assert!(!leases.is_gone("db-a"));
        at_work.abort();
    }
}
