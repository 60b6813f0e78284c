//! Servers, processes and waiting for the tests. Whatever is started here ends with its value.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::ProbeKind;
use mainstay_providers::{Order, ProbeAnswer, Providers};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// For what must not time out.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// For what must time out.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

pub(crate) async fn probe(kind: &ProbeKind) -> ProbeAnswer {
    Providers::new().probe(kind, LONG).await
}

/// Asks something that does not answer. A machine that is too busy to notice the timeout in time is asked again.
pub(crate) async fn probe_in_vain(kind: &ProbeKind) -> Answer {
    loop {
        let answer = Providers::new().probe(kind, SHORT).await.answer;
        if !answer.detail().is_some_and(|text| text.contains("was late")) {
            return answer;
        }
    }
}

pub(crate) fn order(timeout: Duration) -> Order {
    Order { idempotency_key: "recovery-7/step-2".to_owned(), timeout, address: None }
}

pub(crate) async fn act(action: &Action) -> Outcome {
    Providers::new().act(action, &order(LONG)).await
}

pub(crate) async fn act_in_vain(action: &Action) -> Outcome {
    Providers::new().act(action, &order(SHORT)).await
}

pub(crate) fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| (*word).to_owned()).collect()
}

/// A shell script with `$1`, `$2`, … as `arguments`.
pub(crate) fn script(text: &str, arguments: &[&Path]) -> Vec<String> {
    let mut argv = words(&["sh", "-c", text, "sh"]);
    argv.extend(arguments.iter().map(|path| path.display().to_string()));
    argv
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// An address where nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    listener().await.1
}

/// Answers each connection's first request with `reply` and closes. The requests come out of the channel.
pub(crate) async fn http_server(reply: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let (listener, address) = listener().await;
    let (sender, requests) = mpsc::channel(1024);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = sender.try_send(answer_http(stream, reply).await.unwrap_or_default());
        }
    });
    (address, requests)
}

pub(crate) async fn answer_http(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: &str,
) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= wanted.map_or(0, |len| len.trim().parse().expect("a length"))
}

/// Holds connections and never says a word.
pub(crate) async fn silent_server() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// A process that is killed and reaped with this value.
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn start() -> Sleeper {
        Sleeper(Command::new("sleep").arg("1000").spawn().expect("sleep runs"))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Stops it with SIGSTOP and waits until it is stopped.
    pub(crate) async fn freeze(&self) {
        let pid = Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, Signal::STOP).expect("it can be stopped");
        let stat = format!("/proc/{pid}/stat");
        until(|| fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "))).await;
    }

    /// Writes its pid file. It was started before, as any process of a pid file.
    pub(crate) fn pid_file(&self, directory: &Path) -> PathBuf {
        let path = directory.join("pid");
        fs::write(&path, format!("{}\n", self.pid())).expect("the pid file is written");
        path
    }

    pub(crate) fn signal_that_ended_it(&mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().expect("it ends"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that is not our child, killed with this value.
pub(crate) struct Stranger(OwnedFd);

impl Stranger {
    /// Waits until `pid_file` is there.
    pub(crate) async fn of(pid_file: &Path) -> Stranger {
        until(|| fs::read_to_string(pid_file).is_ok_and(|text| text.ends_with('\n'))).await;
        let text = fs::read_to_string(pid_file).expect("the pid file");
        let pid = text.trim().parse().ok().and_then(Pid::from_raw).expect("a pid in it");
        Stranger(rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("it runs"))
    }

    pub(crate) fn is_gone(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("a poll") > 0
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }
}

/// Waits until `condition` holds, however long this machine takes.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, holds).await.expect("it comes to hold");
}

#[track_caller]
pub(crate) fn assert_says(text: Option<&str>, part: &str) {
    assert!(text.is_some_and(|text| text.contains(part)), "{text:?} does not say {part:?}");
}

#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, part: &str) {
    assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
    assert_says(answer.detail(), part);
}

#[track_caller]
pub(crate) fn assert_wrong(answer: &Answer, part: &str) {
    assert!(matches!(answer, Answer::Wrong(_)), "{answer:?}");
    assert_says(answer.detail(), part);
}

#[track_caller]
pub(crate) fn assert_could_not_ask(answer: &Answer, part: &str) {
    assert!(matches!(answer, Answer::CouldNotAsk(_)), "{answer:?}");
    assert_says(answer.detail(), part);
}

#[track_caller]
pub(crate) fn assert_failed(outcome: &Outcome, part: &str) {
    let Outcome::Failed(text) = outcome else { panic!("{outcome:?}") };
    assert_says(Some(text), part);
}

#[track_caller]
pub(crate) fn assert_unknown(outcome: &Outcome, part: &str) {
    let Outcome::Unknown(text) = outcome else { panic!("{outcome:?}") };
    assert_says(Some(text), part);
}
