//! `mainstay leash`: a program that runs only under a lease.

use std::path::PathBuf;
use std::process::Command;

use mainstay_host::lease::leash::{self, Ended};

use super::Cx;
use super::run::this_program;
use crate::exit::{Answer, Code, Failure};

/// Run a program only as long as its instance holds the lease
///
/// At the end of the lease the kernel kills it, also while Mainstay, or the whole machine, stood still and has just gone on.
/// Without a lease it is not started, unless it is a --standby. SIGTERM, SIGINT and SIGHUP are passed on. Processes that the program starts are its
/// own affair: they must end with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay leash --state /var/lib/mainstay-host --instance files-b -- /usr/sbin/fileserver --foreground
  mainstay leash --state /var/lib/mainstay-host --instance orders-b --standby -- /usr/local/bin/orders-standby
  ExecStart=/usr/bin/mainstay leash --state /var/lib/mainstay-host --instance files-b -- /usr/sbin/fileserver

Exit codes:
  the program's own, or 128 and the number of the signal that ended it
  2  the command line is wrong
  3  the leases can't be read, or the program can't be started
  4  the instance holds no lease, or its lease was over and the program was killed")]
pub(crate) struct Leash {
    /// The instance, as in the plan
    #[arg(long)]
    instance: String,
    /// Start it also without a lease: it is a standby, and is ended with the first lease that it gets
    #[arg(long)]
    standby: bool,
    /// Set by the leash itself, for the process that becomes the program
    #[arg(long, hide = true)]
    at_heel_of: Option<u32>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Leash {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let [program, args @ ..] = &self.command[..] else {
            return Err(Failure::usage("no program is named"));
        };
        if let Some(leash) = self.at_heel_of {
            leash::heel(leash).map_err(|it| Failure::unreachable(it.to_string()))?;
            let mut command = Command::new(program);
            command.args(args);
            let error = leash::become_it(command);
            return Err(Failure::unreachable(format!("`{program}` can't be started: {error}")));
        }
        let folder: PathBuf = cx.state.join("leases");
        let mut command = Command::new(this_program()?);
        command.args(["leash", "--instance", &self.instance, "--at-heel-of", &std::process::id().to_string()]);
        command.arg("--").args(&self.command);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|it| Failure::unreachable(it.to_string()))?;
        match runtime.block_on(leash::run(&folder, &self.instance, self.standby, command)) {
            Ok(Ended::Itself(status)) => Ok(Answer::Of(leash::exit_code(status))),
            Ok(Ended::NotStarted) => {
                let what =
                    format!("`{}` holds no lease in {}: `{program}` was not started", self.instance, folder.display());
                let help =
                    "`mainstay hosts` on the agent's machine says who holds one; a standby is started with --standby";
                Err(Failure::new(Code::Refused, what).help(help))
            }
            Ok(Ended::Lease) => Err(Failure::new(
                Code::Refused,
                format!("the lease of `{}` was over: `{program}` was killed", self.instance),
            )),
            Err(error) => Err(Failure::unreachable(format!("{}: {error}", folder.display()))
                .help("--state is the state directory of `mainstay host` on this machine, which must run")),
        }
    }
}
