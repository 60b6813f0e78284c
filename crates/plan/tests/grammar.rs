//! The grammar is written once; here its uses are held against each other: the JSON Schema against the parser (by another
//! reader of YAML and another implementation of JSON Schema), the effective plan against the plan, the page against the
//! tables.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod cases;
#[expect(dead_code, reason = "where a mistake is to lead is not asked here")]
mod mutants;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cases::cases;
use jsonschema::Validator;
use mainstay_plan::{
    Code, Compiled, Finding, Plan, Severity, Surroundings, compile, compile_in, effective, part_schema, reference,
    schema, starter,
};
use mutants::{Mutant, mutants};
use serde_json::Value;
use sources::sources;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// YAML files of a folder, by name.
fn files(path: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder(path)).unwrap().map(|it| it.unwrap().path());
    let yaml = entries.filter(|it| it.extension().is_some_and(|it| it == "yaml"));
    yaml.map(|it| (it.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&it).unwrap())).collect()
}

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).expect("the schema is a schema")
}

/// Of files that a plan includes.
fn part_validator() -> Validator {
    jsonschema::draft7::new(&part_schema()).expect("the schema is a schema")
}

/// As another reader of YAML sees it; `None` where it is not YAML to that one.
fn json(text: &str) -> Option<Value> {
    // `yes` is text since version 1.2 of YAML.
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true }).ok()
}

/// Codes of mistakes that can be seen field by field, which a schema must find, too.
fn is_structural(code: Code) -> bool {
    matches!(
        code,
        Code::MissingField
            | Code::UnknownField
            | Code::WrongType
            | Code::UnknownWord
            | Code::BadDuration
            | Code::Variant
            | Code::Version
    )
}

fn errors(compiled: &Compiled) -> Vec<Code> {
    compiled.findings.iter().filter(|it| it.severity == Severity::Error).map(|it| it.code).collect()
}

#[test]
fn the_schema_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&schema()));
    assert!(jsonschema::meta::is_valid(&part_schema()));
}

#[test]
fn the_schema_takes_every_sound_plan() {
    let validator = validator();
    let mut plans = files("../../examples");
    plans.insert("starter".to_owned(), starter().to_owned());
    plans.insert("variables".to_owned(), FILLED_IN.to_owned());
    plans.extend(files("../../examples/five-hundred"));
    let takes = |validator: &Validator, name: &str, text: &str| {
        let found: Vec<String> =
            validator.iter_errors(&json(text).unwrap()).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
    };
    plans.iter().for_each(|(name, text)| takes(&validator, name, text));
    let parts = files("../../examples/five-hundred/teams");
    assert_eq!(parts.len(), 10);
    parts.iter().for_each(|(name, text)| takes(&part_validator(), name, text));
    // Components may be missing where they may be in other files, and nowhere else.
    let bare = json("version: 2\nsite: { name: s, region: eu }\n").unwrap();
    assert!(!validator.is_valid(&bare));
}

/// Wrong plans of several files: each file is judged by the schema for what it is.
#[test]
fn the_schemas_know_a_plan_from_its_parts() {
    let (plan, part) = (validator(), part_validator());
    let (mut judged, mut refused) = (0, BTreeSet::new());
    for case in cases().into_iter().filter(|it| it.folder.is_dir()) {
        let codes = errors(&case.compiled());
        let parts = files(&format!("tests/golden/wrong/{}", case.name));
        for (file, value) in parts.iter().filter_map(|(file, text)| Some((file, json(text)?))) {
            judged += 1;
            if !(if file == "plan" { &plan } else { &part }).is_valid(&value) {
                assert!(!codes.is_empty(), "{}/{file}: only the schema refuses it", case.name);
                refused.insert(case.name.clone());
            }
        }
    }
    assert!(judged > 20, "{judged} files");
    for name in ["include-as-text", "include-field-of-the-plan", "include-field-unknown", "include-not-a-mapping"] {
        assert!(refused.contains(name), "{name} is taken");
    }
}

/// Variables where text, an address, a number, a word, a duration, a flag and a name stand.
const FILLED_IN: &str = r#"version: 2
site: { name: "${a}", region: "${a}" }
mode: ${a}
variables:
  a: { env: A }
