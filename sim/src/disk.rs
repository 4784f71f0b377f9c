//! A simulated disk, with the faults that real ones have.
//!
//! **What it is.** Segments of 512-byte sectors behind a page cache. A write changes the cache; a sync carries the
//! changed sectors of one segment to the platter; a read sees the cache, and the platter where the cache has nothing.
//! Sectors are atomic: a sector holds what was last written to it or what it held before, never a mixture. Making,
//! renaming and removing a segment is atomic and durable when the call returns, as the `Disk` trait demands of any
//! implementation; a crash during one is a crash before or after it. A sector that was never written reads as zeros
//! and costs no memory.
//!
//! **What a crash does.** The cache is gone. Of the sectors that were written and not synced, any subset in any
//! combination may have reached the platter: all, none, or every one decided on its own. Batches are thereby torn at
//! any sector, and a later write may survive where an earlier one does not.
//!
//! **What can go wrong before**, each a [`Fault`] armed for the next operation of its kind:
//! - a sync fails: some of the sectors have reached the platter, and the rest never will, though the cache calls them
//!   clean. Reads then show either what was written (ext4, XFS) or what the platter has (Btrfs); a later sync succeeds
//!   and means nothing for them;
//! - a write fails after some of its sectors; a read or the making of a segment fails;
//! - a write lands, or a read looks, some sectors beside the place it was meant for, and reports success.
//!
//! **What can be wrong for good**: a disk that is full ([`SimDisk::set_capacity`]); one whose syncs lie
//! ([`SimDisk::set_lying`]); a bit that turns ([`SimDisk::flip`]); a file that lost its end ([`SimDisk::truncate`]) or
//! is gone (`Disk::delete`); a disk that is empty ([`SimDisk::wipe`]) or was put back from an older copy
//! ([`SimDisk::restore`]).
//!
//! The disk draws nothing and decides nothing: faults are armed by whoever owns the schedule, and a crash asks the
//! closure it is given. Slowness is the host's affair: calls take no time here.
//!
//! Source: Rebello et al., *Can Applications Recover from fsync Failures?* (ATC 2020); Pillai et al., *All File Systems
//! Are Not Created Equal* (OSDI 2014); Bairavasundaram et al., *An Analysis of Data Corruption in the Storage Stack*
//! (FAST 2008), for misdirected writes and bit rot.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_core::shared::Shared;
use quorate_core::wal::{Disk, DiskError, SegmentId};
use serde::{Deserialize, Serialize};

/// The unit that is written as a whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

static ZEROS: [u8; SECTOR_BYTES as usize] = [0; SECTOR_BYTES as usize];
/// As much of nothing as a recovery reads at once.
static BLANK: [u8; 256 << 10] = [0; 256 << 10];

/// Something that goes wrong once, at the next operation of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A segment is not made or recycled; nothing has changed.
    CreateFails,
    /// A write fails after this many of its sectors.
    WriteFails {
        /// How many sectors were written.
        sectors: u32,
        /// What it reports. Even space that was set aside can run out, on file systems that never overwrite.
        error: DiskError,
    },
    /// A sync reports failure and forgets what it should have written.
    SyncFails {
        /// Which unsynced sectors reach the platter all the same: bit `i % 64` for the i-th of them.
        persisted: u64,
        /// Whether reads still show the forgotten sectors, until the next crash.
        visible: bool,
    },
    /// A read fails.
    ReadFails,
    /// A write lands elsewhere in its segment.
    WriteMisdirected {
        /// How many sectors further on; backwards if negative. Clamped to the segment.
        sectors: i32,
    },
    /// A read looks elsewhere in its segment.
    ReadMisdirected {
        /// How many sectors further on; backwards if negative. Clamped to the segment.
        sectors: i32,
    },
}

