//! `mainstay traffic`: the process that serves routes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_plan::routing::{TrafficReply, TrafficRequest};
use mainstay_traffic::{Options, Successor, TrafficError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Cx;
use super::run::{runtime, this_program};
use crate::exit::{Answer, Code, Failure, causes};
use crate::logging::{self, LogFormat};
use crate::look::say;

/// How long a traffic process may take to say that it ends.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// How long a new one may take until it serves; the two wait for each other in several steps.
const RESTARTS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Serve routes: proxy, DNS, beacons, agent-checks
///
/// Serves the last routing table that it was given, and goes on without an agent. `mainstay run` starts one by itself
/// and finds one that runs; start it by hand to have it supervised apart from the agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay traffic --state /var/lib/mainstay --site shop-a
  mainstay traffic --restart --state /var/lib/mainstay
  mainstay traffic --stop --state /var/lib/mainstay

Exit codes:
  0  ended by a signal, by --stop, or by a process that took over; with --restart: another one serves
  2  the state directory belongs to another site
  3  the state directory or the socket can't be used, or nobody is there to stop or restart
  4  another traffic process uses the state directory, or goes on instead of handing over")]
pub(crate) struct Traffic {
    /// The site's name, as in the plan
    #[arg(long, required_unless_present_any = ["stop", "restart"])]
    site: Option<String>,
    /// End the traffic process of this state directory: clients of its routes are not served any more
    #[arg(long, conflicts_with_all = ["site", "restart", "take_over"])]
    stop: bool,
    /// Let another process, of the program as it is installed now, take over from the one of this state directory; no client is
    /// refused, and connections that are open have the drain time of their routes
    #[arg(long, conflicts_with_all = ["site", "take_over"])]
    restart: bool,
    /// Take over from the process of this state directory, if one runs
    #[arg(long)]
    take_over: bool,
    /// The agent is on another machine: routes that are cut when it is silent are served once a host says that it was heard
    #[arg(long, conflicts_with_all = ["stop", "restart"])]
    follow: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Traffic {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Some(site) = self.site else { return if self.restart { restart(cx) } else { stop(cx) } };
        logging::start(self.log_format);
        let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !self.take_over {
            args.push("--take-over".into());
        }
        let successor = Some(Successor { program: this_program()?, args });
        let (state_dir, take_over, follows) = (cx.state.clone(), self.take_over, self.follow);
        let options = Options { state_dir, site, socket: None, take_over, follows, successor };
        let runtime = runtime()?;
        let ended = runtime.block_on(mainstay_traffic::run(options));
        runtime.shutdown_background();
        ended.map_err(failure).map(|()| Answer::Yes)
    }
}

fn failure(error: TrafficError) -> Failure {
    let text = causes(&error);
    match error {
        TrafficError::Locked { .. } | TrafficError::HandOver { .. } => Failure::new(Code::Refused, text),
        TrafficError::OtherSite { .. } => Failure::usage(text),
        TrafficError::StateDir { .. } | TrafficError::Socket { .. } | TrafficError::Signals(_) => {
            Failure::unreachable(text)
        }
    }
}

fn stop(cx: &Cx) -> Result<Answer, Failure> {
    end(&cx.state)?;
    say("the traffic process has ended; a running agent starts a new one\n")?;
    Ok(Answer::Yes)
}

/// Lets another process take over, and waits until it serves.
fn restart(cx: &Cx) -> Result<Answer, Failure> {
    let socket = cx.state.join("traffic.sock");
    let nobody = |error| nobody(&socket, &error);
    let stream = UnixStream::connect(&socket).map_err(nobody)?;
    let reply = ask(&stream, &TrafficRequest::Restart {}).map_err(nobody)?;
    let pid = match reply {
        TrafficReply::Restarting { pid } => pid,
        TrafficReply::Refused { reason, .. } => return Err(Failure::new(Code::Refused, reason)),
        TrafficReply::Applied { .. }
        | TrafficReply::Report(_)
        | TrafficReply::Failures { .. }
        | TrafficReply::Stopping {} => return Err(nobody(ErrorKind::InvalidData.into())),
    };
    let new = i32::try_from(pid).ok().and_then(Pid::from_raw).and_then(|it| pidfd_open(it, PidfdFlags::empty()).ok());
    let deadline = Instant::now() + RESTARTS_WITHIN;
    while Instant::now() < deadline {
        let serves = || ask(&UnixStream::connect(&socket)?, &TrafficRequest::Report {});
        if matches!(serves(), Ok(TrafficReply::Report(it)) if it.pid == pid) {
            say(&format!("traffic process {pid} has taken over\n"))?;
            return Ok(Answer::Yes);
        }
        if new.as_ref().is_none_or(|it| ends(it, LOOK_INTERVAL)) {
            break;
        }
    }
    let text = format!("traffic process {pid} has not taken over: the one before it goes on");
    Err(Failure::new(Code::Refused, text)
        .help("the log of the two says why; it is `traffic.log` in the state directory"))
}

fn nobody(socket: &Path, error: &std::io::Error) -> Failure {
    let text = format!("no traffic process answers at `{}`: {error}", socket.display());
    Failure::unreachable(text).help("name its state directory with `--state DIR`")
}

/// Ends the traffic process of a state directory, and waits until it has ended.
pub(crate) fn end(state: &Path) -> Result<(), Failure> {
    let socket = state.join("traffic.sock");
    let nobody = |error| nobody(&socket, &error);
    let stream = UnixStream::connect(&socket).map_err(nobody)?;
    let process = socket_peercred(&stream).and_then(|it| pidfd_open(it.pid, PidfdFlags::empty())).ok();
    match ask(&stream, &TrafficRequest::Stop {}).map_err(nobody)? {
        TrafficReply::Stopping {} => {}
        TrafficReply::Applied { .. }
        | TrafficReply::Refused { .. }
        | TrafficReply::Report(_)
        | TrafficReply::Failures { .. }
        | TrafficReply::Restarting { .. } => {
            return Err(nobody(ErrorKind::InvalidData.into()));
        }
    }
    match process {
        Some(process) if !ends(&process, STOPS_WITHIN) => {
            let text = format!("the traffic process at `{}` was told to end and has not", socket.display());
            Err(Failure::unreachable(text).help("its log is `traffic.log` in the state directory"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Waits until the process is gone, and with it its locks and ports: whoever starts another one next must not meet it.
fn ends(process: &OwnedFd, within: Duration) -> bool {
    let within = Timespec::try_from(within).expect("a few seconds fit");
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&within)).is_ok_and(|ended| ended > 0)
}

fn ask(stream: &UnixStream, request: &TrafficRequest) -> std::io::Result<TrafficReply> {
    stream.set_read_timeout(Some(STOPS_WITHIN))?;
    stream.set_write_timeout(Some(STOPS_WITHIN))?;
    let mut writer = stream;
    writer.write_all(&serde_json::to_vec(request)?)?;
    writer.write_all(b"\n")?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}
