//! Series of backups in virtual time: taken and tested when that is due, beside failures, whenever the agent dies.

use std::path::Path;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::command::Command;
use mainstay_plan::Plan;
use mainstay_plan::backup::KeepingJob;
use mainstay_sim::checkers::replays;
use mainstay_sim::world::{Fault, HostTrouble, VaultTrouble};
use mainstay_sim::{Crash, CrashKind, Server, World};

const KEPT: &str = include_str!("plans/kept.yaml");
const VAULT: &str = "/srv/backups/ledger";
const BESIDE: &str = "/srv/beside/ledger";

fn plan(text: &str) -> Plan {
    let compiled = mainstay_plan::config::compile("plan.yaml", text, Path::new("/"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

const fn seconds(it: u64) -> Duration {
    Duration::from_secs(it)
}

fn count(world: &World, like: impl Fn(&Body) -> bool) -> usize {
    world.journal().iter().filter(|it| like(&it.1.body)).count()
}

fn told(world: &World, what: &str) -> usize {
    world.told.iter().filter(|it| it.text.contains(what)).count()
}

fn is_done(it: &Body, of: &str, what: KeepingJob) -> bool {
    matches!(it, Body::KeepingCompleted { series, job, seen, .. } if series == of && *job == what && seen.done)
}

fn is_whole(world: &World) {
    let replayed = replays(world.stored(), &world.plan);
    assert!(replayed.decisions > 0);
}

#[test]
fn what_is_due_is_done_and_nobody_is_told() {
    let mut world = World::new(plan(KEPT));
    world.run_for(seconds(3600));
    let (nightly, tests) = (
        count(&world, |it| is_done(it, "nightly", KeepingJob::Backup)),
        count(&world, |it| is_done(it, "nightly", KeepingJob::RestoreTest)),
    );
    assert_eq!((nightly, world.vault(Path::new(VAULT)).backups.len()), (12, 12));
    assert_eq!(tests, 4);
    assert_eq!(count(&world, |it| is_done(it, "beside", KeepingJob::Backup)), 8);
    assert_eq!(count(&world, |it| is_done(it, "beside", KeepingJob::RestoreTest)), 0, "the plan asks for none");
    assert_eq!(count(&world, |it| matches!(it, Body::NoticeSent { .. } | Body::KeepingFailed { .. })), 0);
    is_whole(&world);
}

#[test]
fn killed_at_every_record_of_a_backup_and_a_test() {
    let mut whole = World::new(plan(KEPT));
    whole.run_for(seconds(200));
    let records = whole.journal();
    let first = records.iter().find(|it| matches!(it.1.body, Body::KeepingStarted { .. })).expect("it begins").0;
    let tested = |it: &Body| is_done(it, "nightly", KeepingJob::RestoreTest);
    let last = records.iter().find(|it| tested(&it.1.body)).expect("it is tested").0;
    let mut crashes = 0;
    for seq in first..=last {
        for kind in [CrashKind::AfterRecord, CrashKind::BeforeSync, CrashKind::BeforeOutcome] {
            let mut world = World::new(plan(KEPT));
            world.crash_at(Crash { seq, kind, down_for: seconds(7) });
            world.run_for(seconds(290));
            crashes += world.crashes();
            let when = format!("{kind:?} at {seq}");
            assert_eq!(world.vault(Path::new(VAULT)).backups.len(), 1, "{when}: taken once, on its host");
            assert_eq!(world.vault(Path::new(BESIDE)).backups.len(), 1, "{when}");
            assert!(world.vault(Path::new(VAULT)).tested.is_some(), "{when}");
            assert_eq!(count(&world, |it| matches!(it, Body::KeepingFailed { .. })), 0, "{when}");
            is_whole(&world);
        }
    }
    assert!(crashes > 15, "only {crashes} crashes struck");
}

/// A recovery does not wait for a backup, and a backup begins again after it.
#[test]
fn a_recovery_goes_first() {
    let recovered = |fails_at: u64| {
        let mut world = World::new(plan(KEPT));
        world.fault(seconds(fails_at), Fault::Server("ledger-db".to_owned(), Server::Hung));
        world.run_for(seconds(fails_at + 60));
        let at = |like: fn(&Body) -> bool| world.journal().iter().find(|it| like(&it.1.body)).map(|it| it.1.at);
        let failed = at(|it| matches!(it, Body::FailureDetected { .. })).expect("it fails");
        let over = at(|it| matches!(it, Body::RecoveryCompleted { .. })).expect("it is recovered");
        (over.since(failed), world)
    };
    let (busy, mut world) = recovered(10);
    assert!(count(&world, |it| matches!(it, Body::KeepingGaveWay { .. })) > 0, "it was under way");
    let (idle, _) = recovered(130);
    assert_eq!(busy, idle, "as fast as when nothing is under way");
    world.run_for(seconds(120));
    assert_eq!(world.vault(Path::new(VAULT)).backups.len(), 1);
    is_whole(&world);
}

#[test]
fn what_fails_is_told_once_and_tried_again_and_its_end_is_told() {
    let mut world = World::new(plan(KEPT));
    world.fault(Duration::ZERO, Fault::Vault(VAULT.into(), VaultTrouble::Full));
    world.run_for(seconds(550));
    let tries = |world: &World| count(world, |it| matches!(it, Body::KeepingFailed { .. }));
    assert!((3..6).contains(&tries(&world)), "{} tries in nine minutes", tries(&world));
    let notices = |world: &World| count(world, |it| matches!(it, Body::NoticeSent { .. }));
    let standing: Vec<String> = standing(&world);
    assert_eq!(standing, ["backup of ledger-db nightly"]);
    assert_eq!(notices(&world), 0, "the plan has no channel");
    world.run_for(seconds(60));
    assert_eq!(told(&world, "the backup of ledger-db `nightly` is overdue"), 1);
    world.fault(Duration::ZERO, Fault::Vault(VAULT.into(), VaultTrouble::None));
    world.run_for(seconds(600));
    assert_eq!(self::standing(&world), [""; 0]);
    is_whole(&world);
}

fn standing(world: &World) -> Vec<String> {
    let notices = &world.engine().expect("the agent runs").state().notices;
    notices.standing().map(|it| it.topic.to_string()).collect()
}

#[test]
fn a_test_that_fails_is_told_and_backups_go_on() {
    let mut world = World::new(plan(KEPT));
    world.fault(Duration::ZERO, Fault::Vault(VAULT.into(), VaultTrouble::Damaged));
    world.run_for(seconds(1000));
    assert_eq!(standing(&world), ["restore test of ledger-db nightly"]);
    assert_eq!(world.vault(Path::new(VAULT)).backups.len(), 4);
    is_whole(&world);
}

/// What nobody can be asked for is overdue some day, and that is told; then it is caught up with.
#[test]
fn a_host_that_is_away_makes_it_overdue() {
    let mut world = World::new(plan(KEPT));
    world.run_for(seconds(120));
    world.fault(Duration::ZERO, Fault::Host("vault".to_owned(), HostTrouble::Killed(seconds(900))));
    world.run_for(seconds(900));
    assert_eq!(told(&world, "the backup of ledger-db `nightly` is overdue"), 1);
    assert_eq!(world.vault(Path::new(BESIDE)).backups.len(), 3, "another machine goes on");
    world.run_for(seconds(900));
    assert_eq!(standing(&world), [""; 0]);
    is_whole(&world);
}

#[test]
fn a_pause_and_a_halt_hold_it_and_a_halt_ends_it() {
    let mut world = World::new(plan(KEPT));
    world.run_for(seconds(10));
    world.speak(Command::Halt { reason: "stop".to_owned() }, "ada").expect("it is taken");
    world.run_for(seconds(100));
    assert_eq!(count(&world, |it| matches!(it, Body::KeepingGaveWay { .. })), 2);
    assert!(world.vault(Path::new(VAULT)).backups.is_empty());
    world.speak(Command::Continue { reason: "go on".to_owned() }, "ada").expect("it is taken");
    world.run_for(seconds(60));
    assert_eq!(world.vault(Path::new(VAULT)).backups.len(), 1);
    is_whole(&world);
}
