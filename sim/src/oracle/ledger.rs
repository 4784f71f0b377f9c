//! The ledger: what was acknowledged must survive, and in the end be the same on every home.
//!
//! An acknowledged write enters with the homes that had it on disk at that moment. Harm done to a home's disk on purpose
//! strikes it from every entry, after asking which homes have come to hold the write since; an entry without homes may
//! be lost. Writes of unknown outcome never have to survive, and may win at any time.

use super::{Durable, Judgement, KeyFacts, Property, broken, node_name, show};
use crate::table::Table;
use quorate_core::version::{Record, Version};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// For each key: acknowledged versions and the homes (by place in the key's list) that hold them or more.
    entries: Table<Vec<Entry>>,
    /// Nodes whose disks were harmed: nothing is expected of them any more.
    harmed: Vec<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    version: Version,
    homes: u16,
    op: u32,
}

impl Ledger {
    pub(crate) fn new(keys: usize) -> Self {
        Self { entries: Table::of(Vec::new(), keys), harmed: Vec::new() }
    }

    fn holders(&self, durable: &Durable, key: usize, facts: &KeyFacts, version: Version) -> u16 {
        let sound = facts.homes.iter().enumerate().filter(|(_, home)| !self.harmed.contains(&(**home as usize)));
        let holding = sound.filter(|(_, home)| durable.held(**home as usize, key) >= version);
        holding.fold(0, |mask, (place, _)| mask | 1 << place)
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(&mut self, key: usize, facts: &KeyFacts, durable: &Durable, version: Version, op: u32) {
        let homes = self.holders(durable, key, facts, version);
        self.entries[key].push(Entry { version, homes, op });
    }

    /// A node's disk is about to be harmed on purpose.
    pub(crate) fn harmed(&mut self, node: usize, keys: &[KeyFacts], durable: &Durable) {
        self.harmed.push(node);
        for (key, facts) in keys.iter().enumerate() {
            let Some(place) = facts.homes.iter().position(|&home| home as usize == node) else { continue };
            let mut entries = std::mem::take(&mut self.entries[key]);
            for entry in &mut entries {
                entry.homes |= self.holders(durable, key, facts, entry.version);
                entry.homes &= !(1 << place);
            }
            self.entries[key] = entries;
        }
    }

    /// The highest acknowledged version that must still be there, and the operation that wrote it.
    pub(crate) fn must_survive(&self, key: usize) -> (Version, Option<u32>) {
        let alive = self.entries[key].iter().filter(|entry| entry.homes != 0);
        alive.max_by_key(|entry| entry.version).map_or((Version::ABSENT, None), |entry| (entry.version, Some(entry.op)))
    }

    /// The end: what each counted home holds of a key.
    pub(crate) fn settle(&self, key: usize, finals: &[(usize, Option<&Record>)]) -> Judgement {
        let (survivor, _) = self.must_survive(key);
        for (node, record) in finals {
            let version = record.map_or(Version::ABSENT, |record| record.version);
            if version < survivor {
                let (name, held) = (node_name(*node), show(version));
                let words = format!("{} was acknowledged, but in the end {name} holds {held}", show(survivor));
                return broken(Property::NoLostAck, words);
            }
        }
        Ok(())
    }

    /// The end, where convergence is demanded: all counted homes hold the same. That a version has one content is another
    /// promise (A1): of a version for which that one is known to be broken, homes may hold either content.
    pub(crate) fn converged(finals: &[(usize, Option<&Record>)], is_doubled: impl Fn(Version) -> bool) -> Judgement {
        let Some(((first, expected), rest)) = finals.split_first() else { return Ok(()) };
        let differs = |record: &Option<&Record>| match (record, expected) {
            (Some(record), Some(expected)) if record.version == expected.version => {
                record != expected && !is_doubled(record.version)
            }
            _ => record != expected,
        };
        match rest.iter().find(|(_, record)| differs(record)) {
            None => Ok(()),
            Some((other, record)) => {
                let version = |record: &Option<&Record>| show(record.map_or(Version::ABSENT, |record| record.version));
                let words = format!(
                    "in the end {} holds {} and {} holds {}",
                    node_name(*first),
                    version(expected),
                    node_name(*other),
                    version(record)
                );
                broken(Property::Converges, words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_core::id::Key;
    use quorate_core::version::{Content, Hlc};

    fn version(ticks: u64) -> Version {
        Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT }
    }
    fn facts() -> KeyFacts {
        KeyFacts {
            key: Key::new(Bytes::from_static(b"k")).unwrap(),
            name: "k".into(),
            homes: vec![2, 0, 1],
            keyspace: 0,
            register: true,
            linearizable: true,
            rw: (2, 2),
        }
    }
    fn stored_on(nodes: &[usize], ticks: u64) -> Durable {
        let mut durable = Durable::new(3, 1);
        for &node in nodes {
            durable.submitted(node, Some((0, version(ticks))));
            durable.sealed(node, 1);
            durable.synced(node);
        }
        durable
    }
    fn record(ticks: u64) -> Record {
        Record { version: version(ticks), content: Content::Tombstone }
    }

    #[test]
    fn a_lost_acknowledged_write_is_seen_unless_all_its_homes_were_harmed() {
        let mut ledger = Ledger::new(1);
        let durable = stored_on(&[0, 2], 5);
        ledger.acknowledged(0, &facts(), &durable, version(5), 1);
        let (old, new) = (record(4), record(5));
        assert!(ledger.settle(0, &[(0, Some(&new)), (1, Some(&new))]).is_ok());
        assert!(ledger.settle(0, &[(0, Some(&new)), (1, Some(&old))]).is_err());
        assert!(ledger.settle(0, &[(0, None)]).is_err());
        ledger.harmed(0, &[facts()], &durable);
        assert!(ledger.settle(0, &[(1, None)]).is_err(), "n3 still has it");
        ledger.harmed(2, &[facts()], &stored_on(&[], 0));
        assert!(ledger.settle(0, &[(1, None)]).is_ok());
    }

    #[test]
    fn homes_that_differ_in_the_end_are_seen() {
        let (old, new) = (record(4), record(5));
        let other = Record { version: new.version, content: Content::Value(Bytes::from_static(b"v")) };
        for doubled in [false, true] {
            let judge = |finals: &[_]| Ledger::converged(finals, |version| doubled && version == new.version);
            assert!(judge(&[(0, Some(&new)), (1, Some(&new))]).is_ok());
            assert!(judge(&[(0, Some(&new)), (1, Some(&old))]).is_err());
            assert!(judge(&[(0, None), (1, None)]).is_ok());
            assert!(judge(&[(0, None), (1, Some(&old))]).is_err());
            assert_eq!(judge(&[(0, Some(&new)), (1, Some(&other))]).is_ok(), doubled);
        }
    }
}
