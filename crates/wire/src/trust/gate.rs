//! The two ends of a connection: the agent takes it, a host makes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::identity::Identity;
use super::peer::Peer;
use super::refusal::Refusal;
use super::register::Register;
use super::tls::{self, Believe, Finding};

/// A handshake that takes longer is given up.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often an open connection's certificate is judged again.
const AGAIN: Duration = Duration::from_secs(1);

/// The agent's side: takes connections of hosts. Clones share everything.
#[derive(Clone, Debug)]
pub struct Gate {
    identity: Identity,
    register: Arc<Register>,
}

impl Gate {
    pub(super) fn new(identity: Identity, register: Arc<Register>) -> Gate {
        Gate { identity, register }
    }

    /// What the agent shows.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Makes TLS of a connection, within 10 s. `None` beside the stream is somebody without a certificate, who may do
    /// nothing but join.
    pub async fn accept<S>(&self, stream: S) -> Result<(server::TlsStream<S>, Option<Peer>), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, found) = tls::server(&self.identity, Some(&self.register))
            .map_err(|it| Refusal::Handshake { what: it.to_string() })?;
        let shaken = timeout(HANDSHAKE, TlsAcceptor::from(Arc::new(config)).accept(stream)).await;
        let stream = shake(shaken, &found)?;
        Ok((stream, found.take().transpose()?))
    }

    /// Whether a host that is connected may still be: it was not revoked. A date ends no connection, so that a clock that is set
    /// wrong cuts nobody off who is there.
    pub fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        self.register.check(peer)
    }

    /// Waits until a host that is connected may no longer be. Whoever holds the connection closes it then. What can't be read
    /// now closes nothing.
    pub async fn until_refused(&self, peer: &Peer) -> Refusal {
        loop {
            tokio::time::sleep(AGAIN).await;
            match self.check(peer) {
                Ok(()) | Err(Refusal::Unreadable { .. }) => {}
                Err(refusal) => return refusal,
            }
        }
    }
}

impl Identity {
    /// Makes TLS of a connection to the agent of this identity's own site, and waits until the agent has said something, as
    /// HTTP/2 does at once: TLS 1.3 tells a client only after its handshake that it is refused. Each takes at most 10 s.
    pub async fn connect<S>(&self, stream: S) -> Result<(client::TlsStream<S>, Peer), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.newest();
        let (config, found) = tls::client(Some(loaded), self.believes(), self.wall())
            .map_err(|it| Refusal::Handshake { what: it.to_string() })?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(tls::server_name(), stream);
        let mut stream = shake(timeout(HANDSHAKE, connecting).await, &found)?;
        hear(&mut stream).await?;
        let peer = found.take().transpose()?.ok_or(Refusal::NoCertificate)?;
        Ok((stream, peer))
    }
}

/// Two hosts of one site, with no agent between them.
impl Identity {
    /// Makes TLS of a connection of another host of this site, within 10 s. What the agent has revoked is not known here.
    pub async fn accept_host<S>(&self, stream: S) -> Result<(server::TlsStream<S>, Peer), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (config, found) = tls::server(self, None).map_err(|it| Refusal::Handshake { what: it.to_string() })?;
        let shaken = timeout(HANDSHAKE, TlsAcceptor::from(Arc::new(config)).accept(stream)).await;
        let stream = shake(shaken, &found)?;
        let peer = found.take().transpose()?.ok_or(Refusal::NoCertificate)?;
        Ok((stream, peer))
    }

    /// Makes TLS of a connection to the host `name` of this site, and waits until it has said something, as HTTP/2 does at once.
    /// Each takes at most 10 s.
    pub async fn connect_to_host<S>(&self, stream: S, name: &str) -> Result<client::TlsStream<S>, Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.newest();
        let believe =
            Believe::Host { site: loaded.me.site.clone(), name: name.to_owned(), roots: Arc::clone(&loaded.roots) };
        let (config, found) = tls::client(Some(loaded), believe, self.wall())
            .map_err(|it| Refusal::Handshake { what: it.to_string() })?;
        let connecting = TlsConnector::from(Arc::new(config)).connect(tls::server_name(), stream);
        let mut stream = shake(timeout(HANDSHAKE, connecting).await, &found)?;
        hear(&mut stream).await?;
        found.take().transpose()?.ok_or(Refusal::NoCertificate)?;
        Ok(stream)
    }
}

/// Waits for the first bytes of the other end, and leaves them there.
pub(super) async fn hear<S>(stream: &mut client::TlsStream<S>) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let what = match timeout(HANDSHAKE, stream.fill_buf()).await {
        Ok(Ok(bytes)) if !bytes.is_empty() => return Ok(()),
        Ok(Ok(_)) => "it was closed".to_owned(),
        Ok(Err(error)) => return Err(Refusal::within(&error).unwrap_or(Refusal::Handshake { what: error.to_string() })),
        Err(_late) => format!("nothing was said for {HANDSHAKE:?}"),
    };
    Err(Refusal::Handshake { what })
}

pub(super) fn shake<S>(
    shaken: Result<io::Result<S>, tokio::time::error::Elapsed>,
    found: &Finding,
) -> Result<S, Refusal> {
    let failed = match shaken {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => Refusal::within(&error).unwrap_or(Refusal::Handshake { what: error.to_string() }),
        Err(_late) => Refusal::Handshake { what: format!("it took longer than {HANDSHAKE:?}") },
    };
    // Our own judgement says more than what came of it.
    match found.take() {
        Some(Err(refusal)) => Err(refusal),
        Some(Ok(_)) | None => Err(failed),
    }
}
