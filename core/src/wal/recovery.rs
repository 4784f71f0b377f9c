//! Opening a log: reading back what a disk remembers, and telling a torn tail from a loss.
//!
//! Walk the batches in order. Where the next one cannot be read, look further, in steps of one sector and through all
//! later segments, for any batch that continues the log. Found: something that was durable has been damaged, and the
//! positions say exactly what is missing. Not found: this is the end of the log, and what stands there is a tail that
//! was being written when the lights went out.
//!
//! State: only while [`Log::open`] runs, one window of the disk and at most one batch in memory.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::reach::{Reached, sometimes};

use super::format::{self, Header, SECTOR_BYTES};
use super::log::Held;
use super::reader::{Batch, Found, Reader};
use super::{Disk, DiskError, Log, Options, OptionsError, Position, SegmentId};

/// Losses named one by one; beyond, the last entry widens. A disk that lost more has lost everything.
const LOST_MAX: usize = 1_024;

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// The label it was appended with.
    pub label: u32,
    /// Its bytes. They share a read buffer of up to one batch: copy what is kept for long.
    pub bytes: Bytes,
}

/// Records that were durable, perhaps acknowledged, and cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The first of them.
    pub first: Position,
    /// The last of them. None: everything from `first` on, nobody knows how far.
    pub last: Option<Position>,
    /// The label, where one record was damaged and its index entry was not.
    pub label: Option<u32>,
}

/// A batch that had begun to be written and was cut away. Nothing in it had been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Where it stood.
    pub segment: SegmentId,
    /// Where in the segment.
    pub offset: u32,
    /// How many records it had, if its header could be read.
    pub records: Option<u32>,
}

/// What opening the log found out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a loss that nobody looks at is a silent loss"]
pub struct Recovered {
    /// The newest position found, 0 for an empty log.
    pub last: Position,
    /// How many records were handed over.
    pub records: u64,
    /// Acknowledged state that is damaged, oldest first, without anything at or below `applied`. All other records
    /// were handed over. The log is usable, and will report the same again until those segments are released; whether
    /// the node can go on with it is the store's decision, before it appends anything.
    pub lost: Vec<Lost>,
    /// The torn tail, if there was one.
    pub cut: Option<Cut>,
}

/// Why a log could not be opened. Nothing that was readable before has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The options contradict each other.
    Options(OptionsError),
    /// The disk failed. Try again, or count the disk as lost.
    Disk(DiskError),
    /// Two segments claim this place in the log: files of different logs, or of a backup, were mixed.
    Mixed {
        /// The sequence number of both.
        sequence: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
            Self::Mixed { sequence } => write!(f, "two segments claim place {sequence} of the log"),
        }
    }
}

impl core::error::Error for OpenError {}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl Log {
    /// Reads the log of a disk, hands every readable record above `applied` to `on_record` in order, and cuts a torn
    /// tail durably. A disk without segments gives an empty log.
    ///
    /// `applied` is what the store below has durably: records at or below it are skipped unread, and new records get
    /// positions above it. Act on the records (answer, vote, acknowledge) only once `open` has returned Ok: only then
    /// are they known to be durable.
    pub fn open<D: Disk + ?Sized>(
        disk: &mut D,
        options: Options,
        applied: Position,
        on_record: &mut dyn FnMut(Record),
    ) -> Result<(Self, Recovered), OpenError> {
        options.check().map_err(OpenError::Options)?;
        let segments = list(disk)?;
        let reader = Reader::new(disk, segments);
        let mut walk = Walk::new(reader, applied);
        walk.run(on_record)?;
        walk.report_behind();
        walk.settle_tail(options.block_bytes)?;
        let log = walk.log(options);
        log.check_invariants();
        Ok((log, walk.recovered))
    }
}

fn list<D: Disk + ?Sized>(disk: &mut D) -> Result<Vec<Found>, OpenError> {
    let mut ids = disk.list()?;
    ids.sort_unstable();
    let mut segments: Vec<Found> = Vec::with_capacity(ids.len());
    for id in ids {
        // The last number has no successor: no log of ours came that far.
        if id.sequence == u64::MAX || segments.last().is_some_and(|before| before.id.sequence == id.sequence) {
            return Err(OpenError::Mixed { sequence: id.sequence });
        }
        let bytes = disk.len(id)?.min(u64::from(id.bytes));
        segments.push(Found { id, bytes });
    }
    Ok(segments)
}

