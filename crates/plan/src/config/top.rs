//! Lowering the file as a whole.

use std::net::SocketAddr;

use super::components::{component, location, standby, witness};
use super::controls;
use super::fields::{At, Cx, Fields, items, named};
use super::grammar::{ALLOWANCES, HEARTBEATS, Kind, PLAN, PROBING, SITE, TLS_FILES, TRAFFIC, VARIABLE};
use super::hosts;
use super::notifications::{self, notification};
use super::operation;
use super::raw::File;
use super::routes::{listen, route};
use super::rules;
use super::tree::{Entry, Node, Value};
use super::upgrade::{NEWEST, OLDER};
use super::values;
use crate::agents::AgentRole;
use crate::finding::{Code, Finding, Span};
use crate::listening::{HeartbeatListener, TlsFiles};
use crate::location::Location;
use crate::policy::{Allowances, Mode, OnJournalLoss, Probing, Site};

/// The plan, with every default filled in and no name resolved. Unless it is `whole`, sections may be missing.
pub(super) fn file<'a>(cx: &'a Cx<'a>, root: &'a Node, whole: bool) -> File {
    let top = Span { end: root.span.start, ..root.span };
    let top = if matches!(root.value, Value::Map(_)) { root.spot() } else { top };
    let mut fields = Fields::open(cx, Some(root), top, "the plan", &PLAN);
    if !whole {
        fields.leave_gaps();
    }
    version(&mut fields);
    let site = fields.take("site");
    let site_at = site.map_or(top, |it| it.key_span);
    let site = site.map(|it| self::site(cx, it)).unwrap_or_else(nowhere);
    let state = fields.take("state");
    let base = cx.base_dirs.first().cloned().unwrap_or_default();
    let state_dir = state.and_then(|it| values::path(cx, &it.node)).unwrap_or_else(|| base.join("state"));
    let mode = fields.word("mode", &Mode::ALL, Mode::word).unwrap_or(Mode::Act);
    let on_journal_loss = fields
        .word("on_journal_loss", &OnJournalLoss::ALL, OnJournalLoss::word)
        .unwrap_or(OnJournalLoss::RefuseExclusive);
    let allowances = self::allowances(cx, fields.take("allowances"));
    let probing = self::probing(cx, fields.take("probing"));
    let traffic = fields.take("traffic").map(|it| self::traffic(cx, it)).unwrap_or_default();
    let heartbeats = fields.take("heartbeats").and_then(|it| self::heartbeats(cx, it));
    // What these two stand for was put into the tree before; here is seen whether they were written as they should be.
    fields.read("include", |cx, node| match &node.value {
        Value::List(_) => values::names(cx, node),
        Value::Null | Value::Scalar { .. } | Value::Map(_) => None,
    });
    section(&mut fields, "variables").iter().for_each(|it| variable(cx, it));
    let components = section(&mut fields, "components");
    if let Some(Entry { key_span, node: Node { value: Value::Null | Value::Map(_), .. }, .. }) =
        fields.take("components")
        && components.is_empty()
    {
        cx.report(
            Finding::new(Code::Empty, *key_span, "there is no component")
                .label("at least one, please")
                .reason("a plan without components recovers nothing")
                .help("`mainstay init` writes a plan with one"),
        );
    }
    let file = File {
        site_at,
        state_dir,
        mode,
        on_journal_loss,
        allowances,
        probing,
        dns_listen: traffic.dns,
        secondaries: traffic.secondaries,
        beacon_listen: traffic.beacon,
        beacon_tls: traffic.beacon_tls,
        heartbeats,
        components: components.iter().map(|it| component(cx, it)).collect(),
        standbys: section(&mut fields, "standbys").iter().map(|it| standby(cx, it)).collect(),
        witnesses: section(&mut fields, "witnesses").iter().map(|it| witness(cx, it)).collect(),
        routes: section(&mut fields, "routes").iter().map(|it| route(cx, it)).collect(),
        controls: (section(&mut fields, "control_planes").iter())
            .map(|it| controls::control(cx, it, &site.location.region))
            .collect(),
        prepared: operation::prepared(
            cx,
            section(&mut fields, "credentials"),
            section(&mut fields, "cache"),
            &site.location,
        ),
        guards: fields.take("guards").map(|it| operation::site_guards(cx, it)).unwrap_or_default(),
        rules: section(&mut fields, "rules").iter().map(|it| rules::rule(cx, it)).collect(),
        evacuations: section(&mut fields, "evacuations").iter().map(|it| operation::evacuation(cx, it)).collect(),
        drills: section(&mut fields, "drills").iter().map(|it| operation::drill(cx, it)).collect(),
        notifications: section(&mut fields, "notifications").iter().map(|it| notification(cx, it)).collect(),
        escalation: fields
            .read("escalation", items)
            .map(|it| it.iter().map(|it| notifications::escalation_step(cx, it)).collect())
            .unwrap_or_default(),
        quiet: fields
            .read("quiet", items)
            .map(|it| it.iter().filter_map(|it| notifications::quiet_time(cx, it)).collect())
            .unwrap_or_default(),
        people: section(&mut fields, "people").iter().map(|it| operation::person(cx, it)).collect(),
        agents: section(&mut fields, "agents").iter().map(|it| operation::agent(cx, it)).collect(),
        hosts: section(&mut fields, "hosts").iter().map(|it| hosts::host(cx, it)).collect(),
        link: fields.take("link").map(|it| hosts::link(cx, it, &allowances)),
        coordination: fields.take("coordination").and_then(|it| operation::coordination(cx, it, allowances.lateness)),
        idle: IDLE.into_iter().filter_map(|name| Some(At { value: name, span: fields.key_place(name)? })).collect(),
        site,
    };
    // Hands are acted by, and there may be nothing else among the agents.
    let decides = file.agents.iter().any(|it| it.role != AgentRole::Hands);
    let file = File { idle: file.idle.into_iter().filter(|it| decides || it.value != "agents").collect(), ..file };
    fields.finish();
    file
}

