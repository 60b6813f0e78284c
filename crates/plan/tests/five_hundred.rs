//! A site of five hundred components, `examples/five-hundred/`: one file for the site, and one for each of ten teams, which it
//! includes. Written by the generator below, so that it stays what it is said to be; `MAINSTAY_UPDATE_GOLDEN=1` writes the
//! files and what is compared anew.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mainstay_plan::{Compiled, Proof, Surroundings, compile_in, picture, render};

/// What every team has of one type.
struct Kind {
    word: &'static str,
    short: &'static str,
    count: usize,
    port: u16,
    unit: &'static str,
    /// Of a hall's capacity, each.
    units: usize,
    reason: &'static str,
    why: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        word: "database",
        short: "db",
        count: 12,
        port: 5432,
        unit: "postgresql",
        units: 4,
        reason: "one writer at a time",
        why: "technical",
    },
    Kind {
        word: "cache",
        short: "cache",
        count: 8,
        port: 6379,
        unit: "valkey",
        units: 2,
        reason: "a third copy of the memory is not paid for",
        why: "cost",
    },
    Kind {
        word: "message_queue",
        short: "queue",
        count: 5,
        port: 5672,
        unit: "rabbitmq-server",
        units: 2,
        reason: "its messages keep one order",
        why: "technical",
    },
    Kind {
        word: "file_system",
        short: "files",
        count: 3,
        port: 2049,
        unit: "nfs-server",
        units: 2,
        reason: "invoices stay on the campus",
        why: "regulatory",
    },
    Kind {
        word: "application_server",
        short: "app",
        count: 18,
        port: 8080,
        unit: "app",
        units: 1,
        reason: "its licence counts running copies",
        why: "cost",
    },
    Kind {
        word: "load_balancer",
        short: "lb",
        count: 4,
        port: 443,
        unit: "haproxy",
        units: 1,
        reason: "its address belongs to the line of its hall",
        why: "technical",
    },
];

/// With how much their databases matter.
const TEAMS: [(&str, &str); 10] = [
    ("cart", "critical"),
    ("catalogue", "important"),
    ("customers", "important"),
    ("orders", "critical"),
    ("payments", "critical"),
    ("platform", "critical"),
    ("prices", "standard"),
    ("search", "standard"),
    ("shipping", "important"),
    ("stock", "important"),
];

const HALLS: [&str; 3] = ["hall-a", "hall-b", "hall-c"];

/// One component.
struct Part {
    kind: &'static Kind,
    team: usize,
    /// Among those of its kind in its team, from 0.
    number: usize,
    /// Among those of its team, from 0.
    place: usize,
}

impl Part {
    fn of_team(team: usize) -> Vec<Part> {
        let all = KINDS.iter().flat_map(|kind| (0..kind.count).map(move |number| (kind, number)));
        all.enumerate().map(|(place, (kind, number))| Part { kind, team, number, place }).collect()
    }

    fn name(&self) -> String {
        named(TEAMS[self.team].0, self.kind.short, self.number)
    }

    /// The one that no other machine can be: a licence server with its dongle.
    fn is_alone(&self) -> bool {
        TEAMS[self.team].0 == "platform" && self.kind.short == "app" && self.number == 17
    }

    /// Databases, queues and files have one owner; the others may serve side by side.
    fn is_exclusive(&self) -> bool {
        matches!(self.kind.short, "db" | "queue" | "files")
    }

    fn hall(&self) -> usize {
        (self.team + self.place) % HALLS.len()
    }

    fn next_hall(&self) -> usize {
        (self.hall() + 1) % HALLS.len()
    }

    fn address(&self) -> String {
        format!("10.{}.{}.{}", self.team + 1, self.hall() + 1, self.place + 10)
    }

    fn standby_address(&self) -> String {
        format!("10.{}.{}.{}", self.team + 1, self.next_hall() + 1, self.place + 110)
    }

    fn front(&self) -> String {
        format!("10.100.{}.{}:{}", self.team + 1, self.place + 10, self.kind.port)
    }

    fn service(&self, host: &str) -> String {
        let unit = self.kind.unit;
        let order = |word: &str| format!("{word}: [on, {host}, {word}, {unit}]");
        format!("    service: {{ {}, {}, {} }}\n", order("start"), order("stop"), order("status"))
    }

