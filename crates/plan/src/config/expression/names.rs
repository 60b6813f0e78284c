//! What the names in an expression stand for.

use std::collections::{BTreeSet, HashMap};

use crate::config::link::index;
use crate::location::Location;
use crate::rule::{Scope, Subject};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, WitnessIx};

/// The names of a plan, ready to be looked up.
pub(in crate::config) struct Names<'p> {
    pub(super) plan: &'p Plan,
    pub(super) components: HashMap<&'p str, ComponentIx>,
    pub(super) instances: HashMap<&'p str, InstanceIx>,
    pub(super) witnesses: HashMap<&'p str, WitnessIx>,
    pub(super) probes: HashMap<&'p str, ProbeIx>,
    pub(super) regions: Places,
    pub(super) zones: Places,
    pub(super) hosts: Places,
}

/// Places of one sort, each with its short name, its full one, and the instances there.
pub(super) struct Places {
    /// What one of them is called.
    pub(super) what: &'static str,
    all: Vec<Place>,
    /// By short and by full name: which of `all`.
    by_name: HashMap<String, Vec<usize>>,
}

pub(super) struct Place {
    /// `us-east-1/us-east-1a`
    pub(super) full: String,
    pub(super) scope: Scope,
}

/// What a name of a place stands for.
pub(super) enum Found<'a> {
    One(&'a Place),
    Several(Vec<&'a str>),
    None,
}

impl Places {
    fn new(what: &'static str, places: impl Iterator<Item = (String, String, Scope)>) -> Places {
        let mut found = Places { what, all: Vec::new(), by_name: HashMap::new() };
        let mut short_names = Vec::new();
        for (at, (short, full, scope)) in places.enumerate() {
            found.by_name.entry(full.clone()).or_default().push(at);
            short_names.push(short);
            found.all.push(Place { full, scope });
        }
        // A full name comes before a short one that looks like it: in full, everything can be said.
        let full_names: BTreeSet<String> = found.by_name.keys().cloned().collect();
        for (at, short) in short_names.into_iter().enumerate() {
            if !full_names.contains(&short) {
                found.by_name.entry(short).or_default().push(at);
            }
        }
        found
    }

    pub(super) fn find(&self, name: &str) -> Found<'_> {
        match self.by_name.get(name).map(Vec::as_slice) {
            None | Some([]) => Found::None,
            Some([one]) => Found::One(&self.all[*one]),
            Some(several) => Found::Several(several.iter().map(|it| self.all[*it].full.as_str()).collect()),
        }
    }

    pub(super) fn full_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.all.iter().map(|it| it.full.as_str())
    }
}

impl<'p> Names<'p> {
    /// The names of `plan`, whose components, instances, probes and witnesses are complete.
    pub(in crate::config) fn of(plan: &'p Plan) -> Names<'p> {
        let locations: BTreeSet<&Location> = plan.instances.iter().map(|it| &it.location).collect();
        let regions: BTreeSet<&str> = locations.iter().map(|it| it.region.as_str()).collect();
        let zones: BTreeSet<(&str, &str)> =
            locations.iter().filter_map(|it| Some((it.region.as_str(), it.zone.as_deref()?))).collect();
        let hosts = locations.iter().filter_map(|it| Some(((*it).clone(), it.host.clone()?)));
        Names {
            plan,
            components: numbered(plan.components.iter().map(|it| it.name.as_str()), ComponentIx),
            instances: numbered(plan.instances.iter().map(|it| it.name.as_str()), InstanceIx),
            witnesses: numbered(plan.witnesses.iter().map(|it| it.name.as_str()), WitnessIx),
            probes: numbered(plan.probes.iter().map(|it| it.name.as_str()), ProbeIx),
            regions: Places::new(
                "region",
                regions.iter().map(|it| ((*it).to_owned(), (*it).to_owned(), Scope::Region((*it).to_owned()))),
            ),
            zones: Places::new(
                "zone",
                zones.iter().map(|(region, zone)| {
                    let scope = Scope::Zone { region: (*region).to_owned(), zone: (*zone).to_owned() };
                    ((*zone).to_owned(), format!("{region}/{zone}"), scope)
                }),
            ),
            hosts: Places::new("host", hosts.map(|(it, host)| (host, it.to_string(), Scope::Host(it)))),
        }
    }

    /// What a name alone stands for: a component before its own first instance, which has the same name. `Err` with both
    /// words if it is a component or an instance and a witness too.
    pub(super) fn subject(&self, name: &str) -> Result<Option<Subject>, [&'static str; 2]> {
        let ours = match (self.components.get(name), self.instances.get(name)) {
            (Some(component), _) => Some(("component", Subject::Component(*component))),
            (None, Some(instance)) => Some(("instance", Subject::Instance(*instance))),
            (None, None) => None,
        };
        match (ours, self.witnesses.get(name)) {
            (Some((word, _)), Some(_)) => Err([word, "witness"]),
            (Some((_, subject)), None) => Ok(Some(subject)),
            (None, witness) => Ok(witness.map(|it| Subject::Witness(*it))),
        }
    }

    /// How a scope is written whose name stands there, as `text`, without saying what it is.
    pub(super) fn scope_named(&self, name: &str, text: &str) -> Option<String> {
        if self.components.contains_key(name) {
            return Some(format!("component {text}"));
        }
        if self.instances.contains_key(name) {
            return Some(format!("[{text}]"));
        }
        let places = [&self.regions, &self.zones, &self.hosts];
        let found = places.into_iter().find(|it| !matches!(it.find(name), Found::None));
        found.map(|it| format!("{} {text}", it.what))
    }

    pub(super) fn component_names(&self) -> impl Iterator<Item = &'p str> + Clone + use<'p> {
        self.plan.components.iter().map(|it| it.name.as_str())
    }

    pub(super) fn instance_names(&self) -> impl Iterator<Item = &'p str> + Clone + use<'p> {
        self.plan.instances.iter().map(|it| it.name.as_str())
    }

    pub(super) fn witness_names(&self) -> impl Iterator<Item = &'p str> + Clone + use<'p> {
        self.plan.witnesses.iter().map(|it| it.name.as_str())
    }

    pub(super) fn probe_names(&self) -> impl Iterator<Item = &'p str> + Clone + use<'p> {
        self.plan.probes.iter().map(|it| it.name.as_str())
    }

    /// The probes whose answers make the health of a subject.
    pub(super) fn probes_of(&self, subject: Subject) -> Vec<ProbeIx> {
        match subject {
            Subject::Component(ix) => self.probes_of_all(self.plan.component(ix).instances.iter().copied()),
            Subject::Instance(ix) => self.plan.instance(ix).probes.clone(),
            Subject::Witness(ix) => vec![self.plan.witness(ix).probe],
        }
    }

    /// The probes of all these instances.
    pub(super) fn probes_of_all(&self, instances: impl Iterator<Item = InstanceIx>) -> Vec<ProbeIx> {
        instances.flat_map(|it| self.plan.instance(it).probes.iter().copied()).collect()
    }
}

fn numbered<'p, T>(names: impl Iterator<Item = &'p str>, ix: fn(u32) -> T) -> HashMap<&'p str, T> {
    names.enumerate().map(|(at, name)| (name, ix(index(at)))).collect()
}
