//! What a health check sees.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::routing::TargetState::{Down, Draining, Fenced, Serving, Standby};

use crate::running::{Traffic, free_address, proxied, table, target, with_states};

pub(crate) fn get(address: SocketAddr, method: Method, path: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request =
            Request::builder().method(method).uri(path).header("host", "x").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        (status, String::from_utf8(body.to_vec()).unwrap())
    })
}

#[test]
fn a_beacon_is_200_for_the_instance_that_serves_and_503_with_the_reason_for_others() {
    let traffic = Traffic::start();
    let (_, mut route) =
        proxied(true, vec![target("a", free_address(), Serving), target("b", free_address(), Standby)]);
    route.beacon = true;
    let (_, mut silent) = proxied(true, vec![target("c", free_address(), Serving)]);
    silent.name = "silent".into();
    let beacon = free_address();
    let with_beacon = |epoch, states: [_; 2]| RoutingTable {
        beacon_listen: Some(beacon),
        ..table(epoch, &[&with_states(&route, &states), &silent])
    };
    let mut agent = traffic.agent();
    agent.apply(&with_beacon(1, [Serving, Standby]));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/a"), (200, "serving\n".into()));
    assert_eq!(get(beacon, Method::HEAD, "/routes/orders/a"), (200, String::new()));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/b"), (503, "standby\n".into()));
    for (epoch, state, word) in [(2, Draining, "draining"), (3, Down, "down"), (4, Fenced, "fenced")] {
        agent.apply(&with_beacon(epoch, [state, Standby]));
        assert_eq!(get(beacon, Method::GET, "/routes/orders/a"), (503, format!("{word}\n")));
    }
    agent.apply(&with_beacon(5, [Fenced, Serving]));
    assert_eq!(get(beacon, Method::GET, "/routes/orders/b").0, 200);
    for path in ["/routes/orders/x", "/routes/x/a", "/routes/orders", "/", "/routes/silent/c"] {
        assert_eq!(get(beacon, Method::GET, path).0, 404, "{path}");
    }
    assert_eq!(get(beacon, Method::POST, "/routes/orders/b").0, 405);
    let (status, body) = get(beacon, Method::GET, "/healthz");
    assert_eq!(status, 200);
    assert!(body.starts_with("epoch 5\nage_ms "), "{body}");
}
