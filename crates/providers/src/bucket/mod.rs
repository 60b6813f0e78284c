//! Copies of a series of backups in a bucket of an object store that speaks S3.
//!
//! Only operations of the data plane: put, get, list and remove objects.

mod back;
mod copy;
mod file;
mod owner;
mod store;

pub use back::BroughtBack;
pub(crate) use back::{bring_back, bring_back_one};
pub use copy::{Copied, Lacking};
pub(crate) use copy::{copy, copy_one, lacking, log, prepare};

/// Why something was not copied, or not brought back.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// What is there is something else, or another series'.
    #[error("{0}")]
    Refused(String),
}

impl From<String> for BucketError {
    fn from(why: String) -> BucketError {
        BucketError::Failed(why)
    }
}

/// One error of many: the first five are told.
fn joined(all: &[String]) -> String {
    let mut text = all.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("; ");
    if let Some(more) = all.len().checked_sub(5).filter(|it| *it > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
