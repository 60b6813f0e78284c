//! Names and places in a write-ahead log, as PostgreSQL writes them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in the log, in bytes from its beginning: `0/3000028`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

/// That is no place in a log.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no place in a log, as in `0/3000028`")]
pub struct LsnError(String);

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        let wrong = || LsnError(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(wrong)?;
        let part = |it: &str| u32::from_str_radix(it, 16).map(u64::from).map_err(|_| wrong());
        Ok(Lsn(part(high)? << 32 | part(low)?))
    }
}

impl TryFrom<String> for Lsn {
    type Error = LsnError;

    fn try_from(text: String) -> Result<Lsn, LsnError> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> String {
        lsn.to_string()
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A segment's name: `000000010000000000000003`. Those of one timeline are ordered as the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Whose history it belongs to.
    pub timeline: u32,
    high: u32,
    low: u32,
}

impl Segment {
    /// The one that holds a place in the log.
    pub fn of(timeline: u32, at: Lsn, size: u64) -> Segment {
        let part = |it: u64| u32::try_from(it & 0xFFFF_FFFF).unwrap_or(u32::MAX);
        Segment { timeline, high: part(at.0 >> 32), low: part((at.0 & 0xFFFF_FFFF) / size.max(1)) }
    }

    /// Where it begins, for segments of that size in bytes. A name that no log has lies at the end of all.
    pub fn start(&self, size: u64) -> Lsn {
        Lsn((u64::from(self.high) << 32).saturating_add(u64::from(self.low).saturating_mul(size)))
    }

    /// Where the one behind it begins.
    pub(crate) fn end(&self, size: u64) -> Lsn {
        Lsn(self.start(size).0.saturating_add(size))
    }

    /// The same part of the log on another timeline.
    pub fn on(&self, timeline: u32) -> Segment {
        Segment { timeline, ..*self }
    }

    /// The one behind it.
    pub fn next(&self, size: u64) -> Segment {
        Segment::of(self.timeline, self.end(size), size)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.high, self.low)
    }
}

/// What a server archives, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalName {
    /// A whole segment.
    Segment(Segment),
    /// The last segment of a timeline that has ended: `….partial`.
    Partial(Segment),
    /// Where a timeline came from: `00000002.history`.
    History(u32),
    /// Where a base backup began and ended: `….00000028.backup`.
    Label(Segment),
}

impl WalName {
    /// What a name says; `None`: a server archives nothing of that name.
    pub fn read(name: &str) -> Option<WalName> {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let is_hex = |it: &str| it.bytes().all(|it| matches!(it, b'0'..=b'9' | b'A'..=b'F'));
        if !is_hex(first) {
            return None;
        }
        let part = |at: usize| u32::from_str_radix(first.get(at..at + 8)?, 16).ok();
        if first.len() == 8 {
            return (rest == Some("history")).then(|| part(0)).flatten().map(WalName::History);
        }
        if first.len() != 24 {
            return None;
        }
        let segment = Segment { timeline: part(0)?, high: part(8)?, low: part(16)? };
        match rest {
            None => Some(WalName::Segment(segment)),
            Some("partial") => Some(WalName::Partial(segment)),
            Some(rest) => {
                let offset = rest.strip_suffix(".backup")?;
                (offset.len() == 8 && is_hex(offset)).then_some(WalName::Label(segment))
            }
        }
    }
}

/// What the first page of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) system: u64,
    pub(crate) start: Lsn,
    /// In bytes.
    pub(crate) size: u64,
}

/// `XLP_LONG_HEADER` of `xlog_internal.h`.
const LONG_HEADER: u16 = 2;

