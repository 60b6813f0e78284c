//! The commands, one file each. A new one is a module, a variant and an arm here, and its name in [`GROUPS`].

mod abort;
mod acknowledge;
mod adopt;
mod approve;
mod assess;
mod backup;
mod backups;
mod breaker;
mod check;
mod completions;
mod drain;
mod enroll;
mod evacuate;
mod explain;
mod failback;
mod go_on;
mod halt;
mod heartbeat;
mod host;
mod hosts;
mod init;
pub(crate) mod journal;
mod leash;
mod man;
mod notices;
mod pause;
mod plan;
mod planes;
mod postgres;
mod probes;
mod recover;
mod recoveries;
mod repair;
mod restore;
mod resume;
mod retry;
mod route;
pub(crate) mod run;
mod schema;
mod series;
mod simulate;
mod skip;
mod status;
mod switch;
mod takeover;
pub(crate) mod traffic;
mod undrain;
mod upgrade;
mod watch;

use std::fmt::Write;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use mainstay_api as api;

use crate::client::Client;
use crate::demo;
use crate::exit::{Answer, Failure};
use crate::look::{Look, say, say_json};

/// Keeps workloads that live in one place recoverable.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// The agent's state directory: `state` in its plan [default: ./state]
    #[arg(long, global = true, value_name = "DIR", env = "MAINSTAY_STATE")]
    #[arg(hide_env_values = true, display_order = 900)]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  mainstay init plan.yaml     writes a plan to start from
  mainstay check plan.yaml    says what it would survive, and how fast
  mainstay run plan.yaml      watches, and recovers
  mainstay status             says how everything stands

`mainstay help COMMAND` says more about each command.

Exit codes:
  0  yes, or done
  1  no: findings of severity error, something is down, a change in the journal
  2  the command line or a file is wrong
  3  the agent or a store can't be reached
  4  refused: by a guard, by the state of things, or by another agent's lock";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Plan(plan::Plan),
    Assess(assess::Assess),
    Simulate(simulate::Simulate),
    Explain(explain::Explain),
    Schema(schema::Schema),
    Upgrade(upgrade::Upgrade),
    Planes(planes::Planes),
    Run(run::Run),
    Traffic(traffic::Traffic),
    Host(host::Host),
    Leash(leash::Leash),
    Enroll(enroll::Enroll),
    Heartbeat(heartbeat::Heartbeat),
    Postgres(postgres::Postgres),
    Demo(demo::Demo),
    #[command(hide = true)]
    DemoApp(demo::app::Options),
    Status(status::Status),
    Watch(watch::Watch),
    Recoveries(recoveries::Recoveries),
    Notices(notices::Notices),
    Probes(probes::Probes),
    Backups(backups::Backups),
    Hosts(hosts::Hosts),
    Recover(recover::Recover),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Approve(approve::Approve),
    Abort(abort::Abort),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Acknowledge(acknowledge::Acknowledge),
    Drain(drain::Drain),
    Undrain(undrain::Undrain),
    Evacuate(evacuate::Evacuate),
    Route(route::Route),
    Halt(halt::Halt),
    Continue(go_on::Continue),
    Skip(skip::Skip),
    Retry(retry::Retry),
    Adopt(adopt::Adopt),
    Repair(repair::Repair),
    Switch(switch::Switch),
    Takeover(takeover::Takeover),
    Failback(failback::Failback),
    Breaker(breaker::Breaker),
    Journal(journal::Journal),
    Completions(completions::Completions),
    Man(man::Man),
}

/// The order in which a newcomer meets the commands. A name that is no command (yet) is passed over.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Prepare", &["init", "check", "plan", "assess", "simulate", "explain", "planes", "schema", "upgrade"]),
    ("Run", &["run", "enroll", "host", "traffic", "leash", "heartbeat", "postgres", "demo"]),
    ("Look", &["status", "watch", "recoveries", "notices", "probes", "hosts", "backups"]),
    (
        "Act",
        &[
            "recover",
            "switch",
            "failback",
            "takeover",
            "approve",
            "abort",
            "pause",
            "resume",
            "skip",
            "retry",
            "acknowledge",
            "adopt",
            "repair",
            "drain",
            "undrain",
            "evacuate",
            "route",
            "halt",
            "continue",
            "breaker",
            "backup",
            "restore",
        ],
    ),
    ("Prove", &["journal"]),
    ("More", &["completions", "man", "help"]),
];

