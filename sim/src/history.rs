//! What clients did and saw.

use bytes::Bytes;
use quorate_core::id::NodeId;
use quorate_core::version::Version;
use quorate_traces::Do;
use serde::{Deserialize, Serialize};

/// How an operation ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It took effect, or it read.
    Ok,
    /// It did not happen and never will.
    Failed,
    /// It may have happened, or may yet.
    Unknown,
}

/// One client operation, all its attempts together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpRecord {
    /// Its number in the plan; reads of the last phase follow on.
    pub op: u32,
    /// Who asked.
    pub client: u32,
    /// Which key, by number in [`crate::Report::keys`].
    pub key: u32,
    /// What it was to do.
    pub what: Do,
    /// What was written, or seen.
    pub value: Option<Bytes>,
    /// When it was asked first, in microseconds.
    pub invoke: u64,
    /// When its outcome was known to the client.
    pub ret: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The version that was seen or chosen.
    pub version: Option<Version>,
    /// The coordinator of its last attempt.
    pub via: NodeId,
    /// Homes that stand behind the answer.
    pub acks: u8,
}
