//! Findings as SARIF 2.1.0, the format in which code hosts and editors take what an analysis found.
//!
//! The format is [OASIS's](https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html);
//! a § below is a section of it. One run, all codes as its rules, one result for each finding.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::SourceFile;
use crate::finding::{Code, Finding, Severity, Span};

/// Where the schema of the format can be had.
pub const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document for findings about a plan in `files`, which are called in it as they are named here.
pub fn sarif(files: &[SourceFile], findings: &[Finding]) -> Value {
    let mut twins = BTreeMap::new();
    let results: Vec<Value> = findings.iter().map(|it| result(files, it, &mut twins)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "Mainstay",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": Code::ALL.iter().map(|it| rule(*it)).collect::<Vec<_>>(),
            } },
            // The check was made; that it found errors is no failure of it.
            "invocations": [{ "executionSuccessful": true }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.text(),
        "name": format!("{code:?}"),
        "shortDescription": { "text": sentence(code.title()) },
        "fullDescription": { "text": sentence(code.reason()) },
        "help": { "text": code.page(), "markdown": code.page() },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

/// `twins` counts the findings that nothing but their place tells apart.
fn result(files: &[SourceFile], finding: &Finding, twins: &mut BTreeMap<String, usize>) -> Value {
    let mut place = place(files, &finding.span);
    if !finding.label.is_empty() {
        place.insert("message".to_owned(), message(&finding.label));
    }
    let related = finding.others.iter().enumerate().map(|(at, other)| {
        let mut place = self::place(files, &other.span);
        place.insert("id".to_owned(), json!(at + 1));
        place.insert("message".to_owned(), message(&other.text));
        place
    });
    let key = fingerprint(files, finding);
    let twin = twins.entry(key.clone()).and_modify(|it| *it += 1).or_insert(1);
    json!({
        "ruleId": finding.code.text(),
        "ruleIndex": Code::ALL.iter().position(|it| *it == finding.code),
        "level": level(finding.severity),
        "message": { "text": explanation(finding) },
        "locations": [place],
        "relatedLocations": related.collect::<Vec<_>>(),
        "partialFingerprints": { "finding/v1": format!("{key}:{twin}") },
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// What is the matter, why it matters, what to change, and links to the other places: viewers show those only where the
/// message links to them (§3.11.6).
fn explanation(finding: &Finding) -> String {
    let mut parts =
        vec![escaped(&sentence(&finding.message)), escaped(&format!("Reason: {}", sentence(&finding.reason)))];
    if let Some(help) = &finding.help {
        parts.push(escaped(&format!("Help: {}", sentence(help))));
    }
    for (at, other) in finding.others.iter().enumerate() {
        let link = other.text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
        parts.push(format!("See also: [{}]({}).", escaped(&link), at + 1));
    }
    parts.join("\n\n")
}

fn message(text: &str) -> Value {
    json!({ "text": escaped(text) })
}

/// Braces in a message would open a placeholder, so they are doubled (§3.11.5).
fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// With its full stop, where it ends in no other mark.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

fn place(files: &[SourceFile], span: &Span) -> Map<String, Value> {
    let (file, text) = source(files, span);
    let physical = json!({ "artifactLocation": { "uri": uri(file) }, "region": region(text, span) });
    Map::from_iter([("physicalLocation".to_owned(), physical)])
}

/// The file that a place is in: its name and its text.
fn source<'a>(files: &'a [SourceFile], span: &Span) -> (&'a str, &'a str) {
    files.get(usize::from(span.file)).map_or(("", ""), |it| (&it.name, &it.text))
}

/// Lines and columns count from 1, in characters; the end is one past the last (§3.30). Blanks at the end of a span, such
/// as the line break after a block, belong to nothing that anyone would mark.
fn region(text: &str, span: &Span) -> Value {
    let piece = text.get(span.range()).unwrap_or_default().trim_end();
    let (start_line, start_column) = (span.line.max(1) as usize, span.column.max(1) as usize);
    let (end_line, end_column) = match piece.rfind('\n') {
        Some(last) => (start_line + piece.matches('\n').count(), piece[last + 1..].chars().count() + 1),
        None => (start_line, start_column + piece.chars().count()),
    };
    json!({ "startLine": start_line, "startColumn": start_column, "endLine": end_line, "endColumn": end_column })
}

/// A path as a URI reference: relative where it is relative.
fn uri(file: &str) -> String {
    let mut path = file;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What stays of a finding when lines move: its code, what it says, and the line that it is about without its indentation.
/// A finding that says another number, such as a worst case, is another one.
fn fingerprint(files: &[SourceFile], finding: &Finding) -> String {
    let (_, text) = source(files, &finding.span);
    let before = text.get(..finding.span.range().start).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |it| it + 1);
    let line = text.get(line..).unwrap_or_default().lines().next().unwrap_or_default();
    let parts = [finding.code.text(), &finding.message, line.trim()].join("\0");
    Sha256::digest(parts.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, piece: &str) -> Span {
        let start = text.find(piece).unwrap();
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        let number = |it: usize| u32::try_from(it).unwrap();
        let (start, end) = (number(start), number(start + piece.len()));
        Span { start, end, line: number(line), column: number(column), file: 0 }
    }

    fn ends(text: &str, piece: &str) -> (Value, Value) {
        let mut region = region(text, &span(text, piece));
        (region["endLine"].take(), region["endColumn"].take())
    }

    #[test]
    fn regions_count_characters_and_leave_blanks_out() {
        let text = "name: Zürich 東京\nnext:\n  - a\n  - b\nlast\n";
        assert_eq!(ends(text, "Zürich 東京"), (json!(1), json!(16)));
        assert_eq!(ends(text, "- a\n  - b\n"), (json!(4), json!(6)));
        assert_eq!(ends(text, ""), (json!(1), json!(1)));
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("plans/shop.yaml"), "plans/shop.yaml");
        assert_eq!(uri("./a b/50%.yaml"), "a%20b/50%25.yaml");
        assert_eq!(uri("c:x é.yaml"), "c%3Ax%20%C3%A9.yaml");
        assert_eq!(uri("/etc/mainstay.yaml"), "file:///etc/mainstay.yaml");
    }

    #[test]
    fn a_message_has_no_placeholder_and_links_its_other_places() {
        let finding = Finding::new(Code::NameTaken, Span::default(), "`{0}` is taken")
            .help("write `[x]`")
            .other(Span::default(), "the [first]");
        let text = explanation(&finding);
        assert!(text.starts_with("`{{0}}` is taken.\n\nReason: "), "{text}");
        assert!(text.ends_with("\n\nHelp: write `[x]`.\n\nSee also: [the \\[first\\]](1)."), "{text}");
    }

    #[test]
    fn a_fingerprint_stays_when_lines_move() {
        let print = |text: &str, piece: &str, message: &str| {
            fingerprint(
                &[SourceFile::new("plan.yaml", text)],
                &Finding::new(Code::UnknownField, span(text, piece), message),
            )
        };
        let first = print("a:\n  b: 1\n", "b", "no `b`");
        assert_eq!(first, print("# a comment\n\na:\n    b: 1\nc: 2\n", "b", "no `b`"), "moved and indented");
        assert_ne!(first, print("a:\n  b: 1\n", "b", "no `B`"), "says something else");
        assert_ne!(first, print("a:\n  b: 2\n", "b", "no `b`"), "is about another line");
        let text = "b: 1\n";
        let twin = Finding::new(Code::UnknownField, span(text, "b"), "no `b`");
        let document = sarif(&[SourceFile::new("plan.yaml", text)], &[twin.clone(), twin]);
        let prints: Vec<_> =
            (0..2).map(|at| document["runs"][0]["results"][at]["partialFingerprints"].clone()).collect();
        assert_ne!(prints[0], prints[1], "twins are told apart");
    }
}
