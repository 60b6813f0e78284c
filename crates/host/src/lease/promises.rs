//! What this machine does while no agent is heard, and what it has promised to others meanwhile: a file of its own.
//!
//! Intuition: the agent alone decides who is a component. When it is gone, whoever is one may stay if nobody else can become it,
//! and nobody else can if each who could has given his word not to. A word is written down before it is given, so that it binds
//! also whoever is killed right after it; and it binds for longer than the one to whom it was given relies on it.
//!
//! Who has heard an agent gives no word: that agent may be about to make him the component.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_wire::agreement::{Question, Refused, Reply};
use mainstay_wire::message::{Held, Promised, Stance, Stays};
use serde::{Deserialize, Serialize};

/// Its name in the state directory.
const FILE: &str = "stance.json";

/// A word binds for no longer than this, whoever asks for it.
const LONGEST: Duration = Duration::from_secs(600);

/// A word that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// To whom.
    pub held: Held,
    /// On whose machine.
    pub host: String,
    /// Until when it binds, in nanoseconds of `CLOCK_BOOTTIME`...
    until_boot_ns: u64,
    /// ...and for how long it was given, for a machine that has started anew.
    whole_ns: u64,
    boot_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    stance: Option<Stance>,
    promises: Vec<Promise>,
}

/// The newest stance, and the words that were given.
#[derive(Debug)]
pub struct Promises {
    file: PathBuf,
    boot_id: String,
    kept: Kept,
    /// When an agent was heard last. Before this process began, it may have been at any moment.
    heard_boot_ns: u64,
}

