//! What an HTTP probe can ask, of a real nginx.

use std::collections::BTreeMap;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, Hidden, HttpAuth, HttpMethod, HttpProbe, ProbeKind};
use mainstay_providers::{PrepareError, ProbeAnswer, Providers};

use crate::fixtures::*;
use crate::http_probe::{authority, tls_server};
use crate::nginx::Nginx;

fn plain(nginx: &Nginx, path: &str) -> HttpProbe {
    HttpProbe::get(Address::Socket(nginx.plain), "shop.example", path)
}

fn secured(nginx: &Nginx, path: &str) -> HttpProbe {
    HttpProbe {
        tls: true,
        ca_file: Some(nginx.ca_file()),
        ..HttpProbe::get(Address::Socket(nginx.secured), "shop.example", path)
    }
}

async fn ask(probed: HttpProbe) -> ProbeAnswer {
    probe(&ProbeKind::Http(Box::new(probed))).await
}

fn with_body(probed: HttpProbe, text: &str) -> HttpProbe {
    HttpProbe { expect_body: Some(text.to_owned()), ..probed }
}

#[tokio::test]
async fn headers_of_the_answer_are_looked_at() {
    let nginx = Nginx::start().await;
    let expects = |name: &str, text: &str| HttpProbe {
        expect_headers: BTreeMap::from([(name.to_owned(), text.to_owned())]),
        ..plain(&nginx, "/ready")
    };
    for (name, text) in [("content-type", "json"), ("X-Role", "Primary"), ("x-role", "")] {
        assert_eq!(ask(expects(name, text)).await.answer, Answer::Good, "{name}");
    }
    assert_wrong(&ask(expects("x-role", "replica")).await.answer, "got \"Primary\"");
    assert_wrong(&ask(expects("x-other", "")).await.answer, "got none");
}

#[tokio::test]
async fn method_headers_and_body_are_sent() {
    let nginx = Nginx::start().await;
    let posts = HttpProbe {
        method: HttpMethod::Post,
        headers: BTreeMap::from([("X-Key".to_owned(), Hidden("k".to_owned()))]),
        send: Some(Hidden("ping".to_owned())),
        ..with_body(plain(&nginx, "/posted"), "posted")
    };
    assert_eq!(ask(posts.clone()).await.answer, Answer::Good);
    assert_eq!(ask(HttpProbe { http2: true, ..secured_like(&nginx, &posts) }).await.answer, Answer::Good);
    assert_wrong(&ask(HttpProbe { method: HttpMethod::Put, ..posts.clone() }).await.answer, "status 405");
    assert_wrong(&ask(HttpProbe { headers: BTreeMap::new(), ..posts }).await.answer, "status 403");
    let head = HttpProbe { method: HttpMethod::Head, ..plain(&nginx, "/ready") };
    assert_eq!(ask(head).await.answer, Answer::Good);
}

