//! Asking probes and performing jobs, each in a task of its own: a slow or black-holed target delays nobody else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::backup::{Keeper, KeepingJob};
use mainstay_plan::notification::NotificationChannel;
use mainstay_plan::observation::{Answer, OWN_LATENESS, Observation};
use mainstay_plan::probe::ProbeKind;
use mainstay_plan::routing::TrafficReport;
use mainstay_plan::{ComponentIx, Plan, ProbeIx, Time};
use mainstay_providers::{Asking, Beginner, Order, ProbeAnswer, Providers, ResolvedName};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::links::{Links, could_not_ask};
use crate::pulse::Pulse;
use crate::rounds::Rounds;

/// How long telling people may take.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long good answers of many probes are gathered.
const GATHER: Duration = Duration::from_millis(2);

/// What a host reports.
#[derive(Debug)]
pub enum Report {
    /// A probe answered.
    Observed(Observation),
    /// Several did.
    AllObserved(Vec<Observation>),
    /// A job ended.
    Ended {
        /// Its ticket.
        ticket: u64,
        /// How.
        outcome: Outcome,
    },
    /// A channel said what became of a message.
    Told {
        /// Its ticket.
        ticket: u64,
        /// What.
        outcome: Outcome,
    },
    /// The connection to the traffic process is new; this is what it serves.
    TrafficServes {
        /// Which process.
        process: String,
        /// What.
        report: Box<TrafficReport>,
    },
    /// The traffic process serves this epoch, and it is on its disk.
    TrafficApplied {
        /// Which process.
        process: String,
        /// The epoch.
        epoch: u64,
    },
    /// The traffic process refused a table.
    TrafficRefused {
        /// Which process.
        process: String,
        /// The epoch that was refused.
        epoch: u64,
        /// Why.
        reason: String,
    },
    /// What it serves, said again now and then.
    TrafficStands {
        /// Which process.
        process: String,
        /// What.
        report: Box<TrafficReport>,
    },
    /// Clients could not reach these instances through a proxy.
    ClientsFailed {
        /// Their names.
        instances: Vec<String>,
    },
    /// The traffic process can't be reached.
    TrafficLost {
        /// Which process.
        process: String,
        /// Why.
        reason: String,
    },
    /// The host of a traffic process is silent, and so is the process for all that is known.
    TrafficSilent {
        /// Which process.
        process: String,
        /// The last moment at which it may have had a word of this agent.
        since: Time,
    },
    /// Something that will not work was found beforehand.
    Unprepared {
        /// Which probe or step, and why.
        what: String,
    },
    /// Somebody came as a host and was turned away.
    HostRefused {
        /// Who, as far as it is known.
        who: String,
        /// Why.
        why: String,
    },
}

/// One action to perform.
#[derive(Clone, Debug)]
pub struct Job {
    /// Comes back with the outcome.
    pub ticket: u64,
    /// What.
    pub action: Action,
    /// Visible to the callee.
    pub key: String,
    /// After this the outcome is unknown.
    pub timeout: Duration,
    /// Where the instance is that it is done to, if not where the plan says.
    pub address: Option<IpAddr>,
    /// What it belongs to.
    pub of: JobOf,
}

/// What a job belongs to: a host on another machine is told, and holds its orders against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobOf {
    /// The recovery.
    pub recovery: u64,
    /// The step, for people.
    pub step: String,
    /// From 1; grows with each try.
    pub attempt: u32,
    /// The epoch that it is ordered under.
    pub epoch: u64,
    /// The instance that it is done to.
    pub instance: String,
    /// The component that this can be.
    pub component: String,
    /// The host that does what a series of backups needs; `None`: the agent's own machine.
    pub keeper: Option<String>,
    /// Whether it may be done only while the host holds the lease of that component for that instance.
    pub needs_lease: bool,
}

/// The hands.
#[derive(Clone)]
pub struct Hands {
    clock: Clock,
    providers: Providers,
    reports: mpsc::Sender<Report>,
    rounds: Arc<Mutex<Option<Arc<Rounds>>>>,
    pulse: Pulse,
    gathered: Arc<Mutex<Vec<Observation>>>,
    running: Arc<Mutex<BTreeMap<u64, AbortHandle>>>,
    /// Hosts on other machines, if there are any.
    links: Option<Links>,
}

impl Hands {
    /// Hands that stamp with `clock` and report to `reports`. Must be used inside a tokio runtime.
    /// Calls of jobs are kept below `state_dir`.
    pub fn new(clock: Clock, reports: mpsc::Sender<Report>, state_dir: &Path) -> Hands {
        Hands {
            clock,
            providers: Providers::keeping_heartbeats(state_dir.join("heartbeats")),
            reports,
            rounds: Arc::default(),
            pulse: Pulse::start(),
            gathered: Arc::default(),
            running: Arc::default(),
            links: None,
        }
    }

