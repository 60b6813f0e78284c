//! Where a question leaves from: an address of this machine, if whoever asks names one.
//!
//! It stands beside the question while it is asked, so that every connection made for it, by whatever part, leaves from
//! there.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};

tokio::task_local! {
    static FROM: Option<IpAddr>;
}

/// Runs `asking` with its questions leaving from `from`; `None`: the system chooses.
pub(crate) async fn scope<T>(from: Option<IpAddr>, asking: impl Future<Output = T>) -> T {
    FROM.scope(from, asking).await
}

/// The address that questions leave from now.
pub(crate) fn here() -> Option<IpAddr> {
    FROM.try_with(|it| *it).ok().flatten()
}

/// Whether `target` can be reached from there at all: an address of IPv4 reaches none of IPv6.
pub(crate) fn reaches(target: SocketAddr) -> bool {
    here().is_none_or(|it| it.is_ipv4() == target.is_ipv4())
}

/// A socket for a connection to `target`, bound where it is to leave from.
pub(crate) fn tcp(target: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(ip) = here() {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    Ok(socket)
}

/// Connects to `target`, for somebody who speaks first or not at all: the handshake's last packet goes out with the first
/// words. Where there are none it need not go out.
pub(crate) async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = tcp(target)?;
    let _ = rustix::net::sockopt::set_tcp_quickack(&socket, false);
    socket.connect(target).await
}

/// A socket to ask `target` over UDP.
pub(crate) async fn udp(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here().unwrap_or(any), 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}
