//! Finding and connecting to whom a probe or a webhook asks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, DnsRecord};
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::gates::Gates;
use crate::so_far::SoFar;
use crate::{dns, source, trouble};

/// How many of a name's addresses are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects to `address` by `deadline`. The addresses of a name are tried in turn, each with its share of the time, so
/// that one that is silent leaves time for the next. Notes in `so_far` what a timeout would mean.
pub(crate) async fn connect(
    gates: &Gates,
    address: &Address,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<TcpStream, Answer> {
    let mut addresses = resolve(gates, address, so_far).await?;
    if addresses.iter().any(|it| source::reaches(*it)) {
        addresses.retain(|it| source::reaches(*it));
    }
    so_far.set(Answer::TimedOut);
    let mut worst = Answer::TimedOut;
    for (tried, target) in addresses.iter().enumerate() {
        let share = share_of(deadline, addresses.len() - tried);
        let answer = match tokio::time::timeout(share, source::connect(*target)).await {
            Ok(Ok(stream)) => {
                // A request is one small write: waiting for more to send would only delay it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => refusal(*target, &error),
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
    gates: &Gates,
    address: &Address,
    so_far: &SoFar<Answer>,
) -> Result<Vec<SocketAddr>, Answer> {
    match address {
        Address::Socket(address) => Ok(vec![*address]),
        Address::Name { host, port } => resolve_by_system(gates, host, *port, so_far).await,
        Address::ResolvedBy { server, name, port } => {
            so_far.set(Answer::TimedOut);
            let mut addresses = dns::addresses(*server, name, DnsRecord::A).await?;
            if addresses.is_empty() {
                addresses = dns::addresses(*server, name, DnsRecord::Aaaa).await?;
            }
            if addresses.is_empty() {
                return Err(Answer::Wrong(trouble::clip(&format!("{server} has no address for {name}"))));
            }
            Ok(addresses.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, *port)).collect())
        }
    }
}

/// Asks the system's resolver. All its failures are ours, a name that it doesn't know included: they say nothing about
/// the component.
async fn resolve_by_system(
    gates: &Gates,
    host: &str,
    port: u16,
    so_far: &SoFar<Answer>,
) -> Result<Vec<SocketAddr>, Answer> {
    so_far.set(Answer::CouldNotAsk(trouble::clip(&format!("the system's resolver did not answer for {host}"))));
    let name = host.to_owned();
    #[expect(
        clippy::disallowed_methods,
        reason = "runs on a thread of its own, and the probe's timeout does not wait for it"
    )]
    let lookup = move || (name.as_str(), port).to_socket_addrs().map(|found| found.take(MAX_ADDRESSES).collect());
    let found: io::Result<Vec<SocketAddr>> = gates.run(format!("resolve {host}"), lookup).await;
    match found {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_none) => {
            Err(Answer::CouldNotAsk(trouble::clip(&format!("the system's resolver has no address for {host}"))))
        }
        Err(error) => Err(Answer::CouldNotAsk(trouble::clip(&format!(
            "the system's resolver failed for {host}: {}",
            trouble::describe(&error)
        )))),
    }
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
