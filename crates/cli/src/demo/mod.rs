//! `mainstay demo`: the whole story on this machine.
//!
//! Two components, each a primary and a standby that are real processes of a small order store ([`app`]): `orders` behind
//! our proxy, `files` behind our DNS. Or one, a pair of real PostgreSQL servers. Clients ([`client`]) measure from their own side what a failure costs them. The
//! story ([`story`]) kills, hangs and kills again, also the agent; the report compares what the clients measured with what
//! `check` had promised for the same plan ([`scene`]).

pub(crate) mod app;
pub(crate) mod client;
mod http;
mod report;
mod scene;
mod stage;
mod story;

use std::path::PathBuf;

use story::Cast;

use crate::commands::Cx;
use crate::commands::run::{runtime, this_program};
use crate::exit::{Answer, Failure};
use crate::look::{say, say_json};

/// Watch it recover real processes on this machine, with nothing to install
///
/// Starts two pairs of servers, an agent, and clients that send 200 orders a second on each of two paths: through the
/// proxy and through DNS. Kills both primaries, hangs both, then kills them together with the agent in the middle of the
/// recovery. At the end it says what each failure cost the clients, beside the worst case that `check` had computed.
///
/// With --postgres the servers are PostgreSQL: a primary, and a standby that streams from it, as installed on this machine
/// (version 15 or later). Clients write 50 rows a second through the proxy.
///
/// Everything runs on loopback addresses and in one temporary directory, and nothing is left behind but the journal, where
/// you ask for it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay demo
  mainstay demo --postgres
  mainstay demo --json | jq '.failures[] | {fault, path, outage_ms, bound_ms, lost_orders}'
  mainstay demo --journal demo.jsonl

Exit codes:
  0  every promise held
  1  a promise was broken; the report says which
  3  it could not be set up here")]
pub(crate) struct Demo {
    /// Let it be PostgreSQL that is recovered
    #[arg(long)]
    postgres: bool,
    /// Print one JSON object on standard output, and the story on standard error
    #[arg(long)]
    json: bool,
    /// Keep the agent's journal in this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let program = this_program()?;
        let runtime = runtime()?;
        let cast = if self.postgres { Cast::Postgres } else { Cast::OrderStores };
        let told = runtime.block_on(story::tell(program, cast, self.json, self.journal.as_deref()));
        runtime.shutdown_background();
        let Some(report) = told? else { return Ok(Answer::No) };
        if self.json {
            say_json(&report)?;
        } else {
            say(&report.text(cx.look))?;
        }
        Ok(Answer::from(report.ok))
    }
}

/// `mainstay demo-app`, which the demo starts.
pub(crate) fn serve_app(options: app::Options) -> Result<Answer, Failure> {
    crate::logging::start(crate::logging::LogFormat::Text);
    let runtime = runtime()?;
    let ended = runtime.block_on(app::run(options));
    runtime.shutdown_background();
    ended.map(|()| Answer::Yes).map_err(|error| Failure::unreachable(format!("{error:#}")))
}
