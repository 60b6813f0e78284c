//! A thousand hosts against one agent, on loopback, with real certificates: what they cost the agent while all is well, and what
//! happens when it is killed and comes back.
//!
//! `cargo xtask bench hosts -- [HOSTS] [SECONDS]`. This process is all hosts: each speaks the protocol over a connection of its
//! own and answers its probes with *good*, but journals nothing and acts on nothing. The agent is a process of its own: the links
//! and the hands of the product, asking one probe of each host a second.

#![expect(clippy::print_stdout, reason = "a bench answers on standard output")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on ends")]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use mainstay_host::daemon::{Dial, over_tls};
use mainstay_host::links::{LeaseTimes, Registered, Settings};
use mainstay_host::{Clock, Hands, Links, Report};
use mainstay_plan::observation::Answer;
use mainstay_plan::{Plan, ProbeIx, Time};
use mainstay_wire::message::{Answered, FromAgent, FromHost, Hello, PROTOCOL, Renew, Understood};
use mainstay_wire::trust::{Authority, Identity, Joining, Terms, Wall};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};

const LEASE: LeaseTimes = LeaseTimes { renew_ms: 1000, expires_ms: 6000, demote_ms: 2000, drift_ms: 200 };

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let [word, dir, at, hosts] = &args[..]
        && word == "agent"
    {
        runtime.block_on(agent(Path::new(dir), at.parse().unwrap(), hosts.parse().unwrap()));
        return;
    }
    let number = |nth: usize, default: u64| args.get(nth).map_or(default, |it| it.parse().unwrap());
    runtime.block_on(measure(number(0, 1000), Duration::from_secs(number(1, 20))));
}

fn plan(hosts: u64) -> Arc<Plan> {
    let mut text =
        "version: 2\nsite: { name: bench, region: eu, zone: a, host: agent }\nlink: { listen: \"127.0.0.1:1\" }\nhosts:\n".to_owned();
    for nth in 0..hosts {
        text.push_str(&format!("  h{nth}: {{ region: eu, zone: a }}\n"));
    }
    text.push_str("components:\n");
    for nth in 0..hosts {
        text.push_str(&format!(
            "  c{nth}: {{ type: cache, location: {{ region: eu, zone: a, host: h{nth} }}, probes: [{{ process: {{ pid_file: /run/c{nth}.pid, \
             interval: 1s, timeout: 900ms }} }}] }}\n"
        ));
    }
    Arc::new(mainstay_plan::compile("plan.yaml", &text, Path::new("/")).plan.unwrap())
}

/// Says on standard output how many hosts are connected whenever that changes, and what became of its probes each second.
async fn agent(dir: &Path, at: SocketAddr, hosts: u64) {
    let (sender, mut reports) = mpsc::channel(65_536);
    let clock = Clock::start(Time::ZERO);
    let settings = Settings {
        agent: "bench".to_owned(),
        site: "bench".to_owned(),
        version: String::new(),
        lease: LEASE,
        allowance: Duration::from_millis(500),
    };
    let links = Links::new(settings, clock, sender.clone(), None);
    let plan = plan(hosts);
    links.register(Registered::of(&plan));
    let hands = Hands::new(clock, sender, dir).with_links(links.clone());
    links.keep_listening(at, dir.to_owned());
    let (mut beat, mut due, mut said) = (interval(Duration::from_millis(10)), 0_u64, None);
    let (mut good, mut not, mut took, mut second) = (0_u64, 0_u64, Vec::new(), Instant::now());
    loop {
        beat.tick().await;
        for _ in 0..hosts / 100 {
            hands.probe(&plan, ProbeIx(u32::try_from(due % hosts).unwrap()), None);
            due += 1;
        }
        while let Ok(report) = reports.try_recv() {
            let all = if let Report::Observed(it) = report {
                vec![it]
            } else if let Report::AllObserved(all) = report {
                all
            } else {
                Vec::new()
            };
            for it in all {
                if it.answer == Answer::Good {
                    good += 1;
                    took.push(it.ended.since(it.started));
                } else {
                    not += 1;
                }
            }
        }
        if second.elapsed() >= Duration::from_secs(1) {
            second = Instant::now();
            took.sort_unstable();
            let at = |of: usize| took.get(took.len() * of / 100).map_or(0, |it| it.as_micros());
            println!("probes {good} {not} {} {}", at(50), at(99));
            (good, not) = (0, 0);
            took.clear();
        }
        let connected = links.view().iter().filter(|it| it.connected).count();
        if said != Some(connected) {
            println!("connected {connected}");
            said = Some(connected);
        }
    }
}

/// The agent's process, and what it says.
struct Agent {
    child: Child,
    said: Receiver<(Instant, String)>,
    started: Instant,
}

