//! What a table must be to be taken, and what is left of it after a death.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use mainstay_plan::route::ServerName;
use mainstay_plan::routing::TargetState::{Serving, Standby};
use mainstay_plan::routing::{
    DnsEntry, DnsPolicyEntry, ProxyEntry, QueueEntry, RouteEntry, RoutingTable, TargetEntry, TargetState, TrafficReply,
    TrafficRequest,
};
use mainstay_traffic::{TrafficError, run};
use proptest::prelude::*;

use crate::running::{Server, Traffic, eventually, free_address, proxied, table, target, who, with_states};

#[test]
fn only_a_newer_table_of_this_site_is_taken() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(5, &[&route]));
    agent.apply(&table(5, &[&route]));
    assert!(agent.refused(&table(4, &[])).contains("older"));
    assert!(agent.refused(&table(5, &[])).contains("another content"));
    assert!(agent.refused(&RoutingTable { site: "there".into(), ..table(6, &[]) }).contains("`there`"));
    assert!(agent.refused(&RoutingTable { format: 99, ..table(6, &[]) }).contains("format 99"));
    let mut two_owners = route.clone();
    two_owners.targets.push(target("b", free_address(), Serving));
    assert!(agent.refused(&table(6, &[&two_owners])).contains("2 serving"));
    assert_eq!(agent.report().table, table(5, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));
    traffic.agent().apply(&table(6, &[&route]));
}

#[test]
fn a_malformed_request_is_refused_and_the_next_one_answered() {
    let traffic = Traffic::start();
    let mut agent = traffic.agent();
    let TrafficReply::Refused { reason, epoch: 0 } = agent.raw(b"{\"apply\": 7}\n") else { panic!("not refused") };
    assert!(reason.contains("not a request"), "{reason}");
    assert_eq!(agent.report().pid, std::process::id());
    let long = vec![b' '; 8 << 20];
    assert!(matches!(agent.raw(&long), TrafficReply::Refused { reason, .. } if reason.contains("newline")));
}

#[test]
fn a_process_without_an_agent_serves_what_it_served_before_it_died() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    traffic.agent().apply(&table(7, &[&route]));
    let traffic = Traffic::start_in(traffic.kill());
    assert_eq!(who(listen).as_deref(), Some("one"));
    let mut agent = traffic.agent();
    assert!(agent.refused(&table(6, &[])).contains("older"));
    agent.apply(&table(7, &[&route]));
    assert_eq!(agent.report().trouble, [] as [String; 0]);
}

#[test]
fn a_corrupt_table_falls_back_without_bringing_an_old_owner_back() {
    let (traffic, one, two) = (Traffic::start(), Server::start("one"), Server::start("two"));
    let (shared, mut pages) = proxied(false, vec![target("a", one.address, Serving)]);
    let (exclusive, route) = proxied(true, vec![target("a", one.address, Serving), target("b", two.address, Standby)]);
    pages.name = "pages".into();
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&pages, &route]));
    agent.apply(&table(2, &[&pages, &with_states(&route, &[TargetState::Fenced, Serving])]));
    let dir = traffic.kill();
    let path = dir.path().join("routing-table.json");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();

    let traffic = Traffic::start_in(dir);
    let mut agent = traffic.agent();
    assert_eq!(who(shared).as_deref(), Some("one"));
    assert_eq!(who(exclusive), None, "the table before may name an owner that is fenced");
    let report = agent.report();
    assert_eq!(report.table.epoch, 1);
    assert!(report.trouble.iter().any(|it| it.contains("routing-table.json")), "{:?}", report.trouble);
    agent.apply(&table(2, &[&pages, &with_states(&route, &[TargetState::Fenced, Serving])]));
    assert_eq!(who(exclusive).as_deref(), Some("two"));
    assert_eq!(agent.report().trouble, [] as [String; 0]);

    let dir = traffic.kill();
    for name in ["routing-table.json", "routing-table.prev.json"] {
        fs::write(dir.path().join(name), "no table").unwrap();
    }
    let traffic = Traffic::start_in(dir);
    let report = traffic.agent().report();
    assert_eq!(report.table, RoutingTable::empty("here"));
    assert!(report.trouble[0].contains("serving nothing"), "{:?}", report.trouble);
}

