//! Lowering components, standbys and witnesses.

use super::actions::{acts, address_in_output, plane, retry, service, undo, unread_service};
use super::fields::{At, Cx, Fields, choose, items, named};
use super::grammar::{
    APPROVAL, BACKUP, BACKUP_COPY, COMPONENT, CONSTRAINT, FAILBACK, FLAPPING, GUARDS, LOCATION, OBJECTIVES, OBSERVERS,
    PRECONDITIONS, SHARED, STANDBY, STRATEGY, SWITCH, WITNESS, WITNESS_RULE,
};
use super::hosts::of_no_instance;
use super::postgres::{backup as postgres_backup, postgres, promotion, unread};
use super::probes::{probe, probes};
use super::raw::{RawComponent, RawFence, RawHow, RawInstance, RawRun, RawRung, RawWitness, RawWitnessRule};
use super::routes::fence_word;
use super::tree::{Entry, Node};
use super::values;
use crate::backup::{Backup, BackupCopy};
use std::time::Duration;

use crate::action::Service;
use crate::component::{
    ComponentKind, Constraint, ConstraintKind, Criticality, Failback, Objectives, Rejoin, Temperature,
};
use crate::finding::{Code, Finding, Span};
use crate::hosts::OnAgentLoss;
use crate::location::{Location, SharedKind, SharedPart};
use crate::observation::Health;
use crate::policy::{AfterFailure, Approval, Flapping, Guards};
use crate::postgres::PostgresServer;
use crate::strategy::{OnExpiry, RestartLimit, Strategy};

/// One component: `NAME: {…}`.
pub(super) fn component<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawComponent {
    let mut fields =
        Fields::open(cx, Some(&entry.node), entry.key_span, format!("component `{}`", entry.key), &COMPONENT);
    let kind = fields.word("type", &ComponentKind::ALL, ComponentKind::word).unwrap_or(ComponentKind::Database);
    let instance = instance(&mut fields, entry, Temperature::Hot);
    let constraint = fields.take("constraint").and_then(|it| constraint(cx, &it.node, it.key_span));
    let criticality =
        fields.word("criticality", &Criticality::ALL, Criticality::word).unwrap_or(Criticality::Important);
    let objectives = fields.take("objectives").map(|it| objectives(cx, &it.node, it.key_span)).unwrap_or_default();
    let depends_on = fields.read("depends_on", values::names).unwrap_or_default();
    let witnesses = fields.take("witnesses").map(|it| witness_rule(cx, &it.node, it.key_span));
    let rejoin = fields.word("rejoin", &Rejoin::ALL, Rejoin::word).unwrap_or(Rejoin::ByHand);
    let on_agent_loss_at = fields.place("on_agent_loss");
    let on_agent_loss =
        fields.word("on_agent_loss", &OnAgentLoss::ALL, OnAgentLoss::word).unwrap_or(OnAgentLoss::Demote);
    let (catch_up, switch_verify) = switch(cx, fields.take("switch"), entry.key_span);
    let failback = fields.read("failback", failback).unwrap_or_default();
    let backups = fields.take("backups").map(|it| named(cx, &it.node, "backup")).unwrap_or_default();
    let backup = |it: &Entry| At { value: backup(cx, it, instance.postgres.as_deref()), span: it.key_span };
    let backups = backups.iter().map(backup).collect();
    let (guards, approval_role) = guards(cx, fields.take("guards"), entry.key_span);
    let ladder = fields
        .read("recovery", items)
        .map(|it| it.iter().enumerate().flat_map(|(at, it)| rungs(cx, it, at)).collect())
        .unwrap_or_default();
    fields.finish();
    RawComponent {
        instance,
        kind,
        constraint,
        criticality,
        objectives,
        depends_on,
        witnesses,
        rejoin,
        on_agent_loss,
        on_agent_loss_at,
        catch_up,
        switch_verify,
        failback,
        guards,
        approval_role,
        backups,
        ladder,
    }
}

/// One standby: `NAME: {…}`.
pub(super) fn standby<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawInstance {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("standby `{}`", entry.key), &STANDBY);
    let temperature = fields.word("temperature", &Temperature::ALL, Temperature::word).unwrap_or(Temperature::Warm);
    let instance = instance(&mut fields, entry, temperature);
    fields.finish();
    instance
}

