//! The plan as a picture: where everything lives, how clients come in, and what depends on what.
//!
//! Both drawings are made from one list of *residents*, each with its place: [`dot()`] leaves the drawing to Graphviz,
//! [`svg()`] draws by itself. The same plan gives the same bytes.

mod dot;
mod layout;
pub mod lettering;
mod summary;
mod svg;

use std::collections::{BTreeMap, BTreeSet};

use crate::agents::AgentRole;
use crate::component::Temperature;
use crate::config::scalar::show_duration;
use crate::hosts::Host;
use crate::location::{Location, SharedPart};
use crate::plan::Plan;
use crate::route::{Route, Sharing};
use crate::walkthrough::asks;
use crate::{ComponentIx, InstanceIx, RouteIx};

/// Beyond so many components nobody finds anything in a picture of each of them, and zones are drawn with lists instead.
const EACH: usize = 150;
/// The same for zones, which stand side by side.
const PLACES: usize = 16;

/// As Graphviz source.
pub fn dot(plan: &Plan) -> String {
    let scene = Scene::of(plan);
    if scene.is_crowded() { summary::dot(&scene) } else { dot::draw(&scene) }
}

/// As an SVG file that needs nothing beside it.
pub fn svg(plan: &Plan) -> String {
    let scene = Scene::of(plan);
    if scene.is_crowded() { summary::svg(&scene) } else { svg::draw(&scene) }
}

/// A region, or a zone of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    region: String,
    /// `None`, for what lives in the region as a whole, comes last.
    zone: (bool, Option<String>),
}

impl Place {
    fn of(location: &Location) -> Place {
        Place { region: location.region.clone(), zone: (location.zone.is_none(), location.zone.clone()) }
    }

    fn title(&self) -> &str {
        self.zone.1.as_deref().unwrap_or("no zone stated")
    }
}

/// What sort of resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The instance that a component is born with.
    Original,
    Standby(Temperature),
    /// The deciding agent.
    Agent,
    /// A further one.
    OtherAgent,
    Witness,
    Backup,
    /// Where agents agree.
    Store,
}

/// Something that lives in a place.
#[derive(Clone, Debug)]
struct Resident<'a> {
    /// Unique in the picture.
    id: String,
    kind: Kind,
    location: &'a Location,
    /// The component that it belongs to.
    of: Option<ComponentIx>,
    instance: Option<InstanceIx>,
    name: &'a str,
    /// What stands below the name.
    lines: Vec<String>,
    shares: &'a [SharedPart],
}

/// An arrow from a route to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrow {
    route: RouteIx,
    to: InstanceIx,
    /// Whether clients are led there before any takeover.
    serving: bool,
}

/// Everything that is drawn.
struct Scene<'a> {
    plan: &'a Plan,
    places: Vec<Place>,
    residents: Vec<Resident<'a>>,
    arrows: Vec<Arrow>,
    /// Parts that two or more instances live on.
    shared: BTreeMap<&'a SharedPart, Vec<InstanceIx>>,
}

impl<'a> Scene<'a> {
    fn of(plan: &'a Plan) -> Scene<'a> {
        let mut residents: Vec<Resident<'a>> = Vec::new();
        for component in (0u32..).map(ComponentIx).take(plan.components.len()) {
            residents.extend(instances(plan, component));
            residents.extend(backups(plan, component));
        }
        residents.extend(overseers(plan));
        let places: BTreeSet<Place> = residents.iter().map(|it| Place::of(it.location)).collect();
        let mut shared: BTreeMap<&SharedPart, Vec<InstanceIx>> = BTreeMap::new();
        for (instance, ix) in plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            for part in &instance.shares {
                shared.entry(part).or_default().push(ix);
            }
        }
        shared.retain(|_, of| of.len() > 1);
        let arrows = (0u32..).map(RouteIx).take(plan.routes.len()).flat_map(|it| arrows(plan, it)).collect();
        Scene { plan, places: places.into_iter().collect(), residents, arrows, shared }
    }