    fn objectives(&self) -> &'static str {
        match (self.kind.short, TEAMS[self.team].1) {
            ("db", "critical") => "{ rto: 45s, rpo: 5s, availability: 99.95 }",
            ("db", _) => "{ rto: 1m, rpo: 30s, availability: 99.9 }",
            ("queue", _) => "{ rto: 90s, rpo: 0s }",
            ("files", _) => "{ rto: 2m, rpo: 5m }",
            ("cache", _) => "{ rto: 45s }",
            // Three minutes: what they depend on is back within two.
            _ => "{ rto: 3m }",
        }
    }

    /// Each asks in a way that is right in either role: after a takeover, a standby's probe watches the component.
    fn probe(&self, address: &str) -> String {
        match self.kind.short {
            "db" => format!(
                "http: {{ url: \"http://{address}:8008/health\", lag_header: x-replication-lag, interval: 2s, fast_interval: 1s, timeout: 1s }}"
            ),
            "cache" => format!("command: {{ run: [valkey-cli, -h, {address}, ping], interval: 2s, timeout: 1s }}"),
            "queue" => format!("command: {{ run: [check-broker, {address}], lag: stdout, interval: 1s, timeout: 1s }}"),
            "files" => format!(
                "command: {{ run: [check-files, {address}], lag: stdout, interval: 5s, fast_interval: 2s, timeout: 2s }}"
            ),
            "app" => format!("http: {{ url: \"http://{address}:8080/ready\", interval: 2s, timeout: 1s }}"),
            _ => format!("http: {{ url: \"http://{address}:8404/healthz\", interval: 1s, timeout: 1s }}"),
        }
    }

    fn depends_on(&self) -> Vec<String> {
        let team = TEAMS[self.team].0;
        match self.kind.short {
            "app" => {
                let k = self.number;
                let mut names =
                    vec![named(team, "db", k % 12), named(team, "cache", k % 8), named(team, "queue", k % 5)];
                if k < 3 {
                    names.push(named(team, "files", k));
                }
                // Everybody logs in at the platform's first one.
                if k == 0 && team != "platform" {
                    names.push(named("platform", "app", 0));
                }
                names
            }
            "lb" => (0..4).map(|at| named(team, "app", self.number * 4 + at)).collect(),
            _ => Vec::new(),
        }
    }

    fn activate(&self, host: &str) -> String {
        match self.kind.short {
            "db" => {
                format!(
                    "    activate: [{{ command: {{ run: [on, {host}, promote], idempotent: true, timeout: 8s }} }}]\n"
                )
            }
            "queue" => format!(
                "    activate: [{{ command: {{ run: [on, {host}, take-disk], idempotent: true, timeout: 10s }} }}, {{ service: {{ op: start, timeout: 20s }} }}]\n"
            ),
            "files" => "    activate: [{ service: { op: start, timeout: 20s } }]\n".to_owned(),
            _ => String::new(),
        }
    }

    fn component(&self) -> String {
        let (name, kind, hall) = (self.name(), self.kind, HALLS[self.hall()]);
        let mut text = format!("  {name}:\n    type: {}\n", kind.word);
        let _ = writeln!(text, "    location: {{ region: leipzig, zone: {hall}, host: {name} }}");
        let (reason, why) =
            if self.is_alone() { ("its dongle is in one machine", "technical") } else { (kind.reason, kind.why) };
        let _ = writeln!(text, "    constraint: {{ reason: {reason}, kind: {why} }}");
        let level = if kind.short == "db" { TEAMS[self.team].1 } else { "important" };
        let _ = writeln!(text, "    criticality: {level}\n    objectives: {}", self.objectives());
        let _ = writeln!(text, "    capacity: {}", kind.units);
        if self.is_exclusive() {
            let _ = writeln!(
                text,
                "    shares: [{{ storage: san-{hall}-{} }}, {{ power: feed-{hall} }}]",
                self.place % 2 + 1
            );
        }
        let depends = self.depends_on();
        if !depends.is_empty() {
            let _ = writeln!(text, "    depends_on: [{}]", depends.join(", "));
        }
        text.push_str(&self.service(&name));
        let _ = writeln!(text, "    probes: [{{ {} }}]", self.probe(&self.address()));
        text.push_str(&self.activate(&name));
        if !self.is_exclusive() {
            text.push_str("    rejoin: when_healthy\n    guards: { cool_down: 2m }\n");
        }
        if kind.short == "db" {
            text.push_str("    backups: { archive: { every: 1d, takes: 1h, archive_lag: 1m, keep: 30d, location: { region: halle }, restore_test: 30d } }\n");
        }
        text.push_str(&self.ladder());
        text
    }

    fn ladder(&self) -> String {
        // A probe of files may take two seconds, and the answer that counts may be the second.
        let within = if self.kind.short == "files" { "5s" } else { "3s" };
        let mut text = format!("    recovery:\n      - restart_service: {{ timeout: 10s, verify_within: {within} }}\n");
        if !self.is_alone() {
            let _ = writeln!(text, "      - failover_to_standby: {{ standby: {}-s, verify_within: 5s }}", self.name());
        }
        if self.kind.short == "db" {
            let name = self.name();
            let _ = writeln!(
                text,
                "      - restore_from_backup: {{ backup: archive, run: [on, {name}, restore], plane: data, needs: [archive-key], timeout: 2h }}"
            );
        }
        text
    }

    fn standby(&self) -> String {
        let (name, hall) = (self.name(), HALLS[self.next_hall()]);
        let host = format!("{name}-s");
        let mut text = format!("  {name}-s:\n");
        let _ = writeln!(
            text,
            "    location: {{ region: leipzig, zone: {hall}, host: {host} }}\n    capacity: {}",
            self.kind.units
        );
        if self.is_exclusive() {
            let _ = writeln!(
                text,
                "    shares: [{{ storage: san-{hall}-{} }}, {{ power: feed-{hall} }}]",
                self.place % 2 + 1
            );
        } else {
            text.push_str("    temperature: hot\n");
        }
        text.push_str(&self.service(&host));
        let _ = writeln!(text, "    probes: [{{ {} }}]", self.probe(&self.standby_address()));
        text.push_str(&self.activate(&host));
        text
    }

    fn route(&self) -> String {
        let (name, port) = (self.name(), self.kind.port);
        let mut text = format!("  {name}:\n");
        let _ = match self.kind.short {
            "db" | "queue" | "files" => {
                writeln!(text, "    exclusive: {{ fence: traffic_cut }}\n    proxy: {{ listen: \"{}\" }}", self.front())
            }
            "cache" => writeln!(text, "    shared: {{}}\n    proxy: {{ listen: \"{}\" }}", self.front()),
            "app" => {
                writeln!(
                    text,
                    "    shared: {{}}\n    dns: {{ name: \"{name}.${{domain}}\", ttl: 5s, policy: multivalue }}"
                )
            }
            _ => writeln!(text, "    shared: {{}}\n    beacon: true\n    polled: {{ every: 5s, threshold: 2 }}"),
        };
        let _ = writeln!(text, "    targets:\n      - {{ component: {name}, address: \"{}:{port}\" }}", self.address());
        if !self.is_alone() {
            let _ = writeln!(text, "      - {{ standby: {name}-s, address: \"{}:{port}\" }}", self.standby_address());
        }
        text
    }
}

