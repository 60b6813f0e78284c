//! Drawing findings for people: the place in the file, what is the matter with it, why it matters and what to change.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use crate::config::SourceFile;
use crate::finding::{Finding, Severity, Span};

/// Lines between two places of one finding beyond which they are drawn apart.
const APART: u32 = 30;

/// The most bytes of a file that are drawn around a finding: nobody reads longer lines, and there may be as many findings in
/// one as it has words.
const LONGEST: usize = 16 << 10;

/// Draws findings about a plan in `files`, with terminal colours or without, each ending in an empty line.
pub fn render(files: &[SourceFile], findings: &[Finding], colour: bool) -> String {
    drawn(files, findings, colour).collect()
}

/// The same one by one: those of a large plan are many megabytes.
pub fn drawn<'a>(files: &'a [SourceFile], findings: &'a [Finding], colour: bool) -> impl Iterator<Item = String> + 'a {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let files: Vec<Drawn<'_>> = files.iter().map(Drawn::new).collect();
    findings.iter().map(move |finding| {
        let mut out = renderer.render(&[group(&files, finding)]);
        out.push_str("\n\n");
        out
    })
}

/// A file and where its lines begin.
struct Drawn<'a> {
    name: &'a str,
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Drawn<'a> {
    fn new(file: &'a SourceFile) -> Drawn<'a> {
        let lines = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Drawn { name: &file.name, text: &file.text, lines }
    }
}

fn group<'a>(files: &[Drawn<'a>], finding: &'a Finding) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let same = |span: &Span| span.file == finding.span.file;
    let near = |span: &Span| same(span) && span.line.abs_diff(finding.span.line) <= APART;
    let first = finding.others.iter().filter(|it| near(&it.span)).map(|it| (it.span, it.text.as_str()));
    let mut shown: Vec<(Span, &str)> = first.collect();
    shown.push((finding.span, finding.label.as_str()));
    let title = level.primary_title(finding.message.as_str()).id(finding.code.text());
    let mut elements = vec![snippet(files, finding, &shown)];
    for other in finding.others.iter().filter(|it| !near(&it.span)) {
        elements.push(snippet(files, finding, &[(other.span, &other.text)]));
    }
    let mut elements = elements.into_iter().flatten();
    let mut group = match elements.next() {
        Some(first) => title.element(first),
        None => {
            let file = files.get(usize::from(finding.span.file)).map_or("", |it| it.name);
            let origin = Origin::path(file).line(finding.span.line as usize).char_column(finding.span.column as usize);
            title.element(origin).element(Level::NOTE.message(normalize_untrusted_str(&finding.label)))
        }
    };
    for element in elements {
        group = group.element(element);
    }
    group = group.element(Level::NOTE.message(normalize_untrusted_str(&finding.reason)));
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    group
}

/// A piece of the file that shows all of `shown`, unless it is too long. Only the lines around are handed over: drawing a finding must not cost
/// more in a large file than in a small one.
fn snippet<'a>(
    files: &[Drawn<'a>],
    finding: &Finding,
    shown: &[(Span, &'a str)],
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let file = files.get(usize::from(shown.first()?.0.file))?;
    let from = shown.iter().map(|(span, _)| span.line).min().unwrap_or(1).max(1);
    let last = shown.iter().map(|(span, _)| span.range().end).max().unwrap_or(0);
    let start = file.lines.get(from as usize - 1).copied().unwrap_or(0);
    let end =
        file.lines.get(file.lines.partition_point(|it| *it <= last)).copied().unwrap_or(file.text.len()).max(start);
    if end - start > LONGEST {
        return None;
    }
    let mut snippet = Snippet::source(&file.text[start..end]).path(file.name).line_start(from as usize);
    for (span, label) in shown {
        let kind = if *span == finding.span { AnnotationKind::Primary } else { AnnotationKind::Context };
        let label = if label.is_empty() { None } else { Some(*label) };
        snippet = snippet.annotation(kind.span(visible(span, file.text, start)).label(label));
    }
    Some(snippet)
}

/// The first line of a span, relative to `start`: what goes on over many lines is shown by its beginning.
fn visible(span: &Span, text: &str, start: usize) -> Range<usize> {
    let piece = &text[span.range()];
    let length = piece.find('\n').unwrap_or(piece.len());
    span.range().start - start..span.range().start + length - start
}
