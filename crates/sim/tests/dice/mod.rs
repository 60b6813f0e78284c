//! Chance from a seed, for tests that explore: a failing seed is printed, and is one number to play again.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")].clone()
    }

    pub(crate) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("MAINSTAY_SEEDS").ok();
    let range = named.as_deref().and_then(|it| it.split_once("..")).map(|(from, to)| (from.parse(), to.parse()));
    match range {
        Some((Ok(from), Ok(to))) => from..to,
        Some(_) => panic!("MAINSTAY_SEEDS is a range like 0..300"),
        None => 0..300,
    }
}

/// Plays every seed; `test` is the name of the test's file.
pub(crate) fn explore(test: &str, play: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| play(seed));
        if let Err(panic) = run {
            eprintln!(
                "seed {seed} fails: MAINSTAY_SEEDS={seed}..{} cargo test -p mainstay-sim --test {test}",
                seed + 1
            );
            std::panic::resume_unwind(panic);
        }
    }
}
