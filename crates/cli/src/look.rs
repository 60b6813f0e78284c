//! How text looks: colours where they help, columns that line up, lines that end before the screen does.
//!
//! Nothing is said by colour alone. Text from outside is stripped of control characters here, so that what a probed
//! server answers can't drive the terminal of whoever looks at it.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Where nobody says how wide it is.
const WIDTH: usize = 80;
/// A last column that is left less room than this goes on a line of its own.
const NARROW: usize = 24;
const GAP: &str = "  ";
/// How much of a long answer is written at once.
const PIECE: usize = 64 << 10;

/// What the reader's side can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) colour: bool,
    /// In characters.
    pub(crate) width: usize,
    /// Of the terminal, in lines; `None` where output does not go to one.
    pub(crate) height: Option<usize>,
}

/// What a piece of text is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Look {
    /// Of standard output. Colours only on a terminal, and never against `NO_COLOR`.
    pub(crate) fn of_stdout() -> Look {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Look { colour: false, width: WIDTH, height: None };
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|it| it == "dumb");
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let width = size.map_or(WIDTH, |it| usize::from(it.ws_col)).clamp(40, 160);
        let height = size.map_or(24, |it| usize::from(it.ws_row)).max(4);
        Look { colour: !set("NO_COLOR") && !dumb, width, height: Some(height) }
    }

    /// Whether standard error may be coloured.
    pub(crate) fn of_stderr_colour() -> bool {
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
    }

    /// For files and tests.
    #[cfg(test)]
    pub(crate) const PLAIN: Look = Look { colour: false, width: WIDTH, height: None };

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31;1",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes data for whoever reads standard output.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Writes texts one after the other.
pub(crate) fn say_each(mut texts: impl Iterator<Item = String>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(PIECE, io::stdout().lock());
    let written = texts.try_for_each(|it| out.write_all(it.as_bytes()));
    written.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Writes a value as JSON.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    // Piece by piece: the proof of a large plan is hundreds of megabytes.
    let mut out = BufWriter::with_capacity(PIECE, io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from);
    written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Text without anything that would move a cursor.
pub(crate) fn clean(text: &str) -> String {
    let one_line = text.replace(['\n', '\t'], " ");
    one_line.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}

/// Words on lines of at most `width`; a longer word stays whole.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in clean(text).split(' ').filter(|it| !it.is_empty()) {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `label` in a column of `column` characters, then `text` wrapped beside it.
pub(crate) fn labelled(look: Look, indent: usize, column: usize, label: &str, text: &str) -> String {
    let left = indent + column + GAP.len();
    let lines = wrap(text, look.width.saturating_sub(left).max(NARROW));
    let mut out = format!("{:indent$}{}", "", look.paint(Tone::Dim, &format!("{label:column$}")));
    out.push_str(GAP);
    out.push_str(&lines.join(&format!("\n{:left$}", "")));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Columns that line up. The last one is wrapped; what does not fit beside the others goes below.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<(Tone, String)>,
    /// Whole lines that belong to the row, line breaks included.
    below: String,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        let cells = header.iter().map(|it| (Tone::Dim, (*it).to_owned())).collect();
        Table { rows: vec![Row { cells, below: String::new() }] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [(Tone, String); N], below: String) {
        let cells = cells.into_iter().map(|(tone, text)| (tone, clean(&text))).collect();
        self.rows.push(Row { cells, below });
    }

    pub(crate) fn render(&self, look: Look, indent: usize) -> String {
        let columns = self.rows.first().map_or(0, |it| it.cells.len());
        let fixed = columns.saturating_sub(1);
        let width = |at: usize| self.rows.iter().map(|it| it.cells[at].1.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..fixed).map(width).collect();
        let left = indent + widths.iter().map(|it| it + GAP.len()).sum::<usize>();
        let room = look.width.saturating_sub(left);
        let mut out = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            let mut line = " ".repeat(indent);
            for ((tone, text), width) in row.cells.iter().zip(&widths) {
                line.push_str(&look.paint(*tone, text));
                line.push_str(&" ".repeat(width - text.chars().count()));
                line.push_str(GAP);
            }
            if let Some((tone, text)) = row.cells.last() {
                let below = room < NARROW && at > 0 && text.chars().count() > room;
                let (hang, room) = if below { (indent + 4, look.width - indent - 4) } else { (left, room.max(NARROW)) };
                if below {
                    line.truncate(line.trim_end().len());
                    line.push_str(&format!("\n{:hang$}", ""));
                }
                let lines: Vec<String> = wrap(text, room).iter().map(|it| look.paint(*tone, it)).collect();
                line.push_str(&lines.join(&format!("\n{:hang$}", "")));
            }
            out.push_str(line.trim_end());
            out.push('\n');
            out.push_str(&row.below);
        }
        out
    }
}

/// An amount of data in about three digits.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{} kB", count.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_one_wraps() {
        let mut table = Table::new(&["NAME", "WHY"]);
        table.row([(Tone::Bad, "a-name".to_owned()), (Tone::Plain, "word ".repeat(20))], "    below\n".to_owned());
        let text = table.render(Look { width: 40, ..Look::PLAIN }, 0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME    WHY");
        assert!(lines[1].starts_with("a-name  word word") && lines[2].starts_with("        word"), "{text}");
        assert!(lines.iter().all(|it| it.len() <= 40), "{text}");
        assert_eq!(lines.last(), Some(&"    below"));
    }

    #[test]
    fn a_name_that_fills_the_line_pushes_the_rest_below() {
        let mut table = Table::new(&["NAME", "WHY"]);
        table.row([(Tone::Plain, "n".repeat(63)), (Tone::Plain, "word ".repeat(20))], String::new());
        let text = table.render(Look::PLAIN, 0);
        assert!(text.lines().all(|it| it.len() <= 80), "{text}");
    }

    #[test]
    fn what_others_say_moves_no_cursor() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb c");
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let colour = Look { colour: true, ..Look::PLAIN };
        assert_eq!(colour.paint(Tone::Bad, "down"), "\x1b[31;1mdown\x1b[0m");
        assert_eq!(Look::PLAIN.paint(Tone::Bad, "down"), "down");
    }
}
