//! Promoting a server and letting it follow another. Both look first, so that doing them again does no more.

use std::time::Duration;

use mainstay_plan::action::Outcome;
use mainstay_plan::observation::Answer;
use mainstay_plan::postgres::{PostgresAction, PostgresOp, PostgresServer};
use tokio::time::Instant;
use tokio_postgres::Error;

use super::connect::{Session, answer};
use super::conninfo::{following, literal};
use super::keeping::keep;
use super::place::in_place;
use super::probe::WRITE;
use super::rejoin::rejoin;
use crate::action::Attempt;
use crate::so_far::SoFar;
use crate::{Inner, trouble};

/// How long to wait before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

pub(crate) async fn perform(attempt: &Attempt<'_>, action: &PostgresAction) -> Outcome {
    let moved = attempt.order.address.map(|it| action.server.at(it));
    let server = moved.as_ref().unwrap_or(&action.server);
    match &action.op {
        PostgresOp::Promote => promote(attempt, server).await,
        PostgresOp::Follow { leader } => follow(attempt, server, leader).await,
        PostgresOp::Rejoin { leader, how } => rejoin(attempt, server, leader, *how).await,
        PostgresOp::Restore { series } => in_place(attempt, server, series).await,
        PostgresOp::Keep(keeping) => keep(attempt, server, keeping).await,
    }
    .unwrap_or_else(|outcome| outcome)
}

/// How long a server may take to say what its role may do, where that is asked ahead.
const BRIEFLY: Duration = Duration::from_secs(2);

/// Whether the role may do it, in the database that it logs in to, as rights on functions are a database's. A server that can't be asked now is not
/// asked: its probes tell of that.
///
/// # Errors
/// What the role may not do, for people.
pub(crate) async fn may_be_done(inner: &Inner, action: &PostgresAction) -> Result<(), String> {
    let server = &action.server;
    let function = |it: &'static str| (it, format!("has_function_privilege('{it}', 'EXECUTE')"));
    let set = |it: &'static str| (it, format!("has_parameter_privilege('{it}', 'ALTER SYSTEM')"));
    const RELOAD: &str = "pg_reload_conf()";
    const PROMOTE: &str = "pg_promote(boolean, integer)";
    let needed = match &action.op {
        PostgresOp::Promote if server.synchronous.is_some() => {
            vec![function(PROMOTE), set("synchronous_standby_names"), function(RELOAD)]
        }
        PostgresOp::Promote => vec![function(PROMOTE)],
        PostgresOp::Follow { .. } => vec![set("primary_conninfo"), function(RELOAD)],
        PostgresOp::Rejoin { .. } | PostgresOp::Restore { .. } | PostgresOp::Keep(_) => return Ok(()),
    };
    let missing = needed.iter().map(|(what, may)| format!("CASE WHEN NOT {may} THEN '{what}' END"));
    let question = format!("SELECT concat_ws(' and ', {}) AS missing", missing.collect::<Vec<_>>().join(", "));
    let asked = async {
        let so_far = SoFar::new(Answer::TimedOut);
        let session = Session::open(inner, server, Instant::now() + BRIEFLY, &so_far).await.ok()?;
        session.row(&question).await.ok()?.get("missing").map(str::to_owned)
    };
    let missing = tokio::time::timeout(BRIEFLY, asked).await.ok().flatten().unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let (role, address, database) = (&server.user, &server.address, &server.database);
    Err(format!(
        "the role {role} may not use {missing} on {address} in the database {database}: run postgresql.sql in it"
    ))
}

