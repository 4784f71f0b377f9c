//! B2: of a register, a completed store phase and a query phase that completes later share a replier, by node and life.
//!
//! Any two majorities of the same homes meet, so this judges how answers are counted: twice from one home, from an
//! earlier life, or too few of them.

use super::{Judgement, Property, broken};
use crate::table::Table;
use quorate_core::id::NodeId;
use quorate_core::version::{Actor, Version};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Quorums {
    actors: Vec<Actor>,
    /// For each key the sets of repliers that completed a store phase.
    stored: Table<Vec<(u128, Version)>>,
}

impl Quorums {
    pub(crate) fn new(keys: usize) -> Self {
        Self { actors: Vec::new(), stored: Table::of(Vec::new(), keys) }
    }

    fn mask(&mut self, repliers: &[NodeId], life: impl Fn(NodeId) -> Actor) -> u128 {
        repliers.iter().fold(0, |mask, &node| {
            let actor = life(node);
            let at = self.actors.iter().position(|known| *known == actor).unwrap_or_else(|| {
                self.actors.push(actor);
                self.actors.len() - 1
            });
            // Beyond 128 lives they share bits, which can only hide a violation.
            mask | 1 << (at % 128)
        })
    }

    /// A store or write-back phase is complete.
    pub(crate) fn store_done(
        &mut self,
        key: usize,
        version: Version,
        repliers: &[NodeId],
        life: impl Fn(NodeId) -> Actor,
    ) {
        let mask = self.mask(repliers, life);
        let sets = &mut self.stored[key];
        if !sets.iter().any(|(known, _)| *known == mask) {
            sets.push((mask, version));
        }
    }

    /// A query phase is complete.
    pub(crate) fn query_done(&mut self, key: usize, repliers: &[NodeId], life: impl Fn(NodeId) -> Actor) -> Judgement {
        let mask = self.mask(repliers, life);
        match self.stored[key].iter().find(|(stored, _)| stored & mask == 0) {
            None => Ok(()),
            Some((_, version)) => {
                let words = format!(
                    "a query was answered by {repliers:?}, none of which had answered the store phase of {version}"
                );
                broken(Property::QuorumsMeet, words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::id::Incarnation;

    #[test]
    fn phases_that_share_no_life_are_seen() {
        let life = |incarnation| move |node| Actor { node, incarnation: Incarnation(incarnation) };
        let mut quorums = Quorums::new(2);
        quorums.store_done(0, Version::ABSENT, &[NodeId(1), NodeId(2)], life(1));
        assert!(quorums.query_done(0, &[NodeId(2), NodeId(3)], life(1)).is_ok());
        assert!(quorums.query_done(0, &[NodeId(3)], life(1)).is_err(), "too few");
        assert!(quorums.query_done(0, &[NodeId(2), NodeId(3)], life(2)).is_err(), "another life");
        assert!(quorums.query_done(1, &[NodeId(3)], life(1)).is_ok(), "another key");
    }
}
