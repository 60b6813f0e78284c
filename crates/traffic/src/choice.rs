//! Which targets clients may reach: pure functions of one route of the table.
//!
//! Everything that keeps an exclusive route to one owner, and a fenced target unreachable, is decided here; the proxy,
//! DNS and the agent-check answers only ask.

use std::net::{IpAddr, SocketAddr};

use mainstay_plan::routing::{DnsPolicyEntry, NearEntry, RouteEntry, TargetEntry, TargetState};

/// What happens to a connection that is open when a table comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Goes on.
    Open,
    /// Goes on for the drain time of its route.
    Drain,
    /// Ends now.
    Cut,
}

/// Most addresses in one multivalue answer, as in Route 53; they fit into 512 bytes.
const MULTIVALUE_MAX: usize = 8;

/// The targets that new clients may reach, best first: those that serve; in a shared route where none does, those that
/// are down, because a wrong "down" must not take the last target off.
pub(crate) fn open_to_new(route: &RouteEntry) -> Vec<&TargetEntry> {
    let serving: Vec<_> = in_state(route, TargetState::Serving).collect();
    match (serving.is_empty(), route.exclusive) {
        // `validate` refuses a second owner; whoever reads the table here must not depend on it.
        (false, true) => serving.into_iter().take(1).collect(),
        (false, false) => serving,
        (true, true) => Vec::new(),
        (true, false) => in_state(route, TargetState::Down).collect(),
    }
}

/// Judges a connection to `instance` at `address`.
///
/// An exclusive route drains its old owner only while nobody else owns it: with a new owner in place, a connection that
/// went on would be a second writer (S1).
pub(crate) fn judge(route: &RouteEntry, instance: &str, address: SocketAddr) -> Verdict {
    let same_instance = route.targets.iter().find(|it| it.instance == instance);
    let same_address = route.targets.iter().find(|it| it.address == address);
    // An address that moves between instances is judged by the instance that the connection was opened to.
    let fenced = same_instance.or(same_address).is_some_and(|it| it.state == TargetState::Fenced);
    if fenced {
        return Verdict::Cut;
    }
    let is_open = open_to_new(route).iter().any(|it| it.instance == instance && it.address == address);
    if is_open {
        return Verdict::Open;
    }
    let owned = in_state(route, TargetState::Serving).next().is_some();
    if route.exclusive && owned { Verdict::Cut } else { Verdict::Drain }
}

/// The address that DNS answers for a route with a proxy.
fn proxied_at(route: &RouteEntry) -> Option<IpAddr> {
    route.proxy.as_ref().map(|it| it.listen.ip()).filter(|it| !it.is_unspecified())
}

/// How DNS answers are chosen among targets; `None` where there is nothing to choose.
fn policy(route: &RouteEntry) -> Option<DnsPolicyEntry> {
    let is_free = !route.exclusive && proxied_at(route).is_none();
    route.dns.as_ref().map(|it| it.policy).filter(|_| is_free)
}

/// Whether the answer depends on who asks.
pub(crate) fn asks_for_whom(route: &RouteEntry) -> bool {
    matches!(policy(route), Some(DnsPolicyEntry::Location | DnsPolicyEntry::Latency))
}

/// The addresses of one family that DNS answers to somebody to whom `near` is near; `random` chooses where the policy leaves a
/// choice.
pub(crate) fn addresses(route: &RouteEntry, v4: bool, near: Option<&NearEntry>, random: u64) -> Vec<IpAddr> {
    if let Some(ip) = proxied_at(route) {
        return Some(ip).filter(|it| it.is_ipv4() == v4).into_iter().collect();
    }
    let targets: Vec<_> = open_to_new(route).into_iter().filter(|it| it.address.is_ipv4() == v4).collect();
    let first = |of: &[&TargetEntry]| of.iter().take(1).map(|it| it.address.ip()).collect();
    match policy(route) {
        None | Some(DnsPolicyEntry::Failover) => first(&targets),
        Some(DnsPolicyEntry::Weighted) => by_weight(&targets, random).map(|it| it.address.ip()).into_iter().collect(),
        Some(DnsPolicyEntry::Multivalue) => several(&targets, random),
        Some(by_client @ (DnsPolicyEntry::Location | DnsPolicyEntry::Latency)) => {
            let names = near.map_or(&[][..], |it| &it.targets);
            let nearest: Vec<_> =
                names.iter().filter_map(|name| targets.iter().copied().find(|it| it.instance == *name)).collect();
            match (nearest.is_empty(), by_client == DnsPolicyEntry::Location) {
                (true, _) => first(&targets),
                (false, true) => several(&nearest, random),
                (false, false) => first(&nearest),
            }
        }
    }
}

