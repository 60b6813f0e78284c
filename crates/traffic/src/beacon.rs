//! Beacons: HTTP answers that other people's health checks poll. 200 means "this instance serves this route".

#[cfg(test)]
mod fuzz;

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use mainstay_plan::routing::TargetState;
use mainstay_web::{Foyer, Keeper, Secured, Trouble, accept};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::live::Live;

const CONNECTIONS: usize = 512;

/// Answers until it is dropped.
pub(crate) async fn serve(
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    address: SocketAddr,
    listener: TcpListener,
    retires: CancellationToken,
) {
    let about = format!("beacon {address}");
    let keeper = Keeper::default();
    let shown = keeper.shown();
    let certificate = keeper.follow(|| live.served().table.beacon_tls.clone(), &trouble, &about, "nobody is answered");
    let serves = async {
        let foyer = Foyer::new(CONNECTIONS);
        let mut clients = JoinSet::new();
        loop {
            let Some(client) = retires.run_until_cancelled(accept(&listener, &trouble, &about)).await else { break };
            while clients.try_join_next().is_some() {}
            // However many never end what they ask, whoever asks at once is answered.
            let guest = foyer.enter();
            let secured = match live.served().table.beacon_tls {
                Some(_) => Secured::Tls(shown.clone()),
                None => Secured::Plain,
            };
            let (live, retires) = (Arc::clone(&live), retires.clone());
            clients.spawn(async move {
                // An answer must not wait until the client has acknowledged what TLS said before.
                let _ = client.set_nodelay(true);
                let _ = guest.goes.run_until_cancelled(serve_client(&live, client, secured, &retires)).await;
            });
        }
        drop(listener);
        while clients.join_next().await.is_some() {}
    };
    tokio::select! {
        () = serves => {}
        never = certificate => match never {},
    }
}

async fn serve_client(
    live: &Live,
    client: impl AsyncRead + AsyncWrite + Unpin,
    secured: Secured,
    retires: &CancellationToken,
) {
    let answer = |request| {
        let mut response = respond(live, &request);
        if retires.is_cancelled() {
            // Its next request is for the process that has taken over.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        async { response }
    };
    mainstay_web::serve(client, secured, answer).await;
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