fn named(team: &str, short: &str, number: usize) -> String {
    format!("{team}-{short}-{:02}", number + 1)
}

/// What one team writes.
fn team(at: usize) -> String {
    let name = TEAMS[at].0;
    let parts = Part::of_team(at);
    let mut text =
        format!("# What the team `{name}` runs. Written by `crates/plan/tests/five_hundred.rs`.\nversion: 2\n");
    text.push_str("components:\n");
    text.extend(parts.iter().map(Part::component));
    text.push_str("\nstandbys:\n");
    text.extend(parts.iter().filter(|it| !it.is_alone()).map(Part::standby));
    text.push_str("\nroutes:\n");
    text.extend(parts.iter().map(Part::route));
    let databases: Vec<String> = (0..3).map(|number| named(name, "db", number)).collect();
    let _ = write!(
        text,
        "\ndrills:\n  {name}-failover: {{ kind: component, components: [{}], every: 90d }}\n",
        databases.join(", ")
    );
    let _ = write!(
        text,
        "\nnotifications:\n  {name}-chat:\n    send: {{ webhook: {{ url: \"https://chat.example.com/hooks/{name}\" }} }}\n    location: {{ region: chat-provider }}\n"
    );
    text
}

/// The loss of a hall: who goes first, and how much the other two must carry.
fn evacuation(lost: usize) -> String {
    let parts: Vec<Part> = (0..TEAMS.len()).flat_map(Part::of_team).collect();
    let platform =
        parts.iter().filter(|it| it.hall() == lost && TEAMS[it.team].0 == "platform" && it.kind.short == "db");
    let first: Vec<String> = platform.map(Part::name).collect();
    let hall = HALLS[lost];
    let mut text = format!("  {hall}:\n    of: {{ region: leipzig, zone: {hall} }}\n    at_once: 200\n");
    let _ = writeln!(text, "    first: [{}]\n    capacity:", first.join(", "));
    for (left, name) in HALLS.iter().enumerate().filter(|(at, _)| *at != lost) {
        let there = |it: &&Part| it.hall() == left || (it.hall() == lost && it.next_hall() == left && !it.is_alone());
        let needed: usize = parts.iter().filter(there).map(|it| it.kind.units).sum();
        // A tenth more than is needed, in tens.
        let units = (needed * 11).div_ceil(100) * 10;
        let _ = writeln!(text, "      - {{ region: leipzig, zone: {name}, units: {units} }}");
    }
    text
}

