//! Several questions as one probe, of real servers.

use std::time::{Duration, Instant};

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, CompositeProbe, HttpProbe, ProbeKind};
use mainstay_providers::{PrepareError, Providers};

use crate::fixtures::*;

fn composite(needed: u32, of: &[&ProbeKind]) -> ProbeKind {
    ProbeKind::Composite(Box::new(CompositeProbe { needed, of: of.iter().map(|it| (*it).clone()).collect() }))
}

#[tokio::test]
async fn enough_good_answers_are_good_whatever_the_others_do() {
    let tcp = |address| ProbeKind::Tcp { address: Address::Socket(address) };
    let http = |address| ProbeKind::Http(Box::new(HttpProbe::get(Address::Socket(address), "shop.example", "/")));
    let (address, _requests) = http_server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (good, frozen, gone) = (http(address), http(silent_server().await), tcp(closed_port().await));
    assert_eq!(probe(&composite(1, &[&frozen, &gone, &good])).await.answer, Answer::Good);
    assert_wrong(&probe(&composite(2, &[&gone, &good])).await.answer, "2 of 2 parts are needed; 1: connecting to");
    // It need not wait for the frozen one to know.
    let begun = Instant::now();
    assert_wrong(&probe(&composite(3, &[&frozen, &gone, &good])).await.answer, "connection refused");
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn frozen_parts_take_no_longer_than_the_whole() {
    let frozen = |address| ProbeKind::Http(Box::new(HttpProbe::get(Address::Socket(address), "shop.example", "/")));
    let both = composite(1, &[&frozen(silent_server().await), &frozen(silent_server().await)]);
    assert_eq!(probe_in_vain(&both).await, Answer::TimedOut);
}

#[tokio::test]
async fn a_part_that_can_not_be_asked_is_said_beforehand() {
    let nameless = ProbeKind::Command { argv: vec!["/no/such/check".into()], reports_lag: false, reports_role: false };
    let there = ProbeKind::FileFreshness { path: "/".into(), max_age: Duration::from_secs(u32::MAX.into()) };
    let both = composite(2, &[&there, &nameless]);
    let prepared = Providers::new().prepare_probe(&both).await;
    assert!(matches!(prepared, Err(PrepareError::Command { .. })), "{prepared:?}");
    assert_could_not_ask(&probe(&both).await.answer, "of 2 parts: 2:");
    assert_eq!(probe(&composite(1, &[&there, &nameless])).await.answer, Answer::Good);
}
