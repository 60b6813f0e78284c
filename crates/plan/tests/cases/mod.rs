//! The plans under `tests/golden/wrong`: one file each, or a folder with a `plan.yaml` and the files that it includes.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_plan::{Compiled, Surroundings, compile_in};

/// Where the plans are said to be, whoever runs the tests.
const BASE: &str = "/etc/mainstay";

/// What is set in the environment that the plans name.
const VARIABLES: [(&str, &str); 2] = [("DB_HOST", "10.0.1.1"), ("TOKEN", "hush")];

/// A plan that shows a mistake.
pub(crate) struct Case {
    /// What the mistake is.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where the files that it includes are.
    pub(crate) folder: PathBuf,
}

impl Case {
    pub(crate) fn compiled(&self) -> Compiled {
        let read = |path: &Path| {
            let name = path.strip_prefix(BASE).map_err(|_| "it is somewhere else".to_owned())?;
            fs::read_to_string(self.folder.join(name)).map_err(|_| "there is no such file".to_owned())
        };
        let variable = |name: &str| VARIABLES.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        let around = Surroundings { read: &read, variable: &variable, needs_secrets: true };
        compile_in(&format!("{}.yaml", self.name), self.text.as_str(), Path::new(BASE), &around)
    }
}

/// All of them, by name.
pub(crate) fn cases() -> Vec<Case> {
    let wrong = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/wrong");
    let entries = fs::read_dir(&wrong).expect("the folder is there").map(|it| it.expect("it can be listed").path());
    let mut cases: Vec<Case> = entries.filter_map(case).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn case(path: PathBuf) -> Option<Case> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    let (file, folder) = match path.extension() {
        None => (path.join("plan.yaml"), path),
        Some(it) if it == "yaml" => (path.clone(), path.with_extension("")),
        Some(_) => return None,
    };
    Some(Case { name, text: fs::read_to_string(file).expect("it is text"), folder })
}
