//! Other hosts: asking them whether what is held here may stay, and taking their questions.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mainstay_wire::agreement::{self, Question, Reply};
use mainstay_wire::message::{Held, PeerAt};
use mainstay_wire::stream::tune;
use mainstay_wire::trust::Identity;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::leases::Asks;
use crate::clock::boot_ns;
use crate::links::words;

/// How many questions of others may be under way.
const QUESTIONS: usize = 64;

/// Between two attempts to listen.
const TRIES_AGAIN: Duration = Duration::from_secs(1);

/// The kernel gives up a connection whose other end acknowledges nothing for so long.
const GIVES_UP_AFTER: Duration = Duration::from_secs(6);

/// A question of another host, and where its answer goes.
pub(super) struct Asked {
    pub(super) by: String,
    pub(super) question: Question,
    pub(super) answer: oneshot::Sender<Reply>,
}

/// What all others said of one thing.
pub(super) struct Said {
    pub(super) held: Held,
    /// When they were asked, in nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) asked_boot_ns: u64,
    /// Who they are, if all agree; or why it may not stay.
    pub(super) outcome: Result<Vec<String>, String>,
}

/// What came back from one host.
type Answer = Pin<Box<dyn Future<Output = Result<Reply, String>> + Send>>;

/// How another host is asked.
pub type AskPeer = Arc<dyn Fn(PeerAt, Question) -> Answer + Send + Sync>;

/// Asks over TCP, and believes the host of that name of this identity's own site.
pub fn ask_over_tls(identity: Identity) -> AskPeer {
    Arc::new(move |peer, question| {
        let identity = identity.clone();
        Box::pin(async move {
            let socket = TcpStream::connect(peer.address).await.map_err(|it| it.to_string())?;
            tune(&socket, GIVES_UP_AFTER).map_err(|it| it.to_string())?;
            let stream = identity.connect_to_host(socket, &peer.host).await.map_err(|it| it.to_string())?;
            agreement::ask(stream, &question).await.map_err(|it| words(&it))
        })
    })
}

/// Asks all at once; each of them has to agree, in time.
pub(super) async fn ask_all(ask: AskPeer, asks: Asks) -> Said {
    let Asks { stays, question, within } = asks;
    let asked_boot_ns = boot_ns();
    let mut answers = JoinSet::new();
    let by = stays.peers.iter().map(|it| it.host.clone()).collect();
    for peer in stays.peers {
        let (host, question, asking) = (peer.host.clone(), question.clone(), ask(peer, question.clone()));
        answers.spawn(async move {
            let reply = match timeout(within, asking).await {
                Ok(reply) => reply.map_err(|why| format!("host {host} can't be asked: {why}"))?,
                Err(_) => return Err(format!("host {host} did not answer in time")),
            };
            match question.holds.iter().all(|it| reply.agreed.contains(it)) {
                true => Ok(()),
                false => {
                    let why = reply.refused.first().map_or("it says nothing", |it| it.why.as_str());
                    Err(format!("host {host} does not agree: {why}"))
                }
            }
        });
    }
    let mut outcome = Ok(by);
    while let Some(answer) = answers.join_next().await {
        if let Err(why) = answer.unwrap_or_else(|error| Err(error.to_string())) {
            outcome = Err(why);
            break;
        }
    }
    Said { held: stays.held, asked_boot_ns, outcome }
}

/// Takes questions of other hosts at this address for as long as somebody answers them. Dropping the handle does not end it.
pub(super) fn listen(address: SocketAddr, identity: Identity, asked: mpsc::Sender<Asked>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut told = None;
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(error) => {
                    let why = format!("{address}: no host can ask this one: {error}");
                    if told.as_ref() != Some(&why) {
                        tracing::error!("{why}");
                        told = Some(why);
                    }
                    sleep(TRIES_AGAIN).await;
                }
            }
        };
        tracing::info!(%address, "other hosts can ask this one");
        let turns = Arc::new(Semaphore::new(QUESTIONS));
        while let Ok(turn) = turns.clone().acquire_owned().await {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a connection of a host can't be taken");
                    sleep(TRIES_AGAIN).await;
                    continue;
                }
            };
            let (identity, asked) = (identity.clone(), asked.clone());
            tokio::spawn(async move {
                take(socket, identity, asked).await;
                drop(turn);
            });
        }
    })
}

async fn take(socket: TcpStream, identity: Identity, asked: mpsc::Sender<Asked>) {
    if tune(&socket, GIVES_UP_AFTER).is_err() {
        return;
    }
    let (stream, peer) = match identity.accept_host(socket).await {
        Ok(known) => known,
        Err(refusal) => {
            tracing::warn!(why = %refusal, "somebody was turned away who asked this host");
            return;
        }
    };
    let answers = move |question| {
        let (asked, by) = (asked.clone(), peer.name.clone());
        async move {
            let (answer, answered) = oneshot::channel();
            // Nobody has agreed where there is no answer.
            if asked.send(Asked { by, question, answer }).await.is_err() {
                return Reply::default();
            }
            answered.await.unwrap_or_default()
        }
    };
    agreement::answer(stream, answers).await;
}
