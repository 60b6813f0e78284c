//! The agent's door: who may come in, and who was turned away.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_wire::reception::{Arrived, Reception};
use mainstay_wire::stream::tune;
use mainstay_wire::trust::{Authority, Event, Refusal, Terms, Wall};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::crowd::{Crowd, Guest, Origin};
use super::refusals::Refused;
use super::{Links, words};
use crate::hands::Report;

/// How many connections may be in their handshake.
const HANDSHAKES: usize = 512;

/// How many of them may be of one address.
const OF_ONE_ADDRESS: usize = 64;

/// How many connections there may be.
const CONNECTIONS: usize = 8192;

/// After an error that is ours and not a client's: no descriptor is left.
const TAKES_BREATH: Duration = Duration::from_millis(100);

/// Between two attempts to listen.
const TRIES_AGAIN: Duration = Duration::from_secs(1);

/// How often it is said how many refusals were not reported.
const COUNTS_EVERY: Duration = Duration::from_secs(30);

/// How often the agent looks whether its own certificate is to be renewed.
const RENEWS_EVERY: Duration = Duration::from_secs(3600);

impl Links {
    /// Listens there from now on, with the authority of this state directory. What keeps it from that is shown, and tried again.
    pub fn keep_listening(&self, listen: SocketAddr, state_dir: PathBuf) {
        let links = self.clone();
        tokio::spawn(async move {
            loop {
                let why = match links.door(listen, &state_dir).await {
                    Ok((listener, reception)) => {
                        links.inner.door_trouble().remove(&listen);
                        tracing::info!(%listen, "hosts can connect");
                        links.listen(listener, reception).await;
                        continue;
                    }
                    Err(why) => format!("no host can connect: {why}"),
                };
                if links.inner.door_trouble().insert(listen, why.clone()) != Some(why.clone()) {
                    tracing::error!("{why}");
                }
                sleep(TRIES_AGAIN).await;
            }
        });
    }

    async fn door(&self, listen: SocketAddr, state_dir: &Path) -> Result<(TcpListener, Reception), String> {
        let authority = Authority::open(state_dir, Terms::default(), &Wall::system())
            .map_err(|error| format!("{}: `mainstay enroll init` makes the site's authority", words(&error)))?;
        let reception = Reception::new(Arc::new(authority)).map_err(|error| words(&error))?;
        let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
        Ok((listener, reception))
    }

    /// Takes connections of hosts, and of those who want to become one, for as long as it is polled.
    pub async fn listen(&self, listener: TcpListener, reception: Reception) -> Infallible {
        let crowd = Crowd::new(HANDSHAKES, OF_ONE_ADDRESS);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let renewing = renew_in_time(reception.clone());
        let taking = async {
            loop {
                let Ok(place) = connections.clone().acquire_owned().await else { std::future::pending().await };
                let (socket, address) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection of a host can't be taken");
                        sleep(TAKES_BREATH).await;
                        continue;
                    }
                };
                let Some(guest) = crowd.come(Origin::of(address.ip()), Instant::now()) else {
                    tracing::debug!(%address, "too many from there, or in all, are in their handshake");
                    continue;
                };
                let (links, reception) = (self.clone(), reception.clone());
                tokio::spawn(async move {
                    links.meet(socket, address.ip(), reception, guest).await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            never = taking => never,
            never = renewing => never,
            never = self.keep_counting() => never,
        }
    }

    /// Says of how many it was not reported that they were turned away.
    async fn keep_counting(&self) -> Infallible {
        loop {
            sleep(COUNTS_EVERY).await;
            let kept_back = self.inner.refusals().kept_back(Instant::now());
            for Refused { who, why } in kept_back {
                let _ = self.inner.reports.send(Report::HostRefused { who, why }).await;
            }
        }
    }

    async fn meet(&self, socket: TcpStream, from: IpAddr, reception: Reception, guest: Guest) {
        if let Err(error) = tune(&socket, self.inner.patience()) {
            tracing::debug!(%from, %error, "a connection is gone already");
            return;
        }
        let links = self.clone();
        let arrived = tokio::select! {
            arrived = reception.receive(socket, move |event| links.happened(from, event)) => arrived,
            () = guest.sent_away() => {
                tracing::debug!(%from, "it had its time to say who it is, and others want in");
                return;
            }
        };
        drop(guest);
        if let Some(Arrived { peer, outgoing, incoming }) = arrived {
            let gate = reception.gate().clone();
            let turned_away = async { gate.until_refused(&peer).await.to_string() };
            let why = self.take(&peer.name, from, outgoing, incoming, turned_away).await;
            tracing::debug!(host = peer.name, %from, why, "a connection is over");
        }
    }

    fn happened(&self, from: IpAddr, event: Event) {
        match event {
            // Whoever looks whether the port is open is not worth a record.
            Event::Refused(Refusal::Handshake { what }) => tracing::debug!(%from, what, "no connection came about"),
            Event::Refused(refusal) => {
                let links = self.clone();
                tokio::spawn(async move { links.refused(from, from.to_string(), refusal.to_string()).await });
            }
            Event::Joined { .. } | Event::Renewed { .. } => tracing::info!(%from, "{event}"),
            Event::Failed { .. } => tracing::error!(%from, "{event}"),
        }
    }

    /// Reports that somebody from there was turned away, if that is worth it.
    pub(super) async fn refused(&self, from: IpAddr, who: String, why: String) {
        let refused = Refused { who, why };
        let is_worth_it = self.inner.refusals().is_worth_it(from, &refused, Instant::now());
        if is_worth_it {
            let Refused { who, why } = refused;
            let _ = self.inner.reports.send(Report::HostRefused { who, why }).await;
        }
    }
}

async fn renew_in_time(reception: Reception) -> Infallible {
    loop {
        let reception = reception.clone();
        let renewed = tokio::task::spawn_blocking(move || reception.authority().renew_agent(reception.gate())).await;
        match renewed {
            Ok(Ok(true)) => tracing::info!("the agent has a new certificate"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::error!(error = words(&error), "the agent's certificate can't be renewed"),
            Err(error) => tracing::error!(%error, "the agent's certificate can't be renewed"),
        }
        sleep(RENEWS_EVERY).await;
    }
}
