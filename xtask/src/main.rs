//! Developer commands: `cargo xtask test`, `cargo xtask sim` and `cargo xtask bench`.
//!
//! Nothing of the product is here, and nothing here is shipped. What the walls between the crates are, and that they
//! hold, is the house test's business (`tests/house`).

#![expect(clippy::print_stdout, reason = "a command line tool answers on standard output")]

mod bench;
mod setup;
mod sim;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Mainstay.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what the tests use, then run every check that a change has to pass.
    Test {
        /// Only format, clippy, the house and unit tests; sets nothing up.
        #[arg(long)]
        quick: bool,
    },
    /// Play trials in the simulator, in release mode, and say what they reached; or replay one of them.
    Sim {
        /// So many seeds.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first of them.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// So many at once.
        #[arg(long, default_value_t = 1)]
        jobs: u64,
        /// Replay this seed alone, made as small as it gets, as a story.
        #[arg(long)]
        seed: Option<u64>,
        /// Handed on as they are: `--whole`, `--no-coverage`, `--counts`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run one bench in release mode, or list the benches there are.
    Bench {
        /// The bench: `journal` is the example `bench_journal` of some crate.
        name: Option<String>,
        /// Handed to the bench as they are.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let root = workspace_root();
    let result = match Cli::parse().command {
        Command::Test { quick } => test::run(&root, quick),
        Command::Sim { seeds, from, jobs, seed, args } => sim::run(&root, &sim::words(seeds, from, jobs, seed), &args),
        Command::Bench { name, args } => bench::run(&root, name.as_deref(), &args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asked at run time first: a build folder shared by several checkouts may hold a binary that another one built.
fn workspace_root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// The cargo that runs us, so that every step uses one toolchain.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
