//! The status as text.

use mainstay_api::{
    Clients, Component, Instance, NoticeCount, Pause, Probing, Recoverable, Route, RouteHeld, Rule, Series, Status,
    Waiting,
};
use mainstay_engine::sentence::short;

use super::evacuation;
use crate::clock::{age, span, utc_seconds};
use crate::look::{Look, Table, Tone, labelled};

/// Whether nobody has to look: it is not down and no recovery is open.
pub(crate) fn is_well(component: &Component) -> bool {
    component.health != "down" && component.waiting.is_none()
}

/// Everything, compactly.
pub(crate) fn overview(status: &Status, look: Look) -> String {
    let mut out = header(status, look);
    out.push('\n');
    let mut table = Table::new(&["COMPONENT", "HEALTH", "SINCE", "IS NOW", "WOULD BE RECOVERED BY"]);
    for it in &status.components {
        table.row(
            [
                (Tone::Strong, it.name.clone()),
                (tone(&it.health), it.health.clone()),
                (Tone::Plain, it.since_ns.map_or("-".to_owned(), |since| age(status.now_ns, since))),
                (Tone::Plain, it.bound_to.clone()),
                recoverable(&it.recoverable),
            ],
            below(it, status.now_ns, look),
        );
    }
    out.push_str(&table.render(look, 0));
    for it in status.evacuations.iter().filter(|it| !it.components.is_empty()) {
        out.push('\n');
        out.push_str(&evacuation::table(it, status.now_ns, look));
    }
    let speaking: Vec<&Rule> = status.rules.iter().filter(|it| it.truth == "true").collect();
    if !speaking.is_empty() {
        out.push('\n');
        out.push_str(&table_of_rules(&speaking, status.now_ns, look));
    }
    if let Some(traffic) = status.traffic.as_ref().filter(|it| !it.routes.is_empty()) {
        out.push('\n');
        let mut table = Table::new(&["ROUTE", "CLIENTS COME BY", "OPEN", "TARGETS"]);
        for route in &traffic.routes {
            let targets: Vec<String> = route.targets.iter().map(|it| format!("{} {}", it.instance, it.state)).collect();
            let served = route.targets.iter().any(|it| it.state == "serving");
            table.row(
                [
                    (Tone::Strong, route.name.clone()),
                    (Tone::Plain, route.fronts.join(", ")),
                    (Tone::Plain, route.open_connections.to_string()),
                    (if served { Tone::Plain } else { Tone::Warn }, targets.join(", ")),
                ],
                below_route(route, status.now_ns, look),
            );
        }
        out.push_str(&table.render(look, 0));
    }
    if !status.control_planes.is_empty() {
        out.push('\n');
        out.push_str(&control_planes(status, look));
    }
    out
}

fn control_planes(status: &Status, look: Look) -> String {
    let mut table = Table::new(&["CONTROL PLANE", "REGION", "ACTIONS ARE", "SINCE", "CANARY"]);
    for it in &status.control_planes {
        let (tone, word) = match it.breaker.as_str() {
            "closed" => (Tone::Good, "tried"),
            "open" => (Tone::Bad, "passed over"),
            "half_open" => (Tone::Warn, "tried once"),
            "held_open" => (Tone::Warn, "passed over, by hand"),
            _ => (Tone::Warn, "tried, by hand"),
        };
        let mut below = String::new();
        if let Some(why) = it.why.as_ref().filter(|_| it.breaker != "closed") {
            below.push_str(&labelled(look, 2, 11, "because", why));
        }
        if let Some(until) = it.until_ns {
            below.push_str(&labelled(look, 2, 11, "tried again", &format!("after {}", utc_seconds(until))));
        }
        let name = if it.service == it.plane { it.plane.clone() } else { format!("{} of {}", it.plane, it.service) };
        table.row(
            [
                (Tone::Strong, name),
                (Tone::Plain, it.region.clone()),
                (tone, word.to_owned()),
                (Tone::Plain, it.since_ns.map_or("-".to_owned(), |since| age(status.now_ns, since))),
                it.canary.as_ref().map_or((Tone::Plain, "-".to_owned()), |it| (self::tone(it), it.clone())),
            ],
            below,
        );
    }
    table.render(look, 0)
}

