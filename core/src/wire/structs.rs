//! The meta of every message as prost reads and writes it.
//!
//! Nothing is checked here; `convert` does that. Tags are the format: a tag is never used again for something else, and
//! a field that a later version adds gets the next free one. Stamps, lives and nonces are spread over 64 bits, so they
//! are fixed-width; counters are small for years, so they are varints. A message inside a message is there or absent;
//! a plain number that is absent reads as 0, which is why enum numbers begin at 1.

use bytes::Bytes;
use prost::{Enumeration, Message};

/// Tag 1 of every message: who speaks, when, and under which epoch.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Head {
    #[prost(fixed64, tag = "1")]
    pub(super) incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
    #[prost(uint64, tag = "3")]
    pub(super) position: u64,
    #[prost(fixed64, tag = "4")]
    pub(super) clock: u64,
    #[prost(uint64, tag = "5")]
    pub(super) epoch: u64,
}

/// Tag 2 of the replica messages: whose request this is, and which phase of it.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Request {
    #[prost(uint64, tag = "1")]
    pub(super) boot: u64,
    #[prost(uint64, tag = "2")]
    pub(super) counter: u64,
    #[prost(uint32, tag = "3")]
    pub(super) slot: u32,
    #[prost(uint32, tag = "4")]
    pub(super) phase: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Version {
    #[prost(fixed64, tag = "1")]
    pub(super) hlc: u64,
    #[prost(uint32, tag = "2")]
    pub(super) node: u32,
    #[prost(fixed64, tag = "3")]
    pub(super) incarnation: u64,
    #[prost(uint64, tag = "4")]
    pub(super) sequence: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) from: u32,
    #[prost(uint32, tag = "2")]
    pub(super) to: u32,
    #[prost(fixed64, tag = "3")]
    pub(super) founding: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Introduce {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(fixed64, tag = "2")]
    pub(super) nonce: u64,
    #[prost(uint64, tag = "3")]
    pub(super) recovered: u64,
    #[prost(fixed64, tag = "4")]
    pub(super) founding: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Known {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) nonce: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Refused {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) nonce: u64,
    #[prost(enumeration = "IdentityReason", optional, tag = "4")]
    pub(super) reason: Option<i32>,
    /// With `OtherIncarnation` only.
    #[prost(fixed64, optional, tag = "5")]
    pub(super) known: Option<u64>,
    /// With `StateLost` only.
    #[prost(uint64, optional, tag = "6")]
    pub(super) heard: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum IdentityReason {
    OtherIncarnation = 1,
    SeenTwice = 2,
    StateLost = 3,
    OtherFounding = 4,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Stranger {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(uint64, tag = "2")]
    pub(super) boot: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Query {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<Request>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) key: Bytes,
    #[prost(enumeration = "Wanted", optional, tag = "4")]
    pub(super) wanted: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Wanted {
    Record = 1,
    Version = 2,
}

/// The tail is the value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Store {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<Request>,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) key: Bytes,
    #[prost(message, optional, tag = "4")]
    pub(super) version: Option<Version>,
    #[prost(enumeration = "StampRule", optional, tag = "5")]
    pub(super) stamp: Option<i32>,
    /// Length of the tail. Absent when the content is a tombstone.
    #[prost(uint32, optional, tag = "6")]
    pub(super) value_bytes: Option<u32>,
    #[prost(bool, tag = "7")]
    pub(super) tombstone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum StampRule {
    Fresh = 1,
    Existing = 2,
}

/// The tail is the value.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Found {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<Request>,
    #[prost(message, optional, tag = "3")]
    pub(super) version: Option<Version>,
    /// Length of the tail. Absent when there is no content or a tombstone.
    #[prost(uint32, optional, tag = "4")]
    pub(super) value_bytes: Option<u32>,
    #[prost(bool, tag = "5")]
    pub(super) tombstone: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Stored {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<Request>,
    #[prost(message, optional, tag = "3")]
    pub(super) held: Option<Version>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Refusal {
    #[prost(message, optional, tag = "1")]
    pub(super) head: Option<Head>,
    #[prost(message, optional, tag = "2")]
    pub(super) request: Option<Request>,
    #[prost(enumeration = "RefusalReason", optional, tag = "3")]
    pub(super) reason: Option<i32>,
    /// With `ClockAhead` only.
    #[prost(uint64, optional, tag = "4")]
    pub(super) by_micros: Option<u64>,
    /// With `StaleEpoch` only.
    #[prost(uint64, optional, tag = "5")]
    pub(super) current: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum RefusalReason {
    ClockAhead = 1,
    StaleEpoch = 2,
    NotAHome = 3,
    DiskFull = 4,
    StorageFailed = 5,
}
