//! Secrets from files: read ahead, kept, read again when a server refuses them, and shown to nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use mainstay_plan::probe::HttpAuth;

use crate::gates::Gates;
use crate::trouble;

/// How long a file with a secret may be.
const MAX_SECRET: u64 = 64 * 1024;

/// What was read, by file, without the blanks around it.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<BTreeMap<PathBuf, String>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secrets)")
    }
}

impl Secrets {
    /// Reads the file again and keeps what is in it. After an error the old stays. The error names the file, and nothing that
    /// is in it.
    pub(crate) async fn load(&self, gates: &Gates, file: &Path) -> Result<String, String> {
        let path = file.to_owned();
        let read = move || {
            let mut text = String::new();
            io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(path)?, MAX_SECRET), &mut text)?;
            Ok(text.trim().to_owned())
        };
        let of = |why: &str| format!("{}: {why}", file.display());
        let read = gates.run(format!("read {}", file.display()), read).await;
        let secret = read.map_err(|error| of(&trouble::describe(&error)))?;
        if secret.is_empty() {
            return Err(of("nothing is in it"));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), secret.clone());
        Ok(secret)
    }

    /// What was read ahead; reads it now when nothing was.
    pub(crate) async fn get(&self, gates: &Gates, file: &Path) -> Result<String, String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned();
        match kept {
            Some(secret) => Ok(secret),
            None => self.load(gates, file).await,
        }
    }
}

/// The value of `Authorization` (RFC 7617, RFC 6750), which no `Debug` shows.
pub(crate) fn authorization(auth: &HttpAuth, secret: &str) -> Result<HeaderValue, String> {
    let of = |why: &str| format!("{}: {why}", auth.file().display());
    let text = match auth {
        HttpAuth::Basic { .. } if !secret.contains(':') => return Err(of("it does not hold `user:password`")),
        HttpAuth::Basic { .. } => format!("Basic {}", BASE64_STANDARD.encode(secret)),
        HttpAuth::Bearer { .. } => format!("Bearer {secret}"),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_invalid| of("what is in it can't be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_and_not_shown() {
        let basic = HttpAuth::Basic { file: "/secret".into() };
        // The example of RFC 7617, section 2.
        let value = authorization(&basic, "Aladdin:open sesame").expect("a value");
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{value:?}"), "Sensitive");
        let why = authorization(&basic, "sesame").expect_err("no user");
        assert!(why.contains("/secret") && !why.contains("sesame"), "{why}");
        let bearer = HttpAuth::Bearer { file: "/token".into() };
        let why = authorization(&bearer, "s3c\nret").expect_err("a line end");
        assert!(why.contains("/token") && !why.contains("s3c"), "{why}");
    }
}