/// Every rule with its terms.
pub(crate) fn rules(status: &Status, look: Look) -> String {
    if status.rules.is_empty() {
        return "the plan has no rules\n".to_owned();
    }
    table_of_rules(&status.rules.iter().collect::<Vec<_>>(), status.now_ns, look)
}

fn table_of_rules(rules: &[&Rule], now: u64, look: Look) -> String {
    let mut table = Table::new(&["RULE", "IS", "SINCE", "SAYS"]);
    for it in rules {
        let mut below = String::new();
        let mut line = |label: &str, text: &str| below.push_str(&labelled(look, 2, 11, label, text));
        for term in &it.terms {
            let fired = it.fired.iter().find(|fired| fired.term == term.term && fired.value != term.value);
            let fired = fired.map(|fired| format!(" (when it fired: {})", fired.value)).unwrap_or_default();
            line("sees", &format!("{} = {}{fired}", term.term, term.value));
        }
        if let Some(idle) = &it.idle {
            line("does", idle);
        }
        table.row(
            [
                (Tone::Strong, it.name.clone()),
                (if it.truth == "true" { Tone::Bad } else { Tone::Plain }, it.truth.clone()),
                (Tone::Plain, it.since_ns.map_or("-".to_owned(), |since| age(now, since))),
                (Tone::Plain, format!("{} of {}", it.then, it.of)),
            ],
            below,
        );
    }
    table.render(look, 0)
}

/// All that is known of one component.
pub(crate) fn component(status: &Status, it: &Component, look: Look) -> String {
    let now = status.now_ns;
    let since = it.since_ns.map(|at| format!(" for {}", age(now, at))).unwrap_or_default();
    let health = look.paint(tone(&it.health), &it.health);
    let mut out = format!("{} is {health}{since}\n", look.paint(Tone::Strong, &it.name));
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 11, label, text));
    line("is now", &it.bound_to);
    line("type", &format!("{}, {}", it.kind, it.criticality));
    let objective = |name: &str, ns: Option<u64>| ns.map(|ns| format!("{name} {}", span(ns)));
    let promised: Vec<String> =
        [objective("RTO", it.rto_ns), objective("RPO", it.rpo_ns)].into_iter().flatten().collect();
    if !promised.is_empty() {
        line("objectives", &promised.join(", "));
    }
    let (tone_of_it, text) = recoverable(&it.recoverable);
    let label = if tone_of_it == Tone::Bad { "recovery" } else { "recovery by" };
    line(label, &text);
    out.push_str(&below(it, now, look));
    out.push('\n');
    let mut table = Table::new(&["INSTANCE", "STATE", "HEALTH", "LOCATION"]);
    for instance in &it.instances {
        table.row(
            [
                (Tone::Strong, instance.name.clone()),
                (Tone::Plain, instance.state.clone()),
                (tone(&instance.health), instance.health.clone()),
                (Tone::Plain, instance.location.clone()),
            ],
            format!("{}{}", probes(instance, now, look), replication(instance, now, look)),
        );
    }
    out.push_str(&table.render(look, 2));
    out
}

