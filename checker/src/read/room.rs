//! How much memory a history may take while it is read.
//!
//! What is counted is operations with what lies behind their pointers, names, texts of the forms that are read whole and
//! what they are parsed into, and for each operation what the near-linear judge will need for it. Not counted are the few
//! megabytes that lines pass through.

use super::ReadError;
use crate::history::{History, Operation};

/// What the judge of zones needs for an operation: its place by key, its cluster, and its share of tables and zones.
const JUDGED_BYTES: usize = 48;

/// What may still be taken.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bytes_max: usize,
    taken: usize,
    /// How much of that is names.
    names: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Room { bytes_max, taken: 0, names: 0 }
    }

    /// Without bound.
    pub(crate) fn endless() -> Self {
        Room::new(usize::MAX)
    }

    /// How much may still be taken.
    pub(crate) fn left(&self) -> usize {
        self.bytes_max - self.taken.min(self.bytes_max)
    }

    /// Makes room for so many bytes, wanted by this line.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize, line: u64) -> Result<(), ReadError> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken <= self.bytes_max { Ok(()) } else { Err(self.exhausted(line)) }
    }

    /// Makes room for an operation.
    #[inline]
    pub(crate) fn take_operation(&mut self, operation: &Operation) -> Result<(), ReadError> {
        let bytes = size_of::<Operation>() + JUDGED_BYTES + operation.bytes_behind();
        self.take(bytes, u64::from(operation.line))
    }

    /// Makes room for the names that were given out since the last time.
    pub(crate) fn take_names(&mut self, history: &History, line: u64) -> Result<(), ReadError> {
        let before = std::mem::replace(&mut self.names, history.clients().bytes() + history.keys().bytes());
        self.take(self.names - before, line)
    }

    #[cold]
    pub(crate) fn exhausted(&self, line: u64) -> ReadError {
        ReadError::Memory { line, bytes_max: self.bytes_max }
    }
}
