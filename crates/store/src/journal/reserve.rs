//! The reserve: disk space set aside while there is some, given up when the disk is full.
//!
//! It is a file of real blocks, not of a length alone. What is freed by removing it is what a recovery needs to record
//! its steps.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sqlite::sync_directory;

const RESERVE_FILE: &str = "reserve";
const BLOCK_BYTES: u64 = 512;

/// See the module.
#[derive(Debug)]
pub(super) struct Reserve {
    directory: PathBuf,
    path: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// A reserve of `bytes` in `directory`, not made yet.
    pub(super) fn new(directory: &Path, bytes: u64) -> Self {
        Self { directory: directory.to_owned(), path: directory.join(RESERVE_FILE), bytes, held: false }
    }

    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Gives up a reserve that an earlier process has left; `false` when there was none.
    pub(super) fn release_left(&mut self) -> bool {
        self.held = self.path.exists();
        self.release()
    }

    /// Makes the reserve where there is none. Leaves nothing behind when there is no space for it.
    pub(super) fn make(&mut self) -> io::Result<()> {
        if self.held || self.bytes == 0 {
            return Ok(());
        }
        if fs::metadata(&self.path)
            .is_ok_and(|file| file.len() == self.bytes && file.blocks() * BLOCK_BYTES >= self.bytes)
        {
            self.held = true;
            return Ok(());
        }
        if let Err(error) = self.allocate() {
            self.remove()?;
            return Err(error);
        }
        self.held = true;
        Ok(())
    }

    /// Makes the reserve again, only where as much space again would be left: a reserve that takes the last block is
    /// given up at the next commit.
    pub(super) fn make_if_roomy(&mut self) -> io::Result<()> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        if !self.held && disk.f_bavail.saturating_mul(disk.f_frsize) < self.bytes.saturating_mul(2) {
            return Ok(());
        }
        self.make()
    }

    /// Gives the reserve up; `false` when there was none to give.
    pub(super) fn release(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        held && self.remove().is_ok()
    }

    fn allocate(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&file, flags, 0, self.bytes) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill(&file, self.bytes)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        sync_directory(&self.directory)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    static CHUNK: [u8; 65_536] = [0xA5; 65_536];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK.len() as u64);
        file.write_all(&CHUNK[..usize::try_from(length).unwrap_or(CHUNK.len())])?;
        left -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_real_blocks_and_gives_them_up_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut reserve = Reserve::new(dir.path(), 256 * 1024);
        reserve.make().expect("there is space");
        let blocks = fs::metadata(dir.path().join(RESERVE_FILE)).expect("exists").blocks();
        assert!(blocks * BLOCK_BYTES >= 256 * 1024, "{blocks} blocks");
        assert!(reserve.release());
        assert!(!dir.path().join(RESERVE_FILE).exists());
        assert!(!reserve.release());
    }

    #[test]
    fn a_hole_is_no_reserve() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(RESERVE_FILE);
        File::create(&path).and_then(|file| file.set_len(256 * 1024)).expect("a sparse file");
        Reserve::new(dir.path(), 256 * 1024).make().expect("there is space");
        assert!(fs::metadata(&path).expect("exists").blocks() * BLOCK_BYTES >= 256 * 1024);
    }

    #[test]
    fn leaves_nothing_behind_without_space() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut reserve = Reserve::new(dir.path(), u64::MAX / 4);
        reserve.make().expect_err("no disk is that large");
        assert!(!reserve.held());
        assert!(!dir.path().join(RESERVE_FILE).exists());
    }
}
