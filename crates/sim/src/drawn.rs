//! Plans drawn by chance: a few components with everything that the proof has an opinion about.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::backup::{Backup, BackupCopy};
use mainstay_plan::location::{Location, SharedKind, SharedPart};
use mainstay_plan::prepared::{Prepared, PreparedKind};
use mainstay_plan::strategy::{StepKind, Strategy};
use mainstay_plan::{Plan, compile};

/// A stream of numbers that is the same everywhere (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// What this seed draws.
    pub const fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// Once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }
}

const ZONES: [&str; 4] = ["z1", "z1", "z2", "z3"];
const PLANES: [&str; 5] = ["local", "local", "data", "regional_control", "global_control"];
const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];

fn location(chance: &mut Chance) -> String {
    let region = if chance.once_in(10) { "r2" } else { "r1" };
    let zone = if chance.once_in(10) { String::new() } else { format!(", zone: {}", chance.of(&ZONES)) };
    let host = if chance.once_in(4) { String::new() } else { format!(", host: {}", chance.of(&HOSTS)) };
    format!("{{ region: {region}{zone}{host} }}")
}

fn timing(chance: &mut Chance) -> String {
    let fast = chance.of(&[200, 300, 500]);
    let interval = fast * chance.of(&[1, 2, 5]);
    let timeout = chance.of(&[100, 200]);
    let (fall, rise) = (chance.of(&[1, 2, 3]), chance.of(&[1, 2]));
    format!("interval: {interval}ms, fast_interval: {fast}ms, timeout: {timeout}ms, fall: {fall}, rise: {rise}")
}

fn probe(chance: &mut Chance, nth: usize, lag: bool) -> String {
    let host = if chance.once_in(25) { "db.example.com".to_owned() } else { format!("10.0.0.{}", nth + 1) };
    let timing = timing(chance);
    if lag {
        return format!("http: {{ url: \"http://{host}:8008/\", lag_header: lag, {timing} }}");
    }
    match chance.below(3) {
        0 => format!("http: {{ url: \"http://{host}:8008/\", {timing} }}"),
        1 => format!("command: {{ run: [check, \"{nth}\"], {timing} }}"),
        _ => format!("tcp: {{ address: \"{host}:5432\", {timing} }}"),
    }
}

fn plane(chance: &mut Chance) -> &'static str {
    PLANES[chance.below(PLANES.len())]
}

fn instance(chance: &mut Chance, text: &mut String, nth: usize, lag: bool) {
    let _ = writeln!(text, "    location: {}", location(chance));
    text.push_str("    probes:\n");
    let probes = 1 + chance.below(2);
    for at in 0..probes {
        let lag = lag && at == 0;
        let _ = writeln!(text, "      - {}", probe(chance, nth, lag));
    }
    if probes == 2 && chance.once_in(2) {
        text.push_str("    down_when: 2\n");
    }
    if !chance.once_in(5) {
        text.push_str("    service: { start: [up], stop: [down], status: [is-up] }\n");
    }
}

fn activate(chance: &mut Chance, text: &mut String) {
    if chance.once_in(3) {
        return;
    }
    text.push_str("    activate:\n");
    for _ in 0..=chance.below(2) {
        let (idempotent, timeout, attempts) = (!chance.once_in(4), 300 + 200 * chance.below(4), 1 + chance.below(2));
        let rest =
            format!("idempotent: {idempotent}, plane: {}, timeout: {timeout}ms, attempts: {attempts}", plane(chance));
        let host = if chance.once_in(4) { "api.example.com" } else { "10.0.9.9" };
        let _ = if chance.once_in(3) {
            writeln!(text, "      - webhook: {{ url: \"http://{host}/promote\", {rest} }}")
        } else {
            writeln!(text, "      - command: {{ run: [promote], {rest} }}")
        };
    }
}

fn ladder(chance: &mut Chance, text: &mut String, standbys: &[String], routed: bool) {
    let mut rungs: Vec<String> = Vec::new();
    let within = if chance.once_in(12) { 400 } else { 500 + 300 * chance.below(4) };
    if !chance.once_in(3) {
        let (timeout, attempts) = (500 + 500 * chance.below(4), 1 + chance.below(2));
        rungs.push(format!(
            "restart_service: {{ timeout: {timeout}ms, attempts: {attempts}, verify_within: {within}ms }}"
        ));
    }
    for standby in standbys {
        let fence = match (routed, chance.below(3)) {
            (false, 0) => ", accept_risk: [two_writers]",
            (false, _) => ", fence: stop",
            (true, _) => "",
        };
        rungs.push(format!("failover_to_standby: {{ standby: {standby}, verify_within: {within}ms{fence} }}"));
    }
    for word in ["restore_from_backup", "replace_instance", "scale_out"] {
        if chance.once_in(4) {
            let idempotent = !chance.once_in(3);
            let (plane, timeout) = (plane(chance), 1 + chance.below(3));
            rungs.push(format!(
                "{word}: {{ run: [make-it], plane: {plane}, idempotent: {idempotent}, timeout: {timeout}s, verify_within: {within}ms }}"
            ));
        }
    }
    // A takeover is not always the first thing.
    for at in (1..rungs.len()).rev() {
        let other = chance.below(at + 1);
        rungs.swap(at, other);
    }
    if !rungs.is_empty() {
        let _ = writeln!(text, "    recovery:\n      - {}", rungs.join("\n      - "));
    }
}

