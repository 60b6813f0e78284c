//! SARIF of every example and of every wrong file, held against the schema of OASIS by a validator that is not ours.

mod cases;

use std::fs;
use std::path::{Path, PathBuf};

use cases::cases;
use jsonschema::Validator;
use mainstay_plan::{Code, Compiled, SourceFile, compile, sarif, starter};
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("schema/sarif-schema-2.1.0.json");

fn validator() -> Validator {
    // A stray bracket in its pattern for `language`, which we don't write, makes that no regular expression.
    let text = SCHEMA.replace("-[a-zA-Z]{2}]?$", "-[a-zA-Z]{2}$");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is a schema")
}

/// What came of the examples, the wrong files and the plan of `init`, by name.
fn plans() -> Vec<(String, Compiled)> {
    let compiled = |name: &str, text: &str| (name.to_owned(), compile(name, text, Path::new("/etc/mainstay")));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files: Vec<PathBuf> = fs::read_dir(examples)
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        compiled(&name, &fs::read_to_string(&path).expect("it is text"))
    };
    let mut plans: Vec<_> = files.into_iter().map(read).collect();
    plans.extend(cases().into_iter().map(|it| (it.name.clone(), it.compiled())));
    plans.push(compiled("plan.yaml", starter()));
    plans.push(compiled("zwölf plans/ü.yaml", "# 東京\r\nversion: 1\r\nsité: 東京\r\n"));
    plans
}

#[test]
fn every_document_is_sarif() {
    let validator = validator();
    let plans = plans();
    assert!(plans.len() > 130, "only {} plans were found", plans.len());
    let mut codes = Vec::new();
    for (name, Compiled { findings, files, .. }) in &plans {
        let document = sarif(files, findings);
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n"));
        let results = document["runs"][0]["results"].as_array().expect("results");
        assert_eq!(results.len(), findings.len(), "{name}");
        let mut prints: Vec<&str> =
            results.iter().map(|it| it["partialFingerprints"]["finding/v1"].as_str().expect("a print")).collect();
        prints.sort_unstable();
        assert!(prints.windows(2).all(|it| it[0] != it[1]), "{name}: two findings can't be told apart");
        codes.extend(findings.iter().map(|it| it.code));
    }
    codes.sort_unstable();
    codes.dedup();
    assert!(codes.len() * 10 > Code::ALL.len() * 9, "the plans show {} codes of {}", codes.len(), Code::ALL.len());
}

#[test]
fn regions_hold_what_the_findings_are_about() {
    for (name, Compiled { findings, files, .. }) in plans() {
        let document = sarif(&files, &findings);
        for (at, finding) in findings.iter().enumerate() {
            let result = &document["runs"][0]["results"][at];
            assert_eq!(
                document["runs"][0]["tool"]["driver"]["rules"][number(&result["ruleIndex"])]["id"],
                result["ruleId"]
            );
            let places = [("locations", 0, finding.span)];
            let others = finding.others.iter().enumerate().map(|(at, it)| ("relatedLocations", at, it.span));
            for (list, at, span) in places.into_iter().chain(others) {
                let SourceFile { text, .. } = &files[usize::from(span.file)];
                let region = &result[list][at]["physicalLocation"]["region"];
                let marked = text[span.range()].trim_end();
                assert_eq!(
                    cut(text, region),
                    marked.replace("\r\n", "\n"),
                    "{name}: {} at {region}",
                    finding.code.text()
                );
            }
        }
    }
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).expect("a small one")
}

/// What a reader of the region sees, found by lines and columns alone.
fn cut(text: &str, region: &Value) -> String {
    let [first, from, last, to] =
        ["startLine", "startColumn", "endLine", "endColumn"].map(|it| number(&region[it]) - 1);
    let lines: Vec<Vec<char>> = text.lines().map(|it| it.chars().collect()).collect();
    let piece = |line: usize| {
        let chars = lines.get(line).map(Vec::as_slice).unwrap_or_default();
        let start = if line == first { from } else { 0 };
        let end = if line == last { to } else { chars.len() };
        chars[start..end].iter().collect::<String>()
    };
    (first..=last).map(piece).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_validator_can_say_no() {
    let validator = validator();
    let Compiled { findings, files, .. } = compile("plan.yaml", "version: 3\n", Path::new("/"));
    let sound = sarif(&files, &findings);
    assert!(validator.is_valid(&sound));
    for (pointer, wrong) in [
        ("/version", json!("2.0.0")),
        ("/runs/0/results/0/level", json!("fatal")),
        ("/runs/0/results/0/message", json!({})),
        ("/runs/0/results/0/locations/0/physicalLocation/region/startLine", json!(0)),
        ("/runs/0/results/0/locations/0/physicalLocation/artifactLocation/uri", json!("a b.yaml")),
        ("/runs/0/tool/driver/rules/0/severity", json!("error")),
        ("/runs/0/tool/driver/name", Value::Null),
        ("/runs/0/invocations/0/executionSuccessful", json!("yes")),
        ("/runs/0/columnKind", json!("bytes")),
    ] {
        let mut document = sound.clone();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        document.pointer_mut(parent).expect("its parent is there")[key] = wrong;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}
