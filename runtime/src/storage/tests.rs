//! The store over real files: what a restart finds, what a failed sync stops, what a checkpoint gives back.

use super::*;
use crate::disk::FileDisk;
use bytes::Bytes;
use quorate_core::id::{Key, Owner};
use quorate_core::version::{Content, Hlc, Record, Version};
use quorate_core::wal::{self, DiskError, SegmentId};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A disk whose syncs can be made to fail.
struct Fragile {
    disk: FileDisk,
    is_broken: Arc<AtomicBool>,
}

impl Disk for Fragile {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        self.disk.list()
    }
    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk.create(segment)
    }
    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        self.disk.recycle(from, to)
    }
    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.disk.delete(segment)
    }
    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        self.disk.len(segment)
    }
    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.disk.read(segment, offset, bytes)
    }
    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        self.disk.write(segment, offset, chunks)
    }
    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        if self.is_broken.load(Ordering::SeqCst) { Err(DiskError::Io) } else { self.disk.sync(segment) }
    }
}

struct Rig {
    store: DiskStore<Fragile>,
    is_broken: Arc<AtomicBool>,
    tokens: u64,
}

impl Rig {
    fn open(folder: &Path) -> (Self, u64) {
        let log = wal::Options {
            segment_bytes: 256 << 10,
            batch_bytes_max: 128 << 10,
            record_bytes_max: 64 << 10,
            salt: 5,
            ..wal::Options::default()
        };
        let tree =
            LsmOptions { record_cache_bytes: 64 << 10, block_cache_bytes: 1 << 20, bloom_bits: 10, compress: true };
        let options = DiskOptions { log, tree, memtable_bytes: 200 << 10, log_bytes_max: 2 << 20 };
        let is_broken = Arc::new(AtomicBool::new(false));
        let disk = FileDisk::open(&folder.join("log")).unwrap();
        let second = Fragile { disk: disk.another(), is_broken: Arc::clone(&is_broken) };
        let first = Fragile { disk, is_broken: Arc::clone(&is_broken) };
        let bell: Bell = Arc::new(|| {});
        let (store, opened) = DiskStore::open(first, second, &folder.join("tree"), options, &bell).unwrap();
        assert!(opened.lost.is_empty());
        (Self { store, is_broken, tokens: 0 }, opened.replayed)
    }

    fn submit(&mut self, op: StoreOp) -> Option<StoreOutcome> {
        self.tokens += 1;
        self.store.submit(StoreToken { owner: Owner::Replica, number: self.tokens }, op)
    }

    fn put(&mut self, name: u64, ticks: u64) {
        let version = Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT };
        let record = Record { version, content: Content::Value(vec![ticks as u8; 500].into()) };
        assert_eq!(self.submit(StoreOp::Merge { key: key(name), record }), None, "a merge ends with its batch");
    }

    fn version_of(&mut self, name: u64) -> Version {
        match self.submit(StoreOp::Read { key: key(name) }) {
            Some(StoreOutcome::Found { record }) => record.map_or(Version::ABSENT, |record| record.version),
            other => panic!("a read ends at once, not as {other:?}"),
        }
    }

    /// Collects until `wanted` operations have ended.
    fn wait_for(&mut self, wanted: usize) {
        let (mut ended, until) = (Vec::new(), Instant::now() + Duration::from_secs(10));
        while ended.len() < wanted {
            self.store.collect(&mut ended).unwrap();
            self.store.commit(false, &mut ended).unwrap();
            assert!(Instant::now() < until, "{} of {wanted} ended", ended.len());
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn key(name: u64) -> Key {
    Key::new(Bytes::from(format!("key{name}"))).unwrap()
}

#[test]
fn a_lone_record_is_committed_inline_and_many_by_the_sync_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, _) = Rig::open(folder.path());
    let mut ended = Vec::new();
    rig.put(1, 1);
    assert_eq!(rig.version_of(1), Version::ABSENT, "what is not durable is not shown");
    rig.store.commit(true, &mut ended).unwrap();
    assert_eq!(ended.len(), 1);
    (2..50).for_each(|name| rig.put(name, name));
    rig.store.commit(true, &mut ended).unwrap();
    assert!(ended.len() == 1 && rig.store.is_syncing(), "many go to the thread");
    rig.wait_for(48);
    let figures = rig.store.figures();
    assert_eq!((figures.commits, figures.commits_inline, figures.records), (2, 1, 49));
}

#[test]
fn checkpoints_bound_the_log_and_a_restart_replays_only_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rig, _) = Rig::open(folder.path());
    for round in 1..=60u64 {
        (0..100).for_each(|name| rig.put(name, round * 100 + name));
        rig.wait_for(100);
    }
    // Whatever the last flush covered, this one it did not.
    rig.put(0, 6_200);
    rig.wait_for(1);
    let figures = rig.store.figures();
    assert!(figures.flushes >= 3, "{figures:?}");
    assert!(figures.log_bytes <= 2 << 20, "{figures:?}");
    assert!(figures.log_bytes_written > 3 << 20, "more was written than is kept: {figures:?}");
    drop(rig);
    let (mut rig, replayed) = Rig::open(folder.path());
    assert!(replayed > 0 && replayed < 6_000, "{replayed} of 6,000");
    assert_eq!(rig.version_of(0).hlc.as_ticks(), 6_200);
    for name in 1..100 {
        assert_eq!(rig.version_of(name).hlc.as_ticks(), 6_000 + name, "key {name}");
    }
    rig.store.flush_all().unwrap();
    drop(rig);
    assert_eq!(Rig::open(folder.path()).1, 0, "after an orderly end there is nothing to replay");
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_stops_the_store() {
    for inline in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut rig, _) = Rig::open(folder.path());
        rig.put(1, 1);
        rig.wait_for(1);
        rig.is_broken.store(true, Ordering::SeqCst);
        rig.put(1, 2);
        let mut ended = Vec::new();
        let until = Instant::now() + Duration::from_secs(10);
        let failure = loop {
            assert!(Instant::now() < until, "a failed sync must stop the store");
            if let Err(failure) = rig.store.commit(inline, &mut ended).and_then(|()| rig.store.collect(&mut ended)) {
                break failure;
            }
        };
        assert!(matches!(failure, Failure::Log), "{failure}");
        assert!(ended.is_empty(), "nothing may be acknowledged");
        assert_eq!(rig.version_of(1).hlc.as_ticks(), 1, "nor shown");
        // The disk works again, and still nothing more is taken: only a restart tells what is there.
        rig.is_broken.store(false, Ordering::SeqCst);
        let record = Record { version: Version::ABSENT, content: Content::Tombstone };
        let refused = rig.submit(StoreOp::Merge { key: key(3), record });
        assert!(matches!(refused, Some(StoreOutcome::Failed { .. })));
        drop(rig);
        let (mut rig, _) = Rig::open(folder.path());
        assert!(rig.version_of(1).hlc.as_ticks() >= 1, "what was acknowledged is there");
    }
}
