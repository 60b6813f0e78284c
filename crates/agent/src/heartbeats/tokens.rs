//! Who may call: tokens in a file, one a line. Nothing but their hashes is kept.

use std::fmt;
use std::path::{Path, PathBuf};

use mainstay_web::{Kept, of};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A shorter one could be found out by asking.
const TOKEN_MIN_BYTES: usize = 16;

/// A file with tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFile(pub(super) PathBuf);

/// Their hashes: those of two are compared in the same time, however alike the two are.
pub(super) struct Tokens(Vec<[u8; 32]>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(tokens)")
    }
}

impl Tokens {
    /// Whether it is one of them.
    pub(super) fn has(&self, token: &[u8]) -> bool {
        let hash = hash(token);
        self.0.iter().fold(Choice::from(0), |found, it| found | it.ct_eq(&hash)).into()
    }
}

impl Kept for TokenFile {
    type Content = Tokens;

    const WHAT: &str = "tokens";

    fn files(&self) -> Vec<&Path> {
        vec![&self.0]
    }

    /// An empty line and one that begins with `#` are no tokens.
    fn make(&self, contents: &[Vec<u8>]) -> Result<Tokens, String> {
        let text = contents.first().map_or(&[][..], Vec::as_slice);
        let text = str::from_utf8(text).map_err(|_invalid| of(&self.0, &"it is not UTF-8"))?;
        let mut tokens = Vec::new();
        for (nth, line) in (1..).zip(text.lines()) {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < TOKEN_MIN_BYTES {
                let why = format_args!("the token in line {nth} has fewer than {TOKEN_MIN_BYTES} characters");
                return Err(of(&self.0, &why));
            }
            if !token.bytes().all(is_of_a_token) {
                let why = format_args!("line {nth} holds more than letters, digits and any of `-._~+/=`");
                return Err(of(&self.0, &why));
            }
            tokens.push(hash(token.as_bytes()));
        }
        if tokens.is_empty() {
            return Err(of(&self.0, &"no token in it"));
        }
        Ok(Tokens(tokens))
    }
}

/// RFC 6750, 2.1.
const fn is_of_a_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// The token behind a name, however much of it was escaped.
pub(super) fn token_in_path(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Tokens, String> {
        TokenFile("/secret/tokens".into()).make(&[text.as_bytes().to_vec()])
    }

    #[test]
    fn each_line_is_a_token_and_no_part_of_one_is() {
        let tokens = read("# old\r\naaaabbbbccccdddd\n\n  0123456789/+==-._~  \n").expect("two tokens");
        for token in ["aaaabbbbccccdddd", "0123456789/+==-._~"] {
            assert!(tokens.has(token.as_bytes()), "{token}");
        }
        for other in ["", "# old", "aaaabbbbccccddd", "aaaabbbbccccdddde", "AAAABBBBCCCCDDDD"] {
            assert!(!tokens.has(other.as_bytes()), "{other}");
        }
        assert!(tokens.has(&token_in_path("0123456789%2F%2b==-._~")));
    }

    #[test]
    fn what_is_no_token_is_said_without_showing_it() {
        for (text, says) in [
            ("", "no token in it"),
            ("# nothing\n", "no token in it"),
            ("aaaabbbbccccdddd\nsecret", "line 2 has fewer than 16"),
            ("secret token, spoken\n", "line 1 holds more"),
        ] {
            let why = read(text).expect_err("refused");
            assert!(why.contains(says) && why.starts_with("/secret/tokens: ") && !why.contains("secret t"), "{why}");
        }
    }
}
