//! A command that exits with 0, and what its last line tells.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_plan::observation::Answer;

use super::word;
use crate::action::ADDRESS_VARIABLE;
use crate::child::{Leftovers, Output};
use crate::{Inner, ProbeAnswer, child, lag, trouble};

/// What the last line of a command's output is asked for.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) lag: bool,
    pub(super) role: bool,
}

impl Line {
    /// One of the two stands there alone, or behind its name; both stand behind their names: `role=active lag=1.5s`.
    fn read(self, line: &str) -> (Option<Duration>, Option<String>) {
        let named = |name: &str| line.split_whitespace().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let alone = (!line.contains('=') && self.lag != self.role).then_some(line);
        let lag = self.lag.then(|| named("lag").or(alone)).flatten().and_then(lag::parse);
        let role = self.role.then(|| named("role").or(alone)).flatten().map(word);
        (lag, role)
    }
}

pub(super) async fn ask(inner: &Inner, argv: &[String], at: Option<IpAddr>, line: Line) -> ProbeAnswer {
    let env = at.into_iter().map(|it| (ADDRESS_VARIABLE.to_owned(), it.to_string())).collect();
    match child::run(&inner.gates, argv, &env, Output::Capture, Leftovers::Kill).await {
        Ok(ended) if ended.success() => {
            let (lag, role) = ended.last_line().map(|it| line.read(&it)).unwrap_or_default();
            ProbeAnswer { lag, role, ..Answer::Good.into() }
        }
        Ok(ended) => Answer::Refused(ended.describe()).into(),
        Err(error) => {
            let program = argv.first().map_or("", String::as_str);
            Answer::CouldNotAsk(trouble::clip(&format!("{program}: {}", trouble::describe(&error)))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_tells_lag_and_role() {
        let (lag, role, both) =
            (Line { lag: true, role: false }, Line { lag: false, role: true }, Line { lag: true, role: true });
        let ms = |it| Some(Duration::from_millis(it));
        let is = |it: &str| Some(it.to_owned());
        let cases = [
            (lag, "250ms", ms(250), None),
            (lag, "2 m", ms(120_000), None),
            (lag, "role=active lag=1.5s", ms(1500), None),
            (role, " Primary ", None, is("Primary")),
            (role, "lag=3s role=replica", None, is("replica")),
            (role, "lag=3s", None, None),
            (both, "role=active lag=1.5s", ms(1500), is("active")),
            (both, "lag=0 role=standby", ms(0), is("standby")),
            (both, "role=standby", None, is("standby")),
            (both, "active", None, None),
            (both, "3s", None, None),
        ];
        for (asked, line, lag, role) in cases {
            assert_eq!(asked.read(line), (lag, role), "{line}");
        }
    }
}
