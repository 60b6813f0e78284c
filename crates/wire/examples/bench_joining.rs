//! What hosts cost an agent when many join, come back at once, renew, and stay: both ends run here, so each figure is both.
//!
//! `cargo run --release -p mainstay-wire --example bench_joining [HOSTS]`

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_wire::reception::{Arrived, Reception};
use mainstay_wire::stream::dial;
use mainstay_wire::trust::{Authority, Identity, Terms, Token, Wall, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::main]
async fn main() {
    let hosts: usize = std::env::args().nth(1).map_or(1000, |it| it.parse().expect("a number of hosts"));
    let dir = tempfile::tempdir_in(".").expect("a directory that can be written");
    let wall = Wall::system();
    let state = dir.path().join("agent");
    let authority = Authority::create(&state, "bench", &[], Terms::default(), &wall).expect("an authority").0;
    let authority = Arc::new(authority);
    let reception = Reception::new(Arc::clone(&authority)).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (comes, mut arrived) = mpsc::channel(hosts);
    let receives = reception.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (receives, comes) = (receives.clone(), comes.clone());
            tokio::spawn(async move {
                if let Some(host) = receives.receive(stream, |_| {}).await {
                    let _ = comes.send(host).await;
                }
            });
        }
    });

    let tokens = timed("tokens made", hosts, async {
        let make = |at: usize| (at, authority.invite(&format!("host-{at}"), HOUR).expect("a token").0);
        (0..hosts).map(make).collect::<Vec<(usize, Token)>>()
    });
    let tokens = tokens.await;
    let place = |at: usize| -> PathBuf { dir.path().join(format!("host-{at}")) };
    let joins = tokens.into_iter().map(|(at, token)| {
        let (address, state, wall) = (address.clone(), place(at), wall.clone());
        async move { join(&address, &token, &state, &wall).await.expect("it joins") }
    });
    let identities: Vec<Identity> = timed("hosts joined", hosts, all(joins)).await;

    let before = resident_kib();
    let dials = identities.iter().cloned().map(|identity| {
        let address = address.clone();
        async move {
            let stream = TcpStream::connect(&address).await.expect("it connects");
            let (stream, _) = identity.connect(stream).await.expect("it is believed");
            dial(stream).await.expect("its stream begins")
        }
    });
    let ends = timed("streams begun at once", hosts, all(dials)).await;
    let mut there: Vec<Arrived> = Vec::new();
    while there.len() < hosts {
        there.push(arrived.recv().await.expect("it arrives"));
    }
    println!("{:>24}: {} KiB a host, both ends", "memory", (resident_kib() - before) / hosts.max(1));

    timed("looks at who may stay", hosts, async {
        there.iter().for_each(|it| reception.gate().check(&it.peer).expect("it may"));
    })
    .await;
    let renewals = identities.iter().cloned().map(|identity| {
        let address = address.clone();
        async move { identity.renew(&address).await.expect("it is renewed") }
    });
    timed("certificates renewed", hosts, all(renewals)).await;
    drop((ends, there));
}

async fn all<T: Send + 'static>(each: impl Iterator<Item = impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = each.map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("no panic"));
    }
    done
}

async fn timed<T>(what: &str, count: usize, work: impl Future<Output = T>) -> T {
    let (began, used) = (Instant::now(), cpu());
    let done = work.await;
    let (took, used) = (began.elapsed().as_secs_f64(), cpu() - used);
    let each = used.as_secs_f64() * 1e6 / count.max(1) as f64;
    println!("{what:>24}: {count} in {took:.2} s; {each:.0} us of CPU each");
    done
}

/// User and system time of this process.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = text.rsplit_once(')').expect("a name in brackets");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

fn resident_kib() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("it says so");
    line.split_whitespace().next().and_then(|it| it.parse().ok()).expect("a number")
}
