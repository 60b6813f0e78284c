//! Host names, as the system's resolver last knew them.
//!
//! A resolver that is dead must not look like a dead component. So names are looked up ahead, what was found is kept, and it
//! goes on being used when nothing newer can be had. Whoever asks waits for a resolver that is well, and hardly ever for one
//! that is not.
//!
//! What a plan's route answers over DNS is never kept here: there the answer is what is asked about.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_plan::probe::Address;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::{ResolvedName, trouble};

/// What was found is looked up again when it is older than that. The resolver keeps it for as long as it may be kept.
const FRESH: Duration = Duration::from_secs(5);
/// After a failure the resolver is left alone for so long.
const AGAIN: Duration = Duration::from_secs(5);
/// Whoever has something older waits no longer than that for something newer.
const GRACE: Duration = Duration::from_millis(200);
/// How many names are looked up at the same time: each takes a thread, for as long as the resolver hangs.
const AT_ONCE: usize = 32;
/// How many of a name's addresses are kept.
const MAX_ADDRESSES: usize = 8;
/// From so many names on, those that nobody asked for lately are forgotten: a redirect can name what no plan names.
const MANY: usize = 4096;
const LATELY: Duration = Duration::from_secs(600);

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up and keeps what it found. Clones share it.
#[derive(Clone)]
pub(crate) struct Names(Arc<Inner>);

struct Inner {
    lookup: Arc<Lookup>,
    threads: Arc<Semaphore>,
    known: Mutex<BTreeMap<String, Name>>,
    /// Told whenever a lookup ends.
    ended: Notify,
}

struct Name {
    addresses: Vec<IpAddr>,
    /// When they were found; `None`: never.
    found: Option<Instant>,
    /// When a lookup began that has not ended.
    looking: Option<Instant>,
    /// When the last one ended, and why it found nothing.
    tried: Option<Instant>,
    trouble: Option<String>,
    /// What was found led nowhere: it may have changed.
    doubted: bool,
    wanted: Instant,
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) addresses: Vec<IpAddr>,
    /// Why nothing newer could be had, if they are old: `as of 312 s ago, since …`.
    pub(crate) outdated: Option<String>,
}

impl Default for Names {
    fn default() -> Names {
        Names::by(Arc::new(by_system))
    }
}

impl Names {
    fn by(lookup: Arc<Lookup>) -> Names {
        let threads = Arc::new(Semaphore::new(AT_ONCE));
        Names(Arc::new(Inner { lookup, threads, known: Mutex::default(), ended: Notify::new() }))
    }

    /// Looks up ahead what is an address by name, and waits for nothing.
    pub(crate) fn prepare(&self, address: &Address) {
        match address {
            Address::Name { host, .. } => {
                let mut known = self.lock();
                let name = known.entry(host.clone()).or_insert_with(Name::unknown);
                self.look_up(host, name);
            }
            Address::Socket(_) | Address::ResolvedBy { .. } => {}
        }
    }

