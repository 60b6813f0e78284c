//! Reaching an agent: which address, and when again.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::message::{FromAgent, FromHost};
use mainstay_wire::stream::{Incoming, Outgoing, tune};
use mainstay_wire::trust::{Identity, Refusal};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::links::words;

/// How long reaching one agent may take.
pub(super) const REACHES_WITHIN: Duration = Duration::from_secs(10);

/// The longest pause between two attempts. Each pause is drawn anew from nothing to the longest that it may be, so that a
/// thousand hosts do not come at once when their agent is back.
const PAUSE_AT_MOST: Duration = Duration::from_secs(2);

/// How often a host looks whether its certificate is to be renewed.
const RENEWS_EVERY: Duration = Duration::from_secs(60);

/// The kernel gives up a connection whose other end acknowledges nothing for so long.
const GIVES_UP_AFTER: Duration = Duration::from_secs(6);

/// The longest first pause.
const PAUSE_AT_FIRST: Duration = Duration::from_millis(200);

/// Both ends of a connection to an agent.
pub type Ends = (Outgoing<FromHost>, Incoming<FromAgent>);

/// How an agent is reached, by its address.
pub type Dial = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Ends, String>> + Send>> + Send + Sync>;

/// Reaches agents over TCP, and believes those of this identity's own site.
pub fn over_tls(identity: Identity) -> Dial {
    Arc::new(move |address| {
        let identity = identity.clone();
        Box::pin(async move {
            let socket = TcpStream::connect(address.as_str()).await.map_err(|it| it.to_string())?;
            tune(&socket, GIVES_UP_AFTER).map_err(|it| it.to_string())?;
            let (stream, _agent) = match identity.connect(socket).await {
                Ok(connected) => connected,
                Err(refusal) => return Err(identity.explain(refusal, &address).await.to_string()),
            };
            // TLS 1.3 tells a client with the first bytes that it was refused.
            match mainstay_wire::stream::dial(stream).await {
                Ok(ends) => Ok(ends),
                Err(error) => Err(match Refusal::within(&error) {
                    Some(refusal) => identity.explain(refusal, &address).await.to_string(),
                    None => words(&error),
                }),
            }
        })
    })
}

/// Gets the next certificate when it is time, from the first of these agents that gives one.
pub async fn renew_in_time(identity: Identity, agents: Vec<String>) -> Infallible {
    loop {
        sleep(RENEWS_EVERY).await;
        if !identity.is_due() {
            continue;
        }
        for address in &agents {
            match identity.renew(address).await {
                Ok(()) => {
                    tracing::info!(until = %identity.me().until, "the host has a new certificate");
                    break;
                }
                Err(error) => tracing::warn!(address, error = words(&error), "the host's certificate can't be renewed"),
            }
        }
    }
}

/// Where the next attempt goes, and how many have failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attempts {
    pub(super) address: usize,
    pub(super) failed: u32,
}

/// An agent that was reached: where, and after which attempts.
pub(super) type Reached = (String, Ends, Attempts);

/// Tries until an agent is reached; says which.
pub(super) async fn reach(dial: Dial, agents: Vec<String>, mut attempts: Attempts, reached: mpsc::Sender<Reached>) {
    let mut told = None;
    while !reached.is_closed() {
        sleep(pause(attempts.failed)).await;
        let address = agents[attempts.address % agents.len()].clone();
        let ends = timeout(REACHES_WITHIN, dial(address.clone())).await;
        match ends.unwrap_or_else(|_| Err("it took too long".to_owned())) {
            Ok(ends) => {
                let _ = reached.send((address, ends, attempts)).await;
                return;
            }
            Err(why) => {
                let why = format!("agent {address} can't be reached: {why}");
                if told.as_ref() != Some(&why) {
                    tracing::warn!("{why}");
                    told = Some(why);
                }
                attempts = Attempts { address: attempts.address + 1, failed: attempts.failed.saturating_add(1) };
            }
        }
    }
}

/// How long to wait after so many failures.
pub(super) fn pause(failed: u32) -> Duration {
    let longest = PAUSE_AT_FIRST.saturating_mul(1 << failed.min(10)).min(PAUSE_AT_MOST);
    let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(RandomState::new().hash_one(failed) % longest_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_and_never_long() {
        let late: Vec<Duration> = (0..200).map(|_| pause(30)).collect();
        assert!(late.iter().all(|it| *it < PAUSE_AT_MOST));
        let early = late.iter().filter(|it| **it < PAUSE_AT_MOST / 2).count();
        assert!((50..150).contains(&early), "{early} of 200 in the first half");
        assert!((0..200).all(|_| pause(0) < PAUSE_AT_FIRST));
    }
}
