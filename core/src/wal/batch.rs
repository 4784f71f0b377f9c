//! What the log wants done to a disk, as values that any thread may carry out.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Disk, DiskError, Position, SegmentId};

/// The name of a batch, to report its end with. Rises through the life of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId(pub u64);

/// A new segment to make, by recycling a released one where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    pub(super) segment: SegmentId,
    pub(super) from: Option<SegmentId>,
}

impl Prepare {
    /// Makes the segment. Report the result with [`super::Log::prepared`].
    pub fn carry_out<D: Disk + ?Sized>(&self, disk: &mut D) -> Result<(), DiskError> {
        match self.from {
            Some(from) => disk.recycle(from, self.segment).map_err(half_done),
            None => disk.create(self.segment),
        }
    }
}

/// One group commit: everything that waited when it was sealed.
///
/// [`Batch::write`], then [`Batch::sync`], then report to [`super::Log::committed`]; the first error ends the batch.
/// They are two calls so that a host may time them, and a simulator crash between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub(super) id: BatchId,
    pub(super) prepare: Option<Prepare>,
    pub(super) segment: SegmentId,
    pub(super) offset: u32,
    pub(super) last: Position,
    pub(super) records: u32,
    pub(super) bytes: u32,
    pub(super) chunks: Vec<Bytes>,
}

impl Batch {
    /// Its name.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// What [`super::Log::synced`] will be once this batch is committed.
    pub fn last(&self) -> Position {
        self.last
    }

    /// How many records it holds; 0 for a mark.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// How many bytes it writes, header and padding included.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Writes the batch, making its segment first if it begins one. Nothing is durable yet.
    ///
    /// `Full` means that the segment could not be made and nothing was written.
    pub fn write<D: Disk + ?Sized>(&self, disk: &mut D) -> Result<(), DiskError> {
        if let Some(prepare) = &self.prepare {
            prepare.carry_out(disk)?;
        }
        disk.write(self.segment, u64::from(self.offset), &self.chunks).map_err(half_done)
    }

    /// Makes what [`Batch::write`] wrote durable. Never call it again after an error.
    pub fn sync<D: Disk + ?Sized>(&self, disk: &mut D) -> Result<(), DiskError> {
        disk.sync(self.segment).map_err(half_done)
    }
}

/// The space was set aside before, so a disk that is full now has failed half-way; only creation fails cleanly.
fn half_done(error: DiskError) -> DiskError {
    match error {
        DiskError::Full | DiskError::Io => DiskError::Io,
        DiskError::Missing => DiskError::Missing,
    }
}
