//! Gates: calls that block a thread, one at a time for each thing asked.
//!
//! A file system or a resolver that hangs keeps its thread for as long as it hangs, whatever the timeout says. A gate
//! lets one call in for each path or name; the next waits outside, where waiting costs no thread and can be given up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// One gate a key. Keys come from the plan, so that there are only so many.
#[derive(Default)]
pub(crate) struct Gates(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Gates {
    /// Runs `blocking` on a thread of its own as soon as no other call with the same key runs. Dropping the future while
    /// it waits gives up; dropping it later leaves the call to end by itself, with the gate closed.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        key: String,
        blocking: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let gate = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        let pass = gate.lock_owned().await;
        tokio::task::spawn_blocking(move || {
            let _pass = pass;
            blocking()
        })
        .await
        .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }
}
