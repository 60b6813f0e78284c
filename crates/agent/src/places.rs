//! Where active instances were in their history, kept for the next agent: one that starts while the active one is gone has nobody to
//! ask, and would not know what a standby loses.
//!
//! A small file in the state directory, written by a task of its own at most as often as who says where it is is asked, and put in its
//! place by a rename. Ages are counted on `CLOCK_BOOTTIME`, which goes on while no agent does; where the wall clock says that more
//! time has passed (a machine that was stopped from outside), that counts. What is torn, of another version, of another site or from before the
//! machine was started is not known. A file that is older than it should be makes a loss look larger, never smaller.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_engine::Engine;
use mainstay_engine::record::{AskedPlace, LastPlaces};
use mainstay_host::Clock;
use mainstay_host::clock::boot_ns;
use mainstay_plan::observation::LogPosition;
use mainstay_plan::{Plan, Time};
use mainstay_store::Hash;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The file's name in the state directory.
const FILE: &str = "places.json";

/// The version of its format.
const VERSION: u32 = 1;

/// No file of ours is longer, in bytes.
const LONGEST: u64 = 16 << 20;

/// The machine's clocks, and which start of it they belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    boot_id: String,
    boot_ns: u64,
    wall_ns: u64,
}

/// What the file holds behind its first line, which is the hash of the rest.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    site: String,
    written: Moment,
    instances: Vec<Instance>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Instance {
    name: String,
    /// The oldest first.
    places: Vec<Place>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// How long before the file was written it was asked for, in nanoseconds.
    age_ns: u64,
    place: LogPosition,
}

/// Keeps what the engine knows.
pub(crate) struct Places {
    site: String,
    /// `None`: the machine does not say which start of it this is, and nothing is kept.
    boot_id: Option<String>,
    /// `None`: nobody says where it is.
    every: Option<Duration>,
    /// A little less than that after the last time, so that an answer which comes a little sooner is not left out.
    due: Time,
    file: watch::Sender<Vec<u8>>,
}

impl Places {
    /// Writes into a state directory from now on. Must be called inside a tokio runtime.
    pub(crate) fn keeping(folder: &Path, plan: &Plan) -> Places {
        let (file, written) = watch::channel(Vec::new());
        tokio::spawn(write_each(folder.to_owned(), written));
        let (site, boot_id) = (plan.site.name.clone(), boot_id());
        Places { site, boot_id, every: every(plan), due: Time::ZERO, file }
    }

    /// Another plan may ask more or less often.
    pub(crate) fn under(&mut self, plan: &Plan) {
        self.every = every(plan);
    }

    /// Has the file written, if it is time.
    pub(crate) fn keep(&mut self, engine: &Engine, now: Time) {
        let (Some(every), Some(boot_id)) = (self.every, &self.boot_id) else { return };
        if now < self.due {
            return;
        }
        self.due = now + every * 3 / 4;
        let written = Moment { boot_id: boot_id.clone(), boot_ns: boot_ns(), wall_ns: wall_ns() };
        self.file.send_replace(encoded(&self.site, written, &engine.places(), now));
    }
}

/// How often whoever says where it is is asked, the most often of them.
fn every(plan: &Plan) -> Option<Duration> {
    plan.probes.iter().filter(|it| it.kind.reports_place()).map(|it| it.timing.interval).min()
}

/// What an agent before this one kept, on this one's timeline; nothing, if nothing is known. Why not is said in the log.
pub(crate) fn read(folder: &Path, site: &str, clock: &Clock) -> Vec<LastPlaces> {
    let path = folder.join(FILE);
    let bytes =
        match fs::metadata(&path).and_then(|it| if it.len() > LONGEST { Ok(Vec::new()) } else { fs::read(&path) }) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "where active instances were can't be read, and is not known");
                return Vec::new();
            }
        };
    let Some(boot_id) = boot_id() else { return Vec::new() };
    let moment = Moment { boot_id, boot_ns: boot_ns(), wall_ns: wall_ns() };
    match decoded(&bytes, site, &moment, clock.now()) {
        Ok(places) => places,
        Err(why) => {
            tracing::info!("where active instances were is not known any more: {why}");
            Vec::new()
        }
    }
}

fn encoded(site: &str, written: Moment, places: &[LastPlaces], now: Time) -> Vec<u8> {
    let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    let place = |it: &AskedPlace| Place { age_ns: nanos(now.since(it.asked)), place: it.place.clone() };
    let instance =
        |it: &LastPlaces| Instance { name: it.instance.clone(), places: it.places.iter().map(place).collect() };
    let instances = places.iter().map(instance).collect();
    let kept = Kept { version: VERSION, site: site.to_owned(), written, instances };
    let text = serde_json::to_string(&kept).expect("it is text, numbers and lists");
    format!("{}\n{text}", Hash::of(text.as_bytes())).into_bytes()
}

