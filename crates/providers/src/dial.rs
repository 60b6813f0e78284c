//! Finding and connecting to whom a probe or a webhook asks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, DnsRecord};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::names::Names;
use crate::so_far::SoFar;
use crate::{dns, source, trouble};

/// How many of a name's addresses are tried, where a name server of the plan's gives them.
const MAX_ADDRESSES: usize = 8;

/// Connects to `address` by `deadline`. The addresses of a name are tried in turn, each with its share of the time, so
/// that one that is silent leaves time for the next. Notes in `so_far` what a timeout would mean.
pub(crate) async fn connect(
    names: &Names,
    address: &Address,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<TcpStream, Answer> {
    if let Address::Socket(target) = address {
        so_far.set(Answer::TimedOut);
        return reach(*target).await.inspect(for_small_writes);
    }
    let Resolved { mut addresses, outdated } = resolved(names, address, so_far).await?;
    if addresses.iter().any(|it| source::reaches(*it)) {
        addresses.retain(|it| source::reaches(*it));
    }
    so_far.set(Answer::TimedOut);
    let doubted = Doubted { names, address };
    let connected = first_of(&addresses, deadline).await;
    match (connected, outdated) {
        (Ok(stream), _) => {
            std::mem::forget(doubted);
            Ok(stream)
        }
        (Err(Answer::Refused(text)), Some(how)) => Err(Answer::Refused(trouble::clip(&format!("{text} ({how})")))),
        (Err(answer), _) => Err(answer),
    }
}

/// A name is doubted when this is dropped, which also happens when the time runs out: its addresses led nowhere.
struct Doubted<'a> {
    names: &'a Names,
    address: &'a Address,
}

impl Drop for Doubted<'_> {
    fn drop(&mut self) {
        match self.address {
            Address::Name { host, .. } => self.names.doubt(host),
            Address::Socket(_) | Address::ResolvedBy { .. } => {}
        }
    }
}

/// Connects to one address, for as long as the caller waits.
pub(crate) async fn reach(target: SocketAddr) -> Result<TcpStream, Answer> {
    source::connect(target).await.map_err(|error| refusal(target, &error))
}

/// A request is one small write: waiting for more to send would only delay it.
fn for_small_writes(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
}

async fn first_of(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Answer> {
    let mut worst = Answer::TimedOut;
    for (tried, target) in addresses.iter().enumerate() {
        let share = share_of(deadline, addresses.len() - tried);
        let answer = match tokio::time::timeout(share, reach(*target)).await {
            Ok(Ok(stream)) => {
                for_small_writes(&stream);
                return Ok(stream);
            }
            Ok(Err(answer)) => answer,
            Err(_elapsed) => Answer::TimedOut,
        };
        // What one address said counts against the other side, even if we could not ask at the next.
        if tried == 0 || !worst.is_failure() {
            worst = answer;
        }
    }
    Err(worst)
}

/// An equal part of the time that is left; all of it for the last.
fn share_of(deadline: Instant, left: usize) -> Duration {
    let left = u32::try_from(left).unwrap_or(u32::MAX).max(1);
    deadline.saturating_duration_since(Instant::now()) / left
}

/// The addresses that `address` stands for, at least one.
pub(crate) async fn resolve(
    names: &Names,
    address: &Address,
    so_far: &SoFar<Answer>,
) -> Result<Vec<SocketAddr>, Answer> {
    resolved(names, address, so_far).await.map(|it| it.addresses)
}

struct Resolved {
    addresses: Vec<SocketAddr>,
    /// How old they are, and why nothing newer could be had.
    outdated: Option<String>,
}

async fn resolved(names: &Names, address: &Address, so_far: &SoFar<Answer>) -> Result<Resolved, Answer> {
    match address {
        Address::Socket(address) => Ok(Resolved { addresses: vec![*address], outdated: None }),
        Address::Name { host, port } => resolve_by_system(names, host, *port, so_far).await,
        Address::ResolvedBy { server, name, port } => {
            so_far.set(Answer::TimedOut);
            let mut addresses = dns::addresses(*server, name, DnsRecord::A).await?;
            if addresses.is_empty() {
                addresses = dns::addresses(*server, name, DnsRecord::Aaaa).await?;
            }
            if addresses.is_empty() {
                return Err(Answer::Wrong(trouble::clip(&format!("{server} has no address for {name}"))));
            }
            let addresses = addresses.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, *port)).collect();
            Ok(Resolved { addresses, outdated: None })
        }
    }
}

/// By the system's resolver, or as it last knew them. All its failures are ours, a name that it doesn't know included: they
/// say nothing about the component.
async fn resolve_by_system(names: &Names, host: &str, port: u16, so_far: &SoFar<Answer>) -> Result<Resolved, Answer> {
    let unanswered = format!("{host} was never resolved: the system's resolver does not answer");
    so_far.set(Answer::CouldNotAsk(trouble::clip(&unanswered)));
    let found = names.addresses(host).await.map_err(|why| Answer::CouldNotAsk(trouble::clip(&why)))?;
    let addresses = found.addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    Ok(Resolved { addresses, outdated: found.outdated })
}

/// What a failed connection says. "Network is unreachable" is ours when our own routing table says so, and theirs when
/// it has a route and a router on the way said so.
pub(crate) fn refusal(target: SocketAddr, error: &io::Error) -> Answer {
    let doing = format!("connecting to {target}");
    if Errno::from_io_error(error) == Some(Errno::NETUNREACH) && has_route(target) {
        return Answer::Refused(trouble::clip(&format!("{doing}: {}", trouble::describe(error))));
    }
    trouble::answer(&doing, error)
}

/// Whether our routing table has a route. Connecting a UDP socket looks the route up and sends nothing.
fn has_route(target: SocketAddr) -> bool {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    UdpSocket::bind(any).and_then(|socket| socket.connect(target)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpListener;

    use super::*;
    use crate::names::tests::{age, scripted};

    fn named(port: u16) -> Address {
        Address::Name { host: "db".to_owned(), port }
    }

    async fn dialled(names: &Names, port: u16) -> Result<TcpStream, Answer> {
        connect(names, &named(port), Instant::now() + Duration::from_secs(5), &SoFar::new(Answer::TimedOut)).await
    }

    #[tokio::test]
    async fn a_dead_resolver_does_not_look_like_a_dead_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let dead = || Err(io::Error::other("temporary failure in name resolution"));
        let (names, replies, _asked) = scripted();

        replies.send(dead()).expect("it listens");
        let never = dialled(&names, port).await.expect_err("there is no address");
        assert!(matches!(&never, Answer::CouldNotAsk(why) if why.contains("was never resolved")), "{never:?}");

        age(&names, "db", Duration::from_secs(60));
        replies.send(Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)])).expect("it listens");
        dialled(&names, port).await.expect("the server lives");

        age(&names, "db", Duration::from_secs(60));
        replies.send(dead()).expect("it listens");
        dialled(&names, port).await.expect("the server lives, where it was");

        drop(listener);
        let refused = dialled(&names, port).await.expect_err("nobody listens");
        assert!(matches!(&refused, Answer::Refused(why) if why.contains("db as of 60 s ago, since")), "{refused:?}");
    }
}
