//! The write-ahead log: what this node has promised to remember.
//!
//! A ledger in ink. Entries are written down in the order they came, many at a time; nobody is told "done" before
//! the ink is dry. After a crash the last, half-written line is struck out; a line that had dried and can no longer
//! be read is never struck out quietly, because somebody was told "done".
//!
//! The log is a value and touches no disk: [`Log::append`] collects records, [`Log::seal`] makes one [`Batch`] of all
//! that waited (the group commit), the host carries the batch out on any thread ([`Batch::write`], [`Batch::sync`])
//! and reports with [`Log::committed`]. [`Log::open`] reads a disk back. Records are opaque byte strings.
//!
//! ```text
//! append* -> seal -> Batch -> write -> sync -> committed(Ok)         -> synced() has moved
//!                                           -> committed(Err(Full))  -> all above synced() is refused, the log goes on
//!                                           -> committed(Err(..))    -> stopped: open the log again from the disk
//! ```
//!
//! **Format.** The log is a row of *segments*: files of a fixed size, filled with zeros and made durable when they are
//! created, so that a sync never has to write file metadata. A segment is named by its sequence number, its size and a
//! random salt ([`SegmentId`]); there is no segment header that could be lost. A segment holds batches, each aligned
//! to [`Options::block_bytes`], so that no write ever touches a block that holds acknowledged records. A batch is a
//! header, an index (length, label and checksum of each record), the records, and zeros up to the block; `format.rs`
//! has the table. Each header repeats salt and offset, so what an earlier life of a recycled file, a
//! misdirected write, or a client's value left behind is never mistaken for a batch: a value cannot name the salt.
//!
//! **The mark.** One batch is in flight at a time, and the next is sealed only when it is durable. So a batch whose
//! first record is `n` proves that everything below `n` was durable, and perhaps acknowledged. The newest batch is
//! proven by nobody; when the log falls idle, an empty batch does it ([`Log::seal_mark`]).
//!
//! **Recovery** ([`Log::open`]) walks the batches. Damage with a later batch behind it is *loss of acknowledged
//! state*: reported in [`Recovered::lost`], by record and label where the index can still be read, and never cut
//! away. Damage with nothing behind it is a torn tail: it is cut. Before `open` returns, the newest batch is written
//! and synced once more, because it may have been read from a page cache that the disk never saw (a sync that failed
//! may leave its pages looking clean); then a mark is written over whatever stands behind it. The mark is one sector:
//! at every moment either the torn batch or the mark proves what came before.
//!
//! **What the log cannot see**: the loss of its newest whole segments together with every later mark. Peers that
//! remember a node's durable position can.
//!
//! State: the records not yet sealed, what the batch in flight covers, the segments held with the positions in them.
//! Nothing here depends on a clock; salts are mixed from [`Options::salt`].
//!
//! Source: Gray and Reuter, *Transaction Processing* (1993), chapter 9 (log manager, group commit); Rebello et al.,
//! *Can Applications Recover from fsync Failures?* (ATC 2020); Alagappan et al., *Protocol-Aware Recovery for
//! Consensus-Based Storage* (FAST 2018), for telling a torn tail from a damaged log.

mod batch;
mod disk;
mod format;
mod log;
mod reader;
mod recovery;

use core::fmt;

use serde::{Deserialize, Serialize};

pub use batch::{Batch, BatchId, Prepare};
pub use disk::{Disk, DiskError, SegmentId};
pub use log::{Committed, Log, Prepared};
pub use recovery::{Cut, Lost, OpenError, Record, Recovered};

/// Where a record stands in the log: the first record ever is 1, the next 2; 0 is "nothing yet".
///
/// Dense and monotone across segments and restarts. Only positions up to [`Log::synced`] are final: what is refused
/// or cut gives its positions back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The position behind this one.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a log that writes a million records a second ends in 580,000 years"))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The sizes of a log. All limits are the host's facts: [`Options::check`] them once where they are configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Size of a new segment in bytes: a multiple of `block_bytes`, at most 2 GiB. Default 64 MiB: a hundred times the
    /// largest usual batch, and zero-filled in a tenth of a second.
    pub segment_bytes: u32,
    /// The longest batch, header and padding included: at most `segment_bytes` and 64 MiB. Default 16 MiB.
    pub batch_bytes_max: u32,
    /// The longest record in bytes. Default 8 MiB. One record always fits in a batch.
    pub record_bytes_max: u32,
    /// The most records of one batch, 1 to 65,536. Default 16,384. One sync carries hundreds of records well; the limit
    /// bounds the index that recovery reads.
    pub batch_records_max: u32,
    /// Batches start at multiples of this: a power of two, 512 to 65,536. Default 4,096: the page of the host's cache
    /// and the sector of most disks, so that a torn write cannot reach a neighbour. Segments written with another
    /// value stay readable.
    pub block_bytes: u32,
    /// How many released segments are kept for reuse. Default 4: reuse costs a rename, a new segment costs its size
    /// in zeros.
    pub spare_segments_max: u32,
    /// Mixed into the salts of the segments of this opening. Entropy in production, drawn from the seed in a
    /// simulation; clients must not be able to guess it, and two openings should not share it.
    pub salt: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            batch_bytes_max: 16 << 20,
            record_bytes_max: 8 << 20,
            batch_records_max: 16_384,
            block_bytes: 4_096,
            spare_segments_max: 4,
            salt: 0,
        }
    }
}

/// Which of the [`Options`] contradict each other. Nothing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// `block_bytes` is not a power of two from 512 to 65,536.
    BlockBytes,
    /// `segment_bytes` is not a multiple of `block_bytes`, or is above 2 GiB.
    SegmentBytes,
    /// `batch_bytes_max` is above `segment_bytes` or above 64 MiB.
    BatchBytesMax,
    /// A batch of one record of `record_bytes_max` is longer than `batch_bytes_max`.
    RecordBytesMax,
    /// `batch_records_max` is not within 1 to 65,536.
    BatchRecordsMax,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlockBytes => "block_bytes must be a power of two from 512 to 65536",
            Self::SegmentBytes => "segment_bytes must be a multiple of block_bytes and at most 2 GiB",
            Self::BatchBytesMax => "batch_bytes_max must be at most segment_bytes and at most 64 MiB",
            Self::RecordBytesMax => "a record of record_bytes_max must fit in batch_bytes_max with its header",
            Self::BatchRecordsMax => "batch_records_max must be 1 to 65536",
        })
    }
}

impl core::error::Error for OptionsError {}

impl Options {
    /// Whether the sizes fit together.
    pub fn check(&self) -> Result<(), OptionsError> {
        if !self.block_bytes.is_power_of_two() || !(512..=65_536).contains(&self.block_bytes) {
            return Err(OptionsError::BlockBytes);
        }
        if self.segment_bytes == 0
            || !self.segment_bytes.is_multiple_of(self.block_bytes)
            || self.segment_bytes > 2 << 30
        {
            return Err(OptionsError::SegmentBytes);
        }
        if self.batch_bytes_max > self.segment_bytes || self.batch_bytes_max > format::BATCH_BYTES_LIMIT {
            return Err(OptionsError::BatchBytesMax);
        }
        if self.batch_records_max == 0 || self.batch_records_max > format::BATCH_RECORDS_LIMIT {
            return Err(OptionsError::BatchRecordsMax);
        }
        let one = format::batch_bytes(1, u64::from(self.record_bytes_max), self.block_bytes);
        if one > u64::from(self.batch_bytes_max) {
            return Err(OptionsError::RecordBytesMax);
        }
        Ok(())
    }
}
