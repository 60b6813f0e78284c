//! `host.yaml`: what a host may be asked to do, and where its agents are. It is the host's own; nothing that comes over the wire
//! changes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_plan::action::{Action, Plane, Service, ServiceOp};
use mainstay_plan::postgres::PostgresFiles;
use mainstay_wire::may::{May, MayService};
use serde::Deserialize;

use crate::lease::book::Holding;
use crate::lease::keeper::Guard;

/// The version of the grammar.
const VERSION: u32 = 1;

/// How many agents may be named.
const AGENTS: usize = 16;

/// How long a stop command may take before force is used, where there is a process to force.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A host's file, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    /// Where agents are, as `HOST:PORT`, the first first.
    pub agents: Vec<String>,
    /// Which of these addresses are one agent's, reached over different paths.
    pub paths: Vec<Vec<String>>,
    /// Where it takes the questions of other hosts, if it does.
    pub listen: Option<SocketAddr>,
    /// Where its journal, its leases and its identity live.
    pub state: PathBuf,
    /// What it may be asked to do.
    pub may: May,
    /// Whether it runs a traffic process that serves the agent's routes.
    pub serves: bool,
    /// Whether it keeps a copy of the agent's journal.
    pub keeps_journal: bool,
    /// What it ends when a lease is over.
    pub guards: Vec<Guard>,
    /// A watchdog device that starts the machine anew when what must end can't be ended.
    pub watchdog: Option<PathBuf>,
}

/// Why a file can't be used, with its place in the file where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    agents: Vec<AgentText>,
    listen: Option<String>,
    state: PathBuf,
    #[serde(default)]
    may: MayText,
    #[serde(default)]
    serves: bool,
    #[serde(default)]
    keeps_journal: bool,
    #[serde(default)]
    guards: BTreeMap<String, GuardText>,
    watchdog: Option<PathBuf>,
}

