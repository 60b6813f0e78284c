//! What holds for every source file, manifest and other text of the repository.

/// A file of the repository that is text.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Relative to the root, with `/` between folders.
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

/// What cargo says about a crate of ours.
pub(crate) struct Manifest {
    pub(crate) package: String,
    /// Its folder, relative to the root.
    pub(crate) folder: String,
    pub(crate) edition: String,
    pub(crate) rust_version: Option<String>,
}

const LONG: usize = 800;
const TOO_LONG: usize = 1000;

/// Names that say nothing about what is inside, and so collect everything.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "miscellaneous"];

const EDITION: &str = "2024";
const RUST_VERSION: &str = "1.95";

/// Hosts that cargo, and other package clients, are pointed at by whoever builds. In two halves, so that this file
/// doesn't name them.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("deb.debian", ".org"),
];

/// Folders that only one person's machine has.
const MACHINE_FOLDERS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/")];

/// Complains about a source that doesn't say what it is for, has an empty name, or is too long.
pub(crate) fn check(source: Source<'_>) -> Vec<String> {
    let Source { path, text } = source;
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{path}: its first line has to be `//!` and say what the file is for"));
    }
    for part in path.trim_end_matches(".rs").split('/').filter(|part| EMPTY_NAMES.contains(part)) {
        complaints.push(format!("{path}: `{part}` says nothing; name it after what it does"));
    }
    for name in text.lines().filter_map(module_name).filter(|name| EMPTY_NAMES.contains(name)) {
        complaints.push(format!("{path}: a module named `{name}` says nothing; name it after what it does"));
    }
    let lines = text.lines().count();
    if lines > TOO_LONG {
        complaints.push(format!("{path}: {lines} lines; split it (more than {TOO_LONG} is too long to read)"));
    }
    complaints
}

/// A note about a source that is getting long.
pub(crate) fn long(source: Source<'_>) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LONG).then(|| format!("{}: {lines} lines; files rarely pass {LONG}", source.path))
}

/// The module that a line declares: `mod name;`, `pub(crate) mod name {`.
fn module_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let name = match words.next()? {
        "mod" => words.next()?,
        first if first.starts_with("pub") => words.find(|word| *word == "mod").and_then(|_| words.next())?,
        _ => return None,
    };
    Some(name.trim_end_matches([';', '{']))
}

/// Complains about a manifest that goes its own way.
pub(crate) fn manifest(manifest: &Manifest, text: &str) -> Vec<String> {
    let Manifest { package, folder, edition, rust_version } = manifest;
    let mut complaints = Vec::new();
    let expected = folder.strip_prefix("crates/").map_or_else(|| folder.clone(), |room| format!("mainstay-{room}"));
    if *package != expected {
        complaints.push(format!("{folder}: the package is named {package}; after its folder it is {expected}"));
    }
    if edition != EDITION {
        complaints.push(format!("{folder}: edition {edition}; write `edition.workspace = true` ({EDITION})"));
    }
    let version = rust_version.as_deref().map(|version| version.trim_end_matches(".0"));
    if version != Some(RUST_VERSION) {
        complaints.push(format!("{folder}: write `rust-version.workspace = true` ({RUST_VERSION})"));
    }
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    if !lines.by_ref().take_while(|line| !line.starts_with('[')).any(|line| line == "workspace = true") {
        complaints.push(format!("{folder}: its manifest needs `[lints]` with `workspace = true`"));
    }
    complaints
}

/// Complains about each ban of the root's `clippy.toml` (`base`) that another one lacks: clippy reads only the nearest.
pub(crate) fn repeats_bans(base: &str, path: &str, text: &str) -> Vec<String> {
    let bans = banned(text);
    banned(base)
        .into_iter()
        .filter(|ban| !bans.contains(ban))
        .map(|ban| format!("{path}: repeat the root's ban of {ban}, because this file replaces the root's"))
        .collect()
}

fn banned(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once("path = \"")?.1.split('"').next())
        .collect()
}

