//! B4: a quorum read never goes back behind an earlier one, nor behind a write that was acknowledged before it began.
//!
//! A write acknowledged by W homes, or a read that made sure of R homes, binds every later read that asks more than
//! N - W (or N - R) of them.

use super::{Judgement, KeyFacts, Property, broken, show};
use crate::table::Table;
use quorate_core::version::Version;
use serde::{Deserialize, Serialize};

/// For each key and number of homes: the highest version that so many homes are known to hold. A key's list ends where
/// nothing more is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Monotonic(Table<Vec<Version>>);

impl Monotonic {
    pub(crate) fn new(keys: usize) -> Self {
        Self(Table::of(Vec::new(), keys))
    }

    /// A write was acknowledged by so many homes, or a read at a majority or above returned.
    pub(crate) fn settled(&mut self, key: usize, homes: u8, version: Version) {
        let (known, homes) = (&mut self.0[key], usize::from(homes));
        if known.len() <= homes {
            known.resize(homes + 1, Version::ABSENT);
        }
        known[homes] = version.max(known[homes]);
    }

    /// What a read that begins now and asks so many homes must see at least.
    pub(crate) fn floor(&self, key: usize, facts: &KeyFacts, asked: u8) -> Version {
        let least = usize::from(facts.n().saturating_sub(asked)) + 1;
        self.0[key].iter().skip(least).copied().max().unwrap_or(Version::ABSENT)
    }

    /// A read returned.
    pub(crate) fn returned(floor: Version, seen: Version) -> Judgement {
        if seen >= floor {
            return Ok(());
        }
        let words = format!("a read returned {} although {} had been settled before it began", show(seen), show(floor));
        broken(Property::MonotonicReads, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_core::id::Key;
    use quorate_core::version::Hlc;

    #[test]
    fn a_read_that_goes_back_is_seen_where_quorums_overlap() {
        let version = |ticks| Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT };
        let key = Key::new(Bytes::from_static(b"k")).unwrap();
        let facts = KeyFacts {
            key,
            name: "k".into(),
            homes: vec![0, 1, 2],
            keyspace: 0,
            register: false,
            linearizable: false,
            rw: (2, 2),
        };
        let mut monotonic = Monotonic::new(1);
        monotonic.settled(0, 2, version(9));
        assert_eq!(monotonic.floor(0, &facts, 2), version(9));
        assert_eq!(monotonic.floor(0, &facts, 1), Version::ABSENT, "one home may be the third");
        monotonic.settled(0, 3, version(4));
        assert_eq!(monotonic.floor(0, &facts, 1), version(4));
        assert!(Monotonic::returned(version(9), version(8)).is_err());
        assert!(Monotonic::returned(version(9), version(9)).is_ok());
    }
}
