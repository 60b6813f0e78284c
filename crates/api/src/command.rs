//! What an operator can say.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What an operator can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Recover a component that is down, without waiting for the cool-down.
    Recover {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// Let a recovery go on.
    Approve {
        /// The recovery, `r17`.
        recovery: String,
        /// Guards that are overruled: `witnesses`, `dependency`, `observe-mode`, `cool-down`, `journal-lost`, `rpo`, `signals`,
        /// `blast-radius`, `storm-brake`, `route-rules`, `lease`, `observers`.
        overrides: Vec<String>,
        /// Whether the step whose outcome is unknown was done.
        outcome: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End a recovery where it stands.
    Abort {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Approve the next recovery of a component, should one be needed while nobody can be asked.
    ApproveInAdvance {
        /// The component.
        component: String,
        /// For how long it counts.
        for_ns: u64,
        /// Why.
        reason: String,
    },
    /// Take approvals in advance back.
    Revoke {
        /// The component.
        component: String,
    },
    /// Hold one recovery before its next step.
    PauseRecovery {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Let it go on.
    ResumeRecovery {
        /// The recovery, `r17`.
        recovery: String,
    },
    /// Go on without what a recovery waits for.
    Skip {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Try again, at once.
    Retry {
        /// The recovery, `r17`.
        recovery: String,
        /// Why.
        reason: String,
    },
    /// Hold recoveries back.
    Pause {
        /// `None`: of all components.
        component: Option<String>,
        /// For how long.
        for_ns: u64,
        /// Why.
        reason: String,
        /// Whose work it is, where that is not who says it.
        #[serde(default)]
        owner: Option<String>,
    },
    /// End a pause.
    Resume {
        /// `None`: of all components.
        component: Option<String>,
    },
    /// Move a component to another of its instances, as planned.
    Switch {
        /// The component.
        component: String,
        /// The instance that shall be it.
        to: String,
        /// Whether that is waited for until it is in step.
        graceful: bool,
        /// Why.
        reason: String,
    },
    /// Move a component back to the instance that it began with, as planned.
    Failback {
        /// The component.
        component: String,
        /// Why.
        reason: String,
    },
    /// Say by hand whether actions that need a control plane are tried.
    Breaker {
        /// The service.
        service: String,
        /// The region; `None`: in every region.
        region: Option<String>,
        /// `open`, `closed` or `auto`.
        hold: String,
        /// Why.
        reason: String,
    },
    /// Take a target, or all of a zone, off shared routes for a while. One of both is said.
    Drain {
        /// The instance.
        #[serde(default)]
        target: Option<String>,
        /// The zone, `ZONE` or `REGION/ZONE`.
        #[serde(default)]
        zone: Option<String>,
        /// For how long.
        for_ns: u64,
        /// Why.
        reason: String,
    },
    /// End a drain. One of both is said.
    Undrain {
        /// The instance.
        #[serde(default)]
        target: Option<String>,
        /// The zone.
        #[serde(default)]
        zone: Option<String>,
    },
    /// Empty a zone or a region, as planned; said again it changes how, or for how long.
    Evacuate {
        /// `ZONE`, `REGION/ZONE` or `REGION`.
        place: String,
        /// For how long; `None`: as before, or 8 hours.
        #[serde(default)]
        for_ns: Option<u64>,
        /// Whether whoever takes over is waited for until it is in step; `None`: as before, or as the plan says.
        #[serde(default)]
        graceful: Option<bool>,
        /// Why.
        reason: String,
    },
    /// End an evacuation.
    EndEvacuation {
        /// `ZONE`, `REGION/ZONE` or `REGION`.
        place: String,
        /// Why.
        reason: String,
    },
    /// Let the change of a route through that this rule holds back, once.
    RouteOverride {
        /// The route.
        route: String,
        /// `at_least`, `gates` or `wait`.
        rule: String,
        /// Why.
        reason: String,
    },
    /// Stop all action at once.
    Halt {
        /// Why.
        reason: String,
    },
    /// Go on after a halt.
    Continue {
        /// Why.
        reason: String,
    },
    /// Take a displaced instance as a standby again, or one that somebody else has made active as the component; or say where
    /// an instance is now.
    Adopt {
        /// The instance.
        instance: String,
        /// `active` or `standby`; where it is not said, as what it says itself.
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "as")]
        role: Option<String>,
        /// As the component although it does not say that it is active.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        anyway: bool,
        /// Risks that are accepted by name: `two_writers`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accept: Vec<String>,
        /// Its IP address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Why.
        reason: String,
    },
    /// Repair a displaced instance now, as the plan says.
    Repair {
        /// The instance.
        instance: String,
        /// Risks that are accepted by name: `two_writers`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        accept: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A person has seen it.
    Acknowledge {
        /// A notice (`n17`), a recovery (`r17`), or a component.
        what: String,
        /// Why, or what is done about it.
        reason: String,
    },
}
