//! The proof is not timid: whoever makes the changes that an unproved cell names has it proved.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::prepared::PreparedKind;
use mainstay_plan::probe::Watches;
use mainstay_plan::proof::{Cell, Change, StepAt};
use mainstay_plan::{
    ComponentIx, InstanceIx, Plan, ProbeIx, Proof, RouteIx, Severity, Surroundings, compile_in, effective,
};
use serde_json::{Map, Value, json};

/// A plan as a tree that can be edited. What is written back is JSON, which is YAML.
struct Edited<'p> {
    plan: &'p Plan,
    tree: Value,
    /// Names for what is added.
    count: usize,
}

impl Edited<'_> {
    fn new<'p>(plan: &'p Plan, text: &str) -> Edited<'p> {
        let mut tree: Value = serde_saphyr::from_str(text).unwrap();
        // They name zones, which nothing may be in after a change, and are no part of the proof.
        for section in ["evacuations", "rules"] {
            map(&mut tree).remove(section);
        }
        Edited { plan, tree, count: 0 }
    }

    fn compiled(&self) -> Plan {
        let text = serde_json::to_string_pretty(&self.tree).unwrap();
        let compiled = compile_in("changed.json", text.as_str(), Path::new("/etc/mainstay"), &AROUND);
        let errors: Vec<_> = compiled.findings.iter().filter(|it| it.severity == Severity::Error).collect();
        compiled.plan.unwrap_or_else(|| panic!("{errors:#?}\n{text}"))
    }

    fn make(&mut self, change: &Change, cell: &Cell<'_>) {
        match change {
            Change::MoveAgent(ix, domain) => {
                let name = self.plan.site.name.clone();
                self.tree["site"] = self.elsewhere(*ix, *domain);
                self.tree["site"]["name"] = json!(name);
            }
            Change::AddWitnesses(ix, domain, more) => {
                for _ in 0..*more {
                    let name = self.fresh("witness");
                    let location = self.elsewhere(*ix, *domain);
                    let address = format!("10.99.0.{}:443", self.count);
                    map(&mut self.tree["witnesses"]).insert(
                        name.clone(),
                        json!({ "location": location, "probe": { "tcp": { "address": address } } }),
                    );
                    let rule = &mut self.tree["components"][&self.plan.component(*ix).name]["witnesses"];
                    if let Some(Value::Array(of)) = rule.get_mut("of") {
                        of.push(json!(name));
                    }
                }
            }
            Change::AddStandby(ix, domain, at) => self.add_standby(*ix, *domain, *at as usize),
            Change::MoveStandby(ix, domain) => {
                let location = self.elsewhere(self.plan.instance(*ix).component, *domain);
                self.instance(*ix)["location"] = location;
            }
            Change::KeepWarm(ix) => self.instance(*ix)["temperature"] = json!("warm"),
            Change::ReportLag(ix) => {
                let probe = json!({ "command": { "run": ["lag"], "lag": "stdout", "timeout": "500ms" } });
                self.instance(*ix)["probes"].as_array_mut().unwrap().push(probe);
            }
            Change::FenceByCut(route) => {
                let front = self.front();
                let route = self.route(*route);
                route["exclusive"] = json!({ "fence": "traffic_cut" });
                if route.get("proxy").is_none() {
                    route["proxy"] = front;
                }
            }
            Change::PutProxy(route) => {
                let front = self.front();
                self.route(*route)["proxy"] = front;
            }
            Change::AddRoute(ix) => self.add_route(*ix),
            Change::GiveService(ix) | Change::ReachService(ix) => {
                self.instance(*ix)["service"] = json!({ "start": ["up"], "stop": ["down"], "status": ["is-up"] });
            }
            Change::MakeIdempotent(at) => self.step(at)["idempotent"] = json!(true),
            Change::DropUndo(at) => {
                map(self.step(at)).remove("undo");
            }
            Change::DropPrecondition(ix, rung, nth) => {
                let precondition = self.plan.component(*ix).ladder[*rung as usize].only_if[*nth as usize];
                let name = precondition.of.name(self.plan).to_owned();
                let place = self.place(*ix, *rung as usize);
                let ladder = &mut self.component(*ix)["recovery"][place];
                let inner = map(ladder).values_mut().next().unwrap();
                for list in ["healthy", "down"].into_iter() {
                    if let Some(list) = inner["only_if"].get_mut(list).and_then(Value::as_array_mut) {
                        list.retain(|it| *it != json!(name));
                    }
                }
            }
            Change::WithoutControl(at) => self.step(at)["plane"] = json!("data"),
            Change::VerifyLonger(at, needs) => {
                let place = self.place(at.component, at.rung as usize);
                let ladder = &mut self.component(at.component)["recovery"][place];
                let inner = map(ladder).values_mut().next().unwrap();
                inner["verify_within"] = json!(format!("{}ms", needs.as_millis() + 1));
            }
            Change::Separate(ix, part) => {
                let own = json!(self.fresh("part"));
                let part = &mut self.instance(*ix)["shares"][*part as usize];
                *map(part).values_mut().next().unwrap() = own;
            }
            Change::AskLagMoreOften(ix, most) => self.ask_lag(*ix, *most),
            Change::AllowLoss(ix, most) => {
                self.component(*ix)["objectives"]["rpo"] = json!(format!("{}ms", most.as_millis() + 1));
            }
            Change::MovePrepared(at, ix, domain) => {
                let location = self.elsewhere(*ix, *domain);
                let prepared = &self.plan.prepared[*at as usize];
                let section = match prepared.kind {
                    PreparedKind::Credential => "credentials",
                    PreparedKind::CacheEntry { .. } => "cache",
                };
                self.tree[section][&prepared.name]["location"] = location;
            }
            Change::CopyBackup(ix, at, _) => {
                let copy = json!({ "location": { "region": self.fresh("region") } });
                let name = &self.plan.component(*ix).backups[*at as usize].name;
                let copies = &mut self.component(*ix)["backups"][name]["copies"];
                if copies.is_null() {
                    *copies = json!([]);
                }
                copies.as_array_mut().unwrap().push(copy);
            }
            Change::NameBackup(ix, rung) => self.name_backup(*ix, *rung as usize),
            Change::UseAddress(ix) => self.use_address(*ix),
            Change::CutOnSilence(route) => self.route(*route)["on_silence"] = json!({ "cut": { "after": "30s" } }),
            Change::AskFromAgent(ix) => self.ask_from_agent(*ix),
            Change::UseAddressIn(at) => {
                let host = self.host();
                by_address(&mut self.step(at)["url"], &host);
            }
            Change::AllowTouched(lost) => self.tree["guards"]["blast_radius"]["always"] = json!(lost),
            Change::AskSignals(ix, have) => self.component(*ix)["guards"]["signals"] = json!(have),
            Change::NotInThisVersion(_) => panic!("{cell:?}: nothing in a plan is that change"),
        }
    }

    /// Half of the time for the interval, a quarter for the answer.
    fn ask_lag(&mut self, ix: InstanceIx, most: Duration) {
        let ms = |it: Duration| json!(format!("{}ms", it.as_millis()));
        let of = self.plan.instance(ix).probes.iter().map(|it| self.plan.probe(*it)).enumerate();
        let lag: Vec<usize> = of.filter(|(_, it)| it.kind.reports_lag()).map(|(nth, _)| nth).collect();
        for nth in lag {
            let probe = map(&mut self.instance(ix)["probes"][nth]).values_mut().next().unwrap();
            probe["interval"] = ms(most / 2);
            probe["fast_interval"] = ms(most / 2);
            probe["timeout"] = ms(most / 4);
        }
    }

    fn name_backup(&mut self, ix: ComponentIx, rung: usize) {
        let name = self.fresh("backup");
        let places = [self.fresh("region"), self.fresh("region")];
        let backup = json!({
            "every": "1d", "takes": "1h", "keep": "30d", "location": { "region": places[0] },
            "copies": [{ "location": { "region": places[1] } }],
        });
        map(&mut self.component(ix)["backups"]).insert(name.clone(), backup);
        let place = self.place(ix, rung);
        map(&mut self.component(ix)["recovery"][place]).values_mut().next().unwrap()["backup"] = json!(name);
    }

    /// Where the probe stands in the file: with its instance, its witness, or among a route's `verify`.
    fn use_address(&mut self, ix: ProbeIx) {
        let host = self.host();
        let nth = |probes: &[ProbeIx]| probes.iter().position(|it| *it == ix).unwrap();
        let probe = match self.plan.probe(ix).watches {
            Watches::Instance(instance) => {
                let nth = nth(&self.plan.instance(instance).probes);
                &mut self.instance(instance)["probes"][nth]
            }
            Watches::Witness(witness) => &mut self.tree["witnesses"][&self.plan.witness(witness).name]["probe"],
            Watches::Control(control) => {
                let control = self.plan.control(control);
                let named = |it: &&mut Value| it["service"] == control.service.as_str();
                let declared = map(&mut self.tree["control_planes"]);
                if declared.contains_key(&control.service) {
                    &mut declared[&control.service]["canary"]
                } else {
                    &mut declared.values_mut().find(named).unwrap()["canary"]
                }
            }
            Watches::Route(route) => {
                let nth = nth(&self.plan.route(route).verify);
                &mut self.route(route)["verify"][nth]
            }
        };
        let (word, fields) = map(probe).iter_mut().next().unwrap();
        match word.as_str() {
            "tcp" => by_address(&mut fields["address"], &host),
            "http" => by_address(&mut fields["url"], &host),
            // A name server that is not ours knows nothing else than names.
            "dns" => *probe = json!({ "tcp": { "address": format!("{host}:53") } }),
            other => panic!("`{other}` asks no name"),
        }
    }

    fn ask_from_agent(&mut self, ix: ProbeIx) {
        let host = self.host();
        let instance = self.plan.probe(ix).watches.instance().unwrap();
        let nth = self.plan.instance(instance).probes.iter().position(|it| *it == ix).unwrap();
        let probe = &mut self.instance(instance)["probes"][nth];
        if map(map(probe).values_mut().next().unwrap()).remove("ask_from").is_none() {
            *probe = json!({ "tcp": { "address": format!("{host}:5432") } });
        }
    }

    fn host(&mut self) -> String {
        self.count += 1;
        format!("10.99.4.{}", self.count)
    }

    fn fresh(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}-{}", self.count)
    }

    /// Outside a domain of a component, on a machine of its own.
    fn elsewhere(&mut self, ix: ComponentIx, domain: FailureDomain) -> Value {
        let home: &Location = &self.plan.instance(self.plan.component(ix).original()).location;
        let region = if domain == FailureDomain::Region { "far-away" } else { home.region.as_str() };
        let region = region.to_owned();
        let (zone, host) = (self.fresh("zone"), self.fresh("host"));
        // Whoever holds a lease lives on a host of ours, and others may ask it whether they may stay.
        if self.plan.link.is_some() {
            self.count += 1;
            let asked = format!("10.99.5.{}:7401", self.count);
            let new = json!({ "region": region, "zone": zone, "peer_address": asked });
            map(&mut self.tree["hosts"]).insert(host.clone(), new);
        }
        json!({ "region": region, "zone": zone, "host": host })
    }

    fn front(&mut self) -> Value {
        self.count += 1;
        json!({ "listen": format!("10.99.1.{}:7000", self.count) })
    }

    fn component(&mut self, ix: ComponentIx) -> &mut Value {
        &mut self.tree["components"][&self.plan.component(ix).name]
    }

    fn instance(&mut self, ix: InstanceIx) -> &mut Value {
        let instance = self.plan.instance(ix);
        let own = self.plan.component(instance.component).original() == ix;
        &mut self.tree[if own { "components" } else { "standbys" }][&instance.name]
    }

    fn route(&mut self, ix: RouteIx) -> &mut Value {
        &mut self.tree["routes"][&self.plan.route(ix).name]
    }

    /// Where a step of the user's own stands: in its rung, or among the `activate` of whom it is done to.
    fn step(&mut self, at: &StepAt) -> &mut Value {
        let play = &self.plan.component(at.component).ladder[at.rung as usize].plays[&at.from];
        let fence = play.steps.iter().take_while(|it| !it.name.starts_with("activate")).count();
        let is_activation = at.of(self.plan).name.starts_with("activate");
        if is_activation {
            let nth = at.step as usize - fence;
            let act = &mut self.instance(play.to)["activate"][nth];
            return map(act).values_mut().next().unwrap();
        }
        let place = self.place(at.component, at.rung as usize);
        map(&mut self.component(at.component)["recovery"][place]).values_mut().next().unwrap()
    }

    /// Where a rung of the plan stands in the text: those of one choice are said once.
    fn place(&self, ix: ComponentIx, rung: usize) -> usize {
        let ladder = &self.plan.component(ix).ladder;
        let goes_on =
            |nth: usize| nth > 0 && ladder[nth].choice.is_some() && ladder[nth].choice == ladder[nth - 1].choice;
        (0..=rung).filter(|it| *it < ladder.len() && !goes_on(*it)).count() - usize::from(rung < ladder.len())
    }

    fn add_standby(&mut self, ix: ComponentIx, domain: FailureDomain, at: usize) {
        let component = self.plan.component(ix);
        let at = self.place(ix, at);
        let name = self.fresh("standby");
        let location = self.elsewhere(ix, domain);
        let host = format!("10.99.2.{}", self.count);
        let mut http = json!({ "url": format!("http://{host}:8008/") });
        if component.objectives.rpo.is_some() {
            http["lag_header"] = json!("x-lag");
        }
        let mut standby = json!({ "location": location, "probes": [{ "http": http }] });
        if let Some(postgres) = self.component(ix).get("postgres").cloned() {
            standby["postgres"] = postgres;
            standby["postgres"]["address"] = json!(format!("{host}:5432"));
        }
        map(&mut self.tree["standbys"]).insert(name.clone(), standby);
        let rung = json!({ "failover_to_standby": { "standby": name } });
        let ladder = &mut self.component(ix)["recovery"];
        if ladder.is_null() {
            *ladder = json!([]);
        }
        ladder.as_array_mut().unwrap().insert(at, rung);
        for route in &component.routes {
            let target = json!({ "standby": name, "address": format!("{host}:5432") });
            self.route(*route)["targets"].as_array_mut().unwrap().push(target);
        }
    }

    fn add_route(&mut self, ix: ComponentIx) {
        let front = self.front();
        let name = self.plan.component(ix).name.clone();
        let mut targets = vec![json!({ "component": name, "address": "10.99.3.1:5432" })];
        let mut standbys = Vec::new();
        for rung in self.component(ix)["recovery"].as_array_mut().into_iter().flatten() {
            if let Some(failover) = rung.get_mut("failover_to_standby") {
                map(failover).remove("fence");
                standbys.push(failover["standby"].clone());
            }
        }
        for (at, standby) in standbys.into_iter().enumerate() {
            targets.push(json!({ "standby": standby, "address": format!("10.99.3.{}:5432", at + 2) }));
        }
        let route = json!({ "exclusive": { "fence": "traffic_cut" }, "proxy": front, "targets": targets });
        let fresh = self.fresh("route");
        map(&mut self.tree["routes"]).insert(fresh, route);
    }
}