#[test]
fn an_agent_that_confirms_the_fallback_opens_its_exclusive_routes() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    agent.apply(&table(2, &[&route]));
    let dir = traffic.kill();
    fs::remove_file(dir.path().join("routing-table.json")).unwrap();
    let traffic = Traffic::start_in(dir);
    assert_eq!(who(listen), None);
    traffic.agent().apply(&table(1, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));
    let traffic = Traffic::start_in(traffic.kill());
    assert_eq!(who(listen).as_deref(), Some("one"), "what was confirmed is on disk");
    drop(traffic);
}

#[test]
fn a_table_whose_address_is_taken_is_refused_by_name() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let (elsewhere, mut taken) = proxied(true, vec![]);
    taken.name = "taken".into();
    let holder = TcpListener::bind(elsewhere).unwrap();
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let reason = agent.refused(&table(2, &[&route, &taken]));
    assert!(reason.contains(&elsewhere.to_string()), "{reason}");
    assert_eq!(who(listen).as_deref(), Some("one"));
    assert_eq!(agent.report().table.epoch, 1);

    drop(holder);
    agent.apply(&table(2, &[&route, &taken]));
    let dir = traffic.kill();
    let holder = eventually("the address is free", || TcpListener::bind(elsewhere).ok());
    let traffic = Traffic::start_in(dir);
    let mut agent = traffic.agent();
    assert_eq!(who(listen).as_deref(), Some("one"), "the other route is served");
    let trouble = agent.report().trouble;
    assert!(trouble.iter().any(|it| it.contains(&elsewhere.to_string())), "{trouble:?}");
    agent.apply(&table(3, &[&route, &taken]));
    drop(holder);
    eventually("the address is bound after all", || agent.report().trouble.is_empty().then_some(()));
}

#[test]
fn an_address_may_change_its_use() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, mut route) = proxied(true, vec![target("a", one.address, Serving)]);
    let mut agent = traffic.agent();
    agent.apply(&RoutingTable { beacon_listen: Some(listen), ..table(1, &[]) });
    agent.apply(&table(2, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));
    if let Some(proxy) = &mut route.proxy {
        proxy.listen = ([0, 0, 0, 0], listen.port()).into();
    }
    agent.apply(&table(3, &[&route]));
    assert_eq!(who(listen).as_deref(), Some("one"));
    let clash = RoutingTable { beacon_listen: route.proxy.as_ref().map(|it| it.listen), ..table(4, &[&route]) };
    assert!(agent.refused(&clash).contains("is also the"));
}

