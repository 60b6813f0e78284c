//! Carrying the bytes of one connection, until one of its ends, the table or silence ends it.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mainstay_plan::routing::ProxyEntry;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::live::{Counts, Live, Order, Permit};
use crate::stream::{Pipe, Reader, Stream, Writer};

/// Bytes held for each direction of a connection.
const BUFFER_BYTES: usize = 16 << 10;
/// So many full buffers in a row are a stream, and so many small pieces are none any more.
const STREAMS_AFTER: u32 = 8;

/// How long a connection may be silent; `None`: for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    whole: Option<Duration>,
    /// After one side has ended.
    half_open: Option<Duration>,
}

impl Silence {
    pub(crate) fn new(proxy: &ProxyEntry) -> Silence {
        let whole = proxy.idle_timeout_ms.map(Duration::from_millis);
        let half_open = proxy.half_open_timeout_ms.map(Duration::from_millis);
        Silence { whole, half_open: half_open.into_iter().chain(whole).min() }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The target broke it off.
    ByReset,
    Otherwise,
}

/// Carries bytes both ways, to the server `first` before all, until an end, an order or silence. Both sockets are closed before the permit is given back.
pub(crate) async fn forward(
    mut permit: Permit,
    mut client: Stream,
    mut server: Stream,
    first: Vec<u8>,
    silence: Silence,
    counts: &Counts,
) -> Ended {
    for stream in [&client, &server] {
        stream.hurry();
        if silence.whole.is_none() {
            stream.keep_alive();
        }
    }
    let activity = Activity::new();
    let server_reset = AtomicBool::new(false);
    let live = Arc::clone(permit.live());
    let in_order = {
        let (activity, server_reset) = (&activity, &server_reset);
        let ((client_says, to_client), (server_says, to_server)) = (client.split(), server.split());
        let way = |from, to, is_up, bytes| Way { from, to, is_up, activity, server_reset, bytes };
        let mut up = way(client_says, to_server, true, &counts.bytes_in);
        let mut down = way(server_says, to_client, false, &counts.bytes_out);
        let copy = async {
            let said = up.to.write_all(&first).await;
            up.note(false, said)?;
            tokio::try_join!(up.carry(&live), down.carry(&live))
        };
        tokio::pin!(copy);
        let quiet = activity.quiet_for(silence);
        tokio::pin!(quiet);
        loop {
            let order = *permit.order.borrow_and_update();
            let deadline = match order {
                Order::Go => None,
                Order::GoUntil(until) => Some(until),
                Order::Cut => break false,
                Order::Close => break true,
            };
            tokio::select! {
                biased;
                changed = permit.order.changed() => if changed.is_err() { break false },
                () = at(deadline) => break false,
                copied = &mut copy => break copied.is_ok(),
                () = &mut quiet => break false,
            }
        }
    };
    if in_order {
        drop((client, server));
    } else {
        // A reset throws away what the kernel still holds for a target that may be fenced.
        server.reset();
        client.reset();
    }
    drop(permit);
    if server_reset.into_inner() { Ended::ByReset } else { Ended::Otherwise }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// When the last byte passed, in either direction, and whether a side has ended.
struct Activity {
    began: Instant,
    last_ms: AtomicU64,
    is_half_open: AtomicBool,
    ended: Notify,
}

impl Activity {
    fn new() -> Activity {
        Activity {
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            is_half_open: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    fn note(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn end(&self) {
        self.is_half_open.store(true, Ordering::Relaxed);
        self.ended.notify_one();
    }

    async fn quiet_for(&self, silence: Silence) {
        if !self.is_half_open.load(Ordering::Relaxed) {
            tokio::select! {
                () = self.quiet_for_all_of(silence.whole) => return,
                () = self.ended.notified() => {}
            }
        }
        self.quiet_for_all_of(silence.half_open).await;
    }

    async fn quiet_for_all_of(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return pending().await };
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let quiet = Duration::from_millis(self.elapsed_ms()).saturating_sub(last);
            match limit.checked_sub(quiet).filter(|left| !left.is_zero()) {
                // The clock above has whole milliseconds: a shorter sleep would spin.
                Some(left) => sleep(left.max(Duration::from_millis(1))).await,
                None => return,
            }
        }
    }
}

/// One direction of a connection.
struct Way<'a> {
    from: Reader<'a>,
    to: Writer<'a>,
    /// To the server.
    is_up: bool,
    activity: &'a Activity,
    /// Whether the server has broken the connection off.
    server_reset: &'a AtomicBool,
    /// Counts what passes.
    bytes: &'a AtomicU64,
}

impl Way<'_> {
    /// Carries bytes until the source has ended, and says so to the other side.
    async fn carry(&mut self, live: &Live) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        // How often in a row as much came as there was room for.
        let mut full = 0;
        let mut splices = true;
        loop {
            let read = self.from.read(&mut buffer).await;
            let read = self.note(true, read)?;
            if read == 0 {
                break;
            }
            self.bytes.fetch_add(read as u64, Ordering::Relaxed);
            let written = self.to.write_all(&buffer[..read]).await;
            self.note(false, written)?;
            full = if read == buffer.len() { full + 1 } else { 0 };
            if full >= STREAMS_AFTER
                && splices
                && let Some(pipe) = Pipe::between(&self.from, &self.to, live)
            {
                full = 0;
                match self.stream(&pipe).await {
                    Ok(Streamed::ToTheEnd) => break,
                    Ok(Streamed::ForAWhile) => {}
                    Ok(Streamed::NotHere) => splices = false,
                    Err(error) => return Err(error),
                }
            }
        }
        self.activity.end();
        self.to.end().await
    }

