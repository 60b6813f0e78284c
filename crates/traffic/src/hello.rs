//! The first message of a TLS client, read to learn which server it asks for and passed on as it came. TLS does not end here.
//!
//! The only file that knows the library for it.

#[cfg(test)]
mod fuzz;

use rustls::server::Acceptor;

/// Longer than any hello that clients of today send, keys that resist quantum computers included (about 2 KB).
const HELLO_MAX_BYTES: usize = 16 << 10;
/// TLS 1.2, of one record with a fatal alert (RFC 8446, 5.1 and 6).
const ALERT: [u8; 6] = [21, 3, 3, 0, 2, 2];
/// RFC 6066, 3.
const UNRECOGNIZED_NAME: u8 = 112;

/// What a client's first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not enough yet.
    More,
    /// All that there is to hear.
    Hello(Hello),
}

/// What a client said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The server that it asks for, in lower case; `None`: it names none, or does not speak TLS that can be read.
    pub(crate) name: Option<String>,
    /// What it is told where nobody wants it.
    pub(crate) alert: Vec<u8>,
}

/// Reads a hello piece by piece.
pub(crate) struct Listener {
    acceptor: Acceptor,
    bytes: usize,
}

impl Listener {
    pub(crate) fn new() -> Listener {
        Listener { acceptor: Acceptor::default(), bytes: 0 }
    }

    /// Hears what came next. Not to be asked again once it has heard a hello.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Heard {
        // What comes behind a hello does not make it longer.
        let room = HELLO_MAX_BYTES - self.bytes;
        let is_too_long = bytes.len() > room;
        let mut bytes = &bytes[..bytes.len().min(room)];
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Heard::Hello(Hello::default());
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(plain);
                    return Heard::Hello(Hello { name, alert: [&ALERT[..], &[UNRECOGNIZED_NAME]].concat() });
                }
                Err((_, mut alert)) => {
                    let mut bytes = Vec::new();
                    let _ = alert.write(&mut bytes);
                    return Heard::Hello(Hello { name: None, alert: bytes });
                }
            }
        }
        if is_too_long { Heard::Hello(Hello::default()) } else { Heard::More }
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
