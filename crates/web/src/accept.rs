//! Letting clients in, whatever happens to one of them.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::trouble::Trouble;

/// After a failed accept. Most of them say that descriptors ran out, and only time frees one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The next client.
pub async fn accept(listener: &TcpListener, trouble: &Trouble, about: &str) -> TcpStream {
    insist(trouble, about, || listener.accept()).await.0
}

/// The next client. An accept that fails is said and tried again: a listener never gives up. Without a descriptor the kernel fails
/// it even where nobody waits, so one that waits is as good a sign that it works again as a client.
pub async fn insist<T, F>(trouble: &Trouble, about: &str, accept: impl Fn() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let mut has_failed = false;
    loop {
        let accepted = if has_failed { timeout(ACCEPT_PAUSE, accept()).await.ok() } else { Some(accept().await) };
        if has_failed && !matches!(accepted, Some(Err(_))) {
            trouble.clear(about);
            has_failed = false;
        }
        match accepted {
            None => {}
            Some(Ok(client)) => return client,
            Some(Err(error)) => {
                has_failed = true;
                trouble.note(about, format!("{about}: clients can't be accepted: {error}"));
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
