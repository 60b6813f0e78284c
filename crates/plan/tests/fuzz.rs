//! Texts that nobody would write: any bytes, any expression, and plans put together from the grammar's own words. Each run
//! tries others. `BOLERO_RANDOM_TEST_TIME_MS` and `BOLERO_RANDOM_ITERATIONS` make a run longer, and the seed that a
//! failure prints, as `BOLERO_RANDOM_SEED`, repeats it.

mod always;
mod sources;

use std::collections::BTreeSet;
use std::time::Duration;

use always::check_in;
use bolero::check;
use mainstay_plan::{Surroundings, schema};
use serde_json::Value;
use sources::sources;

/// What one target may take of an ordinary test run: whichever is over first.
const TRIES: usize = 1500;
const TIME: Duration = Duration::from_secs(8);

/// Everything must be answered, whatever files and variables hold.
fn answered(text: &str) {
    let variable = |name: &str| (!name.len().is_multiple_of(3)).then(|| name.to_owned());
    let read = |_: &std::path::Path| Ok(text.to_owned());
    check_in(text, &Surroundings { read: &read, variable: &variable, needs_secrets: true });
}

#[test]
fn any_bytes_are_answered() {
    check!().with_iterations(TRIES).with_test_time(TIME).for_each(|bytes: &[u8]| {
        answered(&String::from_utf8_lossy(bytes));
    });
}

const EXPRESSION: [&str; 44] = [
    "health",
    "count",
    "fraction",
    "age",
    "lag",
    "latency",
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
    "and",
    "or",
    "for",
    "not",
    "down",
    "healthy",
    "unknown",
    "all",
    "zone",
    "region",
    "host",
    "instance",
    "witness",
    "db",
    "db-b",
    "gateway",
    "eu/a",
    "p95",
    "50%",
    "0.5",
    "3s",
    "800ms",
    "2",
    "\"",
    "'",
    "é𝄞",
    "last_good",
];

#[test]
fn any_expression_is_answered() {
    let [.., everything] = &sources()[..] else { panic!("there is a plan with rules") };
    check!().with_iterations(TRIES).with_test_time(TIME).with_type::<Vec<u8>>().for_each(|choices| {
        let words: Vec<&str> =
            choices.iter().take(60).map(|it| EXPRESSION[usize::from(*it) % EXPRESSION.len()]).collect();
        // With blanks between the words and without.
        let text = words.join(if choices.len().is_multiple_of(2) { " " } else { "" });
        let quoted = Value::String(text).to_string();
        answered(&everything.replace("when: health(db) == down for 3s", &format!("when: {quoted}")));
    });
}

const SIGNS: [&str; 26] = [
    ":", ": ", "- ", ", ", "{", "}", "[", "]", "\"", "'", "#", " #", "&a ", "*a", "!t ", "<<: ", "? ", "| ", "> ",
    "---\n", "...\n", "\t", "\n", "${", "$${", "}",
];

/// The keys and the words of the grammar, and values of all kinds.
fn words() -> Vec<String> {
    fn gather(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Object(properties)) = fields.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                if let Some(Value::Array(words)) = fields.get("enum") {
                    found.extend(words.iter().filter_map(|it| it.as_str().map(str::to_owned)));
                }
                fields.values().for_each(|it| gather(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| gather(it, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    gather(&schema(), &mut found);
    let values = [
        "10.0.0.1:1",
        "[::1]:0",
        "http://a/",
        "5s",
        "0s",
        "1",
        "-1",
        "99.9",
        "true",
        "null",
        "~",
        "${page}",
        "${a}",
        "plan.yaml",
        "db",
        "db-b",
        "orders-db",
        "eu",
        "a",
        "é𝄞",
        "",
    ];
    found.into_iter().chain(values.map(str::to_owned)).collect()
}

#[test]
fn any_plan_of_the_grammar_s_words_is_answered() {
    let (sources, words) = (sources(), words());
    let target = check!().with_iterations(TRIES).with_test_time(TIME).with_type::<(u8, Vec<(u8, u16, u16)>)>();
    target.for_each(|(begin, edits)| {
        let mut lines: Vec<String> = match sources.get(usize::from(*begin) % (sources.len() + 1)) {
            Some(source) => source.lines().map(str::to_owned).collect(),
            None => Vec::new(),
        };
        for edit in edits.iter().take(40) {
            apply(&mut lines, *edit, &sources, &words);
        }
        answered(&(lines.join("\n") + "\n"));
    });
}

/// Does one thing to the text.
fn apply(lines: &mut Vec<String>, (what, a, b): (u8, u16, u16), sources: &[String], words: &[String]) {
    let (a, b) = (usize::from(a), usize::from(b));
    let word = |at: usize| words[at % words.len()].as_str();
    let at = a % (lines.len() + 1);
    let Some(line) = lines.get_mut(at) else {
        return lines.push(format!("{}{}: {}", " ".repeat(b % 8), word(a), word(b)));
    };
    let places: Vec<usize> = line.char_indices().map(|(at, _)| at).chain([line.len()]).collect();
    let place = places[b % places.len()];
    match what % 8 {
        0 => line.insert_str(place, word(a / 7)),
        1 => line.insert_str(place, SIGNS[(a / 7) % SIGNS.len()]),
        2 => *line = format!("{}{}: {}", " ".repeat(b % 12), word(a / 7), word(b / 12)),
        3 => drop(lines.remove(at)),
        4 => {
            let copy = line.clone();
            lines.insert(b % (lines.len() + 1), copy);
        }
        5 => line.insert_str(0, &" ".repeat(b % 5)),
        6 => {
            let other: Vec<&str> = sources[b % sources.len()].lines().collect();
            let from = (b / 7) % other.len();
            let piece: Vec<String> = other[from..].iter().take(1 + b % 9).map(|it| (*it).to_owned()).collect();
            lines.splice(at..at, piece);
        }
        _ => {
            let parts: Vec<&str> = line.split_inclusive([' ', ',', ':', '[', '{', '"']).collect();
            let chosen = b % parts.len().max(1);
            let new: String =
                parts.iter().enumerate().map(|(at, it)| if at == chosen { word(a / 3) } else { it }).collect();
            *line = new;
        }
    }
}
