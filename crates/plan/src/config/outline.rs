//! Where the fields of a plan stand, for findings about a plan that is sound: asked by path, and only when there is
//! something to say.
//!
//! The tree itself is the largest thing that there is while a plan is compiled, so it does not live that long: what is
//! kept of it is a number for each path and its place.

use std::collections::HashMap;

use super::tree::{Entry, Node, Value};
use crate::finding::Span;

/// The places of a plan's fields, with its nouns found at once: a plan may have ten thousand of them.
pub(crate) struct Outline {
    root: Span,
    /// By the number of a section (a path of one part) or a noun (of two): the places of all paths in it, itself first.
    nouns: HashMap<u64, Box<[Spot]>>,
}

/// The place of a path, without what can be counted in the text.
struct Spot {
    /// The lower half of its number.
    path: u32,
    start: u32,
    end: u32,
    file: u16,
}

impl Spot {
    const fn new(path: u64, place: Span) -> Spot {
        Spot { path: path as u32, start: place.start, end: place.end, file: place.file }
    }

    /// Its line is 0: whoever shows it counts lines and columns.
    const fn span(&self) -> Span {
        Span { start: self.start, end: self.end, line: 0, column: 0, file: self.file }
    }
}

impl Outline {
    pub(crate) fn of(root: &Node) -> Outline {
        let mut outline = Outline { root: root.spot(), nouns: HashMap::new() };
        for section in entries(root) {
            let (path, place, node) = (step(START, &section.key), spot(section), &section.node);
            outline.nouns.insert(path, Box::new([Spot::new(path, place)]));
            match &node.value {
                Value::Map(nouns) => {
                    for noun in nouns {
                        let path = step(path, &noun.key);
                        outline.noun(path, spot(noun), &noun.node);
                    }
                }
                Value::List(nouns) => {
                    for (at, noun) in nouns.iter().enumerate() {
                        let path = step(path, &at.to_string());
                        outline.noun(path, noun.spot(), noun);
                    }
                }
                Value::Null | Value::Scalar { .. } => {}
            }
        }
        outline
    }

    /// The place of the field at the end of a path, for example `["components", "db", "probes", "0", "http", "fall"]`: of
    /// its value where that is a scalar, of its key otherwise. What the file does not say has the place of what it would
    /// stand in.
    pub(crate) fn at(&self, path: &[&str]) -> Span {
        self.walk(path).0
    }

    /// Whether the file says it, so that it is no default.
    pub(crate) fn says(&self, path: &[&str]) -> bool {
        self.walk(path).1
    }

    fn noun(&mut self, path: u64, place: Span, node: &Node) {
        let mut places = vec![Spot::new(path, place)];
        below(path, node, &mut places);
        self.nouns.insert(path, places.into_boxed_slice());
    }

    /// The place of the longest beginning of a path that is there, and whether that is all of it.
    fn walk(&self, path: &[&str]) -> (Span, bool) {
        let mut found = (self.root, path.is_empty());
        let (mut number, mut here): (u64, &[Spot]) = (START, &[]);
        for (depth, part) in path.iter().enumerate() {
            number = step(number, part);
            if depth < 2 {
                here = self.nouns.get(&number).map_or(&[], |it| it);
            }
            let Some(spot) = here.iter().find(|it| it.path == number as u32) else { return found };
            found = (spot.span(), depth + 1 == path.len());
        }
        found
    }
}

fn below(path: u64, node: &Node, places: &mut Vec<Spot>) {
    match &node.value {
        Value::Map(fields) => {
            for field in fields {
                let path = step(path, &field.key);
                places.push(Spot::new(path, spot(field)));
                below(path, &field.node, places);
            }
        }
        Value::List(items) => {
            // A word of a command has no place of its own: nothing is said about it alone.
            for (at, item) in items.iter().enumerate().filter(|(_, it)| it.text().is_none()) {
                let path = step(path, &at.to_string());
                places.push(Spot::new(path, item.spot()));
                below(path, item, places);
            }
        }
        Value::Null | Value::Scalar { .. } => {}
    }
}

/// The number of the empty path.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// The number of a path with one part more: FNV-1a over its bytes. Two paths of one noun whose numbers end alike would be
/// taken for each other, and a label would stand at the wrong one; that takes a noun of tens of thousands of fields.
fn step(path: u64, part: &str) -> u64 {
    let bytes = part.bytes().chain(std::iter::once(0));
    bytes.fold(path, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

fn spot(entry: &Entry) -> Span {
    match &entry.node.value {
        Value::Scalar { .. } => entry.node.span,
        Value::Null | Value::List(_) | Value::Map(_) => entry.key_span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree;

    #[test]
    fn a_path_leads_to_the_field_or_to_what_it_would_stand_in() {
        let text = "site: { name: x }\ncomponents:\n  db:\n    probes:\n      - http: { fall: 1 }\n";
        let mut findings = Vec::new();
        let root = tree::parse(text, 0, &mut findings).expect("it is YAML");
        let outline = Outline::of(&root);
        let at = |path: &[&str]| {
            let span = outline.at(path);
            (&text[span.range()], outline.says(path))
        };
        assert_eq!(at(&["components", "db", "probes", "0", "http", "fall"]), ("1", true));
        assert_eq!(at(&["components", "db", "probes", "0", "http", "rise"]), ("http", false));
        assert_eq!(at(&["components", "db", "probes", "3", "http"]), ("probes", false));
        assert_eq!(at(&["components", "db", "objectives", "rto"]), ("db", false));
        assert_eq!(at(&["site", "name", "deeper"]), ("x", false));
        assert_eq!(at(&["nothing"]), ("site", false));
    }
}
