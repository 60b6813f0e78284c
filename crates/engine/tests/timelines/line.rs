//! One line of a timeline: a time, and what happens then. To add a sentence, add a variant, the words for it in
//! [`parse`], and what it does in `world.rs`.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::action::Outcome;
use mainstay_plan::observation::{Answer, Health, LogPosition};

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Nothing; what is here ends.
    End,
    /// What these answer from now on; `None`: the truth again.
    Answers(Vec<Whom>, Option<Answer>),
    /// How long these take to answer from now on.
    Latency(Vec<Whom>, Duration),
    /// How far a standby is behind from now on; `None`: it does not say.
    Lag(String, Option<Duration>),
    /// An instance says how far its data goes.
    Reaches(String, LogPosition),
    /// What an instance says from now on that it is; empty: nothing.
    Says(String, String),
    Expires(String, bool),
    /// Whether an instance's log is archived.
    Archives(String, bool),
    /// The path from the agent to everything outside its host breaks, or is whole again.
    OwnPath {
        works: bool,
    },
    /// How actions end from now on, all or those on one instance; `None`: well again.
    Actions(Option<String>, Option<Ends>),
    /// How the next action ends.
    NextAction(Ends),
    /// What the next action says that brings its instance to another address.
    NextBrings(String),
    /// An instance is at another address from now on; `None`: where the plan says.
    Moves(String, Option<IpAddr>),
    /// An old self of an instance answers where the plan has it, too.
    Ghost(String),
    /// How long actions take from now on.
    ActionsTake(Duration),
    /// What the coordination store says from now on when it is asked for the lease.
    Store(Store),
    /// Another agent says what it sees of an instance.
    PeerSees(String, String, Health),
    /// Another agent gives an order under an epoch.
    PeerOrders(String, u64, String),
    /// How messages over a channel end from now on; `None`: well again.
    Channel(String, Option<Ends>),
    /// The agent is killed, and started again after so long.
    AgentKilled(Duration),
    /// The agent is suspended for so long.
    AgentSleeps(Duration),
    /// Records are handed over, and do not become durable (or do again).
    Disk {
        works: bool,
    },
    /// The journal can't be written any more.
    JournalLost,
    /// The agent is killed, and finds an empty journal when it is started again.
    JournalGone(Duration),
    /// The traffic process does not answer, or is there again with the table from its disk.
    Traffic {
        answers: bool,
    },
    /// A host is silent, or there again with what it served.
    Host {
        name: String,
        there: bool,
    },
    /// Clients can't reach an instance through the proxy, once.
    ClientsFail(String),
    /// The traffic process refuses every table with this reason; `None`: no more.
    TrafficRefuses(Option<String>),
    /// How long the traffic process takes to serve a table.
    TrafficTakes(Duration),
    /// The traffic process says that it serves this: an epoch, and by route its targets with their states.
    TrafficServes(u64, String),
    /// The agent reads another plan: the file of that name, with changes.
    NewPlan(String, Vec<(String, String)>),
    /// An operator says something, in the words of the command line.
    Operator(String, String),
    /// A question to the engine; the answer comes out.
    Ask(String),
}

/// What the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The lease is granted under this epoch.
    Grants(u64),
    /// Another agent has it, under this epoch.
    Held(String, u64),
    /// Nothing: it can't be reached.
    Gone,
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// All probes of an instance or a witness, or what clients of `route NAME` get.
    Name(String),
    /// The nth probe of an instance, from 1.
    Probe(usize, String),
    /// Everything in a zone or region.
    Zone(String),
    Region(String),
}

/// How an action ends, where it does not simply end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The host says so. What it was to do did not happen.
    With(Outcome),
    /// The host never says.
    Never,
    /// Well, but it has changed nothing.
    WithoutEffect,
    /// It is done, and so many transactions that the instance alone had are lost.
    Losing(u64),
    /// The outcome is unknown, but it was done.
    UnknownButDone(String),
}

/// A line like `3.0s  orders-db stops answering`.
pub(crate) fn parse(text: &str) -> Result<(Duration, Line), String> {
    let (at, what) = text.split_once(' ').ok_or("a line is a time and what happens then")?;
    Ok((span(at)?, sentence(what.trim())?))
}

/// `150ms`, `3.0s`, `2m`, `1m30s`, `1h`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let no_time = || format!("`{text}` is no time; times are like 150ms, 3.0s, 2m, 1m30s, 1h");
    let (mut millis, mut left) = (0.0, text);
    while !left.is_empty() {
        let unit_at = left.find(|it: char| it.is_ascii_alphabetic()).ok_or_else(no_time)?;
        let number: f64 = left[..unit_at].parse().map_err(|_| no_time())?;
        left = &left[unit_at..];
        let next_at = left.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(left.len());
        millis += number
            * match &left[..next_at] {
                "ms" => 1.0,
                "s" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                _ => return Err(no_time()),
            };
        left = &left[next_at..];
    }
    // Whole milliseconds, so that the same text is the same time everywhere.
    Ok(Duration::from_secs_f64(millis.round() / 1000.0))
}

