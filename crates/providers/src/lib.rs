//! Providers: perform one probe or one action, and say what was seen.
//!
//! They decide nothing, schedule nothing and remember nothing about answers: whoever calls [`Providers::probe`] or
//! [`Providers::act`] says what, how long at most, and does the rest. Probes and actions are closed enums of
//! `mainstay-plan`, matched here; there is no trait to implement, [`Action::Command`] is the user's extension point.
//!
//! Nothing is looked up at the moment of failure that could be looked up before: [`Providers::prepare_probe`] and
//! [`Providers::prepare_action`] read certificate authorities ahead, keep them, and say early what could not work.

mod action;
mod bucket;
mod child;
mod dial;
mod dns;
mod gates;
mod heartbeats;
mod http;
mod kept;
mod lag;
mod leftover;
mod names;
mod postgres;
mod prepare;
mod probe;
mod process;
mod secrets;
mod so_far;
mod source;
mod tls;
mod trouble;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_backups::{Folder, Lock};
use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::observation::{Answer, Concerns, LogPosition};
use mainstay_plan::postgres::PostgresServer;
use mainstay_plan::probe::ProbeKind;

use crate::gates::Gates;
use crate::heartbeats::Heartbeats;
use crate::kept::Kept;
use crate::names::Names;
use crate::secrets::Secrets;
use crate::tls::TlsConfigs;

pub use crate::action::{
    ADDRESS_VARIABLE, IDEMPOTENCY_KEY_HEADER, IDEMPOTENCY_KEY_PLACEHOLDER, IDEMPOTENCY_KEY_VARIABLE, Order,
};
pub use crate::bucket::{BroughtBack, BucketError, Copied, Lacking};
pub use crate::leftover::Beginner;
pub use crate::postgres::{RestoreBackup, RestoreTarget, RestoredServer, TakeBackup, TakenBackup};
pub use crate::prepare::PrepareError;

/// What one run of one probe got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The answer.
    pub answer: Answer,
    /// How far the instance lags behind the active one, where the probe reports it and it could be read.
    pub lag: Option<Duration>,
    /// What the instance says that it is, in its own word, where the probe reports it.
    pub role: Option<String>,
    /// What a good answer says that is wrong beside the work.
    pub concerns: Concerns,
    /// How far the instance's data goes, where the probe reports it and it could be read.
    pub position: Option<LogPosition>,
}

/// How a probe is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Where the instance is, if not where the plan says: what goes over the network goes there, to the same port; a command
    /// finds the address in [`ADDRESS_VARIABLE`].
    pub at: Option<IpAddr>,
    /// The address of this machine that what goes over the network leaves from; `None`: the system chooses.
    pub from: Option<IpAddr>,
    /// How long the whole of it may take.
    pub timeout: Duration,
}

/// A host name, and what the system's resolver said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// The name.
    pub host: String,
    /// The addresses that are used.
    pub addresses: Vec<IpAddr>,
    /// How long ago they were found; `None`: never.
    pub age: Option<Duration>,
    /// Why nothing newer could be had.
    pub trouble: Option<String>,
}

/// Performs probes and actions. Cheap to clone; clones share what was prepared.
///
/// Every future that it returns is cancelled by dropping it: connections are closed and the process group of a running
/// command is killed. What was left behind by a command that had already ended (a daemon that it started) stays. Reading
/// and writing files runs on a thread that can't be taken back: a trigger file may still be written after a drop.
///
/// Needs a tokio runtime with time and I/O enabled. End that runtime with a timeout: a file system or a resolver that
/// hangs holds one thread for each thing asked of it, and dropping a runtime waits for its threads.
///
/// A daemon that a start command leaves behind stays in our control group; under systemd our own unit needs
/// `KillMode=process`, or stopping us stops it.
#[derive(Clone, Default)]
pub struct Providers {
    inner: Arc<Inner>,
}

/// What was prepared, connections that are kept, and what keeps threads bounded.
#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) tls: TlsConfigs,
    pub(crate) secrets: Secrets,
    pub(crate) gates: Gates,
    pub(crate) names: Names,
    pub(crate) kept: Kept,
    pub(crate) heartbeats: Heartbeats,
}

impl Providers {
    /// Has prepared nothing yet; reads no file.
    pub fn new() -> Providers {
        Providers::default()
    }

    /// The same; calls of jobs are kept in this directory.
    pub fn keeping_heartbeats(directory: PathBuf) -> Providers {
        let heartbeats = Heartbeats::in_directory(directory);
        Providers { inner: Arc::new(Inner { heartbeats, ..Inner::default() }) }
    }

    /// Listens for the jobs that are to call from now on; [`Providers::prepare_probe`] looks when they called before.
    pub fn listen(&self, kind: &ProbeKind) {
        let parts = if let ProbeKind::Composite(composite) = kind { &composite.of } else { std::slice::from_ref(kind) };
        for part in parts {
            if let ProbeKind::Heartbeat { name, .. } = part {
                self.inner.heartbeats.listen(name);
            }
        }
    }

    /// Takes the call of a job. `false`: nobody listens for it.
    ///
    /// # Errors
    /// Why the call will not outlive this process. It counts nevertheless.
    pub async fn heartbeat(&self, name: &str) -> io::Result<bool> {
        match self.inner.heartbeats.hear(&self.inner.gates, name).await {
            Some(kept) => kept.map(|()| true),
            None => Ok(false),
        }
    }

    /// No job could be heard until now: the silence of none of them counts.
    pub fn listens_anew(&self) {
        self.inner.heartbeats.listen_anew();
    }

