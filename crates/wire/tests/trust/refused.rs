//! Each reason to refuse somebody, by a connection of theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use mainstay_wire::trust::{AskError, Authority, AuthorityError, FileError, Identity, Joining, Refusal, Role, Terms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::site::{DAY, Site, authority, meet, mixed, post};

#[tokio::test]
async fn without_a_certificate_nobody_does_anything_but_join() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    for path in ["/v1/host", "/v1/renew", "/v1/anything"] {
        let stream = bare(&open.address, None).await;
        let (status, said) = post(stream, path, "{}".to_owned()).await;
        assert_eq!((status.as_u16(), said["code"].as_str()), (403, Some("no_certificate")), "{path}: {said}");
    }
    assert_eq!(open.refusals(), [const { Refusal::NoCertificate }; 3]);
}

#[tokio::test]
async fn another_authoritys_certificate_is_refused_by_both_ends() {
    let (site, other) = (Site::new("shop-a"), Site::new("shop-a"));
    let stranger = other.host("db-a", &other.clock);
    let refusal = meet(&site.gate(), &stranger).await.host.expect_err("it knows another agent");
    assert!(matches!(refusal, Refusal::AnotherAuthority { .. }), "{refusal}");
    // One that would believe anybody does not get in, either.
    site.host("db-a", &site.clock);
    let bold = mixed(&site.file_of("db-a"), &other.file_of("db-a"), &site.clock);
    let met = meet(&site.gate(), &bold).await;
    let refusal = met.agent.expect_err("it is another site's");
    assert!(
        matches!(&refusal, Refusal::AnotherAuthority { claimed } if claimed == "host db-a of site shop-a"),
        "{refusal}"
    );
    assert!(matches!(met.host, Err(Refusal::ByPeer(_))), "{:?}", met.host);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_with_both_dates() {
    let site = Site::new("shop-a");
    let clock = site.clock.copy();
    let host = site.host("db-a", &clock);
    let open = site.open().await;
    site.clock.forward(31 * DAY);
    let refusal = meet(&site.gate(), &host).await.agent.expect_err("it has ended, by the agent's clock");
    assert!(matches!(&refusal, Refusal::Expired { until, now, .. } if until < now), "{refusal:?}");
    assert!(
        refusal.to_string().starts_with("the certificate of host db-a of site shop-a was valid until 20"),
        "{refusal}"
    );
    // The host asks what time it is there, and says both.
    site.authority.renew_agent(open.reception.gate()).expect("it is signed");
    let error = host.renew(&open.address).await.expect_err("it is refused");
    let AskError::Refused(Refusal::Clocks { why, there, here }) = error else { panic!("{error:?}") };
    assert_eq!((there.as_second() - here.as_second()) / 86_400, 31, "{why}");
    // And by its own clock, when that is right.
    clock.forward(90 * DAY);
    let refusal = meet(&site.gate(), &host).await.host.expect_err("the agent's has ended, by the host's clock");
    assert!(matches!(refusal, Refusal::Expired { .. }), "{refusal}");
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused_with_both_dates() {
    let site = Site::new("shop-a");
    let clock = site.clock.copy();
    let host = site.host("db-a", &clock);
    site.clock.back(2 * DAY);
    let refusal = meet(&site.gate(), &host).await.agent.expect_err("it begins later");
    assert!(matches!(&refusal, Refusal::NotYetValid { from, now, .. } if from > now), "{refusal:?}");
}

#[tokio::test]
async fn clocks_may_differ_by_an_hour() {
    let site = Site::new("shop-a");
    let clock = site.clock.copy();
    let host = site.host("db-a", &clock);
    clock.back(DAY / 25);
    assert!(meet(&site.gate(), &host).await.spoke);
    clock.forward(DAY / 25);
    site.clock.back(DAY / 25);
    assert!(meet(&site.gate(), &host).await.spoke);
}

#[tokio::test]
async fn a_host_that_was_revoked_is_refused_and_told_so() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let gate = site.gate();
    assert_eq!(site.authority.revoke("db-a").expect("it is written").certificates, 1);
    let met = meet(&gate, &host).await;
    let refusal = met.agent.expect_err("it was revoked");
    assert!(
        matches!(&refusal, Refusal::Revoked { claimed, .. } if claimed == "host db-a of site shop-a"),
        "{refusal:?}"
    );
    let told = met.host.expect_err("it is told");
    assert_eq!(told.to_string(), "the other end refuses this one: its certificate was revoked");
}

#[tokio::test]
async fn a_host_is_no_agent_and_an_agent_no_host() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    // The agent's certificate, shown by a client.
    let agents = site.dir.path().join("agent/pki/agent.pem");
    let double = Identity::load(&agents, &site.clock.wall()).expect("it is there");
    let refusal = meet(&site.gate(), &double).await.agent.expect_err("it is no host");
    assert_eq!(refusal, Refusal::WrongRole { claimed: "the agent of site shop-a".to_owned(), wanted: Role::Host });
    // A host's certificate, shown by who takes connections.
    site.host("db-b", &site.clock);
    fs::copy(site.file_of("db-b"), &agents).expect("it is copied");
    let met = meet(&site.gate(), &host).await;
    let refusal = met.host.expect_err("it is no agent");
    assert_eq!(refusal, Refusal::WrongRole { claimed: "host db-b of site shop-a".to_owned(), wanted: Role::Agent });
}

