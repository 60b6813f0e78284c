//! Machines where series of backups are kept: a folder each, in which one at a time takes, tests, and what is there counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_engine::effect::Order;
use mainstay_engine::record::StepRef;
use mainstay_plan::Time;
use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::backup::{BackupSeen, KeepingJob, SeriesSeen, TestSeen};
use mainstay_plan::postgres::{Keeping, PostgresOp};

use super::{Event, Link, World};

/// How long taking a backup takes, and restoring one, where that is not often due.
const TAKES: Duration = Duration::from_secs(20);
const RESTORES: Duration = Duration::from_secs(40);

/// What is due so often takes no more than this part of the time.
const SHARE: u32 = 5;

/// How long its machine takes to see that it can do nothing.
const LOOKS: Duration = Duration::from_millis(20);

/// How long a host that is gone is waited for.
const SILENT: Duration = Duration::from_secs(30);

/// What lies in the folder of a series, and who works there.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    /// When each backup was begun, the oldest first.
    pub backups: Vec<Time>,
    /// When one was restored for the last time.
    pub tested: Option<Time>,
    /// What is wrong with the machine.
    pub trouble: VaultTrouble,
    busy: Option<Busy>,
}

/// What is wrong where a series is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaultTrouble {
    /// Nothing.
    #[default]
    None,
    /// Its disk is full: nothing can be taken.
    Full,
    /// What is taken is damaged: nothing can be restored.
    Damaged,
}

#[derive(Clone, Debug)]
struct Busy {
    key: String,
    until: Time,
}

/// What a machine was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    step: StepRef,
    key: String,
    began: Time,
    host: Option<String>,
    keeping: Keeping,
}

impl World {
    /// What lies in a folder.
    pub fn vault(&mut self, folder: &Path) -> &mut Vault {
        self.vaults.entry(folder.to_owned()).or_default()
    }

    /// Whether an order is one for a series; it is done then.
    pub(super) fn keeps(&mut self, order: &Order) -> bool {
        let Action::Postgres(postgres) = &order.action else { return false };
        let PostgresOp::Keep(keeping) = &postgres.op else { return false };
        if self.link_to(order.host.as_deref()) == Link::NoOrders {
            let failed = Outcome::Failed("its host is silent: nothing was done".to_owned());
            self.at(SILENT, Event::ActionEnded(Box::new((order.step, failed))));
            return true;
        }
        let (step, key, began) = (order.step, order.key.clone(), self.now);
        let asked = Asked { step, key, began, host: order.host.clone(), keeping: keeping.as_ref().clone() };
        self.ask_vault(asked);
        true
    }

    fn ask_vault(&mut self, asked: Asked) {
        let now = self.now;
        let vault = self.vaults.entry(asked.keeping.series.folder.clone()).or_default();
        match &vault.busy {
            // It is being done under that key, or somebody else is in the folder: either way it is looked at afterwards.
            Some(busy) if busy.until > now => {
                let after = busy.until.since(now);
                self.at(after, Event::Vault(Box::new((asked, false))));
            }
            Some(_) | None if !vault.is_due(&asked.keeping, now) => {
                let seen = Outcome::Kept(Box::new(vault.seen(now, false)));
                self.at(LOOKS, Event::ActionEnded(Box::new((asked.step, seen))));
            }
            Some(_) | None => {
                let took = match asked.keeping.job {
                    KeepingJob::Backup => TAKES,
                    KeepingJob::RestoreTest => RESTORES,
                };
                let took = took.min(asked.keeping.every / SHARE);
                let asked = Asked { began: now, ..asked };
                vault.busy = Some(Busy { key: asked.key.clone(), until: now + took });
                self.checkers.works_in(&asked.keeping.series.folder, asked.keeping.job, asked.step, now);
                self.at(took, Event::Vault(Box::new((asked, true))));
            }
        }
    }

