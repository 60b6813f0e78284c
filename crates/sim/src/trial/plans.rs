//! The plans that trials are played on: the examples, those of the stories and tests, variants of them that ask people or
//! hold back, and plans drawn by chance. Each is compiled once, when it is first needed, and shared.

use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use mainstay_plan::{Plan, Surroundings, compile_in};

use super::promise::{Promise, promises};
use crate::drawn::{self, Chance};

/// A plan, and what trials need to know of it.
#[derive(Debug)]
pub struct Stage {
    /// What it is called here.
    pub name: String,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Another version of it, to be adopted while it runs.
    pub next: Option<Arc<Plan>>,
    /// What its proof promises of single failures.
    pub promises: Vec<Promise>,
}

/// How many plans are drawn by chance.
const DRAWN: u64 = 60;

macro_rules! example {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../examples/", $name, ".yaml")))
    };
}

macro_rules! story {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../engine/tests/timelines/plans/", $name, ".yaml")))
    };
}

macro_rules! test {
    ($name:literal) => {
        ($name, include_str!(concat!("../../tests/plans/", $name, ".yaml")))
    };
}

const TEXTS: [(&str, &str); 24] = [
    test!("database"),
    test!("files"),
    test!("saga"),
    test!("shop"),
    test!("control"),
    test!("people"),
    test!("watchful"),
    story!("five"),
    story!("hall"),
    story!("licensed"),
    story!("switch"),
    story!("told"),
    story!("two-sites"),
    story!("two-standbys"),
    story!("web"),
    story!("cold"),
    example!("active-active"),
    example!("file-server"),
    example!("licensed-database"),
    example!("load-balancer"),
    example!("message-queue"),
    example!("pilot-light"),
    example!("single-database"),
    example!("warm-standby"),
];

/// Another plan of one of the texts: its name, the place in [`TEXTS`], what is replaced, and what is put at the end.
type Variant = (&'static str, usize, &'static [(&'static str, &'static str)], &'static str);

const VARIANTS: [Variant; 17] = [
    (
        "shop, without a radius",
        3,
        &[("  blast_radius: { share: 50%, always: 1 }\n", ""), ("  storm_brake: { at_most: 2, within: 20s }\n", "")],
        "",
    ),
    ("database, approved", 0, &[("cool_down: 10s", "cool_down: 1s, approval: { expires: 5m }")], ""),
    (
        "database, tried twice",
        0,
        &[("idempotent: false, timeout: 2s", "idempotent: false, timeout: 2s, attempts: 2")],
        "",
    ),
    ("database, repeated", 0, &[("idempotent: false", "idempotent: true"), ("by_hand", "when_healthy")], ""),
    ("database, observed", 0, &[("state: ./state", "state: ./state\nmode: observe")], ""),
    ("database, recommended", 0, &[("state: ./state", "state: ./state\nmode: recommend")], ""),
    ("database, held without a journal", 0, &[("state: ./state", "state: ./state\non_journal_loss: hold")], ""),
    ("database, whatever the journal", 0, &[("state: ./state", "state: ./state\non_journal_loss: proceed")], ""),
    ("files, rejoining", 1, &[("by_hand", "when_healthy"), ("cool_down: 10s", "cool_down: 1s")], ""),
    ("hall, left in turn", 8, &[], "evacuations: { leave: { of: { region: berlin, zone: hall-1 }, at_once: 1 } }\n"),
    (
        "saga, nobody asked",
        2,
        &[("      - manual: { ask: move the licence, expires: 20s, on_expiry: proceed }\n", "")],
        "",
    ),
    (
        "saga, tried again",
        2,
        &[
            ("expires: 20s", "expires: 4s"),
            (
                "      - command: { run: [promote, b]",
                "      - command: { run: [heat, b], idempotent: true, timeout: 2s, with_previous: true }\n      - command: { run: [promote, b]",
            ),
            (
                "with_previous: true, undo",
                "with_previous: true, attempts: 3, retry: { first: 500ms, at_most: 2s }, undo",
            ),
            (
                "[promote, b], idempotent: false, timeout: 2s, undo",
                "[promote, b], idempotent: false, timeout: 2s, attempts: 2, undo",
            ),
            ("cool_down: 1h", "cool_down: 2s"),
        ],
        "",
    ),
    (
        "saga, cut where nothing stops",
        2,
        &[
            ("      - manual: { ask: move the licence, expires: 20s, on_expiry: proceed }\n", ""),
            ("fence: stop", "fence: stop, otherwise: traffic_cut"),
            ("cool_down: 1h", "cool_down: 2s"),
        ],
        "",
    ),
    ("control, tried soon", 4, &[("retry_after: 30s", "retry_after: 3s")], ""),
    (
        "control, without a canary",
        4,
        &[
            ("    canary: { tcp: { address: \"10.9.9.9:443\", interval: 1s, timeout: 500ms, fall: 2 } }\n", ""),
            ("retry_after: 30s", "retry_after: 3s"),
            ("timeout: 10s, verify_within: 2s", "timeout: 2s, verify_within: 2s"),
        ],
        "",
    ),
    (
        "control, asked slowly",
        4,
        &[
            ("interval: 1s, timeout: 500ms, fall: 2", "interval: 5s, timeout: 2s, fall: 2"),
            ("retry_after: 30s", "retry_after: 1s"),
        ],
        "",
    ),
    (
        "shop, three kept",
        3,
        &[
            ("minimum_healthy: 1", "minimum_healthy: 2"),
            (
                "    service: { start: [up], stop: [down], status: [is-up] }\n    probes:\n      - http: { url: \"http://10.0.2.20",
                "    service: { start: [up], stop: [down], status: [is-up] }\n    probes:\n      - http: { url: \"http://10.0.2.20",
            ),
        ],
        "",
    ),
];

/// The texts of the plans that are not drawn, with their names.
static NAMED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let plain = TEXTS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let varied = VARIANTS.iter().map(|(name, of, changes, more)| {
        let changed = changes.iter().fold(TEXTS[*of].1.to_owned(), |text, (from, to)| text.replace(from, to));
        ((*name).to_owned(), changed + more)
    });
    plain.chain(varied).collect()
});

