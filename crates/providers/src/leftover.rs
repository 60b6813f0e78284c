//! Processes of an order whose beginner is gone.
//!
//! Whatever an action runs carries the order's idempotency key in its environment, and so does what that runs. Processes of
//! another user can't be looked into; those of them that are in the session of whoever had begun the order may be of it.

use std::fs;
use std::io;

use crate::action::IDEMPOTENCY_KEY_VARIABLE;

/// A process that is of the order with this key, or may be.
///
/// # Errors
/// The list of processes can't be read.
pub(crate) fn of(key: &str, session: Option<i32>) -> io::Result<Option<String>> {
    let carried = format!("{IDEMPOTENCY_KEY_VARIABLE}={key}");
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
        let is_of_it = match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environ) => environ.split(|byte| *byte == 0).any(|it| it == carried.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                session.is_some() && session_of(pid) == session
            }
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

/// Field 6 of `/proc/PID/stat` (proc_pid_stat(5)).
fn session_of(pid: u32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(3)?.parse().ok()
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
        while session_of(child.id()) != Some(pid) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it has no session of its own");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().and_then(|()| child.wait().map(drop)).expect("it ends");
    }
}
