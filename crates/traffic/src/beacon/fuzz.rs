//! Requests that no health check would send, and real ones with any change: each is answered in HTTP or not at all, and none is
//! told that an instance serves that does not.

use std::sync::Arc;
use std::time::Duration;

use bolero::check;
use mainstay_plan::routing::TargetState::{Serving, Standby};
use mainstay_web::Secured;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::serve_client;
use crate::live::tests::table;
use crate::live::{Live, Served};

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 5000;
const TIME: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A client says it, ends, and takes what comes back.
async fn answer(live: &Arc<Live>, request: &[u8]) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(64);
    let retires = CancellationToken::new();
    let served = serve_client(live, server, Secured::Plain, &retires);
    let asked = async {
        let (mut from, mut to) = tokio::io::split(&mut client);
        let said = async {
            // It may be closed in the middle of what nobody wants to hear.
            let _ = to.write_all(request).await;
            let _ = to.shutdown().await;
        };
        let mut answer = Vec::new();
        let heard = from.read_to_end(&mut answer);
        let _ = tokio::join!(said, heard);
        answer
    };
    let both = async { tokio::join!(served, asked).1 };
    timeout(ANSWERED_WITHIN, both).await.unwrap_or_else(|_| panic!("no end: {request:?}"))
}

fn is_answered_well(live: &Arc<Live>, request: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(answer(live, request));
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || text.starts_with("HTTP/1."), "{text:?} to {request:?}");
    let said = String::from_utf8_lossy(request);
    let good = ["/healthz", "/routes/r/i1"];
    assert!(!text.contains(" 200 OK") || good.iter().any(|it| said.contains(it)), "{text:?} to {said:?}");
}

/// `i1` serves, `i2` stands by.
fn live() -> Arc<Live> {
    let mut table = table(1, [Serving, Standby]);
    table.routes[0].beacon = true;
    Live::new(Served::new(table, None).unwrap())
}

#[test]
fn any_bytes_are_answered_well() {
    let live = live();
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(bool, Vec<u8>)>().for_each(|(is_request, bytes)| {
        let start: &[u8] = if *is_request { b"GET /routes/" } else { b"" };
        is_answered_well(&live, &[start, bytes].concat());
    });
}

#[test]
fn real_requests_with_any_change_are_answered_well() {
    const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "OPTIONS", "CONNECT"];
    const PATHS: [&str; 6] = ["/healthz", "/routes/r/i1", "/routes/r/i2", "/routes/r", "/", "http://x/routes/r/i2"];
    const HEADS: [&str; 6] = [
        "host: here",
        "content-length: 5",
        "transfer-encoding: chunked",
        "connection: close",
        "expect: 100-continue",
        "connection: upgrade",
    ];
    let live = live();
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(u8, u8, Vec<u8>, Vec<u8>, Vec<(u16, u8)>)>().for_each(
        |(method, path, heads, body, changes)| {
            let method = METHODS[usize::from(*method) % METHODS.len()];
            let path = PATHS[usize::from(*path) % PATHS.len()];
            let heads: Vec<_> = heads.iter().take(4).map(|it| HEADS[usize::from(*it) % HEADS.len()]).collect();
            let mut request = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", heads.join("\r\n")).into_bytes();
            is_answered_well(&live, &request);
            request.extend_from_slice(body);
            for (at, byte) in changes.iter().take(8) {
                let at = usize::from(*at) % request.len();
                request[at] = *byte;
            }
            is_answered_well(&live, &request);
        },
    );
}
