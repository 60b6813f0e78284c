//! What stands in files that may change while they are used. What was good last is used until there is something better: a
//! renewal that went wrong takes nobody off the air.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use crate::trouble::Trouble;

/// How often it is looked whether files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than anything that belongs into such a file.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Something that is made of files.
pub trait Kept: Clone + PartialEq + Send + Sync + 'static {
    /// What is made of them.
    type Content: Send + Sync + 'static;

    /// What it is, for people.
    const WHAT: &str;

    /// The files.
    fn files(&self) -> Vec<&Path>;

    /// Makes it of what is in the files, in their order.
    ///
    /// # Errors
    ///
    /// Why they can't be used, with the file's name and nothing that is in it.
    fn make(&self, contents: &[Vec<u8>]) -> Result<Self::Content, String>;
}

/// What is used now: `None` before it was looked for the first time, `Some(None)` where nothing good was ever found.
type Newest<K> = Option<Option<Arc<<K as Kept>::Content>>>;

/// Looks at the files, whenever it is told to.
pub struct Keeper<K: Kept> {
    newest: watch::Sender<Newest<K>>,
    /// What is used, and as what its files were found.
    read: Option<(K, Vec<Print>)>,
}

impl<K: Kept> Default for Keeper<K> {
    fn default() -> Keeper<K> {
        Keeper { newest: watch::Sender::new(None), read: None }
    }
}

impl<K: Kept> Keeper<K> {
    /// For those who use it.
    pub fn shown(&self) -> Shown<K> {
        Shown(self.newest.subscribe())
    }

    /// Takes up what is wanted and every later change of it, for as long as it is polled. What can't be used is a trouble;
    /// `otherwise` says what then becomes of those who need it, where nothing good was found before.
    pub async fn follow(
        mut self,
        wanted: impl Fn() -> Option<K>,
        trouble: &Trouble,
        about: &str,
        otherwise: &str,
    ) -> Infallible {
        let note = Note { trouble, about: format!("{about} {}", K::WHAT) };
        loop {
            match wanted() {
                None => trouble.clear(&note.about),
                Some(kept) => match self.look(&kept).await {
                    Ok(is_new) => {
                        trouble.clear(&note.about);
                        if is_new {
                            let file = kept.files().first().map(|it| it.display().to_string());
                            info!(file, "{about}: {} taken", K::WHAT);
                        }
                    }
                    Err(reason) => {
                        let then = if self.read.is_some() { "the one before is still used" } else { otherwise };
                        trouble.note(&note.about, format!("{about}: {reason}; {then}"));
                    }
                },
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Reads the files, if they are not as they were found last. `true`: there is something new.
    ///
    /// # Errors
    ///
    /// Why they can't be used. What was used before still is; they are read again next time.
    async fn look(&mut self, kept: &K) -> Result<bool, String> {
        let (wanted, known) = (kept.clone(), self.read.clone());
        let read = move || {
            let prints = wanted.files().into_iter().map(Print::of).collect::<Result<Vec<_>, _>>()?;
            if known.is_some_and(|(kept, known)| kept == wanted && known == prints) {
                return Ok(None);
            }
            let contents = wanted.files().into_iter().map(content).collect::<Result<Vec<_>, _>>()?;
            Ok(Some((wanted.make(&contents)?, prints)))
        };
        let read = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(error.to_string()));
        match read {
            Ok(None) => Ok(false),
            Ok(Some((made, prints))) => {
                self.read = Some((kept.clone(), prints));
                self.newest.send_replace(Some(Some(Arc::new(made))));
                Ok(true)
            }
            Err(reason) => {
                self.newest.send_if_modified(|it| it.is_none() && it.insert(None).is_none());
                Err(reason)
            }
        }
    }
}

/// Its trouble, which is over when nobody follows any more.
struct Note<'a> {
    trouble: &'a Trouble,
    about: String,
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.trouble.clear(&self.about);
    }
}

/// What a [`Keeper`] has found.
pub struct Shown<K: Kept>(watch::Receiver<Newest<K>>);

impl<K: Kept> Clone for Shown<K> {
    fn clone(&self) -> Shown<K> {
        Shown(self.0.clone())
    }
}

