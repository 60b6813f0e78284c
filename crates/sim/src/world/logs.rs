//! The logs of the databases in the world: what time and what happens do to them.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::effect::Order;
use mainstay_plan::component::Component;
use mainstay_plan::observation::{Health, LogPosition, SeenRole};
use mainstay_plan::probe::ProbeKind;
use mainstay_plan::{InstanceIx, Plan};

use super::log::{Log, Stand};
use super::{Server, World};

/// Whether it says where it is.
fn says_where(plan: &Plan, instance: InstanceIx) -> bool {
    plan.instance(instance).probes.iter().any(|it| matches!(plan.probe(*it).kind, ProbeKind::Postgres(_)))
}

impl World {
    /// Databases are there before anything happens.
    pub(super) fn logs_begin(&mut self) {
        let plan = self.plan.clone();
        for component in &plan.components {
            let servers: Vec<InstanceIx> =
                component.instances.iter().copied().filter(|it| says_where(&plan, *it)).collect();
            if !servers.is_empty() {
                let stands =
                    servers.iter().map(|it| plan.instance(*it).name.clone()).map(|it| (it.clone(), self.stand(&it)));
                let log = Log::new(&component.name, self.now, stands.collect::<Vec<_>>());
                self.logs.insert(component.name.clone(), log);
            }
        }
    }

    fn stand(&self, name: &str) -> Stand {
        Stand {
            up: self.servers.get(name) == Some(&Server::Up),
            role: self.roles.get(name).copied().unwrap_or(SeenRole::Unclear),
            lag: self.lag.get(name).copied().unwrap_or_default(),
        }
    }

    /// Standbys follow whoever clients are led to; where there is no route, whoever is active.
    fn leader(&self, component: &Component) -> Option<String> {
        let active = |it: &&str| self.roles.get(*it) == Some(&SeenRole::Active);
        let mut names = component.instances.iter().map(|it| self.plan.instance(*it).name.as_str());
        let mut led_to = component.routes.iter().flat_map(|it| self.open_to_clients(*it));
        let leader = if component.routes.is_empty() { names.find(active) } else { led_to.find(active) };
        leader.map(str::to_owned)
    }

    /// Time has passed, and everything was as it was.
    pub(super) fn logs_pass(&mut self) {
        let plan = self.plan.clone();
        let mut logs = std::mem::take(&mut self.logs);
        for (name, log) in &mut logs {
            let leader = plan.component_named(name).and_then(|it| self.leader(plan.component(it)));
            log.pass(self.now, leader.as_deref());
        }
        self.logs = logs;
    }

    /// Something has happened: a server may be another one from now on.
    pub(super) fn logs_see(&mut self) {
        let plan = self.plan.clone();
        let mut logs: BTreeMap<String, Log> = std::mem::take(&mut self.logs);
        for (name, log) in &mut logs {
            let Some(component) = plan.component_named(name).map(|it| plan.component(it)) else { continue };
            for instance in &component.instances {
                let name = &plan.instance(*instance).name;
                let (was, is) = (log.stand(name), self.stand(name));
                if was.is_none_or(|it| it == is) {
                    continue;
                }
                let demoted = was.is_some_and(|it| it.role == SeenRole::Active) && is.role == SeenRole::Standby;
                if let Some(leader) = self.leader(component).filter(|it| demoted && it != name) {
                    log.becomes_copy(name, &leader);
                }
                log.stands(name, is);
            }
        }
        self.logs = logs;
    }

    /// Where an instance says that it is.
    pub(super) fn position(&self, instance: InstanceIx) -> Option<LogPosition> {
        let planned = self.plan.instance(instance);
        self.lag.get(&planned.name)?;
        self.logs.get(&self.plan.component(planned.component).name)?.position(&planned.name)
    }

    /// S5: a takeover loses no more of what was written before the failure than was said beforehand.
    pub(super) fn loses_no_more_than_said(&self, order: &Order) {
        // Where the agent's clock is another one, its moments are not the world's.
        let Some(state) = self.engine().map(|it| it.state()).filter(|_| self.clock() == self.now) else { return };
        let Some(recovery) = state.open_recovery(order.step.recovery).filter(|it| it.planned().is_none()) else {
            return;
        };
        let Some(from) = recovery.progress.as_ref().map(|it| it.from) else { return };
        let Some(to) = self.plan.instance_named(&order.instance) else { return };
        let (old, new) = (&state.instances[from.index()], &state.instances[to.index()]);
        let Some(said) = new.frozen_loss.flatten().filter(|_| old.health == Health::Down) else { return };
        let names = (&self.plan.instance(from).name, &self.plan.instance(to).name);
        let log = self.logs.get(&self.plan.component(self.plan.instance(from).component).name);
        let failed = old.out_since.unwrap_or(old.since);
        // Whoever was asked says nothing about what came after.
        let at_least = new.frozen_place.as_ref().and_then(|place| self.no_further_than(names.0, place));
        let at_least = at_least.map(|it| failed.since(it));
        assert!(
            at_least.is_none_or(|it| said >= it),
            "S5: {} is said to lose {said:?}, and what the old owner said last shows {at_least:?}",
            order.instance
        );
        let Some(lost) = log.and_then(|it| it.ahead(names.0, names.1, failed)) else { return };
        let said = said + Duration::from_micros(1);
        assert!(lost <= said, "S5: {} takes over {lost:?} behind, and {said:?} was said", order.instance);
    }
}
