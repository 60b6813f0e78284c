//! Lowering actions, services and notifications.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::{self, Cx, Fields, choice, items};
use super::raw::{ActKind, RawAct};
use super::tree::{Node, Value};
use crate::action::{Action, Plane, Service, ServiceOp};
use crate::finding::{Code, Finding, Span};
use crate::notification::NotificationChannel;

const OPS: [ServiceOp; 4] = [ServiceOp::Start, ServiceOp::Stop, ServiceOp::Restart, ServiceOp::Kill];

/// A list of actions.
pub(super) fn acts<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Vec<RawAct> {
    items(cx, node).unwrap_or_default().iter().filter_map(|it| act(cx, it)).collect()
}

fn act<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<RawAct> {
    let choice = choice(cx, node, "action", &["service", "command", "trigger_file", "webhook"])?;
    let mut fields = Fields::open(cx, choice.node, choice.at, format!("this {} action", choice.word));
    let what = match choice.word {
        "service" => {
            fields.must("op", |cx, node| fields::word(cx, node, &OPS, ServiceOp::word)).map(ActKind::OwnService)
        }
        "command" => command(&mut fields).map(ActKind::Other),
        "trigger_file" => {
            let path = fields.must("path", fields::path);
            let content = fields.read("content", fields::content).unwrap_or_default();
            path.map(|path| ActKind::Other(Action::TriggerFile { path, content }))
        }
        _ => webhook(&mut fields).map(ActKind::Other),
    };
    let timeout = fields.positive("timeout", Duration::from_secs(10));
    let attempts = fields.number("attempts", 1..=100, 1);
    fields.finish();
    Some(RawAct { at: choice.at, what: what?, timeout, attempts })
}

fn command(fields: &mut Fields<'_>) -> Option<Action> {
    let argv = fields.must("run", fields::argv);
    let env = fields.read("env", texts).unwrap_or_default();
    let plane = plane(fields, Plane::Local);
    let idempotent = fields.flag("idempotent");
    Some(Action::Command { argv: argv?, env, plane, idempotent })
}

fn webhook(fields: &mut Fields<'_>) -> Option<Action> {
    let url = fields.must("url", |cx, node| {
        fields::url(cx, node)?;
        fields::text(cx, node)
    });
    let method = fields.text("method").unwrap_or_else(|| "POST".to_owned());
    let headers = fields.read("headers", texts).unwrap_or_default();
    let body = fields.read("body", fields::content).unwrap_or_default();
    let plane = plane(fields, Plane::Data);
    let idempotent = fields.flag("idempotent");
    Some(Action::Webhook { url: url?, method, headers, body, plane, idempotent })
}

/// The plane of an action, as its author states it.
pub(super) fn plane(fields: &mut Fields<'_>, default: Plane) -> Plane {
    fields.read("plane", |cx, node| fields::word(cx, node, &Plane::ALL, Plane::word)).unwrap_or(default)
}

/// A mapping from text to text.
fn texts(cx: &Cx<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().map(|it| Some((it.key.clone(), fields::content(cx, &it.node)?))).collect()
        }
        Value::Null => Some(BTreeMap::new()),
        Value::Scalar { .. } | Value::List(_) => {
            fields::wrong_type(cx, node, fields::THIS, "a mapping from text to text");
            None
        }
    }
}

/// How an instance's service is controlled: a systemd unit, or commands and a pid file.
pub(super) fn service<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<Service> {
    let mut fields = Fields::open(cx, Some(node), at, "this service");
    let unit = fields.take("unit");
    let start = fields.take("start");
    let stop = fields.read("stop", fields::argv);
    let status = fields.read("status", fields::argv);
    let pid_file = fields.read("pid_file", fields::path);
    let stop_grace = fields.duration("stop_grace", Duration::from_secs(10));
    let service = match (unit, start) {
        (Some(unit), Some(start)) => {
            cx.report(
                Finding::new(Code::Contradiction, start.key_span, "a service has either a `unit` or a `start` command")
                    .label("a command")
                    .other(unit.key_span, "a systemd unit"),
            );
            None
        }
        (Some(unit), None) => {
            for name in ["stop", "status", "pid_file", "stop_grace"] {
                if let Some(span) = fields.place(name) {
                    cx.report(
                        Finding::new(Code::Contradiction, span, format!("systemd controls this service, not `{name}`"))
                            .label("has no effect")
                            .other(unit.key_span, "a systemd unit")
                            .help(format!("remove `{name}`, or replace `unit` by `start`")),
                    );
                }
            }
            cx.field.set("unit");
            fields::text(cx, &unit.node).map(|unit| Service::Systemd { unit })
        }
        (None, Some(start)) => {
            if pid_file.is_none() && (!fields.has("stop") || !fields.has("status")) && !fields.has("pid_file") {
                cx.report(
                    Finding::new(Code::MissingField, at, "this service can't be seen or stopped")
                        .label("`pid_file` is missing here")
                        .reason("a stop counts only when it is seen, and a start too")
                        .help("add a `pid_file`, or both a `stop` and a `status` command"),
                );
            }
            cx.field.set("start");
            fields::argv(cx, &start.node).map(|start| Service::Declared { start, stop, status, pid_file, stop_grace })
        }
        (None, None) => {
            fields.need("unit");
            None
        }
    };
    fields.finish();
    service
}

/// Who is told: a command or a webhook by a name.
pub(super) fn notification<'a>(cx: &'a Cx<'a>, name: &str, node: &'a Node) -> Option<NotificationChannel> {
    let choice = choice(cx, node, "notification", &["command", "webhook"])?;
    let mut fields = Fields::open(cx, choice.node, choice.at, format!("this {}", choice.word));
    let action = match choice.word {
        "command" => command(&mut fields),
        _ => webhook(&mut fields),
    };
    fields.finish();
    Some(NotificationChannel { name: name.to_owned(), action: action?, location: None })
}
