//! Plays a timeline: lets time pass from line to line, does what each says, and collects what comes out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::Input;
use mainstay_engine::codec::{Encoded, decode};
use mainstay_engine::explain::{Answer as Says, explain};
use mainstay_engine::record::ReportedTarget;
use mainstay_engine::replay::replay;
use mainstay_engine::sentence::Teller;
use mainstay_engine::state::LOCAL_PROCESS;
use mainstay_plan::control::ControlPlane;
use mainstay_plan::observation::Answer;
use mainstay_plan::probe::Watches;
use mainstay_plan::routing::TargetState;
use mainstay_plan::{Plan, ProbeIx, Time};

use crate::line::{Ends, Line, Whom};
use crate::script::{self, Output, Script};
use crate::show::{self, Names};
use crate::world::World;
use crate::{ask, operator};

/// A world that was left alone for so long before zero has nothing new to say.
const SETTLED: Duration = Duration::from_secs(10);

/// Zero of every timeline.
pub(crate) const ZERO: Time = Time::from_millis(100_000_000);

/// Plays it, and gives its file as it should be.
pub(crate) fn play(script: &Script) -> Result<String, String> {
    let settling = if script.from_the_start { Duration::ZERO } else { SETTLED };
    let started = Time::from_nanos(ZERO.as_nanos() - u64::try_from(settling.as_nanos()).unwrap());
    let mut player =
        Player { world: World::new(script.plan.clone(), started), names: Names::new(), outputs: Vec::new() };
    player.pass(ZERO, None, script.from_the_start);
    let mut last = None;
    for (nth, part) in script.parts.iter().enumerate() {
        let Some((at, line)) = &part.line else { continue };
        player.pass(ZERO + *at, last, true);
        last = Some(nth);
        player.suffer(line, nth).map_err(|why| format!("line {}: {why}\n    {}", part.number, part.text))?;
        player.collect(last, true);
    }
    player.replay()?;
    Ok(script.with(&player.outputs))
}

struct Player {
    world: World,
    names: Names,
    outputs: Vec<Output>,
}

impl Player {
    fn pass(&mut self, until: Time, after: Option<usize>, shown: bool) {
        self.world.run_until(until);
        self.collect(after, shown);
    }

    fn collect(&mut self, after: Option<usize>, shown: bool) {
        for (at, came) in std::mem::take(&mut self.world.came) {
            let text = self.names.tell(&came);
            if let Some(text) = text.filter(|_| shown) {
                self.outputs.push(Output { after, at: show::moment(at), text });
            }
        }
    }

    fn say(&mut self, after: usize, text: String) {
        let text = self.names.rename(&text);
        self.outputs.push(Output { after: Some(after), at: show::moment(self.world.now), text });
    }

