//! What a client says before it is known where it goes: for whom it comes (PROXY protocol: haproxy.org,
//! `proxy-protocol.txt`), and which server it asks for (TLS). What was read of its own words is kept for the target.
//!
//! The only file that knows the library for the PROXY protocol.

#[cfg(test)]
mod fuzz;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mainstay_plan::route::ProxyProtocol;
use mainstay_plan::routing::ProxyEntry;
use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::hello::{Heard, Hello, Listener};
use crate::live::Door;
use crate::stream::Stream;

/// Longer than any header that says no more than addresses and what TLS said.
const HEADER_MAX_BYTES: usize = 4096;

const FIRST_BYTES: usize = 2048;

/// Who has come, and what was read of what he says.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// From where and to where; `None` where nobody wants to know.
    ends: Option<ProxiedAddress>,
    /// Which server it asks for, where names decide.
    pub(crate) hello: Hello,
    /// Bytes behind the header, which are the target's.
    first: Vec<u8>,
}

impl Visitor {
    /// Hears what a client must say at this door.
    ///
    /// # Errors
    ///
    /// The client is gone, or `InvalidData`: what it sends is no header; `TimedOut`: it does not say it in time.
    pub(crate) async fn meet(door: &Door, client: &mut Stream, peer: Option<SocketAddr>) -> io::Result<Visitor> {
        let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let source = peer.map(plain);
        let mut visitor = Visitor::default();
        if door.tells_ends
            && let Some((source, local)) = source.zip(client.local_address()?)
        {
            visitor.ends = Some(ProxiedAddress::stream(source, plain(local)));
        }
        let is_proxy = source.is_some_and(|source| door.proxies.iter().any(|it| it.contains(&source.ip())));
        if !is_proxy && !door.hears_names() {
            return Ok(visitor);
        }
        let heard = async {
            if is_proxy {
                visitor.read_header(client).await?;
            }
            if door.hears_names() {
                visitor.read_hello(client).await?;
            }
            Ok(visitor)
        };
        timeout(Duration::from_millis(door.hello_timeout_ms), heard).await?
    }

    async fn read_header(&mut self, client: &mut Stream) -> io::Result<()> {
        loop {
            self.read(client).await?;
            match header(&self.first) {
                Header::More => {}
                Header::Said { ends, length } => {
                    // Without an address it is the other proxy itself that asks.
                    self.ends = ends.or(self.ends.take());
                    self.first.drain(..length);
                    return Ok(());
                }
                Header::None => return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")),
            }
        }
    }

    async fn read_hello(&mut self, client: &mut Stream) -> io::Result<()> {
        let mut listener = Listener::new();
        let mut heard = 0;
        loop {
            if let Heard::Hello(hello) = listener.hear(&self.first[heard..]) {
                self.hello = hello;
                return Ok(());
            }
            heard = self.first.len();
            self.read(client).await?;
        }
    }

    async fn read(&mut self, client: &mut Stream) -> io::Result<()> {
        // Room for what most clients say, at once.
        self.first.reserve(FIRST_BYTES);
        match client.read_buf(&mut self.first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// From where the client comes, as far as limits go: whoever is given IPv6 addresses is given a network of 64 bits.
    /// All clients of a UNIX socket are one source.
    pub(crate) fn source(&self, peer: Option<SocketAddr>) -> IpAddr {
        let source = self.ends.as_ref().map(|it| it.source).or(peer);
        match source.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |it| it.ip().to_canonical()) {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
            ip @ IpAddr::V4(_) => ip,
        }
    }

    /// How many of the client's own bytes were read already.
    pub(crate) fn heard(&self) -> u64 {
        self.first.len() as u64
    }

    /// What the target gets before anything else that the client says.
    pub(crate) fn introduction(&self, proxy: &ProxyEntry) -> Vec<u8> {
        let Some(version) = proxy.proxy_protocol_to else { return self.first.clone() };
        // Addresses of two families can't stand in one header; then it says that nothing is known.
        let ends = self.ends.clone().filter(|it| it.source.is_ipv4() == it.destination.is_ipv4());
        let header = ends.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
        let mut bytes = Vec::new();
        let written = match version {
            ProxyProtocol::V1 => header.encode_v1(&mut bytes),
            ProxyProtocol::V2 => header.encode_v2(&mut bytes),
        };
        debug_assert!(written.is_ok(), "two addresses of one family fit into every header");
        bytes.extend_from_slice(&self.first);
        bytes
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq)]
enum Header {
    /// The beginning of a header, or nothing yet.
    More,
    /// A header of so many bytes.
    Said { ends: Option<ProxiedAddress>, length: usize },
    /// No header.
    None,
}

fn header(bytes: &[u8]) -> Header {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) => Header::Said { ends: header.proxied_address().cloned(), length },
        Err(Error::BufferTooShort) if bytes.len() < HEADER_MAX_BYTES => Header::More,
        Err(_) => Header::None,
    }
}
