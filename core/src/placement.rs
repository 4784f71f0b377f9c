//! Where keys live: key -> slot -> partition -> homes. Pure functions over values.
//!
//! A *slot* is CRC16 of the key (or of its hashtag) modulo 16,384: Redis Cluster's rule, so every cluster-aware Redis
//! client already computes it. Slots are cut into Q equal partitions, and an explicit table names each partition's
//! homes in order. The table is balanced: as *home*, and as *first home*, every node serves within one partition of
//! the mean where failure domains allow. No two homes of a partition share a zone, or else a rack, while there are
//! enough of them.
//!
//! The table is a function of the founding record alone, so nodes need not exchange it.

use crate::config::{Founding, Member};
use crate::id::{Key, NodeId, PartitionId};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// CRC16/XMODEM, the checksum of Redis Cluster. `CRC16[n]` is what a byte does to the sum of `n` zero bytes after it, so
/// that eight bytes are eight independent look-ups: keys may be long, and every message asks for a slot.
const CRC16: [[u16; 256]; 8] = {
    let mut tables = [[0u16; 256]; 8];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][index] = crc;
        index += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[zeros - 1][index];
            tables[zeros][index] = (before << 8) ^ tables[0][(before >> 8) as usize];
            index += 1;
        }
        zeros += 1;
    }
    tables
};

fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(0u16, |crc, bytes| {
        let [high, low] = crc.to_be_bytes();
        let mixed = [bytes[0] ^ high, bytes[1] ^ low, bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]];
        mixed.iter().zip(CRC16.iter().rev()).fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)])
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// The slot of a key. `{user42}.a` and `{user42}.b` share one: only the part in the first braces counts, unless empty.
pub fn slot(key: &[u8]) -> u16 {
    let hashed = hashtag(key).unwrap_or(key);
    crc16(hashed) % SLOTS
}

fn hashtag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|&byte| byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// The table partition -> homes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    rf: u8,
    partitions: u16,
    /// `rf` homes for each partition, one partition after the other; the first home leads the preference list.
    homes: Vec<NodeId>,
}

impl Placement {
    /// The balanced table of a founding record.
    pub fn of(founding: &Founding) -> Self {
        let members = founding.members();
        let rf = usize::from(founding.rf());
        let domains = domains(members);
        let mut load = alloc::vec![Load::default(); members.len()];
        let mut homes = Vec::with_capacity(usize::from(founding.partitions()) * rf);
        for partition in 0..founding.partitions() {
            let mut chosen: Vec<usize> = Vec::with_capacity(rf);
            while chosen.len() < rf {
                let next = next_home(&domains, &load, &chosen, partition);
                load[next].homes += 1;
                chosen.push(next);
            }
            // Whoever leads least often among the chosen leads this one.
            let lead = (0..rf).min_by_key(|&at| (load[chosen[at]].leads, at)).expect("rf is at least 1");
            chosen.swap(0, lead);
            load[chosen[0]].leads += 1;
            homes.extend(chosen.iter().map(|&index| members[index].id));
        }
        Self { rf: founding.rf(), partitions: founding.partitions(), homes }
    }

    /// The partition of a key.
    pub fn partition_of(&self, key: &Key) -> PartitionId {
        self.partition_of_slot(slot(key.bytes()))
    }

    /// The partition of a slot.
    pub fn partition_of_slot(&self, slot: u16) -> PartitionId {
        assert!(slot < SLOTS);
        let partition = u32::from(slot) * u32::from(self.partitions) / u32::from(SLOTS);
        PartitionId(partition as u16)
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// All homes of a partition, the first one leading.
    pub fn homes(&self, partition: PartitionId) -> &[NodeId] {
        let rf = usize::from(self.rf);
        let start = usize::from(partition.0) * rf;
        &self.homes[start..start + rf]
    }

    /// The first `n` homes of a key, in order of preference.
    pub fn preference_list(&self, key: &Key, n: u8) -> &[NodeId] {
        assert!(n <= self.rf, "a keyspace keeps at most rf copies");
        &self.homes(self.partition_of(key))[..usize::from(n)]
    }
}

#[derive(Clone, Copy, Default)]
struct Load {
    homes: u32,
    leads: u32,
}

/// The zone and the rack of each member, as numbers: names are compared once, not for every copy of every partition.
fn domains(members: &[Member]) -> Vec<(usize, usize)> {
    let (mut zones, mut racks) = (BTreeMap::new(), BTreeMap::new());
    let domain = |member: &Member| {
        let (zone_count, rack_count) = (zones.len(), racks.len());
        let zone = *zones.entry(member.zone.clone()).or_insert(zone_count);
        let rack = *racks.entry((zone, member.rack.clone())).or_insert(rack_count);
        (zone, rack)
    };
    members.iter().map(domain).collect()
}

/// The least loaded member whose failure domains are not taken yet; domains give way before copies share a node.
fn next_home(domains: &[(usize, usize)], load: &[Load], chosen: &[usize], partition: u16) -> usize {
    let clash = |index: usize| {
        let racks = chosen.iter().filter(|&&other| domains[other].1 == domains[index].1).count();
        let zones = chosen.iter().filter(|&&other| domains[other].0 == domains[index].0).count();
        (zones, racks)
    };
    // The rotation spreads ties over the members, so that neighbours in the list do not always share partitions.
    let turn = usize::from(partition) % domains.len();
    let rotated = |index: usize| (index + domains.len() - turn) % domains.len();
    (0..domains.len())
        .filter(|index| !chosen.contains(index))
        .min_by_key(|&index| (clash(index), load[index].homes, rotated(index)))
        .expect("rf is at most the number of members")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Keyspace, Mode};
    use crate::id::ClusterId;
    use alloc::format;
    use alloc::string::ToString;
    use bytes::Bytes;