    /// What was begun has ended, or what waited looks again.
    pub(super) fn vault_event(&mut self, asked: Asked, is_done: bool) {
        if !is_done {
            return self.ask_vault(asked);
        }
        let now = self.now;
        let vault = self.vaults.entry(asked.keeping.series.folder.clone()).or_default();
        if vault.busy.take_if(|it| it.key == asked.key).is_none() {
            return;
        }
        self.checkers.works_no_more(&asked.keeping.series.folder);
        // A host that is gone did not do it, and one that nobody hears may have.
        let link = self.link_to(asked.host.as_deref());
        if link == Link::NoOrders {
            let unknown = Outcome::Unknown("the host process ended while it was doing this".to_owned());
            self.at(SILENT, Event::ActionEnded(Box::new((asked.step, unknown))));
            return;
        }
        let Some(vault) = self.vaults.get_mut(&asked.keeping.series.folder) else { return };
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        let outcome = match (asked.keeping.job, vault.trouble) {
            (KeepingJob::Backup, VaultTrouble::Full) => failed("nothing was done: no space is left"),
            (KeepingJob::RestoreTest, VaultTrouble::Damaged) => failed("it is not whole"),
            (KeepingJob::Backup, VaultTrouble::None | VaultTrouble::Damaged) => {
                vault.backups.push(asked.began);
                Outcome::Kept(Box::new(vault.seen(now, true)))
            }
            (KeepingJob::RestoreTest, VaultTrouble::None | VaultTrouble::Full) => {
                vault.tested = Some(now);
                Outcome::Kept(Box::new(vault.seen(now, true)))
            }
        };
        // An agent that died meanwhile hears nothing of it.
        if self.driver.is_some() && link == Link::Whole {
            self.at(LOOKS, Event::ActionEnded(Box::new((asked.step, outcome))));
        }
    }

    /// Wherever series are kept, all is well again.
    pub(super) fn vaults_heal(&mut self) {
        self.vaults.values_mut().for_each(|it| it.trouble = VaultTrouble::None);
    }

    /// What is being done for a step ends at once, and leaves nothing.
    pub(super) fn vault_gives_up(&mut self, step: StepRef) {
        let is_it = |event: &Event| matches!(event, Event::Vault(it) if it.0.step == step);
        let given_up: Vec<Event> = self.queue.values().filter(|it| is_it(it)).cloned().collect();
        self.queue.retain(|_, event| !is_it(event));
        for event in given_up {
            if let Event::Vault(it) = event
                && it.1
            {
                self.leave_vault(&it.0);
            }
        }
    }

    /// What the agent itself was doing ends with it; what a host does goes on.
    pub(super) fn vaults_lose_agent(&mut self) {
        let is_its_own = |event: &Event| matches!(event, Event::Vault(it) if it.0.host.is_none() || !it.1);
        let lost: Vec<Event> = self.queue.values().filter(|it| is_its_own(it)).cloned().collect();
        self.queue.retain(|_, event| !is_its_own(event));
        for event in lost {
            if let Event::Vault(it) = event
                && it.1
            {
                self.leave_vault(&it.0);
            }
        }
    }

    fn leave_vault(&mut self, asked: &Asked) {
        let folder = &asked.keeping.series.folder;
        if let Some(vault) = self.vaults.get_mut(folder)
            && vault.busy.take_if(|it| it.key == asked.key).is_some()
        {
            self.checkers.works_no_more(folder);
        }
    }
}

impl Vault {
    fn is_due(&self, keeping: &Keeping, now: Time) -> bool {
        let last = match keeping.job {
            KeepingJob::Backup => self.backups.last().copied(),
            KeepingJob::RestoreTest => self.tested,
        };
        last.is_none_or(|it| it + keeping.every <= now)
    }

    fn seen(&self, now: Time, done: bool) -> SeriesSeen {
        let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let name = |nth: usize| format!("backup-{nth}");
        let newest = self.backups.last().map(|it| BackupSeen {
            name: name(self.backups.len()),
            age_ms: ms(now.since(*it)),
            took_ms: ms(TAKES),
            bytes: 1 << 30,
            from: "10.0.0.1:5432".to_owned(),
            role: "standby".to_owned(),
        });
        let tested = self.tested.map(|it| TestSeen {
            backup: name(self.backups.iter().filter(|began| **began <= it).count()),
            age_ms: ms(now.since(it)),
            took_ms: ms(RESTORES),
            longest_ms: ms(RESTORES),
        });
        SeriesSeen { done, newest, tested, trouble: None }
    }
}

/// By folder.
pub(super) type Vaults = BTreeMap<PathBuf, Vault>;
