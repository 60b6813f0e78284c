//! The house test: the walls between the crates and the ground rules of the sources, held by a machine.
//!
//! Each rule is a function from facts to complaints. The tests here run the rules over this repository; each module's
//! own tests run its rules over made-up facts that break them, because a check that can't fail holds nothing. A failure
//! says which rule, where, and what to do.

mod docs;
mod edges;
mod purity;
mod sources;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::sources::Source;

#[test]
fn crates_depend_only_on_what_the_house_allows() {
    let metadata = metadata();
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        complaints.extend(edges::check(&package.name, &edges::of(package, &metadata)));
    }
    assert_none(&complaints);
}

#[test]
fn engine_and_plan_reach_nothing_that_could_act() {
    let metadata = metadata();
    let mut complaints = Vec::new();
    for pure in purity::RULES {
        let direct = purity::direct(pure.package, &metadata);
        let closure = purity::closure(pure.package, &metadata);
        assert!(!closure.is_empty(), "{} is not in the workspace", pure.package);
        complaints.extend(purity::check(pure, &direct, &closure));
    }
    assert_none(&complaints);
}

/// Planted faults are for the simulator's tests and its explorer, and for nothing that is shipped.
#[test]
fn nothing_but_the_simulator_plants_faults() {
    let mut complaints = Vec::new();
    for package in metadata().workspace_packages() {
        let is_sim = *package.name == "mainstay-sim";
        for dependency in package.dependencies.iter().filter(|it| it.features.iter().any(|it| it == "trial")) {
            if !is_sim || dependency.kind != cargo_metadata::DependencyKind::Development {
                complaints.push(format!("{} asks {} for `trial`, which plants faults", package.name, dependency.name));
            }
        }
        for (feature, of) in &package.features {
            let asks = of.iter().any(|it| it.ends_with("/trial") || it == "trial");
            if asks && !(is_sim && feature == "trial") {
                complaints.push(format!("the feature {feature} of {} plants faults", package.name));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn manifests_follow_the_workspace() {
    let mut complaints = Vec::new();
    for package in metadata().workspace_packages() {
        let text = read(package.manifest_path.as_std_path());
        complaints.extend(sources::manifest(&facts(package), &text));
    }
    assert_none(&complaints);
}

#[test]
fn each_clippy_file_repeats_the_root_bans() {
    let base = read(&root().join("clippy.toml"));
    let mut complaints = Vec::new();
    for path in tracked().iter().filter(|path| path.ends_with("/clippy.toml")) {
        complaints.extend(sources::repeats_bans(&base, path, &read(&root().join(path))));
    }
    assert_none(&complaints);
}

#[test]
fn sources_can_be_read() {
    let mut complaints = Vec::new();
    for path in tracked().iter().filter(|path| path.ends_with(".rs")) {
        let text = read(&root().join(path));
        let source = Source { path, text: &text };
        complaints.extend(sources::check(source));
        if let Some(note) = sources::long(source) {
            eprintln!("note: {note}");
        }
    }
    assert_none(&complaints);
}

#[test]
fn tracked_text_names_no_machine() {
    let mut complaints = Vec::new();
    // Cargo writes the lock file, and the name of its default registry into it.
    for path in tracked().iter().filter(|path| *path != "Cargo.lock") {
        // A tracked file may be deleted in the work tree, and one that isn't text has nothing to read.
        let Ok(text) = fs::read_to_string(root().join(path)) else { continue };
        complaints.extend(sources::names_no_machine(Source { path, text: &text }));
    }
    assert_none(&complaints);
}

#[test]
fn pages_list_what_the_code_has() {
    let mut complaints = Vec::new();
    for (source, function, page, heading) in [
        ("crates/engine/src/waiting.rs", "code", "docs/recoveries.md", "code"),
        ("crates/engine/src/record/kind.rs", "kind", "docs/journal.md", "kind"),
        ("crates/wire/src/trust/refusal.rs", "code", "docs/hosts.md", "word"),
    ] {
        let source = read(&root().join(source));
        let words = docs::words(&source, function);
        assert!(!words.is_empty(), "no words are found in `fn {function}` any more");
        complaints.extend(docs::check(page, &read(&root().join(page)), heading, &words));
    }
    assert_none(&complaints);
}

#[test]
fn the_map_names_sources_that_are_there() {
    let tracked = tracked();
    let map = read(&root().join("ARCHITECTURE.md"));
    // In the table of crates a path begins in its crate; elsewhere below `crates/` or at the root.
    let there = |named: &&str| tracked.iter().any(|path| path.ends_with(&format!("/{named}")) || path == named);
    let gone: Vec<String> = (docs::sources_named(&map).into_iter())
        .filter(|named| !there(named))
        .map(|named| format!("ARCHITECTURE.md names {named}, which is not there"))
        .collect();
    assert_none(&gone);
}

#[test]
fn the_lock_file_is_tracked() {
    assert!(
        tracked().iter().any(|path| path == "Cargo.lock"),
        "Cargo.lock is not tracked: commit it, we ship a binary"
    );
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Asked at run time: in a build folder shared by several checkouts, another one may have built this test.
fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("the house test is run by cargo");
    xtask.parent().expect("xtask is a folder of the workspace").to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .current_dir(root())
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .expect("cargo metadata answers")
}

fn facts(package: &Package) -> sources::Manifest {
    let folder = package.manifest_path.parent().expect("a manifest is in a folder");
    let folder = folder.strip_prefix(root()).expect("workspace crates are inside the workspace");
    sources::Manifest {
        package: package.name.to_string(),
        folder: folder.to_string(),
        edition: package.edition.to_string(),
        rust_version: package.rust_version.as_ref().map(ToString::to_string),
    }
}

/// Paths of the files that git tracks, relative to the root.
fn tracked() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git can be run");
    assert!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let paths: Vec<String> = list.split_terminator('\0').map(str::to_owned).collect();
    assert!(!paths.is_empty(), "git tracks no file here");
    paths.into_iter().filter(|path| root().join(path).exists()).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("can't read {}: {error}", path.display()))
}
