//! One probe: what each kind asks and what its answers mean.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::http::HeaderMap;
use hyper::{Request, StatusCode, header};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{HttpProbe, ProbeKind};
use rustix::io::Errno;
use tokio::time::Instant;

use crate::action::ADDRESS_VARIABLE;
use crate::child::{Leftovers, Output};
use crate::http::{Body, Secured};
use crate::process::Found;
use crate::so_far::SoFar;
use crate::{Inner, ProbeAnswer, child, dial, dns, http, lag, process, tls, trouble};

/// How late a timeout may be noticed, beside half of the timeout itself, before it says more about us than about whom
/// we asked.
const LATENESS: Duration = Duration::from_millis(250);

/// `at` is where the instance is, if not where the plan says; `kind` asks there already.
pub(crate) async fn run(inner: &Inner, kind: &ProbeKind, at: Option<IpAddr>, timeout: Duration) -> ProbeAnswer {
    let deadline = Instant::now() + timeout;
    let so_far = SoFar::new(Answer::TimedOut);
    if let Ok(answer) = tokio::time::timeout_at(deadline, ask(inner, kind, at, deadline, &so_far)).await {
        return answer;
    }
    let late = Instant::now().saturating_duration_since(deadline);
    if late > LATENESS.max(timeout / 2) {
        let text = format!("this agent was late: it noticed the timeout {} ms after it", late.as_millis());
        return Answer::CouldNotAsk(text).into();
    }
    so_far.into_inner().into()
}

impl From<Answer> for ProbeAnswer {
    fn from(answer: Answer) -> ProbeAnswer {
        ProbeAnswer { answer, lag: None, role: None }
    }
}

async fn ask(
    inner: &Inner,
    kind: &ProbeKind,
    at: Option<IpAddr>,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> ProbeAnswer {
    match kind {
        ProbeKind::Tcp { address } => match dial::connect(&inner.gates, address, deadline, so_far).await {
            Ok(_closed_by_dropping) => Answer::Good.into(),
            Err(answer) => answer.into(),
        },
        ProbeKind::Http(probe) => ask_http(inner, probe, deadline, so_far).await.unwrap_or_else(ProbeAnswer::from),
        ProbeKind::Dns { server, name, record, expect } => {
            dns::probe(*server, name, *record, expect.as_deref()).await.into()
        }
        ProbeKind::Command { argv, reports_lag, reports_role } => {
            ask_command(inner, argv, at, Line { lag: *reports_lag, role: *reports_role }).await
        }
        ProbeKind::Process { pid_file } => match process::find(&inner.gates, pid_file).await {
            Found::Alive(_process) => Answer::Good,
            Found::Gone(text) => Answer::Refused(text),
            Found::Garbled(text) => Answer::Wrong(text),
            Found::Unreadable(text) => Answer::CouldNotAsk(text),
        }
        .into(),
        ProbeKind::FileFreshness { path, max_age } => ask_file(inner, path, *max_age).await,
    }
}

async fn ask_http(
    inner: &Inner,
    probe: &HttpProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let request = http_request(probe).map_err(|text| Answer::CouldNotAsk(trouble::clip(&text)))?;
    so_far.set(Answer::CouldNotAsk("reading the trusted certificates took too long".to_owned()));
    let secured = match probe.tls {
        true => Some(secured(inner, probe).await.map_err(|text| Answer::CouldNotAsk(trouble::clip(&text)))?),
        false => None,
    };
    let connection = http::open(&inner.gates, &probe.address, secured, deadline, so_far).await?;
    let body = probe.expect_body.as_deref().map_or(Body::Ignore, Body::Find);
    let reply = http::ask(connection, request, body).await?;
    let answer = if !is_expected(reply.status, &probe.expect_status) {
        Answer::Wrong(format!("status {}", reply.status))
    } else if probe.expect_body.as_deref().is_some_and(|text| !text.is_empty()) && !reply.found {
        Answer::Wrong(format!("status {}, without the expected text", reply.status))
    } else {
        Answer::Good
    };
    let lag = text_of(&reply.headers, probe.lag_header.as_deref()).and_then(lag::parse);
    let role = text_of(&reply.headers, probe.role_header.as_deref()).map(word);
    Ok(ProbeAnswer { answer, lag, role })
}

/// The request of a probe, or why it can't be one.
pub(crate) fn http_request(probe: &HttpProbe) -> Result<Request<Full<Bytes>>, String> {
    Request::get(probe.path.as_str())
        .header(header::HOST, probe.host.as_str())
        .body(Full::default())
        .map_err(|error| format!("the request: {error}"))
}

async fn secured(inner: &Inner, probe: &HttpProbe) -> Result<Secured, String> {
    let name = tls::server_name(&probe.host)?;
    let config = inner.tls.get(&inner.gates, probe.ca_file.as_deref()).await?;
    Ok(Secured { config, name })
}

fn is_expected(status: StatusCode, ranges: &[(u16, u16)]) -> bool {
    match ranges {
        [] => status.is_success(),
        ranges => ranges.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16())),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: Option<&str>) -> Option<&'a str> {
    headers.get(name?)?.to_str().ok()
}

