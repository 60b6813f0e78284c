//! What hostile files cost: no more than in proportion to their size. Two sizes of the same are compared with each other.

mod spent;

use std::path::Path;
use std::time::Duration;

use mainstay_plan::{Code, Compiled, Surroundings, compile_in, render};
use spent::spent;

const SITE: &str = "version: 2\nsite: { name: s, region: r }\n";
const COMPONENT: &str = "components:\n  a:\n    type: cache\n    location: { region: r }\n    probes: [{ tcp: { address: \"10.0.0.1:80\" } }]\n";

/// The shorter of two runs: the other one may have been held up.
fn timed(text: &str, around: &Surroundings<'_>) -> (Duration, Compiled) {
    let run = || {
        spent(|| {
            let compiled = compile_in("plan.yaml", text, Path::new("/"), around);
            let _ = render(&compiled.files, &compiled.findings, false);
            compiled
        })
    };
    let (first, second) = (run(), run());
    if first.0 < second.0 { first } else { second }
}

/// Compares what `text` costs at `size` and at eight times that. Something quadratic would cost 64 times as much.
fn grows_no_faster(what: &str, size: usize, text: impl Fn(usize) -> String, around: &Surroundings<'_>) -> Compiled {
    let (small, _) = timed(&text(size), around);
    let (large, compiled) = timed(&text(8 * size), around);
    let floor = Duration::from_millis(3);
    assert!(large < small.max(floor) * 24, "{what}: {size} took {small:?}, eight times as much {large:?}");
    compiled
}

fn alone(what: &str, size: usize, text: impl Fn(usize) -> String) -> Compiled {
    grows_no_faster(what, size, text, &Surroundings::NONE)
}

fn has(compiled: &Compiled, code: Code) -> bool {
    compiled.findings.iter().any(|it| it.code == code)
}

#[test]
fn nesting() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("{", ""), ("- ", ""), ("? ", ""), ("\"", ""), ("'", "")] {
        alone(open, 20_000, |size| format!("{SITE}state: {}1{}\n", open.repeat(size), close.repeat(size)));
        alone(open, 20_000, |size| format!("{}{SITE}", open.repeat(size)));
    }
    let steps = |size: usize| (0..size).map(|it| format!("{}a:\n", " ".repeat(it))).collect::<String>();
    assert!(has(&alone("steps", 100, steps), Code::Limit));
    let lines = |size: usize| format!("{SITE}{}\n  - [\n", "a: [\n".repeat(size));
    alone("brackets that nobody closes", 5_000, lines);
}

#[test]
fn long_words() {
    let name = |size: usize| "a".repeat(size);
    alone("a key", 130_000, |size| format!("{SITE}{COMPONENT}{}: 1\n", name(size)));
    alone("a name", 130_000, |size| format!("{SITE}{COMPONENT}standbys:\n  {}: {{}}\n", name(size)));
    alone("a value", 130_000, |size| format!("{SITE}{COMPONENT}mode: {}\n", name(size)));
    alone("a duration", 130_000, |size| format!("{SITE}allowances: {{ lateness: {} }}\n", "1s".repeat(size)));
    alone("quotes", 130_000, |size| format!("{SITE}state: '{}\n", "''".repeat(size)));
    alone("a reference", 130_000, |size| format!("{SITE}{COMPONENT}    depends_on: [{}]\n", name(size)));
    alone("a URL", 130_000, |size| {
        format!(
            "{SITE}notifications: {{ n: {{ send: {{ webhook: {{ url: \"http://{}\" }} }} }} }}\n",
            "a.".repeat(size)
        )
    });
    alone("an expression", 130_000, |size| {
        format!("{SITE}{COMPONENT}rules: {{ r: {{ when: \"{}\" }} }}\n", "(".repeat(size))
    });
}

#[test]
fn many_mistakes() {
    let many = |size: usize, line: &dyn Fn(usize) -> String| (0..size).map(line).collect::<String>();
    alone("unknown sections", 5_000, |size| format!("{SITE}{COMPONENT}{}", many(size, &|it| format!("x{it}: 1\n"))));
    alone("the same key", 5_000, |size| format!("{SITE}{COMPONENT}{}", many(size, &|_| "x: 1\n".to_owned())));
    let unknown = alone("unknown names", 12_500, |size| {
        format!("{SITE}{COMPONENT}    depends_on: [{}]\n", many(size, &|it| format!("x{it}, ")))
    });
    assert_eq!(unknown.findings.len(), 100_000);
    alone("unknown channels", 5_000, |size| {
        let channels = many(size, &|it| format!("  c{it}: {{ send: {{ command: {{ run: [x] }} }} }}\n"));
        let steps = many(size, &|it| format!("  - {{ after: 1s, tell: [d{it}] }}\n"));
        format!("{SITE}{COMPONENT}notifications:\n{channels}escalation:\n{steps}")
    });
    alone("evacuations", 500, |size| {
        let parts = many(size, &|it| format!("e{it}, "));
        let all = many(size, &|it| format!("  e{it}: {{ of: {{ region: r, zone: z{it} }}, first: [a, b{it}] }}\n"));
        format!("{SITE}{COMPONENT}evacuations:\n  all: {{ of: {{ region: r }}, parts: [{parts}] }}\n{all}")
    });
    alone("rules", 500, |size| {
        let rules =
            "  r{}: { when: \"count(down, all) > 1 and lag(b{}) > 1s\", then: region_failure, of: { region: r } }\n";
        format!("{SITE}{COMPONENT}rules:\n{}", many(size, &|it| rules.replace("{}", &it.to_string())))
    });
}

