//! The TCP proxy: one listener an address, one task a client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mainstay_plan::routing::{ProxyEntry, TargetEntry};
use mainstay_web::{Foyer, Guest, Trouble, insist};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::choice;
use crate::forward::{Ended, Silence, forward};
use crate::greeting::Visitor;
use crate::live::{Door, Live, Permit, ServedRoute, count};
use crate::lobby::{Place, Refusal};
use crate::stream::{Entrance, Listener, Stream};

/// How long to wait before the targets of a route are tried again of which none could be reached; each further time twice as long, up to
/// [`TRY_AGAIN_AT_MOST`].
const TRY_AGAIN: Duration = Duration::from_millis(50);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// How often a client may be sent to the targets of a newer table because its choice was overtaken by a swap.
const MAX_CHOICES: usize = 4;
/// For a client that nobody wants to take the answer.
const ALERT_WITHIN: Duration = Duration::from_secs(1);

/// Only time frees a descriptor.
const FILES_PAUSE: Duration = Duration::from_millis(50);

/// What the tasks of one listener share.
struct Front {
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    entrance: Entrance,
}

/// Serves the clients of whichever routes have their proxy at `entrance`, until it is dropped.
pub(crate) async fn serve(
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    entrance: Entrance,
    listener: Listener,
    retires: CancellationToken,
) {
    let about = format!("proxy {entrance}");
    let foyer = Foyer::new(live.foyer());
    let front = Arc::new(Front { live, trouble, entrance });
    loop {
        let accepted = insist(&front.trouble, &about, || listener.accept());
        let Some((client, peer)) = retires.run_until_cancelled(accepted).await else { return };
        let served = front.live.served();
        let Some(door) = served.door(&front.entrance) else {
            client.reset();
            continue;
        };
        let Some(room) = front.live.place() else {
            if let Some(route) = served.first_behind(&front.entrance) {
                count(&route.counts.accepted);
                front.refuse(route, None);
            }
            client.reset();
            continue;
        };
        let guest = door.hears().then(|| foyer.enter());
        let (front, door) = (Arc::clone(&front), Arc::clone(door));
        tokio::spawn(async move {
            front.serve_client(&door, guest, client, peer).await;
            drop(room);
        });
    }
}

impl Front {
    async fn serve_client(&self, door: &Door, guest: Option<Guest>, mut client: Stream, peer: Option<SocketAddr>) {
        let visitor = match guest {
            None => Visitor::meet(door, &mut client, peer).await,
            Some(guest) => tokio::select! {
                visitor = Visitor::meet(door, &mut client, peer) => visitor,
                () = guest.goes.cancelled() => Err(io::Error::new(io::ErrorKind::TimedOut, "others have come since")),
            },
        };
        let served = self.live.served();
        let visitor = match visitor {
            Ok(visitor) => visitor,
            Err(error) => {
                debug!(entrance = %self.entrance, %error, "a client does not say what it must");
                if let Some(route) = served.first_behind(&self.entrance) {
                    count(&route.counts.accepted);
                    count(&route.counts.unserved);
                }
                return client.reset();
            }
        };
        let Some(route) = served.behind(&self.entrance, visitor.hello.name.as_deref()) else {
            if let Some(route) = served.first_behind(&self.entrance) {
                count(&route.counts.accepted);
                count(&route.counts.unserved);
            }
            return turn_away(client, &visitor.hello.alert).await;
        };
        let (name, counts) = (route.entry.name.clone(), Arc::clone(&route.counts));
        count(&counts.accepted);
        let entered = self.enter(route, &visitor, peer);
        drop(served);
        let Some((mut place, wait)) = entered else { return client.reset() };
        if !place.wait(wait).await {
            count(&counts.overdue);
            count(&counts.unserved);
            return client.reset();
        }
        if let Some(client) = self.lead(&name, &visitor, client).await {
            count(&counts.unserved);
            client.reset();
        }
    }

    /// A place in the route, and how long it may be waited for; counts and says why there is none.
    fn enter(&self, route: &ServedRoute, visitor: &Visitor, peer: Option<SocketAddr>) -> Option<(Place, Duration)> {
        let proxy = route.entry.proxy.as_ref()?;
        let refusal = match route.lobby.enter(proxy, visitor.source(peer)) {
            Ok(place) if self.live.is_greedy(&self.live.served(), route.lobby.present()) => {
                drop(place);
                None
            }
            Ok(place) => {
                if place.is_queued() {
                    count(&route.counts.queued);
                } else if route.lobby.was_full() {
                    self.trouble.clear(&full(&route.entry.name));
                }
                return Some((place, Duration::from_millis(proxy.queue.map_or(0, |it| it.wait_ms))));
            }
            Err(refusal) => Some(refusal),
        };
        self.refuse(route, refusal);
        None
    }

    fn refuse(&self, route: &ServedRoute, refusal: Option<Refusal>) {
        count(&route.counts.refused);
        count(&route.counts.unserved);
        let name = &route.entry.name;
        let limit = route.entry.proxy.as_ref().map_or(0, |it| it.max_connections);
        match refusal {
            // It is the source that has a problem.
            Some(Refusal::Source) => debug!(route = name, "a source has all the places that it may have"),
            Some(Refusal::Full) => {
                self.is_full(route, format!("route `{name}` has all its {limit} connections: more are closed"));
            }
            None => {
                let text = "the process has all the connections that it can open";
                self.is_full(route, format!("{text}: more of route `{name}` are closed"));
            }
        }
    }

