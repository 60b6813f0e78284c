//! One probe: what each kind asks and what its answers mean.

mod command;
mod composite;
mod disk;
mod file;
mod grpc;
mod http;
mod icmp;
mod place;
mod tls;
mod udp;

use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::observation::{Answer, Concerns, OWN_LATENESS};
use mainstay_plan::probe::{Address, ProbeKind};
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::command::Line;
pub(crate) use self::grpc::check_grpc;
pub(crate) use self::http::{check_request, spoken};
pub(crate) use self::icmp::permitted;
pub(crate) use self::place::Place;
use crate::process::Found;
use crate::so_far::SoFar;
use crate::{Inner, ProbeAnswer, dial, dns, postgres, process};

/// How late a timeout may be noticed, beside half of the timeout itself, before it says more about us than about whom
/// we asked.
const LATENESS: Duration = Duration::from_millis(250);

/// `at` is where the instance is, if not where the plan says; `kind` asks there already.
pub(crate) async fn run(inner: &Inner, kind: &ProbeKind, at: Option<IpAddr>, timeout: Duration) -> ProbeAnswer {
    if let ProbeKind::Composite(probe) = kind {
        return composite::run(probe.needed as usize, probe.of.iter().map(|it| one(inner, it, at, timeout))).await;
    }
    one(inner, kind, at, timeout).await
}

async fn one(inner: &Inner, kind: &ProbeKind, at: Option<IpAddr>, timeout: Duration) -> ProbeAnswer {
    let deadline = Instant::now() + timeout;
    let so_far = SoFar::new(Answer::TimedOut);
    if let Ok(answer) = tokio::time::timeout_at(deadline, ask(inner, kind, at, deadline, &so_far)).await {
        return answer;
    }
    let late = Instant::now().saturating_duration_since(deadline);
    if late > LATENESS.max(timeout / 2) {
        let text = format!("{OWN_LATENESS}: the timeout was noticed {} ms after it", late.as_millis());
        return Answer::CouldNotAsk(text).into();
    }
    so_far.into_inner().into()
}

impl From<Answer> for ProbeAnswer {
    fn from(answer: Answer) -> ProbeAnswer {
        ProbeAnswer { answer, lag: None, role: None, concerns: Concerns::default(), position: None }
    }
}

/// Each kind is asked in a box, so that the task of a `tcp` probe, of which there are many, stays small.
async fn ask(
    inner: &Inner,
    kind: &ProbeKind,
    at: Option<IpAddr>,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> ProbeAnswer {
    match kind {
        ProbeKind::Tcp { address: Address::Socket(target) } => reached(dial::reach(*target).await),
        ProbeKind::Tcp { address } => reached(Box::pin(dial::connect(&inner.names, address, deadline, so_far)).await),
        ProbeKind::Http(probe) => {
            Box::pin(http::ask(inner, probe, deadline, so_far)).await.unwrap_or_else(ProbeAnswer::from)
        }
        ProbeKind::Tls(probe) => {
            Box::pin(tls::ask(inner, probe, deadline, so_far)).await.unwrap_or_else(ProbeAnswer::from)
        }
        ProbeKind::Dns { server, name, record, expect } => {
            Box::pin(dns::probe(*server, name, *record, expect.as_deref())).await.into()
        }
        ProbeKind::Grpc(probe) => {
            Box::pin(grpc::ask(inner, probe, deadline, so_far)).await.unwrap_or_else(ProbeAnswer::from)
        }
        ProbeKind::Postgres(probe) => {
            Box::pin(postgres::ask(inner, probe, deadline, so_far)).await.unwrap_or_else(ProbeAnswer::from)
        }
        ProbeKind::Udp(probe) => Box::pin(udp::ask(inner, probe, so_far)).await.unwrap_or_else(|answer| answer).into(),
        ProbeKind::Icmp { address } => Box::pin(icmp::ask(*address)).await.unwrap_or_else(|answer| answer).into(),
        ProbeKind::Disk(probe) => Box::pin(disk::ask(inner, probe)).await.into(),
        ProbeKind::Heartbeat { name, max_age } => inner.heartbeats.answer(name, *max_age).into(),
        ProbeKind::Composite(_) => Answer::CouldNotAsk("a composite in a composite".to_owned()).into(),
        ProbeKind::Command { argv, reports_lag, reports_role } => {
            Box::pin(command::ask(inner, argv, at, Line { lag: *reports_lag, role: *reports_role })).await
        }
        ProbeKind::Process { pid_file } => match Box::pin(process::find(&inner.gates, pid_file)).await {
            Found::Alive(_process) => Answer::Good,
            Found::Gone(text) => Answer::Refused(text),
            Found::Garbled(text) => Answer::Wrong(text),
            Found::Unreadable(text) => Answer::CouldNotAsk(text),
        }
        .into(),
        ProbeKind::FileFreshness { path, max_age } => Box::pin(file::ask(inner, path, *max_age)).await,
    }
}

/// Nothing is said over the connection. It is closed by a reset, most often before the server has heard that it was there:
/// otherwise ten thousand probes a second would leave six hundred thousand sockets behind that wait for nothing.
fn reached(connected: Result<TcpStream, Answer>) -> ProbeAnswer {
    match connected {
        Ok(stream) => {
            let _ = stream.set_zero_linger();
            Answer::Good.into()
        }
        Err(answer) => answer.into(),
    }
}

/// A role as it was told, short enough to be kept.
fn word(text: &str) -> String {
    text.trim().chars().take(32).collect()
}
