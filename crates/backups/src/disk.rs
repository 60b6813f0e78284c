//! Files that are there whole or not at all, and belong to whom their folder belongs.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, Gid, Mode, OFlags, RenameFlags, Uid, chownat, openat};
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

/// A file that belongs to the owner of `folder`. A symbolic link of its name is refused: the owner may have put it there, and root would write to
/// where it leads.
pub(crate) fn owned(folder: &Path, path: &Path, how: &OpenOptions) -> io::Result<File> {
    let file = how.clone().custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    give(&fs::metadata(folder)?, &file)?;
    Ok(file)
}

/// Gives an open file to the owner of a folder: root makes things there for others.
fn give(owner: &Metadata, file: &File) -> io::Result<()> {
    if is_theirs(owner, &file.metadata()?) { Ok(()) } else { fchown(file, Some(owner.uid()), Some(owner.gid())) }
}

/// Whether there is nothing to give away, or nobody who could.
fn is_theirs(owner: &Metadata, has: &Metadata) -> bool {
    (owner.uid(), owner.gid()) == (has.uid(), has.gid()) || !rustix::process::geteuid().is_root()
}

/// Gives everything below `path`, and that, to the owner of `folder`, and to nobody else. No symbolic link is followed: one that is found is
/// given away itself.
pub(crate) fn own_all(folder: &Path, path: &Path) -> io::Result<()> {
    own_below(&fs::metadata(folder)?, File::from(openat(CWD, path, AS_IT_IS, Mode::empty())?))
}

/// How something is opened of which nobody knows what it is.
const AS_IT_IS: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn own_below(owner: &Metadata, at: File) -> io::Result<()> {
    let is_dir = at.metadata()?.is_dir();
    give(owner, &at)?;
    at.set_permissions(Permissions::from_mode(if is_dir { 0o700 } else { 0o600 }))?;
    if !is_dir {
        return Ok(());
    }
    for entry in Dir::read_from(&at)? {
        let entry = entry?;
        let name = entry.file_name();
        if [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        match openat(&at, name, AS_IT_IS, Mode::empty()) {
            Ok(below) => own_below(owner, below.into())?,
            Err(Errno::LOOP) if rustix::process::geteuid().is_root() => {
                let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
                chownat(&at, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Err(Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
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
    let owner = fs::metadata(folder)?;
    if !is_theirs(&owner, &fs::symlink_metadata(path)?) {
        lchown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
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
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o777
    }

    #[test]
    fn what_is_given_away_leads_nowhere_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (elsewhere, data) = (dir.path().join("elsewhere"), dir.path().join("to/data"));
        fs::create_dir_all(data.join("base")).expect("made");
        for (path, has) in [(&elsewhere, 0o644), (&data.join("base/1"), 0o644), (&data.join("base"), 0o755)] {
            if !path.exists() {
                fs::write(path, "as it was").expect("written");
            }
            fs::set_permissions(path, Permissions::from_mode(has)).expect("set");
        }
        symlink(&elsewhere, data.join("link")).expect("made");
        symlink(dir.path(), data.join("base/out")).expect("made");
        own_all(&dir.path().join("to"), &data).expect("given");
        assert_eq!((mode(&data), mode(&data.join("base")), mode(&data.join("base/1"))), (0o700, 0o700, 0o600));
        assert_eq!(mode(&elsewhere), 0o644, "that is not ours");
        assert!(own_all(&dir.path().join("to"), &data.join("link")).is_err());
        assert_eq!(mode(&elsewhere), 0o644);
    }
}
