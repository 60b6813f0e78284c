//! Tells secondaries that a zone has changed. They also ask by themselves, every
//! [`SECONDARY_REFRESH`](mainstay_plan::route::SECONDARY_REFRESH): a word that is lost costs time and nothing else.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::DnsEntry;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::dns::{contents, is_notified, notification};
use crate::live::Live;

/// For one answer; then it is said again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
const TRIES: u16 = 3;

/// Tells every secondary of every change, the first time of all zones, for as long as it is polled.
pub(crate) async fn notify(live: &Arc<Live>) {
    let mut told: HashMap<String, (DnsEntry, Vec<IpAddr>, Vec<SocketAddr>)> = HashMap::new();
    let mut talks = JoinSet::new();
    loop {
        let served = live.served();
        let secondaries = &served.table.secondaries;
        let zones = if secondaries.is_empty() { Vec::new() } else { contents(live, &served) };
        told.retain(|name, _| zones.iter().any(|it| it.0.name == *name));
        for (zone, addresses) in zones {
            let name = zone.name.clone();
            let now = (zone, addresses, secondaries.clone());
            if told.get(&name) != Some(&now) {
                for secondary in secondaries {
                    talks.spawn(tell(name.clone(), served.table.dns_listen, *secondary));
                }
                told.insert(name, now);
            }
        }
        while talks.try_join_next().is_some() {}
        live.changed().await;
    }
}

async fn tell(zone: String, own: Option<SocketAddr>, secondary: SocketAddr) {
    let any = if secondary.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    // A secondary listens to the address that it copies from.
    let from = own.map(|it| it.ip()).filter(|it| it.is_ipv4() == secondary.is_ipv4()).unwrap_or(any);
    let Ok(socket) = UdpSocket::bind((from, 0)).await else { return };
    if socket.connect(secondary).await.is_err() {
        return;
    }
    for id in 0..TRIES {
        let Some(packet) = notification(&zone, id) else { return };
        let heard = async {
            socket.send(&packet).await?;
            let mut answer = [0; 512];
            while !socket.recv(&mut answer).await.is_ok_and(|it| is_notified(&answer[..it], id)) {}
            std::io::Result::Ok(())
        };
        if matches!(timeout(ANSWERS_WITHIN, heard).await, Ok(Ok(()))) {
            return;
        }
        sleep(ANSWERS_WITHIN).await;
    }
}
