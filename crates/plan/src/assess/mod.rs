//! The assessment: what a plan is worth in a disaster.

pub mod probability;
