//! Starting an agent: everything that can be wrong is found before anything is done.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_engine::driver::Driver;
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Engine, Record, Refusal};
use mainstay_host::copy::sender::Source;
use mainstay_host::{Clock, Hands, Launch, TrafficLink};
use mainstay_plan::finding::{Finding, Severity};
use mainstay_plan::{Compiled, Plan, SourceFile, Time, compile_in};
use mainstay_store::{StateDir, StateDirError};
use tokio::sync::{mpsc, watch};

use crate::heartbeats::Ear;
use crate::hosts;
use crate::ledger::{Ledger, LedgerError};
use crate::operate::Agent;
use crate::places::{self, Places};
use crate::server::{self, ServerError};
use crate::surroundings;

/// How many reports of the host may wait for the loop. A probe that finds the queue full waits, and is late.
const REPORTS: usize = 65_536;

/// How to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plan's file.
    pub plan_file: PathBuf,
    /// Instead of the plan's own state directory.
    pub state_dir: Option<PathBuf>,
    /// The program that is started with `traffic --state DIR --site NAME`: this one.
    pub program: PathBuf,
    /// The program's version.
    pub version: String,
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plan's file can't be read.
    #[error("the plan {} can't be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The plan has errors.
    #[error("the plan {} has errors", plan.path.display())]
    Plan {
        /// The file, its text and what was found.
        plan: Box<PlanFile>,
    },
    /// The plan does not fit what the journal knows.
    #[error("the plan does not fit the journal")]
    Owner(#[source] Refusal),
    /// The state directory can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The journal can't be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The socket can't be opened.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// What was kept of leases can't be read.
    #[error("what was kept of leases can't be read")]
    Leases(#[source] io::Error),
    /// Signals can't be received.
    #[error("signals can't be received")]
    Signals(#[source] io::Error),
}

/// A plan's file, read and compiled.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// Where.
    pub path: PathBuf,
    /// It and the files that it includes.
    pub files: Vec<SourceFile>,
    /// The folder of the file, absolute: relative paths in the plan start there.
    pub base_dir: PathBuf,
    /// The plan, if it has no errors.
    pub plan: Option<Plan>,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl PlanFile {
    /// Reads and compiles.
    pub fn read(path: &Path) -> Result<PlanFile, StartError> {
        let unreadable = |source| StartError::Unreadable { file: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let absolute = path.canonicalize().map_err(unreadable)?;
        let base_dir = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let Compiled { plan, findings, files } =
            compile_in(&path.display().to_string(), text, &base_dir, &surroundings::REAL);
        Ok(PlanFile { path: absolute, files, base_dir, plan, findings })
    }

    /// The base folder as the journal holds it.
    pub(crate) fn base(&self) -> String {
        self.base_dir.display().to_string()
    }
}

impl Agent {
    /// Starts: reads the plan, takes the state directory, opens the journal, finds or starts the traffic process, opens the
    /// socket. Must be called inside a tokio runtime. The agent works while [`Agent::run`] does.
    pub fn start(options: Options) -> Result<Agent, StartError> {
        let file = PlanFile::read(&options.plan_file)?;
        let Some(mut plan) = file.plan.clone() else { return Err(StartError::Plan { plan: Box::new(file) }) };
        if let Some(state_dir) = options.state_dir {
            plan.state_dir = state_dir;
        }
        for finding in file.findings.iter().filter(|it| it.severity == Severity::Warning) {
            tracing::warn!(code = finding.code.text(), line = finding.span.line, "{}", finding.message);
        }
        let plan = Arc::new(plan);
        let state_dir = StateDir::open(&plan.state_dir)?;
        let (journal_events, from_journal) = mpsc::channel(1024);
        let (ledger, records) = Ledger::open(state_dir.path(), journal_events)?;
        let clock = Clock::start(newest(&records));
        let (reports, from_host) = mpsc::channel(REPORTS);
        let links = hosts::links(&plan, state_dir.path(), &options.version, clock, reports.clone())
            .map_err(StartError::Leases)?;
        let mut hands = Hands::new(clock, reports, state_dir.path());
        if let Some(links) = links {
            hands = hands.with_links(links);
        }
        let durable = watch::Sender::new(records.last().map_or(0, |it| it.0));
        let folded = records.iter().map(|(seq, record)| (*seq, record));
        let engine = Engine::new(plan.clone(), &file.base(), &options.version, folded, clock.now());
        let engine = engine.remembering(places::read(state_dir.path(), &plan.site.name, &clock));
        engine.check_plan(&plan).map_err(StartError::Owner)?;
        // Only now that it is known under which epoch: a host that comes sooner would be told a lower one.
        if let (Some(links), Some(link)) = (hands.links(), &plan.link) {
            links.set_epoch(engine.state().leadership.epoch);
            links.copy_from(Source::new(state_dir.path(), durable.subscribe()));
            for listen in std::iter::once(link.listen).chain(link.also.iter().copied()) {
                links.keep_listening(listen, state_dir.path().to_owned());
            }
        }
        for it in &engine.state().misfits {
            tracing::warn!("record {} of the journal changes nothing: {}", it.seq, it.what);
        }
        hands.prepare(&plan);
        let ear = Ear::listening(plan.heartbeats.clone(), hands.clone());
        let server = server::open(state_dir.path(), hands.clone())?;
        let launch = Launch {
            program: options.program,
            args: [
                "traffic".into(),
                "--state".into(),
                state_dir.path().into(),
                "--site".into(),
                (&plan.site.name).into(),
            ]
            .into(),
            state_dir: state_dir.path().to_owned(),
        };
        let traffic =
            (!plan.routes.is_empty()).then(|| TrafficLink::keep(launch.clone(), hands.clone(), LOCAL_PROCESS));
        tracing::info!(
            site = plan.site.name,
            mode = plan.mode.word(),
            components = plan.components.len(),
            records = records.len(),
            "the agent starts"
        );
        Agent::assemble(crate::operate::Parts {
            places: Places::keeping(state_dir.path(), &plan),
            driver: Driver::new(engine),
            plan,
            file,
            clock,
            hands,
            traffic,
            launch,
            ledger,
            durable,
            from_journal,
            from_host,
            server,
            ear,
            state_dir,
            version: options.version,
        })
        .map_err(StartError::Signals)
    }
}

fn newest(records: &[(u64, Record)]) -> Time {
    records.last().map_or(Time::ZERO, |it| it.1.at)
}
