//! Services that are controlled by commands of the user's and by a pid file.
//!
//! A stop is only as good as what was seen of it, because fences rest on it: the process of the pid file is gone (a pidfd
//! says so), and the status command, where there is one, says that the service does not run. A command's word that it
//! has stopped something confirms nothing.
//!
//! Force reaches the process of the pid file alone. Where its children may outlive it, give a status command that
//! looks for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::action::{Outcome, ServiceOp};
use rustix::process::Signal;

use crate::action::Attempt;
use crate::action::look;
use crate::child::Output;
use crate::process::{self, Found, Process};
use crate::trouble;

/// Exit codes of a status command that say that the service does not run: those of the Linux Standard Base for init
/// scripts, and `pgrep`'s.
const NOT_RUNNING: std::ops::RangeInclusive<i32> = 1..=3;

/// How long to wait before looking again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// A declared service and the attempt to operate it.
pub(crate) struct Declared<'a> {
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) start: &'a [String],
    pub(crate) stop: Option<&'a [String]>,
    pub(crate) status: Option<&'a [String]>,
    pub(crate) pid_file: Option<&'a Path>,
    pub(crate) stop_grace: Duration,
}

/// What can be said about a service at one moment.
enum Seen {
    /// It runs; as this process, where a pid file names one.
    Running(Option<Process>),
    Stopped,
    /// The pid file's number is another process's by now.
    NumberReused(String),
    /// It should be possible to tell, and was not.
    Doubtful(String),
    /// Nobody can tell from outside: neither a status command nor a pid file.
    Unseeable,
}

/// How far stopping came.
enum Stopping {
    Stopped,
    /// The stop command says so, and nothing else can tell.
    Unconfirmed,
    /// The process of the pid file is not the service; it was left alone.
    NumberReused(String),
    Not(Outcome),
}

