//! The `mainstay` command.
mod commands {
    pub mod run;
}
mod logging;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}
#[derive(Subcommand)]
enum Command {
    Run(commands::run::RunArgs),
    Traffic {
        #[arg(long)]
        state: PathBuf,
        #[arg(long)]
        site: String,
    },
}
fn main() -> anyhow::Result<()> {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Cli::parse().command {
        Command::Run(a) => rt.block_on(commands::run::run(a, None)),
        Command::Traffic { state, site } => {
            logging::start(Default::default());
            Ok(rt.block_on(mainstay_traffic::run(mainstay_traffic::Options {
                state_dir: state,
                site,
                socket: None,
            }))?)
        }
    }
}
