//! Who may be there at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Clients of one listener that have not said yet what they want. When there are too many, the one that has had the most time
/// goes: however many say nothing, one that speaks at once is heard.
#[derive(Debug)]
pub struct Foyer {
    room: usize,
    guests: Mutex<(u64, BTreeMap<u64, CancellationToken>)>,
}

impl Foyer {
    /// Has room for so many.
    pub fn new(room: usize) -> Arc<Foyer> {
        Arc::new(Foyer { room, guests: Mutex::default() })
    }

    /// Lets a client in.
    pub fn enter(self: &Arc<Self>) -> Guest {
        let goes = CancellationToken::new();
        let mut guests = self.guests();
        let number = guests.0;
        guests.0 += 1;
        let oldest = if guests.1.len() >= self.room { guests.1.pop_first() } else { None };
        guests.1.insert(number, goes.clone());
        drop(guests);
        if let Some((_, oldest)) = &oldest {
            oldest.cancel();
        }
        Guest { foyer: Arc::clone(self), number, goes }
    }

    fn guests(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, CancellationToken>)> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of them.
#[derive(Debug)]
pub struct Guest {
    foyer: Arc<Foyer>,
    number: u64,
    /// Cancelled when it has to go.
    pub goes: CancellationToken,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.foyer.guests().1.remove(&self.number);
    }
}