/// Done when it is seen to be a primary that has written to its own disk.
async fn promote(attempt: &Attempt<'_>, server: &PostgresServer) -> Result<Outcome, Outcome> {
    let mut session = open(attempt, server).await?;
    if let Some(whom) = &server.synchronous {
        // Before it takes a write: the first one is to be as safe as all others.
        wait_for(attempt, &session, whom).await?;
    }
    if is_standby(&session).await.map_err(|it| nothing_done(&answer("asking", &it)))? {
        attempt.so_far.set(Outcome::Unknown("told to become a primary, and not seen to be one in time".to_owned()));
        match session.row("SELECT pg_promote(false) AS promoted").await {
            Ok(_) => {}
            // Somebody else was faster, perhaps: it is looked at.
            Err(error) if error.as_db_error().is_none() => {}
            Err(error) => return Err(nothing_done(&answer("promoting", &error))),
        }
    }
    loop {
        match takes_writes(&session).await {
            Ok(true) => return Ok(Outcome::Done),
            Ok(false) => {}
            Err(error) => attempt.so_far.set(not_seen("a primary that takes writes", &answer("asking", &error))),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        if session.is_over() {
            session = again(attempt, server, "a primary that takes writes").await;
        }
    }
}

/// Lets a primary, or one that is about to be, wait for those standbys.
async fn wait_for(attempt: &Attempt<'_>, session: &Session, whom: &str) -> Result<(), Outcome> {
    const NAMES: &str = "synchronous_standby_names";
    let row = format!("SELECT current_setting('{NAMES}') AS names");
    let failed = |doing: &'static str| move |error: Error| nothing_done(&answer(doing, &error));
    let mut is_told = false;
    loop {
        let found = session.row(&row).await.map_err(failed("asking whom it waits for"))?;
        let found = found.get("names").unwrap_or_default();
        if found == whom {
            return Ok(());
        }
        if !is_told {
            let why =
                format!("nothing was done: {NAMES} stays `{found}`, which is said where ALTER SYSTEM does not reach");
            attempt.so_far.set(Outcome::Failed(trouble::clip(&why)));
            let statement = format!("ALTER SYSTEM SET {NAMES} = {}", literal(whom));
            session.run(&statement).await.map_err(|error| refused(NAMES, &error))?;
            session.row("SELECT pg_reload_conf()").await.map_err(failed("letting it read its settings"))?;
            is_told = true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Done when its receiver is seen to stream from the leader.
async fn follow(attempt: &Attempt<'_>, server: &PostgresServer, leader: &PostgresServer) -> Result<Outcome, Outcome> {
    let session = open(attempt, server).await?;
    let failed = |doing: &'static str| move |error: Error| nothing_done(&answer(doing, &error));
    if !is_standby(&session).await.map_err(failed("asking"))? {
        return Err(Outcome::Failed("it is a primary: only a standby can follow another server".to_owned()));
    }
    let row = "SELECT current_setting('primary_conninfo') AS conninfo, current_setting('primary_slot_name') AS slot";
    let row = session.row(row).await.map_err(failed("asking whom it follows"))?;
    let before = row.get("conninfo").unwrap_or_default().to_owned();
    let slot = row.get("slot").unwrap_or_default().to_owned();
    if !slot.is_empty() {
        make_slot(attempt, leader, &slot).await?;
    }
    let after = following(&before, leader);
    if after != before {
        attempt.so_far.set(Outcome::Unknown("told whom to follow, and not told to read it in time".to_owned()));
        let statement = format!("ALTER SYSTEM SET primary_conninfo = {}", literal(&after));
        session.run(&statement).await.map_err(|error| refused("primary_conninfo", &error))?;
    }
    // Also where it stands there already: it may never have been read.
    session.row("SELECT pg_reload_conf()").await.map_err(failed("letting it read its settings"))?;
    streams(attempt, server, leader).await
}

/// Waits until it is seen to stream from the leader.
pub(super) async fn streams(
    attempt: &Attempt<'_>,
    server: &PostgresServer,
    leader: &PostgresServer,
) -> Result<Outcome, Outcome> {
    let awaited = format!("streaming from {}", leader.address);
    attempt.so_far.set(Outcome::Unknown(format!("told to follow, and not seen {awaited} in time")));
    let mut session = again(attempt, server, &awaited).await;
    loop {
        match streams_from(&session, leader).await {
            Ok(true) => return Ok(Outcome::Done),
            Ok(false) => {}
            Err(error) => attempt.so_far.set(not_seen(&awaited, &answer("asking", &error))),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        if session.is_over() {
            session = again(attempt, server, &awaited).await;
        }
    }
}

/// A follower that keeps its place in a slot needs it where it goes.
pub(super) async fn make_slot(attempt: &Attempt<'_>, leader: &PostgresServer, slot: &str) -> Result<(), Outcome> {
    let session = open(attempt, leader).await.map_err(|outcome| prefixed("the slot", outcome))?;
    let statement = format!(
        "SELECT CASE WHEN EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {slot}) THEN NULL \
         ELSE pg_create_physical_replication_slot({slot}, true)::text END AS made",
        slot = literal(slot)
    );
    let made = session.row(&statement).await;
    made.map(|_| ()).map_err(|error| prefixed(&format!("the slot {slot}"), nothing_done(&answer("making it", &error))))
}

pub(super) fn prefixed(what: &str, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(why) => Outcome::Failed(trouble::clip(&format!("{what}: {why}"))),
        Outcome::Unknown(why) => Outcome::Unknown(trouble::clip(&format!("{what}: {why}"))),
        other @ (Outcome::Done
        | Outcome::DoneAt(_)
        | Outcome::LeaseOver(_)
        | Outcome::DoneLosing(_)
        | Outcome::Kept(_)) => other,
    }
}

pub(super) async fn open(attempt: &Attempt<'_>, server: &PostgresServer) -> Result<Session, Outcome> {
    let unused = SoFar::new(Answer::TimedOut);
    Session::open(attempt.inner, server, attempt.deadline, &unused).await.map_err(|it| nothing_done(&it))
}

/// Logs in until it is possible: a server that changes its role may close connections.
async fn again(attempt: &Attempt<'_>, server: &PostgresServer, awaited: &str) -> Session {
    let unused = SoFar::new(Answer::TimedOut);
    loop {
        match Session::open(attempt.inner, server, attempt.deadline, &unused).await {
            Ok(session) => return session,
            Err(answer) => attempt.so_far.set(not_seen(awaited, &answer)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub(super) async fn is_standby(session: &Session) -> Result<bool, Error> {
    Ok(session.row("SELECT pg_is_in_recovery() AS is_standby").await?.get("is_standby") == Some("t"))
}

async fn takes_writes(session: &Session) -> Result<bool, Error> {
    let row = format!(
        "SELECT pg_is_in_recovery() AS is_standby, CASE WHEN pg_is_in_recovery() THEN NULL ELSE {WRITE} END AS wrote"
    );
    Ok(session.row(&row).await?.get("is_standby") == Some("f"))
}

pub(super) async fn streams_from(session: &Session, leader: &PostgresServer) -> Result<bool, Error> {
    let host = leader.address.host();
    let names = [Some(host.as_str()), leader.tls.as_ref().map(|it| it.name.as_str())];
    let names: Vec<String> = names.into_iter().flatten().map(literal).collect();
    let row = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming' AND sender_port = {} AND sender_host IN \
         ({})) AS streams",
        leader.address.port(),
        names.join(", ")
    );
    Ok(session.row(&row).await?.get("streams") == Some("t"))
}

pub(super) fn nothing_done(answer: &Answer) -> Outcome {
    let why = answer.detail().unwrap_or("it did not answer in time");
    Outcome::Failed(trouble::clip(&format!("nothing was done: {why}")))
}

/// What it says of a setting may quote the setting, and with it a password.
fn refused(setting: &str, error: &Error) -> Outcome {
    let why = match error.code() {
        Some(code) if code.code() == "42501" => format!("it may not set {setting}: run postgresql.sql there"),
        Some(code) => format!("it can't set {setting} (SQLSTATE {})", code.code()),
        None => return Outcome::Unknown(format!("the connection ended while {setting} was set")),
    };
    Outcome::Failed(format!("nothing was done: {why}"))
}

fn not_seen(awaited: &str, answer: &Answer) -> Outcome {
    let why = answer.detail().unwrap_or("it does not answer");
    Outcome::Unknown(trouble::clip(&format!("not seen {awaited}: {why}")))
}
