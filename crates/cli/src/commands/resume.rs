//! `mainstay resume`: end a pause.

use mainstay_api as api;
use mainstay_engine::RecoveryId;

use super::Cx;
use crate::exit::{Answer, Failure};

/// End a pause
///
/// A recovery that it held back goes on at once. The pause of all components, that of one, and that of one recovery are
/// ended apart.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  mainstay resume\n  mainstay resume orders-db\n  mainstay resume r57")]
pub(crate) struct Resume {
    /// The component or recovery (r1, r2, …) whose pause is ended; without it, the pause of all
    component: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        if let Some(id) = self.component.as_ref().filter(|it| it.parse::<RecoveryId>().is_ok()) {
            let next = format!("{id} goes on; `mainstay recoveries show {id}`");
            return cx.give(&api::Command::ResumeRecovery { recovery: id.clone() }, self.json, &next);
        }
        let what = self.component.as_ref().map_or("all components".to_owned(), |it| format!("`{it}`"));
        let next = format!("the pause of {what} is over: what it held back goes on now");
        cx.give(&api::Command::Resume { component: self.component }, self.json, &next)
    }
}
