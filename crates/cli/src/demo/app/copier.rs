//! A standby's copying: asks its source for new orders over one kept connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Request;
use tokio::time::{self, MissedTickBehavior};

use super::orders::{Batch, Copied, Orders};
use super::{TIMELINE_HEADER, TOTAL_HEADER, parse_ids};
use crate::demo::http::{Connection, Failure, Reply, over_connection};

/// How often a standby asks.
const EVERY: Duration = Duration::from_millis(20);

/// How long the source may take for one answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Copies until the role changes. `term` is what [`Orders::follow`] gave.
pub(super) async fn copy(orders: Arc<Mutex<Orders>>, term: u64) {
    let next = || orders.lock().unwrap_or_else(PoisonError::into_inner).next_copy(term);
    let mut said = None;
    while let Some((source, _from)) = next() {
        match over_connection(source, |connection| keep_asking(connection, &orders, term)).await {
            Ok(()) => return,
            Err(failure) if said == Some(failure) => {}
            Err(failure) => {
                tracing::warn!(%source, "copying stopped: {failure}");
                said = Some(failure);
            }
        }
        time::sleep(EVERY).await;
    }
}

/// Asks again and again; returns when the role has changed.
async fn keep_asking(mut connection: Connection, orders: &Mutex<Orders>, term: u64) -> Result<(), Failure> {
    let locked = || orders.lock().unwrap_or_else(PoisonError::into_inner);
    let mut turns = time::interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = false;
    loop {
        turns.tick().await;
        let Some((source, from)) = locked().next_copy(term) else { return Ok(()) };
        let asked_at = Instant::now();
        let request = Request::get(format!("/orders?from={from}"));
        let asked = time::timeout(TIMEOUT, connection.ask(request, "")).await;
        let batch = batch(&asked.map_err(|_elapsed| Failure::TimedOut)??)?;
        match locked().append(term, asked_at, &batch) {
            Copied::Complete => {}
            Copied::Partly => turns.reset_immediately(),
            Copied::OtherTimeline if said => {}
            Copied::OtherTimeline => {
                said = true;
                tracing::warn!(%source, "not copying: the source has begun anew, its orders are not ours");
            }
            Copied::TooLate => return Ok(()),
        }
    }
}

fn batch(reply: &Reply) -> Result<Batch, Failure> {
    let ids = parse_ids(reply.good()?)?;
    let number = |name| reply.headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let timeline = number(TIMELINE_HEADER).ok_or(Failure::Garbled)?;
    let total = number(TOTAL_HEADER).and_then(|total| usize::try_from(total).ok()).ok_or(Failure::Garbled)?;
    Ok(Batch { timeline, total, ids })
}