impl<K: Kept> fmt::Debug for Shown<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::WHAT)
    }
}

impl<K: Kept> Shown<K> {
    /// What is used. Waits until it was looked for; `None`: nothing good was ever found.
    pub async fn newest(&mut self) -> Option<Arc<K::Content>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone().flatten()
    }

    /// What is used at the moment, if there is something.
    pub fn now(&self) -> Option<Arc<K::Content>> {
        self.0.borrow().clone().flatten()
    }
}

/// By which a file is known again: another content in its place shows in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    path: PathBuf,
    device_and_number: [u64; 2],
    size: u64,
    times: [i64; 4],
}

impl Print {
    fn of(path: &Path) -> Result<Print, String> {
        let it = look_at(path).map_err(|error| of(path, &error))?;
        let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
        Ok(Print { path: path.to_owned(), device_and_number: [it.dev(), it.ino()], size: it.size(), times })
    }
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = look_at(path).and_then(|_| File::open(path)?.take(FILE_MAX_BYTES).read_to_end(&mut bytes));
    read.map_err(|error| of(path, &error))?;
    Ok(bytes)
}

/// A pipe or a device may never end.
fn look_at(path: &Path) -> io::Result<Metadata> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() { Ok(metadata) } else { Err(io::Error::other("it is no ordinary file")) }
}

/// What is wrong with a file.
pub fn of(path: &Path, why: &dyn fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use mainstay_plan::TlsFiles;

    use super::*;

    /// A certificate for `name` and its key, written to these files.
    fn write(files: &TlsFiles, name: &str) {
        let (cert, key) = made(name);
        fs::write(&files.cert_file, cert).expect("written");
        fs::write(&files.key_file, key).expect("written");
    }

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[tokio::test]
    async fn a_change_is_taken_and_what_is_broken_leaves_the_last_good_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = TlsFiles { cert_file: dir.path().join("cert.pem"), key_file: dir.path().join("key.pem") };
        let mut keeper = Keeper::default();
        let missing = keeper.look(&files).await.expect_err("there is no file");
        assert!(missing.starts_with(&format!("{}: ", files.cert_file.display())), "{missing}");
        assert!(keeper.shown().newest().await.is_none());

        write(&files, "a.example");
        assert_eq!(keeper.look(&files).await, Ok(true));
        assert_eq!(keeper.look(&files).await, Ok(false), "nothing has changed");
        let first = keeper.shown().newest().await.expect("shown");

        let (_, other_key) = made("b.example");
        for (path, text, says) in [
            (&files.key_file, other_key.as_str(), "is not for the key in"),
            (&files.key_file, "", "no private key in it"),
            (&files.cert_file, "no PEM at all", "no certificate in it"),
            (&files.cert_file, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "cert.pem: "),
        ] {
            write(&files, "a.example");
            fs::write(path, text).expect("written");
            let broken = keeper.look(&files).await.expect_err("broken");
            assert!(broken.contains(says), "{broken}");
            let still = keeper.shown().newest().await.expect("shown");
            assert!(Arc::ptr_eq(&first, &still), "{broken}");
        }
        write(&files, "a.example");
        assert_eq!(keeper.look(&files).await, Ok(true));
        assert!(!Arc::ptr_eq(&first, &keeper.shown().now().expect("shown")));
    }

    #[tokio::test]
    async fn a_link_that_leads_elsewhere_is_a_change_and_one_file_may_hold_both() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("both.pem");
        let files = TlsFiles { cert_file: link.clone(), key_file: link.clone() };
        let mut keeper = Keeper::default();
        for name in ["a.example", "b.example"] {
            let (cert, key) = made(name);
            fs::write(dir.path().join(name), cert + &key).expect("written");
            let _ = fs::remove_file(&link);
            symlink(dir.path().join(name), &link).expect("linked");
            assert_eq!(keeper.look(&files).await, Ok(true));
            assert_eq!(keeper.look(&files).await, Ok(false));
        }
        let _ = fs::remove_file(&link);
        symlink("/dev/zero", &link).expect("linked");
        assert!(keeper.look(&files).await.expect_err("a device").contains("no ordinary file"));
    }
}
