//! The `mainstay` command: reads its command line, calls one command, and turns how it ended into an exit code.

mod client;
mod clock;
mod commands;
mod demo;
mod exit;
mod logging;
mod look;
mod measured;
mod plan_file;
mod view;

#[cfg(test)]
#[path = "../tests/support/golden.rs"]
mod golden;
#[cfg(test)]
#[path = "../tests/support/samples.rs"]
mod samples;

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::commands::{Cli, command};

/// A plan is millions of small pieces, and so is a journal: this takes and gives them back in a fraction of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => {
            // A help text that nobody reads to its end is not worth an error.
            let _closed = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    match cli.run() {
        Ok(answer) => answer.into(),
        Err(failure) => failure.report(),
    }
}