    fn is_crowded(&self) -> bool {
        self.plan.components.len() > EACH || self.places.len() > PLACES
    }

    /// What the picture is called.
    fn title(&self) -> String {
        format!("Recovery plan of {}", self.plan.site.name)
    }

    /// What it shows, in one line.
    fn subtitle(&self) -> String {
        let plan = self.plan;
        let standbys = plan.instances.len() - plan.components.len();
        format!(
            "{}, {}, {}; mode {}; plan {}",
            count(plan.components.len(), "component"),
            count(standbys, "standby"),
            count(plan.routes.len(), "route"),
            plan.mode.word(),
            &plan.hash[..plan.hash.len().min(12)]
        )
    }

    /// The picture in sentences, for whoever can't see it.
    fn description(&self) -> String {
        let mut text = format!("{}. The agent runs in {}.", self.subtitle(), self.plan.site.location);
        for component in &self.plan.components {
            let own = &self.plan.instance(component.original()).location;
            text.push_str(&format!(" {}, a {}, lives in {own}", component.name, words(component.kind.word())));
            let standbys: Vec<String> = component.instances[1..]
                .iter()
                .map(|it| self.plan.instance(*it))
                .map(|it| format!("{} in {}", it.name, it.location))
                .collect();
            if !standbys.is_empty() {
                text.push_str(&format!("; its standbys are {}", standbys.join(", ")));
            }
            let routes: Vec<&str> = component.routes.iter().map(|it| self.plan.route(*it).name.as_str()).collect();
            if !routes.is_empty() {
                text.push_str(&format!("; clients reach it on {}", routes.join(", ")));
            }
            text.push('.');
        }
        text
    }

    /// `power feed-a: orders-db, orders-db-b`.
    fn fail_together(&self) -> Vec<String> {
        let line = |(part, of): (&&SharedPart, &Vec<InstanceIx>)| {
            let names: Vec<&str> = of.iter().map(|it| self.plan.instance(*it).name.as_str()).collect();
            format!("{} {}: {}", part.kind.word(), part.name, names.join(", "))
        };
        self.shared.iter().map(line).collect()
    }
}

/// `2 standbys`, `2 witnesses`.
fn count(number: usize, noun: &str) -> String {
    let ending = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{ending}")
}

/// A word of the plan as it is read.
fn words(word: &str) -> String {
    word.replace('_', " ")
}

fn instances(plan: &Plan, ix: ComponentIx) -> impl Iterator<Item = Resident<'_>> {
    let component = plan.component(ix);
    component.instances.iter().map(move |it| {
        let instance = plan.instance(*it);
        let original = *it == component.original();
        let addresses: BTreeSet<String> = (component.routes.iter())
            .flat_map(|route| &plan.route(*route).targets)
            .filter(|target| target.instance == *it)
            .map(|target| target.address.to_string())
            .collect();
        let (kind, what) = if original {
            (Kind::Original, format!("{}, {}", words(component.kind.word()), component.criticality.word()))
        } else {
            (Kind::Standby(instance.temperature), format!("{} standby", instance.temperature.word()))
        };
        let shares = instance.shares.iter().map(|part| format!("on {} {}", part.kind.word(), part.name));
        Resident {
            id: format!("instance {}", instance.name),
            kind,
            location: &instance.location,
            of: Some(ix),
            instance: Some(*it),
            name: &instance.name,
            lines: std::iter::once(what).chain(addresses).chain(shares).collect(),
            shares: &instance.shares,
        }
    })
}

fn backups(plan: &Plan, ix: ComponentIx) -> impl Iterator<Item = Resident<'_>> {
    let component = plan.component(ix);
    component.backups.iter().flat_map(move |backup| {
        let copies =
            std::iter::once((&backup.location, "backup")).chain(backup.copies.iter().map(|it| (&it.location, "copy")));
        copies.enumerate().map(move |(nth, (location, word))| Resident {
            id: format!("backup {} {} {nth}", component.name, backup.name),
            kind: Kind::Backup,
            location,
            of: Some(ix),
            instance: None,
            name: &backup.name,
            lines: vec![format!("{word} every {}", show_duration(backup.every))],
            shares: &[],
        })
    })
}

