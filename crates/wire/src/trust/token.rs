//! One-time tokens: who holds one may join as one host, once, until it ends.
//!
//! A token says to the host whom it may trust at its first connection (the fingerprint of the authority), and to the agent
//! that a person sent this host (a secret, of which the agent keeps the hash alone).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::files::{self, FileError};
use super::peer::is_name;
use super::refusal::Refusal;
use super::wall::before;

const PREFIX: &str = "mainstay-1-";
const FINGERPRINT: usize = 32;
const SECRET: usize = 16;
const CHECK: usize = 4;
/// How long a token is remembered since it was made, or used: an answer that says so is better than that nobody knows it. No token
/// is valid for longer.
pub(super) const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a person carries from the agent to a host. Its text is a secret until it was used.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub(super) fingerprint: Fingerprint,
    pub(super) secret: Secret,
    site: String,
    host: String,
}

pub(super) type Secret = [u8; SECRET];

/// The SHA-256 hash of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; FINGERPRINT]);

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("this is no token: one begins with `{PREFIX}`")]
    Other,
    /// It began as one.
    #[error("the token is damaged: copy the whole line that `mainstay enroll token` printed")]
    Damaged,
}

impl Token {
    pub(super) fn new(fingerprint: Fingerprint, secret: Secret, site: &str, host: &str) -> Token {
        Token { fingerprint, secret, site: site.to_owned(), host: host.to_owned() }
    }

    /// The site whose agent made it.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The host that it was made for.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Token {
    /// The token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [&self.fingerprint.0[..], &self.secret].concat();
        for name in [&self.site, &self.host] {
            bytes.push(u8::try_from(name.len()).expect("a name has at most 63 characters"));
            bytes.extend_from_slice(name.as_bytes());
        }
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        write!(f, "{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(for {} of {})", self.host, self.site)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Token, TokenError> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Other)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Damaged)?;
        read(&bytes).ok_or(TokenError::Damaged)
    }
}

fn read(bytes: &[u8]) -> Option<Token> {
    let (said, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    if Sha256::digest(said)[..CHECK] != *check {
        return None;
    }
    let (fingerprint, rest) = said.split_first_chunk()?;
    let (secret, rest) = rest.split_first_chunk()?;
    let (site, rest) = name(rest)?;
    let (host, rest) = name(rest)?;
    rest.is_empty().then(|| Token::new(Fingerprint(*fingerprint), *secret, site, host))
}

fn name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok().filter(|it| is_name(it))?;
    Some((name, rest))
}

impl Fingerprint {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    /// Enough of it for people to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..8]))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// The other end of [`hex`], for exactly `N` bytes.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u8>> = text.chars().map(|it| it.to_digit(16).and_then(|it| u8::try_from(it).ok())).collect();
    let digits = digits.filter(|it| it.len() == 2 * N)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

/// What the agent keeps of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The host that it was made for.
    pub host: String,
    /// When it was made.
    pub made: Timestamp,
    /// Until when it may be used.
    pub until: Timestamp,
    /// When it was used, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
}

/// The tokens of a site: one file each, named after the hash of its secret.
#[derive(Debug)]
pub(super) struct Tokens {
    directory: PathBuf,
}

impl Tokens {
    pub(super) fn open(pki: &Path) -> Result<Tokens, FileError> {
        let directory = pki.join("tokens");
        files::make_private(&directory)?;
        Ok(Tokens { directory })
    }

    /// Keeps a new one, and forgets old ones.
    pub(super) fn add(&self, secret: &Secret, invited: &Invited) -> Result<(), FileError> {
        let _alone = files::lock(&self.directory)?;
        self.forget_old(invited.made)?;
        self.write(&self.file(secret), invited)
    }

    /// All that are remembered, the oldest first.
    pub(super) fn all(&self) -> Result<Vec<Invited>, FileError> {
        let mut all: Vec<Invited> = self.each()?.into_values().collect();
        all.sort_by(|a, b| (a.made, &a.host).cmp(&(b.made, &b.host)));
        Ok(all)
    }

