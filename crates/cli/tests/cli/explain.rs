//! `explain decision`, on a journal that the engine wrote in virtual time.

use super::golden::golden;
use super::journal::{journal, takeover};
use super::on;

/// One of each kind of decision of a takeover, word for word.
#[test]
fn every_kind_of_decision_can_be_explained() {
    let entries = takeover();
    let kinds: Vec<String> = entries.iter().map(|it| it.kind.clone()).collect();
    let dir = journal(entries);
    let mut out = String::new();
    let wanted = [
        "failure_detected",
        "recovery_initiated",
        "rung_started",
        "step_started",
        "table_published",
        "bound",
        "recovery_completed",
        "witnesses_answered",
    ];
    for kind in wanted {
        let at = kinds.iter().rposition(|it| it == kind).expect("a takeover has one") + 1;
        let said = on(dir.path(), &["explain", "decision", &at.to_string()]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{kind}");
        out.push_str(&format!("$ mainstay explain decision {at}\n{}\n", said.out));
    }
    golden("explain-decision.txt", &out);
}

#[test]
fn a_recovery_is_the_decision_that_opened_it_and_json_says_the_same() {
    let entries = takeover();
    let opened = entries.iter().position(|it| it.kind == "failure_detected").expect("it failed") + 1;
    let dir = journal(entries);
    let by_record = on(dir.path(), &["explain", "decision", &opened.to_string(), "--json"]);
    let by_recovery = on(dir.path(), &["explain", "decision", &format!("r{opened}"), "--json"]);
    assert_eq!((by_record.code, &by_record.out), (Some(0), &by_recovery.out));
    let json: serde_json::Value = serde_json::from_str(&by_record.out).expect("is JSON");
    assert_eq!(json["kind"], "failure_detected");
    assert_eq!(json["again"]["same"], true);
    assert!(json["known"].as_array().is_some_and(|it| it.len() > 3), "{json:#}");
}

#[test]
fn what_is_no_record_is_said() {
    let dir = journal(takeover());
    let far = on(dir.path(), &["explain", "decision", "4711"]);
    assert_eq!(far.code, Some(2));
    assert!(far.err.contains("there is no record 4711"), "{}", far.err);
    let none = on(dir.path(), &["explain", "decision"]);
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("which decision?"), "{}", none.err);
}
