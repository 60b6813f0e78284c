//! What is probed: two servers, each on as many loopback addresses as there are targets.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::probers::Kind;

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
/// The address of target 0 is one more.
const FIRST: u32 = u32::from_be_bytes([127, 16, 0, 0]);

/// The targets, served by a thread of this process.
pub(crate) struct Targets {
    pub(crate) count: usize,
    ports: [u16; 2],
    arrivals: Arc<Mutex<Arrivals>>,
}

/// What came in since it was last forgotten.
struct Arrivals {
    interval: Duration,
    last: Vec<Option<Instant>>,
    /// How much longer than the interval it was since the same target was asked before, in microseconds.
    late_us: Vec<u32>,
}

impl Targets {
    pub(crate) fn serve(count: usize) -> Targets {
        let arrivals = Arrivals { interval: Duration::ZERO, last: vec![None; count], late_us: Vec::new() };
        let arrivals = Arc::new(Mutex::new(arrivals));
        let (tell, told) = sync_channel(1);
        let noted = arrivals.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async {
                let (tcp, http) = (listener(), listener());
                let port = |it: &TcpListener| it.local_addr().expect("a listener has an address").port();
                tell.send([port(&tcp), port(&http)]).expect("somebody waits for it");
                tokio::join!(accept(tcp, noted.clone(), Kind::Tcp), accept(http, noted, Kind::Http));
            });
        });
        Targets { count, ports: told.recv().expect("the targets are served"), arrivals }
    }

    pub(crate) fn port(&self, kind: Kind) -> u16 {
        match kind {
            Kind::Tcp => self.ports[0],
            Kind::Http => self.ports[1],
        }
    }

    pub(crate) fn address(&self, nth: usize, kind: Kind) -> SocketAddr {
        let nth = u32::try_from(nth).expect("there are not so many targets");
        (Ipv4Addr::from(FIRST + 1 + nth), self.port(kind)).into()
    }

    pub(crate) fn forget(&self, interval: Duration) {
        let mut arrivals = lock(&self.arrivals);
        arrivals.interval = interval;
        arrivals.late_us.clear();
    }

    /// How late each question was that came in since, in microseconds, in order.
    pub(crate) fn seen(&self) -> Vec<u32> {
        let mut late_us = std::mem::take(&mut lock(&self.arrivals).late_us);
        late_us.sort_unstable();
        late_us
    }
}

fn lock(arrivals: &Mutex<Arrivals>) -> MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On every address of the loopback network, and on no other.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind_device(Some(b"lo")).expect("the loopback device");
    socket.bind((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a free port");
    socket.listen(4096).expect("it can be listened to")
}

async fn accept(listener: TcpListener, arrivals: Arc<Mutex<Arrivals>>, kind: Kind) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if let Ok(SocketAddr::V4(at)) = stream.local_addr() {
            note(&mut lock(&arrivals), IpAddr::V4(*at.ip()));
        }
        // Whoever only connects has seen enough, and most requests are there by now: a task for each would cost more than the
        // answer.
        if kind == Kind::Http && !is_answered(&stream) {
            tokio::spawn(async move { drop(answer(stream).await) });
        }
    }
}

fn note(arrivals: &mut Arrivals, at: IpAddr) {
    let IpAddr::V4(ip) = at else { return };
    let now = Instant::now();
    let Some(last) = arrivals.last.get_mut((u32::from(ip) - FIRST - 1) as usize) else { return };
    let before = last.replace(now);
    if let Some(before) = before {
        let late = now.duration_since(before).saturating_sub(arrivals.interval);
        arrivals.late_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
    }
}

fn is_answered(stream: &TcpStream) -> bool {
    let mut request = [0; 1024];
    match stream.try_read(&mut request) {
        Ok(len) => len == 0 || stream.try_write(REPLY).is_ok(),
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? > 0 {
        stream.write_all(REPLY).await?;
    }
    Ok(())
}
