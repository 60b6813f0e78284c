//! The stream that carries messages: one `POST /v1/host` over HTTP/2 for each connection. The body of the request is what the
//! host says, the body of the response what the agent says; both last as long as the connection.
//!
//! It neither keeps a connection alive nor notices that nobody speaks any more: both sides say something every so often, and
//! whoever hears nothing for too long drops the two ends, which closes the connection. The other side of a queue that is full is
//! not waited for either: [`Outgoing::say`] says so.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::message::{FromAgent, FromHost, Garbled, Lines, Message, Understood, decode, encode};

/// Where a host says what it has to say.
pub const PATH: &str = "/v1/host";

/// How many messages may wait for the network.
pub const QUEUE: usize = 1024;

/// How much is given to the network at once, if so much waits.
const AT_ONCE: usize = 64 << 10;

/// How long a connection may take to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// How much longer one may last that came for something else.
const BESIDE_WITHIN: Duration = Duration::from_secs(25);

/// Why a stream did not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// HTTP/2 failed: mostly because the connection is lost.
    #[error("the connection is lost")]
    Http(#[from] hyper::Error),
    /// The other side speaks HTTP, but not to us.
    #[error("the other side answered {0}")]
    Answered(StatusCode),
    /// It sent what is no message.
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// It ended within a message.
    #[error("the connection ended within a message")]
    Torn,
    /// It took too long to begin.
    #[error("nothing was said within {} s", BEGINS_WITHIN.as_secs())]
    Silent,
}

/// The queue of what is to be said.
#[derive(Clone, Debug)]
pub struct Outgoing<M> {
    queue: mpsc::Sender<Bytes>,
    of: PhantomData<fn(M)>,
}

/// Why something is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    /// The other side takes nothing, or slower than there is to say.
    #[error("{QUEUE} messages wait already")]
    Full,
    /// The connection is over.
    #[error("the connection is over")]
    Over,
}

impl<M: Message> Outgoing<M> {
    /// Says something as soon as the network takes it; never waits.
    ///
    /// # Errors
    /// It is not said.
    pub fn say(&self, message: &M) -> Result<(), Unsaid> {
        self.queue.try_send(encode(message).into()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unsaid::Full,
            mpsc::error::TrySendError::Closed(_) => Unsaid::Over,
        })
    }

    /// Whether the connection is over.
    pub fn is_over(&self) -> bool {
        self.queue.is_closed()
    }
}

/// What the other side says. Dropping it closes the connection.
#[derive(Debug)]
pub struct Incoming<M> {
    body: hyper::body::Incoming,
    lines: Lines,
    of: PhantomData<fn() -> M>,
    _connection: Connection,
}

impl<M: Message> Incoming<M> {
    /// The next message; `None` when the other side has ended in order. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn hear(&mut self) -> Result<Option<Understood<M>>, StreamError> {
        loop {
            if let Some(line) = self.lines.cut()? {
                return Ok(Some(decode(&line)?));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.lines.take_in(data);
                    }
                }
                None if self.lines.is_within_one() => return Err(StreamError::Torn),
                None => return Ok(None),
            }
        }
    }
}

/// The task that moves the bytes; it ends with this.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that is what a queue holds.
struct Said(mpsc::Receiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let first = match self.0.poll_recv(cx) {
            Poll::Ready(Some(first)) => first,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let mut all = Vec::new();
        while all.len() + first.len() < AT_ONCE {
            let Ok(next) = self.0.try_recv() else { break };
            all.extend_from_slice(&next);
        }
        let together = if all.is_empty() { first } else { [&first[..], &all].concat().into() };
        Poll::Ready(Some(Ok(Frame::data(together))))
    }
}

fn outgoing<M>() -> (Outgoing<M>, BoxBody<Bytes, Infallible>) {
    let (queue, said) = mpsc::channel(QUEUE);
    (Outgoing { queue, of: PhantomData }, BodyExt::boxed(Said(said)))
}

fn incoming<M: Message>(body: hyper::body::Incoming, connection: Connection) -> Incoming<M> {
    Incoming { body, lines: Lines::of::<M>(), of: PhantomData, _connection: connection }
}

