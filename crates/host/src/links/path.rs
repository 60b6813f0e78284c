//! Further connections of a host, over paths of their own: over them leases are renewed, and nothing else is said.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use mainstay_plan::Time;
use mainstay_wire::message::{FromAgent, FromHost, Hello, Message, PROTOCOL, Understood};
use mainstay_wire::stream::{Incoming, Outgoing};
use tokio::time::timeout;

use super::{Links, words};

/// How many paths one host may have.
const PATHS: usize = 16;

/// The longest name of a path: that of a host, and a port.
const LONGEST: usize = 261;

/// One path.
#[derive(Debug)]
pub(super) struct Beside {
    /// The number of its last connection.
    nth: u64,
    to_host: Option<Outgoing<FromAgent>>,
    /// Since when the host is heard over it, or not.
    pub(super) since: Time,
}

impl Beside {
    pub(super) const fn is_up(&self) -> bool {
        self.to_host.is_some()
    }

    pub(super) const fn to_host(&self) -> Option<&Outgoing<FromAgent>> {
        self.to_host.as_ref()
    }
}

impl Links {
    /// Serves a connection of a host, by its name and address, beside another one: over the path that it calls `over`. Why it is over
    /// is returned.
    pub(super) async fn take_beside(
        &self,
        (name, address): (&str, IpAddr),
        over: &str,
        hello: &Hello,
        (to_host, mut from_host): (Outgoing<FromAgent>, Incoming<FromHost>),
        turned_away: impl Future<Output = String>,
    ) -> String {
        let nth = match self.begin_beside(name, over, hello, to_host.clone()) {
            Ok(nth) => nth,
            Err(why) => {
                self.refused(address, format!("host {name} at {address}"), why.clone()).await;
                return why;
            }
        };
        tracing::info!(host = name, over, "a host is heard over a further path");
        let why = tokio::select! {
            why = self.hear_beside(name, (over, nth), &to_host, &mut from_host) => why,
            why = turned_away => {
                self.refused(address, format!("host {name} at {address}"), why.clone()).await;
                why
            }
        };
        let (mut state, now) = (self.inner.state(), self.inner.clock.now());
        let path = state.hosts.get_mut(name).and_then(|it| it.paths.get_mut(over));
        if let Some(path) = path.filter(|it| it.nth == nth) {
            tracing::warn!(host = name, over, why, "a host is not heard over a path any more");
            (path.to_host, path.since) = (None, now);
        }
        why
    }

    fn begin_beside(&self, name: &str, over: &str, hello: &Hello, to_host: Outgoing<FromAgent>) -> Result<u64, String> {
        let inner = &self.inner;
        if hello.protocol.abs_diff(PROTOCOL) > 1 {
            return Err(format!("it speaks protocol {}, and this agent {PROTOCOL}", hello.protocol));
        }
        let epoch = inner.epoch.load(Ordering::Relaxed);
        if hello.epoch > epoch {
            return Err(format!("it has seen epoch {}, and this agent decides under {epoch}", hello.epoch));
        }
        let (mut state, now) = (inner.state(), inner.clock.now());
        let Some(host) = state.hosts.get_mut(name) else {
            return Err("it is not among `hosts` of the plan".to_owned());
        };
        if over.len() > LONGEST || (host.paths.len() >= PATHS && !host.paths.contains_key(over)) {
            return Err(format!("it has more than {PATHS} paths, or one with a name that is too long"));
        }
        to_host.say(&FromAgent::Welcome(inner.settings.welcome(name, epoch))).map_err(|it| it.to_string())?;
        let nth = host.paths.get(over).map_or(1, |it| it.nth + 1);
        // The one before, if there is one, finds that it is none any more.
        host.paths.insert(over.to_owned(), Beside { nth, to_host: Some(to_host), since: now });
        Ok(nth)
    }

    async fn hear_beside(
        &self,
        name: &str,
        (over, nth): (&str, u64),
        to_host: &Outgoing<FromAgent>,
        from_host: &mut Incoming<FromHost>,
    ) -> String {
        loop {
            let heard = match timeout(self.inner.patience(), from_host.hear()).await {
                Ok(Ok(Some(heard))) => heard,
                Ok(Ok(None)) => return "it ended the connection".to_owned(),
                Ok(Err(error)) => return words(&error),
                Err(_) => return format!("it was silent for {:.1} s", self.inner.patience().as_secs_f64()),
            };
            let is_it = |it: &super::Host| it.paths.get(over).is_some_and(|it| it.nth == nth);
            if !self.inner.state().hosts.get(name).is_some_and(is_it) {
                return "it has connected anew, or is not in the plan any more".to_owned();
            }
            let said = match heard {
                Understood::Message(FromHost::Renew(renew)) => self.grants(name, to_host, renew).await,
                Understood::Message(FromHost::Released(held)) => {
                    self.released(name, held).await;
                    Ok(())
                }
                Understood::Message(FromHost::NotUnderstood { what }) => {
                    tracing::warn!(host = name, what, "the host did not understand this agent");
                    Ok(())
                }
                Understood::Message(
                    FromHost::Hello(_)
                    | FromHost::Answers(_)
                    | FromHost::Progress { .. }
                    | FromHost::Ended(_)
                    | FromHost::Traffic(_)
                    | FromHost::Copied(_),
                ) => Err("it says over this path what it has to say elsewhere".to_owned()),
                Understood::Not(what) => to_host.say(&FromAgent::not_understood(what)).map_err(|it| it.to_string()),
            };
            if let Err(why) = said {
                return why;
            }
        }
    }
}
