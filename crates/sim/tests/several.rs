//! A fixed set of trials with several agents, as every change has to pass it.

use mainstay_sim::dice::Dice;
use mainstay_sim::several::Several;

const SEEDS: std::ops::Range<u64> = 0..200;

#[test]
fn nothing_is_violated_among_several_agents() {
    let asked = std::env::var("MAINSTAY_SEEDS").ok();
    let range = asked.as_deref().and_then(|it| it.split_once(".."));
    let range = range.map_or(SEEDS, |(from, to)| from.parse().expect("a number")..to.parse().expect("a number"));
    for seed in range {
        let trial = Several::drawn(seed, &mut Dice::named(seed, "several agents, in turn"));
        let ended = trial.run();
        assert_eq!(ended.violation, None, "{}", trial.tell(&ended));
    }
}
