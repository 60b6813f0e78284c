//! Where hosts come in: each connection is made TLS, and its other end either begins its stream, or gets a certificate, or is
//! refused. What happened is told as [`Event`]s, one sentence each.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::message::{FromAgent, FromHost};
use crate::stream::{Incoming, Outgoing, accept_beside};
use crate::trust::{Authority, Event, FileError, Gate, Peer, Refusal, answer, is_for_office};

/// The agent's side of new connections. Clones share everything.
#[derive(Clone, Debug)]
pub struct Reception {
    authority: Arc<Authority>,
    gate: Gate,
}

/// A host that began its stream.
#[derive(Debug)]
pub struct Arrived {
    /// Which.
    pub peer: Peer,
    /// What is to be said to it.
    pub outgoing: Outgoing<FromAgent>,
    /// What it says.
    pub incoming: Incoming<FromHost>,
}

impl Reception {
    /// Of an authority.
    ///
    /// # Errors
    /// The agent's certificate can't be read.
    pub fn new(authority: Arc<Authority>) -> Result<Reception, FileError> {
        let gate = authority.gate()?;
        Ok(Reception { authority, gate })
    }

    /// What knows whether a host that arrived may stay.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Who signs.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Takes one connection, with a new certificate of the agent's if it is time for one, and comes back when a host's stream begins on it, or with `None` when it is over: within a minute.
    /// How many connections may be here at once is for the caller to bound.
    pub async fn receive<S>(&self, stream: S, tell: impl Fn(Event) + Send + Sync + 'static) -> Option<Arrived>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.gate.identity().is_due() {
            let (authority, gate) = (Arc::clone(&self.authority), self.gate.clone());
            // The old one is shown if there is no other.
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || authority.renew_agent(&gate)).await {
                tell(Event::Failed { what: error.to_string() });
            }
        }
        let (stream, peer) = match self.gate.accept(stream).await {
            Ok(let_in) => let_in,
            Err(refusal) => {
                tell(Event::Refused(refusal));
                return None;
            }
        };
        let tell = Arc::new(tell);
        let (authority, asks, says) = (Arc::clone(&self.authority), peer.clone(), Arc::clone(&tell));
        let beside = move |request: hyper::Request<hyper::body::Incoming>| {
            let (authority, peer, tell) = (Arc::clone(&authority), asks.clone(), Arc::clone(&says));
            async move {
                if peer.is_some() && !is_for_office(request.uri().path()) {
                    return Err(request);
                }
                let mut answer = answer(&authority, peer, request).await;
                answer.event.take().into_iter().for_each(&*tell);
                Ok(answer.into_response())
            }
        };
        match accept_beside(stream, beside).await {
            Ok(Some((outgoing, incoming))) => Some(Arrived { peer: peer?, outgoing, incoming }),
            Ok(None) => None,
            Err(error) => {
                let who = peer.map_or_else(|| "somebody without a certificate".to_owned(), |it| it.to_string());
                tell(Event::Refused(Refusal::Handshake { what: format!("{who} connected, and then: {error}") }));
                None
            }
        }
    }
}
