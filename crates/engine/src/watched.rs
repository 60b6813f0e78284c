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

    type Words = (&'static str, &'static str, &'static str);

    std::thread_local! {
        // By where the words stand: to compare them letter by letter at each transition costs more than the transition.
        static TAKEN: RefCell<BTreeMap<[usize; 3], (Words, u64)>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(crate) fn taken(machine: &'static str, state: &'static str, input: &'static str) {
        let places = [machine, state, input].map(|it| it.as_ptr().addr());
        TAKEN.with_borrow_mut(|it| it.entry(places).or_insert(((machine, state, input), 0)).1 += 1);
    }

    /// What the engines of this thread took since the last call.
    pub fn transitions() -> Transitions {
        let mut all = Transitions::new();
        for (words, times) in TAKEN.take().into_values() {
            *all.entry(words).or_default() += times;
        }
        all
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