    /// Takes back what was made for a host and not used; how many those were.
    pub(super) fn revoke(&self, host: &str) -> Result<usize, FileError> {
        let _alone = files::lock(&self.directory)?;
        let open = self.each()?.into_iter().filter(|(_, it)| it.host == host && it.used.is_none());
        let mut count = 0;
        for (path, _) in open {
            fs::remove_file(&path).map_err(|it| FileError::io(&path, it))?;
            count += 1;
        }
        files::sync_directory_of(&self.directory.join("."))?;
        Ok(count)
    }

    /// Whether a secret could be used now.
    pub(super) fn look(&self, secret: &Secret, now: Timestamp) -> Result<Result<Invited, Refusal>, FileError> {
        let path = self.file(secret);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(Refusal::TokenUnknown)),
            Err(error) => return Err(FileError::io(&path, error)),
        };
        let invited: Invited = serde_json::from_str(&text).map_err(|it| FileError::damaged(&path, it))?;
        let Invited { host, until, used, .. } = &invited;
        if let Some(at) = *used {
            return Ok(Err(Refusal::TokenUsed { host: host.clone(), at }));
        }
        if now > *until {
            return Ok(Err(Refusal::TokenExpired { host: host.clone(), until: *until, now }));
        }
        Ok(Ok(invited))
    }

    /// Uses a secret up. When this has returned it is used for ever, whenever the machine stops; of several who try at the
    /// same time one gets it.
    pub(super) fn burn(&self, secret: &Secret, now: Timestamp) -> Result<Result<Invited, Refusal>, FileError> {
        let _alone = files::lock(&self.directory)?;
        let mut invited = match self.look(secret, now)? {
            Ok(invited) => invited,
            Err(refusal) => return Ok(Err(refusal)),
        };
        invited.used = Some(now);
        self.write(&self.file(secret), &invited)?;
        Ok(Ok(invited))
    }

    /// What nothing was written into for so long is over.
    fn forget_old(&self, now: Timestamp) -> Result<(), FileError> {
        let failed = |it| FileError::io(&self.directory, it);
        let oldest = before(now, REMEMBERED).as_second();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_token = entry.file_name().to_string_lossy().ends_with(".json");
            if is_token && entry.metadata().map_err(failed)?.mtime() < oldest {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn each(&self) -> Result<BTreeMap<PathBuf, Invited>, FileError> {
        let failed = |it| FileError::io(&self.directory, it);
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".json") {
                let read = serde_json::from_str(&files::read(&path)?).map_err(|it| FileError::damaged(&path, it))?;
                all.insert(path, read);
            }
        }
        Ok(all)
    }

    fn write(&self, path: &Path, invited: &Invited) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(invited).expect("names and dates can be written");
        files::write_private(path, &(text + "\n"))
    }

    fn file(&self, secret: &Secret) -> PathBuf {
        self.directory.join(format!("{}.json", hex(&Sha256::digest(secret))))
    }
}

#[cfg(test)]
mod tests {
    use bolero::check;

    use super::*;

    fn token() -> Token {
        Token::new(Fingerprint([7; FINGERPRINT]), [9; SECRET], "shop-a", "db-a")
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = token().to_string();
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        assert!(!format!("{:?}", token()).contains(&text[PREFIX.len()..]), "it is shown");
    }

    #[test]
    fn what_was_cut_or_changed_is_no_token() {
        let text = token().to_string();
        for length in 0..text.len() {
            assert!(text[..length].parse::<Token>().is_err(), "{length}");
        }
        for at in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("it is text");
            assert!(other.parse::<Token>().is_err(), "{at}");
        }
        assert_eq!("hvs.CAESI".parse::<Token>(), Err(TokenError::Other));
    }

    #[test]
    fn no_text_does_harm() {
        check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let _ = String::from_utf8_lossy(bytes).parse::<Token>();
            let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
            assert!(text.parse::<Token>().is_err(), "four bytes of a hash were guessed");
            // With the check right, what is left is read as it was written or not at all.
            let check = Sha256::digest(bytes);
            if let Some(token) = read(&[bytes, &check[..CHECK]].concat()) {
                assert_eq!(token.to_string().parse(), Ok(token));
            }
        });
    }
}