components:
  db:
    type: ${a}
    location: { region: "${a}" }
    objectives: { rto: "${a}", availability: "${a}" }
    probes:
      - http: { url: "http://${a}/", status: "${a}", fall: "${a}" }
      - tcp: { address: "${a}:5432" }
    recovery:
      - replace_instance: { run: [replace], idempotent: "${a}" }
routes:
  db: { shared: {}, beacon: "${a}", targets: [{ component: db, address: "${a}:${a}", weight: "${a}" }] }
"#;

#[test]
fn the_schema_and_the_parser_agree_on_wrong_files() {
    let validator = validator();
    let (mut agreed, mut seen_by_parser_alone) = (0, Vec::new());
    for (name, text) in files("tests/golden/wrong") {
        let compiled = compile(&name, &text, Path::new("/"));
        let codes = errors(&compiled);
        let Some(value) = json(&text) else {
            assert!(!codes.is_empty(), "{name} is no YAML, and the parser takes it");
            continue;
        };
        let refused = !validator.is_valid(&value);
        assert!(!refused || !codes.is_empty() || text.starts_with("version: 1"), "{name}: only the schema refuses it");
        if codes.iter().any(|it| is_structural(*it)) && !refused {
            seen_by_parser_alone.push(name);
        } else {
            agreed += 1;
        }
    }
    // Each of these is a matter of the place, of which a schema knows nothing.
    assert_eq!(seen_by_parser_alone, SEEN_BY_THE_PARSER_ALONE, "of {agreed} agreed");
}

/// Wrong in a way that has a structural code and that the schema can't see: inside an expression.
const SEEN_BY_THE_PARSER_ALONE: [&str; 3] = ["rule-bad-duration", "rule-unknown-function", "standbys-none"];

#[test]
fn the_schema_and_the_parser_agree_on_every_small_mistake() {
    let validator = validator();
    let (mut tried, mut wrong) = (0, Vec::new());
    // Every fifth: over the files all kinds of mistake come to all kinds of place.
    for mutant in sources().iter().flat_map(|it| mutants(it)).step_by(5) {
        let Some(value) = json(&mutant.text) else { continue };
        tried += 1;
        let compiled = compile("plan.yaml", &mutant.text, Path::new("/"));
        let codes = errors(&compiled);
        let refused: Vec<String> =
            validator.iter_errors(&value).take(3).map(|it| format!("{}: {it}", it.instance_path())).collect();
        let found = compiled.findings.iter().filter(|it| it.severity == Severity::Error);
        let structural = found.filter(|it| !in_an_expression(&mutant, it)).any(|it| is_structural(it.code));
        if !refused.is_empty() && codes.is_empty() {
            wrong.push(format!("{}: the schema alone refuses it: {refused:#?}", mutant.what));
        } else if refused.is_empty() && structural && !is_emptied(&mutant) {
            wrong.push(format!("{}: the schema takes it: {:#?}", mutant.what, compiled.findings));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} disagree:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 2000, "{tried} tried");
}

/// Whether it is a list that has nothing any more: how many a list must have the schema does not say.
fn is_emptied(mutant: &Mutant) -> bool {
    mutant.what.ends_with("becomes []")
}

/// Whether it is about something of which a schema sees the text only.
fn in_an_expression(mutant: &Mutant, finding: &Finding) -> bool {
    mutant.text.lines().nth(finding.span.line as usize - 1).is_some_and(|it| it.trim_start().starts_with("when:"))
}

/// What a plan is, without the text that it came from.
fn bare(plan: &Plan) -> Plan {
    Plan { hash: String::new(), source: "".into(), ..plan.clone() }
}

#[test]
fn the_effective_plan_is_the_same_plan() {
    let mut plans = files("../../examples");
    plans.insert("starter".to_owned(), starter().to_owned());
    for (name, text) in files("tests/golden/wrong") {
        plans.entry(name).or_insert(text);
    }
    let mut compared = 0;
    for (name, text) in plans {
        let base = Path::new("/etc/mainstay");
        let (compiled, printed) = effective(&name, text.as_str(), base, &Surroundings::NONE);
        let Some(plan) = compiled.plan else {
            assert_eq!(printed, None, "{name}");
            continue;
        };
        let printed = printed.unwrap();
        let again = compile(&name, &printed, base);
        assert_eq!(again.plan.as_ref().map(bare), Some(bare(&plan)), "{name}: {:#?}\n{printed}", again.findings);
        // What says everything has nothing left to fill in.
        let twice = effective(&name, printed.as_str(), base, &Surroundings::NONE).1.unwrap();
        let thrice = effective(&name, twice.as_str(), base, &Surroundings::NONE).1.unwrap();
        assert!(twice == thrice && !twice.contains("   # default"), "{name}");
        compared += 1;
    }
    assert!(compared > 10, "{compared} plans");
}

