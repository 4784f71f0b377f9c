//! A model of the write-ahead log, to be run beside the real one over any disk.
//!
//! The model knows two things: which record may stand at each position, and how far the log has said "durable". After
//! every opening the survivors must be exactly the model's records, from the applied position to some end that is not
//! below the acknowledged one. What is refused, cut, or was never sealed must never come back.

#![allow(dead_code, unreachable_pub, reason = "shared by several test binaries, each of which uses a part")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::wal::{
    Batch, Committed, Disk, DiskError, Log, OpenError, Options, Position, Prepare, Prepared, Recovered, SegmentId,
};

/// A disk on which the model can play.
pub trait TestDisk: Disk {
    /// The process dies and starts again; what was written is still in the page cache.
    fn kill(&mut self);
    /// The power fails.
    fn crash(&mut self, seed: u64);
    /// No more segments, or as many as before.
    fn set_full(&mut self, full: bool);
    /// The next operation of some kind fails; `choice` says which and how.
    fn arm(&mut self, choice: u64);
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    Append {
        label: u32,
        letter: u8,
        bytes: usize,
    },
    Seal,
    Mark,
    Write,
    Sync,
    Prepare,
    Prepared,
    Release {
        back: u64,
    },
    Full(bool),
    Fault(u64),
    Kill,
    Crash {
        seed: u64,
    },
    /// The power fails, and again after this many changes that recovery makes to the disk.
    CrashTwice {
        seed: u64,
        changes: u32,
    },
}

/// Steps in proportions that reach every state often.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..9_u32, 0..4_u8, 0..900_usize).prop_map(|(label, letter, bytes)| Step::Append { label, letter, bytes }),
        8 => Just(Step::Seal),
        2 => Just(Step::Mark),
        8 => Just(Step::Write),
        8 => Just(Step::Sync),
        2 => Just(Step::Prepare),
        2 => Just(Step::Prepared),
        2 => (0..6_u64).prop_map(|back| Step::Release { back }),
        1 => any::<bool>().prop_map(Step::Full),
        2 => any::<u64>().prop_map(Step::Fault),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        1 => (any::<u64>(), 0..4_u32).prop_map(|(seed, changes)| Step::CrashTwice { seed, changes }),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Segments of a few batches, batches of a few sectors.
pub fn small_options(salt: u64) -> Options {
    Options {
        segment_bytes: 4_096,
        batch_bytes_max: 2_048,
        record_bytes_max: 900,
        batch_records_max: 3,
        block_bytes: 512,
        spare_segments_max: 2,
        salt,
    }
}

/// What a step produced.
type Content = (u32, Bytes);

/// The log, its disk, and what the model knows of them.
#[derive(Clone)]
pub struct World<D> {
    pub disk: D,
    options: Options,
    log: Log,
    batch: Option<Batch>,
    written: bool,
    preparing: Option<Prepare>,
    records: BTreeMap<u64, Content>,
    acknowledged: Position,
    /// No record above this has left the memory of the log.
    sealed: Position,
    applied: Position,
    openings: u64,
}

impl<D: TestDisk> World<D> {
    pub fn new(mut disk: D) -> Self {
        let options = small_options(1);
        let (log, recovered) = Log::open(&mut disk, options.clone(), Position::ZERO, &mut |_| panic!("an empty disk"))
            .expect("an empty disk is an empty log");
        assert_eq!((recovered.last, recovered.cut), (Position::ZERO, None));
        Self {
            disk,
            options,
            log,
            batch: None,
            written: false,
            preparing: None,
            records: BTreeMap::new(),
            acknowledged: Position::ZERO,
            sealed: Position::ZERO,
            applied: Position::ZERO,
            openings: 0,
        }
    }