fn rule(hall: &str) -> String {
    format!(
        "  {hall}-is-lost:\n    when: (fraction(down, zone leipzig/{hall}) >= 50% and health(witness core) == healthy) for 3s\n    then: availability_zone_failure\n    of: {{ region: leipzig, zone: {hall} }}\n"
    )
}

fn witness(at: usize) -> String {
    let hall = HALLS[at];
    let address = format!("10.0.{}.1:22", at + 1);
    format!(
        "  router-{hall}:\n    location: {{ region: leipzig, zone: {hall} }}\n    probe: {{ tcp: {{ address: \"{address}\" }} }}\n"
    )
}

/// The file of the site, which includes the others.
fn site() -> String {
    let mut text = SITE_BEGINS.to_owned();
    text.push_str("include:\n");
    for (name, _) in TEAMS {
        let _ = writeln!(text, "  - teams/{name}.yaml");
    }
    text.push_str(SITE_GOES_ON);
    text.extend((0..HALLS.len()).map(witness));
    text.push_str("\nrules:\n");
    text.extend(HALLS.iter().map(|it| rule(it)));
    text.push_str("\nevacuations:\n");
    text.extend((0..HALLS.len()).map(evacuation));
    text.push_str(SITE_ENDS);
    text
}

const SITE_BEGINS: &str = "\
# A shop of five hundred components in three halls of one campus. Ten teams each keep a file of their own under `teams/`; what
# holds for all of them is here. Written by `crates/plan/tests/five_hundred.rs`.
#
# What fails: a process, a machine, or a hall, with a third of everything at once. Each component has a standby in the next
# hall, so a lost hall is taken over by one other, which must have the room: `evacuations` says how much. What many depend on
# goes first. The guards see to it that one wrong conclusion does not move the whole site: a third may move, two thirds never.
#
# What this does not do: survive the loss of the campus; the archives do, in another town. One component has no standby and
# says so, the licence server with its dongle: MS0504. Agent, proxies and name server are in a room of their own, `core`,
# which no hall's power or network reaches; run `mainstay traffic` there on two machines.
version: 2
site: { name: shop, region: leipzig, zone: core, host: ops-1 }
state: /var/lib/mainstay
";

const SITE_GOES_ON: &str = r#"
variables:
  domain: { env: SHOP_DOMAIN, default: shop.internal. }
  pager-token: { env: SHOP_PAGER_TOKEN, secret: true }

traffic:
  dns: "10.100.0.53:53"
  beacon: "10.100.0.53:8600"

