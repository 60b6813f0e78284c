//! Messages as lines: what is too long, garbled, or not understood.

use bytes::{Buf, BytesMut};
use serde_json::Value;

use super::Message;

/// How long a message may be, in bytes.
pub const LONGEST: usize = 1 << 20;

/// How long one may be that carries a routing table or records.
pub const LONGEST_LARGE: usize = 16 << 20;

/// How much of what was not understood is quoted.
const QUOTED: usize = 80;

/// A line that ends the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// It is longer than a message may be.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It is no message of this or any other version.
    #[error("a line is no message: {why}")]
    NoMessage {
        /// Why.
        why: String,
    },
}

/// A line that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Understood<M> {
    /// A message.
    Message(M),
    /// One of a vocabulary that is not ours: which, and why.
    Not(String),
}

/// The message as a line, with its end.
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have no map with keys that are not text");
    line.push(b'\n');
    line
}

/// Reads a line, without its end.
///
/// # Errors
/// [`Garbled`] for what nobody who speaks any version of the protocol would send.
pub fn decode<M: Message>(line: &[u8]) -> Result<Understood<M>, Garbled> {
    let why = match serde_json::from_slice(line) {
        Ok(message) => return Ok(Understood::Message(message)),
        Err(error) => error,
    };
    let garbled = |why: String| Garbled::NoMessage { why };
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { return Err(garbled(why.to_string())) };
    let mut words = fields.keys();
    match (words.next(), words.next()) {
        (Some(word), None) if M::WORDS.contains(&word.as_str()) => Ok(Understood::Not(format!("{word}: {why}"))),
        (Some(word), None) => Ok(Understood::Not(format!("`{}` is not known", clipped(word)))),
        (None, _) | (Some(_), Some(_)) => Err(garbled("it is not an object with one field".to_owned())),
    }
}

fn clipped(text: &str) -> &str {
    text.char_indices().nth(QUOTED).map_or(text, |(end, _)| &text[..end])
}

/// Cuts what arrives into lines, and keeps no more than one that is not complete.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of the buffer holds no end of a line.
    looked: usize,
    large: &'static [&'static str],
}

impl Lines {
    /// Lines that are messages `M`.
    pub fn of<M: Message>() -> Lines {
        Lines { buffer: BytesMut::new(), looked: 0, large: M::LARGE }
    }

    /// Takes in what has arrived; call [`Lines::cut`] until it has nothing, before more is taken in.
    pub fn take_in(&mut self, mut bytes: impl Buf) {
        while bytes.has_remaining() {
            let chunk = bytes.chunk();
            self.buffer.extend_from_slice(chunk);
            let taken = chunk.len();
            bytes.advance(taken);
        }
    }

    /// The next line that is complete, without its end.
    ///
    /// # Errors
    /// It is, or is going to be, longer than a message may be.
    pub fn cut(&mut self) -> Result<Option<BytesMut>, Garbled> {
        let end = self.buffer[self.looked..].iter().position(|it| *it == b'\n').map(|it| self.looked + it);
        let length = end.unwrap_or(self.buffer.len());
        if length > LONGEST {
            let limit = if self.is_large() { LONGEST_LARGE } else { LONGEST };
            if length > limit {
                return Err(Garbled::TooLong { limit });
            }
        }
        let Some(end) = end else {
            self.looked = self.buffer.len();
            return Ok(None);
        };
        self.looked = 0;
        let mut line = self.buffer.split_to(end + 1);
        line.truncate(end);
        Ok(Some(line))
    }

    /// Whether there is a beginning of a line without its end.
    pub fn is_within_one(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn is_large(&self) -> bool {
        let word = self.buffer.strip_prefix(b"{\"");
        let is = |of: &&str| word.and_then(|it| it.strip_prefix(of.as_bytes())).is_some_and(|it| it.starts_with(b"\""));
        self.large.iter().any(is)
    }
}
