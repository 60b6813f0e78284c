//! Opening an SQLite file that is ours: which file it is, of which format, and how it is set up.
//!
//! Each file carries an application id and a format version in its header. A file without ours is somebody else's and
//! is left alone; a file of a newer format is refused, for an older program would misread it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

/// What tells one kind of our files from others.
pub(crate) struct Format {
    /// What a person calls such a file: `journal`, `cache`.
    pub(crate) name: &'static str,
    /// SQLite's `application_id`.
    pub(crate) application_id: i32,
    /// SQLite's `user_version`; grows when an older program could not read the file.
    pub(crate) version: i32,
    /// The statements that make an empty file one of ours.
    pub(crate) schema: &'static str,
}

/// Why one of the store's database files can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no such file.
    #[error("there is no {name} at {}", path.display())]
    Missing {
        /// What the file should have been: `journal` or `cache`.
        name: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a Mainstay {name}: {found}; it was left as it is", path.display())]
    Foreign {
        /// What the file should have been.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// A newer Mainstay wrote the file.
    #[error(
        "the {name} {} has format {found}, and this program knows formats up to {supported}: use the newer Mainstay that wrote it",
        path.display()
    )]
    Newer {
        /// What the file is.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The newest format that this program knows.
        supported: i32,
    },
    /// The operating system refused the file.
    #[error("can't open the {name} {}", path.display())]
    Io {
        /// What the file is.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// SQLite refused the file.
    #[error("can't open the {name} {}", path.display())]
    Sqlite {
        /// What the file is.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    /// Whether there was no space left to open the file; SQLite needs some for the index of its log.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Sqlite { source, .. } => means_disk_full(source),
            Self::Missing { .. } | Self::Foreign { .. } | Self::Newer { .. } => false,
        }
    }
}

/// Whether `error` says that there is no space. The index of the log is a shared file that grows too: no room for it
/// is a full disk under another name.
pub(crate) fn means_disk_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|failure| {
        failure.code == ErrorCode::DiskFull || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

impl Format {
    /// Opens the file to read and write, making it where it is missing; durable in its directory when this returns.
    ///
    /// Waits up to `busy` for another process that holds the file.
    pub(crate) fn open(&self, path: &Path, busy: Duration) -> Result<Connection, DatabaseError> {
        let io_error = |source| DatabaseError::Io { name: self.name, path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io_error)?;
        self.refuse_other_files(path, &file)?;
        drop(file);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(self.sqlite_error(path))?;
        connection.busy_timeout(busy).map_err(self.sqlite_error(path))?;
        if !self.recognise(path, &connection)? {
            self.create(&mut connection).map_err(self.sqlite_error(path))?;
        }
        settle(&connection).map_err(self.sqlite_error(path))?;
        path.parent().map_or(Ok(()), sync_directory).map_err(io_error)?;
        Ok(connection)
    }

    /// Opens the file to read only, also while another process writes it.
    pub(crate) fn open_read_only(&self, path: &Path, busy: Duration) -> Result<Connection, DatabaseError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DatabaseError::Missing { name: self.name, path: path.to_owned() });
            }
            Err(source) => return Err(DatabaseError::Io { name: self.name, path: path.to_owned(), source }),
        };
        self.refuse_other_files(path, &file)?;
        drop(file);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(self.sqlite_error(path))?;
        if at_rest(path) && count_tables(&connection).is_err() {
            // On a read-only disk SQLite can't make the log's index; without a log there is nothing to index.
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            connection = Connection::open_with_flags(immutable(path), flags).map_err(self.sqlite_error(path))?;
        }
        connection.busy_timeout(busy).map_err(self.sqlite_error(path))?;
        if self.recognise(path, &connection)? {
            return Ok(connection);
        }
        Err(DatabaseError::Foreign { name: self.name, path: path.to_owned(), found: "it is empty".to_owned() })
    }

    fn sqlite_error<'a>(&'a self, path: &'a Path) -> impl FnOnce(rusqlite::Error) -> DatabaseError + use<'a> {
        move |source| DatabaseError::Sqlite { name: self.name, path: path.to_owned(), source }
    }

    /// Looks at the first bytes before SQLite does, for SQLite makes a database out of any file that is short enough.
    fn refuse_other_files(&self, path: &Path, mut file: &File) -> Result<(), DatabaseError> {
        const MAGIC: &[u8; 16] = b"SQLite format 3\0";
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|source| DatabaseError::Io {
            name: self.name,
            path: path.to_owned(),
            source,
        })?;
        if start.is_empty() || start == MAGIC {
            return Ok(());
        }
        let found = "it is not an SQLite database".to_owned();
        Err(DatabaseError::Foreign { name: self.name, path: path.to_owned(), found })
    }

    /// Whether the database is one of ours; `false` for an empty one that may become one.
    fn recognise(&self, path: &Path, connection: &Connection) -> Result<bool, DatabaseError> {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let application_id = pragma("application_id").map_err(self.sqlite_error(path))?;
        let version = pragma("user_version").map_err(self.sqlite_error(path))?;
        let tables = count_tables(connection).map_err(self.sqlite_error(path))?;
        if application_id == self.application_id {
            if version > self.version {
                let (path, found, supported) = (path.to_owned(), version, self.version);
                return Err(DatabaseError::Newer { name: self.name, path, found, supported });
            }
            return Ok(true);
        }
        if application_id == 0 && version == 0 && tables == 0 {
            return Ok(false);
        }
        let found = format!("it is another program's database (application id {application_id:#010x})");
        Err(DatabaseError::Foreign { name: self.name, path: path.to_owned(), found })
    }

    /// Makes an empty database one of ours, all or nothing, and moves it out of the log into the file itself.
    fn create(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        settle(connection)?;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(self.schema)?;
        transaction.pragma_update(None, "application_id", self.application_id)?;
        transaction.pragma_update(None, "user_version", self.version)?;
        transaction.commit()?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

/// Write-ahead log, each commit synced, and nothing in the schema trusted to run code.
fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
    })?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Whether all of the database is in its file, with no log beside it.
fn at_rest(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(true, |log| log.len() == 0)
}

fn count_tables(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

/// The file as a URI that promises SQLite that nobody writes it.
fn immutable(path: &Path) -> std::ffi::OsString {
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    std::ffi::OsString::from_vec(uri)
}

/// Makes a new, renamed or removed name in `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(if directory.as_os_str().is_empty() { Path::new(".") } else { directory })?.sync_all()
}
