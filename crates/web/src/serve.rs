//! One client, from its first byte to its last.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_plan::TlsFiles;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::kept::Shown;

/// For a client's part of a TLS handshake, and again for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// One that keeps its connection open is asked to open a new one now and then.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
const BUFFER_BYTES: usize = 16 << 10;

/// What a client speaks below HTTP.
#[derive(Debug)]
pub enum Secured {
    /// Nothing.
    Plain,
    /// TLS, with what the keeper has found. Where it has found nothing, nobody is answered.
    Tls(Shown<TlsFiles>),
}

/// Answers the requests of one client over HTTP/1.1, until it goes or has had its time.
pub async fn serve<C, A, F, B>(client: C, secured: Secured, answer: A)
where
    C: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error = Infallible> + 'static,
{
    let served = async {
        match secured {
            Secured::Plain => speak(client, answer).await,
            Secured::Tls(mut shown) => {
                let hands_shaken = async {
                    let config = Arc::clone(&*shown.newest().await?);
                    TlsAcceptor::from(config).accept(client).await.ok()
                };
                if let Ok(Some(client)) = timeout(HEAD_TIMEOUT, hands_shaken).await {
                    speak(client, answer).await;
                }
            }
        }
    };
    let _ = timeout(CONNECTION_LIFETIME, served).await;
}

async fn speak<A, F, B>(client: impl AsyncRead + AsyncWrite + Unpin, answer: A)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error = Infallible> + 'static,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    // A client that breaks off is its own business.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        // One that has said all it has to say still waits for its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .await;
}
