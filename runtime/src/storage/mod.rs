//! What a node's storage operations end in: a log with a tree below it, or a map.
//!
//! | file         | what it knows                                                            |
//! |--------------|--------------------------------------------------------------------------|
//! | `disk_store` | the log, the tree, their threads; group commit, checkpoints, fail-stop   |
//! | `lsm`        | rows, the record cache, the consistent cut, over a library's LSM tree    |
//! | `memory`     | a map without a log, for comparison                                      |
//! | `worker`     | a thread that does one blocking thing at a time                          |
//!
//! The rules of durability are not here: `quorate_core::store` and `quorate_core::wal` decide what is applied and
//! acknowledged when; this module gives them a disk, a tree and time.

mod disk_store;
mod lsm;
mod memory;
mod worker;

pub use disk_store::{DiskOptions, DiskStore, Failure, StartError, StorageFigures};
pub use lsm::{LsmOptions, LsmTree};
pub use memory::MemoryStore;
pub use worker::Bell;

use quorate_core::durable::{StoreOp, StoreOutcome};
use quorate_core::id::{LogPosition, StoreToken};
use quorate_core::wal::Disk;

/// A node's storage of either kind.
pub enum Engine<D> {
    /// A log and a tree.
    Disk(Box<DiskStore<D>>),
    /// A map.
    Memory(MemoryStore),
}

impl<D: Disk + Send + 'static> Engine<D> {
    /// Asks for an operation. `Some` when it has ended already.
    pub fn submit(&mut self, token: StoreToken, op: StoreOp) -> Option<StoreOutcome> {
        match self {
            Self::Disk(store) => store.submit(token, op),
            Self::Memory(store) => Some(store.submit(op)),
        }
    }

    /// How much of the log is durable; a map has no log and stays at nothing.
    pub fn synced(&self) -> LogPosition {
        match self {
            Self::Disk(store) => store.synced(),
            Self::Memory(_) => LogPosition(0),
        }
    }

    /// See [`DiskStore::commit`].
    ///
    /// # Errors
    /// [`Failure`]: stop.
    pub fn commit(&mut self, inline: bool, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Failure> {
        match self {
            Self::Disk(store) => store.commit(inline, ended),
            Self::Memory(_) => Ok(()),
        }
    }

    /// See [`DiskStore::collect`].
    ///
    /// # Errors
    /// [`Failure`]: stop.
    pub fn collect(&mut self, ended: &mut Vec<(StoreToken, StoreOutcome)>) -> Result<(), Failure> {
        match self {
            Self::Disk(store) => store.collect(ended),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Whether a batch is on its way to the disk.
    pub fn is_syncing(&self) -> bool {
        match self {
            Self::Disk(store) => store.is_syncing(),
            Self::Memory(_) => false,
        }
    }

    /// See [`DiskStore::mark_due`].
    pub fn mark_due(&self) -> bool {
        match self {
            Self::Disk(store) => store.mark_due(),
            Self::Memory(_) => false,
        }
    }

    /// See [`DiskStore::mark`].
    pub fn mark(&mut self) {
        match self {
            Self::Disk(store) => store.mark(),
            Self::Memory(_) => {}
        }
    }

    /// See [`DiskStore::flush_all`].
    ///
    /// # Errors
    /// [`Failure`]: the next start replays the log instead.
    pub fn flush_all(&mut self) -> Result<(), Failure> {
        match self {
            Self::Disk(store) => store.flush_all(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Figures for whoever watches.
    pub fn figures(&self) -> StorageFigures {
        match self {
            Self::Disk(store) => store.figures(),
            Self::Memory(store) => {
                StorageFigures { records_estimate: store.records() as u64, ..StorageFigures::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests;
