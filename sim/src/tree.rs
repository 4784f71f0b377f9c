//! The tree below a simulated node's log: an ordered map that a crash throws back.
//!
//! A real tree keeps what was applied in memory until it is flushed, and a crash may leave it at any point since its
//! last flush. So this one is two maps, as it is and as it was flushed, and the batches between them; a crash applies as
//! many of these to the flushed map as the disk's stream says.
//!
//! Worlds are cloned for snapshots and branches, so clones share what neither has changed since: rows lie in shards, and
//! the first write to a shard after a clone copies that shard alone.

use quorate_core::durable::{DurableState, StoreError};
use quorate_core::id::Key;
use quorate_core::shared::Shared;
use quorate_core::store::{Tree, TreeBatch};
use quorate_core::version::Record;
use quorate_core::wal::Position;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Into how many parts rows are divided.
const SHARDS: usize = 64;

/// A map with a memory of what a crash may take back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SimTree {
    live: State,
    flushed: State,
    /// Applied since the last flush, oldest first.
    since: Vec<Shared<Batch>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    rows: BTreeMap<Key, Record>,
    facts: Option<DurableState>,
    applied: Position,
}

/// The rows and facts of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    rows: Rows,
    facts: DurableState,
    applied: Position,
}

impl State {
    fn apply(&mut self, batch: &Batch) {
        assert!(batch.applied >= self.applied, "batches are applied in log order");
        for (key, record) in &batch.rows {
            self.rows.insert(key.clone(), record.clone());
        }
        if let Some(facts) = &batch.facts {
            self.facts = facts.clone();
        }
        self.applied = batch.applied;
    }
}

/// Records by key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows(Vec<Shared<BTreeMap<Key, Record>>>);

impl Default for Rows {
    fn default() -> Self {
        Self(vec![Shared::default(); SHARDS])
    }
}

impl Rows {
    fn shard(key: &Key) -> usize {
        xxhash_rust::xxh3::xxh3_64(key.bytes()) as usize % SHARDS
    }

    fn get(&self, key: &Key) -> Option<&Record> {
        self.0[Self::shard(key)].get(key)
    }

    fn insert(&mut self, key: Key, record: Record) {
        self.0[Self::shard(&key)].change().insert(key, record);
    }
}

impl Serialize for Rows {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<(&Key, &Record)> = self.0.iter().flat_map(|shard| shard.iter()).collect();
        pairs.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut rows = Self::default();
        for (key, record) in Vec::<(Key, Record)>::deserialize(from)? {
            rows.insert(key, record);
        }
        Ok(rows)
    }
}

impl SimTree {
    /// The record of a key.
    pub(crate) fn record(&self, key: &Key) -> Option<&Record> {
        self.live.rows.get(key)
    }

    /// The position it stands for.
    pub(crate) fn applied(&self) -> Position {
        self.live.applied
    }

    /// How many batches a crash may take back.
    pub(crate) fn unflushed(&self) -> usize {
        self.since.len()
    }

    /// Everything up to `position` is on disk: no crash takes it back any more.
    pub(crate) fn flushed(&mut self, position: Position) {
        let covered = self.since.iter().take_while(|batch| batch.applied <= position).count();
        self.flush(covered);
    }

    /// A crash: of the batches since the last flush only the first `kept` remain.
    pub(crate) fn throw_back(&mut self, kept: usize) {
        self.flush(kept.min(self.since.len()));
        self.since.clear();
        self.live = self.flushed.clone();
    }

    fn flush(&mut self, count: usize) {
        for batch in self.since.drain(..count) {
            self.flushed.apply(&batch);
        }
    }
}

impl Tree for SimTree {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.record(key).cloned())
    }

    fn apply(&mut self, batch: TreeBatch) -> Result<(), StoreError> {
        let TreeBatch { rows, facts, applied } = batch;
        let batch = Batch { rows, facts, applied };
        self.live.apply(&batch);
        self.since.push(Shared::new(batch));
        Ok(())
    }

    fn cut(&self) -> Result<(Position, DurableState), StoreError> {
        Ok((self.live.applied, self.live.facts.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::id::Boot;
    use quorate_core::version::{Content, Hlc, Version};

    fn batch(at: u64, keys: &[&'static str]) -> TreeBatch {
        let record = |key: &&'static str| {
            let version = Version { hlc: Hlc::from_ticks(at).unwrap(), ..Version::ABSENT };
            let key = Key::new(bytes::Bytes::from_static(key.as_bytes())).unwrap();
            (key, Record { version, content: Content::Tombstone })
        };
        let facts = at.is_multiple_of(2).then(|| DurableState { boot: Boot(at), ..DurableState::default() });
        TreeBatch { rows: keys.iter().map(record).collect(), facts, applied: Position(at) }
    }

    #[test]
    fn a_crash_leaves_any_cut_since_the_last_flush() {
        let mut tree = SimTree::default();
        let mut cuts = vec![];
        for (at, keys) in [(1, &["a"][..]), (2, &["a", "b"]), (3, &["c"]), (4, &["b"])] {
            tree.apply(batch(at, keys)).unwrap();
            cuts.push((tree.live.rows.clone(), tree.cut().unwrap()));
        }
        tree.flushed(Position(1));
        assert_eq!(tree.unflushed(), 3);
        for (kept, cut) in cuts.iter().enumerate().take(4) {
            let mut thrown = tree.clone();
            thrown.throw_back(kept);
            assert_eq!((thrown.live.rows.clone(), thrown.cut().unwrap()), *cut);
            assert_eq!(thrown.unflushed(), 0);
        }
    }

    #[test]
    fn a_clone_keeps_what_it_had_when_the_other_goes_on() {
        let mut tree = SimTree::default();
        tree.apply(batch(1, &["a", "b", "c"])).unwrap();
        let before = tree.clone();
        tree.apply(batch(2, &["b"])).unwrap();
        let key = Key::new(bytes::Bytes::from_static(b"b")).unwrap();
        assert_ne!(before.record(&key), tree.record(&key));
        assert_eq!((before.applied(), before.unflushed()), (Position(1), 1));
        let bytes = postcard::to_allocvec(&tree).unwrap();
        assert_eq!(postcard::from_bytes::<SimTree>(&bytes).unwrap(), tree);
    }
}
