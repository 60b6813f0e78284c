//! Hosts on other machines, as the agent starts with them and shows them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_api as api;
use mainstay_host::lease::book::Terms;
use mainstay_host::lease::grantor::Grantor;
use mainstay_host::links::{HostView, LeaseTimes, Registered, Settings};
use mainstay_host::{Clock, Links, Report};
use mainstay_plan::{Plan, Time};
use tokio::sync::mpsc;

/// Links to the hosts of a plan, if it says where they reach the agent. Nobody is listened for yet.
///
/// # Errors
/// What was kept of leases can't be read.
pub(crate) fn links(
    plan: &Plan,
    state_dir: &Path,
    version: &str,
    clock: Clock,
    reports: mpsc::Sender<Report>,
) -> io::Result<Option<Links>> {
    let Some(link) = &plan.link else { return Ok(None) };
    let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let lease = LeaseTimes {
        renew_ms: ms(link.lease.renew),
        expires_ms: ms(link.lease.expires),
        demote_ms: ms(link.lease.demote),
        drift_ms: ms(link.lease.drift),
    };
    let terms = Terms {
        expires: link.lease.expires,
        demote: link.lease.demote,
        drift: link.lease.drift,
        lateness: plan.allowances.lateness,
    };
    let site = plan.site.name.clone();
    let agent = plan.site.location.host.clone().unwrap_or_else(|| site.clone());
    let settings = Settings { agent, site, version: version.to_owned(), lease, allowance: plan.allowances.lateness };
    let grantor = Arc::new(Grantor::open(state_dir, terms, clock)?);
    let links = Links::new(settings, clock, reports, Some(grantor));
    links.register(Registered::of(plan));
    Ok(Some(links))
}

/// What is shown of hosts.
pub(crate) fn view(links: Option<&Links>, now: Time) -> api::Hosts {
    let all = links.map(Links::view).unwrap_or_default();
    let trouble = links.map(Links::trouble).unwrap_or_default();
    api::Hosts { now_ns: now.as_nanos(), hosts: all.into_iter().map(host).collect(), trouble }
}

fn host(it: HostView) -> api::Host {
    let state = match (it.connected, it.seen, it.deaf) {
        (true, _, None) => "connected",
        (true, _, Some(_)) => "path_broken",
        (false, true, _) => "silent",
        (false, false, _) => "never_seen",
    };
    let nanos = |it: Duration| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX);
    let hello = it.hello.as_ref();
    let (serves_epoch, traffic_trouble) = it.traffic.map(|it| (it.epoch, it.trouble)).unzip();
    api::Host {
        name: it.name,
        state: state.to_owned(),
        since_ns: it.since.as_nanos(),
        lost: it.lost,
        address: it.address,
        version: hello.map(|it| it.version.clone()),
        epoch: hello.map(|it| it.epoch),
        rtt_ns: it.rtt.map(nanos),
        clock_ahead_ms: it.clock_ahead_ms,
        deaf_ms: it.deaf.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        holds: it.holds.into_iter().map(|it| it.instance).collect(),
        paths: it.paths.into_iter().map(|(address, up, since)| (address, up, since.as_nanos())).collect(),
        stays: it.stays.into_iter().map(|it| it.instance).collect(),
        promised: it.promised.into_iter().map(|it| (it.held.instance, it.left_ms)).collect(),
        guards: hello.map(|it| it.guards.iter().map(|it| it.instance.clone()).collect()).unwrap_or_default(),
        may: hello.map(|it| it.may.sentences()).unwrap_or_default(),
        lacks: it.lacks,
        doing: it.doing.into_iter().map(|(key, text)| format!("{key}: {text}")).collect(),
        serves_epoch,
        copied: it.copied,
        copy_lacks: it.copy_lacks.map(|it| it.0),
        copy_lacks_since_ns: it.copy_lacks.map(|it| it.1.as_nanos()),
        traffic_trouble: traffic_trouble.unwrap_or_default(),
    }
}
