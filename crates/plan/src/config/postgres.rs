//! Lowering PostgreSQL servers.

use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Cx, Fields};
use super::grammar::{POSTGRES, POSTGRES_FOLLOW, POSTGRES_TLS};
use super::raw::{ActKind, RawAct};
use super::routes::NOWHERE;
use super::scalar;
use super::tree::{Entry, Node};
use super::values;
use crate::finding::{Code, Finding, Span};
use crate::postgres::{Password, PostgresFiles, PostgresFollow, PostgresServer, PostgresTls};
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
    fields.finish();
    Some(PostgresServer {
        address: address?,
        user: user?,
        database: database?,
        password,
        tls,
        files,
        follow: follow.flatten(),
    })
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
