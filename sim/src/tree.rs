//! The tree below a simulated node's log: an ordered map that a crash throws back.
//!
//! A real tree keeps what was applied in memory until it is flushed, and a crash may leave it at any point since its
//! last flush. So this one is two maps, as it is and as it was flushed, and the batches between them; a crash applies as
//! many of these to the flushed map as the disk's stream says.

use quorate_core::durable::{DurableState, StoreError};
use quorate_core::id::Key;
use quorate_core::store::{MapTree, Tree, TreeBatch};
use quorate_core::version::Record;
use quorate_core::wal::Position;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A map with a memory of what a crash may take back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SimTree {
    live: MapTree,
    flushed: MapTree,
    /// Applied since the last flush, oldest first.
    since: Vec<Batch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    rows: BTreeMap<Key, Record>,
    facts: Option<DurableState>,
    applied: Position,
}

impl SimTree {
    /// All records, in order of their keys.
    pub(crate) fn rows(&self) -> &BTreeMap<Key, Record> {
        self.live.rows()
    }

    /// The position it stands for.
    pub(crate) fn applied(&self) -> Position {
        self.live.applied()
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
        for Batch { rows, facts, applied } in self.since.drain(..count) {
            self.flushed.apply(TreeBatch { rows, facts, applied }).expect("a map takes everything");
        }
    }
}

impl Tree for SimTree {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.live.get(key)
    }

    fn apply(&mut self, batch: TreeBatch) -> Result<(), StoreError> {
        let TreeBatch { rows, facts, applied } = batch.clone();
        self.since.push(Batch { rows, facts, applied });
        self.live.apply(batch)
    }

    fn cut(&self) -> Result<(Position, DurableState), StoreError> {
        self.live.cut()
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
            cuts.push((tree.rows().clone(), tree.cut().unwrap()));
        }
        tree.flushed(Position(1));
        assert_eq!(tree.unflushed(), 3);
        for (kept, cut) in cuts.iter().enumerate().take(4) {
            let mut thrown = tree.clone();
            thrown.throw_back(kept);
            assert_eq!((thrown.rows().clone(), thrown.cut().unwrap()), *cut);
            assert_eq!(thrown.unflushed(), 0);
        }
    }
}
