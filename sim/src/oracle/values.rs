//! No value that nobody wrote, no write both failed and visible; and B6: what a home shows of a key never goes back.

use super::{Judgement, Property, broken, node_name, show};
use crate::table::Table;
use quorate_core::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Values {
    nodes: usize,
    /// For each key hashes of what clients have tried to write.
    tried: Table<BTreeSet<u64>>,
    /// For each key the versions of writes that were called failed.
    failed: Table<Vec<Version>>,
    /// For each key and node the highest version it has shown in this life.
    shown: Table<Version>,
}

impl Values {
    pub(crate) fn new(nodes: usize, keys: usize) -> Self {
        Self {
            nodes,
            tried: Table::of(BTreeSet::new(), keys),
            failed: Table::of(Vec::new(), keys),
            shown: Table::of(Version::ABSENT, nodes * keys),
        }
    }

    /// A client is about to write this.
    pub(crate) fn tried(&mut self, key: usize, value: u64) {
        self.tried[key].insert(value);
    }

    /// A client was told that its write did not happen and never will.
    pub(crate) fn failed(&mut self, key: usize, version: Version) {
        self.failed[key].push(version);
    }

    /// A client has read this.
    pub(crate) fn read(&self, key: usize, version: Version, value: Option<u64>) -> Judgement {
        if let Some(value) = value
            && !self.tried[key].contains(&value)
        {
            let words = format!("a read returned a value under {} that nobody wrote", show(version));
            return broken(Property::NoInventedValue, words);
        }
        if self.failed[key].contains(&version) {
            let words = format!("a read returned {}, whose write was answered as failed", show(version));
            return broken(Property::NoInventedValue, words);
        }
        Ok(())
    }

    /// A home shows a version: in an answer, or after its recovery.
    pub(crate) fn shows(&mut self, node: usize, key: usize, version: Version) -> Judgement {
        let shown = &mut self.shown[key * self.nodes + node];
        if version >= *shown {
            *shown = version;
            return Ok(());
        }
        let (name, before) = (node_name(node), show(*shown));
        broken(Property::VersionsForward, format!("{name} showed {before} and now shows {}", show(version)))
    }

    /// A node begins a new life, or one whose disk was harmed on purpose.
    pub(crate) fn reborn(&mut self, node: usize) {
        (node..self.shown.len()).step_by(self.nodes).for_each(|at| self.shown[at] = Version::ABSENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::version::Hlc;

    fn version(ticks: u64) -> Version {
        Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT }
    }

    #[test]
    fn invented_failed_and_receding_values_are_seen() {
        let mut values = Values::new(2, 1);
        values.tried(0, 77);
        assert!(values.read(0, version(5), Some(77)).is_ok());
        assert!(values.read(0, version(5), Some(78)).is_err());
        values.failed(0, version(5));
        assert!(values.read(0, version(5), Some(77)).is_err());
        assert!(values.shows(0, 0, version(5)).is_ok());
        assert!(values.shows(1, 0, version(4)).is_ok());
        assert!(values.shows(0, 0, version(4)).is_err());
        values.reborn(0);
        assert!(values.shows(0, 0, version(4)).is_ok());
    }
}
