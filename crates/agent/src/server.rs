//! The agent's socket: HTTP on a UNIX socket that only its own user may open.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use mainstay_api as api;
use mainstay_host::Hands;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use crate::people::user_name;

/// How long the loop may take to answer. It never takes long; this is for a loop that does not run any more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What is asked of the loop.
pub(crate) enum Ask {
    Status(oneshot::Sender<api::Status>),
    Probing(oneshot::Sender<api::Probing>),
    Probes { of: Option<String>, answer: oneshot::Sender<api::Probes> },
    Hosts(oneshot::Sender<api::Hosts>),
    Recoveries(oneshot::Sender<api::Recoveries>),
    Notices(oneshot::Sender<api::Notices>),
    Foreseen { command: api::Command, by: String, answer: oneshot::Sender<Result<api::Foreseen, api::Problem>> },
    Command { command: api::Command, by: String, answer: oneshot::Sender<Result<u64, api::Problem>> },
}

/// Why the socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("the agent's socket {} can't be opened", path.display())]
pub struct ServerError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A socket that listens.
pub(crate) struct Server {
    pub(crate) asks: mpsc::Receiver<Ask>,
    path: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the socket in `state_dir`, whose lock the caller holds: a socket file that is there was left by an agent that died.
pub(crate) fn open(state_dir: &Path, hands: Hands) -> Result<Server, ServerError> {
    let path = state_dir.join(api::SOCKET);
    let failed = |source| ServerError { path: path.clone(), source };
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let (sender, asks) = mpsc::channel(64);
    let router = Router::new()
        .route(api::STATUS, get(status))
        .route(api::PROBING, get(probing))
        .route(api::PROBES, get(all_probes))
        .route("/v1/probes/{*of}", get(probes))
        .route(api::HOSTS, get(hosts))
        .route(api::RECOVERIES, get(recoveries))
        .route(api::NOTICES, get(notices))
        .route("/v1/recoveries/{id}", get(recovery))
        .route(api::COMMANDS, post(command))
        .route(api::FORESEEN, post(foreseen))
        .route("/v1/heartbeats/{name}", post(async move |UrlPath(name): UrlPath<String>| heartbeat(&hands, name).await))
        .fallback(|| async {
            problem(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; see /v1/status")
        })
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(sender);
    tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<Peer>();
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the agent's socket does not answer any more");
        }
    });
    Ok(Server { asks, path })
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        Peer(stream.io().peer_cred().ok().map(|it| it.uid()))
    }
}

type Loop = State<mpsc::Sender<Ask>>;

async fn status(State(asks): Loop) -> Response {
    answer(ask(&asks, Ask::Status).await)
}

async fn probing(State(asks): Loop) -> Response {
    answer(ask(&asks, Ask::Probing).await)
}

async fn all_probes(State(asks): Loop) -> Response {
    answer(ask(&asks, |answer| Ask::Probes { of: None, answer }).await)
}

async fn probes(State(asks): Loop, UrlPath(of): UrlPath<String>) -> Response {
    answer(ask(&asks, |answer| Ask::Probes { of: Some(of), answer }).await)
}

async fn hosts(State(asks): Loop) -> Response {
    answer(ask(&asks, Ask::Hosts).await)
}

async fn recoveries(State(asks): Loop) -> Response {
    answer(ask(&asks, Ask::Recoveries).await)
}

async fn notices(State(asks): Loop) -> Response {
    answer(ask(&asks, Ask::Notices).await)
}

async fn recovery(State(asks): Loop, UrlPath(id): UrlPath<String>) -> Response {
    let all = match ask(&asks, Ask::Recoveries).await {
        Ok(all) => all,
        Err(response) => return response,
    };
    match all.recoveries.into_iter().find(|it| it.id == id) {
        Some(found) => Json(found).into_response(),
        None => {
            let message = format!(
                "there is no recovery `{id}` at hand; `mainstay recoveries` lists them, and the journal has older ones"
            );
            problem(StatusCode::NOT_FOUND, "not_found", &message)
        }
    }
}

async fn heartbeat(hands: &Hands, name: String) -> Response {
    if hands.heartbeat(&name).await {
        return Json(api::Heard { heard: name }).into_response();
    }
    problem(StatusCode::NOT_FOUND, "not_found", &nobody_waits_for(&name))
}

/// What a job is told whose calls mean nothing to the plan.
pub(crate) fn nobody_waits_for(name: &str) -> String {
    format!("the plan waits for no heartbeat `{name}`: it is the `name` of a `heartbeat` probe")
}

async fn foreseen(State(asks): Loop, ConnectInfo(peer): ConnectInfo<Peer>, body: Said) -> Response {
    let Json(command) = match body {
        Ok(command) => command,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad_request", &error.body_text()),
    };
    let by = peer.0.map_or_else(|| "unknown".to_owned(), user_name);
    match ask(&asks, |answer| Ask::Foreseen { command, by, answer }).await {
        Ok(Ok(foreseen)) => Json(foreseen).into_response(),
        Ok(Err(refused)) => not_taken(refused),
        Err(response) => response,
    }
}

type Said = Result<Json<api::Command>, axum::extract::rejection::JsonRejection>;

fn not_taken(refused: api::Problem) -> Response {
    let status = if refused.code == "refused" { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
    (status, Json(refused)).into_response()
}

async fn command(State(asks): Loop, ConnectInfo(peer): ConnectInfo<Peer>, body: Said) -> Response {
    let Json(command) = match body {
        Ok(command) => command,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "bad_request", &error.body_text()),
    };
    let by = peer.0.map_or_else(|| "unknown".to_owned(), user_name);
    match ask(&asks, |answer| Ask::Command { command, by, answer }).await {
        Ok(Ok(seq)) => Json(api::Accepted { seq }).into_response(),
        Ok(Err(refused)) => not_taken(refused),
        Err(response) => response,
    }
}

async fn ask<T>(asks: &mpsc::Sender<Ask>, question: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Response> {
    let (sender, receiver) = oneshot::channel();
    let unavailable =
        || problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the agent is stopping or does not answer");
    let exchange = async {
        asks.send(question(sender)).await.ok()?;
        receiver.await.ok()
    };
    tokio::time::timeout(ANSWERS_WITHIN, exchange).await.ok().flatten().ok_or_else(unavailable)
}

fn answer<T: serde::Serialize>(result: Result<T, Response>) -> Response {
    result.map_or_else(|response| response, |value| Json(value).into_response())
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(api::Problem::new(code, message.to_owned()))).into_response()
}
