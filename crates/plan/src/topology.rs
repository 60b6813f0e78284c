//! Which instances are lost together: the zones and regions of a plan, who lives in them, and whom to ask whether one still lives.
//!
//! Intuition: when a house goes dark, one looks out of the window. Light across the street says that it is only this house; a dark
//! street says that it is the street. The neighbours to look at are chosen here, once; what was seen is the engine's.
//!
//! A zone that a location does not state is nobody's: what lives there bears witness to its region alone.

use std::collections::BTreeMap;

use crate::component::Temperature;
use crate::location::Location;
use crate::{InstanceIx, Plan, WitnessIx};

/// Zones of up to so many hosts are asked as a whole; of larger ones, some hosts near and some far.
const ALL_OF: usize = 8;

/// How many instances outside the zone are asked whether the region lives.
const ELSEWHERE: usize = ALL_OF;

/// A zone or a region, by its place in [`Topology::domains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainIx(pub u32);

impl DomainIx {
    /// As an index into [`Topology::domains`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A zone or a region with something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The region.
    pub region: String,
    /// The zone; `None`: the whole region.
    pub zone: Option<String>,
    /// The region of a zone.
    pub parent: Option<DomainIx>,
    /// The zones of a region.
    pub parts: Vec<DomainIx>,
    /// The instances that are stated to live there.
    pub members: Vec<InstanceIx>,
    /// The witnesses that are stated to live there.
    pub witnesses: Vec<WitnessIx>,
    /// Whether its loss can be told from the loss of something smaller: it has two hosts (a region: two zones, or two hosts
    /// and no zone at all), and the agent, who would be lost with it, is elsewhere.
    pub is_told_apart: bool,
}

impl Domain {
    /// As people write it: `berlin/hall-2`.
    pub fn name(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{}/{zone}", self.region),
            None => self.region.clone(),
        }
    }
}

/// Where an instance or a witness lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its zone, where the plan states one.
    pub zone: Option<DomainIx>,
    /// Its region.
    pub region: DomainIx,
}

impl Place {
    /// The smallest first.
    pub fn domains(self) -> impl Iterator<Item = DomainIx> {
        self.zone.into_iter().chain([self.region])
    }
}

/// The zones and regions of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Regions and zones, in the order of their names, a region before its zones.
    pub domains: Vec<Domain>,
    instances: Vec<Place>,
    witnesses: Vec<Place>,
    runs: Vec<bool>,
    near: Vec<[Vec<InstanceIx>; 2]>,
}

impl Topology {
    /// Up to so many instances in a zone or region are asked as soon as one of them fails.
    pub const ASKED_AT_ONCE: usize = ALL_OF;

    /// Of a plan.
    pub fn of(plan: &Plan) -> Topology {
        let mut by_name: BTreeMap<(&str, Option<&str>), DomainIx> = BTreeMap::new();
        let locations =
            || plan.instances.iter().map(|it| &it.location).chain(plan.witnesses.iter().map(|it| &it.location));
        for location in locations() {
            by_name.insert((&location.region, None), DomainIx(0));
            by_name.insert((&location.region, location.zone.as_deref()), DomainIx(0));
        }
        for (at, ix) in by_name.values_mut().zip(0u32..) {
            *at = DomainIx(ix);
        }
        let place = |location: &Location| Place {
            zone: location.zone.as_deref().map(|zone| by_name[&(location.region.as_str(), Some(zone))]),
            region: by_name[&(location.region.as_str(), None)],
        };
        let mut topology = Topology {
            domains: by_name.keys().map(|(region, zone)| domain(region, *zone)).collect(),
            instances: plan.instances.iter().map(|it| place(&it.location)).collect(),
            witnesses: plan.witnesses.iter().map(|it| place(&it.location)).collect(),
            runs: (0u32..).map(InstanceIx).take(plan.instances.len()).map(|it| runs(plan, it)).collect(),
            near: vec![[Vec::new(), Vec::new()]; plan.instances.len()],
        };
        for ((region, zone), ix) in &by_name {
            if zone.is_some() {
                let parent = by_name[&(*region, None)];
                topology.domains[ix.index()].parent = Some(parent);
                topology.domains[parent.index()].parts.push(*ix);
            }
        }
        topology.settle(plan);
        topology.choose_neighbours(plan);
        topology
    }

    /// The domain of that name.
    pub fn named(&self, region: &str, zone: Option<&str>) -> Option<DomainIx> {
        let at =
            self.domains.binary_search_by(|it| (it.region.as_str(), it.zone.as_deref()).cmp(&(region, zone))).ok()?;
        u32::try_from(at).ok().map(DomainIx)
    }

    /// The domain.
    pub fn domain(&self, ix: DomainIx) -> &Domain {
        &self.domains[ix.index()]
    }

    /// Whether a zone is all that its region has.
    pub fn is_whole_region(&self, ix: DomainIx) -> bool {
        let zone = self.domain(ix);
        zone.parent.is_some_and(|it| self.domain(it).members.len() == zone.members.len())
    }

    /// Where an instance lives.
    pub fn place(&self, instance: InstanceIx) -> Place {
        self.instances[instance.index()]
    }

