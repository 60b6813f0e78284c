//! The share of new clients of a target that has come back: it grows from nothing to all of them while its caches warm up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_plan::routing::{RouteEntry, TargetEntry, TargetState};
use tokio::time::Instant;

/// Of one route.
#[derive(Debug, Default)]
pub(crate) struct SlowStart {
    length: Duration,
    /// Those that have come back, and when.
    since: HashMap<String, Instant>,
    clients: AtomicU64,
}

impl SlowStart {
    /// Under a table that is served from now on, after the one before.
    pub(crate) fn new(route: &RouteEntry, before: Option<(&RouteEntry, &SlowStart)>, now: Instant) -> SlowStart {
        let length = route.proxy.as_ref().and_then(|it| it.slow_start_ms).filter(|_| !route.exclusive);
        let (Some(length), Some((before, slow))) = (length.map(Duration::from_millis), before) else {
            return SlowStart::default();
        };
        let served = |name: &str| before.targets.iter().any(|it| it.instance == name && serves(it));
        let since = route.targets.iter().filter(|it| serves(it)).filter_map(|it| {
            let since = if served(&it.instance) { *slow.since.get(&it.instance)? } else { now };
            (since + length > now).then(|| (it.instance.clone(), since))
        });
        SlowStart { length, since: since.collect(), clients: AtomicU64::new(0) }
    }

    /// The targets in the order in which the next client tries them: one that is not to have it yet comes last.
    pub(crate) fn order<'a>(&self, targets: Vec<&'a TargetEntry>, now: Instant) -> Vec<&'a TargetEntry> {
        if self.since.is_empty() {
            return targets;
        }
        let nth = self.clients.fetch_add(1, Ordering::Relaxed);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for target in targets {
            let waits = self.since.get(&target.instance).is_some_and(|since| !self.has_turn(now - *since, nth));
            if waits { last.push(target) } else { first.push(target) }
        }
        first.append(&mut last);
        first
    }

    /// Of any number of clients in a row, as many have a turn as are due: so often the line of the due ones takes a step.
    fn has_turn(&self, passed: Duration, nth: u64) -> bool {
        const PARTS: u64 = 1000;
        let parts = passed.as_millis().saturating_mul(u128::from(PARTS)) / self.length.as_millis().max(1);
        let parts = u64::try_from(parts).unwrap_or(PARTS).min(PARTS);
        let nth = nth % PARTS;
        (nth + 1) * parts / PARTS > nth * parts / PARTS
    }
}

fn serves(target: &TargetEntry) -> bool {
    target.state == TargetState::Serving
}

#[cfg(test)]
mod tests {
    use mainstay_plan::routing::TargetState::{Down, Serving};

    use super::*;
    use crate::live::tests::table;

    fn route(states: [TargetState; 2]) -> RouteEntry {
        let mut route = table(1, states).routes.remove(0);
        route.exclusive = false;
        route.proxy.as_mut().unwrap().slow_start_ms = Some(10_000);
        route
    }

    /// How many of a hundred clients try the first target first.
    fn of_a_hundred(slow: &SlowStart, route: &RouteEntry, now: Instant) -> usize {
        let targets: Vec<_> = route.targets.iter().collect();
        (0..100).filter(|_| slow.order(targets.clone(), now)[0].instance == "i1").count()
    }

    #[test]
    fn the_share_of_a_target_that_came_back_grows_to_all() {
        let (whole, half) = (route([Serving, Serving]), route([Down, Serving]));
        let mut now = Instant::now();
        let begun = SlowStart::new(&whole, None, now);
        assert_eq!(of_a_hundred(&begun, &whole, now), 100, "nothing is known of before");
        let without = SlowStart::new(&half, Some((&whole, &begun)), now);
        let mut slow = SlowStart::new(&whole, Some((&half, &without)), now);
        for share in [0, 25, 50, 75] {
            assert_eq!(of_a_hundred(&slow, &whole, now), share);
            now += Duration::from_millis(2500);
            // Another change meanwhile changes nothing.
            slow = SlowStart::new(&whole, Some((&whole, &slow)), now);
        }
        assert_eq!(of_a_hundred(&slow, &whole, now), 100);
        assert!(slow.since.is_empty());
    }

    #[test]
    fn a_target_that_is_alone_has_every_client() {
        let (nobody, one, now) = (route([Down, Down]), route([Serving, Down]), Instant::now());
        let slow = SlowStart::new(&one, Some((&nobody, &SlowStart::new(&nobody, None, now))), now);
        assert_eq!(slow.order(one.targets.iter().take(1).collect(), now).len(), 1);
    }
}