/// A disk of one simulated node. See the [module](self) for the fault model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimDisk {
    /// In the order of their names.
    segments: Vec<Shared<Segment>>,
    capacity_bytes: u64,
    lying: bool,
    armed: Vec<Fault>,
    /// Faults that have happened since somebody asked.
    struck: Vec<Fault>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    id: SegmentId,
    bytes: u64,
    /// What a crash leaves; missing sectors are zeros.
    platter: BTreeMap<u64, Bytes>,
    /// What reads see first.
    cache: Cache,
}

/// Sectors in order. Most are written behind one another and are gone with the next sync, so this is a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cache(Vec<(u64, Cached)>);

impl Cache {
    fn put(&mut self, sector: u64, cached: Cached) {
        match self.0.last() {
            Some((last, _)) if sector <= *last => match self.place(sector) {
                Ok(at) => self.0[at].1 = cached,
                Err(at) => self.0.insert(at, (sector, cached)),
            },
            Some(_) | None => self.0.push((sector, cached)),
        }
    }

    fn place(&self, sector: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&sector, |(own, _)| *own)
    }

    fn get(&self, sector: u64) -> Option<&Cached> {
        self.place(sector).ok().map(|at| &self.0[at].1)
    }

    fn range(&self, first: u64, end: u64) -> &[(u64, Cached)] {
        let (from, to) =
            (self.0.partition_point(|(own, _)| *own < first), self.0.partition_point(|(own, _)| *own < end));
        &self.0[from..to]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cached {
    bytes: Bytes,
    /// The next sync carries it to the platter. A sector that is not dirty was forgotten by a sync that failed.
    dirty: bool,
}

impl SimDisk {
    /// An empty disk that can hold segments of this size together.
    pub fn new(capacity_bytes: u64) -> Self {
        Self { segments: Vec::new(), capacity_bytes, lying: false, armed: Vec::new(), struck: Vec::new() }
    }

    /// Lets `fault` happen at the next operation of its kind. Faults of one kind happen in the order they were armed.
    pub fn arm(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    /// The faults that have not happened yet.
    pub fn armed(&self) -> &[Fault] {
        &self.armed
    }

    /// The faults that have happened since this was asked last.
    pub fn take_struck(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.struck)
    }

    /// Changes how much the disk holds. Less than it holds now means that nothing more fits.
    pub fn set_capacity(&mut self, capacity_bytes: u64) {
        self.capacity_bytes = capacity_bytes;
    }

    /// From now on syncs report success and do nothing, or are honest again.
    pub fn set_lying(&mut self, lying: bool) {
        self.lying = lying;
    }

    /// The power fails: unsynced sectors survive in a subset that `below` draws (`below(n)` is in `0..n`). One crash in
    /// four loses all of them and one in four keeps all, since those are likely and a fair coin would never show them.
    pub fn crash(&mut self, mut below: impl FnMut(u64) -> u64) {
        match below(4) {
            0 => self.crash_keeping(|_, _| false),
            1 => self.crash_keeping(|_, _| true),
            _ => self.crash_keeping(|_, _| below(2) == 1),
        }
    }

    /// The power fails: exactly those unsynced sectors survive for which `keep` says so, asked in order.
    pub fn crash_keeping(&mut self, mut keep: impl FnMut(SegmentId, u64) -> bool) {
        for segment in &mut self.segments {
            let Segment { id, platter, cache, .. } = segment.change();
            for (sector, cached) in cache.0.drain(..) {
                if cached.dirty && keep(*id, sector) {
                    persist(platter, sector, cached.bytes);
                }
            }
        }
    }

    /// The sectors that were written and not synced, in order.
    pub fn unsynced(&self) -> impl Iterator<Item = (SegmentId, u64)> + '_ {
        self.segments.iter().flat_map(|segment| {
            let dirty = segment.cache.0.iter().filter(|(_, cached)| cached.dirty);
            dirty.map(|(sector, _)| (segment.id, *sector))
        })
    }

    /// The sectors that hold anything, in order: where rot is worth while.
    pub fn written(&self) -> impl Iterator<Item = (SegmentId, u64)> + '_ {
        self.segments.iter().flat_map(|segment| {
            let cached = segment.cache.0.iter().map(|(sector, _)| sector);
            let unpersisted = cached.filter(|sector| !segment.platter.contains_key(sector));
            let mut sectors: Vec<u64> = segment.platter.keys().chain(unpersisted).copied().collect();
            sectors.sort_unstable();
            sectors.into_iter().map(|sector| (segment.id, sector))
        })
    }

    /// A bit at rest turns, counted from the start of the segment. False if there is no such bit.
    pub fn flip(&mut self, segment: SegmentId, bit: u64) -> bool {
        let Ok(segment) = self.segment_mut(segment) else { return false };
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        if byte >= segment.bytes {
            return false;
        }
        let (sector, at) = (byte / SECTOR_BYTES, (byte % SECTOR_BYTES) as usize);
        let turned = |bytes: &Bytes| {
            let mut bytes = BytesMut::from(&bytes[..]);
            bytes[at] ^= mask;
            bytes.freeze()
        };
        let old = segment.platter.get(&sector).cloned().unwrap_or_else(|| Bytes::from_static(&ZEROS));
        persist(&mut segment.platter, sector, turned(&old));
        if let Ok(at) = segment.cache.place(sector) {
            let cached = &mut segment.cache.0[at].1;
            cached.bytes = turned(&cached.bytes);
        }
        true
    }

    /// A segment loses everything from `bytes` on. False if there is no such segment.
    pub fn truncate(&mut self, segment: SegmentId, bytes: u64) -> bool {
        let Ok(segment) = self.segment_mut(segment) else { return false };
        segment.bytes = segment.bytes.min(bytes);
        let sectors = segment.bytes.div_ceil(SECTOR_BYTES);
        segment.platter.split_off(&sectors);
        segment.cache.0.retain(|(sector, _)| *sector < sectors);
        true
    }

    /// The disk is replaced by an empty one.
    pub fn wipe(&mut self) {
        self.segments.clear();
    }

    /// The content is put back to that of an older copy.
    pub fn restore(&mut self, older: &Self) {
        self.segments.clone_from(&older.segments);
    }

    /// Bytes that the segments occupy.
    pub fn bytes_used(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.id.bytes)).sum()
    }

    fn segment(&self, id: SegmentId) -> Result<&Segment, DiskError> {
        let at = self.segments.binary_search_by_key(&id, |segment| segment.id).map_err(|_| DiskError::Missing)?;
        Ok(&self.segments[at])
    }

    fn segment_mut(&mut self, id: SegmentId) -> Result<&mut Segment, DiskError> {
        let at = self.segments.binary_search_by_key(&id, |segment| segment.id).map_err(|_| DiskError::Missing)?;
        Ok(self.segments[at].change())
    }

    fn insert(&mut self, segment: Segment) -> Result<(), DiskError> {
        match self.segments.binary_search_by_key(&segment.id, |other| other.id) {
            // A name that exists already is refused by any file system.
            Ok(_) => Err(DiskError::Io),
            Err(at) => {
                self.segments.insert(at, Shared::new(segment));
                Ok(())
            }
        }
    }

    /// Takes the first armed fault that `is` recognises.
    fn strike(&mut self, is: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.armed.iter().position(is)?;
        let fault = self.armed.remove(at);
        self.struck.push(fault.clone());
        Some(fault)
    }
}

