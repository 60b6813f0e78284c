//! Processes of an order whose beginner is gone.
//!
//! Whatever an action runs carries the order's idempotency key in its environment, and so does what that runs. Processes of
//! another user can't be looked into; those of them that are in the session of whoever had begun the order, and are no older
//! than that, may be of it.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::action::IDEMPOTENCY_KEY_VARIABLE;

/// A process that begins orders, as others see what it left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginner {
    /// Its session. 0 if that began outside the process namespace, as in a container.
    pub session: i32,
    /// When it was started, in clock ticks since the machine was.
    pub since: u64,
}

impl Beginner {
    /// This process.
    pub fn this() -> Option<Beginner> {
        let Stat { session, since, .. } = Stat::of(std::process::id())?;
        Some(Beginner { session, since })
    }

    /// Whether that process may have been begun by it, or by what it began.
    fn may_have_begun(&self, stat: &Stat) -> bool {
        stat.session == self.session && stat.since >= self.since
    }
}

/// A process that is of the order with this key, or may be.
///
/// # Errors
/// The list of processes can't be read.
pub(crate) fn of(key: &str, begun_by: Option<Beginner>) -> io::Result<Option<String>> {
    let carried = format!("{IDEMPOTENCY_KEY_VARIABLE}={key}");
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
        let is_of_it = match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environ) => environ.split(|byte| *byte == 0).any(|it| it == carried.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => begun_by
                .zip(Stat::of(pid))
                .is_some_and(|(beginner, stat)| !stat.has_ended && beginner.may_have_begun(&stat)),
            // It has ended meanwhile.
            Err(_) => false,
        };
        if is_of_it {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Ok(Some(format!("{} (process {pid})", command.trim())));
        }
    }
    Ok(None)
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
struct Stat {
    /// Nobody has asked how it ended. Field 3.
    has_ended: bool,
    /// Field 6.
    session: i32,
    /// Field 22.
    since: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it may hold blanks and parentheses.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        Some(Stat { has_ended, session: fields.nth(2)?.parse().ok()?, since: fields.nth(15)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_an_order_has_left_running_is_found_by_its_key() {
        let key = format!("key-of-{}", std::process::id());
        assert_eq!(of(&key, None).expect("the list"), None);
        let mut child = Command::new("/bin/cat")
            .env(IDEMPOTENCY_KEY_VARIABLE, &key)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let found = of(&key, None).expect("the list").expect("it runs");
        assert_eq!(found, format!("cat (process {})", child.id()));
        assert_eq!(of(&format!("{key}0"), None).expect("the list"), None, "another order's");
        child.kill().and_then(|()| child.wait().map(drop)).expect("it ends");
        assert_eq!(of(&key, None).expect("the list"), None);
    }

    #[test]
    fn the_session_of_a_process_is_known() {
        let mut child = Command::new("setsid").arg("/bin/cat").stdin(Stdio::piped()).spawn().expect("it starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        let begun = std::time::Instant::now();
        while Stat::of(child.id()).map(|it| it.session) != Some(pid) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it has no session of its own");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().and_then(|()| child.wait().map(drop)).expect("it ends");
    }

    #[test]
    fn what_is_older_than_the_beginner_or_in_another_session_is_not_of_it() {
        let this = Beginner::this().expect("it runs");
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().expect("it starts");
        let stat = Stat::of(child.id()).expect("it runs");
        assert!(this.may_have_begun(&stat));
        assert!(!Beginner { since: stat.since + 1, ..this }.may_have_begun(&stat));
        assert!(!Beginner { session: this.session + 1, ..this }.may_have_begun(&stat));
        child.kill().expect("it ends");
        let begun = std::time::Instant::now();
        while !Stat::of(child.id()).expect("nobody has asked").has_ended {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it was killed");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().expect("it has ended");
    }
}
