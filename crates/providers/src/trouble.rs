//! Whose trouble an error is: ours, or that of whom we asked.
//!
//! The difference decides whether a component counts as down. Only errors that are known to come from the other side
//! count against it; everything else, the unheard-of included, is *could not ask*.

use std::io;

use mainstay_plan::observation::Answer;
use rustix::io::Errno;

/// The longest text in an answer, in characters.
const MAX_TEXT: usize = 200;

/// What an error while connecting, sending or receiving says about the other side.
pub(crate) fn answer(doing: &str, error: &io::Error) -> Answer {
    let text = || clip(&format!("{doing}: {}", describe(error)));
    match Errno::from_io_error(error) {
        Some(Errno::TIMEDOUT) => Answer::TimedOut,
        Some(
            Errno::CONNREFUSED
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::PIPE
            | Errno::NOTCONN
            | Errno::NETRESET
            | Errno::HOSTUNREACH
            | Errno::HOSTDOWN,
        ) => Answer::Refused(text()),
        Some(_) => Answer::CouldNotAsk(text()),
        // No number: made up by a library from what the other side sent, or from its closing the connection.
        None => Answer::Refused(text()),
    }
}

/// The system's words for an error without "(os error 111)".
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// One short line without control characters: texts come from outside and end on screens and in the journal.
pub(crate) fn clip(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT + 1).collect();
    if line.chars().count() > MAX_TEXT {
        line = line.chars().take(MAX_TEXT - 1).collect();
        line.push('…');
    }
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> Answer {
        answer("connecting", &io::Error::from(errno))
    }

    #[test]
    fn our_own_shortages_are_never_the_fault_of_the_other_side() {
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
            Errno::NETUNREACH,
            Errno::NETDOWN,
            Errno::ACCESS,
            Errno::PERM,
            Errno::AGAIN,
            Errno::AFNOSUPPORT,
            Errno::INVAL,
            Errno::IO,
        ] {
            assert!(matches!(of(errno), Answer::CouldNotAsk(_)), "{errno}");
        }
    }

    #[test]
    fn what_the_other_side_did_counts_against_it() {
        for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::PIPE, Errno::HOSTUNREACH, Errno::HOSTDOWN] {
            assert!(matches!(of(errno), Answer::Refused(_)), "{errno}");
        }
        assert_eq!(of(Errno::TIMEDOUT), Answer::TimedOut);
        assert!(matches!(answer("reading", &io::ErrorKind::UnexpectedEof.into()), Answer::Refused(_)));
    }

    #[test]
    fn texts_are_short_lines() {
        assert_eq!(of(Errno::CONNREFUSED), Answer::Refused("connecting: connection refused".to_owned()));
        assert_eq!(clip("a\nb\x1b[31mc"), "a b [31mc");
        assert_eq!(clip(&"x".repeat(5000)).chars().count(), MAX_TEXT);
    }
}
