//! Asking the agent: HTTP/1.1 over the UNIX socket in its state directory.
//!
//! Every way in which nobody answers has its own words, because at that moment a person wonders whether the agent is
//! dead, elsewhere, or theirs to ask.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use mainstay_api::{
    Accepted, COMMANDS, Command, FORESEEN, Foreseen, HEARTBEATS, HOSTS, Heard, Hosts, NOTICES, Notices, PROBES, Probes,
    Problem, RECOVERIES, Recoveries, Recovery, SOCKET, STATUS, Status,
};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{nanos, span};
use crate::exit::{Code, Failure, causes};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Ten thousand components with all their probes stay below it.
const LARGEST_ANSWER: usize = 64 << 20;

/// One agent, by its state directory. Each question is a connection of its own, so that a restart of the agent between
/// two questions is no failure.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    state: PathBuf,
    timeout: Duration,
}

/// A runtime for one command.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::unreachable(format!("the operating system gives no resources: {error}")))
}

impl Client {
    pub(crate) fn new(state: &Path) -> Client {
        Client { state: state.to_owned(), timeout: TIMEOUT }
    }

    pub(crate) fn status(&self) -> Result<Status, Failure> {
        runtime()?.block_on(self.ask_status())
    }

    pub(crate) async fn ask_status(&self) -> Result<Status, Failure> {
        self.ask(Method::GET, STATUS, Bytes::new()).await
    }

    pub(crate) fn recoveries(&self) -> Result<Recoveries, Failure> {
        runtime()?.block_on(self.ask_recoveries())
    }

    pub(crate) async fn ask_recoveries(&self) -> Result<Recoveries, Failure> {
        self.ask(Method::GET, RECOVERIES, Bytes::new()).await
    }

    pub(crate) fn notices(&self) -> Result<Notices, Failure> {
        runtime()?.block_on(self.ask(Method::GET, NOTICES, Bytes::new()))
    }

    /// What probes got: of all, or of this name with their results.
    pub(crate) fn probes(&self, of: Option<&str>) -> Result<Probes, Failure> {
        let path = of.map_or_else(|| PROBES.to_owned(), |it| format!("{PROBES}/{it}"));
        runtime()?.block_on(self.ask(Method::GET, &path, Bytes::new()))
    }

    pub(crate) fn hosts(&self) -> Result<Hosts, Failure> {
        runtime()?.block_on(self.ask(Method::GET, HOSTS, Bytes::new()))
    }

    pub(crate) fn recovery(&self, id: &str) -> Result<Recovery, Failure> {
        runtime()?.block_on(self.ask(Method::GET, &format!("{RECOVERIES}/{id}"), Bytes::new()))
    }

    /// Calls for a job.
    pub(crate) fn heartbeat(&self, name: &str) -> Result<Heard, Failure> {
        runtime()?.block_on(self.ask(Method::POST, &format!("{HEARTBEATS}/{name}"), Bytes::new()))
    }

    /// What a command would do, without giving it.
    pub(crate) fn foresee(&self, command: &Command) -> Result<Foreseen, Failure> {
        let body = serde_json::to_vec(command).expect("a command is plain data");
        runtime()?.block_on(self.ask(Method::POST, FORESEEN, body.into()))
    }

