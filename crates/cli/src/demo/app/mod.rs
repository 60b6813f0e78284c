//! The demo's application: a small order store over HTTP/1.1, as an active server or as a standby that copies one.
//!
//! | request | answer |
//! |---|---|
//! | `POST /orders`, an id | the active one takes it and gives its name; a standby 503 |
//! | `GET /` | 200 and the name from the active one, 503 from a standby |
//! | `GET /health` | 200 in either role; `x-replication-lag` is how far the last complete copy is behind the question, `x-role` says which role |
//! | `POST /activate` | becomes active, once for each `Idempotency-Key` |
//! | `POST /follow`, an address | drops its orders and becomes a standby of that address |
//! | `GET /orders?from=N` | what a standby copies: ids from index N on; 503 from a standby |
//! | `GET /acknowledged` | all ids, in either role |
//!
//! Copying is asynchronous and orders live in memory: what was taken and not yet copied is lost with the server, which
//! is what the demo counts.

mod copier;
mod orders;
mod serve;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use hyper::Method;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time;

use crate::demo::http::{self, Failure};
pub(crate) use serve::Server;

const LAG_HEADER: &str = "x-replication-lag";
const ROLE_HEADER: &str = "x-role";
const TIMELINE_HEADER: &str = "x-timeline";
const TOTAL_HEADER: &str = "x-total";

/// `mainstay demo-app`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to listen
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// What to call itself in answers
    #[arg(long)]
    pub(crate) name: String,
    /// Where to write the process id, once it listens
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: PathBuf,
    /// Start as a standby of this server
    #[arg(long, value_name = "ADDR")]
    pub(crate) standby_of: Option<SocketAddr>,
}

/// Serves until SIGTERM, or until the standard input is closed: whoever started it holds that pipe, so it can't outlive
/// them, however they end.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    run_while_open(options, std::io::stdin()).await
}

/// All ids that the server at `address` keeps, in the order in which it took them; in either role.
pub(crate) async fn acknowledged(address: SocketAddr, within: Duration) -> Result<Vec<u64>, Failure> {
    let asked = time::timeout(within, http::ask(address, Method::GET, "/acknowledged", "")).await;
    let reply = asked.map_err(|_elapsed| Failure::TimedOut)??;
    let (total, list) = reply.good()?.split_once('\n').ok_or(Failure::Garbled)?;
    let ids = parse_ids(list)?;
    if total.parse() == Ok(ids.len()) { Ok(ids) } else { Err(Failure::Garbled) }
}

async fn run_while_open(options: Options, held: impl Read + Send + 'static) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let listen = options.listen;
    let server = Server::bind(listen, options.name, options.standby_of)
        .await
        .with_context(|| format!("can't listen on {listen}; is another server there?"))?;
    write_pid_file(&options.pid_file)?;
    let closed = closed(held)?;
    tokio::select! {
        () = server.serve() => {}
        _signal = terminate.recv() => tracing::info!("ended by SIGTERM"),
        _closed = closed => tracing::info!("ended: the standard input was closed"),
    }
    Ok(())
}

/// Resolves when `held` ends. A thread of its own reads it, which nobody waits for when the process ends.
fn closed(mut held: impl Read + Send + 'static) -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let read = move || {
        let _ended_or_failed = std::io::copy(&mut held, &mut std::io::sink());
        drop(sender);
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read).context("can't start a thread")?;
    Ok(receiver)
}

/// In one rename, so that nobody reads half a number.
fn write_pid_file(path: &Path) -> anyhow::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".tmp");
    std::fs::write(&fresh, format!("{}\n", std::process::id()))
        .and_then(|()| std::fs::rename(&fresh, path))
        .with_context(|| format!("can't write the pid file {}", path.display()))
}

/// One id a line.
fn parse_ids(text: &str) -> Result<Vec<u64>, Failure> {
    text.lines().map(|line| line.parse().map_err(|_no_number| Failure::Garbled)).collect()
}

#[cfg(test)]
mod tests;
