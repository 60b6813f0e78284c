//! `mainstay takeover`: the agent's machine is lost, and this one goes on.

use std::path::PathBuf;

use mainstay_agent::takeover::{self, Copied, TakeoverError};
use mainstay_store::StateDirError;

use super::Cx;
use super::run::Run;
use crate::clock;
use crate::exit::{Answer, Code, Failure, causes};
use crate::logging::LogFormat;
use crate::look::say;

/// Go on as the site's agent on this machine, from the copy of the journal that its host has kept
///
/// For when the agent's machine is lost. The copy becomes the journal of a new state directory, and the agent that starts on it decides
/// under a higher epoch: hosts and traffic processes that have heard it refuse the one before. What that one recorded and had not
/// copied yet is missing, and is said: this agent observes before it acts, as after every start.
///
/// Make sure first that the other agent is gone, or can't reach anything any more: the traffic process on its own machine
/// knows only it. Hosts reach this machine if its address is among `agents` in their file, and believe it if the site's
/// authority is in `pki` of the new state directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay takeover --from /var/lib/mainstay-host --look
  mainstay takeover --from /var/lib/mainstay-host --state /var/lib/mainstay mainstay.yaml
  mainstay takeover --from /var/lib/mainstay-host --state /var/lib/mainstay --by 'ops-1 burned down, PG-4711'

Exit codes:
  0  ended by a signal, as `mainstay run`; with --look or --prepare-only: the copy is whole
  2  the plan can't be read, or has errors
  3  the copy or the state directory can't be used
  4  the state directory has a journal already, or is in use")]
pub(crate) struct Takeover {
    /// The state directory of the host on this machine
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Say what the copy holds, and change nothing
    #[arg(long)]
    look: bool,
    /// Begin the journal, and don't start the agent
    #[arg(long, conflicts_with = "look")]
    prepare_only: bool,
    /// Who wants it, and why; it stands in the journal
    #[arg(long, default_value = "an operator")]
    by: String,
    /// The plan; without it, the one that was in force, which is written to `plan.yaml` in the state directory
    file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Takeover {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let copied = takeover::look(&self.from).map_err(failure)?;
        say(&told(&copied))?;
        if self.look {
            return Ok(Answer::Yes);
        }
        let state = cx.named_state.clone().ok_or_else(|| {
            Failure::usage("no state directory is named for the agent that is to start here")
                .help("--state DIR, a new one")
        })?;
        let epoch = takeover::take_over(&copied, &state, &self.by).map_err(failure)?;
        let file = match self.file {
            Some(file) => file,
            None => {
                let file = state.join("plan.yaml");
                let text = copied
                    .plan
                    .as_deref()
                    .ok_or_else(|| Failure::usage("the copy holds no plan").help("name the plan's file"))?;
                std::fs::write(&file, text)
                    .map_err(|error| Failure::unreachable(format!("{}: {error}", file.display())))?;
                file
            }
        };
        say(&format!("taken over under epoch {epoch}: {}\n", state.display()))?;
        if self.prepare_only {
            let (file, state) = (file.display(), state.display());
            say(&format!("next: `mainstay run {file} --state {state}`\n"))?;
            return Ok(Answer::Yes);
        }
        Run::of(file, self.log_format).run(cx)
    }
}

fn told(copied: &Copied) -> String {
    format!(
        "copy of {} records, whole; the last one of {}\nhash {}, epoch seen {}\n",
        copied.records,
        clock::utc(copied.last.as_nanos()),
        copied.hash,
        copied.epoch
    )
}

fn failure(error: TakeoverError) -> Failure {
    let text = causes(&error);
    match error {
        TakeoverError::Used { .. } | TakeoverError::StateDir(StateDirError::Held { .. }) => Failure::new(Code::Refused, text),
        TakeoverError::Empty { .. } => {
            Failure::unreachable(text).help("`keeps_journal: true` of the host in the plan, and in its own file")
        }
        TakeoverError::Unreadable { .. } => Failure::unreachable(text).help(
            "a host that keeps a copy has it in `copy` of its state directory; `mainstay journal verify --state DIR/copy` says more",
        ),
        TakeoverError::StateDir(_)
        | TakeoverError::Host(_)
        | TakeoverError::Open(_)
        | TakeoverError::Append(_)
        | TakeoverError::Close(_) => Failure::unreachable(text),
    }
}
