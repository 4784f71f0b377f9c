//! What a home keeps for a key: a version and what was written under it.
//!
//! [`Record::merge`] is the whole conflict rule of `lww` and `register` keyspaces: the higher version wins. It is
//! associative, commutative and idempotent (invariant A2), so a home may learn writes in any order, any number of times.

use super::Version;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a write left behind.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A value of 0 bytes to 1 MiB.
    Value(Bytes),
    /// A deletion. Kept, so that an older write that arrives late stays buried.
    Tombstone,
}

/// A version with its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Where the write stands in the key's order.
    pub version: Version,
    /// What it wrote.
    pub content: Content,
}

impl Content {
    /// Bytes of value; a tombstone has none.
    pub fn len(&self) -> usize {
        match self {
            Self::Value(value) => value.len(),
            Self::Tombstone => 0,
        }
    }
    /// Whether it carries no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl core::fmt::Debug for Content {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Value(value) if value.len() <= 32 => write!(f, "\"{}\"", value.escape_ascii()),
            Self::Value(value) => write!(f, "\"{}\"… ({} bytes)", value.slice(..32).escape_ascii(), value.len()),
            Self::Tombstone => f.write_str("tombstone"),
        }
    }
}

impl Record {
    /// What a home keeps when it holds `held` and learns of `came`.
    #[must_use]
    pub fn merge(held: Option<Self>, came: Self) -> Self {
        match held {
            Some(held) if held.version >= came.version => held,
            Some(_) | None => came,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId};
    use crate::version::{Actor, Dot, Hlc};
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        (0u64..4, 0u32..3, 0u64..3).prop_map(|(ticks, node, sequence)| {
            let actor = Actor { node: NodeId(node), incarnation: Incarnation(1) };
            let version = Version { hlc: Hlc::from_ticks(ticks).unwrap(), dot: Dot { actor, sequence } };
            // One version names one write: the content follows from the version.
            let content = if sequence == 0 {
                Content::Tombstone
            } else {
                Content::Value(alloc::format!("{version}").into_bytes().into())
            };
            Record { version, content }
        })
    }
    fn merged(a: &Record, b: &Record) -> Record {
        Record::merge(Some(a.clone()), b.clone())
    }

    proptest! {
        #[test]
        fn merge_is_commutative(a in record(), b in record()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        }
        #[test]
        fn merge_is_associative(a in record(), b in record(), c in record()) {
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        }
        #[test]
        fn merge_is_idempotent(a in record(), b in record()) {
            prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
            prop_assert_eq!(merged(&a, &a), a);
        }
    }
}
