//! Answers to HAProxy's agent-check: one line a connection, one listener a target.
//!
//! HAProxy keeps what an agent told it until the agent says otherwise, also while the agent can't be reached. So every
//! line says everything: the administrative state, the weight and the health. Any line then takes the server from any
//! state to the one it names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_plan::routing::{TargetEntry, TargetState};
use mainstay_web::{Trouble, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::choice;
use crate::listeners::reset;
use crate::live::{Live, Served, ServedRoute};

const CONNECTIONS: u32 = 64;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Most that is read of what HAProxy sends (`agent-send`) before the connection is closed.
const READ_BYTES: usize = 4096;

/// Answers for the target whose agent-check is at `address`, until it is dropped.
pub(crate) async fn serve(
    live: Arc<Live>,
    trouble: Arc<Trouble>,
    address: SocketAddr,
    listener: TcpListener,
    retires: CancellationToken,
) {
    let about = format!("agent-check {address}");
    let slots = Arc::new(Semaphore::new(CONNECTIONS as usize));
    loop {
        let Some(client) = retires.run_until_cancelled(accept(&listener, &trouble, &about)).await else { break };
        let served = live.served();
        let found = served.agent_checked_at(address);
        let (Some((route, target)), Ok(slot)) = (found, Arc::clone(&slots).try_acquire_owned()) else {
            reset(client);
            continue;
        };
        let line = line(&live, &served, route, target);
        tokio::spawn(async move {
            // HAProxy asks again in a moment; an answer that is not delivered is not worth a word.
            let _ = timeout(TIMEOUT, say(client, line)).await;
            drop(slot);
        });
    }
    drop(listener);
    let _all_are_gone = slots.acquire_many(CONNECTIONS).await;
}

/// The line, with the newline that ends it; the blank before `#` is part of the grammar.
fn line(live: &Live, served: &Served, route: &ServedRoute, target: &TargetEntry) -> &'static str {
    if live.is_cut(served, &route.entry) {
        return "maint down 100% # cut\n";
    }
    // HAProxy doesn't fail open by itself: a shared route with nothing left keeps its targets that are down.
    if choice::open_to_new(&route.entry).contains(&target) {
        return "ready up 100%\n";
    }
    match target.state {
        TargetState::Serving | TargetState::Standby => "drain up 100% # standby\n",
        TargetState::Draining => "drain up 100% # draining\n",
        TargetState::Down => "ready down 100% # down\n",
        TargetState::Fenced => "maint down 100% # fenced\n",
    }
}

async fn say(mut client: TcpStream, line: &str) -> std::io::Result<()> {
    client.write_all(line.as_bytes()).await?;
    client.shutdown().await?;
    // Closing with unread input would reset the connection, and a reset may overtake the line.
    let mut rest = [0; 512];
    let mut read = 0;
    while read < READ_BYTES {
        match client.read(&mut rest).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}