impl Header {
    /// `XLogLongPageHeaderData` of `xlog_internal.h`, in this machine's byte order; `None`: it does not begin with one.
    fn parse(page: &[u8; 40]) -> Option<Header> {
        let of = |at: usize| page.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes);
        let info = u16::from_ne_bytes([page[2], page[3]]);
        let size = u32::from_ne_bytes([page[32], page[33], page[34], page[35]]);
        let is_size = size.is_power_of_two() && (1 << 20..=1 << 30).contains(&size);
        (info & LONG_HEADER != 0 && is_size).then_some(())?;
        Some(Header { system: of(24)?, start: Lsn(of(8)?), size: size.into() })
    }

    pub(crate) fn read(path: &Path) -> io::Result<Option<Header>> {
        let mut page = [0; 40];
        match File::open(path)?.read_exact(&mut page) {
            Ok(()) => Ok(Header::parse(&page)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where a timeline began, as its history says: the end of the last line's timeline.
pub(crate) fn began(history: &str) -> Option<Lsn> {
    let lines = history.lines().map(str::trim);
    let last = lines.rev().find(|it| !it.is_empty() && !it.starts_with('#'))?;
    last.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The beginning of a segment, filled up to its size with `fill`.
    pub(crate) fn segment(system: u64, start: Lsn, size: u32, fill: u8) -> Vec<u8> {
        let mut all = vec![fill; size as usize];
        all[..40].fill(0);
        all[2..4].copy_from_slice(&LONG_HEADER.to_ne_bytes());
        all[8..16].copy_from_slice(&start.0.to_ne_bytes());
        all[24..32].copy_from_slice(&system.to_ne_bytes());
        all[32..36].copy_from_slice(&size.to_ne_bytes());
        all
    }

    #[test]
    fn names_are_told_apart() {
        let segment = Segment { timeline: 1, high: 2, low: 0xFE };
        assert_eq!(WalName::read("0000000100000002000000FE"), Some(WalName::Segment(segment)));
        assert_eq!(WalName::read("0000000100000002000000FE.partial"), Some(WalName::Partial(segment)));
        assert_eq!(WalName::read("0000000100000002000000FE.00000028.backup"), Some(WalName::Label(segment)));
        assert_eq!(WalName::read("0000000A.history"), Some(WalName::History(10)));
        for none in [
            "",
            "../etc/passwd",
            "RECOVERYXLOG",
            "0000000100000002000000fe",
            "0000000A",
            "0000000A.histor",
            "x.history",
        ] {
            assert_eq!(WalName::read(none), None, "{none}");
        }
        assert_eq!(segment.to_string(), "0000000100000002000000FE");
    }

    #[test]
    fn segments_follow_each_other_over_the_border_of_a_name() {
        let size = 16 << 20;
        let last = Segment { timeline: 1, high: 2, low: 0xFF };
        assert_eq!(last.start(size).to_string(), "2/FF000000");
        assert_eq!(last.next(size), Segment { timeline: 1, high: 3, low: 0 });
        assert_eq!(Segment::of(1, Lsn(last.start(size).0 + size - 1), size), last);
    }

    #[test]
    fn a_name_that_no_log_has_lies_at_the_end_of_all() {
        let Some(WalName::Segment(last)) = WalName::read("FFFFFFFFFFFFFFFFFFFFFFFF") else { panic!("a segment") };
        for size in [1 << 20, 1 << 30] {
            assert_eq!((last.start(size).0, last.end(size).0), (u64::MAX, u64::MAX));
        }
    }

    #[test]
    fn places_are_written_as_they_are_read() {
        let lsn: Lsn = "16/B374D848".parse().expect("a place");
        assert_eq!((lsn.0, lsn.to_string()), (0x16_B374_D848, "16/B374D848".to_owned()));
        for none in ["", "16", "16/", "g/1", "1/123456789"] {
            assert!(none.parse::<Lsn>().is_err(), "{none}");
        }
    }

    #[test]
    fn a_timeline_says_where_it_began() {
        let history = "# comment\n1\t0/2000000\tno recovery target specified\n\n2\t0/50001A8\tbefore 2026-11-29\n";
        assert_eq!(began(history), Some(Lsn(0x0500_01A8)));
        assert_eq!(began(""), None);
    }
}
