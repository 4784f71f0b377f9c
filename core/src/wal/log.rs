//! The log as a value: what waits, what is in flight, what is durable, which segments are held.
//!
//! One batch is in flight at a time; everything appended meanwhile waits and goes together in the next one. That is
//! the group commit, and it is also what makes a batch prove that everything before it was durable.
//!
//! Nothing here touches a disk: [`Log::seal`] and [`Log::prepare`] return values that the host carries out.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::format::{Entry, Header, batch_bytes};
use crate::reach::{Reached, sometimes};

use super::{Batch, BatchId, DiskError, Options, Position, Prepare, SegmentId};

/// Padding is a slice of this: as long as the largest block.
static ZEROS: [u8; 65_536] = [0; 65_536];

/// The write-ahead log. See the [module](super) for the whole story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub(super) options: Options,
    /// Segments with records that are not released, oldest first.
    pub(super) held: VecDeque<Held>,
    /// Where the next batch goes in the newest held segment. None: that segment takes no more.
    pub(super) tail: Option<u32>,
    /// Released segments, kept to be recycled.
    pub(super) spares: VecDeque<SegmentId>,
    upcoming: Upcoming,
    pub(super) sequence_next: u64,
    pub(super) batch_next: u64,
    /// Checksum of the newest batch.
    pub(super) previous: u32,
    pub(super) synced: Position,
    /// Position of the newest record appended.
    pub(super) appended: Position,
    pending: Pending,
    in_flight: Option<InFlight>,
    /// The newest batch holds records and no later batch proves it.
    pub(super) unmarked: bool,
    stopped: bool,
    pub(super) reached: Reached,
}

/// A segment with records that are not released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) id: SegmentId,
    /// No record in it is newer.
    pub(super) last: Position,
    /// The file has its full length and may be recycled.
    pub(super) whole: bool,
}

/// The segment after the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Upcoming {
    /// Nobody has asked for it yet.
    None,
    /// It is being made.
    Preparing(Prepare),
    /// It exists.
    Ready(SegmentId),
    /// The disk was full: only a batch with records asks again.
    Refused,
}

/// Records that wait for the next batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// Index entry and number of chunks of each record.
    entries: VecDeque<(Entry, u32)>,
    chunks: VecDeque<Bytes>,
    bytes: u64,
}

/// What the batch in flight will have changed when it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    id: BatchId,
    segment: SegmentId,
    /// It is the first batch of its segment.
    begins: bool,
    /// That segment is made by the batch itself.
    makes_segment: bool,
    end: u32,
    checksum: u32,
    last: Position,
    records: u32,
}

/// What the end of a batch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// Every record up to here is durable: apply and acknowledge.
    Synced(Position),
    /// The disk was full and nothing was written. Every record above this position, sealed or waiting, is refused and
    /// its position will be given to another. Refuse their operations; append again when space may have returned.
    Refused(Position),
    /// The disk failed. What was in the batch may or may not be there after [`Log::open`]; what waited behind it will
    /// not. Acknowledge nothing above this position and open the log again from the disk.
    Stopped(Position),
}

/// What the end of a preparation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Prepared {
    /// The next segment waits; a [`Log::seal`] that had to wait for it can go on.
    Ready,
    /// The disk was full. Nothing is refused yet: the batch that needs the segment will try once more.
    Full,
    /// The disk failed: as [`Committed::Stopped`].
    Stopped,
}

impl Log {
    /// A log without records on a disk without segments.
    pub(super) fn empty(options: Options) -> Self {
        Self {
            options,
            held: VecDeque::new(),
            tail: None,
            spares: VecDeque::new(),
            upcoming: Upcoming::None,
            sequence_next: 1,
            batch_next: 1,
            previous: 0,
            synced: Position::ZERO,
            appended: Position::ZERO,
            pending: Pending::default(),
            in_flight: None,
            unmarked: false,
            stopped: false,
            reached: Reached::default(),
        }
    }

