//! The tree below a simulated node's log: an ordered map that a crash throws back.
//!
//! A real tree keeps what was applied in memory until it is flushed, and a crash may leave it at any point since its
//! last flush. This one keeps, for each batch applied since then, what the batch replaced; a crash undoes as many
//! batches as the disk's stream says, so a snapshot costs nothing until it is needed.

use quorate_core::durable::{DurableState, StoreError};
use quorate_core::id::Key;
use quorate_core::store::{Tree, TreeBatch};
use quorate_core::version::Record;
use quorate_core::wal::Position;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A map with a memory of what a crash may take back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SimTree {
    rows: BTreeMap<Key, Record>,
    facts: DurableState,
    applied: Position,
    /// What each batch since the last flush replaced, oldest first.
    undo: Vec<Undo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Undo {
    rows: Vec<(Key, Option<Record>)>,
    facts: Option<DurableState>,
    before: Position,
    after: Position,
}

impl SimTree {
    /// All records, in order of their keys.
    pub(crate) fn rows(&self) -> &BTreeMap<Key, Record> {
        &self.rows
    }

    /// The position it stands for.
    pub(crate) fn applied(&self) -> Position {
        self.applied
    }

    /// How many batches a crash may take back.
    pub(crate) fn unflushed(&self) -> usize {
        self.undo.len()
    }

    /// Everything up to `position` is on disk: no crash takes it back any more.
    pub(crate) fn flushed(&mut self, position: Position) {
        let covered = self.undo.iter().take_while(|undo| undo.after <= position).count();
        self.undo.drain(..covered);
    }

    /// A crash: of the batches since the last flush only the first `kept` remain.
    pub(crate) fn throw_back(&mut self, kept: usize) {
        while self.undo.len() > kept {
            let Undo { rows, facts, before, .. } = self.undo.pop().expect("longer than what is kept");
            for (key, record) in rows {
                match record {
                    Some(record) => self.rows.insert(key, record),
                    None => self.rows.remove(&key),
                };
            }
            if let Some(facts) = facts {
                self.facts = facts;
            }
            self.applied = before;
        }
        // What is left was read back from the disk.
        self.undo.clear();
    }
}

impl Tree for SimTree {
    fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn apply(&mut self, batch: TreeBatch) -> Result<(), StoreError> {
        assert!(batch.applied >= self.applied, "batches are applied in log order");
        let TreeBatch { rows, facts, applied } = batch;
        let rows = rows.into_iter().map(|(key, record)| (key.clone(), self.rows.insert(key, record))).collect();
        let facts = facts.map(|facts| std::mem::replace(&mut self.facts, facts));
        self.undo.push(Undo { rows, facts, before: self.applied, after: applied });
        self.applied = applied;
        Ok(())
    }

    fn cut(&self) -> Result<(Position, DurableState), StoreError> {
        Ok((self.applied, self.facts.clone()))
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
        let facts = (at % 2 == 0).then(|| DurableState { boot: Boot(at), ..DurableState::default() });
        TreeBatch { rows: keys.iter().map(record).collect(), facts, applied: Position(at) }
    }

    #[test]
    fn a_crash_leaves_any_cut_since_the_last_flush() {
        let mut tree = SimTree::default();
        let mut cuts = vec![];
        for (at, keys) in [(1, &["a"][..]), (2, &["a", "b"]), (3, &["c"]), (4, &["b"])] {
            tree.apply(batch(at, keys)).unwrap();
            cuts.push((tree.rows.clone(), tree.cut().unwrap()));
        }
        tree.flushed(Position(1));
        assert_eq!(tree.unflushed(), 3);
        for kept in 0..=3 {
            let mut thrown = tree.clone();
            thrown.throw_back(kept);
            assert_eq!((thrown.rows.clone(), thrown.cut().unwrap()), cuts[kept]);
        }
    }
}
