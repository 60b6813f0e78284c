//! One question: what it is, how far it is, and whether it can do its work.

use mainstay_plan::observation::{Answer, Concerns, LogPosition};
use mainstay_plan::postgres::PostgresProbe;
use tokio::time::Instant;

use super::connect::{Row, Session, answer};
use crate::so_far::SoFar;
use crate::{Inner, ProbeAnswer, trouble};

/// What a primary does to show that it writes: the commit waits for its disk, and for no standby.
pub(super) const WRITE: &str = "pg_logical_emit_message(true, 'mainstay', '')";

/// Where it is. A primary: what is safe on its own disk, on the line that it writes. A standby: what it has received, and on which line;
/// one whose receiver is gone says it by its control file, which may be late: then its place can't be compared, and is never wrong.
const PLACE: &str = "\
    (SELECT system_identifier FROM pg_control_system()) AS system, \
    CASE WHEN pg_is_in_recovery() \
        THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), \
            (SELECT greatest(min_recovery_end_timeline, timeline_id) FROM pg_control_recovery(), pg_control_checkpoint())) \
        ELSE ('x' || left(pg_walfile_name(pg_current_wal_flush_lsn()), 8))::bit(32)::int END AS timeline, \
    CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
        ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS at";

/// What is to be done beside its work and is not, in words that stay as long as it is the same; `NULL`: nothing. A file of the log is tried
/// again until it is archived, so the last one that failed is the one that it hangs at. A slot is `extended` once more than `max_wal_size` is
/// kept for it, which is a concern only if nobody comes for it.
const UPKEEP: &str = "\
    nullif(concat_ws('; ', \
        (SELECT 'its log is not archived since ' || last_failed_wal FROM pg_stat_archiver \
            WHERE last_failed_time > coalesce(last_archived_time, '-infinity')), \
        (SELECT string_agg('slot ' || quote_ident(slot_name) || CASE wal_status WHEN 'extended' THEN \
                ' is used by nobody and keeps more than max_wal_size of the log' WHEN 'unreserved' THEN \
                ' is about to lose log that was not fetched' ELSE ' has lost log that was not fetched' END, '; ' ORDER BY slot_name) \
            FROM pg_replication_slots \
            WHERE wal_status IN ('unreserved', 'lost') OR wal_status = 'extended' AND NOT active)), '') AS upkeep";

pub(crate) async fn ask(
    inner: &Inner,
    probe: &PostgresProbe,
    deadline: Instant,
    so_far: &SoFar<Answer>,
) -> Result<ProbeAnswer, Answer> {
    let session = Session::open(inner, &probe.server, deadline, so_far).await?;
    let row = session.row(&question(probe.writes)).await.map_err(|error| answer("asking", &error))?;
    let Some(is_standby) = row.get("is_standby").map(|it| it == "t") else {
        return Err(Answer::Wrong("it did not say what it is".to_owned()));
    };
    if is_standby && probe.only_primary {
        return Err(Answer::Wrong("it is a standby, which takes no writes".to_owned()));
    }
    let role = if is_standby { "standby" } else { "primary" };
    let upkeep = row.get("upkeep").map(trouble::clip);
    let concerns = Concerns { upkeep, ..Concerns::default() };
    Ok(ProbeAnswer { role: Some(role.to_owned()), position: place(&row), concerns, ..Answer::Good.into() })
}

/// All of it at once: there is one way there and back.
fn question(writes: bool) -> String {
    let wrote = if writes { WRITE } else { "NULL" };
    format!(
        "SELECT pg_is_in_recovery() AS is_standby, {PLACE}, {UPKEEP}, \
         CASE WHEN pg_is_in_recovery() THEN NULL ELSE {wrote} END AS wrote"
    )
}

fn place(row: &Row) -> Option<LogPosition> {
    let system = row.get("system")?.to_owned();
    Some(LogPosition { system, timeline: row.get("timeline")?.parse().ok()?, at: row.get("at")?.parse().ok()? })
}
