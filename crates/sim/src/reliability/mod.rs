//! Reliability: how often, how long, and how sure.
//!
//! - [`distribution`], [`chance`]: durations, drawn the same on every machine;
//! - [`markov`], [`redundancy`]: what can be solved exactly;
//! - [`trial`], [`estimate`]: the same by trials, with intervals;
//! - [`rates_file`], [`rates`]: what a user says, and named defaults for the rest;
//! - [`measured`], [`seen`]: times of recoveries, failures and repairs that a journal holds;
//! - [`model`], [`history`], [`trials`], [`report`]: a plan and its proof, played for many years; [`expected`] works out
//!   what that should come to;
//! - [`compare`]: the same workload under other strategies.
//!
//! Nothing here asks the engine. It is a model of the plan, and what it leaves out is said in its reports.

pub mod chance;
pub mod compare;
pub mod distribution;
pub mod estimate;
pub mod expected;
pub mod history;
pub mod markov;
pub mod measured;
pub mod model;
pub mod normal;
pub mod rates;
pub mod rates_file;
pub mod redundancy;
pub mod report;
pub(crate) mod report_text;
pub mod seen;
mod spans;
pub mod trial;
pub mod trials;

pub use chance::Chance;
pub use compare::Comparison;
pub use distribution::Distribution;
pub use estimate::Estimate;
pub use measured::Measured;
pub use model::Model;
pub use rates::Rates;
pub use redundancy::Redundancy;
pub use report::Report;
pub use report_text::Shown;
pub use seen::Failures;
pub use spans::span;
pub use trials::Options;

/// 365 days in seconds, as in the usual tables; divided by 3600 it is the 8760 hours of the books.
pub const YEAR_S: f64 = 365.0 * 86_400.0;
