//! Files that are there whole or not at all, and belong to whom their folder belongs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

/// Numbers what this process has under way.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name beside `path` that nobody else uses, and that says by its `.` that it is not whole.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let machine = rustix::system::uname().nodename().to_string_lossy().replace('/', "-");
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{machine}-{}-{nth}", std::process::id()))
}

/// A file that belongs to the owner of `folder`.
pub(crate) fn owned(folder: &Path, path: &Path, how: &OpenOptions) -> io::Result<File> {
    let file = how.open(path)?;
    give(folder, path)?;
    Ok(file)
}

/// Gives `path` to the owner of `folder`: root makes things there for others.
pub(crate) fn give(folder: &Path, path: &Path) -> io::Result<()> {
    let (owner, has) = (fs::metadata(folder)?, fs::metadata(path)?);
    if (owner.uid(), owner.gid()) == (has.uid(), has.gid()) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Gives everything below `path`, and that, to the owner of `folder`, and to nobody else.
pub(crate) fn own_all(folder: &Path, path: &Path) -> io::Result<()> {
    let mut left = vec![path.to_owned()];
    while let Some(at) = left.pop() {
        let is_dir = fs::symlink_metadata(&at)?.is_dir();
        give(folder, &at)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
        if is_dir {
            for entry in fs::read_dir(&at)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Makes a folder below `folder`, if it is not there.
pub(crate) fn folder(folder: &Path, path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    give(folder, path)?;
    sync(folder)
}

/// Makes a file as `write` fills it: beside, synced, renamed. `false`: there is one of that name already, and it was left as it is.
pub(crate) fn make(folder: &Path, path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<bool> {
    let temporary = beside(path);
    let made = (|| {
        let file = owned(folder, &temporary, File::options().write(true).create_new(true))?;
        write(&file)?;
        file.sync_all()?;
        rename_new(&temporary, path)
    })();
    if !matches!(made, Ok(true)) {
        // What is left of it is removed with other leftovers, should this fail.
        let _left = fs::remove_file(&temporary);
    }
    if let Some(parent) = path.parent() {
        sync(parent)?;
    }
    made
}

/// Renames, unless something of that name is there: `false`.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // A file system that can't: two who come at the same moment with the same name are told apart by nobody there.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !to.exists() => fs::rename(from, to).map(|()| true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes what stands in a folder's list outlive a power cut.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes everything below a folder outlive a power cut. Gives how many files and bytes it holds.
pub(crate) fn sync_all(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut left = vec![folder.to_owned()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                let file = File::open(entry.path())?;
                file.sync_all()?;
                files += 1;
                bytes += file.metadata()?.len();
            }
        }
        sync(&at)?;
    }
    Ok((files, bytes))
}