/// What a component's own instance and a standby have in common.
fn instance<'a>(fields: &mut Fields<'a>, entry: &'a Entry, temperature: Temperature) -> RawInstance {
    let cx = fields.cx;
    let location = must_location(fields);
    let postgres = fields.take("postgres").map(|it| postgres(cx, &it.node, it.key_span));
    let (has_postgres, postgres) = (postgres.is_some(), postgres.flatten());
    let service = fields.take("service").map(|it| service(cx, &it.node, it.key_span).unwrap_or_else(unread_service));
    let files = postgres.as_ref().and_then(|it| it.files.clone());
    let service = service.or_else(|| files.map(|it| Service::Postgres(Box::new(it))));
    // What could not be read was reported: probes that would ask it are not wrong for that.
    let asked = postgres.clone().or_else(|| has_postgres.then(unread));
    cx.postgres.replace(asked);
    let listed = fields.take("probes");
    let probes = listed.map(|it| probes(cx, &it.node)).unwrap_or_default();
    if let Some(Entry { key_span, node, .. }) = listed
        && items_len(node) == Some(0)
    {
        cx.report(
            Finding::new(Code::Empty, *key_span, format!("{} has no probe", fields.what))
                .label("at least one, please")
                .reason("without a probe nobody learns that it failed, or that it is fit to take over")
                .help("write for example `probes: [{ tcp: { address: \"10.0.1.10:5432\" } }]`"),
        );
    }
    let down_when = fields.number("down_when");
    if let (Some(at), Some(listed)) = (fields.place("down_when"), listed)
        && let Some(count) = items_len(&listed.node)
        && down_when as usize > count
        && count > 0
    {
        cx.report(
            Finding::new(Code::DownWhen, at, format!("`down_when` is {down_when}, the number of probes is {count}"))
                .label("more than there are")
                .other(listed.key_span, "these")
                .help(format!("write {count} or less, or add probes")),
        );
    }
    cx.postgres.replace(None);
    let activate = match fields.take("activate") {
        Some(it) => acts(cx, &it.node),
        None if postgres.is_some() => {
            cx.derive(fields.at, "activate", || "[{ promote: { timeout: 10s, attempts: 1 } }]".to_owned());
            vec![promotion(entry.key_span)]
        }
        None => Vec::new(),
    };
    let demote = fields.take("demote").map(|it| acts(cx, &it.node)).unwrap_or_default();
    let repair_at = fields.key_place("repair");
    let repair = fields.take("repair").map(|it| acts(cx, &it.node)).unwrap_or_default();
    let shares = fields.read("shares", items).map(|it| it.iter().filter_map(|it| shared(cx, it)).collect());
    let capacity = fields.number("capacity");
    RawInstance {
        name: At { value: entry.key.to_string(), span: entry.key_span },
        location,
        temperature,
        service,
        probes,
        down_when: down_when as usize,
        activate,
        demote,
        repair,
        repair_at,
        postgres: postgres.map(Box::new),
        shares: shares.unwrap_or_default(),
        capacity,
    }
}

fn items_len(node: &Node) -> Option<usize> {
    match &node.value {
        super::tree::Value::List(items) => Some(items.len()),
        super::tree::Value::Null | super::tree::Value::Scalar { .. } | super::tree::Value::Map(_) => None,
    }
}

/// One witness: `NAME: {…}`.
pub(super) fn witness<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> RawWitness {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("witness `{}`", entry.key), &WITNESS);
    let location = must_location(&mut fields);
    let probe = fields.read("probe", probe);
    of_no_instance(cx, probe.as_ref().and_then(|it| it.from_host));
    fields.finish();
    RawWitness { name: At { value: entry.key.to_string(), span: entry.key_span }, location, probe }
}

/// What lives on something beside its location: `key: NAME`.
fn shared<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<SharedPart> {
    let chosen = choose(cx, node, &SHARED)?;
    let kind = SharedKind::ALL.into_iter().find(|it| it.word() == chosen.word)?;
    let Some(named) = chosen.node else {
        cx.report(
            Finding::new(Code::MissingField, chosen.at, format!("this {} has no name", chosen.word))
                .label("a name is missing here")
                .help(format!("write for example `{{ {}: core-1 }}`", chosen.word)),
        );
        return None;
    };
    cx.field.set(kind.word());
    Some(SharedPart { kind, name: values::name(cx, named)? })
}

