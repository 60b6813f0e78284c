//! `mainstay probes`: what probes got lately.

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view::probes;

/// Show what probes got lately, and how long it took
///
/// For each probe: how often it was good, failed or could not be asked since the agent started, and the percentiles of the
/// time that good answers took, of as many as are kept. With a name, the results themselves, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay probes
  mainstay probes orders-db
  mainstay probes orders-db/http --last 100
  mainstay probes --json | jq '.probes[] | select(.p99_ns > 100000000) | .name'")]
pub(crate) struct Probes {
    /// Only this probe, or those of this instance, component, witness or route
    of: Option<String>,
    /// How many results are shown
    #[arg(long, default_value_t = 10, requires = "of")]
    last: usize,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Probes {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let mut found = cx.client().probes(self.of.as_deref())?;
        for it in &mut found.probes {
            it.results.truncate(self.last);
        }
        if let (Some(of), true) = (&self.of, found.probes.is_empty()) {
            let text = format!("there is no probe `{of}` in the plan, and nothing of that name that has one");
            return Err(Failure::usage(text).help("`mainstay probes` lists them"));
        }
        if self.json {
            say_json(&found)?
        } else {
            say(&probes::list(&found, cx.look))?
        }
        Ok(Answer::Yes)
    }
}