fn sentence(text: &str) -> Result<Line, String> {
    if let Some(rest) = text.strip_prefix("operator ") {
        return Ok(Line::Operator("operator".to_owned(), rest.to_owned()));
    }
    if let Some((who, rest)) = text.split_once(" says: ") {
        return Ok(Line::Operator(who.to_owned(), rest.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("ask ") {
        return Ok(Line::Ask(rest.to_owned()));
    }
    if let Some(line) = fixed(text) {
        return Ok(line);
    }
    if let Some(line) = ours(text).or_else(|| actions(text)) {
        return line;
    }
    about(text).unwrap_or_else(|| Err(format!("nobody knows what `{text}` means; see tests/timelines/README.md")))
}

/// Sentences without anything to fill in.
fn fixed(text: &str) -> Option<Line> {
    Some(match text {
        "the end" => Line::End,
        "our own path breaks" => Line::OwnPath { works: false },
        "our own path is whole again" => Line::OwnPath { works: true },
        "actions succeed" => Line::Actions(None, None),
        "agent restarts" => Line::AgentKilled(Duration::from_millis(100)),
        "disk stalls" => Line::Disk { works: false },
        "disk works again" => Line::Disk { works: true },
        "the journal is lost" => Line::JournalLost,
        "traffic stops answering" => Line::Traffic { answers: false },
        "traffic answers again" => Line::Traffic { answers: true },
        "traffic takes tables again" => Line::TrafficRefuses(None),
        _ => return None,
    })
}

/// Sentences about our own parts.
fn ours(text: &str) -> Option<Result<Line, String>> {
    let after = |prefix: &str| text.strip_prefix(prefix);
    Some(if let Some(time) = after("agent is killed for ") {
        span(time).map(Line::AgentKilled)
    } else if let Some(time) = after("agent is killed and its journal is gone, for ") {
        span(time).map(Line::JournalGone)
    } else if let Some(time) = after("agent sleeps ") {
        span(time).map(Line::AgentSleeps)
    } else if let Some(instance) = after("clients fail at ") {
        Ok(Line::ClientsFail(instance.to_owned()))
    } else if let Some(why) = after("traffic refuses tables: ") {
        Ok(Line::TrafficRefuses(Some(why.to_owned())))
    } else if let Some(time) = after("traffic acknowledges after ") {
        span(time).map(Line::TrafficTakes)
    } else if let Some(rest) = after("host ") {
        let there = rest.strip_suffix(" is there again").map(|it| (it, true));
        let found = rest.strip_suffix(" is silent").map(|it| (it, false)).or(there);
        let line = |(name, there): (&str, bool)| Line::Host { name: name.to_owned(), there };
        found.map(line).ok_or_else(|| "a host `is silent`, or `is there again`".to_owned())
    } else if let Some(rest) = after("the store ") {
        store(rest)
    } else if let Some(rest) = after("agent ops-2 ") {
        peer("ops-2", rest)
    } else if let Some(rest) = after("channel ") {
        channel(rest)
    } else if let Some(rest) = after("traffic serves epoch ") {
        let parsed = rest.split_once(": ").and_then(|(epoch, targets)| Some((epoch.parse().ok()?, targets)));
        parsed
            .map(|(epoch, targets)| Line::TrafficServes(epoch, targets.to_owned()))
            .ok_or_else(|| "like `traffic serves epoch 9: orders = orders-db fenced, orders-db-b serving`".to_owned())
    } else if let Some(rest) = after("new plan ") {
        new_plan(rest)
    } else {
        return None;
    })
}

/// `the store grants the lease, epoch 3`, `the store says that NAME holds the lease, epoch 4`, `the store is gone`.
fn store(text: &str) -> Result<Line, String> {
    let epoch = |text: &str| text.parse().map_err(|_| format!("`{text}` is no epoch"));
    if text == "is gone" {
        return Ok(Line::Store(Store::Gone));
    }
    if let Some(at) = text.strip_prefix("grants the lease, epoch ") {
        return Ok(Line::Store(Store::Grants(epoch(at)?)));
    }
    let (name, at) = text
        .strip_prefix("says that ")
        .and_then(|it| it.split_once(" holds the lease, epoch "))
        .ok_or("the store grants, says that another holds, or is gone")?;
    Ok(Line::Store(Store::Held(name.to_owned(), epoch(at)?)))
}

/// `agent ops-2 sees X down`, `agent ops-2 sees X healthy`, `agent ops-2 orders under epoch 3: TEXT`.
fn peer(name: &str, text: &str) -> Result<Line, String> {
    if let Some(order) = text.strip_prefix("orders under epoch ") {
        let (epoch, what) = order.split_once(": ").ok_or("what does it order?")?;
        let epoch = epoch.parse().map_err(|_| format!("`{epoch}` is no epoch"))?;
        return Ok(Line::PeerOrders(name.to_owned(), epoch, what.to_owned()));
    }
    let (instance, health) = text
        .strip_prefix("sees ")
        .and_then(|it| it.split_once(' '))
        .ok_or("it sees an instance `down` or `healthy`, or orders something")?;
    let health = match health {
        "down" => Health::Down,
        "healthy" => Health::Healthy,
        _ => return Err("it sees it `down` or `healthy`".to_owned()),
    };
    Ok(Line::PeerSees(name.to_owned(), instance.to_owned(), health))
}

/// `channel NAME fails: TEXT`, `channel NAME never answers`, `channel NAME works again`.
fn channel(text: &str) -> Result<Line, String> {
    let (name, how) = text.split_once(' ').ok_or("which channel?")?;
    let ends = match how {
        "works again" => None,
        "never answers" => Some(Ends::Never),
        _ => Some(ends(how, "fails", "is")?),
    };
    Ok(Line::Channel(name.to_owned(), ends))
}

/// `new plan NAME`, or `new plan NAME with A => B`.
fn new_plan(text: &str) -> Result<Line, String> {
    let Some((name, change)) = text.split_once(" with ") else { return Ok(Line::NewPlan(text.to_owned(), Vec::new())) };
    let (was, is) = change.split_once(" => ").ok_or("a change is like `cool_down: 10s => cool_down: 1h`")?;
    Ok(Line::NewPlan(name.to_owned(), vec![(was.to_owned(), is.replace("\\n", "\n"))]))
}

fn actions(text: &str) -> Option<Result<Line, String>> {
    if let Some(time) = text.strip_prefix("actions take ") {
        return Some(span(time).map(Line::ActionsTake));
    }
    if let Some(what) = text.strip_prefix("next action says ") {
        return Some(Ok(Line::NextBrings(what.to_owned())));
    }
    if let Some(name) = text.strip_prefix("the old ").and_then(|it| it.strip_suffix(" still answers")) {
        return Some(Ok(Line::Ghost(name.to_owned())));
    }
    if let Some((name, place)) = text.split_once(" is from now on ") {
        let place = match place {
            "where the plan says" => Ok(None),
            other => other.trim_start_matches("at ").parse().map(Some).map_err(|_| format!("`{other}` is no address")),
        };
        return Some(place.map(|it| Line::Moves(name.to_owned(), it)));
    }
    if let Some(how) = text.strip_prefix("next action ") {
        return Some(ends(how, "fails", "is").map(Line::NextAction));
    }
    if let Some(rest) = text.strip_prefix("actions on ") {
        let (name, how) = rest.split_once(' ')?;
        return Some(match how {
            "succeed" => Ok(Line::Actions(Some(name.to_owned()), None)),
            _ => ends(how, "fail", "are").map(|it| Line::Actions(Some(name.to_owned()), Some(it))),
        });
    }
    let how = text.strip_prefix("actions ")?;
    Some(ends(how, "fail", "are").map(|it| Line::Actions(None, Some(it))))
}

fn ends(how: &str, fail: &str, are: &str) -> Result<Ends, String> {
    if let Some(why) = how.strip_prefix(fail) {
        let why = why.strip_prefix(": ").unwrap_or("it did not work");
        return Ok(Ends::With(Outcome::Failed(why.to_owned())));
    }
    if let Some(rest) = how.strip_prefix(are).map(str::trim) {
        match rest {
            "unknown" => return Ok(Ends::With(Outcome::Unknown("no answer in time".to_owned()))),
            "unknown but done" => return Ok(Ends::UnknownButDone("no answer in time".to_owned())),
            _ => {}
        }
    }
    match how.split_once(' ') {
        Some(("never", _)) => Ok(Ends::Never),
        Some(("change" | "changes", "nothing")) => Ok(Ends::WithoutEffect),
        Some(("lose" | "loses", many)) => match many.strip_suffix(" transactions").and_then(|it| it.parse().ok()) {
            Some(many) => Ok(Ends::Losing(many)),
            None => Err(format!("`lose 3 transactions`, not `{how}`")),
        },
        _ => Err(format!(
            "actions `{fail}: TEXT`, `{are} unknown`, `{are} unknown but done`, `never end`, or `change nothing`; not `{how}`"
        )),
    }
}

/// Sentences about instances, witnesses and routes.
fn about(text: &str) -> Option<Result<Line, String>> {
    let verbs = [
        " stops answering",
        " stop answering",
        " is silent",
        " are silent",
        " answers again",
        " answer again",
        " refuses",
        " refuse",
        " answers wrongly",
        " answer wrongly",
        " cannot be asked",
        " answers after ",
        " answer after ",
        " lags ",
        " does not say how far it lags",
        " reaches ",
        " says that it is ",
        " says nothing of its role",
        " does not archive its log",
        " archives its log again",
        " shows a certificate that expires soon",
        " shows a new certificate",
    ];
    let (at, verb) = verbs.into_iter().filter_map(|it| Some((text.find(it)?, it))).min_by_key(|it| it.0)?;
    let rest = text[at + verb.len()..].strip_prefix(": ").unwrap_or(&text[at + verb.len()..]);
    let or = |default: &str| if rest.is_empty() { default.to_owned() } else { rest.to_owned() };
    let whom = match whom(&text[..at]) {
        Ok(whom) => whom,
        Err(why) => return Some(Err(why)),
    };
    let one = || match whom.as_slice() {
        [Whom::Name(name)] => Ok(name.clone()),
        _ => Err("one instance lags".to_owned()),
    };
    Some(match verb.trim() {
        "stops answering" | "stop answering" | "is silent" | "are silent" => {
            Ok(Line::Answers(whom, Some(Answer::TimedOut)))
        }
        "answers again" | "answer again" => Ok(Line::Answers(whom, None)),
        "refuses" | "refuse" => Ok(Line::Answers(whom, Some(Answer::Refused(or("connection refused"))))),
        "answers wrongly" | "answer wrongly" => Ok(Line::Answers(whom, Some(Answer::Wrong(or("status 500"))))),
        "cannot be asked" => Ok(Line::Answers(whom, Some(Answer::CouldNotAsk(or("no descriptor is left"))))),
        "answers after" | "answer after" => span(rest).map(|it| Line::Latency(whom, it)),
        "lags" => one().and_then(|it| Ok(Line::Lag(it, Some(span(rest)?)))),
        "does not say how far it lags" => one().map(|it| Line::Lag(it, None)),
        "reaches" => one().and_then(|it| Ok(Line::Reaches(it, place(rest)?))),
        "says that it is" => one().map(|it| Line::Says(it, rest.to_owned())),
        "says nothing of its role" => one().map(|it| Line::Says(it, String::new())),
        "shows a certificate that expires soon" => one().map(|it| Line::Expires(it, true)),
        "shows a new certificate" => one().map(|it| Line::Expires(it, false)),
        "does not archive its log" => one().map(|it| Line::Archives(it, false)),
        "archives its log again" => one().map(|it| Line::Archives(it, true)),
        verb => Err(format!("`{verb}` has no meaning yet")),
    })
}

/// `a`, `a, b and c`, `probe 2 of a`, `everything in zone z1`.
fn whom(text: &str) -> Result<Vec<Whom>, String> {
    let names = text.replace(" and ", ", ");
    let each = names.split(", ").map(|it| {
        let it = it.trim().strip_prefix("witness ").unwrap_or(it.trim());
        if let Some(zone) = it.strip_prefix("everything in zone ") {
            return Ok(Whom::Zone(zone.to_owned()));
        }
        if let Some(region) = it.strip_prefix("everything in region ") {
            return Ok(Whom::Region(region.to_owned()));
        }
        if let Some((nth, name)) = it.strip_prefix("probe ").and_then(|it| it.split_once(" of ")) {
            let nth = nth.parse().map_err(|_| format!("`{nth}` is no number of a probe"))?;
            return Ok(Whom::Probe(nth, name.to_owned()));
        }
        Ok(Whom::Name(it.to_owned()))
    });
    each.collect()
}

/// `1000`, `1000 on timeline 2`, `1000 in another system`.
fn place(text: &str) -> Result<LogPosition, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.parse().map_err(|_| format!("`{word}` is no place"));
    let (at, timeline, system) = match words.as_slice() {
        [at] => (at, 1, "one"),
        [at, "on", "timeline", it] => (at, number(it)?, "one"),
        [at, "in", "another", "system"] => (at, 1, "another"),
        _ => return Err(format!("`{text}` is no place")),
    };
    Ok(LogPosition {
        system: system.to_owned(),
        timeline: u32::try_from(timeline).unwrap_or(u32::MAX),
        at: number(at)?,
    })
}
