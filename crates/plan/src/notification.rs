//! Who is told, by which channel, who is told next when nobody answers, and when people are left in peace.

use std::time::Duration;

use crate::Time;
use crate::action::Action;
use crate::location::Location;

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    /// `info`: for the record.
    Info,
    /// `warning`: someone should look.
    Warning,
    /// `error`: something is broken and Mainstay can't mend it.
    Error,
}

impl NoticeLevel {
    /// All of them, the quietest first.
    pub const ALL: [NoticeLevel; 3] = [NoticeLevel::Info, NoticeLevel::Warning, NoticeLevel::Error];

    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            NoticeLevel::Info => "info",
            NoticeLevel::Warning => "warning",
            NoticeLevel::Error => "error",
        }
    }
}

/// Who is told, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationChannel {
    /// Its name.
    pub name: String,
    /// A command or a webhook. The text is handed over as `MAINSTAY_MESSAGE` or as the body.
    pub action: Action,
    /// Where what carries it lives, if the plan says so.
    pub location: Option<Location>,
    /// What it is told by itself. The end of something that it was told of is told whatever its level, and an escalation
    /// tells it everything.
    pub levels: Vec<NoticeLevel>,
    /// After how long something that still stands is said again, until somebody has acknowledged it.
    pub repeat: Option<Duration>,
}

/// One step of an escalation: who is told when nobody has answered for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscalationStep {
    /// From the first notice.
    pub after: Duration,
    /// Channels, by their place in the plan's list.
    pub tell: Vec<usize>,
}

/// A part of each day in which some levels are held back; what was held is told when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietTime {
    /// When it begins, in minutes after midnight.
    pub from: u32,
    /// When it ends, in minutes after midnight; not after `from`: on the next day.
    pub until: u32,
    /// What the clock on the wall is ahead of UTC, in minutes.
    pub offset: i32,
    /// What is held back.
    pub holds: Vec<NoticeLevel>,
}

const MINUTE: u64 = 60_000_000_000;
const DAY: u64 = 1440;

impl QuietTime {
    /// How long it lasts.
    pub const fn length(&self) -> Duration {
        let minutes = (self.until as u64 + DAY - self.from as u64) % DAY;
        Duration::from_secs(60 * if minutes == 0 { DAY } else { minutes })
    }

    /// The end of the quiet time that `at` lies in, if it does.
    fn ends(&self, at: Time) -> Option<Time> {
        let ahead = u64::try_from(i64::from(self.offset).rem_euclid(1440)).unwrap_or(0);
        let of_day = (at.as_nanos() + (ahead + DAY - u64::from(self.from)) * MINUTE) % (DAY * MINUTE);
        let length = u64::try_from(self.length().as_nanos()).unwrap_or(u64::MAX);
        (of_day < length).then(|| at + Duration::from_nanos(length - of_day))
    }
}

/// The earliest moment from `at` on at which something of that level may be told. Quiet times that leave no moment of the
/// day hold nothing back for longer than a day.
pub fn heard_from(quiet: &[QuietTime], level: NoticeLevel, at: Time) -> Time {
    let mut heard = at;
    for _ in 0..=quiet.len() {
        let holding = quiet.iter().filter(|it| it.holds.contains(&level)).find_map(|it| it.ends(heard));
        match holding {
            Some(end) => heard = end,
            None => break,
        }
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(hour: u64) -> Time {
        // Day 20,000 of the epoch, so that nothing depends on the first one.
        Time::from_millis((20_000 * 24 + hour) * HOUR * 1000)
    }

    fn night(offset: i32) -> QuietTime {
        QuietTime { from: 22 * 60, until: 7 * 60, offset, holds: vec![NoticeLevel::Info, NoticeLevel::Warning] }
    }

    #[test]
    fn a_night_holds_until_the_morning_and_lets_an_error_through() {
        let quiet = [night(0)];
        assert_eq!(heard_from(&quiet, NoticeLevel::Warning, at(12)), at(12));
        assert_eq!(heard_from(&quiet, NoticeLevel::Warning, at(22)), at(31));
        assert_eq!(heard_from(&quiet, NoticeLevel::Info, at(27)), at(31));
        assert_eq!(heard_from(&quiet, NoticeLevel::Warning, at(31)), at(31));
        assert_eq!(heard_from(&quiet, NoticeLevel::Error, at(23)), at(23));
    }

    #[test]
    fn the_wall_may_be_ahead_or_behind() {
        assert_eq!(heard_from(&[night(60)], NoticeLevel::Warning, at(21)), at(30));
        assert_eq!(heard_from(&[night(-300)], NoticeLevel::Warning, at(26)), at(26));
        assert_eq!(heard_from(&[night(-300)], NoticeLevel::Warning, at(27)), at(36));
    }

    #[test]
    fn quiet_times_that_touch_are_one_and_a_whole_day_ends() {
        let evening = QuietTime { from: 20 * 60, until: 22 * 60, ..night(0) };
        assert_eq!(heard_from(&[night(0), evening.clone()], NoticeLevel::Info, at(20)), at(31));
        let day = QuietTime { from: 7 * 60, until: 20 * 60, ..night(0) };
        assert!(heard_from(&[night(0), evening, day], NoticeLevel::Info, at(20)) < at(20 + 72));
    }
}