/// The addresses of one family that a secondary answers: it can't choose by weight or by who asks, and gets all of them.
pub(crate) fn addresses_to_copy(route: &RouteEntry, v4: bool) -> Vec<IpAddr> {
    let open = || open_to_new(route).into_iter().filter(|it| it.address.is_ipv4() == v4);
    match policy(route) {
        None | Some(DnsPolicyEntry::Failover | DnsPolicyEntry::Multivalue) => addresses(route, v4, None, 0),
        Some(DnsPolicyEntry::Location | DnsPolicyEntry::Latency) => several(&open().collect::<Vec<_>>(), 0),
        Some(DnsPolicyEntry::Weighted) => {
            let weighs = open().any(|it| it.weight > 0);
            let targets: Vec<_> = open().filter(|it| it.weight > 0 || !weighs).collect();
            several(&targets, 0)
        }
    }
}

/// Whether DNS has an address of any family.
pub(crate) fn has_addresses(route: &RouteEntry) -> bool {
    proxied_at(route).is_some() || !open_to_new(route).is_empty()
}

/// One target with a probability in proportion to its weight. Where all weights are 0, each is as likely as any other.
fn by_weight<'a>(targets: &[&'a TargetEntry], random: u64) -> Option<&'a TargetEntry> {
    let total: u64 = targets.iter().map(|it| u64::from(it.weight)).sum();
    if total == 0 {
        let count = u64::try_from(targets.len()).ok().filter(|count| *count > 0)?;
        return targets.get(usize::try_from(random % count).ok()?).copied();
    }
    let mut point = random % total;
    targets.iter().copied().find(|target| {
        let weight = u64::from(target.weight);
        let chosen = point < weight;
        point = point.saturating_sub(weight);
        chosen
    })
}

/// Up to eight distinct addresses; with more, the window begins anywhere.
fn several(targets: &[&TargetEntry], random: u64) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = Vec::new();
    for target in targets {
        if !all.contains(&target.address.ip()) {
            all.push(target.address.ip());
        }
    }
    if !all.is_empty() {
        let start = usize::try_from(random % all.len() as u64).unwrap_or(0);
        all.rotate_left(start);
    }
    all.truncate(MULTIVALUE_MAX);
    all
}

fn in_state(route: &RouteEntry, state: TargetState) -> impl Iterator<Item = &TargetEntry> {
    route.targets.iter().filter(move |it| it.state == state)
}

#[cfg(test)]
mod tests {
    use mainstay_plan::routing::DnsEntry;
    use proptest::prelude::*;

    use super::*;

    fn target(n: u8, state: TargetState, weight: u8) -> TargetEntry {
        TargetEntry {
            instance: format!("i{n}"),
            address: SocketAddr::from(([10, 0, 0, n], 5432)),
            unix: None,
            weight,
            agent_check: None,
            state,
        }
    }

    fn route(exclusive: bool, policy: DnsPolicyEntry, targets: Vec<TargetEntry>) -> RouteEntry {
        RouteEntry {
            name: "r".into(),
            exclusive,
            cut_after_silence_ms: None,
            proxy: None,
            dns: Some(DnsEntry { name: "r.example.".into(), ttl_s: 5, policy, near: Vec::new(), records: Vec::new() }),
            beacon: false,
            targets,
        }
    }