    /// Lets the kernel move what comes, for as long as much comes at a time. The processor then takes a quarter of the time.
    async fn stream(&self, pipe: &Pipe) -> io::Result<Streamed> {
        let mut small = 0;
        while small < STREAMS_AFTER {
            let read = match self.from.splice_into(pipe).await {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Streamed::NotHere),
                read => self.note(true, read)?,
            };
            if read == 0 {
                return Ok(Streamed::ToTheEnd);
            }
            self.bytes.fetch_add(read as u64, Ordering::Relaxed);
            let mut left = read;
            while left > 0 {
                left -= self.note(false, self.to.splice_out_of(pipe, left).await)?;
            }
            small = if read < BUFFER_BYTES { small + 1 } else { 0 };
        }
        Ok(Streamed::ForAWhile)
    }

    /// Notes that bytes have passed, or that the server has broken the connection off; `of_source`: it was read.
    fn note<T>(&self, of_source: bool, result: io::Result<T>) -> io::Result<T> {
        match &result {
            Ok(_) => self.activity.note(),
            Err(error) => {
                let reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut);
                self.server_reset.fetch_or(reset && of_source != self.is_up, Ordering::Relaxed);
            }
        }
        result
    }
}

/// How a stretch of streaming ended.
enum Streamed {
    ToTheEnd,
    /// Little comes at a time now.
    ForAWhile,
    /// The kernel does not do it for these sockets; nothing is lost.
    NotHere,
}

#[cfg(test)]
mod tests {
    use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::live::Live;
    use crate::live::tests::served;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    /// A permit for a target that a swap fences before anything else happens.
    fn fenced_permit() -> Permit {
        let live = Live::new(served(1, [Serving, Standby]));
        let permit = live.register("r", &live.served().table.routes[0].targets[0]).unwrap();
        live.swap(served(2, [Fenced, Standby]));
        permit
    }

    #[tokio::test]
    async fn a_connection_completed_during_the_fence_carries_no_byte() {
        let (mut client, client_side) = pair().await;
        let (server_side, mut server) = pair().await;
        client.write_all(b"insert").await.unwrap();
        let (client_side, server_side) = (Stream::Tcp(client_side), Stream::Tcp(server_side));
        forward(fenced_permit(), client_side, server_side, b"from".to_vec(), Silence::default(), &Counts::default())
            .await;
        let mut bytes = Vec::new();
        let ended = server.read_to_end(&mut bytes).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(bytes, b"");
    }
}