fn must_location(fields: &mut Fields<'_>) -> Location {
    let cx = fields.cx;
    let nowhere = Location { region: String::new(), zone: None, host: None };
    fields.take("location").map_or(nowhere, |it| location_at(cx, it))
}

/// A location that is a mapping of its own.
pub(super) fn location_at<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Location {
    let mut inner = Fields::open(cx, Some(&entry.node), entry.key_span, "this location", &LOCATION);
    let location = location(&mut inner);
    inner.finish();
    location
}

/// Region, zone and host, which `fields` may hold beside others.
pub(super) fn location(fields: &mut Fields<'_>) -> Location {
    Location {
        region: fields.read("region", place).unwrap_or_default(),
        zone: fields.read("zone", place),
        host: fields.read("host", place),
    }
}

/// The name of a region, a zone or a host. It stands in tables and in messages, on one line.
pub(super) fn place(cx: &Cx<'_>, node: &Node) -> Option<String> {
    let name = values::text(cx, node)?;
    if name.chars().any(char::is_control) {
        cx.report(
            Finding::new(Code::BadName, node.span, format!("`{}` is no name of a place", name.escape_debug()))
                .label("holds a line end or another control character")
                .help("write it on one line"),
        );
        return None;
    }
    Some(name)
}

/// One series of backups: `NAME: {…}`.
fn backup<'a>(cx: &'a Cx<'a>, entry: &'a Entry, server: Option<&PostgresServer>) -> Backup {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, format!("backup `{}`", entry.key), &BACKUP);
    let mut postgres = fields.take("postgres").and_then(|it| postgres_backup(cx, it, server)).map(Box::new);
    let copies = fields.read("copies", items).unwrap_or_default();
    let copies: Vec<BackupCopy> = copies.iter().map(|it| copy(cx, it, postgres.is_some())).collect();
    if let Some(postgres) = &mut postgres {
        postgres.buckets = copies.iter().filter_map(|it| it.bucket.clone()).collect();
    }
    let backup = Backup {
        name: entry.key.to_string(),
        every: fields.duration("every"),
        takes: fields.duration("takes"),
        copy_lag: fields.duration("copy_lag"),
        archive_lag: fields.maybe_duration("archive_lag"),
        keep: fields.duration("keep"),
        location: must_location(&mut fields),
        copies,
        restore_test: fields.maybe_duration("restore_test"),
        postgres,
        measured: None,
    };
    fields.finish();
    backup
}

fn copy<'a>(cx: &'a Cx<'a>, node: &'a Node, is_ours: bool) -> BackupCopy {
    let mut fields = Fields::open(cx, Some(node), node.spot(), "this copy", &BACKUP_COPY);
    let (location, lag) = (must_location(&mut fields), fields.duration("lag"));
    let bucket = fields.take("bucket");
    if let Some(bucket) = bucket.filter(|_| !is_ours) {
        let copied = "Mainstay copies to a bucket only what it takes itself";
        cx.report(
            Finding::new(Code::PostgresMissing, bucket.key_span, copied).label("who takes these backups?").help(
                "add `postgres: { to: DIR }` to the series; where somebody else copies them, say only `location`",
            ),
        );
    }
    let bucket = bucket.and_then(|it| values::path(cx, &it.node)).filter(|_| is_ours);
    fields.finish();
    BackupCopy { location, lag, bucket }
}

fn constraint<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Option<Constraint> {
    let mut fields = Fields::open(cx, Some(node), at, "this constraint", &CONSTRAINT);
    let reason = fields.text("reason").unwrap_or_default();
    let kind = fields.word("kind", &ConstraintKind::ALL, ConstraintKind::word);
    fields.finish();
    Some(Constraint { kind: kind?, reason })
}

fn objectives<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> Objectives {
    let mut fields = Fields::open(cx, Some(node), at, "these objectives", &OBJECTIVES);
    let rto = fields.maybe_duration("rto");
    let region_rto = fields.maybe_duration("region_rto");
    let rpo = fields.maybe_duration("rpo");
    let availability_ppm = fields.read("availability", values::percent_ppm);
    fields.finish();
    Objectives { rto, region_rto, rpo, availability_ppm }
}