impl Disk for SimDisk {
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError> {
        Ok(self.segments.iter().map(|segment| segment.id).collect())
    }

    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        if self.strike(|fault| matches!(fault, Fault::CreateFails)).is_some() {
            return Err(DiskError::Io);
        }
        let bytes = u64::from(segment.bytes);
        if self.bytes_used() + bytes > self.capacity_bytes {
            return Err(DiskError::Full);
        }
        self.insert(Segment { id: segment, bytes, platter: BTreeMap::new(), cache: Cache::default() })
    }

    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError> {
        if self.strike(|fault| matches!(fault, Fault::CreateFails)).is_some() {
            return Err(DiskError::Io);
        }
        let old = self.segment(from)?.clone();
        if from.bytes != to.bytes || old.bytes != u64::from(to.bytes) {
            return Err(DiskError::Io);
        }
        self.insert(Segment { id: to, ..old })?;
        self.delete(from)
    }

    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        self.segment(segment)?;
        self.segments.retain(|other| other.id != segment);
        Ok(())
    }

    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError> {
        Ok(self.segment(segment)?.bytes)
    }

    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError> {
        if self.strike(|fault| matches!(fault, Fault::ReadFails)).is_some() {
            return Err(DiskError::Io);
        }
        let misdirected = self.strike(|fault| matches!(fault, Fault::ReadMisdirected { .. }));
        let segment = self.segment(segment)?;
        let length = segment.bytes.saturating_sub(offset).min(bytes as u64);
        let offset = match misdirected {
            Some(Fault::ReadMisdirected { sectors }) => segment.beside(offset, length, sectors),
            Some(_) | None => offset,
        };
        Ok(segment.read(offset, length))
    }

    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError> {
        let failing = self.strike(|fault| matches!(fault, Fault::WriteFails { .. }));
        let misdirected = self.strike(|fault| matches!(fault, Fault::WriteMisdirected { .. }));
        let segment = self.segment_mut(segment)?;
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        // The space was set aside when the segment was made: a file system would have to find more.
        if offset.checked_add(length).is_none_or(|end| end > segment.bytes) {
            return Err(DiskError::Full);
        }
        let offset = match misdirected {
            Some(Fault::WriteMisdirected { sectors }) => segment.beside(offset, length, sectors),
            Some(_) | None => offset,
        };
        match failing {
            Some(Fault::WriteFails { sectors, error }) => {
                segment.write(offset, chunks, u64::from(sectors));
                Err(error)
            }
            Some(_) | None => {
                segment.write(offset, chunks, u64::MAX);
                Ok(())
            }
        }
    }

    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError> {
        let failing = self.strike(|fault| matches!(fault, Fault::SyncFails { .. }));
        let lying = self.lying;
        let segment = self.segment_mut(segment)?;
        if let Some(Fault::SyncFails { persisted, visible }) = failing {
            segment.forget(persisted, visible);
            return Err(DiskError::Io);
        }
        if !lying {
            segment.sync();
        }
        Ok(())
    }
}