    fn founding(members: usize, racks: usize, rf: u8, partitions: u16) -> Founding {
        let members = (0..members)
            .map(|index| Member {
                id: NodeId(index as u32 + 1),
                zone: "z".to_string(),
                rack: format!("r{}", index % racks),
            })
            .collect();
        let all = Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n: rf, r: 1, w: 1 };
        Founding::checked(ClusterId(1), members, partitions, rf, alloc::vec![all]).unwrap()
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // From the Redis Cluster specification and `CLUSTER KEYSLOT`.
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"foo"), 12_182);
        // Eight at a time, and one by one, bit by bit as the polynomial says.
        let text: Vec<u8> = (0..200u8).map(|at| at.wrapping_mul(37) ^ 0x5a).collect();
        for length in 0..text.len() {
            let plain = text[..length].iter().fold(0u16, |crc, &byte| {
                let mixed = crc ^ u16::from(byte) << 8;
                (0..8).fold(mixed, |crc, _| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 })
            });
            assert_eq!(crc16(&text[..length]), plain, "{length} bytes");
        }
        assert_eq!(slot(b"{foo}.a"), slot(b"foo"));
        assert_eq!(slot(b"{}foo"), slot(b"{}foo"));
        assert_ne!(slot(b"{}foo"), slot(b"foo"));
        assert_eq!(slot(b"a{foo}{bar}"), slot(b"foo"));
        assert_eq!(slot(b"a{foo"), slot(b"a{foo"));
    }

    #[test]
    fn every_node_serves_and_leads_its_share() {
        for (members, racks, rf, partitions) in [(3, 3, 3, 16), (5, 5, 3, 256), (6, 3, 3, 4096), (7, 7, 5, 64)] {
            let founding = founding(members, racks, rf, partitions);
            let table = Placement::of(&founding);
            let mut homes = alloc::vec![0u32; members];
            let mut leads = alloc::vec![0u32; members];
            for partition in 0..partitions {
                let list = table.homes(PartitionId(partition));
                let distinct: alloc::collections::BTreeSet<_> = list.iter().collect();
                assert_eq!(distinct.len(), usize::from(rf), "homes are distinct nodes");
                for home in list {
                    homes[home.0 as usize - 1] += 1;
                }
                leads[list[0].0 as usize - 1] += 1;
            }
            let spread = |counts: &[u32]| counts.iter().max().unwrap() - counts.iter().min().unwrap();
            assert!(spread(&homes) <= 1, "{members} nodes: homes {homes:?}");
            assert!(spread(&leads) <= 2, "{members} nodes: leads {leads:?}");
        }
    }

    #[test]
    fn copies_avoid_a_common_rack_while_there_are_enough_racks() {
        let founding = founding(9, 3, 3, 256);
        let table = Placement::of(&founding);
        for partition in 0..256 {
            let racks: alloc::collections::BTreeSet<_> =
                table.homes(PartitionId(partition)).iter().map(|home| (home.0 - 1) % 3).collect();
            assert_eq!(racks.len(), 3);
        }
    }

    #[test]
    fn the_table_is_the_same_for_ever() {
        // Nodes of different builds must agree: a change here is a change of every cluster's layout.
        let table = Placement::of(&founding(5, 5, 3, 16));
        let text: alloc::vec::Vec<_> = (0..16)
            .map(|partition| {
                let homes: alloc::vec::Vec<_> =
                    table.homes(PartitionId(partition)).iter().map(|home| home.0.to_string()).collect();
                homes.concat()
            })
            .collect();
        assert_eq!(
            text.join(" "),
            "123 452 345 541 213 123 452 345 541 213 123 452 345 541 213 123",
            "the layout moved"
        );
    }

    #[test]
    fn equal_partitions_cover_all_slots() {
        let table = Placement::of(&founding(3, 3, 3, 64));
        let mut counts = [0u32; 64];
        for slot in 0..SLOTS {
            counts[usize::from(table.partition_of_slot(slot).0)] += 1;
        }
        assert!(counts.iter().all(|&count| count == 256));
    }
}