#[test]
fn variables() {
    let long = "v".repeat(1000);
    let around = Surroundings { read: Surroundings::NONE.read, variable: &|_| Some(long.clone()), needs_secrets: true };
    let declared = |size: usize| (0..size).map(|it| format!("  v{it}: {{ env: V{it} }}\n")).collect::<String>();
    let used = |size: usize, of: &str| (0..size).map(|it| of.replace('#', &it.to_string())).collect::<String>();
    let text =
        |size: usize| format!("{SITE}variables:\n{}{COMPONENT}state: \"{}\"\n", declared(size), used(size, "${v#}"));
    grows_no_faster("variables", 1_250, text, &around);
    grows_no_faster(
        "one variable",
        1_000,
        |size| format!("{SITE}variables:\n{}{COMPONENT}state: \"{}\"\n", declared(1), used(size, "${v0}")),
        &around,
    );
    grows_no_faster(
        "unknown variables",
        5_000,
        |size| format!("{SITE}variables:\n{}{COMPONENT}state: \"{}\"\n", declared(100), used(size, "${w#}")),
        &around,
    );
    grows_no_faster(
        "open variables",
        50_000,
        |size| format!("{SITE}{COMPONENT}state: \"{}\"\n", used(size, "${")),
        &around,
    );
    grows_no_faster("dollars", 50_000, |size| format!("{SITE}{COMPONENT}state: \"{}\"\n", used(size, "$$${")), &around);
    // A text of some bytes becomes no text of a gigabyte.
    let megabyte = "m".repeat(1 << 20);
    let around =
        Surroundings { read: Surroundings::NONE.read, variable: &|_| Some(megabyte.clone()), needs_secrets: true };
    let bomb = format!(
        "{SITE}variables:\n{}{COMPONENT}state: [\"{}\", \"{}\"]\n",
        declared(1),
        used(1000, "${v0}"),
        used(1000, "${v0}")
    );
    let compiled = compile_in("plan.yaml", bomb.as_str(), Path::new("/"), &around);
    assert_eq!(compiled.findings.iter().filter(|it| it.code == Code::Limit).count(), 1);
}

#[test]
fn included_files() {
    // A file that includes itself, and files that would go on for ever: a part includes nothing.
    let chain = "include: [plan.yaml]\nroutes: {}\n";
    let around = Surroundings { read: &|_| Ok(chain.to_owned()), variable: &|_| None, needs_secrets: true };
    let names = |size: usize| (0..size).map(|it| format!("f{it}.yaml, ")).collect::<String>();
    let compiled =
        grows_no_faster("files", 100, |size| format!("{SITE}{COMPONENT}include: [{}]\n", names(size)), &around);
    assert!(has(&compiled, Code::UnknownField) && compiled.files.len() == 801);
    let compiled = compile_in("plan.yaml", format!("{SITE}include: [{}]\n", names(2000)), Path::new("/"), &around);
    assert!(has(&compiled, Code::Limit) && compiled.files.len() == 1000);
    // The same names in every file.
    let part: String = (0..100).map(|it| format!("  a{it}: {{}}\n")).collect();
    let around = Surroundings { read: &|_| Ok(format!("standbys:\n{part}")), variable: &|_| None, needs_secrets: true };
    grows_no_faster(
        "names of many files",
        20,
        |size| format!("{SITE}{COMPONENT}include: [{}]\n", names(size)),
        &around,
    );
    let number = std::cell::Cell::new(0);
    let read = |_: &Path| {
        number.set(number.get() + 1);
        Ok((0..100)
            .map(|it| format!("  n{}-{it}: {{}}\n", number.get()))
            .fold("standbys:\n".to_owned(), |all, it| all + &it))
    };
    let around = Surroundings { read: &read, variable: &|_| None, needs_secrets: true };
    grows_no_faster(
        "other names in every file",
        20,
        |size| format!("{SITE}{COMPONENT}include: [{}]\n", names(size)),
        &around,
    );
}
