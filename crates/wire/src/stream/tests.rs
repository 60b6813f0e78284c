//! The stream between two ends in one process.

use mainstay_plan::routing::RoutingTable;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

type Agent = (Outgoing<FromAgent>, Incoming<FromHost>);
type Host = (Outgoing<FromHost>, Incoming<FromAgent>);

async fn connected() -> (Agent, Host) {
    let (one, other) = duplex(4 << 10);
    let (agent, host) = tokio::join!(accept(one), dial(other));
    (agent.unwrap(), host.unwrap())
}

fn cancel(key: usize) -> FromAgent {
    FromAgent::Cancel { key: key.to_string() }
}

#[tokio::test]
async fn both_sides_speak_at_any_time() {
    let ((to_host, mut from_host), (to_agent, mut from_agent)) = connected().await;
    for nth in 0..100 {
        to_host.say(&cancel(nth)).unwrap();
        to_agent.say(&FromHost::Progress { key: nth.to_string(), text: String::new() }).unwrap();
    }
    for nth in 0..100 {
        assert_eq!(from_agent.hear().await.unwrap(), Some(Understood::Message(cancel(nth))));
        let Some(Understood::Message(FromHost::Progress { key, .. })) = from_host.hear().await.unwrap() else {
            panic!("something else was heard")
        };
        assert_eq!(key, nth.to_string());
    }
}

#[tokio::test]
async fn a_large_table_arrives() {
    let ((to_host, _from_host), (_to_agent, mut from_agent)) = connected().await;
    let site = "s".repeat(5 << 20);
    let table = Box::new(RoutingTable::empty(&site));
    to_host.say(&FromAgent::Serve { table: table.clone() }).unwrap();
    to_host.say(&cancel(1)).unwrap();
    assert_eq!(from_agent.hear().await.unwrap(), Some(Understood::Message(FromAgent::Serve { table })));
    assert_eq!(from_agent.hear().await.unwrap(), Some(Understood::Message(cancel(1))));
}

#[tokio::test]
async fn who_takes_nothing_is_not_waited_for() {
    let ((to_host, _from_host), (_to_agent, _from_agent)) = connected().await;
    let long = FromAgent::Cancel { key: "k".repeat(64 << 10) };
    let unsaid = (0..2 * QUEUE).find_map(|_| to_host.say(&long).err());
    assert_eq!(unsaid, Some(Unsaid::Full));
}

#[tokio::test]
async fn dropping_one_end_closes_the_other() {
    let ((to_host, from_host), (to_agent, mut from_agent)) = connected().await;
    drop((to_host, from_host));
    assert!(!matches!(from_agent.hear().await, Ok(Some(_))));
    to_agent.queue.closed().await;
    assert_eq!(to_agent.say(&FromHost::not_understood(String::new())), Err(Unsaid::Over));
}

/// What an agent hears of a client that sends these bytes as the body of its request, and then ends in order or not.
async fn heard(bytes: Vec<u8>) -> Result<Option<Understood<FromHost>>, StreamError> {
    let (one, other) = duplex(4 << 10);
    let client = async move {
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(other)).await.unwrap();
        let body = http_body_util::Full::new(Bytes::from(bytes));
        let request = Request::post(format!("https://agent{PATH}")).body(body).unwrap();
        let asked = async move {
            let response = requests.send_request(request).await.unwrap();
            let _ = response.into_body().collect().await;
        };
        let _ = tokio::join!(connection, asked);
    };
    let client = tokio::spawn(client);
    let (_to_host, mut from_host) = accept(one).await.unwrap();
    let heard = from_host.hear().await;
    client.abort();
    heard
}

#[tokio::test]
async fn what_is_torn_or_garbled_ends_the_connection() {
    let whole = encode(&FromHost::Progress { key: "k".to_owned(), text: "t".to_owned() });
    assert!(matches!(heard(whole.clone()).await, Ok(Some(Understood::Message(_)))));
    assert!(matches!(heard(whole[..whole.len() - 3].to_vec()).await, Err(StreamError::Torn)));
    assert!(matches!(heard(b"hello\n".to_vec()).await, Err(StreamError::Garbled(_))));
    assert!(matches!(
        heard(br#"{"fly":{}}"#.iter().chain(b"\n").copied().collect()).await,
        Ok(Some(Understood::Not(_)))
    ));
    assert!(matches!(heard(Vec::new()).await, Ok(None)));
}

async fn speaks(mut client: DuplexStream, bytes: &[u8]) {
    let _ = client.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
}

#[tokio::test]
async fn who_speaks_no_http_2_does_not_begin() {
    let (one, other) = duplex(4 << 10);
    let (begun, ()) = tokio::join!(accept(one), speaks(other, b"GET / HTTP/1.1\r\nhost: agent\r\n\r\n"));
    assert!(begun.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_does_not_begin() {
    let (one, _other) = duplex(4 << 10);
    assert!(matches!(accept(one).await, Err(StreamError::Silent)));
    let (one, _other) = duplex(4 << 10);
    assert!(dial(one).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_something_else_may_take_longer_than_a_stream_to_begin() {
    let (client, server) = duplex(64 << 10);
    let beside = |_request| async {
        tokio::time::sleep(BEGINS_WITHIN * 2).await;
        Ok(Response::new(BodyExt::boxed(http_body_util::Empty::new())))
    };
    let served = tokio::spawn(accept_beside(server, beside));
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::get("https://agent/else").body(http_body_util::Empty::<Bytes>::new()).expect("a request");
    let response = requests.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    drop((requests, response));
    assert!(matches!(served.await.expect("no panic"), Ok(None)));
}
