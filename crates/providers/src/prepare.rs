//! What can be read and checked before it is needed.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_plan::action::{Action, Service};
use mainstay_plan::postgres::PostgresOp;
use mainstay_plan::probe::{ProbeKind, Whom};

use crate::action::{systemd, trigger_file, webhook};
use crate::tls::Spoken;
use crate::{Inner, postgres, probe, secrets, tls};

/// Why a probe or an action could not work, whatever the state of its target.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nobody to trust: certificates can't be read or there are none.
    #[error("no certificates to trust: {0}")]
    Trust(String),
    /// A file with a secret can't be read, or what is in it can't be used.
    #[error("no secret to send: {0}")]
    Secret(String),
    /// The command can't be run.
    #[error("command {program:?} can't be run: {reason}")]
    Command {
        /// The program as the plan names it.
        program: String,
        /// Why not.
        reason: String,
    },
    /// The directory of a trigger file isn't there.
    #[error("directory {path:?} of the trigger file is not there")]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The HTTP request can't be made from what the plan says.
    #[error("the HTTP request can't be made: {0}")]
    Request(String),
    /// We may not send ICMP.
    #[error("{0}")]
    Icmp(String),
    /// When a job called last can't be read.
    #[error("when {name} called last is not known")]
    Heartbeat {
        /// What it calls.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A PostgreSQL server can't become what it is to become.
    #[error("it can't become a standby: {0}")]
    Postgres(String),
    /// A systemd unit is to be controlled and systemd does not run here.
    #[error("{0}")]
    Systemd(String),
}

pub(crate) async fn probe(inner: &Inner, kind: &ProbeKind) -> Result<(), PrepareError> {
    if let ProbeKind::Composite(composite) = kind {
        for part in &composite.of {
            one(inner, part).await?;
        }
        return Ok(());
    }
    one(inner, kind).await
}

async fn one(inner: &Inner, kind: &ProbeKind) -> Result<(), PrepareError> {
    if let Whom::Server(address) = kind.whom() {
        inner.names.prepare(address);
    }
    match kind {
        ProbeKind::Tls(probe) => {
            tls::server_name(&probe.name).map_err(PrepareError::Request)?;
            let loaded = inner.tls.load(&inner.gates, probe.ca_file.as_deref(), Spoken::Unnamed).await;
            loaded.map(|_trust| ()).map_err(PrepareError::Trust)
        }
        ProbeKind::Http(http) => {
            let auth = match &http.auth {
                Some(auth) => {
                    let secret = inner.secrets.load(&inner.gates, auth.file()).await.map_err(PrepareError::Secret)?;
                    Some(secrets::authorization(auth, &secret).map_err(PrepareError::Secret)?)
                }
                None => None,
            };
            probe::check_request(http, auth.as_ref()).map_err(PrepareError::Request)?;
            if http.tls {
                tls::server_name(&http.host).map_err(PrepareError::Request)?;
                let loaded = inner.tls.load(&inner.gates, http.ca_file.as_deref(), probe::spoken(http)).await;
                loaded.map_err(PrepareError::Trust)?;
            }
            Ok(())
        }
        ProbeKind::Command { argv, .. } => command(inner, argv).await,
        ProbeKind::Grpc(grpc) => {
            probe::check_grpc(grpc).map_err(PrepareError::Request)?;
            if grpc.tls {
                tls::server_name(&grpc.name).map_err(PrepareError::Request)?;
                let loaded = inner.tls.load(&inner.gates, grpc.ca_file.as_deref(), Spoken::Http2).await;
                loaded.map_err(PrepareError::Trust)?;
            }
            Ok(())
        }
        ProbeKind::Postgres(probe) => postgres::prepare(inner, &probe.server).await,
        ProbeKind::Icmp { address } => probe::permitted(*address).map_err(PrepareError::Icmp),
        ProbeKind::Heartbeat { name, .. } => inner
            .heartbeats
            .prepare(&inner.gates, name)
            .await
            .map_err(|source| PrepareError::Heartbeat { name: name.clone(), source }),
        ProbeKind::Tcp { .. }
        | ProbeKind::Dns { .. }
        | ProbeKind::Udp(_)
        | ProbeKind::Process { .. }
        | ProbeKind::FileFreshness { .. }
        | ProbeKind::Disk(_)
        | ProbeKind::Composite(_) => Ok(()),
    }
}

