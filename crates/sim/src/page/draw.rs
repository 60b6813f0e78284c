//! A picture that is being drawn: SVG elements in the page's own classes, in units of which [`super::WIDTH`] fill a line.

use mainstay_plan::picture::lettering::{clipped, escaped, text_width};

use super::WIDTH;

/// A picture.
pub(crate) struct Drawing {
    out: String,
    height: f64,
}

/// Where a text begins, has its middle, or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Drawing {
    /// Empty, with what whoever can't see it is told.
    pub(crate) fn new(title: &str) -> Drawing {
        Drawing { out: format!("<title>{}</title>\n", escaped(title)), height: 0.0 }
    }

    /// It is at least so high.
    pub(crate) fn reach(&mut self, y: f64) {
        self.height = self.height.max(y);
    }

    pub(crate) fn finish(self) -> String {
        let height = self.height + 2.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n{}</svg>\n",
            self.out
        )
    }

    /// A box, with what it says when pointed at.
    pub(crate) fn rect(&mut self, class: &str, (x, y): (f64, f64), (w, h): (f64, f64), tip: &str) {
        self.reach(y + h);
        let inside = if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(tip)) };
        self.out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{h:.1}\">{inside}</rect>\n",
            w.max(0.0)
        ));
    }

    pub(crate) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.reach(y1.max(y2));
        self.out.push_str(&format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ));
    }

    /// A dot.
    pub(crate) fn dot(&mut self, class: &str, (x, y): (f64, f64), r: f64, tip: &str) {
        self.reach(y + r);
        self.out.push_str(&format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r:.1}\"><title>{}</title></circle>\n",
            escaped(tip)
        ));
    }

    /// A text on its base line, cut to `room`.
    pub(crate) fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str, room: f64) {
        self.reach(y + 4.0);
        let word = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (size, bold) = look(class);
        let shown = clipped(text, room as i32, size, bold);
        self.out.push_str(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{word}\">{}</text>\n",
            escaped(&shown)
        ));
    }

    /// Signs and what they mean, from left to right and then on the next line.
    pub(crate) fn legend(&mut self, y: f64, signs: &[(&str, &str)]) {
        let (mut x, mut y) = (0.0, y);
        for (class, text) in signs {
            let w = 26.0 + width(text, "d") + 16.0;
            if x + w > WIDTH {
                (x, y) = (0.0, y + 18.0);
            }
            match *class {
                "mark" | "bound" | "tick" => self.line(class, (x + 8.0, y - 1.0), (x + 8.0, y + 11.0)),
                _ => self.rect(class, (x, y), (18.0, 10.0), ""),
            }
            self.text("d", (x + 24.0, y + 9.0), Anchor::Start, text, WIDTH);
            x += w;
        }
        self.reach(y + 14.0);
    }
}

/// Size and weight of a class, as the style sheet has it.
fn look(class: &str) -> (i32, bool) {
    let small = ["d", "s", "m", "on"].iter().any(|it| class.split(' ').any(|word| word == *it));
    (if small { 11 } else { 12 }, class.split(' ').any(|word| word == "b"))
}

/// The class of a text inside a box of that class, so that one can read it.
pub(crate) fn inside(class: &str) -> &'static str {
    if ["detect", "decide", "held", "turn", "earlier"].contains(&class) { "on dark" } else { "on" }
}

/// How wide a text gets, about.
pub(crate) fn width(text: &str, class: &str) -> f64 {
    let (size, bold) = look(class);
    f64::from(text_width(text, size, bold))
}
