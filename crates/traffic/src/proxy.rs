//! The TCP proxy: one listener a route, one task a client.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_plan::routing::{ProxyEntry, TargetEntry};
use rustix::net::sockopt::set_socket_keepalive;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use crate::choice;
use crate::listeners::{accept, reset};
use crate::live::{Counts, Live, Order, Permit, count};
use crate::proxy_protocol::Visitor;
use crate::trouble::Trouble;

/// Bytes held for each direction of a connection.
const BUFFER_BYTES: usize = 16 << 10;
/// How often a client may be sent to the targets of a newer table because its choice was overtaken by a swap.
const MAX_CHOICES: usize = 4;

/// Serves the clients of whichever route has its proxy at `address`, until it is dropped.
pub(crate) async fn serve(live: Arc<Live>, trouble: Arc<Trouble>, address: SocketAddr, listener: TcpListener) {
    let about = format!("proxy {address}");
    let full = format!("connections {address}");
    let mut is_full = false;
    loop {
        let client = accept(&listener, &trouble, &about).await;
        let served = live.served();
        let Some(route) = served.proxied_at(address) else {
            reset(client);
            continue;
        };
        let Some(proxy) = &route.entry.proxy else { continue };
        count(&route.counts.accepted);
        let limit = u64::from(proxy.max_connections);
        let place = live.place().filter(|_| route.counts.open.load(Ordering::Relaxed) < limit);
        let Some(place) = place else {
            count(&route.counts.unserved);
            is_full = true;
            let name = &route.entry.name;
            trouble.note(
                &full,
                format!("route `{name}` has all its {limit} connections, or the process all that it can open: more are closed"),
            );
            reset(client);
            continue;
        };
        if is_full {
            is_full = false;
            trouble.clear(&full);
        }
        let slot = Slot::take(&route.counts, place);
        tokio::spawn(serve_client(Arc::clone(&live), route.entry.name.clone(), slot, client));
    }
}

/// A place among the route's connections, given back when the client is gone.
struct Slot {
    counts: Arc<Counts>,
    _place: OwnedSemaphorePermit,
}

impl Slot {
    fn take(counts: &Arc<Counts>, place: OwnedSemaphorePermit) -> Slot {
        count(&counts.open);
        Slot { counts: Arc::clone(counts), _place: place }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve_client(live: Arc<Live>, route: String, slot: Slot, mut client: TcpStream) {
    let visitor = {
        let served = live.served();
        let proxy = served.named(&route).and_then(|it| it.entry.proxy.as_ref());
        match proxy {
            Some(proxy) => Visitor::meet(proxy, &mut client).await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    };
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(error) => {
            debug!(route, %error, "a client does not say for whom it comes");
            count(&slot.counts.unserved);
            reset(client);
            return;
        }
    };
    for _ in 0..MAX_CHOICES {
        let served = live.served();
        let Some(found) = served.named(&route) else { break };
        let Some(proxy) = &found.entry.proxy else { break };
        let mut overtaken = false;
        for target in choice::open_to_new(&found.entry) {
            let Some(mut permit) = live.register(&route, target) else {
                overtaken = true;
                break;
            };
            match dial(&mut permit, target, proxy).await {
                Dialled::Connected(server) => {
                    let idle = proxy.idle_timeout_ms.map(Duration::from_millis);
                    let first = visitor.introduction(proxy);
                    if forward(permit, client, server, first, idle).await == Ended::ByReset {
                        live.target_failed(&found.counts, &target.instance);
                    }
                    return;
                }
                Dialled::Failed => live.target_failed(&found.counts, &target.instance),
                Dialled::Overtaken => {
                    overtaken = true;
                    break;
                }
            }
        }
        if !overtaken {
            break;
        }
    }
    count(&slot.counts.unserved);
    reset(client);
}

enum Dialled {
    Connected(TcpStream),
    /// The target didn't answer.
    Failed,
    /// A table came in that doesn't send new clients there.
    Overtaken,
}

async fn dial(permit: &mut Permit, target: &TargetEntry, proxy: &ProxyEntry) -> Dialled {
    let limit = Duration::from_millis(proxy.connect_timeout_ms);
    let connected = tokio::select! {
        biased;
        _ = permit.order.wait_for(|order| *order != Order::Go) => return Dialled::Overtaken,
        connected = timeout(limit, TcpStream::connect(target.address)) => connected,
    };
    match connected {
        Ok(Ok(server)) => Dialled::Connected(server),
        Ok(Err(error)) => {
            debug!(instance = target.instance, %error, "target refused");
            Dialled::Failed
        }
        Err(_) => {
            debug!(instance = target.instance, "target did not answer in time");
            Dialled::Failed
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The target broke it off.
    ByReset,
    Otherwise,
}

/// Carries bytes both ways, to the server `first` before all, until an end, an order or silence. Both sockets are closed before the permit is given back.
async fn forward(
    mut permit: Permit,
    mut client: TcpStream,
    mut server: TcpStream,
    first: Vec<u8>,
    idle: Option<Duration>,
) -> Ended {
    for stream in [&client, &server] {
        // Without it a small answer waits for the acknowledgement of the one before; a failure costs only time.
        let _ = stream.set_nodelay(true);
        if idle.is_none() {
            // It alone finds out then that a peer has vanished; a failure costs a descriptor.
            let _ = set_socket_keepalive(stream, true);
        }
    }
    let activity = Activity::new();
    let (client_reset, server_reset) = (AtomicBool::new(false), AtomicBool::new(false));
    let in_order = {
        let mut from_client = Watched { stream: &mut client, activity: &activity, is_reset: &client_reset };
        let mut from_server = Watched { stream: &mut server, activity: &activity, is_reset: &server_reset };
        let copy = async {
            from_server.write_all(&first).await?;
            copy_bidirectional_with_sizes(&mut from_client, &mut from_server, BUFFER_BYTES, BUFFER_BYTES).await
        };
        tokio::pin!(copy);
        let quiet = activity.quiet_for(idle);
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
        reset(server);
        reset(client);
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

/// When the last byte passed, in either direction.
struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn quiet_for(&self, limit: Option<Duration>) {
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
    stream: &'a mut TcpStream,
    activity: &'a Activity,
    is_reset: &'a AtomicBool,
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
        let polled = Pin::new(&mut *this.stream).poll_read(cx, buf);
        this.note(&polled);
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

    use super::*;
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
        forward(fenced_permit(), client_side, server_side, b"from".to_vec(), None).await;
        let mut bytes = Vec::new();
        let ended = server.read_to_end(&mut bytes).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(bytes, b"");
    }

    #[tokio::test]
    async fn a_fence_ends_the_dialling() {
        let mut permit = fenced_permit();
        let table = served(1, [Serving, Standby]).table;
        let route = &table.routes[0];
        let dialled = dial(&mut permit, &route.targets[0], route.proxy.as_ref().unwrap()).await;
        assert!(matches!(dialled, Dialled::Overtaken));
    }
}
