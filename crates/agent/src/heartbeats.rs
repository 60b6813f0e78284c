//! Calls of jobs on other machines: HTTP at an address of the plan, for whoever has a token. Nothing else is heard there.
//!
//! A token comes in the header `Authorization`, or in the path for those who can be told a URL and nothing more. Who has none
//! learns nothing, not even which names there are.

#[cfg(test)]
mod fuzz;
mod tokens;

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use mainstay_api as api;
use mainstay_host::Hands;
use mainstay_plan::TlsFiles;
use mainstay_plan::listening::HeartbeatListener;
use mainstay_web::{Foyer, Keeper, Secured, Shown, Trouble, accept};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::tokens::{TokenFile, token_in_path};
use crate::server::nobody_waits_for;

/// At the same time.
const CALLS: usize = 256;
/// Nobody reads what a job says beside its name; so much of it is taken, for those who send their log.
const BODY_MAX_BYTES: usize = 64 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often refused calls are spoken of, and for how long after the last of them.
const REFUSED_EVERY: Duration = Duration::from_secs(60);
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Where jobs call.
const PREFIX: &str = "/heartbeats/";

/// Listens where the plan says, if it does. Whoever drops it ends that.
pub(crate) struct Ear {
    wanted: watch::Sender<Option<HeartbeatListener>>,
    trouble: Arc<Trouble>,
}

impl Ear {
    /// Must be called inside a tokio runtime.
    pub(crate) fn listening(at: Option<HeartbeatListener>, hands: Hands) -> Ear {
        let (wanted, listens) = watch::channel(at);
        let trouble = Arc::new(Trouble::default());
        tokio::spawn(keep(listens, hands, Arc::clone(&trouble)));
        Ear { wanted, trouble }
    }

    /// Listens there from now on.
    pub(crate) fn listen(&self, at: Option<HeartbeatListener>) {
        self.wanted.send_if_modified(|it| {
            let is_other = *it != at;
            *it = at;
            is_other
        });
    }

    /// Why somebody is not heard.
    pub(crate) fn trouble(&self) -> Vec<String> {
        self.trouble.list()
    }
}

async fn keep(mut wanted: watch::Receiver<Option<HeartbeatListener>>, hands: Hands, trouble: Arc<Trouble>) {
    loop {
        let at = wanted.borrow_and_update().clone();
        let listens = async {
            match &at {
                Some(at) => listen(at, &hands, &trouble).await,
                None => pending().await,
            }
        };
        let is_over = tokio::select! {
            changed = wanted.changed() => changed.is_err(),
            never = listens => match never {},
        };
        if let Some(at) = &at {
            trouble.clear(&about(at));
            trouble.clear(&about_refused(at));
        }
        if is_over {
            break;
        }
    }
}

fn about(at: &HeartbeatListener) -> String {
    format!("heartbeats at {}", at.listen)
}

fn about_refused(at: &HeartbeatListener) -> String {
    format!("{} refused", about(at))
}

async fn listen(at: &HeartbeatListener, hands: &Hands, trouble: &Trouble) -> Infallible {
    let about = about(at);
    let (tokens, certificates) = (Keeper::default(), Keeper::default());
    let hearing = Arc::new(Hearing {
        hands: hands.clone(),
        tokens: tokens.shown(),
        certificate: at.tls.as_ref().map(|_| certificates.shown()),
        is_bound: AtomicBool::new(false),
        refused: Mutex::default(),
    });
    const OTHERWISE: &str = "nobody is heard";
    tokio::select! {
        never = tokens.follow(|| Some(TokenFile(at.token_file.clone())), trouble, &about, OTHERWISE) => never,
        never = certificates.follow(|| at.tls.clone(), trouble, &about, OTHERWISE) => never,
        never = let_in(at, &hearing, trouble, &about) => never,
        never = look_after(at, &hearing, trouble, &about) => never,
    }
}

async fn let_in(at: &HeartbeatListener, hearing: &Arc<Hearing>, trouble: &Trouble, about: &str) -> Infallible {
    let listener = loop {
        match TcpListener::bind(at.listen).await {
            Ok(listener) => break listener,
            Err(error) => trouble.note(about, format!("{about}: can't be bound: {error}; trying again")),
        }
        sleep(LOOK_AGAIN).await;
    };
    trouble.clear(about);
    hearing.is_bound.store(true, Ordering::Relaxed);
    let foyer = Foyer::new(CALLS);
    let mut calls = JoinSet::new();
    loop {
        let client = accept(&listener, trouble, about).await;
        while calls.try_join_next().is_some() {}
        let Ok(peer) = client.peer_addr() else { continue };
        // However many never end what they say, whoever says it at once is heard.
        let guest = foyer.enter();
        let hearing = Arc::clone(hearing);
        calls.spawn(async move {
            // An answer must not wait until the client has acknowledged what TLS said before.
            let _ = client.set_nodelay(true);
            let secured = hearing.certificate.clone().map_or(Secured::Plain, Secured::Tls);
            let served = mainstay_web::serve(client, secured, |request| hearing.answer(peer, request));
            let _ = guest.goes.run_until_cancelled(served).await;
        });
    }
}

