//! Reading the expression of a decision rule: text → words (`lexer`) → what stands in it (`parser`) → names resolved, types
//! checked and a typed [`Expr`] made (`check`, `arguments`, with `names`), and then what in it never changes or can't be seen (`lint`).
//!
//! The grammar. `and`, `or` and `for` never mix without parentheses, so that there is no precedence to remember:
//!
//! ```text
//! expression = unit { "and" unit } | unit { "or" unit } | held
//! unit       = comparison | "not" "(" expression ")" | "(" expression ")"
//! held       = ( comparison | "(" expression ")" ) "for" DURATION
//! comparison = term ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) term
//! term       = CONSTANT | FUNCTION "(" [ argument { "," argument } ] ")"
//! argument   = WORD [ NAME ] | "[" NAME { "," NAME } "]"
//! ```

mod arguments;
mod check;
mod lexer;
mod lint;
mod names;
mod parser;
#[cfg(test)]
mod tests;

use std::cell::Cell;

pub(super) use names::Names;

use super::fields::{At, Cx};
use super::tree::{Node, Value};
use super::values::at_text;
use crate::finding::{Code, Finding, Severity, Span};
use crate::rule::{Expr, Piece};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 4096;

/// How deep parentheses may stand in each other.
const MAX_DEPTH: usize = 64;

/// Findings about one expression after which the rest waits until these are mended.
const MAX_FINDINGS: usize = 10;

/// The text of an expression, and where it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) span: Span,
    /// Whether each byte of `text` stands at its own place in the file: it is neither quoted nor folded from several lines.
    pub(super) exact: bool,
}

/// The expression that stands at `node`, not yet read.
pub(super) fn written(cx: &Cx<'_>, node: &Node) -> Option<Written> {
    let At { value: text, span } = at_text(cx, node)?;
    let plain = matches!(&node.value, Value::Scalar { quoted: false, .. });
    // Folding and escapes change the length of what is folded or escaped.
    let exact = plain && span.range().len() == text.len();
    Some(Written { text, span, exact })
}

/// Reads an expression; `None` after at least one error was reported.
pub(super) fn expression(cx: &Cx<'_>, written: &Written, names: &Names<'_>) -> Option<Expr> {
    let ink = Ink { cx, written, left: Cell::new(MAX_FINDINGS), broken: Cell::new(false) };
    if written.text.len() > MAX_LENGTH {
        let all = Piece { start: 0, end: written.text.len() };
        ink.report(
            ink.finding(Code::Expression, all, format!("an expression of {} bytes", written.text.len()))
                .label(format!("longer than {MAX_LENGTH} bytes"))
                .reason("nobody can read a rule of this length in an emergency")
                .help("make several rules of it"),
        );
        return None;
    }
    let raw = parser::parse(&ink);
    let expr = check::condition(&ink, names, &raw);
    let expr = expr.filter(|_| !ink.broken.get())?;
    lint::lint(&ink, names, &expr);
    Some(expr)
}

/// What one expression is read with: its text, and the pen for findings about it.
struct Ink<'a> {
    cx: &'a Cx<'a>,
    written: &'a Written,
    /// How many more findings are reported.
    left: Cell<usize>,
    /// Whether one of them was an error.
    broken: Cell<bool>,
}

impl<'a> Ink<'a> {
    /// A part of the text.
    fn text(&self, at: Piece) -> &'a str {
        &self.written.text[at.start..at.end]
    }

    /// A part of the text for a message: in backticks, on one line, and not too long.
    fn quote(&self, at: Piece) -> String {
        const LONGEST: usize = 60;
        let line = self.text(at).split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(LONGEST) {
            Some((cut, _)) => format!("`{}…`", &line[..cut]),
            None => format!("`{line}`"),
        }
    }

    /// Where a part of the text stands in the file; all of the text, where that can't be said.
    fn place(&self, at: Piece) -> Span {
        let Written { text, span, exact } = self.written;
        if !exact {
            return *span;
        }
        span.part(text, at.start..at.end)
    }

    fn finding(&self, code: Code, at: Piece, message: impl Into<String>) -> Finding {
        Finding::new(code, self.place(at), message)
    }

    /// `finding` with a second place, unless both would be the same.
    fn beside(&self, finding: Finding, at: Piece, text: impl Into<String>) -> Finding {
        if self.written.exact { finding.other(self.place(at), text) } else { finding }
    }

    fn report(&self, finding: Finding) {
        if finding.severity == Severity::Error {
            self.broken.set(true);
        }
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            self.cx.report(finding);
        }
    }

    /// Reports a name that nothing has.
    fn unknown<'n>(&self, name: &str, at: Piece, what: &str, names: impl Iterator<Item = &'n str> + Clone) {
        self.broken.set(true);
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            let name = At { value: name.to_owned(), span: self.place(at) };
            super::references::unknown(self.cx, &name, what, names);
        }
    }
}

/// From the beginning of one part to the end of another.
fn across(from: Piece, to: Piece) -> Piece {
    Piece { start: from.start, end: to.end }
}
