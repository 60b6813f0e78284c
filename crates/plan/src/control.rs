//! Control planes that actions depend on, each told by its service and region. What is known of them while the plan runs is
//! the engine's.

use std::time::Duration;

use crate::ProbeIx;
use crate::action::Plane;

/// One service's control (or data plane, where an action names its service) in one region. It works or fails as a whole, as
/// far as the plan is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// The service, or the plane's word where an action names none.
    pub service: String,
    /// The region that it is run from.
    pub region: String,
    /// Which plane.
    pub plane: Plane,
    /// Asked all the time, and says whether it works.
    pub canary: Option<ProbeIx>,
    /// How many rungs in a row have to fail on it before it counts as down.
    pub opens_after: u32,
    /// How long it is left alone before one recovery tries it again.
    pub retry_after: Duration,
    /// Whether the plan has it as an entry of its own.
    pub declared: bool,
}

impl ControlPlane {
    /// How many rungs in a row have to fail where the plan does not say.
    pub const OPENS_AFTER: u32 = 2;
    /// How long it is left alone where the plan does not say.
    pub const RETRY_AFTER: Duration = Duration::from_secs(60);

    /// In words: `regional control of ec2 in us-east-1`.
    pub fn label(&self) -> String {
        let what = match self.plane {
            Plane::RegionalControl => "regional control",
            Plane::GlobalControl => "global control",
            Plane::RecoveryControl => "recovery control",
            Plane::Data => "the data plane",
            Plane::Local | Plane::ServiceRun => self.plane.word(),
        };
        if self.service == self.plane.word() {
            format!("{what} in {}", self.region)
        } else {
            format!("{what} of {} in {}", self.service, self.region)
        }
    }
}
