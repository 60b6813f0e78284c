//! An echo request (RFC 792, RFC 4443).
//!
//! The kernel's ping sockets need no right but a group that `net.ipv4.ping_group_range` names. Where they are not permitted a
//! raw socket is tried, which needs CAP_NET_RAW.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use mainstay_plan::observation::Answer;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};

use crate::{dial, source, trouble};

/// Behind type, code, checksum, identifier and sequence number.
const TOKEN: usize = 16;

pub(super) async fn ask(address: IpAddr) -> Result<Answer, Answer> {
    let socket = open(address).map_err(|error| refused_to_us(error).unwrap_or_else(|| of_ours(error)))?;
    let target = SocketAddr::new(address, 0);
    if let Some(from) = source::here() {
        rustix::net::bind(&socket, &SocketAddr::new(from, 0))
            .map_err(|error| trouble::answer(&format!("asking from {from}"), &error.into()))?;
    }
    let socket = tokio::net::UdpSocket::from_std(UdpSocket::from(socket))
        .map_err(|error| trouble::answer("opening a socket", &error))?;
    socket.connect(target).await.map_err(|error| dial::refusal(target, &error))?;
    let mut token = [0; TOKEN];
    rustix::rand::getrandom(&mut token, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| trouble::answer("drawing a random number", &error.into()))?;
    let failed = |error| trouble::answer(&format!("asking {address}"), &error);
    socket.send(&request(address, token)).await.map_err(failed)?;
    let mut packet = [0; 2048];
    loop {
        let length = socket.recv(&mut packet).await.map_err(failed)?;
        if is_reply(address, packet.get(..length).unwrap_or_default(), token) {
            return Ok(Answer::Good);
        }
    }
}

/// Why we may not ask, with the way out.
pub(crate) fn permitted(address: IpAddr) -> Result<(), String> {
    match open(address) {
        Ok(_closed_by_dropping) => Ok(()),
        Err(error) => {
            let answer = refused_to_us(error).unwrap_or_else(|| of_ours(error));
            Err(answer.detail().unwrap_or_default().to_owned())
        }
    }
}

fn open(address: IpAddr) -> Result<OwnedFd, Errno> {
    let (family, protocol): (_, Protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(protocol)) {
        Err(Errno::ACCESS | Errno::PERM) => rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol)),
        opened => opened,
    }
}

fn refused_to_us(error: Errno) -> Option<Answer> {
    let text = "ICMP is not permitted here: let `sysctl net.ipv4.ping_group_range` name a group of the agent, or give \
                it CAP_NET_RAW";
    matches!(error, Errno::ACCESS | Errno::PERM).then(|| Answer::CouldNotAsk(text.to_owned()))
}

fn of_ours(error: Errno) -> Answer {
    trouble::answer("opening a socket", &error.into())
}

/// An echo request. Of a ping socket the kernel sets identifier and checksum; ICMPv6's checksum it always sets.
fn request(address: IpAddr, token: [u8; TOKEN]) -> Vec<u8> {
    let kind = match address {
        IpAddr::V4(_) => 8,
        IpAddr::V6(_) => 128,
    };
    let mut packet = vec![kind, 0, 0, 0, token[0], token[1], 0, 1];
    packet.extend_from_slice(&token);
    if address.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|it| u32::from(it[0]) << 8 | it.get(1).map_or(0, |it| u32::from(*it)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether it is the reply to our own request. A raw socket gets every ICMP packet of that machine, over IPv4 with the head of
/// IP before it.
fn is_reply(address: IpAddr, packet: &[u8], token: [u8; TOKEN]) -> bool {
    let (kind, packet) = match address {
        IpAddr::V4(_) if packet.first().is_some_and(|it| it >> 4 == 4) => {
            let head = usize::from(packet[0] & 0x0f) * 4;
            (0, packet.get(head..).unwrap_or_default())
        }
        IpAddr::V4(_) => (0, packet),
        IpAddr::V6(_) => (129, packet),
    };
    packet.first() == Some(&kind) && packet.get(8..) == Some(&token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [u8; TOKEN] = [7; TOKEN];

    #[test]
    fn a_request_is_no_reply_and_nobody_elses_reply_is_ours() {
        let v4: IpAddr = [127, 0, 0, 1].into();
        let mut packet = request(v4, TOKENS);
        assert_eq!(checksum(&packet), 0, "a packet with its checksum sums up to nothing");
        assert!(!is_reply(v4, &packet, TOKENS), "over the loopback our own request comes back, too");
        packet[0] = 0;
        assert!(is_reply(v4, &packet, TOKENS) && !is_reply(v4, &packet, [8; TOKEN]));
        let mut with_head = vec![0x46; 24];
        with_head.extend_from_slice(&packet);
        assert!(is_reply(v4, &with_head, TOKENS));
        for short in [&[][..], &[0x4f], &[0, 0, 0]] {
            assert!(!is_reply(v4, short, TOKENS));
        }
    }

    #[test]
    fn who_may_not_ask_is_told_the_way_out() {
        let answer = refused_to_us(Errno::ACCESS).expect("it is about rights");
        assert!(matches!(&answer, Answer::CouldNotAsk(text) if text.contains("ping_group_range")), "{answer:?}");
        assert_eq!(refused_to_us(Errno::MFILE), None);
    }
}
