//! Finding batches on a disk that may be damaged anywhere.
//!
//! Knows where batches can stand and which of them continue the log; what that means for the records is decided in
//! `recovery.rs`. Holds one window of the disk.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::format::{self, HEADER_BYTES, Header, SECTOR_BYTES};
use super::{Disk, DiskError, SegmentId};

/// Read ahead by this much: large enough for sequential speed, small enough for a cache.
const WINDOW_BYTES: u64 = 256 << 10;

/// A segment on the disk.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) id: SegmentId,
    /// How much of it can be read.
    pub(super) bytes: u64,
}

impl Found {
    pub(super) fn is_whole(&self) -> bool {
        self.bytes == u64::from(self.id.bytes)
    }
}

/// Reads through a window, so that walking small batches is not one disk call each.
pub(super) struct Reader<'disk, D: ?Sized> {
    pub(super) disk: &'disk mut D,
    pub(super) segments: Vec<Found>,
    window: Window,
}

#[derive(Default)]
struct Window {
    segment: usize,
    from: u64,
    bytes: Bytes,
}

impl<'disk, D: Disk + ?Sized> Reader<'disk, D> {
    pub(super) fn new(disk: &'disk mut D, segments: Vec<Found>) -> Self {
        Self { disk, segments, window: Window::default() }
    }

    /// Exactly `count` bytes, or None where the segment ends before.
    pub(super) fn bytes(&mut self, segment: usize, offset: u64, count: u64) -> Result<Option<Bytes>, DiskError> {
        Ok(self.reach(segment, offset, count)?.map(|part| self.window.bytes.slice(part)))
    }

    /// Moves the window so that it has these bytes, and says where in it they are.
    fn reach(&mut self, segment: usize, offset: u64, count: u64) -> Result<Option<Range<usize>>, DiskError> {
        let found = self.segments[segment];
        if offset.checked_add(count).is_none_or(|end| end > found.bytes) {
            return Ok(None);
        }
        let window_end = self.window.from + self.window.bytes.len() as u64;
        let inside = self.window.segment == segment && offset >= self.window.from && offset + count <= window_end;
        if !inside {
            let ask = count.max(WINDOW_BYTES).min(found.bytes - offset);
            let bytes = self.disk.read(found.id, offset, ask as usize)?;
            self.window = Window { segment, from: offset, bytes };
        }
        let from = (offset - self.window.from) as usize;
        let to = from + count as usize;
        // A disk that returns less than it said it had is damaged there, not at an end.
        Ok((to <= self.window.bytes.len()).then_some(from..to))
    }

    /// The batch at this place, if there is one.
    pub(super) fn batch(&mut self, segment: usize, offset: u64) -> Result<Option<Batch>, DiskError> {
        let found = self.segments[segment];
        let Some(fixed) = self.reach(segment, offset, u64::from(HEADER_BYTES))? else { return Ok(None) };
        let (at, room) = (offset as u32, found.bytes - offset);
        // A search looks at every sector, so it looks into the window instead of taking a part of it.
        let Some(length) = format::header_bytes(&self.window.bytes[fixed], found.id, at, room) else { return Ok(None) };
        let Some(whole) = self.bytes(segment, offset, u64::from(length))? else { return Ok(None) };
        let decoded = format::decode(&whole, found.id, at, room);
        Ok(decoded.map(|(header, checksum)| Batch { segment, header, checksum }))
    }

    /// The batch that continues the log behind `newest`: the one that stands there, else the first of a later segment,
    /// else whatever is found behind damage.
    pub(super) fn next_after(&mut self, newest: Option<&Batch>, start: usize) -> Result<Option<Batch>, DiskError> {
        let (segment, offset) = newest.map_or((start, 0), |batch| (batch.segment, batch.end()));
        if segment >= self.segments.len() {
            return Ok(None);
        }
        if let Some(batch) = self.batch(segment, offset)?
            && follows(newest, &batch)
        {
            return Ok(Some(batch));
        }
        if newest.is_some() {
            for later in segment + 1..self.segments.len() {
                if let Some(batch) = self.batch(later, 0)?
                    && follows(newest, &batch)
                {
                    return Ok(Some(batch));
                }
            }
        }
        self.search(newest, segment, offset)
    }

    /// Looks for any batch that continues the log, from this place to the end of the disk.
    fn search(&mut self, newest: Option<&Batch>, segment: usize, offset: u64) -> Result<Option<Batch>, DiskError> {
        let mut offset = offset;
        for segment in segment..self.segments.len() {
            while offset < self.segments[segment].bytes {
                if let Some(batch) = self.batch(segment, offset)?
                    && continues(newest, &batch)
                {
                    return Ok(Some(batch));
                }
                offset += u64::from(SECTOR_BYTES);
            }
            offset = 0;
        }
        Ok(None)
    }

    /// Whether something that claims to be a batch of this segment stands here, readable or not.
    pub(super) fn is_claimed(&mut self, segment: usize, offset: u64) -> Result<bool, DiskError> {
        let found = self.segments[segment];
        let fixed = self.bytes(segment, offset, u64::from(HEADER_BYTES))?;
        let room = found.bytes.saturating_sub(offset);
        Ok(fixed.is_some_and(|fixed| format::header_bytes(&fixed, found.id, offset as u32, room).is_some()))
    }
}

/// A batch whose header and index are sound.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) segment: usize,
    pub(super) header: Header,
    pub(super) checksum: u32,
}

impl Batch {
    pub(super) fn offset(&self) -> u64 {
        u64::from(self.header.offset)
    }

    pub(super) fn end(&self) -> u64 {
        self.offset() + u64::from(self.header.bytes)
    }
}

/// Whether `batch` may stand behind `newest`, with or without others between them. Before the first batch anything may.
///
/// What was cut away in an earlier life, could not be read then and can be read now, fails one of the three: its number
/// or its records have been given again, or it continues a batch that is not the one before it.
fn continues(newest: Option<&Batch>, batch: &Batch) -> bool {
    newest.is_none_or(|newest| {
        let is_next = batch.header.batch == newest.header.batch + 1;
        batch.header.batch > newest.header.batch
            && batch.header.mark() >= newest.header.last()
            && (!is_next || batch.header.previous == newest.checksum)
    })
}

/// Whether `batch` may stand behind `newest` with no record between them.
fn follows(newest: Option<&Batch>, batch: &Batch) -> bool {
    continues(newest, batch) && newest.is_none_or(|newest| batch.header.mark() == newest.header.last())
}
