//! Making a standby of a server, whatever it is: on its own machine, with its own programs.
//!
//! One that was a primary until a moment ago is stopped in order and started as a standby. Where its leader has begun a line of its own
//! meanwhile, what it alone has is counted and kept ([`lost`]), and `pg_rewind` takes it back ([`rewind`]). What can't be rewound gets a fresh copy of the
//! leader, where the plan lets it ([`super::clone`]), or is left stopped. Whoever is killed in the middle is followed by one who finds out how far it got.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_plan::action::{Outcome, ServiceOp};
use mainstay_plan::postgres::{FreshCopy, OldData, PostgresFiles, PostgresServer, RejoinHow};
use rustix::process::{Pid, Signal};

use super::act::{is_standby, make_slot, nothing_done, open, prefixed, streams, streams_from};
use super::clone::{self, Beside, Followed, Size};
use super::connect::{Session, answer};
use super::conninfo::{following, literal, parse};
use super::lost;
use super::own::{Control, Kept, newest_segment, segment_number, setting, write};
use super::rewind;
use super::service::operate;
use crate::action::Attempt;
use crate::{Inner, trouble};

/// How long a server may take to say that it is what it is to become already.
const BRIEFLY: Duration = Duration::from_secs(2);

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The file that makes a standby of a server when it starts.
pub(super) const STANDBY_SIGNAL: &str = "standby.signal";

/// What works on a data directory and may have outlived who started it.
const PROGRAMS: [&str; 2] = ["pg_rewind", "pg_basebackup"];

pub(super) async fn rejoin(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    leader: &PostgresServer,
    how: RejoinHow,
) -> Result<Outcome, Outcome> {
    let Some(files) = &server.files else {
        return Err(Outcome::Failed("nothing was done: the plan does not say where its data is".to_owned()));
    };
    Rejoin { attempt, server, files, leader, how }.run().await
}

struct Rejoin<'a> {
    attempt: &'a Attempt<'a>,
    server: &'a PostgresServer,
    files: &'a PostgresFiles,
    leader: &'a PostgresServer,
    how: RejoinHow,
}

/// The one to follow, as it was asked before anything was done.
struct Leader {
    /// Whether it is a primary; a standby that is to become one has gone no other way yet.
    leads: bool,
    system: String,
    /// The name of the oldest file of its log that it keeps, without the timeline.
    oldest: String,
    size: Size,
}

/// What its own files say of what there is to work with.
struct Its {
    configuration: Vec<(PathBuf, Kept)>,
    /// Whether this order has copied the leader into its place already.
    is_fresh: bool,
    /// Why its data can't be used, if `pg_rewind` did not end.
    half_rewound: Option<String>,
}

impl Its {
    fn read(data: &Path, key: &str) -> io::Result<Its> {
        let (configuration, half_rewound) = (rewind::own_configuration(data)?, rewind::did_not_end(data)?);
        Ok(Its { configuration, is_fresh: clone::is_made_by(data, key), half_rewound })
    }
}