/// A role as it was told, short enough to be kept.
fn word(text: &str) -> String {
    text.trim().chars().take(32).collect()
}

/// What the last line of a command's output is asked for.
#[derive(Clone, Copy)]
struct Line {
    lag: bool,
    role: bool,
}

impl Line {
    /// One of the two stands there alone, or behind its name; both stand behind their names: `role=active lag=1.5s`.
    fn read(self, line: &str) -> (Option<Duration>, Option<String>) {
        let named = |name: &str| line.split_whitespace().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let alone = (!line.contains('=') && self.lag != self.role).then_some(line);
        let lag = self.lag.then(|| named("lag").or(alone)).flatten().and_then(lag::parse);
        let role = self.role.then(|| named("role").or(alone)).flatten().map(word);
        (lag, role)
    }
}

async fn ask_command(inner: &Inner, argv: &[String], at: Option<IpAddr>, line: Line) -> ProbeAnswer {
    let env = at.into_iter().map(|it| (ADDRESS_VARIABLE.to_owned(), it.to_string())).collect();
    match child::run(&inner.gates, argv, &env, Output::Capture, Leftovers::Kill).await {
        Ok(ended) if ended.success() => {
            let (lag, role) = ended.last_line().map(|it| line.read(&it)).unwrap_or_default();
            ProbeAnswer { answer: Answer::Good, lag, role }
        }
        Ok(ended) => Answer::Refused(ended.describe()).into(),
        Err(error) => {
            let program = argv.first().map_or("", String::as_str);
            Answer::CouldNotAsk(trouble::clip(&format!("{program}: {}", trouble::describe(&error)))).into()
        }
    }
}

async fn ask_file(inner: &Inner, path: &Path, max_age: Duration) -> ProbeAnswer {
    let file = path.to_owned();
    let key = format!("read {}", path.display());
    match inner.gates.run(key, move || std::fs::metadata(file)?.modified()).await {
        Ok(modified) => {
            // A time in the future is a clock that was set; the file was changed just now as far as anyone can tell.
            let age = SystemTime::now().duration_since(modified).unwrap_or_default();
            let answer = match age <= max_age {
                true => Answer::Good,
                false => Answer::Wrong(format!("changed {:.1?} ago, may be {max_age:?}", age)),
            };
            ProbeAnswer { answer, lag: Some(age), role: None }
        }
        Err(error) => unreadable(path, &error).into(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Answer {
    let text = trouble::clip(&format!("{}: {}", path.display(), trouble::describe(error)));
    match Errno::from_io_error(error) {
        // The file system is part of what is asked: a stale handle or an unreadable disk is its failure.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::IO) => Answer::Refused(text),
        Some(_) | None => Answer::CouldNotAsk(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_tells_lag_and_role() {
        let (lag, role, both) =
            (Line { lag: true, role: false }, Line { lag: false, role: true }, Line { lag: true, role: true });
        let ms = |it| Some(Duration::from_millis(it));
        let is = |it: &str| Some(it.to_owned());
        let cases = [
            (lag, "250ms", ms(250), None),
            (lag, "2 m", ms(120_000), None),
            (lag, "role=active lag=1.5s", ms(1500), None),
            (role, " Primary ", None, is("Primary")),
            (role, "lag=3s role=replica", None, is("replica")),
            (role, "lag=3s", None, None),
            (both, "role=active lag=1.5s", ms(1500), is("active")),
            (both, "lag=0 role=standby", ms(0), is("standby")),
            (both, "role=standby", None, is("standby")),
            (both, "active", None, None),
            (both, "3s", None, None),
        ];
        for (asked, line, lag, role) in cases {
            assert_eq!(asked.read(line), (lag, role), "{line}");
        }
    }
}
