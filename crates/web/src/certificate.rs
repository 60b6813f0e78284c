//! A certificate and its key, ready to be shown.

use std::path::Path;
use std::sync::Arc;

use mainstay_plan::TlsFiles;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};

use crate::kept::{Kept, of};

impl Kept for TlsFiles {
    type Content = Arc<ServerConfig>;

    const WHAT: &str = "certificate";

    fn files(&self) -> Vec<&Path> {
        vec![&self.cert_file, &self.key_file]
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<Arc<ServerConfig>, String> {
        let [chain, key] = contents else { return Err("two files make a certificate".to_owned()) };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.map_err(|error| of(&self.cert_file, &error))?;
        if chain.is_empty() {
            return Err(of(&self.cert_file, &"no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            // The reason might show what it is about.
            let none = matches!(error, pem::Error::NoItemsFound);
            let why = if none { "no private key in it that can be read without a password" } else { "it is no PEM" };
            of(&self.key_file, &why)
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            if matches!(error, Error::InconsistentKeys(_)) {
                let key = self.key_file.display();
                return of(&self.cert_file, &format_args!("its first certificate is not for the key in {key}"));
            }
            of(&self.cert_file, &error)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