static STAGES: LazyLock<Vec<OnceLock<Option<Arc<Stage>>>>> =
    LazyLock::new(|| (0..count() + LATER).map(|_| OnceLock::new()).collect());

/// What a plan says, and what its next version says in its place.
const PATIENCE: [(&str, &str); 4] = [
    ("verify_within: 5s", "verify_within: 6s"),
    ("verify_within: 2s", "verify_within: 3s"),
    ("verify_within: 3s", "verify_within: 4s"),
    ("timeout: 2s", "timeout: 3s"),
];

/// How many are not drawn by chance: the first of them.
pub(super) fn named_count() -> u64 {
    NAMED.len() as u64
}

/// How many are drawn from by every seed.
pub fn count() -> u64 {
    NAMED.len() as u64 + DRAWN
}

/// How many come behind them, and are drawn from by a few seeds: so the others keep their meaning.
pub(super) const LATER: u64 = 7;

/// Plans whose instances say what they are, one whose steps go side by side, one whose servers say where they are, two that
/// repair what was displaced, and one with series of backups, two of them on one machine.
const LATER_TEXTS: [(&str, &str); 7] = [
    story!("roles"),
    story!("roles-three"),
    test!("side-by-side"),
    test!("ledger"),
    story!("repaired"),
    test!("repaired-stopped"),
    test!("kept-often"),
];

/// The plan of this number; `None` where what was drawn makes none.
pub fn stage(nth: u64) -> Option<Arc<Stage>> {
    let at = usize::try_from(nth).ok()?;
    STAGES.get(at)?.get_or_init(|| prepare(at)).clone()
}

/// The plan of this name.
pub fn named(name: &str) -> Option<u64> {
    (0..count() + LATER).find(|it| stage(*it).is_some_and(|stage| stage.name == name))
}

impl Stage {
    /// Somebody's own plan.
    pub fn of(name: &str, plan: Plan) -> Stage {
        let promises = promises(&plan);
        Stage { name: name.to_owned(), plan: Arc::new(plan), next: None, promises }
    }
}

fn prepare(at: usize) -> Option<Arc<Stage>> {
    let (name, plan) = match NAMED.get(at) {
        Some((name, text)) => (name.clone(), compiled(text)?),
        None if at as u64 >= count() => {
            let (name, text) = LATER_TEXTS.get(at - NAMED.len() - DRAWN as usize)?;
            ((*name).to_owned(), compiled(text)?)
        }
        None => {
            let seed = (at - NAMED.len()) as u64;
            (format!("drawn {seed}"), drawn::plan(&mut Chance::new(seed))?)
        }
    };
    // Longer patience is another plan, and one that everything fits into.
    let patient =
        |(is, next): &(&str, &str)| compiled(&NAMED.get(at)?.1.replace(is, next)).filter(|it| it.hash != plan.hash);
    let next = PATIENCE.iter().find_map(patient).map(Arc::new);
    let promises = promises(&plan);
    Some(Arc::new(Stage { name, plan: Arc::new(plan), next, promises }))
}

fn compiled(text: &str) -> Option<Plan> {
    let around = Surroundings {
        read: &|_| Err("it stands alone".to_owned()),
        variable: &|_| Some("hush".to_owned()),
        needs_secrets: true,
    };
    compile_in("plan.yaml", text, Path::new("/"), &around).plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_that_is_not_drawn_is_sound() {
        for nth in 0..NAMED.len() as u64 {
            assert!(stage(nth).is_some(), "{}", NAMED[usize::try_from(nth).expect("small")].0);
        }
        assert!((count()..count() + LATER).all(|it| stage(it).is_some()));
    }
}
