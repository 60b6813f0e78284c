//! One HTTP request over a connection of its own. Those that are kept are in `kept.rs`.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::http::HeaderMap;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::Address;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::names::Names;
use crate::so_far::SoFar;
use crate::{dial, tls, trouble};

/// How we name ourselves to servers.
const USER_AGENT: &str = concat!("mainstay/", env!("CARGO_PKG_VERSION"));

/// How much of a body is read.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// How long the status line and headers may be.
const MAX_HEAD: usize = 64 * 1024;

/// How the connection is secured, where it is.
pub(crate) struct Secured {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// An open connection on which nothing has been asked yet.
pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How much of the body the asker wants.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// None: the head is the answer.
    Ignore,
    /// Up to 64 KiB, or until this text was found.
    Find(&'a str),
    /// Up to 64 KiB, thrown away; so that the other side is not cut off while it still works on the request.
    Drain,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether the text of [`Body::Find`] was found.
    pub(crate) found: bool,
}

/// Connects, and shakes hands with TLS. Nothing was asked when it fails.
pub(crate) async fn open(
    names: &Names,
    address: &Address,
    secured: Option<Secured>,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<Connection, Answer> {
    let stream = dial::connect(names, address, deadline, so_far).await?;
    match secured {
        None => Ok(Connection::Plain(stream)),
        Some(Secured { config, name }) => Ok(Connection::Tls(Box::new(tls::handshake(config, name, stream).await?))),
    }
}

/// Sends the request and reads the answer. `User-Agent` and `Connection: close` are added here.
pub(crate) async fn ask(
    connection: Connection,
    request: Request<Full<Bytes>>,
    body: Body<'_>,
) -> Result<Reply, Answer> {
    match connection {
        Connection::Plain(stream) => ask_over(stream, request, body).await,
        Connection::Tls(stream) => ask_over(*stream, request, body).await,
    }
}

async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    mut request: Request<Full<Bytes>>,
    body: Body<'_>,
) -> Result<Reply, Answer> {
    named(&mut request);
    request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    let (mut sender, connection) = http1().handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        read(response, body).await
    };
    drive(talk, connection).await
}

/// The same over HTTP/2; what the answer is read for is the caller's affair.
pub(crate) async fn ask_h2<T>(
    connection: Connection,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, Answer>,
) -> Result<T, Answer> {
    connection.speaks_h2()?;
    match connection {
        Connection::Plain(stream) => ask_h2_over(stream, request, read).await,
        Connection::Tls(stream) => ask_h2_over(*stream, request, read).await,
    }
}

impl Connection {
    /// Says what is wrong if the server has chosen another protocol. Without TLS it has no choice.
    pub(crate) fn speaks_h2(&self) -> Result<(), Answer> {
        match self {
            Connection::Tls(stream) if stream.get_ref().1.alpn_protocol() != Some(b"h2") => {
                Err(Answer::Wrong("the server does not choose HTTP/2".to_owned()))
            }
            Connection::Tls(_) | Connection::Plain(_) => Ok(()),
        }
    }
}

async fn ask_h2_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static, T>(
    stream: S,
    mut request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, Answer>,
) -> Result<T, Answer> {
    named(&mut request);
    // The name is in `:authority`.
    request.headers_mut().remove(header::HOST);
    let (mut sender, connection) = http2().handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        read(response).await
    };
    drive(talk, connection).await
}

/// Says who asks.
pub(crate) fn named(request: &mut Request<Full<Bytes>>) {
    request.headers_mut().entry(header::USER_AGENT).or_insert(header::HeaderValue::from_static(USER_AGENT));
}

/// HTTP/1.1, with a bound on the head of an answer.
pub(crate) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    builder
}

/// HTTP/2, with the same bound.
pub(crate) fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    builder
}

/// Reads what an asker wants of an answer.
pub(crate) async fn read(response: Response<Incoming>, body: Body<'_>) -> Result<Reply, Answer> {
    let (head, incoming) = response.into_parts();
    let found = match body {
        Body::Ignore => false,
        Body::Find(text) => find(incoming, text.as_bytes()).await?,
        // The head has said how it ended; what becomes of the rest changes nothing.
        Body::Drain => find(incoming, &[]).await.unwrap_or(false),
    };
    Ok(Reply { status: head.status, headers: head.headers, found })
}

/// Runs the talk and the connection that carries it together, in this task: dropping one future ends both.
async fn drive<T>(
    talk: impl Future<Output = Result<T, Answer>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> Result<T, Answer> {
    let mut talk = pin!(talk);
    tokio::select! {
        biased;
        done = &mut talk => done,
        // Its error, if any, reaches the talk; what was received before waits there too.
        _ended = connection => talk.await,
    }
}

/// Reads up to [`MAX_BODY`] and says whether `text` is in it. An empty text is looked for to the end: it drains.
async fn find(mut incoming: Incoming, text: &[u8]) -> Result<bool, Answer> {
    let mut read: Vec<u8> = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        let looked_at = read.len().saturating_sub(text.len());
        let room = MAX_BODY - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if !text.is_empty() && read[looked_at..].windows(text.len()).any(|window| window == text) {
            return Ok(true);
        }
        if read.len() == MAX_BODY {
            break;
        }
    }
    Ok(text.is_empty())
}

/// The connection's own troubles are told apart as for any other; what can't be read as HTTP is a wrong answer.
pub(crate) fn failed(error: &hyper::Error) -> Answer {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return tls::answer("HTTP", io);
        }
        source = cause.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Answer::Refused("the connection was closed without an answer".to_owned());
    }
    Answer::Wrong(trouble::clip(&format!("not an HTTP answer: {error}")))
}
