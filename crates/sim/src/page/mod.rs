//! Reports as one HTML file: text, tables and pictures, with nothing beside it and nothing that runs.
//!
//! It is XML as well as HTML, so that a test can read it. Pictures are inline SVG in the page's own colours; for paper there is a
//! light set of them and a size. The same report gives the same bytes.

mod axis;
mod compare;
mod draw;
mod map;
mod scenario;
mod spread;
mod trials;

use mainstay_plan::picture::lettering::escaped;

pub use trials::Drawn;

use crate::reliability::rates::Assumption;

/// A page that is being written.
pub(crate) struct Page(String);

/// Width of every picture, in its own units; on the screen it fills its column.
pub(crate) const WIDTH: f64 = 820.0;

impl Page {
    /// Begins with a title and what it is about.
    pub(crate) fn new(title: &str, about: &[&str]) -> Page {
        let mut page = Page(format!(
            "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"color-scheme\" \
             content=\"light dark\"/>\n<meta name=\"generator\" content=\"mainstay {}\"/>\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
             </head>\n<body>\n<main>\n<h1>{}</h1>\n",
            env!("CARGO_PKG_VERSION"),
            escaped(title),
            escaped(title),
        ));
        about.iter().for_each(|it| page.paragraph("about", it));
        page
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</main>\n</body>\n</html>\n");
        self.0
    }

    pub(crate) fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
        self.0.push('\n');
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.raw(&format!("<h2>{}</h2>", escaped(text)));
    }

    pub(crate) fn subheading(&mut self, text: &str) {
        self.raw(&format!("<h3>{}</h3>", escaped(text)));
    }

    pub(crate) fn paragraph(&mut self, class: &str, text: &str) {
        self.raw(&format!("<p class=\"{class}\">{}</p>", escaped(text)));
    }

    pub(crate) fn list(&mut self, items: &[String]) {
        if items.is_empty() {
            return;
        }
        let each: String = items.iter().map(|it| format!("<li>{}</li>", escaped(it))).collect();
        self.raw(&format!("<ul>{each}</ul>"));
    }

    /// Numbers that one looks for first: what, how much, and what stands below it.
    pub(crate) fn figures(&mut self, all: &[(String, String, String)]) {
        let one = |(what, value, below): &(String, String, String)| {
            format!(
                "<div class=\"card\"><div class=\"what\">{}</div><div class=\"value\">{}</div><div class=\"below\">{}</div></div>",
                escaped(what),
                escaped(value),
                escaped(below)
            )
        };
        self.raw(&format!("<div class=\"cards\">{}</div>", all.iter().map(one).collect::<String>()));
    }

    /// A picture, with what it shows below it.
    pub(crate) fn figure(&mut self, svg: &str, caption: &str) {
        self.raw(&format!("<figure>\n{svg}<figcaption>{}</figcaption>\n</figure>", escaped(caption)));
    }

    /// A table. Columns whose head begins with a blank hold numbers, and with an equals sign words that are not broken.
    pub(crate) fn table<const N: usize>(&mut self, head: [&str; N], rows: &[[String; N]]) {
        let class = |at: usize| match head[at].chars().next() {
            Some(' ') => " class=\"n\"",
            Some('=') => " class=\"w\"",
            Some(_) | None => "",
        };
        let heads: String = (0..N)
            .map(|at| {
                format!("<th scope=\"col\"{}>{}</th>", class(at), escaped(head[at].trim_start_matches([' ', '='])))
            })
            .collect();
        let cells = |row: &[String; N]| -> String {
            (0..N).map(|at| format!("<td{}>{}</td>", class(at), escaped(&row[at]))).collect()
        };
        let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row))).collect();
        self.raw(&format!(
            "<div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
        ));
    }

    /// What a report rests on, given and assumed apart.
    pub(crate) fn assumptions(&mut self, all: &[Assumption], left_out: &[String]) {
        self.heading("What it rests on");
        let (given, assumed): (Vec<&Assumption>, Vec<&Assumption>) = all.iter().partition(|it| it.given);
        for (title, some) in [
            ("Given", given),
            ("Assumed by default, and no measurement of anything; a file of rates says better", assumed),
        ] {
            if !some.is_empty() {
                self.subheading(title);
                let rows: Vec<[String; 2]> =
                    some.iter().map(|it| [it.what.trim().to_owned(), it.value.clone()]).collect();
                self.table(["what", "value"], &rows);
            }
        }
        if !left_out.is_empty() {
            self.subheading("Not in the model");
            self.list(left_out);
        }
    }
}

const STYLE: &str = include_str!("style.css");
