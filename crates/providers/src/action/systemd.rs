//! Units of the local systemd, through `systemctl`.
//!
//! `systemctl` waits for its job; what it says of it is not taken for the state of the unit, which is asked for after.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mainstay_plan::action::{Outcome, ServiceOp};

use crate::action::Attempt;
use crate::action::look::Seen;
use crate::child::Output;
use crate::trouble;

/// There exactly while systemd runs the machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whether there is a systemd to talk to, or why not.
pub(crate) fn available() -> Result<(), String> {
    match Path::new(BOOTED).is_dir() {
        true => Ok(()),
        false => Err(format!("systemd does not run here ({BOOTED} is not there)")),
    }
}

/// What is asked of a unit: what [`State`] holds.
const SHOW: &[&str] = &["show", "--property=LoadState,ActiveState,SubState,MainPID,Job"];

/// Whether `unit` is as `op` leaves it.
pub(crate) async fn look(attempt: &Attempt<'_>, op: ServiceOp, unit: &str) -> Seen {
    if let Err(why) = available() {
        return Seen::Between(why);
    }
    match systemctl(attempt, SHOW, unit).await {
        Ok(shown) => see(op, &State::parse(&shown)),
        Err(why) => Seen::Between(why),
    }
}

/// Operates `unit` and waits until its state shows it.
pub(crate) async fn operate(attempt: &Attempt<'_>, op: ServiceOp, unit: &str) -> Outcome {
    if let Err(why) = available() {
        return Outcome::Failed(why);
    }
    let mut refused = None;
    for call in calls(op) {
        attempt.so_far.set(Outcome::Unknown(trouble::clip(&format!("systemctl {} did not end in time", call.verb[0]))));
        if let (Err(why), true) = (systemctl(attempt, call.verb, unit).await, call.must_succeed) {
            refused = Some(why);
        }
    }
    loop {
        match systemctl(attempt, SHOW, unit).await {
            Ok(shown) => match (judge(op, &State::parse(&shown)), refused.take()) {
                // A call may fail over what was so already.
                (Ok(Outcome::Done), _) => return Outcome::Done,
                (_, Some(why)) => return Outcome::Failed(why),
                (Ok(outcome), None) => return outcome,
                (Err(waiting), None) => attempt.so_far.set(waiting),
            },
            Err(why) => attempt.so_far.set(Outcome::Unknown(why)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One call of `systemctl`, before the unit's name.
struct Call {
    verb: &'static [&'static str],
    must_succeed: bool,
}

/// What is called, in order. A unit that failed too often is not started again before `reset-failed`; one that was
/// killed may be started again by systemd itself, which `stop` prevents.
const fn calls(op: ServiceOp) -> &'static [Call] {
    const RESET: Call = Call { verb: &["reset-failed"], must_succeed: false };
    match op {
        ServiceOp::Start => &[RESET, Call { verb: &["start"], must_succeed: true }],
        ServiceOp::Restart => &[RESET, Call { verb: &["restart"], must_succeed: true }],
        ServiceOp::Stop => &[Call { verb: &["stop"], must_succeed: true }],
        ServiceOp::Kill => &[
            // There may be nothing to kill; the state tells in the end.
            Call { verb: &["kill", "--signal=SIGKILL"], must_succeed: false },
            Call { verb: &["stop"], must_succeed: true },
        ],
    }
}

async fn systemctl(attempt: &Attempt<'_>, verb: &[&str], unit: &str) -> Result<String, String> {
    let argv: Vec<String> = ["systemctl", "--no-ask-password", "--no-pager"]
        .iter()
        .chain(verb)
        .chain(&["--", unit])
        .map(|part| (*part).to_owned())
        .collect();
    let env = BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]);
    match attempt.run(&argv, &env, Output::Capture).await {
        Ok(ended) if ended.success() => Ok(ended.stdout_text()),
        Ok(ended) => Err(trouble::clip(&format!("systemctl {} {}", verb[0], ended.describe()))),
        Err(error) => Err(trouble::clip(&format!("systemctl: {}", trouble::describe(&error)))),
    }
}

/// What `systemctl show` says of a unit. What it leaves out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    load: String,
    active: String,
    sub: String,
    /// 0: there is none.
    main_pid: Option<u32>,
    /// Systemd has been told something about the unit that it has not done yet.
    has_job: bool,
}

impl State {
    /// Reads `Name=value` lines, in any order; unknown names are passed over.
    fn parse(shown: &str) -> State {
        let mut state = State::default();
        for line in shown.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim();
            match name {
                "LoadState" => value.clone_into(&mut state.load),
                "ActiveState" => value.clone_into(&mut state.active),
                "SubState" => value.clone_into(&mut state.sub),
                "MainPID" => state.main_pid = value.parse().ok(),
                "Job" => state.has_job = !matches!(value, "" | "0"),
                _ => {}
            }
        }
        state
    }
}

