//! TLS: whom to trust, read ahead and kept; and what a failed handshake says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_plan::observation::Answer;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gates::Gates;
use crate::trouble;

/// A client configuration for each CA file of the plan; without one, for the system's roots.
#[derive(Default)]
pub(crate) struct TlsConfigs(Mutex<BTreeMap<Option<PathBuf>, Arc<ClientConfig>>>);

impl TlsConfigs {
    /// Reads the trusted certificates again and keeps them. After an error the old ones stay.
    pub(crate) async fn load(&self, gates: &Gates, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let file = ca_file.map(Path::to_owned);
        let key = format!("trust {}", ca_file.unwrap_or(Path::new("the system")).display());
        let read = file.clone();
        let config = gates
            .run(key, move || client_config(read.as_deref()).map(Arc::new).map_err(io::Error::other))
            .await
            .map_err(|error| error.to_string())?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file, Arc::clone(&config));
        Ok(config)
    }

    /// What was read ahead; reads it now when nothing was.
    pub(crate) async fn get(&self, gates: &Gates, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
        let kept =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ca_file.map(Path::to_owned)).map(Arc::clone);
        match kept {
            Some(config) => Ok(config),
            None => self.load(gates, ca_file).await,
        }
    }
}

fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let of = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| of(&trouble::describe(&error)))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| of(&error))?;
                roots.add(certificate).map_err(|error| of(&error))?;
            }
            if roots.is_empty() {
                return Err(of(&"no certificate in it"));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("this machine has no trusted certificates; name a CA file".to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session skips the certificate, which is part of what is probed.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The name that the certificate must carry: `host` without a port.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let authority: hyper::http::uri::Authority =
        host.parse().map_err(|_invalid| format!("{host:?} is no host name"))?;
    let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|_invalid| format!("{host:?} is no host name"))
}

/// Shakes hands on `stream`.
pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Answer> {
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| answer("TLS handshake", &error))
}

/// What an error of a connection says, secured or not. What the other side showed is a wrong answer; the connection's own troubles are told apart as for any other.
pub(crate) fn answer(doing: &str, error: &io::Error) -> Answer {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            Answer::Wrong(trouble::clip(&format!("certificate: {reason}")))
        }
        Some(rustls::Error::InvalidMessage(_)) => Answer::Wrong("what answered does not speak TLS".to_owned()),
        Some(other) => Answer::Wrong(trouble::clip(&format!("TLS: {other}"))),
        None => trouble::answer(doing, error),
    }
}
