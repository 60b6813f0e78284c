//! What counts as the last one by now. A clock that was wrong may have dated another one in the future: it would be the last one until then, and
//! nothing would be due.

use jiff::Timestamp;

use crate::{Backup, Test};

/// The newest of the backups, the oldest first, that was begun by `now`.
pub fn newest(backups: &[Backup], now: Timestamp) -> Option<&Backup> {
    backups.iter().rfind(|it| it.began <= now)
}

/// The last restore test that ended by `now`, and of which backup.
pub fn last_test(backups: &[Backup], now: Timestamp) -> Option<(&Backup, &Test)> {
    let tests = backups.iter().filter_map(|it| Some((it, it.test.as_ref()?)));
    tests.filter(|it| it.1.at <= now).max_by_key(|it| it.1.at)
}

/// What is dated later than `now`, for people.
pub fn dated_ahead(backups: &[Backup], now: Timestamp) -> Vec<String> {
    let why = "a clock was wrong; it does not count when the next is due";
    let taken = |it: &Backup| format!("the backup {} is dated in the future: {why}", it.name);
    let tested = |it: &Backup, at| format!("the restore test of {} is dated in the future ({at}): {why}", it.name);
    let of = |it: &Backup| {
        let at = it.test.as_ref().map(|it| it.at).filter(|it| *it > now);
        [(it.began > now).then(|| taken(it)), at.map(|at| tested(it, at))]
    };
    backups.iter().flat_map(of).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lsn;

    fn backup(name: &str, began: i64, tested: Option<i64>) -> Backup {
        let at = |seconds| Timestamp::from_second(seconds).expect("a moment");
        Backup {
            name: name.to_owned(),
            system: 7,
            timeline: 1,
            start: Lsn(0),
            stop: Lsn(1),
            began: at(began),
            ended: at(began),
            verified: at(began),
            took_ms: 1,
            files: 1,
            bytes: 1,
            from: "x".to_owned(),
            role: "primary".to_owned(),
            test: tested.map(|it| Test { at: at(it), took_ms: 1, reached: Lsn(1) }),
        }
    }

    #[test]
    fn what_is_dated_in_the_future_is_no_last_one_and_is_said() {
        let all = [backup("first", 10, Some(900)), backup("second", 20, Some(50)), backup("ahead", 800, None)];
        let at = |seconds| Timestamp::from_second(seconds).expect("a moment");
        let names = |now| {
            let newest = newest(&all, at(now)).map(|it| it.name.as_str());
            (newest, last_test(&all, at(now)).map(|it| it.0.name.as_str()))
        };
        assert_eq!(names(5), (None, None));
        assert_eq!(names(20), (Some("second"), None));
        assert_eq!(names(100), (Some("second"), Some("second")));
        assert_eq!(names(900), (Some("ahead"), Some("first")));
        let said = dated_ahead(&all, at(100));
        assert!(matches!(&said[..], [test, backup] if test.contains("of first") && backup.contains("backup ahead")));
        assert_eq!(dated_ahead(&all, at(900)), Vec::<String>::new());
    }
}
