//! Servers that neither work nor fail: they answer slowly, now and then, or to some only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_plan::probe::Probe;

use crate::world::Server;

/// Something between up and down.
#[derive(Clone, Debug)]
pub enum Gray {
    /// Every answer of this instance, witness or probe takes so long from now on; `None`: as fast as ever.
    Slow(String, Option<Duration>),
    /// This probe is refused from now on, whatever its instance does, or is answered again.
    Refuses(String, bool),
    /// Of this instance's answers so many are good and then so many are refused, in turn; `None`: no more.
    Flickers(String, Option<(u32, u32)>),
}

/// What is gray at the moment.
#[derive(Debug, Default)]
pub(crate) struct Grays {
    slow: BTreeMap<String, Duration>,
    refuses: BTreeSet<String>,
    /// Good, refused, and how many questions were asked, by probe.
    flickers: BTreeMap<String, (u32, u32)>,
    asked: BTreeMap<String, u32>,
}

impl Grays {
    pub(crate) fn suffer(&mut self, gray: Gray) {
        match gray {
            Gray::Slow(name, Some(takes)) => drop(self.slow.insert(name, takes)),
            Gray::Slow(name, None) => drop(self.slow.remove(&name)),
            Gray::Refuses(probe, true) => drop(self.refuses.insert(probe)),
            Gray::Refuses(probe, false) => drop(self.refuses.remove(&probe)),
            Gray::Flickers(name, Some(turns)) => drop(self.flickers.insert(name, turns)),
            Gray::Flickers(name, None) => drop(self.flickers.remove(&name)),
        }
    }

    /// How a server that is `server` otherwise meets this question.
    pub(crate) fn meets(&mut self, name: &str, probe: &Probe, server: Server) -> Server {
        if server != Server::Up {
            return server;
        }
        if self.refuses.contains(&probe.name) {
            return Server::Dead;
        }
        if let Some((good, refused)) = self.flickers.get(name).copied() {
            let asked = self.asked.entry(probe.name.clone()).or_default();
            let turn = *asked % (good + refused).max(1);
            *asked += 1;
            if turn >= good {
                return Server::Dead;
            }
        }
        let too_slow = self.takes(name, probe).is_some_and(|it| it > probe.timing.timeout);
        if too_slow { Server::Hung } else { server }
    }

    /// How long a good answer takes, where it is not as fast as others.
    pub(crate) fn takes(&self, name: &str, probe: &Probe) -> Option<Duration> {
        self.slow.get(&probe.name).or_else(|| self.slow.get(name)).copied()
    }
}
