//! Probes that connect.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, ProbeKind};
use rustix::net::{AddressFamily, SocketType};

use crate::fixtures::*;

fn tcp(address: SocketAddr) -> ProbeKind {
    ProbeKind::Tcp { address: Address::Socket(address) }
}

#[tokio::test]
async fn a_listener_is_good_and_a_closed_port_refuses() {
    let (_listener, address) = listener().await;
    assert_eq!(probe(&tcp(address)).await.answer, Answer::Good);
    assert_refused(&probe(&tcp(closed_port().await)).await.answer, "connection refused");
}

#[tokio::test]
async fn a_name_is_resolved_by_the_system() {
    let (_listener, address) = listener().await;
    let named = ProbeKind::Tcp { address: Address::Name { host: "localhost".to_owned(), port: address.port() } };
    assert_eq!(probe(&named).await.answer, Answer::Good);
}

#[tokio::test]
async fn a_name_that_the_system_cannot_resolve_says_nothing_about_the_component() {
    let named = ProbeKind::Tcp { address: Address::Name { host: "nowhere.invalid".to_owned(), port: 1 } };
    assert_could_not_ask(&probe_in_vain(&named).await, "the system's resolver");
}

#[tokio::test]
async fn silence_times_out() {
    // A listener with a full queue drops what else arrives, as a black hole does.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddr::from(ANY_PORT)).expect("a free port");
    rustix::net::listen(&socket, 0).expect("it listens");
    let address: SocketAddr = rustix::net::getsockname(&socket).expect("its address").try_into().expect("IPv4");
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
    }
    assert_eq!(probe_in_vain(&tcp(address)).await, Answer::TimedOut);
}

#[tokio::test]
async fn an_address_that_we_have_no_route_to_is_our_trouble() {
    // TCP has no route to the broadcast address anywhere.
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_could_not_ask(&probe(&tcp(nowhere)).await.answer, "unreachable");
}