/// Sections that are checked and proved, and that the agent does not act on.
const IDLE: [&str; 4] = ["drills", "agents", "coordination", "cache"];

/// The entries of a mapping from names to things.
fn section<'a>(fields: &mut Fields<'a>, name: &'static str) -> &'a [Entry] {
    let Some(entry) = fields.take(name) else { return &[] };
    let what = match PLAN.field(name).map(|it| it.kind) {
        Some(Kind::Named(shape)) => shape.name,
        _ => name,
    };
    named(fields.cx, &entry.node, what)
}

fn version(fields: &mut Fields<'_>) {
    let Some(entry) = fields.take("version") else { return };
    let cx = fields.cx;
    let Some(text) = values::at_text(cx, &entry.node) else { return };
    if text.value == NEWEST {
        return;
    }
    cx.report(if OLDER.contains(&text.value.as_str()) {
        Finding::new(
            Code::OlderVersion,
            text.span,
            format!("version {} of the grammar; {NEWEST} is the newest", text.value),
        )
        .label("read as it was meant then")
        .help("`mainstay upgrade FILE` writes it in the newest version")
    } else {
        unknown_version(text.span, &text.value)
    });
}

/// Says that nobody here can read that version.
pub(super) fn unknown_version(at: Span, version: &str) -> Finding {
    Finding::new(Code::Version, at, format!("version `{version}` is not known"))
        .label(format!("this Mainstay reads {NEWEST} and older"))
        .help(format!("write `version: {NEWEST}`, or use the Mainstay that the file was written for"))
}

fn variable<'a>(cx: &'a Cx<'a>, entry: &'a Entry) {
    let mut fields =
        Fields::open(cx, Some(&entry.node), entry.key_span, format!("variable `{}`", entry.key), &VARIABLE);
    let (default, secret) = (fields.place("default"), fields.place("secret"));
    let _ = fields.text("env");
    let known = fields.read("default", values::content).is_some_and(|it| !it.is_empty());
    if let (true, Some(default), Some(secret)) = (fields.flag("secret") && known, default, secret) {
        cx.report(
            Finding::new(
                Code::SecretShown,
                default,
                format!("`{}` is a secret, and its default stands in the plan", entry.key),
            )
            .label("everybody who reads the plan or its journal knows it")
            .other(secret, "this is a secret")
            .help("remove the `default`; what starts the agent sets the variable"),
        );
    }
    fields.finish();
}

fn nowhere() -> Site {
    Site { name: String::new(), location: Location { region: String::new(), zone: None, host: None } }
}

fn site<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Site {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "the site", &SITE);
    let name = fields.read("name", values::name);
    let location = location(&mut fields);
    fields.finish();
    Site { name: name.unwrap_or_default(), location }
}

fn allowances<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>) -> Allowances {
    let at = entry.map(|it| it.key_span).unwrap_or_default();
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "these allowances", &ALLOWANCES);
    let allowances = Allowances {
        lateness: fields.duration("lateness"),
        journal_sync: fields.duration("journal_sync"),
        route_apply: fields.duration("route_apply"),
        agent_restart: fields.duration("agent_restart"),
        forced_stop: fields.duration("forced_stop"),
        correlation: fields.duration("correlation"),
    };
    fields.finish();
    allowances
}

fn probing<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>) -> Probing {
    let at = entry.map(|it| it.key_span).unwrap_or_default();
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "probing", &PROBING);
    let probing =
        Probing { at_once: fields.number("at_once"), at_once_per_target: fields.number("at_once_per_target") };
    fields.finish();
    probing
}

/// Where DNS is answered, who copies its zones, where beacons are answered and with which certificate.
#[derive(Default)]
struct Traffic {
    dns: Option<At<SocketAddr>>,
    secondaries: Vec<SocketAddr>,
    beacon: Option<At<SocketAddr>>,
    beacon_tls: Option<TlsFiles>,
}

fn traffic<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Traffic {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "traffic", &TRAFFIC);
    let mut read = |name| fields.read(name, |cx, node| Some(At { value: listen(cx, node)?, span: node.span }));
    let (dns, beacon) = (read("dns"), read("beacon"));
    let secondaries = fields.read("secondaries", values::sockets).unwrap_or_default();
    let beacon_tls = fields.take("beacon_tls").and_then(|it| tls_files(cx, it));
    if fields.has("beacon_tls") && !fields.has("beacon") {
        fields.miss("beacon");
    }
    fields.finish();
    Traffic { dns, secondaries, beacon, beacon_tls }
}

fn heartbeats<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Option<At<HeartbeatListener>> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "heartbeats", &HEARTBEATS);
    let listen = fields.read("listen", |cx, node| Some(At { value: listen(cx, node)?, span: node.span }));
    let token_file = fields.read("token_file", values::path);
    let tls = fields.take("tls").map(|it| tls_files(cx, it));
    fields.finish();
    let At { value: listen, span } = listen?;
    let value = HeartbeatListener { listen, token_file: token_file?, tls: tls.flatten() };
    Some(At { value, span })
}

fn tls_files<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Option<TlsFiles> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "this certificate", &TLS_FILES);
    let mut path = |name| fields.read(name, values::path);
    let (cert_file, key_file) = (path("cert_file"), path("key_file"));
    fields.finish();
    Some(TlsFiles { cert_file: cert_file?, key_file: key_file? })
}
