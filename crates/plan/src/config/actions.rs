//! Lowering actions, services and messengers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::controls::{self, RawWhere};
use super::fields::{self, Cx, Fields, choose, items};
use super::grammar::{ACTION, MESSENGER, RETRY, SERVICE, UNDO};
use super::raw::{ActKind, RawAct, RawUndo};
use super::scalar;
use super::tree::{Entry, Node, Value};
use super::values;
use crate::action::{Action, Plane, Service, ServiceOp};
use crate::finding::{Code, Finding, Span};
use crate::postgres::{FreshCopy, OldData, RejoinHow};
use crate::strategy::{BackOff, OnExpiry};

/// A list of actions.
pub(super) fn acts<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Vec<RawAct> {
    items(cx, node).unwrap_or_default().iter().filter_map(|it| act(cx, it)).collect()
}

fn act<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<RawAct> {
    let chosen = choose(cx, node, &ACTION)?;
    let what =
        if chosen.word == "manual" { "this manual step".to_owned() } else { format!("this {} action", chosen.word) };
    let mut fields = Fields::behind(cx, &chosen, what);
    let together = fields.may_have("with_previous") && fields.flag("with_previous");
    let with_previous = fields.key_place("with_previous").filter(|_| together);
    if chosen.word == "manual" {
        let ask = fields.text("ask");
        let role = fields.read("role", values::at_text);
        let on_expiry = fields.word("on_expiry", &OnExpiry::ALL, OnExpiry::word).unwrap_or(OnExpiry::Fail);
        let timeout = fields.duration("expires");
        fields.finish();
        let what = ActKind::Manual { ask: ask?, role, on_expiry };
        let needs = Vec::new();
        return Some(RawAct {
            at: chosen.at,
            what,
            timeout,
            attempts: 1,
            retry: None,
            undo: None,
            with_previous,
            needs,
            whose: RawWhere::default(),
            new_address: None,
        });
    }
    let mut what = deed(&mut fields, chosen.word);
    let new_address = new_address(&mut fields, chosen.word, what.as_mut());
    let plane = match &what {
        Some(ActKind::Other(action)) => Some(action.plane()),
        Some(
            ActKind::OwnService(_) | ActKind::Promote | ActKind::Follow | ActKind::Rejoin(_) | ActKind::Manual { .. },
        )
        | None => None,
    };
    let whose = match chosen.word {
        "command" | "webhook" => controls::needed(&mut fields, plane.unwrap_or(Plane::RegionalControl)),
        _ => RawWhere::default(),
    };
    let timeout = fields.duration("timeout");
    let attempts = fields.number("attempts");
    let retry = retry(&mut fields, attempts);
    let undo = if fields.may_have("undo") { fields.read("undo", undo) } else { None };
    let needs = fields.read("needs", values::names).unwrap_or_default();
    fields.finish();
    Some(RawAct {
        at: chosen.at,
        what: what?,
        timeout,
        attempts,
        retry,
        undo,
        with_previous,
        needs,
        whose,
        new_address,
    })
}

/// Where it says that the instance is elsewhere afterwards, which its action then says, too.
fn new_address(fields: &mut Fields<'_>, word: &str, what: Option<&mut ActKind>) -> Option<Span> {
    let (place, says, header) = match word {
        "command" => (fields.key_place("address"), address_in_output(fields), None),
        "webhook" => (fields.key_place("address_header"), false, fields.read("address_header", header_name)),
        _ => return None,
    };
    match what {
        Some(ActKind::Other(Action::Command { reports_address, .. })) => *reports_address = says,
        Some(ActKind::Other(Action::Webhook { address_header, .. })) => *address_header = header,
        Some(ActKind::Other(
            Action::Service { .. } | Action::TriggerFile { .. } | Action::Postgres(_) | Action::EndLease { .. },
        ))
        | Some(
            ActKind::OwnService(_) | ActKind::Promote | ActKind::Follow | ActKind::Rejoin(_) | ActKind::Manual { .. },
        )
        | None => {}
    }
    place
}

/// Whether the last line of a command's output is the instance's address.
pub(super) fn address_in_output(fields: &mut Fields<'_>) -> bool {
    fields.word("address", &["stdout"], |it| it).is_some()
}

