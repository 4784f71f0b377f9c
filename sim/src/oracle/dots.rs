//! A1: no two write events of a key share a dot, and one version has one content.

use super::{Judgement, Property, broken, show};
use crate::table::Table;
use quorate_core::version::{Actor, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The last dot of each actor, and what each version was written with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dots {
    last: Vec<(Actor, u64)>,
    contents: Table<BTreeMap<Version, u64>>,
    /// Versions of keys that came with a second content.
    doubled: BTreeSet<(usize, Version)>,
}

impl Dots {
    pub(crate) fn new(keys: usize) -> Self {
        Self { last: Vec::new(), contents: Table::of(BTreeMap::new(), keys), doubled: BTreeSet::new() }
    }

    /// A coordinator chose a version: its actor's dots only rise.
    pub(crate) fn chosen(&mut self, version: Version) -> Judgement {
        let dot = version.dot;
        match self.last.iter_mut().find(|(actor, _)| *actor == dot.actor) {
            None => self.last.push((dot.actor, dot.sequence)),
            Some((_, last)) if *last < dot.sequence => *last = dot.sequence,
            Some((_, last)) => {
                let words = format!("{} was chosen although its actor had used dot {last} before", show(version));
                return broken(Property::UniqueDots, words);
            }
        }
        Ok(())
    }

    /// A home is to merge this content under this version.
    pub(crate) fn written(&mut self, key: usize, version: Version, content: u64) -> Judgement {
        let before = *self.contents[key].entry(version).or_insert(content);
        if before == content {
            return Ok(());
        }
        self.doubled.insert((key, version));
        broken(Property::UniqueDots, format!("{} stands for two different contents", show(version)))
    }

    /// Whether a version has come with two contents.
    pub(crate) fn is_doubled(&self, key: usize, version: Version) -> bool {
        self.doubled.contains(&(key, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::id::{Incarnation, NodeId};
    use quorate_core::version::{Dot, Hlc};

    fn version(ticks: u64, sequence: u64) -> Version {
        let actor = Actor { node: NodeId(1), incarnation: Incarnation(7) };
        Version { hlc: Hlc::from_ticks(ticks).unwrap(), dot: Dot { actor, sequence } }
    }

    #[test]
    fn a_dot_given_out_twice_is_seen_and_so_is_a_version_with_two_contents() {
        let mut dots = Dots::new(1);
        assert!(dots.chosen(version(5, 1)).is_ok());
        assert!(dots.chosen(version(6, 2)).is_ok());
        assert!(dots.chosen(version(9, 2)).is_err());
        assert!(dots.written(0, version(5, 1), 11).is_ok());
        assert!(dots.written(0, version(5, 1), 11).is_ok());
        assert!(!dots.is_doubled(0, version(5, 1)));
        assert!(dots.written(0, version(5, 1), 12).is_err());
        assert!(dots.is_doubled(0, version(5, 1)) && !dots.is_doubled(0, version(6, 2)));
    }
}
