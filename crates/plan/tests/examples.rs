//! The examples are plans.

use std::path::Path;

use mainstay_plan::compile;

#[test]
fn examples_compile() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples"));
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let compiled = compile(&path.display().to_string(), &text, Path::new("/etc/mainstay"));
        assert!(compiled.plan.is_some(), "{}: {:#?}", path.display(), compiled.findings);
    }
}
