//! One connection of one host, from the agent's side.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay_wire::message::{
    FromAgent, FromHost, Granted, Head, Held, Hello, Message, PROTOCOL, Renew, TrafficNews, Understood,
};
use mainstay_wire::stream::{Incoming, Outgoing};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::{Links, Live, STANCE_AGAIN, ServedThere};
use crate::copy::sender::{SendError, Source};
use crate::hands::Report;
use crate::lease::book::Holding;

/// Between two attempts to say something to a host that takes nothing at the moment.
const SAYS_AGAIN: Duration = Duration::from_millis(100);

/// A host that has not introduced itself for so long is none.
const INTRODUCES_ITSELF_WITHIN: Duration = Duration::from_secs(5);

impl Links {
    /// Serves a stream of the host of that name, as its certificate says, until it is over. Why it is over is returned. It is
    /// over at the latest when `turned_away` says why.
    pub async fn take(
        &self,
        name: &str,
        address: IpAddr,
        to_host: Outgoing<FromAgent>,
        mut from_host: Incoming<FromHost>,
        turned_away: impl Future<Output = String>,
    ) -> String {
        let hello = match timeout(INTRODUCES_ITSELF_WITHIN, from_host.hear()).await {
            Ok(Ok(Some(Understood::Message(FromHost::Hello(hello))))) => hello,
            Ok(Ok(_)) => return "it does not introduce itself".to_owned(),
            Ok(Err(error)) => return words(&error),
            Err(_) => return "it says nothing".to_owned(),
        };
        if let Some(over) = hello.beside.clone() {
            return self.take_beside((name, address), &over, &hello, (to_host, from_host), turned_away).await;
        }
        let begun = self.begin(name, address, to_host.clone(), *hello);
        let (nth, replaced) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                self.refused(address, format!("host {name} at {address}"), why.clone()).await;
                return why;
            }
        };
        let copying = self
            .copies(name)
            .map(|(source, copied)| tokio::spawn(copy(name.to_owned(), to_host.clone(), source, copied)));
        let why = tokio::select! {
            why = self.hear(name, &to_host, &mut from_host) => why,
            why = turned_away => {
                self.refused(address, format!("host {name} at {address}"), why.clone()).await;
                why
            }
            () = replaced.notified() => "it has connected anew, or is not in the plan any more".to_owned(),
        };
        if let Some(copying) = copying {
            copying.abort();
        }
        if let Some(report) = self.lost(name, nth, &why) {
            let _ = self.inner.reports.send(report).await;
        }
        why
    }

    /// What a host gets that keeps the journal, and how far its copy goes.
    fn copies(&self, name: &str) -> Option<(Source, watch::Receiver<Head>)> {
        let source = self.inner.source.get()?.clone();
        let mut state = self.inner.state();
        let wanted = state.registered.hosts.get(name).is_some_and(|it| it.keeps_journal);
        let host = state.hosts.get_mut(name)?;
        let head = host.hello.as_ref().and_then(|it| it.copy_head.clone());
        host.copied = head.filter(|_| wanted).map(watch::Sender::new);
        Some((source, host.copied.as_ref()?.subscribe()))
    }

    /// From now on this is the host's connection; one that it had before ends.
    fn begin(
        &self,
        name: &str,
        address: IpAddr,
        to_host: Outgoing<FromAgent>,
        hello: Hello,
    ) -> Result<(u64, Arc<Notify>), String> {
        let inner = &self.inner;
        if hello.protocol.abs_diff(PROTOCOL) > 1 {
            let (theirs, version) = (hello.protocol, &hello.version);
            return Err(format!("it speaks protocol {theirs} (version {version}), and this agent {PROTOCOL}"));
        }
        let now = inner.clock.now();
        let epoch = inner.epoch.load(std::sync::atomic::Ordering::Relaxed);
        let mut state = inner.state();
        let registered = state.registered.clone();
        let Some(host) = state.hosts.get_mut(name) else {
            return Err("it is not among `hosts` of the plan".to_owned());
        };
        if hello.epoch > epoch {
            let why = format!(
                "it has seen epoch {}, and this agent decides under {epoch}: another agent has taken over, and it obeys that one",
                hello.epoch
            );
            host.lost = Some(why.clone());
            return Err(why);
        }
        to_host.say(&FromAgent::Welcome(inner.settings.welcome(name, epoch))).map_err(|it| it.to_string())?;
        for lack in registered.lacks(name, &hello) {
            tracing::warn!("{lack}");
        }
        tracing::info!(host = name, %address, version = hello.version, "a host is connected");
        let replaced = Arc::new(Notify::new());
        let live = Live { to_host, renewed: (0, now), replaced: replaced.clone() };
        if let Some(before) = host.live.replace(live) {
            before.replaced.notify_one();
            if host.hello.as_ref().is_some_and(|it| it.boot_id != hello.boot_id) {
                tracing::error!(
                    host = name,
                    %address,
                    "another machine comes under the name of a host that is connected"
                );
                host.twin = Some(now);
            }
        }
        host.nth += 1;
        (host.since, host.heard, host.lost) = (now, Some(now), None);
        (host.hello, host.address, host.deaf) = (Some(hello), Some(address.to_string()), Duration::ZERO);
        (host.stands, host.stance_sent) = (None, None);
        host.asked.clear();
        host.doing.clear();
        let nth = host.nth;
        // What may not have reached it, or whose answer may not have reached us, is asked again.
        let super::State { hosts, acts, .. } = &mut *state;
        if let Some(live) = hosts.get(name).and_then(|it| it.live.as_ref()) {
            for pending in acts.values_mut().filter(|it| it.host == name) {
                pending.said |= live.to_host.say(&inner.order(live, pending, now)).is_ok();
            }
        }
        Ok((nth, replaced))
    }

    async fn hear(&self, name: &str, to_host: &Outgoing<FromAgent>, from_host: &mut Incoming<FromHost>) -> String {
        loop {
            let heard = match timeout(self.inner.patience(), from_host.hear()).await {
                Ok(Ok(Some(heard))) => heard,
                Ok(Ok(None)) => return "it ended the connection".to_owned(),
                Ok(Err(error)) => return words(&error),
                Err(_) => return format!("it was silent for {:.1} s", self.inner.patience().as_secs_f64()),
            };
            let said = match heard {
                Understood::Message(message) => self.on_message(name, to_host, message).await,
                Understood::Not(what) => {
                    tracing::warn!(host = name, what, "the host said something that this version does not understand");
                    to_host.say(&FromAgent::not_understood(what)).map_err(|it| it.to_string())
                }
            };
            if let Err(why) = said {
                return why;
            }
        }
    }

    async fn on_message(&self, name: &str, to_host: &Outgoing<FromAgent>, message: FromHost) -> Result<(), String> {
        let report = match message {
            FromHost::Hello(_) => return Err("it introduces itself twice".to_owned()),
            FromHost::Renew(renew) => return self.renewed(name, to_host, renew).await,
            FromHost::Answers(all) => {
                let mut state = self.inner.state();
                if let Some(host) = state.hosts.get_mut(name) {
                    host.heard = Some(self.inner.clock.now());
                    for answered in all {
                        if let Some(asker) = host.asked.remove(&answered.id) {
                            let _ = asker.send(answered);
                        }
                    }
                }
                None
            }
            FromHost::Progress { key, text } => {
                let mut state = self.inner.state();
                let is_pending = state.acts.values().any(|it| it.host == name && it.job.key == key);
                if let Some(host) = state.hosts.get_mut(name).filter(|_| is_pending) {
                    tracing::debug!(host = name, key, text, "progress");
                    host.doing.insert(key, text);
                }
                None
            }
            FromHost::Ended(ended) => self.inner.ended(name, ended),
            FromHost::Released(held) => {
                self.released(name, held).await;
                None
            }
            FromHost::Traffic(news) => self.traffic(name, news),
            FromHost::Copied(head) => {
                let copied = self.inner.state().hosts.get(name).and_then(|it| it.copied.clone());
                if let Some(copied) = copied {
                    self.inner.copied.send_if_modified(|it| std::mem::replace(it, (*it).max(head.seq)) < head.seq);
                    copied.send_replace(head);
                }
                None
            }
            FromHost::NotUnderstood { what } => {
                tracing::warn!(host = name, what, "the host did not understand this agent");
                None
            }
        };
        if let Some(report) = report {
            let _ = self.inner.reports.send(report).await;
        }
        Ok(())
    }

    async fn renewed(&self, name: &str, to_host: &Outgoing<FromAgent>, renew: Renew) -> Result<(), String> {
        let Renew { seq, heard_ms, wall_ns, .. } = renew;
        {
            let mut state = self.inner.state();
            let now = self.inner.clock.now();
            let Some(host) = state.hosts.get_mut(name) else { return Err("it is not in the plan any more".to_owned()) };
            host.deaf = Duration::from_millis(heard_ms);
            host.clock_ahead_ms = Some(ahead_ms(wall_ns, host.rtt.unwrap_or_default()));
            if let Some(live) = &mut host.live
                && seq > live.renewed.0
            {
                live.renewed = (seq, now);
            }
        }
        self.grants(name, to_host, renew).await
    }

    /// Answers a renewal, over whichever path it came.
    pub(super) async fn grants(&self, name: &str, to_host: &Outgoing<FromAgent>, renew: Renew) -> Result<(), String> {
        let Renew { seq, holds, asks, stands, .. } = renew;
        let asks = {
            let mut state = self.inner.state();
            let registered = state.registered.clone();
            let now = self.inner.clock.now();
            let Some(host) = state.hosts.get_mut(name) else { return Err("it is not in the plan any more".to_owned()) };
            host.heard = Some(now);
            host.holds = holds;
            host.stands.clone_from(&stands);
            registered.of_its_own(name, asks)
        };
        if let (Some(grantor), Some(stands)) = (self.inner.grantor.clone(), stands) {
            let (host, epoch) = (name.to_owned(), self.inner.epoch.load(std::sync::atomic::Ordering::Relaxed));
            let told = tokio::task::spawn_blocking(move || grantor.stands(&host, &stands, epoch)).await;
            told.map_err(|error| error.to_string())?;
        }
        let granted = match &self.inner.grantor {
            Some(grantor) if !asks.is_empty() => {
                let grantor = grantor.clone();
                let asks: Vec<Holding> = asks.into_iter().map(holding).collect();
                let granted = tokio::task::spawn_blocking(move || grantor.renew(&asks)).await;
                match granted.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                    Ok(granted) => granted,
                    Err(error) => {
                        tracing::error!(host = name, %error, "a lease can't be kept, so that it is not granted");
                        Vec::new()
                    }
                }
            }
            Some(_) | None => Vec::new(),
        };
        let stance = self.inner.grantor.as_ref().map_or(0, |it| it.since(&granted));
        // Whoever holds knows first by what he may stay, and whoever is to agree soon afterwards.
        self.say_stance(name).await;
        let newest = self.inner.grantor.as_ref().map_or(0, |it| it.newest());
        if self.inner.told.swap(newest, std::sync::atomic::Ordering::Relaxed) != newest {
            self.say_stances().await;
        }
        let holds = granted.into_iter().map(|it| Held { component: it.component, instance: it.instance }).collect();
        let ttl_ms = self.inner.settings.lease.expires_ms;
        to_host.say(&FromAgent::Granted(Granted { seq, holds, ttl_ms, stance })).map_err(|it| it.to_string())
    }

    /// Tells all hosts that are connected what to do while we are silent, where that is new.
    pub(super) async fn say_stances(&self) {
        let connected = |it: (&String, &super::Host)| it.1.to_host().is_some().then(|| it.0.clone());
        let all: Vec<String> = self.inner.state().hosts.iter().filter_map(connected).collect();
        for name in all {
            self.say_stance(&name).await;
        }
    }

    async fn say_stance(&self, name: &str) {
        let Some(grantor) = self.inner.grantor.clone() else { return };
        let (host, epoch) = (name.to_owned(), self.inner.epoch.load(std::sync::atomic::Ordering::Relaxed));
        let stance = match tokio::task::spawn_blocking(move || grantor.stance(&host, epoch)).await {
            Ok(Ok(Some(stance))) => stance,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                tracing::error!(host = name, %error, "what to do without this agent can't be kept, so that it is not said");
                return;
            }
        };
        let (mut state, now) = (self.inner.state(), self.inner.clock.now());
        let Some(host) = state.hosts.get_mut(name) else { return };
        if host.stance_sent.is_some_and(|it| it.0 == stance.nth && now.since(it.1) < STANCE_AGAIN) {
            return;
        }
        let sent = (stance.nth, now);
        if let Some(to_host) = host.to_host()
            && to_host.say(&FromAgent::Stance(Box::new(stance))).is_ok()
        {
            host.stance_sent = Some(sent);
        }
    }

    pub(super) async fn released(&self, name: &str, held: Held) {
        let own = self.inner.state().registered.of_its_own(name, vec![held]);
        let (Some(held), Some(grantor)) = (own.into_iter().next(), self.inner.grantor.clone()) else { return };
        tracing::info!(host = name, instance = held.instance, "it acts no more");
        let _ = tokio::task::spawn_blocking(move || grantor.released(&holding(held))).await;
        self.say_stances().await;
    }

    fn traffic(&self, name: &str, news: TrafficNews) -> Option<Report> {
        let mut state = self.inner.state();
        if !state.registered.hosts.get(name).is_some_and(|it| it.serves) {
            return None;
        }
        let host = state.hosts.get_mut(name)?;
        let process = name.to_owned();
        Some(match news {
            TrafficNews::Serves(report) => {
                host.traffic = Some(ServedThere { epoch: report.table.epoch, trouble: report.trouble.clone() });
                Report::TrafficServes { process, report }
            }
            TrafficNews::Stands(report) => {
                host.traffic = Some(ServedThere { epoch: report.table.epoch, trouble: report.trouble.clone() });
                Report::TrafficStands { process, report }
            }
            TrafficNews::Applied { epoch } => {
                host.traffic = Some(ServedThere { epoch, trouble: Vec::new() });
                Report::TrafficApplied { process, epoch }
            }
            TrafficNews::Refused { epoch, reason } => Report::TrafficRefused { process, epoch, reason },
            TrafficNews::Failed { instances } => Report::ClientsFailed { instances },
            TrafficNews::Lost { reason } => {
                host.traffic = None;
                Report::TrafficLost { process, reason }
            }
        })
    }

    fn lost(&self, name: &str, nth: u64, why: &str) -> Option<Report> {
        let mut state = self.inner.state();
        let serves = state.registered.hosts.get(name).is_some_and(|it| it.serves);
        let host = state.hosts.get_mut(name).filter(|it| it.nth == nth)?;
        tracing::warn!(host = name, why, "a host is lost");
        // Its traffic process counts our words from the renewals that they answer.
        let since = host.live.take().map(|it| it.renewed.1)?;
        host.since = self.inner.clock.now();
        host.lost = Some(why.to_owned());
        host.asked.clear();
        serves.then(|| Report::TrafficSilent { process: name.to_owned(), since })
    }
}

