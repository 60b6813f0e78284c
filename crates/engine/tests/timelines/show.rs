//! What comes out, as sentences: the same as `mainstay journal show` has for a record, and short ones for orders.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_engine::Body;
use mainstay_engine::driver::Todo;
use mainstay_engine::sentence::Teller;
use mainstay_plan::Time;
use mainstay_plan::action::Action;

use crate::play::ZERO;
use crate::world::Came;

/// Tells what comes out. Recoveries are named in the order in which they were opened, `R1`, `R2`, …, whatever number the
/// journal gives them: a timeline is about what happens, not about how many records came before.
pub(crate) struct Names {
    teller: Teller,
    /// What the journal calls it → what the timeline does.
    names: BTreeMap<String, String>,
    recoveries: u32,
    incidents: u32,
    notices: u32,
}

impl Names {
    pub(crate) fn new() -> Names {
        Names { teller: Teller::new(moment, span), names: BTreeMap::new(), recoveries: 0, incidents: 0, notices: 0 }
    }

    /// The sentence, if there is something to say.
    pub(crate) fn tell(&mut self, came: &Came) -> Option<String> {
        let text = match came {
            Came::Record(seq, record) => {
                let opens = matches!(
                    record.body,
                    Body::FailureDetected { .. } | Body::SwitchStarted { .. } | Body::AdoptionStarted { .. }
                );
                if opens {
                    self.recoveries += 1;
                    self.names.insert(format!("r{seq}"), format!("R{}", self.recoveries));
                }
                let loses = matches!(record.body, Body::IncidentOpened { .. });
                if loses {
                    self.incidents += 1;
                    self.names.insert(format!("i{seq}"), format!("I{}", self.incidents));
                }
                if let Body::NoticeSent { notice, .. } = &record.body
                    && !self.names.contains_key(&notice.to_string())
                {
                    self.notices += 1;
                    self.names.insert(notice.to_string(), format!("N{}", self.notices));
                }
                let text = self.teller.tell(&record.body);
                if loses {
                    format!("I{} opened: {text}", self.incidents)
                } else if opens {
                    format!("R{} opened: {text}", self.recoveries)
                } else if matches!(record.body, Body::PlanAdopted { .. }) {
                    // Whichever plan it is, it is the one that the timeline names.
                    "the plan is adopted".to_owned()
                } else {
                    text
                }
            }
            Came::Todo(todo) => order(todo)?,
        };
        Some(self.rename(&text))
    }

    /// The journal's names become the timeline's.
    pub(crate) fn rename(&self, text: &str) -> String {
        let mut out = String::new();
        let mut word = String::new();
        for next in text.chars().chain([' ']) {
            if next.is_ascii_alphanumeric() {
                word.push(next);
                continue;
            }
            out.push_str(self.names.get(&word).unwrap_or(&word));
            word.clear();
            out.push(next);
        }
        out.pop();
        out
    }

    /// What the journal calls what the timeline calls `name`.
    pub(crate) fn journals(&self, name: &str) -> Option<&str> {
        self.names.iter().find(|it| it.1 == name).map(|it| it.0.as_str())
    }
}

fn order(todo: &Todo) -> Option<String> {
    Some(match todo {
        Todo::Probe(..) => return None,
        Todo::AskLease => "ask for the lease".to_owned(),
        Todo::Grant(grants) => {
            let all: Vec<String> = grants.iter().map(|it| format!("{} = {}", it.component, it.instance)).collect();
            format!("leases: {}", if all.is_empty() { "for nobody".to_owned() } else { all.join(", ") })
        }
        Todo::HearTraffic(_) => "ask the traffic processes what they serve".to_owned(),
        Todo::Act(order) => {
            let what = match &order.action {
                Action::Service { op, .. } => op.word().to_owned(),
                Action::Command { argv, .. } => argv.join(" "),
                Action::TriggerFile { path, .. } => format!("write {}", path.display()),
                Action::Webhook { method, url, .. } => format!("{method} {url}"),
                Action::Postgres(postgres) => postgres.op.word().to_owned(),
                Action::EndLease { component } => format!("end the lease of {component}"),
            };
            let again =
                if order.step.attempt > 1 { format!(" (attempt {})", order.step.attempt) } else { String::new() };
            let place = order.address.map(|it| format!(" at {it}")).unwrap_or_default();
            let host = order.host.as_ref().map(|it| format!(", by host {it}")).unwrap_or_default();
            let lease = if order.needs_lease { ", with its lease" } else { "" };
            format!("act: {what} on {}{place}{host}{lease}{again}", order.instance)
        }
        Todo::Cancel(step) => format!("act: stop doing step {} of rung {}", step.step + 1, step.rung + 1),
        Todo::Route(table) => format!("route: serve epoch {}", table.epoch),
        Todo::Log(line) => format!("notify {}: {}", line.level.word(), line.text),
        Todo::Notify(telling) => format!("over {}: {}, message {}", telling.channel, telling.notice, telling.nth),
    })
}

/// A moment, counted from the timeline's zero.
pub(crate) fn moment(at: Time) -> String {
    if at == Time::ZERO {
        return "never".to_owned();
    }
    let sign = if at < ZERO { "-" } else { "" };
    let ms = at.since(ZERO).max(ZERO.since(at)).as_millis();
    let (s, ms) = (ms / 1000, ms % 1000);
    match s {
        0..60 => format!("{sign}{s}.{ms:03}s"),
        60..3600 => format!("{sign}{}m{:02}.{ms:03}s", s / 60, s % 60),
        _ => format!("{sign}{}h{:02}m{:02}.{ms:03}s", s / 3600, s % 3600 / 60, s % 60),
    }
}

/// A duration.
pub(crate) fn span(span: Duration) -> String {
    if span.is_zero() {
        return "0s".to_owned();
    }
    format!("{:?}", Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}