#[tokio::test]
async fn another_sites_host_is_refused_even_if_the_authority_is_the_same() {
    let site = Site::new("shop-a");
    // Somebody has copied the authority to another site.
    let state = site.dir.path().join("other");
    let pki = state.join("pki");
    fs::create_dir_all(&pki).expect("a folder");
    fs::set_permissions(&pki, fs::Permissions::from_mode(0o700)).expect("it is ours");
    fs::copy(site.dir.path().join("agent/pki/authority.pem"), pki.join("authority.pem")).expect("it is copied");
    let other = authority(&state, "shop-b", &site.clock);
    let joining = Joining::begin("shop-b", "db-a").expect("a key");
    let (signed, _) = other.sign_host("db-a", joining.request()).expect("it is signed");
    joining.finish(&signed, &site.state_of("theirs")).expect("it is written");
    let theirs = Identity::of_host(&site.state_of("theirs"), &site.clock.wall()).expect("it is there");
    let refusal = meet(&site.gate(), &theirs).await.host.expect_err("it is another site's agent");
    assert!(matches!(&refusal, Refusal::WrongSite { wanted, .. } if wanted == "shop-b"), "{refusal}");
    // One that would believe that agent is refused by it.
    let gate = site.gate();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let file = site.file_of("theirs");
    let (refused, _) = tokio::join!(
        async { gate.accept(listener.accept().await.expect("a connection").0).await.map(|it| it.1) },
        bare(&address, Some(&file)),
    );
    assert!(matches!(&refused, Err(Refusal::WrongSite { wanted, .. }) if wanted == "shop-a"), "{refused:?}");
}

#[tokio::test]
async fn a_host_gets_no_certificate_in_anothers_name() {
    let site = Site::new("shop-a");
    let open = site.open().await;
    let host = site.host("db-a", &site.clock);
    for (at, name) in [("shop-a", "db-b"), ("shop-b", "db-a")] {
        let other = Joining::begin(at, name).expect("a key");
        let (stream, _) =
            host.connect(TcpStream::connect(&open.address).await.expect("it connects")).await.expect("TLS");
        let body = serde_json::json!({ "request": other.request() }).to_string();
        let (status, said) = post(stream, "/v1/renew", body).await;
        assert_eq!((status.as_u16(), said["code"].as_str()), (403, Some("wrong_name")), "{said}");
    }
    assert!(open.refusals().iter().all(|it| matches!(it, Refusal::WrongName { .. })), "{:?}", open.events());
    assert_eq!(open.refusals().len(), 2);
    assert_eq!(site.authority.register().all().expect("it is read")[0].certificates.len(), 1);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_no_proof() {
    let site = Site::new("shop-a");
    site.host("db-a", &site.clock);
    site.host("db-b", &site.clock);
    // db-b's key under db-a's certificate: the certificate is no secret.
    let text = |host: &str| fs::read_to_string(site.file_of(host)).expect("it is there");
    let end = "-----END PRIVATE KEY-----\n";
    let (key, _) = text("db-b").split_once(end).map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a key");
    let (_, shown) = text("db-a").split_once(end).map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a certificate");
    let forged = site.dir.path().join("forged.pem");
    fs::write(&forged, format!("{key}{end}{shown}")).expect("it is written");
    let gate = site.gate();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (refused, _) = tokio::join!(
        async { gate.accept(listener.accept().await.expect("a connection").0).await.map(|it| it.1) },
        bare(&address, Some(&forged)),
    );
    let expected = Refusal::NoProof { claimed: "host db-a of site shop-a".to_owned() };
    assert_eq!(refused.expect_err("it has not the key"), expected);
}

#[tokio::test]
async fn what_is_no_tls_comes_to_an_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let site = Site::new("shop-a");
    let open = site.open().await;
    let mut stream = TcpStream::connect(&open.address).await.expect("it connects");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: agent\r\n\r\n").await.expect("it is sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "{answer:?}");
    assert!(matches!(&open.refusals()[..], [Refusal::Handshake { .. }]), "{:?}", open.events());
}

