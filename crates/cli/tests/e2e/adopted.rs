//! Somebody else was there first, with real servers: a standby is promoted by hand, and adopted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mainstay_engine::Body;

use super::plans;
use super::site::{ORDERS, Site};

/// What a person does who does not ask us.
fn promote(at: SocketAddr) {
    let mut stream = TcpStream::connect(at).expect("the standby is there");
    let request = format!("POST /activate HTTP/1.1\r\nhost: {at}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_standby_promoted_by_hand_is_held_for_and_adopted() {
    let telling = |text: String| {
        text.replace("lag_header: x-replication-lag", "lag_header: x-replication-lag, role_header: x-role")
    };
    let mut site = Site::running(&ORDERS, |net, dir| format!("mode: recommend\n{}", telling(plans::orders(net, dir))));
    site.says(&["adopt", "orders-b", "--as", "active"]).tells(4, &["orders-b", "standby"]);
    site.kill_server("orders");
    promote(site.net.servers["orders-b"]);
    let waits = |code: &'static str| {
        move |it: &mainstay_api::Status| it.components[0].waiting.as_ref().is_some_and(|it| it.code == code)
    };
    let status = site.until_status("it holds for whoever was first", waits("someone_else"));
    assert!(status.trouble.iter().any(|it| it.contains("orders-b") && it.contains("active")), "{:?}", status.trouble);
    let waiting = status.components[0].waiting.clone().expect("it waits");
    site.says(&["approve", &waiting.recovery]).tells(0, &["recorded as"]);
    assert_eq!(site.serves_through_proxy(), None, "an approval alone does not fight whoever was first");
    let words: Vec<&str> = waiting.way_out.split(' ').collect();
    site.says(&words[1..]).tells(0, &["recorded as", "becomes the component"]);
    site.until_owned_by("orders", "orders-b");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders-b"));
    assert!(!site.recorded(|it| matches!(it, Body::RungStarted { .. })), "nothing was taken over");
    assert!(site.recorded(|it| matches!(it, Body::AdoptionStarted { .. })));
    site.stop_agent();
    site.check_journal();
}
