//! Trials with hosts hold every invariant, and reach each way in which a lease ends. That they can fail is shown by `planted.rs`.

use mainstay_sim::dice::Dice;
use mainstay_sim::hosted::Hosted;

/// So many seeds are played.
const SEEDS: u64 = 900;

#[test]
fn trials_with_hosts_hold() {
    let (mut ends, mut recoveries, mut agreements) = ([0; 3], 0, 0);
    for seed in 0..SEEDS {
        let trial = Hosted::drawn(seed, &mut Dice::named(seed, "hosts, in turn"));
        let ended = trial.run();
        if let Some(violation) = ended.violation {
            let smaller = trial.shrink(&violation);
            panic!("{}\n{}", violation.text, smaller.tell());
        }
        ends = std::array::from_fn(|it| ends[it] + ended.lease_ends[it]);
        recoveries += ended.recoveries;
        agreements += ended.agreements;
    }
    assert!(ends.iter().all(|it| *it > 10), "released, ran out, held by nobody: {ends:?}");
    assert!(agreements > 100, "{agreements}");
    assert!(recoveries > SEEDS / 2, "{recoveries}");
}
