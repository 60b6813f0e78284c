//! Real PostgreSQL servers: a primary that is killed, a standby that is promoted, and a client that writes through the proxy all the time
//! and remembers what it was told.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mainstay_engine::Body;
use mainstay_pgkit::{PASSWORD, REPLICATION_PASSWORD, Server};
use mainstay_plan::Proof;
use mainstay_plan::component::Repair;
use mainstay_plan::location::FailureDomain;
use mainstay_plan::proof::Condition;
use tokio_postgres::NoTls;

use super::site::{Net, Site, until};

/// Between two writes.
const EVERY: Duration = Duration::from_millis(5);

/// How long a write may take before the client gives it up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A primary, two standbys, and a table to write to.
pub(super) struct Servers {
    pub(super) primary: Server,
    pub(super) second: Server,
    pub(super) third: Server,
}

impl Servers {
    pub(super) fn new() -> Servers {
        Servers::of(true)
    }

    /// Whose standbys have no slots: any of them can follow any other one.
    pub(super) fn without_slots() -> Servers {
        Servers::of(false)
    }

    fn of(slots: bool) -> Servers {
        let primary = Server::primary(&[]);
        let (second, third) = (primary.standby("orders-b", slots, &[]), primary.standby("orders-c", slots, &[]));
        primary.sql("CREATE TABLE written (n bigint PRIMARY KEY)");
        primary.sql("CREATE ROLE client LOGIN; GRANT SELECT, INSERT ON written TO client");
        Servers { primary, second, third }
    }

    /// From now on a write is acknowledged when one of the standbys has it.
    pub(super) fn wait_for_one_standby(&self) {
        self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (\"orders-b\", \"orders-c\")'");
        self.primary.sql("SELECT pg_reload_conf()");
        let waited_for = || self.primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'");
        until("the standbys are waited for", || (waited_for() == "2").then_some(()));
    }

    /// The site that looks after them, where the old owner is fenced so: by what stands behind `exclusive`.
    pub(super) fn site(&self, fence: &str) -> Site {
        let mut site = Site::new(|net, dir| self.plan(net, dir, fence));
        site.start_servers(&["gateway"]);
        site.start_agent();
        site.until_whole();
        site
    }

    /// The same plan, which makes a standby again of whoever was displaced.
    pub(super) fn repairing(&self, net: &Net, dir: &Path, fence: &str) -> String {
        // Whoever was killed while it was rewound can't be rewound any more.
        let repair = "    repair: [{ rejoin: { timeout: 20s, clone: when_needed } }]\n    demote: [";
        self.plan(net, dir, fence).replace("    demote: [", repair)
    }