    /// The same, with hosts on other machines.
    #[must_use]
    pub fn with_links(self, links: Links) -> Hands {
        Hands { links: Some(links), ..self }
    }

    /// Hosts on other machines, if there are any.
    pub const fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// The host names that probes and steps go by, and what the system's resolver said about them.
    pub fn names(&self) -> Vec<ResolvedName> {
        self.providers.names()
    }

    /// Takes the call of a job. `false`: the plan waits for none of that name.
    pub async fn heartbeat(&self, name: &str) -> bool {
        match self.providers.heartbeat(name).await {
            Ok(known) => known,
            Err(error) => {
                let what = format!("heartbeat {name}: after a restart nobody will know of this call: {error}");
                self.report(Report::Unprepared { what }).await;
                true
            }
        }
    }

    /// No job could be heard until now: the silence of none of them counts.
    pub fn listens_anew(&self) {
        self.providers.listens_anew();
    }

    /// Reads ahead what the plan's probes and steps need, and reports what would not work.
    pub fn prepare(&self, plan: &Arc<Plan>) {
        for probe in &plan.probes {
            self.providers.listen(&probe.kind);
        }
        let (hands, plan) = (self.clone(), plan.clone());
        tokio::spawn(async move {
            let elsewhere = |ix: usize| {
                let ix = u32::try_from(ix).map(ProbeIx).ok();
                ix.is_some_and(|ix| hands.links.as_ref().is_some_and(|it| it.asks(ix).is_some()))
            };
            for (_, probe) in plan.probes.iter().enumerate().filter(|it| !elsewhere(it.0)) {
                if let Err(error) = hands.providers.prepare_probe(&probe.kind).await {
                    hands.report(Report::Unprepared { what: format!("probe {}: {error}", probe.name) }).await;
                }
            }
            for (component, keeper, action) in keepings(&plan) {
                if keeper.is_some() {
                    continue;
                }
                if let Err(error) = hands.providers.prepare_action(&action).await {
                    hands.report(Report::Unprepared { what: format!("backups of {component}: {error}") }).await;
                }
            }
            for (component, on, action) in actions(&plan) {
                if hands.links.as_ref().is_some_and(|it| it.does(on, action).is_some()) {
                    continue;
                }
                if let Err(error) = hands.providers.prepare_action(action).await {
                    hands.report(Report::Unprepared { what: format!("recovery of {component}: {error}") }).await;
                }
            }
        });
    }

    /// Asks a probe, at that address if its instance is not where the plan says; the answer is reported.
    pub fn probe(&self, plan: &Arc<Plan>, ix: ProbeIx, at: Option<IpAddr>) {
        let hands = self.clone();
        let plan = plan.clone();
        let rounds = self.rounds(&plan);
        tokio::spawn(async move {
            let probe = plan.probe(ix);
            let turn = rounds.turn(ix).await;
            let started = hands.clock.now();
            let got = match turn {
                Ok(_turn) => {
                    let asking = Asking { at, from: rounds.from(ix), timeout: probe.timing.timeout };
                    match hands.links.as_ref().and_then(|it| Some((it, it.asks(ix)?))) {
                        Some((links, host)) => {
                            links.ask(&host, &probe.kind, asking).await.unwrap_or_else(could_not_ask)
                        }
                        None => hands.ask(&probe.kind, asking, plan.allowances.lateness).await,
                    }
                }
                Err(why) => Answer::CouldNotAsk(why).into(),
            };
            let ended = hands.clock.now();
            let ProbeAnswer { answer, lag, role, concerns, position } = got;
            let observation = Observation { probe: ix, started, ended, answer, lag, role, concerns, position };
            if rounds.are_many() && observation.answer == Answer::Good {
                hands.gather(observation);
            } else {
                hands.report(Report::Observed(observation)).await;
            }
        });
    }

    /// Asks here. A silence is believed only if this process was not late by more than `allowed`.
    pub(crate) async fn ask(&self, kind: &ProbeKind, asking: Asking, allowed: Duration) -> ProbeAnswer {
        let late_before = self.pulse.late();
        let got = self.providers.ask(kind, asking).await;
        let late = self.pulse.late().saturating_sub(late_before);
        believed(got, late, asking.timeout, allowed)
    }