impl Promises {
    /// Goes on from what is below the state directory.
    ///
    /// # Errors
    /// It is there and can't be read: what was promised is not known then.
    pub fn open(state: &Path, now_boot_ns: u64) -> io::Result<Promises> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Promises::open_as(state, boot_id, now_boot_ns)
    }

    fn open_as(state: &Path, boot_id: String, now_boot_ns: u64) -> io::Result<Promises> {
        let file = state.join(FILE);
        let mut kept: Kept = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                let what = format!("{}: what was promised to other hosts can't be read: {error}", file.display());
                io::Error::new(ErrorKind::InvalidData, what)
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error),
        };
        let mut is_other = false;
        // How long the machine was off is not known.
        for it in kept.promises.iter_mut().filter(|it| it.boot_id != boot_id) {
            it.until_boot_ns = now_boot_ns.saturating_add(it.whole_ns);
            it.boot_id.clone_from(&boot_id);
            is_other = true;
        }
        let promises = Promises { file, boot_id, kept, heard_boot_ns: now_boot_ns };
        if is_other {
            promises.write(&promises.kept)?;
        }
        Ok(promises)
    }

    /// The newest stance.
    pub const fn stance(&self) -> Option<&Stance> {
        self.kept.stance.as_ref()
    }

    /// An agent was heard.
    pub fn heard(&mut self, now_boot_ns: u64) {
        self.heard_boot_ns = self.heard_boot_ns.max(now_boot_ns);
    }

    /// The agent says what to do while it is silent. `false`: a newer stance is known.
    ///
    /// # Errors
    /// What the file system says; it is then as it was.
    pub fn take(&mut self, stance: Stance) -> io::Result<bool> {
        let number = |it: &Stance| (it.epoch, it.nth);
        if self.kept.stance.as_ref().is_some_and(|it| number(it) >= number(&stance)) {
            return Ok(false);
        }
        let mut next = self.kept.clone();
        next.promises.retain(|it| !stance.over.contains(&it.held));
        next.stance = Some(stance);
        self.write(&next)?;
        self.kept = next;
        Ok(true)
    }

    /// Who on another machine was promised that nothing here becomes this component, and for how much longer.
    pub fn binds(&self, component: &str, now_boot_ns: u64) -> Option<(&Promise, Duration)> {
        let binds = |it: &&Promise| it.held.component == component && it.until_boot_ns > now_boot_ns;
        let it = self.kept.promises.iter().find(binds)?;
        Some((it, Duration::from_nanos(it.until_boot_ns - now_boot_ns)))
    }

    /// All words that bind.
    pub fn promised(&self, now_boot_ns: u64) -> Vec<Promised> {
        let binds = self.kept.promises.iter().filter(|it| it.until_boot_ns > now_boot_ns);
        let promised = |it: &Promise| {
            // Never less than it is.
            let left_ms = (it.until_boot_ns - now_boot_ns).div_ceil(1_000_000);
            Promised { held: it.held.clone(), left_ms }
        };
        binds.map(promised).collect()
    }

    /// Answers the host `asker`. `is_taken` says why something here stands against it, by component. What is agreed to is on the
    /// disk.
    pub fn answer(
        &mut self,
        asker: &str,
        question: &Question,
        epoch: u64,
        is_taken: impl Fn(&str) -> Option<String>,
        now_boot_ns: u64,
    ) -> Reply {
        let mut reply = Reply::default();
        let mut next = self.kept.clone();
        next.promises.retain(|it| it.until_boot_ns > now_boot_ns);
        let whole_ms = question.whole_ms.max(self.stance().map_or(0, |it| it.whole_ms));
        let whole = Duration::from_millis(whole_ms);
        for held in &question.holds {
            let objection = (whole > LONGEST)
                .then(|| format!("nobody gives his word for {whole_ms} ms"))
                .or_else(|| self.objection(asker, held, question, epoch, now_boot_ns))
                .or_else(|| is_taken(&held.component));
            if let Some(why) = objection {
                reply.refused.push(Refused { held: held.clone(), why });
                continue;
            }
            let whole_ns = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
            let until_boot_ns = now_boot_ns.saturating_add(whole_ns);
            let before = next.promises.iter().position(|it| it.held == *held).map(|at| next.promises.remove(at));
            next.promises.push(Promise {
                held: held.clone(),
                host: asker.to_owned(),
                until_boot_ns: before.map_or(until_boot_ns, |it| it.until_boot_ns.max(until_boot_ns)),
                whole_ns,
                boot_id: self.boot_id.clone(),
            });
            reply.agreed.push(held.clone());
        }
        if reply.agreed.is_empty() {
            return reply;
        }
        match self.write(&next) {
            Ok(()) => self.kept = next,
            Err(error) => {
                tracing::error!(%error, "no word is given that can't be written down");
                let why = |held| Refused { held, why: "it can't be written down there".to_owned() };
                reply.refused.extend(std::mem::take(&mut reply.agreed).into_iter().map(why));
            }
        }
        reply
    }

    fn objection(&self, asker: &str, held: &Held, question: &Question, epoch: u64, now_boot_ns: u64) -> Option<String> {
        let Some(stance) = self.stance() else { return Some("no agent has said what to agree to".to_owned()) };
        if !stance.agrees.iter().any(|it| it.held == *held && it.host == asker) {
            return Some(format!("the agent did not say that {} on {asker} may stay", held.instance));
        }
        if epoch > question.epoch {
            return Some(format!("it has seen epoch {epoch}, and {asker} {}", question.epoch));
        }
        if (stance.epoch, stance.nth) < question.stance {
            return Some("it has not heard yet who holds it now".to_owned());
        }
        let silent = Duration::from_nanos(now_boot_ns.saturating_sub(self.heard_boot_ns));
        if silent < Duration::from_millis(stance.silent_ms) {
            return Some(format!("it heard an agent {:.1} s ago", silent.as_secs_f64()));
        }
        let other = self.binds(&held.component, now_boot_ns).filter(|it| it.0.held != *held);
        other.map(|(it, left)| {
            format!("it gave its word to {} on {}, for {:.1} s more", it.held.instance, it.host, left.as_secs_f64())
        })
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.file)?;
        match self.file.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The least that is known of a stance by whoever holds a lease under it: whether that one says who is to be asked.
pub fn stays<'a>(stance: Option<&'a Stance>, held: &Held, least: (u64, u64)) -> Option<&'a Stays> {
    let stance = stance.filter(|it| least.1 > 0 && (it.epoch, it.nth) >= least)?;
    stance.stays.iter().find(|it| it.held == *held && !it.peers.is_empty())
}

#[cfg(test)]
mod tests {
    use bolero::check;
    use mainstay_wire::message::{MayStay, PeerAt};

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// When the process began.
    const START: u64 = 100 * SECOND;

    fn db(instance: &str) -> Held {
        Held { component: "db".to_owned(), instance: instance.to_owned() }
    }

