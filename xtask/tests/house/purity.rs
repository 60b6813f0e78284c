//! What the crates that only think are built from: nothing that could read a clock, draw a number, or reach the world.
//!
//! The standard library can do all of that too; `clippy.toml` in the crate's folder bans that part of it. Here the rest
//! is held: the crates that the sources can name, and everything that those bring along.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

/// A crate of ours that has to stay pure.
pub(crate) struct Rule {
    /// Its package name.
    pub(crate) package: &'static str,
    /// What its sources may name.
    may_name: &'static [&'static str],
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        package: "mainstay-plan",
        may_name: &[
            "annotate-snippets",
            "compact_str",
            "ipnet",
            "saphyr-parser",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    },
    Rule { package: "mainstay-engine", may_name: &["mainstay-plan", "serde", "serde_json", "sha2", "thiserror"] },
];

/// What may come along with the crates above. None of these does anything unless it is called; `libc` is there for
/// `cpufeatures`, on processors that can only ask the kernel what they can do.
const MAY_COME_ALONG: &[&str] = &[
    // annotate-snippets
    "anstyle",
    "memchr",
    "unicode-width",
    // compact_str
    "castaway",
    "rustversion",
    "ryu",
    "static_assertions",
    // saphyr-parser
    "arraydeque",
    // serde, serde_json, thiserror
    "itoa",
    "proc-macro2",
    "quote",
    "serde_core",
    "serde_derive",
    "syn",
    "thiserror-impl",
    "unicode-ident",
    "zmij",
    // sha2
    "block-buffer",
    "cfg-if",
    "cmov",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "ctutils",
    "digest",
    "hybrid-array",
    "libc",
    "typenum",
];

/// Crates that act, keep time, draw numbers or talk to the world, by how their names begin. A longer list above must not
/// let one of them in unseen.
const NEVER: &[&str] = &[
    "async-",
    "chrono",
    "fastrand",
    "futures",
    "getrandom",
    "hickory",
    "hyper",
    "jiff",
    "mio",
    "parking_lot",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
];

/// Names of the packages that `package` names itself, for building it.
pub(crate) fn direct(package: &str, metadata: &Metadata) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for dependency in find(package, metadata).map(|package| &package.dependencies).into_iter().flatten() {
        if dependency.kind != DependencyKind::Development {
            names.insert(dependency.name.clone());
        }
    }
    names
}

/// Names of everything that `package` is built from, on all platforms, itself included; for each, who brings it.
///
/// Cargo answers with the features of the whole workspace, so that this is never less than what is built.
pub(crate) fn closure(package: &str, metadata: &Metadata) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(&PackageId, String)> =
        find(package, metadata).map(|package| (&package.id, "the workspace".to_owned())).into_iter().collect();
    let resolve = metadata.resolve.as_ref().expect("cargo metadata was asked for dependencies");
    while let Some((id, brought_by)) = open.pop() {
        let name = metadata[id].name.to_string();
        if found.insert(name.clone(), brought_by).is_some() {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == *id).expect("every package has a node");
        for dependency in &node.deps {
            if dependency.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development) {
                open.push((&dependency.pkg, name.clone()));
            }
        }
    }
    found
}

/// Complains about what the sources can name and may not, and about what comes along and may not.
pub(crate) fn check(rule: &Rule, direct: &BTreeSet<String>, closure: &BTreeMap<String, String>) -> Vec<String> {
    let package = rule.package;
    let mut complaints = Vec::new();
    for name in direct.iter().filter(|name| !rule.may_name.contains(&name.as_str())) {
        complaints.push(format!("{package} depends on {name}; it has to stay pure and may name {:?}", rule.may_name));
    }
    for (name, brought_by) in closure {
        if is_never(name) {
            complaints.push(format!("{package} is built from {name} (through {brought_by}), which is never pure"));
        } else if !is_known(name) {
            complaints.push(format!(
                "{package} is built from {name} (through {brought_by}), which nobody has looked at: if it reads no \
                 clock and reaches nothing, add it to MAY_COME_ALONG in xtask/tests/house/purity.rs"
            ));
        }
    }
    complaints
}

fn is_never(name: &str) -> bool {
    NEVER.iter().any(|start| name.starts_with(start))
}

fn is_known(name: &str) -> bool {
    MAY_COME_ALONG.contains(&name) || RULES.iter().any(|rule| rule.package == name || rule.may_name.contains(&name))
}

fn find<'a>(package: &str, metadata: &'a Metadata) -> Option<&'a Package> {
    metadata.workspace_packages().into_iter().find(|candidate| candidate.name.as_str() == package)
}

#[cfg(test)]
mod tests {
    use super::{MAY_COME_ALONG, RULES, check, is_never};

    fn complaints(direct: &[&str], closure: &[(&str, &str)]) -> Vec<String> {
        let engine = RULES.iter().find(|rule| rule.package == "mainstay-engine").unwrap();
        let direct = direct.iter().map(|name| (*name).to_owned()).collect();
        let closure = closure.iter().map(|(name, by)| ((*name).to_owned(), (*by).to_owned())).collect();
        check(engine, &direct, &closure)
    }

    #[test]
    fn a_runtime_behind_a_friend_is_found() {
        let complaints = complaints(&["serde"], &[("serde", "mainstay-engine"), ("tokio", "serde")]);
        assert_eq!(complaints, ["mainstay-engine is built from tokio (through serde), which is never pure"]);
    }

    #[test]
    fn an_unknown_crate_is_told_where_to_be_added() {
        let complaints = complaints(&[], &[("left-pad", "serde_json")]);
        assert!(complaints[0].contains("add it to MAY_COME_ALONG"), "{complaints:?}");
    }

    #[test]
    fn what_may_come_along_may_not_be_named() {
        let complaints = complaints(&["libc"], &[("libc", "mainstay-engine")]);
        assert!(complaints[0].starts_with("mainstay-engine depends on libc"), "{complaints:?}");
    }

    #[test]
    fn the_allowed_pass() {
        assert!(complaints(&["mainstay-plan", "serde"], &[("serde", "mainstay-engine"), ("sha2", "x")]).is_empty());
    }

    #[test]
    fn no_list_allows_what_is_never_pure() {
        let named = RULES.iter().flat_map(|rule| rule.may_name);
        for name in named.chain(MAY_COME_ALONG) {
            assert!(!is_never(name), "{name}");
        }
    }
}
