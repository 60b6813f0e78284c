//! Every state machine, written out: `docs/state-machines.md` says for each pair of a state and an input what comes next, and
//! this test holds it to the code. `MAINSTAY_UPDATE_GOLDEN=1` writes it anew; read the difference before you keep it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use mainstay_engine::machine::{self, Machine, RecoveryInput, RecoveryLife, Table};
use mainstay_engine::record::{Body, Completion, Record};
use mainstay_engine::state::{RecoveryStatus, State};
use mainstay_engine::{RecoveryId, WaitingOn};
use mainstay_plan::Time;
use mainstay_plan::observation::Scenario;

const HEAD: &str = "\
# State machines

*What can follow what?*

Everything in the engine that has a life is one of these machines. Columns are states, rows are what may happen, a cell is
the state that follows; `·` is a pair that can't happen. A record that comes where it can't come changes nothing; `mainstay journal
replay` names it.

This page is made from the code, by the test `machines` of the engine.
";

fn page() -> String {
    let mut out = HEAD.to_owned();
    for table in machine::all() {
        let Table { name, about, states, rows } = table;
        write!(out, "\n## {name}\n\n{about}\n\n").unwrap();
        writeln!(out, "| | {} |", states.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" | ")).unwrap();
        writeln!(out, "|---|{}", "---|".repeat(states.len())).unwrap();
        for (input, cells) in rows {
            let cells: Vec<String> =
                cells.iter().map(|it| it.map_or_else(|| "·".to_owned(), |it| format!("`{it}`"))).collect();
            writeln!(out, "| {input} | {} |", cells.join(" | ")).unwrap();
        }
    }
    out
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test that compares a page of the book; the engine has no part in it")]
fn the_page_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machines.md");
    let page = page();
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "MAINSTAY_UPDATE_GOLDEN=1 writes it anew");
}

/// A state that is in no list would be missing from the page, and so would be whatever it leads to.
#[test]
fn every_state_can_be_reached_and_has_a_column() {
    for Table { name, states, rows, .. } in machine::all() {
        let words: BTreeSet<&str> = states.iter().copied().collect();
        assert_eq!(words.len(), states.len(), "{name}: two states have one word");
        let inputs: BTreeSet<&str> = rows.iter().map(|it| it.0).collect();
        assert_eq!(inputs.len(), rows.len(), "{name}: two inputs have the same words");
        let mut reached = BTreeSet::from([states[0]]);
        loop {
            let before = reached.len();
            for (_, cells) in &rows {
                let next = states.iter().zip(cells).filter(|it| reached.contains(it.0)).filter_map(|it| *it.1);
                let next: Vec<&str> = next.collect();
                reached.extend(next);
            }
            if reached.len() == before {
                break;
            }
        }
        assert_eq!(reached, words, "{name}: not every state can be reached from `{}`", states[0]);
    }
}

#[test]
fn what_has_ended_is_moved_by_nothing() {
    for input in RecoveryLife::INPUTS {
        for ended in [RecoveryStatus::RecoveryCompleted, RecoveryStatus::RecoveryFailed] {
            assert!(RecoveryLife::next(ended, *input).is_err(), "{input:?}");
        }
    }
    assert_eq!(
        RecoveryLife::next(RecoveryStatus::FailureDetected, RecoveryInput::RungStarted).unwrap_err().to_string(),
        "A recovery: `rung_started` can't come in `failure_detected`"
    );
}

/// A journal that was not written by an engine of ours may hold anything. Whatever does not fit changes nothing, and is named.
#[test]
fn a_record_that_does_not_fit_is_noted_and_changes_nothing() {
    let compiled =
        mainstay_plan::config::compile("plan.yaml", include_str!("timelines/plans/database.yaml"), Path::new("/"));
    let mut state = State::new(std::sync::Arc::new(compiled.plan.expect("it is sound")));
    let mut seq = 0;
    let mut fold = |state: &mut State, body: Body| {
        seq += 1;
        state.apply(seq, &Record { at: Time::from_millis(1000 + seq), body });
    };
    let recovery = RecoveryId(1);
    fold(
        &mut state,
        Body::FailureDetected {
            component: "orders-db".to_owned(),
            instance: "orders-db".to_owned(),
            scenario: Scenario::InstanceFailure,
            first_failed: Time::from_millis(900),
            last_good: None,
            evidence: Vec::new(),
            rule: None,
            incident: None,
            plan: String::new(),
        },
    );
    fold(&mut state, Body::RungFailed { recovery, rung: 0, why: "nothing was begun".to_owned() });
    let open = state.open_recovery(recovery).expect("it is open");
    assert_eq!((open.status, open.rung, open.tried.len()), (RecoveryStatus::FailureDetected, 0, 0));
    fold(&mut state, Body::RecoveryCompleted { recovery, how: Completion::ByItself, phases_ns: Vec::new() });
    fold(&mut state, Body::Held { recovery, waiting: WaitingOn::ObserveMode {} });
    let noted: Vec<String> = state.misfits.iter().map(|it| format!("{}: {}", it.seq, it.what)).collect();
    assert_eq!(
        noted,
        [
            "2: A recovery: `rung_failed` can't come in `failure_detected`",
            "4: A recovery: `held` can't come in `recovery_completed`"
        ]
    );
}
