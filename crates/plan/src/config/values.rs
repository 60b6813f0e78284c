//! Reading one value: a text, a number, a duration, an address. Like all readers they return `None` after they have reported
//! what is wrong.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::fields::{At, Cx, THIS, in_words, items, no_list, not_type, wrong_type};
use super::scalar;
use super::tree::{Node, Value};
use crate::finding::{Code, Finding, Span};
use crate::route::ServerName;

/// Any text, also a number that is meant as text.
pub(crate) fn text(cx: &Cx<'_>, node: &Node) -> Option<String> {
    at_text(cx, node).map(|it| it.value)
}

/// Any text, with its place.
pub(crate) fn at_text(cx: &Cx<'_>, node: &Node) -> Option<At<String>> {
    if node.is_unknown() || shows_secret(cx, node) {
        return None;
    }
    match &node.value {
        Value::Scalar { text, .. } if text.trim().is_empty() => {
            cx.report(
                Finding::new(Code::Empty, node.span, format!("`{}` is empty", cx.field.get()))
                    .label("nothing here")
                    .reason("there is no such thing as the empty text here")
                    .help("write what it should be, or remove it"),
            );
            None
        }
        Value::Scalar { text, .. } => Some(At { value: text.to_string(), span: node.span }),
        Value::Null | Value::List(_) | Value::Map(_) => {
            wrong_type(cx, node, THIS, "text");
            None
        }
    }
}

/// Whether a secret stands where it would be shown, which is reported.
fn shows_secret(cx: &Cx<'_>, node: &Node) -> bool {
    if node.secret().is_some() {
        cx.report(
            Finding::new(Code::SecretShown, node.span, format!("`{}` would show a secret", cx.field.get()))
                .label("stands in the journal, on screens or in the list of processes")
                .help("use it under `env`, `headers`, `body` or `content`, or hand over a file's path instead"),
        );
    }
    node.secret().is_some()
}

/// A list of names, each with its place.
pub(crate) fn names(cx: &Cx<'_>, node: &Node) -> Option<Vec<At<String>>> {
    match &node.value {
        Value::List(items) => Some(items.iter().filter_map(|it| at_text(cx, it)).collect()),
        Value::Null | Value::Scalar { .. } | Value::Map(_) => {
            no_list(cx, node, "a list of names");
            None
        }
    }
}

/// A name of the owner's.
pub(crate) fn name(cx: &Cx<'_>, node: &Node) -> Option<String> {
    parsed(cx, node, Code::BadName, "name", "use letters, digits, `-`, `_` and `.`, up to 63 of them", |text| {
        scalar::name(text).map(|()| text.to_owned())
    })
}

/// Text that may also be empty, and may hold a secret.
pub(crate) fn content(cx: &Cx<'_>, node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text.to_string()),
        Value::Null => Some(String::new()),
        Value::List(_) | Value::Map(_) => {
            wrong_type(cx, node, THIS, "text");
            None
        }
    }
}

/// Why an action is looked at so closely.
pub(crate) const AT_THE_MOMENT: &str = "what can't be carried out would be found out at the moment of failure";

/// A list of texts, at least one: a program and its arguments.
pub(crate) fn argv(cx: &Cx<'_>, node: &Node) -> Option<Vec<String>> {
    if let Value::Scalar { text, .. } = &node.value {
        let words: Vec<String> = text.split_whitespace().map(|it| format!("\"{it}\"")).collect();
        cx.report(
            Finding::new(Code::WrongType, node.span, "a command is a list, this is text")
                .label("text, not a list")
                .reason("no shell takes it apart, so that blanks and quotes can't surprise anyone")
                .help(format!("write [{}]", words.join(", "))),
        );
        return None;
    }
    let list = items(cx, node)?;
    if list.is_empty() {
        cx.report(no_program(node.span));
        return None;
    }
    let words: Vec<String> =
        list.iter().map(|it| if shows_secret(cx, it) { None } else { content(cx, it) }).collect::<Option<_>>()?;
    if let Some(at) = words.iter().position(|it| it.contains('\0')) {
        cx.report(
            Finding::new(Code::BadName, list[at].span, "no argument of a program can hold a NUL")
                .label("holds one")
                .reason(AT_THE_MOMENT)
                .help("write it without"),
        );
        return None;
    }
    if words[0].trim().is_empty() && !list[0].is_unknown() {
        cx.report(no_program(list[0].span));
        return None;
    }
    Some(words)
}