/// The same question over TLS.
fn secured_like(nginx: &Nginx, probed: &HttpProbe) -> HttpProbe {
    let HttpProbe { tls, address, ca_file, .. } = secured(nginx, "/");
    HttpProbe { tls, address, ca_file, ..probed.clone() }
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_asked_for() {
    let nginx = Nginx::start().await;
    assert_eq!(ask(with_body(secured(&nginx, "/version"), "HTTP/1.1")).await.answer, Answer::Good);
    let second = |probed: HttpProbe| HttpProbe { http2: true, ..with_body(probed, "HTTP/2.0") };
    assert_eq!(ask(second(secured(&nginx, "/version"))).await.answer, Answer::Good);
    let known = HttpProbe { address: Address::Socket(nginx.known), ..second(plain(&nginx, "/version")) };
    assert_eq!(ask(known).await.answer, Answer::Good);
    let authority = authority();
    let address = Address::Socket(tls_server(&authority, "shop.example").await);
    let old = HttpProbe { address, ca_file: Some(authority.file.clone()), ..second(secured(&nginx, "/version")) };
    assert_wrong(&ask(old).await.answer, "the server does not choose HTTP/2");
    // A server of HTTP/1.1 that is spoken to in HTTP/2.
    let (address, _requests) = http_server("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let plain = HttpProbe { http2: true, ..HttpProbe::get(Address::Socket(address), "shop.example", "/") };
    let answer = ask(plain.clone()).await.answer;
    assert!(answer.is_failure(), "{answer:?}");
    let silent = HttpProbe { address: Address::Socket(silent_server().await), ..plain };
    assert_eq!(probe_in_vain(&ProbeKind::Http(Box::new(silent))).await, Answer::TimedOut);
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_asked() {
    let nginx = Nginx::start().await;
    let through = |path: &str, redirects| HttpProbe { redirects, ..with_body(plain(&nginx, path), "ready") };
    assert_wrong(&ask(through("/old", 0)).await.answer, "status 302");
    assert_eq!(ask(through("/old", 1)).await.answer, Answer::Good);
    assert_wrong(&ask(through("/twice", 1)).await.answer, "redirected more than 1 times");
    assert_eq!(ask(through("/twice", 2)).await.answer, Answer::Good);
    assert_wrong(&ask(through("/loop", 10)).await.answer, "redirected more than 10 times");
    // The name stays with the machine that was asked: nobody looks `shop.example` up.
    let to_tls = HttpProbe { ca_file: Some(nginx.ca_file()), ..through("/to-tls", 1) };
    assert_eq!(ask(to_tls).await.answer, Answer::Good);
    let other = HttpProbe { method: HttpMethod::Post, ..with_body(plain(&nginx, "/see-other"), "got") };
    assert_eq!(ask(HttpProbe { redirects: 1, ..other }).await.answer, Answer::Good);
}

#[tokio::test]
async fn another_server_is_told_no_secret() {
    let nginx = Nginx::start().await;
    let away = HttpProbe {
        redirects: 1,
        auth: Some(HttpAuth::Bearer { file: nginx.file("token", "s3cret") }),
        headers: BTreeMap::from([("X-Key".to_owned(), Hidden("k".to_owned()))]),
        ..with_body(plain(&nginx, "/away"), "open")
    };
    assert_eq!(ask(away).await.answer, Answer::Good);
}

#[tokio::test]
async fn who_asks_is_said_from_a_file() {
    let nginx = Nginx::start().await;
    let token = nginx.file("token", "s3cret\n");
    let with = |path: &str, auth| HttpProbe { auth: Some(auth), ..plain(&nginx, path) };
    let bearer = with("/token", HttpAuth::Bearer { file: token.clone() });
    assert_eq!(ask(bearer.clone()).await.answer, Answer::Good);
    assert_eq!(ask(HttpProbe { http2: true, ..secured_like(&nginx, &bearer) }).await.answer, Answer::Good);
    assert_wrong(&ask(plain(&nginx, "/token")).await.answer, "status 401");
    let users = nginx.file("user", "monitor:open sesame\n");
    assert_eq!(ask(with("/basic/file", HttpAuth::Basic { file: users })).await.answer, Answer::Good);
    let wrong = nginx.file("user", "monitor:sesame\n");
    assert_wrong(&ask(with("/basic/file", HttpAuth::Basic { file: wrong })).await.answer, "status 401");
    let none = with("/basic/file", HttpAuth::Basic { file: token });
    let answer = ask(none.clone()).await.answer;
    assert_could_not_ask(&answer, "user:password");
    assert!(!format!("{answer:?}").contains("s3cret"));
    let prepared = Providers::new().prepare_probe(&ProbeKind::Http(Box::new(none))).await;
    assert!(matches!(prepared, Err(PrepareError::Secret(_))), "{prepared:?}");
}

#[tokio::test]
async fn a_token_that_was_renewed_costs_no_answer() {
    let nginx = Nginx::start().await;
    let token = nginx.file("token", "of yesterday");
    let kind = ProbeKind::Http(Box::new(HttpProbe {
        auth: Some(HttpAuth::Bearer { file: token.clone() }),
        ..plain(&nginx, "/token")
    }));
    let providers = Providers::new();
    providers.prepare_probe(&kind).await.expect("the token is read");
    assert_wrong(&providers.probe(&kind, LONG).await.answer, "status 401");
    nginx.file("token", "s3cret");
    assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good);
    // It needs no file any more.
    std::fs::remove_file(token).expect("it was there");
    assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good);
}

#[test]
fn nothing_shows_what_is_sent() {
    let probed = HttpProbe {
        headers: BTreeMap::from([("X-Key".to_owned(), Hidden("k1e2y".to_owned()))]),
        send: Some(Hidden("k1e2y".to_owned())),
        ..HttpProbe::get(Address::Socket(([127, 0, 0, 1], 80).into()), "shop.example", "/")
    };
    assert!(!format!("{probed:?}").contains("k1e2y"));
}
