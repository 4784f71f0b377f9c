//! The write-ahead log on real files: the same model as in the simulator, and what only files have.
#![cfg(feature = "store")]

#[path = "../../sim/tests/wal_model/mod.rs"]
mod wal_model;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::wal::{Disk, DiskError, SegmentId};
use quorate_runtime::disk::{DirectoryError, FileDisk};
use tempfile::TempDir;
use wal_model::{TestDisk, World, steps};

/// Files in a directory of their own. A crash is a process that dies: the page cache stays, so everything written is
/// found again.
struct Files {
    directory: TempDir,
    disk: Option<FileDisk>,
    full: bool,
}

impl Files {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let disk = FileDisk::open(directory.path()).expect("it is ours");
        Self { directory, disk: Some(disk), full: false }
    }

    fn disk(&mut self) -> &mut FileDisk {
        self.disk.as_mut().expect("it is open between two calls")
    }
}

impl TestDisk for Files {
    fn kill(&mut self) {
        // The lock must go first.
        self.disk = None;
        self.disk = Some(FileDisk::open(self.directory.path()).expect("nobody else has it"));
    }

    fn crash(&mut self, _: u64) {
        self.kill();
    }

    fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    fn arm(&mut self, _: u64) {}
}

impl Disk for Files {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        self.disk().list()
    }
    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        if self.full { Err(DiskError::Full) } else { self.disk().create(segment) }
    }
    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        self.disk().recycle(from, to)
    }
    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk().delete(segment)
    }
    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        self.disk().len(segment)
    }
    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.disk().read(segment, offset, bytes)
    }
    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        self.disk().write(segment, offset, chunks)
    }
    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk().sync(segment)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_keep_what_the_model_keeps(steps in steps()) {
        World::new(Files::new()).run(&steps);
    }
}

const SEGMENT: SegmentId = SegmentId { sequence: 1, salt: 2, bytes: 65_536 };

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("wal");
    let held = FileDisk::open(&path).expect("it is ours");
    let another = held.another();
    let refused = FileDisk::open(&path).expect_err("it is taken");
    let us = format!("process {}", std::process::id());
    assert!(matches!(&refused, DirectoryError::InUse { holder, .. } if *holder == us), "{refused}");
    drop(held);
    assert!(FileDisk::open(&path).is_err(), "the other handle still works there");
    drop(another);
    assert!(FileDisk::open(&path).is_ok());
}

#[test]
fn what_is_written_is_read_and_never_beyond_the_end() {
    let mut files = Files::new();
    let disk = files.disk();
    disk.create(SEGMENT).expect("there is room");
    let large = Bytes::from(vec![b'x'; 10_000]);
    disk.write(SEGMENT, 500, &[Bytes::from_static(b"head"), large, Bytes::from_static(b"tail")]).expect("inside");
    disk.sync(SEGMENT).expect("a sound disk");
    assert_eq!(&disk.read(SEGMENT, 499, 6).expect("inside")[..], b"\0headx");
    assert_eq!(&disk.read(SEGMENT, 10_503, 6).expect("inside")[..], b"xtail\0");
    assert_eq!(disk.read(SEGMENT, 65_530, 100).expect("inside").len(), 6);
    assert_eq!(disk.read(SEGMENT, 70_000, 100).expect("behind the end").len(), 0);
    assert_eq!(disk.write(SEGMENT, 65_535, &[Bytes::from_static(b"ab")]), Err(DiskError::Full));
    assert_eq!(disk.len(SEGMENT), Ok(65_536));
}

#[test]
fn a_missing_segment_is_missing_and_the_operator_learns_which() {
    let mut files = Files::new();
    let disk = files.disk();
    assert_eq!(disk.sync(SEGMENT), Err(DiskError::Missing));
    assert_eq!(disk.delete(SEGMENT), Err(DiskError::Missing));
    let failure = disk.last_failure().expect("it just failed").to_string();
    assert!(failure.starts_with("cannot delete ") && failure.contains("0001-"), "{failure}");
}

#[test]
fn an_unfinished_segment_is_removed_and_strange_files_are_left_alone() {
    let mut files = Files::new();
    let path = |name: &str| -> PathBuf { files.directory.path().join(name) };
    let (unfinished, strange) = (path("0000000000000001-0000000000000002-00010000.new"), path("notes.txt"));
    fs::write(&unfinished, "half").expect("a sound disk");
    fs::write(&strange, "mine").expect("a sound disk");
    files.kill();
    assert!(!unfinished.exists() && strange.exists());
    assert_eq!(files.disk().list(), Ok(vec![]));
}

#[test]
fn a_name_is_never_overwritten() {
    let mut files = Files::new();
    let disk = files.disk();
    let other = SegmentId { sequence: 2, ..SEGMENT };
    disk.create(SEGMENT).expect("there is room");
    disk.create(other).expect("there is room");
    assert_eq!(disk.create(SEGMENT), Err(DiskError::Io));
    assert_eq!(disk.recycle(SEGMENT, other), Err(DiskError::Io));
    assert_eq!(disk.list().map(|list| list.len()), Ok(2));
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let mut files = Files::new();
    files.disk().create(SEGMENT).expect("there is room");
    for entry in fs::read_dir(files.directory.path()).expect("it exists") {
        let mode = entry.and_then(|entry| entry.metadata()).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// `/dev/full` stands in for a disk without space.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_space_says_full_and_leaves_nothing_behind() {
    let mut files = Files::new();
    let unfinished = files.directory.path().join("0000000000000001-0000000000000002-00010000.new");
    std::os::unix::fs::symlink("/dev/full", &unfinished).expect("a sound disk");
    assert_eq!(files.disk().create(SEGMENT), Err(DiskError::Full));
    assert_eq!(files.disk().list(), Ok(vec![]));
    assert!(!unfinished.exists());
    assert_eq!(files.disk().create(SEGMENT), Ok(()));
}