/// Whether `state` is where `op` leads: the outcome, or what to answer if nothing changes until the timeout.
fn judge(op: ServiceOp, state: &State) -> Result<Outcome, Outcome> {
    let text = trouble::clip(&format!("the unit is {} ({})", state.active, state.sub));
    if state.load == "not-found" {
        return Ok(Outcome::Failed("there is no such unit".to_owned()));
    }
    match op {
        ServiceOp::Start | ServiceOp::Restart => match state.active.as_str() {
            "active" => Ok(Outcome::Done),
            "failed" | "inactive" => Ok(Outcome::Failed(text)),
            _ => Err(Outcome::Failed(text)),
        },
        ServiceOp::Stop | ServiceOp::Kill => match (state.active.as_str(), state.main_pid) {
            // Units without a main process (a socket, a mount) show no MainPID.
            ("inactive" | "failed", Some(0) | None) => Ok(Outcome::Done),
            _ => Err(Outcome::Unknown(text)),
        },
    }
}

/// Where `state` stands, for somebody who did not give the order for `op`.
fn see(op: ServiceOp, state: &State) -> Seen {
    let text = || trouble::clip(&format!("the unit is {} ({})", state.active, state.sub));
    match (judge(op, state), state.active.as_str()) {
        (Ok(Outcome::Done), _) => Seen::Done,
        (_, "active" | "inactive" | "failed") if !state.has_job => Seen::Not(text()),
        _ => Seen::Between(text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(active: &str, sub: &str, main_pid: u32) -> State {
        State::parse(&format!("MainPID={main_pid}\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nFoo=a=b\n"))
    }

    #[test]
    fn what_systemctl_shows_is_read_in_any_order() {
        let read = state("active", "running", 4711);
        assert_eq!((read.active.as_str(), read.sub.as_str(), read.main_pid), ("active", "running", Some(4711)));
        assert_eq!(State::parse("rubbish"), State::default());
    }

    #[test]
    fn started_means_active() {
        assert_eq!(judge(ServiceOp::Start, &state("active", "running", 7)), Ok(Outcome::Done));
        assert!(matches!(judge(ServiceOp::Restart, &state("failed", "failed", 0)), Ok(Outcome::Failed(_))));
        assert!(judge(ServiceOp::Start, &state("activating", "start", 7)).is_err());
    }

    #[test]
    fn stopped_means_no_process_is_left() {
        assert_eq!(judge(ServiceOp::Stop, &state("inactive", "dead", 0)), Ok(Outcome::Done));
        assert_eq!(judge(ServiceOp::Kill, &state("failed", "failed", 0)), Ok(Outcome::Done));
        assert!(judge(ServiceOp::Stop, &state("deactivating", "stop-sigterm", 7)).is_err());
        assert!(judge(ServiceOp::Kill, &state("activating", "auto-restart", 0)).is_err());
        assert!(judge(ServiceOp::Stop, &State::default()).is_err(), "an answer without a state proves nothing");
    }

    #[test]
    fn whoever_did_not_give_the_order_sees_where_it_stands() {
        assert_eq!(see(ServiceOp::Start, &state("active", "running", 7)), Seen::Done);
        assert!(matches!(see(ServiceOp::Start, &state("inactive", "dead", 0)), Seen::Not(_)));
        assert!(matches!(see(ServiceOp::Start, &state("activating", "start", 7)), Seen::Between(_)));
        let told = State::parse("LoadState=loaded\nActiveState=inactive\nMainPID=0\nJob=12\n");
        assert!(matches!(see(ServiceOp::Start, &told), Seen::Between(_)), "it has been told to");
        assert_eq!(see(ServiceOp::Stop, &state("inactive", "dead", 0)), Seen::Done);
        assert!(matches!(see(ServiceOp::Kill, &state("active", "running", 7)), Seen::Not(_)));
        assert!(matches!(see(ServiceOp::Stop, &state("inactive", "dead", 7)), Seen::Not(_)), "a process is left");
        assert!(matches!(see(ServiceOp::Stop, &State::default()), Seen::Between(_)));
    }

    #[test]
    fn a_unit_that_is_not_there_was_not_operated() {
        for op in [ServiceOp::Start, ServiceOp::Stop, ServiceOp::Restart, ServiceOp::Kill] {
            let answer = judge(op, &State::parse("LoadState=not-found\nActiveState=inactive\nMainPID=0"));
            assert!(matches!(answer, Ok(Outcome::Failed(_))), "{op:?}");
        }
    }
}
