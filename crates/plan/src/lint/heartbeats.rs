//! Calls of jobs on other machines: that nobody else can make them, and that somebody waits for them.

use super::reading::Reading;
use crate::finding::{Code, Finding};

pub(super) fn lint(reading: &Reading<'_>, findings: &mut Vec<Finding>) {
    let Some(heartbeats) = &reading.plan.heartbeats else { return };
    if heartbeats.tls.is_none() && !heartbeats.listen.ip().is_loopback() {
        let at = reading.outline.at(&["heartbeats", "listen"]);
        findings.push(
            Finding::new(Code::TokenInClear, at, format!("tokens for {} travel in the clear", heartbeats.listen))
                .label("plain HTTP, from other machines")
                .help("add `tls: { cert_file: FILE, key_file: FILE }`; or listen on 127.0.0.1, behind something that ends TLS"),
        );
    }
    if !reading.plan.probes.iter().any(|it| it.kind.waits_for_calls()) {
        findings.push(
            Finding::new(Code::NobodyCalls, reading.outline.at(&["heartbeats"]), "no probe waits for a call")
                .label("every call is told that nobody waits for it")
                .help("add a probe `heartbeat: { name: nightly-copy, max_age: 25h }`, or remove this"),
        );
    }
}
