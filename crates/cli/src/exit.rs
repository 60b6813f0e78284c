//! How a command ends: the exit codes, and what a person is told when it is not a plain yes.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// What a command that worked has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Exit code 0.
    Yes,
    /// Exit code 1: a finding of severity error, a component that is down, a change in the journal.
    No,
    /// The exit code of a program that it ran.
    Of(u8),
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Answer {
        if yes { Answer::Yes } else { Answer::No }
    }
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::Yes => 0,
            Answer::No => 1,
            Answer::Of(code) => code,
        })
    }
}

/// Why a command did not work. A script tells them apart by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The answer is no, and there is nothing to show for it but the reason.
    No,
    /// The command line or a file is wrong.
    Usage,
    /// The agent, or a store, can't be reached.
    Unreachable,
    /// A guard, or the state of things, forbids it.
    Refused,
    /// Nobody reads our output any more; what a shell shows for a program that SIGPIPE ended.
    BrokenPipe,
}

impl Code {
    const fn number(self) -> u8 {
        match self {
            Code::No => 1,
            Code::Usage => 2,
            Code::Unreachable => 3,
            Code::Refused => 4,
            Code::BrokenPipe => 141,
        }
    }
}

/// A command that did not work: what, where and why in `message`, what to do in `help`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), help: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, message)
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Failure {
        Failure::new(Code::Unreachable, message)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// Our own output can't be written.
    pub(crate) fn output(error: &io::Error) -> Failure {
        let code = if error.kind() == ErrorKind::BrokenPipe { Code::BrokenPipe } else { Code::Unreachable };
        Failure::new(code, format!("can't write the output: {error}"))
    }

    /// Says it on standard error, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.code != Code::BrokenPipe {
            note(&self.to_string());
        }
        ExitCode::from(self.code.number())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message.trim_end().replace('\n', "\n       "))?;
        match &self.help {
            Some(help) => writeln!(f, "help: {}", help.trim_end().replace('\n', "\n      ")),
            None => Ok(()),
        }
    }
}

/// Says something on standard error. That nobody listens there is no reason to fail.
pub(crate) fn note(text: &str) {
    let _closed = io::stderr().lock().write_all(text.as_bytes());
}

/// An error and everything that caused it, on one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_what_to_do() {
        let failure = Failure::usage("there is no file `x`").help("create it\nwith `mainstay init x`");
        assert_eq!(failure.to_string(), "error: there is no file `x`\nhelp: create it\n      with `mainstay init x`\n");
    }
}