fn no_program(at: Span) -> Finding {
    Finding::new(Code::Empty, at, "this command is empty")
        .label("no program to run")
        .help("write the program and its arguments: `[/usr/local/bin/PROGRAM, ARGUMENT]`")
}

/// A path; a relative one starts from the directory of its file.
pub(crate) fn path(cx: &Cx<'_>, node: &Node) -> Option<PathBuf> {
    // Through its components, so that `./state` reads as what it is.
    let base = cx.base_dirs.get(usize::from(node.span.file))?;
    text(cx, node).map(|it| base.join(it).components().collect())
}

/// `true` or `false`.
pub(crate) fn flag(cx: &Cx<'_>, node: &Node) -> Option<bool> {
    if node.is_unknown() {
        return None;
    }
    match &node.value {
        Value::Scalar { text, quoted: false } if text == "true" => Some(true),
        Value::Scalar { text, quoted: false } if text == "false" => Some(false),
        Value::Scalar { .. } | Value::Null | Value::List(_) | Value::Map(_) => {
            let finding = not_type(cx, node, THIS, "`true` or `false`");
            let word = node.text().map(str::to_ascii_lowercase).unwrap_or_default();
            cx.report(match word.as_str() {
                "true" | "yes" | "on" | "1" => finding.help("write `true`"),
                "false" | "no" | "off" | "0" => finding.help("write `false`"),
                _ => finding,
            });
            None
        }
    }
}

/// A whole number in a range.
pub(crate) fn number(cx: &Cx<'_>, node: &Node, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    if node.is_unknown() {
        return None;
    }
    let Value::Scalar { text, quoted: false } = &node.value else {
        let finding = not_type(cx, node, THIS, "a whole number");
        let number = node.text().filter(|it| it.parse::<u32>().is_ok());
        cx.report(match number {
            Some(number) => finding.help(format!("write `{number}` without quotes")),
            None => finding.help(format!("write a whole number from {} to {}", range.start(), range.end())),
        });
        return None;
    };
    match text.parse::<u32>() {
        Ok(number) if range.contains(&number) => Some(number),
        Ok(number) => {
            let help = if number < *range.start() {
                format!("write `{}` or more", range.start())
            } else {
                format!("write `{}` or less", range.end())
            };
            cx.report(
                Finding::new(
                    Code::BadNumber,
                    node.span,
                    format!("{text} is not between {} and {}", range.start(), range.end()),
                )
                .label(format!("between {} and {}, please", range.start(), range.end()))
                .help(help),
            );
            None
        }
        Err(_) if text.parse::<f64>().is_ok() => {
            cx.report(
                Finding::new(Code::BadNumber, node.span, format!("`{text}` is no number that can stand here"))
                    .label(format!("a whole number from {} to {}", range.start(), range.end()))
                    .help(format!("write for example `{}`", whole(text, &range))),
            );
            None
        }
        Err(_) => {
            let finding = not_type(cx, node, THIS, "a whole number");
            cx.report(finding.help(format!("write a whole number from {} to {}", range.start(), range.end())));
            None
        }
    }
}

/// The whole number of a range that is nearest to what was written.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the range before it is cast")]
fn whole(text: &str, range: &std::ops::RangeInclusive<u32>) -> u32 {
    let near = text.parse::<f64>().unwrap_or_default().round();
    if near.is_nan() { *range.start() } else { near.clamp(f64::from(*range.start()), f64::from(*range.end())) as u32 }
}

