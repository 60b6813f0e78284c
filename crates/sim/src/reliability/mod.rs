//! Reliability: how often, how long, and how sure.
//!
//! - [`distribution`], [`chance`]: durations, drawn the same on every machine;
//! - [`markov`], [`redundancy`]: what can be solved exactly;
//! - [`trial`], [`estimate`]: the same by trials, with intervals.
//!
//! Nothing here asks the engine. It is a model of the plan, and what it leaves out is said in its reports.

pub mod chance;
pub mod distribution;
pub mod estimate;
pub mod markov;
pub mod normal;
pub mod redundancy;
pub mod trial;

pub use chance::Chance;
pub use distribution::Distribution;
pub use estimate::Estimate;
pub use redundancy::Redundancy;

/// 365 days in seconds, as in the usual tables; divided by 3600 it is the 8760 hours of the books.
pub const YEAR_S: f64 = 365.0 * 86_400.0;