#[tokio::test]
async fn what_is_kept_about_a_host_and_cant_be_read_lets_nobody_in_who_was_not_known() {
    let site = Site::new("shop-a");
    let host = site.host("db-a", &site.clock);
    let gate = site.gate();
    let kept = site.dir.path().join("agent/pki/hosts/db-a.json");
    let whole = fs::read(&kept).expect("it is there");
    fs::write(&kept, &whole[..20]).expect("it is damaged");
    let refusal = meet(&gate, &host).await.agent.expect_err("it may have been revoked");
    assert!(matches!(refusal, Refusal::Unreadable { .. }), "{refusal}");
    // Who was seen before is judged by what was known then.
    fs::write(&kept, &whole).expect("it is mended");
    assert!(meet(&gate, &host).await.spoke);
    fs::write(&kept, &whole[..20]).expect("it is damaged");
    assert!(meet(&gate, &host).await.spoke);
}

#[test]
fn files_that_others_can_read_are_not_used() {
    let site = Site::new("shop-a");
    site.host("db-a", &site.clock);
    let open_to_all = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let wall = site.clock.wall();
    let file = site.file_of("db-a");
    open_to_all(&file, 0o640);
    let error = Identity::of_host(&site.state_of("db-a"), &wall).expect_err("a group can read it");
    assert!(matches!(error, FileError::OpenToOthers { mode: 0o640, .. }), "{error}");
    assert!(error.to_string().contains(&format!("run `chmod 600 {}`", file.display())), "{error}");
    open_to_all(&file, 0o600);
    open_to_all(file.parent().expect("a folder"), 0o755);
    let error = Identity::of_host(&site.state_of("db-a"), &wall).expect_err("others see into it");
    assert!(error.to_string().contains("run `chmod 700 "), "{error}");

    let state = site.dir.path().join("agent");
    open_to_all(&state.join("pki/authority.pem"), 0o644);
    let error = Authority::open(&state, Terms::default(), &wall).expect_err("anybody could sign");
    assert!(matches!(error, AuthorityError::File(FileError::OpenToOthers { mode: 0o644, .. })), "{error}");
}

#[test]
fn an_authority_that_was_lost_is_not_replaced_in_silence() {
    let site = Site::new("shop-a");
    let state = site.dir.path().join("agent");
    let create = |name: &str| Authority::create(&state, name, &[], Terms::default(), &site.clock.wall());
    let error = create("shop-b").expect_err("it is shop-a's");
    assert!(error.to_string().contains("holds the authority of site shop-a, not of shop-b"), "{error}");
    fs::remove_file(state.join("pki/authority.pem")).expect("it is lost");
    let error = create("shop-a").expect_err("all hosts would be lost with it");
    assert!(matches!(error, AuthorityError::File(FileError::Missing { .. })), "{error}");
}

/// A client that believes whoever answers, and shows the key and certificate of `file`, whether or not they belong together.
async fn bare(address: &str, file: Option<&std::path::Path>) -> tokio_rustls::client::TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let text = fs::read(file).expect("it is there");
            let key = PrivateKeyDer::from_pem_slice(&text).expect("a key");
            let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>().expect("certificates");
            let key = provider.key_provider.load_private_key(key).expect("a key");
            let shown = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
            builder.with_client_cert_resolver(Arc::new(Shows(shown)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.expect("it connects");
    let name = ServerName::try_from("agent.invalid").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake, on this side")
}

#[derive(Debug)]
struct Shows(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Credulous;

impl rustls::client::danger::ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
