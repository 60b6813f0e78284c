//! From text to words, signs and brackets, each with its place. What has no meaning is reported here, once.
//!
//! There is no arithmetic, so that `-`, `.`, `/` and `%` are simply part of a word: `us-east-1/us-east-1a`, `0.5`, `50%`,
//! `orders-db/http`. What a word means depends on where it stands.

use super::Ink;
use crate::finding::Code;
use crate::rule::{Op, Piece, is_word};

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: Piece,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Word(String),
    /// A name in quotes, which is never anything else.
    Quoted(String),
    Op(Op),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    /// Something that was reported already.
    Broken,
    End,
}

/// All tokens; the last one is [`TokenKind::End`].
pub(super) fn tokens(ink: &Ink<'_>) -> Vec<Token> {
    let text = ink.written.text.as_str();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let run = |of: fn(char) -> bool| rest.find(|it| !of(it)).unwrap_or(rest.len());
        let (kind, length) = match first {
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            '(' => (TokenKind::Open, 1),
            ')' => (TokenKind::Close, 1),
            '[' => (TokenKind::OpenList, 1),
            ']' => (TokenKind::CloseList, 1),
            ',' => (TokenKind::Comma, 1),
            '"' | '\'' => quoted(ink, at, first),
            _ if is_word(first) => {
                let length = run(is_word);
                (TokenKind::Word(rest[..length].to_owned()), length)
            }
            _ if is_sign(first) => {
                let length = run(is_sign);
                (sign(ink, Piece { start: at, end: at + length }), length)
            }
            _ => {
                let length = run(is_strange);
                strange(ink, Piece { start: at, end: at + length });
                (TokenKind::Broken, length)
            }
        };
        tokens.push(Token { kind, at: Piece { start: at, end: at + length } });
        at += length;
    }
    // The end is where something may be missing: behind the last word, not behind the blanks after it.
    let end = tokens.last().map_or(0, |it| it.at.end);
    tokens.push(Token { kind: TokenKind::End, at: Piece { start: end, end } });
    tokens
}

fn is_sign(it: char) -> bool {
    matches!(it, '=' | '!' | '<' | '>' | '&' | '|' | '≤' | '≥' | '≠')
}

fn is_strange(it: char) -> bool {
    !it.is_whitespace() && !is_word(it) && !is_sign(it) && !matches!(it, '(' | ')' | '[' | ']' | ',' | '"' | '\'')
}

/// The operator that these signs are, or were meant to be.
fn sign(ink: &Ink<'_>, at: Piece) -> TokenKind {
    let text = ink.text(at);
    if let Some(op) = Op::ALL.into_iter().find(|it| it.word() == text) {
        return TokenKind::Op(op);
    }
    let (meant, kind) = match text {
        "=" | "===" => ("==", TokenKind::Op(Op::Equal)),
        "<>" | "!==" | "≠" => ("!=", TokenKind::Op(Op::NotEqual)),
        "=<" | "≤" => ("<=", TokenKind::Op(Op::AtMost)),
        "=>" | "≥" => (">=", TokenKind::Op(Op::AtLeast)),
        "&" | "&&" => ("and", TokenKind::Word("and".to_owned())),
        "|" | "||" => ("or", TokenKind::Word("or".to_owned())),
        "!" => ("not (…)", TokenKind::Broken),
        _ => ("", TokenKind::Broken),
    };
    let finding = ink.finding(Code::Expression, at, format!("`{text}` is no operator"));
    ink.report(if meant.is_empty() {
        finding.label("unknown").help("there are `==`, `!=`, `<`, `<=`, `>`, `>=`, `and`, `or` and `not (…)`")
    } else {
        finding.label(format!("did you mean `{meant}`?")).help(format!("write `{meant}`"))
    });
    kind
}

fn strange(ink: &Ink<'_>, at: Piece) {
    let text: String = ink.text(at).escape_debug().take(20).collect();
    let finding = ink.finding(Code::Expression, at, format!("`{text}` has no meaning in an expression"));
    ink.report(if matches!(ink.text(at), "+" | "*") {
        finding.label("no arithmetic here").help("compare observations with constants or with each other")
    } else if ink.text(at).starts_with(['{', '}']) {
        finding.label("unknown").help("write a scope in words: `zone us-east-1/us-east-1a`")
    } else {
        finding.label("unknown").help("put a name that holds such a character into quotes")
    });
}

/// The name in quotes that begins at `start`, and its length with the quotes; a quote in it stands twice.
fn quoted(ink: &Ink<'_>, start: usize, quote: char) -> (TokenKind, usize) {
    let text = &ink.written.text[start + 1..];
    let mut name = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, it)) = chars.next() {
        if it != quote {
            name.push(it);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            name.push(quote);
        } else {
            return (TokenKind::Quoted(name), at + 2);
        }
    }
    ink.report(
        ink.finding(Code::Expression, Piece { start, end: start + 1 }, "this quote is not closed")
            .label("begins here")
            .help(format!("write `{quote}` behind the name")),
    );
    (TokenKind::Broken, text.len() + 1)
}