/// Complains about text that holds only on one machine, or names the place that packages are fetched from.
pub(crate) fn names_no_machine(source: Source<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, number) in source.text.lines().zip(1..) {
        let at = format!("{}:{number}", source.path);
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
            complaints.push(format!("{at}: names {host}; where packages come from is the builder's own setting"));
        }
        for folder in MACHINE_FOLDERS.iter().filter(|folder| begins_a_path(line, folder)) {
            complaints.push(format!("{at}: names a folder under {folder}, which only one machine has"));
        }
    }
    complaints
}

/// Whether `folder` stands in `line` as the beginning of a path, not as a part of a longer one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-~*})".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::{EDITION, Manifest, RUST_VERSION, Source, check, long, manifest, names_no_machine, repeats_bans};

    #[test]
    fn a_source_without_a_purpose_is_named() {
        let complaints = check(Source { path: "crates/plan/src/proof.rs", text: "use std::fmt;\n" });
        assert!(complaints[0].starts_with("crates/plan/src/proof.rs: its first line"), "{complaints:?}");
    }

    #[test]
    fn empty_names_are_named_as_file_folder_and_module() {
        for path in ["crates/plan/src/utils.rs", "crates/plan/tests/common/mod.rs"] {
            assert_eq!(check(Source { path, text: "//! Things.\n" }).len(), 1, "{path}");
        }
        for line in ["mod helpers;", "pub mod misc {", "    pub(crate) mod manager;", "pub(in crate::a) mod common;"] {
            let text = format!("//! Things.\n{line}\n");
            assert_eq!(check(Source { path: "crates/plan/src/lib.rs", text: &text }).len(), 1, "{line}");
        }
        let fine = "//! Says that `mod utils;` is no name.\nmod lease_manager_of;\n";
        assert!(check(Source { path: "crates/plan/src/commonest.rs", text: fine }).is_empty());
    }

    #[test]
    fn length_is_noted_and_then_refused() {
        let of = |lines: usize| format!("//! Long.\n{}", "\n".repeat(lines - 1));
        let (fine, noted, refused) = (of(800), of(801), of(1001));
        let source = |text| Source { path: "crates/plan/src/proof.rs", text };
        assert!(long(source(&fine)).is_none() && check(source(&fine)).is_empty());
        assert!(long(source(&noted)).is_some() && check(source(&noted)).is_empty());
        assert_eq!(check(source(&refused)).len(), 1);
    }

    #[test]
    fn a_manifest_that_goes_its_own_way_is_named() {
        let facts = Manifest {
            package: "planner".to_owned(),
            folder: "crates/plan".to_owned(),
            edition: "2021".to_owned(),
            rust_version: None,
        };
        assert_eq!(manifest(&facts, "[lints]\n[features]\nworkspace = true\n").len(), 4);
    }

    #[test]
    fn a_manifest_that_follows_the_workspace_passes() {
        for (package, folder) in [("mainstay-plan", "crates/plan"), ("xtask", "xtask")] {
            let facts = Manifest {
                package: package.to_owned(),
                folder: folder.to_owned(),
                edition: EDITION.to_owned(),
                rust_version: Some(format!("{RUST_VERSION}.0")),
            };
            assert!(manifest(&facts, "[package]\n\n[lints]\nworkspace = true\n").is_empty());
        }
    }

    #[test]
    fn a_forgotten_ban_is_named() {
        let base = "  { path = \"std::process::exit\", reason = \"…\" },\n  { path = \"std::env::temp_dir\" },\n";
        let own = "  # { path = \"std::env::temp_dir\" },\n  { path = \"std::process::exit\" },\n";
        let complaints = repeats_bans(base, "crates/engine/clippy.toml", own);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].contains("std::env::temp_dir"), "{complaints:?}");
        assert!(repeats_bans(base, "crates/engine/clippy.toml", base).is_empty());
    }

    #[test]
    fn hosts_and_machine_folders_are_named() {
        for text in [
            concat!("see https://static.crates", ".io/x"),
            concat!("cd /", "work/main"),
            concat!("`/", "root/.cargo`"),
            concat!("state: \"/", "root/state\""),
        ] {
            assert_eq!(names_no_machine(Source { path: "README.md", text }).len(), 1, "{text}");
        }
        for text in ["docs/work/plan.md", "chroot/root/etc", "the root/work split", "the registry"] {
            assert!(names_no_machine(Source { path: "README.md", text }).is_empty(), "{text}");
        }
    }
}