/// One agent: its address, or its addresses over different paths.
#[derive(Deserialize)]
#[serde(untagged)]
enum AgentText {
    At(String),
    Over(Vec<String>),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MayText {
    services: Vec<ServiceText>,
    commands: Vec<Vec<String>>,
    files: Vec<PathBuf>,
    variables: Vec<String>,
    backups: Vec<PathBuf>,
    network: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceText {
    unit: Option<String>,
    pid_file: Option<PathBuf>,
    postgres: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardText {
    component: String,
    demote: Option<Vec<String>>,
    stop: Option<StopText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopText {
    unit: Option<String>,
    pid_file: Option<PathBuf>,
    postgres: Option<PathBuf>,
    command: Option<Vec<String>>,
    status: Option<Vec<String>>,
}

impl HostFile {
    /// Reads the text of a file that lies in the folder `base`: a relative `state` begins there.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str, base: &Path) -> Result<HostFile, FileError> {
        let options = serde_saphyr::options! { strict_booleans: true };
        let read: Text = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| FileError(with_nearest(error.to_string().trim_start_matches("error: "))))?;
        read.checked(base).map_err(FileError)
    }

    /// All addresses of the agent that has this one, if it has more than one.
    pub fn paths_beside(&self, address: &str) -> &[String] {
        self.paths.iter().find(|it| it.iter().any(|it| it == address)).map_or(&[], Vec::as_slice)
    }

    /// What it guards.
    pub fn holdings(&self) -> Vec<Holding> {
        self.guards.iter().map(|it| it.holding.clone()).collect()
    }
}

impl Text {
    fn checked(self, base: &Path) -> Result<HostFile, String> {
        if self.version != VERSION {
            return Err(format!("`version: {}` is not known: this program reads {VERSION}", self.version));
        }
        let over = |it: &AgentText| match it {
            AgentText::At(address) => vec![address.clone()],
            AgentText::Over(addresses) => addresses.clone(),
        };
        let each: Vec<Vec<String>> = self.agents.iter().map(over).collect();
        let agents = each.concat();
        if agents.is_empty() || agents.len() > AGENTS || each.iter().any(Vec::is_empty) {
            return Err(format!("`agents` names {} addresses; 1 to {AGENTS} can be named", agents.len()));
        }
        if let Some(twice) = (1..agents.len()).find(|at| agents[..*at].contains(&agents[*at])) {
            return Err(format!("`agents`: `{}` stands there twice", agents[twice]));
        }
        for agent in &agents {
            let port = agent.rsplit_once(':').filter(|it| !it.0.is_empty()).and_then(|it| it.1.parse::<u16>().ok());
            if port.is_none_or(|it| it == 0) {
                return Err(format!("`agents`: `{agent}` is not an address with a port, such as `10.0.0.5:7400`"));
            }
        }
        let listen = self.listen.map(|text| match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(address),
            Ok(_) | Err(_) => {
                Err(format!("`listen: {text}` is not an address of this machine with a port, such as `10.0.0.6:7401`"))
            }
        });
        Ok(HostFile {
            agents,
            paths: each.into_iter().filter(|it| it.len() > 1).collect(),
            listen: listen.transpose()?,
            state: base.join(self.state),
            may: self.may.checked()?,
            serves: self.serves,
            keeps_journal: self.keeps_journal,
            guards: self.guards.into_iter().map(|(instance, it)| it.checked(instance)).collect::<Result<_, _>>()?,
            watchdog: self.watchdog,
        })
    }
}

impl MayText {
    fn checked(self) -> Result<May, String> {
        let services = self.services.into_iter().map(|it| match (it.unit, it.pid_file, it.postgres) {
            (Some(unit), None, None) => Ok(MayService::Unit(unit)),
            (None, Some(path), None) => absolute("may.services", path).map(MayService::PidFile),
            (None, None, Some(data)) => absolute("may.services", data).map(MayService::Postgres),
            _ => Err("`may.services`: each is a `unit`, a `pid_file`, or the data directory of `postgres`".to_owned()),
        });
        for command in &self.commands {
            program("may.commands", command)?;
        }
        Ok(May {
            services: services.collect::<Result<_, _>>()?,
            commands: self.commands,
            files: self.files.into_iter().map(|it| absolute("may.files", it)).collect::<Result<_, _>>()?,
            variables: self.variables,
            backups: self.backups.into_iter().map(|it| absolute("may.backups", it)).collect::<Result<_, _>>()?,
            network: self.network,
        })
    }
}

impl GuardText {
    fn checked(self, instance: String) -> Result<Guard, String> {
        let place = format!("guards.{instance}");
        let mut end = Vec::new();
        if let Some(argv) = self.demote {
            program(&format!("{place}.demote"), &argv)?;
            let plane = Plane::Local;
            end.push(Action::Command { argv, env: BTreeMap::new(), plane, idempotent: true, reports_address: false });
        }
        if let Some(stop) = self.stop {
            end.push(Action::Service { op: ServiceOp::Kill, service: stop.checked(&format!("{place}.stop"))? });
        }
        if end.is_empty() {
            return Err(format!("`{place}` says neither `demote` nor `stop`, so nothing would end it"));
        }
        Ok(Guard { holding: Holding { component: self.component, instance }, end })
    }
}

impl StopText {
    fn checked(self, place: &str) -> Result<Service, String> {
        if let (Some(data), None, None, None, None) =
            (&self.postgres, &self.unit, &self.pid_file, &self.command, &self.status)
        {
            let data = absolute(place, data.clone())?;
            let bin = PostgresFiles::usual_bin(&data);
            return Ok(Service::Postgres(Box::new(PostgresFiles {
                data,
                bin,
                config_file: None,
                run_as: None,
                stop_grace: STOP_GRACE,
            })));
        }
        match (self.unit, self.pid_file, self.command, self.status) {
            _ if self.postgres.is_some() => Err(format!("`{place}`: `postgres` stands alone")),
            (Some(unit), None, None, None) => Ok(Service::Systemd { unit }),
            (None, pid_file, command, status) if pid_file.is_some() || (command.is_some() && status.is_some()) => {
                for argv in [&command, &status].into_iter().flatten() {
                    program(place, argv)?;
                }
                Ok(Service::Declared {
                    start: Vec::new(),
                    stop: command,
                    status,
                    pid_file: pid_file.map(|it| absolute(place, it)).transpose()?,
                    stop_grace: STOP_GRACE,
                })
            }
            _ => Err(format!(
                "`{place}` is a `unit`, the data directory of `postgres`, or a `pid_file`, or a `command` together with the `status` that sees it stopped"
            )),
        }
    }
}

fn absolute(place: &str, path: PathBuf) -> Result<PathBuf, String> {
    if path.is_absolute() { Ok(path) } else { Err(format!("`{place}`: `{}` is not an absolute path", path.display())) }
}

fn program(place: &str, argv: &[String]) -> Result<(), String> {
    match argv.first() {
        Some(program) if program.starts_with('/') => Ok(()),
        Some(program) => Err(format!("`{place}`: `{program}` is not an absolute path")),
        None => Err(format!("`{place}`: a command has at least a program")),
    }
}

/// The parser's words, and which name was probably meant.
fn with_nearest(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    let said = first.split_once("unknown field `").and_then(|it| it.1.split_once('`'));
    let nearest = said.and_then(|(unknown, rest)| {
        let known = rest.split_once("expected ").map_or("", |it| it.1);
        let names = known.trim_start_matches("one of ").split(", ").map(|it| it.trim_matches('`'));
        names.filter(|it| !it.is_empty()).max_by(|a, b| strsim::jaro(unknown, a).total_cmp(&strsim::jaro(unknown, b)))
    });
    match nearest {
        Some(name) => format!("{error}\n  the nearest name is `{name}`"),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
version: 1
agents: [[\"10.0.0.5:7400\", \"10.9.0.5:7400\"], \"agent.shop.internal:7400\"]
listen: \"10.0.0.6:7401\"
state: state
serves: true
keeps_journal: true
may:
  services: [{ unit: postgresql.service }, { pid_file: /run/app.pid }]
  commands: [[/usr/local/bin/promote-orders], [/usr/bin/pg_ctl, \"*\"]]
  files: [/var/lib/orders/promote]
  variables: [PGHOST]
  backups: [/srv/backups/orders]
  network: true
guards:
  orders-db-b: { component: orders-db, demote: [/usr/local/bin/demote], stop: { unit: postgresql.service } }
  queue-b: { component: queue, stop: { pid_file: /run/queue.pid } }
watchdog: /dev/watchdog
";

    fn error(text: &str) -> String {
        HostFile::parse(text, Path::new("/etc/mainstay")).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = HostFile::parse(WHOLE, Path::new("/etc/mainstay")).unwrap();
        assert_eq!(file.state, Path::new("/etc/mainstay/state"));
        assert_eq!(file.may.services[1], MayService::PidFile("/run/app.pid".into()));
        assert_eq!(file.may.backups, [PathBuf::from("/srv/backups/orders")]);
        assert_eq!(file.agents, ["10.0.0.5:7400", "10.9.0.5:7400", "agent.shop.internal:7400"]);
        assert_eq!(file.paths_beside("10.9.0.5:7400"), ["10.0.0.5:7400", "10.9.0.5:7400"]);
        assert_eq!(file.paths_beside("agent.shop.internal:7400"), [""; 0]);
        assert!(file.serves && file.keeps_journal && file.may.network);
        let ends: Vec<usize> = file.guards.iter().map(|it| it.end.len()).collect();
        assert_eq!(ends, [2, 1], "it is demoted first, and stopped if that was not seen");
        assert_eq!(file.watchdog.as_deref(), Some(Path::new("/dev/watchdog")));
    }

    #[test]
    fn a_small_file_may_do_nothing() {
        let file = HostFile::parse("version: 1\nagents: [\"a:1\"]\nstate: /s\n", Path::new("/")).unwrap();
        assert_eq!((file.may, file.serves, file.guards), (May::default(), false, Vec::new()));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place_and_the_nearest_name() {
        let text = WHOLE.replace("  variables:", "  varibles:");
        let said = error(&text);
        assert!(said.contains("line 11") && said.contains("`varibles`"), "{said}");
        assert!(said.contains("the nearest name is `variables`"), "{said}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, what) in [
            ("version: 1", "version: 2", "`version: 2` is not known"),
            ("10.0.0.5:7400", "10.0.0.5", "`10.0.0.5` is not an address with a port"),
            (
                "{ unit: postgresql.service }, {",
                "{ unit: a, pid_file: /b }, {",
                "each is a `unit`, a `pid_file`, or the data",
            ),
            ("[/usr/local/bin/promote-orders]", "[promote-orders]", "`promote-orders` is not an absolute path"),
            ("[/usr/local/bin/promote-orders]", "[]", "at least a program"),
            ("/var/lib/orders/promote", "promote", "`promote` is not an absolute path"),
            ("stop: { pid_file: /run/queue.pid }", "", "says neither `demote` nor `stop`"),
            ("{ pid_file: /run/queue.pid }", "{ command: [/bin/stop] }", "together with the `status`"),
            ("10.9.0.5:7400", "10.0.0.5:7400", "`10.0.0.5:7400` stands there twice"),
            ("10.0.0.6:7401", "db-a:7401", "`listen: db-a:7401` is not an address of this machine with a port"),
            ("network: true", "network: yes", "line 13"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "{from}");
            let said = error(&text);
            assert!(said.contains(what), "{to}: {said}");
        }
    }
}
