//! TLS: whom to trust, read ahead and kept; and what a failed handshake says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_plan::observation::Answer;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::gates::Gates;
use crate::trouble;

/// What is spoken over TLS, as the handshake names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whatever the server speaks: it is not named.
    Unnamed,
}

/// Whom a connection trusts, and what it speaks.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// A client configuration for each CA file of the plan and each protocol; without a file, for the system's roots.
#[derive(Default)]
pub(crate) struct TlsConfigs(Mutex<BTreeMap<(Option<PathBuf>, Spoken), Trust>>);

impl TlsConfigs {
    /// Reads the trusted certificates again and keeps them. After an error the old ones stay.
    pub(crate) async fn load(&self, gates: &Gates, ca_file: Option<&Path>, spoken: Spoken) -> Result<Trust, String> {
        let file = ca_file.map(Path::to_owned);
        let key = format!("trust {}", ca_file.unwrap_or(Path::new("the system")).display());
        let read = file.clone();
        let trust = gates
            .run(key, move || trust(read.as_deref(), spoken).map_err(io::Error::other))
            .await
            .map_err(|error| error.to_string())?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((file, spoken), trust.clone());
        Ok(trust)
    }

    /// What was read ahead; reads it now when nothing was.
    pub(crate) async fn get(&self, gates: &Gates, ca_file: Option<&Path>, spoken: Spoken) -> Result<Trust, String> {
        let key = (ca_file.map(Path::to_owned), spoken);
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match kept {
            Some(trust) => Ok(trust),
            None => self.load(gates, ca_file, spoken).await,
        }
    }
}

fn trust(ca_file: Option<&Path>, spoken: Spoken) -> Result<Trust, String> {
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
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| error.to_string())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(Arc::clone(&verifier))
        .with_no_client_auth();
    // A resumed session skips the certificate, which is part of what is probed.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match spoken {
        Spoken::Http1 => vec![b"http/1.1".to_vec()],
        Spoken::Http2 => vec![b"h2".to_vec()],
        Spoken::Unnamed => Vec::new(),
    };
    Ok(Trust { config: Arc::new(config), verifier })
}

impl Trust {
    /// What is to be said when the certificates that were shown would not be good any more after `within`: when the first of
    /// them expires.
    pub(crate) fn expiring(
        &self,
        stream: &TlsStream<TcpStream>,
        name: &ServerName<'_>,
        within: Duration,
    ) -> Option<String> {
        let [own, others @ ..] = stream.get_ref().1.peer_certificates()? else { return None };
        let then = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()).saturating_add(within));
        match self.verifier.verify_server_cert(own, others, name, &[], then) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs());
                Some(format!("its certificate is valid until {} only", httpdate::fmt_http_date(ends)))
            }
            Ok(_) | Err(_) => None,
        }
    }
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