#[test]
fn a_table_that_the_disk_does_not_take_is_refused() {
    let (traffic, one) = (Traffic::start(), Server::start("one"));
    let (listen, route) = proxied(true, vec![target("a", one.address, Serving)]);
    let (other, mut more) = proxied(true, vec![]);
    more.name = "more".into();
    let mut agent = traffic.agent();
    agent.apply(&table(1, &[&route]));
    let obstacle = traffic.dir.path().join("routing-table.json.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(agent.refused(&table(2, &[&route, &more])).contains("can't be written"));
    let report = agent.report();
    assert_eq!(report.table.epoch, 1);
    assert!(report.trouble[0].contains("can't be written"));
    assert_eq!(who(listen).as_deref(), Some("one"));
    assert!(std::net::TcpStream::connect(other).is_err());
    fs::remove_dir(&obstacle).unwrap();
    agent.apply(&table(2, &[&route, &more]));
    assert_eq!(agent.report().trouble, [] as [String; 0]);
}

#[test]
fn one_state_directory_has_one_process_and_one_site() {
    let traffic = Traffic::start();
    traffic.agent().apply(&table(1, &[]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(run(traffic.options.clone())).unwrap_err();
    assert!(matches!(&error, TrafficError::Locked { pid, .. } if *pid == std::process::id().to_string()), "{error}");
    let mut options = traffic.options.clone();
    let _dir = traffic.kill();
    options.site = "there".into();
    let error = runtime.block_on(run(options)).unwrap_err();
    assert!(matches!(&error, TrafficError::OtherSite { found, .. } if found == "here"), "{error}");
}

#[test]
fn it_stops_when_it_is_asked_to() {
    let traffic = Traffic::start();
    let (dir, socket) = (Arc::clone(&traffic.dir), traffic.options.socket_path());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(traffic.agent().ask(&TrafficRequest::Stop {}), TrafficReply::Stopping {});
    traffic.join().unwrap();
    assert!(!socket.exists());
    Traffic::start_in(dir);
}

/// Without flow labels: they have no text form, so no table has one.
fn any_address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn any_target() -> impl Strategy<Value = TargetEntry> {
    let state = prop_oneof![
        Just(TargetState::Serving),
        Just(TargetState::Standby),
        Just(TargetState::Draining),
        Just(TargetState::Down),
        Just(TargetState::Fenced),
    ];
    ("[a-z-]{1,9}", any_address(), any::<u8>(), proptest::option::of(any_address()), state).prop_map(
        |(instance, address, weight, agent_check, state)| TargetEntry {
            instance,
            address,
            unix: None,
            weight,
            agent_check,
            state,
        },
    )
}

fn any_route() -> impl Strategy<Value = RouteEntry> {
    let times = any::<(u64, Option<u64>, u64, u64, Option<u64>)>();
    let limits = any::<(u32, Option<(u32, u64)>, Option<u32>, Option<u64>, Option<u64>)>();
    let names = proptest::collection::vec("(\\*\\.)?[a-z]{1,9}\\.[a-z]{2}", 0..3);
    let unix = proptest::option::of("(/[a-z .]{1,9}){1,3}");
    let proxy = (any_address(), unix, times, limits, names).prop_map(|(listen, unix, times, limits, names)| {
        let (connect_timeout_ms, idle_timeout_ms, drain_ms, hello_timeout_ms, half_open_timeout_ms) = times;
        let (max_connections, queue, max_per_source, slow_start_ms, retry_for_ms) = limits;
        ProxyEntry {
            connect_timeout_ms,
            idle_timeout_ms,
            max_connections,
            drain_ms,
            server_names: names.iter().map(|it| ServerName::new(it).unwrap()).collect(),
            hello_timeout_ms,
            half_open_timeout_ms,
            queue: queue.map(|(length, wait_ms)| QueueEntry { length, wait_ms }),
            max_per_source,
            unix: unix.map(Into::into),
            slow_start_ms,
            retry_for_ms,
            ..ProxyEntry::new(listen)
        }
    });
    let policy =
        prop_oneof![Just(DnsPolicyEntry::Failover), Just(DnsPolicyEntry::Weighted), Just(DnsPolicyEntry::Multivalue)];
    let dns = ("([a-z]{1,9}\\.){1,3}", any::<u32>(), policy).prop_map(|(name, ttl_s, policy)| DnsEntry {
        name,
        ttl_s,
        policy,
        near: Vec::new(),
        records: Vec::new(),
    });
    let targets = proptest::collection::vec(any_target(), 0..4);
    let (proxy, dns) = (proptest::option::of(proxy), proptest::option::of(dns));
    (".{0,9}", any::<bool>(), any::<Option<u64>>(), proxy, dns, any::<bool>(), targets).prop_map(
        |(name, exclusive, cut_after_silence_ms, proxy, dns, beacon, targets)| RouteEntry {
            name,
            exclusive,
            cut_after_silence_ms,
            proxy,
            dns,
            beacon,
            targets,
        },
    )
}

proptest! {
    #[test]
    fn a_table_keeps_its_checksum_through_json(
        epoch in any::<u64>(),
        site in ".{0,9}",
        dns_listen in proptest::option::of(any_address()),
        routes in proptest::collection::vec(any_route(), 0..4),
    ) {
        let table = RoutingTable { epoch, dns_listen, routes, ..RoutingTable::empty(&site) };
        let json = serde_json::to_string(&table).unwrap();
        let back: RoutingTable = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &table);
        prop_assert_eq!(back.checksum(), table.checksum());
        let changed = RoutingTable { epoch: epoch ^ 1, ..back };
        prop_assert_ne!(changed.checksum(), table.checksum());
    }
}