fn witness_rule<'a>(cx: &'a Cx<'a>, node: &'a Node, at: Span) -> RawWitnessRule {
    let mut fields = Fields::open(cx, Some(node), at, "this rule of witnesses", &WITNESS_RULE);
    let need = fields.maybe_number("need").map(|it| it as usize);
    let of = fields.read("of", values::names);
    fields.finish();
    RawWitnessRule { at, need, of }
}

fn switch<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>, at: Span) -> (Duration, Duration) {
    let at = entry.map_or(at, |it| it.key_span);
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "this switch", &SWITCH);
    let times = (fields.duration("catch_up"), fields.duration("verify_within"));
    fields.finish();
    times
}

fn failback<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<Failback> {
    let chosen = choose(cx, node, &FAILBACK)?;
    if chosen.word == "never" {
        return Some(Failback::Never);
    }
    let mut fields = Fields::behind(cx, &chosen, "this failback");
    let stable_for = fields.duration("stable_for");
    fields.finish();
    Some(Failback::WhenWhole { stable_for })
}

fn guards<'a>(cx: &'a Cx<'a>, entry: Option<&'a Entry>, at: Span) -> (Guards, Option<Span>) {
    let mut role = None;
    let at = entry.map_or(at, |it| it.key_span);
    let mut fields = Fields::open(cx, entry.map(|it| &it.node), at, "these guards", &GUARDS);
    let cool_down = fields.duration("cool_down");
    let approval = fields.take("approval").map(|it| {
        let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this approval", &APPROVAL);
        let approval = Approval {
            expires: inner.duration("expires"),
            quorum: inner.number("quorum"),
            role: inner.text("role"),
            on_expiry: inner.word("on_expiry", &OnExpiry::ALL, OnExpiry::word).unwrap_or(OnExpiry::Fail),
        };
        role = inner.place("role");
        inner.finish();
        approval
    });
    let after_failure =
        fields.word("after_failure", &AfterFailure::ALL, AfterFailure::word).unwrap_or(AfterFailure::CoolDown);
    let flapping = fields.take("flapping").map(|it| {
        let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "this limit", &FLAPPING);
        let limit = Flapping { at_most: inner.number("at_most"), within: inner.duration("within") };
        inner.finish();
        limit
    });
    let signals = fields.number("signals");
    let observers = fields.take("observers").map(|it| {
        let mut inner = Fields::open(cx, Some(&it.node), it.key_span, "these observers", &OBSERVERS);
        let need = inner.number("need");
        inner.finish();
        need
    });
    fields.finish();
    (Guards { cool_down, approval, after_failure, flapping, signals, observers }, role)
}

/// The rungs of one entry of a ladder: more than one where several standbys may take over.
fn rungs<'a>(cx: &'a Cx<'a>, node: &'a Node, at: usize) -> Vec<RawRung> {
    let Some((rung, others)) = rung(cx, node) else { return Vec::new() };
    let RawHow::Failover { fence, accept, .. } = rung.how else { return vec![rung] };
    let of = |standby: At<String>| RawRung {
        at: rung.at,
        how: RawHow::Failover { standby: Some(standby), fence, accept },
        verify_within: rung.verify_within,
        only_if: rung.only_if.clone(),
        choice: Some(at),
    };
    if others.is_empty() { vec![rung] } else { others.into_iter().map(of).collect() }
}

/// The standbys of which one takes over.
fn standbys(cx: &Cx<'_>, entry: &Entry) -> Vec<At<String>> {
    let named = values::names(cx, &entry.node);
    if named.as_ref().is_some_and(Vec::is_empty) {
        cx.report(
            Finding::new(Code::MissingField, entry.node.span, "`standbys` names none")
                .label("nobody could take over")
                .help("add for example `standbys: [orders-db-b, orders-db-c]`"),
        );
    }
    named.unwrap_or_default()
}