    pub fn run(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            self.log.check_invariants();
        }
        self.disk.crash(0);
        let _ = self.reopen();
        self.still_works();
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Append { label, letter, bytes } => self.append(*label, *letter, *bytes),
            Step::Seal => self.seal(Log::seal),
            Step::Mark => self.seal(Log::seal_mark),
            Step::Write => self.write(),
            Step::Sync => self.sync(),
            Step::Prepare => self.preparing = self.preparing.take().or_else(|| self.log.prepare()),
            Step::Prepared => self.prepared(),
            Step::Release { back } => self.release(*back),
            Step::Full(full) => self.disk.set_full(*full),
            Step::Fault(choice) => self.disk.arm(*choice),
            Step::Kill => {
                self.disk.kill();
                let _ = self.reopen();
            }
            Step::Crash { seed } => {
                self.disk.crash(*seed);
                let _ = self.reopen();
            }
            Step::CrashTwice { seed, changes } => {
                self.disk.crash(*seed);
                self.open_and_die(*changes);
                self.disk.crash(seed.rotate_left(32));
                let _ = self.reopen();
            }
        }
    }

    fn append(&mut self, label: u32, letter: u8, bytes: usize) {
        if self.log.is_stopped() {
            return;
        }
        // Few letters, so that what comes back from an earlier life may well have the same bytes.
        let content = Bytes::from(vec![b'a' + letter; bytes]);
        let position = self.log.append(label, &[content.slice(..bytes / 3), content.slice(bytes / 3..)]);
        self.records.insert(position.0, (label, content));
    }

    fn seal(&mut self, seal: impl Fn(&mut Log) -> Option<Batch>) {
        if let Some(batch) = seal(&mut self.log) {
            assert!(self.batch.is_none(), "one batch in flight");
            assert!(batch.bytes() <= self.options.batch_bytes_max && batch.records() <= self.options.batch_records_max);
            self.sealed = batch.last();
            self.batch = Some(batch);
            self.written = false;
        }
    }

    fn write(&mut self) {
        let Some(batch) = self.batch.as_ref().filter(|_| !self.written) else { return };
        match batch.write(&mut self.disk) {
            Ok(()) => self.written = true,
            Err(error) => self.ended(Err(error)),
        }
    }

    fn sync(&mut self) {
        let Some(batch) = self.batch.as_ref().filter(|_| self.written) else { return };
        let result = batch.sync(&mut self.disk);
        self.ended(result);
    }

    fn ended(&mut self, result: Result<(), DiskError>) {
        let batch = self.batch.take().expect("somebody sealed it");
        match self.log.committed(batch.id(), result) {
            Committed::Synced(position) => {
                assert_eq!(position, batch.last());
                self.acknowledged = position;
            }
            Committed::Refused(position) => {
                assert_eq!((result, position), (Err(DiskError::Full), self.acknowledged));
                self.sealed = position;
                self.forget_above(position);
            }
            Committed::Stopped(position) => {
                assert_eq!(position, self.acknowledged);
                assert!(self.log.seal().is_none() && self.log.seal_mark().is_none());
                self.forget_above(self.sealed);
            }
        }
    }

    fn forget_above(&mut self, position: Position) {
        self.records.split_off(&(position.0 + 1));
    }

    fn prepared(&mut self) {
        let Some(prepare) = self.preparing.take() else { return };
        let result = prepare.carry_out(&mut self.disk);
        match self.log.prepared(result) {
            Prepared::Ready => assert_eq!(result, Ok(())),
            Prepared::Full => assert_eq!(result, Err(DiskError::Full)),
            Prepared::Stopped => {
                self.batch = None;
                self.forget_above(self.sealed);
            }
        }
    }

    fn release(&mut self, back: u64) {
        let up_to = Position(self.acknowledged.0.saturating_sub(back)).max(self.applied);
        if self.log.is_stopped() {
            return;
        }
        self.applied = up_to;
        for segment in self.log.release(up_to) {
            self.disk.delete(segment).expect("a released segment exists");
        }
    }

    /// Recovery that is interrupted by a disk that stops answering.
    pub fn open_and_die(&mut self, changes: u32) {
        let mut dying = Dying { disk: &mut self.disk, changes };
        let mut options = self.options.clone();
        options.salt = self.openings + 1_000;
        match Log::open(&mut dying, options, self.applied, &mut |_| ()) {
            Ok(_) | Err(OpenError::Disk(_)) => {}
            Err(error @ (OpenError::Mixed { .. } | OpenError::Options(_))) => panic!("{error}"),
        }
    }

    pub fn reopen(&mut self) -> Recovered {
        self.openings += 1;
        self.options.salt = self.openings + 1;
        self.batch = None;
        self.preparing = None;
        let (log, recovered, found) = loop {
            let mut found = BTreeMap::new();
            let opened = Log::open(&mut self.disk, self.options.clone(), self.applied, &mut |record| {
                assert!(found.insert(record.position.0, (record.label, record.bytes)).is_none());
            });
            match opened {
                Ok((log, recovered)) => break (log, recovered, found),
                // A fault was armed for one of recovery's operations. The node tries again.
                Err(OpenError::Disk(_)) => self.disk.kill(),
                Err(error @ (OpenError::Mixed { .. } | OpenError::Options(_))) => panic!("{error}"),
            }
        };
        log.check_invariants();
        assert_eq!(recovered.lost, [], "nothing has rotted");
        assert_eq!(recovered.records, found.len() as u64);
        assert!(recovered.last >= self.acknowledged, "{recovered:?} lost what {} acknowledged", self.acknowledged);
        assert!(recovered.last <= self.sealed, "{recovered:?} knows what was never sealed");
        self.forget_above(recovered.last);
        let expected = self.records.split_off(&(self.applied.0 + 1));
        assert_eq!(found, expected);
        self.records.extend(expected);
        self.acknowledged = log.synced();
        self.sealed = self.acknowledged;
        assert_eq!(self.acknowledged, recovered.last.max(self.applied));
        self.log = log;
        recovered
    }

    /// A log that came through all this still takes a record and keeps it.
    fn still_works(&mut self) {
        self.disk.set_full(false);
        for segment in self.log.release(self.acknowledged) {
            self.disk.delete(segment).expect("a released segment exists");
        }
        self.applied = self.acknowledged;
        while self.acknowledged == self.applied {
            if self.log.is_stopped() {
                self.disk.kill();
                let _ = self.reopen();
            }
            self.append(7, 0, 10);
            self.seal(Log::seal);
            self.write();
            self.sync();
        }
        self.disk.crash(1);
        let _ = self.reopen();
    }
}

/// A disk that answers nothing more after some changes.
struct Dying<'disk, D> {
    disk: &'disk mut D,
    changes: u32,
}

impl<D: Disk> Dying<'_, D> {
    fn change(&mut self) -> Result<&mut D, DiskError> {
        self.changes = self.changes.checked_sub(1).ok_or(DiskError::Io)?;
        Ok(self.disk)
    }
}

impl<D: Disk> Disk for Dying<'_, D> {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        self.disk.list()
    }
    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.change()?.create(segment)
    }
    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        self.change()?.recycle(from, to)
    }
    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.change()?.delete(segment)
    }
    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        self.disk.len(segment)
    }
    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        self.disk.read(segment, offset, bytes)
    }
    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        self.change()?.write(segment, offset, chunks)
    }
    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.change()?.sync(segment)
    }
}