impl Segment {
    fn sector(&self, sector: u64) -> &[u8] {
        let cached = self.cache.get(sector).map(|cached| &cached.bytes);
        cached.or_else(|| self.platter.get(&sector)).map_or(&ZEROS, |bytes| &bytes[..])
    }

    /// The place `sectors` further on, as far as the segment reaches.
    fn beside(&self, offset: u64, length: u64, sectors: i32) -> u64 {
        let moved = offset.saturating_add_signed(i64::from(sectors) * SECTOR_BYTES as i64);
        let latest = (self.bytes - length) / SECTOR_BYTES * SECTOR_BYTES;
        moved.min(latest + offset % SECTOR_BYTES).min(self.bytes - length)
    }

    fn read(&self, offset: u64, length: u64) -> Bytes {
        let (first, end) = (offset / SECTOR_BYTES, (offset + length).div_ceil(SECTOR_BYTES));
        let is_blank = self.platter.range(first..end).next().is_none() && self.cache.range(first, end).is_empty();
        if is_blank && length <= BLANK.len() as u64 {
            return Bytes::from_static(&BLANK[..length as usize]);
        }
        let mut bytes = BytesMut::zeroed(((end - first) * SECTOR_BYTES) as usize);
        let mut put = |sector: u64, content: &Bytes| {
            let at = ((sector - first) * SECTOR_BYTES) as usize;
            bytes[at..at + SECTOR_BYTES as usize].copy_from_slice(content);
        };
        self.platter.range(first..end).for_each(|(sector, content)| put(*sector, content));
        self.cache.range(first, end).iter().for_each(|(sector, cached)| put(*sector, &cached.bytes));
        let skip = (offset - first * SECTOR_BYTES) as usize;
        bytes.freeze().slice(skip..skip + length as usize)
    }

