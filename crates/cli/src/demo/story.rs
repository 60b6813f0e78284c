//! The story: three failures, and what became of them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use mainstay_api as api;
use mainstay_engine::replay::replay;
use mainstay_plan::location::FailureDomain;
use mainstay_plan::proof::Condition;
use mainstay_plan::{Plan, Proof, Surroundings};
use mainstay_store::Reader;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::block_in_place;
use tokio::time::sleep;

use super::app;
use super::client::{Client, Ids, Path as ClientPath, Request, lost_orders, two_writers};
use super::report::{Failure as Measured, Fault, Phases, Promise, Report};
use super::scene::{self, Addresses, DNS_NAME, Database};
use super::stage::Stage;
use crate::commands::journal::{self, encoded};
use crate::exit::{Failure, causes};

/// How long the agent stays dead in the third act: whoever supervises it takes a moment.
const AGENT_AWAY: Duration = Duration::from_millis(400);

/// How long one act may take before it is given up.
const ACT: Duration = Duration::from_secs(25);

/// Good answers in a row that make clients content again.
const STEADY: usize = 40;

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// Two pairs of this program's own servers.
    OrderStores,
    /// A pair of PostgreSQL servers.
    Postgres,
}

/// Tells the story; `None` when it was interrupted. Whatever happens, the stage is cleared.
///
/// The journal is kept where somebody asks for it, also of a story that ended badly.
pub(crate) async fn tell(
    program: PathBuf,
    cast: Cast,
    quiet_stdout: bool,
    journal: Option<&Path>,
) -> Result<Option<Report>, Failure> {
    let set_up = |error: anyhow::Error| Failure::unreachable(format!("{error:#}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| set_up(error.into()))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| set_up(error.into()))?;
    let mut stage = Stage::new(program.clone()).map_err(set_up)?;
    let narrator = Narrator { began: Instant::now(), to_stderr: quiet_stdout };
    let told = tokio::select! {
        told = play(&mut stage, cast, &program, &narrator) => Some(told),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let state = stage.state();
    let kept = journal.map(|file| keep(&state, file)).transpose();
    stage.clear().await;
    kept?;
    match told {
        None => {
            narrator.say("interrupted; everything that was started is ended again");
            Ok(None)
        }
        Some(told) => told.map(Some).map_err(set_up),
    }
}

fn keep(state: &Path, file: &Path) -> Result<(), Failure> {
    let reader = Reader::open(state).map_err(|error| Failure::unreachable(causes(&error)))?;
    let out = std::fs::File::create(file).map_err(|error| Failure::output(&error))?;
    journal::write(&reader, 1, out)
}

struct Narrator {
    began: Instant,
    to_stderr: bool,
}

impl Narrator {
    fn say(&self, text: &str) {
        let line = format!("{:6.1} s  {text}\n", self.began.elapsed().as_secs_f64());
        if self.to_stderr {
            eprint!("{line}");
        } else {
            // A story that nobody reads to its end is told to its end all the same.
            let _closed = crate::look::say(&line);
        }
    }
}

/// One component: its servers, its clients, and who serves at the moment.
struct Side {
    component: &'static str,
    path: &'static str,
    names: [&'static str; 2],
    kind: Kind,
    active: usize,
    owners: Vec<&'static str>,
    client: Client,
    /// Orders that went with a server.
    lost: HashSet<u64>,
}

/// What its servers are.
enum Kind {
    /// Of this program, at these addresses.
    OrderStores([SocketAddr; 2]),
    Postgres,
}

impl Side {
    fn new(component: &'static str, path: &'static str, names: [&'static str; 2], kind: Kind, client: Client) -> Side {
        Side { component, path, names, kind, active: 0, owners: vec![names[0]], client, lost: HashSet::new() }
    }

    fn active_name(&self) -> &'static str {
        self.names[self.active]
    }

    /// All orders that the active server has.
    async fn kept(&self, stage: &Stage) -> anyhow::Result<Vec<u64>> {
        match &self.kind {
            Kind::OrderStores(at) => {
                let kept = app::acknowledged(at[self.active], Duration::from_secs(5)).await;
                kept.map_err(|error| anyhow::anyhow!("{}: {error}", self.active_name()))
            }
            Kind::Postgres => {
                let server = stage.postgres(self.active_name())?;
                let rows = block_in_place(|| server.try_sql("SELECT n FROM orders")).map_err(anyhow::Error::msg)?;
                rows.lines().map(|it| it.parse().context("a number")).collect()
            }
        }
    }

    /// Those that clients were told are taken, and that went with the server which failed at `mark`: how many, and from the first
    /// of them until then.
    async fn newly_lost(&mut self, stage: &Stage, mark: Instant) -> anyhow::Result<(usize, Duration)> {
        let history = self.client.history();
        let all = lost_orders(&history, &self.kept(stage).await?);
        let new: HashSet<u64> = all.into_iter().filter(|it| !self.lost.contains(it)).collect();
        let told = |it: &&Request| new.contains(&it.id);
        let first = history.iter().filter(told).map(|it| it.ended).min();
        let since = first.map_or(Duration::ZERO, |it| mark.saturating_duration_since(it));
        self.lost.extend(&new);
        Ok((new.len(), since))
    }

    /// The server that failed comes back as a standby of the one that took over.
    async fn rejoin(&self, stage: &mut Stage) -> anyhow::Result<()> {
        let (new, old) = (self.active, 1 - self.active);
        match &self.kind {
            Kind::OrderStores(at) => {
                stage.remove(self.names[old]).await;
                stage.start_server(self.names[old], at[old], Some(at[new])).await
            }
            Kind::Postgres => stage.rebuild_postgres(self.names[old], self.names[new]),
        }
    }
}

async fn play(stage: &mut Stage, cast: Cast, program: &Path, narrator: &Narrator) -> anyhow::Result<Report> {
    let addresses = Addresses::find()?;
    let (text, databases) = match cast {
        Cast::OrderStores => {
            narrator.say("two pairs of servers start, and an agent that watches them");
            (scene::plan_text(&addresses, stage.dir(), program), None)
        }
        Cast::Postgres => {
            narrator.say("a PostgreSQL primary starts, a standby that streams from it, and an agent that watches them");
            let names = ["orders", "orders-b"];
            stage.start_postgres(names)?;
            let database = |name| stage.postgres(name).map(|it| Database { address: it.address() });
            let databases = [database(names[0])?, database(names[1])?];
            std::fs::write(stage.dir().join("password"), mainstay_pgkit::PASSWORD).context("can't write a password")?;
            (scene::plan_of_postgres(&addresses, &databases, stage.dir()), Some(databases))
        }
    };
    let plan = scene::compile(&text, stage.dir())?;
    let plan_file = stage.dir().join("demo.yaml");
    std::fs::write(&plan_file, &text).context("can't write the plan")?;
    let proof = Proof::of(&plan);

    stage.start_server("gateway", addresses.gateway, None).await?;
    if cast == Cast::OrderStores {
        for (names, at) in [(["orders", "orders-b"], addresses.orders), (["files", "files-b"], addresses.files)] {
            stage.start_server(names[0], at[0], None).await?;
            stage.start_server(names[1], at[1], Some(at[0])).await?;
        }
    }
    stage.start_agent(&plan_file)?;
    stage.wait_until("that all is well", whole).await?;

    let mut sides = sides(&addresses, databases)?;
    steady(&sides, "the clients were served").await?;
    narrator.say(match cast {
        Cast::OrderStores => "clients send 200 orders a second through the proxy, and 200 through DNS",
        Cast::Postgres => "clients write 50 orders a second through the proxy, each over a connection of its own",
    });

    let mut failures = Vec::new();
    for fault in Fault::ALL {
        let bounds = bounds(&plan, &proof, fault, &sides)?;
        failures.extend(act(stage, &plan_file, &mut sides, fault, &bounds, narrator).await?);
        if fault != Fault::AgentKill {
            rejoin(stage, &sides, narrator).await?;
        }
    }
    narrator.say("the story ends; what was promised is compared with what was measured");
    finish(stage, sides, failures, narrator.began.elapsed()).await
}

fn sides(addresses: &Addresses, databases: Option<[Database; 2]>) -> anyhow::Result<Vec<Side>> {
    let ids = Ids::default();
    if let Some(databases) = databases {
        let names = ["orders", "orders-b"];
        let ports = [0, 1].map(|it: usize| (databases[it].address.port(), names[it]));
        let client = Client::start(ClientPath::Postgres { proxy: addresses.proxy, names: ports }, ids)?;
        return Ok(vec![Side::new("orders", "proxy", names, Kind::Postgres, client)]);
    }
    let through_dns =
        ClientPath::Dns { server: addresses.dns, name: DNS_NAME.to_owned(), port: addresses.files[0].port() };
    let through_proxy = Client::start(ClientPath::Proxy(addresses.proxy), ids.clone())?;
    let through_dns = Client::start(through_dns, ids)?;
    Ok(vec![
        Side::new("orders", "proxy", ["orders", "orders-b"], Kind::OrderStores(addresses.orders), through_proxy),
        Side::new("files", "dns", ["files", "files-b"], Kind::OrderStores(addresses.files), through_dns),
    ])
}

/// What the plan promises of a component.
struct Bound {
    /// `None`: nothing.
    outage: Option<Duration>,
    loss: Duration,
}

/// The worst case that `check` prints for each side, and its objective.
fn bounds(plan: &Plan, proof: &Proof<'_>, fault: Fault, sides: &[Side]) -> anyhow::Result<Vec<Bound>> {
    let condition = match fault {
        Fault::Kill | Fault::Hang => Condition::None,
        Fault::AgentKill => Condition::AgentRestarts,
    };
    let bound = |name: &str| {
        let component = plan.component_named(name)?;
        let route = plan.route_named(name)?;
        let outage = proof.bound(component, FailureDomain::Instance, condition, Some(route)).map(|it| it.total());
        Some(Bound { outage, loss: plan.component(component).objectives.rpo? })
    };
    sides
        .iter()
        .map(|it| bound(it.component).context("the demo's plan has a route and an rpo for each component"))
        .collect()
}

async fn act(
    stage: &mut Stage,
    plan_file: &Path,
    sides: &mut [Side],
    fault: Fault,
    bounds: &[Bound],
    narrator: &Narrator,
) -> anyhow::Result<Vec<Measured>> {
    // Not always at the same moment between two probes: the worst case is when one has just been answered.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_micros(u64::from(since.subsec_micros()) % 300_000)).await;
    let active: Vec<&str> = sides.iter().map(Side::active_name).collect();
    narrator.say(&format!("{} {}", fault.verb(), active.join(" and ")));
    let known = recovery_ids(stage).await?;
    let mark = Instant::now();
    for name in &active {
        if fault == Fault::Hang { stage.hang(name) } else { stage.kill(name) }?;
    }
    if fault == Fault::AgentKill {
        while !all_in_progress(stage, &known, active.len()).await? {
            if mark.elapsed() > ACT {
                bail!("the agent did not begin to recover within {ACT:?}: {}", stage.log("agent"));
            }
        }
        stage.kill_agent().await;
        narrator.say("         and the agent, in the middle of the recovery");
        sleep(AGENT_AWAY).await;
        stage.start_agent(plan_file)?;
    }
    let mut measured = Vec::new();
    for (side, bound) in sides.iter_mut().zip(bounds) {
        let recovery = completed(stage, side.component, &known).await?;
        let served = side.client.wait_good_after(mark + Duration::from_millis(1), mark + ACT).await;
        if served.is_none() || !side.client.wait_steady(STEADY, mark + ACT).await {
            bail!("clients of {} are not served again within {ACT:?}", side.component);
        }
        let outage = side.client.outage_since(mark).context("the failure cost the clients nothing, which can't be")?;
        side.active = 1 - side.active;
        side.owners.push(side.active_name());
        let (lost, lost_of) = side.newly_lost(stage, mark).await?;
        narrator.say(&format!(
            "         {} serves {} clients again after {} ms ({}){}",
            side.active_name(),
            side.path,
            outage.outage.as_millis(),
            bound
                .outage
                .map_or("no worst case is promised".to_owned(), |it| format!("worst case {} ms", it.as_millis())),
            match lost {
                0 => "; nothing is lost".to_owned(),
                1 => "; 1 order is lost".to_owned(),
                several => format!("; {several} orders are lost"),
            }
        ));
        measured.push(Measured {
            fault,
            path: side.path,
            component: side.component,
            recovery: recovery.id.clone(),
            outage_ms: millis(outage.outage),
            bound_ms: bound.outage.map(millis),
            within_bound: bound.outage.is_none_or(|it| outage.outage <= it),
            lost_orders: lost,
            lost_ms: millis(lost_of),
            rpo_ms: millis(bound.loss),
            within_rpo: lost_of <= bound.loss,
            phases_ms: Phases::of(&recovery.phases),
            failed_requests: outage.failed,
        });
    }
    Ok(measured)
}

/// The servers that failed come back as standbys of those that took over.
async fn rejoin(stage: &mut Stage, sides: &[Side], narrator: &Narrator) -> anyhow::Result<()> {
    for side in sides {
        side.rejoin(stage).await?;
    }
    stage.wait_until("that all pairs are whole again", whole).await?;
    // The cool-down between two recoveries of a component is a second in this plan.
    sleep(Duration::from_millis(1100)).await;
    steady(sides, "the clients were served").await?;
    let old: Vec<&str> = sides.iter().map(|it| it.names[1 - it.active]).collect();
    narrator.say(&format!(
        "{} {} back, {}",
        old.join(" and "),
        if old.len() == 1 { "is" } else { "are" },
        if old.len() == 1 { "as a standby" } else { "as standbys" }
    ));
    Ok(())
}

async fn finish(
    stage: &mut Stage,
    sides: Vec<Side>,
    failures: Vec<Measured>,
    took: Duration,
) -> anyhow::Result<Report> {
    let mut promises = vec![Promise::new(
        "every outage is within the worst case that `check` computed, where it promises one",
        failures.iter().all(|it| it.within_bound),
        "",
    )];
    promises.push(Promise::new(
        "no failure lost more than the last moments that the plan allows (`rpo`)",
        failures.iter().all(|it| it.within_rpo),
        "",
    ));
    let (mut requests, mut failed, mut lost) = (0, 0, 0);
    let mut writers = Vec::new();
    for mut side in sides {
        let summary = side.client.stop().await;
        requests += summary.requests;
        failed += summary.failed;
        let history = side.client.history();
        lost += lost_orders(&history, &side.kept(stage).await?).len();
        writers.extend(two_writers(&history, &side.owners).map(|it| format!("{}: {it}", side.component)));
    }
    let detail = writers.join("; ");
    promises.push(Promise::new("no two servers ever took orders of the same clients", writers.is_empty(), &detail));
    let state = stage.state();
    let (verified, replayed) = tokio::task::spawn_blocking(move || (is_whole(&state), replays(&state))).await?;
    promises.push(Promise::of("the journal is whole, record for record", verified));
    promises.push(Promise::of("replaying the journal gives the same decisions, byte for byte", replayed));
    Ok(Report {
        ok: promises.iter().all(|it| it.kept),
        failures,
        promises,
        requests,
        failed_requests: failed,
        lost_orders: lost,
        seconds: took.as_secs_f64(),
    })
}

fn is_whole(state: &Path) -> Result<String, String> {
    let reader = Reader::open(state).map_err(|error| causes(&error))?;
    reader.verify(None).map(|it| format!("{} records", it.records)).map_err(|error| causes(&error))
}

fn replays(state: &Path) -> Result<String, String> {
    let reader = Reader::open(state).map_err(|error| causes(&error))?;
    let records = reader.records(1).map_while(Result::ok).map(|it| (it.seq, encoded(&it)));
    let compile = |text: &str, base: &str| {
        mainstay_plan::compile_in("the journal's plan", text, Path::new(base), &Surroundings::REPLAY).plan
    };
    replay(records, compile).map(|it| format!("{} decisions", it.decisions)).map_err(|error| causes(&error))
}

/// All components are healthy, and could be recovered at this moment.
fn whole(status: &api::Status) -> bool {
    let ready = |it: &api::Component| {
        it.health == "healthy"
            && it.waiting.is_none()
            && it.instances.iter().all(|it| it.health == "healthy" && (it.state == "active" || it.state == "standby"))
            && matches!(it.recoverable, api::Recoverable::By { .. })
    };
    let traffic = status.traffic.as_ref().is_some_and(|it| it.epoch > 0 && it.serves_epoch == Some(it.epoch));
    traffic && status.components.iter().all(ready)
}

async fn steady(sides: &[Side], what: &str) -> anyhow::Result<()> {
    for side in sides {
        if !side.client.wait_steady(STEADY, Instant::now() + ACT).await {
            bail!("it did not happen within {ACT:?} that {what} through {}", side.path);
        }
    }
    Ok(())
}

async fn recoveries(stage: &Stage) -> anyhow::Result<Vec<api::Recovery>> {
    Ok(stage.client().ask_recoveries().await.map_err(|error| anyhow::anyhow!("{error}"))?.recoveries)
}

async fn recovery_ids(stage: &Stage) -> anyhow::Result<Vec<String>> {
    Ok(recoveries(stage).await?.into_iter().map(|it| it.id).collect())
}

/// So many components have a new recovery, and in at least one a server is being activated.
async fn all_in_progress(stage: &Stage, known: &[String], components: usize) -> anyhow::Result<bool> {
    let new: Vec<api::Recovery> = recoveries(stage).await?.into_iter().filter(|it| !known.contains(&it.id)).collect();
    let acting =
        |it: &api::Recovery| it.steps.iter().any(|it| it.name.starts_with("activate") && it.ended_ns.is_none());
    Ok(new.len() >= components && new.iter().any(acting))
}

/// The new recovery of a component, once it is completed.
async fn completed(stage: &Stage, component: &str, known: &[String]) -> anyhow::Result<api::Recovery> {
    let deadline = Instant::now() + ACT;
    loop {
        // An agent that has just been started does not answer at once.
        let found = recoveries(stage).await.unwrap_or_default();
        let new = found.into_iter().find(|it| it.component == component && !known.contains(&it.id));
        match new {
            Some(done) if done.status == "recovery_completed" => return Ok(done),
            Some(other) if Instant::now() > deadline => bail!("{component} is not recovered: {other:?}"),
            None if Instant::now() > deadline => {
                bail!("the failure of {component} was not noticed: {}", stage.log("agent"))
            }
            Some(_) | None => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