    fn any_state() -> impl Strategy<Value = TargetState> {
        prop_oneof![
            Just(TargetState::Serving),
            Just(TargetState::Standby),
            Just(TargetState::Draining),
            Just(TargetState::Down),
            Just(TargetState::Fenced),
        ]
    }

    fn any_route() -> impl Strategy<Value = RouteEntry> {
        let policy = prop_oneof![
            Just(DnsPolicyEntry::Failover),
            Just(DnsPolicyEntry::Weighted),
            Just(DnsPolicyEntry::Multivalue)
        ];
        (any::<bool>(), policy, proptest::collection::vec((any_state(), any::<u8>()), 0..12)).prop_map(
            |(exclusive, policy, targets)| {
                let targets = (1..).zip(targets).map(|(n, (state, weight))| target(n, state, weight)).collect();
                route(exclusive, policy, targets)
            },
        )
    }

    proptest! {
        #[test]
        fn no_client_is_ever_sent_to_a_fenced_target(route in any_route(), random in any::<u64>()) {
            let answers = addresses(&route, true, None, random);
            for fenced in route.targets.iter().filter(|it| it.state == TargetState::Fenced) {
                prop_assert!(!answers.contains(&fenced.address.ip()));
                prop_assert!(open_to_new(&route).iter().all(|it| it.instance != fenced.instance));
                prop_assert_eq!(judge(&route, &fenced.instance, fenced.address), Verdict::Cut);
            }
        }

        #[test]
        fn an_exclusive_route_never_has_two_targets_with_connections(route in any_route()) {
            let owned = route.targets.iter().any(|it| it.state == TargetState::Serving);
            let alive = route
                .targets
                .iter()
                .filter(|it| judge(&route, &it.instance, it.address) != Verdict::Cut)
                .count();
            if route.exclusive && owned {
                prop_assert_eq!(alive, 1);
            }
        }

        #[test]
        fn a_shared_route_answers_whenever_something_serves_or_is_down(route in any_route(), random in any::<u64>()) {
            let reachable = route.targets.iter().any(|it| matches!(it.state, TargetState::Serving | TargetState::Down));
            if !route.exclusive {
                prop_assert_eq!(!addresses(&route, true, None, random).is_empty(), reachable);
            }
        }
    }

    #[test]
    fn weights_share_the_answers_and_zero_gets_none() {
        let policy = DnsPolicyEntry::Weighted;
        let serving = TargetState::Serving;
        let route = route(false, policy, vec![target(1, serving, 3), target(2, serving, 0), target(3, serving, 1)]);
        let mut counts = [0; 4];
        for random in 0..400 {
            let [IpAddr::V4(ip)] = addresses(&route, true, None, random)[..] else { panic!("one answer") };
            counts[usize::from(ip.octets()[3])] += 1;
        }
        assert_eq!(counts, [0, 300, 0, 100]);
    }

    #[test]
    fn a_floating_address_belongs_to_the_instance_that_it_was_opened_to() {
        let mut old = target(1, TargetState::Fenced, 1);
        let new = target(2, TargetState::Serving, 1);
        old.address = new.address;
        let route = route(true, DnsPolicyEntry::Failover, vec![old.clone(), new.clone()]);
        assert_eq!(judge(&route, &old.instance, old.address), Verdict::Cut);
        assert_eq!(judge(&route, &new.instance, new.address), Verdict::Open);
    }

    #[test]
    fn a_proxied_route_answers_with_the_proxy() {
        let mut route = route(true, DnsPolicyEntry::Failover, vec![target(1, TargetState::Serving, 1)]);
        let mut proxy = mainstay_plan::routing::ProxyEntry::new("10.9.9.9:6432".parse().unwrap());
        route.proxy = Some(proxy.clone());
        assert_eq!(addresses(&route, true, None, 0), ["10.9.9.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses(&route, false, None, 0), [] as [IpAddr; 0]);
        proxy.listen = "0.0.0.0:6432".parse().unwrap();
        route.proxy = Some(proxy);
        assert_eq!(addresses(&route, true, None, 0), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
