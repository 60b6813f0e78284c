//! The loop.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mainstay_api as api;
use mainstay_engine::codec::encode;
use mainstay_engine::driver::{Driver, Todo, Turn};
use mainstay_engine::effect::{Grant, Line, NoticeLevel, Order, Telling};
use mainstay_engine::record::{ReportedTarget, StepRef};
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_engine::{Body, Input, NoticeId};
use mainstay_host::lease::book::Holding;
use mainstay_host::links::Registered;
use mainstay_host::{Clock, Hands, Job, JobOf, Launch, Links, Report, TrafficLink};
use mainstay_plan::routing::TrafficReport;
use mainstay_plan::{Plan, ProbeIx, Time};
use mainstay_store::{Event, StateDir};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::crash::{self, Moment};
use crate::evacuations;
use crate::heartbeats::Ear;
use crate::hosts;
use crate::ledger::{Ledger, Told};
use crate::pace::{Change, Pace};
use crate::past::Past;
use crate::places::Places;
use crate::server::{Ask, Server};
use crate::start::PlanFile;
use crate::view;

/// How many reports one turn takes in, so that a flood of them does not keep others waiting.
const REPORTS_A_TURN: usize = 1024;

/// How long an operator waits for a host to have copied what he said.
const COPIED_WITHIN: Duration = Duration::from_secs(1);

/// How long an orderly end may take.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Sleeping longer than this gains nothing.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How much trouble of one kind is kept for people.
const TROUBLE: usize = 64;

/// A running agent.
pub struct Agent {
    driver: Driver,
    plan: Arc<Plan>,
    file: PlanFile,
    clock: Clock,
    hands: Hands,
    traffic: Option<TrafficLink>,
    launch: Launch,
    ledger: Ledger,
    /// The number of the last record that is on the disk, for whoever copies the journal.
    durable: watch::Sender<u64>,
    from_journal: mpsc::Receiver<Event>,
    from_host: mpsc::Receiver<Report>,
    server: Server,
    ear: Ear,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    /// Held until the agent ends, so that no other uses the directory.
    _state_dir: StateDir,
    version: String,
    started: Time,
    times_late: u64,
    pace: Pace,
    past: Past,
    places: Places,
    tickets: BTreeMap<u64, StepRef>,
    /// Messages on their way: over which channel, of which notice, and which of its messages.
    tellings: BTreeMap<u64, (String, NoticeId, u32)>,
    next_ticket: u64,
    outcomes: u64,
    /// Operators who wait for their command to be durable.
    askers: BTreeMap<u64, oneshot::Sender<Result<u64, api::Problem>>>,
    unprepared: Vec<String>,
    traffic_report: Option<Box<TrafficReport>>,
    traffic_lost: Option<String>,
}

/// What an agent is made of.
pub(crate) struct Parts {
    pub(crate) places: Places,
    pub(crate) driver: Driver,
    pub(crate) plan: Arc<Plan>,
    pub(crate) file: PlanFile,
    pub(crate) clock: Clock,
    pub(crate) hands: Hands,
    pub(crate) traffic: Option<TrafficLink>,
    pub(crate) launch: Launch,
    pub(crate) ledger: Ledger,
    pub(crate) durable: watch::Sender<u64>,
    pub(crate) from_journal: mpsc::Receiver<Event>,
    pub(crate) from_host: mpsc::Receiver<Report>,
    pub(crate) server: Server,
    pub(crate) ear: Ear,
    pub(crate) state_dir: StateDir,
    pub(crate) version: String,
}

/// What woke the loop.
enum Woken {
    Host(Report),
    Journal(Event),
    Asked(Ask),
    Due,
    Reload,
    Stop(&'static str),
}

impl Agent {
    pub(crate) fn assemble(parts: Parts) -> io::Result<Agent> {
        Ok(Agent {
            started: parts.clock.now(),
            pace: Pace::new(parts.clock.now()),
            past: Past::new(&parts.plan, parts.clock.now()),
            places: parts.places,
            driver: parts.driver,
            plan: parts.plan,
            file: parts.file,
            clock: parts.clock,
            hands: parts.hands,
            traffic: parts.traffic,
            launch: parts.launch,
            ledger: parts.ledger,
            durable: parts.durable,
            from_journal: parts.from_journal,
            from_host: parts.from_host,
            server: parts.server,
            ear: parts.ear,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _state_dir: parts.state_dir,
            version: parts.version,
            times_late: 0,
            tickets: BTreeMap::new(),
            tellings: BTreeMap::new(),
            next_ticket: 1,
            outcomes: 0,
            askers: BTreeMap::new(),
            unprepared: Vec::new(),
            traffic_report: None,
            traffic_lost: None,
        })
    }

