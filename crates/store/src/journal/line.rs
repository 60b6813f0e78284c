//! A record as one line of JSON: what `export` writes, and what the fallback keeps.
//!
//! A payload that is JSON is embedded exactly as it is, byte for byte, so that who reads the line can check the hash;
//! any other payload is in `payload_hex`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::{Entry, Record};
use crate::hash::{Hash, from_hex, to_hex};

/// A record, in the fields of its line. Exactly one of the payloads is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLine {
    /// The record's number.
    pub seq: u64,
    /// Wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// Monotonic clock, nanoseconds.
    pub mono_ns: i64,
    /// What the payload is.
    pub kind: String,
    /// The version of the payload's encoding.
    pub version: u32,
    /// A payload that is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Any other payload, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<String>,
    /// The hash of the record before, in hexadecimal digits.
    pub prev_hash: String,
    /// The record's hash, in hexadecimal digits.
    pub hash: String,
}

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not JSON of the right form.
    #[error("not a record")]
    Json(#[from] serde_json::Error),
    /// A field can't be read.
    #[error("not a record: `{field}` is not what it should be")]
    Field {
        /// The field.
        field: &'static str,
    },
}

impl RecordLine {
    /// The line, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of numbers, strings and checked JSON can be written")
    }

    /// Reads a line. The record's hash is not checked.
    pub fn parse(line: &[u8]) -> Result<Record, LineError> {
        serde_json::from_slice::<Self>(line)?.try_into()
    }
}

impl From<&Record> for RecordLine {
    fn from(record: &Record) -> Self {
        let Record { seq, entry, prev_hash, hash } = record;
        let payload = embeddable(&entry.payload);
        Self {
            seq: *seq,
            wall_ns: entry.wall_ns,
            mono_ns: entry.mono_ns,
            kind: entry.kind.clone(),
            version: entry.version,
            payload_hex: payload.is_none().then(|| to_hex(&entry.payload)),
            payload,
            prev_hash: prev_hash.to_string(),
            hash: hash.to_string(),
        }
    }
}

impl TryFrom<RecordLine> for Record {
    type Error = LineError;

    fn try_from(line: RecordLine) -> Result<Self, LineError> {
        let payload = match (line.payload, line.payload_hex) {
            (Some(json), None) => json.get().as_bytes().to_vec(),
            (None, Some(hex)) => from_hex(&hex).ok_or(LineError::Field { field: "payload_hex" })?,
            (Some(_), Some(_)) | (None, None) => return Err(LineError::Field { field: "payload" }),
        };
        let hash = |text: &str, field| text.parse::<Hash>().map_err(|_| LineError::Field { field });
        let RecordLine { seq, wall_ns, mono_ns, kind, version, .. } = line;
        let prev_hash = hash(&line.prev_hash, "prev_hash")?;
        let own_hash = hash(&line.hash, "hash")?;
        let entry = Entry { wall_ns, mono_ns, kind, version, payload };
        Ok(Self { seq, entry, prev_hash, hash: own_hash })
    }
}

/// The payload as JSON that comes back from a line with the same bytes: on one line, with no blanks around it, and not
/// `null`, which reads as no payload.
fn embeddable(payload: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok()?;
    if text == "null" || text.contains(['\n', '\r']) {
        return None;
    }
    let value = RawValue::from_string(text.to_owned()).ok()?;
    (value.get() == text && text.trim() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::genesis;
    use super::*;

    fn record(payload: &[u8]) -> Record {
        let entry = Entry { wall_ns: -1, mono_ns: 2, kind: "k".to_owned(), version: 1, payload: payload.to_vec() };
        Record::chain(genesis(), 7, entry)
    }

    #[test]
    fn json_is_embedded_as_it_is() {
        let line = RecordLine::from(&record(br#"{"b": 1.00,"a":[2]}"#)).to_json();
        assert!(line.contains(r#""payload":{"b": 1.00,"a":[2]},"prev_hash":"#), "{line}");
        assert!(!line.contains("payload_hex"), "{line}");
    }

    #[test]
    fn bytes_are_written_in_digits() {
        let line = RecordLine::from(&record(&[0, 255])).to_json();
        assert!(line.contains(r#""payload_hex":"00ff""#), "{line}");
    }

    #[test]
    fn every_payload_comes_back() {
        for payload in [&b""[..], b"null", b" 1", b"1 ", b"{\n}", b"\"x\"", b"1e400", b"[", b"\xff", b"true", b"{}"] {
            let line = RecordLine::from(&record(payload)).to_json();
            assert_eq!(RecordLine::parse(line.as_bytes()).expect("reads"), record(payload), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_payload_comes_back_on_one_line(payload in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[{\"0-9a \n]{0,8}") {
            for payload in [&payload[..], text.as_bytes()] {
                let line = RecordLine::from(&record(payload)).to_json();
                prop_assert!(!line.contains('\n'));
                prop_assert_eq!(RecordLine::parse(line.as_bytes()).expect("reads"), record(payload));
            }
        }
    }
}
