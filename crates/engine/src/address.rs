//! Where instances are: where the plan says, until something that was done to one, or a person, says otherwise.
//!
//! That a step brought an address stands in the record of its outcome; that it holds from then on is a decision of its own,
//! made before any other about the component. So it is read in the journal, and no crash comes between the two.

use mainstay_plan::{ComponentIx, InstanceIx};

use crate::record::Body;
use crate::state::State;

/// The next change of where an instance of a component is, if there is one.
pub(crate) fn next(state: &State, component: ComponentIx) -> Option<Body> {
    state.plan.component(component).instances.iter().find_map(|it| change(state, *it))
}

fn change(state: &State, ix: InstanceIx) -> Option<Body> {
    let lasting = &state.instances[ix.index()];
    if lasting.arrival.is_none() && lasting.elsewhere.is_none() {
        return None;
    }
    let instance = state.plan.instance(ix).name.clone();
    let hosts = state.plan.hosts_of(ix);
    if let Some(arrival) = &lasting.arrival {
        let elsewhere = arrival.address.filter(|it| hosts != [it.to_string()]);
        let instead_of = if elsewhere.is_some() { hosts } else { Vec::new() };
        let (step, why) = (arrival.step, arrival.why.clone());
        return Some(Body::AddressChanged { instance, address: elsewhere, instead_of, step, why });
    }
    let before = &lasting.elsewhere.as_ref()?.instead_of;
    (*before != hosts).then(|| Body::AddressChanged {
        instance,
        address: None,
        instead_of: Vec::new(),
        step: None,
        why: format!("the plan says {} now, and said {}", listed(&hosts), listed(before)),
    })
}

fn listed(hosts: &[String]) -> String {
    if hosts.is_empty() { "no address".to_owned() } else { hosts.join(", ") }
}
