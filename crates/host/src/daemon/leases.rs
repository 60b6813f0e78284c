//! The host's side of leases, as the daemon meets it: what it asks for, what it was granted, what it let go.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use mainstay_wire::agreement::{Question, Reply};
use mainstay_wire::message::{Granted, Held, Stance, Stands, Stays};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::file::HostFile;
use crate::clock::boot_ns;
use crate::lease::book::Holding;
use crate::lease::held::{Lease, Leases};
use crate::lease::keeper::{Launch, see_to_it};
use crate::lease::promises::{self, Promises};
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
    promises: Promises,
    /// When others were asked last whether it may stay, by instance.
    others_asked: BTreeMap<String, Instant>,
}

/// What a renewal says.
pub(super) struct Wish {
    pub(super) holds: Vec<Held>,
    pub(super) asks: Vec<Held>,
    pub(super) stands: Option<Stands>,
}

/// Something that is held and was not renewed lately: whom to ask whether it may stay.
pub(super) struct Asks {
    pub(super) stays: Stays,
    pub(super) question: Question,
    /// How long an answer is of use.
    pub(super) within: Duration,
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
            promises: Promises::open(&file.state, boot_ns())?,
            others_asked: BTreeMap::new(),
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
        let now = boot_ns();
        let stands = self.stands(now);
        let nothing = |stands| Wish { holds: Vec::new(), asks: Vec::new(), stands };
        let Some(renewals) = &mut self.renewals else { return nothing(stands) };
        let is_well = self.is_timed && self.well.borrow().is_some_and(|it| it.elapsed() < WELL_FOR);
        match renewals.ask(now) {
            Ok((nth, holds)) => {
                let free = |it: &&Held| is_well && self.promises.binds(&it.component, now).is_none();
                let asks = self.guarded.iter().filter(free).cloned().collect();
                if is_well {
                    self.asked.push_back((seq, nth));
                    if self.asked.len() > REMEMBERED {
                        self.asked.pop_front();
                    }
                }
                Wish { holds: holds.into_iter().map(held).collect(), asks, stands }
            }
            Err(error) => {
                tracing::error!(%error, "leases can't be read, so that none is renewed");
                nothing(stands)
            }
        }
    }

    fn stands(&self, now: u64) -> Option<Stands> {
        let stance = self.promises.stance()?;
        let good = self.leases.as_ref().and_then(|it| it.good(now).ok()).unwrap_or_default();
        let by_others = good.into_iter().filter(|it| !it.by.is_empty());
        let stays = by_others.map(|it| Held { component: it.component, instance: it.instance }).collect();
        Some(Stands { epoch: stance.epoch, nth: stance.nth, promised: self.promises.promised(now), stays })
    }

    /// An agent was heard: nothing is promised to anybody for a while.
    pub(super) fn heard_agent(&mut self) {
        self.promises.heard(boot_ns());
    }

    /// The agent says what to do while it is silent. Whether that is new.
    pub(super) fn stance(&mut self, stance: Stance) -> bool {
        match self.promises.take(stance) {
            Ok(is_new) => is_new,
            Err(error) => {
                tracing::error!(%error, "what to do while the agent is silent can't be written, and the one before counts");
                false
            }
        }
    }

    /// Another host asks whether it may stay what it is.
    pub(super) fn answer(&mut self, asker: &str, question: &Question, epoch: u64) -> Reply {
        let (guarded, leases) = (&self.guarded, &self.leases);
        let is_taken = |component: &str| {
            let mut ours = guarded.iter().filter(|it| it.component == component);
            let left = |it: &&Held| leases.as_ref().is_some_and(|leases| !leases.is_gone(&it.instance));
            ours.find(left).map(|it| format!("{} is it here, or is not seen to have ended", it.instance))
        };
        self.promises.answer(asker, question, epoch, is_taken, boot_ns())
    }

    /// What is held here, was not renewed in time, and may stay by the word of others: they are to be asked now.
    pub(super) fn whom_to_ask(&mut self, renew: Duration, epoch: u64) -> Vec<Asks> {
        let now = boot_ns();
        let (Some(stance), Some(leases)) = (self.promises.stance(), &self.leases) else { return Vec::new() };
        if stance.stays.is_empty() {
            return Vec::new();
        }
        let good = leases.good(now).unwrap_or_default();
        self.others_asked.retain(|instance, _| good.iter().any(|it| it.instance == *instance));
        let mut asks = Vec::new();
        for lease in good {
            let Lease { component, instance, until_boot_ns, stance: least, by, .. } = lease;
            let held = Held { component, instance };
            let Some(stays) = promises::stays(Some(stance), &held, least) else { continue };
            let left = Duration::from_nanos(until_boot_ns - now);
            let since = Duration::from_millis(stance.expires_ms).saturating_sub(left);
            let was_asked = self.others_asked.get(&held.instance);
            if since < renew * 2 || was_asked.is_some_and(|it| it.elapsed() < renew) {
                continue;
            }
            if was_asked.is_none() && by.is_empty() {
                tracing::warn!(
                    instance = held.instance,
                    "no agent renews its lease: other hosts are asked whether it may stay"
                );
            }
            self.others_asked.insert(held.instance.clone(), Instant::now());
            let question = Question { epoch, stance: least, whole_ms: stance.whole_ms, holds: vec![held] };
            asks.push(Asks { stays: stays.clone(), question, within: left });
        }
        asks
    }

    /// All others have agreed that it may stay; they were asked at that moment.
    pub(super) fn agreed(&mut self, held: &Held, by: Vec<String>, asked_boot_ns: u64) {
        let (Some(leases), Some(stance)) = (&self.leases, self.promises.stance()) else { return };
        let until = asked_boot_ns.saturating_add(stance.expires_ms.saturating_mul(1_000_000));
        let before = leases.good(boot_ns()).unwrap_or_default().into_iter().find(|it| it.instance == held.instance);
        let said = by.join(", ");
        match leases.prolong(&holding(held), until, by, boot_ns()) {
            Ok(true) if before.is_some_and(|it| it.by.is_empty()) => {
                tracing::warn!(
                    instance = held.instance,
                    by = said,
                    "it stays what it is by the word of the other hosts"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(instance = held.instance, %error, "its lease can't be lengthened"),
        }
    }

    /// The agent answered a renewal; it decides under that epoch.
    pub(super) fn granted(&mut self, granted: &Granted, epoch: u64) {
        let asked = self.asked.iter().position(|it| it.0 == granted.seq).and_then(|at| self.asked.remove(at));
        let (Some((_, nth)), Some(renewals)) = (asked, &mut self.renewals) else { return };
        let now = boot_ns();
        let free = |it: &&Held| match self.promises.binds(&it.component, now) {
            Some((promise, left)) => {
                let (instance, to, left) = (&it.instance, &promise.host, left.as_secs_f64());
                tracing::warn!(instance, to, left, "a lease is granted and not taken: another host was promised that");
                false
            }
            None => true,
        };
        let holds: Vec<Holding> = granted.holds.iter().filter(free).map(holding).collect();
        let (expires, stance) = (Duration::from_millis(granted.ttl_ms), (epoch, granted.stance));
        if let Err(error) = renewals.granted(nth, &holds, expires, stance, now) {
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
            Ok(false) => Err(match self.promises.binds(component, boot_ns()) {
                Some((promise, left)) => format!(
                    "`{instance}` does not hold the lease of `{component}`: host {} was promised for {:.1} s more that {} stays what it is",
                    promise.host,
                    left.as_secs_f64(),
                    promise.held.instance
                ),
                None => format!("`{instance}` does not hold the lease of `{component}`"),
            }),
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
