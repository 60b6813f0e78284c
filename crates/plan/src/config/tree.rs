//! A YAML file as a tree in which every node knows its place.
//!
//! Lowering needs the place of every key and value, all mistakes at once, and the difference between `5` and `"5"`; no
//! deserializer keeps all three, so the parser's events are made into a tree of our own. Aliases, tags and merge keys
//! are refused: a plan must read the same in every place, and without aliases a small file can't become a large tree.

use std::cell::Cell;
use std::collections::HashMap;

use compact_str::CompactString;
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::syntax::syntax;
use crate::finding::{Code, Finding, Span};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 256 << 20;
/// The deepest nesting of lists and mappings.
pub(crate) const MAX_DEPTH: usize = 32;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
    /// What variables made of it, where that is more than text.
    pub(crate) filled: Option<Box<Filled>>,
}

/// What variables made of a value.
#[derive(Clone, Debug)]
pub(crate) enum Filled {
    /// A secret was put into it; this is its text as it stands in the file.
    Secret(String),
    /// One of them has no value, which was reported: what it says is not known.
    Unknown,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text; `quoted` tells `"5"` from `5`.
    Scalar {
        text: CompactString,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: CompactString,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    /// A value that holds no secret.
    pub(crate) fn new(span: Span, value: Value) -> Node {
        Node { span, value, filled: None }
    }

    /// Where to point when this node is meant: a scalar itself, the first key of a mapping, the first item of a list.
    pub(crate) fn spot(&self) -> Span {
        match &self.value {
            Value::Null | Value::Scalar { .. } => self.span,
            Value::List(items) => items.first().map_or(self.span, Node::spot),
            Value::Map(entries) => entries.first().map_or(self.span, |it| it.key_span),
        }
    }

    /// The text in the file, if a secret was put into it.
    pub(crate) fn secret(&self) -> Option<&str> {
        match self.filled.as_deref() {
            Some(Filled::Secret(text)) => Some(text),
            Some(Filled::Unknown) | None => None,
        }
    }

    /// Whether nobody knows what it says.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.filled.as_deref(), Some(Filled::Unknown))
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, for people.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { quoted: true, .. } => "text",
            Value::Scalar { text, .. } if text.parse::<f64>().is_ok() => "a number",
            Value::Scalar { text, .. } if matches!(text.as_str(), "true" | "false") => "true or false",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// How many characters lie between two whose bytes are known.
const STRIDE: usize = 64;

/// Where bytes, characters, lines and columns of a text are.
pub(crate) struct Places<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    /// The line that was asked for last: the next one is near.
    near: Cell<usize>,
    /// Byte of every [`STRIDE`]th character; `None` when all characters are single bytes.
    chars: Option<Vec<usize>>,
    /// Bytes of the text before what the parser sees (a byte order mark).
    skipped: usize,
    /// Which file of the plan it is.
    file: u16,
    /// A byte and its column, from 0: the next place is counted from there, because a line may be as long as the file.
    counted: Cell<(usize, usize)>,
}

impl<'t> Places<'t> {
    pub(crate) fn new(text: &'t str, file: u16) -> Places<'t> {
        let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let bytes = || text[skipped..].char_indices().map(|(at, _)| at + skipped);
        let chars = (!text.is_ascii()).then(|| bytes().step_by(STRIDE).collect());
        Places { text, line_starts, near: Cell::new(0), chars, skipped, file, counted: Cell::new((0, 0)) }
    }

    pub(super) fn byte(&self, character: usize) -> usize {
        let byte = match &self.chars {
            Some(chars) => {
                let from = chars.get(character / STRIDE).copied().unwrap_or(self.text.len());
                let offset = self.text[from..].char_indices().nth(character % STRIDE);
                offset.map_or(self.text.len(), |(at, _)| from + at)
            }
            None => character + self.skipped,
        };
        byte.min(self.text.len())
    }

    /// The line of a byte, counted from 1.
    fn line_of(&self, byte: usize) -> usize {
        const STEPS: usize = 8;
        let near = self.near.get();
        let starts = &self.line_starts[near..];
        let ahead = starts.iter().take(STEPS).take_while(|it| **it <= byte).count();
        let line = if ahead == 0 || ahead == STEPS {
            self.line_starts.partition_point(|it| *it <= byte)
        } else {
            near + ahead
        };
        self.near.set(line - 1);
        line
    }

    /// The span of these bytes, without the white space at its end.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let end = start + self.text[start..end.max(start)].trim_end().len();
        let line = self.line_of(start);
        let line_start = self.line_starts[line - 1];
        let before = match self.counted.get() {
            _ if self.chars.is_none() => start - line_start,
            (byte, column) if (line_start..=start).contains(&byte) => column + self.text[byte..start].chars().count(),
            (_, _) => self.text[line_start..start].chars().count(),
        };
        self.counted.set((start, before));
        let (start, end, line, column) = (number(start), number(end), number(line), number(before + 1));
        Span { start, end, line, column, file: self.file }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    fn of(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start.index());
        self.span(start, self.byte(span.end.index()))
    }

