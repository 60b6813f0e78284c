//! The proof is not timid: whoever makes the changes that an unproved cell names has it proved.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs;
use std::path::Path;

use mainstay_plan::location::{FailureDomain, Location};
use mainstay_plan::proof::{Cell, Change, StepAt};
use mainstay_plan::{ComponentIx, InstanceIx, Plan, Proof, RouteIx, Severity, compile};
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
        Edited { plan, tree: serde_saphyr::from_str(text).unwrap(), count: 0 }
    }

    fn compiled(&self) -> Plan {
        let text = serde_json::to_string_pretty(&self.tree).unwrap();
        let compiled = compile("changed.json", &text, Path::new("/etc/mainstay"));
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
            Change::WithoutControl(at) => self.step(at)["plane"] = json!("data"),
            Change::VerifyLonger(at, needs) => {
                let ladder = &mut self.component(at.component)["recovery"][at.rung as usize];
                let inner = map(ladder).values_mut().next().unwrap();
                inner["verify_within"] = json!(format!("{}ms", needs.as_millis() + 1));
            }
            Change::Separate(..)
            | Change::AskLagMoreOften(..)
            | Change::MovePrepared(..)
            | Change::CopyBackup(..)
            | Change::NameBackup(..)
            | Change::UseAddress(_)
            | Change::UseAddressIn(_)
            | Change::NotInThisVersion(_) => panic!("no example needs {change:?} yet, as {cell:?} does: make it here"),
        }
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
        map(&mut self.component(at.component)["recovery"][at.rung as usize]).values_mut().next().unwrap()
    }

    fn add_standby(&mut self, ix: ComponentIx, domain: FailureDomain, at: usize) {
        let component = self.plan.component(ix);
        let name = self.fresh("standby");
        let location = self.elsewhere(ix, domain);
        let host = format!("10.99.2.{}", self.count);
        let mut http = json!({ "url": format!("http://{host}:8008/") });
        if component.objectives.rpo.is_some() {
            http["lag_header"] = json!("x-lag");
        }
        map(&mut self.tree["standbys"])
            .insert(name.clone(), json!({ "location": location, "probes": [{ "http": http }] }));
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

/// A mapping, made where there is none.
fn map(value: &mut Value) -> &mut Map<String, Value> {
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().unwrap()
}

fn sources() -> Vec<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = [here.join("../../examples"), here.join("tests/golden/wrong")];
    let mut paths: Vec<_> = dirs.iter().flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "yaml"));
    paths.sort();
    paths.into_iter().map(|it| (it.display().to_string(), fs::read_to_string(&it).unwrap())).collect()
}

#[test]
fn an_unproved_cell_is_proved_once_its_changes_are_made() {
    let (mut made, mut for_good) = (0, 0);
    for (name, text) in sources() {
        let Some(plan) = compile(&name, &text, Path::new("/etc/mainstay")).plan else { continue };
        let proof = Proof::of(&plan);
        for cell in proof.cells().filter(|it| it.verdict.is_err()) {
            let changes = proof.changes(cell.component, cell.failure, cell.condition);
            assert!(!changes.is_empty(), "{name}: {cell:?}");
            if changes.iter().any(|it| matches!(it, Change::NotInThisVersion(_))) {
                for_good += 1;
                continue;
            }
            let mut edited = Edited::new(&plan, &text);
            for change in &changes {
                edited.make(change, &cell);
            }
            let changed = edited.compiled();
            let again = Proof::of(&changed);
            let ix = changed.component_named(&plan.component(cell.component).name).unwrap();
            let after = again.cell(ix, cell.failure, cell.condition).unwrap();
            assert!(after.verdict.is_ok(), "{name}: {cell:?}\nchanged by {changes:?}\nis {after:?}");
            made += 1;
        }
    }
    println!("{made} cells were mended, {for_good} can't be in this version");
    assert!(made > 30, "only {made} cells were mended");
}
