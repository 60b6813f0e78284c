//! The compiled plan.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::agents::{Agent, Coordination};
use crate::component::{Component, Instance, Witness};
use crate::control::ControlPlane;
use crate::drill::Drill;
use crate::evacuation::Evacuation;
use crate::hosts::{Host, Link};
use crate::listening::{HeartbeatListener, TlsFiles};
use crate::notification::{EscalationStep, NotificationChannel, QuietTime};
use crate::policy::{Allowances, Mode, OnJournalLoss, Person, Probing, Site, SiteGuards};
use crate::prepared::Prepared;
use crate::probe::Probe;
use crate::route::Route;
use crate::rule::Rule;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into the plan's list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// A component, by its place in [`Plan::components`].
    ComponentIx
);
index!(
    /// An instance, by its place in [`Plan::instances`].
    InstanceIx
);
index!(
    /// A probe, by its place in [`Plan::probes`].
    ProbeIx
);
index!(
    /// A route, by its place in [`Plan::routes`].
    RouteIx
);
index!(
    /// A witness, by its place in [`Plan::witnesses`].
    WitnessIx
);
index!(
    /// A control plane, by its place in [`Plan::controls`].
    ControlIx
);
index!(
    /// A host, by its place in [`Plan::hosts`].
    HostIx
);

/// Everything that was decided before the failure. Immutable; an index into one of its lists is valid for this plan only,
/// so what outlives the plan (journal, routing table) uses names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// SHA-256 of `source`, in lower-case hexadecimal: which plan a decision was made under.
    pub hash: String,
    /// The text that it was compiled from. The journal keeps it, so that a replay has the same plan.
    pub source: Arc<str>,
    /// Whom it decides for.
    pub site: Site,
    /// Where journal, lock, sockets and the traffic process's table live.
    pub state_dir: PathBuf,
    /// How far it goes by itself.
    pub mode: Mode,
    /// What happens when the journal can't be written.
    pub on_journal_loss: OnJournalLoss,
    /// What the agent itself is allowed.
    pub allowances: Allowances,
    /// How many probes may be under way at the same time.
    pub probing: Probing,
    /// Where the traffic process answers DNS (UDP and TCP), if any route has a name.
    pub dns_listen: Option<SocketAddr>,
    /// Name servers that copy the zones of the routes, and are told when one changes.
    pub secondaries: Vec<SocketAddr>,
    /// Where the traffic process answers beacons, if any route has one.
    pub beacon_listen: Option<SocketAddr>,
    /// What beacons show over TLS; `None`: they are answered over plain HTTP.
    pub beacon_tls: Option<TlsFiles>,
    /// Where jobs on other machines call.
    pub heartbeats: Option<HeartbeatListener>,
    /// By name.
    pub components: Vec<Component>,
    /// All instances of all components.
    pub instances: Vec<Instance>,
    /// Instances' probes, then witnesses', then canaries', then routes'.
    pub probes: Vec<Probe>,
    /// By name.
    pub witnesses: Vec<Witness>,
    /// What steps depend on beside hosts and instances, by service and region.
    pub controls: Vec<ControlPlane>,
    /// By name.
    pub routes: Vec<Route>,
    /// Who is told.
    pub notifications: Vec<NotificationChannel>,
    /// Who is told next when nobody answers, the first first.
    pub escalation: Vec<EscalationStep>,
    /// When people are left in peace, unless it is loud.
    pub quiet: Vec<QuietTime>,
    /// What holds back recoveries of the whole site.
    pub guards: SiteGuards,
    /// What actions need, by name.
    pub prepared: Vec<Prepared>,
    /// Decision rules, by name.
    pub rules: Vec<Rule>,
    /// What is recovered together when a zone or a region is lost, by name.
    pub evacuations: Vec<Evacuation>,
    /// Rehearsals, by name.
    pub drills: Vec<Drill>,
    /// Agents beside the one that decides, by name.
    pub agents: Vec<Agent>,
    /// Machines beside the agent's own where Mainstay has hands, by name.
    pub hosts: Vec<Host>,
    /// How hosts reach the agent; there where the plan has hosts.
    pub link: Option<Link>,
    /// Who may approve what, by name.
    pub people: Vec<Person>,
    /// Where several deciding agents agree.
    pub coordination: Option<Coordination>,
}

impl Plan {
    /// The component at `ix`.
    pub fn component(&self, ix: ComponentIx) -> &Component {
        &self.components[ix.index()]
    }

    /// The instance at `ix`.
    pub fn instance(&self, ix: InstanceIx) -> &Instance {
        &self.instances[ix.index()]
    }

    /// The probe at `ix`.
    pub fn probe(&self, ix: ProbeIx) -> &Probe {
        &self.probes[ix.index()]
    }

    /// The route at `ix`.
    pub fn route(&self, ix: RouteIx) -> &Route {
        &self.routes[ix.index()]
    }

    /// The witness at `ix`.
    pub fn witness(&self, ix: WitnessIx) -> &Witness {
        &self.witnesses[ix.index()]
    }

    /// The control plane at `ix`.
    pub fn control(&self, ix: ControlIx) -> &ControlPlane {
        &self.controls[ix.index()]
    }

    /// The control plane of that service in that region.
    pub fn control_named(&self, service: &str, region: &str) -> Option<ControlIx> {
        let at = self.controls.binary_search_by(|it| (it.service.as_str(), it.region.as_str()).cmp(&(service, region)));
        at.ok().and_then(|at| u32::try_from(at).ok()).map(ControlIx)
    }

    /// The hosts at which an instance is reached: by its own probes, and as a target of routes. In order, each once. What is
    /// known of where it is now counts as long as these stay the same.
    pub fn hosts_of(&self, ix: InstanceIx) -> Vec<String> {
        let asked = self.instance(ix).probes.iter().filter_map(|it| self.probe(*it).kind.host());
        let routes = &self.component(self.instance(ix).component).routes;
        let targets = routes.iter().flat_map(|it| &self.route(*it).targets).filter(|it| it.instance == ix);
        let mut hosts: Vec<String> = asked.chain(targets.map(|it| it.address.ip().to_string())).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Whether that person may do what `role` may; everybody may where no role is asked for.
    pub fn may(&self, person: &str, role: Option<&str>) -> bool {
        let has = |role: &str| {
            let known = self.people.iter().find(|it| it.name == person);
            known.is_some_and(|it| it.roles.iter().any(|it| it == role))
        };
        role.is_none_or(has)
    }

    /// The component of that name.
    pub fn component_named(&self, name: &str) -> Option<ComponentIx> {
        position(self.components.iter().map(|it| &it.name), name).map(ComponentIx)
    }

    /// The instance of that name.
    pub fn instance_named(&self, name: &str) -> Option<InstanceIx> {
        position(self.instances.iter().map(|it| &it.name), name).map(InstanceIx)
    }

    /// The probe of that name.
    pub fn probe_named(&self, name: &str) -> Option<ProbeIx> {
        position(self.probes.iter().map(|it| &it.name), name).map(ProbeIx)
    }

    /// The route of that name.
    pub fn route_named(&self, name: &str) -> Option<RouteIx> {
        position(self.routes.iter().map(|it| &it.name), name).map(RouteIx)
    }
}

fn position<'a>(mut names: impl Iterator<Item = &'a String>, name: &str) -> Option<u32> {
    names.position(|it| it == name).and_then(|at| u32::try_from(at).ok())
}
