//! An agent as the product has it: hands with links, in this process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_host::links::{HostView, Registered, Settings};
use mainstay_host::{Clock, Hands, Job, JobOf, Links, Report};
use mainstay_plan::action::{Action, Outcome};
use mainstay_plan::observation::Answer;
use mainstay_plan::{Plan, ProbeIx, Time};
use mainstay_wire::reception::Reception;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::scripted::LEASE;
use crate::site::{PATIENCE, Site};

pub(crate) struct Agent {
    pub(crate) hands: Hands,
    pub(crate) links: Links,
    pub(crate) reports: mpsc::Receiver<Report>,
    plan: Arc<Plan>,
    listening: JoinHandle<()>,
    next_ticket: u64,
}

/// Each of these hosts has a component of its own, `HOST-app`, with a process to look at.
pub(crate) fn text(site: &Site, hosts: &[&str]) -> String {
    let entries: Vec<String> = hosts.iter().map(|it| format!("{it}: {{ region: eu, zone: a }}")).collect();
    let mut text = format!(
        "version: 2\nsite: {{ name: shop-a, region: eu, zone: b, host: agent-1 }}\nlink: {{ listen: \"127.0.0.1:7400\" }}\nhosts: {{ {} }}\ncomponents:\n",
        entries.join(", ")
    );
    for host in hosts {
        let pid_file = site.path().join(format!("{host}.pid"));
        text.push_str(&format!(
            "  {host}-app:\n    type: cache\n    location: {{ region: eu, zone: a, host: {host} }}\n    probes: [{{ process: {{ pid_file: {}, \
             interval: 1s, timeout: 500ms }} }}]\n",
            pid_file.display()
        ));
    }
    text
}

pub(crate) fn compiled(text: &str) -> Arc<Plan> {
    let compiled = mainstay_plan::compile("plan.yaml", text, Path::new("/"));
    Arc::new(compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.findings)))
}

impl Agent {
    /// Listens for these hosts. Must be ended before another one listens at the same port.
    pub(crate) async fn listen(site: &Site, listener: TcpListener, hosts: &[&str]) -> Agent {
        let (sender, reports) = mpsc::channel(4096);
        let clock = Clock::start(Time::ZERO);
        let settings = Settings {
            agent: "a test".to_owned(),
            site: "shop-a".to_owned(),
            version: String::new(),
            lease: LEASE,
            allowance: Duration::from_secs(2),
        };
        let links = Links::new(settings, clock, sender.clone(), None);
        let plan = compiled(&text(site, hosts));
        links.register(Registered::of(&plan));
        let hands = Hands::new(clock, sender, site.path()).with_links(links.clone());
        let reception = Reception::new(site.authority.clone()).expect("the agent has a certificate");
        let listening = links.clone();
        let listening = tokio::spawn(async move {
            listening.listen(listener, reception).await;
        });
        Agent { hands, links, reports, plan, listening, next_ticket: 1 }
    }

    /// Ends it; its hosts lose their connections.
    pub(crate) async fn end(self) {
        self.links.register(Registered::default());
        self.listening.abort();
        let _ = self.listening.await;
    }

    pub(crate) fn view(&self, host: &str) -> HostView {
        self.links.view().into_iter().find(|it| it.name == host).expect("it is in the plan")
    }

    pub(crate) async fn until(&self, what: impl Fn(&Agent) -> bool) {
        let waited = async {
            while !what(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{:?}", self.links.view()));
    }

    pub(crate) async fn connected(&self, host: &str) {
        self.until(|it| it.view(host).connected).await;
    }

    /// Asks the probe of a host's component.
    pub(crate) async fn answer(&mut self, probe: u32) -> Answer {
        self.hands.probe(&self.plan, ProbeIx(probe), None);
        self.next(|it| if let Report::Observed(it) = it { Some(it.answer) } else { None }).await
    }

    /// Orders this of an instance; its ticket.
    pub(crate) fn order(&mut self, key: &str, instance: &str, action: Action, timeout: Duration) -> u64 {
        self.order_again(key, 1, instance, action, timeout)
    }

    /// The same, as that attempt.
    pub(crate) fn order_again(
        &mut self,
        key: &str,
        attempt: u32,
        instance: &str,
        action: Action,
        timeout: Duration,
    ) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let of = JobOf { attempt, instance: instance.to_owned(), component: instance.to_owned(), ..JobOf::default() };
        self.hands.act(Job { ticket, action, key: key.to_owned(), timeout, address: None, of });
        ticket
    }

    pub(crate) async fn outcome(&mut self, of: u64) -> Outcome {
        let of_it =
            |it| if let Report::Ended { ticket, outcome } = it { (ticket == of).then_some(outcome) } else { None };
        self.next(of_it).await
    }

    pub(crate) async fn next<T>(&mut self, of: impl Fn(Report) -> Option<T>) -> T {
        let next = async {
            loop {
                let report = self.reports.recv().await.expect("the hands go on");
                if let Some(it) = of(report) {
                    return it;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap_or_else(|_| {
            let orders = processes_of_orders();
            panic!("it is not reported: {:?}\nprocesses that may be of orders:\n{orders}", self.links.view())
        })
    }
}

/// What a host may be waiting for.
fn processes_of_orders() -> String {
    let of = |file: &str, pid: &str| fs::read(format!("/proc/{pid}/{file}"));
    let pids = fs::read_dir("/proc").expect("the processes").filter_map(|it| it.ok()?.file_name().into_string().ok());
    let seen = pids.filter(|it| it.parse::<u32>().is_ok()).filter_map(|pid| {
        let environ = of("environ", &pid);
        let carried = environ.as_ref().map(|it| {
            let of_order = |it: &&[u8]| it.starts_with(b"MAINSTAY_IDEMPOTENCY_KEY=");
            it.split(|byte| *byte == 0).find(of_order).map(|it| String::from_utf8_lossy(it).into_owned())
        });
        if matches!(carried, Ok(None)) {
            return None;
        }
        Some(format!("{}: {carried:?}", String::from_utf8_lossy(&of("stat", &pid).unwrap_or_default()).trim()))
    });
    seen.collect::<Vec<_>>().join("\n")
}

/// A port of our own, free again and again.
pub(crate) async fn listener(at: Option<SocketAddr>) -> TcpListener {
    let at = at.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = async {
        loop {
            match TcpListener::bind(at).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, bound).await.expect("the port is free again")
}