/// Agents, witnesses and the store: what belongs to no component.
fn overseers(plan: &Plan) -> Vec<Resident<'_>> {
    let plain = |id: String, kind, location, name, lines| Resident {
        id,
        kind,
        location,
        of: None,
        instance: None,
        name,
        lines,
        shares: &[],
    };
    let mut all = Vec::new();
    let lines = vec![format!("decides; mode {}", plan.mode.word())];
    all.push(plain("agent".to_owned(), Kind::Agent, &plan.site.location, "agent", lines));
    for agent in &plan.agents {
        let role = match agent.role {
            AgentRole::Successor => "agent, successor",
            AgentRole::Hands => "agent, hands only",
        };
        let id = format!("agent {}", agent.name);
        all.push(plain(id, Kind::OtherAgent, &agent.location, &agent.name, vec![role.to_owned()]));
    }
    let is_agent = |host: &Host| plan.agents.iter().any(|it| it.location.host.as_deref() == Some(&host.name));
    for host in plan.hosts.iter().filter(|it| !is_agent(it)) {
        let mut lines = vec!["mainstay host".to_owned()];
        lines.extend(host.serves.then(|| "serves the routes, too".to_owned()));
        lines.extend(host.keeps_journal.then(|| "keeps the journal, too".to_owned()));
        all.push(plain(format!("host {}", host.name), Kind::OtherAgent, &host.location, &host.name, lines));
    }
    if let Some(it) = &plan.coordination {
        let lines = vec!["leases and epochs".to_owned()];
        all.push(plain("store".to_owned(), Kind::Store, &it.location, it.store.word(), lines));
    }
    for witness in &plan.witnesses {
        let lines = vec!["witness".to_owned(), asks(&plan.probe(witness.probe).kind)];
        all.push(plain(format!("witness {}", witness.name), Kind::Witness, &witness.location, &witness.name, lines));
    }
    all
}

/// An exclusive route leads to what the component is born with, a shared one to that and to whatever is hot.
fn arrows(plan: &Plan, ix: RouteIx) -> Vec<Arrow> {
    let route = plan.route(ix);
    let to = |it: InstanceIx| {
        let instance = plan.instance(it);
        let original = plan.component(instance.component).original() == it;
        let hot = match instance.temperature {
            Temperature::Hot => true,
            Temperature::Warm | Temperature::Cold => false,
        };
        Arrow { route: ix, to: it, serving: original || (hot && route.sharing == Sharing::Shared) }
    };
    route.targets.iter().map(|it| to(it.instance)).collect()
}

/// What a route's box says below its name.
fn route_lines(plan: &Plan, ix: RouteIx) -> Vec<String> {
    let route: &Route = plan.route(ix);
    let sharing = match route.sharing {
        Sharing::Exclusive => "exclusive route",
        Sharing::Shared => "shared route",
    };
    std::iter::once(sharing.to_owned()).chain(crate::walkthrough::fronts(plan, ix)).collect()
}

/// What a component's box says below its name.
fn component_lines(plan: &Plan, ix: ComponentIx) -> Vec<String> {
    let component = plan.component(ix);
    let mut lines = vec![format!("{}, {}", words(component.kind.word()), component.criticality.word())];
    let objectives = &component.objectives;
    let rto = objectives.rto.map(|it| format!("rto {}", show_duration(it)));
    let rpo = objectives.rpo.map(|it| format!("rpo {}", show_duration(it)));
    let stated: Vec<String> = rto.into_iter().chain(rpo).collect();
    if !stated.is_empty() {
        lines.push(stated.join(", "));
    }
    if component.ladder.is_empty() {
        lines.push("no recovery".to_owned());
    }
    lines.extend(component.ladder.iter().zip(1..).map(|(it, nth)| format!("{nth} {}", words(it.strategy.word()))));
    lines
}