credentials:
  archive-key: { file: /etc/mainstay/archive.key }

# A hall is a third of the site, about 167 recoveries.
guards:
  storm_brake: { at_most: 200, within: 10m }
  blast_radius: { share: 40%, always: 5 }
  minimum_healthy: 1

witnesses:
  core:
    location: { region: leipzig, zone: core }
    probe: { tcp: { address: "10.0.9.1:22" } }
"#;

const SITE_ENDS: &str = r#"
drills:
  hall-lost: { kind: simulation, every: 30d }
  everything: { kind: full_scale, every: 365d }

notifications:
  pager:
    send:
      webhook:
        url: "https://pager.example.com/v1/alerts"
        headers: { authorization: "Bearer ${pager-token}" }
    location: { region: pager-provider }
  control-room:
    send: { command: { run: [/usr/local/bin/ring, control-room] } }

escalation:
  - { after: 2m, tell: [control-room] }
  - { after: 10m, tell: [control-room, pager] }
"#;

/// All files, by their place in the folder.
fn files() -> BTreeMap<String, String> {
    let teams = TEAMS.iter().enumerate().map(|(at, (name, _))| (format!("teams/{name}.yaml"), team(at)));
    std::iter::once(("plan.yaml".to_owned(), site())).chain(teams).collect()
}

fn here(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// Compares with what is kept, or keeps it.
fn golden(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        kept == text,
        "{} differs, first in line {differs:?}; MAINSTAY_UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}

fn compiled() -> Compiled {
    let files = files();
    let read = |path: &Path| {
        let name = path.strip_prefix("/etc/mainstay").unwrap().to_str().unwrap();
        files.get(name).cloned().ok_or_else(|| "no such file".to_owned())
    };
    let variable = |name: &str| (name == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned());
    let around = Surroundings { read: &read, variable: &variable, needs_secrets: true };
    compile_in("plan.yaml", files["plan.yaml"].as_str(), Path::new("/etc/mainstay"), &around)
}

/// For each failure and condition what recovers and how long that takes; components of which the same is said stand together.
fn by_verdict(proof: &Proof) -> String {
    let cells = serde_json::to_value(proof).unwrap();
    let mut rows: BTreeMap<&str, String> = BTreeMap::new();
    for cell in cells.as_array().unwrap() {
        let recovery = &cell["recovery"];
        let verdict = if recovery.is_null() {
            "none".to_owned()
        } else {
            let worst = recovery["bounds"].as_array().unwrap().iter().map(|it| it["total_ms"].as_u64().unwrap()).max();
            format!("{} {} ms, loses {}", recovery["strategy"].as_str().unwrap(), worst.unwrap(), recovery["data_loss"])
        };
        let row = rows.entry(cell["component"].as_str().unwrap()).or_default();
        let _ = writeln!(
            row,
            "  {}, {}: {verdict}",
            cell["failure"].as_str().unwrap(),
            cell["condition"].as_str().unwrap()
        );
    }
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, row) in rows {
        groups.entry(row).or_default().push(name);
    }
    let shown = groups.iter().map(|(row, names)| format!("components ({}): {}\n{row}", names.len(), names.join(" ")));
    shown.collect::<Vec<String>>().join("\n")
}

#[test]
fn the_files_are_what_the_generator_writes() {
    for (name, text) in files() {
        golden(&here("../../examples/five-hundred").join(name), &text);
    }
}

#[test]
fn five_hundred_components_are_sound_and_proved() {
    let compiled = compiled();
    let findings = render(&compiled.files, &compiled.findings, false);
    golden(&here("tests/golden/five-hundred.findings.txt"), &findings);
    let plan = compiled.plan.unwrap_or_else(|| panic!("{findings}"));
    assert_eq!(plan.components.len(), 500);
    assert!(!plan.source.contains("hush"));
    let proof = Proof::of(&plan);
    let first: Vec<String> = proof.text().split("\n\n").take(10).map(str::to_owned).collect();
    golden(&here("tests/golden/five-hundred.proof.txt"), &format!("{}\n\n{}", first.join("\n\n"), by_verdict(&proof)));
    golden(&here("tests/golden/five-hundred.svg"), &picture::svg(&plan));
}
