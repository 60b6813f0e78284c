//! What an agent keeps for the next one of where active instances were: in a file beside its journal, which outlives the process and
//! means nothing after the machine was started anew.

use std::time::Duration;

use mainstay_engine::record::{AskedPlace, LastPlaces};
use mainstay_plan::Time;
use mainstay_plan::observation::LogPosition;

use super::World;

/// The file. Its moments are the world's: the clock that an agent counts by is one that goes on while the agent does not.
#[derive(Debug, Default)]
pub(super) struct Kept {
    written: Option<Time>,
    places: Vec<LastPlaces>,
}

/// Where an instance said that it was, and when it was asked, in the world's time.
pub(super) type Said = (Time, LogPosition);

/// Of so many answers is remembered what they said, for the checker.
const SAID: usize = 4096;

impl World {
    /// The agent writes its file, if it is time: as often as whoever says where it is is asked.
    pub(super) fn keep_places(&mut self) {
        let probes = self.plan.probes.iter().filter(|it| it.kind.reports_place());
        let Some(every) = probes.map(|it| it.timing.interval).min() else { return };
        if self.kept.written.is_some_and(|it| self.now.since(it) < every * 3 / 4) {
            return;
        }
        let Some(engine) = self.engine() else { return };
        let clock = self.clock();
        let mut places = engine.places();
        for it in places.iter_mut().flat_map(|it| &mut it.places) {
            it.asked = before(self.now, clock.since(it.asked));
        }
        self.kept = Kept { written: Some(self.now), places };
    }

    /// What the next agent finds, on its own clock.
    pub(super) fn places_kept(&self) -> Vec<LastPlaces> {
        let (now, clock) = (self.now, self.clock());
        let asked = |it: &AskedPlace| AskedPlace { asked: before(clock, now.since(it.asked)), place: it.place.clone() };
        let of = |it: &LastPlaces| LastPlaces {
            instance: it.instance.clone(),
            places: it.places.iter().map(asked).collect(),
        };
        self.kept.places.iter().map(of).collect()
    }

    /// The agent's machine was started anew: nobody knows how long ago anything in the file was.
    pub(super) fn places_forgotten(&mut self) {
        self.kept = Kept::default();
    }

    /// Notes where an instance said that it was.
    pub(super) fn said_where(&mut self, name: &str, asked: Time, place: LogPosition) {
        let said = self.said.entry(name.to_owned()).or_default();
        if said.len() == SAID {
            said.pop_front();
        }
        said.push_back((asked, place));
    }

    /// The last moment at which an instance is known to have been no further than `place`, also one after a failure: whoever answers once
    /// more, and is still no further, was not before.
    pub(super) fn no_further_than(&self, name: &str, place: &LogPosition) -> Option<Time> {
        let said = self.said.get(name)?.iter();
        let known = said.filter(|it| it.1.is_comparable(place) && it.1.at <= place.at);
        known.map(|it| it.0).max()
    }
}

fn before(now: Time, by: Duration) -> Time {
    Time::from_nanos(now.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}
