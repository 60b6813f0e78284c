//! What must never be, read from what clients were told and from what the agent says.

use std::time::Duration;

use mainstay_api as api;

/// One acknowledgement: the server, when it was asked, and when it was heard, in nanoseconds of one clock.
pub(crate) type Acknowledged = (String, u64, u64);

/// How often the acknowledging server was another one than before, so that there can be no doubt about the order: asked only
/// after the other's answer was heard.
///
/// # Errors
/// Two servers acknowledged at the same time: more changes than `moves` can explain.
pub(crate) fn one_at_a_time(acknowledged: &[Acknowledged], moves: usize) -> Result<usize, String> {
    let mut all = acknowledged.to_vec();
    all.sort_by_key(|it| it.2);
    let Some(first) = all.first() else { return Ok(0) };
    let mut owner = first.0.clone();
    let (mut heard, mut changes) = (first.2, Vec::new());
    for (server, sent, got) in &all {
        if *server == owner {
            heard = heard.max(*got);
        } else if *sent > heard {
            changes.push(format!("{owner} until {heard}, then {server}, asked at {sent}"));
            owner.clone_from(server);
            heard = *got;
        }
    }
    match changes.len() <= moves {
        true => Ok(changes.len()),
        false => Err(format!("{} changes of who acknowledges, and {moves} moves: {changes:#?}", changes.len())),
    }
}

/// What is down for long without a recovery that is at work or says what it waits for.
pub(crate) fn unexplained(status: &api::Status) -> Vec<String> {
    const LONG: Duration = Duration::from_secs(3);
    let silent = |it: &&api::Component| match &it.waiting {
        Some(wait) => [&wait.code, &wait.reason, &wait.ends_when, &wait.way_out].iter().any(|it| it.is_empty()),
        None => {
            let since = it.since_ns.map_or(0, |since| status.now_ns.saturating_sub(since));
            let long = u128::from(since) > LONG.as_nanos();
            it.health == "down" && long && !it.instances.iter().any(|it| it.state == "recovering")
        }
    };
    status.components.iter().filter(silent).map(|it| format!("{it:#?}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(server: &str, sent: u64, heard: u64) -> Acknowledged {
        (server.to_owned(), sent, heard)
    }

    #[test]
    fn two_that_acknowledge_in_turn_are_found() {
        let once = [ack("a", 1, 2), ack("a", 3, 4), ack("b", 5, 6), ack("b", 7, 8)];
        assert_eq!(one_at_a_time(&once, 1), Ok(1));
        assert!(one_at_a_time(&once, 0).is_err());
        let both = [ack("a", 1, 2), ack("b", 5, 6), ack("a", 7, 8), ack("b", 9, 10)];
        assert!(one_at_a_time(&both, 1).is_err(), "a still acknowledges");
        assert!(one_at_a_time(&both, 3).is_ok());
    }
}