/// How far the walk has come.
struct Walk<'disk, D: ?Sized> {
    reader: Reader<'disk, D>,
    applied: Position,
    /// Segments before this one hold nothing above `applied`.
    start: usize,
    /// The newest batch accepted.
    newest: Option<Batch>,
    /// The batch that ends the walk because its records were never all written. Its header still proves its mark.
    torn: Option<Batch>,
    /// The newest position in each segment, as far as known.
    last_in: Vec<Position>,
    recovered: Recovered,
    reached: Reached,
}

impl<'disk, D: Disk + ?Sized> Walk<'disk, D> {
    fn new(reader: Reader<'disk, D>, applied: Position) -> Self {
        let last_in = reader.segments.iter().map(|_| Position::ZERO).collect();
        let recovered = Recovered { last: Position::ZERO, records: 0, lost: Vec::new(), cut: None };
        let reached = Reached::default();
        Self { reader, applied, start: 0, newest: None, torn: None, last_in, recovered, reached }
    }

    fn run(&mut self, on_record: &mut dyn FnMut(Record)) -> Result<(), DiskError> {
        self.start = self.find_start()?;
        if self.start > 0 {
            sometimes!(self.reached, "recovery: old segments are skipped unread");
        }
        while let Some(batch) = self.reader.next_after(self.newest.as_ref(), self.start)? {
            if self.newest.as_ref().is_some_and(|newest| newest.segment < batch.segment) {
                sometimes!(self.reached, "recovery: the log goes on in the next segment");
            }
            if batch.header.index.is_empty() {
                sometimes!(self.reached, "recovery: a mark is read");
            }
            if !self.take(&batch, on_record)? {
                sometimes!(self.reached, "recovery: the newest batch was never all written");
                self.recovered.last = batch.header.mark();
                self.torn = Some(batch);
                break;
            }
            self.last_in[batch.segment] = batch.header.last();
            self.recovered.last = batch.header.last();
            self.newest = Some(batch);
        }
        Ok(())
    }

    /// The last segment whose first record is not wanted, so that all before it need not be read. Never one that was
    /// just begun: its first batch may be torn.
    fn find_start(&mut self) -> Result<usize, DiskError> {
        for segment in (0..self.reader.segments.len()).rev() {
            let first = self.reader.batch(segment, 0)?;
            if first.is_some_and(|batch| batch.header.first <= self.applied) {
                return Ok(segment);
            }
        }
        Ok(0)
    }

    /// Hands over the records of a batch. False if the batch is a torn tail.
    fn take(&mut self, batch: &Batch, on_record: &mut dyn FnMut(Record)) -> Result<bool, DiskError> {
        let wanted = batch.header.last() > self.applied;
        let damaged = if wanted { self.damaged_records(batch)? } else { Vec::new() };
        let expected = self.newest.as_ref().map_or(self.applied, |newest| newest.header.last()).next();
        if batch.header.first > expected {
            sometimes!(self.reached, "recovery: batches are missing before a sound one");
            self.lose(Lost { first: expected, last: Some(batch.header.mark()), label: None });
        }
        // A batch was durable if another came after it, or if the store below has some of it.
        let proven = damaged.is_empty()
            || batch.header.first <= self.applied
            || self.reader.next_after(Some(batch), self.start)?.is_some();
        if !proven {
            return Ok(false);
        }
        if !wanted && !batch.header.index.is_empty() {
            sometimes!(self.reached, "recovery: a batch that the tree has already");
        }
        if wanted {
            self.hand_over(batch, &damaged, on_record)?;
        }
        Ok(true)
    }

    /// Which records above `applied` do not match their checksums, by their place in the index.
    fn damaged_records(&mut self, batch: &Batch) -> Result<Vec<usize>, DiskError> {
        let Some(bytes) = self.reader.bytes(batch.segment, batch.offset(), u64::from(batch.header.bytes))? else {
            return Ok((0..batch.header.index.len()).collect());
        };
        let damaged = placed(&batch.header).enumerate().filter(|(_, (position, from, entry))| {
            *position > self.applied && crc32c::crc32c(&bytes[*from..*from + entry.bytes as usize]) != entry.checksum
        });
        Ok(damaged.map(|(at, _)| at).collect())
    }

