//! Jobs that are to call, and when each of them called last.
//!
//! A call is kept in a file of its own, whose time of change it is, so that it outlives the agent. Silence counts only
//! while somebody listened: after a start, a job has the whole of its time again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_plan::observation::Answer;
use tokio::time::Instant;

use crate::gates::Gates;
use crate::trouble;

/// What is known of the jobs.
#[derive(Default)]
pub(crate) struct Heartbeats {
    /// Where calls are kept; `None`: they are not.
    directory: Option<PathBuf>,
    jobs: Mutex<BTreeMap<String, Job>>,
}

#[derive(Clone, Copy)]
struct Job {
    listening: Instant,
    last: Option<Last>,
}

/// A call: how long ago it was at a moment. The clock on the wall may be set while we wait.
#[derive(Clone, Copy)]
struct Last {
    ago: Duration,
    at: Instant,
}

impl Heartbeats {
    pub(crate) fn in_directory(directory: PathBuf) -> Heartbeats {
        Heartbeats { directory: Some(directory), jobs: Mutex::default() }
    }

    /// Listens for a job from now on, if not for longer.
    pub(crate) fn listen(&self, name: &str) {
        let job = || Job { listening: Instant::now(), last: None };
        self.jobs().entry(name.to_owned()).or_insert_with(job);
    }

    /// The same; and reads when it called before.
    ///
    /// # Errors
    /// Why nobody knows that.
    pub(crate) async fn prepare(&self, gates: &Gates, name: &str) -> io::Result<()> {
        self.listen(name);
        let Some(directory) = &self.directory else { return Ok(()) };
        if let Some(ago) = read(gates, directory.join(name)).await?
            && let Some(job) = self.jobs().get_mut(name)
        {
            job.last.get_or_insert(Last { ago, at: Instant::now() });
        }
        Ok(())
    }

    /// Nobody could be heard until now: every job has the whole of its time again.
    pub(crate) fn listen_anew(&self) {
        let now = Instant::now();
        self.jobs().values_mut().for_each(|it| it.listening = now);
    }

    /// A job calls. `None`: nobody listens for it.
    ///
    /// # Errors
    /// Why the call does not outlive this process. It counts nevertheless.
    pub(crate) async fn hear(&self, gates: &Gates, name: &str) -> Option<io::Result<()>> {
        let now = Instant::now();
        self.jobs().get_mut(name)?.last = Some(Last { ago: Duration::ZERO, at: now });
        let Some(directory) = self.directory.clone() else { return Some(Ok(())) };
        let path = directory.join(name);
        let keep = move || {
            fs::create_dir_all(&directory)?;
            let file = fs::File::options().write(true).create(true).truncate(false).open(&path)?;
            file.set_modified(SystemTime::now())
        };
        Some(gates.run(format!("heartbeat {name}"), keep).await)
    }

    pub(crate) fn answer(&self, name: &str, max_age: Duration) -> Answer {
        match self.job(name) {
            Some(job) => job.answer(name, max_age, Instant::now()),
            None => Answer::CouldNotAsk(trouble::clip(&format!("nobody listens for {name} yet"))),
        }
    }

