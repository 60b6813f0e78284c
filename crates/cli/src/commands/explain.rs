//! `mainstay explain`: the page of a finding's code.

use mainstay_plan::{Code, explain};

use crate::exit::{Answer, Failure};
use crate::look::say;

/// Explain a finding's code
///
/// What it means, why it matters, how to mend it, and an example. Without a code, lists them all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay explain MS0102\n  mainstay explain")]
pub(crate) struct Explain {
    /// The code, as `mainstay check` prints it
    code: Option<String>,
}

impl Explain {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let Some(code) = self.code else {
            say(&list(Code::ALL))?;
            return Ok(Answer::Yes);
        };
        let wanted = normalised(&code);
        let page = explain(&wanted).ok_or_else(|| unknown(&code, &wanted))?;
        say(&format!("{}\n", page.trim_end()))?;
        Ok(Answer::Yes)
    }
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
