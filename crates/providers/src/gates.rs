//! Gates: calls that block a thread, one at a time for each thing asked.
//!
//! A file system or a resolver that hangs keeps its thread for as long as it hangs, whatever the timeout says. A gate
//! lets one call in for each path or name; the next waits outside, where waiting costs no thread and can be given up.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// From so many gates on, those that nobody stands at are taken away: a redirect can name what no plan names.
const MANY: usize = 4096;

/// One gate a key.
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
        let gate = {
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if gates.len() >= MANY && !gates.contains_key(&key) {
                gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            }
            Arc::clone(gates.entry(key).or_default())
        };
        let pass = gate.lock_owned().await;
        tokio::task::spawn_blocking(move || {
            let _pass = pass;
            blocking()
        })
        .await
        .unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_keeps_the_next_out_and_others_go_on() {
        let gates = Gates::default();
        let (release, hang) = mpsc::sync_channel::<()>(1);
        let (entered, entries) = mpsc::sync_channel(64);
        let note = |name: &'static str| {
            let entered = entered.clone();
            move || entered.send(name).map_err(io::Error::other)
        };
        let (in_it, is_in_it) = tokio::sync::oneshot::channel();
        let hanging = gates.run("disk".to_owned(), move || {
            let _ = in_it.send(());
            hang.recv().map_err(io::Error::other)
        });
        tokio::select! {
            _ = hanging => panic!("it hangs"),
            told = is_in_it => told.expect("it has entered"),
        }
        let waited =
            tokio::time::timeout(Duration::from_millis(20), gates.run("disk".to_owned(), note("given up"))).await;
        assert!(waited.is_err(), "the gate is closed, although nobody waits for the call in it any more");
        gates.run("other disk".to_owned(), note("elsewhere")).await.expect("another gate");
        release.send(()).expect("the call still hangs");
        gates.run("disk".to_owned(), note("next")).await.expect("the gate is open");
        assert_eq!(entries.try_iter().collect::<Vec<_>>(), ["elsewhere", "next"]);
    }
}
