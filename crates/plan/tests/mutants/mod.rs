//! Every small mistake at every place of a file: each key and each value is deleted, doubled, renamed, given another type
//! or moved to another level. Made from the events of the YAML parser, so that a mistake is one of structure and not of
//! characters.

use std::collections::BTreeSet;
use std::ops::Range;

use saphyr_parser::{Event, Parser};

/// A file with one mistake.
pub(crate) struct Mutant {
    pub(crate) text: String,
    /// What was done, for people.
    pub(crate) what: String,
    /// Lines that were changed, or that a deleted thing stood between; from 1.
    pub(crate) lines: Range<usize>,
    /// Lines of the key before the mapping that the change is in, of its first field and of its other fields.
    pub(crate) around: BTreeSet<usize>,
    /// Keys and values that are gone or new: what contradicts the change has to speak of one of them.
    pub(crate) names: BTreeSet<String>,
}

/// A value with its key, if it has one.
struct Part {
    key: Option<Range<usize>>,
    value: Range<usize>,
    parent: Option<usize>,
    is_map: bool,
    /// Whether it is a list or mapping between brackets.
    flow: bool,
}

/// What stands in the place of a value.
const OTHERS: [&str; 11] =
    ["banana", "7", "-1", "1.5", "\"\"", "[]", "{}", "[banana]", "{ banana: 1 }", "true", "null"];

/// All of them, in the order of the file.
pub(crate) fn mutants(text: &str) -> Vec<Mutant> {
    assert!(text.is_ascii(), "places are counted in characters by the parser and in bytes here");
    let parts = parts(text);
    let file = File { text, parts: &parts };
    (1..parts.len()).flat_map(|at| file.mutants(at)).collect()
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    // The open lists and mappings, and the key that waits for its value.
    let mut open: Vec<(usize, Option<Range<usize>>)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.expect("the file is YAML");
        let (start, end) = (span.start.index(), span.end.index());
        let (is_map, is_list) = (matches!(event, Event::MappingStart(..)), matches!(event, Event::SequenceStart(..)));
        if is_map || is_list || matches!(event, Event::Scalar(..)) {
            let parent = open.last().map(|it| it.0);
            if let Some((at, key @ None)) = open.last_mut()
                && parts[*at].is_map
            {
                *key = Some(start..end);
                continue;
            }
            let key = open.last_mut().and_then(|it| it.1.take());
            let flow = text[start..].starts_with(['{', '[']) && (is_map || is_list);
            parts.push(Part { key, value: start..end, parent, is_map, flow });
            if is_map || is_list {
                open.push((parts.len() - 1, None));
            }
        } else if matches!(event, Event::MappingEnd | Event::SequenceEnd) {
            let (at, _) = open.pop().expect("what ends was open");
            let last = parts.iter().filter(|it| it.parent == Some(at)).map(|it| it.value.end).max();
            parts[at].value.end = if parts[at].flow { end } else { last.unwrap_or(start) };
        }
    }
    parts
}

struct File<'a> {
    text: &'a str,
    parts: &'a [Part],
}

