//! The program as its users meet it: what it prints, where, and its exit code.

mod agent;
mod assess;
mod check;
mod enroll;
mod explain;
#[path = "../support/golden.rs"]
mod golden;
mod help;
mod journal;
mod plan;
mod planes;
#[path = "../support/samples.rs"]
mod samples;
mod simulate;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `mainstay`, with nothing of the surroundings that would change what it prints.
fn mainstay(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.args(args).stdin(Stdio::null()).env_remove("MAINSTAY_STATE").env_remove("COLUMNS");
    command
}

/// What it says on a state directory.
fn on(state: &Path, args: &[&str]) -> Said {
    mainstay(args).env("MAINSTAY_STATE", state).output().expect("it starts").into()
}

/// What it says in a directory.
fn within(dir: &Path, args: &[&str]) -> Said {
    mainstay(args).current_dir(dir).output().expect("it starts").into()
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).expect("its output is text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Exactly this on standard error, nothing on standard output.
    #[track_caller]
    fn fails(&self, code: i32, err: &str) {
        assert_eq!((self.code, self.err.as_str(), self.out.as_str()), (Some(code), err, ""));
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
