//! Links to hosts that say what a test says.

use std::path::Path;

use mainstay_wire::message::{FromHost, Granted, PROTOCOL, Renew, Understood};
use mainstay_wire::stream::{Incoming, accept, dial};
use tokio::io::duplex;

use super::*;
use crate::lease::book::Terms;

const LEASE: LeaseTimes = LeaseTimes { renew_ms: 1000, expires_ms: 6000, demote_ms: 2000, drift_ms: 200 };

/// Links of a plan in which a database lives on `db-a` and its standby on `db-b`, each with a lease.
fn links(dir: &Path) -> (Links, mpsc::Receiver<Report>) {
    let (reports, heard) = mpsc::channel(64);
    let clock = Clock::start(Time::ZERO);
    let settings = Settings {
        agent: "agent".to_owned(),
        site: "s".to_owned(),
        version: String::new(),
        lease: LEASE,
        allowance: Duration::from_secs(1),
    };
    let terms = Terms {
        expires: Duration::from_secs(6),
        demote: Duration::from_secs(2),
        drift: Duration::from_millis(200),
        lateness: Duration::from_millis(200),
    };
    let grantor = Arc::new(Grantor::open(dir, terms, clock).unwrap());
    let links = Links::new(settings, clock, reports, Some(grantor));
    let lives = |host: &str| ("db".to_owned(), host.to_owned());
    let registered = Registered::for_test(
        ["db-a", "db-b"],
        [("db".to_owned(), lives("db-a")), ("db-standby".to_owned(), lives("db-b"))],
    );
    links.register(registered);
    (links, heard)
}

struct HostEnd {
    to_agent: Outgoing<FromHost>,
    from_agent: Incoming<FromAgent>,
}

/// A host that is connected as `name`, and has said who it is.
async fn connected(links: &Links, name: &str, boot_id: &str) -> HostEnd {
    let (one, other) = duplex(64 << 10);
    let (agent, host) = tokio::join!(accept(one), dial(other));
    let ((to_host, from_host), (to_agent, from_agent)) = (agent.unwrap(), host.unwrap());
    let (taking, of) = (links.clone(), name.to_owned());
    tokio::spawn(
        async move { taking.take(&of, [127, 0, 0, 1].into(), to_host, from_host, std::future::pending()).await },
    );
    let hello = Hello {
        protocol: PROTOCOL,
        version: String::new(),
        boot_id: boot_id.to_owned(),
        up_ms: 0,
        epoch: 0,
        may: Default::default(),
        guards: Vec::new(),
        serves: true,
        listens: false,
        copy_head: None,
        beside: None,
    };
    to_agent.say(&FromHost::Hello(Box::new(hello))).unwrap();
    let mut end = HostEnd { to_agent, from_agent };
    assert!(matches!(end.next().await, FromAgent::Welcome(_)));
    end
}

impl HostEnd {
    async fn next(&mut self) -> FromAgent {
        match self.from_agent.hear().await {
            Ok(Some(Understood::Message(message))) => message,
            other => panic!("{other:?}"),
        }
    }

    async fn renew(&mut self, seq: u64, heard_ms: u64, asks: Vec<Held>) -> Granted {
        self.to_agent
            .say(&FromHost::Renew(Renew { seq, heard_ms, wall_ns: 0, holds: Vec::new(), asks, stands: None }))
            .unwrap();
        let next = self.next().await;
        if let FromAgent::Granted(granted) = next { granted } else { panic!("{next:?}") }
    }
}

fn db(instance: &str) -> Held {
    Held { component: "db".to_owned(), instance: instance.to_owned() }
}

fn view(links: &Links, name: &str) -> HostView {
    links.view().into_iter().find(|it| it.name == name).unwrap()
}

#[tokio::test]
async fn a_host_that_is_heard_and_does_not_hear_is_neither_silent_nor_well() {
    let dir = tempfile::tempdir().unwrap();
    let (links, _reports) = links(dir.path());
    let mut host = connected(&links, "db-a", "1").await;
    host.renew(1, 900, Vec::new()).await;
    assert_eq!(view(&links, "db-a").deaf, None);
    host.renew(2, 4500, Vec::new()).await;
    let seen = view(&links, "db-a");
    assert_eq!((seen.connected, seen.deaf), (true, Some(Duration::from_millis(4500))));
    let trouble = links.trouble();
    let said = "the path from us to host db-a is broken: it has not heard us for 4.5 s";
    assert!(trouble.iter().any(|it| it == said), "{trouble:?}");
}