    /// The addresses of a name, at least one. Waits for the first answer as long as the caller lets it.
    ///
    /// # Errors
    /// Why it was never known.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Found, String> {
        let asked = Instant::now();
        loop {
            let mut ended = std::pin::pin!(self.0.ended.notified());
            ended.as_mut().enable();
            let patience = {
                let mut known = self.lock();
                if known.len() >= MANY && !known.contains_key(host) {
                    known.retain(|_, it| it.looking.is_some() || it.wanted.elapsed() < LATELY);
                }
                let name = known.entry(host.to_owned()).or_insert_with(Name::unknown);
                name.wanted = asked;
                match name.judge(host, asked) {
                    Judged::Answer(answer) => return answer,
                    Judged::LookUp(patience) => {
                        self.look_up(host, name);
                        patience
                    }
                }
            };
            match patience {
                None => ended.await,
                Some(patience) => {
                    let left = (asked + patience).saturating_duration_since(Instant::now());
                    if tokio::time::timeout(left, ended).await.is_err() {
                        let known = self.lock();
                        let old = known.get(host).and_then(|it| it.as_of(host));
                        if let Some(old) = old {
                            return Ok(old);
                        }
                    }
                }
            }
        }
    }

    /// What was found of this name leads nowhere: it is looked up again before it is used again.
    pub(crate) fn doubt(&self, host: &str) {
        if let Some(name) = self.lock().get_mut(host) {
            name.doubted = true;
        }
    }

    /// All names that are known or wanted.
    pub(crate) fn all(&self) -> Vec<ResolvedName> {
        let known = self.lock();
        let shown = |(host, it): (&String, &Name)| ResolvedName {
            host: host.clone(),
            addresses: it.addresses.clone(),
            age: it.found.map(|it| it.elapsed()),
            trouble: it.trouble_now(host),
        };
        known.iter().map(shown).collect()
    }

    /// In a task of its own: whoever waits for it may give up, and the next still gets what it found.
    fn look_up(&self, host: &str, name: &mut Name) {
        if name.looking.is_some() {
            return;
        }
        name.looking = Some(Instant::now());
        let (names, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            let permit = names.0.threads.clone().acquire_owned().await;
            let (lookup, asked) = (names.0.lookup.clone(), host.clone());
            let found = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                lookup(&asked)
            });
            let found = found.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
            if let Some(name) = names.lock().get_mut(&host) {
                name.take(&host, found);
            }
            names.0.ended.notify_waiters();
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Name>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Judged {
    Answer(Result<Found, String>),
    /// It is to be looked up, and waited for: so long at most where there is something older.
    LookUp(Option<Duration>),
}

impl Name {
    fn unknown() -> Name {
        Name {
            addresses: Vec::new(),
            found: None,
            looking: None,
            tried: None,
            trouble: None,
            doubted: false,
            wanted: Instant::now(),
        }
    }

    fn judge(&self, host: &str, asked: Instant) -> Judged {
        let tried_since = |at: Instant| self.tried.is_some_and(|it| it >= at);
        let rests = self.trouble.is_some() && self.tried.is_some_and(|it| it.elapsed() < AGAIN);
        let Some(found) = self.found else {
            return match &self.trouble {
                Some(trouble) if rests || tried_since(asked) => {
                    Judged::Answer(Err(format!("{host} was never resolved: {trouble}")))
                }
                Some(_) | None => Judged::LookUp(None),
            };
        };
        let fresh = found.elapsed() < FRESH && !self.doubted;
        if fresh || rests || tried_since(asked) {
            return Judged::Answer(self.as_of(host).ok_or_else(|| format!("{host} was never resolved")));
        }
        let hangs = self.trouble.is_some() || self.looking.is_some_and(|it| it.elapsed() >= GRACE);
        Judged::LookUp(Some(if hangs { Duration::ZERO } else { GRACE }))
    }

    /// What is known, with its age where that is to be said.
    fn as_of(&self, host: &str) -> Option<Found> {
        let found = self.found?;
        let outdated =
            self.trouble_now(host).map(|why| format!("{host} as of {} s ago, since {why}", found.elapsed().as_secs()));
        Some(Found { addresses: self.addresses.clone(), outdated })
    }

    fn trouble_now(&self, host: &str) -> Option<String> {
        let hangs = || self.looking.filter(|it| it.elapsed() >= GRACE);
        let hangs = || hangs().map(|_| format!("the system's resolver does not answer for {host}"));
        self.trouble.clone().or_else(hangs)
    }

