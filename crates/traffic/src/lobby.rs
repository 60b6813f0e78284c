//! Places in a route: how many clients it serves at a time, how many wait for a place and for how long, and how many of
//! both may come from one source.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_plan::routing::ProxyEntry;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The places of one route. It outlives the tables that have the route.
#[derive(Debug, Default)]
pub(crate) struct Lobby {
    state: Mutex<State>,
    /// Whether somebody was sent away since somebody was let in.
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    limit: u32,
    inside: u32,
    /// The first to come is the first to be let in.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
    next: u64,
    /// Inside and waiting.
    sources: HashMap<IpAddr, u32>,
}

/// Why a client is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No place, and none to wait.
    Full,
    /// Its source has all that it may have.
    Source,
}

/// A client's place, inside or in the queue; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    source: Option<IpAddr>,
    number: u64,
    queued: Option<oneshot::Receiver<()>>,
}

impl Lobby {
    /// How many are inside, and how many wait.
    pub(crate) fn numbers(&self) -> (u32, u32) {
        let state = self.state();
        (state.inside, u32::try_from(state.waiting.len()).unwrap_or(u32::MAX))
    }

    /// How many there are, inside or waiting.
    pub(crate) fn present(&self) -> u32 {
        let (inside, waiting) = self.numbers();
        inside.saturating_add(waiting)
    }

    /// Whether the next client would be let in at once.
    pub(crate) fn has_room(&self) -> bool {
        self.state().has_room()
    }

    /// So many may be inside from now on; those who are stay.
    pub(crate) fn resize(&self, limit: u32) {
        let mut state = self.state();
        state.limit = limit;
        state.let_in();
    }

    /// A place for a client. `source` counts where the proxy has a limit for each.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn enter(self: &Arc<Self>, proxy: &ProxyEntry, source: IpAddr) -> Result<Place, Refusal> {
        let source = proxy.max_per_source.map(|most| (source, most));
        let mut state = self.state();
        if let Some((source, most)) = source
            && state.sources.get(&source).is_some_and(|it| *it >= most)
        {
            return Err(Refusal::Source);
        }
        let number = state.next;
        let queued = if state.has_room() {
            state.inside += 1;
            None
        } else if proxy.queue.is_some_and(|it| state.waiting.len() < usize::try_from(it.length).unwrap_or(usize::MAX)) {
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back((number, sender));
            Some(receiver)
        } else {
            return Err(Refusal::Full);
        };
        state.next += 1;
        let source = source.map(|it| it.0);
        if let Some(source) = source {
            *state.sources.entry(source).or_default() += 1;
        }
        Ok(Place { lobby: Arc::clone(self), source, number, queued })
    }

    /// Somebody was sent away.
    pub(crate) fn note_full(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    /// Whether somebody was sent away since this was last asked.
    pub(crate) fn was_full(&self) -> bool {
        // The read comes first: a write for each client would be felt.
        self.is_full.load(Ordering::Relaxed) && self.is_full.swap(false, Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.inside < self.limit && self.waiting.is_empty()
    }

    fn let_in(&mut self) {
        while self.inside < self.limit
            && let Some((_, next)) = self.waiting.pop_front()
        {
            // One that has gone meanwhile takes its place along, and gives it back when it is dropped.
            let _ = next.send(());
            self.inside += 1;
        }
    }
}

impl Place {
    /// Whether the client has to wait.
    pub(crate) const fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// Waits until the client is inside; `false`: that took longer than `limit`.
    pub(crate) async fn wait(&mut self, limit: Duration) -> bool {
        let Some(queued) = &mut self.queued else { return true };
        if timeout(limit, queued).await.is_err() && self.lobby.state().waiting.iter().any(|it| it.0 == self.number) {
            return false;
        }
        self.queued = None;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.lobby.state();
        let waits = self.queued.as_ref().and_then(|_| state.waiting.iter().position(|it| it.0 == self.number));
        match waits {
            Some(at) => drop(state.waiting.remove(at)),
            None => state.inside -= 1,
        }
        if let Some(source) = self.source
            && let Some(number) = state.sources.get_mut(&source)
        {
            *number -= 1;
            if *number == 0 {
                state.sources.remove(&source);
            }
        }
        state.let_in();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use mainstay_plan::routing::QueueEntry;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(30);

    fn proxy(length: u32, max_per_source: Option<u32>) -> ProxyEntry {
        let queue = Some(QueueEntry { length, wait_ms: 1 });
        ProxyEntry { queue, max_per_source, ..ProxyEntry::new(SocketAddr::from(([127, 0, 0, 1], 1))) }
    }

    fn from(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn lobby(limit: u32) -> Arc<Lobby> {
        let lobby = Arc::new(Lobby::default());
        lobby.resize(limit);
        lobby
    }

    #[tokio::test]
    async fn the_first_to_wait_is_the_first_to_be_let_in() {
        let (lobby, proxy) = (lobby(1), proxy(2, None));
        let inside = lobby.enter(&proxy, from(1)).unwrap();
        let mut first = lobby.enter(&proxy, from(1)).unwrap();
        let mut second = lobby.enter(&proxy, from(1)).unwrap();
        assert_eq!(lobby.enter(&proxy, from(1)).unwrap_err(), Refusal::Full);
        assert_eq!(lobby.numbers(), (1, 2));
        assert!(!inside.is_queued() && first.is_queued());
        drop(inside);
        assert!(!second.wait(SHORT).await);
        assert!(first.wait(LONG).await);
        drop(first);
        assert!(second.wait(LONG).await);
        drop(second);
        assert_eq!(lobby.numbers(), (0, 0));
    }

    #[tokio::test]
    async fn a_place_goes_past_whoever_does_not_wait_any_more() {
        let (lobby, proxy) = (lobby(1), proxy(9, None));
        let inside = lobby.enter(&proxy, from(1)).unwrap();
        let gone = lobby.enter(&proxy, from(1)).unwrap();
        let too_late = lobby.enter(&proxy, from(1)).unwrap();
        let mut last = lobby.enter(&proxy, from(1)).unwrap();
        drop(gone);
        drop(inside);
        // Let in, but it has never looked.
        drop(too_late);
        assert!(last.wait(LONG).await);
        assert_eq!(lobby.numbers(), (1, 0));
    }

    #[tokio::test]
    async fn a_larger_route_lets_in_and_a_smaller_one_sends_nobody_away() {
        let (lobby, proxy) = (lobby(1), proxy(9, None));
        let _inside = lobby.enter(&proxy, from(1)).unwrap();
        let mut more: Vec<_> = (0..3).map(|_| lobby.enter(&proxy, from(1)).unwrap()).collect();
        lobby.resize(3);
        assert_eq!(lobby.numbers(), (3, 1));
        lobby.resize(1);
        assert_eq!(lobby.numbers(), (3, 1));
        drop(more.remove(0));
        assert!(!more[1].wait(SHORT).await, "still above the limit");
    }

    #[test]
    fn a_source_has_its_share_of_places_and_of_the_queue() {
        let (lobby, proxy) = (lobby(1), proxy(2, Some(2)));
        let inside = lobby.enter(&proxy, from(1)).unwrap();
        let queued = lobby.enter(&proxy, from(1)).unwrap();
        assert_eq!(lobby.enter(&proxy, from(1)).unwrap_err(), Refusal::Source);
        let other = lobby.enter(&proxy, from(2)).unwrap();
        assert!(other.is_queued());
        drop(queued);
        assert!(lobby.enter(&proxy, from(1)).is_ok());
        drop((inside, other));
        assert_eq!(lobby.state().sources, HashMap::new());
    }
}
