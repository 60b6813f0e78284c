//! What the host process asks of the agent, and what it does with the answer.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::book::Holding;
use super::held::Leases;

/// Questions that are remembered; of an older one, the answer came too late.
const OUTSTANDING: usize = 64;

/// The leases of this machine, as the host process sees to them.
#[derive(Debug)]
pub struct Renewals {
    leases: Leases,
    guarded: Vec<Holding>,
    /// When each question left, in nanoseconds of `CLOCK_BOOTTIME`.
    asked: BTreeMap<u64, u64>,
    next: u64,
    /// Grants that answer an earlier question do not count for this instance: it was ended meanwhile.
    not_before: BTreeMap<String, u64>,
    /// Of what it was not yet said that it is gone.
    held: BTreeMap<String, Holding>,
}

impl Renewals {
    /// Sees to the leases of what is guarded here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(leases: Leases, guarded: Vec<Holding>) -> Renewals {
        let left = guarded.iter().filter(|it| !leases.is_gone(&it.instance));
        let held = left.map(|it| (it.instance.clone(), it.clone())).collect();
        Renewals { leases, guarded, asked: BTreeMap::new(), next: 1, not_before: BTreeMap::new(), held }
    }

    /// A question leaves now. Its number, and what is held at this moment.
    ///
    /// # Errors
    /// What the file system says; nothing is to be asked then.
    pub fn ask(&mut self, now_boot_ns: u64) -> io::Result<(u64, Vec<Holding>)> {
        let good = self.leases.good(now_boot_ns)?;
        let holds = good.into_iter().map(|it| Holding { component: it.component, instance: it.instance });
        let nth = self.next;
        self.next += 1;
        self.asked.insert(nth, now_boot_ns);
        while self.asked.len() > OUTSTANDING {
            self.asked.pop_first();
        }
        Ok((nth, holds.collect()))
    }

    /// The agent's answer to question `nth`: these are good for `expires` from when it was asked, and may be held by `stance`
    /// afterwards. What is taken is returned.
    ///
    /// # Errors
    /// What the file system says; the leases are then as they were.
    pub fn granted(
        &mut self,
        nth: u64,
        holds: &[Holding],
        expires: Duration,
        stance: (u64, u64),
        now_boot_ns: u64,
    ) -> io::Result<Vec<Holding>> {
        let Some(asked) = self.asked.remove(&nth) else { return Ok(Vec::new()) };
        let until = asked.saturating_add(u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX));
        let mut taken = Vec::new();
        for holding in holds.iter().filter(|it| self.guarded.contains(it)) {
            let since_ended = nth >= self.not_before.get(&holding.instance).copied().unwrap_or(0);
            if since_ended && until > now_boot_ns && self.leases.extend(holding, until, stance, now_boot_ns)? {
                self.held.insert(holding.instance.clone(), holding.clone());
                taken.push(holding.clone());
            }
        }
        Ok(taken)
    }

    /// The agent takes a lease back. What it guards is ended, also if there was none.
    ///
    /// # Errors
    /// What the file system says.
    pub fn revoked(&mut self, holding: &Holding) -> io::Result<()> {
        if !self.guarded.contains(holding) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{}` is not guarded here", holding.instance)));
        }
        self.forget(&holding.instance);
        self.leases.revoke(holding)?;
        self.held.insert(holding.instance.clone(), holding.clone());
        Ok(())
    }

    /// What was held or taken back, and acts no more: the agent is to be told. Each is returned once.
    pub fn released(&mut self) -> Vec<Holding> {
        let gone: Vec<Holding> = self.held.values().filter(|it| self.leases.is_gone(&it.instance)).cloned().collect();
        for holding in &gone {
            self.held.remove(&holding.instance);
            self.forget(&holding.instance);
        }
        gone
    }

    /// Whether this instance may act as its component.
    ///
    /// # Errors
    /// What the file system says; it may not then.
    pub fn holds(&self, holding: &Holding, now_boot_ns: u64) -> io::Result<bool> {
        let good = self.leases.good(now_boot_ns)?;
        Ok(good.iter().any(|it| it.instance == holding.instance && it.component == holding.component))
    }

    /// Grants that are under way do not count any more.
    fn forget(&mut self, instance: &str) {
        self.not_before.insert(instance.to_owned(), self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held by no stance.
    const NO: (u64, u64) = (3, 0);
    const TERM: Duration = Duration::from_nanos(100);

    fn db() -> Holding {
        Holding { component: "db".to_owned(), instance: "db-a".to_owned() }
    }

    fn renewals() -> (tempfile::TempDir, Leases, Renewals) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let leases = Leases::open(&folder.path().join("leases")).expect("it is writable");
        let renewals = Renewals::new(leases.clone(), vec![db()]);
        (folder, leases, renewals)
    }

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for() {
        let (_folder, leases, mut renewals) = renewals();
        let (nth, holds) = renewals.ask(10).expect("it is read");
        assert_eq!(holds, []);
        assert_eq!(renewals.granted(nth, &[db()], TERM, NO, 60).expect("it is written"), [db()]);
        assert!(renewals.holds(&db(), 109).expect("it is read"));
        assert!(!renewals.holds(&db(), 110).expect("it is read"));
        assert_eq!(renewals.granted(nth, &[db()], TERM, NO, 61).expect("it is read"), [], "an answer repeated");
        assert_eq!(renewals.granted(99, &[db()], TERM, NO, 61).expect("it is read"), [], "an answer to nothing");
        let other = Holding { component: "db".to_owned(), instance: "db-b".to_owned() };
        let (nth, holds) = renewals.ask(62).expect("it is read");
        assert_eq!(holds, [db()]);
        assert_eq!(renewals.granted(nth, &[other], TERM, NO, 63).expect("it is read"), [], "it does not live here");
        let (nth, _) = renewals.ask(64).expect("it is read");
        assert_eq!(renewals.granted(nth, &[db()], TERM, NO, 164).expect("it is read"), [], "it came too late");
        assert_eq!(leases.over(164).expect("it is read").len(), 1);
    }

    #[test]
    fn what_was_taken_back_or_has_ended_is_told_once_and_grants_under_way_are_void() {
        let (_folder, leases, mut renewals) = renewals();
        let (first, _) = renewals.ask(10).expect("it is read");
        renewals.granted(first, &[db()], TERM, NO, 11).expect("it is written");
        let (under_way, _) = renewals.ask(20).expect("it is read");
        renewals.revoked(&db()).expect("it is written");
        assert_eq!(renewals.released(), [], "nobody has ended it yet");
        leases.over(21).expect("it is read");
        leases.ended("db-a").expect("it is removed");
        assert_eq!(renewals.released(), [db()]);
        assert_eq!(renewals.released(), []);
        assert_eq!(renewals.granted(under_way, &[db()], TERM, NO, 30).expect("it is read"), []);
        let (next, _) = renewals.ask(31).expect("it is read");
        assert_eq!(renewals.granted(next, &[db()], TERM, NO, 32).expect("it is written"), [db()]);
    }

    #[test]
    fn what_is_not_guarded_here_is_not_said_to_be_ended() {
        let (_folder, _leases, mut renewals) = renewals();
        let other = Holding { component: "db".to_owned(), instance: "db-b".to_owned() };
        assert!(renewals.revoked(&other).is_err());
        assert_eq!(renewals.released(), []);
    }

    #[test]
    fn a_host_that_starts_says_what_ended_while_it_was_away() {
        let (_folder, leases, mut renewals) = renewals();
        let (nth, _) = renewals.ask(10).expect("it is read");
        renewals.granted(nth, &[db()], TERM, NO, 11).expect("it is written");
        let mut next = Renewals::new(leases.clone(), vec![db()]);
        leases.over(200).expect("it is read");
        leases.ended("db-a").expect("it is removed");
        assert_eq!(next.released(), [db()]);
    }
}
