//! What is no YAML, in words that help: where the mistake is, rather than where reading stopped.

use saphyr_parser::ScanError;

use super::tree::{self, Node, Places};
use crate::finding::{Code, Finding, Span};

const QUOTE: &str =
    "quote text that holds `: ` or ` #` or begins with one of `{ [ & * ! | > % @`; close what was opened before";

/// What the parser could not read, the commonest causes first. `open` are the bytes at which the lists and mappings begin
/// that were not finished, from the outermost.
pub(super) fn syntax(places: &Places<'_>, error: &ScanError, open: &[usize]) -> Finding {
    let at = places.byte(error.marker().index());
    let here = places.span(at, at);
    let info = error.info();
    // The parser gives up on brackets in brackets before their levels are counted.
    if info.contains("recursion limit") {
        return tree::too_deep(stopped(places, at)).label("reading stopped here");
    }
    if let Some(finding) = tab(places, here).or_else(|| quote(places, at, info)) {
        return finding;
    }
    if let Some(start) = open.iter().find_map(|it| unclosed(places.text(), *it)) {
        let bracket = &places.text()[start..=start];
        let close = if bracket == "{" { "}" } else { "]" };
        let finding =
            Finding::new(Code::Syntax, places.span(start, start + 1), format!("this `{bracket}` is not closed"))
                .label("opened here")
                .help(format!("write `{close}` where it ends"));
        return if stopped(places, at).line == places.span(start, start).line {
            finding
        } else {
            finding.other(stopped(places, at), "reading stopped here")
        };
    }
    if info.contains("mapping values are not allowed")
        && let Some(finding) = colon(places, here)
    {
        return finding;
    }
    let (line, start) = places.line(here.line as usize);
    let indent = line.len() - line.trim_start().len();
    if info.contains("indent") || info.contains("block mapping") || info.contains("block collection") {
        let whole = places.span((start + indent).min(start + line.len()), start + line.len());
        let finding = Finding::new(Code::Indentation, whole, "this line's indentation fits no level")
            .label(format!("{indent} spaces before this"))
            .help("indent it exactly as its neighbours of the same level");
        return match neighbour(places, here.line as usize, indent) {
            Some(at) => finding.other(at, format!("{} spaces before this", at.column - 1)),
            None => finding,
        };
    }
    Finding::new(Code::Syntax, stopped(places, at), format!("not YAML: {info}"))
        .label("reading stopped here")
        .help(QUOTE)
}

/// The rest of the line at byte `at`; all of the line, where that is nothing.
fn stopped(places: &Places<'_>, at: usize) -> Span {
    let (line, start) = places.line(places.span(at, at).line as usize);
    let end = start + line.len();
    let first = start + (line.len() - line.trim_start().len());
    if at >= start && at < end { places.span(at, end) } else { places.span(first.min(end), end) }
}

fn tab(places: &Places<'_>, here: Span) -> Option<Finding> {
    [here.line, here.line - 1].into_iter().filter(|it| *it > 0).find_map(|number| {
        let (line, start) = places.line(number as usize);
        let indent = line.len() - line.trim_start().len();
        let tab = line[..indent].find('\t')?;
        let tabs = line[tab..indent].chars().take_while(|it| *it == '\t').count();
        let mut span = places.span(start + tab, start + tab);
        span.end = span.start + u32::try_from(tabs).unwrap_or(0);
        let finding = Finding::new(Code::Tab, span, "a tab in the indentation")
            .label(if tabs == 1 { "this is a tab" } else { "these are tabs" })
            .help("indent with spaces; most editors have a setting for YAML files");
        Some(finding)
    })
}

