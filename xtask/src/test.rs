//! `cargo xtask test`: everything that a change has to pass, the quickest to fail first.
//!
//! Steps run one after the other and the first failure stops. Each is a plain command that can be repeated alone.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{cargo, setup};

/// Runs the steps in `root`; `quick` leaves out what takes long or has to be installed.
pub(crate) fn run(root: &Path, quick: bool) -> Result<ExitCode> {
    let cache = setup::cache_folder()?;
    let missing = if quick { Vec::new() } else { set_up(&cache)? };
    let target = kept_target_folder(&cache);
    let steps = steps(&cache, quick);
    let mut failed = None;
    let mut passed = 0;
    for step in &steps {
        if !step.run(root, target.as_deref())? {
            failed = Some(step);
            break;
        }
        passed += 1;
    }
    println!();
    for line in &missing {
        println!("{line}");
    }
    if let Some(step) = failed {
        println!("failed: {}; repeat it with: {step}", step.name);
    }
    println!("{passed} passed, {} failed", usize::from(failed.is_some()));
    Ok(if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn set_up(cache: &Path) -> Result<Vec<String>> {
    println!("== set-up");
    let start = Instant::now();
    let mut missing = setup::install_programs();
    if setup::install_peer(cache, &setup::MOTO).is_none() {
        missing.push("tests of buckets need moto".to_owned());
    }
    for line in &missing {
        println!("{line}");
    }
    setup::install_cargo_deny(cache)?;
    println!("-- set-up: {:.1} s", start.elapsed().as_secs_f64());
    Ok(missing)
}

/// Continuous integration checks out anew for each run; build output that outlives the checkout spares it most of the
/// build. Elsewhere cargo's own default stands.
fn kept_target_folder(cache: &Path) -> Option<PathBuf> {
    let is_ci = env::var_os("CI").is_some_and(|value| value == "true");
    (is_ci && env::var_os("CARGO_TARGET_DIR").is_none()).then(|| cache.join("target"))
}

fn steps(cache: &Path, quick: bool) -> Vec<Step> {
    let format = Step::cargo("format", "fmt --check");
    let clippy = Step::cargo("clippy", "clippy --workspace --all-targets --locked -- -D warnings");
    // Private items too: their readers are the people who work on them.
    let docs = Step::cargo("docs", "doc --workspace --no-deps --document-private-items --locked")
        .with_env("RUSTDOCFLAGS", "-D warnings");
    let house = Step::cargo("house", "test --package xtask --test house --locked");
    let unit = Step::cargo("unit tests", "test --workspace --lib --bins --locked");
    let tests = Step::cargo("tests", "test --workspace --locked");
    // What trials come to stands in a file: the debug tests compare it with theirs, and so does this.
    let same_bytes = Step::cargo(
        "same bytes in release",
        "test --release --package mainstay-sim --test trials --locked -- same_bytes",
    );
    let deny = Step {
        name: "dependencies",
        program: setup::cargo_deny(cache).into(),
        args: words("--locked check bans licenses sources"),
        env: None,
    };
    if quick { vec![format, clippy, house, unit] } else { vec![format, clippy, docs, house, tests, same_bytes, deny] }
}

/// One command, and what it is called in the output.
struct Step {
    name: &'static str,
    program: OsString,
    args: Vec<String>,
    env: Option<(&'static str, &'static str)>,
}

impl Step {
    fn cargo(name: &'static str, args: &str) -> Step {
        Step { name, program: cargo(), args: words(args), env: None }
    }

    fn with_env(self, name: &'static str, value: &'static str) -> Step {
        Step { env: Some((name, value)), ..self }
    }

    fn run(&self, root: &Path, target: Option<&Path>) -> Result<bool> {
        println!("\n== {}: {self}", self.name);
        let start = Instant::now();
        let status = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env)
            // What is compiled anew from a fresh checkout is compiled whole; keeping its parts would only fill the disk.
            .envs(
                target
                    .map(|folder| [("CARGO_TARGET_DIR", folder.as_os_str()), ("CARGO_INCREMENTAL", "0".as_ref())])
                    .into_iter()
                    .flatten(),
            )
            .current_dir(root)
            .status()
            .with_context(|| format!("can't start the step {}: {self}", self.name))?;
        println!("-- {}: {:.1} s", self.name, start.elapsed().as_secs_f64());
        Ok(status.success())
    }
}

/// The command as a person would type it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}='{value}' ")?;
        }
        if self.program == cargo() {
            write!(f, "cargo")?;
        } else {
            write!(f, "{}", self.program.to_string_lossy())?;
        }
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
