//! The PROXY protocol: for whom a connection comes, said before its first byte. Source: haproxy.org, `proxy-protocol.txt`.
//!
//! The only file that knows the library for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_plan::route::ProxyProtocol;
use mainstay_plan::routing::ProxyEntry;
use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A header comes with the first packet.
const HEADER_WITHIN: Duration = Duration::from_secs(3);
/// Longer than any header that says no more than addresses and what TLS said.
const HEADER_MAX_BYTES: usize = 4096;

/// Who has come, and what was read of what he says.
#[derive(Debug, Default)]
pub(crate) struct Visitor {
    /// From where and to where; `None` where nobody wants to know.
    ends: Option<ProxiedAddress>,
    /// Bytes behind the header, which are the target's.
    first: Vec<u8>,
}

impl Visitor {
    /// Reads the header of a client that must send one.
    ///
    /// # Errors
    ///
    /// The client is gone, or `InvalidData`: what it sends is no header; `TimedOut`: it sends none.
    pub(crate) async fn meet(proxy: &ProxyEntry, client: &mut TcpStream) -> io::Result<Visitor> {
        if proxy.proxy_protocol_from.is_empty() && proxy.proxy_protocol_to.is_none() {
            return Ok(Visitor::default());
        }
        let plain = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
        let (source, destination) = (plain(client.peer_addr()?), plain(client.local_addr()?));
        let visitor = Visitor { ends: Some(ProxiedAddress::stream(source, destination)), first: Vec::new() };
        if !proxy.proxy_protocol_from.iter().any(|it| it.contains(&source.ip())) {
            return Ok(visitor);
        }
        timeout(HEADER_WITHIN, visitor.read(client)).await?
    }

    async fn read(mut self, client: &mut TcpStream) -> io::Result<Visitor> {
        loop {
            if client.read_buf(&mut self.first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
            let length = match ProxyHeader::parse(&self.first, config) {
                Ok((header, length)) => {
                    // Without an address it is the other proxy itself that asks.
                    self.ends = header.proxied_address().cloned().or(self.ends);
                    length
                }
                Err(Error::BufferTooShort) if self.first.len() < HEADER_MAX_BYTES => continue,
                Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")),
            };
            self.first.drain(..length);
            return Ok(self);
        }
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
