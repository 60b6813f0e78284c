//! A plan as the lints read it: its nouns with their places in the file, and the proof for the plainest failure.

use std::net::IpAddr;
use std::time::Duration;

use crate::component::{Component, Instance};
use crate::config::Outline;
use crate::finding::Span;
use crate::location::{FailureDomain, Location};
use crate::probe::{Address, ProbeKind, Whom};
use crate::proof::{Condition, Proof, Recovery};
use crate::route::Sharing;
use crate::strategy::Strategy;
use crate::{ComponentIx, InstanceIx, Plan};

pub(super) struct Reading<'a> {
    pub(super) plan: &'a Plan,
    pub(super) outline: &'a Outline,
    proof: &'a Proof<'a>,
}

impl<'a> Reading<'a> {
    pub(super) const fn of(proof: &'a Proof<'a>, outline: &'a Outline) -> Reading<'a> {
        Reading { plan: proof.plan(), outline, proof }
    }

    /// All components.
    pub(super) fn components(&self) -> impl Iterator<Item = (ComponentIx, &'a Component)> {
        indices(self.plan).zip(&self.plan.components)
    }

    /// What recovers the loss of a component's instance, while nothing else is missing.
    pub(super) fn recovery(&self, component: ComponentIx) -> Option<&Recovery> {
        self.proof.cell(component, FailureDomain::Instance, Condition::None)?.verdict.as_ref().ok()
    }

    /// A field of a component.
    pub(super) fn at(&self, component: &Component, path: &[&str]) -> Span {
        self.outline.at(&[&["components", component.name.as_str()], path].concat())
    }

    /// A field of a component's own instance, or of a standby.
    pub(super) fn at_instance(&self, ix: InstanceIx, path: &[&str]) -> Span {
        let instance = self.plan.instance(ix);
        let own = self.plan.component(instance.component).original() == ix;
        let section = if own { "components" } else { "standbys" };
        self.outline.at(&[&[section, instance.name.as_str()], path].concat())
    }

    /// A field of the probe at `nth` of an instance.
    pub(super) fn at_probe(&self, ix: InstanceIx, nth: usize, field: &str) -> Span {
        let word = self.plan.probe(self.plan.instance(ix).probes[nth]).kind.word();
        self.at_instance(ix, &["probes", &nth.to_string(), word, field])
    }

    /// The rung at `nth`.
    pub(super) fn at_rung(&self, component: &Component, nth: usize) -> Span {
        self.at(component, &["recovery", &nth.to_string()])
    }

    /// The instance that the component is born with.
    pub(super) fn original(&self, component: &Component) -> &'a Instance {
        self.plan.instance(component.original())
    }

    /// The standbys that take over from the instance that the component is born with, in the order of the ladder.
    pub(super) fn standbys(&self, component: &Component) -> impl Iterator<Item = InstanceIx> {
        let from = component.original();
        let takeovers = component.ladder.iter().filter(|it| it.strategy == Strategy::FailoverToStandby);
        takeovers.filter_map(move |it| it.plays.get(&from).map(|play| play.to))
    }

    /// Whether a takeover of it is one that must not happen twice at a time.
    pub(super) fn is_exclusive(&self, component: &Component) -> bool {
        component.routes.iter().any(|it| self.plan.route(*it).sharing == Sharing::Exclusive)
    }
}

fn indices(plan: &Plan) -> impl Iterator<Item = ComponentIx> + use<> {
    (0..plan.components.len()).map(|at| ComponentIx(u32::try_from(at).expect("a component has an index")))
}

/// The region and the zone, where the plan names one.
pub(super) fn zone(location: &Location) -> Option<(&str, &str)> {
    Some((location.region.as_str(), location.zone.as_deref()?))
}

/// Whether both are in one zone for sure: `Location::shares` also counts what may be.
pub(super) fn same_zone(a: &Location, b: &Location) -> bool {
    zone(a).is_some() && zone(a) == zone(b)
}

/// The smallest domain that holds both for sure.
pub(super) fn smallest_shared(a: &Location, b: &Location) -> Option<FailureDomain> {
    if a.shares(b, FailureDomain::Host) {
        Some(FailureDomain::Host)
    } else if same_zone(a, b) {
        Some(FailureDomain::Zone)
    } else {
        (a.region == b.region).then_some(FailureDomain::Region)
    }
}

/// Whom a probe connects to, where that is a machine with an address.
pub(super) fn asked(kind: &ProbeKind) -> Option<&Address> {
    match kind.whom() {
        Whom::Server(address) => Some(address),
        Whom::NameServer(_) | Whom::Machine(_) | Whom::Several(_) | Whom::Nobody => None,
    }
}

/// The address of the machine that a probe asks. A loopback address is every machine's own.
pub(super) fn machine(kind: &ProbeKind) -> Option<IpAddr> {
    let ip = match kind.whom() {
        Whom::NameServer(server) => server.ip(),
        Whom::Machine(address) => address,
        Whom::Server(Address::Socket(socket)) => socket.ip(),
        Whom::Server(Address::Name { .. } | Address::ResolvedBy { .. }) | Whom::Several(_) | Whom::Nobody => {
            return None;
        }
    };
    (!ip.is_loopback()).then_some(ip)
}

/// Names, as many as can be read.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = names.into_iter().collect();
    let shown: Vec<String> = all.iter().take(SHOWN).map(|it| format!("`{it}`")).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A number of seconds that reads well and is at most `time`, but at least a second.
pub(super) fn rounded_down(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}
