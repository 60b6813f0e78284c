//! `mainstay evacuate`: empty a zone or a region, as planned.

use std::time::Duration;

use mainstay_api as api;

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};
use crate::view;

/// Empty a zone or a region, as planned
///
/// Components that are active there are moved out one after the other, in the order and within the limits of the plan's
/// `evacuations` entry: what others need first, then by criticality. Targets of shared routes there are drained. While it
/// stands, nothing fails over or goes back into it by itself as long as there is another way. It ends by itself, or with
/// `--end`; nothing moves back because of that. Said again it changes how long, or how: with `--now` what has not left does
/// not wait until anything is in step any more.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay evacuate us-east-1a --dry-run                                   says what would move where, and what can't
  mainstay evacuate us-east-1a --for 8h --reason \"power work in the hall\"
  mainstay evacuate us-east-1a --now --reason \"smoke\"                      waits for nothing: may lose data
  mainstay evacuate us-east-1a --end --reason \"the work is done\"")]
pub(crate) struct Evacuate {
    /// `ZONE`, `REGION/ZONE` or `REGION`
    place: String,
    /// For how long it stands: `45m`, `8h`; without it as long as before, or 8 hours
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse)]
    span: Option<Duration>,
    /// Do not wait until whoever takes over is in step: what it has not received is lost. Also of one that runs
    #[arg(long, conflicts_with = "graceful")]
    now: bool,
    /// Wait until whoever takes over is in step, although the plan says otherwise
    #[arg(long)]
    graceful: bool,
    /// End it: what has not begun does not begin any more, what runs is finished
    #[arg(long, conflicts_with_all = ["span", "now", "graceful", "dry_run"])]
    end: bool,
    /// Say what it would do, and do nothing; exit code 1 if something would stay
    #[arg(long)]
    dry_run: bool,
    /// Why, for the journal
    #[arg(long, default_value = super::NO_REASON, hide_default_value = true)]
    reason: String,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
}

impl Evacuate {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let Evacuate { place, span, now, graceful, end, dry_run, reason, json } = self;
        if end {
            let next = "what runs is finished, what has not begun does not begin; see `mainstay status`";
            return cx.give(&api::Command::EndEvacuation { place, reason }, json, next);
        }
        if span.is_some_and(|it| it.is_zero()) {
            return Err(Failure::usage("an evacuation of no length moves nothing").help("say how long: `--for 8h`"));
        }
        let graceful = (now || graceful).then_some(graceful);
        let for_ns = span.map(clock::nanos);
        let next = format!("see `mainstay status`; `mainstay evacuate {place} --end` ends it");
        let command = api::Command::Evacuate { place, for_ns, graceful, reason };
        if !dry_run {
            return cx.give(&command, json, &next);
        }
        let foreseen = cx.client().foresee(&command)?;
        if json {
            say_json(&foreseen)?;
        } else {
            say(&view::evacuation::foreseen(&foreseen, cx.look))?;
        }
        let stays = foreseen.components.iter().any(|it| it.to.is_none());
        Ok(if stays { Answer::No } else { Answer::Yes })
    }
}
