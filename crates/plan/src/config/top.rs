//! Lowering the file as a whole.

use std::time::Duration;

use super::actions::notification;
use super::components::{component, location, standby, witness};
use super::fields::{self, At, Cx, Fields, named};
use super::raw::File;
use super::routes::{listen, route};
use super::tree::{Entry, Node, Value};
use crate::finding::{Code, Finding, Span};
use crate::location::Location;
use crate::policy::{Allowances, Mode, OnJournalLoss, Site};

/// The file, with every default filled in and no name resolved.
pub(super) fn file<'a>(cx: &'a Cx<'a>, root: &'a Node) -> File {
    let top = Span { end: root.span.start, ..root.span };
    let top = if matches!(root.value, Value::Map(_)) { root.spot() } else { top };
    let mut fields = Fields::open(cx, Some(root), top, "the plan");
    version(&mut fields);
    let site = fields.need("site");
    let site_at = site.map_or(top, |it| it.key_span);
    let site = site.map(|it| self::site(cx, it)).unwrap_or_else(nowhere);
    let state_dir = fields.read("state", fields::path).unwrap_or_else(|| cx.base_dir.join("state"));
    let mode = fields.read("mode", |cx, node| fields::word(cx, node, &Mode::ALL, Mode::word)).unwrap_or(Mode::Act);
    let on_journal_loss = fields
        .read("on_journal_loss", |cx, node| fields::word(cx, node, &OnJournalLoss::ALL, OnJournalLoss::word))
        .unwrap_or(OnJournalLoss::RefuseExclusive);
    let allowances = fields.take("allowances");
    let allowances = self::allowances(cx, allowances);
    let (dns_listen, beacon_listen) = fields.take("traffic").map(|it| traffic(cx, it)).unwrap_or_default();
    let components = entries(&mut fields, "components", true, "component");
    let standbys = entries(&mut fields, "standbys", false, "standby");
    let witnesses = entries(&mut fields, "witnesses", false, "witness");
    let routes = entries(&mut fields, "routes", false, "route");
    let notifications = entries(&mut fields, "notifications", false, "notification");
    fields.finish();
    File {
        site,
        site_at,
        state_dir,
        mode,
        on_journal_loss,
        allowances,
        dns_listen,
        beacon_listen,
        components: components.iter().map(|it| component(cx, it)).collect(),
        standbys: standbys.iter().map(|it| standby(cx, it)).collect(),
        witnesses: witnesses.iter().map(|it| witness(cx, it)).collect(),
        routes: routes.iter().map(|it| route(cx, it)).collect(),
        notifications: notifications.iter().filter_map(|it| notification(cx, &it.key, &it.node)).collect(),
    }
}

fn entries<'a>(fields: &mut Fields<'a>, name: &'static str, needed: bool, what: &str) -> &'a [Entry] {
    let entry = if needed { fields.need(name) } else { fields.take(name) };
    let Some(entry) = entry else { return &[] };
    let entries = named(fields.cx, &entry.node, what);
    if needed && entries.is_empty() && matches!(entry.node.value, Value::Null | Value::Map(_)) {
        fields.cx.report(
            Finding::new(Code::Empty, entry.key_span, format!("there is no {what}"))
                .label("at least one, please")
                .reason("a plan without components recovers nothing"),
        );
    }
    entries
}

fn version(fields: &mut Fields<'_>) {
    let Some(entry) = fields.need("version") else { return };
    let cx = fields.cx;
    let Some(text) = fields::at_text(cx, &entry.node) else { return };
    if text.value != "1" {
        cx.report(
            Finding::new(Code::Version, text.span, format!("version `{}` is not known", text.value))
                .label("this Mainstay reads version 1")
                .help("write `version: 1`, or use the Mainstay that the file was written for"),
        );
    }
}

fn nowhere() -> Site {
    Site { name: String::new(), location: Location { region: String::new(), zone: None, host: None } }
}

fn site<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Site {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "the site");
    let name = fields.must("name", |cx, node| {
        let text = fields::at_text(cx, node)?;
        if let Err(why) = super::scalar::name(&text.value) {
            cx.report(
                Finding::new(Code::BadName, text.span, format!("`{}` is no name for a site", text.value))
                    .label(why)
                    .help("use letters, digits, `-`, `_` and `.`, up to 63 of them"),
            );
        }
        Some(text.value)
    });
    let location = location(&mut fields);
    fields.finish();
    Site { name: name.unwrap_or_default(), location }
}

fn allowances<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>) -> Allowances {
    let at = entry.map(|it| it.key_span).unwrap_or_default();
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "these allowances");
    let allowances = Allowances {
        lateness: fields.positive("lateness", Duration::from_millis(250)),
        journal_sync: fields.positive("journal_sync", Duration::from_millis(100)),
        route_apply: fields.positive("route_apply", Duration::from_millis(100)),
        agent_restart: fields.positive("agent_restart", Duration::from_secs(5)),
        forced_stop: fields.positive("forced_stop", Duration::from_secs(5)),
    };
    fields.finish();
    allowances
}

type Listeners = (Option<At<std::net::SocketAddr>>, Option<At<std::net::SocketAddr>>);

fn traffic<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Listeners {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "traffic");
    let mut read = |name| fields.read(name, |cx, node| Some(At { value: listen(cx, node)?, span: node.span }));
    let listeners = (read("dns"), read("beacon"));
    fields.finish();
    listeners
}
