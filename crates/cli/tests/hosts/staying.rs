//! A component that may stay what it is without its agent: it does as long as the other host agrees, and not a moment longer.

use std::fs;
use std::net::{SocketAddr, TcpListener as Free};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mainstay_host::clock::boot_ns;
use mainstay_host::lease::book::{Holding, Terms};
use mainstay_host::lease::grantor::Grantor;
use mainstay_host::links::{LeaseTimes, Registered, Settings};
use mainstay_host::{Clock, Links};
use mainstay_plan::Time;
use mainstay_wire::reception::Reception;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::agent::{compiled, listener};
use crate::site::{HostProcess, PATIENCE, Site};

const LEASE: LeaseTimes = LeaseTimes { renew_ms: 200, expires_ms: 3000, demote_ms: 1000, drift_ms: 50 };
const LATENESS: Duration = Duration::from_millis(500);

const fn expires() -> Duration {
    Duration::from_millis(LEASE.expires_ms)
}

/// Two hosts, `db-a` and `db-b`, with an instance each that is a process; each dials the agent over a path of its own.
struct Pair {
    site: Site,
    agent_at: SocketAddr,
    paths: [Path; 2],
    /// A second one for `db-a`, where there is one.
    further: Option<Path>,
    processes: [Option<Child>; 2],
}

/// A path to the agent that can be cut.
struct Path {
    at: SocketAddr,
    to: SocketAddr,
    /// Nothing gets through, and nobody is told.
    is_silent: Arc<AtomicBool>,
    forwards: Option<JoinHandle<()>>,
}

struct Agent {
    links: Links,
    listening: JoinHandle<()>,
}

impl Path {
    async fn new(to: SocketAddr) -> Path {
        let listener = listener(None).await;
        let mut path =
            Path { at: listener.local_addr().expect("an address"), to, is_silent: Arc::default(), forwards: None };
        path.forward(listener);
        path
    }

