//! Who is at the door. Everybody may come; nobody can stand in the way of the others.
//!
//! Whoever has not begun its stream takes a place. An address has some of the places. When its own, or all, are taken, the
//! one that has stood there longest goes: however many say nothing, one that speaks at once is heard. One that has just come is not
//! sent away for another one, or many hosts behind one address would send each other away.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long one may stand there undisturbed.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// One address, as far as strangers can choose theirs: whoever has an IPv6 address mostly has 2^64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Origin {
        Origin(match address.to_canonical() {
            IpAddr::V6(it) => {
                let [a, b, c, d, ..] = it.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            it @ IpAddr::V4(_) => it,
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(it) => write!(f, "{it}"),
            IpAddr::V6(it) => write!(f, "{it}/64"),
        }
    }
}

/// Those at the door.
#[derive(Debug)]
pub(super) struct Crowd {
    room: usize,
    of_one: usize,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    next: u64,
    all: usize,
    /// By origin and number: since when, and what tells it to go.
    by_origin: BTreeMap<Origin, BTreeMap<u64, (Instant, Arc<Notify>)>>,
}

impl Crowd {
    /// With room for so many, and for so many of one origin.
    pub(super) fn new(room: usize, of_one: usize) -> Arc<Crowd> {
        Arc::new(Crowd { room, of_one, standing: Mutex::default() })
    }

    /// One more has come from there. `None`: there is no room for it, nor will be for a moment.
    pub(super) fn come(self: &Arc<Self>, from: Origin, now: Instant) -> Option<Guest> {
        let mut standing = self.standing();
        let of_it = standing.by_origin.get(&from).map_or(0, BTreeMap::len);
        let crowded = if of_it >= self.of_one {
            Some(from)
        } else if standing.all >= self.room {
            standing.by_origin.iter().max_by_key(|it| it.1.len()).map(|it| *it.0)
        } else {
            None
        };
        if let Some(crowded) = crowded {
            standing.send_away(crowded, now)?;
        }
        let (number, goes) = (standing.next, Arc::new(Notify::new()));
        standing.next += 1;
        standing.all += 1;
        standing.by_origin.entry(from).or_default().insert(number, (now, goes.clone()));
        Some(Guest { crowd: self.clone(), from, number, goes })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Sends away who has stood there longest, of that origin.
    fn send_away(&mut self, of: Origin, now: Instant) -> Option<()> {
        let (number, (since, goes)) = self.by_origin.get(&of)?.first_key_value()?;
        if now.saturating_duration_since(*since) < UNDISTURBED {
            return None;
        }
        goes.notify_one();
        let number = *number;
        self.leave(of, number);
        Some(())
    }

    fn leave(&mut self, from: Origin, number: u64) {
        let Some(of_it) = self.by_origin.get_mut(&from) else { return };
        if of_it.remove(&number).is_some() {
            self.all -= 1;
        }
        if of_it.is_empty() {
            self.by_origin.remove(&from);
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Guest {
    crowd: Arc<Crowd>,
    from: Origin,
    number: u64,
    goes: Arc<Notify>,
}

impl Guest {
    /// Waits until it has to go.
    pub(super) async fn sent_away(&self) {
        self.goes.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.crowd.standing().leave(self.from, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    fn has_to_go(guest: &Guest) -> bool {
        let mut going = std::pin::pin!(guest.sent_away());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        going.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn addresses_that_one_may_have_are_one_origin() {
        assert_eq!(origin("2001:db8:1:2:3::4"), origin("2001:db8:1:2:ffff::"));
        assert_ne!(origin("2001:db8:1:2::4"), origin("2001:db8:1:3::4"));
        assert_eq!(origin("::ffff:10.0.0.1"), origin("10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
        assert_eq!(origin("2001:db8:1:2:3::4").to_string(), "2001:db8:1:2::/64");
        assert_eq!(origin("::ffff:10.0.0.1").to_string(), "10.0.0.1");
    }

    #[test]
    fn the_crowd_of_one_address_takes_no_place_of_another_one() {
        let (crowd, now) = (Crowd::new(8, 4), Instant::now());
        let strangers: Vec<_> = (0..100).filter_map(|_| crowd.come(origin("10.6.6.6"), now)).collect();
        assert_eq!(strangers.len(), 4);
        let host = crowd.come(origin("10.0.0.1"), now);
        assert!(host.is_some() && !strangers.iter().any(has_to_go));
    }

    #[test]
    fn who_has_stood_there_longest_goes_and_nobody_who_has_just_come() {
        let (crowd, begun) = (Crowd::new(8, 2), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        let stranger = origin("10.6.6.6");
        let first = crowd.come(stranger, at(0)).unwrap();
        let second = crowd.come(stranger, at(500)).unwrap();
        assert!(crowd.come(stranger, at(999)).is_none(), "all of them have just come");
        let third = crowd.come(stranger, at(1000)).unwrap();
        assert_eq!([&first, &second, &third].map(has_to_go), [true, false, false]);
        drop(first);
        assert!(crowd.come(stranger, at(1200)).is_none(), "one that went has no second place");
        drop(third);
        assert!(crowd.come(stranger, at(1200)).is_some());
    }

    #[test]
    fn when_all_places_are_taken_somebody_of_the_largest_crowd_goes() {
        let (crowd, begun) = (Crowd::new(6, 4), Instant::now());
        let large: Vec<_> = (0..4).filter_map(|_| crowd.come(origin("2001:db8::1"), begun)).collect();
        let small: Vec<_> = (0..2).filter_map(|_| crowd.come(origin("10.0.0.2"), begun)).collect();
        assert!(crowd.come(origin("10.0.0.1"), begun).is_none());
        let later = begun + Duration::from_secs(1);
        let hosts: Vec<_> = ["10.0.0.1", "10.0.0.3"].iter().filter_map(|it| crowd.come(origin(it), later)).collect();
        assert_eq!(hosts.len(), 2);
        assert_eq!(large.iter().filter(|it| has_to_go(it)).count(), 2);
        assert!(!small.iter().any(has_to_go));
        drop((large, small, hosts));
        let standing = crowd.standing();
        assert_eq!((standing.all, standing.by_origin.len()), (0, 0));
    }
}