    pub(crate) fn command(&self, command: &Command) -> Result<Accepted, Failure> {
        let body = serde_json::to_vec(command).expect("a command is plain data");
        runtime()?.block_on(self.ask(Method::POST, COMMANDS, body.into()))
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, Failure> {
        let asked = tokio::time::timeout(self.timeout, self.exchange(method, path, body)).await;
        let (status, body) = asked.unwrap_or_else(|_| Err(self.silent()))?;
        if status.is_success() {
            serde_json::from_slice(&body).map_err(|error| self.malformed(&error.to_string()))
        } else {
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => Err(refusal(problem)),
                Err(_) => Err(self.malformed(&format!("status {status} without a reason"))),
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(self.socket()).await.map_err(|error| self.unconnected(&error))?;
        let broken = |error: hyper::Error| self.broke_off(&causes(&error));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends with `sender`; its errors reach the request.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "mainstay")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::usage(format!("`{path}` can't be asked for: {error}")))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| self.broke_off(&error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn socket(&self) -> PathBuf {
        self.state.join(SOCKET)
    }

    fn unconnected(&self, error: &io::Error) -> Failure {
        let state = self.state.display();
        let socket = self.socket();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the operating system's errors are not ours to list")]
        match error.kind() {
            ErrorKind::NotFound if matches!(self.state.try_exists(), Ok(false)) => {
                Failure::unreachable(format!("there is no state directory `{state}`")).help(
                    "start an agent with `mainstay run FILE`, or say where its state directory is with `--state DIR` \
                     or MAINSTAY_STATE",
                )
            }
            ErrorKind::NotFound => Failure::unreachable(format!("no agent runs on the state directory `{state}`"))
                .help("start it with `mainstay run FILE`; what it did before is in `mainstay journal show`"),
            ErrorKind::ConnectionRefused => Failure::unreachable(format!(
                "no agent runs on the state directory `{state}`: the one that made `{}` has ended",
                socket.display()
            ))
            .help("start it again with `mainstay run FILE`; `mainstay journal show` has what it did last"),
            ErrorKind::PermissionDenied => {
                Failure::unreachable(format!("no permission to talk to the agent at `{}`", socket.display())).help(
                    format!("only the user that runs the agent may: try `sudo -u USER mainstay --state {state} …`"),
                )
            }
            ErrorKind::NotADirectory => Failure::usage(format!("the state directory `{state}` is not a directory"))
                .help("name the directory that stands as `state` in the plan"),
            ErrorKind::InvalidInput => Failure::usage(format!(
                "the path `{}` is too long for a socket: {} bytes, and 107 are possible",
                socket.display(),
                socket.as_os_str().len()
            ))
            .help("change to a directory nearby and name the state directory from there"),
            _ => Failure::unreachable(format!("can't talk to the agent at `{}`: {error}", socket.display()))
                .help("see whether the agent is alive and what it logs"),
        }
    }

    fn silent(&self) -> Failure {
        let socket = self.socket();
        Failure::unreachable(format!(
            "the agent at `{}` did not answer within {}",
            socket.display(),
            span(nanos(self.timeout))
        ))
        .help("it may be suspended or starved of CPU or disk; clients go on being served by the traffic process")
    }

    fn broke_off(&self, why: &str) -> Failure {
        Failure::unreachable(format!("the agent at `{}` broke off: {why}", self.socket().display()))
            .help("it may just have been stopped or restarted; ask again")
    }

    fn malformed(&self, why: &str) -> Failure {
        Failure::unreachable(format!(
            "the agent at `{}` answers what mainstay {} does not understand: {why}",
            self.socket().display(),
            env!("CARGO_PKG_VERSION")
        ))
        .help("use the `mainstay` that the agent was started with")
    }
}

fn refusal(problem: Problem) -> Failure {
    let code = match problem.code.as_str() {
        "refused" => Code::Refused,
        "not_found" | "bad_request" => Code::Usage,
        _ => Code::Unreachable,
    };
    Failure::new(code, problem.message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn an_agent_that_hangs_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().expect("a directory");
        let _listener = UnixListener::bind(dir.path().join(SOCKET)).expect("binds");
        let client = Client { timeout: Duration::from_millis(20), ..Client::new(dir.path()) };
        let failure = client.status().expect_err("nobody answers");
        assert_eq!(failure.code, Code::Unreachable);
        assert!(failure.message.ends_with("did not answer within 20ms"), "{failure}");
    }

    #[test]
    fn an_agent_that_breaks_off_is_said() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("binds");
        let hangs_up = std::thread::spawn(move || drop(listener.accept()));
        let failure = Client::new(dir.path()).status().expect_err("it hangs up");
        hangs_up.join().expect("it ends");
        assert!(failure.message.contains("broke off"), "{failure}");
        assert!(failure.help.is_some(), "{failure}");
    }
}
