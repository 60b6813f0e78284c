//! S1, S3 and S9 where several agents act on one site: what is really served and done counts, whoever says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstay_engine::effect::Order;
use mainstay_plan::route::Sharing;
use mainstay_plan::routing::RoutingTable;
use mainstay_plan::{ComponentIx, Plan};

use super::fence::Fences;
use super::single;

/// The model that all agents of a site share.
#[derive(Debug)]
pub struct Among {
    fences: Fences,
    /// What is served.
    served: u64,
    /// By component: the epoch of the lease under which an instance of it was made active last.
    activated: BTreeMap<ComponentIx, u64>,
    /// By instance: its component.
    of: BTreeMap<String, ComponentIx>,
    exclusive: BTreeSet<ComponentIx>,
}

impl Among {
    /// Knows what is exclusive.
    pub fn new(plan: &Arc<Plan>) -> Among {
        let mut fences = Fences::default();
        fences.under(plan);
        let routes = plan.routes.iter().filter(|it| it.sharing == Sharing::Exclusive);
        let exclusive = routes.flat_map(|it| &it.targets).map(|it| plan.instance(it.instance).component).collect();
        let of = plan.instances.iter().map(|it| (it.name.clone(), it.component)).collect();
        Among { fences, served: 0, activated: BTreeMap::new(), of, exclusive }
    }

    /// Whether a component has no route that only one may serve.
    pub fn is_not_exclusive(&self, component: ComponentIx) -> bool {
        !self.exclusive.contains(&component)
    }

    /// Whether a table leaves every exclusive route as it is, or is refused because it is older.
    pub fn is_shared_as_before(&self, table: &RoutingTable, served: &RoutingTable) -> bool {
        let exclusive = |it: &RoutingTable| it.routes.iter().filter(|it| it.exclusive).cloned().collect::<Vec<_>>();
        table.epoch < served.epoch || exclusive(table) == exclusive(served)
    }

    /// An action really has its effect.
    pub fn done(&mut self, order: &Order) {
        self.fences.done(order);
    }

    /// S9: an instance is made active under the epoch of a lease: no lease before that comes after it.
    pub fn activated(&mut self, instance: &str, epoch: u64) {
        let Some(component) = self.of.get(instance).filter(|it| self.exclusive.contains(*it)) else { return };
        let before = self.activated.insert(*component, epoch).unwrap_or_default();
        assert!(before <= epoch, "S9: {instance} is made active under epoch {epoch} after it was under {before}");
    }

    /// A table is served from now on.
    pub fn applied(&mut self, table: &RoutingTable) {
        assert!(table.epoch >= self.served, "S9: epoch {} is served after {}", table.epoch, self.served);
        self.served = table.epoch;
        single::applied(table);
        self.fences.applied(table);
    }
}
