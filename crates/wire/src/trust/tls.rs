//! TLS 1.3, with our own rules about who is believed on top of what rustls checks.
//!
//! Sessions are never resumed: each connection shows its certificate, so that one that was revoked is seen.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::server::{ParsedCertificate, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};

use super::identity::{Identity, Loaded};
use super::peer::{Peer, Role};
use super::refusal::Refusal;
use super::register::Register;
use super::token::Fingerprint;
use super::wall::{Wall, seconds, unix};

const ALPN: &[u8] = b"h2";

pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// What was found out about the other end of one connection.
#[derive(Debug, Default)]
pub(super) struct Finding(Mutex<Option<Result<Peer, Refusal>>>);

impl Finding {
    fn put(&self, found: Result<Peer, Refusal>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    pub(super) fn take(&self) -> Option<Result<Peer, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// For one connection of a host. `register` knows what was revoked, where there is one: there, somebody without a certificate is
/// let in, to join.
pub(super) fn server(
    identity: &Identity,
    register: Option<&Arc<Register>>,
) -> Result<(ServerConfig, Arc<Finding>), rustls::Error> {
    let loaded = identity.newest();
    let found = Arc::new(Finding::default());
    let verifier = HostVerifier {
        site: loaded.me.site.clone(),
        roots: Arc::clone(&loaded.roots),
        register: register.cloned(),
        found: Arc::clone(&found),
        algorithms: provider().signature_verification_algorithms,
    };
    let mut config = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(identity.wall().clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Shown(loaded)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((config, found))
}

/// How an agent is known.
#[derive(Debug)]
pub(super) enum Believe {
    /// It is the agent of this site, by an authority that is trusted already.
    Site { site: String, roots: Arc<RootCertStore> },
    /// It is the agent of this site, by an authority that it shows and whose hash we were given.
    Fingerprint { fingerprint: Fingerprint, site: String },
    /// The same, whatever the dates say: only to ask it for the time.
    AtAnyTime(Box<Believe>),
    /// It is no agent, but the host of that name of this site.
    Host { site: String, name: String, roots: Arc<RootCertStore> },
}

/// For one connection to an agent. `identity` is shown if there is one.
pub(super) fn client(
    shown: Option<Arc<Loaded>>,
    believe: Believe,
    wall: &Wall,
) -> Result<(ClientConfig, Arc<Finding>), rustls::Error> {
    let found = Arc::new(Finding::default());
    let algorithms = provider().signature_verification_algorithms;
    let verifier = AgentVerifier { believe, found: Arc::clone(&found), algorithms };
    let builder = ClientConfig::builder_with_details(Arc::new(provider()), Arc::new(wall.clone()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(loaded) => builder.with_client_cert_resolver(Arc::new(Shown(loaded))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok((config, found))
}

/// The name that TLS wants in a connection; certificates say site, role and name instead.
pub(super) fn server_name() -> ServerName<'static> {
    ServerName::try_from("agent.mainstay.invalid").expect("it is a name")
}

#[derive(Debug)]
struct Shown(Arc<Loaded>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.shown))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.shown))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct HostVerifier {
    site: String,
    roots: Arc<RootCertStore>,
    register: Option<Arc<Register>>,
    found: Arc<Finding>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HostVerifier {
    fn judge(&self, end: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<Peer, Refusal> {
        let peer = host(&self.roots, &self.site, end, between, now)?;
        self.register.as_ref().map_or(Ok(()), |it| it.check(&peer))?;
        Ok(peer)
    }
}

/// The host of this site whose certificate it is.
fn host(
    roots: &Arc<RootCertStore>,
    site: &str,
    end: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<Peer, Refusal> {
    let peer = Peer::of(end)?;
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::new(provider()))
        .build()
        .map_err(|it| Refusal::Handshake { what: it.to_string() })?;
    let signed = chain.verify_client_cert(end, between, now);
    signed.map_err(|error| explain(&error, &peer, Role::Host, now))?;
    belongs(&peer, site, Role::Host)?;
    Ok(peer)
}

impl ClientCertVerifier for HostVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.register.is_none()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let found = self.judge(end, between, now);
        let alert = found.as_ref().err().map(Refusal::alert);
        self.found.put(found);
        alert.map_or_else(|| Ok(ClientCertVerified::assertion()), |it| Err(it.into()))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        proven(&self.found, verify_tls13_signature(message, certificate, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct AgentVerifier {
    believe: Believe,
    found: Arc<Finding>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AgentVerifier {
    fn judge(&self, end: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<Peer, Refusal> {
        let peer = Peer::of(end)?;
        let parsed = ParsedCertificate::try_from(end).map_err(|it| Refusal::Foreign { what: it.to_string() })?;
        let (believe, now) = match &self.believe {
            Believe::AtAnyTime(believe) => (&**believe, unix(peer.from)),
            believe @ (Believe::Site { .. } | Believe::Fingerprint { .. } | Believe::Host { .. }) => (believe, now),
        };
        let signed = |roots: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, self.algorithms.all)
                .map_err(|error| explain(&error, &peer, Role::Agent, now))
        };
        match believe {
            Believe::Site { site, roots } => {
                signed(roots)?;
                belongs(&peer, site, Role::Agent)?;
            }
            Believe::Fingerprint { fingerprint, site } => {
                let authority = between.iter().find(|it| Fingerprint::of(it) == *fingerprint);
                let authority = authority.ok_or_else(|| Refusal::TokenOfAnotherAuthority {
                    claimed: peer.to_string(),
                    wanted: site.clone(),
                })?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned()).map_err(|it| Refusal::Foreign { what: it.to_string() })?;
                signed(&roots)?;
                belongs(&peer, site, Role::Agent)?;
            }
            Believe::Host { site, name, roots } => {
                let peer = host(roots, site, end, between, now)?;
                if peer.name != *name {
                    return Err(Refusal::AnotherHost { claimed: peer.to_string(), wanted: name.clone() });
                }
            }
            Believe::AtAnyTime(_) => return Err(Refusal::Foreign { what: "it is not asked for twice".to_owned() }),
        }
        Ok(peer)
    }
}

impl ServerCertVerifier for AgentVerifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = self.judge(end, between, now);
        let alert = found.as_ref().err().map(Refusal::alert);
        self.found.put(found);
        alert.map_or_else(|| Ok(ServerCertVerified::assertion()), |it| Err(it.into()))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        proven(&self.found, verify_tls13_signature(message, certificate, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Keeps who it is only if it has shown that it holds the key.
fn proven(
    found: &Finding,
    signature: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    if signature.is_err() {
        let claimed = found.take().and_then(Result::ok).map_or_else(|| "somebody".to_owned(), |it| it.to_string());
        found.put(Err(Refusal::NoProof { claimed }));
    }
    signature
}

fn belongs(peer: &Peer, site: &str, role: Role) -> Result<(), Refusal> {
    if peer.role != role {
        return Err(Refusal::WrongRole { claimed: peer.to_string(), wanted: role });
    }
    if peer.site != site {
        return Err(Refusal::WrongSite { claimed: peer.to_string(), wanted: site.to_owned() });
    }
    Ok(())
}

/// What rustls says of a chain, in our words.
fn explain(error: &rustls::Error, peer: &Peer, wanted: Role, now: UnixTime) -> Refusal {
    let claimed = peer.to_string();
    let now = seconds(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let rustls::Error::InvalidCertificate(why) = error else {
        return Refusal::Foreign { what: error.to_string() };
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is no certificate that we could have made")]
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Refusal::Expired { claimed, until: peer.until, now }
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Refusal::NotYetValid { claimed, from: peer.from, now }
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::AnotherAuthority { claimed },
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Refusal::WrongRole { claimed, wanted }
        }
        other => Refusal::Foreign { what: other.to_string() },
    }
}
