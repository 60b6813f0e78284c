//! That the checkers can fail: every fault of `engine/src/planted.rs` is planted, and a named checker has to catch it within a
//! bounded number of seeds. The table of what caught what is `docs/planted-faults.md`, and made here:
//! `MAINSTAY_UPDATE_GOLDEN=1 cargo test -p mainstay-sim --test planted`.

use std::fmt::Write;

use mainstay_engine::planted::{Fault, plant};
use mainstay_sim::dice::Dice;
use mainstay_sim::hosted::{Hosted, TroubleKind};
use mainstay_sim::several::{MischiefKind, Several};
use mainstay_sim::trial::{FaultKind, Trial, named, shrink, stage, tell};
use mainstay_sim::world::HostFault;

/// So many seeds are played at most for one fault.
const SEEDS: u64 = 400;

/// Who has to catch it, on which plans it is looked for, and with which kinds of faults; none: by chance.
type Expected = (&'static str, &'static [&'static str], &'static [FaultKind]);

/// `None`: several agents have to find it.
const fn expected(fault: Fault) -> Option<Expected> {
    use FaultKind as K;
    const ALL: &[K] = &[];
    const ANY: &[&str] = &["database, repeated", "files, rejoining", "shop", "watchful", "two-standbys"];
    Some(match fault {
        Fault::ActBeforeRecord => ("S2", ANY, ALL),
        Fault::EpochUsedTwice | Fault::TrafficAheadIgnored => ("S9", ANY, ALL),
        Fault::FenceTakenForGranted | Fault::CutLeftOut => ("S3", ANY, ALL),
        Fault::UnknownStopCounts => ("S3", &["files", "files, rejoining"], &[K::Link]),
        Fault::StrangerIgnored => ("S1", &["roles", "roles-three"], &[K::Outsider]),
        Fault::DisplacedServes => ("S1", ANY, ALL),
        Fault::DisplacedTakesOver => ("S3", &["database", "two-standbys"], ALL),
        Fault::WitnessesNotAsked | Fault::UnknownIsFailure | Fault::FallNotAwaited => ("S8", ANY, ALL),
        Fault::SignalsNotCounted => ("S8", &["watchful", "shop"], &[K::Gray]),
        // What was heard once is remembered until the agent starts anew.
        Fault::UnknownPositionTakesOver => ("S5", ANY, &[K::Lag, K::Killed]),
        Fault::LagOverRpoTakesOver => ("S5", ANY, &[K::Lag]),
        Fault::PlaceOfBeforeTakenForNow => ("S5", &["ledger"], &[K::Killed, K::Crash]),
        Fault::PlaceTakenForWhole | Fault::LessSureTakesOver => ("S5", &["ledger"], &[K::Lag]),
        Fault::RadiusJudgedBefore | Fault::BrakeOff | Fault::HaltIgnored => ("S6", &["shop"], ALL),
        Fault::PauseIgnored => ("G1", ANY, &[K::People]),
        Fault::CoolDownIgnored => ("G1", ANY, ALL),
        Fault::CrashLoopIgnored => ("G8", &["files", "files, rejoining", "five"], &[K::CrashLoop]),
        Fault::DependencyIgnored => ("G1", &["shop", "hall"], ALL),
        Fault::ObserveModeActs => ("G1", &["database, observed"], ALL),
        Fault::ApprovalOutlivesExpiry => ("G1", &["database, approved"], &[K::People, K::Killed]),
        Fault::QuorumNotCounted => ("G1", &["people"], &[K::People]),
        Fault::AcknowledgementIgnored => ("G1", &["people", "shop"], &[K::People, K::Command]),
        Fault::JournalLossIgnored => ("G1", ANY, ALL),
        Fault::ConditionIgnored => ("G1", &["saga", "watchful"], ALL),
        Fault::RuleJudgedBefore | Fault::GateIgnored | Fault::RouteWaitIgnored => {
            ("S4", &["shop", "shop, three kept"], ALL)
        }
        Fault::UnknownRepeated => ("S7", &["database, tried twice"], &[K::Outcome]),
        Fault::KeyOfEachTry => ("S7", &["database, repeated", "saga, tried again"], &[K::Outcome]),
        Fault::UndoLeftOut | Fault::UndoneInOrder => ("G3", &["saga, nobody asked"], &[K::Command]),
        Fault::StepNeverTimesOut | Fault::TimerForgotten => ("L2", ANY, ALL),
        Fault::AbortIgnored => ("L2", ANY, &[K::People]),
        Fault::MessageForgotten => ("L2", &["people", "told"], ALL),
        Fault::VerifiedUnseen => ("G2", ANY, ALL),
        Fault::RejoinsUnwell => ("G3", ANY, ALL),
        Fault::RepairsOwner => ("G7", &["repaired", "repaired-stopped"], ALL),
        Fault::RepairsBesideRecovery => ("G7", &["repaired", "repaired-stopped"], ALL),
        Fault::RepairsWriter => ("G7", &["repaired-stopped"], ALL),
        Fault::RepairFirst => ("L3", &["shop, without a radius"], &[K::Zone, K::Back]),
        Fault::KeptBesideRecovery
        | Fault::KeepingGoesOn
        | Fault::KeptBesideOthers
        | Fault::KeptInPause
        | Fault::DueNeverKept => ("G9", &["kept-often"], ALL),
        Fault::OverdueUntold => ("G9", &["kept-often"], &[K::Vault]),
        Fault::BreakerNeverCloses => ("G4", &["control"], ALL),
        Fault::JitterOfChance => ("S10", &["saga", "watchful"], ALL),
        // With hosts.
        Fault::GrantBeforeRecord
        | Fault::GrantedWhileItEnds
        | Fault::EndLeaseTakenForGranted
        | Fault::PromotedWithoutLease
        | Fault::SilenceTakenForCut => return None,
        // With several agents.
        Fault::NewLeaseTrustsOldTable
        | Fault::OverLeaseStillActs
        | Fault::AloneMovesExclusive
        | Fault::LeaseEpochNotCompared
        | Fault::LeaseNeverOver
        | Fault::LeaseCountedFromGrant => return None,
    })
}

/// How many seeds it took until some checker complained, and which.
fn caught(fault: Fault, by: &str, plans: &[&str], kinds: &[FaultKind]) -> Option<(u64, String, String)> {
    plant(Some(fault));
    let plans: Vec<u64> = plans.iter().map(|it| named(it).unwrap_or_else(|| panic!("there is no plan {it}"))).collect();
    let found = (0..SEEDS).find_map(|seed| {
        let mut dice = Dice::new(seed);
        let on = stage(dice.pick(&plans)?)?;
        let trial = match kinds {
            [] => Trial::on(seed, on, &mut dice),
            some => Trial::among(seed, on, some.iter().copied().collect(), &mut dice),
        };
        let violation = trial.run().violation?;
        let told = || {
            let smaller = shrink(&trial, &violation).0;
            tell(&smaller, &smaller.run())
        };
        let text = if violation.code == by { String::new() } else { told() };
        Some((seed + 1, violation.code, text))
    });
    plant(None);
    found
}

/// Which checker has to catch a fault that only several agents can show, and with which kinds of mischief; none: by chance.
const fn among(fault: Fault) -> (&'static str, &'static [MischiefKind]) {
    use MischiefKind as K;
    if matches!(fault, Fault::NewLeaseTrustsOldTable) {
        ("S3", &[])
    } else if matches!(fault, Fault::LeaseEpochNotCompared) {
        ("S9", &[K::SlowNetwork, K::StoreLink, K::Killed])
    } else if matches!(fault, Fault::LeaseCountedFromGrant) {
        ("S1", &[K::SlowNetwork, K::StoreLink])
    } else {
        ("S1", &[])
    }
}

/// Which checker has to catch a fault that only hosts can show.
const fn with_hosts(fault: Fault) -> Option<&'static str> {
    if matches!(fault, Fault::GrantBeforeRecord | Fault::EndLeaseTakenForGranted) {
        Some("S2")
    } else if matches!(fault, Fault::GrantedWhileItEnds | Fault::PromotedWithoutLease | Fault::SilenceTakenForCut) {
        Some("S3")
    } else {
        None
    }
}

