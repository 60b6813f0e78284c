//! The `mainstay host` process: the hands on a machine, for an agent on another one.
//!
//! It decides nothing. It does what its agent orders if its own file lets it, journals each order before it acts and each outcome
//! before it answers, and says what its probes see. What it does by itself is to end what it guards when its lease is over, and
//! that a process beside it does ([`crate::lease::keeper`]).
//!
//! One loop owns everything; probes and orders run in tasks of their own. A connection that is lost takes nothing with it: orders
//! go on, and the agent asks again.

mod dial;
mod file;
mod leases;
mod ledger;
mod orders;
mod paths;
mod peers;
mod session;
mod work;

use std::io;
use std::path::PathBuf;

use mainstay_store::{StateDir, StateDirError};
use mainstay_wire::trust::Identity;

pub use dial::{Dial, Ends, over_tls, renew_in_time};
pub use file::{FileError, HostFile};
pub use ledger::{LedgerError, epoch_seen};
pub use orders::Entry;
pub use peers::{AskPeer, ask_over_tls};

use crate::copy::kept::CopyError;
use crate::lease::held::Leases;
use crate::lease::keeper::{self, Keeper};

/// How a host runs.
#[derive(Clone)]
pub struct Options {
    /// Its file.
    pub file: HostFile,
    /// The version of the program.
    pub version: String,
    /// How an agent is reached.
    pub dial: Dial,
    /// How another host is asked.
    pub ask_peer: AskPeer,
    /// Who it is to other hosts that ask it.
    pub identity: Identity,
    /// How a keeper is started.
    pub keeper: keeper::Launch,
    /// The program that is started with `traffic --state DIR --site NAME`.
    pub program: PathBuf,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The state directory can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The journal can't be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The copy of the agent's journal can't be used.
    #[error(transparent)]
    Copy(CopyError),
    /// The leases can't be used.
    #[error("the leases can't be used")]
    Leases(#[source] io::Error),
}

/// Works until `stop` is ready. What it guards is guarded further, and its traffic process goes on serving.
///
/// # Errors
/// It did not start.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), HostError> {
    let state_dir = StateDir::open(&options.file.state)?;
    let work = work::Work::start(options)?;
    tokio::select! {
        () = work.go_on() => {}
        () = stop => {}
    }
    drop(state_dir);
    Ok(())
}

/// The keeper of a host: see [`crate::lease::keeper`]. Works until the process is ended.
///
/// # Errors
/// It can't begin, or can't go on.
pub async fn keep(file: &HostFile, demote: std::time::Duration) -> io::Result<std::convert::Infallible> {
    let leases = Leases::open(&leases::folder(&file.state))?;
    Keeper::take(leases, file.guards.clone(), demote, file.watchdog.as_deref())?.keep().await
}
