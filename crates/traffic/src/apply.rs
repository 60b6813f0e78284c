//! Taking a table over: everything that can fail comes before the swap, and the acknowledgement after everything that
//! it promises.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::{RoutingTable, TrafficReply};
use mainstay_web::Trouble;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::disk::StateDir;
use crate::handover::{Estate, Predecessor};
use crate::listeners::{Bound, Front, Listeners, fronts};
use crate::live::{Live, Served};
use crate::proxy;

/// A disk that takes longer to sync a few kilobytes is failing.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);
/// For the tasks of cut connections to close their sockets; they wait for nothing but a processor.
pub(crate) const CUT_TIMEOUT: Duration = Duration::from_secs(5);
const DISK: &str = "disk";

/// The one place where the served table changes.
pub(crate) struct Applier {
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    listeners: Listeners,
    fronts: BTreeSet<Front>,
    disk: Arc<StateDir>,
    /// A write that outlasted its deadline. The next one waits for it, so that an older table never lands on a newer.
    writing: Option<JoinHandle<io::Result<()>>>,
    /// Whether the disk holds the served table.
    is_saved: bool,
    /// The process that this one has taken over from, while it has connections.
    predecessor: Option<Predecessor>,
}

impl Applier {
    /// Begins to serve what `live` holds. Addresses that can't be bound yet are left to [`Applier::mend`].
    pub(crate) async fn start(live: Arc<Live>, trouble: Arc<Trouble>, disk: StateDir, is_saved: bool) -> Applier {
        let mut applier = Applier::new(live, trouble, disk, is_saved);
        applier.mend().await;
        applier
    }

    /// The same, without an address yet.
    pub(crate) fn new(live: Arc<Live>, trouble: Arc<Trouble>, disk: StateDir, is_saved: bool) -> Applier {
        let listeners = Listeners::new(Arc::clone(&live), Arc::clone(&trouble));
        let fronts = match fronts(&live.served().table) {
            Ok(fronts) => fronts,
            Err(reason) => {
                trouble.note("table", reason);
                BTreeSet::new()
            }
        };
        let disk = Arc::new(disk);
        let (writing, predecessor) = (None, None);
        Applier { live, trouble, listeners, fronts, disk, writing, is_saved, predecessor }
    }

    /// Makes sockets that are bound already ready to be served.
    pub(crate) fn adopt(&self, sockets: Vec<(Front, Vec<OwnedFd>)>) -> Vec<Bound> {
        self.listeners.adopt(sockets)
    }

    /// Begins where the process before has stopped to accept. From now on an acknowledgement waits for that one, too.
    pub(crate) async fn follow(&mut self, predecessor: Predecessor, bound: Vec<Bound>) {
        self.listeners.start(bound);
        self.disk.is_ours();
        self.predecessor = Some(predecessor);
        self.mend().await;
    }

    /// What this process serves, and its sockets: the lock first, then those of the fronts.
    ///
    /// # Errors
    ///
    /// Why it can't be handed over now.
    pub(crate) fn estate(&self) -> Result<(Estate, Vec<BorrowedFd<'_>>), String> {
        if self.writing.is_some() {
            return Err("the disk still owes an earlier write".to_owned());
        }
        if self.predecessor.as_ref().is_some_and(Predecessor::is_there) {
            return Err("the process before this one still has connections: try again when it has ended".to_owned());
        }
        let served = self.live.served();
        let (fronts, mut sockets) = self.listeners.sockets();
        sockets.insert(0, self.disk.lock());
        let estate = Estate {
            table: served.table.clone(),
            age_ms: served.age_ms(),
            is_fallback: served.is_fallback,
            is_saved: self.is_saved,
            word_at_ms: self.live.word_at_ms(),
            fronts,
        };
        Ok((estate, sockets))
    }

    /// Accepts nobody any more. What is returned ends when the clients of everything but proxies have.
    pub(crate) fn retire(&mut self) -> Vec<JoinHandle<()>> {
        self.listeners.retire()
    }

    /// Has no sockets but those of `fronts` to accept on again.
    pub(crate) fn keep(&mut self, fronts: &BTreeSet<Front>) {
        self.listeners.keep(fronts);
    }

    /// Accepts again: the process that had taken over is dead.
    pub(crate) async fn resume(&mut self) {
        self.listeners.resume();
        self.fronts = fronts(&self.live.served().table).unwrap_or_default();
        self.disk.is_ours();
        // The other may have written a table that it did not live to acknowledge.
        self.is_saved = false;
        self.mend().await;
    }

    /// Tries again to bind what the served table needs and doesn't have.
    pub(crate) async fn mend(&mut self) {
        if !self.listeners.is_retired() {
            self.listeners.rebind(&self.fronts).await;
        }
    }

    /// Serves `table`, or says why not; then the one before is still served.
    pub(crate) async fn apply(&mut self, table: RoutingTable) -> TrafficReply {
        let served = self.live.served();
        if self.listeners.is_retired() {
            let reason = "another process has taken over".to_owned();
            return TrafficReply::Refused { epoch: served.table.epoch, reason };
        }
        let (epoch, checksum) = (table.epoch, table.checksum());
        let taken = if table.epoch == served.table.epoch && checksum == served.checksum {
            self.confirm(&served).await
        } else {
            self.take(table, &served).await
        };
        let taken = match taken {
            Ok(()) if !self.live.cuts_done(CUT_TIMEOUT).await => {
                Err(format!("epoch {epoch} is served, but connections that it cuts are not closed yet"))
            }
            Ok(()) => self.predecessor_follows().await,
            refused @ Err(_) => refused,
        };
        match taken {
            Ok(()) => TrafficReply::Applied { epoch, checksum },
            Err(reason) => {
                warn!(epoch, reason, "routing table refused");
                TrafficReply::Refused { epoch: self.live.served().table.epoch, reason }
            }
        }
    }

