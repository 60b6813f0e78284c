//! Every reason for not acting, one of each: what tests walk, so that none is without a code, an age and a way out.
//!
//! Each list is a chain: a `match` that names, for each kind, the next one. A new kind does not compile before it has its place
//! in the chain.

use mainstay_plan::Time;

use crate::command::{Override, Refusal};
use crate::evacuate::Stays;
use crate::keeping::Unkept;
use crate::record::{RecoveryId, StepRef};
use crate::repair::Unrepaired;
use crate::route::rules::Objection;
use crate::waiting::{Unacknowledged, WaitingOn};

/// One of each [`WaitingOn`].
pub fn waits() -> Vec<WaitingOn> {
    chain(WaitingOn::Witnesses { need: 1, of: vec!["gateway".to_owned()] }, wait_after)
}

fn wait_after(it: &WaitingOn) -> Option<WaitingOn> {
    let until = Time::from_millis(60_000);
    let step = StepRef { recovery: RecoveryId(17), rung: 0, step: 1, attempt: 1 };
    Some(match it {
        WaitingOn::Witnesses { .. } => WaitingOn::Paused {
            component: Some("orders-db".to_owned()),
            until,
            by: "ada".to_owned(),
            reason: "disks are being replaced".to_owned(),
            owner: Some("storage team".to_owned()),
        },
        WaitingOn::Paused { .. } => WaitingOn::SomeoneElse {
            active: vec!["orders-db-b".to_owned()],
            instance: "orders-db-b".to_owned(),
            evidence: vec!["orders-db is down".to_owned(), "orders-db-b/http: 2 times primary".to_owned()],
        },
        WaitingOn::SomeoneElse { .. } => WaitingOn::Traffic {},
        WaitingOn::Traffic {} => WaitingOn::Correlation { of: "berlin/hall-2".to_owned(), until },
        WaitingOn::Correlation { .. } => WaitingOn::Turn { evacuation: "hall-2".to_owned(), at_once: 10 },
        WaitingOn::Turn { .. } => WaitingOn::Dependency { component: "orders-db".to_owned() },
        WaitingOn::Dependency { .. } => WaitingOn::ObserveMode {},
        WaitingOn::ObserveMode {} => WaitingOn::CoolDown { until },
        WaitingOn::CoolDown { .. } => WaitingOn::Approval {
            expires: Some(until),
            need: 2,
            given: vec!["ada".to_owned()],
            role: Some("dba".to_owned()),
        },
        WaitingOn::Approval { .. } => WaitingOn::JournalLost {},
        WaitingOn::JournalLost {} => WaitingOn::NoRungPossible {
            reasons: vec!["failover_to_standby: `orders-db-b` may lag 7s behind".to_owned()],
            overrules: vec![Override::Capacity, Override::Rpo],
        },
        WaitingOn::NoRungPossible { .. } => {
            WaitingOn::Observation { instance: "orders-db-b".to_owned(), until: Some(until) }
        }
        WaitingOn::Observation { .. } => WaitingOn::OutcomeUnknown { step, name: "activate orders-db-b".to_owned() },
        WaitingOn::OutcomeUnknown { .. } => WaitingOn::Step { step, name: "activate orders-db-b".to_owned(), until },
        WaitingOn::Step { .. } => WaitingOn::Acknowledgements {
            step,
            name: "cut traffic to orders-db".to_owned(),
            missing: vec!["db-2".to_owned()],
            until,
        },
        WaitingOn::Acknowledgements { .. } => {
            WaitingOn::RecoveryPaused { by: "ada".to_owned(), reason: "the disk is looked at first".to_owned() }
        }
        WaitingOn::RecoveryPaused { .. } => WaitingOn::Manual {
            step,
            name: "activate orders-db-b: by hand".to_owned(),
            ask: "move the licence".to_owned(),
            role: Some("dba".to_owned()),
            until,
        },
        WaitingOn::Manual { .. } => WaitingOn::Retry { step, name: "activate orders-db-b".to_owned(), until },
        WaitingOn::Retry { .. } => WaitingOn::UndoFailed {
            step,
            name: "undo activate orders-db-b: run demote".to_owned(),
            why: "exit status 1".to_owned(),
        },
        WaitingOn::UndoFailed { .. } => WaitingOn::Lease { leader: Some("ops-2".to_owned()), alone: false },
        WaitingOn::Lease { .. } => WaitingOn::Observers { need: 2, have: 1, of: 3, healthy: vec!["ops-2".to_owned()] },
        WaitingOn::Observers { .. } => WaitingOn::ControlPlane {
            service: "ec2".to_owned(),
            region: "us-east-1".to_owned(),
            why: "regional control of ec2 in us-east-1 is known to be down: its canary timed out".to_owned(),
            until: Some(until),
        },
        WaitingOn::ControlPlane { .. } => WaitingOn::CrashLoop {
            instance: "orders-db".to_owned(),
            restarts: 3,
            within_ns: 3_600_000_000_000,
            others: vec!["failover_to_standby: `orders-db-b` is down".to_owned()],
            until,
        },
        WaitingOn::CrashLoop { .. } => {
            WaitingOn::Halted { by: "ada".to_owned(), reason: "it moves what we work on".to_owned() }
        }
        WaitingOn::Halted { .. } => WaitingOn::Signals { need: 2 },
        WaitingOn::Signals { .. } => WaitingOn::Acknowledgement {
            component: "orders-db".to_owned(),
            why: Unacknowledged::Flapping { times: 3, within_ns: 3_600_000_000_000 },
        },
        WaitingOn::Acknowledgement { .. } => WaitingOn::BlastRadius { would_be: 4, of: 10, allowed: 3 },
        WaitingOn::BlastRadius { .. } => WaitingOn::StormBrake { at_most: 4, within_ns: 600_000_000_000, until },
        WaitingOn::StormBrake { .. } => {
            WaitingOn::Route { route: "orders".to_owned(), objection: Objection::Wait { until } }
        }
        WaitingOn::Route { .. } => return None,
    })
}

