//! What a node asks of its storage, and what it gets back.
//!
//! The words only; [`crate::store`] is the storage that understands them.

use crate::config::Founding;
use crate::id::{Boot, Incarnation, Key, NodeId};
use crate::shared::Shared;
use crate::version::{Hlc, Record, Version};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// A storage operation. Operations take effect in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOp {
    /// Combine what is there with what came ([`Record::merge`]); ends when the result is durable.
    Merge {
        /// Which key.
        key: Key,
        /// What came.
        record: Record,
    },
    /// Read what is durable.
    Read {
        /// Which key.
        key: Key,
    },
    /// Make a fact about this node itself durable.
    Persist {
        /// Which.
        fact: Fact,
    },
}

/// How a storage operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOutcome {
    /// The merge is durable.
    Merged {
        /// The version held before; [`Version::ABSENT`] when there was none.
        old: Version,
        /// The version held now.
        new: Version,
    },
    /// What a read found.
    Found {
        /// The record, if any.
        record: Option<Record>,
    },
    /// The fact is durable.
    Persisted,
    /// It is not known to have happened. A merge that failed on damage may still come to light after a restart, since
    /// its operand is in the log: whoever asked must not call it undone.
    Failed {
        /// Why.
        error: StoreError,
    },
}

/// Why a storage operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreError {
    /// No space is left; reads still work, and writes will when there is space again.
    Full,
    /// What was read fails its checksum.
    Corrupt,
    /// The disk refused.
    Io,
}

/// A fact about a node itself that must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// Who it is, under which founding record, and whether all members know.
    Identity(Identity),
    /// How often it has started.
    Boot(Boot),
    /// Stamps up to here, and dots below there, may have been given out.
    Leases(Leases),
    /// A peer's life and latest boot.
    Peer {
        /// Which peer.
        peer: NodeId,
        /// What is known of it.
        known: KnownPeer,
    },
}

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number among the members.
    pub me: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The cluster's founding record.
    pub founding: Founding,
    /// Whether every member has remembered this life: before that it counts for nothing.
    pub complete: bool,
}

/// What may have been used already: whoever recovers starts above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    /// No stamp above this was given out.
    pub hlc: Hlc,
    /// No dot with this sequence or a higher one was given out.
    pub sequence: u64,
}

/// What a node remembers of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPeer {
    /// Its life.
    pub incarnation: Incarnation,
    /// Its latest boot.
    pub boot: Boot,
    /// The nonce of that boot.
    pub nonce: u64,
}

/// All facts together: what a node recovers from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableState {
    /// Absent on a disk that no node was ever founded on.
    pub identity: Option<Identity>,
    /// The last boot that was made durable.
    pub boot: Boot,
    /// See [`Leases`].
    pub leases: Leases,
    /// What is known of the peers. Shared, since each commit of a fact takes a copy of all facts.
    pub peers: Shared<BTreeMap<NodeId, KnownPeer>>,
}

impl DurableState {
    /// Learns a fact; a later one replaces an earlier one of its kind.
    pub fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Identity(identity) => self.identity = Some(identity),
            Fact::Boot(boot) => self.boot = boot,
            Fact::Leases(leases) => self.leases = leases,
            Fact::Peer { peer, known } => {
                self.peers.change().insert(peer, known);
            }
        }
    }
}

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "no space is left on the disk",
            Self::Corrupt => "what was read fails its checksum",
            Self::Io => "the disk failed",
        })
    }
}
impl core::error::Error for StoreError {}