    /// Reads ahead what `kind` needs and checks what can be checked without asking anybody. Called again, it reads
    /// again: renewed certificate authorities come in this way, and what can't be read leaves the old in place.
    ///
    /// # Errors
    /// What would make the probe answer *could not ask*.
    pub async fn prepare_probe(&self, kind: &ProbeKind) -> Result<(), PrepareError> {
        prepare::probe(&self.inner, kind).await
    }

    /// Like [`Providers::prepare_probe`], for an action.
    ///
    /// # Errors
    /// What would make the action fail whatever the state of its target.
    pub async fn prepare_action(&self, action: &Action) -> Result<(), PrepareError> {
        prepare::action(&self.inner, action).await
    }

    /// Asks once, where the plan says. The whole of it (looking up, connecting, asking, reading) takes `timeout` at most,
    /// also when the other side is frozen or unreachable. What was not prepared is prepared within that time.
    pub async fn probe(&self, kind: &ProbeKind, timeout: Duration) -> ProbeAnswer {
        self.ask(kind, Asking { at: None, from: None, timeout }).await
    }

    /// The same, at another place or from one of several.
    pub async fn ask(&self, kind: &ProbeKind, asking: Asking) -> ProbeAnswer {
        let moved = asking.at.map(|it| kind.at(it));
        let kind = moved.as_ref().unwrap_or(kind);
        source::scope(asking.from, probe::run(&self.inner, kind, asking.at, asking.timeout)).await
    }

    /// Every host name that was looked up, in alphabetical order.
    pub fn names(&self) -> Vec<ResolvedName> {
        self.inner.names.all()
    }

    /// Does it once, within `order.timeout`.
    pub async fn act(&self, action: &Action, order: &Order) -> Outcome {
        action::run(&self.inner, action, order).await
    }

    /// Whom a backup is copied from: a standby that keeps up, if there is one, else the primary.
    ///
    /// # Errors
    /// None of them says what it is, and why.
    pub async fn choose_server<'s>(&self, servers: &'s [PostgresServer]) -> Result<&'s PostgresServer, String> {
        postgres::choose(&self.inner, servers).await
    }

    /// Takes a base backup of a PostgreSQL server, within `timeout`. When it ends early, nothing is kept that looks like one.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn take_backup(&self, order: &TakeBackup<'_>, timeout: Duration) -> Result<TakenBackup, Outcome> {
        action::within(&self.inner, "backup", timeout, async |attempt| postgres::take(attempt, order).await).await
    }

    /// Copies to a bucket what it lacks of a series' folder, of which the caller has the lock; with `keep`, removes from it what nobody needs to
    /// restore a moment of that time. `bucket` is the file that says where it is.
    ///
    /// # Errors
    /// Why not all of it is there. What was copied is, and is not copied again.
    pub async fn copy_series(
        &self,
        folder: &Folder,
        lock: &Lock,
        bucket: &Path,
        keep: Option<Duration>,
    ) -> Result<Copied, BucketError> {
        bucket::copy(&self.inner, folder, lock, bucket, keep).await
    }

    /// Copies one archived file of a series' folder to a bucket.
    ///
    /// # Errors
    /// Why it is not there, or that another one of its name is.
    pub async fn copy_of_log(&self, folder: &Folder, bucket: &Path, name: &str) -> Result<(), BucketError> {
        bucket::copy_one(&self.inner, folder, bucket, name).await
    }

    /// What a bucket lacks of a series' folder.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn lacking(&self, folder: &Folder, bucket: &Path) -> Result<Lacking, BucketError> {
        bucket::lacking(&self.inner, folder, bucket).await
    }

    /// Brings back into a series' folder what a bucket holds and it lacks; with `newest`, only the newest backup and the log from there on.
    ///
    /// # Errors
    /// Why not all of it is there. What was brought back is whole, and is not brought again.
    pub async fn bring_back(&self, folder: &Folder, bucket: &Path, newest: bool) -> Result<BroughtBack, BucketError> {
        bucket::bring_back(&self.inner, folder, bucket, newest).await
    }

    /// What a bucket has of the log: by name, how many bytes each file has.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn log_in_bucket(&self, bucket: &Path) -> Result<BTreeMap<String, u64>, String> {
        bucket::log(&self.inner, bucket).await
    }

    /// Brings back one file of the log; `false`: the bucket has none of that name.
    ///
    /// # Errors
    /// Why it is not there.
    pub async fn bring_back_of_log(&self, folder: &Folder, bucket: &Path, name: &str) -> Result<bool, BucketError> {
        bucket::bring_back_one(&self.inner, folder, bucket, name).await
    }

    /// Restores a PostgreSQL server beside whatever runs, within `timeout`, and leaves it running when it has passed its check. When it fails
    /// nothing is left; when it ends early, the next one removes what is.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn restore(&self, order: &RestoreBackup<'_>, timeout: Duration) -> Result<RestoredServer, Outcome> {
        action::within(&self.inner, "restore", timeout, async |attempt| postgres::restore(attempt, order).await).await
    }

    /// The same, only to see that it works: what was restored is removed, and how long it took is kept with the backup.
    ///
    /// # Errors
    /// Why it does not work.
    pub async fn test_restore(&self, order: &RestoreBackup<'_>, timeout: Duration) -> Result<RestoredServer, Outcome> {
        action::within(&self.inner, "restore-test", timeout, async |attempt| postgres::test(attempt, order).await).await
    }

    /// What became of an action that was begun, and whose end nobody saw: done, failed (it was not done, and nothing of it is
    /// under way any more), or unknown. It is looked at until that is known, for `order.timeout` at most, and nothing is done.
    /// `begun_by` is the process that had begun it: what it left behind is looked for, too, if it runs as somebody whose processes
    /// can't be looked into.
    pub async fn look(&self, action: &Action, order: &Order, begun_by: Option<Beginner>) -> Outcome {
        action::look(&self.inner, action, order, begun_by).await
    }
}