/// One of each [`Stays`].
pub fn stays() -> Vec<Stays> {
    chain(Stays::Halted { by: "ada".to_owned(), reason: "it moves what we work on".to_owned() }, stay_after)
}

fn stay_after(it: &Stays) -> Option<Stays> {
    let reasons = || vec!["`orders-db-b` is down".to_owned()];
    Some(match it {
        Stays::Halted { .. } => Stays::Lease {},
        Stays::Lease {} => Stays::Paused {
            component: Some("orders-db".to_owned()),
            until: Time::from_millis(60_000),
            by: "ada".to_owned(),
            reason: "disks are being replaced".to_owned(),
        },
        Stays::Paused { .. } => Stays::UnderWay { recovery: RecoveryId(17) },
        Stays::UnderWay { .. } => Stays::Dependency { component: "orders-db".to_owned() },
        Stays::Dependency { .. } => Stays::Turn { at_once: 2 },
        Stays::Turn { .. } => Stays::NoRoom { reasons: reasons() },
        Stays::NoRoom { .. } => Stays::NotPossible { reasons: reasons(), hurried: true },
        Stays::NotPossible { .. } => Stays::Tried { recovery: RecoveryId(17), why: "r17 failed: aborted".to_owned() },
        Stays::Tried { .. } => return None,
    })
}

/// One of each [`Unkept`].
pub fn unkept() -> Vec<Unkept> {
    chain(Unkept::Timer, unkept_after)
}

fn unkept_after(it: &Unkept) -> Option<Unkept> {
    let at = Time::from_millis(60_000);
    Some(match it {
        Unkept::Timer => Unkept::NoHands { machine: "vault-1".to_owned() },
        Unkept::NoHands { .. } => Unkept::NoBackup,
        Unkept::NoBackup => Unkept::NotDue { at },
        Unkept::NotDue { .. } => Unkept::Halted { by: "ada".to_owned(), reason: "it moves what we work on".to_owned() },
        Unkept::Halted { .. } => Unkept::Lease,
        Unkept::Lease => Unkept::JournalLost,
        Unkept::JournalLost => Unkept::Paused {
            component: Some("orders-db".to_owned()),
            until: at,
            by: "ada".to_owned(),
            reason: "disks are being replaced".to_owned(),
        },
        Unkept::Paused { .. } => Unkept::Mode { mode: "recommend" },
        Unkept::Mode { .. } => Unkept::Recovery { recovery: RecoveryId(17) },
        Unkept::Recovery { .. } => Unkept::Repair { repair: RecoveryId(17) },
        Unkept::Repair { .. } => Unkept::Others { keeping: RecoveryId(17) },
        Unkept::Others { .. } => Unkept::Owner { owner: "orders-db-b".to_owned() },
        Unkept::Owner { .. } => Unkept::Again { at, why: "no server can be asked".to_owned() },
        Unkept::Again { .. } => return None,
    })
}

/// One of each [`Unrepaired`].
pub fn unrepaired() -> Vec<Unrepaired> {
    chain(Unrepaired::NotPlanned, unrepaired_after)
}