    /// Writes at most `sectors_max` sectors.
    fn write(&mut self, offset: u64, chunks: &[Bytes], sectors_max: u64) {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let first = offset / SECTOR_BYTES;
        let head = (offset % SECTOR_BYTES) as usize;
        // One buffer for the whole write; the sectors share it.
        let mut bytes = BytesMut::with_capacity((head + length).next_multiple_of(SECTOR_BYTES as usize));
        bytes.extend_from_slice(&self.sector(first)[..head]);
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        let tail = bytes.len() % SECTOR_BYTES as usize;
        if tail > 0 {
            let last = first + bytes.len() as u64 / SECTOR_BYTES;
            bytes.extend_from_slice(&self.sector(last)[tail..]);
        }
        let bytes = bytes.freeze();
        let sectors = (bytes.len() as u64 / SECTOR_BYTES).min(sectors_max);
        for at in 0..sectors {
            let from = (at * SECTOR_BYTES) as usize;
            // Most of a small batch is padding, which needs no share of the buffer.
            let bytes = match &bytes[from..from + SECTOR_BYTES as usize] {
                blank if *blank == ZEROS => Bytes::from_static(&ZEROS),
                written => bytes.slice_ref(written),
            };
            self.cache.put(first + at, Cached { bytes, dirty: true });
        }
    }

    fn sync(&mut self) {
        let dirty = self.cache.0.extract_if(.., |(_, cached)| cached.dirty);
        dirty.for_each(|(sector, cached)| persist(&mut self.platter, sector, cached.bytes));
    }

    /// A sync that fails: see [`Fault::SyncFails`].
    fn forget(&mut self, persisted: u64, visible: bool) {
        let mut dirty_seen = 0;
        for (sector, cached) in std::mem::take(&mut self.cache.0) {
            let reaches = cached.dirty && persisted >> (dirty_seen % 64) & 1 == 1;
            dirty_seen += u32::from(cached.dirty);
            if reaches {
                persist(&mut self.platter, sector, cached.bytes);
            } else if visible {
                self.cache.put(sector, Cached { bytes: cached.bytes, dirty: false });
            }
        }
    }
}

