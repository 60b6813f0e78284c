//! Probes that shake hands with a real OpenSSL server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use mainstay_plan::observation::{Answer, Concerns};
use mainstay_plan::probe::{Address, ProbeKind, TlsProbe};
use mainstay_providers::{PrepareError, Providers};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::fixtures::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority with its certificate in `ca.pem`.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

/// A server's certificate and key, in files.
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new() -> Authority {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("the file is written");
        Authority { issuer: Issuer::new(params, key), directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// For `name`, valid from `from` to `to`.
    fn certificate(&self, name: &str, from: SystemTime, to: SystemTime) -> Shown {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (from.into(), to.into());
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let at = |ending: &str| self.directory.path().join(format!("{name}.{ending}"));
        std::fs::write(at("pem"), certificate.pem()).expect("the file is written");
        std::fs::write(at("key"), key.serialize_pem()).expect("the file is written");
        Shown { certificate: at("pem"), key: at("key") }
    }
}

/// `openssl s_server`, killed with this value.
struct OpenSsl {
    process: Child,
    address: SocketAddr,
}

impl OpenSsl {
    fn start(shown: &Shown, more: &[&str]) -> OpenSsl {
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "100", "-cert"])
            .arg(&shown.certificate)
            .arg("-key")
            .arg(&shown.key)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let said =
            lines.find_map(|it| it.strip_prefix("ACCEPT ").map(str::to_owned)).expect("it says where it listens");
        let address = said.parse().expect("an address");
        // Read on, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        OpenSsl { process, address }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tls(address: SocketAddr, name: &str, ca_file: &Path) -> TlsProbe {
    TlsProbe {
        address: Address::Socket(address),
        name: name.to_owned(),
        ca_file: Some(ca_file.to_owned()),
        expires_after: None,
    }
}

#[tokio::test]
async fn a_trusted_certificate_of_the_right_name_is_good() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let server = OpenSsl::start(&authority.certificate("db.example", now - DAY, now + 30 * DAY), &[]);
    let good = tls(server.address, "db.example", &authority.file());
    assert_eq!(probe(&ProbeKind::Tls(good.clone())).await.answer, Answer::Good);
    let other = TlsProbe { name: "other.example".to_owned(), ..good.clone() };
    assert_wrong(&probe(&ProbeKind::Tls(other)).await.answer, "other.example");
    let stranger = TlsProbe { ca_file: Some(Authority::new().file()), ..good.clone() };
    let answer = probe(&ProbeKind::Tls(stranger)).await.answer;
    assert_could_not_ask(&answer, "ca.pem: no such file");
    let strangers = Authority::new();
    let stranger = TlsProbe { ca_file: Some(strangers.file()), ..good };
    assert_wrong(&probe(&ProbeKind::Tls(stranger)).await.answer, "certificate");
}

#[tokio::test]
async fn only_tls_1_2_is_fine_and_silence_is_not() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let server = OpenSsl::start(&authority.certificate("db.example", now - DAY, now + 30 * DAY), &["-tls1_2"]);
    let kind = ProbeKind::Tls(tls(server.address, "db.example", &authority.file()));
    assert_eq!(probe(&kind).await.answer, Answer::Good);
    let silent = ProbeKind::Tls(tls(silent_server().await, "db.example", &authority.file()));
    assert_eq!(probe_in_vain(&silent).await, Answer::TimedOut);
    let closed = ProbeKind::Tls(tls(closed_port().await, "db.example", &authority.file()));
    assert_refused(&probe(&closed).await.answer, "connection refused");
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_good_and_told() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let server = OpenSsl::start(&authority.certificate("db.example", now - DAY, now + 10 * DAY), &[]);
    let within = |time: Duration| {
        let expires_after = Some(time);
        ProbeKind::Tls(TlsProbe { expires_after, ..tls(server.address, "db.example", &authority.file()) })
    };
    let soon = probe(&within(14 * DAY)).await;
    assert_eq!(soon.answer, Answer::Good);
    assert_says(soon.concerns.expiring.as_deref(), "its certificate is valid until ");
    assert_eq!(probe(&within(14 * DAY)).await.concerns, soon.concerns, "the same words as long as it is the same");
    let later = probe(&within(9 * DAY)).await;
    assert_eq!((later.answer, later.concerns), (Answer::Good, Concerns::default()));
}

#[tokio::test]
async fn an_expired_certificate_is_a_failure_and_so_is_one_of_tomorrow() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let expired = OpenSsl::start(&authority.certificate("old.example", now - 30 * DAY, now - DAY), &[]);
    let kind =
        ProbeKind::Tls(TlsProbe { expires_after: Some(DAY), ..tls(expired.address, "old.example", &authority.file()) });
    let got = probe(&kind).await;
    assert_wrong(&got.answer, "expired");
    assert_eq!(got.concerns, Concerns::default());
    let early = OpenSsl::start(&authority.certificate("new.example", now + DAY, now + 30 * DAY), &[]);
    assert_wrong(
        &probe(&ProbeKind::Tls(tls(early.address, "new.example", &authority.file()))).await.answer,
        "not valid yet",
    );
}

#[tokio::test]
async fn whom_to_trust_is_read_ahead() {
    let authority = Authority::new();
    let now = SystemTime::now();
    let server = OpenSsl::start(&authority.certificate("db.example", now - DAY, now + 30 * DAY), &[]);
    let kind = ProbeKind::Tls(tls(server.address, "db.example", &authority.file()));
    let providers = Providers::new();
    providers.prepare_probe(&kind).await.expect("the authority is read");
    std::fs::remove_file(authority.file()).expect("it was there");
    assert_eq!(providers.probe(&kind, LONG).await.answer, Answer::Good);
    assert!(matches!(providers.prepare_probe(&kind).await, Err(PrepareError::Trust(_))));
    let nameless = ProbeKind::Tls(tls(server.address, "no name", &authority.file()));
    assert!(matches!(providers.prepare_probe(&nameless).await, Err(PrepareError::Request(_))));
}
