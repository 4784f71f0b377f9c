//! Everything a node can ask of the outside world.
//!
//! Four promises stand above these enums. Sends may be lost. Every `Store` ends in exactly one `Stored`, unless the node
//! crashes, and stores take effect in the order in which they were asked for. No send or reply depends on another effect
//! being done first. Whatever must be durable before a reply has been awaited before the reply exists.

use crate::durable::StoreOp;
use crate::id::{CallId, Key, NodeId, RequestId, StoreToken};
use crate::message::{IdentityRefusal, Message};
use crate::time::Duration;
use crate::version::Version;
use alloc::borrow::Cow;
use alloc::vec::{Drain, Vec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One thing a node wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// At most once, in no order, perhaps never.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// The answer of a call: exactly one per call, unless the client went or the node crashed.
    Reply {
        /// Which call.
        call: CallId,
        /// The answer.
        response: ClientResponse,
    },
    /// Ends in exactly one `Stored` with this token.
    Store {
        /// Names the operation.
        token: StoreToken,
        /// What to do.
        op: StoreOp,
    },
    /// For logs, metrics and oracles. A host may drop it.
    Notice(Notice),
}

/// The answer of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientResponse {
    /// What became of the request.
    pub outcome: Outcome,
    /// The version that was seen (reads, misses too) or chosen (writes, indeterminate ones too); absent when neither.
    pub version: Version,
    /// Distinct homes whose answers stand behind this.
    pub acks: u8,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The value.
    Value(Bytes),
    /// There is nothing, or it was deleted.
    Missing,
    /// The write is durable on as many homes as were asked for.
    Stored,
    /// It did not happen, and will not: too few homes can answer.
    Unavailable(Unavailable),
    /// It did not happen: too much is going on. Try again after so long.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// It did not happen: it cannot be done as asked.
    Refused(Refused),
    /// It may have happened, or may yet. The response's version names it: a retry that presents it is the same write.
    Unknown,
}

/// Why too few homes can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unavailable {
    /// This node has just started.
    Starting,
    /// This node has no identity, or its peers refuse the one it has: it must stay out.
    Blank,
    /// The time ran out before enough homes had answered.
    TimedOut {
        /// How many had.
        have: u8,
        /// How many were needed.
        need: u8,
    },
    /// So many homes said no that the rest cannot be enough.
    TooManyRefusals {
        /// How many said yes.
        have: u8,
        /// How many were needed.
        need: u8,
    },
}

/// Why a request cannot be done as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// No keyspace's prefix matches the key.
    NoKeyspace,
    /// The value is too long.
    ValueTooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The most that is taken.
        bytes_max: usize,
    },
    /// More homes than the keyspace keeps copies, or none.
    HomesOutOfRange {
        /// How many were asked for.
        asked: u8,
        /// N of the keyspace.
        n: u8,
    },
    /// `linearizable` was asserted of a keyspace that is not.
    NotLinearizable,
    /// A register keyspace has one level; the one asked for is another.
    LevelFixed,
    /// The context or presented version lies too far in the future to be one of ours.
    VersionAhead {
        /// How far ahead of this node's wall, in microseconds.
        by_micros: u64,
    },
    /// The operation id was used for another operation before.
    IdReused,
    /// The operation id lies at or below what this coordinator has forgotten: it may have been done.
    IdTooOld,
}

/// Something worth telling: typed, so that logs, metrics and oracles need not read words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// All members know this node; it counts.
    Ready,
    /// This node stays out.
    Blank(BlankReason),
    /// A peer was refused.
    PeerRefused {
        /// Which.
        peer: NodeId,
        /// Why.
        reason: IdentityRefusal,
    },
    /// A coordinator chose a version for a write.
    Chosen {
        /// Which request.
        request: RequestId,
        /// Which key.
        key: Key,
        /// The version.
        version: Version,
    },
    /// A phase is complete: these homes answered yes.
    PhaseDone {
        /// Which request.
        request: RequestId,
        /// Which key.
        key: Key,
        /// What kind of phase.
        phase: PhaseKind,
        /// The highest version seen (query) or the version stored (store).
        version: Version,
        /// The homes that answered yes.
        homes: Vec<NodeId>,
    },
    /// A peer's clock reading or stamp ran too far ahead and was not adopted.
    ClockRefused {
        /// Whose.
        peer: NodeId,
        /// How far ahead, in microseconds.
        by_micros: u64,
    },
    /// A rare branch was taken. Sweeps report which marks were reached.
    Mark(Cow<'static, str>),
}

/// Kinds of coordinator phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PhaseKind {
    /// Asking homes what they hold.
    Query,
    /// Storing a new version.
    Store,
    /// Writing back what a read found.
    WriteBack,
}

/// Why a node counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlankReason {
    /// Its disk holds no identity.
    NoIdentity,
    /// A peer refused it.
    Refused {
        /// Which peer.
        by: NodeId,
        /// Why.
        reason: IdentityRefusal,
    },
}

/// The buffer a node fills. The host drains it after each input.
#[derive(Clone, Default, Debug)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Appends one.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }
    /// Takes all, in order, and keeps the buffer for the next input.
    pub fn drain(&mut self) -> Drain<'_, Effect> {
        self.0.drain(..)
    }
    /// All, in order.
    pub fn as_slice(&self) -> &[Effect] {
        &self.0
    }
}
