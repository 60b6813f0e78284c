//! Crash points for tests: the process ends itself by SIGKILL at a moment named in `MAINSTAY_HOST_CRASH`, so that a test can kill a
//! host before and after each thing that it does. They exist in debug builds only.

/// Where to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// An order has come, and nothing is known of it.
    BeforeBegun,
    /// Its beginning is durable, and nothing was done.
    AfterBegun,
    /// It was done, and that is not recorded.
    BeforeEnded,
    /// Its end is durable, and nobody was told.
    AfterEnded,
    /// A lease is taken back, and nothing is known of it.
    BeforeRevoked,
    /// That is on the disk, and what it guards may still act.
    AfterRevoked,
    /// What it guards was seen ended, and nobody was told.
    BeforeReleased,
    /// Another host was promised something, which is durable, and it was not told.
    AfterPromise,
}

/// Ends the process if this is the moment.
#[cfg(debug_assertions)]
pub(crate) fn point(here: impl Fn(Moment) -> bool) {
    use std::sync::OnceLock;
    static AWAITED: OnceLock<Option<Moment>> = OnceLock::new();
    let awaited = AWAITED.get_or_init(|| parse(&std::env::var("MAINSTAY_HOST_CRASH").ok()?));
    if awaited.is_some_and(here) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Release builds have no crash points.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_here: impl Fn(Moment) -> bool) {}

#[cfg(debug_assertions)]
fn parse(text: &str) -> Option<Moment> {
    match text {
        "before-begun" => Some(Moment::BeforeBegun),
        "after-begun" => Some(Moment::AfterBegun),
        "before-ended" => Some(Moment::BeforeEnded),
        "after-ended" => Some(Moment::AfterEnded),
        "before-revoked" => Some(Moment::BeforeRevoked),
        "after-revoked" => Some(Moment::AfterRevoked),
        "before-released" => Some(Moment::BeforeReleased),
        "after-promise" => Some(Moment::AfterPromise),
        _ => None,
    }
}
