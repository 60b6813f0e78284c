//! The host's side of getting a certificate: it makes a key, asks for a signature, and keeps what comes back.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use serde::{Deserialize, Serialize};

use super::authority::AuthorityError;
use super::files::{self, FileError};
use super::identity::{host_file, text, understand};
use super::peer::{Role, uri};

/// A host that has made a key and asks for a certificate. The key is in memory alone until the certificate is there.
#[derive(Debug)]
pub struct Joining {
    key: KeyPair,
    request: String,
}

/// What an authority answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The host's certificate, as PEM.
    pub certificate: String,
    /// The authorities that it is to trust from now on, as PEM.
    pub authorities: String,
}

impl Joining {
    /// Makes a key for a host.
    pub fn begin(site: &str, host: &str) -> Result<Joining, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host);
        params.subject_alt_names = vec![SanType::URI(uri(site, Role::Host, host).try_into()?)];
        let request = params.serialize_request(&key)?.pem()?;
        Ok(Joining { key, request })
    }

    /// What the authority is to sign, as PEM. It holds no secret.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Writes the identity below the host's state directory, whole or not at all.
    pub fn finish(self, signed: &Signed, state: &Path) -> Result<(), FileError> {
        let path = host_file(state);
        files::make_private(path.parent().expect("it is in a directory"))?;
        self.write(signed, &path)
    }

    /// Nothing is replaced by what would not be understood.
    pub(super) fn write(self, signed: &Signed, path: &Path) -> Result<(), FileError> {
        let text = text(&self.key.serialize_pem(), &signed.certificate, &signed.authorities);
        understand(&text, path)?;
        files::write_secret(path, &text)
    }
}