fn unrepaired_after(it: &Unrepaired) -> Option<Unrepaired> {
    let recovery = RecoveryId(17);
    let (at, why) = (Time::from_millis(60_000), "rejoin orders-db-b: the password was refused".to_owned());
    Some(match it {
        Unrepaired::NotPlanned => {
            Unrepaired::Halted { by: "ada".to_owned(), reason: "it moves what we work on".to_owned() }
        }
        Unrepaired::Halted { .. } => Unrepaired::Lease,
        Unrepaired::Lease => Unrepaired::JournalLost,
        Unrepaired::JournalLost => Unrepaired::Paused {
            component: Some("orders-db".to_owned()),
            until: at,
            by: "ada".to_owned(),
            reason: "disks are being replaced".to_owned(),
        },
        Unrepaired::Paused { .. } => Unrepaired::Mode { mode: "recommend" },
        Unrepaired::Mode { .. } => Unrepaired::Recovery { recovery },
        Unrepaired::Recovery { .. } => Unrepaired::OthersFirst { recovery },
        Unrepaired::OthersFirst { .. } => Unrepaired::Others { at_once: 4 },
        Unrepaired::Others { .. } => Unrepaired::Owner { owner: "orders-db-b".to_owned() },
        Unrepaired::Owner { .. } => Unrepaired::Unseen,
        Unrepaired::Unseen => Unrepaired::MayFollow { until: at },
        Unrepaired::MayFollow { .. } => Unrepaired::Evacuated { place: "berlin/hall-1".to_owned() },
        Unrepaired::Evacuated { .. } => Unrepaired::MayWrite,
        Unrepaired::MayWrite => Unrepaired::Again { at, why },
        Unrepaired::Again { .. } => Unrepaired::ByHand { why },
        Unrepaired::ByHand { .. } => return None,
    })
}

/// One of each [`Refusal`].
pub fn refusals() -> Vec<Refusal> {
    let first = Refusal::Unknown { what: "component", name: "payments".to_owned(), known: "orders-db".to_owned() };
    chain(first, refusal_after)
}

fn refusal_after(it: &Refusal) -> Option<Refusal> {
    let component = "orders-db".to_owned();
    let recovery = RecoveryId(17);
    Some(match it {
        Refusal::Unknown { .. } => Refusal::NotDown { component, health: "healthy" },
        Refusal::NotDown { .. } => Refusal::NotOpen { recovery },
        Refusal::NotOpen { .. } => Refusal::NotWaiting { recovery, waiting: "verify".to_owned() },
        Refusal::NotWaiting { .. } => Refusal::OwnerMissing { component, owner: "orders-db-b".to_owned() },
        Refusal::OwnerMissing { .. } => {
            Refusal::NotWhole { component, to: "orders-db-b".to_owned(), missing: "`orders-db-b` is down".to_owned() }
        }
        Refusal::NotWhole { .. } => Refusal::NotPaused,
        Refusal::NotPaused => Refusal::NotDisplaced { instance: "orders-db-b".to_owned(), state: "standby" },
        Refusal::NotDisplaced { .. } => Refusal::NotAdoptable {
            component,
            instance: "orders-db-b".to_owned(),
            missing: "`orders-db-b` says that it is a standby".to_owned(),
        },
        Refusal::NotAdoptable { .. } => {
            Refusal::NotAllowed { by: "bob".to_owned(), role: "dba".to_owned(), who: "ada has".to_owned() }
        }
        Refusal::NotAllowed { .. } => Refusal::ApprovedAlready { by: "ada".to_owned(), recovery, need: 2, given: 1 },
        Refusal::ApprovedAlready { .. } => Refusal::NoApprovalAsked { component },
        Refusal::NoApprovalAsked { .. } => Refusal::NothingToRevoke { component },
        Refusal::NothingToRevoke { .. } => {
            Refusal::NothingTo { recovery, verb: "skip", waiting: "it goes on by itself".to_owned() }
        }
        Refusal::NothingTo { .. } => Refusal::NothingStands { what: "n17".to_owned() },
        Refusal::NothingStands { .. } => Refusal::RouteRule {
            route: "web".to_owned(),
            what: "web-b".to_owned(),
            objection: "only 1 would stay on, and 2 must".to_owned(),
        },
        Refusal::RouteRule { .. } => Refusal::NotDrainable { what: "orders-db".to_owned() },
        Refusal::NotDrainable { .. } => Refusal::NotDrained { what: "web-b".to_owned() },
        Refusal::NotDrained { .. } => Refusal::NotEvacuated { place: "berlin/hall-2".to_owned() },
        Refusal::NotEvacuated { .. } => Refusal::NothingHeld { route: "web".to_owned(), rule: "wait" },
        Refusal::NothingHeld { .. } => {
            Refusal::Halted { by: "ada".to_owned(), reason: "it moves what we work on".to_owned() }
        }
        Refusal::Halted { .. } => Refusal::NotHalted,
        Refusal::NotHalted => Refusal::InUse {
            instance: "orders-db".to_owned(),
            recovery,
            waiting: "step 2 of rung 1 (restore) to end".to_owned(),
        },
        Refusal::InUse { .. } => {
            Refusal::IsThere { instance: "orders-db".to_owned(), address: std::net::IpAddr::from([10, 0, 1, 99]) }
        }
        Refusal::IsThere { .. } => {
            Refusal::NotRepairable { instance: "orders-db".to_owned(), why: "r17 repairs it already".to_owned() }
        }
        Refusal::NotRepairable { .. } => return None,
    })
}

/// A chain that comes back to where it was would never end.
const LONGEST: usize = 200;

fn chain<T: Clone>(first: T, after: impl Fn(&T) -> Option<T>) -> Vec<T> {
    std::iter::successors(Some(first), after).take(LONGEST).collect()
}
