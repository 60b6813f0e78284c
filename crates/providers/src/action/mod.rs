//! One action: done, failed, or not known. *Done* is said only of what was seen.

pub(crate) mod declared;
pub(crate) mod look;
pub(crate) mod systemd;
pub(crate) mod trigger_file;
pub(crate) mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::action::{Action, Outcome, Service, read_address};
use tokio::time::Instant;

use crate::child::{self, Ended, Leftovers, Output};
use crate::so_far::SoFar;
use crate::{Inner, postgres, trouble};

pub(crate) use look::look;

/// Environment variable that carries the idempotency key to every command that an action runs.
pub const IDEMPOTENCY_KEY_VARIABLE: &str = "MAINSTAY_IDEMPOTENCY_KEY";

/// Environment variable that carries the address of an instance which is not where the plan says, to every command that an
/// action or a probe of that instance runs.
pub const ADDRESS_VARIABLE: &str = "MAINSTAY_ADDRESS";

/// Header that carries the idempotency key to a webhook.
pub const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";

/// Replaced by the idempotency key wherever it stands in the content of a trigger file. Content without it is written
/// as it is.
pub const IDEMPOTENCY_KEY_PLACEHOLDER: &str = "{idempotency_key}";

/// What an action needs to know beside itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The same for each attempt at one step, so that the callee can tell a repetition.
    pub idempotency_key: String,
    /// After this the outcome is what is known by then.
    pub timeout: Duration,
    /// Where the instance is that it is done to, if not where the plan says.
    pub address: Option<IpAddr>,
}

/// What all actions of one order share.
pub(crate) struct Attempt<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) order: &'a Order,
    pub(crate) deadline: Instant,
    /// What a timeout would mean.
    pub(crate) so_far: &'a SoFar<Outcome>,
}

impl Attempt<'_> {
    /// Runs a command that gets the idempotency key. What it leaves running stays.
    pub(crate) async fn run(
        &self,
        argv: &[String],
        env: &BTreeMap<String, String>,
        output: Output<'_>,
    ) -> io::Result<Ended> {
        child::run(&self.inner.gates, argv, &self.with_key(env), output, Leftovers::Keep).await
    }

    /// Like [`Attempt::run`], for a command that only answers a question and leaves nothing running.
    pub(crate) async fn ask(&self, argv: &[String]) -> io::Result<Ended> {
        let env = self.with_key(&BTreeMap::new());
        child::run(&self.inner.gates, argv, &env, Output::Capture, Leftovers::Kill).await
    }

    fn with_key(&self, env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut env = env.clone();
        env.insert(IDEMPOTENCY_KEY_VARIABLE.to_owned(), self.order.idempotency_key.clone());
        env.extend(self.order.address.map(|it| (ADDRESS_VARIABLE.to_owned(), it.to_string())));
        env
    }
}

pub(crate) async fn run(inner: &Inner, action: &Action, order: &Order) -> Outcome {
    let so_far = SoFar::new(Outcome::Failed(format!("nothing was done within {:?}", order.timeout)));
    let deadline = Instant::now() + order.timeout;
    let attempt = Attempt { inner, order, deadline, so_far: &so_far };
    match tokio::time::timeout_at(deadline, perform(&attempt, action)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => so_far.into_inner(),
    }
}

/// Does what is no order of a step.
pub(crate) async fn within<T>(
    inner: &Inner,
    name: &str,
    timeout: Duration,
    what: impl AsyncFnOnce(&Attempt<'_>) -> Result<T, Outcome>,
) -> Result<T, Outcome> {
    let order = Order { idempotency_key: name.to_owned(), timeout, address: None };
    let so_far = SoFar::new(Outcome::Failed(format!("nothing was done within {timeout:?}")));
    let deadline = Instant::now() + timeout;
    let attempt = Attempt { inner, order: &order, deadline, so_far: &so_far };
    match tokio::time::timeout_at(deadline, Box::pin(what(&attempt))).await {
        Ok(done) => done,
        Err(_elapsed) => Err(so_far.into_inner()),
    }
}

async fn perform(attempt: &Attempt<'_>, action: &Action) -> Outcome {
    match action {
        Action::Service { op, service: Service::Systemd { unit } } => systemd::operate(attempt, *op, unit).await,
        Action::Service { op, service: Service::Declared { start, stop, status, pid_file, stop_grace } } => {
            let service = declared::Declared {
                attempt,
                start,
                stop: stop.as_deref(),
                status: status.as_deref(),
                pid_file: pid_file.as_deref(),
                stop_grace: *stop_grace,
            };
            service.operate(*op).await
        }
        Action::Service { op, service: Service::Postgres(files) } => postgres::operate(attempt, *op, files).await,
        Action::Postgres(action) => Box::pin(postgres::perform(attempt, action)).await,
        Action::Command { argv, env, reports_address, .. } => command(attempt, argv, env, *reports_address).await,
        Action::TriggerFile { path, content } => trigger_file::write(attempt, path, content).await,
        Action::Webhook { url, method, headers, body, address_header, .. } => {
            webhook::send(attempt, url, method, headers, body, address_header.as_deref()).await
        }
        Action::EndLease { component } => {
            Outcome::Unknown(format!("the lease of `{component}` is ended by whoever grants it, and not by a provider"))
        }
    }
}

async fn command(
    attempt: &Attempt<'_>,
    argv: &[String],
    env: &BTreeMap<String, String>,
    reports_address: bool,
) -> Outcome {
    let program = argv.first().map_or("", String::as_str);
    let text = format!("{program} did not end within {:?} and was killed", attempt.order.timeout);
    attempt.so_far.set(Outcome::Unknown(trouble::clip(&text)));
    match attempt.run(argv, env, Output::Capture).await {
        Ok(ended) if ended.success() && reports_address => done_at(ended.last_line().as_deref()),
        Ok(ended) if ended.success() => Outcome::Done,
        Ok(ended) if ended.status.code().is_some() => Outcome::Failed(ended.describe()),
        // Killed from outside in the middle of whatever it did.
        Ok(ended) => Outcome::Unknown(ended.describe()),
        Err(error) => Outcome::Failed(trouble::clip(&format!("{program}: {}", trouble::describe(&error)))),
    }
}

/// It was done, and says where its instance is from then on: an instance that nobody can find is not known to be there.
pub(crate) fn done_at(said: Option<&str>) -> Outcome {
    read_address(said).map_or_else(|why| Outcome::Unknown(format!("it worked, but {why}")), Outcome::DoneAt)
}
