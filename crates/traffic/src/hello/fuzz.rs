//! First messages that no TLS client would send, and real ones with any change: in one piece or in many they say the same.

use std::sync::Arc;
use std::time::Duration;

use bolero::check;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{HELLO_MAX_BYTES, Heard, Hello, Listener};

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 20_000;
const TIME: Duration = Duration::from_secs(5);

/// What is heard when they come in pieces of so many bytes, and of how many of them.
fn hear(bytes: &[u8], each: usize) -> (Heard, usize) {
    let mut listener = Listener::new();
    let mut heard = 0;
    for piece in bytes.chunks(each.max(1)) {
        heard += piece.len();
        if let Heard::Hello(hello) = listener.hear(piece) {
            return (Heard::Hello(hello), heard);
        }
    }
    (Heard::More, heard)
}

fn is_heard_well(bytes: &[u8], each: usize) {
    let (whole, _) = hear(bytes, bytes.len());
    let (pieces, _) = hear(bytes, each);
    assert_eq!(whole, pieces, "in pieces of {each}: {bytes:?}");
    match whole {
        Heard::More => assert!(bytes.len() <= HELLO_MAX_BYTES, "more than {} bytes are waited for", bytes.len()),
        Heard::Hello(Hello { name, alert }) => {
            assert!(alert.is_empty() || alert[0] == 21, "no alert: {alert:?}");
            let is_plain =
                |it: &str| !it.is_empty() && !it.ends_with('.') && !it.bytes().any(|it| it.is_ascii_uppercase());
            assert!(name.as_deref().is_none_or(is_plain), "{name:?}");
        }
    }
}

fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("Shop.Example.com").unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn any_bytes_are_heard_well() {
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(bool, Vec<u8>, u8)>().for_each(|(is_record, bytes, each)| {
        let start: &[u8] = if *is_record { &[22, 3, 1] } else { &[] };
        is_heard_well(&[start, bytes].concat(), usize::from(*each));
    });
}

#[test]
fn real_hellos_with_any_change_are_heard_well() {
    let hello = hello();
    assert_eq!(hear(&hello, 1).0, hear(&hello, hello.len()).0);
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(Vec<(u16, u8)>, u8, u16, u8)>().for_each(|(changes, again, cut, each)| {
        let mut bytes = hello.clone();
        for (at, byte) in changes.iter().take(8) {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        // Now and then more than a hello may be.
        if again % 16 == 0 {
            bytes = bytes.repeat(1 + HELLO_MAX_BYTES / bytes.len());
        }
        is_heard_well(&bytes, usize::from(*each) + 1);
        bytes.truncate(usize::from(*cut) % (bytes.len() + 1));
        is_heard_well(&bytes, usize::from(*each) + 1);
    });
}