    /// Where a witness lives.
    pub fn place_of_witness(&self, witness: WitnessIx) -> Place {
        self.witnesses[witness.index()]
    }

    /// Whether an instance answers while all is well: a cold standby is stopped.
    pub fn runs(&self, instance: InstanceIx) -> bool {
        self.runs[instance.index()]
    }

    /// Whom to ask whether the zone of an instance lives: instances on other hosts there, those that run.
    pub fn zone_neighbours(&self, instance: InstanceIx) -> &[InstanceIx] {
        &self.near[instance.index()][0]
    }

    /// Whom to ask whether its region lives: instances that run there outside its zone.
    pub fn region_neighbours(&self, instance: InstanceIx) -> &[InstanceIx] {
        &self.near[instance.index()][1]
    }

    fn settle(&mut self, plan: &Plan) {
        for (place, ix) in self.instances.iter().zip((0u32..).map(InstanceIx)) {
            for domain in place.domains() {
                self.domains[domain.index()].members.push(ix);
            }
        }
        for (place, ix) in self.witnesses.iter().zip((0u32..).map(WitnessIx)) {
            for domain in place.domains() {
                self.domains[domain.index()].witnesses.push(ix);
            }
        }
        let site = &plan.site.location;
        for domain in &mut self.domains {
            let parts = |of: &dyn Fn(&Location) -> Option<String>| {
                let members = domain.members.iter().filter(|it| runs(plan, **it));
                members
                    .filter_map(|it| of(&plan.instance(*it).location))
                    .collect::<std::collections::BTreeSet<_>>()
                    .len()
            };
            let unstated = || {
                let without = |it: &&InstanceIx| runs(plan, **it) && plan.instance(**it).location.host.is_none();
                domain.members.iter().filter(without).count()
            };
            let hosts = || parts(&|it| it.host.clone()) + unstated();
            let has_agent = domain.region == site.region && (domain.zone.is_none() || domain.zone == site.zone);
            let stated_zones = || parts(&|it| it.zone.clone());
            domain.is_told_apart = !has_agent
                && match domain.zone {
                    Some(_) => hosts() > 1,
                    None => stated_zones() > 1 || (stated_zones() == 0 && hosts() > 1),
                };
        }
    }

    /// Members in the order of zone and host, so that those that share either are next to each other; from there on one goes
    /// in strides that grow, so that the news of a lost zone is at its other end after a few questions.
    fn choose_neighbours(&mut self, plan: &Plan) {
        for domain in &self.domains {
            let mut ring: Vec<InstanceIx> = domain.members.iter().copied().filter(|it| runs(plan, *it)).collect();
            let key = |it: &InstanceIx| {
                let location = &plan.instance(*it).location;
                // Without a stated host each is on its own.
                let own = if location.host.is_none() { it.0 } else { 0 };
                (location.zone.as_deref(), location.host.as_deref(), own)
            };
            ring.sort_by(|a, b| key(a).cmp(&key(b)));
            let is_zone = domain.zone.is_some();
            let together = |a: InstanceIx, b: InstanceIx| {
                let (first, second) = (key(&a), key(&b));
                if is_zone || first.0.is_none() || second.0.is_none() { first == second } else { first.0 == second.0 }
            };
            let ends = ends_of_groups(&ring, together);
            for (at, instance) in ring.iter().enumerate() {
                if domain.is_told_apart {
                    let others = neighbours(&ring, at, ends[at], is_zone, together);
                    self.near[instance.index()][usize::from(!is_zone)] = others;
                }
            }
        }
        // What does not run is asked about as well: it may be the component one day.
        for (instance, ix) in plan.instances.iter().zip((0u32..).map(InstanceIx)) {
            if !runs(plan, ix) && !instance.probes.is_empty() {
                self.near[ix.index()] = [self.some_of(plan, self.place(ix).zone, ix), {
                    let region = self.place(ix).region;
                    self.some_of(plan, Some(region), ix)
                }];
            }
        }
    }

    fn some_of(&self, plan: &Plan, domain: Option<DomainIx>, but: InstanceIx) -> Vec<InstanceIx> {
        let Some(domain) = domain.map(|it| self.domain(it)).filter(|it| it.is_told_apart) else { return Vec::new() };
        let here = &plan.instance(but).location;
        let other = |it: &InstanceIx| {
            let there = &plan.instance(*it).location;
            let apart = if domain.zone.is_some() {
                there.host.is_none() || there.host != here.host
            } else {
                there.zone != here.zone
            };
            runs(plan, *it) && apart
        };
        domain.members.iter().copied().take(64).filter(other).take(ELSEWHERE).collect()
    }
}

fn domain(region: &str, zone: Option<&str>) -> Domain {
    Domain {
        region: region.to_owned(),
        zone: zone.map(str::to_owned),
        parent: None,
        parts: Vec::new(),
        members: Vec::new(),
        witnesses: Vec::new(),
        is_told_apart: false,
    }
}

/// Whether it answers while all is well: a cold standby is stopped.
fn runs(plan: &Plan, ix: InstanceIx) -> bool {
    let instance = plan.instance(ix);
    let original = plan.component(instance.component).original() == ix;
    !instance.probes.is_empty() && (original || instance.temperature != Temperature::Cold)
}