/// The name of a header.
fn header_name(cx: &Cx<'_>, node: &Node) -> Option<String> {
    let text = values::at_text(cx, node)?;
    if is_token(&text.value) {
        return Some(text.value);
    }
    let message = format!("`{}` is no name of headers", text.value.escape_debug());
    cx.report(
        Finding::new(Code::BadName, text.span, message)
            .label("no answer has such a header")
            .reason(values::AT_THE_MOMENT)
            .help("write for example `x-new-address`"),
    );
    None
}

/// What is done, by the word of the action.
fn deed(fields: &mut Fields<'_>, word: &str) -> Option<ActKind> {
    match word {
        "service" => fields.word("op", &ServiceOp::ALL, ServiceOp::word).map(ActKind::OwnService),
        "command" => command(fields).map(ActKind::Other),
        "promote" => Some(ActKind::Promote),
        "follow" => Some(ActKind::Follow),
        "rejoin" => {
            let copy = fields.word("clone", &FreshCopy::ALL, FreshCopy::word).unwrap_or_default();
            let old_data = fields.word("old_data", &OldData::ALL, OldData::word).unwrap_or_default();
            Some(ActKind::Rejoin(RejoinHow { copy, old_data }))
        }
        "trigger_file" => {
            let path = fields.read("path", values::path);
            let content = fields.read("content", values::content).unwrap_or_default();
            path.map(|path| ActKind::Other(Action::TriggerFile { path, content }))
        }
        _ => webhook(fields).map(ActKind::Other),
    }
}

/// How long to wait between attempts.
pub(super) fn retry(fields: &mut Fields<'_>, attempts: u32) -> Option<BackOff> {
    let cx = fields.cx;
    let entry = fields.take("retry")?;
    let mut inner = Fields::open(cx, Some(&entry.node), entry.key_span, "this retry", &RETRY);
    let (first, at_most) = (inner.duration("first"), inner.duration("at_most"));
    inner.finish();
    if attempts == 1 {
        cx.report(
            Finding::new(Code::NeverRetried, entry.key_span, "it is tried once, so it never waits between attempts")
                .label("has no effect")
                .help("add `attempts: 3`, or remove `retry`"),
        );
    } else if first > at_most {
        cx.report(
            Finding::new(Code::NeverRetried, entry.key_span, "the first wait is longer than the longest")
                .label("every wait is as long as `at_most` says")
                .help(format!("write `first: {}` or less", scalar::show_duration(at_most))),
        );
    }
    Some(BackOff { first, at_most })
}

/// What takes an action back.
pub(super) fn undo<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<RawUndo> {
    let chosen = choose(cx, node, &UNDO)?;
    let mut fields = Fields::behind(cx, &chosen, format!("this {} undo", chosen.word));
    let what = deed(&mut fields, chosen.word);
    let timeout = fields.duration("timeout");
    let needs = fields.read("needs", values::names).unwrap_or_default();
    fields.finish();
    Some(RawUndo { at: chosen.at, what: what?, timeout, needs })
}

fn command(fields: &mut Fields<'_>) -> Option<Action> {
    let argv = fields.read("run", values::argv);
    let env = fields.read("env", env).unwrap_or_default();
    let plane = plane(fields);
    let idempotent = fields.flag("idempotent");
    Some(Action::Command { argv: argv?, env, plane, idempotent, reports_address: false })
}

fn webhook(fields: &mut Fields<'_>) -> Option<Action> {
    let url = fields.read("url", |cx, node| {
        values::url(cx, node)?;
        values::text(cx, node)
    });
    let method = match fields.has("method") {
        true => fields.read("method", method),
        false => fields.text("method"),
    };
    let headers = fields.read("headers", headers).unwrap_or_default();
    let body = fields.read("body", values::content).unwrap_or_default();
    let plane = plane(fields);
    let idempotent = fields.flag("idempotent");
    Some(Action::Webhook { url: url?, method: method?, headers, body, plane, idempotent, address_header: None })
}

/// The plane of an action, as its author states it.
pub(super) fn plane(fields: &mut Fields<'_>) -> Plane {
    fields.word("plane", &Plane::ALL, Plane::word).unwrap_or(Plane::Local)
}

/// The environment that is added to a command's.
fn env(cx: &Cx<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    let name = |it: &str| !it.is_empty() && !it.contains(['=', '\0']);
    texts(cx, node, "environment variable", name, |it| !it.contains('\0'))
}