/// By how much a wall clock that said this half a round trip ago is ahead of ours.
fn ahead_ms(wall_ns: u64, rtt: Duration) -> i64 {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let theirs = u128::from(wall_ns) + (rtt / 2).as_nanos();
    let ms = |it: u128| i64::try_from(it / 1_000_000).unwrap_or(i64::MAX);
    ms(theirs).saturating_sub(ms(ours))
}

fn holding(it: Held) -> Holding {
    Holding { component: it.component, instance: it.instance }
}

/// Sends the journal after what the host keeps of it, one batch at a time, until the connection is over or the copy is a foreign one.
async fn copy(host: String, to_host: Outgoing<FromAgent>, mut source: Source, mut copied: watch::Receiver<Head>) {
    loop {
        let head = copied.borrow_and_update().clone();
        match source.after(&head).await {
            Ok(records) => {
                if to_host.say(&FromAgent::Copy { records }).is_err() {
                    tokio::time::sleep(SAYS_AGAIN).await;
                } else if copied.wait_for(|it| it.seq > head.seq).await.is_err() {
                    return;
                }
            }
            Err(SendError::Ended) => return,
            Err(error) => {
                tracing::error!(host, why = words(&error), "the journal is not copied to this host");
                return;
            }
        }
    }
}

/// An error with what caused it.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
