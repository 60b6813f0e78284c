//! What gRPC's health protocol answers, of an HTTP/2 server that the test builds out of hyper, and of gRPC's own.

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, GrpcProbe, ProbeKind};
use mainstay_providers::{PrepareError, Providers};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::fixtures::*;
use crate::http_probe::{authority, server_config};

fn grpc(address: SocketAddr) -> GrpcProbe {
    GrpcProbe {
        tls: false,
        address: Address::Socket(address),
        name: "shop.example:9090".to_owned(),
        service: String::new(),
        ca_file: None,
        expires_after: None,
    }
}

async fn ask(probed: GrpcProbe) -> Answer {
    probe(&ProbeKind::Grpc(Box::new(probed))).await.answer
}

/// What the server of the test answers: a message, and a status in the trailers or, without a message, in the headers.
#[derive(Clone)]
struct Says {
    message: Option<&'static [u8]>,
    status: Option<&'static str>,
    content_type: &'static str,
}

const SERVING: Says =
    Says { message: Some(&[0, 0, 0, 0, 2, 8, 1]), status: Some("0"), content_type: "application/grpc" };

/// Answers every request so; what was asked comes out of the channel: path, authority and message.
async fn server(says: Says, tls: Option<TlsAcceptor>) -> (SocketAddr, mpsc::Receiver<(String, Bytes)>) {
    let (listener, address) = listener().await;
    let (sender, asked) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            let (says, sender, tls) = (says.clone(), sender.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, says, sender).await,
                        Err(_refused) => {}
                    },
                    None => serve(stream, says, sender).await,
                }
            });
        }
    });
    (address, asked)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    says: Says,
    sender: mpsc::Sender<(String, Bytes)>,
) {
    let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (says, sender) = (says.clone(), sender.clone());
        async move {
            let uri = request.uri().to_string();
            assert_eq!(request.headers()["te"], "trailers");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let body = request.into_body().collect().await.expect("the question").to_bytes();
            let _ = sender.send((uri, body)).await;
            let response = Response::builder().header("content-type", says.content_type);
            let Some(message) = says.message else {
                let response = response.header("grpc-status", says.status.unwrap_or("0"));
                let response = response.header("grpc-message", "unknown service");
                return Ok::<_, Infallible>(response.body(Full::new(Bytes::new()).boxed()).expect("a response"));
            };
            let mut trailers = HeaderMap::new();
            if let Some(status) = says.status {
                trailers.insert("grpc-status", status.parse().expect("a status"));
            }
            let body = Full::new(Bytes::from_static(message)).with_trailers(async { Some(Ok(trailers)) });
            Ok(response.body(body.boxed()).expect("a response"))
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

#[tokio::test]
async fn a_server_that_serves_is_good_and_is_asked_by_its_name() {
    let (address, mut asked) = server(SERVING, None).await;
    assert_eq!(ask(grpc(address)).await, Answer::Good);
    let (uri, question) = asked.recv().await.expect("the question");
    assert_eq!(uri, "http://shop.example:9090/grpc.health.v1.Health/Check");
    assert_eq!(question[..], [0; 5]);
    assert_eq!(ask(GrpcProbe { service: "shop".to_owned(), ..grpc(address) }).await, Answer::Good);
    assert_eq!(asked.recv().await.expect("the question").1[..], *b"\0\0\0\0\x06\x0a\x04shop");
}

#[tokio::test]
async fn whatever_else_it_says_is_wrong() {
    let cases = [
        (Says { message: Some(&[0, 0, 0, 0, 2, 8, 2]), ..SERVING }, "NOT_SERVING"),
        (Says { message: Some(&[0, 0, 0, 0, 0]), ..SERVING }, "UNKNOWN"),
        (Says { message: Some(&[0, 0, 0, 0, 9, 8, 1]), ..SERVING }, "can't be read"),
        (Says { status: Some("14"), ..SERVING }, "unavailable"),
        (Says { status: None, ..SERVING }, "without a status"),
        (Says { content_type: "text/html", ..SERVING }, "not a gRPC answer"),
        (Says { message: None, status: Some("5"), ..SERVING }, "does not know this service): unknown service"),
    ];
    for (says, why) in cases {
        let (address, _asked) = server(says, None).await;
        assert_wrong(&ask(grpc(address)).await, why);
    }
}

#[tokio::test]
async fn tls_needs_the_right_name_and_http_2() {
    let authority = authority();
    let mut config = server_config(&authority, "shop.example");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (address, mut asked) = server(SERVING, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let secured = GrpcProbe { tls: true, ca_file: Some(authority.file.clone()), ..grpc(address) };
    assert_eq!(ask(secured.clone()).await, Answer::Good);
    assert!(asked.recv().await.expect("the question").0.starts_with("https://shop.example:9090/"));
    assert_wrong(&ask(GrpcProbe { name: "other.example".to_owned(), ..secured.clone() }).await, "not valid for name");
    let old = TlsAcceptor::from(Arc::new(server_config(&authority, "shop.example")));
    let (address, _asked) = server(SERVING, Some(old)).await;
    let old = GrpcProbe { address: Address::Socket(address), ..secured.clone() };
    assert_wrong(&ask(old).await, "does not choose HTTP/2");
    let nameless = ProbeKind::Grpc(Box::new(GrpcProbe { name: "a b".to_owned(), ..secured }));
    let prepared = Providers::new().prepare_probe(&nameless).await;
    assert!(matches!(prepared, Err(PrepareError::Request(_))), "{prepared:?}");
}

#[tokio::test]
async fn refusal_silence_and_another_protocol_are_told_apart() {
    let refused = ask(grpc(closed_port().await)).await;
    assert!(matches!(refused, Answer::Refused(_)), "{refused:?}");
    let silent = ProbeKind::Grpc(Box::new(grpc(silent_server().await)));
    assert_eq!(probe_in_vain(&silent).await, Answer::TimedOut);
    let (address, _requests) = http_server("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let other = ask(grpc(address)).await;
    assert!(other.is_failure(), "{other:?}");
}

/// Ends when its input does.
const PYTHON: &str = r#"
import sys, concurrent.futures, grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
server = grpc.server(concurrent.futures.ThreadPoolExecutor())
serves = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(serves, server)
serves.set("", health_pb2.HealthCheckResponse.SERVING)
serves.set("orders", health_pb2.HealthCheckResponse.NOT_SERVING)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
"#;

#[tokio::test]
#[ignore = "needs `pip install grpcio-health-checking` for the `python3` in PATH"]
async fn a_server_of_grpc_itself_serves_or_not_or_is_frozen() {
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = python.spawn().expect("python3 is installed");
    let mut port = String::new();
    BufReader::new(server.stdout.take().expect("its output")).read_line(&mut port).expect("its port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().expect("grpc is installed")));
    assert_eq!(ask(grpc(address)).await, Answer::Good);
    assert_wrong(&ask(GrpcProbe { service: "orders".to_owned(), ..grpc(address) }).await, "NOT_SERVING");
    assert_wrong(&ask(GrpcProbe { service: "else".to_owned(), ..grpc(address) }).await, "does not know this service");
    let pid = Pid::from_child(&server);
    kill_process(pid, Signal::STOP).expect("it is ours");
    let frozen = probe_in_vain(&ProbeKind::Grpc(Box::new(grpc(address)))).await;
    kill_process(pid, Signal::CONT).expect("it is ours");
    drop(server.stdin.take());
    server.wait().expect("it is ours");
    assert_eq!(frozen, Answer::TimedOut);
}
