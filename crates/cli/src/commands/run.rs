//! `mainstay run`: the agent.

use std::path::PathBuf;

use clap::Args;
use mainstay_agent::{Agent, Options};

use crate::logging::{self, LogFormat};

/// Arguments of `mainstay run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The plan
    pub file: PathBuf,
    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Watches and recovers until a signal ends it.
pub async fn run(args: RunArgs, state_dir: Option<PathBuf>) -> anyhow::Result<()> {
    logging::start(args.log_format);
    let agent = Agent::start(Options {
        plan_file: args.file,
        state_dir,
        program: std::env::current_exe()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    if let Some(left) = agent.run().await {
        tracing::info!("{left}");
    }
    Ok(())
}
