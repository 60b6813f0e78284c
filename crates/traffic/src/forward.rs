//! Carrying the bytes of one connection, until one of its ends, the table or silence ends it.

use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_plan::routing::ProxyEntry;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::live::{Counts, Order, Permit};
use crate::stream::Stream;

/// Bytes held for each direction of a connection.
const BUFFER_BYTES: usize = 16 << 10;

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
    let (client_reset, server_reset) = (AtomicBool::new(false), AtomicBool::new(false));
    let in_order = {
        let (activity, is_reset) = (&activity, &client_reset);
        let mut from_client = Watched { stream: &mut client, activity, is_reset, bytes: &counts.bytes_in };
        let is_reset = &server_reset;
        let mut from_server = Watched { stream: &mut server, activity, is_reset, bytes: &counts.bytes_out };
        let copy = async {
            from_server.write_all(&first).await?;
            copy_bidirectional_with_sizes(&mut from_client, &mut from_server, BUFFER_BYTES, BUFFER_BYTES).await
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

/// A stream that notes when bytes pass, and when its peer breaks it off.
struct Watched<'a> {
    stream: &'a mut Stream,
    activity: &'a Activity,
    is_reset: &'a AtomicBool,
    /// Counts what is read of it.
    bytes: &'a AtomicU64,
}

impl Watched<'_> {
    fn note<T>(&self, polled: &Poll<io::Result<T>>) {
        match polled {
            Poll::Ready(Ok(_)) => self.activity.note(),
            Poll::Ready(Err(error)) => {
                let reset = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut);
                self.is_reset.fetch_or(reset, Ordering::Relaxed);
            }
            Poll::Pending => {}
        }
    }
}

impl AsyncRead for Watched<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut *this.stream).poll_read(cx, buf);
        this.note(&polled);
        if matches!(polled, Poll::Ready(Ok(()))) {
            match buf.filled().len() - before {
                0 => this.activity.end(),
                bytes => {
                    this.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
            }
        }
        polled
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut *this.stream).poll_write(cx, buf);
        this.note(&polled);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_shutdown(cx)
    }
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
