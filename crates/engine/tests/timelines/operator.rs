//! What an operator says, in nearly the words of the command line: `approves R1 --override witnesses`.

use std::time::Duration;

use mainstay_engine::breaker::Hold;
use mainstay_engine::command::{AdoptAs, Drained};
use mainstay_engine::route::rules::RouteRule;
use mainstay_engine::{Command, Override, RecoveryId};
use mainstay_plan::Time;

use crate::line;
use crate::show::Names;

/// The words as a command. `because …` at the end is the reason.
pub(crate) fn command(text: &str, names: &Names, now: Time) -> Result<Command, String> {
    let (text, reason) = text.split_once(" because ").unwrap_or((text, "the timeline says so"));
    let reason = reason.to_owned();
    let mut words = text.split_whitespace();
    let verb = words.next().ok_or("an operator says something")?;
    let rest: Vec<&str> = words.collect();
    let recovery = || -> Result<RecoveryId, String> {
        let name = rest.first().ok_or("which recovery?")?;
        // One that was not opened yet has a number that no recovery has.
        names.journals(name).map_or(Ok(RecoveryId(9_999_999)), str::parse)
    };
    let first = || rest.first().map(|it| (*it).to_owned()).ok_or_else(|| "whom?".to_owned());
    let flag = |name: &str| -> Option<&str> { Some(rest[rest.iter().position(|it| *it == name)? + 1]) };
    Ok(match verb {
        "recovers" => Command::Recover { component: first()?, reason },
        "approves" => {
            let words = rest.iter().zip(rest.iter().skip(1)).filter(|it| *it.0 == "--override").map(|it| *it.1);
            let overrides = words.map(guard).collect::<Result<_, _>>()?;
            let outcome = match flag("--outcome") {
                None => None,
                Some("done") => Some(true),
                Some("not-done") => Some(false),
                Some(other) => return Err(format!("`{other}` is no outcome")),
            };
            Command::Approve { recovery: recovery()?, overrides, outcome, reason }
        }
        "approves-in-advance" => {
            let span: Duration = line::span(flag("for").ok_or("for how long?")?)?;
            Command::ApproveInAdvance { component: first()?, until: now + span, reason }
        }
        "revokes" => Command::Revoke { component: first()? },
        "skips" => Command::Skip { recovery: recovery()?, reason },
        "retries" => Command::Retry { recovery: recovery()?, reason },
        "holds" => Command::PauseRecovery { recovery: recovery()?, reason },
        "lets-go" => Command::ResumeRecovery { recovery: recovery()? },
        "aborts" => Command::Abort { recovery: recovery()?, reason },
        "pauses" => {
            let span: Duration = line::span(flag("for").ok_or("for how long?")?)?;
            let component = Some(first()?).filter(|it| it != "for" && it != "everything");
            let owner = flag("--owner").map(str::to_owned);
            Command::Pause { component, until: now + span, reason, owner }
        }
        "halts" => Command::Halt { reason },
        "continues" => Command::Continue { reason },
        "drains" => {
            let span: Duration = line::span(flag("for").ok_or("for how long?")?)?;
            Command::Drain { what: drained(&rest)?, until: now + span, reason }
        }
        "undrains" => Command::Undrain { what: drained(&rest)? },
        "evacuates" => {
            let until = flag("for").map(line::span).transpose()?.map(|it: Duration| now + it);
            let way = [("--now", false), ("--graceful", true)].into_iter().find(|it| rest.contains(&it.0));
            Command::Evacuate { place: first()?, until, graceful: way.map(|it| it.1), reason }
        }
        "ends-evacuation" => Command::EndEvacuation { place: flag("of").ok_or("of what?")?.to_owned(), reason },
        "overrules" => {
            let word = flag("--rule").ok_or("which rule?")?;
            let rule = RouteRule::ALL.into_iter().find(|it| it.word() == word).ok_or("there is no such rule")?;
            Command::RouteOverride { route: first()?, rule, reason }
        }
        "resumes" => {
            Command::Resume { component: rest.first().map(|it| (*it).to_owned()).filter(|it| it != "everything") }
        }
        "switches" => {
            let to = flag("to").ok_or("to which instance?")?.to_owned();
            Command::Switch { component: first()?, to, graceful: !rest.contains(&"--ungraceful"), reason }
        }
        "fails" => Command::Failback { component: flag("back").ok_or("fails back what?")?.to_owned(), reason },
        "breaks" => {
            // `breaks ec2 open in r1`, `breaks ec2 auto`
            let hold = rest.get(1).and_then(|word| Hold::ALL.into_iter().find(|it| it.word() == *word));
            let region = flag("in").map(str::to_owned);
            Command::Breaker { service: first()?, region, hold: hold.ok_or("open, closed or auto?")?, reason }
        }
        "acknowledges" => {
            let what = first()?;
            Command::Acknowledge { what: names.journals(&what).map_or(what, str::to_owned), reason }
        }
        "repairs" => {
            let two_writers = flag("--accept") == Some("two_writers");
            Command::Repair { instance: first()?, two_writers, reason }
        }
        "adopts" => {
            let address = flag("at").map(|it| it.parse().map_err(|_| format!("`{it}` is no address"))).transpose()?;
            let role = flag("--as").map(|word| {
                AdoptAs::ALL.into_iter().find(|it| it.word() == word).ok_or_else(|| format!("`{word}` is no role"))
            });
            let two_writers = flag("--accept") == Some("two_writers");
            let (role, anyway) = (role.transpose()?, rest.contains(&"--anyway"));
            Command::Adopt { instance: first()?, role, anyway, two_writers, address, reason }
        }
        _ => return Err(format!("an operator has no word `{verb}` yet; add it to operator.rs")),
    })
}

/// `web-b`, or `zone z1`.
fn drained(rest: &[&str]) -> Result<Drained, String> {
    match rest {
        ["zone", zone, ..] => Ok(Drained::Zone((*zone).to_owned())),
        [instance, ..] => Ok(Drained::Instance((*instance).to_owned())),
        [] => Err("drain what?".to_owned()),
    }
}

fn guard(word: &str) -> Result<Override, String> {
    let known = Override::ALL.into_iter().find(|it| it.word() == word);
    known.ok_or_else(|| format!("there is no guard `{word}` to overrule"))
}
