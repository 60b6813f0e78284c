//! The file: its head, its lines, and comparing it with what came out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_plan::Plan;

use crate::line::{self, Line};

/// A timeline as it stands in its file.
pub(crate) struct Script {
    /// The first sentence.
    pub(crate) title: String,
    /// The plan, compiled.
    pub(crate) plan: Plan,
    /// Whether what happens before zero is shown, too.
    pub(crate) from_the_start: bool,
    /// Every line that is not output, in order.
    pub(crate) parts: Vec<Part>,
}

/// One line.
pub(crate) struct Part {
    /// Where it stands in the file, for messages.
    pub(crate) number: usize,
    /// As it is written.
    pub(crate) text: String,
    /// When, and what; `None` for everything that is only for people.
    pub(crate) line: Option<(Duration, Line)>,
}

/// Something that came out: after which part of the script, when, and what.
pub(crate) struct Output {
    /// The part; the first one that is a line is not played yet: `None`.
    pub(crate) after: Option<usize>,
    /// When, in words.
    pub(crate) at: String,
    /// What.
    pub(crate) text: String,
}

#[derive(Default)]
struct Head {
    title: Option<String>,
    plan: Option<String>,
    changes: Vec<(String, String)>,
    from_the_start: bool,
}

impl Script {
    /// Reads a timeline. Lines that begin with `>` are what came out the last time, and are left out.
    pub(crate) fn parse(text: &str) -> Result<Script, String> {
        let mut head = Head::default();
        let mut parts = Vec::new();
        let mut before = Duration::ZERO;
        for (number, text) in (1..).zip(text.lines()).filter(|it| !it.1.starts_with('>')) {
            let at_line = |why: String| format!("line {number}: {why}\n    {text}");
            let timed = text.trim_start().starts_with(|first: char| first.is_ascii_digit());
            let line = if timed {
                let (at, line) = line::parse(text.trim()).map_err(at_line)?;
                if at < before {
                    return Err(at_line("time goes back".to_owned()));
                }
                before = at;
                Some((at, line))
            } else {
                head.take(text).map_err(at_line)?;
                None
            };
            parts.push(Part { number, text: text.to_owned(), line });
        }
        if !parts.iter().rev().find_map(|it| it.line.as_ref()).is_some_and(|it| matches!(it.1, Line::End)) {
            return Err("it has no end: the last line is like `20s the end`".to_owned());
        }
        let title = head.title.ok_or("it has no title: the first line is a sentence that says what must hold")?;
        let name = head.plan.ok_or("it has no plan: a line `plan: NAME` names a file in plans/")?;
        let plan = plan_named(&name, &head.changes)?;
        Ok(Script { title, plan, from_the_start: head.from_the_start, parts })
    }

    /// The file with what came out.
    pub(crate) fn with(&self, outputs: &[Output]) -> String {
        let first = self.parts.iter().position(|it| it.line.is_some()).unwrap_or(0);
        let mut out = String::new();
        for (nth, part) in self.parts.iter().enumerate() {
            if nth == first {
                push(&mut out, outputs.iter().filter(|it| it.after.is_none()));
            }
            out.push_str(part.text.trim_end());
            out.push('\n');
            push(&mut out, outputs.iter().filter(|it| it.after == Some(nth)));
        }
        out
    }
}

/// A time is written once for all that happens at it.
fn push<'a>(out: &mut String, outputs: impl Iterator<Item = &'a Output>) {
    let mut shown = "";
    for output in outputs {
        let at = if shown == output.at { "" } else { output.at.as_str() };
        let text = output.text.replace('\n', "\n>             ");
        out.push_str(&format!("> {at:>9}  {text}\n"));
        shown = &output.at;
    }
}

impl Head {
    fn take(&mut self, text: &str) -> Result<(), String> {
        if text.trim().is_empty() || text.starts_with('#') {
            return Ok(());
        }
        if self.title.is_none() {
            self.title = Some(text.trim().to_owned());
        } else if let Some(name) = text.strip_prefix("plan: ") {
            self.plan = Some(name.trim().to_owned());
        } else if let Some(change) = text.strip_prefix("change: ") {
            let (was, is) =
                change.split_once(" => ").ok_or("a change is like `change: cool_down: 10s => cool_down: 1h`")?;
            self.changes.push((was.to_owned(), is.replace("\\n", "\n")));
        } else if text.trim() == "shown from the start" {
            self.from_the_start = true;
        } else if self.plan.is_some() {
            return Err("what is only for people begins with `#` from here on".to_owned());
        }
        Ok(())
    }
}

/// The plan of that name, with the changes made to its text.
pub(crate) fn plan_named(name: &str, changes: &[(String, String)]) -> Result<Plan, String> {
    let path = folder().join("plans").join(format!("{name}.yaml"));
    let mut text = read(&path);
    for (was, is) in changes {
        if !text.contains(was.as_str()) {
            return Err(format!("plan `{name}` has no `{was}` to change"));
        }
        text = text.replace(was.as_str(), is);
    }
    compile(&text, "/").map_err(|findings| format!("plan `{name}` is not sound:\n{findings}"))
}

/// A plan's text as a plan, or what is wrong with it.
pub(crate) fn compile(text: &str, base_dir: &str) -> Result<Plan, String> {
    let compiled = mainstay_plan::config::compile("plan.yaml", text, Path::new(base_dir));
    compiled.plan.ok_or_else(|| mainstay_plan::render(&compiled.files, &compiled.findings, false))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timelines")
}

/// All timelines, by name.
#[expect(clippy::disallowed_methods, reason = "a test that reads its cases; the engine has no part in it")]
pub(crate) fn scripts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "txt") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[expect(clippy::disallowed_methods, reason = "a test that reads its cases; the engine has no part in it")]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Compares with the file, or writes it.
#[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
pub(crate) fn compare(path: &Path, text: &str, now: &str, wrong: &mut Vec<String>) {
    if text == now {
        return;
    }
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, now).unwrap();
    } else {
        wrong.push(format!("{} differs:\n{}", path.display(), difference(text, now)));
    }
}

/// The lines from the first that differs on, of both.
fn difference(then: &str, now: &str) -> String {
    let same = then.lines().zip(now.lines()).take_while(|it| it.0 == it.1).count();
    let few = |text: &str, sign: &str| -> String {
        text.lines().skip(same).take(12).map(|it| format!("  {sign} {it}\n")).collect()
    };
    let before = same.saturating_sub(3);
    let context: String = then.lines().skip(before).take(same - before).map(|it| format!("    {it}\n")).collect();
    format!("{context}{}{}", few(then, "-"), few(now, "+"))
}