/// Headers of a request, as RFC 9110 lets them be.
pub(super) fn headers(cx: &Cx<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    texts(cx, node, "header", is_token, |it| !it.chars().any(|it| it.is_control() && it != '\t'))
}

/// A token of RFC 9110, section 5.6.2: names of headers, and methods.
fn is_token(text: &str) -> bool {
    let other = |it: u8| b"!#$%&'*+-.^_`|~".contains(&it);
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || other(it))
}

/// The method of a request.
fn method(cx: &Cx<'_>, node: &Node) -> Option<String> {
    let text = values::at_text(cx, node)?;
    if is_token(&text.value) {
        return Some(text.value);
    }
    let message = format!("`{}` is no method of HTTP", text.value.escape_debug());
    cx.report(
        Finding::new(Code::BadName, text.span, message)
            .label("one word, please")
            .reason(values::AT_THE_MOMENT)
            .help("write for example `POST`"),
    );
    None
}

/// A mapping from text to text, of which whoever takes it demands something.
fn texts(
    cx: &Cx<'_>,
    node: &Node,
    what: &str,
    name: impl Fn(&str) -> bool,
    value: impl Fn(&str) -> bool,
) -> Option<BTreeMap<String, String>> {
    let read = |entry: &Entry| {
        let text = values::content(cx, &entry.node)?;
        let (span, why) = match (name(&entry.key), value(&text)) {
            (true, true) => return Some((entry.key.to_string(), text)),
            (false, _) => (entry.key_span, format!("`{}` is no name of {what}s", entry.key.escape_debug())),
            (true, false) => (entry.node.span, format!("this is no value of {what}s")),
        };
        let help = format!("remove characters that no {what} can have: line ends, NUL, and in names blanks");
        cx.report(
            Finding::new(Code::BadName, span, why)
                .label("refused by whoever takes it")
                .reason(values::AT_THE_MOMENT)
                .help(help),
        );
        None
    };
    match &node.value {
        Value::Map(entries) => entries.iter().map(read).collect(),
        Value::Null => Some(BTreeMap::new()),
        Value::Scalar { .. } | Value::List(_) => {
            fields::wrong_type(cx, node, fields::THIS, "a mapping from text to text");
            None
        }
    }
}

/// How an instance's service is controlled: a systemd unit, or commands and a pid file.
pub(super) fn service<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<Service> {
    let mut fields = Fields::open(cx, Some(node), at, "this service", &SERVICE);
    let unit = fields.take("unit");
    let start = fields.take("start");
    let stop = fields.read("stop", values::argv);
    let status = fields.read("status", values::argv);
    let pid_file = fields.read("pid_file", values::path);
    let grace = fields.maybe_duration("stop_grace");
    let service = match (unit, start) {
        (Some(unit), Some(start)) => {
            cx.report(
                Finding::new(Code::Contradiction, start.key_span, "a service has either a `unit` or a `start` command")
                    .label("a command")
                    .other(unit.key_span, "a systemd unit")
                    .help("remove `unit`, or keep `unit` alone"),
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
            values::text(cx, &unit.node).map(|unit| Service::Systemd { unit })
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
            let stop_grace = grace.unwrap_or(STOP_GRACE);
            if grace.is_none() {
                cx.derive(at, "stop_grace", || scalar::show_duration(stop_grace));
            }
            values::argv(cx, &start.node).map(|start| Service::Declared { start, stop, status, pid_file, stop_grace })
        }
        (None, None) => {
            if fields.has("stop") || fields.has("status") || fields.has("pid_file") {
                fields.miss("start");
            } else {
                fields.miss("unit");
            }
            None
        }
    };
    fields.finish();
    service
}

/// Stands in for a service that could not be read: nothing that needs one is to be missed.
pub(super) fn unread_service() -> Service {
    let none = || Some(Vec::new());
    Service::Declared { start: Vec::new(), stop: none(), status: none(), pid_file: None, stop_grace: STOP_GRACE }
}

/// How long a stop in order may take, where the plan does not say.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What carries a notice.
pub(super) fn messenger<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<Action> {
    let chosen = choose(cx, node, &MESSENGER)?;
    let mut fields = Fields::behind(cx, &chosen, format!("this {}", chosen.word));
    let action = match chosen.word {
        "command" => command(&mut fields),
        _ => webhook(&mut fields),
    };
    fields.finish();
    action
}
