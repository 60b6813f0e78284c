//! A server that is restored on another address: it is asked there, clients are led there, and it stays so until somebody says
//! otherwise.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use mainstay_engine::Body;

use super::plans;
use super::site::{Net, ORDERS, Site, serves_newest, until};

/// Another loopback address of this site, with the port that the plan knows.
fn elsewhere(net: &Net) -> SocketAddr {
    let at = net.servers["orders"];
    let IpAddr::V4(ip) = at.ip() else { panic!("a site has IPv4 addresses") };
    let [a, b, c, _] = ip.octets();
    SocketAddr::new(Ipv4Addr::new(a, b, c, 14).into(), at.port())
}

/// The database is restored by a command that says where, once that is so.
fn plan(net: &Net, dir: &Path) -> String {
    let restore = dir.join("restore");
    let (began, ended, ip) = (dir.join("began"), dir.join("ended"), elsewhere(net).ip());
    let script = format!(
        "echo \"before: $MAINSTAY_ADDRESS\" > {began:?}\nwhile [ ! -e {ended:?} ]; do sleep 0.05; done\necho restored 3 of 3\necho {ip}\n"
    );
    fs::write(&restore, script).expect("a script");
    let rung = format!(
        "- restore_from_backup: {{ run: [/bin/sh, {restore:?}], address: stdout, plane: local, idempotent: true, timeout: 30s, verify_within: 10s }}"
    );
    let next = "- failover_to_standby: { standby: orders-b, verify_within: 10s }";
    plans::orders(net, dir).replace(next, &format!("{rung}\n      {next}"))
}

/// The database is there, healthy, and clients are led there.
fn until_at(site: &Site, address: Option<IpAddr>) {
    site.until_status(&format!("orders is at {address:?}"), |it| {
        let orders = &it.components[0];
        let instance = orders.instances.iter().find(|it| it.name == "orders").expect("it is in the plan");
        let is = instance.elsewhere.as_ref().map(|it| it.address);
        is == address && orders.health == "healthy" && orders.waiting.is_none() && serves_newest(it)
    });
}

#[test]
fn a_database_that_is_restored_on_another_address_serves_there() {
    let mut site = Site::running(&ORDERS, plan);
    let (planned, there) = (site.net.servers["orders"], elsewhere(&site.net));
    site.net.servers.insert("restored", there);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));

    site.kill_server("orders");
    let began = site.path().join("began");
    until("the restore begins", || fs::read_to_string(&began).ok().filter(|it| it.ends_with('\n')));
    site.start_server("restored", None);
    fs::write(site.path().join("ended"), "").expect("a file");
    until_at(&site, Some(there.ip()));
    assert_eq!(site.recoveries()[0].status, "recovery_completed");
    assert_eq!(site.serves_through_proxy().as_deref(), Some("restored"));
    let place = there.ip().to_string();
    site.says(&["status"]).tells(0, &["orders is at", &place, &planned.ip().to_string()]);
    let id = site.recoveries()[0].id.clone();
    site.says(&["recoveries", "show", &id]).tells(0, &["now at", &place]);

    // Its old self comes back, and nobody goes there; nor after the agent was away.
    site.start_server("orders", None);
    site.kill_agent();
    site.start_agent();
    until_at(&site, Some(there.ip()));
    assert_eq!(site.serves_through_proxy().as_deref(), Some("restored"));

    // The next restore is told where it is.
    fs::remove_file(&began).expect("it was written");
    site.kill_server("restored");
    let said = until("the next restore begins", || fs::read_to_string(&began).ok().filter(|it| it.ends_with('\n')));
    assert_eq!(said.trim_end(), format!("before: {place}"));
    site.start_server("restored", None);
    until_at(&site, Some(there.ip()));

    // Somebody moves it back by hand.
    let home = planned.ip().to_string();
    site.says(&["adopt", "orders", "--address", &place]).tells(4, &["already"]);
    site.says(&["adopt", "orders", "--address", &home, "--reason", "back home"]).tells(0, &["recorded as"]);
    until_at(&site, None);
    assert_eq!(site.serves_through_proxy().as_deref(), Some("orders"));
    site.stop_agent();
    let moves = site.journal().into_iter().filter(|it| matches!(it.1.body, Body::AddressChanged { .. })).count();
    assert_eq!(moves, 3, "restored, restored again, and moved back");
    site.check_journal();
}
