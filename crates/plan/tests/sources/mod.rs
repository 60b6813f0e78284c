//! Sound plans to begin with, before something is done to them.

use std::fs;
use std::path::Path;

use mainstay_plan::{compile, starter};

/// The examples that stand alone, the plan of `init`, and one that uses all of the grammar.
pub(crate) fn sources() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let entries = fs::read_dir(dir).expect("the folder is there").map(|it| it.expect("it can be listed").path());
    let mut paths: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml")).collect();
    paths.sort();
    let mut sources: Vec<String> = paths.iter().map(|it| fs::read_to_string(it).expect("it is text")).collect();
    sources.extend([starter().to_owned(), include_str!("everything.yaml").to_owned()]);
    // Some name variables of the machine that they are for.
    sources.retain(|it| compile("plan.yaml", it, Path::new("/etc/mainstay")).plan.is_some());
    assert!(sources.len() >= 5, "{} plans", sources.len());
    sources
}