fn parsed<T>(
    cx: &Cx<'_>,
    node: &Node,
    code: Code,
    what: &str,
    help: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = at_text(cx, node)?;
    match read(&text.value) {
        Ok(value) => Some(value),
        Err(why) => {
            let message = format!("`{}` is no {what}", text.value);
            let finding = Finding::new(code, text.span, message).label(why).help(help);
            // DNS has names of its own, with reasons of their own.
            let dns = what == DNS_NAME;
            cx.report(if dns { finding.reason("no client could ask for it") } else { finding });
            None
        }
    }
}

/// A duration, zero included.
pub(crate) fn duration(cx: &Cx<'_>, node: &Node) -> Option<Duration> {
    let help = "use whole numbers with `ms`, `s`, `m`, `h` or `d`: `250ms`, `1m30s`";
    if let Value::Scalar { text, .. } = &node.value
        && text.parse::<u64>().is_ok()
    {
        let help = format!("write `{text}s` for seconds or `{text}ms` for milliseconds");
        return parsed(cx, node, Code::BadDuration, "duration", &help, scalar::duration);
    }
    if let Value::Scalar { text, .. } = &node.value
        && let Some(whole) = scalar::without_blanks(text)
    {
        let help = format!("write `{whole}`");
        let no_blanks = |_: &str| Err::<Duration, _>("a duration holds no blank".to_owned());
        return parsed(cx, node, Code::BadDuration, "duration", &help, no_blanks);
    }
    parsed(cx, node, Code::BadDuration, "duration", help, scalar::duration)
}

/// A duration above zero.
pub(crate) fn positive(cx: &Cx<'_>, node: &Node) -> Option<Duration> {
    let value = duration(cx, node)?;
    if value.is_zero() {
        cx.report(
            Finding::new(Code::BadDuration, node.span, format!("`{}` can't be zero", cx.field.get()))
                .label("more than zero, please")
                .reason("it would be over before it began")
                .help("write for example `1s`, or remove it"),
        );
        return None;
    }
    Some(value)
}

/// An IP address and a port.
pub(crate) fn socket(cx: &Cx<'_>, node: &Node) -> Option<SocketAddr> {
    let help = "write an IP address and a port: `10.0.1.10:5432` or `\"[2001:db8::1]:5432\"`";
    parsed(cx, node, Code::BadAddress, "address", help, scalar::socket)
}

/// An IP address.
pub(crate) fn ip(cx: &Cx<'_>, node: &Node) -> Option<IpAddr> {
    let help = "write an IP address: `10.0.1.10` or `\"2001:db8::1\"`";
    parsed(cx, node, Code::BadAddress, "IP address", help, |text| {
        text.parse().map_err(|_invalid| "no port, no name".to_owned())
    })
}

/// Bytes, two digits each; blanks between them don't count.
pub(crate) fn hex(cx: &Cx<'_>, node: &Node) -> Option<Vec<u8>> {
    let text = content(cx, node)?;
    let digits: Vec<u32> = text.chars().filter(|it| !it.is_whitespace()).filter_map(|it| it.to_digit(16)).collect();
    let whole = digits.len() == text.chars().filter(|it| !it.is_whitespace()).count();
    if whole && !digits.is_empty() && digits.len().is_multiple_of(2) {
        let byte = |pair: &[u32]| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + digit)).ok();
        return digits.chunks(2).map(byte).collect();
    }
    cx.report(
        Finding::new(Code::BadNumber, node.spot(), "these are no bytes in hexadecimal digits")
            .label("two digits a byte, please")
            .help("write them like `\"00 01 ff\"`"),
    );
    None
}

/// A list of IP addresses with ports.
pub(crate) fn sockets(cx: &Cx<'_>, node: &Node) -> Option<Vec<SocketAddr>> {
    let Value::List(items) = &node.value else {
        no_list(cx, node, "a list of addresses");
        return None;
    };
    Some(items.iter().filter_map(|it| socket(cx, it)).collect())
}

