//! An agent that says exactly what a test wants said.

use mainstay_plan::action::{Action, Outcome};
use mainstay_wire::message::{Act, Ended, FromAgent, FromHost, Hello, LeaseTimes, PROTOCOL, Sent, Understood, Welcome};
use mainstay_wire::stream::{Incoming, Outgoing, accept};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::site::{PATIENCE, Site};

pub(crate) const LEASE: LeaseTimes = LeaseTimes { renew_ms: 200, expires_ms: 3000, demote_ms: 500, drift_ms: 50 };

/// One connection of a host.
pub(crate) struct Scripted {
    pub(crate) hello: Hello,
    to_host: Outgoing<FromAgent>,
    from_host: Incoming<FromHost>,
}

pub(crate) fn welcome(epoch: u64) -> FromAgent {
    FromAgent::Welcome(Welcome {
        protocol: PROTOCOL,
        host: "db-a".to_owned(),
        agent: "a test".to_owned(),
        site: "shop-a".to_owned(),
        version: String::new(),
        epoch,
        lease: LEASE,
        paths: false,
    })
}

impl Scripted {
    /// Takes the next connection, and says nothing yet.
    pub(crate) async fn silent(site: &Site, listener: &TcpListener) -> Scripted {
        let met = async {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let Ok((stream, Some(_))) = site.gate().accept(socket).await else { continue };
                let Ok((to_host, mut from_host)) = accept(stream).await else { continue };
                if let Ok(Some(Understood::Message(FromHost::Hello(hello)))) = from_host.hear().await {
                    return Scripted { hello: *hello, to_host, from_host };
                }
            }
        };
        timeout(PATIENCE, met).await.expect("a host comes")
    }

    /// The same, as an agent that decides under this epoch.
    pub(crate) async fn of_epoch(site: &Site, listener: &TcpListener, epoch: u64) -> Scripted {
        let it = Scripted::silent(site, listener).await;
        it.say(welcome(epoch));
        it
    }

    pub(crate) fn say(&self, message: FromAgent) {
        self.to_host.say(&message).expect("it is said");
    }

    pub(crate) fn order(&self, act: &Act) {
        self.say(FromAgent::Act(Box::new(act.clone())));
    }

    /// The next thing that it says of which `of` makes something; `None` when the connection is over.
    pub(crate) async fn hear<T>(&mut self, of: impl Fn(FromHost) -> Option<T>) -> Option<T> {
        let heard = async {
            loop {
                match self.from_host.hear().await {
                    Ok(Some(Understood::Message(message))) => {
                        if let Some(it) = of(message) {
                            return Some(it);
                        }
                    }
                    Ok(Some(Understood::Not(what))) => panic!("{what}"),
                    Ok(None) | Err(_) => return None,
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("it says something")
    }

    pub(crate) async fn ended(&mut self) -> Ended {
        let ended = self.hear(|it| if let FromHost::Ended(it) = it { Some(it) } else { None }).await;
        ended.expect("the connection goes on")
    }

    /// What comes of an order.
    pub(crate) async fn outcome(&mut self, act: &Act) -> (Outcome, bool) {
        self.order(act);
        let ended = self.ended().await;
        assert_eq!((&ended.key, ended.attempt), (&act.key, act.attempt));
        (ended.outcome, ended.done_before)
    }
}

/// An order with a long deadline, sent just after the host's first word.
pub(crate) fn order(key: &str, action: Action) -> Act {
    Act {
        key: key.to_owned(),
        recovery: 17,
        step: "1.1".to_owned(),
        attempt: 1,
        epoch: 3,
        sent: Sent { seq: 0, after_ms: 0 },
        deadline_ms: 120_000,
        instance: "db-a".to_owned(),
        component: "db".to_owned(),
        address: None,
        needs_lease: false,
        action,
    }
}
