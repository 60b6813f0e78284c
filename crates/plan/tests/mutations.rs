//! Whatever is done to a file, it is told what is wrong: no panic, findings inside the file, a plan exactly when there is
//! no error. Large files take no longer than their size.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod always;
mod mutants;
mod sources;
mod spent;

use std::fmt::Write as _;
use std::path::Path;

use always::check_in;
use mainstay_plan::{Compiled, Finding, Severity, Surroundings, compile, starter};
use mutants::{Mutant, mutants};
use proptest::prelude::*;
use sources::sources;
use spent::spent;

/// What must hold for every text that stands alone.
fn check(text: &str) -> Compiled {
    check_in(text, &Surroundings::NONE)
}

/// One thing that people and editors do to a file.
#[derive(Clone, Debug)]
enum Mutation {
    Delete(usize),
    Duplicate(usize),
    Swap(usize, usize),
    Indent(usize, bool),
    Tab(usize),
    /// Replace the n-th word of a line by another text.
    Word(usize, usize, &'static str),
    /// Remove a character.
    Character(usize),
    /// Insert text somewhere.
    Insert(usize, &'static str),
    Truncate(usize),
}

const WORDS: &[&str] = &[
    "",
    "0",
    "-1",
    "5",
    "1.5s",
    "99999999999999999999s",
    "null",
    "~",
    "true",
    "[]",
    "{}",
    "[[[[",
    "&a",
    "*a",
    "!x",
    "<<",
    "\"",
    "'",
    "stop",
    "exclusive",
    "shared",
    "orders-db",
    "files-b",
    "component",
    "standby",
    "é𝄞",
    "| ",
    "0.0.0.0:0",
    "http://",
    "tcp",
    "recovery",
    "cold",
    "two_writers",
    ":",
    "- ",
    "---",
    "...",
    "%YAML",
    "#",
    "0s",
    "10d",
];

fn mutation() -> impl Strategy<Value = Mutation> {
    let line = 0..200usize;
    let word = prop::sample::select(WORDS);
    prop_oneof![
        line.clone().prop_map(Mutation::Delete),
        line.clone().prop_map(Mutation::Duplicate),
        (line.clone(), line.clone()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (line.clone(), any::<bool>()).prop_map(|(a, more)| Mutation::Indent(a, more)),
        line.clone().prop_map(Mutation::Tab),
        (line, 0..12usize, word.clone()).prop_map(|(a, n, w)| Mutation::Word(a, n, w)),
        (0..5000usize).prop_map(Mutation::Character),
        (0..5000usize, word).prop_map(|(a, w)| Mutation::Insert(a, w)),
        (0..5000usize).prop_map(Mutation::Truncate),
    ]
}

fn boundary(text: &str, at: usize) -> usize {
    let at = at % (text.len() + 1);
    (0..=at).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0)
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let count = lines.len();
    match mutation {
        Mutation::Delete(at) => drop(lines.remove(at % count)),
        Mutation::Duplicate(at) => lines.insert(at % count, lines[at % count].clone()),
        Mutation::Swap(a, b) => lines.swap(a % count, b % count),
        Mutation::Indent(at, true) => lines[at % count].insert(0, ' '),
        Mutation::Indent(at, false) => {
            let line = &mut lines[at % count];
            *line = line.strip_prefix(' ').unwrap_or(line).to_owned();
        }
        Mutation::Tab(at) => lines[at % count].insert(0, '\t'),
        Mutation::Word(at, n, with) => {
            let line = lines[at % count].clone();
            let words: Vec<&str> = line.split_inclusive([' ', ',', ':', '[', '{', '"']).collect();
            let n = n % words.len().max(1);
            let replaced = words.iter().enumerate().map(|(at, it)| if at == n { *with } else { *it });
            lines[at % count] = replaced.collect();
        }
        Mutation::Character(at) => {
            let mut text = text.to_owned();
            let at = boundary(&text, *at);
            if at < text.len() {
                text.remove(at);
            }
            return text;
        }
        Mutation::Insert(at, what) => {
            let mut text = text.to_owned();
            text.insert_str(boundary(&text, *at), what);
            return text;
        }
        Mutation::Truncate(at) => return text[..boundary(text, *at)].to_owned(),
    }
    lines.join("\n") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_is_told_what_is_wrong(
        source in prop::sample::select(sources()),
        mutations in prop::collection::vec(mutation(), 1..5),
    ) {
        let text = mutations.iter().fold(source, |text, it| mutate(&text, it));
        check(&text);
    }

    #[test]
    fn any_text_is_survived(text in "[a-z:{}\\[\\]&*!|>\"'\\-,# \n\té𝄞\u{feff}]{0,120}") {
        check(&text);
    }
}

/// Whether a finding leads to the mistake: it, or another place that it shows, is on the changed lines, or on the key or
/// another field of the mapping that was changed; or it speaks of what was changed, in words or by a line that does.
fn leads_to(finding: &Finding, mutant: &Mutant) -> bool {
    let spans = || std::iter::once(finding.span).chain(finding.others.iter().map(|it| it.span));
    let near = |line: usize| mutant.lines.contains(&line) || mutant.around.contains(&line);
    if spans().any(|it| near(it.line as usize)) {
        return true;
    }
    let speaks = |text: &str| mutant.names.iter().any(|it| mentions(text, it));
    let words = [&finding.message, &finding.label].into_iter().chain(&finding.help);
    words.into_iter().any(|it| speaks(it))
        || spans().any(|it| mutant.text.lines().nth(it.line as usize - 1).is_some_and(speaks))
}

/// Whether `name` stands in `text` as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let part = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || matches!(it, '-' | '_'));
    text.match_indices(name)
        .any(|(at, _)| !part(text[..at].chars().next_back()) && !part(text[at + name.len()..].chars().next()))
}

/// How many mistakes are tried, in all plans together.
const AT_MOST: usize = 20_000;

#[test]
fn every_mistake_at_every_place_is_led_to() {
    let sources: Vec<(String, Vec<Mutant>)> = sources().into_iter().map(with_mutants).collect();
    // All of them, as long as there are not so many that nobody waits for them.
    let every = sources.iter().map(|it| it.1.len()).sum::<usize>().div_ceil(AT_MOST);
    let found: Vec<(usize, usize, Vec<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = sources.iter().map(|it| scope.spawn(move || not_led_to(&it.0, &it.1, every))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let (tried, errors) = found.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let lost: Vec<String> = found.into_iter().flat_map(|it| it.2).collect();
    println!("{tried} mistakes tried, {errors} of them errors, {} not led to", lost.len());
    assert!(lost.is_empty(), "{} of {errors} mistakes are not led to:\n{}", lost.len(), lost.join("\n"));
    assert!(tried >= 10_000 && errors > tried / 2, "{errors} of {tried} are mistakes");
}

fn with_mutants(source: String) -> (String, Vec<Mutant>) {
    let mutants = mutants(&source);
    (source, mutants)
}

/// How many mistakes were tried at this plan, how many of them are errors, and those that nothing leads to.
fn not_led_to(source: &str, mutants: &[Mutant], every: usize) -> (usize, usize, Vec<String>) {
    assert!(check(source).plan.is_some(), "{source}");
    let (mut tried, mut errors, mut lost) = (0, 0, Vec::new());
    for mutant in mutants.iter().step_by(every) {
        tried += 1;
        let compiled = compile("plan.yaml", &mutant.text, Path::new("/etc/mainstay"));
        if compiled.plan.is_some() {
            continue;
        }
        errors += 1;
        let found: Vec<&Finding> = compiled.findings.iter().filter(|it| it.severity == Severity::Error).collect();
        if !found.iter().any(|it| leads_to(it, mutant)) {
            let told = |it: &&Finding| format!("{} {}:{} {}", it.code.text(), it.span.line, it.span.column, it.message);
            let told: Vec<String> = found.iter().map(told).collect();
            lost.push(format!("{}, lines {:?}: {told:#?}", mutant.what, mutant.lines));
        }
    }
    (tried, errors, lost)
}

#[test]
fn the_starter_is_a_plan() {
    let compiled = check(starter());
    assert!(compiled.plan.is_some());
    assert!(compiled.findings.iter().all(|it| it.severity == Severity::Note), "{:#?}", compiled.findings);
}

/// A plan with `count` components, each with a standby, a route and a dependency on the one before.
fn large(count: usize) -> String {
    let mut text = String::from("version: 2\nsite: { name: big, region: r, zone: z0 }\ncomponents:\n");
    for n in 0..count {
        let depends = if n == 0 { String::new() } else { format!("    depends_on: [c{:05}]\n", n - 1) };
        write!(
            text,
            "  c{n:05}:\n    type: cache\n    location: {{ region: r, zone: z1 }}\n{depends}    probes:\n      - tcp: {{ \
             address: \"10.0.0.1:80\" }}\n    recovery:\n      - failover_to_standby: {{ standby: s{n:05} }}\n"
        )
        .unwrap();
    }
    text.push_str("standbys:\n");
    for n in 0..count {
        write!(
            text,
            "  s{n:05}:\n    location: {{ region: r, zone: z2 }}\n    probes:\n      - tcp: {{ address: \
             \"10.0.0.2:80\" }}\n"
        )
        .unwrap();
    }
    text.push_str("routes:\n");
    for n in 0..count {
        let (a, b) = (n / 250, n % 250 + 1);
        write!(
            text,
            "  r{n:05}:\n    shared: {{}}\n    proxy: {{ listen: \"10.9.{a}.{b}:80\" }}\n    targets:\n      - {{ \
             component: c{n:05}, address: \"10.0.0.1:80\" }}\n      - {{ standby: s{n:05}, address: \"10.0.0.2:80\" }}\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn ten_thousand_components_take_ten_times_as_long_as_a_thousand() {
    let timed = |text: &str| spent(|| compile("plan.yaml", text, Path::new("/")));
    let (small, _) = timed(&large(1000));
    let (big, compiled) = timed(&large(10_000));
    assert_eq!(compiled.plan.unwrap().instances.len(), 20_000);
    assert!(big < small * 40, "1,000 took {small:?}, 10,000 took {big:?}");
    // Also when every single reference is wrong.
    let broken = large(10_000).replace("standby: s", "standby: x");
    let (wrong, compiled) = timed(&broken);
    assert!(compiled.plan.is_none());
    assert!(wrong < small * 60, "1,000 took {small:?}, 10,000 wrong ones took {wrong:?}");
}
