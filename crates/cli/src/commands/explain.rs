//! `mainstay explain`: the page of a finding's code, or why a decision in the journal was taken.

use std::path::Path;

use mainstay_engine::explain::{ExplainError, explain as why};
use mainstay_engine::sentence::Teller;
use mainstay_plan::{Code, Surroundings, compile_in, explain};

use super::Cx;
use super::journal::{broken, encoded, open};
use crate::clock;
use crate::exit::{Answer, Failure, causes};
use crate::look::{say, say_json};
use crate::view::explanation;

/// Explain a finding's code, or a decision in the journal
///
/// Of a code: what it means, why it matters, how to mend it, and an example; without a code, lists them all. Of a decision
/// (`mainstay explain decision 17`, or `r17`): what was known then, which guards were asked and what each said, what was
/// chosen, and what was passed over and why. The journal is replayed up to there; no agent has to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay explain MS0102
  mainstay explain
  mainstay explain decision 17
  mainstay --state ./copy-of-state explain decision r17 --json")]
pub(crate) struct Explain {
    /// The code, as `mainstay check` prints it; or the word `decision`
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// After `decision`: the number of a record in the journal, or of a recovery
    #[arg(value_name = "N")]
    decision: Option<String>,
    /// After `decision`: answer as JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Some(code) = self.code else {
            say(&list(Code::ALL))?;
            return Ok(Answer::Yes);
        };
        if code == "decision" {
            return decision(cx, self.decision.as_deref(), self.json);
        }
        let wanted = normalised(&code);
        let page = explain(&wanted).ok_or_else(|| unknown(&code, &wanted))?;
        say(&format!("{}\n", page.trim_end()))?;
        Ok(Answer::Yes)
    }
}

fn decision(cx: &Cx, number: Option<&str>, json: bool) -> Result<Answer, Failure> {
    let help = "`mainstay journal show` numbers the records; `mainstay explain decision 17`, or `r17` for the recovery";
    let number = number.ok_or_else(|| Failure::usage("which decision?".to_owned()).help(help))?;
    let seq = number.strip_prefix('r').unwrap_or(number).parse();
    let seq = seq.map_err(|_| Failure::usage(format!("`{number}` is no number of a record")).help(help))?;
    let reader = open(cx)?;
    let mut unread = None;
    let records = reader.records(1).map_while(|record| match record {
        Ok(record) => Some((record.seq, encoded(&record))),
        Err(error) => {
            unread = Some(error);
            None
        }
    });
    let compile =
        |text: &str, base: &str| compile_in("the journal's plan", text, Path::new(base), &Surroundings::REPLAY).plan;
    let explained =
        why(records, compile, seq, Teller::new(|at| clock::utc(at.as_nanos()), |it| clock::span(clock::nanos(it))));
    match explained {
        Ok(it) if json => say_json(&it)?,
        Ok(it) => say(&explanation::page(&it, cx.look))?,
        // A record that can't be read is the cause of what follows from it.
        Err(_) if unread.is_some() => {
            return Err(unread.map_or_else(|| Failure::usage(String::new()), |it| broken(&it)));
        }
        Err(error @ ExplainError::NoRecord { .. }) => return Err(Failure::usage(error.to_string()).help(help)),
        Err(ExplainError::Replay(error)) => return Err(Failure::unreachable(causes(&error))),
    }
    Ok(Answer::Yes)
}

/// `102` and `ms102` are `MS0102` typed in haste.
fn normalised(code: &str) -> String {
    let upper = code.trim().to_ascii_uppercase();
    let digits = upper.strip_prefix("MS").unwrap_or(&upper);
    if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) { format!("MS{digits:0>4}") } else { upper }
}

fn unknown(code: &str, wanted: &str) -> Failure {
    let failure = Failure::usage(format!("there is no code `{code}`"));
    let neighbours: Vec<Code> = Code::ALL.iter().copied().filter(|it| wanted.get(..4) == it.text().get(..4)).collect();
    if neighbours.is_empty() {
        failure.help("`mainstay explain` lists all codes")
    } else {
        failure.help(format!("the codes nearby are\n{}", list(&neighbours)))
    }
}

fn list(codes: &[Code]) -> String {
    codes.iter().map(|it| format!("{}  {:<8} {}\n", it.text(), it.severity().word(), it.title())).collect()
}
