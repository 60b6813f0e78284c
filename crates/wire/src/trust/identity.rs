//! What one end shows, and whom it trusts: key, certificate and authorities in one file, so that they change together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::files::{self, FileError};
use super::live::Live;
use super::peer::{Peer, addresses};
use super::tls::{self, Believe};
use super::wall::Wall;

/// A key, its certificate, and the authorities that are trusted; read from one PEM file.
///
/// Clones share it. When the file was replaced, new connections show what it holds now; those that are open go on.
#[derive(Clone, Debug)]
pub struct Identity {
    wall: Wall,
    file: Arc<Live<Loaded>>,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) me: Peer,
    pub(super) shown: Arc<CertifiedKey>,
    pub(super) roots: Arc<RootCertStore>,
}

impl Identity {
    /// Reads the file that [`Authority`](super::Authority) or [`Joining`](super::Joining) wrote.
    pub fn load(path: &Path, wall: &Wall) -> Result<Identity, FileError> {
        Ok(Identity { wall: wall.clone(), file: Arc::new(Live::open(path, read)?) })
    }

    /// The identity of the host whose state directory this is.
    pub fn of_host(state: &Path, wall: &Wall) -> Result<Identity, FileError> {
        Identity::load(&host_file(state), wall)
    }

    /// Reads the file again. What it held before stays in use if it can't be read.
    pub fn reload(&self) -> Result<(), FileError> {
        self.file.reload()
    }

    /// For a new connection. A file that can't be used changes nothing.
    pub(super) fn newest(&self) -> Arc<Loaded> {
        self.file.newest()
    }

    /// Who this is, by its certificate.
    pub fn me(&self) -> Peer {
        self.current().me.clone()
    }

    /// Whether a new certificate is to be asked for now: a third of its time is left, or it was made under a clock that was wrong and
    /// begins later.
    pub fn is_due(&self) -> bool {
        let (now, loaded) = (self.wall.now(), self.current());
        now >= loaded.me.renew_from() || now < loaded.me.from
    }

    /// The file that it is read from.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The names and addresses in its certificate.
    pub(super) fn addresses(&self) -> Result<Vec<String>, FileError> {
        let loaded = self.current();
        let own = loaded.shown.end_entity_cert().map_err(|it| FileError::damaged(self.path(), it))?;
        Ok(addresses(own))
    }

    /// How the agent is known to this identity.
    pub(super) fn believes(&self) -> Believe {
        let loaded = self.current();
        Believe::Site { site: loaded.me.site.clone(), roots: Arc::clone(&loaded.roots) }
    }

    pub(super) fn wall(&self) -> &Wall {
        &self.wall
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        self.file.current()
    }
}

/// Where a host keeps its identity.
pub(super) fn host_file(state: &Path) -> PathBuf {
    state.join("pki/identity.pem")
}

/// The text of an identity's file.
pub(super) fn text(key: &str, certificate: &str, authorities: &str) -> String {
    let mut text = String::new();
    for part in [key, certificate, authorities] {
        text.push_str(part.trim_end());
        text.push('\n');
    }
    text
}

fn read(path: &Path) -> Result<Loaded, FileError> {
    if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        files::check_private(parent)?;
    }
    understand(&files::read_private(path)?, path)
}

/// `path` is where the text is, or will be.
pub(super) fn understand(text: &str, path: &Path) -> Result<Loaded, FileError> {
    let damaged = |what: &str| FileError::damaged(path, what);
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| damaged("it holds no private key"))?;
    let chain: Vec<CertificateDer<'static>> = (CertificateDer::pem_slice_iter(text.as_bytes()))
        .collect::<Result<_, _>>()
        .map_err(|it| FileError::damaged(path, it))?;
    let [own, authorities @ ..] = chain.as_slice() else {
        return Err(damaged("it holds no certificate"));
    };
    let me = Peer::of(own).map_err(|it| FileError::damaged(path, it))?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|it| FileError::damaged(path, it))?;
    }
    if roots.is_empty() {
        return Err(damaged("it holds no authority's certificate"));
    }
    let shown = CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|it| FileError::damaged(path, it))?;
    Ok(Loaded { me, shown: Arc::new(shown), roots: Arc::new(roots) })
}
