//! `mainstay host`: the hands of an agent on another machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_host::daemon::{self, HostError, HostFile, LedgerError};
use mainstay_host::lease::keeper;
use mainstay_store::StateDirError;
use mainstay_wire::trust::{Identity, Wall};
use tokio::signal::unix::{SignalKind, signal};

use super::Cx;
use super::run::{runtime, this_program};
use crate::exit::{Answer, Code, Failure, causes};
use crate::logging::{self, LogFormat};
use crate::plan_file::unreadable;

/// What ending one thing may take, where the agent has not said so.
const DEMOTE: Duration = Duration::from_secs(2);

/// Be the hands of an agent on this machine
///
/// Probes and acts here for an agent on another machine, which it dials by itself. What it may be asked to do stands in its own
/// file; anything else is refused. It decides nothing but one thing: what it guards is ended when its lease is over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay host /etc/mainstay/host.yaml
  mainstay host --log-format json /etc/mainstay/host.yaml 2>>host.log

Exit codes:
  0  ended by a signal; what it guards is guarded further, and its traffic process goes on serving
  2  the file can't be read, or is wrong
  3  the state directory, the journal or the identity can't be used
  4  another host process uses the state directory")]
pub(crate) struct Host {
    /// The host's file
    file: PathBuf,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// Set by the host itself, for the process that ends what is guarded
    #[arg(long, hide = true)]
    keeper: bool,
}

impl Host {
    pub(crate) fn run(self, _cx: &Cx) -> Result<Answer, Failure> {
        logging::start(self.log_format);
        let file = read(&self.file)?;
        let runtime = runtime()?;
        let ended = runtime.block_on(async {
            if self.keeper {
                let Err(error) = daemon::keep(&file, DEMOTE).await;
                if error.kind() == std::io::ErrorKind::ResourceBusy {
                    return Err(Failure::new(Code::Refused, error.to_string()));
                }
                return Err(Failure::unreachable(format!("{}: {error}", file.state.display())));
            }
            work(&self.file, file).await
        });
        runtime.shutdown_background();
        ended
    }
}

async fn work(path: &Path, file: HostFile) -> Result<Answer, Failure> {
    let identity = Identity::of_host(&file.state, &Wall::system())
        .map_err(|error| Failure::unreachable(causes(&error)).help("join the host with `mainstay enroll join`"))?;
    let program = this_program()?;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let keeper = keeper::Launch {
        program: program.clone(),
        args: vec!["host".to_owned(), "--keeper".to_owned(), path.display().to_string()],
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    tracing::info!(host = identity.me().name, site = identity.me().site, agents = ?file.agents, "the host starts");
    tokio::spawn(daemon::renew_in_time(identity.clone(), file.agents.clone()));
    let (dial, ask_peer) = (daemon::over_tls(identity.clone()), daemon::ask_over_tls(identity.clone()));
    let options = daemon::Options { file, version, dial, ask_peer, identity, keeper, program };
    let mut terminate = signal(SignalKind::terminate()).map_err(|it| Failure::unreachable(it.to_string()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|it| Failure::unreachable(it.to_string()))?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the host ends");
    };
    daemon::run(options, stop).await.map_err(failure)?;
    Ok(Answer::Yes)
}

fn read(path: &Path) -> Result<HostFile, Failure> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| Failure {
        help: Some(
            "a host has a file of its own, which says where its agents are and what it may do: docs/hosts.md"
                .to_owned(),
        ),
        ..unreadable(&shown, &error)
    })?;
    let base = path.canonicalize().ok().and_then(|it| it.parent().map(Path::to_owned)).unwrap_or_default();
    HostFile::parse(&text, &base).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

fn failure(error: HostError) -> Failure {
    let text = causes(&error);
    match error {
        HostError::StateDir(StateDirError::Held { .. }) => Failure::new(Code::Refused, text),
        HostError::Ledger(LedgerError::Record { .. }) => {
            Failure::unreachable(text).help("run the version of mainstay that wrote it, or a newer one")
        }
        HostError::StateDir(_)
        | HostError::Ledger(LedgerError::Open(_) | LedgerError::Broken(_))
        | HostError::Leases(_)
        | HostError::Copy(_) => Failure::unreachable(text),
    }
}
