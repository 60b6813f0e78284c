//! Copies of a series of backups in a bucket of an object store that speaks S3.
//!
//! Only operations of the data plane: put, get, list and remove objects.

mod back;
mod copy;
mod file;
mod store;

pub use back::BroughtBack;
pub(crate) use back::{bring_back, bring_back_one};
pub use copy::{Copied, Lacking};
pub(crate) use copy::{copy, copy_one, lacking, prepare};