impl Rejoin<'_> {
    async fn run(&self) -> Result<Outcome, Outcome> {
        if self.streams_already().await {
            return self.done().await;
        }
        // Whoever does not know the leader can't become its standby.
        let leader = self.ask_leader().await?;
        self.end_leftovers().await?;
        let data = self.files.data.clone();
        self.blocking(move || clone::go_on(&data)).await.map_err(|why| stopped(&format!("a fresh copy: {why}")))?;
        self.operated(ServiceOp::Stop, "stopping it").await?;
        let (data, key) = (self.files.data.clone(), self.attempt.order.idempotency_key.clone());
        let its = self.blocking(move || Its::read(&data, &key)).await;
        let its = its.map_err(|why| stopped(&format!("reading its configuration: {why}")))?;
        let set = async |name: &str| setting(&self.attempt.inner.gates, self.files, name).await;
        let slot = set("primary_slot_name").await.map_err(|it| stopped(&it))?;
        let followed = set("primary_conninfo").await.map_err(|it| stopped(&it))?;
        if !slot.is_empty() {
            make_slot(self.attempt, self.leader, &slot).await.map_err(|it| prefixed("it is stopped", it))?;
        }
        let whom = with_passfile(self.leader, &followed);
        Rejoin { leader: &whom, ..*self }.bring_in_line(&leader, &slot, &followed, its).await?;
        let data = self.files.data.clone();
        let written = self.blocking(move || follow_from_start(&data, &followed, &whom)).await;
        written.map_err(|why| stopped(&format!("writing whom it follows: {why}")))?;
        self.operated(ServiceOp::Start, "starting it as a standby").await?;
        streams(self.attempt, self.server, self.leader).await?;
        self.done().await
    }

    async fn operated(&self, op: ServiceOp, doing: &str) -> Result<(), Outcome> {
        let outcome = operate(self.attempt, op, self.files).await;
        if outcome == Outcome::Done { Ok(()) } else { Err(prefixed(doing, outcome)) }
    }

    /// One that streams from the leader is its standby; nothing is better for it than to be left alone.
    async fn streams_already(&self) -> bool {
        let look = async {
            let session = open(self.attempt, self.server).await.ok()?;
            streams_from(&session, self.leader).await.ok()
        };
        tokio::time::timeout(BRIEFLY, look).await.ok().flatten().unwrap_or(false)
    }

    async fn done(&self) -> Result<Outcome, Outcome> {
        if self.how.old_data == OldData::Remove {
            let data = self.files.data.clone();
            let removed = self.blocking(move || clone::remove_unwanted(&data)).await;
            removed
                .map_err(|why| Outcome::Unknown(format!("it streams, and its old data could not be removed: {why}")))?;
        }
        let data = self.files.data.clone();
        let forgotten = self.blocking(move || rewind::forget(&data)).await;
        forgotten.map_err(|why| Outcome::Unknown(format!("it streams, and is marked as half rewound: {why}")))?;
        Ok(lost::told(self.attempt, self.files).await)
    }

    async fn ask_leader(&self) -> Result<Leader, Outcome> {
        let said = async {
            let session = open(self.attempt, self.leader).await?;
            let failed = |error| nothing_done(&answer("asking", &error));
            let leads = !is_standby(&session).await.map_err(failed)?;
            if leads {
                // Its control file names the timeline that it began only from its next checkpoint on, and `pg_rewind` looks there.
                session.run("CHECKPOINT").await.map_err(|error| nothing_done(&answer("a checkpoint", &error)))?;
            }
            let size = Size::ask(&session).await?;
            let (system, oldest) = self.log_of(&session).await?;
            Ok(Leader { leads, system, oldest, size })
        };
        said.await.map_err(|outcome| prefixed("the one to follow", outcome))
    }

    async fn log_of(&self, session: &Session) -> Result<(String, String), Outcome> {
        let row = "SELECT (SELECT system_identifier FROM pg_control_system()) AS system, \
                   (SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') AS oldest";
        let row = session.row(row).await.map_err(|error| nothing_done(&answer("asking for its log", &error)))?;
        let text = |name| row.get(name).unwrap_or_default().to_owned();
        Ok((text("system"), text("oldest")))
    }

    /// Its data becomes a part of the leader's past: by nothing, by `pg_rewind`, or by a fresh copy.
    async fn bring_in_line(&self, leader: &Leader, slot: &str, followed: &str, its: Its) -> Result<(), Outcome> {
        if !leader.leads {
            // It hands over in order: it has everything that its successor has.
            return its.half_rewound.map_or(Ok(()), |why| Err(stopped(&why)));
        }
        let control = Control::read(&self.attempt.inner.gates, self.files).await;
        if let Some(other) = control.as_ref().ok().filter(|it| it.system != leader.system) {
            let text = format!(
                "it is another database: its identifier is {}, that of the one to follow {}",
                other.system, leader.system
            );
            return Err(stopped(&text));
        }
        // What it had alone was counted before anything was taken back.
        let counted = if its.half_rewound.is_some() { Ok(None) } else { self.count(&control).await };
        // What could not be counted is not thrown away, whatever the plan says.
        let old = if counted.is_err() { OldData::Keep } else { self.how.old_data };
        let unusable = match (self.how.copy, its.half_rewound, counted) {
            (FreshCopy::Always, ..) => (!its.is_fresh).then(|| "it is never rewound".to_owned()),
            (_, Some(why), _) => Some(why),
            (_, None, Err(why)) => Some(format!("what it alone has could not be kept: {why}")),
            (_, None, Ok(None)) => None,
            (_, None, Ok(Some(control))) => {
                rewind::rewind(self.attempt, self.files, self.leader, control, &its.configuration).await.err()
            }
        };
        let why = match unusable {
            Some(why) => why,
            None => match self.misses(leader, &control).await {
                Some(why) if self.how.copy == FreshCopy::WhenNeeded && !its.is_fresh => why,
                Some(_) | None => return Ok(()),
            },
        };
        match self.how.copy {
            FreshCopy::Never => Err(stopped(&format!("{why}; only a fresh copy makes a standby of it"))),
            FreshCopy::WhenNeeded | FreshCopy::Always => {
                let (size, own) = (&leader.size, its.configuration);
                let whom = Followed { leader: self.leader, slot, before: followed };
                let copied = clone::copy(self.attempt, self.files, whom, size, own, old).await;
                copied.map_err(|outcome| match self.how.copy {
                    FreshCopy::WhenNeeded => prefixed(&format!("{why}; a fresh copy"), outcome),
                    FreshCopy::Never | FreshCopy::Always => outcome,
                })
            }
        }
    }

    /// Counts and keeps what it alone has, where the leader has gone another way. `None`: nothing is to be taken back.
    async fn count<'a>(&self, control: &'a Result<Control, String>) -> Result<Option<&'a Control>, String> {
        let control = control.as_ref().map_err(Clone::clone)?;
        let signal = self.files.data.join(STANDBY_SIGNAL);
        let is_standby = self.blocking(move || fs::exists(signal)).await?;
        let alone = lost::alone(self.attempt, self.files, self.leader, control).await?;
        let Some(alone) = alone else {
            // Each of two that were promoted apart may have given its timeline the same number.
            let both = format!("it was a primary on timeline {}, and so is the one to follow", control.timeline);
            return if is_standby { Ok(None) } else { Err(both) };
        };
        let bytes = lost::keep(self.attempt, self.files, &alone, control).await?;
        // One that was killed as a standby `pg_rewind` could not read.
        Ok((bytes > 0 || !is_standby).then_some(control))
    }

    /// Why it would wait for ever for what the leader does not keep any more, as far as that is known.
    async fn misses(&self, leader: &Leader, control: &Result<Control, String>) -> Option<String> {
        let gates = &self.attempt.inner.gates;
        let segment = control.as_ref().ok()?.segment;
        let data = self.files.data.clone();
        let newest = self.blocking(move || newest_segment(&data, segment)).await.ok()??;
        let oldest = segment_number(&format!("00000000{}", leader.oldest), segment)?;
        if newest + 1 >= oldest || setting(gates, self.files, "restore_command").await.is_ok_and(|it| !it.is_empty()) {
            return None;
        }
        Some(format!("what it missed is not kept by {} any more", self.leader.address))
    }

    /// Ends what works on its data because whoever started it was killed.
    async fn end_leftovers(&self) -> Result<(), Outcome> {
        loop {
            let data = self.files.data.clone();
            match self.blocking(move || leftovers(&data)).await {
                Ok(0) => return Ok(()),
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(why) => return Err(Outcome::Failed(format!("nothing was done: looking for what is left: {why}"))),
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        rewind::blocking(self.attempt, self.files, work).await
    }
}

/// Kills programs that work on this data or on a copy for it, and says how many there were.
fn leftovers(data: &Path) -> io::Result<usize> {
    let targets =
        [format!("--target-pgdata={}", data.display()), format!("--pgdata={}", Beside::of(data).half.display())];
    let mut found = 0;
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let number = process.file_name().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        let named = fs::read_to_string(process.join("comm")).is_ok_and(|it| PROGRAMS.contains(&it.trim_end()));
        // It may have ended meanwhile.
        let Ok(arguments) = fs::read(process.join("cmdline")) else { continue };
        let is_on_it = arguments.split(|it| *it == 0).any(|it| targets.iter().any(|target| target.as_bytes() == it));
        if named && is_on_it {
            found += 1;
            let _ended = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    Ok(found)
}

/// What is run to see that it is there.
pub(crate) fn programs_of_rejoin(files: &PostgresFiles, how: RejoinHow) -> Vec<Vec<String>> {
    let files = PostgresFiles { run_as: None, ..files.clone() };
    let (rewind, copy) = (how.copy != FreshCopy::Always, how.copy != FreshCopy::Never);
    let all = ["postgres", "psql", "pg_controldata", "pg_waldump"].into_iter();
    let all = all.chain(rewind.then_some("pg_rewind")).chain(copy.then_some("pg_basebackup"));
    all.map(|it| files.command(it, &[])).collect()
}

/// Whether it could be done, as far as its own machine shows.
pub(crate) async fn prepare_rejoin(
    inner: &Inner,
    files: &PostgresFiles,
    leader: &PostgresServer,
    how: RejoinHow,
) -> Result<(), String> {
    let data = files.data.clone();
    let passfile = leader.follow.as_ref().and_then(|it| it.passfile.clone());
    let authority = leader.tls.as_ref().and_then(|it| it.ca_file.clone());
    let look = move || {
        if let Some(missing) = passfile.into_iter().chain(authority).find(|it| !it.is_file()) {
            return Err(io::Error::other(format!("{} is not there, which it follows with", missing.display())));
        }
        if how.copy != FreshCopy::Never {
            clone::can_be_put_aside(&data)?;
            return Ok(());
        }
        rewind::did_not_end(&data)?.map_or(Ok(()), |why| Err(io::Error::other(why)))
    };
    let looked = inner.gates.run(format!("work in {}", files.data.display()), look).await;
    looked.map_err(|error| trouble::describe(&error))?;
    let control = Control::read(&inner.gates, files).await?;
    match how.copy {
        FreshCopy::Never if !control.can_be_rewound => Err(format!(
            "{} can't be rewound, without wal_log_hints and data checksums, and is never given a fresh copy",
            files.data.display()
        )),
        FreshCopy::Never | FreshCopy::WhenNeeded | FreshCopy::Always => Ok(()),
    }
}

pub(super) fn stopped(why: &str) -> Outcome {
    Outcome::Failed(trouble::clip(&format!("it is stopped: {why}")))
}

/// The leader, to whom it goes with the passfile that it has where the plan names none.
fn with_passfile(leader: &PostgresServer, followed: &str) -> PostgresServer {
    let mut leader = leader.clone();
    if let Some(follow) = &mut leader.follow {
        let own = || parse(followed)?.into_iter().find(|it| it.0 == "passfile").map(|it| PathBuf::from(it.1));
        follow.passfile = follow.passfile.take().or_else(own);
    }
    leader
}

/// Says in its own files that it is a standby, and whose. What was brought from the leader is there by now.
pub(super) fn follow_from_start(data: &Path, followed: &str, leader: &PostgresServer) -> io::Result<()> {
    let settings = data.join("postgresql.auto.conf");
    let before = fs::read_to_string(&settings)?;
    let is_whom = |line: &&str| line.split('=').next().is_some_and(|it| it.trim() == "primary_conninfo");
    let followed = if parse(followed).is_some() { followed } else { "" };
    let kept = before.lines().filter(|it| !is_whom(it));
    let mut after: String = kept.flat_map(|it| [it, "\n"]).collect();
    after.push_str(&format!("primary_conninfo = {}\n", literal(&following(followed, leader))));
    write(data, &settings, after.as_bytes())?;
    write(data, &data.join(STANDBY_SIGNAL), b"")
}