    /// Good answers of many probes are reported together: the loop turns once for all of them. A failure is never kept back.
    fn gather(&self, observation: Observation) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.push(observation);
        if gathered.len() == 1 {
            let hands = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                let all = std::mem::take(&mut *hands.gathered.lock().unwrap_or_else(PoisonError::into_inner));
                hands.report(Report::AllObserved(all)).await;
            });
        }
    }

    fn rounds(&self, plan: &Arc<Plan>) -> Arc<Rounds> {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        match &*rounds {
            Some(rounds) if rounds.are_of(plan) => rounds.clone(),
            Some(_) | None => rounds.insert(Arc::new(Rounds::of(plan))).clone(),
        }
    }

    /// Performs a job; its outcome is reported, unless it is cancelled first.
    pub fn act(&self, job: Job) {
        if let (Some(links), Action::EndLease { component }) = (&self.links, &job.action) {
            let ended = links.end_lease(component, &job.of.instance);
            return self.run(job.ticket, ended);
        }
        if let Some((links, host)) = self.links.as_ref().and_then(|it| Some((it, it.performs(&job)?))) {
            return links.act(host, job);
        }
        let providers = self.providers.clone();
        self.run(job.ticket, async move {
            let order = Order { idempotency_key: job.key, timeout: job.timeout, address: job.address };
            providers.act(&job.action, &order).await
        });
    }

    /// Looks what became of a job that another process had begun, and does nothing; that is reported as its end.
    pub fn look(&self, job: Job, begun_by: Option<Beginner>) {
        let providers = self.providers.clone();
        self.run(job.ticket, async move {
            let order = Order { idempotency_key: job.key, timeout: job.timeout, address: job.address };
            providers.look(&job.action, &order, begun_by).await
        });
    }

    fn run(&self, ticket: u64, work: impl Future<Output = Outcome> + Send + 'static) {
        let hands = self.clone();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tokio::spawn(async move {
            let outcome = work.await;
            hands.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
            hands.report(Report::Ended { ticket, outcome }).await;
        });
        running.insert(ticket, task.abort_handle());
    }

    /// Ends a job that is still being done. Nothing is reported of it any more.
    pub fn cancel(&self, ticket: u64) {
        if self.links.as_ref().is_some_and(|it| it.cancel(ticket)) {
            return;
        }
        if let Some(task) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket) {
            task.abort();
        }
    }

    /// Tells people over a channel; what became of that is reported under `ticket`.
    pub fn tell(&self, channel: &NotificationChannel, ticket: u64, key: String, text: &str) {
        let hands = self.clone();
        let name = channel.name.clone();
        let action = with_message(&channel.action, text);
        tokio::spawn(async move {
            let order = Order { idempotency_key: key, timeout: NOTICE_TIMEOUT, address: None };
            let outcome = hands.providers.act(&action, &order).await;
            match &outcome {
                Outcome::Done
                | Outcome::DoneAt(_)
                | Outcome::LeaseOver(_)
                | Outcome::DoneLosing(_)
                | Outcome::Kept(_) => {}
                Outcome::Failed(why) | Outcome::Unknown(why) => {
                    tracing::warn!(channel = name, why, "a notification may not have arrived; it is tried again");
                }
            }
            hands.report(Report::Told { ticket, outcome }).await;
        });
    }

    pub(crate) async fn report(&self, report: Report) {
        // The receiver is gone only when the agent ends, and then nobody wants to know.
        let _ = self.reports.send(report).await;
    }
}

/// A silence is believed only if whoever was asked had most of the timeout, with us there to hear it.
fn believed(got: ProbeAnswer, late: Duration, timeout: Duration, allowed: Duration) -> ProbeAnswer {
    if got.answer == Answer::TimedOut && late > allowed.min(timeout / 2) {
        return Answer::CouldNotAsk(format!("{OWN_LATENESS}, by {} ms", late.as_millis())).into();
    }
    got
}

/// What the plan's series of backups need: of which component, and the host that does it; `None`: the agent's own machine.
pub(crate) fn keepings(plan: &Plan) -> impl Iterator<Item = (&str, Option<&str>, Action)> {
    (0u32..).map(ComponentIx).zip(&plan.components).flat_map(move |(ix, component)| {
        let kept = component.backups.iter().filter(|it| it.kept_by_agent().is_some());
        kept.flat_map(move |backup| {
            let keeper = match plan.keeper(backup) {
                Keeper::Agent => Some(None),
                Keeper::Host(host) => Some(Some(host.name.as_str())),
                Keeper::Nobody(_) => None,
            };
            let each = move |job| Some((component.name.as_str(), keeper?, plan.keeping(ix, backup, job, |_| None)?));
            KeepingJob::ALL.into_iter().filter_map(each)
        })
    })
}

