//! The sockets under [`crate::dns`]: bounded, and never waiting for a slow client while others ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_web::{Trouble, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::dns::{Transport, answer, truncated};
use crate::dns_rate::{Limiter, Verdict};
use crate::listeners::reset;
use crate::live::Live;

/// Datagrams answered before others on the same thread get their turn.
const UDP_BATCH: usize = 64;
/// The largest question that is read; longer ones are cut and then malformed.
const UDP_READ_BYTES: usize = 4096;
const TCP_CONNECTIONS: usize = 256;
/// For one message, read or written (RFC 7766 asks for seconds).
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// After an error on the UDP socket; most are reports about one client's address and mean nothing.
const UDP_PAUSE: Duration = Duration::from_millis(10);

/// Answers on both sockets until it is dropped.
pub(crate) async fn serve(
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
    retires: CancellationToken,
) {
    let answered = async {
        retires.run_until_cancelled(serve_udp(&live, &udp)).await;
    };
    tokio::join!(answered, serve_tcp(&live, &trouble, address, tcp, &retires));
}

async fn serve_udp(live: &Live, socket: &UdpSocket) {
    let mut packet = [0; UDP_READ_BYTES];
    let mut limiter = Limiter::default();
    loop {
        if socket.readable().await.is_err() {
            sleep(UDP_PAUSE).await;
            continue;
        }
        for _ in 0..UDP_BATCH {
            match socket.try_recv_from(&mut packet) {
                Ok((length, client)) => {
                    let reply = match limiter.judge(&live.served().table, client.ip()) {
                        Verdict::Answer => answer(live, &packet[..length], Transport::Udp(client.ip())),
                        Verdict::Truncate => truncated(&packet[..length]),
                        Verdict::Drop => None,
                    };
                    if let Some(reply) = reply {
                        // A full send buffer loses the answer as the network would; the client asks again.
                        let _ = socket.try_send_to(&reply, client);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    sleep(UDP_PAUSE).await;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn serve_tcp(
    live: &Arc<Live>,
    trouble: &Trouble,
    address: SocketAddr,
    listener: TcpListener,
    retires: &CancellationToken,
) {
    let about = format!("dns {address}");
    let slots = Arc::new(Semaphore::new(TCP_CONNECTIONS));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        let Some(client) = retires.run_until_cancelled(accept(&listener, trouble, &about)).await else { break };
        while clients.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            reset(client);
            continue;
        };
        let live = Arc::clone(live);
        clients.spawn(async move {
            serve_client(&live, client).await;
            drop(slot);
        });
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

async fn serve_client(live: &Live, mut client: TcpStream) {
    let Ok(peer) = client.peer_addr() else { return };
    let mut packet = Vec::new();
    loop {
        let read = async {
            let length = client.read_u16().await?;
            packet.resize(usize::from(length), 0);
            client.read_exact(&mut packet).await
        };
        if !matches!(timeout(TCP_TIMEOUT, read).await, Ok(Ok(_))) {
            return;
        }
        let Some(reply) = answer(live, &packet, Transport::Tcp(peer.ip())) else { return };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        if !matches!(timeout(TCP_TIMEOUT, client.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}