    /// Adds a record, the concatenation of `chunks`, to those that wait. The chunks are shared, not copied.
    ///
    /// `label` survives damage to the record's bytes: recovery names it with what was lost, so put there what tells
    /// the store whom to ask (the partition). The record is durable once [`Log::synced`] has reached the position
    /// returned. It must not be longer than [`Options::record_bytes_max`], and the log must not have stopped.
    pub fn append(&mut self, label: u32, chunks: &[Bytes]) -> Position {
        assert!(!self.stopped, "a stopped log takes nothing: open it again");
        let bytes: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        assert!(bytes <= u64::from(self.options.record_bytes_max), "the store bounds its records");
        let checksum = chunks.iter().fold(0, |sum, chunk| crc32c::crc32c_append(sum, chunk));
        let entry = Entry { bytes: bytes as u32, label, checksum };
        self.pending.entries.push_back((entry, chunks.len() as u32));
        self.pending.chunks.extend(chunks.iter().cloned());
        self.pending.bytes += bytes;
        self.appended = self.appended.next();
        self.appended
    }

    /// Makes one batch of what waits, as much as one batch may hold. None if nothing waits, a batch is in flight, the
    /// segment it needs is still being prepared, or the log has stopped.
    pub fn seal(&mut self) -> Option<Batch> {
        if self.pending.entries.is_empty() { None } else { self.seal_any() }
    }

    /// Whether the newest records are proven by no later batch and nothing is under way that will: after 10 ms of
    /// this the host asks for [`Log::seal_mark`], so that damage to them is seen as loss and not as a torn tail.
    pub fn mark_due(&self) -> bool {
        let idle = self.pending.entries.is_empty() && self.in_flight.is_none() && !self.stopped;
        // A full disk is not asked for a segment every few milliseconds for a mark alone.
        self.unmarked && idle && (self.upcoming != Upcoming::Refused || self.room().is_some_and(|room| room > 0))
    }

    /// A batch without records that proves all before it. None unless [`Log::mark_due`].
    pub fn seal_mark(&mut self) -> Option<Batch> {
        if !self.mark_due() {
            return None;
        }
        sometimes!(self.reached, "log: a mark proves the newest batch");
        self.seal_any()
    }

    fn seal_any(&mut self) -> Option<Batch> {
        if self.stopped || self.in_flight.is_some() {
            return None;
        }
        let (records, payload) = self.next_batch_size();
        if (records as usize) < self.pending.entries.len() {
            sometimes!(self.reached, "log: more waits than one batch holds");
        }
        let bytes = batch_bytes(records, payload, self.options.block_bytes);
        let (segment, offset, begins, prepare) = match self.room() {
            Some(room) if bytes <= room => (self.held.back()?.id, self.tail?, false, None),
            Some(_) | None => {
                let (segment, prepare) = self.next_segment()?;
                (segment, 0, true, prepare)
            }
        };

        let mut chunk_count = 0;
        let index: Vec<Entry> = (self.pending.entries.drain(..records as usize))
            .map(|(entry, chunks)| {
                chunk_count += chunks as usize;
                entry
            })
            .collect();
        self.pending.bytes -= payload;
        let id = BatchId(self.batch_next);
        self.batch_next += 1;
        let first = self.synced.next();
        let header =
            Header { segment, offset, bytes: bytes as u32, batch: id.0, first, previous: self.previous, index };
        let (encoded, checksum) = header.encode();
        let padding = bytes - u64::from(header.payload_at()) - payload;
        let mut chunks = Vec::with_capacity(chunk_count + 2);
        chunks.push(encoded);
        chunks.extend(self.pending.chunks.drain(..chunk_count));
        chunks.push(Bytes::from_static(&ZEROS[..padding as usize]));

        let last = header.last();
        let end = offset + bytes as u32;
        self.in_flight =
            Some(InFlight { id, segment, begins, makes_segment: prepare.is_some(), end, checksum, last, records });
        Some(Batch { id, prepare, segment, offset, last, records, bytes: bytes as u32, chunks })
    }

