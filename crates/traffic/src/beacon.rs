//! Beacons: HTTP answers that other people's health checks poll. 200 means "this instance serves this route".

#[cfg(test)]
mod fuzz;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_plan::routing::TargetState;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::greeting::Foyer;
use crate::listeners::accept;
use crate::live::Live;
use crate::trouble::Trouble;

const CONNECTIONS: usize = 512;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A checker that keeps its connection open is asked to open a new one now and then.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
const BUFFER_BYTES: usize = 16 << 10;

/// Answers until it is dropped.
pub(crate) async fn serve(
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    address: SocketAddr,
    listener: TcpListener,
    retires: CancellationToken,
) {
    let about = format!("beacon {address}");
    let foyer = Foyer::new(CONNECTIONS);
    let mut clients = JoinSet::new();
    loop {
        let Some(client) = retires.run_until_cancelled(accept(&listener, &trouble, &about)).await else { break };
        while clients.try_join_next().is_some() {}
        // However many never end what they ask, whoever asks at once is answered.
        let guest = foyer.enter();
        let (live, retires) = (Arc::clone(&live), retires.clone());
        clients.spawn(async move {
            let served = timeout(CONNECTION_LIFETIME, serve_client(live, client, retires));
            let _ = guest.goes.run_until_cancelled(served).await;
        });
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

async fn serve_client(
    live: Arc<Live>,
    client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    retires: CancellationToken,
) {
    let service = service_fn(move |request| {
        let mut response = respond(&live, &request);
        if retires.is_cancelled() {
            // Its next request is for the process that has taken over.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        async move { Ok::<_, Infallible>(response) }
    });
    // A client that breaks off is its own business.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(client), service)
        .await;
}

fn respond(live: &Live, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    if path == "/healthz" {
        let served = live.served();
        return plain(StatusCode::OK, format!("epoch {}\nage_ms {}\n", served.table.epoch, served.age_ms()));
    }
    match path.strip_prefix("/routes/").and_then(|rest| rest.split_once('/')) {
        Some((route, instance)) => beacon(live, route, instance),
        None => not_found(),
    }
}

fn beacon(live: &Live, route: &str, instance: &str) -> Response<Full<Bytes>> {
    let served = live.served();
    let Some(route) = served.named(route).filter(|it| it.entry.beacon) else { return not_found() };
    let Some(target) = route.entry.targets.iter().find(|it| it.instance == instance) else { return not_found() };
    if live.is_cut(&served, &route.entry) {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "cut\n".to_owned());
    }
    let (status, word) = match target.state {
        TargetState::Serving => (StatusCode::OK, "serving"),
        TargetState::Standby => (StatusCode::SERVICE_UNAVAILABLE, "standby"),
        TargetState::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        TargetState::Down => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        TargetState::Fenced => (StatusCode::SERVICE_UNAVAILABLE, "fenced"),
    };
    plain(status, format!("{word}\n"))
}

fn not_found() -> Response<Full<Bytes>> {
    plain(StatusCode::NOT_FOUND, "no such beacon\n".to_owned())
}

fn plain(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