    /// The text of line `line` (from 1) and the byte at which it starts.
    pub(super) fn line(&self, line: usize) -> (&'t str, usize) {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        (self.text[start..end].trim_end_matches(['\r', '\n']), start)
    }
}

/// A list or a mapping that is still open. What belongs to it are the builder's items or entries from `from` on.
enum Open {
    List {
        span: Span,
        from: usize,
    },
    /// `seen` is empty as long as there are few entries: then looking at all of them is faster.
    Map {
        span: Span,
        from: usize,
        key: Option<(Option<CompactString>, Span)>,
        seen: HashMap<CompactString, Span>,
    },
}

impl Open {
    /// The byte at which it begins.
    const fn start(&self) -> usize {
        match self {
            Open::List { span, .. } | Open::Map { span, .. } => span.range().start,
        }
    }
}

/// No plan needs so many levels.
pub(super) fn too_deep(at: Span) -> Finding {
    Finding::new(Code::Limit, at, format!("lists and mappings nest deeper than {MAX_DEPTH}"))
        .help("no part of a plan needs so many levels: look for what repeats without end")
}

/// How many entries are few.
const FEW: usize = 32;

/// Reads a text of one YAML document. `None` when nothing could be made of it; then an error was found. What can be
/// read around a mistake (a duplicate key, an alias) is read, so that the rest of the file is judged too. `file` is the
/// number of the file in its plan.
pub(crate) fn parse(text: &str, file: u16, findings: &mut Vec<Finding>) -> Option<Node> {
    let places = Places::new(text, file);
    if text.len() > MAX_BYTES {
        findings.push(
            Finding::new(Code::Limit, places.span(0, 0), format!("the file has more than {} MiB", MAX_BYTES >> 20))
                .label("no more than this is read")
                .help("split what belongs to different sites into plans of their own"),
        );
        return None;
    }
    let mut builder = Builder {
        places: &places,
        findings,
        open: Vec::new(),
        items: Vec::new(),
        entries: Vec::new(),
        root: None,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(&text[places.skipped..]);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if !builder.event(event, places.of(span)) {
                    return None;
                }
            }
            Err(error) => {
                let open = builder.open.iter().map(Open::start).collect::<Vec<_>>();
                builder.findings.push(syntax(&places, &error, &open));
                return None;
            }
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        let (message, help) = if file == 0 {
            ("the file holds no plan", "`mainstay init` writes a file to start from")
        } else {
            ("the included file is empty", "write sections into it, such as `routes:`, or remove it from `include`")
        };
        findings.push(Finding::new(Code::Documents, places.span(0, 0), message).label("nothing here").help(help));
    }
    root
}

struct Builder<'a, 't> {
    places: &'a Places<'t>,
    findings: &'a mut Vec<Finding>,
    open: Vec<Open>,
    /// Of all open lists, the innermost last: each gets a list of just its size when it is closed. Most have one item or
    /// two, and lists that grow by themselves have room for four: half of a large plan's memory.
    items: Vec<Node>,
    /// The same of all open mappings.
    entries: Vec<Entry>,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_, '_> {
    /// Takes in one event; `false` when there is no sense in going on.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => self.document(span),
            Event::Alias(_) => {
                self.unsupported(span, "aliases are not supported", "write the value out where it holds");
                self.value(Node::new(span, Value::Null));
                true
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.extras(span, anchor, tag.is_some());
                let quoted = !matches!(style, ScalarStyle::Plain);
                let null = !quoted && matches!(text.as_ref(), "" | "~" | "null");
                let value = if null { Value::Null } else { Value::Scalar { text: CompactString::from(text), quoted } };
                self.value(Node::new(span, value));
                true
            }
            Event::SequenceStart(anchor, tag) => {
                self.extras(span, anchor, tag.is_some());
                self.begin(Open::List { span, from: self.items.len() }, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.extras(span, anchor, tag.is_some());
                self.begin(Open::Map { span, from: self.entries.len(), key: None, seen: HashMap::new() }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end(span);
                true
            }
        }
    }