    /// How many of the waiting records fit in one batch, and their bytes.
    fn next_batch_size(&self) -> (u32, u64) {
        let (mut records, mut payload) = (0, 0);
        for (entry, _) in &self.pending.entries {
            let grown = payload + u64::from(entry.bytes);
            let bytes = batch_bytes(records + 1, grown, self.options.block_bytes);
            if records == self.options.batch_records_max || bytes > u64::from(self.options.batch_bytes_max) {
                break;
            }
            (records, payload) = (records + 1, grown);
        }
        assert!(records > 0 || self.pending.entries.is_empty(), "one record always fits in a batch");
        (records, payload)
    }

    /// Bytes left in the newest segment. None if it takes no more.
    fn room(&self) -> Option<u64> {
        let newest = self.held.back()?;
        self.tail.map(|tail| u64::from(newest.id.bytes) - u64::from(tail))
    }

    /// The segment that the next batch begins, and how to make it if nobody has. None while somebody is at it.
    fn next_segment(&mut self) -> Option<(SegmentId, Option<Prepare>)> {
        match &self.upcoming {
            Upcoming::Ready(segment) => {
                sometimes!(self.reached, "log: a batch begins a segment made ahead");
                Some((*segment, None))
            }
            Upcoming::Preparing(_) => {
                sometimes!(self.reached, "log: a batch waits for its segment");
                None
            }
            Upcoming::None | Upcoming::Refused => {
                if self.upcoming == Upcoming::Refused {
                    sometimes!(self.reached, "log: a full disk is asked again");
                } else if !self.held.is_empty() {
                    sometimes!(self.reached, "log: a batch makes its segment itself");
                }
                let prepare = self.new_segment();
                Some((prepare.segment, Some(prepare)))
            }
        }
    }

    fn new_segment(&mut self) -> Prepare {
        let sequence = self.sequence_next;
        self.sequence_next += 1;
        let salt = mix(self.options.salt ^ mix(sequence));
        let segment = SegmentId { sequence, salt, bytes: self.options.segment_bytes };
        let from = self.spares.pop_front();
        if from.is_some() {
            sometimes!(self.reached, "log: a segment is recycled");
        }
        Prepare { segment, from }
    }

    /// The next segment, to be made ahead of its need on any thread but the one that syncs. Some once for each
    /// segment, when the newest is more than half full.
    pub fn prepare(&mut self) -> Option<Prepare> {
        let begins = self.in_flight.as_ref().is_some_and(|batch| batch.begins);
        let half_full = self.room().is_some_and(|room| room < u64::from(self.options.segment_bytes / 2));
        if self.stopped || begins || !half_full || self.upcoming != Upcoming::None {
            return None;
        }
        let prepare = self.new_segment();
        self.upcoming = Upcoming::Preparing(prepare.clone());
        Some(prepare)
    }

