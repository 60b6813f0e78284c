//! Crash points for tests: the process ends itself by SIGKILL at a moment named in `MAINSTAY_CRASH`, so that a test can kill
//! an agent at each record of a recovery in turn. They exist in debug builds only.

/// Where to die.
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "nobody names a moment in a release build"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The record of this number is about to be handed to the journal: it is lost, as in a power cut.
    BeforeSync(u64),
    /// The record of this number is durable, and nothing that follows from it has happened.
    AfterRecord(u64),
    /// So many actions were done; the last one's outcome is not recorded.
    BeforeOutcome(u64),
}

/// Ends the process if this is the moment.
#[cfg(debug_assertions)]
pub(crate) fn point(here: impl Fn(Moment) -> bool) {
    use std::sync::OnceLock;
    static AWAITED: OnceLock<Option<Moment>> = OnceLock::new();
    let awaited = AWAITED.get_or_init(|| parse(&std::env::var("MAINSTAY_CRASH").ok()?));
    if awaited.is_some_and(here) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Release builds have no crash points.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_here: impl Fn(Moment) -> bool) {}

#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<Moment> {
    let (kind, number) = text.split_once(':')?;
    let number = number.parse().ok()?;
    match kind {
        "before-sync" => Some(Moment::BeforeSync(number)),
        "after-record" => Some(Moment::AfterRecord(number)),
        "before-outcome" => Some(Moment::BeforeOutcome(number)),
        _ => None,
    }
}
