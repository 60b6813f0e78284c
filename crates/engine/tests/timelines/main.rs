//! Timelines: what the engine does when things happen, as text. README.md beside this file says how to read and write one;
//! the rest of this test plays them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod ask;
mod hosts;
mod line;
mod operator;
mod play;
mod script;
mod show;
mod world;

use script::{Script, scripts};

/// Every timeline is played, and what comes out is compared with what its file says, as a whole.
#[test]
fn timelines_hold() {
    let mut wrong = Vec::new();
    for path in scripts() {
        let text = script::read(&path);
        let played = Script::parse(&text).and_then(|script| play::play(&script));
        match played {
            Ok(now) => script::compare(&path, &text, &now, &mut wrong),
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} timelines differ; MAINSTAY_UPDATE_GOLDEN=1 writes what happens now, read the difference\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A timeline says what must hold before it says how, and no two say the same.
#[test]
fn every_timeline_has_a_title_of_its_own() {
    let mut titles = std::collections::BTreeMap::new();
    for path in scripts() {
        let script = Script::parse(&script::read(&path)).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        if let Some(other) = titles.insert(script.title.clone(), path.clone()) {
            panic!("{} and {} have the same title: {}", path.display(), other.display(), script.title);
        }
    }
}