impl File<'_> {
    fn mutants(&self, at: usize) -> Vec<Mutant> {
        let part = &self.parts[at];
        let entry = part.key.as_ref().map_or(part.value.start, |it| it.start)..part.value.end;
        let said = self.text[entry.clone()].lines().next().unwrap_or_default();
        let value = &self.text[part.value.clone()];
        let mut found = Vec::new();
        let mut add = |what: String, range: Range<usize>, with: &str| found.push(self.mutant(at, what, range, with));
        let whole = self.whole(at, &entry);
        add(format!("delete `{said}`"), whole.clone(), "");
        add(format!("double `{said}`"), whole.clone(), &self.text[whole.clone()].repeat(2));
        if let Some(key) = &part.key {
            let name = &self.text[key.clone()];
            let sibling = self.siblings(at).filter_map(|it| it.key.clone()).next();
            for other in [format!("{name}x"), "banana".to_owned()] {
                add(format!("rename `{name}` to `{other}`"), key.clone(), &other);
            }
            if let Some(other) = sibling.map(|it| &self.text[it]) {
                add(format!("rename `{name}` to `{other}`"), key.clone(), other);
            }
        }
        for other in OTHERS {
            if other != value {
                let gap = if self.text[..part.value.start].ends_with('\n') || part.value.is_empty() { " " } else { "" };
                let own = part.is_map && !part.flow || value.starts_with("- ");
                let start = match &part.key {
                    Some(key) if own => key.end + 1,
                    Some(_) | None => part.value.start,
                };
                let gap = if own && part.key.is_some() { " " } else { gap };
                add(format!("`{said}` becomes {other}"), start..part.value.end, &format!("{gap}{other}"));
            }
        }
        if part.parent.is_some_and(|it| !self.parts[it].flow)
            && self.line(&entry).trim_start() == self.line(&entry)[self.indent(&entry)..].trim_start()
        {
            let lines = self.lines(&entry);
            let piece = &self.text[lines.clone()];
            for (more, by) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
                let moved = |line: &str| match more {
                    true => format!("{}{line}", " ".repeat(by)),
                    false => line.strip_prefix(&" ".repeat(by)).unwrap_or(line).to_owned(),
                };
                let all: String = piece.split_inclusive('\n').map(moved).collect();
                let (first, rest) = piece.split_at(piece.find('\n').map_or(piece.len(), |it| it + 1));
                let way = if more { "in" } else { "out" };
                add(format!("move `{said}` {way} by {by}"), lines.clone(), &all);
                if !rest.is_empty() {
                    add(format!("move the line `{said}` {way} by {by}"), lines.clone(), &(moved(first) + rest));
                }
            }
        }
        found.retain(|it| it.text != self.text);
        found
    }

    fn siblings(&self, at: usize) -> impl Iterator<Item = &Part> {
        let parent = self.parts[at].parent;
        self.parts.iter().enumerate().filter(move |(other, it)| *other != at && it.parent == parent).map(|(_, it)| it)
    }

    fn line(&self, entry: &Range<usize>) -> &str {
        let start = self.text[..entry.start].rfind('\n').map_or(0, |it| it + 1);
        self.text[start..].lines().next().unwrap_or_default()
    }

    fn indent(&self, entry: &Range<usize>) -> usize {
        let line = self.line(entry);
        line.len() - line.trim_start().len()
    }

    /// The lines on which it stands.
    fn lines(&self, entry: &Range<usize>) -> Range<usize> {
        let start = self.text[..entry.start].rfind('\n').map_or(0, |it| it + 1);
        start..self.text[entry.end..].find('\n').map_or(self.text.len(), |it| entry.end + it + 1)
    }

    /// What has to go when it goes: its lines, or itself and a comma.
    fn whole(&self, at: usize, entry: &Range<usize>) -> Range<usize> {
        let parent = self.parts[at].parent.map(|it| &self.parts[it]);
        if parent.is_some_and(|it| it.flow) {
            let rest = &self.text[entry.end..];
            let comma = rest.starts_with(',').then(|| 1 + rest[1..].len() - rest[1..].trim_start().len());
            return entry.start..entry.end + comma.unwrap_or(0);
        }
        let lines = self.lines(entry);
        let before = self.text[lines.start..entry.start].trim();
        let shares_its_line = before == "-" && parent.is_some_and(|it| it.is_map);
        if !shares_its_line {
            return lines;
        }
        // The first field behind a dash: the next one takes its place.
        let next =
            self.siblings(at).filter_map(|it| it.key.as_ref()).map(|it| it.start).filter(|it| *it > entry.start).min();
        entry.start..next.unwrap_or(entry.end)
    }

    fn mutant(&self, at: usize, what: String, range: Range<usize>, with: &str) -> Mutant {
        let text = format!("{}{with}{}", &self.text[..range.start], &self.text[range.end..]);
        let line = |byte: usize| text[..byte.min(text.len())].matches('\n').count() + 1;
        let moved = |byte: usize| if byte < range.end { byte } else { byte + with.len() - range.len() };
        let lines = if with.is_empty() {
            line(range.start).saturating_sub(1)..line(range.start) + 1
        } else {
            line(range.start)..line(range.start + with.trim_end().len()) + 1
        };
        let part = &self.parts[at];
        let mut around: BTreeSet<usize> = BTreeSet::new();
        // A list says nothing by itself: what it stands in does.
        let mut outer = part.parent;
        while let Some(it) = outer {
            let parent = &self.parts[it];
            around.extend(parent.key.iter().map(|it| line(moved(it.start))));
            around.insert(line(moved(parent.value.start)));
            outer = if parent.key.is_some() { None } else { parent.parent };
        }
        let siblings = self.siblings(at).map(|it| it.key.as_ref().unwrap_or(&it.value).start);
        around.extend(siblings.map(|it| line(moved(it))));
        let own = part.key.iter().map(|it| &self.text[it.clone()]);
        // Names that stood in it: what refers to them has lost them.
        let inner = self.parts.iter().filter(|it| range.start <= it.value.start && it.value.end <= range.end);
        let inner = inner.flat_map(|it| it.key.iter().chain([&it.value])).map(|it| &self.text[it.clone()]);
        let names = own.chain(inner).chain([with]).map(|it| it.trim().trim_matches('"').to_owned());
        let names = names.filter(|it| !it.is_empty() && it.len() < 60 && !it.contains('\n')).collect();
        Mutant { text, what, lines, around, names }
    }
}
