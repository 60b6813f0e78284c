//! Who was turned away, as far as it is worth a record: nobody can fill the journal from outside.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::crowd::Origin;
use crate::ration::Ration;

/// In which time that counts.
const WITHIN: Duration = Duration::from_secs(600);

/// How many different ones are reported of one origin.
const OF_ONE: u32 = 8;

/// How many are reported of all.
const OF_ALL: u32 = 64;

/// How many origins are told apart. The others are one crowd.
const ORIGINS: usize = 256;

/// One who was turned away, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    pub(super) who: String,
    pub(super) why: String,
}

/// Those that were reported, and how many were not.
#[derive(Debug)]
pub(super) struct Refusals {
    reported: BTreeMap<Refused, Instant>,
    /// `None`: of whoever came when too many were told apart already.
    by_origin: BTreeMap<Option<Origin>, Ration>,
    of_all: Ration,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { reported: BTreeMap::new(), by_origin: BTreeMap::new(), of_all: Ration::new(OF_ALL, WITHIN) }
    }
}

impl Refusals {
    /// Whether to report that this one, from there, was turned away. The same is reported once in ten minutes; others of one
    /// origin, and all together, up to a bound. Those beyond it are counted.
    pub(super) fn is_worth_it(&mut self, from: IpAddr, refused: &Refused, now: Instant) -> bool {
        self.reported.retain(|_, at| now.saturating_duration_since(*at) < WITHIN);
        if self.reported.contains_key(refused) {
            return false;
        }
        let origin = Some(Origin::of(from));
        let is_known = self.by_origin.contains_key(&origin) || self.by_origin.len() < ORIGINS;
        let of_it = self.by_origin.entry(origin.filter(|_| is_known)).or_insert(Ration::new(OF_ONE, WITHIN));
        // Those of an origin that has had its share take nothing of the others'.
        if !of_it.pass(now) || !self.of_all.pass(now) {
            return false;
        }
        self.reported.insert(refused.clone(), now);
        true
    }

    /// What is to be said of those that were not reported.
    pub(super) fn kept_back(&mut self, now: Instant) -> Vec<Refused> {
        let minutes = WITHIN.as_secs() / 60;
        let say = |who: String, many: u64| {
            let why = format!("{many} more refusals within {minutes} minutes were not recorded one by one");
            Refused { who, why }
        };
        let mut said: Vec<Refused> = Vec::new();
        for (origin, of_it) in &mut self.by_origin {
            let who = || origin.map_or_else(|| "many addresses".to_owned(), |it| it.to_string());
            said.extend(of_it.kept_back(now).map(|many| say(who(), many)));
        }
        said.extend(self.of_all.kept_back(now).map(|many| say("many addresses together".to_owned(), many)));
        self.by_origin.retain(|_, of_it| !of_it.is_over(now));
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(why: &str) -> Refused {
        Refused { who: "10.6.6.6".to_owned(), why: why.to_owned() }
    }

    fn address(nth: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + nth).into()
    }

    #[test]
    fn the_same_one_is_reported_once_in_ten_minutes() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let reported: Vec<bool> = (0..1200)
            .map(|second| refusals.is_worth_it(address(1), &refused("no"), now + Duration::from_secs(second)))
            .collect();
        assert_eq!(reported.iter().filter(|it| **it).count(), 2);
    }

    #[test]
    fn one_address_has_its_share_and_the_others_are_counted() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let of_one = (0..100).filter(|it| refusals.is_worth_it(address(1), &refused(&it.to_string()), now)).count();
        assert_eq!(of_one, 8);
        assert!(refusals.is_worth_it(address(2), &refused("another one"), now));
        assert_eq!(refusals.kept_back(now), []);
        let said = refusals.kept_back(now + WITHIN);
        let why = "92 more refusals within 10 minutes were not recorded one by one".to_owned();
        assert_eq!(said, [Refused { who: "10.0.0.1".to_owned(), why }]);
        assert!(refusals.by_origin.is_empty());
    }

    #[test]
    fn a_thousand_addresses_fill_neither_the_journal_nor_the_memory() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let of_all = (0..1000)
            .filter(|it| refusals.is_worth_it(address(*it), &Refused { who: it.to_string(), ..refused("no") }, now))
            .count();
        assert_eq!(of_all, 64);
        assert!(refusals.by_origin.len() <= ORIGINS + 1, "{}", refusals.by_origin.len());
        let said: u64 = refusals
            .kept_back(now + WITHIN)
            .iter()
            .filter_map(|it| it.why.split(' ').next()?.parse::<u64>().ok())
            .sum();
        assert_eq!(said + 64, 1000, "each is counted once");
    }
}
