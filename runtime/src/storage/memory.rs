//! `engine = "memory"`: a map and no log, for comparison with stores that keep nothing on disk.
//!
//! A slate, wiped with the process. Every operation ends at once. A node that restarts on it has lost its identity
//! together with its data; its peers recognise that and refuse it, as they would refuse a wiped disk.

use std::collections::HashMap;

use bytes::Bytes;
use quorate_core::durable::{StoreOp, StoreOutcome};
use quorate_core::id::Key;
use quorate_core::version::{Content, Record, Version};

/// A value that is longer has a read buffer of its own and is kept as it came; a shorter one is copied out of the
/// buffer that it shares with other requests.
const COPY_BELOW: usize = 16 * 1024;

/// See the module's page.
#[derive(Default)]
pub struct MemoryStore {
    rows: HashMap<Key, Record>,
}

impl MemoryStore {
    /// Carries out an operation.
    pub fn submit(&mut self, op: StoreOp) -> StoreOutcome {
        match op {
            StoreOp::Read { key } => StoreOutcome::Found { record: self.rows.get(&key).cloned() },
            StoreOp::Merge { key, record } => self.merge(key, record),
            // Nothing outlives the process, so there is nobody to tell the fact to.
            StoreOp::Persist { .. } => StoreOutcome::Persisted,
        }
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.rows.len()
    }

    fn merge(&mut self, key: Key, mut came: Record) -> StoreOutcome {
        if let Content::Value(value) = &mut came.content
            && value.len() < COPY_BELOW
        {
            *value = Bytes::copy_from_slice(value);
        }
        if let Some(held) = self.rows.get_mut(&key) {
            let old = held.version;
            *held = Record::merge(Some(held.clone()), came);
            return StoreOutcome::Merged { old, new: held.version };
        }
        let new = came.version;
        let key = Key::new(Bytes::copy_from_slice(key.bytes())).expect("a key stays as long as it was");
        self.rows.insert(key, came);
        StoreOutcome::Merged { old: Version::ABSENT, new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::version::Hlc;

    #[test]
    fn the_higher_version_wins_whichever_comes_first() {
        let key = || Key::new(Bytes::from_static(b"k")).unwrap();
        let record = |ticks| {
            let version = Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT };
            Record { version, content: Content::Value(Bytes::from(ticks.to_string())) }
        };
        let mut store = MemoryStore::default();
        let merge = |store: &mut MemoryStore, ticks| store.submit(StoreOp::Merge { key: key(), record: record(ticks) });
        let (absent, two, three) = (Version::ABSENT, record(2).version, record(3).version);
        assert_eq!(merge(&mut store, 2), StoreOutcome::Merged { old: absent, new: two });
        assert_eq!(merge(&mut store, 3), StoreOutcome::Merged { old: two, new: three });
        assert_eq!(merge(&mut store, 2), StoreOutcome::Merged { old: three, new: three });
        assert_eq!(store.submit(StoreOp::Read { key: key() }), StoreOutcome::Found { record: Some(record(3)) });
        assert_eq!(store.records(), 1);
    }
}
