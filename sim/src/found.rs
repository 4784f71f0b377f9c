//! From a plan's words to the core's: founding record, configuration, and what is known of each key beforehand.

use crate::oracle::KeyFacts;
use bytes::Bytes;
use quorate_core::config::{Config, Founding, Keyspace, Member, Mode};
use quorate_core::id::{ClusterId, Key, NodeId};
use quorate_core::placement::Placement;
use quorate_core::time::Duration;
use quorate_traces::{Patience, Plan, PlanMode};
use serde::{Deserialize, Serialize};

/// The founding record of a plan's cluster.
pub(crate) fn founding_of(plan: &Plan) -> Result<Founding, String> {
    let cluster = &plan.shape.cluster;
    let member = |index: u32| Member {
        id: NodeId(index + 1),
        zone: format!("z{}", index % cluster.regions.max(1)),
        rack: format!("r{}", index % cluster.racks.max(1)),
    };
    let keyspaces = cluster.keyspaces.iter().map(|keyspace| Keyspace {
        prefix: Bytes::copy_from_slice(keyspace.prefix.as_bytes()),
        mode: match keyspace.mode {
            PlanMode::Lww => Mode::Lww,
            PlanMode::Register => Mode::Register,
        },
        n: keyspace.n,
        r: keyspace.r,
        w: keyspace.w,
    });
    let members = (0..cluster.nodes).map(member).collect();
    let id = ClusterId(plan.shape.seed | 1);
    Founding::checked(id, members, cluster.partitions, cluster.rf, keyspaces.collect())
        .map_err(|error| format!("the plan's cluster cannot be: {error}"))
}

/// The configuration of a plan's nodes.
pub(crate) fn config_of(patience: &Patience) -> Result<Config, String> {
    let micros = Duration::from_micros;
    let config = Config {
        request_timeout: micros(patience.request),
        resend_interval: micros(patience.resend),
        introduce_interval: micros(patience.introduce),
        clock_drift_max: micros(patience.drift_max),
        sequence_lease: patience.sequence_lease,
        value_bytes_max: patience.value_bytes_max as usize,
        in_flight_max: patience.in_flight_max as usize,
        remembered_operations_max: patience.remembered_max as usize,
    };
    config.checked().map_err(|error| format!("the plan's patience cannot be: {error}"))
}

/// What is known of the keys of a plan's operations, in order.
pub(crate) fn key_facts(plan: &Plan, founding: &Founding, placement: &Placement) -> Result<Vec<KeyFacts>, String> {
    let mut keys: Vec<&Bytes> = plan.ops.iter().map(|op| &op.key.0).collect();
    keys.sort_unstable();
    keys.dedup();
    let facts = keys.into_iter().map(|bytes| {
        let key = Key::new(bytes.clone()).map_err(|error| format!("an operation's key: {error}"))?;
        let keyspace = founding.keyspace(bytes).ok_or_else(|| format!("key {key} lies in no keyspace"))?;
        let matches = |known: &quorate_traces::KeyspacePlan| known.prefix.as_bytes() == &keyspace.prefix[..];
        let number = plan.shape.cluster.keyspaces.iter().position(matches).expect("it was built from these");
        let register = keyspace.mode == Mode::Register;
        Ok(KeyFacts {
            name: name_of(&key),
            homes: placement.preference_list(&key, keyspace.n).iter().map(|home| home.0 - 1).collect(),
            keyspace: number,
            register,
            linearizable: register || plan.shape.cluster.keyspaces[number].linearizable,
            rw: (keyspace.r, keyspace.w),
            key,
        })
    });
    facts.collect()
}

/// A key as people read it: long ones by their beginning and length.
fn name_of(key: &Key) -> String {
    match key.bytes().len() {
        0..=64 => key.to_string(),
        length => format!("{}…{length}", key.bytes()[..24].escape_ascii()),
    }
}

/// From keys to their numbers: a table of hashes, since every message asks, and keys can be many and long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyIndex {
    /// Key numbers, each at its hash or behind it; at least half of the places are free.
    slots: Vec<u32>,
}

const FREE: u32 = u32::MAX;

impl KeyIndex {
    /// The index of these keys, which differ.
    pub(crate) fn of(keys: &[KeyFacts]) -> Self {
        let mut slots = vec![FREE; (keys.len() * 2).next_power_of_two()];
        let mask = slots.len() - 1;
        for (number, facts) in keys.iter().enumerate() {
            let mut at = hash(facts.key.bytes()) & mask;
            while slots[at] != FREE {
                at = (at + 1) & mask;
            }
            slots[at] = number as u32;
        }
        Self { slots }
    }

    /// The number of a key.
    pub(crate) fn find(&self, keys: &[KeyFacts], key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash(key) & mask;
        loop {
            let number = self.slots[at];
            assert!(number != FREE, "every key of a run is in its plan");
            if keys[number as usize].key.bytes()[..] == *key {
                return number as usize;
            }
            at = (at + 1) & mask;
        }
    }
}

fn hash(key: &[u8]) -> usize {
    xxhash_rust::xxh3::xxh3_64(key) as usize
}
