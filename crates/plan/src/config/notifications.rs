//! Lowering who is told: channels, the escalation, quiet times.

use super::actions::messenger;
use super::components::location_at;
use super::fields::{At, Cx, Fields, items};
use super::grammar::{ESCALATION_STEP, NOTIFICATION, QUIET};
use super::raw::{RawChannel, RawEscalation};
use super::tree::{Entry, Node, Value};
use super::values;
use crate::finding::{Code, Finding};
use crate::notification::{NoticeLevel, QuietTime};

/// Who is told: `NAME: { send: {…} }`.
pub(super) fn notification<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawChannel {
    let what = format!("notification `{}`", entry.key);
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, what, &NOTIFICATION);
    let action = fields.read("send", messenger);
    let location = fields.take("location").map(|it| location_at(cx, it));
    let levels = fields.read("levels", levels).unwrap_or_else(|| NoticeLevel::ALL.to_vec());
    let repeat = fields.maybe_duration("repeat");
    fields.finish();
    RawChannel { name: At { value: entry.key.to_string(), span: entry.key_span }, action, location, levels, repeat }
}

fn levels(cx: &Cx<'_>, node: &Node) -> Option<Vec<NoticeLevel>> {
    let mut found = Vec::new();
    for item in items(cx, node)? {
        let level = values::word(cx, item, &NoticeLevel::ALL, NoticeLevel::word)?;
        if !found.contains(&level) {
            found.push(level);
        }
    }
    Some(found)
}

pub(super) fn escalation_step<'a>(cx: &'a Cx<'a>, node: &'a Node) -> RawEscalation {
    let mut fields = Fields::open(cx, Some(node), node.spot(), "this step of the escalation", &ESCALATION_STEP);
    let listed = fields.take("tell");
    let step = RawEscalation {
        at: node.spot(),
        after: fields.duration("after"),
        tell: listed.and_then(|it| values::names(cx, &it.node)).unwrap_or_default(),
    };
    if let Some(entry) = listed
        && matches!(&entry.node.value, Value::List(items) if items.is_empty())
    {
        cx.report(
            Finding::new(Code::Empty, entry.key_span, "this step tells nobody")
                .label("at least one, please")
                .help("name channels of `notifications`: `tell: [NAME]`, or remove the step"),
        );
    }
    fields.finish();
    step
}

/// One quiet time.
pub(super) fn quiet_time<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<QuietTime> {
    let mut fields = Fields::open(cx, Some(node), node.spot(), "this quiet time", &QUIET);
    let from = fields.read("from", time_of_day);
    let until = fields.read("until", time_of_day);
    let offset = match fields.has("offset") {
        true => fields.read("offset", offset),
        false => fields.text("offset").map(|_| 0),
    };
    let holds = fields.read("holds", levels).unwrap_or_else(|| vec![NoticeLevel::Info, NoticeLevel::Warning]);
    fields.finish();
    if from.is_some() && from == until {
        cx.report(
            Finding::new(Code::Contradiction, node.spot(), "this quiet time begins and ends at the same time")
                .label("a whole day, or none of it?")
                .help("write a part of the day: `{ from: \"22:00\", until: \"07:00\" }`"),
        );
    }
    Some(QuietTime { from: from?, until: until?, offset: offset?, holds })
}

/// `22:00`, in minutes after midnight.
fn time_of_day(cx: &Cx<'_>, node: &Node) -> Option<u32> {
    let text = values::at_text(cx, node)?;
    let read = minutes(&text.value).filter(|it| *it < 24 * 60);
    if read.is_none() {
        cx.report(
            Finding::new(Code::BadDuration, text.span, format!("`{}` is no time of day", text.value.escape_debug()))
                .label("hours and minutes, please")
                .reason("it is compared with the clock on the wall")
                .help("write for example `\"22:00\"`"),
        );
    }
    read
}

/// `+01:00`, in minutes.
fn offset(cx: &Cx<'_>, node: &Node) -> Option<i32> {
    let text = values::at_text(cx, node)?;
    let (sign, rest) = match (text.value.strip_prefix('+'), text.value.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (None, Some(rest)) => (-1, rest),
        (None, None) => (0, ""),
    };
    // The clocks of the world are 12 hours behind to 14 hours ahead.
    let read = minutes(rest).filter(|it| *it <= 14 * 60 && sign != 0).and_then(|it| i32::try_from(it).ok());
    if read.is_none() {
        let message = format!("`{}` is no offset from UTC", text.value.escape_debug());
        cx.report(
            Finding::new(Code::BadDuration, text.span, message)
                .label("a sign, hours and minutes, please")
                .reason("a time of day means nothing without it")
                .help("write for example `\"+01:00\"`; the name of a zone is not read, because its rules change"),
        );
    }
    read.map(|it| sign * it)
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |it: &str| it.len() == 2 && it.bytes().all(|it| it.is_ascii_digit());
    let minutes: u32 = Some(minutes).filter(|it| digits(it))?.parse().ok()?;
    let hours: u32 = Some(hours).filter(|it| digits(it))?.parse().ok()?;
    (minutes < 60).then_some(60 * hours + minutes)
}
