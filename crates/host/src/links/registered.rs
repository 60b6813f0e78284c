//! What a plan says about hosts: which there are, what lives on them, and what they will be asked for.

use std::collections::BTreeMap;

use crate::hands::{actions, keepings};
use crate::lease::book::Homes;
use mainstay_plan::action::Action;
use mainstay_plan::probe::ProbeKind;
use mainstay_plan::{InstanceIx, Plan, ProbeIx};
use mainstay_wire::may::May;
use mainstay_wire::message::{Held, Hello};

/// One host of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisteredHost {
    /// Whether a traffic process there serves the routes.
    pub serves: bool,
    /// Whether it is to keep a copy of the journal.
    pub keeps_journal: bool,
    /// Whether other hosts are to be able to ask it.
    is_asked: bool,
    /// What it will be asked for, and for what.
    needs: Vec<(String, Need)>,
    /// Whose leases it is to hold.
    guards: Vec<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    Ask(ProbeKind),
    Act(Action),
}

/// The hosts of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    pub(super) hosts: BTreeMap<String, RegisteredHost>,
    /// By instance: the component, and the host on whose machine it lives.
    lives: BTreeMap<String, (String, String)>,
    /// By probe: the host that asks it.
    asks: Vec<Option<String>>,
    /// By component that may stay what it is while the agent is silent: where its instances live.
    pub(super) homes: BTreeMap<String, Homes>,
}

impl Registered {
    /// What `plan` says.
    pub fn of(plan: &Plan) -> Registered {
        let mut registered = Registered::default();
        for host in &plan.hosts {
            registered.hosts.insert(
                host.name.clone(),
                RegisteredHost { serves: host.serves, keeps_journal: host.keeps_journal, ..RegisteredHost::default() },
            );
        }
        for (ix, instance) in (0..).map(InstanceIx).zip(&plan.instances) {
            let Some(host) = plan.host_of(ix).map(|it| plan.host(it).name.clone()) else { continue };
            let component = plan.component(instance.component).name.clone();
            if plan.is_leased(instance.component) {
                let guards = registered.hosts.get_mut(&host).map(|it| &mut it.guards);
                let held = Held { component: component.clone(), instance: instance.name.clone() };
                guards.into_iter().for_each(|it| it.push(held.clone()));
            }
            if plan.stays(instance.component)
                && let Some(it) = registered.hosts.get_mut(&host)
            {
                it.is_asked = true;
            }
            if let Some(address) = plan
                .stays(instance.component)
                .then(|| plan.host_of(ix))
                .flatten()
                .and_then(|it| plan.host(it).peer_address)
            {
                let homes = registered.homes.entry(component.clone()).or_default();
                homes.insert(instance.name.clone(), (host.clone(), address));
            }
            registered.lives.insert(instance.name.clone(), (component, host));
        }
        for probe in &plan.probes {
            let host = plan.asks(probe).map(|it| plan.host(it).name.clone());
            if let Some(host) = host.as_ref().and_then(|it| registered.hosts.get_mut(it)) {
                host.needs.push((format!("probe {}", probe.name), Need::Ask(probe.kind.clone())));
            }
            registered.asks.push(host);
        }
        for (component, on, action) in actions(plan) {
            let host = registered.does(on, action).map(str::to_owned);
            if let Some(host) = host.and_then(|it| registered.hosts.get_mut(&it)) {
                let need = (format!("recovery of {component}"), Need::Act(action.clone()));
                if !host.needs.contains(&need) {
                    host.needs.push(need);
                }
            }
        }
        for (component, keeper, action) in keepings(plan) {
            if let Some(host) = keeper.and_then(|it| registered.hosts.get_mut(it)) {
                host.needs.push((format!("backups of {component}"), Need::Act(action)));
            }
        }
        registered
    }

    /// Hosts that serve routes, and by instance the component and the host on whose machine it lives.
    #[cfg(test)]
    pub(super) fn for_test(
        hosts: impl IntoIterator<Item = &'static str>,
        lives: impl IntoIterator<Item = (String, (String, String))>,
    ) -> Registered {
        let serves = || RegisteredHost { serves: true, ..RegisteredHost::default() };
        let hosts = hosts.into_iter().map(|it| (it.to_owned(), serves())).collect();
        Registered { hosts, lives: lives.into_iter().collect(), ..Registered::default() }
    }

    /// The host on whose machine an instance lives.
    pub fn host_of(&self, instance: &str) -> Option<&str> {
        self.lives.get(instance).map(|it| it.1.as_str())
    }

    /// The host that asks a probe.
    pub fn asks(&self, probe: ProbeIx) -> Option<&str> {
        self.asks.get(probe.index())?.as_deref()
    }

    /// The host that does this to an instance.
    pub fn does(&self, instance: &str, action: &Action) -> Option<&str> {
        self.host_of(instance).filter(|_| action.is_of_one_machine())
    }

    /// Of what a host asks to hold, what lives there.
    pub(super) fn of_its_own(&self, host: &str, asks: Vec<Held>) -> Vec<Held> {
        let lives = |it: &Held| self.lives.get(&it.instance).is_some_and(|(of, at)| *of == it.component && at == host);
        asks.into_iter().filter(lives).collect()
    }

    /// What a host lacks of what it will be asked for, in sentences.
    pub(super) fn lacks(&self, name: &str, hello: &Hello) -> Vec<String> {
        let Some(host) = self.hosts.get(name) else { return Vec::new() };
        let refused = |may: &May, need: &Need| match need {
            Need::Ask(probe) => may.ask(probe).err(),
            Need::Act(action) => may.act(action).err(),
        };
        let mut lacks: Vec<String> = (host.needs.iter())
            .filter_map(|(what, need)| Some(format!("{what}: host {name} refuses: {}", refused(&hello.may, need)?)))
            .collect();
        if host.serves && !hello.serves {
            lacks.push(format!("host {name} serves no routes: `serves` of its file is not true"));
        }
        if host.keeps_journal && hello.copy_head.is_none() {
            lacks.push(format!("host {name} keeps no copy of the journal: `keeps_journal` of its file is not true"));
        }
        if host.is_asked && !hello.listens {
            lacks.push(format!(
                "host {name} can't be asked by other hosts whether they may stay: `listen` of its file is missing"
            ));
        }
        for it in host.guards.iter().filter(|it| !hello.guards.contains(it)) {
            lacks.push(format!("host {name} does not guard {}: it is not in `guards` of its file", it.instance));
        }
        lacks
    }
}
