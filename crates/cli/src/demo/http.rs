//! The little HTTP/1.1 that clients and copying standbys speak.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::HeaderMap;
use hyper::http::request::Builder;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest answer that is read: the list of all orders that a server keeps.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// Why a request got no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// No name server gave an address.
    NoAddress,
    NotConnected,
    /// The connection ended before the answer did.
    Closed,
    TimedOut,
    Status(StatusCode),
    /// A database's refusal.
    Refused(&'static str),
    /// An answer came that can't be read.
    Garbled,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoAddress => f.write_str("no address"),
            Failure::NotConnected => f.write_str("no connection"),
            Failure::Closed => f.write_str("the connection was closed"),
            Failure::TimedOut => f.write_str("no answer in time"),
            Failure::Status(status) => write!(f, "{status}"),
            Failure::Refused(why) => f.write_str(why),
            Failure::Garbled => f.write_str("an answer that can't be read"),
        }
    }
}

impl std::error::Error for Failure {}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The text of a 200; any other status is a failure.
    pub(crate) fn good(&self) -> Result<&str, Failure> {
        if self.status != StatusCode::OK {
            return Err(Failure::Status(self.status));
        }
        std::str::from_utf8(&self.body).map_err(|_not_text| Failure::Garbled)
    }
}

/// An open connection.
pub(crate) struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Sends `request` and reads the whole answer. `Host` is added here. It has no deadline of its own.
    pub(crate) async fn ask(&mut self, request: Builder, body: impl Into<Bytes>) -> Result<Reply, Failure> {
        let request = request
            .header(header::HOST, self.address.to_string())
            .body(Full::new(body.into()))
            .map_err(|_invalid| Failure::Garbled)?;
        let response = self.sender.send_request(request).await.map_err(|error| failure(&error))?;
        let (head, incoming) = response.into_parts();
        let body = Limited::new(incoming, MAX_BODY).collect().await.map_err(|_cut_or_too_long| Failure::Closed)?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// Connects to `address` and runs `talk` together with the connection that carries it, in this task: dropping the one
/// future closes the connection.
pub(crate) async fn over_connection<T, F>(address: SocketAddr, talk: impl FnOnce(Connection) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let connected = time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_elapsed| Failure::TimedOut)?.map_err(|_error| Failure::NotConnected)?;
    // Without it each request waits for the acknowledgement of the one before; a socket that refuses is only slower.
    let _slower = stream.set_nodelay(true);
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
    let mut talk = pin!(talk(Connection { address, sender }));
    tokio::select! {
        biased;
        done = &mut talk => done,
        // Its error, if any, reaches the talk; what was received before waits there too.
        _ended = connection => talk.await,
    }
}

/// One request over a connection of its own. It has no deadline; its caller's ends it.
pub(crate) async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Reply, Failure> {
    let request = Request::builder().method(method).uri(path).header(header::CONNECTION, "close");
    over_connection(address, |mut connection| async move { connection.ask(request, body).await }).await
}

fn failure(error: &hyper::Error) -> Failure {
    if error.is_parse() || error.is_user() { Failure::Garbled } else { Failure::Closed }
}
