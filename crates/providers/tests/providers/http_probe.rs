//! Probes that send an HTTP request, with and without TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::observation::Answer;
use mainstay_plan::probe::{Address, HttpProbe, ProbeKind};
use mainstay_providers::{PrepareError, Providers};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::fixtures::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Lag: 1.5s\r\n\r\nall is well";

fn http(address: SocketAddr) -> HttpProbe {
    HttpProbe::get(Address::Socket(address), "shop.example", "/health?deep=1")
}

async fn ask(probed: HttpProbe) -> mainstay_providers::ProbeAnswer {
    probe(&ProbeKind::Http(Box::new(probed))).await
}

#[tokio::test]
async fn one_plain_request_is_sent() {
    let (address, mut requests) = http_server(OK).await;
    assert_eq!(ask(http(address)).await.answer, Answer::Good);
    let request = requests.recv().await.expect("a request").to_lowercase();
    assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
    for header in ["host: shop.example\r\n", "user-agent: mainstay/0.", "connection: close\r\n"] {
        assert!(request.contains(header), "{request}");
    }
}

#[tokio::test]
async fn status_and_body_are_compared() {
    let (address, _requests) = http_server(OK).await;
    let with = |expect_status: &[(u16, u16)], expect_body: Option<&str>| HttpProbe {
        expect_status: expect_status.to_vec(),
        expect_body: expect_body.map(str::to_owned),
        ..http(address)
    };
    assert_eq!(ask(with(&[(500, 599), (200, 200)], Some("is well"))).await.answer, Answer::Good);
    assert_wrong(&ask(with(&[(300, 399)], None)).await.answer, "status 200");
    assert_wrong(&ask(with(&[], Some("on fire"))).await.answer, "without the expected text");
    let (address, _requests) = http_server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
    assert_wrong(&ask(http(address)).await.answer, "status 503");
}

#[tokio::test]
async fn only_the_first_64_kib_of_a_body_count() {
    let filler = "x".repeat(64 * 1024 - 4);
    let reply: &'static str = format!("HTTP/1.1 200 OK\r\n\r\n{filler}headtail").leak();
    let (address, _requests) = http_server(reply).await;
    let with = |text: &str| HttpProbe { expect_body: Some(text.to_owned()), ..http(address) };
    assert_eq!(ask(with("xhead")).await.answer, Answer::Good);
    assert_wrong(&ask(with("tail")).await.answer, "without the expected text");
}

#[tokio::test]
async fn a_lag_header_is_read_and_one_that_cannot_be_read_is_no_failure() {
    let (address, _requests) = http_server(OK).await;
    let with = |name: &str| HttpProbe { lag_header: Some(name.to_owned()), ..http(address) };
    assert_eq!(ask(with("x-lag")).await.lag, Some(Duration::from_millis(1500)));
    for name in ["x-other", "content-type", "not a header"] {
        let got = ask(with(name)).await;
        assert_eq!((got.answer, got.lag), (Answer::Good, None));
    }
}

#[tokio::test]
async fn a_role_header_is_told_in_its_own_word() {
    let (address, _requests) = http_server("HTTP/1.1 200 OK\r\nx-role:  Primary \r\ncontent-length: 0\r\n\r\n").await;
    let with = |name: &str| HttpProbe { role_header: Some(name.to_owned()), ..http(address) };
    assert_eq!(ask(with("x-role")).await.role.as_deref(), Some("Primary"));
    let got = ask(with("x-other")).await;
    assert_eq!((got.answer, got.role), (Answer::Good, None));
    assert_eq!(ask(http(address)).await.role, None);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_times_out() {
    let address = silent_server().await;
    assert_eq!(probe_in_vain(&ProbeKind::Http(Box::new(http(address)))).await, Answer::TimedOut);
    let authority = authority();
    assert_eq!(probe_in_vain(&ProbeKind::Http(Box::new(https(address, &authority.file)))).await, Answer::TimedOut);
}

#[tokio::test]
async fn refusals_and_nonsense_are_told_apart() {
    assert_refused(&ask(http(closed_port().await)).await.answer, "connection refused");
    let (address, _requests) = http_server("").await;
    assert_refused(&ask(http(address)).await.answer, "closed");
    let (address, _requests) = http_server("SSH-2.0-OpenSSH_9.9\r\n").await;
    assert_wrong(&ask(http(address)).await.answer, "not an HTTP answer");
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_our_trouble() {
    let broken = HttpProbe { host: "a\nb".to_owned(), ..http(closed_port().await) };
    assert_could_not_ask(&ask(broken.clone()).await.answer, "the request");
    let prepared = Providers::new().prepare_probe(&ProbeKind::Http(Box::new(broken))).await;
    assert!(matches!(prepared, Err(PrepareError::Request(_))), "{prepared:?}");
}

/// A certificate authority, and its certificate in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) fn authority() -> Authority {
    let directory = tempfile::tempdir().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, certificate.pem()).expect("the file is written");
    Authority { issuer: Issuer::new(params, key), file, _directory: directory }
}

/// A server's side of TLS, with a certificate for `name`.
pub(crate) fn server_config(authority: &Authority, name: &str) -> rustls::ServerConfig {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority.issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a server configuration")
}

/// Answers over TLS with a certificate for `name`.
pub(crate) async fn tls_server(authority: &Authority, name: &str) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(authority, name)));
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = answer_http(stream, OK).await;
            }
        }
    });
    address
}

fn https(address: SocketAddr, ca_file: &Path) -> HttpProbe {
    HttpProbe { tls: true, ca_file: Some(ca_file.to_owned()), ..http(address) }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_and_the_right_name_is_good() {
    let authority = authority();
    let address = tls_server(&authority, "shop.example").await;
    assert_eq!(ask(https(address, &authority.file)).await.answer, Answer::Good);
    let with_port = HttpProbe { host: "shop.example:8443".to_owned(), ..https(address, &authority.file) };
    assert_eq!(ask(with_port).await.answer, Answer::Good);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_a_wrong_answer() {
    let trusted = authority();
    let other_name = tls_server(&trusted, "other.example").await;
    assert_wrong(&ask(https(other_name, &trusted.file)).await.answer, "other.example");
    let stranger = tls_server(&authority(), "shop.example").await;
    assert_wrong(&ask(https(stranger, &trusted.file)).await.answer, "certificate");
    let (greeter, plain) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = greeter.accept().await.expect("a client");
        stream.write_all(b"220 mail.example ESMTP\r\n").await.expect("greeted");
        // Held until the client goes.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    assert_wrong(&ask(https(plain, &trusted.file)).await.answer, "does not speak TLS");
}

#[tokio::test]
async fn what_was_prepared_needs_no_file_when_it_counts() {
    let authority = authority();
    let address = tls_server(&authority, "shop.example").await;
    let kind = ProbeKind::Http(Box::new(https(address, &authority.file)));
    let providers = Providers::new();
    providers.prepare_probe(&kind).await.expect("the authority is read");
    std::fs::remove_file(&authority.file).expect("it was there");
    assert_eq!(providers.clone().probe(&kind, LONG).await.answer, Answer::Good);
    assert!(matches!(providers.prepare_probe(&kind).await, Err(PrepareError::Trust(_))));
    assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good, "what was read before stays");
    assert_could_not_ask(&probe(&kind).await.answer, "ca.pem");
}
