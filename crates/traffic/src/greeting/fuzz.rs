//! PROXY protocol headers that no proxy would send, and real ones with any change: what was heard of a beginning is not
//! taken back, and what is believed can be said again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bolero::check;
use proxy_header::{ProxiedAddress, ProxyHeader};

use super::{HEADER_MAX_BYTES, Header, header};

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 20_000;
const TIME: Duration = Duration::from_secs(5);

fn is_heard_well(bytes: &[u8], cut: usize) {
    let (whole, beginning) = (header(bytes), header(&bytes[..cut % (bytes.len() + 1)]));
    match (&beginning, &whole) {
        (Header::More, _) => {}
        (Header::Said { .. }, whole) => assert_eq!(&beginning, whole, "{bytes:?}"),
        (Header::None, whole) => assert_eq!(*whole, Header::None, "{bytes:?}"),
    }
    match whole {
        Header::More => assert!(bytes.len() < HEADER_MAX_BYTES, "more than {} bytes are waited for", bytes.len()),
        Header::Said { ends, length } => {
            assert!((1..=bytes.len()).contains(&length), "{length} of {bytes:?}");
            if let Some(ends) = ends {
                let mut again = Vec::new();
                ProxyHeader::with_address(ends.clone()).encode_v2(&mut again).unwrap();
                let length = again.len();
                assert_eq!(header(&again), Header::Said { ends: Some(ends), length }, "{bytes:?}");
            }
        }
        Header::None => {}
    }
}

#[test]
fn any_bytes_are_heard_well() {
    const STARTS: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n"];
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(u8, Vec<u8>, u16)>().for_each(|(start, bytes, cut)| {
        let start = STARTS[usize::from(*start) % STARTS.len()];
        is_heard_well(&[start, bytes].concat(), usize::from(*cut));
    });
}

#[test]
fn real_headers_with_any_change_are_heard_well() {
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(bool, bool, [u8; 16], [u16; 2], Vec<(u16, u8)>, Vec<u8>, u16)>().for_each(
        |(is_v1, is_v6, ip, ports, changes, behind, cut)| {
            let ip = if *is_v6 { IpAddr::from(*ip) } else { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) };
            let [source, destination] = ports.map(|port| SocketAddr::new(ip, port));
            let said = ProxyHeader::with_address(ProxiedAddress::stream(source, destination));
            let mut bytes = Vec::new();
            let written = if *is_v1 { said.encode_v1(&mut bytes) } else { said.encode_v2(&mut bytes) };
            written.unwrap();
            let length = bytes.len();
            bytes.extend_from_slice(behind);
            let ends = Some(ProxiedAddress::stream(source, destination));
            assert_eq!(header(&bytes), Header::Said { ends, length }, "{bytes:?}");
            is_heard_well(&bytes, usize::from(*cut));
            for (at, byte) in changes.iter().take(8) {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *byte;
            }
            is_heard_well(&bytes, usize::from(*cut));
        },
    );
}
