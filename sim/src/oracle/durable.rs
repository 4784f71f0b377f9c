//! B3: what is reported or acknowledged is durable, on as many homes as were asked for.
//!
//! The truth about durability is the disk's, not the node's. This oracle notes each operation that a node hands to its
//! log, how many of them each sealed batch takes along, and believes them durable when the simulated disk has carried
//! out that batch's sync. What a node reports before that is a lie, even if no crash ever finds it out.
//!
//! Across a restart: what was durable is there again (A3, B6), unless damage to that disk was injected.

use super::{Judgement, Property, broken, node_name, show};
use crate::table::Table;
use quorate_core::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Durable {
    nodes: usize,
    /// For each key and node what its disk holds.
    disks: Table<Held>,
    logs: Vec<LogTruth>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Held {
    /// The highest version that is there.
    now: Version,
    /// And the highest that ever was: harm on purpose takes nothing back from what was promised before.
    ever: Version,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LogTruth {
    /// Operations in the log's memory, oldest first; those of the batch in flight come first.
    waiting: VecDeque<Option<(u32, Version)>>,
    in_flight: usize,
}

impl Durable {
    pub(crate) fn new(nodes: usize, keys: usize) -> Self {
        let nothing = Held { now: Version::ABSENT, ever: Version::ABSENT };
        Self { nodes, disks: Table::of(nothing, nodes * keys), logs: vec![LogTruth::default(); nodes] }
    }

    /// The highest version of a key on a node's disk.
    pub(crate) fn held(&self, node: usize, key: usize) -> Version {
        self.disks[key * self.nodes + node].now
    }

    /// A node handed an operation to its log: a merge of a key, or something else.
    pub(crate) fn submitted(&mut self, node: usize, merge: Option<(usize, Version)>) {
        self.logs[node].waiting.push_back(merge.map(|(key, version)| (key as u32, version)));
    }

    /// A batch with so many of the oldest operations is on its way to the disk.
    pub(crate) fn sealed(&mut self, node: usize, records: u32) {
        let log = &mut self.logs[node];
        log.in_flight = records as usize;
        assert!(log.in_flight <= log.waiting.len(), "a batch holds what was submitted");
    }

    /// The disk has carried out the sync of the batch in flight.
    pub(crate) fn synced(&mut self, node: usize) {
        let count = std::mem::take(&mut self.logs[node].in_flight);
        for _ in 0..count {
            if let Some(Some((key, version))) = self.logs[node].waiting.pop_front() {
                let held = &mut self.disks[key as usize * self.nodes + node];
                held.now = version.max(held.now);
                held.ever = version.max(held.ever);
            }
        }
    }

    /// Everything that was not durable is gone: a crash, or a full disk.
    pub(crate) fn forgotten(&mut self, node: usize) {
        self.logs[node] = LogTruth::default();
    }

    /// A node reports a version as stored or found.
    pub(crate) fn reported(&self, node: usize, key: usize, version: Version) -> Judgement {
        if self.held(node, key) >= version {
            return Ok(());
        }
        let (name, held) = (node_name(node), self.held(node, key));
        broken(Property::DurableAck, format!("{name} shows {}, but its disk holds {}", show(version), show(held)))
    }

    /// A coordinator acknowledged a write of a key with these homes, as durable on `needed` of them.
    pub(crate) fn acknowledged(&self, key: usize, homes: &[u32], version: Version, needed: u8) -> Judgement {
        let have = homes.iter().filter(|&&home| self.disks[key * self.nodes + home as usize].ever >= version).count();
        if have >= usize::from(needed) {
            return Ok(());
        }
        let words = format!("{} was acknowledged as durable on {needed} homes; {have} have it on disk", show(version));
        broken(Property::DurableAck, words)
    }

    /// A node has recovered, and its disk holds this version of a key. `damaged`: its disk was harmed on purpose.
    pub(crate) fn recovered(&mut self, node: usize, key: usize, found: Version, damaged: bool) -> Judgement {
        let held = &mut self.disks[key * self.nodes + node];
        let before = std::mem::replace(&mut held.now, found);
        held.ever = found.max(held.ever);
        if damaged || found >= before {
            return Ok(());
        }
        let (name, before) = (node_name(node), show(before));
        broken(Property::NothingVanishes, format!("{name} had {before} on disk and recovered {}", show(found)))
    }

    /// A disk is lost, or counts as lost.
    pub(crate) fn lost(&mut self, node: usize) {
        (node..self.disks.len()).step_by(self.nodes).for_each(|at| self.disks[at].now = Version::ABSENT);
        self.forgotten(node);
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
    fn an_acknowledgement_before_the_sync_is_seen() {
        let mut durable = Durable::new(3, 1);
        for node in [0, 1] {
            durable.submitted(node, None);
            durable.submitted(node, Some((0, version(5))));
            durable.submitted(node, Some((0, version(9))));
            durable.sealed(node, 2);
        }
        durable.synced(0);
        assert!(durable.reported(0, 0, version(5)).is_ok());
        assert!(durable.reported(0, 0, version(9)).is_err(), "it was not in the batch");
        assert!(durable.acknowledged(0, &[0, 1, 2], version(5), 2).is_err(), "one disk has it");
        durable.synced(1);
        assert!(durable.acknowledged(0, &[0, 1, 2], version(5), 2).is_ok());
    }

    #[test]
    fn what_was_durable_must_be_recovered() {
        let mut durable = Durable::new(1, 1);
        durable.submitted(0, Some((0, version(5))));
        durable.sealed(0, 1);
        durable.synced(0);
        durable.submitted(0, Some((0, version(7))));
        durable.forgotten(0);
        assert!(durable.recovered(0, 0, version(5), false).is_ok());
        assert!(durable.recovered(0, 0, version(4), false).is_err());
        durable.recovered(0, 0, version(7), false).unwrap_or_else(|_| panic!("more than was known is welcome"));
        assert!(durable.recovered(0, 0, version(1), true).is_ok(), "its disk was harmed");
    }
}
