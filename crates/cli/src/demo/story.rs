//! The story: three failures on two paths at once, and what became of them.

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
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::app;
use super::client::{Client, Ids, Path as ClientPath, lost_orders, two_writers};
use super::report::{Failure as Measured, Fault, Phases, Promise, Report};
use super::scene::{self, Addresses, DNS_NAME};
use super::stage::Stage;
use crate::commands::journal::{self, encoded};
use crate::exit::{Failure, causes};

/// How long the agent stays dead in the third act: whoever supervises it takes a moment.
const AGENT_AWAY: Duration = Duration::from_millis(400);

/// How long one act may take before it is given up.
const ACT: Duration = Duration::from_secs(25);

/// Good answers in a row that make clients content again.
const STEADY: usize = 40;

/// Tells the story; `None` when it was interrupted. Whatever happens, the stage is cleared.
///
/// The journal is kept where somebody asks for it, also of a story that ended badly.
pub(crate) async fn tell(
    program: PathBuf,
    quiet_stdout: bool,
    journal: Option<&Path>,
) -> Result<Option<Report>, Failure> {
    let set_up = |error: anyhow::Error| Failure::unreachable(format!("{error:#}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| set_up(error.into()))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| set_up(error.into()))?;
    let mut stage = Stage::new(program.clone()).map_err(set_up)?;
    let narrator = Narrator { began: Instant::now(), to_stderr: quiet_stdout };
    let told = tokio::select! {
        told = play(&mut stage, &program, &narrator) => Some(told),
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
    at: [SocketAddr; 2],
    active: usize,
    owners: Vec<&'static str>,
    client: Client,
}

impl Side {
    fn active_name(&self) -> &'static str {
        self.names[self.active]
    }
}

async fn play(stage: &mut Stage, program: &Path, narrator: &Narrator) -> anyhow::Result<Report> {
    let addresses = Addresses::find()?;
    let text = scene::plan_text(&addresses, stage.dir(), program);
    let plan = scene::compile(&text, stage.dir())?;
    let plan_file = stage.dir().join("demo.yaml");
    std::fs::write(&plan_file, &text).context("can't write the plan")?;
    let proof = Proof::of(&plan);

    narrator.say("two pairs of servers start, and an agent that watches them");
    stage.start_server("gateway", addresses.gateway, None).await?;
    for (names, at) in [(["orders", "orders-b"], addresses.orders), (["files", "files-b"], addresses.files)] {
        stage.start_server(names[0], at[0], None).await?;
        stage.start_server(names[1], at[1], Some(at[0])).await?;
    }
    stage.start_agent(&plan_file)?;
    stage.wait_until("that all is well", whole).await?;

    let ids = Ids::default();
    let through_dns =
        ClientPath::Dns { server: addresses.dns, name: DNS_NAME.to_owned(), port: addresses.files[0].port() };
    let side = |component, path, names: [&'static str; 2], at, client| Side {
        component,
        path,
        names,
        at,
        active: 0,
        owners: vec![names[0]],
        client,
    };
    let mut sides = [
        side(
            "orders",
            "proxy",
            ["orders", "orders-b"],
            addresses.orders,
            Client::start(ClientPath::Proxy(addresses.proxy), ids.clone())?,
        ),
        side("files", "dns", ["files", "files-b"], addresses.files, Client::start(through_dns, ids)?),
    ];
    steady(&sides, "the clients were served").await?;
    narrator.say("clients send 200 orders a second through the proxy, and 200 through DNS");

    let mut failures = Vec::new();
    for fault in Fault::ALL {
        let bounds = bounds(&plan, &proof, fault)?;
        failures.extend(act(stage, &plan_file, &mut sides, fault, bounds, narrator).await?);
        if fault != Fault::AgentKill {
            rejoin(stage, &mut sides, narrator).await?;
        }
    }
    narrator.say("the story ends; what was promised is compared with what was measured");
    finish(stage, sides, failures, narrator.began.elapsed()).await
}

/// The worst case that `check` prints for each side.
fn bounds(plan: &Plan, proof: &Proof<'_>, fault: Fault) -> anyhow::Result<[Duration; 2]> {
    let condition = match fault {
        Fault::Kill | Fault::Hang => Condition::None,
        Fault::AgentKill => Condition::AgentRestarts,
    };
    let bound = |name: &str| {
        let component = plan.component_named(name)?;
        let route = plan.route_named(name)?;
        proof.bound(component, FailureDomain::Instance, condition, Some(route)).map(|it| it.total())
    };
    let unproved = || format!("`check` proves no recovery for {}", fault.word());
    Ok([bound("orders").with_context(unproved)?, bound("files").with_context(unproved)?])
}

async fn act(
    stage: &mut Stage,
    plan_file: &Path,
    sides: &mut [Side; 2],
    fault: Fault,
    bounds: [Duration; 2],
    narrator: &Narrator,
) -> anyhow::Result<Vec<Measured>> {
    // Not always at the same moment between two probes: the worst case is when one has just been answered.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_micros(u64::from(since.subsec_micros()) % 300_000)).await;
    let signal = if fault == Fault::Hang { Signal::STOP } else { Signal::KILL };
    let [one, two] = [sides[0].active_name(), sides[1].active_name()];
    narrator.say(&format!("{} {one} and {two}", fault.verb()));
    let known = recovery_ids(stage).await?;
    let marks = [sides[0].client.mark(), sides[1].client.mark()];
    stage.signal(one, signal)?;
    stage.signal(two, signal)?;
    if fault == Fault::AgentKill {
        while !both_in_progress(stage, &known).await? {
            if marks[0].elapsed() > ACT {
                bail!("the agent did not begin to recover within {ACT:?}: {}", stage.log("agent"));
            }
        }
        stage.kill_agent().await;
        narrator.say("         and the agent, in the middle of the recovery");
        sleep(AGENT_AWAY).await;
        stage.start_agent(plan_file)?;
    }
    let mut measured = Vec::new();
    for ((side, mark), bound) in sides.iter_mut().zip(marks).zip(bounds) {
        let recovery = completed(stage, side.component, &known).await?;
        let served = side.client.wait_good_after(mark + Duration::from_millis(1), mark + ACT).await;
        if served.is_none() || !side.client.wait_steady(STEADY, mark + ACT).await {
            bail!("clients of {} are not served again within {ACT:?}", side.component);
        }
        let outage = side.client.outage_since(mark).context("the failure cost the clients nothing, which can't be")?;
        side.active = 1 - side.active;
        side.owners.push(side.active_name());
        narrator.say(&format!(
            "         {} serves {} clients again after {} ms (worst case {} ms)",
            side.active_name(),
            side.path,
            outage.outage.as_millis(),
            bound.as_millis()
        ));
        measured.push(Measured {
            fault,
            path: side.path,
            component: side.component,
            recovery: recovery.id.clone(),
            outage_ms: millis(outage.outage),
            bound_ms: millis(bound),
            within_bound: outage.outage <= bound,
            phases_ms: Phases::of(&recovery.phases),
            failed_requests: outage.failed,
        });
    }
    Ok(measured)
}

/// The servers that failed come back as standbys of those that took over.
async fn rejoin(stage: &mut Stage, sides: &mut [Side; 2], narrator: &Narrator) -> anyhow::Result<()> {
    for side in sides.iter() {
        let old = 1 - side.active;
        stage.remove(side.names[old]).await;
        stage.start_server(side.names[old], side.at[old], Some(side.at[side.active])).await?;
    }
    stage.wait_until("that both pairs are whole again", whole).await?;
    // The cool-down between two recoveries of a component is a second in this plan.
    sleep(Duration::from_millis(1100)).await;
    steady(sides, "the clients were served").await?;
    narrator.say("the old primaries are back, as standbys");
    Ok(())
}

async fn finish(
    stage: &mut Stage,
    sides: [Side; 2],
    failures: Vec<Measured>,
    took: Duration,
) -> anyhow::Result<Report> {
    let mut promises = vec![Promise::new(
        "every outage is within the worst case that `check` computed",
        failures.iter().all(|it| it.within_bound),
        "",
    )];
    let (mut requests, mut failed, mut lost) = (0, 0, 0);
    let mut writers = Vec::new();
    for mut side in sides {
        let summary = side.client.stop().await;
        requests += summary.requests;
        failed += summary.failed;
        let history = side.client.history();
        let kept = app::acknowledged(side.at[side.active], Duration::from_secs(5)).await;
        lost += lost_orders(&history, &kept.map_err(|error| anyhow::anyhow!("{}: {error}", side.active_name()))?).len();
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

async fn steady(sides: &[Side; 2], what: &str) -> anyhow::Result<()> {
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

/// Both components have a new recovery, and in at least one a server is being activated.
async fn both_in_progress(stage: &Stage, known: &[String]) -> anyhow::Result<bool> {
    let new: Vec<api::Recovery> = recoveries(stage).await?.into_iter().filter(|it| !known.contains(&it.id)).collect();
    let acting =
        |it: &api::Recovery| it.steps.iter().any(|it| it.name.starts_with("activate") && it.ended_ns.is_none());
    Ok(new.len() >= 2 && new.iter().any(acting))
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
