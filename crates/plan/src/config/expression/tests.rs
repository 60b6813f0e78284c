//! Each production of the grammar, each finding word for word, and what must hold of any text.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::observation::{Health, Scenario};
use crate::rule::{
    Condition, Fraction, Measure, Op, Percentile, Rule, Scope, Since, Subject, Term, Value as Constant, ValueType,
};
use crate::{ComponentIx, InstanceIx, Plan, ProbeIx, WitnessIx};

const PLAN: &str = r#"version: 1
site: { name: shop, region: us-east-1, zone: us-east-1c, host: ops-1 }
mode: observe

components:
  orders-db:
    type: database
    location: { region: us-east-1, zone: us-east-1a, host: db-1 }
    probes:
      - http: { url: "http://10.0.1.10:8008/primary", interval: 1s, fast_interval: 500ms, timeout: 500ms }
      - process: { pid_file: /run/db.pid, interval: 2s }
    recovery:
      - failover_to_standby: { standby: orders-db-b, accept_risk: [two_writers] }
  files:
    type: file_system
    location: { region: us-east-1, zone: us-east-1a, host: db-1 }
    probes:
      - tcp: { address: "10.0.1.11:2049", interval: 5s, fast_interval: 1s, timeout: 500ms }
  gateway:
    type: load_balancer
    location: { region: eu-west-1, zone: hall 2, host: lb-1 }
    probes:
      - tcp: { address: "10.1.1.1:443", interval: 1s, timeout: 500ms }
  batch:
    type: application_server
    location: { region: eu-west-1, zone: us-east-1a, host: db-1 }
    probes:
      - command: { run: [/bin/true], interval: 1s, timeout: 500ms }

standbys:
  orders-db-b:
    location: { region: us-east-1, zone: us-east-1b, host: db-2 }
    probes:
      - http: { url: "http://10.0.2.10:8008/replica", lag_header: x-replication-lag, interval: 1s, timeout: 500ms }

witnesses:
  gateway:
    location: { region: us-east-1, zone: us-east-1c }
    probe:
      tcp: { address: "10.0.3.1:443", interval: 1s, timeout: 500ms }
  dns-b:
    location: { region: us-east-1, zone: us-east-1b }
    probe:
      dns: { server: "10.0.2.53:53", name: internal., type: SOA, interval: 1s, timeout: 500ms }

routes:
  orders:
    shared: {}
    proxy: { listen: "10.0.9.1:6432" }
    targets:
      - { component: orders-db, address: "10.0.1.10:5432" }
      - { standby: orders-db-b, address: "10.0.2.10:5432" }
"#;

fn plan() -> Plan {
    let compiled = crate::compile("plan.yaml", PLAN, Path::new("/etc/mainstay"));
    let errors: Vec<_> = compiled.findings.iter().filter(|it| it.severity == Severity::Error).collect();
    compiled.plan.unwrap_or_else(|| panic!("{errors:#?}"))
}

/// An expression that stands in line 7, column 11 and byte 100 of its file.
fn exact(text: &str) -> Written {
    Written {
        text: text.to_owned(),
        span: Span { start: 100, end: 100 + u32::try_from(text.len()).unwrap(), line: 7, column: 11, file: 0 },
        exact: true,
    }
}

fn read(names: &Names<'_>, written: &Written) -> (Option<Expr>, Vec<Finding>) {
    with_cx(|cx| expression(cx, written, names))
}

