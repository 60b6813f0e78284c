//! Who runs the servers: whoever runs this program, unless that is root, whom PostgreSQL refuses.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Owner(Option<User>);

#[derive(Clone, Debug)]
struct User {
    name: String,
    user: u32,
    group: u32,
}

impl Owner {
    /// The packages' own user, if we are root.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of_servers() -> Result<Owner, String> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Owner(None));
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|it| format!("/etc/passwd: {it}"))?;
        let of = |name: &str| users.lines().find_map(|it| user(it).filter(|it| it.name == name));
        let found = of("postgres").or_else(|| of("nobody"));
        found.map(|it| Owner(Some(it))).ok_or_else(|| "no user `postgres` to run a server as".to_owned())
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|it| it.name.as_str())
    }

    /// Gives a file or a folder to that user.
    pub(crate) fn take(&self, path: &Path) {
        if let Some(user) = &self.0 {
            chown(path, Some(user.user), Some(user.group)).expect("root may give it away");
        }
    }

    /// A program run as that user, in a group of its own: Ctrl-C at the test is not meant for it.
    pub(crate) fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).current_dir("/");
        if let Some(user) = &self.0 {
            command.uid(user.user).gid(user.group);
        }
        command
    }
}

/// A line of passwd(5).
fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let mut number = |nth| fields.nth(nth).and_then(|it| it.parse().ok());
    Some(User { name, user: number(1)?, group: number(0)? })
}
