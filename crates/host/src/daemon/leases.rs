//! The host's side of leases, as the daemon meets it: what it asks for, what it was granted, what it let go.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use mainstay_wire::message::{Granted, Held};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::file::HostFile;
use crate::clock::boot_ns;
use crate::lease::book::Holding;
use crate::lease::held::Leases;
use crate::lease::keeper::{Launch, see_to_it};
use crate::lease::renewals::Renewals;

/// How often the keeper is asked whether it is well.
const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// A keeper that was well so recently is well.
const WELL_FOR: Duration = Duration::from_secs(2);

/// Renewals whose answer may still come.
const REMEMBERED: usize = 64;

/// The leases of what this machine guards.
pub(super) struct LeaseSide {
    /// `None`: it guards nothing.
    renewals: Option<Renewals>,
    leases: Option<Leases>,
    /// Whether the keeper knows how long ending may take.
    is_timed: bool,
    guarded: Vec<Held>,
    /// When the keeper was last known to be well.
    well: watch::Receiver<Option<Instant>>,
    /// By number of the message: the number under which the renewal was asked.
    asked: VecDeque<(u64, u64)>,
    /// What is let go and was not said yet.
    released: Vec<Held>,
}

/// What a renewal says.
pub(super) struct Wish {
    pub(super) holds: Vec<Held>,
    pub(super) asks: Vec<Held>,
}

impl LeaseSide {
    /// Opens the folder of leases below the state directory, and keeps a keeper alive from now on.
    pub(super) fn open(file: &HostFile, keeper: Launch) -> std::io::Result<LeaseSide> {
        let (tell, well) = watch::channel(None);
        let guarded: Vec<Held> = file.holdings().into_iter().map(held).collect();
        let mut side = LeaseSide {
            renewals: None,
            leases: None,
            is_timed: false,
            guarded,
            well,
            asked: VecDeque::new(),
            released: Vec::new(),
        };
        if !side.guarded.is_empty() {
            let leases = Leases::open(&folder(&file.state))?;
            tokio::spawn(keep_well(leases.clone(), keeper, tell));
            side.renewals = Some(Renewals::new(leases.clone(), file.holdings()));
            side.leases = Some(leases);
        }
        Ok(side)
    }

    /// What it guards.
    pub(super) fn guarded(&self) -> &[Held] {
        &self.guarded
    }

    /// Whether this instance is guarded here.
    pub(super) fn guards_this(&self, component: &str, instance: &str) -> bool {
        self.guarded.iter().any(|it| it.component == component && it.instance == instance)
    }

    /// Whether it has to look again and again.
    pub(super) const fn guards(&self) -> bool {
        self.renewals.is_some()
    }

    /// The agent says how long ending one thing may take. Nothing is asked for before that is known to the keeper.
    pub(super) fn welcomed(&mut self, demote: Duration) {
        let Some(leases) = &self.leases else { return };
        self.is_timed = match leases.set_demote(demote) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "how long ending may take can't be written, so that no lease is asked for");
                false
            }
        };
    }

    /// The renewal numbered `seq` leaves now. Nothing is asked for that the keeper might not end in time.
    pub(super) fn ask(&mut self, seq: u64) -> Wish {
        let Some(renewals) = &mut self.renewals else { return Wish { holds: Vec::new(), asks: Vec::new() } };
        let is_well = self.is_timed && self.well.borrow().is_some_and(|it| it.elapsed() < WELL_FOR);
        match renewals.ask(boot_ns()) {
            Ok((nth, holds)) => {
                let asks = if is_well { self.guarded.clone() } else { Vec::new() };
                if is_well {
                    self.asked.push_back((seq, nth));
                    if self.asked.len() > REMEMBERED {
                        self.asked.pop_front();
                    }
                }
                Wish { holds: holds.into_iter().map(held).collect(), asks }
            }
            Err(error) => {
                tracing::error!(%error, "leases can't be read, so that none is renewed");
                Wish { holds: Vec::new(), asks: Vec::new() }
            }
        }
    }

    /// The agent answered a renewal.
    pub(super) fn granted(&mut self, granted: &Granted) {
        let asked = self.asked.iter().position(|it| it.0 == granted.seq).and_then(|at| self.asked.remove(at));
        let (Some((_, nth)), Some(renewals)) = (asked, &mut self.renewals) else { return };
        let holds: Vec<Holding> = granted.holds.iter().map(holding).collect();
        if let Err(error) = renewals.granted(nth, &holds, Duration::from_millis(granted.ttl_ms), boot_ns()) {
            tracing::error!(%error, "a lease can't be written, so that it counts for nothing");
        }
    }

    /// The agent takes a lease back.
    pub(super) fn revoked(&mut self, what: &Held) {
        let Some(renewals) = &mut self.renewals else {
            tracing::error!(instance = what.instance, "a lease is taken back of what is not guarded here");
            return;
        };
        if let Err(error) = renewals.revoked(&holding(what)) {
            tracing::error!(instance = what.instance, %error, "a lease can't be taken back");
        }
    }

    /// What acts no more, and the agent was not told; it is forgotten once `say` has taken it.
    pub(super) fn say_released(&mut self, mut say: impl FnMut(Held) -> bool) {
        if let Some(renewals) = &mut self.renewals {
            self.released.extend(renewals.released().into_iter().map(held));
        }
        while let Some(first) = self.released.first().cloned() {
            if !say(first) {
                return;
            }
            self.released.remove(0);
        }
    }

    /// Whether this instance may act as its component.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn holds(&self, component: &str, instance: &str) -> Result<(), String> {
        let what = Holding { component: component.to_owned(), instance: instance.to_owned() };
        let Some(renewals) = &self.renewals else {
            return Err(format!("`{instance}` is not in `guards` of the host's file, so it can hold no lease"));
        };
        match renewals.holds(&what, boot_ns()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("`{instance}` does not hold the lease of `{component}`")),
            Err(error) => Err(format!("whether `{instance}` holds the lease of `{component}` can't be read: {error}")),
        }
    }
}

/// Where leases are, below the state directory.
pub(super) fn folder(state: &Path) -> std::path::PathBuf {
    state.join("leases")
}

async fn keep_well(leases: Leases, keeper: Launch, tell: watch::Sender<Option<Instant>>) {
    let mut told = None;
    while !tell.is_closed() {
        match see_to_it(&leases, &keeper).await {
            Ok(()) => {
                tell.send_replace(Some(Instant::now()));
                told = None;
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tracing::error!(error, "no keeper is at work, so that no lease is renewed");
                    told = Some(error);
                }
            }
        }
        sleep(LOOKS_EVERY).await;
    }
}

fn held(it: Holding) -> Held {
    Held { component: it.component, instance: it.instance }
}

fn holding(it: &Held) -> Holding {
    Holding { component: it.component.clone(), instance: it.instance.clone() }
}