impl Declared<'_> {
    pub(crate) async fn operate(&self, op: ServiceOp) -> Outcome {
        match op {
            ServiceOp::Start => self.start().await,
            ServiceOp::Stop | ServiceOp::Kill => match self.stop(op).await {
                Stopping::Stopped => Outcome::Done,
                Stopping::Unconfirmed => Outcome::Unknown(
                    "the stop command succeeded, but nothing tells whether it stopped: add status or pid_file"
                        .to_owned(),
                ),
                Stopping::NumberReused(text) => Outcome::Failed(text),
                Stopping::Not(outcome) => outcome,
            },
            // A restart fences nothing, so it goes on where a stop could not be confirmed.
            ServiceOp::Restart => match self.stop(ServiceOp::Stop).await {
                Stopping::Stopped | Stopping::Unconfirmed | Stopping::NumberReused(_) => self.start().await,
                Stopping::Not(outcome) => outcome,
            },
        }
    }

    /// Whether it is as `op` leaves it.
    pub(crate) async fn look(&self, op: ServiceOp) -> look::Seen {
        let starts = match op {
            ServiceOp::Start | ServiceOp::Restart => true,
            ServiceOp::Stop | ServiceOp::Kill => false,
        };
        match if starts { self.serves().await } else { self.remains().await } {
            Seen::Running(_) if starts => look::Seen::Done,
            Seen::Running(_) => look::Seen::Not("it runs".to_owned()),
            Seen::Stopped if starts => look::Seen::Not("it does not run".to_owned()),
            Seen::Stopped => look::Seen::Done,
            Seen::NumberReused(why) | Seen::Doubtful(why) => look::Seen::Between(why),
            Seen::Unseeable => look::Seen::Never("there is neither status nor pid_file to look at".to_owned()),
        }
    }

    /// Starts what does not run, and looks until it is seen running. Where nothing can tell, the start command's word is
    /// taken: it starts and returns.
    async fn start(&self) -> Outcome {
        self.note(Outcome::Failed("not started: nothing told in time whether it runs".to_owned()));
        if let Seen::Running(_) = self.serves().await {
            return Outcome::Done;
        }
        self.note(Outcome::Unknown("the start command did not end in time and was killed".to_owned()));
        match self.attempt.run(self.start, &BTreeMap::new(), Output::Discard).await {
            Ok(ended) if ended.success() => {}
            Ok(ended) => return Outcome::Failed(format!("the start command {}", ended.describe())),
            Err(error) => return Outcome::Failed(not_run("start", &error)),
        }
        let not_seen = |why: &str| Outcome::Failed(trouble::clip(&format!("started, but not seen running: {why}")));
        self.note(not_seen("no answer in time"));
        let mut pause = LOOK_AGAIN.0;
        loop {
            match self.serves().await {
                Seen::Running(_) | Seen::Unseeable => return Outcome::Done,
                Seen::Stopped => self.note(not_seen("it does not run")),
                Seen::NumberReused(why) | Seen::Doubtful(why) => self.note(not_seen(&why)),
            }
            pause = wait(pause).await;
        }
    }

    /// Stops it, in order first unless `op` is to kill, then by force where there is a process to force.
    async fn stop(&self, op: ServiceOp) -> Stopping {
        let process = match self.remains().await {
            Seen::Stopped => return Stopping::Stopped,
            Seen::NumberReused(why) => return Stopping::NumberReused(why),
            Seen::Doubtful(why) => return failed(&format!("nothing was done: {why}")),
            Seen::Unseeable => return self.stop_unseen().await,
            Seen::Running(process) => process,
        };
        self.note(Outcome::Unknown("it was told to stop, and not seen stopped in time".to_owned()));
        let mut refused = None;
        if op != ServiceOp::Kill || process.is_none() {
            // When the grace ends, a stop command that still runs is killed, and force is next.
            let grace = tokio::time::timeout(self.stop_grace, self.stop_in_order(process.as_ref()));
            refused = grace.await.unwrap_or(Ok(())).err();
        }
        if let Some(process) = &process {
            if let Err(error) = process.signal(Signal::KILL) {
                let why = format!("process {} can't be killed: {}", process.pid, trouble::describe(&error));
                return Stopping::Not(Outcome::Unknown(trouble::clip(&why)));
            }
            self.note(Outcome::Unknown(format!("SIGKILL was sent to process {}, which is not gone", process.pid)));
            if let Err(error) = process.gone().await {
                return Stopping::Not(Outcome::Unknown(format!("watching it: {}", trouble::describe(&error))));
            }
            let text = format!("process {} is gone, and nothing told in time that the service is", process.pid);
            self.note(Outcome::Unknown(text));
        }
        self.confirm_stopped(process.map(|process| process.pid), refused).await
    }

    /// Looks until it is seen stopped.
    async fn confirm_stopped(&self, stopped: Option<i32>, refused: Option<String>) -> Stopping {
        let mut pause = LOOK_AGAIN.0;
        loop {
            match (self.remains().await, &refused) {
                (Seen::Stopped, _) => return Stopping::Stopped,
                (Seen::Running(Some(process)), _) if stopped != Some(process.pid) => {
                    return failed(&format!("it came back as process {}: something else starts it", process.pid));
                }
                (Seen::Running(None), Some(why)) => return failed(why),
                (Seen::Running(_), _) => self.note(Outcome::Unknown("told to stop, and it still runs".to_owned())),
                (Seen::NumberReused(why) | Seen::Doubtful(why), _) => self.note(Outcome::Unknown(why)),
                (Seen::Unseeable, _) => return Stopping::Unconfirmed,
            }
            pause = wait(pause).await;
        }
    }

    /// Without a way to look, the stop command's exit is all there is.
    async fn stop_unseen(&self) -> Stopping {
        let Some(stop) = self.stop else {
            return failed("there is neither a stop command nor a pid file");
        };
        self.note(Outcome::Unknown("the stop command did not end in time and was killed".to_owned()));
        match self.attempt.run(stop, &BTreeMap::new(), Output::Capture).await {
            Ok(ended) if ended.success() => Stopping::Unconfirmed,
            Ok(ended) => failed(&format!("the stop command {}", ended.describe())),
            Err(error) => failed(&not_run("stop", &error)),
        }
    }

    /// Gives the order to stop and waits until it is carried out. The error says why it was not taken.
    async fn stop_in_order(&self, process: Option<&Process>) -> Result<(), String> {
        match (self.stop, process) {
            (Some(stop), _) => match self.attempt.run(stop, &BTreeMap::new(), Output::Capture).await {
                Ok(ended) if ended.success() => {}
                Ok(ended) => return Err(format!("the stop command {}", ended.describe())),
                Err(error) => return Err(not_run("stop", &error)),
            },
            (None, Some(process)) => process.signal(Signal::TERM).map_err(|error| trouble::describe(&error))?,
            (None, None) => return Err("it runs, but there is no stop command and no process of a pid file".to_owned()),
        }
        match process {
            Some(process) => process.gone().await.map_err(|error| trouble::describe(&error)),
            None => Ok(()),
        }
    }

    /// Whether it does its work: what the status command says, and without one whether its process is there.
    async fn serves(&self) -> Seen {
        match (self.status, self.pid_file) {
            (Some(status), _) => self.ask_status(status).await,
            (None, _) => self.remains().await,
        }
    }

    /// Whether anything of it is left. A process that is there counts whatever the status command says: one that is
    /// frozen answers nothing and can still be woken.
    async fn remains(&self) -> Seen {
        let of_file = match self.pid_file {
            None => Seen::Unseeable,
            Some(pid_file) => match process::find(&self.attempt.inner.gates, pid_file).await {
                Found::Alive(process) if process.is_younger_than_its_file() => Seen::NumberReused(format!(
                    "process {} was started after its pid file was written: left alone as another's",
                    process.pid
                )),
                Found::Alive(process) => return Seen::Running(Some(process)),
                Found::Gone(_) => Seen::Stopped,
                Found::Garbled(text) | Found::Unreadable(text) => Seen::Doubtful(text),
            },
        };
        match self.status {
            Some(status) => self.ask_status(status).await,
            None => of_file,
        }
    }

    async fn ask_status(&self, status: &[String]) -> Seen {
        match self.attempt.ask(status).await {
            Ok(ended) if ended.success() => Seen::Running(None),
            Ok(ended) if ended.status.code().is_some_and(|code| NOT_RUNNING.contains(&code)) => Seen::Stopped,
            // What a shell, ssh or a missing program says about itself is no word about the service.
            Ok(ended) => {
                Seen::Doubtful(format!("the status command {}: 0 is running, 1 to 3 is stopped", ended.describe()))
            }
            Err(error) => Seen::Doubtful(not_run("status", &error)),
        }
    }

    /// What a timeout means from now on.
    fn note(&self, outcome: Outcome) {
        self.attempt.so_far.set(outcome);
    }
}

fn failed(why: &str) -> Stopping {
    Stopping::Not(Outcome::Failed(trouble::clip(why)))
}

fn not_run(which: &str, error: &std::io::Error) -> String {
    trouble::clip(&format!("the {which} command: {}", trouble::describe(error)))
}

/// Waits for `pause` and says how long to wait the next time.
async fn wait(pause: Duration) -> Duration {
    tokio::time::sleep(pause).await;
    (pause * 2).min(LOOK_AGAIN.1)
}
