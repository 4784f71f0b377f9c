//! The words between a coordinator and the homes of a key.

use crate::id::{Epoch, Key, RequestId};
use crate::version::{Content, Record, Version};
use serde::{Deserialize, Serialize};

/// | message | from        | to        | when                                                                   |
/// |---------|-------------|-----------|------------------------------------------------------------------------|
/// | `Query` | coordinator | each home | a read begins, or a register write looks for the highest tag           |
/// | `Store` | coordinator | each home | a write has its version; a read writes back what some home has not got |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRequest {
    /// "What do you hold?"
    Query {
        /// Whose question.
        request: RequestId,
        /// Which phase of it: an answer to another phase counts for nothing.
        phase: u8,
        /// Of which key.
        key: Key,
        /// How much of it.
        wanted: Wanted,
    },
    /// "Merge this, and tell me when it is durable."
    Store {
        /// Whose write.
        request: RequestId,
        /// Which phase of it.
        phase: u8,
        /// Which key.
        key: Key,
        /// What to merge.
        record: Record,
        /// Whether the version's stamp is to be judged against the home's wall.
        stamp: StampRule,
    },
}

/// How much of a record a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Version and content.
    Record,
    /// The version alone.
    Version,
}

/// Whether a home judges a version's stamp against its own wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StampRule {
    /// A new last-writer-wins write: a stamp from the far future is refused for good.
    Fresh,
    /// A version that exists already, or a register tag: always passes.
    Existing,
}

/// | message   | from   | to          | when                                                  |
/// |-----------|--------|-------------|-------------------------------------------------------|
/// | `Found`   | a home | coordinator | it has read what is durable                           |
/// | `Stored`  | a home | coordinator | the version, or a higher one, is durable on this home |
/// | `Refused` | a home | coordinator | it will not, or cannot                                |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaReply {
    /// "This is what I hold, durably."
    Found {
        /// Whose question.
        request: RequestId,
        /// Which phase of it.
        phase: u8,
        /// What was found.
        found: Found,
    },
    /// "I have it, durably."
    Stored {
        /// Whose write.
        request: RequestId,
        /// Which phase of it.
        phase: u8,
        /// The version that the home holds now: the one sent, or a higher one.
        held: Version,
    },
    /// "No."
    Refused {
        /// Whose request.
        request: RequestId,
        /// Which phase of it.
        phase: u8,
        /// Why.
        refusal: Refusal,
    },
}

/// What a home holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The version, [`Version::ABSENT`] where there is nothing.
    pub version: Version,
    /// What was written, when it was asked for and there is something.
    pub content: Option<Content>,
}

/// Why a home says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The stamp runs too far ahead of this home's wall. Not for good: a copy of the same message that arrives late
    /// enough would pass, so a coordinator must not call the write failed because of this.
    ClockAhead {
        /// How far ahead, in microseconds.
        by_micros: u64,
    },
    /// Decided under another epoch than the home's.
    StaleEpoch {
        /// The home's epoch.
        current: Epoch,
    },
    /// The home is no home of this key, or the key belongs to no keyspace of its.
    NotAHome,
    /// The home's disk is full. It may take the write later.
    DiskFull,
    /// The home's storage failed, or found damage.
    StorageFailed,
}
