//! What people read, word for word: findings about sound and wrong files, proofs, assessments and pictures. `MAINSTAY_UPDATE_GOLDEN=1` writes
//! the texts anew; read the difference before you keep it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cases::cases;
use mainstay_plan::{Assessment, Code, Proof, Severity, compile, explain, picture, render};

fn here(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// The YAML files of a directory, by name.
fn plans(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let mut names: Vec<PathBuf> = entries.filter(|it| it.extension().is_some_and(|ext| ext == "yaml")).collect();
    names.sort();
    let read = |it: PathBuf| (it.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&it).unwrap());
    names.into_iter().map(read).collect()
}

/// Compares with the golden text, or writes it.
fn golden(path: &Path, text: &str, wrong: &mut Vec<String>) {
    #[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    } else if fs::read_to_string(path).unwrap_or_default() != text {
        wrong.push(format!("{} differs; it is now:\n{text}", path.display()));
    }
}

#[test]
fn examples_are_sound_and_proved() {
    let mut wrong = Vec::new();
    for (name, text) in plans(&here("../../examples")) {
        let compiled = compile(&format!("{name}.yaml"), &text, Path::new("/etc/mainstay"));
        let findings = render(&compiled.files, &compiled.findings, false);
        golden(&here(&format!("tests/golden/{name}.findings.txt")), &findings, &mut wrong);
        let plan = compiled.plan.unwrap_or_else(|| panic!("{name}: {findings}"));
        golden(&here(&format!("tests/golden/{name}.proof.txt")), &Proof::of(&plan).text(), &mut wrong);
        let assessed = Assessment::of(&plan);
        golden(&here(&format!("tests/golden/{name}.assess.txt")), &assessed.text(), &mut wrong);
        golden(&here(&format!("tests/golden/{name}.assess.md")), &assessed.markdown(), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_drawn() {
    let mut wrong = Vec::new();
    for (name, text) in plans(&here("../../examples")) {
        let compiled = compile(&format!("{name}.yaml"), &text, Path::new("/etc/mainstay"));
        let plan = compiled.plan.unwrap_or_else(|| panic!("{name} is no plan"));
        golden(&here(&format!("tests/golden/{name}.svg")), &picture::svg(&plan), &mut wrong);
        golden(&here(&format!("tests/golden/{name}.dot")), &picture::dot(&plan), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_files_are_told_what_is_wrong() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (name, compiled) = (&case.name, case.compiled());
        let errors = compiled.findings.iter().any(|it| it.severity == Severity::Error);
        assert_eq!(errors, compiled.plan.is_none(), "{name}: a plan exactly when there is no error");
        for finding in &compiled.findings {
            let needs = finding.severity == Severity::Error;
            assert!(!needs || finding.help.is_some(), "{name}: nobody is told what to change: {finding:?}");
        }
        // What is said about these are warnings and notes, if anything.
        let holds = name.starts_with("weak-") || name == "sound";
        if errors == holds {
            wrong.push(format!("{name}: {}", render(&compiled.files, &compiled.findings, false)));
        }
        let path = here(&format!("tests/golden/wrong/{name}.txt"));
        golden(&path, &render(&compiled.files, &compiled.findings, false), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_is_shown_by_a_wrong_file() {
    let cases = cases();
    assert!(cases.len() >= 125, "{} wrong files", cases.len());
    let shown: BTreeSet<Code> = cases.iter().flat_map(|it| it.compiled().findings).map(|it| it.code).collect();
    let missing: Vec<&str> = Code::ALL.iter().filter(|it| !shown.contains(it)).map(|it| it.text()).collect();
    assert!(missing.is_empty(), "no wrong file shows {missing:?}");
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let pages: Vec<String> = fs::read_dir(here("../../docs/errors"))
        .unwrap()
        .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for page in &pages {
        assert!(explain(page).is_some(), "docs/errors/{page}.md explains no code");
    }
    for code in Code::ALL {
        assert!(pages.iter().any(|it| it == code.text()), "{} has no page", code.text());
        let page = code.page();
        assert!(page.starts_with(&format!("# {}: {}\n", code.text(), code.title())), "{} has no title", code.text());
        for part in ["## Why it matters", "## What to change", "## Example"] {
            assert!(page.contains(part), "{}: no `{part}`", code.text());
        }
    }
    assert!(Code::ALL.windows(2).all(|it| it[0].text() < it[1].text()), "codes stand in order");
}