/// Begins as a host, over a connection whose other end is known to be the agent.
///
/// # Errors
/// See [`StreamError`].
pub async fn dial<S>(io: S) -> Result<(Outgoing<FromHost>, Incoming<FromAgent>), StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::time::timeout(BEGINS_WITHIN, begin(io)).await.unwrap_or(Err(StreamError::Silent))
}

async fn begin<S>(io: S) -> Result<(Outgoing<FromHost>, Incoming<FromAgent>), StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let connection = Connection(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let (outgoing, body) = outgoing();
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("https://agent{PATH}"))
        .body(body)
        .expect("the words above make a request");
    let response = requests.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(StreamError::Answered(response.status()));
    }
    Ok((outgoing, incoming(response.into_body(), connection)))
}

/// Begins as the agent, over a connection whose other end is known to be a host.
///
/// # Errors
/// See [`StreamError`].
pub async fn accept<S>(io: S) -> Result<(Outgoing<FromAgent>, Incoming<FromHost>), StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    accept_beside(io, |request| std::future::ready(Err(request))).await?.ok_or(StreamError::Silent)
}

/// The same where other things than a stream may be asked for, which `beside` answers, or gives the request back. `None` is a
/// connection that came for these alone and has ended, at most 30 s after it began.
///
/// # Errors
/// See [`StreamError`].
pub async fn accept_beside<S, B, F>(
    io: S,
    beside: B,
) -> Result<Option<(Outgoing<FromAgent>, Incoming<FromHost>)>, StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Fn(Request<hyper::body::Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Answered, Request<hyper::body::Incoming>>> + Send + 'static,
{
    // One request is taken, and every other one refused.
    let (taken, mut requests) = mpsc::channel(1);
    let came_for_else = Arc::new(AtomicBool::new(false));
    let came = Arc::clone(&came_for_else);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (taken, came, beside) = (taken.clone(), Arc::clone(&came), beside(request));
        async move {
            // An answer may take longer than a stream may take to begin.
            came.store(true, Ordering::Relaxed);
            Ok::<_, Infallible>(match beside.await {
                Ok(response) => response,
                Err(request) => {
                    came.store(false, Ordering::Relaxed);
                    answer(request, &taken)
                }
            })
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(2)
        .max_header_list_size(8 << 10)
        .serve_connection(TokioIo::new(io), service);
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let connection = Connection(tokio::spawn(async move {
        let _ = ended.send(connection.await);
    }));
    let begun = async {
        tokio::select! {
            Some(begun) = requests.recv() => Ok(Some(begun)),
            ended = &mut end => match ended {
                _ if came_for_else.load(Ordering::Relaxed) => Ok(None),
                Ok(Err(error)) => Err(StreamError::Http(error)),
                Ok(Ok(())) | Err(_) => Err(StreamError::Silent),
            },
        }
    };
    let begun = tokio::time::timeout(BEGINS_WITHIN, begun).await;
    requests.close();
    match begun {
        Ok(Ok(Some((body, outgoing)))) => Ok(Some((outgoing, incoming(body, connection)))),
        Ok(Ok(None)) => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_late) if came_for_else.load(Ordering::Relaxed) => {
            let _given_up = tokio::time::timeout(BESIDE_WITHIN, end).await;
            Ok(None)
        }
        Err(_late) => Err(StreamError::Silent),
    }
}

/// An answer to something else than a stream.
pub type Answered = Response<BoxBody<Bytes, Infallible>>;

type Taken = (hyper::body::Incoming, Outgoing<FromAgent>);

fn answer(
    request: Request<hyper::body::Incoming>,
    taken: &mpsc::Sender<Taken>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let status = match (request.method(), request.uri().path()) {
        (&Method::POST, PATH) => {
            let (outgoing, body) = outgoing();
            match taken.try_send((request.into_body(), outgoing)) {
                Ok(()) => return Response::new(body),
                Err(_) => StatusCode::CONFLICT,
            }
        }
        (_, PATH) => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(BodyExt::boxed(http_body_util::Empty::new()));
    *response.status_mut() = status;
    response
}

/// Makes the kernel give up a connection that is not acknowledged for so long, and send small messages at once.
///
/// # Errors
/// What the operating system says.
pub fn tune(socket: &TcpStream, gives_up_after: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let ms = u32::try_from(gives_up_after.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(socket, ms)?;
    Ok(())
}

#[cfg(test)]
mod tests;
