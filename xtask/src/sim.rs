//! `cargo xtask sim`: the simulator's explorer, built in release mode with what only trials need.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo;

/// The explorer's arguments.
pub(crate) fn words(seeds: u64, from: u64, jobs: u64, seed: Option<u64>) -> Vec<String> {
    let all = [("--seeds", Some(seeds)), ("--from", Some(from)), ("--jobs", Some(jobs)), ("--seed", seed)];
    let given = all.into_iter().filter_map(|(word, number)| Some([word.to_owned(), number?.to_string()]));
    given.flatten().collect()
}

/// Builds and runs it.
pub(crate) fn run(root: &Path, words: &[String], args: &[String]) -> Result<ExitCode> {
    let status = Command::new(cargo())
        .args(["run", "--release", "--locked", "--package", "mainstay-sim"])
        .args(["--features", "trial", "--bin", "mainstay-sim", "--"])
        .args(words)
        .args(args)
        .current_dir(root)
        .status()
        .context("can't start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
