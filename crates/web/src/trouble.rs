//! What the process can't do at the moment, in words for people. A note stands until what it is about is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

/// The notes, by what they are about.
#[derive(Debug, Default)]
pub struct Trouble {
    notes: Mutex<BTreeMap<String, String>>,
}

impl Trouble {
    /// Says what is wrong with `about`; replaces what was said of it before.
    pub fn note(&self, about: &str, text: String) {
        let mut notes = self.notes();
        if notes.get(about) != Some(&text) {
            warn!(about, "{text}");
            notes.insert(about.to_owned(), text);
        }
    }

    /// `about` is fine again.
    pub fn clear(&self, about: &str) {
        if self.notes().remove(about).is_some() {
            info!(about, "works again");
        }
    }

    /// Everything that is wrong.
    pub fn list(&self) -> Vec<String> {
        self.notes().values().cloned().collect()
    }

    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // A note is whole or absent, so a panic elsewhere leaves nothing half done here.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
