//! Requests that no job would send, and real ones with any change: each is answered in HTTP or not at all, and nobody is heard, or
//! told a name, who has no token.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::LazyLock;

use bolero::check;
use mainstay_host::Clock;
use mainstay_plan::{Time, compile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 5000;
const TIME: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const TOKEN: &str = "3f9c0b7d52e84a61";

const PLAN: &str = "\
version: 2
site: { name: fuzz, region: here, zone: desk }
components:
  copy:
    type: application_server
    location: { region: here, zone: rack }
    probes:
      - heartbeat: { name: copied, max_age: 1h }
";

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Somebody who waits for `copied`, below this directory.
fn hearing(dir: &Path) -> AssertUnwindSafe<Hearing> {
    let _inside = RUNTIME.enter();
    let (reports, _) = mpsc::channel(1);
    let hands = Hands::new(Clock::start(Time::ZERO), reports, dir);
    hands.prepare(&Arc::new(compile("plan.yaml", PLAN, dir).plan.expect("a plan")));
    let file = dir.join("tokens");
    fs::write(&file, TOKEN).expect("written");
    let keeper = Keeper::default();
    let mut tokens = keeper.shown();
    let hearing = Hearing {
        hands,
        tokens: tokens.clone(),
        certificate: None,
        is_bound: AtomicBool::new(true),
        refused: Mutex::default(),
    };
    RUNTIME.spawn(async move {
        let trouble = Trouble::default();
        keeper.follow(|| Some(TokenFile(file.clone())), &trouble, "here", "nobody is heard").await
    });
    RUNTIME.block_on(tokens.newest()).expect("it is read");
    AssertUnwindSafe(hearing)
}

/// A client says it, ends, and takes what comes back.
fn answer(hearing: &Hearing, request: &[u8]) -> String {
    let (mut client, server) = tokio::io::duplex(64);
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let served = mainstay_web::serve(server, Secured::Plain, |request| hearing.answer(peer, request));
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
    let answer = RUNTIME.block_on(async { timeout(ANSWERED_WITHIN, both).await });
    String::from_utf8_lossy(&answer.unwrap_or_else(|_| panic!("no end: {request:?}"))).into_owned()
}

fn is_answered_well(hearing: &AssertUnwindSafe<Hearing>, request: &[u8]) {
    let answer = answer(hearing, request);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer:?} to {request:?}");
    let said = percent_encoding::percent_decode(request).collect::<Vec<_>>();
    let has_token = String::from_utf8_lossy(&said).contains(TOKEN);
    let tells = [" 200 OK", "waits for no heartbeat"].iter().any(|it| answer.contains(it));
    assert!(has_token || !tells, "{answer:?} to {request:?}");
    assert!(!answer.contains(TOKEN), "{answer:?}");
}

#[test]
fn any_bytes_are_answered_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let hearing = hearing(dir.path());
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(bool, Vec<u8>)>().for_each(|(is_request, bytes)| {
        let start: &[u8] = if *is_request { b"GET /heartbeats/" } else { b"" };
        is_answered_well(&hearing, &[start, bytes].concat());
    });
}

#[test]
fn real_calls_with_any_change_are_answered_well() {
    const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "OPTIONS", "CONNECT"];
    const PATHS: [&str; 7] = [
        "/heartbeats/copied",
        "/heartbeats/copied/3f9c0b7d52e84a61",
        "/heartbeats/other/3f9c0b7d52e84a6",
        "/heartbeats/%63opied/%33f9c0b7d52e84a61",
        "/heartbeats//",
        "/v1/heartbeats/copied",
        "http://x/heartbeats/copied",
    ];
    const HEADS: [&str; 7] = [
        "host: here",
        "authorization: Bearer 3f9c0b7d52e84a61",
        "authorization: bearer",
        "content-length: 5",
        "transfer-encoding: chunked",
        "expect: 100-continue",
        "connection: upgrade",
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let hearing = hearing(dir.path());
    let heard = answer(&hearing, b"GET /heartbeats/copied/3f9c0b7d52e84a61 HTTP/1.1\r\n\r\n");
    assert!(heard.starts_with("HTTP/1.1 200 OK"), "{heard}");
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(u8, u8, Vec<u8>, Vec<u8>, Vec<(u16, u8)>)>().for_each(
        |(method, path, heads, body, changes)| {
            let method = METHODS[usize::from(*method) % METHODS.len()];
            let path = PATHS[usize::from(*path) % PATHS.len()];
            let heads: Vec<_> = heads.iter().take(4).map(|it| HEADS[usize::from(*it) % HEADS.len()]).collect();
            let mut request = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", heads.join("\r\n")).into_bytes();
            is_answered_well(&hearing, &request);
            request.extend_from_slice(body);
            for (at, byte) in changes.iter().take(8) {
                let at = usize::from(*at) % request.len();
                request[at] = *byte;
            }
            is_answered_well(&hearing, &request);
        },
    );
}
