//! HTTP connections that are kept for the next question of the same probe.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::HttpProbe;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::http::{self, Body, Connection, Reply};
use crate::probe::Place;
use crate::so_far::SoFar;
use crate::source;

/// How old a connection may become: what a new client meets is seen as often.
const OLDEST: Duration = Duration::from_secs(60);

/// One connection for each server as a probe asks it. They come from the plan, so that there are only so many.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<String, Line>>);

struct Line {
    sender: Sender,
    opened: Instant,
    /// What was to be said of it when it was opened.
    seen: Option<String>,
    /// What moves its bytes.
    carrier: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Line {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

impl Kept {
    fn take(&self, whom: &str) -> Option<Line> {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(whom)?;
        let ready = match &line.sender {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        };
        (ready && line.opened.elapsed() < OLDEST).then_some(line)
    }

    /// Keeps it, and says what was to be said of it when it was opened.
    fn put(&self, whom: String, line: Line) -> Option<String> {
        let seen = line.seen.clone();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(whom, line);
        seen
    }
}

/// Asks over the connection that is kept, or over a new one, and keeps that, with what `seen` says of it when it is new. The
/// other side may have closed it meanwhile, which says nothing: then it is asked again over a new one.
pub(crate) async fn ask(
    kept: &Kept,
    (probe, place): (&HttpProbe, &Place),
    so_far: &SoFar<Answer>,
    open: impl Future<Output = Result<Connection, Answer>>,
    seen: impl Fn(&Connection) -> Option<String>,
    mut request: Request<Full<Bytes>>,
) -> Result<(Reply, Option<String>), Answer> {
    http::named(&mut request);
    if probe.http2 {
        // The name is in `:authority`.
        request.headers_mut().remove(header::HOST);
    }
    // What is left unread would stand before the next answer.
    let body = probe.expect_body.as_deref().map_or(Body::Drain, Body::Find);
    let whom = whom(probe, place);
    if let Some(mut line) = kept.take(&whom) {
        so_far.set(Answer::TimedOut);
        match line.ask(request.clone(), body).await {
            Ok(reply) => return Ok((reply, kept.put(whom, line))),
            Err(Answer::Refused(_closed)) => {}
            Err(answer) => return Err(answer),
        }
    }
    let connection = open.await?;
    let seen = seen(&connection);
    if probe.http2 {
        connection.speaks_h2()?;
    }
    let mut line = match connection {
        Connection::Plain(stream) => Line::over(stream, probe.http2, seen).await?,
        Connection::Tls(stream) => Line::over(*stream, probe.http2, seen).await?,
    };
    let reply = line.ask(request, body).await?;
    Ok((reply, kept.put(whom, line)))
}

/// What has to be the same for a connection to serve another question.
fn whom(probe: &HttpProbe, place: &Place) -> String {
    let HttpProbe { ca_file, expires_after, http2, .. } = probe;
    let Place { tls, address, host, .. } = place;
    format!("{tls} {address:?} {host} {http2} {ca_file:?} {expires_after:?} {:?}", source::here())
}

impl Line {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
        seen: Option<String>,
    ) -> Result<Line, Answer> {
        let stream = TokioIo::new(stream);
        let (sender, carrier) = if is_http2 {
            let (sender, connection) = http::http2().handshake(stream).await.map_err(|error| http::failed(&error))?;
            let carrier = tokio::spawn(async move { drop(timeout(OLDEST, connection).await) });
            (Sender::Http2(sender), carrier)
        } else {
            let (sender, connection) = http::http1().handshake(stream).await.map_err(|error| http::failed(&error))?;
            let carrier = tokio::spawn(async move { drop(timeout(OLDEST, connection).await) });
            (Sender::Http1(sender), carrier)
        };
        Ok(Line { sender, opened: Instant::now(), seen, carrier: carrier.abort_handle() })
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>, body: Body<'_>) -> Result<Reply, Answer> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        http::read(response.map_err(|error| http::failed(&error))?, body).await
    }
}
