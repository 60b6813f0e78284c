//! The probes of one plan, and what they share while they are asked: how many may be under way, of all and of each host, and
//! where each is asked from next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_plan::{Plan, ProbeIx};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A probe waits no longer for its turn than its own timeout, nor than this: its answer would come too late.
const PATIENCE: Duration = Duration::from_secs(2);

/// With more probes than that their good answers are reported together.
const MANY: usize = 64;

/// What the probes of a plan share.
pub(crate) struct Rounds {
    plan: Arc<Plan>,
    all: Semaphore,
    /// By probe: the host that it asks, where others ask it, too. One alone never overlaps itself.
    hosts: Vec<Option<Arc<Semaphore>>>,
    /// By probe: how often it was asked.
    turns: Vec<AtomicUsize>,
}

/// Held while a probe is asked.
pub(crate) struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _of_host: Option<SemaphorePermit<'a>>,
}

impl Rounds {
    pub(crate) fn of(plan: &Arc<Plan>) -> Rounds {
        let names: Vec<Option<String>> = plan.probes.iter().map(|it| it.kind.host()).collect();
        let mut askers: BTreeMap<&str, usize> = BTreeMap::new();
        for name in names.iter().flatten() {
            *askers.entry(name).or_default() += 1;
        }
        let limit = plan.probing.at_once_per_target as usize;
        let several = askers.into_iter().filter(|it| it.1 > 1);
        let shared: BTreeMap<&str, Arc<Semaphore>> =
            several.map(|(name, _)| (name, Arc::new(Semaphore::new(limit)))).collect();
        Rounds {
            plan: plan.clone(),
            all: Semaphore::new(plan.probing.at_once as usize),
            hosts: names.iter().map(|it| shared.get(it.as_deref()?).cloned()).collect(),
            turns: plan.probes.iter().map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// Whether there are so many that good answers are reported together.
    pub(crate) fn are_many(&self) -> bool {
        self.turns.len() > MANY
    }

    /// Whether these are the probes of `plan`.
    pub(crate) fn are_of(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    /// Waits until the probe may be asked.
    ///
    /// # Errors
    /// Why it may not, if that takes too long.
    pub(crate) async fn turn(&self, probe: ProbeIx) -> Result<Turn<'_>, String> {
        let host = self.hosts[probe.index()].as_deref();
        match self.turn_at_once(host) {
            Some(turn) => Ok(turn),
            None => Box::pin(self.turn_later(probe, host)).await,
        }
    }

    async fn turn_later<'a>(&'a self, probe: ProbeIx, host: Option<&'a Semaphore>) -> Result<Turn<'a>, String> {
        let patience = self.plan.probe(probe).timing.timeout.min(PATIENCE);
        let turn = async {
            let of_host = match host {
                Some(host) => Some(host.acquire().await.ok()?),
                None => None,
            };
            Some(Turn { _of_all: self.all.acquire().await.ok()?, _of_host: of_host })
        };
        tokio::time::timeout(patience, turn).await.ok().flatten().ok_or_else(|| {
            let of_host = host.is_some_and(|it| it.available_permits() == 0);
            let (limit, field) = match of_host {
                true => (self.plan.probing.at_once_per_target, "at_once_per_target"),
                false => (self.plan.probing.at_once, "at_once"),
            };
            format!("{limit} probes are under way, which is `probing.{field}`")
        })
    }

    fn turn_at_once<'a>(&'a self, host: Option<&'a Semaphore>) -> Option<Turn<'a>> {
        let of_host = match host {
            Some(host) => Some(host.try_acquire().ok()?),
            None => None,
        };
        Some(Turn { _of_all: self.all.try_acquire().ok()?, _of_host: of_host })
    }

    /// Where the probe is asked from this time.
    pub(crate) fn from(&self, probe: ProbeIx) -> Option<IpAddr> {
        let from = &self.plan.probe(probe).from;
        let turn = || self.turns[probe.index()].fetch_add(1, Ordering::Relaxed);
        if from.is_empty() { None } else { from.get(turn() % from.len()).copied() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(probing: &str) -> Arc<Plan> {
        let text = format!(
            "version: 2\nsite: {{ name: s, region: eu }}\nprobing: {{ {probing} }}\ncomponents:\n  db:\n    type: database\n    \
             location: {{ region: eu, zone: a }}\n    probes:\n      - tcp: {{ address: \"10.0.0.1:1\", timeout: 100ms, from: [10.0.0.8, \
             10.0.0.9] }}\n      - tcp: {{ address: \"10.0.0.1:2\", timeout: 100ms }}\n      - tcp: {{ address: \"10.0.0.2:1\", timeout: \
             100ms }}\n"
        );
        let compiled = mainstay_plan::compile("plan.yaml", &text, std::path::Path::new("/"));
        Arc::new(compiled.plan.expect("a sound plan"))
    }

    #[tokio::test]
    async fn one_beyond_the_limit_waits_for_its_turn_and_not_for_ever() {
        let of_host = Rounds::of(&plan("at_once_per_target: 1"));
        let first = of_host.turn(ProbeIx(0)).await.expect("nobody is under way");
        assert!(of_host.turn(ProbeIx(2)).await.is_ok(), "another host");
        let why = of_host.turn(ProbeIx(1)).await.err();
        assert_eq!(why.as_deref(), Some("1 probes are under way, which is `probing.at_once_per_target`"));
        let (second, ()) = tokio::join!(of_host.turn(ProbeIx(1)), async { drop(first) });
        assert!(second.is_ok());

        let of_all = Rounds::of(&plan("at_once: 2"));
        let _both = (of_all.turn(ProbeIx(0)).await.is_ok(), of_all.turn(ProbeIx(1)).await.is_ok());
        let held = (of_all.turn(ProbeIx(0)).await, of_all.turn(ProbeIx(1)).await);
        assert!(held.0.is_ok() && held.1.is_ok(), "what ended makes room");
        let why = of_all.turn(ProbeIx(2)).await.err();
        assert_eq!(why.as_deref(), Some("2 probes are under way, which is `probing.at_once`"));
    }

    #[test]
    fn sources_are_taken_in_turn() {
        let rounds = Rounds::of(&plan(""));
        let from = |probe| rounds.from(ProbeIx(probe)).map(|it| it.to_string());
        let (eight, nine) = (Some("10.0.0.8".to_owned()), Some("10.0.0.9".to_owned()));
        assert_eq!([from(0), from(0), from(0), from(1)], [eight.clone(), nine, eight, None]);
    }
}