/// What brings to light that a host or the book does something wrong, beside servers that fail.
const fn shown_by(wrong: HostFault) -> &'static [TroubleKind] {
    match wrong {
        HostFault::GrantedTooSoon | HostFault::TableTakenForWord => &[TroubleKind::HostStopped],
        HostFault::KeptPastTheEnd => &[TroubleKind::WayCut],
        HostFault::LooseLeash => &[TroubleKind::Suspended],
        HostFault::ForgottenPromise => &[TroubleKind::WayCut, TroubleKind::HostsApart],
        HostFault::StaysWithOneMissing => &[TroubleKind::WayCut, TroubleKind::AgentKilled],
    }
}

/// The plan on which such a fault can show.
const fn plan_for(wrong: Option<HostFault>) -> &'static str {
    match wrong {
        Some(HostFault::ForgottenPromise | HostFault::StaysWithOneMissing) => "leased, stays",
        Some(HostFault::TableTakenForWord) => "cut, hosts serve",
        Some(HostFault::GrantedTooSoon | HostFault::KeptPastTheEnd | HostFault::LooseLeash) | None => "leased",
    }
}

/// The same with hosts; what a host or the book does wrong stands in the place of a fault of the engine.
fn caught_with_hosts(fault: Option<Fault>, wrong: Option<HostFault>) -> Option<(u64, String, String)> {
    plant(fault);
    let found = (0..SEEDS).find_map(|seed| {
        let mut dice = Dice::named(seed, "hosts, in turn");
        let mut trial = match fault {
            Some(Fault::SilenceTakenForCut) => Hosted::on("cut, hosts serve", seed, &mut dice),
            Some(_) => Hosted::drawn(seed, &mut dice),
            None => {
                let kinds = wrong.map_or(&[][..], shown_by);
                Hosted::among(plan_for(wrong), seed, kinds.iter().copied().collect(), &mut dice)
            }
        };
        trial.wrong = wrong;
        let violation = trial.run().violation?;
        Some((seed + 1, violation.code, format!("{}\n{}", violation.text, trial.tell())))
    });
    plant(None);
    found
}