/// What `watch` says of each thing when it changes, by name.
pub(crate) fn facts(status: &Status) -> Vec<(String, String)> {
    let mut facts: Vec<(String, String)> = status
        .components
        .iter()
        .map(|it| {
            let mut fact = format!("{}, is {}", it.health, it.bound_to);
            if let Some(waiting) = &it.waiting {
                fact.push_str(&format!("; {} waits: {}", waiting.recovery, waiting.reason));
            }
            for series in &it.backups {
                for trouble in &series.trouble {
                    fact.push_str(&format!("; backups {}: {trouble}", series.name));
                }
            }
            for instance in &it.instances {
                if let Some(at) = &instance.elsewhere {
                    fact.push_str(&format!("; {} is at {}", instance.name, at.address));
                }
                if let Some(repair) = &instance.repair {
                    fact.push_str(&format!("; repair of {}: {}", instance.name, repair.says));
                }
                for impaired in &instance.impaired {
                    fact.push_str(&format!("; {} is impaired ({})", instance.name, impaired.how));
                }
            }
            if let Recoverable::No { why } = &it.recoverable {
                fact.push_str(&format!("; can't be recovered now: {why}"));
            }
            if let Some(pause) = &it.paused {
                fact.push_str(&format!("; paused {}", shown_pause(pause, 0)));
            }
            (it.name.clone(), crate::look::clean(&fact))
        })
        .collect();
    for rule in &status.rules {
        facts.push((format!("rule {}", rule.name), rule.truth.clone()));
    }
    for it in &status.evacuations {
        let stays = |it: &&mainstay_api::Leaving| it.is == "stays";
        let left: Vec<&str> = it.components.iter().filter(stays).map(|it| it.component.as_str()).collect();
        let left = if left.is_empty() { String::new() } else { format!("; still there: {}", left.join(", ")) };
        facts.push((format!("evacuation of {}", it.place), crate::look::clean(&format!("{}{left}", it.status))));
    }
    if let Some(halt) = &status.halted {
        facts.push(("action".to_owned(), crate::look::clean(&format!("stopped by {}: {}", halt.by, halt.reason))));
    }
    let paused = status.paused.as_ref().map_or("not paused".to_owned(), |it| format!("paused {}", shown_pause(it, 0)));
    facts.push(("all components".to_owned(), crate::look::clean(&paused)));
    let trouble = if status.trouble.is_empty() { "none".to_owned() } else { status.trouble.join("; ") };
    facts.push(("agent's trouble".to_owned(), crate::look::clean(&trouble)));
    for it in &status.control_planes {
        let name = format!("control plane {} in {}", it.service, it.region);
        let why = it.why.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        facts.push((name, crate::look::clean(&format!("breaker {}{why}", it.breaker))));
    }
    if let Some(traffic) = &status.traffic {
        facts.push(("traffic".to_owned(), format!("epoch {}", traffic.epoch)));
    }
    facts
}

/// What a rule of a route holds back.
fn below_route(route: &Route, now: u64, look: Look) -> String {
    let mut out = route.clients.as_ref().map(|it| clients(it, look)).unwrap_or_default();
    out.push_str(&route.held.as_ref().map(|it| held(it, now, look)).unwrap_or_default());
    out
}

/// What went wrong is said where there is any.
fn clients(it: &Clients, look: Look) -> String {
    let mut text = format!("{} so far, {} in, {} out", it.accepted, bytes(it.bytes_in), bytes(it.bytes_out));
    let rare = [
        (it.waiting, "wait now"),
        (it.queued, "had to wait"),
        (it.overdue, "waited too long"),
        (it.refused, "found no place"),
        (it.unserved, "reached no target in all"),
        (it.cut, "cut by a fence"),
        (it.failed, "failures of targets"),
        (it.retried, "tries at another"),
    ];
    for (number, what) in rare.into_iter().filter(|it| it.0 > 0) {
        text.push_str(&format!(", {number} {what}"));
    }
    labelled(look, 2, 11, "clients", &text)
}

/// In a unit that leaves one to three digits before the point.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut whole, mut rest, mut unit) = (number, 0, "B");
    for next in UNITS {
        if whole < 1000 {
            break;
        }
        (whole, rest, unit) = (whole / 1000, whole % 1000, next);
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{} {unit}", rest / 100) }
}

