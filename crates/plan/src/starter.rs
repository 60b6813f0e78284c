//! The file to start from.

/// A commented plan that compiles without errors, for `mainstay init`. It only observes until its reader says otherwise.
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}
