//! What the agent keeps about its hosts: which certificates they were given, and which were taken back.
//!
//! One file a host. The command line changes it while the agent runs; the agent looks again for each connection. What can't
//! be read counts as what it was when it could be.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{self, FileError};
use super::live::{Version, version};
use super::peer::{Peer, Serial};
use super::refusal::Refusal;

/// The hosts of a site, in a directory.
#[derive(Debug)]
pub struct Register {
    directory: PathBuf,
    /// What was read, and of which version of the file.
    seen: Mutex<BTreeMap<String, (Version, Arc<Enrolled>)>>,
}

/// A host that has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its name.
    pub host: String,
    /// Its certificates that have not ended, the newest last.
    pub certificates: Vec<Given>,
}

/// A certificate that was given to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its number.
    pub serial: Serial,
    /// When it was signed.
    pub signed: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// The fingerprint of the authority that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was taken back, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl Register {
    pub(super) fn open(pki: &Path) -> Result<Register, FileError> {
        let directory = pki.join("hosts");
        files::make_private(&directory)?;
        Ok(Register { directory, seen: Mutex::default() })
    }

    /// Whether a certificate was taken back.
    pub fn check(&self, peer: &Peer) -> Result<(), Refusal> {
        let claimed = peer.to_string();
        let enrolled = self
            .look(&peer.name)
            .map_err(|it| Refusal::Unreadable { claimed: claimed.clone(), what: it.to_string() })?;
        let given = enrolled.iter().flat_map(|it| &it.certificates).find(|it| it.serial == peer.serial);
        match given.and_then(|it| it.revoked) {
            Some(at) => Err(Refusal::Revoked { claimed, serial: peer.serial.clone(), at }),
            None => Ok(()),
        }
    }

    /// How many certificates a host has that have not ended.
    pub(super) fn live(&self, host: &str, now: Timestamp) -> usize {
        let enrolled = self.look(host).ok().flatten();
        enrolled.iter().flat_map(|it| &it.certificates).filter(|it| it.until >= now && it.revoked.is_none()).count()
    }

    /// All hosts, by name.
    pub fn all(&self) -> Result<Vec<Enrolled>, FileError> {
        let entries = fs::read_dir(&self.directory).map_err(|it| FileError::io(&self.directory, it))?;
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(|it| FileError::io(&self.directory, it))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(host) = name.strip_suffix(".json").filter(|it| !it.starts_with('.')) {
                all.extend(self.read(host)?);
            }
        }
        all.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(all)
    }

    /// Keeps a certificate before it is given away.
    pub(super) fn add(&self, host: &str, given: Given, now: Timestamp) -> Result<(), FileError> {
        let _alone = files::lock(&self.directory)?;
        let mut enrolled =
            self.read(host)?.unwrap_or_else(|| Enrolled { host: host.to_owned(), certificates: Vec::new() });
        enrolled.certificates.retain(|it| it.until >= now);
        enrolled.certificates.push(given);
        self.write(&enrolled)
    }

    /// Takes back all that a host was given; how many certificates that were.
    pub(super) fn revoke(&self, host: &str, now: Timestamp) -> Result<usize, FileError> {
        let _alone = files::lock(&self.directory)?;
        let Some(mut enrolled) = self.read(host)? else { return Ok(0) };
        let mut count = 0;
        for given in enrolled.certificates.iter_mut().filter(|it| it.revoked.is_none()) {
            given.revoked = Some(now);
            count += 1;
        }
        self.write(&enrolled)?;
        Ok(count)
    }

    /// Each host is looked up every second while it is connected, so a file that did not change is not read again.
    fn look(&self, host: &str) -> Result<Option<Arc<Enrolled>>, FileError> {
        let path = self.file(host);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match version(&path) {
            Ok(now) => now,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return known(&seen, host, FileError::io(&path, error)),
        };
        if let Some((version, enrolled)) = seen.get(host)
            && *version == now
        {
            return Ok(Some(Arc::clone(enrolled)));
        }
        match self.read(host) {
            Ok(Some(enrolled)) => {
                let enrolled = Arc::new(enrolled);
                seen.insert(host.to_owned(), (now, Arc::clone(&enrolled)));
                Ok(Some(enrolled))
            }
            Ok(None) => Ok(None),
            Err(error) => known(&seen, host, error),
        }
    }

    fn read(&self, host: &str) -> Result<Option<Enrolled>, FileError> {
        let path = self.file(host);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FileError::io(&path, error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|it| FileError::damaged(&path, it))
    }

    fn write(&self, enrolled: &Enrolled) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(enrolled).expect("names, numbers and dates can be written");
        files::write_private(&self.file(&enrolled.host), &(text + "\n"))
    }

    fn file(&self, host: &str) -> PathBuf {
        self.directory.join(format!("{host}.json"))
    }
}

/// What was read before, in place of what can't be read now.
fn known(
    seen: &BTreeMap<String, (Version, Arc<Enrolled>)>,
    host: &str,
    error: FileError,
) -> Result<Option<Arc<Enrolled>>, FileError> {
    seen.get(host).map(|it| Some(Arc::clone(&it.1))).ok_or(error)
}
