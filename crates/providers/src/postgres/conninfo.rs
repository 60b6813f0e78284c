//! `primary_conninfo`: whom a standby follows, in libpq's words.

use mainstay_plan::postgres::PostgresServer;
use mainstay_plan::probe::Address;

/// What says where a server is and who may go there; the rest stays as it was.
const OF_LEADER: [&str; 10] =
    ["host", "hostaddr", "port", "service", "user", "password", "passfile", "sslmode", "sslrootcert", "dbname"];

/// The connection string with which to follow `leader`, made of the one that is there: what it says beside where and who, such as
/// `application_name`, stays.
pub(super) fn following(before: &str, leader: &PostgresServer) -> String {
    let follow = leader.follow.as_ref();
    let passfile = follow.and_then(|it| it.passfile.as_ref());
    let was = parse(before).unwrap_or_default();
    let old = |name: &str| was.iter().find(|it| it.0 == name).map(|it| it.1.clone());
    let mut all: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| all.push((name.to_owned(), value));
    match (&leader.address, &leader.tls) {
        (Address::Socket(socket), Some(tls)) => {
            say("host", tls.name.clone());
            say("hostaddr", socket.ip().to_string());
        }
        (address, _) => say("host", address.host()),
    }
    say("port", leader.address.port().to_string());
    say("user", follow.map(|it| it.user.clone()).or_else(|| old("user")).unwrap_or_default());
    match passfile {
        Some(file) => say("passfile", file.display().to_string()),
        None => {
            for name in ["password", "passfile"] {
                old(name).into_iter().for_each(|it| say(name, it));
            }
        }
    }
    match &leader.tls {
        Some(tls) => {
            say("sslmode", "verify-full".to_owned());
            let ca_file = tls.ca_file.as_ref().map(|it| it.display().to_string());
            ca_file.or_else(|| old("sslrootcert")).into_iter().for_each(|it| say("sslrootcert", it));
        }
        None => old("sslmode").into_iter().for_each(|it| say("sslmode", it)),
    }
    all.extend(was.into_iter().filter(|it| !OF_LEADER.contains(&it.0.as_str())));
    all.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect::<Vec<_>>().join(" ")
}

/// The keywords and values of a connection string; `None`: it is a URI, or none.
pub(super) fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || name.contains(|it: char| !it.is_ascii_alphanumeric() && it != '_') {
            return None;
        }
        let value = value.trim_start();
        let is_quoted = value.starts_with('\'');
        let mut said = String::new();
        let mut ended = None;
        let mut chars = value.char_indices().skip(usize::from(is_quoted));
        while let Some((at, it)) = chars.next() {
            match it {
                '\\' => said.push(chars.next()?.1),
                '\'' if is_quoted => {
                    ended = Some(at + 1);
                    break;
                }
                it if !is_quoted && it.is_ascii_whitespace() => {
                    ended = Some(at);
                    break;
                }
                it => said.push(it),
            }
        }
        if is_quoted && ended.is_none() {
            return None;
        }
        all.push((name.to_owned(), said));
        rest = value[ended.unwrap_or(value.len())..].trim_start();
    }
    Some(all)
}

fn quoted(value: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-/:".contains(it);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Text as a literal of SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use mainstay_plan::postgres::{PostgresFollow, PostgresTls};

    use super::*;

    fn leader(passfile: Option<&str>, tls: Option<PostgresTls>) -> PostgresServer {
        PostgresServer {
            address: Address::Socket(([10, 0, 2, 10], 5433).into()),
            user: "mainstay".to_owned(),
            database: "postgres".to_owned(),
            password: None,
            tls,
            files: None,
            follow: Some(PostgresFollow { user: "replicator".to_owned(), passfile: passfile.map(Into::into) }),
            synchronous: None,
        }
    }

    #[test]
    fn a_standby_keeps_what_is_not_about_its_leader() {
        let before = "host=10.0.1.10 port=5432 user=old password='it''s' application_name = db-3  keepalives_idle=5";
        let before = before.replace("it''s", r"it\'s");
        let after = following(&before, &leader(None, None));
        assert_eq!(
            after,
            r"host=10.0.2.10 port=5433 user=replicator password='it\'s' application_name=db-3 keepalives_idle=5"
        );
        assert_eq!(following(&after, &leader(None, None)), after, "twice is once");
        let with_file = following(&before, &leader(Some("/srv/pass file"), None));
        assert!(with_file.contains("passfile='/srv/pass file'") && !with_file.contains("it"), "{with_file}");
    }

    #[test]
    fn what_is_no_list_of_keywords_is_replaced() {
        for before in ["postgresql://old@10.0.1.10/db?application_name=db-3", "host='open", "host", ""] {
            assert_eq!(following(before, &leader(None, None)), "host=10.0.2.10 port=5433 user=replicator", "{before}");
        }
    }

    #[test]
    fn a_leader_with_tls_is_verified() {
        let tls = PostgresTls { ca_file: Some("/etc/ca.pem".into()), name: "db-2.internal".to_owned() };
        assert_eq!(
            following("host=10.0.1.10 sslmode=prefer", &leader(None, Some(tls))),
            "host=db-2.internal hostaddr=10.0.2.10 port=5433 user=replicator sslmode=verify-full sslrootcert=/etc/ca.pem"
        );
    }
}