#[tokio::test]
async fn a_host_gets_the_lease_of_what_lives_there_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (links, _reports) = links(dir.path());
    let mut host = connected(&links, "db-b", "1").await;
    links.grant([Holding { component: "db".to_owned(), instance: "db".to_owned() }]);
    // `db` may hold it, but does not live there; `db-standby` does, and may not.
    let granted = host.renew(1, 0, vec![db("db"), db("db-standby")]).await;
    assert_eq!(granted, Granted { seq: 1, holds: Vec::new(), ttl_ms: 6000, stance: 0 });
    let mut home = connected(&links, "db-a", "2").await;
    let mut seq = 0;
    while home.renew(seq + 1, 0, vec![db("db")]).await.holds != [db("db")] {
        seq += 1;
        assert!(seq < 1000, "who may hold is passed on in a moment");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_host_that_is_lost_is_said_to_be_silent_since_it_renewed_last() {
    let dir = tempfile::tempdir().unwrap();
    let (links, mut reports) = links(dir.path());
    let mut host = connected(&links, "db-a", "1").await;
    host.renew(1, 0, Vec::new()).await;
    let renewed = links.inner.clock.now();
    drop(host);
    let Some(Report::TrafficSilent { process, since }) = reports.recv().await else { panic!("something else") };
    assert_eq!(process, "db-a");
    assert!(since <= renewed, "what was said later counts for nothing");
    let why = links.ask("db-a", &ProbeKind::Process { pid_file: "/x".into() }, asking()).await.unwrap_err();
    assert!(why.starts_with("host db-a is silent for 0 s"), "{why}");
}

fn asking() -> Asking {
    Asking { at: None, from: None, timeout: Duration::from_secs(1) }
}

#[tokio::test]
async fn a_question_whose_connection_breaks_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (links, _reports) = links(dir.path());
    let mut host = connected(&links, "db-a", "1").await;
    let asker = links.clone();
    let probe = ProbeKind::Process { pid_file: "/x".into() };
    let asked = tokio::spawn(async move {
        asker.ask("db-a", &probe, Asking { timeout: Duration::from_secs(3600), ..asking() }).await
    });
    assert!(matches!(host.next().await, FromAgent::Ask(_)));
    drop(host);
    let answer = asked.await.unwrap();
    assert!(answer.is_err_and(|why| why.starts_with("host db-a is silent")));
}

#[tokio::test]
async fn two_machines_under_one_name_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (links, _reports) = links(dir.path());
    let _first = connected(&links, "db-a", "1").await;
    let _again = connected(&links, "db-a", "1").await;
    assert!(!view(&links, "db-a").has_twin, "the same one has dialed again");
    let _other = connected(&links, "db-a", "2").await;
    assert!(view(&links, "db-a").has_twin);
    assert!(links.trouble().iter().any(|it| it.starts_with("two machines come as host db-a")));
}

/// What a host is asked for when a restore test is due.
fn restore_test() -> Action {
    let text = "version: 2
site: { name: s, region: r }
components:
  db:
    type: database
    location: { region: r }
    postgres: { address: \"10.0.0.1:5432\", follow: { user: replicator } }
    probes: [{ postgres: {} }]
    backups:
      nightly:
        every: 1d
        takes: 1h
        keep: 14d
        location: { region: s, host: db-a }
        restore_test: 7d
        postgres: { to: /srv/backups/db }
";
    let compiled = mainstay_plan::compile("plan.yaml", text, Path::new("/"));
    let plan = compiled.plan.unwrap_or_else(|| panic!("{:?}", compiled.findings));
    let component = mainstay_plan::ComponentIx(0);
    let series = &plan.component(component).backups[0];
    plan.keeping(component, series, mainstay_plan::backup::KeepingJob::RestoreTest, |_| None).unwrap()
}

/// A restore test may take a day, and its host may never come back.
#[tokio::test]
async fn a_host_that_stays_silent_is_not_waited_for_with_a_restore_test() {
    let dir = tempfile::tempdir().unwrap();
    let (links, mut reports) = links(dir.path());
    let mut host = connected(&links, "db-a", "1").await;
    let writes = Action::TriggerFile { path: "/x".into(), content: String::new() };
    for (ticket, action) in [(1, restore_test()), (2, writes)] {
        let (key, timeout) = (ticket.to_string(), Duration::from_secs(24 * 3600));
        links.act("db-a".to_owned(), Job { ticket, action, key, timeout, address: None, of: Default::default() });
        assert!(matches!(host.next().await, FromAgent::Act(_)));
    }
    drop(host);
    assert!(matches!(reports.recv().await, Some(Report::TrafficSilent { .. })));
    let silent_for = |so_long: Duration| {
        let now = links.inner.clock.now().as_nanos();
        let since = Time::from_nanos(now - u64::try_from(so_long.as_nanos()).unwrap());
        let mut state = links.inner.state();
        let host = state.hosts.get_mut("db-a").unwrap();
        (host.since, host.heard) = (since, Some(since));
    };
    silent_for(KEEPS_IN_SILENCE - Duration::from_secs(60));
    assert!(matches!(links.inner.still(1), Some(Still::Wait(_))), "it may come back");
    silent_for(KEEPS_IN_SILENCE);
    let ended = timeout(Duration::from_secs(30), reports.recv()).await.expect("it is not waited for any more");
    let Some(Report::Ended { ticket: 1, outcome: Outcome::Unknown(why) }) = ended else { panic!("{ended:?}") };
    assert!(why.starts_with("host db-a is silent for 30"), "{why}");
    assert!(matches!(links.inner.still(2), Some(Still::Wait(_))), "where that was written nobody looks by itself");
}