fn held(it: &RouteHeld, now: u64, look: Look) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 11, label, text));
    let kept = it.targets.join(", ");
    line("keeps on", &format!("{kept} for {}, by {}: {}", age(now, it.since_ns), it.code, it.reason));
    let by = it.until_ns.map(|at| format!(", by {}", utc_seconds(at))).unwrap_or_default();
    line("until", &format!("{}{by}", it.ends_when));
    line("to overrule", &it.way_out);
    out
}

fn probing(it: &Probing) -> String {
    format!("{} asked, {} of them late; lateness p99 {}", it.asked, it.late, span(it.late_p99_ns))
}

fn header(status: &Status, look: Look) -> String {
    let agent = &status.agent;
    let mode = if status.mode == "act" { Tone::Good } else { Tone::Warn };
    let mut out = format!("{}  mode {}\n", look.paint(Tone::Strong, &status.site), look.paint(mode, &status.mode));
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 8, label, text));
    if let Some(halt) = &status.halted {
        let text = format!(
            "all action for {}, by {}: {}; `{}` ends it",
            age(status.now_ns, halt.since_ns),
            halt.by,
            halt.reason,
            halt.way_out
        );
        line("STOPPED", &text);
    }
    let late = if agent.times_late > 0 { format!(", late {} times", agent.times_late) } else { String::new() };
    let up = age(status.now_ns, agent.started_ns);
    line("agent", &format!("process {}, version {}, up {up}{late}", agent.pid, agent.version));
    line("probes", &probing(&agent.probing));
    line("plan", &format!("{} {}", short(&status.plan.hash), status.plan.file));
    // Whole, to be noted elsewhere, and whole again on a narrow screen: an anchor that was cut is worth nothing.
    line("journal", &format!("{}:{}", status.journal.seq, status.journal.hash));
    if let Some(traffic) = &status.traffic {
        let process = traffic.pid.map_or("can't be reached".to_owned(), |pid| format!("process {pid}"));
        let epoch = match traffic.serves_epoch {
            Some(serves) if serves == traffic.epoch => format!("serves epoch {serves}"),
            Some(serves) => format!("serves epoch {serves}, the newest is {}", traffic.epoch),
            None => format!("the newest epoch is {}", traffic.epoch),
        };
        line("traffic", &format!("{process}, {epoch}"));
    }
    if let Some(pause) = &status.paused {
        line("paused", &format!("{}; `mainstay resume` ends it", shown_pause(pause, status.now_ns)));
    }
    for drain in &status.drains {
        let (until, ago) = (utc_seconds(drain.until_ns), age(status.now_ns, drain.since_ns));
        let text = format!("{} until {until} by {}, {ago} ago: {}", drain.what, drain.by, drain.reason);
        line("drained", &format!("{text}; `{}` ends it", drain.way_out));
    }
    for it in &status.evacuations {
        line("leaving", &evacuation::line(it, status.now_ns));
    }
    for it in &status.incidents {
        let lost = look.paint(Tone::Bad, &format!("{} ({})", it.lost, it.id));
        let since = age(status.now_ns, it.opened_ns);
        let open =
            if it.open == 1 { "1 recovery is open".to_owned() } else { format!("{} recoveries are open", it.open) };
        line("lost", &format!("{lost} since {since}, {open}: {}", it.evidence.join("; ")));
    }
    if status.notices.standing > 0 {
        line("notices", &notices(&status.notices));
    }
    let journal = &status.journal;
    let waits = journal.waiting.iter().map(|it| format!("the journal waits: {it}"));
    let lost = journal.lost.iter().map(|it| format!("the journal can't be written any more: {it}"));
    let traffic = status.traffic.iter().flat_map(|it| it.trouble.iter().cloned());
    let channels =
        status.notices.failing.iter().map(|it| format!("nobody is told over `{it}`: see `mainstay notices`"));
    for trouble in status.trouble.iter().cloned().chain(lost).chain(waits).chain(traffic).chain(channels) {
        line("trouble", &trouble);
    }
    out
}