fn persist(platter: &mut BTreeMap<u64, Bytes>, sector: u64, bytes: Bytes) {
    // Zeros are what a missing sector reads as. Those that were written as padding are known by their place.
    if bytes.as_ptr() == ZEROS.as_ptr() || bytes[..] == ZEROS {
        platter.remove(&sector);
    } else {
        platter.insert(sector, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentId = SegmentId { sequence: 1, salt: 7, bytes: 4_096 };

    fn disk() -> SimDisk {
        let mut disk = SimDisk::new(8_192);
        disk.create(SEGMENT).expect("there is room");
        disk
    }

    fn put(disk: &mut SimDisk, offset: u64, text: &'static str) {
        disk.write(SEGMENT, offset, &[Bytes::from_static(text.as_bytes())]).expect("the write fits");
    }

    fn get(disk: &mut SimDisk, offset: u64, bytes: usize) -> String {
        let bytes = disk.read(SEGMENT, offset, bytes).expect("the read is inside");
        String::from_utf8_lossy(&bytes).replace('\0', ".")
    }

    #[test]
    fn what_is_synced_survives_a_crash_and_what_is_not_may_be_lost() {
        let mut disk = disk();
        put(&mut disk, 510, "dry!");
        disk.sync(SEGMENT).expect("honest");
        put(&mut disk, 510, "wet?");
        assert_eq!(get(&mut disk, 509, 6), ".wet?.");
        disk.crash_keeping(|_, sector| sector == 1);
        assert_eq!(get(&mut disk, 509, 6), ".drt?.", "each sector is old or new");
    }

    #[test]
    fn a_failed_sync_forgets_although_reads_may_still_show_it() {
        for visible in [false, true] {
            let mut disk = disk();
            put(&mut disk, 0, "gone");
            disk.arm(Fault::SyncFails { persisted: 0, visible });
            assert_eq!(disk.sync(SEGMENT), Err(DiskError::Io));
            assert_eq!(disk.sync(SEGMENT), Ok(()), "a later sync succeeds and means nothing");
            assert_eq!(get(&mut disk, 0, 4), if visible { "gone" } else { "...." });
            disk.crash_keeping(|_, _| true);
            assert_eq!(get(&mut disk, 0, 4), "....");
        }
    }

    #[test]
    fn a_lying_sync_keeps_nothing() {
        let mut disk = disk();
        disk.set_lying(true);
        put(&mut disk, 0, "gone");
        assert_eq!(disk.sync(SEGMENT), Ok(()));
        disk.crash_keeping(|_, _| false);
        assert_eq!(get(&mut disk, 0, 4), "....");
    }

    #[test]
    fn a_full_disk_refuses_a_segment_and_takes_it_when_there_is_room() {
        let mut disk = disk();
        let second = SegmentId { sequence: 2, ..SEGMENT };
        let third = SegmentId { sequence: 3, ..SEGMENT };
        disk.create(second).expect("two fit");
        assert_eq!(disk.create(third), Err(DiskError::Full));
        disk.delete(second).expect("it exists");
        assert_eq!(disk.create(third), Ok(()));
    }

    #[test]
    fn a_recycled_segment_keeps_its_old_content_under_a_new_name() {
        let mut disk = disk();
        put(&mut disk, 0, "old");
        let renamed = SegmentId { sequence: 2, ..SEGMENT };
        disk.recycle(SEGMENT, renamed).expect("same size");
        assert_eq!(disk.list(), Ok(vec![renamed]));
        assert_eq!(&disk.read(renamed, 0, 3).expect("inside")[..], b"old");
    }

    #[test]
    fn misdirected_operations_land_beside_and_inside() {
        let mut disk = disk();
        disk.arm(Fault::WriteMisdirected { sectors: 2 });
        put(&mut disk, 0, "lost");
        assert_eq!((get(&mut disk, 0, 4), get(&mut disk, 1_024, 4)), ("....".into(), "lost".into()));
        disk.arm(Fault::ReadMisdirected { sectors: -9 });
        assert_eq!(get(&mut disk, 1_024, 4), "....");
        disk.arm(Fault::WriteMisdirected { sectors: 99 });
        put(&mut disk, 0, "edge");
        assert_eq!(get(&mut disk, 3_584, 4), "edge");
    }

    #[test]
    fn rot_turns_one_bit_for_good() {
        let mut disk = disk();
        put(&mut disk, 0, "a");
        disk.sync(SEGMENT).expect("honest");
        assert!(disk.flip(SEGMENT, 1));
        assert_eq!(get(&mut disk, 0, 1), "c");
        assert!(!disk.flip(SEGMENT, 4_096 * 8));
    }

    #[test]
    fn segments_that_hold_zeros_cost_nothing() {
        let mut disk = disk();
        disk.write(SEGMENT, 0, &[Bytes::from_static(&[0; 4_096])]).expect("it fits");
        disk.sync(SEGMENT).expect("honest");
        assert_eq!(disk.written().count(), 0);
    }

    #[test]
    fn a_write_that_fails_has_written_its_beginning() {
        let mut disk = disk();
        disk.arm(Fault::WriteFails { sectors: 1, error: DiskError::Io });
        let long = Bytes::from(vec![b'x'; 1_024]);
        assert_eq!(disk.write(SEGMENT, 0, &[long]), Err(DiskError::Io));
        assert_eq!((get(&mut disk, 511, 2), disk.unsynced().count()), ("x.".into(), 1));
    }
}
