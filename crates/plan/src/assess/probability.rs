//! Unavailability of parts in series, in parallel and k of n, for parts that fail independently.
//!
//! Everything is computed on the side of the *unavailability*, the probability of being down: near 100 % the differences
//! live there, and sums and products of small positive numbers cancel nothing. `1 - 0.99999` would lose five digits.

/// All of them are needed: `1 - (1 - a)(1 - b)…`, folded as `d + u (1 - d)`.
pub fn series(down: impl IntoIterator<Item = f64>) -> f64 {
    down.into_iter().fold(0.0, |all, one| all + one * (1.0 - all))
}

/// One of them is enough: all must be down at once. Of none at all, nothing is up.
pub fn parallel(down: impl IntoIterator<Item = f64>) -> f64 {
    down.into_iter().product()
}

/// At least `needed` of them must be up. The chance of each number of parts that are down (the Poisson binomial
/// distribution) is built part by part, so parts may differ.
pub fn k_of_n(needed: usize, down: &[f64]) -> f64 {
    let Some(spare) = down.len().checked_sub(needed) else { return 1.0 };
    // chance[j]: exactly j of the parts so far are down.
    let mut chance = vec![0.0; down.len() + 1];
    chance[0] = 1.0;
    for (so_far, one) in down.iter().enumerate() {
        for j in (0..=so_far + 1).rev() {
            let before = if j == 0 { 0.0 } else { chance[j - 1] };
            chance[j] = chance[j] * (1.0 - one) + before * one;
        }
    }
    chance[spare + 1..].iter().sum()
}

/// How much each of `of` equal parts may be down so that `needed` of them are up with an unavailability of at most `down`:
/// the inverse of [`k_of_n`], by bisection from below, so the answer never promises too much.
pub fn each_of(needed: usize, of: usize, down: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Each round halves the interval; after 60 nothing is left of an f64 between 0 and 1.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if k_of_n(needed, &vec![middle; of]) <= down {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-15 + 1e-12 * b.abs()
    }

    /// By looking at every combination of parts that are up and down.
    fn enumerated(needed: usize, down: &[f64]) -> f64 {
        let chance = |case: u32| -> f64 {
            down.iter().enumerate().map(|(at, u)| if case >> at & 1 == 1 { *u } else { 1.0 - u }).product()
        };
        let cases = 0..1_u32 << down.len();
        cases.filter(|case| down.len() - (case.count_ones() as usize) < needed).map(chance).sum()
    }

    const PARTS: [f64; 6] = [0.001, 0.0005, 0.25, 0.01, 1e-5, 0.5];

    #[test]
    fn k_of_n_is_what_all_combinations_add_up_to() {
        for of in 0..=PARTS.len() {
            for needed in 0..=of + 1 {
                let (fast, slow) = (k_of_n(needed, &PARTS[..of]), enumerated(needed, &PARTS[..of]));
                assert!(near(fast, slow), "{needed} of {of}: {fast} is not {slow}");
            }
        }
    }

    #[test]
    fn series_and_parallel_are_the_two_ends_of_k_of_n() {
        for of in 1..=PARTS.len() {
            let parts = &PARTS[..of];
            assert!(near(series(parts.iter().copied()), k_of_n(of, parts)), "all of {of}");
            assert!(near(parallel(parts.iter().copied()), k_of_n(1, parts)), "one of {of}");
        }
    }

    #[test]
    fn closed_forms_hold() {
        // Two parts of 99.9 % in a row: 99.8001 %; side by side: 99.9999 %.
        assert!(near(series([0.001, 0.001]), 0.001_999));
        assert!(near(parallel([0.001, 0.001]), 1e-6));
        // Two of three equal parts: 3 u² - 2 u³.
        assert!(near(k_of_n(2, &[0.1; 3]), 3.0 * 0.01 - 2.0 * 0.001));
        assert!(near(series([]), 0.0) && near(parallel([]), 1.0));
        assert!(near(k_of_n(0, &[0.5]), 0.0) && near(k_of_n(2, &[0.5]), 1.0));
    }

    #[test]
    fn nothing_is_lost_near_certainty() {
        // Ten parts of 99.9999999 %: the sum of their downtimes, less the overlaps.
        let all = series([1e-9; 10]);
        assert!((all - (1e-8 - 45e-18)).abs() < 1e-22, "{all:e}");
    }

    #[test]
    fn what_each_needs_gives_what_all_promise() {
        // One of two: the square root.
        assert!(near(each_of(1, 2, 1e-4), 0.01));
        assert!(near(each_of(1, 1, 0.0005), 0.0005));
        for (needed, of) in [(1, 3), (2, 3), (3, 3), (2, 5)] {
            let each = each_of(needed, of, 0.0005);
            let all = k_of_n(needed, &vec![each; of]);
            assert!(all <= 0.0005 && near(all, 0.0005), "{needed} of {of}: {all}");
        }
        assert!(near(each_of(1, 2, 1.0), 1.0) && near(each_of(2, 2, 0.0), 0.0));
    }
}