fn with_cx<T>(read: impl FnOnce(&Cx<'_>) -> T) -> (T, Vec<Finding>) {
    let cx = Cx {
        findings: RefCell::default(),
        base_dirs: &[],
        field: Cell::new("when"),
        comparisons: Cell::new(1000),
        derived: RefCell::default(),
        deriving: false,
        postgres: RefCell::new(None),
    };
    let result = read(&cx);
    (result, cx.findings.into_inner())
}

/// The part of the text that a span of its file is.
fn part(text: &str, span: Span) -> &str {
    &text[span.range().start - 100..span.range().end - 100]
}

/// A finding in one line: code, what it points at, and all of its own words.
fn told(text: &str, finding: &Finding) -> String {
    let Finding { code, severity, message, label, .. } = finding;
    let at = part(text, finding.span);
    let mut line = format!("{} {} at `{at}`: {message} [{label}]", severity.word(), code.text());
    for other in &finding.others {
        line.push_str(&format!(" [`{}`: {}]", part(text, other.span), other.text));
    }
    if finding.reason != code.reason() {
        line.push_str(&format!(" because {}", finding.reason));
    }
    if let Some(help) = &finding.help {
        line.push_str(&format!(" → {help}"));
    }
    line
}

fn reread(golden: &str) -> String {
    let plan = plan();
    let names = Names::of(&plan);
    let mut out = String::new();
    for text in golden.lines().filter(|it| !it.starts_with("   ")) {
        out.push_str(&format!("{text}\n"));
        if text.starts_with('#') {
            continue;
        }
        let (expr, findings) = read(&names, &exact(text));
        if let Some(expr) = expr {
            out.push_str(&format!("   = {}\n", expr.show(&plan)));
        }
        for finding in findings {
            out.push_str(&format!("   {}\n", told(text, &finding)));
        }
    }
    out
}

/// The golden text holds expressions, each with how it is printed in full and with what is said about it.
/// `MAINSTAY_UPDATE_GOLDEN=1` writes it anew; read the difference before you keep it.
#[test]
fn expressions_are_read_and_told_what_is_wrong() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/expressions.txt");
    let golden = std::fs::read_to_string(&path).unwrap();
    let reread = reread(&golden);
    #[expect(clippy::disallowed_methods, reason = "a person asks the test to write what it should compare")]
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &reread).unwrap();
    } else {
        for (line, golden) in reread.lines().zip(golden.lines()) {
            assert_eq!(line, golden);
        }
        assert_eq!(reread.lines().count(), golden.lines().count());
    }
}

#[test]
fn the_examples_of_the_book_are_sound() {
    let plan = plan();
    let book = include_str!("../../../../../docs/rules.md");
    let examples: Vec<&str> = book.lines().filter_map(|it| it.trim_start().strip_prefix("when: ")).collect();
    assert_eq!(examples.len(), 4);
    for text in examples {
        let (expr, findings) = read(&Names::of(&plan), &exact(text));
        assert!(expr.is_some() && findings.is_empty(), "{text}: {findings:#?}");
    }
}

#[test]
fn every_part_keeps_its_words() {
    let plan = plan();
    let text = "not (health(orders-db) == down) and ((lag(orders-db-b) > 5s) for 3s)";
    let expr = read(&Names::of(&plan), &exact(text)).0.unwrap();
    let words = |at: Piece| &text[at.start..at.end];
    let Condition::All(parts) = &expr.what else { panic!("{expr:?}") };
    let (Condition::Not(denied), Condition::For { held, time }) = (&parts[0].what, &parts[1].what) else {
        panic!("{expr:?}")
    };
    let Condition::Compare { left, right, .. } = &held.what else { panic!("{expr:?}") };
    assert_eq!(words(denied.at), "health(orders-db) == down");
    assert_eq!(words(held.at), "lag(orders-db-b) > 5s");
    assert_eq!((words(left.at), words(right.at)), ("lag(orders-db-b)", "5s"));
    assert_eq!(time.as_secs(), 3);
    let rule = Rule {
        name: "lags".to_owned(),
        text: text.to_owned(),
        when: expr.clone(),
        then: Scenario::ServiceFailure,
        of: Scope::Component(ComponentIx(0)),
    };
    assert_eq!(rule.words(left.at), "lag(orders-db-b)");
    assert_eq!(rule.words(Piece { start: 0, end: 1000 }), "");
}

#[test]
fn places_are_exact_in_plain_text_and_whole_elsewhere() {
    let plan = plan();
    let names = Names::of(&plan);
    let text = "health(orders-db) ≠ down and lag(orders-db-b) > 5";
    let findings = read(&names, &exact(text)).1;
    let last = findings.last().unwrap();
    assert_eq!((part(text, last.span), last.span.line), ("5", 7));
    // Columns are characters: the sign before it has three bytes.
    assert_eq!(last.span.column as usize, 11 + text.chars().count() - 1);
    assert_eq!(last.others.len(), 1);

    let folded = Written { exact: false, ..exact(text) };
    for finding in read(&names, &folded).1 {
        assert_eq!((finding.span, finding.others), (folded.span, Vec::new()));
    }
}

#[test]
fn only_plain_text_of_one_line_is_exact() {
    let written_at = |yaml: &str| {
        let mut findings = Vec::new();
        let root = crate::config::tree::parse(yaml, 0, &mut findings).unwrap();
        let Value::Map(entries) = &root.value else { panic!("{yaml}: {findings:?}") };
        with_cx(|cx| written(cx, &entries[0].node)).0.unwrap()
    };
    let plain = written_at("when: health(x) == down   # why\n");
    assert!(plain.exact);
    assert_eq!((plain.text.as_str(), plain.span.start, plain.span.column), ("health(x) == down", 6, 7));
    for other in [
        "when: 'health(x) == down'\n",
        "when: \"health(x) == down\"\n",
        "when: health(x)\n  == down\n",
        "when: >-\n  health(x)\n  == down\n",
    ] {
        let other = written_at(other);
        assert_eq!((other.text.as_str(), other.exact), ("health(x) == down", false));
    }
}

