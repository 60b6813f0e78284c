//! What became of an action that nobody watched to its end. It is looked at, and nothing is done.

use std::path::Path;
use std::time::Duration;

use mainstay_plan::action::{Action, Outcome, Service, ServiceOp};
use tokio::time::{Instant, sleep, timeout_at};

use crate::Inner;
use crate::action::{Attempt, Order, declared, systemd, trigger_file};
use crate::leftover::{self, Beginner};
use crate::postgres;
use crate::so_far::SoFar;

/// A signal that was sent, or a program that had just been started, shows within this.
const SETTLES: Duration = Duration::from_secs(1);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What can be seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is as the action leaves it.
    Done,
    /// It is not, and nothing but what was begun can change that.
    Not(String),
    /// It is on its way from one to the other, or can't be told at the moment.
    Between(String),
    /// It can't be told, however long one looks.
    Never(String),
}

pub(crate) async fn look(inner: &Inner, action: &Action, order: &Order, begun_by: Option<Beginner>) -> Outcome {
    let so_far = SoFar::new(Outcome::Unknown("nothing told in time what became of it".to_owned()));
    let deadline = Instant::now() + order.timeout;
    let attempt = Attempt { inner, order, deadline, so_far: &so_far };
    match timeout_at(deadline, until_known(&attempt, action, begun_by)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => so_far.into_inner(),
    }
}

async fn until_known(attempt: &Attempt<'_>, action: &Action, begun_by: Option<Beginner>) -> Outcome {
    let settled = Instant::now() + settles(action);
    loop {
        // First: what ends after this has left what it did behind for the look that follows.
        let left = left_running(attempt, begun_by).await;
        let why = match (seen(attempt, action).await, left) {
            (Seen::Done, _) => return Outcome::Done,
            (Seen::Never(why), _) => return Outcome::Unknown(why),
            (Seen::Not(why), Ok(None)) if Instant::now() >= settled => {
                return Outcome::Failed(format!("{why}, and nothing of the order is under way"));
            }
            (Seen::Not(why), Ok(Some(process))) => format!("{why}, and {process} of the order still runs"),
            (Seen::Not(why), Err(unread)) => {
                format!("{why}, and whether the order is under way can't be told: {unread}")
            }
            (Seen::Not(why) | Seen::Between(why), _) => why,
        };
        attempt.so_far.set(Outcome::Unknown(why));
        sleep(LOOK_AGAIN).await;
    }
}

/// How long what was begun may take to show when nothing of it runs any more.
fn settles(action: &Action) -> Duration {
    match action {
        Action::Service { op: ServiceOp::Stop, service: Service::Declared { stop_grace, .. } } => {
            (*stop_grace).max(SETTLES)
        }
        Action::Service { op: ServiceOp::Stop, service: Service::Postgres(files) } => files.stop_grace.max(SETTLES),
        Action::Service { .. } => SETTLES,
        // Whoever writes a file does it itself.
        Action::TriggerFile { .. }
        | Action::Command { .. }
        | Action::Webhook { .. }
        | Action::Postgres(_)
        | Action::EndLease { .. } => Duration::ZERO,
    }
}

async fn left_running(attempt: &Attempt<'_>, begun_by: Option<Beginner>) -> Result<Option<String>, String> {
    let key = attempt.order.idempotency_key.clone();
    let looked = attempt.inner.gates.run("look for processes".to_owned(), move || leftover::of(&key, begun_by)).await;
    looked.map_err(|error| crate::trouble::describe(&error))
}

async fn seen(attempt: &Attempt<'_>, action: &Action) -> Seen {
    match action {
        Action::Service { op: ServiceOp::Restart, .. } => {
            Seen::Never("whether something was restarted can't be seen".to_owned())
        }
        Action::Service { op, service: Service::Systemd { unit } } => systemd::look(attempt, *op, unit).await,
        Action::Service { op, service: Service::Declared { start, stop, status, pid_file, stop_grace } } => {
            let service = declared::Declared {
                attempt,
                start,
                stop: stop.as_deref(),
                status: status.as_deref(),
                pid_file: pid_file.as_deref(),
                stop_grace: *stop_grace,
            };
            service.look(*op).await
        }
        Action::Service { op, service: Service::Postgres(files) } => postgres::look(attempt, *op, files).await,
        Action::TriggerFile { path, content } => look_at_file(attempt, path, content).await,
        Action::Command { .. } | Action::Webhook { .. } | Action::Postgres(_) | Action::EndLease { .. } => {
            Seen::Never("what became of it can't be seen".to_owned())
        }
    }
}

async fn look_at_file(attempt: &Attempt<'_>, path: &Path, content: &str) -> Seen {
    let (target, wanted) = (path.to_owned(), trigger_file::with_key(content, &attempt.order.idempotency_key));
    let looked = attempt
        .inner
        .gates
        .run(format!("read {}", path.display()), move || trigger_file::look(&target, wanted.as_bytes()));
    looked.await.unwrap_or_else(|error| Seen::Between(crate::trouble::describe(&error)))
}
