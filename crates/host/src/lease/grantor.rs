//! Grants leases for the agent: its [`Book`], kept on the disk before a grant leaves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_plan::Time;
use mainstay_wire::message::{Stance, Stands};
use tokio::sync::Notify;

use super::book::{Book, End, Holding, Homes, Kept, Terms};
use crate::clock::Clock;

/// Its name in the state directory.
const FILE: &str = "leases.json";

/// Grants leases.
#[derive(Debug)]
pub struct Grantor {
    clock: Clock,
    file: PathBuf,
    pages: Mutex<Pages>,
    changed: Notify,
}

/// The book, and what of it is on the disk.
#[derive(Debug)]
struct Pages {
    book: Book,
    on_disk: Kept,
}

impl Grantor {
    /// Goes on from what an agent before has kept in the state directory. If that is lost, nobody is known to have held a lease:
    /// then none is known to have run out, either.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn open(state_dir: &Path, terms: Terms, clock: Clock) -> io::Result<Grantor> {
        let file = state_dir.join(FILE);
        let kept = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(file = %file.display(), %error, "what was kept of leases is lost: none is taken for run out before it is granted anew");
                Kept::default()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error),
        };
        let book = Book::open(terms, kept.clone(), clock.now());
        Ok(Grantor { clock, file, pages: Mutex::new(Pages { book, on_disk: kept }), changed: Notify::new() })
    }

    /// Other terms, for grants from now on.
    pub fn set_terms(&self, terms: Terms) {
        self.pages().book.set_terms(terms);
    }

    /// From now on these may hold, and nobody else. Whose machines are to be told that they may no more is returned.
    pub fn want(&self, wanted: impl IntoIterator<Item = Holding>) -> Vec<Holding> {
        self.pages().book.want(wanted, self.clock.now())
    }

    /// From now on these components may stay what they are while the agent is silent: see [`Book::may_stay`].
    pub fn may_stay(&self, homes: BTreeMap<String, Homes>, silent: Duration) {
        self.pages().book.may_stay(homes, silent, self.clock.now());
    }

    /// A host says by which stance it goes. Blocks for a disk.
    pub fn stands(&self, host: &str, stands: &Stands, epoch: u64) {
        let mut pages = self.pages();
        pages.book.stands(host, stands, epoch, self.clock.now());
        if let Err(error) = self.keep(&mut pages) {
            tracing::warn!(%error, "what a host goes by is asked once more if the agent is killed now");
        }
        drop(pages);
        self.changed.notify_waiters();
    }

    /// What a host is to do while the agent is silent, if it does not go by that. Blocks for a disk.
    ///
    /// # Errors
    /// It can't be kept, so that it is not to be said.
    pub fn stance(&self, host: &str, epoch: u64) -> io::Result<Option<Stance>> {
        let mut pages = self.pages();
        let stance = pages.book.stance(host, epoch);
        self.keep(&mut pages)?;
        Ok(stance)
    }

    /// The number of the newest stance.
    pub fn newest(&self) -> u64 {
        self.pages().book.newest()
    }

    /// The least stance by which whoever holds these may stay without the agent; 0: none.
    pub fn since(&self, holdings: &[Holding]) -> u64 {
        let pages = self.pages();
        holdings.iter().map(|it| pages.book.since(&it.component)).max().unwrap_or(0)
    }

    /// A machine asks for what lives there. Blocks for a disk when a lease changes hands.
    ///
    /// # Errors
    /// It can't be kept, so that nothing is granted.
    pub fn renew(&self, lives_there: &[Holding]) -> io::Result<Vec<Holding>> {
        let mut pages = self.pages();
        let granted = pages.book.renew(self.clock.now(), lives_there);
        self.keep(&mut pages)?;
        Ok(granted)
    }

    /// The machine of this instance has seen that it acts no more.
    pub fn released(&self, holding: &Holding) {
        let mut pages = self.pages();
        pages.book.released(holding, self.clock.now());
        if let Err(error) = self.keep(&mut pages) {
            tracing::warn!(%error, "a lease that was released is waited for once more if the agent is killed now");
        }
        drop(pages);
        self.changed.notify_waiters();
    }

    /// Waits until this instance acts no more, as far as leases tell.
    pub async fn ended(&self, holding: &Holding) -> End {
        loop {
            let changed = self.changed.notified();
            let now = self.clock.now();
            let over = {
                let book = &mut self.pages().book;
                if let Some(end) = book.ended(holding, now) {
                    return end;
                }
                book.holder(&holding.component, now).filter(|it| it.0 == holding.instance).map(|it| it.1)
            };
            let wait = over.map_or(Duration::from_secs(3600), |it| it.since(now) + Duration::from_millis(1));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Who holds a component's lease, and when that is over if nothing is heard any more.
    pub fn holder(&self, component: &str) -> Option<(String, Time)> {
        self.pages().book.holder(component, self.clock.now()).map(|(instance, until)| (instance.to_owned(), until))
    }

    fn keep(&self, Pages { book, on_disk }: &mut Pages) -> io::Result<()> {
        if book.kept() == on_disk {
            return Ok(());
        }
        let beside = self.file.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(book.kept())?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.file)?;
        if let Some(folder) = self.file.parent() {
            File::open(folder)?.sync_all()?;
        }
        on_disk.clone_from(book.kept());
        Ok(())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TERMS: Terms = Terms {
        expires: Duration::from_millis(200),
        demote: Duration::from_millis(50),
        drift: Duration::ZERO,
        lateness: Duration::ZERO,
    };

    fn db(instance: &str) -> Holding {
        Holding { component: "db".to_owned(), instance: instance.to_owned() }
    }

    fn open(folder: &Path) -> Grantor {
        Grantor::open(folder, TERMS, Clock::start(Time::ZERO)).expect("it is readable")
    }

    #[tokio::test]
    async fn the_end_is_waited_for_and_a_word_shortens_it() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let grantor = Arc::new(open(folder.path()));
        grantor.want([db("a")]);
        let granted = tokio::time::Instant::now();
        assert_eq!(grantor.renew(&[db("a")]).expect("it is kept"), [db("a")]);
        assert_eq!(grantor.want([]), [db("a")]);
        assert_eq!(grantor.ended(&db("a")).await, End::RanOut);
        assert!(granted.elapsed() >= Duration::from_millis(249));

        grantor.want([db("a")]);
        assert_eq!(grantor.renew(&[db("a")]).expect("it is kept"), [db("a")]);
        grantor.want([]);
        let waits = tokio::spawn({
            let grantor = grantor.clone();
            async move { grantor.ended(&db("a")).await }
        });
        tokio::task::yield_now().await;
        grantor.released(&db("a"));
        assert_eq!(waits.await.expect("it ends"), End::Released);
    }

    #[tokio::test]
    async fn nothing_is_granted_that_cant_be_kept() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let grantor = open(folder.path());
        grantor.want([db("a")]);
        fs::create_dir(folder.path().join("leases.new")).expect("it is writable");
        for _ in 0..2 {
            assert!(grantor.renew(&[db("a")]).is_err(), "asked again it is not there either");
            assert!(!folder.path().join(FILE).exists());
        }
        fs::remove_dir(folder.path().join("leases.new")).expect("it is ours");
        assert_eq!(grantor.renew(&[db("a")]).expect("it is kept"), [db("a")]);
        assert!(folder.path().join(FILE).exists());
    }

    #[tokio::test]
    async fn another_agent_waits_for_what_this_one_granted() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let first = open(folder.path());
        first.want([db("a")]);
        first.renew(&[db("a")]).expect("it is kept");
        drop(first);
        let next = open(folder.path());
        next.want([db("b")]);
        assert_eq!(next.renew(&[db("b")]).expect("it is kept"), []);
        assert_eq!(next.ended(&db("a")).await, End::RanOut);
        assert_eq!(next.renew(&[db("b")]).expect("it is kept"), [db("b")]);
    }
}