pub(crate) async fn action(inner: &Inner, action: &Action) -> Result<(), PrepareError> {
    match action {
        Action::Service { service: Service::Systemd { .. }, .. } => systemd::available().map_err(PrepareError::Systemd),
        Action::Service { service: Service::Declared { start, stop, status, .. }, .. } => {
            for argv in [Some(start), stop.as_ref(), status.as_ref()].into_iter().flatten() {
                command(inner, argv).await?;
            }
            Ok(())
        }
        Action::Service { service: Service::Postgres(files), .. } => {
            for argv in postgres::programs(files) {
                command(inner, &argv).await?;
                // Behind `runuser -u NAME --`.
                if let Some(behind) = argv.iter().position(|it| it == "--").filter(|_| files.run_as.is_some()) {
                    command(inner, &argv[behind + 1..]).await?;
                }
            }
            Ok(())
        }
        Action::Postgres(action) => {
            postgres::prepare(inner, &action.server).await?;
            match (&action.op, &action.server.files) {
                (PostgresOp::Rejoin { leader, how }, Some(files)) => {
                    for argv in postgres::programs_of_rejoin(files, *how) {
                        command(inner, &argv).await?;
                    }
                    postgres::prepare_rejoin(inner, files, leader, *how).await.map_err(PrepareError::Postgres)
                }
                (PostgresOp::Restore { series }, Some(files)) => {
                    for argv in postgres::programs_of_restore(files) {
                        command(inner, &argv).await?;
                    }
                    postgres::prepare_restore(inner, series).await.map_err(PrepareError::Postgres)
                }
                (PostgresOp::Keep(keeping), _) => {
                    for argv in postgres::programs_of_keeping(keeping) {
                        command(inner, &argv).await?;
                    }
                    for server in &keeping.servers {
                        postgres::prepare(inner, server).await?;
                    }
                    postgres::prepare_keeping(inner, keeping).await.map_err(PrepareError::Postgres)
                }
                (PostgresOp::Promote | PostgresOp::Follow { .. }, _) => {
                    postgres::may_be_done(inner, action).await.map_err(PrepareError::Postgres)
                }
                (PostgresOp::Rejoin { .. } | PostgresOp::Restore { .. }, None) => Ok(()),
            }
        }
        Action::Command { argv, .. } => command(inner, argv).await,
        Action::TriggerFile { path, .. } => {
            let directory = trigger_file::directory(path).to_owned();
            let looked_at = directory.clone();
            let key = format!("read {}", directory.display());
            match inner.gates.run(key, move || Ok(looked_at.is_dir())).await {
                Ok(true) => Ok(()),
                Ok(false) | Err(_) => Err(PrepareError::Directory { path: directory }),
            }
        }
        Action::Webhook { url, method, headers, body, .. } => {
            let call = webhook::Call::new(url, method, headers, body, "prepared").map_err(PrepareError::Request)?;
            inner.names.prepare(&call.address);
            if call.is_tls() {
                inner.tls.load(&inner.gates, None, Spoken::Http1).await.map_err(PrepareError::Trust)?;
            }
            Ok(())
        }
        Action::EndLease { .. } => Ok(()),
    }
}

async fn command(inner: &Inner, argv: &[String]) -> Result<(), PrepareError> {
    let program = argv.first().cloned().unwrap_or_default();
    let looked_for = program.clone();
    let search = std::env::var_os("PATH").unwrap_or_default();
    let find = move || {
        let found = if looked_for.contains('/') {
            is_executable(Path::new(&looked_for))
        } else {
            !looked_for.is_empty() && std::env::split_paths(&search).any(|dir| is_executable(&dir.join(&looked_for)))
        };
        Ok(found)
    };
    let found: io::Result<bool> = inner.gates.run(format!("find {program}"), find).await;
    let reason = match found {
        Ok(true) => return Ok(()),
        Ok(false) => "no such executable file".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(PrepareError::Command { program, reason })
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
