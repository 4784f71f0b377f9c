//! Checked configuration: what a cluster is, and how patient its nodes are. Nothing unchecked exists.
//!
//! [`Founding`] is the cluster's birth certificate: written once, stored in every node's log, equal on all members
//! (peers compare a hash of it). [`Config`] is one node's patience and limits; nodes may differ in it.

use crate::id::{ClusterId, NodeId};
use crate::shared::Shared;
use crate::time::Duration;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Patience and limits of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How long a coordinator works on a request that names no time of its own. 1 ms to 60 s; default 1 s, about ten
    /// round trips across a continent, so that one lost message can be resent in time.
    pub request_timeout: Duration,
    /// How long a coordinator waits for a home before it asks again. 1 ms to 60 s; default 250 ms.
    pub resend_interval: Duration,
    /// How often a node that some peer has not accepted yet introduces itself again. 1 ms to 60 s; default 250 ms.
    pub introduce_interval: Duration,
    /// How far a peer's stamp may run ahead of our wall. Default 500 ms, the usual bound of a cluster with NTP.
    pub clock_drift_max: Duration,
    /// How many dots one durable lease covers; 1 to 2^32. Default 65,536: one extra log record per that many writes.
    pub sequence_lease: u64,
    /// The largest value, in bytes; at most 1 MiB, the default.
    pub value_bytes_max: usize,
    /// Requests that one coordinator works on at once; above it a new one is answered `Overloaded`. Default 16,384.
    pub in_flight_max: usize,
    /// Operation ids whose chosen version a coordinator remembers. Default 65,536.
    pub remembered_operations_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(1),
            resend_interval: Duration::from_millis(250),
            introduce_interval: Duration::from_millis(250),
            clock_drift_max: Duration::from_millis(500),
            sequence_lease: 65_536,
            value_bytes_max: Self::VALUE_BYTES_LIMIT,
            in_flight_max: 16_384,
            remembered_operations_max: 65_536,
        }
    }
}

impl Config {
    /// No value is ever longer than this, whatever a configuration says: 1 MiB.
    pub const VALUE_BYTES_LIMIT: usize = 1 << 20;
    /// No request takes longer than this: 60 s.
    pub const REQUEST_TIMEOUT_LIMIT: Duration = Duration::from_secs(60);

    /// The configuration, if every field lies in its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that does not.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let span = Duration::from_millis(1)..=Self::REQUEST_TIMEOUT_LIMIT;
        for (field, value) in [
            ("request_timeout", self.request_timeout),
            ("resend_interval", self.resend_interval),
            ("introduce_interval", self.introduce_interval),
            ("clock_drift_max", self.clock_drift_max),
        ] {
            if !span.contains(&value) {
                return Err(ConfigError::OutOfRange { field, range: "1 ms to 60 s" });
            }
        }
        let counts = [
            ("sequence_lease", self.sequence_lease, 1 << 32),
            ("in_flight_max", self.in_flight_max as u64, 1 << 20),
            ("remembered_operations_max", self.remembered_operations_max as u64, 1 << 24),
        ];
        for (field, value, max) in counts {
            if value == 0 || value > max {
                return Err(ConfigError::OutOfRange { field, range: "1 to its documented maximum" });
            }
        }
        if self.value_bytes_max > Self::VALUE_BYTES_LIMIT {
            return Err(ConfigError::OutOfRange { field: "value_bytes_max", range: "0 to 1 MiB" });
        }
        Ok(self)
    }
}

/// How conflicts of a key are resolved, and what its operations promise. A key belongs to exactly one mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Last writer wins by hybrid time; levels from ONE to ALL.
    Lww,
    /// A linearizable register: get, put, delete.
    Register,
}

/// All keys with one prefix, and how they are kept. The longest matching prefix decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Keys that begin with this belong here; the empty prefix takes the rest.
    pub prefix: Bytes,
    /// Conflict policy and promises.
    pub mode: Mode,
    /// N: copies kept; the first `n` homes of the partition. 1 to the cluster's `rf`.
    pub n: u8,
    /// R: homes that a read waits for, unless the request says otherwise. Register keyspaces always use a majority.
    pub r: u8,
    /// W: homes that a write waits for. Likewise.
    pub w: u8,
}

impl Keyspace {
    /// How many of N make a majority.
    pub fn majority(&self) -> u8 {
        self.n / 2 + 1
    }
}

/// One member as the founding record names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// Failure domain outside the rack; two copies share a zone only when there are too few zones.
    pub zone: String,
    /// Failure domain: two copies share a rack only when there are too few racks.
    pub rack: String,
}

