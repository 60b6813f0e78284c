//! Response rate limiting: what one client network gets over UDP, where senders can be forged. Off unless the table has it.
//!
//! Each network has a bucket that fills with the limit's answers a second and holds those of one second. The buckets are in a
//! table of fixed size, and a newcomer takes over a place with what its owner has left in it: who floods from many forged
//! networks gets no fresh buckets by that, and who is crowded out meanwhile still comes through over TCP.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use mainstay_plan::route::RateLimit;
use mainstay_plan::routing::RoutingTable;

use crate::clock::boot_ms;

/// Places of the table; 24 bytes each.
const PLACES: usize = 1 << 16;
/// Places that one network may be in.
const WAYS: usize = 4;
/// An answer costs this much of a bucket, so that a part of one is a whole number.
const ANSWER: u64 = 1000;

/// What to do with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer,
    /// Say that the answer is too long for UDP.
    Truncate,
    Drop,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Never the one of a network: 0 is a free place.
    network: u64,
    filled_ms: u64,
    /// In [`ANSWER`]s of a thousandth.
    left: u32,
    /// Questions over the limit.
    over: u32,
}

/// The buckets of one socket.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    /// Empty until there is a limit.
    buckets: Vec<Bucket>,
    hasher: RandomState,
}

impl Limiter {
    /// Judges a question that comes now.
    pub(crate) fn judge(&mut self, table: &RoutingTable, client: IpAddr) -> Verdict {
        let Some(limit) = &table.dns_rate_limit else {
            self.buckets = Vec::new();
            return Verdict::Answer;
        };
        let client = client.to_canonical();
        let is_exempt = limit.exempt.iter().any(|it| it.contains(&client));
        if is_exempt || table.secondaries.iter().any(|it| it.ip() == client) {
            return Verdict::Answer;
        }
        self.judge_at(limit, client, boot_ms())
    }

    fn judge_at(&mut self, limit: &RateLimit, client: IpAddr, now_ms: u64) -> Verdict {
        if self.buckets.is_empty() {
            self.buckets = vec![Bucket::default(); PLACES];
        }
        let full = u64::from(limit.answers) * ANSWER;
        let bucket = self.bucket(network(client), now_ms, full);
        let filled = now_ms.saturating_sub(bucket.filled_ms).saturating_mul(u64::from(limit.answers));
        let left = u64::from(bucket.left).saturating_add(filled).min(full);
        bucket.filled_ms = now_ms;
        if left >= ANSWER {
            bucket.left = u32::try_from(left - ANSWER).unwrap_or(u32::MAX);
            return Verdict::Answer;
        }
        bucket.left = u32::try_from(left).unwrap_or(u32::MAX);
        bucket.over = bucket.over.wrapping_add(1);
        if limit.slip > 0 && bucket.over.is_multiple_of(limit.slip) { Verdict::Truncate } else { Verdict::Drop }
    }

    /// The bucket of a network: its own, a free one that is full, or the longest unused of those where it may be.
    fn bucket(&mut self, network: u64, now_ms: u64, full: u64) -> &mut Bucket {
        let hash = usize::try_from(self.hasher.hash_one(network) & 0xffff_ffff).unwrap_or(0);
        let set = hash % (PLACES / WAYS) * WAYS;
        let ways = &mut self.buckets[set..set + WAYS];
        let own = ways.iter().position(|it| it.network == network);
        let place = own.or_else(|| ways.iter().position(|it| it.network == 0));
        let oldest = || (0..WAYS).min_by_key(|it| ways[*it].filled_ms).unwrap_or(0);
        let place = place.unwrap_or_else(oldest);
        let bucket = &mut ways[place];
        if bucket.network == 0 {
            *bucket = Bucket { network, filled_ms: now_ms, left: u32::try_from(full).unwrap_or(u32::MAX), over: 0 };
        }
        bucket.network = network;
        bucket
    }
}