/// Puts an address in the place of the name in `HOST:PORT` or in a URL.
fn by_address(text: &mut Value, host: &str) {
    let old = text.as_str().unwrap();
    let (scheme, rest) = old.split_once("://").map_or(("", old), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let port = authority.rsplit_once(':').map(|(_, port)| format!(":{port}")).unwrap_or_default();
    let lead = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    *text = json!(format!("{lead}{host}{port}{path}"));
}

/// A mapping, made where there is none.
fn map(value: &mut Value) -> &mut Map<String, Value> {
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().unwrap()
}

/// What no example lacks: a copy of a backup, the name of one, a credential elsewhere, addresses, a service within reach, time
/// to verify.
const LACKING: &str = r#"
version: 2
site: { name: s, region: r1, zone: z9, host: ops }
components:
  db:
    type: database
    location: { region: r1, zone: z1, host: h1 }
    probes: [{ http: { url: "http://db.example.com:8008/health" } }]
    recovery:
      - failover_to_standby: { standby: db-b }
  cache:
    type: cache
    location: { region: r1, zone: z1, host: h5 }
    service: { unit: cache.service }
    probes: [{ tcp: { address: "10.0.0.5:6379" } }]
    recovery:
      - restart_service: {}
  licences:
    type: application_server
    location: { region: r1, zone: z1, host: h6 }
    service: { start: [up], stop: [down], status: [is-up] }
    probes: [{ tcp: { address: "10.0.0.6:27000" } }]
    recovery:
      - restart_service: { verify_within: 500ms }
  files:
    type: file_system
    location: { region: r1, zone: z1, host: h2 }
    probes: [{ tcp: { address: "10.0.0.2:2049" } }]
    backups: { nightly: { every: 1d, takes: 1h, keep: 30d, location: { region: r2 } } }
    recovery:
      - restore_from_backup: { backup: nightly, run: [restore], plane: data, idempotent: true }
  mail:
    type: message_queue
    location: { region: r1, zone: z1, host: h3 }
    probes: [{ tcp: { address: "10.0.0.3:25" } }]
    recovery:
      - restore_from_backup: { run: [restore], plane: data, idempotent: true }
standbys:
  db-b:
    location: { region: r1, zone: z2, host: h4 }
    probes: [{ tcp: { address: "10.0.0.4:5432" } }]
    activate:
      - webhook: { url: "https://db-b.example.com/promote", idempotent: true, needs: [token] }
routes:
  db:
    exclusive: { fence: traffic_cut }
    proxy: { listen: "10.0.9.1:5432" }
    targets: [{ component: db, address: "10.0.0.1:5432" }, { standby: db-b, address: "10.0.0.4:5432" }]
witnesses:
  office: { location: { region: r3 }, probe: { tcp: { address: "10.0.3.1:443" } } }
credentials:
  token: { file: token, location: { region: r1, zone: z1 } }
"#;

/// Files are read, and the one secret that an example needs is there.
const AROUND: Surroundings<'static> = Surroundings {
    read: &|path| fs::read_to_string(path).map_err(|it| it.to_string()),
    variable: &|name| (name == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
    needs_secrets: true,
};

/// Plans with their texts; one of many files as one text.
fn sources() -> Vec<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = [here.join("../../examples"), here.join("tests/golden/wrong")];
    let mut paths: Vec<_> = dirs.iter().flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "yaml"));
    paths.sort();
    let mut all: Vec<(String, String)> =
        paths.into_iter().map(|it| (it.display().to_string(), fs::read_to_string(&it).unwrap())).collect();
    let site = here.join("../../examples/five-hundred");
    let text = fs::read_to_string(site.join("plan.yaml")).unwrap();
    all.push(("lacking".to_owned(), LACKING.to_owned()));
    all.push(("five-hundred".to_owned(), effective("plan.yaml", text.as_str(), &site, &AROUND).1.unwrap()));
    all
}

