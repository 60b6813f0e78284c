//! `mainstay run`: the agent.

use std::path::PathBuf;

use mainstay_agent::{Agent, LedgerError, Options, StartError};
use mainstay_plan::render;
use mainstay_store::StateDirError;
use mainstay_store::journal::OpenError;

use super::Cx;
use crate::exit::{Answer, Code, Failure, causes};
use crate::logging::{self, LogFormat};
use crate::look::Look;
use crate::plan_file::unreadable;

/// Watch, and recover what fails
///
/// Works in the foreground and logs to standard error until SIGTERM or Ctrl-C ends it. SIGHUP reads the plan again; a
/// plan with errors is refused, and the old one stays. The traffic process that serves the routes is started beside it,
/// goes on when the agent ends, and is found again when it comes back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay run mainstay.yaml
  mainstay run --log-format json mainstay.yaml 2>>agent.log
  kill -HUP $(pgrep -f 'mainstay run')      reads the plan again
  MAINSTAY_LOG=debug mainstay run mainstay.yaml

Exit codes:
  0  ended by a signal
  2  the plan can't be read, or has errors
  3  the state directory, the journal or the socket can't be used
  4  another agent uses the state directory")]
pub(crate) struct Run {
    /// The plan
    file: PathBuf,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Run {
    /// An agent on this plan.
    pub(crate) const fn of(file: PathBuf, log_format: LogFormat) -> Run {
        Run { file, log_format }
    }

    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        logging::start(self.log_format);
        let options = Options {
            plan_file: self.file,
            state_dir: cx.named_state.clone(),
            program: this_program()?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let runtime = runtime()?;
        let left = runtime.block_on(async {
            let agent = Agent::start(options).map_err(failure)?;
            Ok(agent.run().await)
        });
        // A file system or a resolver that hangs holds threads; the end does not wait for them.
        runtime.shutdown_background();
        match (left?, self.log_format) {
            (Some(left), LogFormat::Text) => eprintln!("{left}"),
            // Whoever collects the log reads one object a line to the end.
            (Some(left), LogFormat::Json) => tracing::info!("{left}"),
            (None, _) => {}
        }
        Ok(Answer::Yes)
    }
}

/// A runtime for what runs long.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    mainstay_agent::runtime()
        .map_err(|error| Failure::unreachable(format!("the operating system gives no resources: {error}")))
}

/// The path of this very program, to start others of it.
pub(crate) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::unreachable(format!("can't find out where this program is: {error}")))
}

fn failure(error: StartError) -> Failure {
    let text = causes(&error);
    match error {
        StartError::Unreadable { file, source } => unreadable(&file.display().to_string(), &source),
        StartError::Plan { plan } => {
            eprint!("{}", render(&plan.files, &plan.findings, Look::of_stderr_colour()));
            let check = format!("mend it and see that `mainstay check {}` is content", plan.path.display());
            Failure::usage(text).help(check)
        }
        StartError::StateDir(StateDirError::Held { .. }) => {
            Failure::new(Code::Refused, text).help("`mainstay status` says how that agent stands")
        }
        StartError::Owner(_) => Failure::usage(text),
        StartError::StateDir(_) | StartError::Server(_) | StartError::Signals(_) | StartError::Leases(_) => {
            Failure::unreachable(text)
        }
        StartError::Ledger(error) => {
            let help = match error {
                LedgerError::Open(OpenError::Database(error)) if error.is_disk_full() => {
                    "the disk is full: free about 10 MiB on it, or name another one as `state` in the plan; clients go on \
                     being served by the traffic process, if one runs"
                }
                LedgerError::Open(_) => {
                    "`mainstay journal verify` says what is wrong with it. Nothing was changed. To start without it, move \
                     journal.db* away and keep it: the agent then takes over what the traffic process serves"
                }
                LedgerError::Record { .. } => "run the version of mainstay that wrote it, or a newer one",
            };
            Failure::unreachable(text).help(help)
        }
    }
}