impl Agent {
    fn start(dir: &Path, at: SocketAddr, hosts: u64) -> Agent {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["agent", dir.to_str().unwrap(), &at.to_string(), &hosts.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let (tell, said) = sync_channel(1 << 16);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|it| drop(tell.send((Instant::now(), it)))));
        Agent { child, said, started }
    }

    /// When how many were connected, until all are.
    fn all_connected(&self, hosts: u64) -> Vec<(Duration, u64)> {
        let mut seen = Vec::new();
        loop {
            let (when, line) = self.said.recv_timeout(Duration::from_secs(120)).unwrap();
            if let Some(count) = line.strip_prefix("connected ").and_then(|it| it.parse().ok()) {
                seen.push((when - self.started, count));
                if count == hosts {
                    return seen;
                }
            }
        }
    }

    /// Seconds of processor time, and MiB of memory, up to now.
    fn used(&self) -> (f64, f64) {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap();
        let stat = of("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        let status = of("status");
        let kib: f64 = status
            .lines()
            .find_map(|it| it.strip_prefix("VmRSS:"))
            .and_then(|it| it.split_whitespace().next()?.parse().ok())
            .unwrap();
        (ticks / 100.0, kib / 1024.0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(hosts: u64, lasting: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let state: PathBuf = dir.path().join("agent");
    let wall = Wall::system();
    let (authority, _) =
        Authority::create(&state, "bench", &["127.0.0.1".to_owned()], Terms::default(), &wall).unwrap();
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    println!("joining {hosts} hosts");
    for nth in 0..hosts {
        let name = format!("h{nth}");
        let joining = Joining::begin("bench", &name).unwrap();
        let (signed, _) = authority.sign_host(&name, joining.request()).unwrap();
        joining.finish(&signed, &dir.path().join(&name)).unwrap();
        let identity = Identity::of_host(&dir.path().join(&name), &wall).unwrap();
        tokio::spawn(host(over_tls(identity), at.to_string()));
    }
    sleep(Duration::from_secs(3)).await;
    println!("load of the machine before: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    let agent = Agent::start(&state, at, hosts);
    connecting("an agent starts", &agent, hosts);

    sleep(Duration::from_secs(2)).await;
    let (before, _) = agent.used();
    while agent.said.try_recv().is_ok() {}
    sleep(lasting).await;
    let (after, memory) = agent.used();
    let mut all: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let lines: Vec<String> = agent.said.try_iter().map(|it| it.1).collect();
    for numbers in lines.iter().filter_map(|it| it.strip_prefix("probes ")) {
        for (name, number) in ["good", "not", "p50", "p99"].into_iter().zip(numbers.split(' ')) {
            all.entry(name).or_default().push(number.parse().unwrap());
        }
    }
    let mean = |name: &str| all[name].iter().sum::<u64>() as f64 / all[name].len() as f64;
    println!(
        "while all is well, for {} s: agent {:.1} % of one core, {memory:.0} MiB; {:.0} probes a second good, {:.1} not; p50 {:.2} ms, p99 {:.2} ms (means of each second's)",
        lasting.as_secs(),
        (after - before) / lasting.as_secs_f64() * 100.0,
        mean("good"),
        mean("not"),
        mean("p50") / 1e3,
        mean("p99") / 1e3,
    );

    drop(agent);
    sleep(Duration::from_secs(5)).await;
    let agent = Agent::start(&state, at, hosts);
    connecting("killed, and started again 5 s later", &agent, hosts);
    println!("load of the machine after: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn connecting(what: &str, agent: &Agent, hosts: u64) {
    let seen = agent.all_connected(hosts);
    let (used, memory) = agent.used();
    let first = seen.iter().find(|it| it.1 > 0).unwrap().0;
    let half = seen.iter().find(|it| it.1 >= hosts / 2).unwrap().0;
    let all = seen.last().unwrap().0;
    println!(
        "{what}: first host after {:.2} s, half after {:.2} s, all {hosts} after {:.2} s; agent {used:.2} s of processor time, {memory:.0} MiB",
        first.as_secs_f64(),
        half.as_secs_f64(),
        all.as_secs_f64(),
    );
}

/// One host: dials as `mainstay host` does, and says what one says on which nothing happens.
async fn host(dial: Dial, at: String) {
    let mut failed: u32 = 0;
    loop {
        let longest_us = (200_000_u64 << failed.min(10)).min(2_000_000);
        sleep(Duration::from_micros(RandomState::new().hash_one(failed) % longest_us)).await;
        failed += 1;
        let Ok(Ok((to_agent, mut from_agent))) = timeout(Duration::from_secs(10), dial(at.clone())).await else {
            continue;
        };
        let hello = Hello {
            protocol: PROTOCOL,
            version: String::new(),
            boot_id: String::new(),
            up_ms: 0,
            epoch: 0,
            may: Default::default(),
            guards: Vec::new(),
            serves: false,
            listens: false,
            beside: None,
            copy_head: None,
        };
        let _ = to_agent.say(&FromHost::Hello(Box::new(hello)));
        let mut renew = interval(Duration::from_millis(LEASE.renew_ms));
        let mut seq = 0;
        loop {
            let said = tokio::select! {
                heard = timeout(Duration::from_millis(LEASE.expires_ms), from_agent.hear()) => match heard {
                    Ok(Ok(Some(Understood::Message(FromAgent::Ask(ask))))) => {
                        let answer = Answer::Good;
                        let answered = Answered { id: ask.id, answer, lag_ns: None, role: None, expiring: None, upkeep: None, position: None, took_ns: 0 };
                        to_agent.say(&FromHost::Answers(vec![answered]))
                    }
                    Ok(Ok(Some(_))) => Ok(()),
                    _ => break,
                },
                _ = renew.tick() => {
                    seq += 1;
                    let (holds, asks) = (Vec::new(), Vec::new());
                    to_agent.say(&FromHost::Renew(Renew { seq, heard_ms: 0, wall_ns: 0, holds, asks, stands: None }))
                }
            };
            if said.is_err() {
                break;
            }
        }
    }
}
