//! A directory of segment files: the disk of a real node.
//!
//! A segment is the file `SEQUENCE-SALT-SIZE.wal` (hexadecimal), readable by its owner only. It is made under the name
//! `.new`, filled with zeros, synced, renamed, and the directory synced: so a file that is listed is whole, and a sync
//! of what is written later has no file size and no block map to carry. Written zeros, not merely reserved space:
//! reserved blocks are marked as unwritten, and clearing that mark is metadata again.
//!
//! Writes go out in one `writev` where values are large; small chunks are gathered in one buffer first, since copying
//! a few hundred bytes is cheaper than one more entry for the kernel to walk. Short writes and interrupts are
//! continued. The first error of anything is kept whole for the operator ([`FileDisk::last_failure`]).
//!
//! State: one open file, the segment used last. One process at a time: the directory is locked. Several threads may
//! each have a handle ([`FileDisk::another`]).

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::wal::{Disk, DiskError, SegmentId};

/// Chunks up to this length are gathered in one buffer before they are written.
const GATHER_BYTES_MAX: usize = 2_048;
/// Zeros are written in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;

/// Keeps other processes out of a directory while it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    /// The lock goes when this is closed, also when the process is killed.
    _file: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process works in it. Nothing was touched.
    #[error("{} is in use by another process ({holder}); stop it, or choose another data directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the other process wrote into the lock file.
        holder: String,
    },
    /// The file system refused something.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Locks a directory by the file `LOCK` in it, or says who holds it.
    pub fn acquire(directory: &Path) -> Result<Self, DirectoryError> {
        let path = directory.join("LOCK");
        let failed = |operation, source| DirectoryError::Io { operation, path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private(&mut options);
        let mut file = options.open(&path).map_err(|error| failed("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only a courtesy: whoever holds the lock, it is held.
                let _ = file.take(64).read_to_string(&mut holder);
                let holder = holder.trim().to_owned();
                return Err(DirectoryError::InUse { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let note = format!("process {}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(|error| failed("write", error))?;
        Ok(Self { _file: file })
    }
}

/// What went wrong on the disk, in full.
#[derive(Debug)]
pub struct Failure {
    /// What was tried.
    pub operation: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the file system said.
    pub error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.error)
    }
}

/// The segments of one log, as files in a directory.
#[derive(Debug)]
pub struct FileDisk {
    directory: Arc<Directory>,
    open: Option<(SegmentId, File)>,
    failure: Option<Failure>,
    gathered: Vec<u8>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// To sync names with.
    handle: File,
    _lock: DirectoryLock,
}

impl FileDisk {
    /// Opens a directory, making it if need be, and locks it. Segments that were being made when a process died are
    /// removed.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |operation, source| DirectoryError::Io { operation, path: path.to_owned(), source };
        make_directory(path).map_err(|error| failed("make", error))?;
        let lock = DirectoryLock::acquire(path)?;
        for entry in fs::read_dir(path).map_err(|error| failed("list", error))? {
            let entry = entry.map_err(|error| failed("list", error))?.path();
            if entry.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&entry).map_err(|error| failed("tidy", error))?;
            }
        }
        let handle = File::open(path).map_err(|error| failed("open", error))?;
        let directory = Directory { path: path.to_owned(), handle, _lock: lock };
        Ok(Self { directory: Arc::new(directory), open: None, failure: None, gathered: Vec::new() })
    }

    /// One more handle on the same directory, for another thread. The lock goes with the last of them.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { directory: Arc::clone(&self.directory), open: None, failure: None, gathered: Vec::new() }
    }

    /// What went wrong last on this handle, if anything has. Says to the operator what [`DiskError`] cannot.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn path(&self, segment: SegmentId, extension: &str) -> PathBuf {
        self.directory.path.join(format!("{segment}.{extension}"))
    }

    /// The open file of a segment.
    fn file(&mut self, segment: SegmentId) -> Result<&mut File, DiskError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            let path = self.path(segment, "wal");
            let opened = OpenOptions::new().read(true).write(true).open(&path);
            let file = opened.map_err(|error| self.failed("open", path, error))?;
            self.open = Some((segment, file));
        }
        let (_, file) = self.open.as_mut().expect("it was just opened");
        Ok(file)
    }

    fn failed(&mut self, operation: &'static str, path: PathBuf, error: io::Error) -> DiskError {
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => DiskError::Full,
            ErrorKind::NotFound => DiskError::Missing,
            // Whatever else it is, nobody knows what was done.
            _ => DiskError::Io,
        };
        self.failure = Some(Failure { operation, path, error });
        kind
    }

    /// Gives a complete file its name. Anything but success leaves open which name it has.
    fn rename(&mut self, from: &Path, to: PathBuf) -> Result<(), DiskError> {
        let renamed = fs::rename(from, &to).and_then(|()| self.directory.handle.sync_all());
        renamed.map_err(|error| {
            self.failed("rename", to, error);
            DiskError::Io
        })
    }
}