    async fn predecessor_follows(&mut self) -> Result<(), String> {
        let Some(predecessor) = &self.predecessor else { return Ok(()) };
        if !predecessor.follows(&self.live.served().table, self.live.word_at_ms()).await? {
            self.predecessor = None;
        }
        Ok(())
    }

    /// Makes the promise of an acknowledgement true for the table that is already served.
    async fn confirm(&mut self, served: &Served) -> Result<(), String> {
        let bound = self.listeners.bind_missing(&self.fronts, &self.fronts).await?;
        self.listeners.start(bound);
        if !self.is_saved {
            self.save(&served.table).await?;
        }
        if served.is_fallback {
            let again = Served::new(served.table.clone(), Some(served))?;
            self.live.swap(again.aged(served.age_ms(), false));
            self.trouble.clear(DISK);
        }
        Ok(())
    }

    async fn take(&mut self, table: RoutingTable, served: &Served) -> Result<(), String> {
        table.validate().map_err(|error| error.to_string())?;
        if table.site != served.table.site {
            return Err(format!("the table is for site `{}`, this is `{}`", table.site, served.table.site));
        }
        if table.epoch < served.table.epoch {
            return Err(format!("epoch {} is older than {}, which is served", table.epoch, served.table.epoch));
        }
        if table.epoch == served.table.epoch {
            return Err(format!("epoch {} is served with another content", table.epoch));
        }
        let wanted = fronts(&table)?;
        let next = Served::new(table.clone(), Some(served))?;
        if let Some(predecessor) = self.predecessor.as_ref().filter(|_| !self.fronts.is_subset(&wanted)) {
            predecessor.keeps(&wanted).await;
        }
        let bound = match self.listeners.bind_missing(&wanted, &self.fronts).await {
            Ok(bound) => bound,
            Err(reason) => {
                self.mend().await;
                return Err(reason);
            }
        };
        if let Err(reason) = self.save(&table).await {
            drop(bound);
            self.mend().await;
            return Err(reason);
        }
        self.live.swap(next);
        self.listeners.start(bound);
        self.listeners.keep_only(&wanted, &self.fronts).await;
        self.fronts = wanted;
        self.trouble.clear("table");
        for gone in served.routes().iter().filter(|it| table.routes.iter().all(|kept| kept.name != it.entry.name)) {
            self.trouble.clear(&proxy::full(&gone.entry.name));
        }
        info!(epoch = table.epoch, routes = table.routes.len(), "routing table served");
        Ok(())
    }

    /// Closes all listeners.
    pub(crate) async fn close(&mut self) {
        self.listeners.close_all().await;
    }

    /// Lets the process before this one end, if it is still there.
    pub(crate) async fn part(&mut self) {
        if let Some(predecessor) = self.predecessor.take().filter(Predecessor::is_there) {
            predecessor.end().await;
        }
    }

    async fn save(&mut self, table: &RoutingTable) -> Result<(), String> {
        let result = self.write(table).await;
        match &result {
            Ok(()) => {
                self.is_saved = true;
                self.trouble.clear(DISK);
            }
            Err(reason) => self.trouble.note(DISK, reason.clone()),
        }
        result
    }

    async fn write(&mut self, table: &RoutingTable) -> Result<(), String> {
        if let Some(earlier) = &mut self.writing {
            if timeout(DISK_TIMEOUT, earlier).await.is_err() {
                return Err("the table can't be written: the disk still owes an earlier write".to_owned());
            }
            self.writing = None;
        }
        let (disk, table, keep_previous) = (Arc::clone(&self.disk), table.clone(), self.is_saved);
        let writing = self.writing.insert(tokio::task::spawn_blocking(move || disk.save(&table, keep_previous)));
        let Ok(written) = timeout(DISK_TIMEOUT, writing).await else {
            return Err(format!("the table can't be written: no answer from the disk in {DISK_TIMEOUT:?}"));
        };
        self.writing = None;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the table can't be written: {error}")),
            Err(error) => Err(format!("the table can't be written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};

    use super::*;
    use crate::live::tests::{served, table};

    #[tokio::test]
    async fn a_fence_is_acknowledged_when_its_connections_are_gone_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::new(served(1, [Serving, Standby]));
        let disk = StateDir::open(dir.path()).unwrap();
        let mut applier = Applier::start(Arc::clone(&live), Arc::default(), disk, false).await;
        let permit = live.register("r", &live.served().table.routes[0].targets[0]).unwrap();

        let reply = tokio::spawn(async move { applier.apply(table(2, [Fenced, Standby])).await });
        while live.served().table.epoch != 2 {
            tokio::task::yield_now().await;
        }
        // Everything after the swap but the wait needs a few polls at most on this single thread.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!reply.is_finished(), "acknowledged while a connection to the fenced target is open");
        drop(permit);
        let checksum = table(2, [Fenced, Standby]).checksum();
        assert_eq!(reply.await.unwrap(), TrafficReply::Applied { epoch: 2, checksum });
    }
}