/// The unproved cells that are mended: of a large plan one for each kind of list of changes.
fn unproved<'a>(proof: &'a Proof<'_>) -> Vec<(Cell<'a>, Vec<Change>)> {
    let large = proof.plan().components.len() > 20;
    let mut seen = BTreeSet::new();
    let mut cells = Vec::new();
    for cell in proof.cells().filter(|it| it.verdict.is_err()) {
        let changes = proof.changes(cell.component, cell.failure, cell.condition);
        let kinds: BTreeSet<&str> = changes.iter().map(Change::kind).collect();
        if !large || seen.insert(kinds) {
            cells.push((cell, changes));
        }
    }
    cells
}

#[test]
fn an_unproved_cell_is_proved_once_its_changes_are_made() {
    let (mut made, mut for_good, mut kinds) = (0, 0, BTreeMap::new());
    for (name, text) in sources() {
        let compiled = compile_in(&name, text.as_str(), Path::new("/etc/mainstay"), &AROUND);
        let Some(plan) = compiled.plan else { continue };
        let proof = Proof::of(&plan);
        for (cell, changes) in unproved(&proof) {
            assert!(!changes.is_empty(), "{name}: {cell:?}");
            if changes.iter().any(|it| matches!(it, Change::NotInThisVersion(_))) {
                for_good += 1;
                continue;
            }
            let mut edited = Edited::new(&plan, &text);
            for change in &changes {
                edited.make(change, &cell);
                *kinds.entry(change.kind()).or_insert(0) += 1;
            }
            let changed = edited.compiled();
            let again = Proof::of(&changed);
            let ix = changed.component_named(&plan.component(cell.component).name).unwrap();
            let after = again.cell(ix, cell.failure, cell.condition).unwrap();
            assert!(after.verdict.is_ok(), "{name}: {cell:?}\nchanged by {changes:?}\nis {after:?}");
            made += 1;
        }
    }
    println!("{made} cells were mended by {kinds:?}, {for_good} can't be in this version");
    assert_eq!(
        kinds.len(),
        24,
        "every kind of change is made but `give_service`, which no smallest list needs: {kinds:?}"
    );
}