/// A list of IP addresses.
pub(crate) fn ips(cx: &Cx<'_>, node: &Node) -> Option<Vec<At<IpAddr>>> {
    let help = "write an IP address: `10.0.3.5` or `\"2001:db8::5\"`";
    let Value::List(items) = &node.value else {
        no_list(cx, node, "a list of IP addresses");
        return None;
    };
    let ip = |text: &str| text.parse::<IpAddr>().map_err(|_| "not an address of IPv4 or IPv6".to_owned());
    let one = |it: &Node| Some(At { value: parsed(cx, it, Code::BadAddress, "IP address", help, ip)?, span: it.span });
    Some(items.iter().filter_map(one).collect())
}

/// A list of networks; an address alone is the network of itself.
pub(crate) fn networks(cx: &Cx<'_>, node: &Node) -> Option<Vec<IpNet>> {
    let help = "write an address and how many of its bits count: `10.0.0.0/8` or `\"2001:db8::/32\"`";
    let Value::List(items) = &node.value else {
        no_list(cx, node, "a list of networks");
        return None;
    };
    Some(items.iter().filter_map(|it| parsed(cx, it, Code::BadAddress, "network", help, scalar::network)).collect())
}

/// A list of TLS server names.
pub(crate) fn server_names(cx: &Cx<'_>, node: &Node) -> Option<Vec<ServerName>> {
    let help = "write it like `shop.example.com` or `\"*.example.com\"`";
    let Value::List(items) = &node.value else {
        no_list(cx, node, "a list of names");
        return None;
    };
    Some(items.iter().filter_map(|it| parsed(cx, it, Code::BadName, "server name", help, ServerName::new)).collect())
}

/// A host (IP address or name) and a port.
pub(crate) fn address(cx: &Cx<'_>, node: &Node) -> Option<crate::probe::Address> {
    let help = "write a host and a port: `10.0.1.10:5432`, `db.internal:5432` or `\"[2001:db8::1]:5432\"`";
    parsed(cx, node, Code::BadAddress, "address", help, scalar::address)
}

/// A URL of HTTP or HTTPS.
pub(crate) fn url(cx: &Cx<'_>, node: &Node) -> Option<scalar::Url> {
    parsed(cx, node, Code::BadUrl, "URL", "write it like `http://10.0.1.10:8080/health`", scalar::url)
}

const DNS_NAME: &str = "DNS name";

/// A DNS name.
pub(crate) fn dns_name(cx: &Cx<'_>, node: &Node) -> Option<String> {
    parsed(cx, node, Code::BadName, DNS_NAME, "write it like `orders.db.internal.`", scalar::dns_name)
}

/// A percentage in parts per million.
pub(crate) fn percent_ppm(cx: &Cx<'_>, node: &Node) -> Option<u32> {
    parsed(cx, node, Code::BadNumber, "percentage", "write it like `99.95`", scalar::percent_ppm)
}

/// One of a few words.
pub(crate) fn word<T: Copy>(cx: &Cx<'_>, node: &Node, all: &[T], word: impl Fn(T) -> &'static str) -> Option<T> {
    let text = at_text(cx, node)?;
    if let Some(found) = all.iter().find(|it| word(**it) == text.value) {
        return Some(*found);
    }
    let list: Vec<String> = all.iter().map(|it| format!("`{}`", word(*it))).collect();
    let finding = Finding::new(Code::UnknownWord, text.span, format!("`{}` has no meaning here", text.value))
        .help(format!("use {}", in_words(&list, "or")));
    let near = cx.nearest(&text.value, all.iter().map(|it| word(*it)));
    cx.report(match near {
        Some(near) => finding.label(format!("did you mean `{near}`?")),
        None => finding.label("unknown word"),
    });
    None
}
