//! `mainstay traffic`: the process that serves routes.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::routing::{TrafficReply, TrafficRequest};
use mainstay_traffic::{Options, TrafficError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};

use super::Cx;
use super::run::runtime;
use crate::exit::{Answer, Code, Failure, causes};
use crate::logging::{self, LogFormat};
use crate::look::say;

/// How long a traffic process may take to say that it ends.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Serve routes: proxy, DNS, beacons, agent-checks
///
/// Serves the last routing table that it was given, and goes on without an agent. `mainstay run` starts one by itself
/// and finds one that runs; start it by hand to have it supervised apart from the agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay traffic --state /var/lib/mainstay --site shop-a
  mainstay traffic --stop --state /var/lib/mainstay

Exit codes:
  0  ended by a signal or by --stop
  2  the state directory belongs to another site
  3  the state directory or the socket can't be used, or nobody is there to stop
  4  another traffic process uses the state directory")]
pub(crate) struct Traffic {
    /// The site's name, as in the plan
    #[arg(long, required_unless_present = "stop")]
    site: Option<String>,
    /// End the traffic process of this state directory: clients of its routes are not served any more
    #[arg(long, conflicts_with = "site")]
    stop: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Traffic {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Some(site) = self.site else { return stop(cx) };
        logging::start(self.log_format);
        let options = Options { state_dir: cx.state.clone(), site, socket: None };
        let runtime = runtime()?;
        let ended = runtime.block_on(mainstay_traffic::run(options));
        runtime.shutdown_background();
        ended.map_err(failure).map(|()| Answer::Yes)
    }
}

fn failure(error: TrafficError) -> Failure {
    let text = causes(&error);
    match error {
        TrafficError::Locked { .. } => Failure::new(Code::Refused, text),
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

/// Ends the traffic process of a state directory, and waits until it has ended.
pub(crate) fn end(state: &Path) -> Result<(), Failure> {
    let socket = state.join("traffic.sock");
    let nobody = |error: std::io::Error| {
        let text = format!("no traffic process answers at `{}`: {error}", socket.display());
        Failure::unreachable(text).help("name its state directory with `--state DIR`")
    };
    let stream = UnixStream::connect(&socket).map_err(nobody)?;
    let process = socket_peercred(&stream).and_then(|it| pidfd_open(it.pid, PidfdFlags::empty())).ok();
    match ask(&stream, &TrafficRequest::Stop {}).map_err(nobody)? {
        TrafficReply::Stopping {} => {}
        TrafficReply::Applied { .. }
        | TrafficReply::Refused { .. }
        | TrafficReply::Report(_)
        | TrafficReply::Failures { .. } => {
            return Err(nobody(ErrorKind::InvalidData.into()));
        }
    }
    match process {
        Some(process) if !ends(&process) => {
            let text = format!("the traffic process at `{}` was told to end and has not", socket.display());
            Err(Failure::unreachable(text).help("its log is `traffic.log` in the state directory"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Waits until the process is gone, and with it its locks and ports: whoever starts another one next must not meet it.
fn ends(process: &OwnedFd) -> bool {
    let within = Timespec::try_from(STOPS_WITHIN).expect("a few seconds fit");
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
