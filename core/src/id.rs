//! Names for things: one newtype each, so that no two `u64` can be swapped by accident.
//!
//! Nothing here decides anything. The only checks are those without which a value of the type would make no sense
//! (a key has 1 to 4,096 bytes, a client id at most 64).

use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number! {
    /// One member of the cluster, as the founding record numbers it. Printed `n3`.
    NodeId(u32), "n"
}
number! {
    /// Which life of a member this is: drawn when it is founded, new again when it has lost its disk.
    Incarnation(u64), "i"
}
number! {
    /// How often this incarnation has started. Durable before the first message of that boot leaves.
    Boot(u64), "b"
}
number! {
    /// Position in the history of cluster configurations. Carried by every data message.
    Epoch(u64), "e"
}
number! {
    /// Which cluster a frame belongs to, so that two clusters can never merge by a wrong address.
    ClusterId(u64), "cluster-"
}
number! {
    /// One of the Q equal parts of the slot space: the unit of replication.
    PartitionId(u16), "p"
}
number! {
    /// A position in a node's own log, in the log's unit. 0 means that nothing is in it yet.
    LogPosition(u64), "@"
}

/// The name of one request of one coordinator. Never repeated: the boot counter is durable before first use.
///
/// `slot` only tells the coordinator where it keeps the request; it takes no part in what the name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The coordinator's boot.
    pub boot: Boot,
    /// Counts the requests of that boot from 1.
    pub counter: u64,
    /// Index into the coordinator's table of requests in flight.
    pub slot: u32,
}

/// Which protocol of a node asked for a storage operation, and so whom its end concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// The replica: merges and reads of records.
    Replica,
    /// Identity: founding record, boot counter, peers.
    Identity,
    /// Leases of stamps: clock bound and dot sequence.
    Stamps,
}

/// Names one storage operation, so that its completion finds whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreToken {
    /// Who asked.
    pub owner: Owner,
    /// Counts the storage operations of this boot from 1.
    pub number: u64,
}

/// Names one client call: the host's connection and the call's number on it. Never reused within a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The host's number for the connection.
    pub connection: u64,
    /// The call's number on that connection.
    pub sequence: u64,
}

/// A client's own name for one of its operations, so that a retry can be recognised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId {
    /// Who asks; 1 to [`OperationId::CLIENT_BYTES_MAX`] bytes.
    pub client: Bytes,
    /// The client's own count; a client never uses one number for two operations.
    pub sequence: u64,
}

impl OperationId {
    /// The longest client name, in bytes.
    pub const CLIENT_BYTES_MAX: usize = 64;

    /// An id, or `None` when the client's name is empty or longer than [`Self::CLIENT_BYTES_MAX`].
    pub fn checked(client: Bytes, sequence: u64) -> Option<Self> {
        (1..=Self::CLIENT_BYTES_MAX).contains(&client.len()).then_some(Self { client, sequence })
    }
}

/// The name of a record: 1 to [`Key::BYTES_MAX`] bytes, any bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Key(Bytes);

/// A key is empty or too long. Nothing was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLength {
    /// How long it was, in bytes.
    pub bytes: usize,
}

impl fmt::Display for KeyLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key has 1 to {} bytes, not {}", Key::BYTES_MAX, self.bytes)
    }
}
impl core::error::Error for KeyLength {}

impl Key {
    /// The longest key, in bytes.
    pub const BYTES_MAX: usize = 4096;

    /// A key of these bytes.
    ///
    /// # Errors
    /// [`KeyLength`] when empty or longer than [`Self::BYTES_MAX`].
    pub fn new(bytes: Bytes) -> Result<Self, KeyLength> {
        let length = bytes.len();
        if (1..=Self::BYTES_MAX).contains(&length) { Ok(Self(bytes)) } else { Err(KeyLength { bytes: length }) }
    }

    /// The key's bytes, without a copy.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Key {
    type Error = KeyLength;
    fn try_from(bytes: Vec<u8>) -> Result<Self, KeyLength> {
        Self::new(bytes.into())
    }
}
impl From<Key> for Vec<u8> {
    fn from(key: Key) -> Self {
        key.0.into()
    }
}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
