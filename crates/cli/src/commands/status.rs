//! `mainstay status`: how everything stands.

use super::Cx;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view::status;

/// Show how everything stands
///
/// For each component: its health and since when, the instance that it is bound to, what a recovery waits for and how to
/// overrule that, and what would recover it at this moment. With a component, its instances and probes too.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay status
  mainstay status orders-db
  mainstay status --rules
  mainstay status --json | jq '.components[] | select(.health == \"down\") | .name'

Exit codes:
  0  nothing is down and no recovery waits
  1  a component is down, or a recovery waits or goes on
  3  the agent can't be reached")]
pub(crate) struct Status {
    /// Only this component, with all that is known of it
    component: Option<String>,
    /// The decision rules: whether each is true now, and the value of each of its terms
    #[arg(long, conflicts_with = "component")]
    rules: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let mut seen = cx.client().status()?;
        if let Some(name) = &self.component {
            let known: Vec<String> = seen.components.iter().map(|it| format!("`{}`", it.name)).collect();
            seen.components.retain(|it| it.name == *name);
            if seen.components.is_empty() {
                return Err(Failure::usage(format!("there is no component `{name}` in the plan"))
                    .help(format!("there are {}", known.join(", "))));
            }
        }
        if self.json {
            say_json(&seen)?;
        } else if self.rules {
            say(&status::rules(&seen, cx.look))?;
        } else if self.component.is_some() {
            let text: String = seen.components.iter().map(|it| status::component(&seen, it, cx.look)).collect();
            say(&text)?;
        } else {
            say(&status::overview(&seen, cx.look))?;
        }
        Ok(Answer::from(seen.components.iter().all(status::is_well)))
    }
}
