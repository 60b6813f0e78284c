//! L2: nothing is silently stuck: each wait has a reason, an age and a way out, and what time ends ends in time.

use std::time::Duration;

use mainstay_engine::state::RecoveryStatus;
use mainstay_engine::{Engine, status};
use mainstay_plan::{ComponentIx, Time};

/// How long after its end a wait may still stand: whatever ends it has to be synced first.
const GRACE: Duration = Duration::from_secs(5);

/// Looks at every open recovery.
pub(super) fn look(engine: &Engine, now: Time) {
    let state = engine.state();
    for open in state.open_recoveries() {
        let id = open.id;
        let Some((_, waiting, since)) = status::waiting(state, open.component) else {
            panic!("L2: {id} is open and waits for nothing that it could name");
        };
        assert!(since <= now, "L2: {id} waits since a moment that has not come");
        let says = !waiting.ends_when().is_empty() && !waiting.way_out(id).is_empty();
        assert!(says, "L2: {id} waits for {} and does not say how that ends", waiting.code());
        let late = waiting.until().filter(|it| *it + GRACE < now);
        assert!(late.is_none(), "L2: {id} waits for {} until {late:?}, and it is {now:?}", waiting.code());
        let aborted = open.status == RecoveryStatus::FailureDetected && open.aborted.is_some();
        assert!(!aborted, "L2: {id} was aborted before it began, and is still open");
    }
    let open = state.open_recoveries().next().map(|it| it.id);
    assert!(open.is_none() || engine.next_wakeup().is_some(), "L2: nobody wakes the engine, and {open:?} is open");
}

/// What is left when everything has worked again for long: at most what a person has to say something to.
pub(super) fn after_healing(engine: &Engine) {
    let state = engine.state();
    for ix in (0u32..).map(ComponentIx).take(state.components.len()) {
        if let Some((id, waiting, _)) = status::waiting(state, ix) {
            let code = waiting.code();
            assert!(NEEDS_A_WORD.contains(&code), "L2: everything works, and {id} still waits for {code}: {waiting}");
        }
    }
}

/// Waits that only a person, or a plan, ends.
const NEEDS_A_WORD: [&str; 12] = [
    "halted",
    "paused",
    "recovery_paused",
    "observe_mode",
    "approval",
    "acknowledgement",
    "outcome_unknown",
    "undo_failed",
    "manual",
    "no_rung_possible",
    "dependency",
    "journal_lost",
];