fn route(chance: &mut Chance, text: &mut String, component: usize, standbys: &[String]) {
    let name = format!("route-{component}");
    let sharing = *chance.of(&["exclusive: { fence: traffic_cut }", "exclusive: { fence: stop }", "shared: {}"]);
    let proxy = sharing.contains("traffic_cut") || chance.once_in(2);
    let _ = writeln!(text, "  {name}:\n    {sharing}");
    if proxy {
        let _ = writeln!(text, "    proxy: {{ listen: \"10.0.9.1:{}\" }}", 7000 + component);
    }
    if !proxy || chance.once_in(3) {
        let _ = writeln!(text, "    dns: {{ name: \"{name}.internal.\", ttl: 2s }}");
    }
    if chance.once_in(4) {
        text.push_str("    beacon: true\n");
    }
    let _ = writeln!(text, "    targets:\n      - {{ component: c{component}, address: \"10.0.1.{component}:5432\" }}");
    for (at, standby) in standbys.iter().enumerate() {
        let _ = writeln!(text, "      - {{ standby: {standby}, address: \"10.0.2.{}:5432\" }}", component * 8 + at);
    }
}

/// A plan, unless what was drawn makes none.
pub fn plan(chance: &mut Chance) -> Option<Plan> {
    let agent = if chance.once_in(5) { *chance.of(&HOSTS) } else { "ops" };
    let mut text = format!(
        "version: 1\nsite: {{ name: s, region: r1, zone: z3, host: {agent} }}\n\
         traffic: {{ dns: \"10.0.9.1:53\", beacon: \"10.0.9.1:8600\" }}\n\
         allowances: {{ lateness: 200ms, journal_sync: 20ms, route_apply: 40ms, agent_restart: 1s, forced_stop: 800ms }}\n\
         components:\n"
    );
    let (mut standbys_text, mut routes_text) = (String::new(), String::new());
    for component in 0..=chance.below(3) {
        let guarded = chance.once_in(2);
        let _ = writeln!(
            text,
            "  c{component}:\n    type: database\n    constraint: {{ kind: cost, reason: one is enough }}"
        );
        if guarded {
            let _ = writeln!(text, "    objectives: {{ rpo: {}ms }}", chance.of(&[500, 2000, 5000]));
        }
        instance(chance, &mut text, component, false);
        if component > 0 && !chance.once_in(3) {
            let _ = writeln!(text, "    depends_on: [c{}]", chance.below(component));
        }
        let standbys: Vec<String> = (0..chance.below(3)).map(|it| format!("c{component}-s{it}")).collect();
        for (at, standby) in standbys.iter().enumerate() {
            let _ = writeln!(standbys_text, "  {standby}:");
            let lag = guarded && !chance.once_in(6);
            instance(chance, &mut standbys_text, 10 * component + at, lag);
            if chance.once_in(3) {
                standbys_text.push_str("    temperature: hot\n");
            } else if Chance(chance.0).once_in(4) {
                // By a stream of its own: the telling seeds draw what they always drew.
                standbys_text.push_str("    temperature: cold\n");
            }
            activate(chance, &mut standbys_text);
        }
        let routed = !chance.once_in(4);
        ladder(chance, &mut text, &standbys, routed);
        if routed {
            route(chance, &mut routes_text, component, &standbys);
        }
    }
    if !standbys_text.is_empty() {
        let _ = write!(text, "standbys:\n{standbys_text}");
    }
    if !routes_text.is_empty() {
        let _ = write!(text, "routes:\n{routes_text}");
    }
    text.push_str("witnesses:\n");
    for at in 0..=chance.below(3) {
        let timeout = chance.of(&[200, 400, 900]);
        let what = match chance.below(6) {
            0 => format!(
                "dns: {{ server: \"10.0.3.53:53\", name: internal., type: SOA, interval: 2s, timeout: {timeout}ms }}"
            ),
            _ => format!("tcp: {{ address: \"10.0.3.{at}:443\", interval: 2s, timeout: {timeout}ms }}"),
        };
        let _ = writeln!(text, "  w{at}:\n    location: {}\n    probe:\n      {what}", location(chance));
    }
    let compiled = compile("drawn.yaml", &text, Path::new("/"));
    compiled.plan.map(|plan| with_what_yaml_lacks(chance, plan))
}

/// Nouns of the plan that can be drawn without a text.
fn with_what_yaml_lacks(chance: &mut Chance, mut plan: Plan) -> Plan {
    let place = |chance: &mut Chance| Location {
        region: "r1".to_owned(),
        zone: Some((*chance.of(&ZONES)).to_owned()),
        host: Some((*chance.of(&["h1", "h5"])).to_owned()),
    };
    plan.prepared = vec![Prepared {
        name: "token".to_owned(),
        kind: PreparedKind::Credential,
        file: "/etc/token".into(),
        location: place(chance),
    }];
    for component in &mut plan.components {
        let seconds = Duration::from_secs;
        component.backups = vec![Backup {
            name: "nightly".to_owned(),
            every: seconds(3600),
            takes: seconds(60),
            copy_lag: seconds(10),
            archive_lag: None,
            keep: seconds(86_400),
            location: place(chance),
            copies: (0..chance.below(2))
                .map(|_| BackupCopy { location: place(chance), lag: seconds(5), bucket: None })
                .collect(),
            restore_test: None,
            postgres: None,
            measured: None,
        }];
        for rung in &mut component.ladder {
            if rung.strategy == Strategy::RestoreFromBackup && !chance.once_in(3) {
                rung.backup = Some(0);
            }
            let needs = chance.once_in(6);
            for step in rung.plays.values_mut().flat_map(|it| &mut it.steps) {
                if needs && matches!(step.kind, StepKind::Act { .. }) {
                    step.needs = vec![0];
                }
            }
        }
    }
    for instance in &mut plan.instances {
        if chance.once_in(8) {
            instance.shares = vec![SharedPart { kind: SharedKind::Power, name: "feed".to_owned() }];
        }
    }
    plan
}
