//! The plan: what is registered, how it is watched, and every recovery worked out ahead of time.
//!
//! Configuration (YAML) goes in, an immutable [`Plan`] comes out, or findings that each name their place in the file.
//! A plan leaves nothing to decide about *how*: each rung of a ladder is compiled to steps, each step states its plane,
//! its timeout and what it acts on. The nouns of the whole product live here, because every other room shares them.
//!
//! This crate knows no clock, no network and no process: `mainstay check` must give the same answer in anyone's CI.

pub mod action;
pub mod agents;
pub mod assess;
pub mod backup;
pub mod component;
pub mod config;
pub mod control;
pub mod drill;
pub mod evacuation;
pub mod finding;
pub mod hosts;
mod lint;
pub mod listening;
pub mod location;
pub mod notification;
pub mod observation;
pub mod picture;
pub mod plan;
pub mod planes;
pub mod policy;
pub mod postgres;
pub mod prepared;
pub mod probe;
pub mod proof;
pub mod render;
pub mod route;
pub mod routing;
pub mod rule;
pub mod sarif;
mod starter;
pub mod strategy;
pub mod time;
pub mod topology;
pub mod walkthrough;

pub use assess::Assessment;
pub use config::{
    Compiled, SourceFile, Surroundings, Upgraded, compile, compile_in, effective, part_schema, reference, schema,
    upgrade,
};
pub use finding::{Code, Finding, Severity, Span, explain};
pub use listening::TlsFiles;
pub use plan::{ComponentIx, ControlIx, HostIx, InstanceIx, Plan, ProbeIx, RouteIx, WitnessIx};
pub use proof::Proof;
pub use render::{drawn, render};
pub use sarif::sarif;
pub use starter::starter;
pub use time::Time;
pub use topology::{DomainIx, Topology};
pub use walkthrough::Walkthrough;