    fn hand_over(
        &mut self,
        batch: &Batch,
        damaged: &[usize],
        on_record: &mut dyn FnMut(Record),
    ) -> Result<(), DiskError> {
        let bytes = self.reader.bytes(batch.segment, batch.offset(), u64::from(batch.header.bytes))?;
        let mut damaged = damaged.iter().copied().peekable();
        for (at, (position, from, entry)) in placed(&batch.header).enumerate() {
            if damaged.next_if_eq(&at).is_some() {
                sometimes!(self.reached, "recovery: a damaged record is named");
                self.lose(Lost { first: position, last: Some(position), label: Some(entry.label) });
            } else if position > self.applied {
                // The window may have moved while looking for proof, so these bytes may be a second reading: a disk
                // that answers differently now is caught like any other damage.
                let record = bytes.as_ref().map(|bytes| bytes.slice(from..from + entry.bytes as usize));
                match record.filter(|record| crc32c::crc32c(record) == entry.checksum) {
                    Some(bytes) => {
                        self.recovered.records += 1;
                        on_record(Record { position, label: entry.label, bytes });
                    }
                    None => self.lose(Lost { first: position, last: Some(position), label: Some(entry.label) }),
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self, lost: Lost) {
        let lost = Lost { first: lost.first.max(self.applied.next()), ..lost };
        if lost.last.is_some_and(|last| last < lost.first) {
            return;
        }
        if self.recovered.lost.len() < LOST_MAX {
            self.recovered.lost.push(lost);
        } else if let Some(widest) = self.recovered.lost.last_mut() {
            *widest = Lost { first: widest.first, last: lost.last, label: None };
        }
    }

    /// A log always holds the newest position that the store below has, and files of their full size.
    fn report_behind(&mut self) {
        let tail = self.newest.as_ref().map_or(0, |newest| newest.segment);
        let shortened = self.reader.segments[tail.min(self.reader.segments.len())..].iter().any(|s| !s.is_whole());
        if shortened || self.recovered.last < self.applied {
            sometimes!(self.reached, "recovery: the log ends before what the tree has");
            self.lose(Lost { first: self.recovered.last.next(), last: None, label: None });
        }
    }

    /// Makes the end of the log certain: the newest batch is durable, a mark behind it proves it, and no torn batch is
    /// left that could come back.
    ///
    /// In this order: the mark must not be there before what it proves, and a torn batch may be the only proof of what
    /// is lost until the mark is there.
    fn settle_tail(&mut self, block_bytes: u32) -> Result<(), DiskError> {
        let ends = self.ends();
        ends.iter().try_for_each(|(segment, offset)| self.note_cut(*segment, *offset))?;
        let mut is_marked = false;
        if let Some(newest) = self.newest.clone() {
            // What was just read may exist in a page cache only, with pages that a failed sync left looking clean: a
            // sync alone would not bring them to the disk.
            let bytes = self.reader.bytes(newest.segment, newest.offset(), u64::from(newest.header.bytes))?;
            let id = self.reader.segments[newest.segment].id;
            self.reader.disk.write(id, newest.offset(), bytes.as_slice())?;
            self.reader.disk.sync(id)?;
            // A mark says that nothing of the log is behind it. Where more was lost than anybody knows, that would be
            // a claim, and the next opening would find nothing missing.
            let is_end_known = self.recovered.lost.iter().all(|lost| lost.last.is_some());
            is_marked = is_end_known && self.write_mark(&newest, block_bytes)?;
        }
        if is_marked && self.recovered.lost.is_empty() && self.recovered.cut.is_some() {
            sometimes!(self.reached, "recovery: a mark covers the torn tail");
        }
        if self.newest.is_some() && !is_marked {
            sometimes!(self.reached, "recovery: no mark behind the newest batch");
        }
        if !is_marked && !self.recovered.lost.is_empty() {
            sometimes!(self.reached, "recovery: a loss without a mark is left as it is");
            return Ok(());
        }
        for (segment, offset) in ends {
            let found = self.reader.segments[segment];
            let is_overwritten = self.newest.as_ref().is_some_and(|n| n.segment == segment && n.offset() == offset);
            if !is_overwritten && offset + u64::from(SECTOR_BYTES) <= found.bytes {
                sometimes!(self.reached, "recovery: the start of a later segment is cleared");
                // Even where zeros are read: they may come from an earlier attempt whose sync failed.
                let zeros = Bytes::from_static(&[0; SECTOR_BYTES as usize]);
                self.reader.disk.write(found.id, offset, &[zeros])?;
                self.reader.disk.sync(found.id)?;
            }
        }
        Ok(())
    }

    /// Writes a batch without records behind `newest`, over whatever torn batch stands there. It is one sector, so it
    /// is there or not. False if there is no room.
    fn write_mark(&mut self, newest: &Batch, block_bytes: u32) -> Result<bool, DiskError> {
        let found = self.reader.segments[newest.segment];
        // The batch after it starts at a block again, even if an earlier life had smaller ones.
        let end = (newest.end() + u64::from(SECTOR_BYTES)).next_multiple_of(u64::from(block_bytes));
        if end > found.bytes {
            return Ok(false);
        }
        let header = Header {
            segment: found.id,
            offset: newest.end() as u32,
            bytes: (end - newest.end()) as u32,
            batch: newest.header.batch + 1,
            first: self.recovered.last.max(self.applied).next(),
            previous: newest.checksum,
            index: Vec::new(),
        };
        let (encoded, checksum) = header.encode();
        let padding = Bytes::from_static(&[0; SECTOR_BYTES as usize]).slice(encoded.len()..);
        self.reader.disk.write(found.id, newest.end(), &[encoded, padding])?;
        self.reader.disk.sync(found.id)?;
        self.newest = Some(Batch { segment: newest.segment, header, checksum });
        Ok(true)
    }

    /// Where a batch that must not come back could stand: behind the newest, at the start of each later segment, and
    /// where the torn one was found. In order of segments.
    fn ends(&self) -> Vec<(usize, u64)> {
        let tail = self.newest.as_ref().map(|newest| (newest.segment, newest.end()));
        let later = tail.map_or(0, |(segment, _)| segment + 1)..self.reader.segments.len();
        let torn = self.torn.as_ref().map(|torn| (torn.segment, torn.offset()));
        let ends = tail.into_iter().chain(later.map(|segment| (segment, 0))).chain(torn);
        let mut ends: Vec<(usize, u64)> = ends.collect();
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    fn note_cut(&mut self, segment: usize, offset: u64) -> Result<(), DiskError> {
        if self.recovered.cut.is_none() && self.reader.is_claimed(segment, offset)? {
            let records = self.reader.batch(segment, offset)?.map(|batch| batch.header.index.len() as u32);
            sometimes!(self.reached, "recovery: a torn batch is cut");
            let segment = self.reader.segments[segment].id;
            self.recovered.cut = Some(Cut { segment, offset: offset as u32, records });
        }
        Ok(())
    }

    fn log(&self, options: Options) -> Log {
        let mut log = Log::empty(options);
        log.reached = self.reached;
        let segments = &self.reader.segments;
        log.synced = self.recovered.last.max(self.applied);
        log.appended = log.synced;
        log.sequence_next = segments.last().map_or(1, |newest| newest.id.sequence + 1);
        let in_use = self.newest.as_ref().map_or(0, |newest| newest.segment + 1);
        // Behind the tail stand segments prepared and never used, or begun with a batch that was cut. Recycling gives
        // them new names, which is a durable cut; those that do not fit wait in front for the first release.
        for found in &segments[in_use..] {
            let fits = found.is_whole() && found.id.bytes == log.options.segment_bytes;
            if fits && log.spares.len() < log.options.spare_segments_max as usize {
                sometimes!(log.reached, "recovery: a segment that was never used is kept");
                log.spares.push_back(found.id);
            } else {
                sometimes!(log.reached, "recovery: unused segments wait for the first release");
                log.held.push_back(Held { id: found.id, last: Position::ZERO, whole: found.is_whole() });
            }
        }
        let mut last = Position::ZERO;
        for (at, found) in segments[..in_use].iter().enumerate() {
            // Segments that were skipped unread hold nothing above `applied`.
            last = last.max(if at < self.start { self.applied } else { self.last_in[at] });
            log.held.push_back(Held { id: found.id, last, whole: found.is_whole() });
        }
        log.batch_next = self.newest.as_ref().map_or(1, |batch| batch.header.batch + 1);
        if let Some(newest) = &self.newest {
            log.previous = newest.checksum;
            log.unmarked = !newest.header.index.is_empty();
            let tail = newest.end().next_multiple_of(u64::from(log.options.block_bytes));
            let found = segments[newest.segment];
            log.tail = (found.is_whole() && tail <= found.bytes).then_some(tail as u32);
            if log.unmarked {
                sometimes!(log.reached, "recovery: the newest batch stays unproven");
            }
        }
        log
    }
}

/// Position, place in the batch and index entry of each record. [`format::decode`] has checked that they fit.
fn placed(header: &Header) -> impl Iterator<Item = (Position, usize, format::Entry)> {
    let start = (header.first, header.payload_at() as usize);
    header.index.iter().scan(start, |(position, from), entry| {
        let item = (*position, *from, *entry);
        *position = position.next();
        *from += entry.bytes as usize;
        Some(item)
    })
}
