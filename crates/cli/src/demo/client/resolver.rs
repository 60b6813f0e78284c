//! A client's stub resolver: asks one name server over UDP and keeps the answer for its TTL.
//!
//! It is well behaved, not clever: no negative caching, no stale answers, no second server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time;

use crate::demo::http::Failure;

/// How long one question waits for its answer.
const TIMEOUT: Duration = Duration::from_millis(300);

/// How often a question is asked; each time with a new id, from a new port.
const TRIES: usize = 3;

/// Answers without EDNS have at most 512 bytes (RFC 1035 §4.2.1).
const MAX_DATAGRAM: usize = 512;

/// Resolves one name through one server.
pub(crate) struct Resolver {
    server: SocketAddr,
    name: Name,
    cached: Mutex<Option<Cached>>,
}

#[derive(Clone, Copy)]
struct Cached {
    address: IpAddr,
    asked_at: Instant,
    ttl: Duration,
}

impl Cached {
    /// Counted from the question, so that a slow answer isn't kept longer than its server meant.
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked_at) < self.ttl
    }
}

impl Resolver {
    pub(crate) fn new(server: SocketAddr, name: &str) -> anyhow::Result<Resolver> {
        let mut name = Name::from_ascii(name)?;
        name.set_fqdn(true);
        Ok(Resolver { server, name, cached: Mutex::new(None) })
    }

    /// The address of the name, from the cache while it is fresh. An answer without an address is a failure, and not kept.
    pub(crate) async fn resolve(&self) -> Result<IpAddr, Failure> {
        if let Some(address) = self.fresh(Instant::now()) {
            return Ok(address);
        }
        let mut failure = Failure::NoAddress;
        for _ in 0..TRIES {
            match time::timeout(TIMEOUT, self.ask()).await.unwrap_or(Err(Failure::TimedOut)) {
                Ok(answer) => {
                    self.keep(answer);
                    return Ok(answer.address);
                }
                // It was answered: asking again would get the same.
                Err(Failure::NoAddress) => return Err(Failure::NoAddress),
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    fn fresh(&self, now: Instant) -> Option<IpAddr> {
        let cached = *self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.filter(|cached| cached.is_fresh(now)).map(|cached| cached.address)
    }

    /// Several requests may ask at a time: the newest question's answer stays.
    fn keep(&self, answer: Cached) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.is_none_or(|kept| kept.asked_at <= answer.asked_at) {
            *cached = Some(answer);
        }
    }

    async fn ask(&self) -> Result<Cached, Failure> {
        let mut id = [0; 2];
        // Random, so that nobody who can't read our packets can answer in the server's place.
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).map_err(|_error| Failure::NoAddress)?;
        let mut question = Message::new(u16::from_ne_bytes(id), MessageType::Query, OpCode::Query);
        question.metadata.recursion_desired = true;
        question.add_query(Query::query(self.name.clone(), RecordType::A));
        let bytes = question.to_vec().map_err(|_too_long| Failure::Garbled)?;

        let asked_at = Instant::now();
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await.map_err(|_error| Failure::NotConnected)?;
        socket.connect(self.server).await.map_err(|_error| Failure::NotConnected)?;
        socket.send(&bytes).await.map_err(|_error| Failure::NotConnected)?;
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            let len = socket.recv(&mut buffer).await.map_err(|_nobody_listens| Failure::NotConnected)?;
            let Ok(answer) = Message::from_vec(&buffer[..len]) else { continue };
            if answers(&answer, &question) {
                return address(&answer, asked_at);
            }
        }
    }
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries
}

/// The first address of an answer.
fn address(answer: &Message, asked_at: Instant) -> Result<Cached, Failure> {
    if answer.metadata.response_code != ResponseCode::NoError || answer.metadata.truncation {
        return Err(Failure::NoAddress);
    }
    let mut records = answer.answers.iter();
    let found = records.find_map(|record| {
        let RData::A(a) = &record.data else { return None };
        Some(Cached { address: a.0.into(), asked_at, ttl: Duration::from_secs(record.ttl.into()) })
    });
    found.ok_or(Failure::NoAddress)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::A;

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    /// A name server that makes its answers with `answer` from the number of the question and the message to fill.
    pub(in super::super) async fn server(
        answer: impl Fn(usize, &mut Message) + Send + 'static,
    ) -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; MAX_DATAGRAM];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.expect("a question");
                let mut reply = Message::from_vec(&buffer[..len]).expect("readable").into_response();
                answer(counted.fetch_add(1, Ordering::SeqCst), &mut reply);
                socket.send_to(&reply.to_vec().expect("bytes"), from).await.expect("sent");
            }
        });
        (address, asked)
    }

    async fn resolver(answer: impl Fn(usize, &mut Message) + Send + 'static) -> (Resolver, Arc<AtomicUsize>) {
        let (address, asked) = server(answer).await;
        (Resolver::new(address, "orders.internal").expect("a name"), asked)
    }

    pub(in super::super) fn add_address(reply: &mut Message, address: Ipv4Addr, ttl: u32) {
        let name = reply.queries[0].name.clone();
        reply.add_answer(Record::from_rdata(name, ttl, RData::A(A(address))));
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_its_ttl() {
        let (resolver, asked) = resolver(|_, reply| add_address(reply, ADDRESS, 60)).await;
        for _ in 0..3 {
            assert_eq!(resolver.resolve().await, Ok(ADDRESS.into()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(resolver.fresh(Instant::now() + Duration::from_secs(61)), None);
    }

    #[tokio::test]
    async fn a_ttl_of_zero_is_asked_anew_each_time() {
        let (resolver, asked) = resolver(|_, reply| add_address(reply, ADDRESS, 0)).await;
        for _ in 0..3 {
            assert_eq!(resolver.resolve().await, Ok(ADDRESS.into()));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn no_address_is_a_failure_and_not_kept() {
        let (resolver, asked) = resolver(|number, reply| {
            if number > 0 {
                add_address(reply, ADDRESS, 60);
            }
        })
        .await;
        assert_eq!(resolver.resolve().await, Err(Failure::NoAddress));
        assert_eq!(resolver.resolve().await, Ok(ADDRESS.into()));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_with_another_id_is_not_taken() {
        let (resolver, asked) = resolver(|number, reply| {
            add_address(reply, ADDRESS, 60);
            if number == 0 {
                reply.metadata.id = reply.metadata.id.wrapping_add(1);
            }
        })
        .await;
        assert_eq!(resolver.resolve().await, Ok(ADDRESS.into()), "the second try's");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_late_answer_to_an_old_question_does_not_replace_a_newer_one() {
        let resolver = Resolver::new((Ipv4Addr::LOCALHOST, 1).into(), "orders.internal.").expect("a name");
        let ttl = Duration::from_secs(60);
        let old = Instant::now();
        let new = old + Duration::from_millis(10);
        resolver.keep(Cached { address: ADDRESS.into(), asked_at: new, ttl });
        resolver.keep(Cached { address: Ipv4Addr::LOCALHOST.into(), asked_at: old, ttl });
        assert_eq!(resolver.fresh(new), Some(ADDRESS.into()));
    }
}