    fn document(&mut self, span: Span) -> bool {
        self.documents += 1;
        if self.documents > 1 {
            self.findings.push(
                Finding::new(Code::Documents, span, "the file holds more than one document")
                    .label("a second document begins here")
                    .help("remove the line with `---`, or put the second plan into a file of its own"),
            );
        }
        self.documents == 1
    }

    fn unsupported(&mut self, span: Span, message: &str, help: &str) {
        self.findings.push(Finding::new(Code::Unsupported, span, message).label("not supported").help(help));
    }

    fn extras(&mut self, span: Span, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.unsupported(span, "anchors are not supported", "remove the `&name` and write values out");
        }
        if tagged {
            self.unsupported(span, "tags are not supported", "remove the `!tag`; every field has one type");
        }
    }

    fn begin(&mut self, open: Open, span: Span) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.findings.push(too_deep(span).label("one level too many"));
            return false;
        }
        self.open.push(open);
        true
    }

    fn end(&mut self, at: Span) {
        // Between braces or brackets the end is a character; in a block it is wherever the next thing begins.
        let closed = |open: &str, close: &str, span: Span| {
            let text = self.places.text;
            let is = text[span.range().start..].starts_with(open) && text[at.range().start..].starts_with(close);
            is.then_some(at.range().start + close.len())
        };
        let node = match self.open.pop() {
            Some(Open::List { span, from }) => {
                let items: Vec<Node> = self.items.drain(from..).collect();
                let last = items.last().map_or(span, |it| it.span).range().end;
                let last = closed("[", "]", span).unwrap_or(last);
                Node::new(self.places.span(span.range().start, last), Value::List(items))
            }
            Some(Open::Map { span, from, .. }) => {
                let entries: Vec<Entry> = self.entries.drain(from..).collect();
                let last = entries.last().map_or(span.end, |it| it.node.span.end.max(it.key_span.end)) as usize;
                let last = closed("{", "}", span).unwrap_or(last);
                Node::new(self.places.span(span.range().start, last), Value::Map(entries))
            }
            None => return,
        };
        self.value(node);
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { .. }) => self.items.push(node),
            Some(Open::Map { from, key, seen, .. }) => match key.take() {
                Some((None, _)) => {}
                Some((Some(name), key_span)) => {
                    let entries = &self.entries[*from..];
                    if entries.len() == FEW {
                        seen.extend(entries.iter().map(|it| (it.key.clone(), it.key_span)));
                    }
                    let first = match entries.len() {
                        0..FEW => entries.iter().find(|it| it.key == name).map(|it| &it.key_span),
                        _ => seen.get(&name),
                    };
                    if let Some(first) = first {
                        self.findings.push(
                            Finding::new(Code::DuplicateKey, key_span, format!("`{name}` stands twice"))
                                .label("again here")
                                .other(*first, "first here")
                                .help("keep one of them"),
                        );
                        return;
                    }
                    if entries.len() >= FEW {
                        seen.insert(name.clone(), key_span);
                    }
                    self.entries.push(Entry { key: name, key_span, node });
                }
                None => {
                    let span = node.spot();
                    let name = match node.value {
                        Value::Scalar { text, .. } if text == "<<" => {
                            self.unsupported(span, "merge keys are not supported", "write the fields out");
                            Some(text)
                        }
                        Value::Scalar { text, .. } => Some(text),
                        Value::Null | Value::List(_) | Value::Map(_) => {
                            self.findings.push(
                                Finding::new(Code::WrongType, span, "a key must be text")
                                    .label("not text")
                                    .help("write a name before the colon: `NAME: …`"),
                            );
                            None
                        }
                    };
                    if let Some(Open::Map { key, .. }) = self.open.last_mut() {
                        *key = Some((name, span));
                    }
                }
            },
        }
    }
}
