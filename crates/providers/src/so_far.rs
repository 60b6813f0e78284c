//! What is known so far, in case the time runs out now.
//!
//! A timeout alone doesn't say whose it was: before the name was resolved it is ours, after the request was sent nobody
//! knows whether it was done. So each stage notes what a timeout would mean, and a timeout answers that.

use std::sync::{Mutex, PoisonError};

/// Holds the answer that a timeout at this moment would give.
pub(crate) struct SoFar<T>(Mutex<T>);

impl<T> SoFar<T> {
    pub(crate) fn new(value: T) -> SoFar<T> {
        SoFar(Mutex::new(value))
    }

    /// From now on a timeout means `value`.
    pub(crate) fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