    /// Works until a signal ends it. The traffic process goes on serving; what is said of that is returned.
    pub async fn run(self) -> Option<String> {
        // As a task it shares threads with the probes that it asks; from a thread of its own it would wake them for each.
        match tokio::spawn(self.work()).await {
            Ok(left) => left,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled_with_the_runtime) => None,
            },
        }
    }

    async fn work(mut self) -> Option<String> {
        self.turn(Vec::new());
        loop {
            let wake = self.sleep_for();
            let woken = tokio::select! {
                biased;
                Some(event) = self.from_journal.recv() => Woken::Journal(event),
                Some(ask) = self.server.asks.recv() => Woken::Asked(ask),
                _ = self.terminate.recv() => Woken::Stop("SIGTERM"),
                _ = self.interrupt.recv() => Woken::Stop("SIGINT"),
                _ = self.hangup.recv() => Woken::Reload,
                Some(report) = self.from_host.recv() => Woken::Host(report),
                () = tokio::time::sleep(wake) => Woken::Due,
            };
            match woken {
                Woken::Due => self.turn(Vec::new()),
                Woken::Journal(event) => self.on_journal(event),
                Woken::Host(report) => self.on_reports(report),
                Woken::Asked(ask) => self.on_ask(ask),
                Woken::Reload => self.reload(),
                Woken::Stop(signal) => return self.stop(signal).await,
            }
        }
    }

    fn sleep_for(&self) -> Duration {
        let now = self.clock.now();
        self.driver.engine().next_wakeup().map_or(LONGEST_SLEEP, |(at, _)| at.since(now).min(LONGEST_SLEEP))
    }

    /// One turn: inputs in, records and orders out.
    fn turn(&mut self, inputs: Vec<Input>) {
        let Turn { first_seq, append, todo } = self.driver.turn(self.clock.now(), inputs);
        self.times_late += append.iter().filter(|it| matches!(it.body, Body::OwnLateness { .. })).count() as u64;
        self.places.keep(self.driver.engine(), self.clock.now());
        let told = self.ledger.append(first_seq, append.iter().map(encode).collect());
        for todo in todo {
            self.perform(todo);
        }
        if let Some(told) = told {
            self.on_told(told);
        }
    }

    fn perform(&mut self, todo: Todo) {
        match todo {
            Todo::Probe(probe, at) => self.hands.probe(&self.plan, probe, at),
            Todo::Act(order) => {
                let ticket = self.ticket();
                self.tickets.insert(ticket, order.step);
                tracing::info!(instance = order.instance, key = order.key, "acting");
                let of = self.what_it_belongs_to(&order);
                let (action, key, timeout, address) = (order.action, order.key, order.timeout, order.address);
                self.hands.act(Job { ticket, action, key, timeout, address, of });
            }
            Todo::Cancel(step) => {
                let found = self.tickets.iter().find(|it| *it.1 == step).map(|it| *it.0);
                if let Some(ticket) = found {
                    self.tickets.remove(&ticket);
                    self.hands.cancel(ticket);
                }
            }
            Todo::Route(table) => {
                if let Some(links) = self.hands.links() {
                    links.serve(&table);
                }
                if let Some(traffic) = &self.traffic {
                    traffic.serve(table);
                }
            }
            Todo::Grant(grants) => {
                if let Some(links) = self.hands.links() {
                    let holding = |it: Grant| Holding { component: it.component, instance: it.instance };
                    links.grant(grants.into_iter().map(holding));
                }
            }
            // No network carries the leases of agents yet, so that none asks for one.
            Todo::AskLease | Todo::HearTraffic(_) => {}
            Todo::Log(line) => log(&line),
            Todo::Notify(telling) => self.notify(telling),
        }
    }

    fn what_it_belongs_to(&self, order: &Order) -> JobOf {
        let instance = self.plan.instance_named(&order.instance).map(|it| self.plan.instance(it));
        JobOf {
            recovery: order.step.recovery.0,
            step: format!("{}.{}", order.step.rung + 1, order.step.step + 1),
            attempt: order.step.attempt,
            epoch: order.epoch,
            instance: order.instance.clone(),
            component: instance.map(|it| self.plan.component(it.component).name.clone()).unwrap_or_default(),
            keeper: order.host.clone(),
            needs_lease: order.needs_lease,
        }
    }

    const fn ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn notify(&mut self, telling: Telling) {
        let Telling { channel, notice, nth, key, text, .. } = telling;
        // A plan that was read meanwhile may have no such channel, and then the engine has forgotten the message, too.
        let Some(carrier) = self.plan.notifications.iter().find(|it| it.name == channel).cloned() else { return };
        let (seq, hash) = self.ledger.head();
        let text = format!("[{}] {text} (journal {seq}:{hash})", self.plan.site.name);
        let ticket = self.ticket();
        self.tellings.insert(ticket, (channel, notice, nth));
        self.hands.tell(&carrier, ticket, key, &text);
    }

    fn on_journal(&mut self, event: Event) {
        if let Some(told) = self.ledger.on_event(event) {
            self.on_told(told);
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Recorded(seq) => {
                if self.ledger.lost.is_none() {
                    self.durable.send_replace(seq);
                }
                self.answer_askers(seq);
                self.turn(vec![Input::Recorded(seq)]);
            }
            Told::Lost(reason) => {
                let all = self.driver.engine().state().seq;
                self.answer_askers(all);
                self.turn(vec![Input::JournalLost { reason }, Input::Recorded(all)]);
            }
        }
    }

    /// Tells operators whose commands stand in records up to `seq` that these are as durable as they will get: where hosts keep the
    /// journal, once one of them has it, or does not say so in time.
    fn answer_askers(&mut self, seq: u64) {
        let rest = self.askers.split_off(&(seq + 1));
        for (at, asker) in std::mem::replace(&mut self.askers, rest) {
            match self.hands.links().cloned() {
                None => {
                    let _ = asker.send(Ok(at));
                }
                Some(links) => {
                    tokio::spawn(async move {
                        links.is_copied(at, COPIED_WITHIN).await;
                        let _ = asker.send(Ok(at));
                    });
                }
            }
        }
    }

    fn on_reports(&mut self, first: Report) {
        let mut inputs = Vec::new();
        self.take(first, &mut inputs);
        for _ in 1..REPORTS_A_TURN {
            let Ok(report) = self.from_host.try_recv() else { break };
            self.take(report, &mut inputs);
        }
        if inputs.is_empty() {
            return;
        }
        let answered: Vec<(ProbeIx, Time, Time)> = inputs.iter().filter_map(answered).collect();
        self.turn(inputs);
        for (probe, started, ended) in answered {
            self.note(probe, started, ended);
        }
    }

    /// Counts an answer as the engine took it: it may not have believed it.
    fn note(&mut self, probe: ProbeIx, started: Time, ended: Time) {
        let engine = self.driver.engine();
        let watch = engine.soft().watch(probe);
        let Some((answer, _)) = watch.last.as_ref().filter(|it| it.1 == ended) else { return };
        let allowed = engine.state().plan.allowances.lateness;
        let is_late = watch.late > allowed || answer.is_own_lateness();
        self.past.note(probe, ended, ended.since(started), answer, is_late);
        match self.pace.note(ended, watch.late, is_late) {
            Some(Change::Behind(text)) => tracing::warn!("{text}"),
            Some(Change::CaughtUp) => tracing::info!("the agent keeps up with its probes again"),
            None => {}
        }
    }

    fn take(&mut self, report: Report, inputs: &mut Vec<Input>) {
        match report {
            Report::Observed(observation) => inputs.push(Input::Observation(observation)),
            Report::AllObserved(all) => inputs.extend(all.into_iter().map(Input::Observation)),
            Report::Ended { ticket, outcome } => {
                self.outcomes += 1;
                let nth = self.outcomes;
                crash::point(|it| it == Moment::BeforeOutcome(nth));
                if let Some(step) = self.tickets.remove(&ticket) {
                    tracing::info!(outcome = outcome.word(), recovery = %step.recovery, "an action ended");
                    inputs.push(Input::Outcome { step, outcome });
                }
            }
            Report::Told { ticket, outcome } => {
                if let Some((channel, notice, nth)) = self.tellings.remove(&ticket) {
                    inputs.push(Input::Told { channel, notice, nth, outcome });
                }
            }
            Report::TrafficServes { process, report } => {
                let targets = ReportedTarget::all_of(&report.table);
                let is_here = process == LOCAL_PROCESS;
                inputs.push(Input::TrafficServes { process, epoch: report.table.epoch, targets });
                if is_here {
                    self.traffic_lost = None;
                    self.traffic_report = Some(report);
                }
            }
            Report::TrafficApplied { process, epoch } => inputs.push(Input::RouteApplied { process, epoch }),
            Report::TrafficRefused { process, epoch, reason } => {
                tracing::error!(process, epoch, reason, "the traffic process refused a routing table");
                inputs.push(Input::RouteRefused { process, epoch, reason });
            }
            Report::TrafficStands { process, report } => {
                let epoch = report.table.epoch;
                let is_here = process == LOCAL_PROCESS;
                if self.driver.engine().is_overtaken_by(epoch) {
                    let targets = ReportedTarget::all_of(&report.table);
                    inputs.push(Input::TrafficServes { process, epoch, targets });
                }
                if is_here {
                    self.traffic_report = Some(report);
                }
            }
            Report::ClientsFailed { instances } => {
                let plan = &self.driver.engine().state().plan;
                let found = instances.iter().filter_map(|it| plan.instance_named(it));
                inputs.extend(found.map(|instance| Input::ClientsFailed { instance }));
            }
            Report::TrafficLost { process, reason } => {
                tracing::warn!(process, reason, "the traffic process can't be reached");
                if process == LOCAL_PROCESS {
                    self.traffic_report = None;
                    self.traffic_lost = Some(reason);
                }
            }
            Report::TrafficSilent { process, since } => {
                tracing::warn!(process, "nothing is heard of a traffic process");
                inputs.push(Input::TrafficSilent { process, since });
            }
            Report::HostRefused { who, why } => {
                tracing::warn!(who, why, "somebody came as a host and was turned away");
                inputs.push(Input::HostRefused { who, why });
            }
            Report::Unprepared { what } => {
                tracing::warn!("{what}");
                if self.unprepared.len() < TROUBLE && !self.unprepared.contains(&what) {
                    self.unprepared.push(what);
                }
            }
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Status(answer) => {
                let _ = answer.send(self.status());
            }
            Ask::Probing(answer) => {
                let _ = answer.send(self.pace.shown());
            }
            Ask::Probes { of, answer } => {
                let now = self.clock.now();
                let mut shown = self.past.shown(self.driver.engine(), of.as_deref(), now);
                if of.is_none() {
                    shown.names = self.hands.names().into_iter().map(|it| view::host_name(it, now)).collect();
                }
                let _ = answer.send(shown);
            }
            Ask::Hosts(answer) => {
                let _ = answer.send(hosts::view(self.hands.links(), self.clock.now()));
            }
            Ask::Notices(answer) => {
                let _ = answer.send(view::notices(self.driver.engine().state(), self.clock.now()));
            }
            Ask::Recoveries(answer) => {
                let recoveries = view::recoveries(self.driver.engine().state(), self.clock.now());
                let _ = answer.send(api::Recoveries { now_ns: self.clock.now().as_nanos(), recoveries });
            }
            Ask::Foreseen { command, by, answer } => {
                let now = self.clock.now();
                let foreseen = view::command(command, now)
                    .and_then(|it| evacuations::foreseen(self.driver.engine(), &it, &by, now));
                let _ = answer.send(foreseen);
            }
            Ask::Command { command, by, answer } => {
                let checked = view::command(command, self.clock.now()).and_then(|command| {
                    let refused = view::refused;
                    self.driver.engine().check_command(&command, &by).map_err(refused).map(|()| command)
                });
                match checked {
                    Ok(command) => {
                        // The command is the first fact of its turn, so its record is the turn's first.
                        tracing::info!(by, ?command, "an operator speaks");
                        let seq = self.driver.engine().state().seq + 1;
                        self.askers.insert(seq, answer);
                        self.turn(vec![Input::Command { command, by }]);
                    }
                    Err(problem) => {
                        let _ = answer.send(Err(problem));
                    }
                }
            }
        }
    }

    fn status(&self) -> api::Status {
        let engine = self.driver.engine();
        let state = engine.state();
        let now = self.clock.now();
        let (seq, hash) = self.ledger.head();
        api::Status {
            now_ns: now.as_nanos(),
            site: self.plan.site.name.clone(),
            mode: self.plan.mode.word().to_owned(),
            agent: api::Agent {
                pid: std::process::id(),
                version: self.version.clone(),
                started_ns: self.started.as_nanos(),
                times_late: self.times_late,
                probing: self.pace.shown(),
            },
            plan: api::PlanInForce { file: self.file.path.display().to_string(), hash: self.plan.hash.clone() },
            journal: api::Journal { seq, hash, waiting: self.ledger.waiting.clone(), lost: self.ledger.lost.clone() },
            traffic: view::traffic(state, self.traffic_report.as_deref(), self.traffic_lost.as_deref()),
            halted: state.site.halted.as_ref().map(view::halt),
            paused: state.paused.as_ref().filter(|it| it.until > now).map(view::pause),
            drains: view::drains(state, now),
            evacuations: evacuations::all(state, now),
            incidents: view::incidents(state),
            components: view::components(engine, now),
            control_planes: view::control_planes(engine),
            rules: view::rules(engine, now),
            notices: view::notice_count(state),
            trouble: (self.unprepared.iter().cloned())
                .chain(self.ledger.trouble())
                .chain(self.pace.trouble())
                .chain(self.ear.trouble())
                .chain(view::unresolved(self.hands.names()))
                .chain(mainstay_engine::elsewhere::trouble(state))
                .chain(self.hands.links().map(Links::trouble).unwrap_or_default())
                .collect(),
        }
    }

    /// Reads the plan again. A plan that can't be used is refused, and the old one stays.
    fn reload(&mut self) {
        let refuse = |why: &str| tracing::warn!("the plan was not reloaded, the old one stays: {why}");
        let file = match PlanFile::read(&self.file.path) {
            Ok(file) => file,
            Err(error) => return refuse(&error.to_string()),
        };
        let Some(mut plan) = file.plan.clone() else {
            let errors = file.findings.len();
            let path = file.path.display();
            return refuse(&format!("it has {errors} errors; `mainstay check {path}` shows them"));
        };
        plan.state_dir.clone_from(&self.plan.state_dir);
        if plan.site.name != self.plan.site.name {
            return refuse("the site's name changed, which needs a new start");
        }
        if plan.link != self.plan.link {
            return refuse("`link` changed, which needs a new start");
        }
        if let Some(open) = self.driver.engine().state().open_recoveries().next() {
            return refuse(&format!("recovery {} is open; reload when it has ended, or abort it", open.id));
        }
        if let Some((_, open)) = self.driver.engine().state().open_repairs().next() {
            return refuse(&format!("repair {} is under way; reload when it has ended", open.id));
        }
        if let Err(error) = self.driver.engine().check_plan(&plan) {
            return refuse(&error.to_string());
        }
        if plan.hash == self.plan.hash {
            tracing::info!("the plan has not changed");
            return;
        }
        let plan = Arc::new(plan);
        tracing::info!(hash = plan.hash, "the plan was reloaded");
        self.unprepared.clear();
        if let Some(links) = self.hands.links() {
            links.register(Registered::of(&plan));
        }
        self.hands.prepare(&plan);
        self.ear.listen(plan.heartbeats.clone());
        if self.traffic.is_none() && !plan.routes.is_empty() {
            self.traffic = Some(TrafficLink::keep(self.launch.clone(), self.hands.clone(), LOCAL_PROCESS));
        }
        let base_dir = file.base();
        self.past.carry_over(&self.plan, &plan);
        self.places.under(&plan);
        self.plan = plan.clone();
        self.file = file;
        self.turn(vec![Input::NewPlan { plan, base_dir }]);
    }

    async fn stop(mut self, signal: &str) -> Option<String> {
        tracing::info!(signal, "the agent ends");
        self.turn(vec![Input::Stopping { reason: signal.to_owned() }]);
        let pid = self.traffic_report.as_ref().map(|it| it.pid);
        let state_dir = self.plan.state_dir.display().to_string();
        let ledger = self.ledger;
        let mut from_journal = self.from_journal;
        // The journal's threads must not wait for a loop that has ended.
        let drained = tokio::spawn(async move { while from_journal.recv().await.is_some() {} });
        let _ = tokio::task::spawn_blocking(move || ledger.close(ENDS_WITHIN)).await;
        drained.abort();
        pid.map(|pid| {
            format!("traffic process {pid} keeps serving; to end it: mainstay traffic --stop --state {state_dir}")
        })
    }
}

fn answered(input: &Input) -> Option<(ProbeIx, Time, Time)> {
    if let Input::Observation(it) = input { Some((it.probe, it.started, it.ended)) } else { None }
}

fn log(line: &Line) {
    match line.level {
        NoticeLevel::Info => tracing::info!("{}", line.text),
        NoticeLevel::Warning => tracing::warn!("{}", line.text),
        NoticeLevel::Error => tracing::error!("{}", line.text),
    }
}