/// The network that is counted as one client: an IPv4 /24, an IPv6 /56. Never 0.
fn network(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(ip) => (1 << 63) | u64::from(u32::from(ip) >> 8),
        // The first bit tells them apart; of global addresses it is never set.
        IpAddr::V6(ip) => (1 << 62) | (u64::try_from(u128::from(ip) >> 72).unwrap_or(u64::MAX) & ((1 << 56) - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(answers: u32, slip: u32) -> RateLimit {
        RateLimit { answers, slip, exempt: Vec::new() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_gets_its_answers_a_second_and_every_second_one_over_it_a_truncated_one() {
        let (mut limiter, limit) = (Limiter::default(), limit(10, 2));
        let mut ask = |client: &str, now_ms| limiter.judge_at(&limit, ip(client), now_ms);
        for nth in 0..10 {
            assert_eq!(ask(&format!("192.0.2.{nth}"), 5000), Verdict::Answer);
        }
        assert_eq!(ask("192.0.2.77", 5000), Verdict::Drop, "its neighbours have had them all");
        assert_eq!(ask("192.0.2.77", 5000), Verdict::Truncate);
        assert_eq!(ask("192.0.3.1", 5000), Verdict::Answer, "another network");
        assert_eq!(ask("2001:db8::1", 5000), Verdict::Answer);
        assert_eq!(ask("192.0.2.77", 5099), Verdict::Drop);
        assert_eq!(ask("192.0.2.77", 5100), Verdict::Answer, "a tenth of a second is one answer");
        for _ in 0..10 {
            assert_eq!(ask("192.0.2.77", 60_000), Verdict::Answer, "a second's, however long it was still");
        }
        assert_ne!(ask("192.0.2.77", 60_000), Verdict::Answer);
    }

    #[test]
    fn slip_says_how_many_are_truncated() {
        for (slip, expected) in [(0, 0), (1, 30), (3, 10)] {
            let (mut limiter, limit) = (Limiter::default(), limit(1, slip));
            assert_eq!(limiter.judge_at(&limit, ip("10.0.0.1"), 0), Verdict::Answer);
            let verdicts: Vec<_> = (0..30).map(|_| limiter.judge_at(&limit, ip("10.0.0.1"), 0)).collect();
            assert_eq!(verdicts.iter().filter(|it| **it == Verdict::Truncate).count(), expected);
        }
    }

    #[test]
    fn forged_networks_without_end_take_no_more_room_and_get_no_more_answers_than_there_are_places() {
        let (mut limiter, limit) = (Limiter::default(), limit(5, 0));
        let flood = (0..1_000_000u32).filter(|it| {
            let client = IpAddr::from((it << 8).to_be_bytes());
            limiter.judge_at(&limit, client, 7) == Verdict::Answer
        });
        let answered = flood.count();
        assert_eq!(limiter.buckets.len(), PLACES);
        assert!(answered <= PLACES * 5, "{answered}");
        assert!(answered >= PLACES, "{answered}");
    }

    #[test]
    fn without_a_limit_there_is_none_and_secondaries_have_none() {
        let mut limiter = Limiter::default();
        let mut table = RoutingTable::empty("here");
        let mut answered = |table: &RoutingTable, client| {
            (0..100).filter(|_| limiter.judge(table, ip(client)) == Verdict::Answer).count()
        };
        assert_eq!(answered(&table, "10.0.0.1"), 100);
        table.dns_rate_limit = Some(RateLimit { answers: 1, slip: 2, exempt: vec!["10.1.0.0/16".parse().unwrap()] });
        table.secondaries = vec!["10.2.0.1:53".parse().unwrap()];
        assert!(answered(&table, "10.0.0.1") < 10);
        assert_eq!(answered(&table, "::ffff:10.1.0.1"), 100);
        assert_eq!(answered(&table, "10.2.0.1"), 100);
    }
}