/// For each place on the ring, how many follow it until something is next that does not share its host (or zone).
fn ends_of_groups(ring: &[InstanceIx], together: impl Fn(InstanceIx, InstanceIx) -> bool) -> Vec<usize> {
    let mut ends = vec![0; ring.len()];
    for at in (0..ring.len()).rev() {
        let next = at + 1;
        ends[at] = if next < ring.len() && together(ring[at], ring[next]) { ends[next] + 1 } else { 1 };
    }
    ends
}

fn neighbours(
    ring: &[InstanceIx],
    at: usize,
    first: usize,
    is_zone: bool,
    together: impl Fn(InstanceIx, InstanceIx) -> bool,
) -> Vec<InstanceIx> {
    let mut found = Vec::new();
    let most = if is_zone { ALL_OF + 8 } else { ELSEWHERE };
    let (mut step, mut stride) = (first, 1);
    while step < ring.len() && found.len() < most {
        let other = ring[(at + step) % ring.len()];
        if together(ring[at], other) {
            // Once round: from here on are those before it that share its host.
            break;
        }
        found.push(other);
        step += stride;
        if ring.len() > ALL_OF {
            stride = if found.len() > 2 { stride * 2 } else { 1 };
        }
    }
    found
}

#[cfg(test)]
mod tests {

    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    fn topology(places: &[(&str, &str, &str)]) -> (Plan, Topology) {
        let mut text = "version: 2\nsite: { name: s, region: far, zone: away }\nstate: s\ncomponents:\n".to_owned();
        for (nth, (region, zone, host)) in places.iter().enumerate() {
            let zone = if zone.is_empty() { String::new() } else { format!(", zone: {zone}") };
            let host = if host.is_empty() { String::new() } else { format!(", host: {host}") };
            let _ = writeln!(
                text,
                "  c{nth:05}: {{ type: cache, location: {{ region: {region}{zone}{host} }}, probes: [{{ http: {{ url: \"http://10.0.0.1/\" }} }}] }}"
            );
        }
        let plan = crate::compile("t.yaml", &text, Path::new("/")).plan.unwrap();
        let topology = Topology::of(&plan);
        (plan, topology)
    }

    fn near(of: &Topology, instance: u32) -> (Vec<u32>, Vec<u32>) {
        let numbers = |it: &[InstanceIx]| it.iter().map(|it| it.0).collect();
        (numbers(of.zone_neighbours(InstanceIx(instance))), numbers(of.region_neighbours(InstanceIx(instance))))
    }

    #[test]
    fn neighbours_are_on_other_hosts_and_in_other_zones() {
        let (_, of) =
            topology(&[("r", "a", "h1"), ("r", "a", "h1"), ("r", "a", "h2"), ("r", "b", "h3"), ("r", "", "")]);
        let names: Vec<(String, bool)> = of.domains.iter().map(|it| (it.name(), it.is_told_apart)).collect();
        let named = |name: &str, told| (name.to_owned(), told);
        assert_eq!(names, [named("r", true), named("r/a", true), named("r/b", false)]);
        assert_eq!(near(&of, 0).0, [2]);
        assert_eq!(near(&of, 2).0, [0, 1]);
        assert_eq!(near(&of, 3).0, [] as [u32; 0], "alone in its zone");
        assert_eq!(near(&of, 0).1.len(), 2, "the one in the other zone, and the one of which nobody knows");
        assert_eq!(near(&of, 4).1.len(), 4, "whose zone is not stated is next to everybody in the region");
    }

    #[test]
    fn one_host_is_no_zone_and_the_agent_is_never_lost() {
        let (_, of) = topology(&[("r", "a", "h1"), ("r", "a", "h1")]);
        assert!(of.domains.iter().all(|it| !it.is_told_apart));
        let (_, of) = topology(&[("far", "away", "h1"), ("far", "away", "h2"), ("far", "b", "h3"), ("far", "b", "h4")]);
        let told: Vec<String> = of.domains.iter().filter(|it| it.is_told_apart).map(Domain::name).collect();
        assert_eq!(told, ["far/b"]);
    }

    #[test]
    fn the_news_of_a_lost_zone_is_everywhere_after_a_few_questions() {
        let places: Vec<(&str, &str, &str)> = (0..2_000).map(|_| ("r", "a", "")).collect();
        let (plan, of) = topology(&places);
        let mut reached = vec![false; plan.instances.len()];
        let mut front = vec![InstanceIx(7)];
        let mut rounds = 0;
        while !front.is_empty() {
            rounds += 1;
            let all: Vec<InstanceIx> = front.iter().flat_map(|it| of.zone_neighbours(*it).to_vec()).collect();
            front = all.into_iter().filter(|it| !std::mem::replace(&mut reached[it.index()], true)).collect();
            assert!(rounds < 16, "too many rounds");
        }
        assert!(reached.iter().all(|it| *it));
        assert!((0..2_000).all(|it| of.zone_neighbours(InstanceIx(it)).len() <= 16));
    }
}