    pub(super) fn plan(&self, net: &Net, dir: &Path, fence: &str) -> String {
        let password = dir.join("password");
        std::fs::write(&password, PASSWORD).expect("it is written");
        let instance = |server: &Server| {
            let bin = mainstay_pgkit::bin().expect("PostgreSQL is installed");
            let run_as = server.run_as().map(|it| format!(", run_as: {it}")).unwrap_or_default();
            format!(
                "    postgres: {{ address: \"{}\", password_file: {password:?}, data: {:?}, bin: {bin:?}{run_as}, follow: {{ user: replicator, passfile: {:?} }} }}
    demote: [{{ rejoin: {{ timeout: 20s }} }}]
    probes: [{{ postgres: {{ interval: 250ms, fast_interval: 250ms, timeout: 250ms, fall: 3, rise: 2 }} }}]
",
                server.address(),
                server.data(),
                server.path("pgpass")
            )
        };
        format!(
            "version: 2
site: {{ name: e2e, region: here, zone: desk }}
state: state
allowances: {{ lateness: 1s, journal_sync: 100ms, route_apply: 500ms, agent_restart: 2s, forced_stop: 2s }}
components:
  orders:
    type: database
    location: {{ region: here, zone: rack-a }}
    constraint: {{ reason: one writer at a time, kind: technical }}
    objectives: {{ rto: 120s, rpo: 10s }}
    guards: {{ cool_down: 1s }}
{}    recovery:
      - failover_to_standby: {{ standbys: [orders-b, orders-c] }}
standbys:
  orders-b:
    location: {{ region: here, zone: rack-b }}
{}  orders-c:
    location: {{ region: here, zone: rack-c }}
{}witnesses:
  gateway:
    location: {{ region: here, zone: desk }}
    probe:
      http: {{ url: \"http://{}/health\", interval: 250ms, timeout: 250ms }}
routes:
  orders:
    exclusive: {{ {fence} }}
    proxy: {{ listen: \"{}\" }}
    targets:
      - {{ component: orders, address: \"{}\" }}
      - {{ standby: orders-b, address: \"{}\" }}
      - {{ standby: orders-c, address: \"{}\" }}
",
            instance(&self.primary),
            instance(&self.second),
            instance(&self.third),
            net.servers["gateway"],
            net.proxy,
            self.primary.address(),
            self.second.address(),
            self.third.address()
        )
    }
}

/// Servers that let clients connect and never say a word, or not even that; and components that are to be asked there.
struct BlackHoles {
    listeners: [TcpListener; 2],
    /// They fill a listener's queue, so that the kernel drops whoever comes next.
    _waiting: Vec<TcpStream>,
}

impl BlackHoles {
    fn new() -> BlackHoles {
        let listeners = [(); 2].map(|()| TcpListener::bind("0.0.0.0:0").expect("a free port"));
        rustix::net::listen(&listeners[1], 0).expect("a short queue");
        let full = (Ipv4Addr::LOCALHOST, listeners[1].local_addr().expect("an address").port()).into();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&full, Duration::from_millis(300)) {
            waiting.push(stream);
        }
        BlackHoles { listeners, _waiting: waiting }
    }

    /// So many components, each at an address of its own, half of them with each.
    fn components(&self, count: usize, password: &Path) -> String {
        let component = |nth: usize| {
            let port = self.listeners[nth % 2].local_addr().expect("an address").port();
            let at = format!("127.77.{}.{}:{port}", nth / 200, nth % 200 + 1);
            format!(
                "  hole-{nth}:
    type: database
    location: {{ region: here, zone: hole }}
    postgres: {{ address: \"{at}\", password_file: {password:?} }}
    probes: [{{ postgres: {{ interval: 1s, timeout: 900ms }} }}]
"
            )
        };
        (0..count).map(component).collect()
    }
}

pub(super) const CUT: &str = "fence: traffic_cut";

pub(super) const STOP: &str = "fence: stop, otherwise: traffic_cut";

/// What a client was told: the number of each write that was acknowledged, and when.
#[derive(Default)]
pub(super) struct History(pub(super) Vec<(i64, Instant)>);

impl History {
    /// The longest time without an acknowledged write: when it began, and how long it was.
    pub(super) fn outage(&self) -> (Instant, Duration) {
        let gaps = self.0.windows(2).map(|it| (it[0].1, it[1].1 - it[0].1));
        gaps.max_by_key(|it| it.1).expect("two writes")
    }

    /// Those that a server does not have.
    pub(super) fn missing_on(&self, server: &Server) -> Vec<(i64, Instant)> {
        let there = server.sql("SELECT n FROM written ORDER BY n");
        let there: Vec<i64> = there.lines().map(|it| it.parse().expect("a number")).collect();
        self.0.iter().filter(|it| there.binary_search(&it.0).is_err()).copied().collect()
    }
}

/// A client that writes a new number every few milliseconds, on a new connection after each failure.
pub(super) struct Writer {
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    history: Arc<Mutex<History>>,
    thread: JoinHandle<()>,
}

impl Writer {
    pub(super) fn start(proxy: SocketAddr) -> Writer {
        let (ends, acknowledged, history) = (Arc::default(), Arc::default(), Arc::default());
        let client = Client {
            proxy,
            ends: Arc::clone(&ends),
            acknowledged: Arc::clone(&acknowledged),
            history: Arc::clone(&history),
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(client.write());
        });
        Writer { ends, acknowledged, history, thread }
    }

    pub(super) fn until_more(&self, more: usize) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + more;
        until("writes are acknowledged", || (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(()));
    }

    pub(super) fn end(self) -> History {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends");
        std::mem::take(&mut *self.history.lock().expect("nobody else"))
    }
}

struct Client {
    proxy: SocketAddr,
    ends: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    history: Arc<Mutex<History>>,
}

impl Client {
    async fn write(self) {
        let mut number = 0;
        while !self.ends.load(Ordering::Relaxed) {
            let connected = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect(self.proxy)).await;
            if let Ok(Ok(stream)) = connected {
                self.on(stream, &mut number).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Writes over one connection, until it fails.
    async fn on(&self, stream: tokio::net::TcpStream, number: &mut i64) {
        let mut config = tokio_postgres::Config::new();
        config.user("client").dbname("postgres");
        let opened = tokio::time::timeout(PATIENCE, config.connect_raw(stream, NoTls)).await;
        let Ok(Ok((client, connection))) = opened else { return };
        let driver = tokio::spawn(connection);
        while !self.ends.load(Ordering::Relaxed) {
            // One that was not acknowledged may be there nevertheless: it is never written again.
            *number += 1;
            let statement = format!("INSERT INTO written VALUES ({number})");
            match tokio::time::timeout(PATIENCE, client.batch_execute(&statement)).await {
                Ok(Ok(())) => {
                    self.history.lock().expect("nobody panicked").0.push((*number, Instant::now()));
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(_)) | Err(_) => break,
            }
            tokio::time::sleep(EVERY).await;
        }
        driver.abort();
    }
}

/// How the primary is lost.
enum Loss {
    Killed,
    /// SIGSTOP: it holds its connections, and would go on if it were woken.
    Frozen,
    /// Nothing is lost: `mainstay switch`.
    Planned,
}

/// Takes the primary away from a client that writes. Gives what the client was told, and what of it the new primary lacks.
fn lost_under_writes(servers: &mut Servers, loss: &Loss, fence: &str) -> (History, Vec<(i64, Instant)>) {
    let mut site = servers.site(fence);
    let writer = Writer::start(site.net.proxy);
    writer.until_more(100);
    match loss {
        Loss::Killed => servers.primary.kill(),
        Loss::Frozen => servers.primary.freeze(),
        Loss::Planned => site.says(&["switch", "orders", "--to", "orders-b"]).tells(0, &[]),
    }
    let bound = |it: &mainstay_api::Status| it.components.first().expect("the component").bound_to.clone();
    let status = site.until_status("a standby takes over", |it| bound(it) != "orders");
    writer.until_more(100);
    let history = writer.end();
    until("the recovery is over", || site.recoveries().first().and_then(|it| it.ended_ns));
    let (new, other) = match bound(&status).as_str() {
        "orders-b" => (&servers.second, &servers.third),
        _ => (&servers.third, &servers.second),
    };
    assert_eq!(new.sql("SELECT pg_is_in_recovery()"), "f");
    assert_eq!(other.sql("SELECT pg_is_in_recovery()"), "t");
    let lost = history.missing_on(new);
    site.stop_agent();
    site.check_journal();
    // What is secret is in the one file that the plan names.
    for file in std::fs::read_dir(site.state()).expect("the state").flatten().filter(|it| it.path().is_file()) {
        let bytes = std::fs::read(file.path()).expect("it can be read");
        let shows = bytes.windows(PASSWORD.len()).any(|it| it == PASSWORD.as_bytes());
        assert!(!shows, "a password is in {:?}", file.path());
    }
    assert!(!site.whole_log("agent").contains(PASSWORD), "a password is in the log");
    (history, lost)
}

fn told(history: &History, lost: usize) {
    let (_, outage) = history.outage();
    eprintln!("outage {} ms; {} writes acknowledged, {lost} of them lost", outage.as_millis(), history.0.len());
}

/// Every acknowledged write is with one standby at least, and the one takes over that has more.
#[test]
fn a_killed_primary_is_replaced_by_a_standby_that_has_every_acknowledged_write() {
    let mut servers = Servers::new();
    servers.wait_for_one_standby();
    let (history, lost) = lost_under_writes(&mut servers, &Loss::Killed, CUT);
    told(&history, lost.len());
    assert!(lost.is_empty(), "{lost:?}");
}

/// Without a standby that is waited for, what is lost is the last of what was acknowledged before, and nothing after.
#[test]
fn what_an_asynchronous_standby_loses_is_the_end_of_what_was_before() {
    let mut servers = Servers::new();
    let (history, lost) = lost_under_writes(&mut servers, &Loss::Killed, CUT);
    told(&history, lost.len());
    let before = history.outage().0;
    let last: Vec<_> = history.0.iter().filter(|it| it.1 <= before).collect();
    let end: Vec<_> = last[last.len() - lost.len()..].iter().map(|it| **it).collect();
    assert_eq!(lost, end);
}

/// A primary that hangs is ended with all its processes before anybody else may write, and woken up it is no more.
#[test]
fn a_frozen_primary_is_ended_for_good_before_another_writes() {
    let mut servers = Servers::new();
    servers.wait_for_one_standby();
    let (history, lost) = lost_under_writes(&mut servers, &Loss::Frozen, STOP);
    told(&history, lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(servers.primary.processes(), Vec::<i32>::new());
}

/// Whoever hands over in order shuts down in order, and that gives everybody everything. Then it is a standby of the new primary.
#[test]
fn a_planned_switch_loses_nothing_without_a_standby_that_is_waited_for() {
    let mut servers = Servers::new();
    let (history, lost) = lost_under_writes(&mut servers, &Loss::Planned, STOP);
    told(&history, lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    // The old one follows the new one, and has what was written there.
    assert_eq!(servers.primary.sql("SELECT pg_is_in_recovery()"), "t");
    let last = history.0.last().expect("writes").0;
    let has_last = || servers.primary.sql(&format!("SELECT count(*) FROM written WHERE n = {last}")) == "1";
    until("the old primary has it all", || has_last().then_some(()));
}

/// What never answers takes nothing from what does: neither its turn to be asked nor its recovery.
#[test]
fn five_hundred_black_holes_delay_no_recovery() {
    let mut servers = Servers::new();
    let holes = BlackHoles::new();
    let mut plan = None;
    let mut site = Site::new(|net, dir| {
        let more = format!("components:\n{}", holes.components(500, &dir.join("password")));
        let text = servers.plan(net, dir, CUT).replacen("components:\n", &more, 1);
        plan = mainstay_plan::compile("plan.yaml", &text, dir).plan;
        text
    });
    site.expect_errors();
    let plan = plan.expect("it has no errors");
    let (orders, route) = (plan.component_named("orders").expect("it is there"), plan.route_named("orders"));
    let bound = Proof::of(&plan).bound(orders, FailureDomain::Instance, Condition::None, route);
    let bound = bound.expect("it is proved").total();
    site.start_servers(&["gateway"]);
    site.start_agent();
    let of = |it: &mainstay_api::Status, name: &str| it.components.iter().find(|it| it.name == name).cloned();
    site.until_status("all black holes are down, and the orders are well", |it| {
        let down = it.components.iter().filter(|it| it.name.starts_with("hole-") && it.health == "down").count();
        let whole = |it: &mainstay_api::Instance| it.health == "healthy";
        down == 500 && of(it, "orders").is_some_and(|it| it.instances.iter().all(whole))
    });
    let writer = Writer::start(site.net.proxy);
    writer.until_more(100);
    servers.primary.kill();
    site.until_status("a standby takes over", |it| of(it, "orders").is_some_and(|it| it.bound_to != "orders"));
    writer.until_more(100);
    let history = writer.end();
    told(&history, 0);
    assert!(history.outage().1 <= bound, "{:?}, and {bound:?} was promised", history.outage().1);
    site.stop_agent();
}

/// A standby whose `primary_conninfo` names the route follows whoever the primary is: nobody tells it.
#[test]
fn a_standby_that_follows_the_route_follows_the_new_primary() {
    let mut servers = Servers::new();
    let mut site = servers.site(CUT);
    for (standby, name) in [(&servers.second, "orders-b"), (&servers.third, "orders-c")] {
        let password = REPLICATION_PASSWORD.replace(':', "\\:");
        let passfile = standby.write("route.pgpass", &format!("*:*:*:replicator:{password}\n"));
        let (ip, port, passfile) = (site.net.proxy.ip(), site.net.proxy.port(), passfile.display());
        let leader = format!("host={ip} port={port} user=replicator passfile={passfile} application_name={name}");
        standby.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{leader}'"));
        standby.sql("ALTER SYSTEM SET primary_slot_name = ''");
        standby.sql("SELECT pg_reload_conf()");
    }
    let followers = |of: &Server| of.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
    until("both stream through the route", || (followers(&servers.primary) == "2").then_some(()));
    let writer = Writer::start(site.net.proxy);
    writer.until_more(50);
    servers.primary.kill();
    let bound = |it: &mainstay_api::Status| it.components.first().expect("the component").bound_to.clone();
    let status = site.until_status("a standby takes over", |it| bound(it) != "orders");
    let (new, other) = match bound(&status).as_str() {
        "orders-b" => (&servers.second, &servers.third),
        _ => (&servers.third, &servers.second),
    };
    writer.until_more(50);
    let last = writer.end().0.last().expect("writes").0;
    until("the other standby streams from the new primary", || (followers(new) == "1").then_some(()));
    let has_last = || other.sql(&format!("SELECT count(*) FROM written WHERE n = {last}")) == "1";
    until("and has what was written there", || has_last().then_some(()));
    site.stop_agent();
}

/// A standby that follows a server and not the route is told by nobody that this server is gone; its `repair` tells it.
#[test]
fn a_standby_that_follows_a_server_is_brought_to_the_new_primary() {
    let mut servers = Servers::without_slots();
    // The old primary stays away: as a standby of the new one it would lead its own standbys on.
    let mut site = Site::new(|net, dir| {
        let plan = servers.repairing(net, dir, STOP);
        let (before, repaired) = plan.split_once("    repair: ").expect("it is repaired");
        format!("{before}{}", repaired.split_once('\n').expect("a line").1)
    });
    site.start_servers(&["gateway"]);
    site.start_agent();
    site.until_whole();
    servers.primary.kill();
    let bound = |it: &mainstay_api::Status| it.components.first().expect("the component").bound_to.clone();
    let owner = bound(&site.until_status("a standby takes over", |it| bound(it) != "orders"));
    let (new, other, name) = match owner.as_str() {
        "orders-b" => (&servers.second, &servers.third, "orders-c"),
        _ => (&servers.third, &servers.second, "orders-b"),
    };
    let followers = || new.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
    site.until_status("the other standby follows it", |_| followers() == "1");
    new.sql("INSERT INTO written VALUES (-1)");
    let has_it = || other.sql("SELECT count(*) FROM written WHERE n = -1") == "1";
    until("and it has what is written there", || has_it().then_some(()));

    let journal = site.journal();
    let when = |is: &dyn Fn(&Body) -> bool| journal.iter().find(|it| is(&it.1.body)).map(|it| it.1.at).expect("it was");
    let taken_over = when(&|it| matches!(it, Body::Bound { .. }));
    let repaired = when(&|it| matches!(it, Body::RepairStarted { instance, .. } if instance == name));
    assert!(repaired.since(taken_over) >= Repair::FOLLOWS_WITHIN, "it had time to follow by itself");
    site.stop_agent();
    site.check_journal();
}