/// The same with several agents.
fn caught_among(fault: Fault, by: &str, kinds: &[MischiefKind]) -> Option<(u64, String, String)> {
    plant(Some(fault));
    let found = (0..SEEDS).find_map(|seed| {
        let mut dice = Dice::named(seed, "several agents, in turn");
        let trial = match kinds {
            [] => Several::drawn(seed, &mut dice),
            some => Several::among(seed, some.iter().copied().collect(), &mut dice),
        };
        let violation = trial.run().violation?;
        let told = || {
            let smaller = trial.shrink(&violation);
            smaller.tell(&smaller.run())
        };
        let text = if violation.code == by { String::new() } else { told() };
        Some((seed + 1, violation.code, text))
    });
    plant(None);
    found
}

/// A row of the page where the right checker has seen it, and a complaint otherwise.
fn judge(
    word: &str,
    about: &str,
    by: &str,
    found: Option<(u64, String, String)>,
    page: &mut String,
    complaints: &mut Vec<String>,
) {
    match found {
        Some((seeds, code, _)) if code == by => {
            let _ = writeln!(page, "| {about} | `{word}` | {code} | {seeds} |");
        }
        Some((seeds, code, text)) => {
            complaints.push(format!("{word}: {by} has to catch it, {code} did at seed {seeds}: {text}"));
        }
        None => complaints.push(format!("{word}: not caught within {SEEDS} seeds")),
    }
}

#[test]
fn every_planted_fault_is_caught_by_its_checker() {
    let mut page = String::from(HEAD);
    let mut complaints = Vec::new();
    let asked = std::env::var("MAINSTAY_FAULT").ok();
    for fault in Fault::ALL.iter().filter(|it| asked.as_ref().is_none_or(|asked| asked == it.word())) {
        let about = fault.about();
        let (by, found) = match expected(*fault) {
            Some((by, plans, kinds)) => (by, caught(*fault, by, plans, kinds)),
            None if with_hosts(*fault).is_some() => {
                (with_hosts(*fault).unwrap_or_default(), caught_with_hosts(Some(*fault), None))
            }
            None => {
                let (by, kinds) = among(*fault);
                (by, caught_among(*fault, by, kinds))
            }
        };
        judge(fault.word(), about, by, found, &mut page, &mut complaints);
    }
    for wrong in HostFault::ALL.into_iter().filter(|it| asked.as_ref().is_none_or(|asked| asked == it.word())) {
        let found = caught_with_hosts(None, Some(wrong));
        judge(wrong.word(), wrong.about(), wrong.caught_by(), found, &mut page, &mut complaints);
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/planted-faults.md");
    if std::env::var_os("MAINSTAY_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).expect("writable");
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(stands, page, "MAINSTAY_UPDATE_GOLDEN=1 cargo test -p mainstay-sim --test planted writes it anew");
}

#[test]
fn without_a_fault_none_of_these_plans_complains() {
    for name in [
        "database, repeated",
        "files, rejoining",
        "shop",
        "watchful",
        "people",
        "saga",
        "control",
        "hall",
        "kept-often",
    ] {
        let on = stage(named(name).expect("it is there")).expect("it is sound");
        for seed in 0..12 {
            let violation = Trial::on(seed, on.clone(), &mut Dice::new(seed)).run().violation;
            assert_eq!(violation, None, "{name}, seed {seed}");
        }
    }
}

const HEAD: &str = "# Planted faults

A checker that can't fail checks nothing. Each fault below is planted in the engine by a test, one at a time, and the last ones in the
simulator's hosts and its book of leases; a named checker of the
simulator has to catch it, within the number of seeds given. What the checkers are is said in `crates/sim/src/checkers.rs`. No built
product holds any of this: it is behind a feature that only the simulator's tests switch on.

This page is made by the test `planted` of `mainstay-sim`.

| what is wrong | fault | caught by | seeds it took |
|---|---|---|---|
";