    fn forward(&mut self, listener: TcpListener) {
        let (to, is_silent) = (self.to, self.is_silent.clone());
        self.forwards = Some(tokio::spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                let is_silent = is_silent.clone();
                all.spawn(async move {
                    if let Ok(to) = TcpStream::connect(to).await {
                        let ((from, to_from), (to, to_to)) = (from.into_split(), to.into_split());
                        tokio::join!(carry(from, to_to, &is_silent), carry(to, to_from, &is_silent));
                    }
                });
            }
        }));
    }

    async fn cut(&mut self) {
        if let Some(forwards) = self.forwards.take() {
            forwards.abort();
            let _ = forwards.await;
        }
    }

    async fn mend(&mut self) {
        let listener = listener(Some(self.at)).await;
        self.forward(listener);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        if let Some(forwards) = self.forwards.take() {
            forwards.abort();
        }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_silent: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        while is_silent.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

const NAMES: [&str; 2] = ["db-a", "db-b"];
const INSTANCES: [&str; 2] = ["orders", "orders-b"];

impl Pair {
    async fn new() -> Pair {
        Pair::with(false).await
    }

    /// With a second path for the first one.
    async fn with(second: bool) -> Pair {
        let site = Site::new();
        let agent_at = listener(None).await.local_addr().expect("an address");
        let paths = [Path::new(agent_at).await, Path::new(agent_at).await];
        let further = if second { Some(Path::new(agent_at).await) } else { None };
        let mut pair = Pair { site, agent_at, paths, further, processes: [None, None] };
        let free = || Free::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let peers = [free(), free()];
        for host in 0..2 {
            let name = NAMES[host];
            pair.site.join(name, 1);
            let further = pair.further.as_ref().filter(|_| host == 0);
            let agent = match further {
                Some(further) => format!("[\"{}\", \"{}\"]", pair.paths[host].at, further.at),
                None => format!("\"{}\"", pair.paths[host].at),
            };
            let text = format!(
                "version: 1\nagents: [{agent}]\nlisten: \"{}\"\nstate: {name}\nguards:\n  {}: {{ component: orders, stop: {{ pid_file: {} }} }}\n",
                peers[host],
                INSTANCES[host],
                pair.pid_file(host).display()
            );
            fs::write(pair.site.file_of(name), text).expect("it is written");
            let process = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("it is there");
            fs::write(pair.pid_file(host), process.id().to_string()).expect("it is written");
            pair.processes[host] = Some(process);
        }
        fs::write(pair.site.path().join("plan.yaml"), plan(agent_at, peers)).expect("it is written");
        pair
    }

    fn pid_file(&self, host: usize) -> PathBuf {
        self.site.path().join(format!("{}.pid", NAMES[host]))
    }

    /// An agent that grants the lease to that instance.
    async fn agent(&self, holder: usize) -> Agent {
        let ms = Duration::from_millis;
        let (sender, mut reports) = mpsc::channel(4096);
        tokio::spawn(async move { while reports.recv().await.is_some() {} });
        let clock = Clock::start(Time::ZERO);
        let terms = Terms {
            expires: ms(LEASE.expires_ms),
            demote: ms(LEASE.demote_ms),
            drift: ms(LEASE.drift_ms),
            lateness: LATENESS,
        };
        let grantor = Arc::new(Grantor::open(self.site.path(), terms, clock).expect("it is readable"));
        let settings = Settings {
            agent: "a test".to_owned(),
            site: "shop-a".to_owned(),
            version: String::new(),
            lease: LEASE,
            allowance: LATENESS,
        };
        let links = Links::new(settings, clock, sender, Some(grantor));
        let text = fs::read_to_string(self.site.path().join("plan.yaml")).expect("it is there");
        links.register(Registered::of(&compiled(&text)));
        links.set_epoch(3);
        links.grant([held(holder)]);
        let reception = Reception::new(self.site.authority.clone()).expect("the agent has a certificate");
        let (listening, listener) = (links.clone(), listener(Some(self.agent_at)).await);
        let listening = tokio::spawn(async move {
            listening.listen(listener, reception).await;
        });
        Agent { links, listening }
    }

    /// Both hosts run, and the first one holds the lease and knows whom to ask.
    async fn holding(&self) -> (Agent, [HostProcess; 2]) {
        let agent = self.agent(0).await;
        let hosts = [self.site.start("db-a"), self.site.start("db-b")];
        self.until("the first one holds, and both know what to do alone", || self.holds(0) && self.both_know()).await;
        (agent, hosts)
    }

    /// Whether both have heard what to do alone since the lease was granted.
    fn both_know(&self) -> bool {
        let least = self.lease(0).and_then(|it| it["stance"][1].as_u64()).unwrap_or(u64::MAX);
        let knows = |host: usize, what: &str| {
            let stance = self.stance(host);
            stance["nth"].as_u64() >= Some(least) && stance[what].as_array().is_some_and(|it| !it.is_empty())
        };
        knows(0, "stays") && knows(1, "agrees")
    }

    fn stance(&self, host: usize) -> serde_json::Value {
        let text = fs::read(self.site.state_of(NAMES[host]).join("stance.json")).unwrap_or_default();
        let kept: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        kept["stance"].clone()
    }

    /// Whether its lease is good, as a program there would see it.
    fn holds(&self, host: usize) -> bool {
        self.lease(host).is_some_and(|it| it["until_boot_ns"].as_u64().is_some_and(|it| it > boot_ns()))
    }

    fn lease(&self, host: usize) -> Option<serde_json::Value> {
        let file = self.site.state_of(NAMES[host]).join(format!("leases/{}.json", INSTANCES[host]));
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    fn acts(&mut self, host: usize) -> bool {
        self.processes[host].as_mut().is_some_and(|it| it.try_wait().expect("it is ours").is_none())
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{what}: {}\n{}", self.site.log("db-a"), self.site.log("db-b"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the first one is ended; the second one holds nothing before that.
    async fn until_ended(&mut self) -> Duration {
        let began = Instant::now();
        while self.acts(0) {
            assert!(!self.holds(1), "two at once");
            assert!(began.elapsed() < PATIENCE, "{}\n{}", self.site.log("db-a"), self.site.log("db-b"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }

    async fn stays(&mut self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            let logs = || format!("{}\n{}", self.site.log("db-a"), self.site.log("db-b"));
            assert!(self.holds(0), "{}", logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(self.acts(0) && !self.holds(1));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for mut process in self.processes.iter_mut().filter_map(Option::take) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Agent {
    /// As if it were killed.
    async fn end(self) {
        self.links.register(Registered::default());
        self.listening.abort();
        let _ = self.listening.await;
    }
}

fn held(host: usize) -> Holding {
    Holding { component: "orders".to_owned(), instance: INSTANCES[host].to_owned() }
}

fn plan(agent_at: SocketAddr, peers: [SocketAddr; 2]) -> String {
    let (renew, expires, demote, drift) = (LEASE.renew_ms, LEASE.expires_ms, LEASE.demote_ms, LEASE.drift_ms);
    format!(
        "version: 2
site: {{ name: shop-a, region: eu, zone: c, host: agent-1 }}
allowances: {{ lateness: {lateness}ms, forced_stop: {demote}ms }}
link: {{ listen: \"{agent_at}\", lease: {{ renew: {renew}ms, expires: {expires}ms, demote: {demote}ms, drift: {drift}ms }} }}
hosts:
  db-a: {{ region: eu, zone: a, peer_address: \"{}\" }}
  db-b: {{ region: eu, zone: b, peer_address: \"{}\" }}
components:
  orders:
    type: database
    location: {{ region: eu, zone: a, host: db-a }}
    probes: [{{ tcp: {{ address: \"10.0.0.1:1\" }} }}]
    on_agent_loss: hold
    recovery: [{{ failover_to_standby: {{ standby: orders-b, fence: lease }} }}]
standbys:
  orders-b:
    location: {{ region: eu, zone: b, host: db-b }}
    probes: [{{ tcp: {{ address: \"10.0.0.2:1\" }} }}]
    activate: [{{ command: {{ run: [/bin/true], idempotent: true }} }}]
witnesses: {{ w: {{ location: {{ region: eu, zone: d }}, probe: {{ tcp: {{ address: \"10.0.0.3:1\" }} }} }} }}
",
        peers[0],
        peers[1],
        lateness = LATENESS.as_millis(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_it_stays_as_long_as_the_other_agrees() {
    let mut pair = Pair::new().await;
    let (agent, hosts) = pair.holding().await;
    agent.end().await;
    pair.stays(expires() * 3).await;
    let lease = pair.lease(0).expect("it holds");
    assert_eq!(lease["by"], serde_json::json!(["db-b"]), "{lease}");
    assert!(pair.site.log("db-a").contains("it stays what it is by the word of the other hosts"));
    // The agent is back, and grants it as it always did.
    let agent = pair.agent(0).await;
    let by_the_agent = || pair.lease(0).is_some_and(|it| it.get("by").is_none());
    pair.until("it holds by the agent's word, and both know it", || by_the_agent() && pair.both_know()).await;
    agent.end().await;
    pair.stays(expires() * 2).await;
    // The other one says nothing any more.
    hosts[1].send(Signal::STOP);
    let took = pair.until_ended().await;
    assert!(took < expires() + PATIENCE / 4, "{took:?}");
    hosts[1].send(Signal::CONT);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_and_the_other_one_it_is_ended_in_time() {
    let mut pair = Pair::new().await;
    let (agent, mut hosts) = pair.holding().await;
    hosts[1].kill();
    agent.end().await;
    pair.until_ended().await;
    assert!(pair.site.log("db-a").contains("host db-b can't be asked"), "{}", pair.site.log("db-a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_an_agent_does_not_agree_and_takes_over_afterwards() {
    let mut pair = Pair::new().await;
    let (agent, _hosts) = pair.holding().await;
    pair.paths[0].cut().await;
    agent.links.grant([held(1)]);
    pair.until_ended().await;
    pair.until("the other one holds", || pair.holds(1)).await;
    assert!(pair.site.log("db-a").contains("host db-b does not agree: "), "{}", pair.site.log("db-a"));
    // It is back, and is no holder any more.
    pair.paths[0].mend().await;
    pair.until("it is connected", || {
        agent.links.view().iter().any(|it| it.name == "db-a" && it.connected && it.holds.is_empty())
    })
    .await;
    assert!(pair.holds(1) && !pair.holds(0));
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_its_word_keeps_it_when_it_is_killed_in_that_moment() {
    let mut pair = Pair::new().await;
    let agent = pair.agent(0).await;
    let _first = pair.site.start("db-a");
    let mut other = pair.site.start_to_die("db-b", "after-promise");
    pair.until("both know what to do alone", || pair.holds(0) && pair.both_know()).await;
    agent.end().await;
    other.ended();
    // Its agent is back at once, reaches it alone, and wants it to be the component.
    pair.paths[0].cut().await;
    let promised = Instant::now();
    let _other = pair.site.start("db-b");
    let agent = pair.agent(1).await;
    let whole = Duration::from_millis(LEASE.expires_ms + LEASE.demote_ms + LEASE.drift_ms) + LATENESS;
    let said = || agent.links.view().iter().any(|it| it.name == "db-b" && !it.promised.is_empty());
    pair.until("it says what it has promised", said).await;
    pair.until_ended().await;
    pair.until("it holds afterwards", || pair.holds(1)).await;
    // It was killed less than a moment before it was seen to be.
    assert!(promised.elapsed() + Duration::from_millis(200) > whole, "{:?}", promised.elapsed());
    agent.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_path_that_is_cut_costs_no_lease_and_two_do() {
    let mut pair = Pair::with(true).await;
    let (agent, _hosts) = pair.holding().await;
    let seen = || agent.links.view().into_iter().find(|it| it.name == "db-a").expect("it is in the plan");
    pair.until("it is heard over both", || seen().paths.iter().filter(|it| it.1).count() == 2).await;
    pair.paths[0].is_silent.store(true, Ordering::Relaxed);
    pair.stays(expires() * 3).await;
    assert!(pair.lease(0).is_some_and(|it| it.get("by").is_none()), "the agent renews it");
    let cut = pair.paths[0].at.to_string();
    let said = format!("host db-a is not heard over {cut} for ");
    assert!(agent.links.trouble().iter().any(|it| it.starts_with(&said)), "{:?}", agent.links.trouble());
    // What else the agent has to say goes over the other one.
    pair.until("it is connected over the other one", || seen().connected && seen().deaf.is_none()).await;
    assert!(pair.site.log("db-a").contains("it is silent over this path, and not over another one"));
    pair.further.as_ref().expect("there is one").is_silent.store(true, Ordering::Relaxed);
    pair.until_ended().await;
    agent.links.grant([held(1)]);
    pair.until("the other one holds", || pair.holds(1)).await;
    agent.end().await;
}
