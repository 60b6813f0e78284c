//! What the demo found: for people a picture, for scripts one object.

use std::fmt::Write;

use mainstay_api as api;
use serde::{Serialize, Serializer};

use crate::look::{Look, Tone};

/// How wide the picture of an outage is, in characters.
const PICTURE: usize = 24;

/// What is done to a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: connections are still accepted by the kernel, and nobody answers.
    Hang,
    /// SIGKILL, and the agent is killed in the middle of the recovery.
    AgentKill,
}

impl Fault {
    pub(crate) const ALL: [Fault; 3] = [Fault::Kill, Fault::Hang, Fault::AgentKill];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Hang => "hang",
            Fault::AgentKill => "agent_kill",
        }
    }

    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Fault::Kill => "SIGKILL ends",
            Fault::Hang => "SIGSTOP hangs",
            Fault::AgentKill => "SIGKILL ends",
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// One failure on one path.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// `proxy` or `dns`.
    pub(crate) path: &'static str,
    pub(crate) component: &'static str,
    pub(crate) recovery: String,
    /// As the clients measured it: from the last good answer to the first good one after.
    pub(crate) outage_ms: f64,
    /// As `check` computed it beforehand; `None`: it promises nothing of this.
    pub(crate) bound_ms: Option<f64>,
    pub(crate) within_bound: bool,
    /// Orders that a client was told were taken, and that went with the server.
    pub(crate) lost_orders: usize,
    /// From when the first of them was acknowledged to the failure.
    pub(crate) lost_ms: f64,
    /// How much of it the plan allows.
    pub(crate) rpo_ms: f64,
    pub(crate) within_rpo: bool,
    /// As the agent measured them.
    pub(crate) phases_ms: Phases,
    pub(crate) failed_requests: usize,
}

/// The parts of the time to recover, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Phases {
    detect: f64,
    decide: f64,
    fence: f64,
    act: f64,
    converge: f64,
}

impl Phases {
    pub(crate) fn of(phases: &api::Phases) -> Phases {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds with one digit")]
        let millis = |nanos: u64| (nanos as f64 / 100_000.0).round() / 10.0;
        Phases {
            detect: millis(phases.detect_ns),
            decide: millis(phases.decide_ns),
            fence: millis(phases.fence_ns),
            act: millis(phases.act_ns),
            converge: millis(phases.converge_ns),
        }
    }
}

/// Something that was promised, and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Promise {
    pub(crate) promise: &'static str,
    pub(crate) kept: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

impl Promise {
    pub(crate) fn new(promise: &'static str, kept: bool, detail: &str) -> Promise {
        Promise { promise, kept, detail: detail.to_owned() }
    }

    pub(crate) fn of(promise: &'static str, found: Result<String, String>) -> Promise {
        match found {
            Ok(detail) => Promise { promise, kept: true, detail },
            Err(detail) => Promise { promise, kept: false, detail },
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) failures: Vec<Failure>,
    pub(crate) promises: Vec<Promise>,
    pub(crate) requests: usize,
    pub(crate) failed_requests: usize,
    /// Orders that a client was told were taken, and that the last server does not have: copying is asynchronous.
    pub(crate) lost_orders: usize,
    pub(crate) seconds: f64,
}

impl Report {
    pub(crate) fn text(&self, look: Look) -> String {
        let mut out =
            String::from("\nWhat each failure cost the clients, and the worst case that `check` had computed:\n\n");
        let _ = writeln!(
            out,
            "  {:<11} {:<6} {:>9}  {:<PICTURE$}  {:>10}  {:>11}  {:>8}  {:>8}",
            "failure", "path", "outage", "", "worst case", "lost orders", "of last", "rpo"
        );
        for it in &self.failures {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a picture"
            )]
            let filled =
                it.bound_ms.map_or(0, |bound| (it.outage_ms / bound * PICTURE as f64).round() as usize).min(PICTURE);
            let bar = format!("{}{}", "█".repeat(filled), "·".repeat(PICTURE - filled));
            let tone = if it.within_bound { Tone::Good } else { Tone::Bad };
            let bound = it.bound_ms.map_or("none".to_owned(), |bound| format!("{bound:.0} ms"));
            let outage = format!("{:.0} ms", it.outage_ms);
            let (lost, rpo) = (format!("{:.0} ms", it.lost_ms), format!("{:.0} ms", it.rpo_ms));
            let _ = writeln!(
                out,
                "  {:<11} {:<6} {outage:>9}  {}  {bound:>10}  {:>11}  {lost:>8}  {rpo:>8}",
                it.fault.word(),
                it.path,
                look.paint(tone, &bar),
                it.lost_orders
            );
        }
        out.push_str("\nWhere the time went, as the agent measured it:\n\n");
        let _ = writeln!(
            out,
            "  {:<11} {:<6} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "failure", "path", "detect", "decide", "fence", "act", "converge"
        );
        for it in &self.failures {
            let p = &it.phases_ms;
            let _ = write!(out, "  {:<11} {:<6}", it.fault.word(), it.path);
            for part in [p.detect, p.decide, p.fence, p.act, p.converge] {
                let _ = write!(out, " {:>9}", format!("{part:.0} ms"));
            }
            out.push('\n');
        }
        let _ = writeln!(
            out,
            "\n{} orders were sent; {} found no server during the failures. {} that were acknowledged went with a failed \
             primary\nbefore its standby had copied them.\n",
            self.requests, self.failed_requests, self.lost_orders
        );
        for promise in &self.promises {
            let (tone, word) = if promise.kept { (Tone::Good, "kept  ") } else { (Tone::Bad, "BROKEN") };
            let detail = if promise.detail.is_empty() { String::new() } else { format!(" ({})", promise.detail) };
            let _ = writeln!(out, "{}  {}{detail}", look.paint(tone, word), promise.promise);
        }
        out
    }
}
