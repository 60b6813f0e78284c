//! Lowering PostgreSQL servers.

use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Cx, Fields};
use super::grammar::{POSTGRES, POSTGRES_BACKUP, POSTGRES_FOLLOW, POSTGRES_TLS};
use super::raw::{ActKind, RawAct};
use super::routes::NOWHERE;
use super::scalar;
use super::tree::{Entry, Node};
use super::values;
use crate::backup::TakenBy;
use crate::finding::{Code, Finding, Span};
use crate::postgres::{Password, PostgresBackup, PostgresFiles, PostgresFollow, PostgresServer, PostgresTls};
use crate::probe::Address;

/// How long a fast shutdown may take, where the plan does not say.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long a promotion that the plan does not write may take.
const PROMOTE: Duration = Duration::from_secs(10);

/// The server that an instance is.
pub(super) fn postgres<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<PostgresServer> {
    let mut fields = Fields::open(cx, Some(node), at, "this PostgreSQL server", &POSTGRES);
    let address = fields.read("address", values::address);
    let (user, database) = (fields.text("user"), fields.text("database"));
    let password = password(&mut fields);
    let tls = fields.take("tls").map(|it| tls(cx, it, address.as_ref()));
    let files = files(&mut fields);
    let follow = fields.take("follow").map(|it| follow(cx, it));
    let synchronous = fields.read("synchronous", synchronous);
    fields.finish();
    Some(PostgresServer {
        address: address?,
        user: user?,
        database: database?,
        password,
        tls,
        files,
        follow: follow.flatten(),
        synchronous,
    })
}

/// Whom a primary waits for, in PostgreSQL's own words: how many of which.
struct Waits {
    many: usize,
    names: Vec<String>,
}

impl Waits {
    /// `a, b`, `2 (a, b)`, `FIRST 2 (a, b)` or `ANY 2 (a, b)`.
    fn parse(text: &str) -> Option<Waits> {
        let text = text.trim();
        let Some((before, list)) = text.strip_suffix(')').and_then(|it| it.split_once('(')) else {
            return Some(Waits { many: 1, names: standbys(text)? });
        };
        let mut words = before.split_whitespace().rev();
        let many = words.next()?.parse().ok().filter(|it| *it > 0)?;
        let is_known = words.next().is_none_or(|it| it.eq_ignore_ascii_case("any") || it.eq_ignore_ascii_case("first"));
        (is_known && words.next().is_none()).then_some(Waits { many, names: standbys(list)? })
    }

    fn is_anybody(&self) -> bool {
        self.names.iter().any(|it| it == "*")
    }
}

/// Names apart by commas, in quotes where they are no plain words.
fn standbys(list: &str) -> Option<Vec<String>> {
    let name = |it: &str| {
        let it = it.trim();
        let plain = |it: &str| {
            it.starts_with(|it: char| it.is_alphabetic() || it == '_')
                && it.chars().all(|it| it.is_alphanumeric() || "_$".contains(it))
        };
        match it.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
            Some(quoted) => Some(quoted).filter(|it| !it.is_empty() && !it.contains('"')),
            None => Some(it).filter(|it| *it == "*" || plain(it)),
        }
        .map(str::to_owned)
    };
    list.split(',').map(name).collect()
}

/// Whom it waits for as a primary.
fn synchronous(cx: &Cx<'_>, node: &Node) -> Option<String> {
    let text = values::at_text(cx, node)?;
    let report = |what: &str, label: &str, help: &str| {
        cx.report(Finding::new(Code::WaitsForNobody, text.span, what).label(label).help(help));
    };
    match Waits::parse(&text.value) {
        None => {
            let help = "write for example `ANY 1 (orders_a, orders_b, orders_c)`; a name with a hyphen stands in quotes: `\"orders-b\"`";
            report("this is not what `synchronous_standby_names` may be", "PostgreSQL would refuse it", help);
            return None;
        }
        Some(waits) if waits.many > waits.names.len() && !waits.is_anybody() => {
            let what = format!("{} standbys are waited for, and {} are named", waits.many, waits.names.len());
            report(&what, "no write would ever be acknowledged", "name more of them, or wait for fewer");
        }
        Some(waits) if waits.many == waits.names.len() && !waits.is_anybody() => cx.report(
            Finding::new(Code::WaitsForAll, text.span, "each standby that is named is waited for")
                .label("one that is lost stops all writes")
                .help("name one more than are waited for: `ANY 1 (orders_a, orders_b, orders_c)`, the same on all servers"),
        ),
        Some(_) => {}
    }
    Some(text.value)
}

fn password(fields: &mut Fields<'_>) -> Option<Password> {
    let file = fields.read("password_file", values::path);
    let passfile = fields.read("passfile", values::path);
    if let (Some(at), Some(other)) = (fields.key_place("password_file"), fields.key_place("passfile")) {
        fields.cx.report(
            Finding::new(Code::Contradiction, at, "a password is in a `password_file` or in a `passfile`")
                .label("alone in its file")
                .other(other, "among others")
                .help("remove one of them"),
        );
    }
    file.map(Password::File).or(passfile.map(Password::Passfile))
}

fn tls<'a>(cx: &'a Cx<'a>, entry: &'a Entry, address: Option<&Address>) -> PostgresTls {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "this TLS", &POSTGRES_TLS);
    let ca_file = fields.read("ca_file", values::path);
    let name = fields.text("name").or_else(|| address.map(Address::host)).unwrap_or_default();
    fields.finish();
    PostgresTls { ca_file, name }
}

