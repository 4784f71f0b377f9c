//! What the log asks of a disk: a handful of blocking calls, and exactly what each promises.
//!
//! Two implementations exist: files in a directory, and the simulator's disk with every fault it can think of. The
//! log believes nothing beyond the promises written here.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The name of a segment. Never reused: a recycled file gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId {
    /// The order of segments in the log; never used twice. Gaps are ordinary.
    pub sequence: u64,
    /// A number that no other segment has and nobody outside the node can guess. Every batch repeats it, so neither
    /// what a recycled file held before nor bytes that a client sends can pass for a batch of this segment.
    pub salt: u64,
    /// The size of the segment. A shorter file has lost its end.
    pub bytes: u32,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:08x}", self.sequence, self.salt, self.bytes)
    }
}

/// Why a disk did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskError {
    /// No space is left. From [`Disk::create`] only: nothing was changed.
    Full,
    /// There is no such segment.
    Missing,
    /// The disk failed. What it was doing is done, half done or not done, and only reading will tell.
    Io,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no space is left on the disk",
            Self::Missing => "the segment does not exist",
            Self::Io => "the disk failed; its state is unknown until the log is opened again",
        })
    }
}

impl core::error::Error for DiskError {}

/// A disk that holds segments. Calls block until they are done.
pub trait Disk {
    /// The segments that exist, in any order. One that a crash interrupted while it was created is not among them.
    fn list(&mut self) -> Result<Vec<SegmentId>, DiskError>;

    /// Makes a segment of `segment.bytes` zeros. Content and name are durable when Ok.
    fn create(&mut self, segment: SegmentId) -> Result<(), DiskError>;

    /// Gives the file of `from` the name `to`, which has the same size; its content may stay. Durable when Ok; after a
    /// crash one of the two names exists.
    fn recycle(&mut self, from: SegmentId, to: SegmentId) -> Result<(), DiskError>;

    /// Removes a segment. Whether it is gone after a crash is not promised.
    fn delete(&mut self, segment: SegmentId) -> Result<(), DiskError>;

    /// How many bytes a segment really has: `segment.bytes`, unless some were lost.
    fn len(&mut self, segment: SegmentId) -> Result<u64, DiskError>;

    /// At most `bytes` bytes from `offset`: fewer only at the end of the segment.
    fn read(&mut self, segment: SegmentId, offset: u64, bytes: usize) -> Result<Bytes, DiskError>;

    /// Writes the chunks one behind the other from `offset`. After a crash any subset of the sectors may have been
    /// written, until [`Disk::sync`] is Ok.
    fn write(&mut self, segment: SegmentId, offset: u64, chunks: &[Bytes]) -> Result<(), DiskError>;

    /// Makes everything written to the segment durable when Ok. After an error the bytes written since the last Ok may
    /// be lost even if reads still return them, and a later Ok says nothing about them.
    fn sync(&mut self, segment: SegmentId) -> Result<(), DiskError>;
}