const WHOLE: &str = r#"version: 2
site: { name: shop, region: eu, zone: z, host: ops }
include: [parts/db.yaml, routes.yaml]
variables:
  host: { env: DB_HOST }
  port: { env: DB_PORT, default: "5432" }
  token: { env: TOKEN, secret: true }
components:
  app:
    type: application_server
    location: { region: eu, zone: a }
    depends_on: [db]
    probes: [{ http: { url: "http://${host}:8080/" } }]
    activate:
      - webhook: { url: "http://${host}/", headers: { authorization: "Bearer ${token}" }, body: "$${kept}" }
"#;

const DB: &str = "components:\n  db:\n    type: database\n    location: { region: eu, zone: a }\n    probes: [{ file: { path: stamp, max_age: 1m } }]\n";
const ROUTES: &str = "version: 2\nroutes:\n  db: { shared: {}, dns: { name: db. }, targets: [{ component: db, address: \"${host}:${port}\" }] }\n";

fn surroundings<'a>(files: &'a [(&str, &str)], variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Compiled + use<'a> {
    move |text: &str| {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new("/etc").join(name) == path);
            found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
        };
        let variable = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        compile_in(
            "plan.yaml",
            text,
            Path::new("/etc"),
            &Surroundings { read: &read, variable: &variable, needs_secrets: true },
        )
    }
}

#[test]
fn included_files_and_variables_make_one_plan_that_stands_alone() {
    let files = [("parts/db.yaml", DB), ("routes.yaml", ROUTES)];
    let whole = WHOLE.replace("components:", "traffic: { dns: \"127.0.0.1:53\" }\ncomponents:");
    let compiled = surroundings(&files, &[("DB_HOST", "10.0.0.1"), ("TOKEN", "hush")])(&whole);
    let plan = compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings));
    assert_eq!(plan.routes[0].targets[0].address.to_string(), "10.0.0.1:5432");
    assert!(format!("{:?}", plan.probes).contains("/etc/parts/stamp"), "{:?}", plan.probes);
    assert!(!plan.source.contains("hush") && plan.source.contains("${token}"), "{}", plan.source);
    assert!(plan.source.contains("$${kept}") && !plan.source.contains("include"), "{}", plan.source);
    // What a journal keeps compiles to the same, but for the secret.
    let again = compile_in("journal", plan.source.clone(), Path::new("/etc"), &Surroundings::REPLAY);
    let again = again.plan.unwrap_or_else(|| panic!("{:#?}\n{}", again.findings, plan.source));
    let text = |plan: &Plan| format!("{:#?}", bare(plan)).replace("(a secret)", "hush");
    assert_eq!(text(&again), text(&plan));
}

#[test]
fn a_variable_alone_is_what_it_holds() {
    let text = "version: 2\nsite: { name: s, region: eu }\nvariables: { n: { env: N } }\ncomponents:\n  a:\n    type: cache\n    location: { region: eu }\n    probes: [{ tcp: { address: \"10.0.0.1:1\", fall: \"${n}\" } }]\n";
    let fall = |n: &str| surroundings(&[], &[("N", n)])(text).plan.map(|it| it.probes[0].timing.fall);
    assert_eq!(fall("7"), Some(7));
    assert_eq!(fall("many"), None);
}

#[test]
fn findings_name_the_file_that_they_are_in() {
    let files = [
        ("parts/db.yaml", DB),
        ("routes.yaml", "routes:\n  db: { shared: {}, dsn: { name: db. }, targets: [] }\nstate: x\n"),
    ];
    let compiled = surroundings(&files, &[("DB_HOST", "10.0.0.1"), ("TOKEN", "hush")])(WHOLE);
    let found: Vec<(&str, u32, &str)> =
        compiled.findings.iter().map(|it| (it.file.as_str(), it.span.line, it.code.text())).collect();
    assert!(found.contains(&("/etc/routes.yaml", 2, "MS0102")), "{found:?}");
    assert!(found.contains(&("/etc/routes.yaml", 3, "MS0102")), "{found:?}");
    let missing = surroundings(&[], &[])(WHOLE);
    let codes: Vec<&str> = missing.findings.iter().map(|it| it.code.text()).collect();
    assert_eq!(codes.iter().filter(|it| **it == "MS0116").count(), 2, "{codes:?}");
    assert_eq!(codes.iter().filter(|it| **it == "MS0117").count(), 2, "{codes:?}");
}

