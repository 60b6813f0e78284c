//! Not acting is a result with a reason: no wait and no refusal without a code, an age, and a way out. Walks all kinds of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use mainstay_engine::codec::{decode, encode};
use mainstay_engine::record::{Body, Record};
use mainstay_engine::state::State;
use mainstay_engine::{Override, RecoveryId, WaitingOn, reasons, status};
use mainstay_plan::observation::Scenario;
use mainstay_plan::{ComponentIx, Time};

const WAITING: &str = include_str!("../src/waiting.rs");
const COMMAND: &str = include_str!("../src/command.rs");
const STAYS: &str = include_str!("../src/evacuate/stays.rs");
const REPAIR: &str = include_str!("../src/repair.rs");
const EVACUATIONS: &str = include_str!("../../../docs/evacuations.md");
const KEEPING: &str = include_str!("../src/keeping.rs");
const POSTGRESQL: &str = include_str!("../../../docs/postgresql.md");
const PAGE: &str = include_str!("../../../docs/recoveries.md");

/// The words that a function `code` gives, as its source has them: so a kind that is missing in the chain is missed here.
fn codes(source: &'static str) -> BTreeSet<&'static str> {
    let body = source.split("fn code(&self)").nth(1).expect("it has a function `code`");
    let body = body.split("\n    }\n").next().expect("it ends");
    let words = body.split("=> \"").skip(1).map(|it| it.split('"').next().expect("a word ends"));
    words.collect()
}

fn is_a_word(code: &str) -> bool {
    !code.is_empty() && code.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
}

fn is_a_sentence(text: &str) -> bool {
    !text.is_empty() && !text.ends_with('.') && !text.contains("  ")
}

#[test]
fn every_wait_has_a_code_a_reason_an_end_and_a_way_out() {
    let waits = reasons::waits();
    let mut seen = BTreeSet::new();
    for waiting in &waits {
        let code = waiting.code();
        assert!(is_a_word(code) && seen.insert(code), "`{code}` is no code of its own");
        assert!(is_a_sentence(&waiting.to_string()), "{code}: {waiting}");
        assert!(is_a_sentence(&waiting.ends_when()), "{code}: {}", waiting.ends_when());
        let way_out = waiting.way_out(RecoveryId(17));
        assert!(way_out.starts_with("mainstay "), "{code}: {way_out}");
    }
    assert_eq!(seen, codes(WAITING), "`reasons::waits` has not one of each");
}

#[test]
fn every_reason_to_stay_in_an_evacuation_has_a_code_an_end_a_way_out_and_a_row() {
    let mut seen = BTreeSet::new();
    for why in reasons::stays() {
        let code = why.code();
        assert!(is_a_word(code) && seen.insert(code), "`{code}` is no code of its own");
        assert!(is_a_sentence(&why.to_string()), "{code}: {why}");
        assert!(is_a_sentence(&why.ends_when()), "{code}: {}", why.ends_when());
        let way_out = why.way_out("berlin/hall-2", "orders-db");
        assert!(way_out.starts_with("mainstay "), "{code}: {way_out}");
        assert!(EVACUATIONS.contains(&format!("| `{code}` |")), "docs/evacuations.md has no row for `{code}`");
    }
    let code = STAYS.split("fn code(&self)").nth(1).and_then(|it| it.split("fn until").next());
    let words: BTreeSet<&str> =
        code.expect("it has one").split("=> \"").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(seen, words, "`reasons::stays` has not one of each");
}

#[test]
fn every_reason_not_to_repair_has_a_code_a_way_out_and_a_row() {
    let mut seen = BTreeSet::new();
    for why in reasons::unrepaired() {
        let code = why.code();
        assert!(is_a_word(code) && seen.insert(code), "`{code}` is no code of its own");
        assert!(is_a_sentence(&why.to_string()), "{code}: {why}");
        assert!(why.way_out("orders-db").starts_with("mainstay "), "{code}: {}", why.way_out("orders-db"));
        assert!(PAGE.contains(&format!("| `{code}` |")), "docs/recoveries.md has no row for `{code}`");
    }
    let code = REPAIR.split("fn code(&self)").nth(1).and_then(|it| it.split("fn until").next());
    let words: BTreeSet<&str> =
        code.expect("it has one").split("=> \"").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(seen, words, "`reasons::unrepaired` has not one of each");
}

#[test]
fn every_reason_not_to_keep_a_series_has_a_code_a_way_out_and_a_row() {
    let mut seen = BTreeSet::new();
    for why in reasons::unkept() {
        let code = why.code();
        assert!(is_a_word(code) && seen.insert(code), "`{code}` is no code of its own");
        assert!(is_a_sentence(&why.to_string()), "{code}: {why}");
        assert!(why.way_out("orders-db").starts_with("mainstay "), "{code}: {}", why.way_out("orders-db"));
        assert!(POSTGRESQL.contains(&format!("| `{code}` |")), "docs/postgresql.md has no row for `{code}`");
    }
    let code = KEEPING.split("fn code(&self)").nth(1).and_then(|it| it.split("fn until").next());
    let words: BTreeSet<&str> =
        code.expect("it has one").split("=> \"").skip(1).filter_map(|it| it.split('"').next()).collect();
    assert_eq!(seen, words, "`reasons::unkept` has not one of each");
}

/// Whatever holds a recovery back stands in its state since the moment of the record, and comes back from the journal.
#[test]
fn every_wait_has_an_age() {
    let text = include_str!("timelines/plans/database.yaml");
    let plan = mainstay_plan::config::compile("plan.yaml", text, Path::new("/")).plan.expect("it is sound");
    let detected = Body::FailureDetected {
        component: "orders-db".to_owned(),
        instance: "orders-db".to_owned(),
        scenario: Scenario::InstanceFailure,
        first_failed: Time::from_millis(900),
        last_good: None,
        evidence: Vec::new(),
        rule: None,
        incident: None,
        plan: String::new(),
    };
    let mut state = State::new(Arc::new(plan));
    state.apply(1, &Record { at: Time::from_millis(1000), body: detected });
    for (seq, waiting) in (2..).zip(reasons::waits()) {
        let at = Time::from_millis(1000 * seq);
        let body = Body::Held { recovery: RecoveryId(1), waiting: waiting.clone() };
        let stored = encode(&Record { at, body });
        state.apply(seq, &decode(&stored).unwrap_or_else(|why| panic!("{}: {why}", waiting.code())));
        let (id, shown, since) = status::waiting(&state, ComponentIx(0)).expect("it waits");
        assert_eq!((id, &shown, since), (RecoveryId(1), &waiting, at), "{}", waiting.code());
    }
}

#[test]
fn every_guard_that_can_be_overruled_is_named_by_a_wait() {
    let says = |it: &WaitingOn| format!("{}; {}", it.way_out(RecoveryId(17)), it.ends_when());
    let ways: Vec<String> = reasons::waits().iter().map(says).collect();
    for guard in Override::ALL {
        let says = format!("--override {}", guard.word());
        assert!(ways.iter().any(|it| it.contains(&says)), "no wait says `{says}`");
    }
}

#[test]
fn every_refusal_has_a_code_a_reason_and_a_way_out() {
    let mut seen = BTreeSet::new();
    for refusal in reasons::refusals() {
        let code = refusal.code();
        assert!(is_a_word(code) && seen.insert(code), "`{code}` is no code of its own");
        assert!(is_a_sentence(&refusal.to_string()), "{code}: {refusal}");
        assert!(refusal.way_out().starts_with("mainstay "), "{code}: {}", refusal.way_out());
    }
    assert_eq!(seen, codes(COMMAND), "`reasons::refusals` has not one of each");
}

#[test]
fn the_book_lists_every_code() {
    let rows: BTreeSet<&str> = PAGE.lines().filter_map(|it| it.strip_prefix("| `")?.split('`').next()).collect();
    let waits = reasons::waits();
    let refusals = reasons::refusals();
    let all = waits.iter().map(|it| it.code()).chain(refusals.iter().map(|it| it.code()));
    let missing: Vec<&str> = all.filter(|it| !rows.contains(it)).collect();
    assert!(missing.is_empty(), "docs/recoveries.md has no row for {missing:?}");
}