#[test]
fn length_depth_and_findings_are_bounded() {
    let plan = plan();
    let names = Names::of(&plan);
    let nested = |depth: usize| format!("{}health(files) == down{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read(&names, &exact(&nested(MAX_DEPTH))).0.is_some());
    let only = |text: &str| {
        let (expr, findings) = read(&names, &exact(text));
        assert!(expr.is_none());
        let [only] = findings.as_slice() else { panic!("{findings:#?}") };
        (only.code, only.message.clone())
    };
    assert_eq!(only(&nested(MAX_DEPTH + 1)), (Code::Expression, "parentheses nest deeper than 64".to_owned()));
    assert_eq!(only(&"(".repeat(MAX_LENGTH)), (Code::Expression, "parentheses nest deeper than 64".to_owned()));
    assert_eq!(only(&"not (".repeat(800)), (Code::Expression, "parentheses nest deeper than 64".to_owned()));
    assert_eq!(only(&"x".repeat(MAX_LENGTH + 1)), (Code::Expression, "an expression of 4097 bytes".to_owned()));
    assert_eq!(read(&names, &exact(&"$ ".repeat(1000))).1.len(), MAX_FINDINGS);
    assert_eq!(only("  "), (Code::Expression, "the expression ends where a condition should stand".to_owned()));
}

#[test]
fn what_the_plan_lacks_is_told() {
    let mut plan = plan();
    for instance in &mut plan.instances {
        instance.probes.clear();
    }
    let of = |plan: &Plan, text: &str| {
        let findings = read(&Names::of(plan), &exact(text)).1;
        findings.iter().map(|it| told(text, it)).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&plan, "health(files) == down"),
        ["error MS0312 at `health(files)`: nothing observes `health(files)` [it has no probe] → give it a probe"]
    );
    assert!(of(&plan, "count(unknown, all) == 5").is_empty());
    plan.instances.clear();
    assert_eq!(
        of(&plan, "count(down, all) > 2"),
        ["error MS0312 at `all`: the plan has no instance [none of them] → add a component"]
    );
}

/// What must hold of any text.
fn check(text: &str) {
    let plan = plan_once();
    let names = Names::of(plan);
    let (expr, findings) = read(&names, &exact(text));
    let broken = findings.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(expr.is_none(), broken, "{text}: {findings:#?}");
    assert!(findings.len() <= MAX_FINDINGS, "{text}");
    for finding in &findings {
        assert!(!finding.message.is_empty() && !finding.label.is_empty() && !finding.reason.is_empty(), "{finding:?}");
        // Panics where a span is outside the text or within a character.
        let _ = told(text, finding);
    }
    let (same, _) = read(&names, &Written { exact: false, ..exact(text) });
    assert_eq!(same, expr, "{text}");
    if let Some(expr) = expr {
        let shown = expr.show(plan).to_string();
        assert_eq!(read(&names, &exact(&shown)).0, Some(expr), "{text} is shown as {shown}");
    }
}

fn plan_once() -> &'static Plan {
    static PLAN: std::sync::OnceLock<Plan> = std::sync::OnceLock::new();
    PLAN.get_or_init(plan)
}

