//! Actions that send an HTTP request.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mainstay_plan::action::{Action, Outcome, Plane};
use mainstay_providers::{PrepareError, Providers};

use crate::fixtures::*;

fn webhook(url: &str) -> Action {
    Action::Webhook {
        url: url.to_owned(),
        method: "POST".to_owned(),
        headers: BTreeMap::from([("Authorization".to_owned(), "Bearer secret".to_owned())]),
        body: "{\"promote\":true}".to_owned(),
        plane: Plane::Data,
        idempotent: true,
        address_header: None,
    }
}

fn at(address: SocketAddr) -> Action {
    webhook(&format!("http://{address}/hooks/promote?token=secret"))
}

/// One whose answer says where its instance is from then on.
fn bringing(address: SocketAddr) -> Action {
    let mut action = at(address);
    if let Action::Webhook { address_header, .. } = &mut action {
        *address_header = Some("X-New-Address".to_owned());
    }
    action
}

#[tokio::test]
async fn the_request_carries_headers_body_and_the_key() {
    let (address, mut requests) = http_server("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(act(&at(address)).await, Outcome::Done);
    let request = requests.recv().await.expect("a request");
    assert!(request.starts_with("POST /hooks/promote?token=secret HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"promote\":true}"), "{request}");
    let host = format!("host: {address}\r\n");
    for header in ["idempotency-key: recovery-7/step-2\r\n", "authorization: Bearer secret\r\n", host.as_str()] {
        assert!(request.contains(header), "{request}");
    }
}

#[tokio::test]
async fn the_status_tells_what_is_known() {
    let replies = [
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", false),
    ];
    for (reply, is_known) in replies {
        let (address, _requests) = http_server(reply).await;
        let outcome = act(&at(address)).await;
        match is_known {
            true => assert_failed(&outcome, "status"),
            false => assert_unknown(&outcome, "status 500"),
        }
        assert!(!format!("{outcome:?}").contains("secret"));
    }
}

#[tokio::test]
async fn what_was_never_sent_has_failed_and_what_was_never_answered_is_unknown() {
    let refused = act(&at(closed_port().await)).await;
    assert_failed(&refused, "nothing was sent");
    assert!(!format!("{refused:?}").contains("secret"));
    let (address, _requests) = http_server("").await;
    assert_unknown(&act(&at(address)).await, "sent, but not answered");
    assert_unknown(&act_in_vain(&at(silent_server().await)).await, "not answered");
    let (address, _requests) = http_server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut").await;
    assert_eq!(act(&at(address)).await, Outcome::Done, "the status was seen");
}

#[tokio::test]
async fn what_is_no_request_is_refused_early_and_late() {
    let broken = webhook("promote.example/now");
    assert_failed(&act(&broken).await, "URL");
    let prepared = Providers::new().prepare_action(&broken).await;
    assert!(matches!(prepared, Err(PrepareError::Request(_))), "{prepared:?}");
    Providers::new().prepare_action(&webhook("http://promote.example/now")).await.expect("a good URL");
}

#[tokio::test]
async fn a_header_of_the_answer_is_where_the_instance_is() {
    let (address, _requests) = http_server("HTTP/1.1 201 Created\r\nx-new-address: 10.0.3.7\r\n\r\n").await;
    assert_eq!(act(&bringing(address)).await, Outcome::DoneAt([10, 0, 3, 7].into()));
    let (address, _requests) = http_server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_unknown(&act(&bringing(address)).await, "said no address");
    let (address, _requests) = http_server("HTTP/1.1 200 OK\r\nx-new-address: i-0abcdef\r\n\r\n").await;
    assert_unknown(&act(&bringing(address)).await, "9 characters");
    let (address, _requests) = http_server("HTTP/1.1 409 Conflict\r\nx-new-address: 10.0.3.7\r\n\r\n").await;
    assert_failed(&act(&bringing(address)).await, "status 409");
}
