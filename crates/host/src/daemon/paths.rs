//! Further paths to the agent: one connection over each, beside the one over which everything is said. Over these the host renews its
//! leases, and hears what concerns leases, so that a path that is cut costs none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_wire::message::{FromAgent, FromHost, Hello, Message, Understood, Welcome};
use mainstay_wire::stream::Outgoing;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::dial::{Dial, REACHES_WITHIN, pause};
use crate::links::words;

/// An agent that has not introduced itself for so long is none.
const INTRODUCES_ITSELF_WITHIN: Duration = Duration::from_secs(5);

/// What is heard of a path.
pub(super) enum PathNews {
    /// The agent is reached over it.
    Up(Outgoing<FromHost>, Box<Welcome>),
    /// It says something.
    Heard(FromAgent),
    /// It is reached no more.
    Down(String),
}

/// News, and the address of the path.
type OfPath = (String, PathNews);

/// The paths to one agent.
pub(super) struct Paths {
    pub(super) news: (mpsc::Sender<OfPath>, mpsc::Receiver<OfPath>),
    open: Vec<OpenPath>,
}

struct OpenPath {
    address: String,
    keeps: JoinHandle<()>,
    live: Option<(Outgoing<FromHost>, Box<Welcome>)>,
    heard: Instant,
}

impl Drop for OpenPath {
    fn drop(&mut self) {
        self.keeps.abort();
    }
}

impl Paths {
    pub(super) fn new() -> Paths {
        Paths { news: mpsc::channel(64), open: Vec::new() }
    }

    /// From now on there is a connection over each of these. `epoch` is the highest that was seen.
    pub(super) fn keep(&mut self, addresses: &[String], dial: &Dial, hello: &Hello, epoch: &Arc<AtomicU64>) {
        self.open.retain(|it| addresses.contains(&it.address));
        for address in addresses {
            if self.open.iter().any(|it| it.address == *address) {
                continue;
            }
            let hello = Hello { beside: Some(address.clone()), ..hello.clone() };
            let keeps = keep(address.clone(), dial.clone(), hello, epoch.clone(), self.news.0.clone());
            let keeps = tokio::spawn(keeps);
            self.open.push(OpenPath { address: address.clone(), keeps, live: None, heard: Instant::now() });
        }
    }

    /// Something is heard of a path. What the agent said there, and the epoch that it decides under, is returned.
    pub(super) fn on(&mut self, address: &str, news: PathNews) -> Option<(FromAgent, u64)> {
        let path = self.open.iter_mut().find(|it| it.address == address)?;
        path.heard = Instant::now();
        match news {
            PathNews::Up(to_agent, welcome) => {
                tracing::info!(address, "the agent is reached over this path, too");
                path.live = Some((to_agent, welcome));
                None
            }
            PathNews::Heard(message) => Some((message, path.live.as_ref()?.1.epoch)),
            PathNews::Down(why) => {
                if path.live.take().is_some() {
                    tracing::warn!(address, why, "the agent is not reached over this path any more");
                }
                None
            }
        }
    }

    /// Whether the agent is reached over any of them.
    pub(super) fn is_up(&self) -> bool {
        self.open.iter().any(|it| it.live.is_some())
    }

    /// The address of a path other than this one over which the agent was heard so lately.
    pub(super) fn heard_beside(&self, address: &str, within: Duration) -> Option<&str> {
        let heard = |it: &&OpenPath| it.live.is_some() && it.address != address && it.heard.elapsed() < within;
        self.open.iter().find(heard).map(|it| it.address.as_str())
    }

    /// Says something over each. `message` is told how long the agent was silent there.
    pub(super) fn say(&mut self, mut message: impl FnMut(Duration) -> FromHost) {
        for path in &mut self.open {
            let silent = path.heard.elapsed();
            if let Some((to_agent, _)) = &path.live
                && to_agent.say(&message(silent)).is_err()
            {
                path.live = None;
            }
        }
    }

    /// Says this over one of them. Whether that could be.
    pub(super) fn say_once(&self, message: &FromHost) -> bool {
        self.open.iter().filter_map(|it| it.live.as_ref()).any(|it| it.0.say(message).is_ok())
    }
}

/// Reaches the agent over a path, again and again.
async fn keep(address: String, dial: Dial, hello: Hello, epoch: Arc<AtomicU64>, news: mpsc::Sender<OfPath>) {
    let mut failed = 0;
    while !news.is_closed() {
        sleep(pause(failed)).await;
        let hello = Hello { epoch: epoch.load(Ordering::Relaxed), ..hello.clone() };
        let why = match over(&address, &dial, hello, &epoch, &news).await {
            Ok(why) => {
                failed = 0;
                why
            }
            Err(why) => {
                failed = failed.saturating_add(1);
                why
            }
        };
        if news.send((address.clone(), PathNews::Down(why))).await.is_err() {
            return;
        }
    }
}

/// One connection over a path: why it is over, or why it did not come about.
async fn over(
    address: &str,
    dial: &Dial,
    hello: Hello,
    epoch: &AtomicU64,
    news: &mpsc::Sender<OfPath>,
) -> Result<String, String> {
    let reached = timeout(REACHES_WITHIN, dial(address.to_owned())).await;
    let (to_agent, mut from_agent) = reached.unwrap_or_else(|_| Err("it took too long".to_owned()))?;
    to_agent.say(&FromHost::Hello(Box::new(hello))).map_err(|it| it.to_string())?;
    let welcome = match timeout(INTRODUCES_ITSELF_WITHIN, from_agent.hear()).await {
        Ok(Ok(Some(Understood::Message(FromAgent::Welcome(welcome))))) => welcome,
        Ok(Ok(_)) | Err(_) => return Err("it does not introduce itself".to_owned()),
        Ok(Err(error)) => return Err(words(&error)),
    };
    if welcome.epoch < epoch.load(Ordering::Relaxed) {
        return Err(format!("it decides under epoch {}, which is over", welcome.epoch));
    }
    let patience = Duration::from_millis(welcome.lease.expires_ms);
    let tell = |it| news.send((address.to_owned(), it));
    if tell(PathNews::Up(to_agent.clone(), Box::new(welcome))).await.is_err() {
        return Ok(String::new());
    }
    loop {
        let heard = match timeout(patience, from_agent.hear()).await {
            Ok(Ok(Some(Understood::Message(message)))) => PathNews::Heard(message),
            Ok(Ok(Some(Understood::Not(what)))) => {
                let _ = to_agent.say(&FromHost::not_understood(what));
                continue;
            }
            Ok(Ok(None)) => return Ok("it ended the connection".to_owned()),
            Ok(Err(error)) => return Ok(words(&error)),
            Err(_) => return Ok(format!("it was silent for {:.1} s", patience.as_secs_f64())),
        };
        if tell(heard).await.is_err() {
            return Ok(String::new());
        }
    }
}
