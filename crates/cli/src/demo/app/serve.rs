//! The order store's HTTP surface.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time;

use super::copier;
use super::orders::{NotTaken, Orders};
use super::{LAG_HEADER, ROLE_HEADER, TIMELINE_HEADER, TOTAL_HEADER};

/// How many connections are served at a time; further ones wait in the backlog. Below the usual limit of descriptors.
const MAX_CONNECTIONS: usize = 900;

/// How long a connection may be silent before a request's head is complete.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// How often, and after which pause, a standby looks whether the copy is complete that tells how far it is behind.
const LOOKS: u32 = 12;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A standby whose newest copy is older than this is not copying at the moment.
const COPIES_LATELY: Duration = Duration::from_millis(100);

/// How long a standby takes to become active.
const ACTIVATION_TAKES: Duration = Duration::from_millis(150);

/// A request's body is a number or an address.
const MAX_BODY: usize = 256;

/// How many orders a standby gets at once.
const MAX_BATCH: usize = 10_000;

/// The header under which a caller names its attempt.
const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

type Reply = Response<Full<Bytes>>;

/// A server that listens.
pub(crate) struct Server {
    listener: TcpListener,
    store: Arc<Store>,
}

/// What all connections share.
struct Store {
    name: String,
    address: SocketAddr,
    orders: Arc<Mutex<Orders>>,
}

impl Server {
    /// Listens, and copies already when it is a standby.
    pub(crate) async fn bind(
        listen: SocketAddr,
        name: String,
        standby_of: Option<SocketAddr>,
    ) -> std::io::Result<Server> {
        let listener = TcpListener::bind(listen).await?;
        let orders = Arc::new(Mutex::new(Orders::active(new_timeline())));
        let store = Arc::new(Store { name, address: listener.local_addr()?, orders });
        if let Some(source) = standby_of {
            store.follow(source);
        }
        Ok(Server { listener, store })
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.store.address
    }

    /// Serves for good. Dropping the future ends all connections.
    pub(crate) async fn serve(self) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _peer)) => {
                        connections.spawn(converse(stream, Arc::clone(&self.store)));
                    }
                    Err(error) => {
                        tracing::warn!("can't accept a connection: {error}");
                        time::sleep(Duration::from_millis(10)).await;
                    }
                },
            }
        }
    }
}

async fn converse(stream: TcpStream, store: Arc<Store>) {
    // A socket that refuses is only slower.
    let _slower = stream.set_nodelay(true);
    let service = service_fn(|request| async { Ok::<_, Infallible>(store.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a connection ended: {error}");
    }
}

impl Store {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        match (&head.method, path) {
            (&Method::GET, "/") => self.who(),
            (&Method::GET, "/health") => self.health().await,
            (&Method::GET, "/orders") => self.batch(head.uri.query()),
            (&Method::GET, "/acknowledged") => self.acknowledged(),
            (&Method::POST, "/orders") => self.take(text(body).await.as_deref()),
            (&Method::POST, "/follow") => self.be_standby(text(body).await.as_deref()),
            (&Method::POST, "/activate") => {
                let key = head.headers.get(IDEMPOTENCY_KEY_HEADER).map(|key| String::from_utf8_lossy(key.as_bytes()));
                self.activate(key.as_deref()).await
            }
            _ => reply(StatusCode::NOT_FOUND, "no such thing here"),
        }
    }

    fn who(&self) -> Reply {
        if self.orders().is_active() { reply(StatusCode::OK, self.name.clone()) } else { standby() }
    }

    /// A standby that copies says how far it is behind the moment of the question: it is in step once a copy is complete that
    /// was asked for after that.
    async fn health(&self) -> Reply {
        let asked = Instant::now();
        let mut lag = self.orders().lag(asked);
        for _ in 0..LOOKS {
            if lag.is_none_or(|it| it.is_zero() || it > COPIES_LATELY) {
                break;
            }
            time::sleep(LOOK_AGAIN).await;
            lag = self.orders().lag(asked);
        }
        let role = if self.orders().is_active() { "active" } else { "standby" };
        let reply = with_header(reply(StatusCode::OK, self.name.clone()), ROLE_HEADER, role);
        match lag {
            Some(lag) => with_header(reply, LAG_HEADER, &format!("{}ms", lag.as_millis())),
            // Without a first copy its position is unknown, which no number says.
            None => reply,
        }
    }

    fn take(&self, id: Option<&str>) -> Reply {
        let Some(Ok(id)) = id.map(str::parse) else { return reply(StatusCode::BAD_REQUEST, "an order is a number") };
        match self.orders().take(id) {
            Ok(()) => reply(StatusCode::OK, self.name.clone()),
            Err(NotTaken::Standby) => standby(),
            Err(NotTaken::Full) => reply(StatusCode::INSUFFICIENT_STORAGE, "full"),
        }
    }

    async fn activate(&self, key: Option<&str>) -> Reply {
        // A real server replays a log here. Whoever asked may be gone before it is done; then it was not done.
        time::sleep(ACTIVATION_TAKES).await;
        let changed = self.orders().activate(key, new_timeline());
        tracing::info!(name = self.name, key, changed, "asked to become active");
        reply(StatusCode::OK, self.name.clone())
    }

    fn be_standby(&self, source: Option<&str>) -> Reply {
        match source.map(str::parse) {
            Some(Ok(source)) if source == self.address => reply(StatusCode::BAD_REQUEST, "that is this server itself"),
            Some(Ok(source)) => {
                self.follow(source);
                reply(StatusCode::OK, self.name.clone())
            }
            Some(Err(_)) | None => reply(StatusCode::BAD_REQUEST, "follow whom? an address and port is needed"),
        }
    }

    /// The copier of an earlier term ends by itself at its next turn.
    fn follow(&self, source: SocketAddr) {
        let term = self.orders().follow(source);
        tracing::info!(name = self.name, %source, "a standby now");
        tokio::spawn(copier::copy(Arc::clone(&self.orders), term));
    }

    fn batch(&self, query: Option<&str>) -> Reply {
        let from = query.unwrap_or("from=0").strip_prefix("from=").map(str::parse);
        let Some(Ok(from)) = from else { return reply(StatusCode::BAD_REQUEST, "from=N is a number") };
        let Some(batch) = self.orders().batch(from, MAX_BATCH) else { return standby() };
        let reply = reply(StatusCode::OK, lines(&batch.ids));
        let reply = with_header(reply, TIMELINE_HEADER, &batch.timeline.to_string());
        with_header(reply, TOTAL_HEADER, &batch.total.to_string())
    }

    fn acknowledged(&self) -> Reply {
        let orders = self.orders();
        let ids = orders.ids();
        reply(StatusCode::OK, format!("{}\n{}", ids.len(), lines(ids)))
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that no other run of any server has, as nearly as the clock can tell.
fn new_timeline() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The whole body; `None` when it is too long, too slow or no text.
async fn text(body: Incoming) -> Option<String> {
    let body = time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await.ok()?.ok()?;
    let text = String::from_utf8(body.to_bytes().into()).ok()?;
    Some(text.trim().to_owned())
}

fn lines(ids: &[u64]) -> String {
    let mut lines = String::new();
    for id in ids {
        writeln!(lines, "{id}").expect("a string takes everything");
    }
    lines
}

fn standby() -> Reply {
    reply(StatusCode::SERVICE_UNAVAILABLE, "standby")
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
}

fn with_header(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    let value = value.parse().expect("digits and letters can be sent");
    reply.headers_mut().insert(name, value);
    reply
}