/// What a plan may say, as `shape.field`, `choice.word` and `shape.field: word`; or, of a value, what it does say.
struct Said<'a> {
    schema: &'a Value,
    found: BTreeSet<String>,
}

impl<'a> Said<'a> {
    /// The schema that a reference leads to, with its name; itself where it is none.
    fn resolve(&self, schema: &'a Value, name: String) -> (&'a Value, String) {
        let target = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref")).and_then(Value::as_str);
        let Some(target) = target else { return (schema, name) };
        let name = target.trim_start_matches("#/definitions/").replace("%20", " ");
        (&self.schema["definitions"][name.as_str()], name)
    }

    /// Probes, actions and strategies share some fields: each is said once it is said anywhere.
    fn add(&mut self, name: &str, field: &str) {
        // What a composite asks is written as the probe that asks it alone.
        let name = name.replace("part of a composite probe", "probe").replace(" part", " probe");
        let shared = SHARED.iter().any(|it| field == *it || field.starts_with(&format!("{it}: ")));
        self.found.insert(if shared { field.to_owned() } else { format!("{name}.{field}") });
    }

    /// Everything that can be said at one place of the grammar, without following references.
    fn possible(&mut self, schema: &Value, name: &str) {
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            self.add(name, field);
            let places = ["/enum", "/anyOf/0/enum", "/items/anyOf/0/enum"];
            let words = places.iter().find_map(|it| inner.pointer(it));
            let words = words.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            words.for_each(|it| self.add(name, &format!("{field}: {it}")));
        }
        for variant in schema["oneOf"].as_array().into_iter().flatten() {
            let words = variant.get("required").or_else(|| variant.get("enum"));
            let words = words.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            words.for_each(|it| self.add(name, it));
        }
    }

    /// What `value` says, which stands where `schema` does.
    fn said(&mut self, schema: &'a Value, name: String, value: &Value) {
        let (schema, name) = self.resolve(schema, name);
        match value {
            Value::Object(entries) => {
                for (key, inner) in entries {
                    let variants = schema["oneOf"].as_array().into_iter().flatten();
                    let variant = variants.filter_map(|it| it.pointer(&format!("/properties/{key}"))).next();
                    let field = schema.pointer(&format!("/properties/{key}")).or(variant);
                    let next = field.or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()));
                    if field.is_some() {
                        self.add(&name, key);
                    }
                    for word in
                        [inner].into_iter().chain(inner.as_array().into_iter().flatten()).filter_map(Value::as_str)
                    {
                        self.add(&name, &format!("{key}: {word}"));
                    }
                    if let Some(next) = next {
                        self.said(next, format!("{name}.{key}"), inner);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|it| {
                if let Some(next) = schema.get("items") {
                    self.said(next, name.clone(), it);
                }
            }),
            // A word of a choice that stands alone.
            Value::String(word) => self.add(&name, word),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[test]
fn the_examples_use_the_whole_grammar() {
    let schema = schema();
    let mut possible = Said { schema: &schema, found: BTreeSet::new() };
    possible.possible(&schema, "plan");
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        possible.possible(definition, name);
    }
    let mut said = Said { schema: &schema, found: BTreeSet::new() };
    for part in ["../../examples", "../../examples/five-hundred", "../../examples/five-hundred/teams"] {
        for text in files(part).values() {
            said.said(&schema, "plan".to_owned(), &json(text).unwrap());
        }
    }
    let unused: Vec<&str> = possible.found.difference(&said.found).map(String::as_str).collect();
    assert_eq!(unused, IN_NO_EXAMPLE);
    assert!(possible.found.len() > 300, "{}", possible.found.len());
}

/// What the grammar has and no example says.
const IN_NO_EXAMPLE: [&str; 36] = [
    // What stands under `demote` is done to a primary, which can only `rejoin`.
    "action.follow",
    // Written as `bearer` is.
    "authorization.basic",
    // The example has a folder; docs/postgresql.md has a bucket.
    "backup copy.bucket",
    // Said where an instance is replaced, and read alike here.
    "command action.address",
    "command action.address: stdout",
    // A plan has one answer to it; MS0594 warns of the last.
    "coordination.alone: hold",
    "coordination.alone: proceed",
    // A site has one store; the other two are written alike.
    "coordination.store: etcd",
    "coordination.store: postgresql",
    // Asked for as the others are.
    "dns probe.type: AAAA",
    "dns probe.type: CNAME",
    // What is asked by where nothing is said, and what is written as `POST` is.
    "http probe.method: GET",
    "http probe.method: HEAD",
    "http probe.method: OPTIONS",
    "http probe.method: PUT",
    // How any plan begins: `mode` alone is changed.
    "plan.mode: observe",
    "plan.mode: recommend",
    // The number in quotes, which is read as well.
    "plan.version: 2",
    // The example has the agent do it.
    "postgres backup.taken_by: timer",
    // Said alike on all servers, or in their own configuration, as there.
    "postgres.synchronous",
    // The same, said as text.
    "proxy.proxy_protocol_to: v1",
    // Who is left in peace when something is broken?
    "quiet time.holds: error",
    // The example has the third.
    "rejoin.clone: always",
    "rejoin.clone: never",
    "rejoin.old_data: remove",
    // As above.
    "restore_from_backup.address",
    "restore_from_backup.address: stdout",
    // A fence stops the old owner; as a step of an activation neither is of use to what is being activated.
    "service action.op: kill",
    "service action.op: stop",
    // What was started is undone by stopping it.
    "service undo.op: kill",
    "service undo.op: restart",
    "service undo.op: start",
    // A target on the proxy\'s own machine is lost with it.
    "target.unix",
    // Written as `send_hex` and `expect_hex`, as text.
    "udp probe.expect",
    "udp probe.send",
    // As above.
    "webhook.address_header",
];

/// What every probe, every probe over a network, every probe with certificates, and every action or strategy that runs something, has.
const SHARED: [&str; 15] = [
    "from",
    "ask_from",
    "interval",
    "fast_interval",
    "timeout",
    "fall",
    "rise",
    "ca_file",
    "expires_after",
    "plane",
    "attempts",
    "retry",
    "needs",
    "idempotent",
    "verify_within",
];

#[test]
fn every_version_that_ever_was_is_read() {
    let old = "version: 1\nsite: { name: s, region: eu }\ncomponents:\n  a:\n    type: cache\n    location: { region: eu }\n    probes: [{ tcp: { address: \"10.0.0.1:1\" } }]\nnotifications:\n  on-call:\n    command: { run: [tell, \"${who}\"] }\n";
    let plan = compile("plan.yaml", old, Path::new("/")).plan.unwrap();
    let text = mainstay_plan::upgrade("plan.yaml", old, None).unwrap().text.unwrap();
    let upgraded = compile("plan.yaml", &text, Path::new("/")).plan.unwrap();
    assert_eq!(bare(&upgraded), bare(&plan));
    assert!(format!("{:?}", plan.notifications).contains("${who}"));
}

#[test]
fn a_version_that_is_not_known_is_not_upgraded() {
    let newer = "version: 9\nsite: { name: s, region: eu }\n";
    let found = mainstay_plan::upgrade("plan.yaml", newer, None).unwrap_err();
    assert_eq!(found.iter().map(|it| (it.code, it.span.line)).collect::<Vec<_>>(), [(Code::Version, 1)]);
    let part = "components: {}\n";
    assert!(mainstay_plan::upgrade("part.yaml", part, Some("0")).is_err());
    assert!(mainstay_plan::upgrade("part.yaml", part, Some("1")).is_ok());
}

#[test]
fn the_reference_page_is_made_of_the_grammar() {
    let path = folder("../../docs/grammar.md");
    let page = format!("{INTRODUCTION}\n{}", reference());
    #[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "MAINSTAY_UPDATE_GOLDEN=1 rewrites it");
}

const INTRODUCTION: &str = "# Every field of a plan

For when you know what you want to say and not how it is written. [The plan](plan.md) tells what the parts are for;
`mainstay schema` gives the same to your editor. This page is made from the tables that the parser itself uses.

Durations are whole numbers with units: `250ms`, `1m30s`, `2h`, `7d`. Names are up to 63 letters, digits, `-`, `_` and `.`.
Relative paths start from the file that they stand in.
";