/// While nobody could be heard, nobody's silence counts. Refusals are spoken of now and then: there may be as many as somebody
/// likes to send.
async fn look_after(at: &HeartbeatListener, hearing: &Hearing, trouble: &Trouble, about: &str) -> Infallible {
    let about_refused = about_refused(at);
    let mut told: Option<(u64, Instant)> = None;
    loop {
        if hearing.is_deaf() {
            hearing.hands.listens_anew();
        }
        let refused = *hearing.refused();
        if let Some((from, last)) = refused.last {
            if last.elapsed() >= REFUSED_FOR {
                trouble.clear(&about_refused);
            } else if told.is_none_or(|(count, when)| count != refused.count && when.elapsed() >= REFUSED_EVERY) {
                let count = refused.count;
                let calls = if count == 1 { "1 call" } else { &format!("{count} calls") };
                let text = format!("{about}: {calls} without a good token, the last from {from}");
                trouble.note(&about_refused, text);
                told = Some((count, Instant::now()));
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

struct Hearing {
    hands: Hands,
    tokens: Shown<TokenFile>,
    /// `None`: TLS is not spoken.
    certificate: Option<Shown<TlsFiles>>,
    is_bound: AtomicBool,
    refused: Mutex<Refused>,
}

/// Calls without a good token, since it listens.
#[derive(Clone, Copy, Default)]
struct Refused {
    count: u64,
    last: Option<(IpAddr, Instant)>,
}

impl Hearing {
    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_deaf(&self) -> bool {
        let has_none = |it: &Shown<TlsFiles>| it.now().is_none();
        !self.is_bound.load(Ordering::Relaxed)
            || self.tokens.now().is_none()
            || self.certificate.as_ref().is_some_and(has_none)
    }

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut answer = self.hear(peer, request).await;
        // A job calls once, and others need its place.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    async fn hear(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(called) = path.strip_prefix(PREFIX) else {
            return problem(StatusCode::NOT_FOUND, "not_found", "nothing is heard here but /heartbeats/NAME");
        };
        if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "call with GET, HEAD or POST");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            return answer;
        }
        let Some(tokens) = self.tokens.now() else {
            return problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "nobody can be heard now; the log says why",
            );
        };
        let (name, in_path) = called.split_once('/').map_or((called, None), |(name, token)| (name, Some(token)));
        let token = bearer(&request).or_else(|| in_path.map(token_in_path)).unwrap_or_default();
        if !tokens.has(&token) {
            let mut refused = self.refused();
            refused.count += 1;
            refused.last = Some((peer.ip().to_canonical(), Instant::now()));
            drop(refused);
            let message =
                "a token is needed, and this is none: `Authorization: Bearer TOKEN`, or /heartbeats/NAME/TOKEN";
            let mut answer = problem(StatusCode::UNAUTHORIZED, "unauthorized", message);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"heartbeats\""));
            return answer;
        }
        match timeout(BODY_TIMEOUT, takes(request.into_body())).await {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("no more than {BODY_MAX_BYTES} bytes are taken with a call");
                return problem(StatusCode::PAYLOAD_TOO_LARGE, "bad_request", &message);
            }
            Err(_elapsed) => {
                return problem(StatusCode::REQUEST_TIMEOUT, "bad_request", "the call did not end in time");
            }
        }
        if self.hands.heartbeat(name).await {
            return json(StatusCode::OK, &api::Heard { heard: name.to_owned() });
        }
        problem(StatusCode::NOT_FOUND, "not_found", &nobody_waits_for(name))
    }
}

fn bearer(request: &Request<Incoming>) -> Option<Vec<u8>> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes().to_vec())
}

/// Takes a body and forgets it. `false`: it is too long, or it breaks off.
async fn takes(mut body: Incoming) -> bool {
    let mut left = BODY_MAX_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return false };
        left = rest;
    }
    true
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    json(status, &api::Problem::new(code, message.to_owned()))
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let mut text = serde_json::to_vec(value).expect("what travels on the socket is JSON");
    text.push(b'\n');
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