fn notices(count: &NoticeCount) -> String {
    let standing = if count.standing == 1 { "1 stands".to_owned() } else { format!("{} stand", count.standing) };
    let unseen = if count.unseen > 0 { format!(", {} not acknowledged", count.unseen) } else { String::new() };
    format!("{standing}{unseen}; see `mainstay notices`")
}

pub(crate) fn tone(health: &str) -> Tone {
    match health {
        "healthy" => Tone::Good,
        "down" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn recoverable(it: &Recoverable) -> (Tone, String) {
    match it {
        Recoverable::By { strategy, to } => (Tone::Plain, format!("{strategy} to {to}")),
        Recoverable::No { why } => (Tone::Bad, format!("nothing: {why}")),
    }
}

fn below(it: &Component, now: u64, look: Look) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| out.push_str(&labelled(look, 2, 11, label, text));
    if let Some(waiting) = &it.waiting {
        let Waiting { recovery, reason, since_ns, until_ns, ends_when, way_out, .. } = waiting;
        line("waits", &format!("{recovery} for {}: {reason}", age(now, *since_ns)));
        let by = until_ns.map(|at| format!(", by {}", utc_seconds(at))).unwrap_or_default();
        line("until", &format!("{ends_when}{by}"));
        line("to overrule", way_out);
    }
    for advance in &it.approved_in_advance {
        let end = format!("`mainstay approve {} --revoke` takes it back", it.name);
        line("approved", &format!("in advance {}; {end}", shown_pause(advance, now)));
    }
    for instance in &it.instances {
        if let Some(at) = &instance.elsewhere {
            let (since, instead) = (age(now, at.since_ns), at.instead_of.join(", "));
            line("moved", &format!("{} is at {} for {since}, not at {instead}: {}", instance.name, at.address, at.why));
        }
        if let Some(repair) = &instance.repair {
            let id = repair.id.as_ref().map(|it| format!(" ({it}, try {})", repair.nth)).unwrap_or_default();
            line("repair", &format!("{}{id}: {}", instance.name, repair.says));
            let by = repair.until_ns.map(|at| format!("by {}; ", utc_seconds(at))).unwrap_or_default();
            if let Some(way_out) = &repair.way_out {
                line("", &format!("{by}by hand: {way_out}"));
            }
        }
        for impaired in &instance.impaired {
            let since = age(now, impaired.since_ns);
            line("impaired", &format!("{}: {} for {since}: {}", instance.name, impaired.how, impaired.evidence));
        }
    }
    for series in &it.backups {
        line("backups", &backups(series, now));
        for job in series.jobs.iter().filter(|it| it.id.is_some() || !IN_ORDER.contains(&it.waits.as_deref())) {
            let until = job.until_ns.map(|at| format!(", until {}", utc_seconds(at))).unwrap_or_default();
            line("", &format!("{}: {}{until}", job.job.replace('_', " "), job.says));
        }
        for trouble in &series.trouble {
            line("trouble", &format!("{}: {trouble}", series.name));
        }
    }
    if let Some(pause) = &it.paused {
        line("paused", &format!("{}; `mainstay resume {}` ends it", shown_pause(pause, now), it.name));
    }
    out
}

/// What a job waits for when all is as it should be.
const IN_ORDER: [Option<&str>; 4] = [None, Some("not_due"), Some("timer"), Some("no_backup")];

fn backups(series: &Series, now: u64) -> String {
    let newest = match &series.newest {
        Some(it) => format!(
            "{} is {} old, {} from the {} in {}",
            it.name,
            age(now, it.began_ns),
            bytes(it.bytes),
            it.role,
            span(it.took_ns)
        ),
        None => "none is known".to_owned(),
    };
    let tested = match &series.tested {
        Some(it) => {
            let (ago, took, counts) = (age(now, it.at_ns), span(it.took_ns), span(it.counts_ns));
            format!("restored {ago} ago in {took}, so that a restore takes {counts} at most")
        }
        None => "never restored".to_owned(),
    };
    format!("{}, kept by {}: {newest}; {tested}", series.name, series.kept_by)
}

fn shown_pause(pause: &Pause, now: u64) -> String {
    let mut text = format!("until {} by {}", utc_seconds(pause.until_ns), pause.by);
    if let Some(owner) = &pause.owner {
        text.push_str(&format!(" for {owner}"));
    }
    if pause.since_ns > 0 && now > 0 {
        text.push_str(&format!(", {} ago", age(now, pause.since_ns)));
    }
    text.push_str(&format!(": {}", pause.reason));
    text
}

/// How far a standby is behind, and where it is; empty where that is not known.
fn replication(instance: &Instance, now: u64, look: Look) -> String {
    let Some(it) = &instance.replication else { return String::new() };
    let lag = it.lag_ns.zip(it.asked_ns).map(|(lag, asked)| {
        let lacks = it.lacks_bytes.map(|it| format!(", {it} bytes")).unwrap_or_default();
        format!("{} behind{lacks} ({} ago)", span(lag), span(now.saturating_sub(asked)))
    });
    let place = it.place.as_ref().map(|it| format!("at {it}"));
    let text = [lag, place].into_iter().flatten().collect::<Vec<_>>().join(", ");
    labelled(look, 4, 14, "replication", &text)
}

fn probes(instance: &Instance, now: u64, look: Look) -> String {
    let each = instance.probes.iter().map(|it| {
        let mut text = it.health.clone();
        if it.failures > 0 {
            text.push_str(&format!(", {} failures in a row", it.failures));
        }
        if let Some(last) = &it.last {
            let ago = it.last_ns.map(|at| format!(" {} ago", span(now.saturating_sub(at)))).unwrap_or_default();
            text.push_str(&format!(", last answer{ago}: {last}"));
        }
        if let Some(latency) = it.latency_ns {
            text.push_str(&format!(" ({})", span(latency)));
        }
        labelled(look, 4, 14, &it.name, &text)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;
    use crate::samples;

    #[test]
    fn an_outage_fits_on_eighty_columns() {
        let text = overview(&samples::status(), Look::PLAIN);
        golden("status.txt", &text);
        let long: Vec<&str> = text.lines().filter(|it| it.chars().count() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
    }

    #[test]
    fn one_component_shows_its_instances_and_probes() {
        let status = samples::status();
        golden("status-component.txt", &component(&status, &status.components[0], Look::PLAIN));
    }

    #[test]
    fn colour_adds_nothing_that_is_not_said() {
        let status = samples::status();
        let coloured = overview(&status, Look { colour: true, ..Look::PLAIN });
        let mut plain = coloured;
        for code in ["1", "2", "32", "33", "31;1", "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        let trimmed = |text: &str| text.lines().map(str::trim_end).map(ToOwned::to_owned).collect::<Vec<_>>();
        assert_eq!(trimmed(&plain), trimmed(&overview(&status, Look::PLAIN)));
    }

    #[test]
    fn trouble_of_the_journal_and_of_traffic_is_said() {
        let mut status = samples::status();
        status.mode = "observe".to_owned();
        status.journal.lost = Some("the disk failed".to_owned());
        status.agent.times_late = 3;
        let traffic = status.traffic.as_mut().expect("the sample has routes");
        (traffic.pid, traffic.serves_epoch) = (None, Some(3));
        status.components.truncate(1);
        let text = overview(&status, Look::PLAIN);
        for said in ["mode observe", "late 3 times", "can't be written any more", "can't be reached", "the newest is 4"]
        {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
    }

    #[test]
    fn a_change_is_a_change_of_facts_and_not_of_time() {
        let status = samples::status();
        let later = Status { now_ns: status.now_ns + 5_000_000_000, ..status.clone() };
        assert_eq!(facts(&status), facts(&later));
        assert!(facts(&status)[0].1.starts_with("down, is orders-db; r52 waits: fewer"), "{:?}", facts(&status));
    }
}