/// What the plan's steps do, and what would undo it: of which component, to which instance.
pub(crate) fn actions(plan: &Plan) -> impl Iterator<Item = (&str, &str, &Action)> {
    plan.components.iter().flat_map(move |component| {
        let steps = component.ladder.iter().flat_map(|rung| rung.plays.values()).flat_map(|play| &play.steps);
        steps
            .flat_map(|step| {
                let done = step.kind.action();
                let undone = step.undo.as_ref().and_then(|it| Some((done?.0, &it.action)));
                done.into_iter().chain(undone)
            })
            .map(move |(on, action)| (component.name.as_str(), plan.instance(on).name.as_str(), action))
    })
}

/// The channel's action with the text where its kind takes it: a command in `MAINSTAY_MESSAGE`, a webhook as its body
/// unless it has one of its own, a file as its content.
fn with_message(action: &Action, text: &str) -> Action {
    let mut action = action.clone();
    match &mut action {
        Action::Command { env, .. } => {
            env.insert("MAINSTAY_MESSAGE".to_owned(), text.to_owned());
        }
        Action::Webhook { body, headers, .. } if body.is_empty() => {
            headers.entry("content-type".to_owned()).or_insert_with(|| "application/json".to_owned());
            *body = serde_json::json!({ "text": text }).to_string();
        }
        Action::TriggerFile { content, .. } => text.clone_into(content),
        Action::Webhook { .. } | Action::Service { .. } | Action::Postgres(_) | Action::EndLease { .. } => {}
    }
    action
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a probe of a server that never answers gets, while this process is held up for so long.
    async fn asked(held_up: Duration) -> Answer {
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let at = silent.local_addr().expect("it is bound");
        let text = format!(
            "version: 2\nsite: {{ name: s, region: eu }}\ncomponents:\n  web:\n    type: cache\n    location: {{ region: eu, zone: a }}\n    \
             probes: [{{ http: {{ url: \"http://{at}/\", interval: 1s, timeout: 200ms }} }}]\n"
        );
        let compiled = mainstay_plan::compile("plan.yaml", &text, std::path::Path::new("/"));
        let plan = Arc::new(compiled.plan.expect("a sound plan"));
        let (sender, mut reports) = mpsc::channel(8);
        let hands = Hands::new(Clock::start(Time::ZERO), sender, Path::new("/nowhere"));
        hands.probe(&plan, ProbeIx(0), None);
        // The question is on its way, and the pulse beats.
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::thread::sleep(held_up);
        match reports.recv().await {
            Some(Report::Observed(observation)) => observation.answer,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn our_own_lateness_is_not_taken_for_silence() {
        let mut answer = asked(Duration::ZERO).await;
        for _ in 0..5 {
            // A busy machine may really hold us up.
            if answer != Answer::TimedOut {
                answer = asked(Duration::ZERO).await;
            }
        }
        assert_eq!(answer, Answer::TimedOut);
        let answer = asked(Duration::from_millis(170)).await;
        let Answer::CouldNotAsk(why) = &answer else { panic!("{answer:?}") };
        assert!(why.starts_with("we were late ourselves, by "), "{why}");
    }

    #[tokio::test]
    async fn good_answers_of_many_come_together_and_a_failure_at_once() {
        let good = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let bad = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let at = |it: &TcpListener| it.local_addr().expect("it is bound");
        let mut text = "version: 2\nsite: { name: s, region: eu }\ncomponents:\n".to_owned();
        for nth in 100..200 {
            let at = if nth == 150 { at(&bad) } else { at(&good) };
            text.push_str(&format!(
                "  c{nth}: {{ type: cache, location: {{ region: eu, zone: a }}, probes: [{{ tcp: {{ address: \"{at}\" }} }}] }}\n"
            ));
        }
        drop(bad);
        let compiled = mainstay_plan::compile("plan.yaml", &text, std::path::Path::new("/"));
        let plan = Arc::new(compiled.plan.expect("a sound plan"));
        let (sender, mut reports) = mpsc::channel(256);
        let hands = Hands::new(Clock::start(Time::ZERO), sender, Path::new("/nowhere"));
        for probe in 0..100 {
            hands.probe(&plan, ProbeIx(probe), None);
        }
        let (mut goods, mut failures, mut count) = (0, 0, 0);
        while goods + failures < 100 {
            count += 1;
            match reports.recv().await {
                Some(Report::AllObserved(all)) => {
                    assert!(all.iter().all(|it| it.answer == Answer::Good), "{all:?}");
                    goods += all.len();
                }
                Some(Report::Observed(observation)) => {
                    assert!(observation.answer.is_failure(), "{observation:?}");
                    failures += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((goods, failures), (99, 1));
        assert!(count < 50, "{count}");
    }
}