/// A term of each type.
fn term(of: ValueType) -> BoxedStrategy<Term> {
    let plan = plan_once();
    let health = prop::sample::select(Health::ALL.to_vec());
    let time = (0..=86_400_000_u64).prop_map(Duration::from_millis);
    let component = (0..plan.components.len() as u32).prop_map(ComponentIx);
    let instance = (0..plan.instances.len() as u32).prop_map(InstanceIx);
    let witness = (0..plan.witnesses.len() as u32).prop_map(WitnessIx);
    let subject = prop_oneof![
        component.clone().prop_map(Subject::Component),
        instance.clone().prop_map(Subject::Instance),
        witness.prop_map(Subject::Witness),
    ];
    let list = prop::sample::subsequence((0..plan.instances.len() as u32).collect::<Vec<_>>(), 1..=3).prop_shuffle();
    let located = instance.prop_map(|it| plan.instance(it).location.clone());
    let scope = prop_oneof![
        Just(Scope::All),
        component.prop_map(Scope::Component),
        list.prop_map(|it| Scope::Instances(it.into_iter().map(InstanceIx).collect())),
        located.clone().prop_map(|it| Scope::Region(it.region)),
        located.clone().prop_map(|it| Scope::Zone { region: it.region, zone: it.zone.unwrap() }),
        located.prop_map(Scope::Host),
    ];
    let measure = match of {
        ValueType::Health => prop_oneof![
            health.prop_map(|it| Measure::Constant(Constant::Health(it))),
            subject.prop_map(Measure::Health)
        ]
        .boxed(),
        ValueType::Number => prop_oneof![
            any::<u32>().prop_map(|it| Measure::Constant(Constant::Number(it))),
            (health, scope).prop_map(|(health, scope)| Measure::Count { health, scope }),
        ]
        .boxed(),
        ValueType::Fraction => prop_oneof![
            (0..=1_000_000_u32)
                .prop_map(|it| Measure::Constant(Constant::Fraction(Fraction::new(it, 1_000_000).unwrap()))),
            (health, scope).prop_map(|(health, scope)| Measure::Fraction { health, scope }),
        ]
        .boxed(),
        ValueType::Duration => {
            let lag = plan.instance_named("orders-db-b").unwrap();
            let probes: Vec<ProbeIx> =
                ["orders-db/http", "witness/dns-b", "files/tcp"].map(|it| plan.probe_named(it).unwrap()).to_vec();
            let latency = ((1..=99_u8), prop::sample::select(probes), 1..=3_600_000_u64);
            prop_oneof![
                time.prop_map(|it| Measure::Constant(Constant::Duration(it))),
                Just(Measure::Lag(lag)),
                (prop::sample::select(Since::ALL.to_vec()), subject).prop_map(|(since, of)| Measure::Age { since, of }),
                latency.prop_map(|(percent, probe, window)| Measure::Latency {
                    percentile: Percentile::new(percent).unwrap(),
                    probe,
                    window: Duration::from_millis(window),
                }),
            ]
            .boxed()
        }
    };
    measure.prop_map(|what| Term { what, at: NOWHERE }).boxed()
}

const NOWHERE: Piece = Piece { start: 0, end: 0 };

fn expr() -> impl Strategy<Value = Expr> {
    let types = [ValueType::Number, ValueType::Fraction, ValueType::Duration, ValueType::Health];
    let comparison = prop::sample::select(types.to_vec()).prop_flat_map(|of| {
        let fits: Vec<Op> = Op::ALL.into_iter().filter(|it| of != ValueType::Health || !it.asks_for_order()).collect();
        (term(of), prop::sample::select(fits), term(of))
    });
    let comparison = comparison.prop_map(|(left, op, right)| Condition::Compare { left, op, right });
    let expr = |what| Expr { what, at: NOWHERE };
    comparison.prop_map(expr).prop_recursive(4, 12, 3, move |part| {
        let several = prop::collection::vec(part.clone(), 2..=3);
        prop_oneof![
            several.clone().prop_map(Condition::All),
            several.prop_map(Condition::Any),
            part.clone().prop_map(|it| Condition::Not(Box::new(it))),
            (part, 1..=86_400_000_u64)
                .prop_map(|(it, time)| Condition::For { held: Box::new(it), time: Duration::from_millis(time) }),
        ]
        .prop_map(expr)
    })
}

/// Pieces of expressions, and of what people write in their place.
const SOUP: &[&str] = &[
    "and",
    "or",
    "not",
    "for",
    "AND",
    "(",
    ")",
    "[",
    "]",
    ",",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "=",
    "&&",
    "||",
    "!",
    "≥",
    "health",
    "count",
    "fraction",
    "age",
    "lag",
    "latency",
    "healthy",
    "down",
    "unknown",
    "all",
    "zone",
    "region",
    "host",
    "component",
    "instance",
    "witness",
    "orders-db",
    "orders-db-b",
    "files",
    "gateway",
    "us-east-1",
    "us-east-1/us-east-1a",
    "us-east-1a",
    "\"hall 2\"",
    "orders-db/http",
    "p95",
    "p0",
    "last_good",
    "0",
    "1",
    "2",
    "50%",
    "0.5",
    "150%",
    "3s",
    "0s",
    "5ms",
    "1.5s",
    "\"",
    "'",
    "$",
    "é",
    "\n",
    "health(files) == down",
    "count(down, all) > 2",
    "lag(orders-db-b) > 3s",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_reads_back(expr in expr()) {
        let plan = plan_once();
        let shown = expr.show(plan).to_string();
        prop_assume!(shown.len() <= MAX_LENGTH);
        let (read, findings) = read(&Names::of(plan), &exact(&shown));
        prop_assert_eq!(read.as_ref(), Some(&expr), "{}: {:#?}", shown, findings);
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_words_are_answered(words in prop::collection::vec(prop::sample::select(SOUP), 0..40), glue in "[ ]?") {
        check(&words.join(&glue));
    }
}