impl Cli {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let state = self.state.clone().unwrap_or_else(|| PathBuf::from("./state"));
        let cx = Cx { state, named_state: self.state, look: Look::of_stdout() };
        match self.command {
            Command::Init(it) => it.run(),
            Command::Check(it) => it.run(&cx),
            Command::Plan(it) => it.run(&cx),
            Command::Assess(it) => it.run(),
            Command::Simulate(it) => it.run(&cx),
            Command::Explain(it) => it.run(&cx),
            Command::Schema(it) => it.run(),
            Command::Upgrade(it) => it.run(),
            Command::Planes(it) => it.run(&cx),
            Command::Run(it) => it.run(&cx),
            Command::Traffic(it) => it.run(&cx),
            Command::Host(it) => it.run(&cx),
            Command::Leash(it) => it.run(&cx),
            Command::Demo(it) => it.run(&cx),
            Command::DemoApp(it) => demo::serve_app(it),
            Command::Status(it) => it.run(&cx),
            Command::Watch(it) => it.run(&cx),
            Command::Recoveries(it) => it.run(&cx),
            Command::Notices(it) => it.run(&cx),
            Command::Probes(it) => it.run(&cx),
            Command::Hosts(it) => it.run(&cx),
            Command::Backups(it) => it.run(&cx),
            Command::Backup(it) => it.run(&cx),
            Command::Restore(it) => it.run(&cx),
            Command::Recover(it) => it.run(&cx),
            Command::Approve(it) => it.run(&cx),
            Command::Abort(it) => it.run(&cx),
            Command::Pause(it) => it.run(&cx),
            Command::Enroll(it) => it.run(&cx),
            Command::Heartbeat(it) => it.run(&cx),
            Command::Postgres(it) => it.run(),
            Command::Resume(it) => it.run(&cx),
            Command::Acknowledge(it) => it.run(&cx),
            Command::Drain(it) => it.run(&cx),
            Command::Undrain(it) => it.run(&cx),
            Command::Evacuate(it) => it.run(&cx),
            Command::Route(it) => it.run(&cx),
            Command::Halt(it) => it.run(&cx),
            Command::Continue(it) => it.run(&cx),
            Command::Skip(it) => it.run(&cx),
            Command::Retry(it) => it.run(&cx),
            Command::Adopt(it) => it.run(&cx),
            Command::Repair(it) => it.run(&cx),
            Command::Switch(it) => it.run(&cx),
            Command::Takeover(it) => it.run(&cx),
            Command::Failback(it) => it.run(&cx),
            Command::Breaker(it) => it.run(&cx),
            Command::Journal(it) => it.run(&cx),
            Command::Completions(it) => it.run(),
            Command::Man(it) => it.run(),
        }
    }
}

/// The reason in the journal where nobody gave one.
const NO_REASON: &str = "no reason given";

/// What every command may need.
#[derive(Clone, Debug)]
pub(crate) struct Cx {
    pub(crate) state: PathBuf,
    /// The same, if it was named on the command line or in the environment.
    pub(crate) named_state: Option<PathBuf>,
    pub(crate) look: Look,
}

impl Cx {
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.state)
    }

    /// Gives a command to the agent and says what was recorded and `next`.
    fn give(&self, command: &api::Command, json: bool, next: &str) -> Result<Answer, Failure> {
        let accepted = self.client().command(command)?;
        if json {
            say_json(&accepted)?;
        } else {
            say(&format!("recorded as {}\n{next}\n", accepted.seq))?;
        }
        Ok(Answer::Yes)
    }
}

/// The command line, with its commands in groups.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    let mut list = String::new();
    for (group, names) in GROUPS {
        let known: Vec<_> = names.iter().filter_map(|name| command.find_subcommand(name)).collect();
        if known.is_empty() {
            continue;
        }
        let _infallible = writeln!(list, "{group}:");
        for one in known {
            let about = one.get_about().map(ToString::to_string).unwrap_or_default();
            let _infallible = writeln!(list, "  {:<12} {about}", one.get_name());
        }
        list.push('\n');
    }
    let template = format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}{{after-help}}\n");
    Cli::command().help_template(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_stands_in_one_group() {
        for sub in Cli::command().get_subcommands().filter(|it| !it.is_hide_set()) {
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&sub.get_name())).count();
            assert_eq!(groups, 1, "{}", sub.get_name());
        }
    }

    /// What people are told to type can be typed.
    #[test]
    fn every_way_out_is_a_command() {
        let recovery = mainstay_engine::RecoveryId(17);
        let waits = mainstay_engine::reasons::waits();
        let refusals = mainstay_engine::reasons::refusals();
        let ways = waits.iter().map(|it| it.way_out(recovery)).chain(refusals.iter().map(|it| it.way_out()));
        for way_out in ways {
            // `--outcome done|not-done` is one word out of two.
            let (before, last) = way_out.rsplit_once(' ').unwrap_or(("", &way_out));
            for last in last.split('|') {
                let words = before.split(' ').chain([last]).filter(|it| !it.is_empty());
                let parsed = command().try_get_matches_from(words);
                assert!(parsed.is_ok(), "`{way_out}`: {}", parsed.expect_err("it is none"));
            }
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set()) {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:\n  mainstay "), "{}", sub.get_name());
                walk(sub);
            }
        }
        walk(&Cli::command());
    }
}
