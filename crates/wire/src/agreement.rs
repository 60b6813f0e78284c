//! What two hosts say to each other while no agent is heard: one asks whether what lives on it may stay what it is, the other
//! agrees, or says why not. One question a connection, `POST /v1/agree` over HTTP/2; both ends have shown a host's certificate.
//!
//! Nothing is decided here: what an answer rests on is for whoever gives it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::message::Held;

/// Where it is asked.
pub const PATH: &str = "/v1/agree";

/// No question and no answer is longer, in bytes.
pub const LONGEST: usize = 64 << 10;

/// A connection is over after so long, whatever was said.
const WITHIN: Duration = Duration::from_secs(10);

/// A host that has heard no agent asks whether these may stay what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The highest epoch that it has seen.
    pub epoch: u64,
    /// The epoch and the number of the first stance that says who holds these: whoever goes by an older one can't agree.
    pub stance: (u64, u64),
    /// For how long, in milliseconds from when this arrives, whoever agrees takes none of them over.
    pub whole_ms: u64,
    /// What it holds.
    pub holds: Vec<Held>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// These may stay; that is on the disk of who says so.
    pub agreed: Vec<Held>,
    /// Why others may not, as sentences.
    pub refused: Vec<Refused>,
}

/// Something that may not stay, as far as this host is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What.
    pub held: Held,
    /// Why.
    pub why: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The connection is lost, or no HTTP/2.
    #[error("the connection is lost")]
    Http(#[from] hyper::Error),
    /// It answers, and not this question.
    #[error("it answered {0}")]
    Answered(StatusCode),
    /// What it says is no answer.
    #[error("its answer can't be understood: {0}")]
    Garbled(String),
}

/// Asks over a connection whose other end is known to be the right host. How long it may take is for the caller to bound.
///
/// # Errors
/// See [`AskError`]: nobody has agreed.
pub async fn ask<S>(io: S, question: &Question) -> Result<Reply, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
    let body = serde_json::to_vec(question).expect("texts and numbers can be written");
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://host{PATH}"))
        .body(Full::<Bytes>::from(body))
        .expect("the words above make a request");
    let asked = async {
        let response = requests.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(AskError::Answered(status));
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|it| AskError::Garbled(it.to_string()))?.to_bytes();
        serde_json::from_slice(&body).map_err(|it| AskError::Garbled(it.to_string()))
    };
    // What was answered counts, also if the other end closes the connection in the same moment.
    let mut moving = JoinSet::new();
    moving.spawn(connection);
    asked.await
}

/// Answers one question over a connection whose other end is known to be a host of this site. It takes 10 s at most.
pub async fn answer<S, A, F>(io: S, answers: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Question) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let (answers, answered) = (Arc::new(answers), Arc::new(Notify::new()));
    let told = Arc::clone(&answered);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (answers, told) = (Arc::clone(&answers), Arc::clone(&told));
        async move {
            let response = respond(request, &*answers).await;
            told.notify_one();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(1)
        .max_header_list_size(8 << 10)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let served = async {
        tokio::select! {
            ended = &mut connection => return ended,
            () = answered.notified() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    // Whoever breaks it off hears no answer.
    let _ = timeout(WITHIN, served).await;
}

async fn respond<A, F, B>(request: Request<B>, answers: &A) -> Response<BoxBody<Bytes, Infallible>>
where
    A: Fn(Question) -> F,
    F: Future<Output = Reply>,
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (body, status) = match (request.method(), request.uri().path()) {
        (&Method::POST, PATH) => match Limited::new(request.into_body(), LONGEST).collect().await {
            Ok(body) => match serde_json::from_slice::<Question>(&body.to_bytes()) {
                Ok(question) => {
                    let reply = answers(question).await;
                    (serde_json::to_vec(&reply).expect("texts can be written"), StatusCode::OK)
                }
                Err(_) => (Vec::new(), StatusCode::BAD_REQUEST),
            },
            Err(_) => (Vec::new(), StatusCode::PAYLOAD_TOO_LARGE),
        },
        (_, PATH) => (Vec::new(), StatusCode::METHOD_NOT_ALLOWED),
        _ => (Vec::new(), StatusCode::NOT_FOUND),
    };
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bolero::check;
    use tokio::io::duplex;

    use super::*;

    fn held(instance: &str) -> Held {
        Held { component: "db".to_owned(), instance: instance.to_owned() }
    }

    fn question() -> Question {
        Question { epoch: 3, stance: (3, 7), whole_ms: 8500, holds: vec![held("db-a"), held("db-b")] }
    }

    fn reply() -> Reply {
        let refused = Refused { held: held("db-b"), why: "it hears an agent".to_owned() };
        Reply { agreed: vec![held("db-a")], refused: vec![refused] }
    }

    #[tokio::test]
    async fn a_question_is_answered_and_the_connection_ends() {
        let (one, other) = duplex(64 << 10);
        let serves = tokio::spawn(answer(one, |question| async move {
            assert_eq!(question, self::question());
            reply()
        }));
        assert_eq!(ask(other, &question()).await.expect("an answer"), reply());
        timeout(WITHIN / 2, serves).await.expect("it ends").expect("it does not panic");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_is_heard_however_soon_the_connection_ends() {
        for _ in 0..200 {
            let (one, other) = duplex(64 << 10);
            tokio::spawn(answer(one, |_| std::future::ready(reply())));
            assert_eq!(ask(other, &question()).await.expect("an answer"), reply());
        }
    }

    /// Whatever is sent as a question, nobody is asked by what is none, and what is one is taken as it was meant.
    #[test]
    fn no_body_does_harm() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let whole = serde_json::to_vec(&question()).expect("it is written");
        let target = check!().with_iterations(5_000).with_test_time(Duration::from_secs(5));
        target.with_type::<(bool, Vec<u8>, Vec<(u16, u8)>, u16)>().for_each(|(is_any, any, changes, cut)| {
            let mut body = if *is_any { any.clone() } else { whole.clone() };
            for (at, byte) in changes.iter().take(4).filter(|_| !body.is_empty()).collect::<Vec<_>>() {
                let at = usize::from(*at) % body.len();
                body[at] = *byte;
            }
            body.truncate(body.len() - usize::from(*cut) % (body.len() + 1) / 8);
            let meant = serde_json::from_slice::<Question>(&body).ok();
            let request = Request::post(PATH).body(Full::<Bytes>::from(body)).expect("a request");
            let asked = AtomicUsize::new(0);
            let answers = |question: Question| {
                asked.fetch_add(1, Ordering::Relaxed);
                assert_eq!(Some(&question), meant.as_ref());
                std::future::ready(Reply::default())
            };
            let response = runtime.block_on(respond(request, &answers));
            assert_eq!(asked.into_inner() == 1, meant.is_some());
            assert_eq!(response.status() == StatusCode::OK, meant.is_some());
        });
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_kept() {
        let long = Full::<Bytes>::from(vec![b' '; LONGEST + 1]);
        let request = Request::post(PATH).body(long).expect("a request");
        let answers = |_: Question| -> std::future::Ready<Reply> { panic!("nobody is asked") };
        assert_eq!(respond(request, &answers).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
