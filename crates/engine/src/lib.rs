//! The engine: decides, and can't act.
//!
//! Pure: no clock, no I/O, no randomness, no threads, no async. Time comes in with every call, effects come out. The same
//! engine runs in the agent, in the simulator, in drills and in replay; see [`Engine`] for its contract.
//!
//! How a tick flows, each stage in its own file:
//!
//! - [`observe`], and [`rules`] beside it: soft state (single observations, the probe schedule) becomes *facts*: records of what was seen.
//! - [`decide`]: facts become verdicts: what failed (by [`scenario`]), and whether a [`guard`] holds the recovery back.
//! - [`recover`]: an open recovery moves along its ladder, step by step.
//! - [`route`]: the routing table that follows from bindings and fences is published under a new epoch.
//!
//! Only `observe` reads soft state. The other three read [`state::State`] alone, which is nothing but the journal's
//! records folded, and the time. That is why a replay of the journal gives the same decisions.

mod address;
mod adoption;
mod agenda;
pub mod breaker;
pub mod codec;
pub mod command;
mod crash_loop;
pub mod decide;
pub mod driver;
pub mod effect;
pub mod elsewhere;
pub mod engine;
pub mod evacuate;
pub mod evacuation;
pub mod explain;
mod fence;
mod gate;
mod grants;
pub mod gray;
pub mod guard;
pub mod input;
pub mod keeping;
pub mod lease;
pub mod machine;
pub mod observe;
mod outbox;
pub mod planted;
pub mod reasons;
pub mod record;
pub mod recover;
pub mod repair;
pub mod replay;
mod roles;
pub mod route;
pub mod rules;
pub mod scenario;
pub mod sentence;
pub mod state;
pub mod status;
pub mod switch;
mod verification;
pub mod waiting;
pub mod watched;

pub use command::{Command, Override, Refusal};
pub use effect::Effect;
pub use engine::{Engine, WakeReason};
pub use input::Input;
pub use record::{Body, IncidentId, NoticeId, Record, RecoveryId};
pub use waiting::WaitingOn;

/// The version of the deciding code, named in the journal: a replay with another version may decide otherwise.
pub const ENGINE_VERSION: u32 = 2;