    /// Takes the result of the last [`Log::prepare`].
    pub fn prepared(&mut self, result: Result<(), DiskError>) -> Prepared {
        if self.stopped {
            return Prepared::Stopped;
        }
        let Upcoming::Preparing(prepare) = core::mem::replace(&mut self.upcoming, Upcoming::None) else {
            panic!("only what was asked for is reported");
        };
        match result {
            Ok(()) => {
                self.upcoming = Upcoming::Ready(prepare.segment);
                Prepared::Ready
            }
            Err(DiskError::Full) => {
                sometimes!(self.reached, "log: no room for a segment made ahead");
                self.upcoming = Upcoming::Refused;
                Prepared::Full
            }
            Err(DiskError::Io | DiskError::Missing) => {
                sometimes!(self.reached, "log: a segment could not be made");
                self.stop();
                Prepared::Stopped
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.refuse_unsynced();
    }

    fn refuse_unsynced(&mut self) {
        self.pending = Pending::default();
        self.in_flight = None;
        self.appended = self.synced;
    }

    /// Takes the end of the batch in flight: the result of its sync, or of its write if that failed.
    pub fn committed(&mut self, batch: BatchId, result: Result<(), DiskError>) -> Committed {
        if self.stopped {
            return Committed::Stopped(self.synced);
        }
        let in_flight = self.in_flight.take().expect("only a sealed batch is reported, and once");
        assert!(in_flight.id == batch);
        match (result, in_flight.makes_segment) {
            (Ok(()), _) => {
                self.synced_batch(&in_flight);
                Committed::Synced(self.synced)
            }
            (Err(DiskError::Full), true) => {
                sometimes!(self.reached, "log: a full disk refuses a batch");
                self.upcoming = Upcoming::Refused;
                self.refuse_unsynced();
                Committed::Refused(self.synced)
            }
            // After a sync that failed the pages may look clean and be lost: a second sync would promise nothing.
            (Err(DiskError::Full), false) | (Err(DiskError::Io | DiskError::Missing), _) => {
                sometimes!(self.reached, "log: the disk fails and the log stops");
                self.stop();
                Committed::Stopped(self.synced)
            }
        }
    }

    fn synced_batch(&mut self, batch: &InFlight) {
        assert!(batch.last >= self.synced && batch.last <= self.appended);
        if batch.begins {
            self.held.push_back(Held { id: batch.segment, last: batch.last, whole: true });
            self.upcoming = Upcoming::None;
        }
        let newest = self.held.back_mut().expect("a batch lies in a held segment");
        newest.last = batch.last;
        self.tail = Some(batch.end);
        self.previous = batch.checksum;
        self.synced = batch.last;
        self.unmarked = batch.records > 0;
    }

    /// Everything up to here is durable.
    pub fn synced(&self) -> Position {
        self.synced
    }

    /// The newest record appended; those above [`Log::synced`] may still be refused.
    pub fn appended(&self) -> Position {
        self.appended
    }

    /// Whether the disk has failed: only [`Log::open`] helps.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Bytes of the records that wait for a batch: what a store bounds to bound the log's memory.
    pub fn bytes_waiting(&self) -> u64 {
        self.pending.bytes
    }

    /// Gives up the records up to `up_to`: the store below has them durably. Segments with nothing newer are kept for
    /// reuse, up to [`Options::spare_segments_max`]; those returned are beyond that, and the host deletes them.
    pub fn release(&mut self, up_to: Position) -> Vec<SegmentId> {
        assert!(up_to <= self.synced, "what is not durable here cannot be durable below");
        let mut surplus = Vec::new();
        while let Some(oldest) = self.held.front() {
            let in_use = self.held.len() == 1 && self.tail.is_some();
            if in_use || oldest.last > up_to {
                break;
            }
            let fits = oldest.whole && oldest.id.bytes == self.options.segment_bytes;
            if fits && self.spares.len() < self.options.spare_segments_max as usize {
                sometimes!(self.reached, "log: a segment is kept to be recycled");
                self.spares.push_back(oldest.id);
            } else {
                sometimes!(self.reached, "log: a segment is given up");
                surplus.push(oldest.id);
            }
            self.held.pop_front();
        }
        surplus
    }

    pub(crate) fn take_reached(&mut self) -> Reached {
        self.reached.take()
    }

    /// Bytes of the log that are not released: whole segments, and the newest up to its end. When this passes the
    /// store's bound, flush and release.
    pub fn bytes_held(&self) -> u64 {
        let all: u64 = self.held.iter().map(|held| u64::from(held.id.bytes)).sum();
        all - self.room().unwrap_or(0)
    }

    /// What must be true between any two calls.
    pub fn check_invariants(&self) {
        assert!(self.synced <= self.appended);
        assert!(self.tail.is_none() || !self.held.is_empty());
        let in_flight = self.in_flight.as_ref().map_or(0, |batch| u64::from(batch.records));
        assert_eq!(self.appended.0 - self.synced.0, in_flight + self.pending.entries.len() as u64);
        assert!(self.held.iter().zip(self.held.iter().skip(1)).all(|(older, newer)| older.last <= newer.last));
        assert!(self.held.iter().all(|held| held.last <= self.synced && held.id.sequence < self.sequence_next));
        if let Some(batch) = &self.in_flight {
            assert!(batch.last > self.synced || batch.records == 0);
            assert!(batch.begins || Some(batch.segment) == self.held.back().map(|held| held.id));
        }
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): salts that differ in every bit.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
