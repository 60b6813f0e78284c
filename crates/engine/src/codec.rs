//! The journal's format of a record: a kind, a version and a JSON payload. A newer version is refused, never guessed at.

mod sorted;
mod tagged;

use mainstay_plan::Time;

use crate::record::{Body, Record};

/// The version of every kind's payload that this engine writes.
pub const PAYLOAD_VERSION: u32 = 1;

/// A record as the journal stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Nanoseconds on the agent's timeline; see [`Time`].
    pub at_ns: u64,
    /// [`Body::kind`].
    pub kind: String,
    /// [`PAYLOAD_VERSION`] of whoever wrote it.
    pub version: u32,
    /// JSON.
    pub payload: Vec<u8>,
}

/// Why a stored record can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error(
        "record of kind `{kind}` has version {version}, this program reads up to {PAYLOAD_VERSION}: use a newer one"
    )]
    Newer {
        /// Its kind.
        kind: String,
        /// Its version.
        version: u32,
    },
    /// Not what its kind says.
    #[error("record of kind `{kind}` does not read as one: {reason}")]
    Malformed {
        /// Its kind.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Encodes a record. The same record always gives the same bytes: fields are sorted by name.
pub fn encode(record: &Record) -> Encoded {
    Encoded {
        at_ns: record.at.as_nanos(),
        kind: record.body.kind().to_owned(),
        version: PAYLOAD_VERSION,
        payload: sorted::content(&record.body).expect("record bodies have no map with keys that are not text"),
    }
}

/// Decodes a record.
pub fn decode(encoded: &Encoded) -> Result<Record, DecodeError> {
    if encoded.version > PAYLOAD_VERSION {
        return Err(DecodeError::Newer { kind: encoded.kind.clone(), version: encoded.version });
    }
    let malformed = |reason: String| DecodeError::Malformed { kind: encoded.kind.clone(), reason };
    let payload = std::str::from_utf8(&encoded.payload).map_err(|it| malformed(it.to_string()))?;
    let body: Body = tagged::read(&encoded.kind, payload).map_err(|it| malformed(it.to_string()))?;
    Ok(Record { at: Time::from_nanos(encoded.at_ns), body })
}

/// [`Time`] as nanoseconds.
pub(crate) mod time_nanos {
    use mainstay_plan::Time;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_nanos())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        u64::deserialize(from).map(Time::from_nanos)
    }
}

/// [`Option<Time>`] as nanoseconds or null.
pub(crate) mod optional_time_nanos {
    use mainstay_plan::Time;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
        time.map(Time::as_nanos).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Time>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Time::from_nanos))
    }
}

/// The plan's closed enums travel as their words.
macro_rules! by_word {
    ($module:ident, $type:ty, [$($value:expr),+ $(,)?]) => {
        pub(crate) mod $module {
            use serde::{Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(value: &$type, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(value.word())
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                from.deserialize_str(Word)
            }

            struct Word;

            impl serde::de::Visitor<'_> for Word {
                type Value = $type;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a word")
                }

                fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<$type, E> {
                    let found = [$($value),+].into_iter().find(|it| it.word() == word);
                    found.ok_or_else(|| E::custom(format!("`{word}` is not known here")))
                }
            }
        }
    };
}

by_word!(
    health_word,
    mainstay_plan::observation::Health,
    [
        mainstay_plan::observation::Health::Healthy,
        mainstay_plan::observation::Health::Suspect,
        mainstay_plan::observation::Health::Down,
        mainstay_plan::observation::Health::Unknown,
    ]
);
by_word!(
    role_word,
    mainstay_plan::observation::SeenRole,
    [
        mainstay_plan::observation::SeenRole::Active,
        mainstay_plan::observation::SeenRole::Standby,
        mainstay_plan::observation::SeenRole::Unclear,
    ]
);
by_word!(
    scenario_word,
    mainstay_plan::observation::Scenario,
    [
        mainstay_plan::observation::Scenario::InstanceFailure,
        mainstay_plan::observation::Scenario::ServiceFailure,
        mainstay_plan::observation::Scenario::AvailabilityZoneFailure,
        mainstay_plan::observation::Scenario::RegionFailure,
    ]
);
by_word!(
    strategy_word,
    mainstay_plan::strategy::Strategy,
    [
        mainstay_plan::strategy::Strategy::RestartService,
        mainstay_plan::strategy::Strategy::FailoverToStandby,
        mainstay_plan::strategy::Strategy::RestoreFromBackup,
        mainstay_plan::strategy::Strategy::ReplaceInstance,
        mainstay_plan::strategy::Strategy::ScaleOut,
    ]
);
by_word!(
    lease_end_word,
    mainstay_plan::action::LeaseEnd,
    [
        mainstay_plan::action::LeaseEnd::Released,
        mainstay_plan::action::LeaseEnd::RanOut,
        mainstay_plan::action::LeaseEnd::NotHeld,
    ]
);
by_word!(
    phase_word,
    mainstay_plan::strategy::Phase,
    [
        mainstay_plan::strategy::Phase::Detect,
        mainstay_plan::strategy::Phase::Decide,
        mainstay_plan::strategy::Phase::Fence,
        mainstay_plan::strategy::Phase::Act,
        mainstay_plan::strategy::Phase::Converge,
    ]
);
by_word!(
    level_word,
    mainstay_plan::notification::NoticeLevel,
    [
        mainstay_plan::notification::NoticeLevel::Info,
        mainstay_plan::notification::NoticeLevel::Warning,
        mainstay_plan::notification::NoticeLevel::Error,
    ]
);
