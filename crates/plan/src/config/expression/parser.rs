//! From tokens to what stands in the expression, names and types not yet looked at.
//!
//! After a mistake the parser goes on at the next `and`, `or` or `)` of the same level, so that several mistakes are told
//! at once and none twice.

use super::lexer::{Token, TokenKind, tokens};
use super::{Ink, MAX_DEPTH, across};
use crate::finding::Code;
use crate::rule::{Op, Piece};

/// A part of an expression that may be a condition.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) kind: RawKind,
    /// Without parentheses around it.
    pub(super) at: Piece,
}

#[derive(Debug)]
pub(super) enum RawKind {
    All(Vec<Raw>),
    Any(Vec<Raw>),
    Not(Box<Raw>),
    For(Box<Raw>, Word),
    Compare(RawTerm, Op, RawTerm),
    /// A term that is compared with nothing.
    Bare(RawTerm),
    /// Something that was reported already.
    Broken,
}

/// A constant or a call.
#[derive(Debug)]
pub(super) struct RawTerm {
    pub(super) at: Piece,
    pub(super) word: Word,
    /// The arguments, if it is a call.
    pub(super) arguments: Option<Vec<Argument>>,
}

#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Piece,
    pub(super) quoted: bool,
}

#[derive(Debug)]
pub(super) struct Argument {
    pub(super) at: Piece,
    pub(super) kind: ArgumentKind,
}

#[derive(Debug)]
pub(super) enum ArgumentKind {
    /// `down`, `orders-db`
    One(Word),
    /// `zone us-east-1/us-east-1a`
    Two(Word, Word),
    /// `[a, b]`
    List(Vec<Word>),
}

/// What can join conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    And,
    Or,
    For,
}

impl Joint {
    const ALL: [Joint; 3] = [Joint::And, Joint::Or, Joint::For];

    const fn word(self) -> &'static str {
        match self {
            Joint::And => "and",
            Joint::Or => "or",
            Joint::For => "for",
        }
    }
}

/// A mistake that was reported already.
struct Reported;

type Parsed<T> = Result<T, Reported>;

/// What stands in the expression; mistakes are reported.
pub(super) fn parse(ink: &Ink<'_>) -> Raw {
    let mut parser = Parser { ink, tokens: tokens(ink), next: 0, depth: 0, given_up: false };
    let raw = parser.expression();
    if parser.peek().kind != TokenKind::End {
        // Only a `)` ends an expression before the end of the text.
        parser.unexpected(parser.what_may_follow());
    }
    raw
}

