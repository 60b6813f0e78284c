//! Where the fields of a plan stand, for findings about a plan that is sound: asked by path, and only when there is
//! something to say.

use std::collections::HashMap;

use super::tree::{Entry, Node, Value};
use crate::finding::Span;

/// The tree of a plan, with its nouns found at once: a plan may have ten thousand of them.
pub(crate) struct Outline<'a> {
    root: &'a Node,
    nouns: HashMap<(&'a str, &'a str), &'a Entry>,
}

impl<'a> Outline<'a> {
    pub(crate) fn of(root: &'a Node) -> Outline<'a> {
        let mut nouns = HashMap::new();
        for section in entries(root) {
            nouns.extend(entries(&section.node).iter().map(|it| ((section.key.as_str(), it.key.as_str()), it)));
        }
        Outline { root, nouns }
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

    fn walk(&self, path: &[&str]) -> (Span, bool) {
        let (mut place, mut node) = (self.root.spot(), self.root);
        for (depth, part) in path.iter().enumerate() {
            let next = match &node.value {
                Value::Map(_) if depth == 1 => self.nouns.get(&(path[0], *part)).map(|it| field(it)),
                Value::Map(fields) => fields.iter().find(|it| it.key == *part).map(field),
                Value::List(items) => part.parse().ok().and_then(|at: usize| items.get(at)).map(|it| (it.spot(), it)),
                Value::Null | Value::Scalar { .. } => None,
            };
            let Some(next) = next else { return (place, false) };
            (place, node) = next;
        }
        (place, true)
    }
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Scalar { .. } | Value::List(_) => &[],
    }
}

fn field(entry: &Entry) -> (Span, &Node) {
    match &entry.node.value {
        Value::Scalar { .. } => (entry.node.span, &entry.node),
        Value::Null | Value::List(_) | Value::Map(_) => (entry.key_span, &entry.node),
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
            (&text[span.start..span.end], outline.says(path))
        };
        assert_eq!(at(&["components", "db", "probes", "0", "http", "fall"]), ("1", true));
        assert_eq!(at(&["components", "db", "probes", "0", "http", "rise"]), ("http", false));
        assert_eq!(at(&["components", "db", "probes", "3", "http"]), ("probes", false));
        assert_eq!(at(&["components", "db", "objectives", "rto"]), ("db", false));
        assert_eq!(at(&["site", "name", "deeper"]), ("x", false));
        assert_eq!(at(&["nothing"]), ("site", false));
    }
}
