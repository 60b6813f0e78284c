//! Help texts, completions, manual pages, and a command line that is wrong.

use super::golden::golden;
use super::{mainstay, within};

#[test]
fn help_leads_a_newcomer() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = within(dir.path(), &["--help"]);
    assert_eq!(said.code, Some(0));
    golden("help.txt", &said.out);
}

#[test]
fn every_command_explains_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let commands: [&[&str]; 12] = [
        &["check"],
        &["plan"],
        &["assess"],
        &["simulate"],
        &["planes"],
        &["status"],
        &["watch"],
        &["recoveries"],
        &["approve"],
        &["pause"],
        &["journal"],
        &["journal", "verify"],
    ];
    for command in commands {
        let said = within(dir.path(), &[command, &["--help"]].concat());
        assert_eq!(said.code, Some(0), "{said:#?}");
        golden(&format!("help-{}.txt", command.join("-")), &said.out);
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = within(dir.path(), &["stauts"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.starts_with("error: ") && said.err.contains("'status'"), "{}", said.err);
    for args in [
        &["pause", "--for", "30", "--reason", "x"][..],
        &["abort", "17x"],
        &["approve", "r1", "--override", "everything"],
        &["journal", "verify", "--anchor", "57"],
        &["check"],
        &["assess"],
        &[],
    ] {
        let said = within(dir.path(), args);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{args:?}: {said:#?}");
    }
    let said = within(dir.path(), &["pause", "--for", "30", "--reason", "x"]);
    assert!(said.err.contains("as in `30m`"), "{}", said.err);
}

#[test]
fn every_code_is_explained() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = within(dir.path(), &["explain", "ms102"]);
    assert!(said.out.starts_with("# MS0102: "), "{said:#?}");
    assert!(within(dir.path(), &["explain"]).out.lines().count() > 30);
    let said = within(dir.path(), &["explain", "MS0599"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no code `MS0599`") && said.err.contains("MS0501"), "{}", said.err);
    within(dir.path(), &["explain", "E0308"])
        .fails(2, "error: there is no code `E0308`\nhelp: `mainstay explain` lists all codes\n");
}

#[test]
fn shells_and_manuals_are_served() {
    let dir = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let said = within(dir.path(), &["completions", shell]);
        assert!(said.code == Some(0) && said.out.contains("recoveries"), "{shell}");
    }
    assert!(within(dir.path(), &["man"]).out.contains(".TH mainstay"));
    assert_eq!(within(dir.path(), &["man", "--out", "pages"]).code, Some(0));
    for page in ["mainstay.1", "mainstay-check.1", "mainstay-journal-verify.1"] {
        assert!(dir.path().join("pages").join(page).is_file(), "{page}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child = mainstay(&["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let said = super::Said::from(child.wait_with_output().expect("it ends"));
    assert_eq!(said.err, "");
}
