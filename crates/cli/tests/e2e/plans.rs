//! The plans of the tests. Probes come often, so that a recovery takes about a second; lateness is generous, so that a busy
//! machine is no failure.

use std::path::Path;

use super::clients::NAME;
use super::site::{Net, PROGRAM};

const TOP: &str = "\
version: 2
site: { name: e2e, region: here, zone: desk }
state: state
allowances: { lateness: 1s, journal_sync: 100ms, route_apply: 500ms, agent_restart: 2s, forced_stop: 2s }
";

const TIMING: &str = "interval: 250ms, fast_interval: 250ms, timeout: 250ms, fall: 3, rise: 2";

/// A component behind the proxy, fenced by cutting traffic.
pub(crate) fn orders(net: &Net, dir: &Path) -> String {
    format!(
        "{TOP}\ncomponents:\n{}\nstandbys:\n{}\n{}\nroutes:\n{}",
        component(net, dir, "orders", "database", false),
        standby(net, dir, "orders-b", false),
        witness(net),
        orders_route(net)
    )
}

/// A component behind DNS, fenced by stopping it.
pub(crate) fn files(net: &Net, dir: &Path) -> String {
    format!(
        "{TOP}traffic: {{ dns: \"{}\" }}\ncomponents:\n{}\nstandbys:\n{}\n{}\nroutes:\n{}",
        net.dns,
        component(net, dir, "files", "file_system", true),
        standby(net, dir, "files-b", true),
        witness(net),
        files_route(net)
    )
}

/// Both.
pub(crate) fn both(net: &Net, dir: &Path) -> String {
    format!(
        "{TOP}traffic: {{ dns: \"{}\" }}\ncomponents:\n{}{}\nstandbys:\n{}{}\n{}\nroutes:\n{}{}",
        net.dns,
        component(net, dir, "orders", "database", false),
        component(net, dir, "files", "file_system", true),
        standby(net, dir, "orders-b", false),
        standby(net, dir, "files-b", true),
        witness(net),
        orders_route(net),
        files_route(net)
    )
}

fn component(net: &Net, dir: &Path, name: &str, kind: &str, stoppable: bool) -> String {
    format!(
        "  {name}:
    type: {kind}
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 120s, rpo: 10s, availability: 99.5 }}
    guards: {{ cool_down: 1s }}
{}    recovery:
      - failover_to_standby: {{ standby: {name}-b, verify_within: 10s }}
",
        instance(net, dir, name, stoppable)
    )
}

fn standby(net: &Net, dir: &Path, name: &str, stoppable: bool) -> String {
    format!("  {name}:\n    location: {{ region: here, zone: rack-b }}\n{}", instance(net, dir, name, stoppable))
}

fn instance(net: &Net, dir: &Path, name: &str, stoppable: bool) -> String {
    let at = net.servers[name];
    let mut text = format!(
        "    probes:
      - http: {{ url: \"http://{at}/health\", lag_header: x-replication-lag, {TIMING} }}
    activate:
      - webhook: {{ url: \"http://{at}/activate\", plane: local, idempotent: true, timeout: 3s }}
"
    );
    if stoppable {
        let pid = dir.join(format!("{name}.pid")).display().to_string();
        text += &format!(
            "    service: {{ start: [{PROGRAM:?}, demo-app, --listen, \"{at}\", --name, {name}, --pid-file, {pid:?}], pid_file: {pid:?} }}\n"
        );
    }
    text
}

fn witness(net: &Net) -> String {
    format!(
        "witnesses:
  gateway:
    location: {{ region: here, zone: desk }}
    probe:
      http: {{ url: \"http://{}/health\", interval: 250ms, timeout: 250ms }}
",
        net.servers["gateway"]
    )
}

fn orders_route(net: &Net) -> String {
    format!(
        "  orders:
    exclusive: {{ fence: traffic_cut }}
    proxy: {{ listen: \"{}\" }}
    targets:
      - {{ component: orders, address: \"{}\" }}
      - {{ standby: orders-b, address: \"{}\" }}
",
        net.proxy, net.servers["orders"], net.servers["orders-b"]
    )
}

fn files_route(net: &Net) -> String {
    format!(
        "  files:
    exclusive: {{ fence: stop }}
    dns: {{ name: {NAME}, ttl: 1s }}
    targets:
      - {{ component: files, address: \"{}\" }}
      - {{ standby: files-b, address: \"{}\" }}
",
        net.servers["files"], net.servers["files-b"]
    )
}