    fn stance(nth: u64, agrees_to: Option<&str>) -> Stance {
        let agrees = agrees_to.map(|it| MayStay { held: db(it), host: format!("on-{it}") });
        Stance {
            epoch: 3,
            nth,
            silent_ms: 2_000,
            expires_ms: 6_000,
            whole_ms: 8_000,
            agrees: agrees.into_iter().collect(),
            ..Stance::default()
        }
    }

    fn question(instance: &str) -> Question {
        Question { epoch: 3, stance: (3, 1), whole_ms: 8_000, holds: vec![db(instance)] }
    }

    fn open(folder: &Path) -> Promises {
        Promises::open_as(folder, "this".to_owned(), START).expect("it is readable")
    }

    fn agrees(promises: &mut Promises, instance: &str, at: u64) -> bool {
        let reply = promises.answer(&format!("on-{instance}"), &question(instance), 3, |_| None, at);
        assert_eq!(reply.agreed.len() + reply.refused.len(), 1);
        reply.agreed == [db(instance)]
    }

    #[test]
    fn a_word_is_given_where_no_agent_is_heard_and_binds_for_the_whole_time() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        assert!(!agrees(&mut promises, "a", START + 10 * SECOND), "no agent ever said so");
        assert!(promises.take(stance(1, Some("a"))).expect("it is written"));
        promises.heard(START + 10 * SECOND);
        assert!(!agrees(&mut promises, "a", START + 12 * SECOND - 1), "an agent was heard");
        assert!(!agrees(&mut promises, "b", START + 12 * SECOND), "it is not b that may stay");
        assert!(promises.binds("db", START + 12 * SECOND).is_none());
        assert!(agrees(&mut promises, "a", START + 12 * SECOND));
        assert_eq!(promises.binds("db", START + 12 * SECOND).expect("it binds").1, Duration::from_secs(8));
        assert!(promises.binds("other", START + 12 * SECOND).is_none());
        assert!(promises.binds("db", START + 20 * SECOND).is_none());
        assert!(agrees(&mut promises, "a", START + 15 * SECOND), "again");
        assert!(promises.binds("db", START + 23 * SECOND - 1).is_some());
        assert_eq!(promises.promised(START + 23 * SECOND - 1), [Promised { held: db("a"), left_ms: 1 }]);
    }

    #[test]
    fn a_process_that_starts_has_heard_an_agent_for_all_it_knows() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        promises.take(stance(1, Some("a"))).expect("it is written");
        assert!(!agrees(&mut promises, "a", START + 2 * SECOND - 1));
        assert!(agrees(&mut promises, "a", START + 2 * SECOND));
    }

    #[test]
    fn a_word_outlives_the_process_and_the_machine() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        promises.take(stance(1, Some("a"))).expect("it is written");
        assert!(agrees(&mut promises, "a", START + 5 * SECOND));
        drop(promises);
        assert!(open(folder.path()).binds("db", START + 13 * SECOND - 1).is_some());
        let other = Promises::open_as(folder.path(), "another".to_owned(), 7).expect("it is readable");
        assert!(other.binds("db", 7 + 8 * SECOND - 1).is_some(), "how long it was off is not known");
        let again = Promises::open_as(folder.path(), "another".to_owned(), 7 + SECOND).expect("it is readable");
        assert!(again.binds("db", 7 + 8 * SECOND).is_none(), "it is counted once");
        fs::write(folder.path().join(FILE), "{").expect("it is writable");
        assert!(Promises::open(folder.path(), START).is_err(), "nobody goes on who does not know what was promised");
    }

    #[test]
    fn one_word_at_a_time_and_none_against_what_is_here_or_newer() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        promises.take(stance(1, Some("a"))).expect("it is written");
        let at = START + 5 * SECOND;
        let taken = |_: &str| Some("it holds it itself".to_owned());
        assert_eq!(promises.answer("on-a", &question("a"), 3, taken, at).agreed, []);
        assert_eq!(promises.answer("on-a", &question("a"), 4, |_| None, at).agreed, [], "a higher epoch was seen");
        assert_eq!(promises.answer("on-x", &question("a"), 3, |_| None, at).agreed, [], "another host asks for it");
        let newer = Question { stance: (3, 2), ..question("a") };
        assert_eq!(promises.answer("on-a", &newer, 3, |_| None, at).agreed, [], "it may have ended meanwhile");
        let long = Question { whole_ms: 600_001, ..question("a") };
        assert_eq!(promises.answer("on-a", &long, 3, |_| None, at).agreed, []);
        assert!(agrees(&mut promises, "a", at));
        promises.take(stance(2, Some("c"))).expect("it is written");
        assert!(!agrees(&mut promises, "c", at), "a was promised it first");
        assert!(!agrees(&mut promises, "a", at), "a may not stay any more");
        assert!(agrees(&mut promises, "c", at + 8 * SECOND));
    }

    #[test]
    fn the_newest_stance_counts_and_frees_from_words_to_who_acts_no_more() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        assert!(promises.take(stance(5, Some("a"))).expect("it is written"));
        assert!(!promises.take(stance(5, None)).expect("it is read"));
        assert!(!promises.take(stance(4, None)).expect("it is read"), "it was long under way");
        assert!(!promises.take(Stance { epoch: 2, nth: 9, ..Stance::default() }).expect("it is read"));
        let at = START + 5 * SECOND;
        assert!(agrees(&mut promises, "a", at));
        promises.take(stance(6, None)).expect("it is written");
        assert!(promises.binds("db", at).is_some(), "no word is taken back");
        let over = Stance { over: vec![db("a")], ..stance(7, None) };
        promises.take(over).expect("it is written");
        assert!(promises.binds("db", at).is_none());
        assert!(promises.take(Stance { epoch: 4, nth: 1, ..Stance::default() }).expect("it is written"));
    }

    #[test]
    fn no_word_is_given_that_cant_be_kept() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mut promises = open(folder.path());
        promises.take(stance(1, Some("a"))).expect("it is written");
        fs::create_dir(folder.path().join("stance.new")).expect("it is writable");
        assert!(!agrees(&mut promises, "a", START + 5 * SECOND));
        assert!(promises.binds("db", START + 5 * SECOND).is_none());
    }

    #[test]
    fn who_holds_goes_by_a_stance_that_is_new_enough() {
        let held = db("a");
        let peers = vec![PeerAt { host: "on-b".to_owned(), address: ([127, 0, 0, 1], 1).into() }];
        let one = Stays { held: held.clone(), peers };
        let it = Stance { stays: vec![one.clone()], ..stance(7, None) };
        assert_eq!(stays(Some(&it), &held, (3, 7)), Some(&one));
        assert_eq!(stays(Some(&it), &held, (3, 8)), None);
        assert_eq!(stays(Some(&it), &held, (2, 9)), Some(&one), "of an agent before this one");
        assert_eq!(stays(Some(&it), &held, (3, 0)), None, "granted by an agent that knows no stances");
        assert_eq!(stays(Some(&it), &db("b"), (3, 7)), None);
        let nobody = Stance { stays: vec![Stays { peers: Vec::new(), ..one }], ..it };
        assert_eq!(stays(Some(&nobody), &held, (3, 7)), None, "nobody could agree");
    }

    /// Whatever is asked and whenever: at most one is promised a component, and never while an agent is heard.
    #[test]
    fn no_questions_get_two_words() {
        let target = check!().with_iterations(300).with_test_time(Duration::from_secs(5));
        target.with_type::<Vec<(u8, u8, u8)>>().for_each(|steps| {
            let folder = tempfile::tempdir().expect("a folder for the test");
            let mut promises = open(folder.path());
            let (mut now, mut nth, mut heard) = (START, 0, START);
            let mut words: Vec<(&str, u64)> = Vec::new();
            for (what, who, after) in steps.iter().take(24) {
                now += u64::from(*after) * SECOND / 16;
                let who = ["a", "b", "c"][usize::from(*who) % 3];
                match what % 4 {
                    0 => {
                        nth += 1;
                        promises.take(stance(nth, Some(who))).expect("it is written");
                    }
                    1 => {
                        promises.heard(now);
                        heard = now;
                    }
                    2 => promises = Promises { heard_boot_ns: heard, ..open(folder.path()) },
                    _ => {
                        if agrees(&mut promises, who, now) {
                            assert!(now - heard >= 2 * SECOND);
                            assert!(words.iter().all(|it| it.0 == who || it.1 <= now), "{words:?}, and {who} at {now}");
                            words.push((who, now + 8 * SECOND));
                        }
                    }
                }
                let bound = words.iter().any(|it| it.1 > now);
                assert_eq!(promises.binds("db", now).is_some(), bound);
            }
        });
    }
}