/// A rung, and the standbys that it leaves the choice between.
fn rung<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<(RawRung, Vec<At<String>>)> {
    let chosen = choose(cx, node, &STRATEGY)?;
    let strategy = Strategy::ALL.into_iter().find(|it| it.word() == chosen.word)?;
    let mut others = Vec::new();
    let mut fields = Fields::behind(cx, &chosen, format!("`{}`", chosen.word));
    let how = match strategy {
        Strategy::RestartService => {
            let (timeout, attempts) = (fields.duration("timeout"), fields.number("attempts"));
            let retry = retry(&mut fields, attempts);
            let limit = RestartLimit { at_most: fields.number("at_most"), within: fields.duration("within") };
            RawHow::Restart { timeout, attempts, retry, limit }
        }
        Strategy::FailoverToStandby => {
            let (one, several) = (fields.take("standby"), fields.take("standbys"));
            let standby = one.and_then(|it| values::at_text(cx, &it.node));
            match (one, several) {
                (None, Some(several)) => others = standbys(cx, several),
                (Some(one), Some(several)) => cx.report(
                    Finding::new(Code::Contradiction, several.key_span, "one standby takes over, or one of several")
                        .label("several")
                        .other(one.key_span, "one")
                        .help("keep one of the two"),
                ),
                (Some(_), None) => {}
                (None, None) => fields.miss_one_of(&["standby", "standbys"]),
            }
            let fence = fields.read("fence", |cx, node| {
                let fence = values::word(cx, node, &[RawFence::Stop, RawFence::Lease], fence_word)?;
                Some((fence, node.span))
            });
            let accept = fields.read("accept_risk", accepted);
            RawHow::Failover { standby, fence, accept }
        }
        Strategy::RestoreFromBackup => {
            let backup = fields.read("backup", values::at_text);
            let to = fields.key_place("to");
            let _the_only_word = fields.read("to", |cx, node| values::word(cx, node, &["latest"], |it| it));
            let by = fields.key_place("run");
            let run = run(&mut fields, true);
            match (by, to) {
                (Some(by), Some(to)) => cx.report(
                    Finding::new(Code::Contradiction, by, "either a command restores it, or Mainstay does")
                        .label("a command")
                        .other(to, "Mainstay")
                        .help("remove one of them"),
                ),
                (None, None) => fields.miss_one_of(&["run", "to"]),
                (Some(_), None) | (None, Some(_)) => {}
            }
            match to {
                Some(at) => RawHow::Restore { backup, at, timeout: run.timeout },
                None => RawHow::Run { strategy, backup, run: Box::new(run) },
            }
        }
        // More capacity leaves the instance where it is.
        Strategy::ReplaceInstance | Strategy::ScaleOut => {
            let builds_anew = strategy == Strategy::ReplaceInstance;
            RawHow::Run { strategy, backup: None, run: Box::new(run(&mut fields, builds_anew)) }
        }
    };
    let verify_within = fields.duration("verify_within");
    let only_if = fields.take("only_if").map(|it| only_if(cx, it)).unwrap_or_default();
    fields.finish();
    Some((RawRung { at: chosen.at, how, verify_within, only_if, choice: None }, others))
}

/// What must hold before a rung is tried.
fn only_if<'a>(cx: &'a Cx<'a>, entry: &'a Entry) -> Vec<(At<String>, Health)> {
    let mut fields = Fields::open(cx, Some(&entry.node), entry.key_span, "these preconditions", &PRECONDITIONS);
    let mut all = Vec::new();
    for (name, health) in [("healthy", Health::Healthy), ("down", Health::Down)] {
        all.extend(fields.read(name, values::names).unwrap_or_default().into_iter().map(|it| (it, health)));
    }
    fields.finish();
    all
}

fn run<'a>(fields: &mut Fields<'a>, builds_anew: bool) -> RawRun {
    let plane = plane(fields);
    let place = fields.key_place("address").filter(|_| builds_anew);
    RawRun {
        argv: fields.read("run", values::argv).unwrap_or_default(),
        timeout: fields.duration("timeout"),
        plane,
        whose: super::controls::needed(fields, plane),
        idempotent: fields.flag("idempotent"),
        needs: fields.read("needs", values::names).unwrap_or_default(),
        undo: fields.read("undo", undo),
        new_address: if builds_anew && address_in_output(fields) { place } else { None },
    }
}

/// The risks that a plan accepts by name; so far there is one.
fn accepted<'a>(cx: &'a Cx<'a>, node: &'a Node) -> Option<Span> {
    let mut found = None;
    for item in items(cx, node)? {
        if values::word(cx, item, &["two_writers"], |it| it).is_some() {
            found = Some(item.span);
        }
    }
    found
}
