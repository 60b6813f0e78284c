//! `cargo xtask bench`: runs a bench in release mode.
//!
//! There is no list to keep: an example named `bench_…` in any crate of the workspace is a bench, found by asking cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{MetadataCommand, Package, TargetKind};

use crate::{cargo, setup};

const PREFIX: &str = "bench_";

/// Benches with a peer that is a package of Python's: its Python is in this variable.
const WITH_PEER: [(&str, setup::Peer, &str); 2] =
    [("sim", setup::SIMPY, "MAINSTAY_SIMPY_PYTHON"), ("failover_postgres", setup::PATRONI, "MAINSTAY_PATRONI_PYTHON")];

/// Benches of the whole program.
const WITH_PROGRAM: [&str; 2] = ["failover", "failover_postgres"];

/// Runs the bench called `name`, handing it `args`; lists the benches if there is no name.
pub(crate) fn run(root: &Path, name: Option<&str>, args: &[String]) -> Result<ExitCode> {
    let benches = find(root)?;
    let Some(name) = name else {
        if benches.is_empty() {
            println!("There are no benches: an example named {PREFIX}… in any crate is one.");
        }
        for bench in &benches {
            println!("{} ({})", bench.name, bench.package);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let asked = name.replace('-', "_");
    let name = asked.as_str();
    let Some(bench) = benches.iter().find(|bench| bench.name == name) else {
        let known: Vec<&str> = benches.iter().map(|bench| bench.name.as_str()).collect();
        bail!(
            "there is no bench {name}; there are: {}",
            if known.is_empty() { "none".into() } else { known.join(", ") }
        );
    };
    for missing in setup::install_for_bench(name) {
        eprintln!("{missing}");
    }
    let program = if WITH_PROGRAM.contains(&name) { Some(build_program(root)?) } else { None };
    let mut peer = None;
    if let Some((_, package, variable)) = WITH_PEER.iter().find(|it| it.0 == name) {
        peer = setup::install_peer(&setup::cache_folder()?, package).map(|python| (*variable, python));
    }
    let status = Command::new(cargo())
        .args(["run", "--release", "--locked", "--package", &bench.package])
        .args(["--example", &format!("{PREFIX}{}", bench.name), "--"])
        .args(args)
        .envs(peer)
        .envs(program.map(|it| ("MAINSTAY_PROGRAM", it)))
        .current_dir(root)
        .status()
        .context("can't start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The program as it is shipped.
fn build_program(root: &Path) -> Result<PathBuf> {
    let args = ["build", "--release", "--locked", "--package", "mainstay-cli", "--bin", "mainstay"];
    let status = Command::new(cargo()).args(args).current_dir(root).status().context("can't start cargo")?;
    ensure!(status.success(), "mainstay can't be built");
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec().context("cargo metadata failed")?;
    Ok(metadata.target_directory.join("release/mainstay").into())
}

struct Bench {
    name: String,
    package: String,
}

fn find(root: &Path) -> Result<Vec<Bench>> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec().context("cargo metadata failed")?;
    let mut benches: Vec<Bench> = metadata.workspace_packages().into_iter().flat_map(benches_of).collect();
    benches.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(benches)
}

fn benches_of(package: &Package) -> Vec<Bench> {
    package
        .targets
        .iter()
        .filter(|target| target.kind.contains(&TargetKind::Example))
        .filter_map(|target| target.name.strip_prefix(PREFIX))
        .map(|name| Bench { name: name.to_owned(), package: package.name.to_string() })
        .collect()
}