    fn take(&mut self, host: &str, found: io::Result<Vec<IpAddr>>) {
        let now = Instant::now();
        self.looking = None;
        self.tried = Some(now);
        self.doubted = false;
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.addresses = addresses;
                self.addresses.truncate(MAX_ADDRESSES);
                self.found = Some(now);
                self.trouble = None;
            }
            Ok(_none) => self.trouble = Some(format!("the system's resolver has no address for {host}")),
            Err(error) => {
                let text = format!("the system's resolver failed for {host}: {}", trouble::describe(&error));
                self.trouble = Some(trouble::clip(&text));
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "runs on a thread of its own, and nobody's timeout waits for it")]
fn by_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for it in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&it.ip()) {
            addresses.push(it.ip());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    type Reply = io::Result<Vec<IpAddr>>;

    /// A resolver that answers what it is given, and hangs until then.
    pub(crate) fn scripted() -> (Names, SyncSender<Reply>, Receiver<String>) {
        let (replies, next) = sync_channel::<Reply>(64);
        let (told, asked) = sync_channel(64);
        let next = Mutex::new(next);
        let lookup = move |host: &str| {
            told.send(host.to_owned()).map_err(io::Error::other)?;
            next.lock().unwrap_or_else(PoisonError::into_inner).recv().map_err(io::Error::other)?
        };
        (Names::by(Arc::new(lookup)), replies, asked)
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn good(last: u8) -> Reply {
        Ok(vec![ip(last)])
    }

    fn failure() -> Reply {
        Err(io::Error::other("temporary failure in name resolution"))
    }

    /// As if so much time had passed since everything that is known of the name.
    pub(crate) fn age(names: &Names, host: &str, by: Duration) {
        let mut known = names.lock();
        let name = known.get_mut(host).expect("it was asked for");
        for at in [&mut name.found, &mut name.tried, &mut name.looking] {
            *at = at.map(|it| it.checked_sub(by).expect("the machine has run for longer"));
        }
    }

    #[tokio::test]
    async fn what_is_looked_up_ahead_is_there_and_is_asked_for_once() {
        let (names, replies, asked) = scripted();
        names.prepare(&Address::Name { host: "db".to_owned(), port: 1 });
        replies.send(good(1)).expect("it listens");
        for _ in 0..3 {
            let found = names.addresses("db").await;
            assert_eq!(found, Ok(Found { addresses: vec![ip(1)], outdated: None }));
        }
        assert_eq!(asked.try_iter().count(), 1);
    }

    #[tokio::test]
    async fn what_was_never_resolved_says_so() {
        let (names, replies, _asked) = scripted();
        replies.send(failure()).expect("it listens");
        let why = names.addresses("db").await.expect_err("nothing is known");
        let expected =
            "db was never resolved: the system's resolver failed for db: temporary failure in name resolution";
        assert_eq!(why, expected);
        assert_eq!(names.addresses("db").await, Err(why), "the resolver is left alone for a while");
    }

    #[tokio::test]
    async fn a_resolver_that_fails_or_hangs_leaves_the_last_good_addresses() {
        let (names, replies, asked) = scripted();
        replies.send(good(1)).expect("it listens");
        names.addresses("db").await.expect("it is resolved");

        age(&names, "db", Duration::from_secs(60));
        replies.send(failure()).expect("it listens");
        let found = names.addresses("db").await.expect("the last good ones");
        assert_eq!(found.addresses, [ip(1)]);
        let outdated = found.outdated.expect("it is said");
        assert!(outdated.starts_with("db as of 60 s ago, since the system's resolver failed for db"), "{outdated}");

        // Now it hangs, and nobody waits for it any more.
        age(&names, "db", Duration::from_secs(60));
        assert_eq!(names.addresses("db").await.expect("the last good ones").addresses, [ip(1)]);
        age(&names, "db", Duration::from_secs(60));
        assert_eq!(names.addresses("db").await.expect("the last good ones").addresses, [ip(1)]);
        let all = names.all();
        assert!(all[0].age >= Some(Duration::from_secs(180)) && all[0].trouble.is_some(), "{all:?}");

        replies.send(good(2)).expect("it listens");
        while names.all()[0].addresses != [ip(2)] {
            tokio::task::yield_now().await;
        }
        assert_eq!(names.addresses("db").await, Ok(Found { addresses: vec![ip(2)], outdated: None }));
        assert_eq!(asked.try_iter().count(), 3);
    }

    #[tokio::test]
    async fn a_name_that_has_moved_is_found_with_the_next_question() {
        let (names, replies, _asked) = scripted();
        replies.send(good(1)).expect("it listens");
        names.addresses("db").await.expect("it is resolved");
        names.doubt("db");
        replies.send(good(2)).expect("it listens");
        assert_eq!(names.addresses("db").await.map(|it| it.addresses), Ok(vec![ip(2)]));
    }
}