struct Parser<'a> {
    ink: &'a Ink<'a>,
    tokens: Vec<Token>,
    next: usize,
    /// How many parentheses and brackets are open.
    depth: usize,
    /// Set when nothing more is to be said about this text.
    given_up: bool,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    /// The next token, which stays the last one for ever.
    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        match token.kind {
            TokenKind::Open | TokenKind::OpenList => self.depth += 1,
            TokenKind::Close | TokenKind::CloseList => self.depth = self.depth.saturating_sub(1),
            TokenKind::Word(_)
            | TokenKind::Quoted(_)
            | TokenKind::Op(_)
            | TokenKind::Comma
            | TokenKind::Broken
            | TokenKind::End => {}
        }
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take(&mut self, kind: &TokenKind) -> Option<Token> {
        (self.peek().kind == *kind).then(|| self.advance())
    }

    /// Whether the next token is the word `word`, whatever its case.
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.peek().kind, TokenKind::Word(it) if it.eq_ignore_ascii_case(word))
    }

    fn joint(&self) -> Option<Joint> {
        Joint::ALL.into_iter().find(|it| self.is_word(it.word()))
    }

    /// Whether nothing more of this level follows.
    fn at_end(&self) -> bool {
        matches!(self.peek().kind, TokenKind::End | TokenKind::Close)
    }

    const fn what_may_follow(&self) -> &'static str {
        if self.depth == 0 { "`and`, `or`, `for` or the end" } else { "`and`, `or`, `for` or `)`" }
    }

    /// Takes a word that has one spelling.
    fn keyword(&mut self, word: &str) -> Piece {
        let at = self.advance().at;
        let text = self.ink.text(at);
        // A sign that stands for the word was reported by the lexer.
        if text != word && text.eq_ignore_ascii_case(word) {
            self.ink.report(
                self.ink
                    .finding(Code::Expression, at, format!("`{text}` is not written like this"))
                    .label(format!("did you mean `{word}`?"))
                    .help(format!("write `{word}`")),
            );
        }
        at
    }

    /// Reports that something else stands where `wanted` should.
    fn unexpected(&mut self, wanted: &str) -> Reported {
        let token = self.peek().clone();
        if self.given_up || token.kind == TokenKind::Broken {
            return Reported;
        }
        let message = match token.kind {
            TokenKind::End => format!("the expression ends where {wanted} should stand"),
            TokenKind::Close if self.depth == 0 => "this `)` closes nothing".to_owned(),
            TokenKind::Word(_)
            | TokenKind::Quoted(_)
            | TokenKind::Op(_)
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::OpenList
            | TokenKind::CloseList
            | TokenKind::Comma
            | TokenKind::Broken => format!("{} stands where {wanted} should", self.ink.quote(token.at)),
        };
        let finding = self.ink.finding(Code::Expression, token.at, message).label(format!("expected {wanted}"));
        self.ink.report(match wanted {
            "a value" => finding.help("write for example `down`, `2`, `50%` or `10s`"),
            "a condition" => finding.help("write a comparison, for example `health(orders-db) == down`"),
            "a duration" => finding.help("write for example `3s`"),
            _ => finding,
        });
        Reported
    }

    /// Goes on to where the next part of the same level begins.
    fn recover(&mut self, depth: usize) {
        loop {
            let token = self.peek();
            let joint = matches!(self.joint(), Some(Joint::And | Joint::Or));
            match token.kind {
                TokenKind::End => return,
                TokenKind::Close if self.depth <= depth => return,
                TokenKind::Word(_) if self.depth <= depth && joint => return,
                TokenKind::Word(_)
                | TokenKind::Quoted(_)
                | TokenKind::Op(_)
                | TokenKind::Open
                | TokenKind::Close
                | TokenKind::OpenList
                | TokenKind::CloseList
                | TokenKind::Comma
                | TokenKind::Broken => {
                    self.advance();
                }
            }
        }
    }

    fn expression(&mut self) -> Raw {
        let first = self.unit();
        let Some(joint) = self.joint() else { return first.raw };
        match joint {
            Joint::For => self.held(first),
            Joint::And | Joint::Or => self.joined(first.raw, joint),
        }
    }

    /// `A and B and C`, all joints alike.
    fn joined(&mut self, first: Raw, joint: Joint) -> Raw {
        let mut place = self.peek().at;
        let mut parts = vec![first];
        let mut told = false;
        while let Some(next) = self.joint() {
            if next != joint && !told {
                told = true;
                self.mixed(joint, place, next);
            }
            match next {
                Joint::And | Joint::Or => {
                    place = self.keyword(next.word());
                    parts.push(self.unit().raw);
                }
                Joint::For => {
                    self.advance();
                    let depth = self.depth;
                    self.recover(depth);
                }
            }
        }
        let at = across(parts[0].at, parts[parts.len() - 1].at);
        let kind = match joint {
            // What is mixed was reported; its parts are looked at all the same.
            Joint::And | Joint::For => RawKind::All(parts),
            Joint::Or => RawKind::Any(parts),
        };
        Raw { kind, at }
    }

    /// Reports two joints that don't go together without parentheses.
    fn mixed(&self, first: Joint, first_at: Piece, next: Joint) {
        let (a, b) = (first.word(), next.word());
        let finding = self.ink.finding(
            Code::Expression,
            self.peek().at,
            format!("`{a}` and `{b}` are mixed without parentheses"),
        );
        let finding = self.ink.beside(finding, first_at, format!("`{a}`")).label(format!("`{b}` after `{a}`"));
        let time = match self.tokens.get(self.next + 1).map(|it| &it.kind) {
            Some(TokenKind::Word(time)) => time.as_str(),
            Some(_) | None => "3s",
        };
        self.ink.report(match next {
            Joint::For => finding
                .reason("it could speak of all of it or of its last part")
                .help(format!("write `(A {a} B) for {time}`, or `A {a} (B for {time})`")),
            Joint::And | Joint::Or => finding
                .reason("it has two readings, and people differ in which of them they see")
                .help(format!("write `(A {a} B) {b} C`, or `A {a} (B {b} C)`")),
        });
    }

    /// `A for 3s`, which nothing follows.
    fn held(&mut self, first: Unit) -> Raw {
        let place = self.keyword("for");
        if first.is_not {
            self.ink.report(
                self.ink
                    .finding(Code::Expression, place, "`for` after `not` needs parentheses")
                    .label("holds for which of them?")
                    .reason("it could speak of what is denied or of its denial")
                    .help("write `(not (A)) for 3s`, or `not (A for 3s)`"),
            );
        }
        let raw = match self.time() {
            Ok(time) => {
                let at = across(first.raw.at, time.at);
                Raw { kind: RawKind::For(Box::new(first.raw), time), at }
            }
            Err(Reported) => {
                let depth = self.depth;
                self.recover(depth);
                Raw { kind: RawKind::All(vec![first.raw]), at: place }
            }
        };
        let Some(next) = self.joint() else {
            if !self.at_end() {
                self.unexpected(self.what_may_follow());
                let depth = self.depth;
                self.recover(depth);
            }
            return raw;
        };
        let word = next.word();
        let finding = self
            .ink
            .finding(Code::Expression, self.peek().at, format!("`{word}` after `for` needs parentheses"))
            .label("behind a `for`");
        self.ink.report(match next {
            Joint::For => finding.help("write one `for` only, or `(A for 3s) for 5s`"),
            Joint::And | Joint::Or => finding.help(format!("write `(A for 3s) {word} B`")),
        });
        let mut parts = vec![raw];
        while let Some(next) = self.joint() {
            self.advance();
            match next {
                Joint::And | Joint::Or => parts.push(self.unit().raw),
                Joint::For => {
                    let depth = self.depth;
                    self.recover(depth);
                }
            }
        }
        Raw { kind: RawKind::All(parts), at: place }
    }

    fn time(&mut self) -> Parsed<Word> {
        match self.peek().kind.clone() {
            TokenKind::Word(text) => Ok(Word { text, at: self.advance().at, quoted: false }),
            TokenKind::Quoted(_)
            | TokenKind::Op(_)
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::OpenList
            | TokenKind::CloseList
            | TokenKind::Comma
            | TokenKind::Broken
            | TokenKind::End => Err(self.unexpected("a duration")),
        }
    }

    /// One part of a condition; when it can't be read, what follows it can.
    fn unit(&mut self) -> Unit {
        let depth = self.depth;
        let begin = self.peek().at;
        let unit = self.try_unit();
        let raw = unit.unwrap_or_else(|Reported| {
            self.recover(depth);
            Unit::of(Raw { kind: RawKind::Broken, at: begin })
        });
        if !self.at_end() && self.joint().is_none() {
            if !matches!(raw.raw.kind, RawKind::Broken) {
                match self.peek().kind {
                    TokenKind::Op(_) => self.chained(),
                    TokenKind::Word(_)
                    | TokenKind::Quoted(_)
                    | TokenKind::Open
                    | TokenKind::Close
                    | TokenKind::OpenList
                    | TokenKind::CloseList
                    | TokenKind::Comma
                    | TokenKind::Broken
                    | TokenKind::End => {
                        self.unexpected(self.what_may_follow());
                    }
                }
            }
            self.recover(depth);
        }
        raw
    }

    fn chained(&self) {
        self.ink.report(
            self.ink
                .finding(Code::Expression, self.peek().at, "a comparison has two sides")
                .label("a third side begins")
                .help("write `A < B and B < C`"),
        );
    }

    fn try_unit(&mut self) -> Parsed<Unit> {
        if self.peek().kind == TokenKind::Open {
            return self.enclosed().map(Unit::of);
        }
        let is_call = matches!(self.tokens.get(self.next + 1), Some(Token { kind: TokenKind::Open, .. }));
        if self.is_word("not") {
            let not = self.keyword("not");
            if !is_call {
                if !self.given_up && self.peek().kind != TokenKind::Broken {
                    self.ink.report(
                        self.ink
                            .finding(Code::Expression, not, "`not` needs parentheses")
                            .label("denies how much?")
                            .help("write `not (…)`"),
                    );
                }
                return Err(Reported);
            }
            let (raw, close) = self.enclosed_to()?;
            let at = across(not, close);
            return Ok(Unit { raw: Raw { kind: RawKind::Not(Box::new(raw)), at }, is_not: true });
        }
        let left = self.term("a condition")?;
        let TokenKind::Op(op) = self.peek().kind else {
            if self.peek().kind == TokenKind::Broken {
                return Err(Reported);
            }
            return Ok(Unit::of(Raw { at: left.at, kind: RawKind::Bare(left) }));
        };
        self.advance();
        let right = self.term("a value")?;
        Ok(Unit::of(Raw { at: across(left.at, right.at), kind: RawKind::Compare(left, op, right) }))
    }

    fn enclosed(&mut self) -> Parsed<Raw> {
        self.enclosed_to().map(|(raw, _)| raw)
    }

    /// What stands in parentheses, and where they end.
    fn enclosed_to(&mut self) -> Parsed<(Raw, Piece)> {
        let open = self.advance().at;
        if self.depth > MAX_DEPTH {
            self.ink.report(
                self.ink
                    .finding(Code::Expression, open, format!("parentheses nest deeper than {MAX_DEPTH}"))
                    .label("one too many")
                    .reason("nobody can read a rule of this depth in an emergency")
                    .help("make several rules of it"),
            );
            self.given_up = true;
            self.next = self.tokens.len() - 1;
            return Err(Reported);
        }
        let raw = self.expression();
        match self.take(&TokenKind::Close) {
            Some(close) => Ok((raw, close.at)),
            None => Err(self.unclosed(open)),
        }
    }

    fn unclosed(&self, open: Piece) -> Reported {
        if !self.given_up {
            let text = self.ink.text(open);
            let closing = if text == "[" { "]" } else { ")" };
            self.ink.report(
                self.ink
                    .finding(Code::Expression, open, format!("this `{text}` is not closed"))
                    .label("opened here")
                    .help(format!("write `{closing}` where it ends")),
            );
        }
        Reported
    }

    /// A constant or a call; `wanted` is what it is taken for.
    fn term(&mut self, wanted: &str) -> Parsed<RawTerm> {
        if self.joint().is_some() {
            return Err(self.unexpected(wanted));
        }
        let word = self.word(wanted)?;
        if self.peek().kind != TokenKind::Open || word.quoted {
            return Ok(RawTerm { at: word.at, word, arguments: None });
        }
        let open = self.advance().at;
        let mut arguments = Vec::new();
        if self.peek().kind != TokenKind::Close {
            loop {
                arguments.push(self.argument()?);
                if self.take(&TokenKind::Comma).is_none() {
                    break;
                }
            }
        }
        match self.peek().kind {
            TokenKind::Close => {}
            TokenKind::End => return Err(self.unclosed(open)),
            TokenKind::Word(_)
            | TokenKind::Quoted(_)
            | TokenKind::Op(_)
            | TokenKind::Open
            | TokenKind::OpenList
            | TokenKind::CloseList
            | TokenKind::Comma
            | TokenKind::Broken => return Err(self.unexpected("`,` or `)`")),
        }
        let close = self.advance().at;
        Ok(RawTerm { at: across(word.at, close), word, arguments: Some(arguments) })
    }

    fn argument(&mut self) -> Parsed<Argument> {
        if self.peek().kind == TokenKind::OpenList {
            let open = self.advance().at;
            let mut list = Vec::new();
            loop {
                list.push(self.word("a name")?);
                if self.take(&TokenKind::Comma).is_none() {
                    break;
                }
            }
            return match self.take(&TokenKind::CloseList) {
                Some(close) => Ok(Argument { at: across(open, close.at), kind: ArgumentKind::List(list) }),
                None if self.peek().kind == TokenKind::End => Err(self.unclosed(open)),
                None => Err(self.unexpected("`,` or `]`")),
            };
        }
        let first = self.word("an argument")?;
        if first.quoted || !matches!(self.peek().kind, TokenKind::Word(_) | TokenKind::Quoted(_)) {
            return Ok(Argument { at: first.at, kind: ArgumentKind::One(first) });
        }
        let second = self.word("a name")?;
        Ok(Argument { at: across(first.at, second.at), kind: ArgumentKind::Two(first, second) })
    }

    fn word(&mut self, wanted: &str) -> Parsed<Word> {
        let (text, quoted) = match self.peek().kind.clone() {
            TokenKind::Word(text) => (text, false),
            TokenKind::Quoted(text) => (text, true),
            TokenKind::Op(_)
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::OpenList
            | TokenKind::CloseList
            | TokenKind::Comma
            | TokenKind::Broken
            | TokenKind::End => return Err(self.unexpected(wanted)),
        };
        Ok(Word { text, at: self.advance().at, quoted })
    }
}

/// A part of a condition.
struct Unit {
    raw: Raw,
    /// Whether it is a `not` without parentheses around it.
    is_not: bool,
}

impl Unit {
    fn of(raw: Raw) -> Unit {
        Unit { raw, is_not: false }
    }
}
