//! Bytes that nobody would send, and messages with any change: each is a message, not understood, or ends the connection; what
//! is kept of them stays small; and what was understood is the same when it is sent again.

use std::fmt::Debug;
use std::time::Duration;

use bolero::check;

use super::*;

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 20_000;
const TIME: Duration = Duration::from_secs(5);

fn is_taken_well<M: Message + PartialEq + Debug>(bytes: &[u8], torn: usize) {
    let mut lines = Lines::of::<M>();
    for part in bytes.chunks(torn.max(1)) {
        lines.take_in(part);
        while let Ok(Some(line)) = lines.cut() {
            assert!(!line.contains(&b'\n'));
            let Ok(Understood::Message(message)) = decode::<M>(&line) else { continue };
            let again = encode(&message);
            assert_eq!(decode::<M>(&again[..again.len() - 1]), Ok(Understood::Message(message)));
        }
    }
}

#[test]
fn any_bytes_are_taken_well() {
    check!().with_iterations(TRIES).with_test_time(TIME).with_type::<(u8, Vec<u8>)>().for_each(|(torn, bytes)| {
        is_taken_well::<FromAgent>(bytes, usize::from(*torn));
        is_taken_well::<FromHost>(bytes, usize::from(*torn));
    });
}

#[test]
fn messages_with_any_change_are_taken_well() {
    let agent: Vec<Vec<u8>> = tests::from_agent().iter().map(|it| encode(&it.0)).collect();
    let host: Vec<Vec<u8>> = tests::from_host().iter().map(|it| encode(&it.0)).collect();
    let target = check!().with_iterations(TRIES).with_test_time(TIME);
    target.with_type::<(bool, Vec<u8>, u8, Vec<(u16, u8)>, u16)>().for_each(|(is_agent, which, torn, changes, cut)| {
        let all = if *is_agent { &agent } else { &host };
        let mut bytes: Vec<u8> =
            which.iter().take(4).flat_map(|it| all[usize::from(*it) % all.len()].iter().copied()).collect();
        let changes: &[_] = if bytes.is_empty() { &[] } else { changes };
        for (at, byte) in changes.iter().take(8) {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        bytes.truncate(bytes.len() - usize::from(*cut) % (bytes.len() + 1) / 8);
        if *is_agent {
            is_taken_well::<FromAgent>(&bytes, usize::from(*torn));
        } else {
            is_taken_well::<FromHost>(&bytes, usize::from(*torn));
        }
    });
}