/// A quote that is never closed, or by the one that was to open the next text.
fn quote(places: &Places<'_>, at: usize, info: &str) -> Option<Finding> {
    let text = places.text();
    let at = if info.contains("quoted scalar, found unexpected") || info.contains("in quoted scalar") {
        at
    } else if info.contains("trailing content") {
        // What ended just before was to begin here, if the one that it ended began on another line.
        let end = text[..at].rfind(['"', '\''])?;
        text[..end].rfind(&text[end..=end]).filter(|it| text[*it..end].contains('\n'))?
    } else {
        return None;
    };
    let quote = text[at..].chars().next().filter(|it| matches!(it, '"' | '\''))?;
    let finding = Finding::new(Code::Syntax, places.span(at, at + 1), "this quote is not closed")
        .label("opened here")
        .help(format!("write `{quote}` where the text ends"));
    Some(finding)
}

/// The line above whose level was probably meant: the least indented of those that are further in than line `number`, or
/// the one before it. One of the two lines is not where it belongs.
fn neighbour(places: &Places<'_>, number: usize, indent: usize) -> Option<Span> {
    let says_something = |(line, _): &(&str, usize)| !matches!(line.trim_start().chars().next(), None | Some('#'));
    let above = (1..number).rev().map(|it| places.line(it)).filter(says_something);
    let span = |(line, start): (&str, usize)| {
        let first = start + (line.len() - line.trim_start().len());
        places.span(first, start + line.len())
    };
    let further_in = above.clone().map(span).take_while(|it| it.column as usize - 1 > indent);
    further_in.min_by_key(|it| it.column).or_else(|| above.map(span).next())
}

/// `type:database`, which is one word to YAML.
fn colon(places: &Places<'_>, here: Span) -> Option<Finding> {
    let (line, start) =
        (1..here.line as usize).rev().map(|it| places.line(it)).find(|(line, _)| !line.trim().is_empty())?;
    let text = line.trim_start().trim_start_matches("- ").trim_end();
    let (key, value) = text.split_once(':')?;
    if key.is_empty() || value.is_empty() || text.contains(": ") || key.contains(['"', '\'', ' ', '#']) {
        return None;
    }
    let from = start + (line.trim_end().len() - text.len());
    let finding =
        Finding::new(Code::Syntax, places.span(from, from + text.len()), "a blank is missing behind the colon")
            .label("one word to YAML")
            .help(format!("write `{key}: {}`", value.trim_start()));
    Some(finding)
}

/// The bracket that has no counterpart, if there is one between that at byte `start` and where it is closed. Quoted text
/// is passed over.
fn unclosed(text: &str, start: usize) -> Option<usize> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut before = ' ';
    let mut chars = text[start..].char_indices();
    while let Some((at, it)) = chars.next() {
        match it {
            '{' => open.push(('}', start + at)),
            '[' => open.push((']', start + at)),
            '}' | ']' => {
                let (close, begin) = open.pop()?;
                if close != it {
                    return Some(begin);
                }
            }
            '"' | '\'' if matches!(before, ' ' | '{' | '[' | ',') => {
                // One that is not closed is another mistake.
                while chars.next().is_some_and(|(_, inner)| inner != it) {}
            }
            '#' if matches!(before, ' ' | '\n') => while chars.next().is_some_and(|(_, inner)| inner != '\n') {},
            _ => {}
        }
        if open.is_empty() {
            return None;
        }
        before = it;
    }
    open.last().map(|(_, begin)| *begin)
}

/// The sections before the one in which reading stopped, as a plan with gaps.
pub(super) fn before(text: &str, findings: &mut Vec<Finding>) -> Option<Node> {
    let stops =
        |it: &&Finding| matches!(it.code, Code::Syntax | Code::Tab | Code::Indentation | Code::Limit | Code::Documents);
    let at = findings.iter().filter(stops).map(|it| it.span.range().start).min()?;
    let begins = |line: &str| {
        line.starts_with("---")
            || line.starts_with(|it: char| !it.is_whitespace() && !matches!(it, '#' | '-' | '}' | ']'))
    };
    let mut end = 0;
    let mut cut = 0;
    for line in text.split_inclusive('\n') {
        if end > at {
            break;
        }
        if begins(line) {
            cut = end;
        }
        end += line.len();
    }
    let mut found = Vec::new();
    let root = tree::parse(&text[..cut], 0, &mut found)?;
    findings.append(&mut found);
    Some(root)
}