    fn job(&self, name: &str) -> Option<Job> {
        self.jobs().get(name).copied()
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn answer(self, name: &str, max_age: Duration, now: Instant) -> Answer {
        let silent = self.last.map(|it| it.ago + now.saturating_duration_since(it.at));
        let listening = now.saturating_duration_since(self.listening);
        let last = silent.map_or("no call yet".to_owned(), |it| format!("last call {} s ago", it.as_secs()));
        let text = |more: String| trouble::clip(&format!("{name}: {last}, {more}"));
        match silent {
            Some(silent) if silent <= max_age => Answer::Good,
            Some(_) | None if listening <= max_age => {
                Answer::CouldNotAsk(text(format!("and nobody listened before {} s ago", listening.as_secs())))
            }
            Some(_) | None => Answer::Wrong(text(format!("may be {} s", max_age.as_secs()))),
        }
    }
}

/// How long ago a call was that is kept; a time to come is a clock that was set.
async fn read(gates: &Gates, path: PathBuf) -> io::Result<Option<Duration>> {
    let key = format!("read {}", path.display());
    gates.run(key, move || modified(&path)).await
}

fn modified(path: &Path) -> io::Result<Option<Duration>> {
    match fs::metadata(path).and_then(|it| it.modified()) {
        Ok(at) => Ok(Some(SystemTime::now().duration_since(at).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn silence_counts_while_somebody_listened() {
        let begun = Instant::now();
        let after = |hours: u32, seconds: u64| begun + HOUR * hours + Duration::from_secs(seconds);
        let silent = Job { listening: begun, last: None };
        let waits = silent.answer("copy", HOUR, after(1, 0));
        assert!(matches!(&waits, Answer::CouldNotAsk(text) if text.contains("no call yet")), "{waits:?}");
        let missed = silent.answer("copy", HOUR, after(1, 1));
        assert_eq!(missed, Answer::Wrong("copy: no call yet, may be 3600 s".to_owned()));
        let called = Job { listening: begun, last: Some(Last { ago: Duration::ZERO, at: after(2, 0) }) };
        assert_eq!(called.answer("copy", HOUR, after(3, 0)), Answer::Good);
        let missed = called.answer("copy", HOUR, after(3, 1));
        assert_eq!(missed, Answer::Wrong("copy: last call 3601 s ago, may be 3600 s".to_owned()));
    }

    #[tokio::test]
    async fn nobody_is_heard_who_is_not_listened_for() {
        let (heartbeats, gates) = (Heartbeats::default(), Gates::default());
        assert!(matches!(heartbeats.answer("copy", HOUR), Answer::CouldNotAsk(_)));
        assert!(heartbeats.hear(&gates, "copy").await.is_none());
        heartbeats.listen("copy");
        assert!(heartbeats.hear(&gates, "copy").await.is_some_and(|it| it.is_ok()));
        heartbeats.prepare(&gates, "copy").await.expect("no file is read");
        assert_eq!(heartbeats.answer("copy", HOUR), Answer::Good, "listening again forgets nothing");
    }

    #[test]
    fn silence_does_not_count_while_nobody_could_be_heard() {
        let heartbeats = Heartbeats::default();
        heartbeats.listen("copy");
        let listening = || heartbeats.job("copy").expect("it is listened for").listening;
        let begun = listening();
        while Instant::now() == begun {}
        heartbeats.listen("copy");
        assert_eq!(listening(), begun);
        heartbeats.listen_anew();
        assert!(listening() > begun);
    }

    #[tokio::test]
    async fn a_call_outlives_the_process_and_old_silence_does_not_count_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (place, gates) = (directory.path().join("heartbeats"), Gates::default());
        let before = Heartbeats::in_directory(place.clone());
        before.prepare(&gates, "copy").await.expect("there is no file yet");
        before.hear(&gates, "copy").await.expect("it listens").expect("it is kept");
        let after = Heartbeats::in_directory(place.clone());
        after.prepare(&gates, "copy").await.expect("the file is there");
        assert_eq!(after.answer("copy", HOUR), Answer::Good);

        let file = fs::File::options().write(true).open(place.join("copy")).expect("the file");
        file.set_modified(SystemTime::now() - 2 * HOUR).expect("its time is set");
        let later = Heartbeats::in_directory(place);
        later.prepare(&gates, "copy").await.expect("the file is there");
        let missed = later.answer("copy", HOUR);
        assert!(matches!(&missed, Answer::CouldNotAsk(text) if text.contains("nobody listened before")), "{missed:?}");
        assert!(
            matches!(later.answer("copy", Duration::ZERO), Answer::Wrong(_)),
            "it has listened for longer than that"
        );
    }
}
