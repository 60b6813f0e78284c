//! Replacing an authority while its hosts go on: the next one is trusted beside it, then signs, then is alone.
//!
//! Each step is done when every host has renewed its certificate since, and so has what the next step takes for granted. The
//! agent sees each step without a restart.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::authority::{AUTHORITY, Authority, AuthorityError, Keys, make};
use super::files::{self, FileError};
use super::wall::after;

const NEXT: &str = "authority-next.pem";

/// A step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// There is a next authority, which hosts learn to trust as they renew.
    Begun,
    /// The next authority signs; the old one is still trusted.
    Switched,
    /// The old one is trusted no more.
    Finished,
}

/// Why a step is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// Hosts would be lost.
    #[error("{} not renewed since the last step: {}", if hosts.len() == 1 { "a host has" } else { "some hosts have" }, hosts.join(", "))]
    Waits {
        /// Which.
        hosts: Vec<String>,
    },
    /// A file can't be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl From<FileError> for RotateError {
    fn from(error: FileError) -> RotateError {
        RotateError::Authority(error.into())
    }
}

impl Authority {
    /// Takes the next step. With `regardless` hosts that are not ready are left behind: they must join again.
    pub fn rotate(&self, regardless: bool) -> Result<Rotation, RotateError> {
        let _alone = files::lock(self.pki())?;
        let next_file = self.pki().join(NEXT);
        let authority_file = self.pki().join(AUTHORITY);
        let keys = self.keys();
        let next = match Keys::read(&next_file) {
            // Somebody stopped between the switch and this.
            Ok(next) if next.fingerprint == keys.fingerprint => {
                remove(&next_file)?;
                return Ok(Rotation::Switched);
            }
            Ok(next) => Some(next),
            Err(FileError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (step, text) = match next {
            None if keys.trusted.len() > 1 => {
                self.ready(regardless, |it| it.by.as_deref() == Some(keys.fingerprint.to_string().as_str()))?;
                (Rotation::Finished, keys.text(&keys.trusted[..1]))
            }
            // Also where somebody stopped before hosts could learn of it.
            next if next.as_ref().is_none_or(|it| !keys.trusted.contains(&it.trusted[0])) => {
                make(&next_file, self.site(), self.terms(), self.wall())?;
                let next = Keys::read(&next_file)?;
                (Rotation::Begun, keys.text(&[&keys.trusted[..], &next.trusted[..]].concat()))
            }
            None => return Err(FileError::Missing { path: next_file }.into()),
            Some(next) => {
                let begun = after(next.from, self.terms().backdated);
                self.ready(regardless, |it| it.signed > begun)?;
                let old: Vec<_> = keys.trusted.iter().filter(|it| **it != next.trusted[0]).cloned().collect();
                (Rotation::Switched, next.text(&[&next.trusted[..], &old[..]].concat()))
            }
        };
        files::write_secret(&authority_file, &text)?;
        // The agent shows whom it is signed by, and trusts what is trusted now.
        let gate = self.gate()?;
        self.sign_agent(&gate.identity().addresses()?)?;
        if step == Rotation::Switched {
            remove(&next_file)?;
        }
        Ok(step)
    }

    /// Refuses unless the newest certificate of every host that still has one is like this.
    fn ready(&self, regardless: bool, is_ready: impl Fn(&super::Given) -> bool) -> Result<(), RotateError> {
        let now: Timestamp = self.now();
        let lives = |it: &&super::Given| it.revoked.is_none() && it.until >= now;
        let mut hosts = Vec::new();
        for enrolled in self.register().all()? {
            if enrolled.certificates.iter().rfind(lives).is_some_and(|it| !is_ready(it)) {
                hosts.push(enrolled.host);
            }
        }
        if hosts.is_empty() || regardless { Ok(()) } else { Err(RotateError::Waits { hosts }) }
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path).map_err(|it| FileError::io(path, it))?;
    files::sync_directory_of(path)
}
