//! Over TLS, verified.

use mainstay_pgkit::Server;
use mainstay_plan::postgres::PostgresTls;
use rcgen::KeyPair;

use super::*;

/// A primary with a certificate for `db-1.internal`, and without the way in that is not encrypted.
fn secured() -> Server {
    let mut primary = Server::primary(&[]);
    primary.stop();
    let key = KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["db-1.internal".to_owned()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    primary.write("data/server.crt", &certificate.pem());
    primary.write("data/server.key", &key.serialize_pem());
    primary.append("data/postgresql.conf", "ssl = on\n");
    primary.write("data/pg_hba.conf", "local all all trust\nhostssl all mainstay 127.0.0.1/32 scram-sha-256\n");
    primary.start();
    primary
}

#[tokio::test]
async fn the_certificate_is_verified() {
    let secrets = Secrets::right();
    let primary = secured();
    let ca_file = Some(primary.data().join("server.crt"));
    let over_tls = |ca_file: Option<PathBuf>, name: &str| PostgresServer {
        tls: Some(PostgresTls { ca_file, name: name.to_owned() }),
        ..secrets.of(&primary)
    };
    assert_eq!(ask(over_tls(ca_file.clone(), "db-1.internal")).await.answer, Answer::Good);
    for (ca_file, name) in [(ca_file, "db-2.internal"), (None, "db-1.internal")] {
        let answer = ask(over_tls(ca_file, name)).await.answer;
        assert!(matches!(&answer, Answer::Wrong(why) if why.contains("certificate")), "{answer:?}");
    }
    let answer = ask(secrets.of(&primary)).await.answer;
    assert!(matches!(&answer, Answer::CouldNotAsk(why) if why.contains("no encryption")), "{answer:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let secrets = Secrets::right();
    let primary = Server::primary(&[]);
    let tls = Some(PostgresTls { ca_file: None, name: "db-1.internal".to_owned() });
    let answer = ask(PostgresServer { tls, ..secrets.of(&primary) }).await.answer;
    assert!(matches!(&answer, Answer::Wrong(why) if why.contains("TLS")), "{answer:?}");
}