/// A cluster's founding record. Build it with [`Founding::checked`]. It never changes and can name thousands, so clones
/// share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Founding(Shared<FoundingRecord>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FoundingRecord {
    cluster: ClusterId,
    members: Vec<Member>,
    partitions: u16,
    rf: u8,
    keyspaces: Vec<Keyspace>,
}

impl Founding {
    /// The most copies of a partition.
    pub const RF_LIMIT: u8 = 15;
    /// The most members.
    pub const MEMBERS_LIMIT: usize = 4_096;
    /// The most keyspaces.
    pub const KEYSPACES_LIMIT: usize = 1_024;

    /// A founding record whose parts fit one another.
    ///
    /// # Errors
    /// [`ConfigError`] names what does not: no or repeated members, a partition count that is no power of two from 16
    /// to 16,384, `rf` outside 1..=members, no or repeated keyspace prefixes, or N, R, W outside 1..=N..=rf.
    pub fn checked(
        cluster: ClusterId,
        mut members: Vec<Member>,
        partitions: u16,
        rf: u8,
        mut keyspaces: Vec<Keyspace>,
    ) -> Result<Self, ConfigError> {
        members.sort_by_key(|member| member.id);
        if members.is_empty() || members.len() > Self::MEMBERS_LIMIT {
            return Err(ConfigError::OutOfRange { field: "members", range: "1 to 4,096" });
        }
        if members.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(ConfigError::Repeated { field: "member id" });
        }
        if !partitions.is_power_of_two() || !(16..=16_384).contains(&partitions) {
            return Err(ConfigError::OutOfRange { field: "partitions", range: "a power of two from 16 to 16,384" });
        }
        if rf == 0 || rf > Self::RF_LIMIT || usize::from(rf) > members.len() {
            return Err(ConfigError::OutOfRange { field: "rf", range: "1 to the number of members, at most 15" });
        }
        // Longest prefix first, so that the first match is the right one; equal lengths in byte order.
        keyspaces.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then_with(|| a.prefix.cmp(&b.prefix)));
        if keyspaces.is_empty() || keyspaces.len() > Self::KEYSPACES_LIMIT {
            return Err(ConfigError::OutOfRange { field: "keyspaces", range: "1 to 1,024" });
        }
        if keyspaces.windows(2).any(|pair| pair[0].prefix == pair[1].prefix) {
            return Err(ConfigError::Repeated { field: "keyspace prefix" });
        }
        for keyspace in &keyspaces {
            let Keyspace { n, r, w, .. } = *keyspace;
            if n == 0 || n > rf || r == 0 || r > n || w == 0 || w > n {
                return Err(ConfigError::OutOfRange { field: "keyspace n, r, w", range: "1 <= r, w <= n <= rf" });
            }
        }
        Ok(Self(Shared::new(FoundingRecord { cluster, members, partitions, rf, keyspaces })))
    }

    /// The cluster's number.
    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }
    /// All members, in order of their numbers.
    pub fn members(&self) -> &[Member] {
        &self.0.members
    }
    /// Whether a node is a member.
    pub fn names(&self, node: NodeId) -> bool {
        self.0.members.binary_search_by_key(&node, |member| member.id).is_ok()
    }
    /// Q: how many partitions the slot space is cut into.
    pub fn partitions(&self) -> u16 {
        self.0.partitions
    }
    /// Homes per partition.
    pub fn rf(&self) -> u8 {
        self.0.rf
    }
    /// The keyspaces, longest prefix first.
    pub fn keyspaces(&self) -> &[Keyspace] {
        &self.0.keyspaces
    }
    /// The keyspace of a key, or `None` when no prefix matches.
    pub fn keyspace(&self, key: &[u8]) -> Option<&Keyspace> {
        self.0.keyspaces.iter().find(|keyspace| key.starts_with(&keyspace.prefix))
    }
    /// A hash of the whole record, by which peers see at once that they were founded alike.
    pub fn fingerprint(&self) -> u64 {
        let bytes = postcard::to_allocvec(self).expect("a founding record is plain data");
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }
}

/// A configuration that cannot be. Nothing was built from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A field lies outside its range.
    OutOfRange {
        /// Which.
        field: &'static str,
        /// What would fit.
        range: &'static str,
    },
    /// Something that must be unique occurs twice.
    Repeated {
        /// What.
        field: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { field, range } => write!(f, "{field} is out of range: {range}"),
            Self::Repeated { field } => write!(f, "{field} occurs twice"),
        }
    }
}
impl core::error::Error for ConfigError {}
