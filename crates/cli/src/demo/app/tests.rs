//! The order store over real loopback sockets.

use std::fs;
use std::future::Future;
use std::io::pipe;

use hyper::{Request, StatusCode};
use tokio::task::JoinHandle;

use super::*;
use crate::demo::http::{Reply, over_connection};

const LONG: Duration = Duration::from_secs(20);
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

async fn start(name: &str, standby_of: Option<SocketAddr>) -> (SocketAddr, JoinHandle<()>) {
    let server = Server::bind(ANY, name.to_owned(), standby_of).await.expect("a free port");
    (server.address(), tokio::spawn(server.serve()))
}

async fn get(address: SocketAddr, path: &str) -> Reply {
    http::ask(address, Method::GET, path, "").await.expect("an answer")
}

async fn post(address: SocketAddr, path: &str, body: impl ToString) -> Reply {
    http::ask(address, Method::POST, path, body.to_string()).await.expect("an answer")
}

async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(LONG, wait).await.unwrap_or_else(|_elapsed| panic!("never: {what}"));
}

async fn keeps(address: SocketAddr, ids: &[u64]) -> bool {
    acknowledged(address, LONG).await.expect("a list") == ids
}

#[tokio::test]
async fn only_the_active_one_takes_orders_and_both_are_healthy() {
    let (primary, _serving) = start("primary", None).await;
    let (standby, _serving) = start("standby", Some(primary)).await;
    assert_eq!(get(primary, "/").await.good(), Ok("primary"));
    assert_eq!(post(primary, "/orders", 17).await.good(), Ok("primary"));
    assert_eq!(get(primary, "/health").await.headers[LAG_HEADER], "0ms");

    for refused in [get(standby, "/").await, post(standby, "/orders", 18).await, get(standby, "/orders?from=0").await] {
        assert_eq!((refused.status, &refused.body[..]), (StatusCode::SERVICE_UNAVAILABLE, &b"standby"[..]));
    }
    assert_eq!(get(standby, "/health").await.status, StatusCode::OK);
    eventually("the standby copies", || keeps(standby, &[17])).await;
    eventually("its lag is known", || async move { get(standby, "/health").await.headers.contains_key(LAG_HEADER) })
        .await;
}

#[tokio::test]
async fn a_standby_that_never_copied_states_no_lag() {
    let (gone, serving) = start("gone", None).await;
    serving.abort();
    assert!(serving.await.expect_err("aborted").is_cancelled());
    let (standby, _serving) = start("standby", Some(gone)).await;
    assert!(!get(standby, "/health").await.headers.contains_key(LAG_HEADER));
}

#[tokio::test]
async fn a_standby_takes_over_and_the_old_primary_copies_it_from_scratch() {
    let (primary, _serving) = start("primary", None).await;
    let (standby, _serving) = start("standby", Some(primary)).await;
    post(primary, "/orders", 1).await;
    eventually("the standby copies", || keeps(standby, &[1])).await;

    assert_eq!(post(standby, "/activate", "").await.good(), Ok("standby"));
    assert_eq!(post(standby, "/orders", 2).await.good(), Ok("standby"));
    // The primary does not know yet: what it takes now is lost, and stays out of the new one's list.
    assert_eq!(post(primary, "/orders", 3).await.good(), Ok("primary"));

    assert_eq!(post(primary, "/follow", standby).await.status, StatusCode::OK);
    assert_eq!(post(primary, "/orders", 4).await.status, StatusCode::SERVICE_UNAVAILABLE);
    eventually("the old primary copies", || keeps(primary, &[1, 2])).await;
    assert!(keeps(standby, &[1, 2]).await);
}

#[tokio::test]
async fn a_late_retry_of_an_activation_is_answered_and_changes_nothing() {
    let (primary, _serving) = start("primary", None).await;
    let (standby, _serving) = start("standby", Some(primary)).await;
    let activate = async || {
        let request = Request::post("/activate").header("Idempotency-Key", "takeover-1");
        over_connection(standby, |mut connection| async move { connection.ask(request, "").await }).await
    };
    assert_eq!(activate().await.expect("an answer").status, StatusCode::OK);
    assert_eq!(get(standby, "/").await.status, StatusCode::OK);
    post(standby, "/follow", primary).await;
    assert_eq!(activate().await.expect("an answer").status, StatusCode::OK);
    assert_eq!(get(standby, "/").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn nonsense_is_refused() {
    let (primary, _serving) = start("primary", None).await;
    for (path, body) in [("/orders", "many"), ("/orders", &"9".repeat(1000)), ("/follow", "it")] {
        assert_eq!(post(primary, path, body).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(post(primary, "/follow", primary).await.status, StatusCode::BAD_REQUEST, "itself");
    assert_eq!(get(primary, "/orders?from=x").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(primary, "/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn it_ends_with_the_one_who_started_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("app.pid");
    let (read, write) = pipe().expect("a pipe");
    let options = Options { listen: ANY, name: "primary".to_owned(), pid_file: pid_file.clone(), standby_of: None };
    let running = tokio::spawn(run_while_open(options, read));
    let expected = format!("{}\n", std::process::id());
    eventually("a pid file", || async { fs::read_to_string(&pid_file).is_ok_and(|text| text == expected) }).await;
    assert!(!running.is_finished());
    drop(write);
    time::timeout(LONG, running).await.expect("in time").expect("no panic").expect("no trouble");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let (taken, _serving) = start("first", None).await;
    let (read, _write) = pipe().expect("a pipe");
    let folder = tempfile::tempdir().expect("a folder");
    let pid_file = folder.path().join("app.pid");
    let options = Options { listen: taken, name: "second".to_owned(), pid_file: pid_file.clone(), standby_of: None };
    let error = run_while_open(options, read).await.expect_err("taken");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    assert!(!pid_file.exists());
}
