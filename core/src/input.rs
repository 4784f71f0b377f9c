//! Everything the outside world can tell a node.

use crate::durable::StoreOutcome;
use crate::id::{CallId, Key, LogPosition, NodeId, OperationId, StoreToken};
use crate::message::Message;
use crate::time::Duration;
use crate::version::Version;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One thing that happened to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A message arrived from a peer: perhaps late, perhaps twice.
    Message {
        /// Who the transport says it is from.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A client asks for something.
    Client {
        /// Where the answer must go.
        call: CallId,
        /// What it asks.
        request: ClientRequest,
    },
    /// Nobody waits for the answer of this call any more.
    ClientGone {
        /// Which call.
        call: CallId,
    },
    /// A storage operation has ended.
    Stored {
        /// Which.
        token: StoreToken,
        /// How.
        outcome: StoreOutcome,
        /// Up to where the log is durable now.
        synced: LogPosition,
    },
    /// The transport lost its connection to a peer: a hint, never a proof.
    PeerLost {
        /// Which peer.
        peer: NodeId,
    },
    /// Time has passed. Early and extra ticks are harmless.
    Tick,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRequest {
    /// The client's name for this operation; a retry at the same coordinator that carries it finds its first attempt.
    pub id: Option<OperationId>,
    /// Which key.
    pub key: Key,
    /// How long the coordinator may take; the configuration's `request_timeout` when absent, never above 60 s.
    pub timeout: Option<Duration>,
    /// How many homes must answer.
    pub consistency: Consistency,
    /// What to do.
    pub command: Command,
}

/// How many homes a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// What the keyspace says.
    #[default]
    Keyspace,
    /// One home.
    One,
    /// Two homes.
    Two,
    /// A majority of the homes.
    Quorum,
    /// Every home.
    All,
    /// So many homes: R of a read, W of a write.
    Homes(u8),
    /// An assertion: refused unless the keyspace is linearizable.
    Linearizable,
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Read it.
    Get,
    /// Write a value.
    Put {
        /// The value, at most `value_bytes_max` bytes.
        value: Bytes,
        /// What the writer had seen: the write gets a higher version than this.
        context: Option<Version>,
        /// A retry: the version that an indeterminate answer returned. Only the store phase is repeated.
        presented: Option<Version>,
    },
    /// Delete it: a write of "nothing", with the same rules.
    Delete {
        /// As for a put.
        context: Option<Version>,
        /// As for a put.
        presented: Option<Version>,
    },
}