fn files(fields: &mut Fields<'_>) -> Option<PostgresFiles> {
    let data = fields.read("data", values::path);
    let bin = fields.read("bin", values::path);
    let config_file = fields.read("config_file", values::path);
    let run_as = fields.text("run_as");
    let grace = fields.maybe_duration("stop_grace");
    let Some(data) = data else {
        for name in ["bin", "config_file", "run_as", "stop_grace"] {
            if let Some(at) = fields.key_place(name).filter(|_| !fields.has("data")) {
                fields.cx.report(
                    Finding::new(Code::Contradiction, at, format!("`{name}` is about files, and `data` is not said"))
                        .label("has no effect")
                        .help(format!("add `data: /var/lib/postgresql/15/main`, or remove `{name}`")),
                );
            }
        }
        return None;
    };
    let usual = || PostgresFiles::usual_bin(&data);
    if let (None, Some(usual)) = (&bin, usual()) {
        fields.cx.derive(fields.at, "bin", || usual.display().to_string());
    }
    if grace.is_none() {
        fields.cx.derive(fields.at, "stop_grace", || scalar::show_duration(STOP_GRACE));
    }
    let bin: Option<PathBuf> = bin.or_else(usual);
    Some(PostgresFiles { bin, data, config_file, run_as, stop_grace: grace.unwrap_or(STOP_GRACE) })
}

fn follow<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Option<PostgresFollow> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "this follow", &POSTGRES_FOLLOW);
    let user = fields.text("user");
    let passfile = fields.read("passfile", values::path);
    fields.finish();
    Some(PostgresFollow { user: user?, passfile })
}

/// How a series of backups of `server` is taken and restored.
pub(super) fn backup<'a>(cx: &'a Cx<'a>, entry: &'a Entry, server: Option<&PostgresServer>) -> Option<PostgresBackup> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "this series", &POSTGRES_BACKUP);
    let folder = fields.read("to", values::path);
    let check = fields.text("check");
    let database = fields.text("database");
    let scratch = fields.read("scratch", values::path);
    let (bin, run_as) = (fields.read("bin", values::path), fields.text("run_as"));
    let taken_by = fields.word("taken_by", &TakenBy::ALL, TakenBy::word).unwrap_or_default();
    fields.finish();
    let Some(server) = server.filter(|it| it.follow.is_some()) else {
        cx.report(
            Finding::new(Code::PostgresMissing, entry.key_span, "nothing says how a backup is taken from the server")
                .label("copied as whom?")
                .reason("a base backup is copied over the protocol that standbys use, by a role that may replicate")
                .help("add `postgres: { …, follow: { user: replicator } }` to the component"),
        );
        return None;
    };
    let folder = folder?;
    let files = server.files.as_ref();
    let of_server = |name: &'static str, said: bool, value: Option<String>| {
        if let (false, Some(value)) = (said, value) {
            cx.derive(entry.key_span, name, || value);
        }
    };
    let server_bin = files.and_then(|it| it.bin.clone());
    let server_user = files.and_then(|it| it.run_as.clone());
    of_server("bin", bin.is_some(), server_bin.as_ref().map(|it| it.display().to_string()));
    of_server("run_as", run_as.is_some(), server_user.clone());
    of_server("database", database.is_some(), Some(server.database.clone()));
    of_server("scratch", scratch.is_some(), Some(folder.join("restored").display().to_string()));
    Some(PostgresBackup {
        scratch: scratch.unwrap_or_else(|| folder.join("restored")),
        folder,
        bin: bin.or(server_bin),
        run_as: run_as.or(server_user),
        check,
        database: database.unwrap_or_else(|| server.database.clone()),
        taken_by,
        buckets: Vec::new(),
    })
}

/// Stands in for a server that could not be read.
pub(super) fn unread() -> PostgresServer {
    PostgresServer {
        address: Address::Socket(NOWHERE),
        user: String::new(),
        database: String::new(),
        password: None,
        tls: None,
        files: None,
        follow: None,
        synchronous: None,
    }
}

/// What activates a PostgreSQL server where the plan does not say it.
pub(super) fn promotion(at: Span) -> RawAct {
    RawAct {
        at,
        what: ActKind::Promote,
        timeout: PROMOTE,
        attempts: 1,
        retry: None,
        undo: None,
        with_previous: None,
        needs: Vec::new(),
        whose: super::controls::RawWhere::default(),
        new_address: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_primary_waits_for_is_read_as_postgresql_reads_it() {
        let read = |text: &str| Waits::parse(text).map(|it| (it.many, it.names.join("+")));
        let are = |many: usize, names: &str| Some((many, names.to_owned()));
        assert_eq!(read("ANY 1 (a, \"orders-b\", c)"), are(1, "a+orders-b+c"));
        assert_eq!(read("first 2(a,b , c)"), are(2, "a+b+c"));
        assert_eq!(read("2 (a, b)"), are(2, "a+b"));
        assert_eq!(read("a, b"), are(1, "a+b"));
        assert_eq!(read("ANY 1 (*)"), are(1, "*"));
        for wrong in ["", "ANY (a)", "ANY 0 (a)", "SOME 1 (a)", "ANY 1 (orders-b)", "ANY 1 (a", "a,, b", "x ANY 1 (a)"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