    /// Said before it is noted in the lobby: whoever finds room again takes back what was said.
    fn is_full(&self, route: &ServedRoute, text: String) {
        self.trouble.note(&full(&route.entry.name), text);
        route.lobby.note_full();
    }

    /// Leads a client to a target of the route and carries what they say; gives it back where there is no target.
    async fn lead(&self, route: &str, visitor: &Visitor, client: Stream) -> Option<Stream> {
        let (mut since, mut pause) = (None, TRY_AGAIN);
        let mut choices = 0;
        while choices < MAX_CHOICES {
            let served = self.live.served();
            let Some(found) = served.named(route) else { break };
            let Some(proxy) = &found.entry.proxy else { break };
            let mut overtaken = false;
            let targets = found.slow_start.order(choice::open_to_new(&found.entry), Instant::now());
            let nobody_is_open = targets.is_empty();
            for (attempt, target) in targets.into_iter().enumerate() {
                let Some(mut permit) = self.live.register(route, target) else {
                    overtaken = true;
                    break;
                };
                if attempt > 0 {
                    count(&found.counts.retried);
                }
                match dial(&mut permit, target, proxy).await {
                    Dialled::Connected(server) => {
                        let (first, silence) = (visitor.introduction(proxy), Silence::new(proxy));
                        let (counts, instance) = (Arc::clone(&found.counts), target.instance.clone());
                        counts.bytes_in.fetch_add(visitor.heard(), Ordering::Relaxed);
                        // A connection may outlive many tables.
                        drop(served);
                        if forward(permit, client, server, first, silence, &counts).await == Ended::ByReset {
                            self.live.target_failed(&counts, &instance);
                        }
                        return None;
                    }
                    Dialled::Failed => self.live.target_failed(&found.counts, &target.instance),
                    Dialled::Overtaken => {
                        overtaken = true;
                        break;
                    }
                }
            }
            if overtaken {
                choices += 1;
                continue;
            }
            let held = Duration::from_millis(proxy.retry_for_ms.unwrap_or(0));
            drop(served);
            let left = held.saturating_sub(since.get_or_insert_with(Instant::now).elapsed());
            if nobody_is_open || left.is_zero() {
                break;
            }
            sleep(pause.min(left)).await;
            if client.has_ended() {
                break;
            }
            pause = (pause * 2).min(TRY_AGAIN_AT_MOST);
        }
        Some(client)
    }
}

/// What a trouble with the places of a route is filed under.
pub(crate) fn full(route: &str) -> String {
    format!("connections {route}")
}

/// Takes back that routes are full which have room again, although nobody has come since.
pub(crate) fn look_for_room(live: &Live, trouble: &Trouble) {
    for route in live.served().routes() {
        if route.lobby.has_room() && live.place().is_some() && route.lobby.was_full() {
            trouble.clear(&full(&route.entry.name));
        }
    }
}

/// Tells a client in its own words that nobody is here for it.
async fn turn_away(mut client: Stream, alert: &[u8]) {
    if alert.is_empty() {
        return client.reset();
    }
    let told = async {
        client.write_all(alert).await?;
        client.shutdown().await
    };
    if !matches!(timeout(ALERT_WITHIN, told).await, Ok(Ok(()))) {
        client.reset();
    }
}

enum Dialled {
    Connected(Stream),
    /// The target didn't answer.
    Failed,
    /// A table came in that doesn't send new clients there.
    Overtaken,
}

async fn dial(permit: &mut Permit, target: &TargetEntry, proxy: &ProxyEntry) -> Dialled {
    let limit = Duration::from_millis(proxy.connect_timeout_ms);
    let granted = permit.granted;
    let connected = tokio::select! {
        biased;
        _ = permit.order.wait_for(|order| *order != granted) => return Dialled::Overtaken,
        connected = timeout(limit, connect(target)) => connected,
    };
    match connected {
        Ok(Ok(server)) => Dialled::Connected(server),
        Ok(Err(error)) => {
            debug!(instance = target.instance, %error, "target refused");
            Dialled::Failed
        }
        Err(_) => {
            debug!(instance = target.instance, "target did not answer in time");
            Dialled::Failed
        }
    }
}

async fn connect(target: &TargetEntry) -> io::Result<Stream> {
    loop {
        let connected = match &target.unix {
            Some(path) => UnixStream::connect(path).await.map(Stream::Unix),
            None => TcpStream::connect(target.address).await.map(Stream::Tcp),
        };
        match connected {
            // It is us who lack something, and the client can wait for it.
            Err(error) if is_out_of_files(&error) => sleep(FILES_PAUSE).await,
            connected => return connected,
        }
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use mainstay_plan::routing::TargetState::{Fenced, Serving, Standby};

    use super::*;
    use crate::live::tests::served;

    #[tokio::test]
    async fn a_fence_ends_the_dialling() {
        let live = Live::new(served(1, [Serving, Standby]));
        let mut permit = live.register("r", &live.served().table.routes[0].targets[0]).unwrap();
        live.swap(served(2, [Fenced, Standby]));
        let table = served(1, [Serving, Standby]).table;
        let route = &table.routes[0];
        let dialled = dial(&mut permit, &route.targets[0], route.proxy.as_ref().unwrap()).await;
        assert!(matches!(dialled, Dialled::Overtaken));
    }
}
