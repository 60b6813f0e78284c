//! What this machine holds, in files: one for each lease, `INSTANCE.json`, in a folder of its own.
//!
//! The host process writes how long a lease is good; the [keeper](super::keeper) takes away what is over. Neither waits for the
//! other, because either may be stopped at any moment: a lease that is over is renamed to `INSTANCE.ending` before what it guards
//! is ended, and no grant counts while that file is there. A program may read its own lease here, too.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::Holding;

/// A lease as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Of what.
    pub component: String,
    /// Who holds it.
    pub instance: String,
    /// Until when, in nanoseconds of `CLOCK_BOOTTIME`; 0: it was taken back.
    pub until_boot_ns: u64,
    /// The kernel's name for the time since this machine started. Of an earlier one, it is over.
    pub boot_id: String,
    /// Under which epoch the agent granted it last, and the least stance that it may be held by while that agent is silent; 0: by
    /// none.
    #[serde(default)]
    pub stance: (u64, u64),
    /// The hosts by whose word it is held, if the agent's is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// The folder of leases.
#[derive(Clone, Debug)]
pub struct Leases {
    folder: PathBuf,
    boot_id: String,
}

impl Leases {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path) -> io::Result<Leases> {
        fs::create_dir_all(folder)?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Leases { folder: folder.to_owned(), boot_id })
    }

    /// Opens the folder only if it is there, to look.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    pub fn look(folder: &Path) -> io::Result<Leases> {
        fs::read_dir(folder)?;
        Leases::open(folder)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How long ending one thing may take altogether, as the agent says it: it waits no longer than that.
    ///
    /// # Errors
    /// What the file system says; it is then as it was.
    pub fn set_demote(&self, demote: Duration) -> io::Result<()> {
        if self.demote() == Some(demote) {
            return Ok(());
        }
        let beside = self.folder.join("demote_ms.new");
        fs::write(&beside, demote.as_millis().to_string())?;
        fs::rename(&beside, self.folder.join("demote_ms"))
    }

    /// The same, as it was said last; `None`: never.
    pub fn demote(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.folder.join("demote_ms")).ok()?;
        text.trim().parse().ok().map(Duration::from_millis)
    }

    /// A lease is good until then, and may be held by `stance` afterwards. `false`: the one before was over, and what it guards is
    /// being ended; this grant does not count.
    ///
    /// # Errors
    /// What the file system says; the lease is then as it was.
    pub fn extend(
        &self,
        holding: &Holding,
        until_boot_ns: u64,
        stance: (u64, u64),
        now_boot_ns: u64,
    ) -> io::Result<bool> {
        let before = self.read(&self.file(&holding.instance))?;
        if before.as_ref().is_some_and(|it| self.is_over(it, now_boot_ns)) || self.is_ending(&holding.instance) {
            return Ok(false);
        }
        let stance = stance.max(before.as_ref().map_or((0, 0), |it| it.stance));
        let (until_boot_ns, by) = match &before {
            Some(before) if before.until_boot_ns > until_boot_ns => (before.until_boot_ns, before.by.clone()),
            Some(_) | None => (until_boot_ns, Vec::new()),
        };
        let lease = Lease { stance, by, ..self.lease(holding, until_boot_ns) };
        self.write(&lease, before.is_none())?;
        // The keeper may have found the one before over in this moment.
        Ok(!self.is_ending(&holding.instance))
    }

    /// A lease that is good goes on until then, by the word of these hosts. `false`: it was over, or is longer already.
    ///
    /// # Errors
    /// What the file system says; the lease is then as it was.
    pub fn prolong(
        &self,
        holding: &Holding,
        until_boot_ns: u64,
        by: Vec<String>,
        now_boot_ns: u64,
    ) -> io::Result<bool> {
        let before = self.read(&self.file(&holding.instance))?;
        let good = before.filter(|it| !self.is_over(it, now_boot_ns) && !self.is_ending(&holding.instance));
        let Some(before) = good.filter(|it| it.until_boot_ns < until_boot_ns) else { return Ok(false) };
        self.write(&Lease { until_boot_ns, by, ..before }, false)?;
        Ok(!self.is_ending(&holding.instance))
    }

    /// It is taken back: what it guards is ended, also if there was no lease.
    ///
    /// # Errors
    /// What the file system says.
    pub fn revoke(&self, holding: &Holding) -> io::Result<()> {
        if self.is_ending(&holding.instance) {
            return Ok(());
        }
        self.write(&self.lease(holding, 0), true)
    }

    /// What is held and good at this moment.
    ///
    /// # Errors
    /// What the file system says.
    pub fn good(&self, now_boot_ns: u64) -> io::Result<Vec<Lease>> {
        let all = self.with_extension("json")?;
        Ok(all.into_iter().filter(|it| !self.is_over(it, now_boot_ns) && !self.is_ending(&it.instance)).collect())
    }

    /// Whether nothing is left of a lease: it was never there, or is over and what it guards was ended.
    pub fn is_gone(&self, instance: &str) -> bool {
        !self.is_ending(instance) && !self.file(instance).exists()
    }

    /// What is over, so that what it guards is to be ended now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn over(&self, now_boot_ns: u64) -> io::Result<Vec<Lease>> {
        for lease in self.with_extension("json")?.into_iter().filter(|it| self.is_over(it, now_boot_ns)) {
            fs::rename(self.file(&lease.instance), self.ending(&lease.instance))?;
        }
        self.with_extension("ending")
    }

    /// What a lease guarded was seen to act no more.
    ///
    /// # Errors
    /// What the file system says.
    pub fn ended(&self, instance: &str) -> io::Result<()> {
        remove(&self.file(instance))?;
        remove(&self.ending(instance))?;
        File::open(&self.folder)?.sync_all()
    }

    fn is_over(&self, lease: &Lease, now_boot_ns: u64) -> bool {
        lease.boot_id != self.boot_id || lease.until_boot_ns <= now_boot_ns
    }

    fn is_ending(&self, instance: &str) -> bool {
        self.ending(instance).exists()
    }

    fn file(&self, instance: &str) -> PathBuf {
        self.folder.join(format!("{instance}.json"))
    }

    fn ending(&self, instance: &str) -> PathBuf {
        self.folder.join(format!("{instance}.ending"))
    }

    fn lease(&self, holding: &Holding, until_boot_ns: u64) -> Lease {
        Lease {
            component: holding.component.clone(),
            instance: holding.instance.clone(),
            until_boot_ns,
            boot_id: self.boot_id.clone(),
            stance: (0, 0),
            by: Vec::new(),
        }
    }

    /// A new one is synced, so that after a crash of the machine it is known that there was one.
    fn write(&self, lease: &Lease, sync: bool) -> io::Result<()> {
        let beside = self.folder.join(format!("{}.new", lease.instance));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(lease)?)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&beside, self.file(&lease.instance))?;
        if sync {
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }

    fn with_extension(&self, extension: &str) -> io::Result<Vec<Lease>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == extension) {
                found.extend(self.read(&path)?);
            }
        }
        found.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(found)
    }

    /// A file that can't be understood is a lease that is over: what it guards is ended rather than forgotten.
    fn read(&self, path: &Path) -> io::Result<Option<Lease>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let lease = serde_json::from_slice(&text).unwrap_or_else(|_| {
            let instance = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            self.lease(&Holding { component: String::new(), instance }, 0)
        });
        Ok(Some(lease))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held by no stance.
    const NO: (u64, u64) = (3, 0);

    fn db() -> Holding {
        Holding { component: "db".to_owned(), instance: "db-a".to_owned() }
    }

    fn leases() -> (tempfile::TempDir, Leases) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let leases = Leases::open(&folder.path().join("leases")).expect("it is writable");
        (folder, leases)
    }

    #[test]
    fn a_lease_is_good_until_its_end_and_then_ended_once_and_for_all() {
        let (_folder, leases) = leases();
        assert!(leases.is_gone("db-a"));
        assert!(leases.extend(&db(), 100, NO, 50).expect("it is written"));
        assert!(leases.extend(&db(), 120, NO, 60).expect("it is written"));
        assert!(leases.extend(&db(), 90, NO, 61).expect("a grant that comes late does not shorten it"));
        assert_eq!(leases.good(119).expect("it is read").len(), 1);
        assert_eq!(leases.over(119).expect("it is read"), []);
        assert_eq!(leases.good(120).expect("it is read"), [], "before the keeper has looked, too");
        assert!(!leases.extend(&db(), 300, NO, 120).expect("it is read"), "it was over first");
        assert_eq!(leases.over(120).expect("it is read").len(), 1);
        assert!(!leases.is_gone("db-a"));
        assert!(!leases.extend(&db(), 300, NO, 121).expect("it is read"), "what it guards is being ended");
        assert_eq!(leases.over(121).expect("it is read").len(), 1, "until that is done");
        leases.ended("db-a").expect("it is removed");
        assert!(leases.is_gone("db-a"));
        assert!(leases.extend(&db(), 300, NO, 122).expect("it is written"), "a new one");
    }

    #[test]
    fn what_is_taken_back_is_ended_also_if_it_never_was() {
        let (_folder, leases) = leases();
        leases.revoke(&db()).expect("it is written");
        assert_eq!(leases.over(1).expect("it is read").len(), 1);
        leases.ended("db-a").expect("it is removed");
        assert!(leases.extend(&db(), 300, NO, 2).expect("it is written"));
        leases.revoke(&db()).expect("it is written");
        assert!(!leases.extend(&db(), 400, NO, 3).expect("it is read"), "a grant that was under way does not count");
        assert_eq!(leases.over(3).expect("it is read").len(), 1);
    }

    #[test]
    fn a_lease_of_before_the_machine_started_is_over() {
        let (_folder, leases) = leases();
        leases.extend(&db(), u64::MAX, NO, 1).expect("it is written");
        let later = Leases { boot_id: "another".to_owned(), ..leases };
        assert_eq!(later.over(1).expect("it is read").len(), 1);
    }

    #[test]
    fn what_cant_be_understood_is_over() {
        let (_folder, leases) = leases();
        leases.extend(&db(), 100, NO, 50).expect("it is written");
        fs::write(leases.file("db-a"), b"{\"compon").expect("it is written");
        let over = leases.over(51).expect("it is read");
        assert_eq!(over.iter().map(|it| it.instance.as_str()).collect::<Vec<_>>(), ["db-a"]);
    }

    #[test]
    fn a_grant_that_crosses_the_end_does_not_survive_it() {
        let (_folder, leases) = leases();
        leases.extend(&db(), 100, NO, 50).expect("it is written");
        leases.over(100).expect("it is read");
        // The host process was stopped between its look and its writing.
        leases.write(&leases.lease(&db(), 300), false).expect("it is written");
        assert_eq!(leases.good(101).expect("it is read"), []);
        leases.ended("db-a").expect("it is removed");
        assert!(leases.is_gone("db-a"));
    }

    #[test]
    fn the_word_of_others_lengthens_what_is_good_and_nothing_else() {
        let (_folder, leases) = leases();
        let by = || vec!["db-b".to_owned()];
        assert!(!leases.prolong(&db(), 200, by(), 10).expect("it is read"), "there is no lease");
        assert!(leases.is_gone("db-a"));
        leases.extend(&db(), 100, (3, 7), 50).expect("it is written");
        assert!(leases.prolong(&db(), 150, by(), 99).expect("it is written"));
        let held = leases.good(149).expect("it is read").remove(0);
        assert_eq!((held.until_boot_ns, held.stance, held.by), (150, (3, 7), by()));
        assert!(!leases.prolong(&db(), 140, by(), 99).expect("it is read"), "it is longer already");
        leases.extend(&db(), 120, (3, 7), 100).expect("it is written");
        assert_eq!(leases.good(100).expect("it is read")[0].by, by(), "the agent's word is over before");
        leases.extend(&db(), 160, (3, 8), 101).expect("it is written");
        let held = leases.good(101).expect("it is read").remove(0);
        assert_eq!((held.until_boot_ns, held.stance, held.by), (160, (3, 8), Vec::new()));
        assert!(!leases.prolong(&db(), 200, by(), 160).expect("it is read"), "it is over");
        leases.over(160).expect("it is read");
        assert!(!leases.prolong(&db(), 200, by(), 150).expect("it is read"), "what it guards is being ended");
        leases.ended("db-a").expect("it is removed");
        leases.extend(&db(), 300, NO, 170).expect("it is written");
        leases.revoke(&db()).expect("it is written");
        assert!(!leases.prolong(&db(), 400, by(), 171).expect("it is read"), "it was taken back");
    }
}