impl Disk for FileDisk {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        let path = self.directory.path.clone();
        let names = fs::read_dir(&path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let names: Vec<_> = names.map_err(|error| self.failed("list", path, error))?;
        Ok(names.iter().filter_map(|name| segment_of(name.to_str()?)).collect())
    }

    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        let (unfinished, path) = (self.path(segment, "new"), self.path(segment, "wal"));
        if path.exists() {
            return Err(self.failed("create", path, ErrorKind::AlreadyExists.into()));
        }
        if let Err(error) = write_zeros(&unfinished, segment.bytes as usize) {
            // Left over, it is removed at the next start; it takes space until then, which is worth a try now.
            let _ = fs::remove_file(&unfinished);
            return Err(self.failed("fill", unfinished, error));
        }
        self.rename(&unfinished, path)
    }

    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        let (old, path) = (self.path(from, "wal"), self.path(to, "wal"));
        if from.bytes != to.bytes || self.len(from)? != u64::from(to.bytes) || path.exists() {
            return Err(self.failed("recycle", old, ErrorKind::InvalidInput.into()));
        }
        self.open = None;
        self.rename(&old, path)
    }

    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.open = self.open.take().filter(|(open, _)| *open != segment);
        let path = self.path(segment, "wal");
        fs::remove_file(&path).map_err(|error| self.failed("delete", path, error))
    }

    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        let path = self.path(segment, "wal");
        let metadata = fs::metadata(&path).map_err(|error| self.failed("measure", path, error))?;
        Ok(metadata.len())
    }

    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        let room = self.len(segment)?.saturating_sub(offset);
        let bytes = room.min(bytes as u64);
        let mut buffer = Vec::with_capacity(bytes as usize);
        let file = self.file(segment)?;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(bytes).read_to_end(&mut buffer));
        read.map_err(|error| self.failed("read", self.path(segment, "wal"), error))?;
        Ok(buffer.into())
    }

    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if offset.checked_add(length).is_none_or(|end| end > u64::from(segment.bytes)) {
            // A write must never make a file grow: the space would not be set aside.
            return Err(self.failed("write", self.path(segment, "wal"), ErrorKind::FileTooLarge.into()));
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let file = self.file(segment)?;
        let written =
            file.seek(SeekFrom::Start(offset)).and_then(|_| write_chunks(file, chunks, length as usize, &mut gathered));
        // A batch of large values must not pin its size for ever.
        gathered.clear();
        gathered.shrink_to(ZERO_BYTES);
        self.gathered = gathered;
        written.map_err(|error| self.failed("write", self.path(segment, "wal"), error))
    }

    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        let synced = self.file(segment)?.sync_data();
        synced.map_err(|error| self.failed("sync", self.path(segment, "wal"), error))
    }
}

/// Writes chunks one behind the other: small ones gathered, large ones from where they are.
fn write_chunks(file: &mut impl Write, chunks: &[Bytes], length: usize, gathered: &mut Vec<u8>) -> io::Result<()> {
    gathered.clear();
    gathered.reserve(length.min(ZERO_BYTES));
    let is_small = |chunk: &&Bytes| chunk.len() <= GATHER_BYTES_MAX;
    chunks.iter().filter(is_small).for_each(|chunk| gathered.extend_from_slice(chunk));
    let mut slices = Vec::new();
    let (mut from, mut to) = (0, 0);
    for chunk in chunks {
        if is_small(&chunk) {
            to += chunk.len();
        } else {
            slices.push(IoSlice::new(&gathered[from..to]));
            slices.push(IoSlice::new(chunk));
            from = to;
        }
    }
    slices.push(IoSlice::new(&gathered[from..to]));
    write_all_vectored(file, &mut slices)
}

/// Continues after short writes and interrupts until everything is written.
fn write_all_vectored(file: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty slices at the front would look like a file that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes a file of zeros, durable but for its name.
fn write_zeros(path: &Path, bytes: usize) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options);
    let mut file = options.open(path)?;
    let zeros = vec![0; bytes.min(ZERO_BYTES)];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(zeros.len());
        file.write_all(&zeros[..piece])?;
        left -= piece;
    }
    file.sync_all()
}

/// The segment whose file has this name. Other files are none of ours.
fn segment_of(name: &str) -> Option<SegmentId> {
    let mut parts = name.strip_suffix(".wal")?.splitn(3, '-');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (sequence, salt, bytes) = (number()?, number()?, number()?);
    let segment = SegmentId { sequence, salt, bytes: bytes.try_into().ok()? };
    // Only the exact spelling: two names must not mean one segment.
    (format!("{segment}.wal") == name).then_some(segment)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

/// Makes a directory that only its owner may enter, and makes its name durable.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that takes a few bytes at a time and is interrupted in between.
    #[derive(Default)]
    struct Stubborn {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Stubborn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(self.calls * 100);
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn short_writes_and_interrupts_are_continued() {
        let sizes = [0, 1, 2_048, 2_049, 10_000, 0, 5, 5_000, 3, 0];
        let chunks: Vec<Bytes> = sizes.iter().enumerate().map(|(at, size)| vec![at as u8; *size].into()).collect();
        let mut file = Stubborn::default();
        let length = sizes.iter().sum();
        write_chunks(&mut file, &chunks, length, &mut Vec::new()).expect("it takes everything in the end");
        assert!(file.calls > 10 && file.taken == chunks.concat());
    }

    #[test]
    fn a_file_that_takes_nothing_more_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Ok(0)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let result = write_chunks(&mut Full, &[Bytes::from_static(b"x")], 1, &mut Vec::new());
        assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::WriteZero));
    }

    #[test]
    fn names_are_read_back_exactly_and_others_are_ignored() {
        let segment = SegmentId { sequence: 7, salt: u64::MAX, bytes: 4_096 };
        assert_eq!(segment_of("0000000000000007-ffffffffffffffff-00001000.wal"), Some(segment));
        for name in [
            "LOCK",
            "7-ffffffffffffffff-00001000.wal",
            "0000000000000007-FFFFFFFFFFFFFFFF-00001000.wal",
            "0000000000000007-ffffffffffffffff-100001000.wal",
            "0000000000000007-ffffffffffffffff-00001000-1.wal",
            "0000000000000007-ffffffffffffffff-00001000.new",
            "-+-.wal",
        ] {
            assert_eq!(segment_of(name), None, "{name}");
        }
    }
}
