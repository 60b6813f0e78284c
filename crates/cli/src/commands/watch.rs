//! `mainstay watch`: the status, as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mainstay_api::Status;

use super::Cx;
use crate::client::runtime;
use crate::clock;
use crate::exit::{Answer, Code, Failure};
use crate::look::{labelled, say};
use crate::view::status;

/// Show the status as it changes
///
/// On a terminal the status is drawn again and again in place. Elsewhere each change is one line, and nothing else is
/// printed. An agent that is restarted meanwhile is waited for. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay watch
  mainstay watch --interval 200ms
  mainstay watch | tee outage.log")]
pub(crate) struct Watch {
    /// How often to look
    #[arg(long, default_value = "1s", value_parser = clock::parse)]
    interval: Duration,
}

impl Watch {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        runtime()?.block_on(self.follow(cx))
    }

    async fn follow(self, cx: &Cx) -> Result<Answer, Failure> {
        let client = cx.client();
        let mut screen = Screen { cx, before: BTreeMap::new(), last: None, gone_since: None };
        let ctrl_c = tokio::signal::ctrl_c();
        tokio::pin!(ctrl_c);
        loop {
            let answer = tokio::select! {
                answer = client.ask_status() => answer,
                _ = &mut ctrl_c => break,
            };
            screen.show(answer)?;
            tokio::select! {
                () = tokio::time::sleep(self.interval.max(Duration::from_millis(10))) => {}
                _ = &mut ctrl_c => break,
            }
        }
        if cx.look.height.is_some() {
            say("\n")?;
        }
        Ok(Answer::Yes)
    }
}

struct Screen<'a> {
    cx: &'a Cx,
    /// What was said last of each thing.
    before: BTreeMap<String, String>,
    last: Option<Status>,
    gone_since: Option<Timestamp>,
}

impl Screen<'_> {
    fn show(&mut self, answer: Result<Status, Failure>) -> Result<(), Failure> {
        let gone = match answer {
            Ok(status) => {
                self.gone_since = None;
                self.last = Some(status);
                None
            }
            // The command line is wrong, and will not become right by waiting.
            Err(failure) if failure.code == Code::Usage => return Err(failure),
            Err(failure) => Some((*self.gone_since.get_or_insert_with(Timestamp::now), failure)),
        };
        match self.cx.look.height {
            Some(height) => self.redraw(height, gone),
            None => self.changes(gone),
        }
    }

    fn redraw(&self, height: usize, gone: Option<(Timestamp, Failure)>) -> Result<(), Failure> {
        let mut text = String::new();
        if let Some((since, failure)) = gone {
            text.push_str(&format!("the agent can't be reached since {}\n", shown(since)));
            text.push_str(&labelled(self.cx.look, 2, 8, "why", &failure.message));
            text.push_str(&labelled(
                self.cx.look,
                2,
                8,
                "help",
                failure.help.as_deref().unwrap_or("wait, or ask again"),
            ));
            if self.last.is_some() {
                text.push_str("\nbefore that:\n");
            }
        }
        if let Some(last) = &self.last {
            text.push_str(&status::overview(last, self.cx.look));
        }
        say(&frame(&text, height))
    }

    fn changes(&mut self, gone: Option<(Timestamp, Failure)>) -> Result<(), Failure> {
        let mut now: Vec<(String, String)> = Vec::new();
        match (&gone, &self.last) {
            (Some((_, failure)), _) => now.push(("agent".to_owned(), format!("can't be reached: {}", failure.message))),
            (None, Some(last)) => {
                now.push(("agent".to_owned(), format!("runs as process {}", last.agent.pid)));
                now.extend(status::facts(last));
            }
            (None, None) => {}
        }
        let at = shown(Timestamp::now());
        let mut out = String::new();
        for (name, fact) in now {
            if self.before.get(&name) != Some(&fact) {
                out.push_str(&format!("{at} {name}: {fact}\n"));
                self.before.insert(name, fact);
            }
        }
        if out.is_empty() { Ok(()) } else { say(&out) }
    }
}

fn shown(at: Timestamp) -> String {
    clock::utc(u64::try_from(at.as_nanosecond()).unwrap_or(0))
}

/// Draws over what was there, line by line: clearing the whole screen first would flicker. A line that is too long is cut
/// (`?7l`) and not wrapped, which would scroll; lines that do not fit are counted.
fn frame(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.saturating_sub(2).max(1);
    let mut out = "\x1b[?7l\x1b[H".to_owned();
    for line in lines.iter().take(room) {
        out.push_str(line);
        out.push_str("\x1b[K\n");
    }
    if lines.len() > room {
        out.push_str(&format!("… {} more lines\x1b[K\n", lines.len() - room));
    }
    out.push_str("\x1b[J\x1b[?7h");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_scrolls() {
        let text = "line\n".repeat(100);
        let drawn = frame(&text, 10);
        assert_eq!(drawn.matches('\n').count(), 9);
        assert!(drawn.contains("… 92 more lines"), "{drawn:?}");
    }
}