    fn suffer(&mut self, line: &Line, nth: usize) -> Result<(), String> {
        let world = &mut self.world;
        match line {
            Line::End => {}
            Line::Answers(whom, answer) => {
                for whom in whom {
                    answers(world, whom, answer.as_ref())?;
                }
            }
            Line::Latency(whom, latency) => {
                for whom in whom {
                    for probe in probes(world, whom)? {
                        world.latency.insert(probe, *latency);
                    }
                }
            }
            Line::Lag(name, lag) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                world.lag.insert(name.clone(), *lag);
            }
            Line::Reaches(name, place) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                world.reaches.insert(name.clone(), place.clone());
            }
            Line::Says(name, word) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                world.roles.insert(name.clone(), word.clone());
            }
            Line::Expires(name, soon) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                match soon {
                    true => world.expiring.insert(name.clone()),
                    false => world.expiring.remove(name),
                };
            }
            Line::Archives(name, well) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                match well {
                    true => world.unarchived.remove(name),
                    false => world.unarchived.insert(name.clone()),
                };
            }
            Line::OwnPath { works } => world.own_path_broken = !works,
            Line::Actions(of, None) => {
                world.actions.remove(of);
            }
            Line::Actions(of, Some(ends)) => {
                world.actions.insert(of.clone(), ends.clone());
            }
            Line::NextAction(ends) => world.next_action = Some(ends.clone()),
            Line::NextBrings(text) => world.next_address = Some(text.clone()),
            Line::Moves(name, place) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                match place {
                    Some(address) => world.homes.insert(name.clone(), *address),
                    None => world.homes.remove(name),
                };
            }
            Line::Ghost(name) => {
                world.plan.instance_named(name).ok_or_else(|| format!("there is no instance `{name}`"))?;
                world.ghosts.insert(name.clone());
            }
            Line::ActionsTake(span) => world.action_takes = *span,
            Line::Store(store) => world.store.clone_from(&Some(store.clone())),
            Line::PeerSees(agent, instance, health) => {
                let (agent, instance, asked) = (agent.clone(), instance.clone(), world.now);
                world.tell(Input::PeerObserved { agent, instance, health: *health, asked });
            }
            Line::PeerOrders(from, epoch, what) => {
                world.tell(Input::PeerOrder { from: from.clone(), epoch: *epoch, what: what.clone() });
            }
            Line::Channel(name, ends) => {
                world.plan.notifications.iter().find(|it| it.name == *name).ok_or("there is no such channel")?;
                match ends {
                    None => world.channels.remove(name),
                    Some(Ends::With(outcome)) => world.channels.insert(name.clone(), Some(outcome.clone())),
                    Some(Ends::Never) => world.channels.insert(name.clone(), None),
                    Some(Ends::WithoutEffect | Ends::UnknownButDone(_) | Ends::Losing(_)) => {
                        return Err("it fails, or never answers".to_owned());
                    }
                };
            }
            Line::AgentKilled(span) => world.kill(*span),
            Line::AgentSleeps(span) => world.sleep(*span),
            Line::Disk { works } => world.set_disk(*works),
            Line::JournalLost => world.lose_disk(),
            Line::JournalGone(span) => world.lose_journal(*span),
            Line::Traffic { answers } => world.set_traffic(*answers),
            Line::Host { name, there } => {
                world.plan.host_named(name).ok_or("there is no such host")?;
                world.set_host(name, *there);
            }
            Line::ClientsFail(name) => {
                let instance = world.plan.instance_named(name).ok_or("there is no such instance")?;
                world.tell(Input::ClientsFailed { instance });
            }
            Line::TrafficRefuses(why) => world.traffic_refuses.clone_from(why),
            Line::TrafficTakes(span) => world.traffic_takes = *span,
            Line::TrafficServes(epoch, targets) => {
                let (process, targets) = (LOCAL_PROCESS.to_owned(), reported(targets)?);
                world.tell(Input::TrafficServes { process, epoch: *epoch, targets });
            }
            Line::NewPlan(name, changes) => {
                let plan = script::plan_named(name, changes)?;
                if let Err(why) = world.reload(plan) {
                    self.say(nth, format!("the plan is refused: {why}"));
                }
            }
            Line::Operator(by, words) => {
                let command = operator::command(words, &self.names, world.now)?;
                let engine = world.engine().ok_or("no agent runs that could be spoken to")?;
                if let Err(refusal) = engine.check_command(&command, by) {
                    self.say(nth, format!("refused: {refusal}"));
                } else {
                    world.tell(Input::Command { command, by: by.clone() });
                }
            }
            Line::Ask(question) => {
                let engine = world.engine().ok_or("no agent runs that could be asked")?;
                for answer in ask::answer(engine, question, &self.names, world.now)? {
                    self.say(nth, answer);
                }
            }
        }
        Ok(())
    }

    /// What was decided follows from what was recorded, and from nothing else.
    fn replay(&self) -> Result<(), String> {
        let stored = self.world.stored();
        let compiled = RefCell::new(BTreeMap::<String, Plan>::new());
        let compile = |text: &str, base_dir: &str| {
            let known = compiled.borrow().get(text).cloned();
            known.or_else(|| {
                let plan = script::compile(text, base_dir).ok()?;
                compiled.borrow_mut().insert(text.to_owned(), plan.clone());
                Some(plan)
            })
        };
        let decisions = stored.iter().filter(|it| !decode(&it.1).expect("it was read before").body.is_fact()).count();
        let replayed =
            replay(stored.clone(), compile).map_err(|why| format!("the journal replays to something else: {why}"))?;
        if let Some(misfit) = replayed.misfits.first() {
            return Err(format!("record {} came where it can't come: {}", misfit.seq, misfit.what));
        }
        if replayed.decisions != decisions as u64 {
            return Err(format!("{decisions} decisions are in the journal, {} were made again", replayed.decisions));
        }
        self.explain(&stored, compile)
    }

    /// Every tenth decision, and those about what holds a recovery back, can be explained, and is decided the same once more.
    fn explain(&self, stored: &[(u64, Encoded)], compile: impl Fn(&str, &str) -> Option<Plan>) -> Result<(), String> {
        for (seq, encoded) in stored {
            let chosen =
                matches!(encoded.kind.as_str(), "held" | "recovery_initiated" | "rung_started") || seq % 10 == 0;
            if !chosen {
                continue;
            }
            let teller = Teller::new(show::moment, show::span);
            let why = explain(stored.iter().cloned(), &compile, *seq, teller)
                .map_err(|why| format!("record {seq} can't be explained: {why}"))?;
            if let Some(instead) = why.again.instead {
                return Err(format!("record {seq} is explained as something else: {instead}"));
            }
            let objections = why.guards.iter().filter(|it| it.answer == Says::Objected).count();
            if encoded.kind == "recovery_initiated" && objections > 0 {
                return Err(format!("record {seq}: it began, and a guard is said to have objected"));
            }
        }
        Ok(())
    }
}

