//! Which transitions of the machines were ever taken, for the coverage of trials. Without the feature `trial` nothing is
//! noted and nothing is kept.

use std::collections::BTreeMap;

/// Machine, state, input → how often.
pub type Transitions = BTreeMap<(&'static str, &'static str, &'static str), u64>;

#[cfg(feature = "trial")]
mod on {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::Transitions;

    std::thread_local! {
        static TAKEN: RefCell<Transitions> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(crate) fn taken(machine: &'static str, state: &'static str, input: &'static str) {
        TAKEN.with_borrow_mut(|it| *it.entry((machine, state, input)).or_default() += 1);
    }

    /// What the engines of this thread took since the last call.
    pub fn transitions() -> Transitions {
        TAKEN.take()
    }
}

#[cfg(feature = "trial")]
pub use on::transitions;

#[cfg(feature = "trial")]
pub(crate) use on::taken;

/// Nothing, without the feature.
#[cfg(not(feature = "trial"))]
pub fn transitions() -> Transitions {
    Transitions::new()
}

#[cfg(not(feature = "trial"))]
pub(crate) const fn taken(_: &'static str, _: &'static str, _: &'static str) {}