fn decoded(bytes: &[u8], site: &str, at: &Moment, now: Time) -> Result<Vec<LastPlaces>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is no text".to_owned())?;
    let (hash, text) = text.split_once('\n').ok_or("the file is torn")?;
    if Hash::of(text.as_bytes()).to_string() != hash {
        return Err("the file is torn".to_owned());
    }
    let kept: Kept = serde_json::from_str(text).map_err(|it| format!("the file is of another version: {it}"))?;
    if kept.version != VERSION {
        return Err(format!("the file is of version {}", kept.version));
    }
    if kept.site != site {
        return Err(format!("the file is of the site `{}`", kept.site));
    }
    if kept.written.boot_id != at.boot_id || kept.written.boot_ns > at.boot_ns {
        return Err("the machine was started since".to_owned());
    }
    let by_boot = at.boot_ns - kept.written.boot_ns;
    let since = by_boot.max(at.wall_ns.saturating_sub(kept.written.wall_ns));
    let asked = |it: u64| Time::from_nanos(now.as_nanos().saturating_sub(since.saturating_add(it)));
    let place = |it: Place| AskedPlace { asked: asked(it.age_ns), place: it.place };
    let instance = |it: Instance| LastPlaces { instance: it.name, places: it.places.into_iter().map(place).collect() };
    Ok(kept.instances.into_iter().map(instance).collect())
}

/// Writes what comes, the newest of it, until nobody sends any more.
async fn write_each(folder: PathBuf, mut file: watch::Receiver<Vec<u8>>) {
    let mut failed = false;
    while file.changed().await.is_ok() {
        let bytes = file.borrow_and_update().clone();
        let folder = folder.clone();
        let written = tokio::task::spawn_blocking(move || write(&folder, &bytes)).await;
        match written {
            Ok(Err(error)) if !failed => {
                failed = true;
                tracing::warn!(%error, "where active instances are can't be kept for the next agent");
            }
            Ok(Err(_)) | Err(_) => {}
            Ok(Ok(())) => failed = false,
        }
    }
}

/// Not synced: what the machine forgets when it is started anew means nothing then.
fn write(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!("{FILE}.new"));
    fs::write(&beside, bytes)?;
    fs::rename(beside, folder.join(FILE))
}

fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

fn wall_ns() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn moment(boot: u64, wall: u64) -> Moment {
        Moment { boot_id: "b".to_owned(), boot_ns: boot * SECOND, wall_ns: wall * SECOND }
    }

    fn second(at: u64) -> Time {
        Time::from_nanos(at * SECOND)
    }

    /// At 100 s of the agent's timeline somebody was at 7 who had been asked at 98 s.
    fn file() -> Vec<u8> {
        let place = LogPosition { system: "7".to_owned(), timeline: 3, at: 7 };
        let places = vec![AskedPlace { asked: second(98), place }];
        encoded("shop", moment(50, 1000), &[LastPlaces { instance: "db".to_owned(), places }], second(100))
    }

    fn asked(bytes: &[u8], at: &Moment, now: u64) -> Result<Time, String> {
        decoded(bytes, "shop", at, second(now)).map(|it| it[0].places[0].asked)
    }

    #[test]
    fn the_age_goes_on_while_no_agent_does() {
        assert_eq!(asked(&file(), &moment(60, 1010), 500), Ok(second(488)), "10 s later, whatever that timeline says");
        assert_eq!(
            asked(&file(), &moment(60, 900), 500),
            Ok(second(488)),
            "a wall clock that was set back says nothing"
        );
        assert_eq!(
            asked(&file(), &moment(60, 1100), 500),
            Ok(second(398)),
            "nothing is younger than either clock says"
        );
        assert_eq!(asked(&file(), &moment(60, 9000), 500), Ok(Time::ZERO));
    }

    #[test]
    fn what_is_not_whole_or_not_of_here_is_not_known() {
        let other = Moment { boot_id: "c".to_owned(), ..moment(60, 1010) };
        assert!(asked(&file(), &other, 500).is_err(), "another start of the machine");
        assert!(asked(&file(), &moment(49, 1010), 500).is_err(), "a clock that went back");
        assert!(decoded(&file(), "bank", &moment(60, 1010), second(500)).is_err(), "another site");
        let text = String::from_utf8(file()).expect("text");
        let (_, body) = text.split_once('\n').expect("two lines");
        let newer = body.replace("\"version\":1", "\"version\":2");
        let newer = format!("{}\n{newer}", Hash::of(newer.as_bytes()));
        assert!(asked(newer.as_bytes(), &moment(60, 1010), 500).is_err(), "another version");
        for end in 0..text.len() {
            assert!(asked(&text.as_bytes()[..end], &moment(60, 1010), 500).is_err(), "torn at {end}");
        }
        for at in 0..text.len() {
            let mut bytes = file();
            bytes[at] ^= 1;
            assert!(asked(&bytes, &moment(60, 1010), 500).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::start(Time::ZERO);
        assert!(read(folder.path(), "shop", &clock).is_empty());
        let written = Moment { boot_id: boot_id().expect("Linux"), boot_ns: boot_ns(), wall_ns: wall_ns() };
        let place = LogPosition { system: "7".to_owned(), timeline: 3, at: 7 };
        let asked = clock.now();
        let places = vec![AskedPlace { asked, place }];
        let kept = [LastPlaces { instance: "db".to_owned(), places }];
        write(folder.path(), &encoded("shop", written, &kept, asked)).expect("it is written");
        let found = read(folder.path(), "shop", &clock);
        assert_eq!((found.len(), &found[0].instance), (1, &"db".to_owned()));
        assert_eq!(found[0].places[0].place, kept[0].places[0].place);
        write(folder.path(), b"").expect("it is written");
        assert!(read(folder.path(), "shop", &clock).is_empty());
    }
}