fn answers(world: &mut World, whom: &Whom, answer: Option<&Answer>) -> Result<(), String> {
    let plan = world.plan.clone();
    let named: Vec<String> = match whom {
        Whom::Probe(..) => {
            for probe in probes(world, whom)? {
                match answer {
                    Some(answer) => world.probe_answers.insert(probe, answer.clone()),
                    None => world.probe_answers.remove(&probe),
                };
            }
            return Ok(());
        }
        Whom::Name(name) => {
            let route = name.strip_prefix("route ").and_then(|it| plan.route_named(it)).is_some();
            let witness = plan.witnesses.iter().any(|it| it.name == *name);
            let control = plan.controls.iter().any(|it| control_name(it) == *name);
            if !route && !witness && !control && plan.instance_named(name).is_none() {
                return Err(format!("there is no instance, witness or `route` called `{name}`"));
            }
            vec![name.clone()]
        }
        Whom::Zone(zone) => located(world, |it| it.zone.as_deref() == Some(zone)),
        Whom::Region(region) => located(world, |it| it.region == *region),
    };
    if named.is_empty() {
        return Err("nothing is there".to_owned());
    }
    for name in named {
        match answer {
            Some(answer) => world.answers.insert(name, answer.clone()),
            None => world.answers.remove(&name),
        };
    }
    Ok(())
}

/// What a story calls a control plane: `control plane ec2 in r1`.
pub(crate) fn control_name(control: &ControlPlane) -> String {
    format!("control plane {} in {}", control.service, control.region)
}

fn located(world: &World, is_there: impl Fn(&mainstay_plan::location::Location) -> bool) -> Vec<String> {
    let instances = world.plan.instances.iter().map(|it| (&it.location, &it.name));
    let witnesses = world.plan.witnesses.iter().map(|it| (&it.location, &it.name));
    instances.chain(witnesses).filter(|it| is_there(it.0)).map(|it| it.1.clone()).collect()
}

fn probes(world: &World, whom: &Whom) -> Result<Vec<ProbeIx>, String> {
    let plan = &world.plan;
    let of = |name: &str| -> Vec<ProbeIx> {
        let watched = |watches: Watches| match watches {
            Watches::Instance(it) => plan.instance(it).name == name,
            Watches::Witness(it) => plan.witness(it).name == name,
            Watches::Control(it) => control_name(plan.control(it)) == name,
            Watches::Route(it) => name.strip_prefix("route ") == Some(plan.route(it).name.as_str()),
        };
        (0u32..).map(ProbeIx).zip(&plan.probes).filter(|it| watched(it.1.watches)).map(|it| it.0).collect()
    };
    let found: Vec<ProbeIx> = match whom {
        Whom::Name(name) => of(name),
        Whom::Probe(nth, name) => of(name).get(nth - 1).copied().into_iter().collect(),
        Whom::Zone(zone) => {
            located(world, |it| it.zone.as_deref() == Some(zone)).iter().flat_map(|it| of(it)).collect()
        }
        Whom::Region(region) => located(world, |it| it.region == *region).iter().flat_map(|it| of(it)).collect(),
    };
    if found.is_empty() { Err(format!("there is no such probe: {whom:?}")) } else { Ok(found) }
}

/// `orders = orders-db fenced, orders-db-b serving; share = …`.
fn reported(text: &str) -> Result<Vec<ReportedTarget>, String> {
    let mut targets = Vec::new();
    for route in text.split("; ") {
        let (route, each) = route.split_once(" = ").ok_or("like `orders = orders-db fenced, orders-db-b serving`")?;
        for target in each.split(", ") {
            let (instance, state) = target.split_once(' ').ok_or("a target has a name and a state")?;
            let state = match state {
                "serving" => TargetState::Serving,
                "standby" => TargetState::Standby,
                "draining" => TargetState::Draining,
                "down" => TargetState::Down,
                "fenced" => TargetState::Fenced,
                _ => return Err(format!("`{state}` is no state of a target")),
            };
            targets.push(ReportedTarget {
                route: route.to_owned(),
                instance: instance.to_owned(),
                state,
                address: None,
            });
        }
    }
    Ok(targets)
}
