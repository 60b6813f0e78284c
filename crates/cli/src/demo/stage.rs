//! The demo's processes: started, broken on purpose, and cleared away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hyper::Method;
use mainstay_api as api;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use super::http;
use crate::client::Client;

/// How long setting something up may take on a busy machine.
const SET_UP: Duration = Duration::from_secs(20);

/// Between two looks at something that is awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Everything that runs, in one temporary directory.
pub(crate) struct Stage {
    program: PathBuf,
    dir: TempDir,
    servers: BTreeMap<String, Server>,
    agent: Option<Child>,
}

/// One that runs, however it is.
enum Server {
    /// This program, as `demo-app`.
    App(Child),
    Postgres(Box<mainstay_pgkit::Server>),
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new(program: PathBuf) -> anyhow::Result<Stage> {
        // The traffic process outlives the agent that started it. It becomes our child then, and we can wait for its end.
        let _ = set_child_subreaper(Some(getpid()));
        let dir =
            tempfile::Builder::new().prefix("mainstay-demo-").tempdir().context("can't make a temporary directory")?;
        Ok(Stage { program, dir, servers: BTreeMap::new(), agent: None })
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The agent's state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Asks the agent.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.state())
    }

    /// Starts a server and waits until it answers.
    pub(crate) async fn start_server(
        &mut self,
        name: &str,
        at: SocketAddr,
        standby_of: Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["demo-app", "--listen", &at.to_string(), "--name", name, "--pid-file"]);
        command.arg(self.dir.path().join(format!("{name}.pid")));
        if let Some(source) = standby_of {
            command.args(["--standby-of", &source.to_string()]);
        }
        // It ends when this pipe is closed, so it can't outlive us.
        let mut server = self.spawn(command, name, Stdio::piped())?;
        let deadline = Instant::now() + SET_UP;
        while !answers(at).await {
            if server.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the server {name} does not answer at {at}: {}", self.log(name));
            }
            sleep(LOOK_AGAIN).await;
        }
        self.servers.insert(name.to_owned(), Server::App(server));
        Ok(())
    }

    /// Starts a PostgreSQL primary with a table of orders, and a standby that streams from it.
    pub(crate) fn start_postgres(&mut self, names: [&str; 2]) -> anyhow::Result<()> {
        let pair = || {
            let primary = mainstay_pgkit::Server::try_primary(&[])?;
            primary.try_sql("CREATE TABLE orders (n bigint PRIMARY KEY)")?;
            primary.try_sql("CREATE ROLE client LOGIN; GRANT SELECT, INSERT ON orders TO client")?;
            let standby = primary.try_standby(names[1], false, &[])?;
            Ok([primary, standby])
        };
        let pair: Result<_, String> = block_in_place(pair);
        for (name, server) in names.into_iter().zip(pair.map_err(anyhow::Error::msg)?) {
            self.servers.insert(name.to_owned(), Server::Postgres(Box::new(server)));
        }
        Ok(())
    }

    /// One of them.
    pub(crate) fn postgres(&self, name: &str) -> anyhow::Result<&mainstay_pgkit::Server> {
        match self.servers.get(name) {
            Some(Server::Postgres(server)) => Ok(server),
            Some(Server::App(_)) | None => bail!("{name} is no PostgreSQL server that runs"),
        }
    }

    /// Makes one a standby of another, whatever became of it.
    pub(crate) fn rebuild_postgres(&mut self, name: &str, leader: &str) -> anyhow::Result<()> {
        let Some(Server::Postgres(mut server)) = self.servers.remove(name) else { bail!("{name} does not run") };
        let leader = self.postgres(leader)?;
        let rebuilt = block_in_place(|| server.try_rebuild(leader, &[]));
        self.servers.insert(name.to_owned(), Server::Postgres(server));
        rebuilt.map_err(anyhow::Error::msg)
    }

    /// Starts the agent on the plan.
    pub(crate) fn start_agent(&mut self, plan: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg(plan).env_remove("MAINSTAY_STATE");
        self.agent = Some(self.spawn(command, "agent", Stdio::null())?);
        Ok(())
    }

    fn spawn(&self, mut command: Command, name: &str, stdin: Stdio) -> anyhow::Result<Child> {
        let log = self.dir.path().join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        // A process group of its own: Ctrl-C comes to us, and we clear the stage in order.
        command.stdin(stdin).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        command.spawn().with_context(|| format!("can't start {name}"))
    }

    /// The end of what a process said.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Kills a server, with all its processes.
    pub(crate) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        match self.servers.get_mut(name) {
            Some(Server::App(child)) => signal(child, name, Signal::KILL),
            Some(Server::Postgres(server)) => {
                block_in_place(|| server.kill());
                Ok(())
            }
            None => bail!("{name} does not run"),
        }
    }

    /// Hangs a server, with all its processes.
    pub(crate) fn hang(&self, name: &str) -> anyhow::Result<()> {
        match self.servers.get(name) {
            Some(Server::App(child)) => signal(child, name, Signal::STOP),
            Some(Server::Postgres(server)) => {
                server.freeze();
                Ok(())
            }
            None => bail!("{name} does not run"),
        }
    }

    /// Takes a server that is to be replaced away, whatever state it is in.
    pub(crate) async fn remove(&mut self, name: &str) {
        match self.servers.remove(name) {
            Some(Server::App(mut child)) => {
                let _ = child.kill().await;
            }
            // It is ended with its value.
            Some(Server::Postgres(server)) => block_in_place(|| drop(server)),
            None => {}
        }
    }

    /// Kills the agent at once, as a power cut or the kernel would.
    pub(crate) async fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill().await;
        }
    }

    /// Waits until `ready` says so of the agent's status.
    pub(crate) async fn wait_until(&mut self, what: &str, ready: impl Fn(&api::Status) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + SET_UP;
        loop {
            let status = self.client().ask_status().await;
            if status.as_ref().is_ok_and(&ready) {
                return Ok(());
            }
            if let Some(agent) = &mut self.agent
                && let Some(ended) = agent.try_wait()?
            {
                bail!("the agent ended ({ended}): {}", self.log("agent"));
            }
            if Instant::now() > deadline {
                let stands = status.map_or_else(|error| error.to_string(), |it| stands(&it));
                bail!("{what} did not happen within {SET_UP:?}: {stands}");
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends everything, in the order in which nothing restarts anything else.
    pub(crate) async fn clear(mut self) {
        if let Some(mut agent) = self.agent.take() {
            if let Some(pid) = agent.id().and_then(pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if timeout(Duration::from_secs(5), agent.wait()).await.is_err() {
                let _ = agent.kill().await;
            }
        }
        let state = self.state();
        let _ = tokio::task::spawn_blocking(move || crate::commands::traffic::end(&state)).await;
        let names: Vec<String> = self.servers.keys().cloned().collect();
        for name in names {
            self.remove(&name).await;
        }
        let deadline = Instant::now() + Duration::from_secs(2);
        while let Ok(waited) = wait(WaitOptions::NOHANG)
            && Instant::now() < deadline
        {
            if waited.is_none() {
                sleep(LOOK_AGAIN).await;
            }
        }
    }
}

fn signal(child: &Child, name: &str, signal: Signal) -> anyhow::Result<()> {
    let pid = child.id().and_then(pid).with_context(|| format!("{name} does not run"))?;
    kill_process(pid, signal).with_context(|| format!("can't send {signal:?} to {name}"))
}

/// Whether an HTTP server answers there.
async fn answers(at: SocketAddr) -> bool {
    let asked = http::ask(at, Method::GET, "/health", String::new());
    matches!(timeout(Duration::from_millis(500), asked).await, Ok(Ok(reply)) if reply.good().is_ok())
}

/// How everything stands, on one line.
fn stands(status: &api::Status) -> String {
    let instance = |it: &api::Instance| format!("{} {} {}", it.name, it.state, it.health);
    let instances = status.components.iter().flat_map(|it| it.instances.iter().map(instance));
    let trouble = status.trouble.iter().chain(status.traffic.iter().flat_map(|it| &it.trouble)).cloned();
    instances.chain(trouble).collect::<Vec<_>>().join(", ")
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}
