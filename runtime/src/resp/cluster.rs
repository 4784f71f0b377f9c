//! `CLUSTER`: where keys live, told so that cluster-aware clients find a home by themselves.
//!
//! Every node answers for every key, so nothing here is an order: it saves clients a hop. Of each slot's homes the first
//! that can be reached is named master, so that when a node goes its clients are led elsewhere at their next look.

use super::Door;
use super::decode::Request;
use super::options::number;
use super::reply::Writer;
use super::session::Session;
use quorate_core::placement::{SLOTS, slot};
use std::collections::BTreeMap;
use std::fmt::Write;

impl Session {
    /// Carries out `CLUSTER`.
    pub(super) fn cluster_command(&mut self, request: &Request<'_>) {
        if !self.door.announce_cluster {
            return self.error("ERR This instance has cluster support disabled (redis.announce = \"standalone\")");
        }
        let door = self.door.clone();
        let subcommand = request.arg(1).to_ascii_lowercase();
        match (&subcommand[..], request.len()) {
            (b"slots", 2) => self.reply(|writer| write_slots(writer, &door)),
            (b"shards", 2) => self.reply(|writer| write_shards(writer, &door)),
            (b"nodes", 2) => {
                let text = nodes(&door);
                self.reply(|writer| writer.text(&text));
            }
            (b"info", 2) => {
                let text = info(&door);
                self.reply(|writer| writer.text(&text));
            }
            (b"myid", 2) => self.reply(|writer| writer.bulk(door.cluster.hex_id(door.cluster.me()).as_bytes())),
            (b"keyslot", 3) => {
                let slot = slot(request.arg(2));
                self.reply(|writer| writer.integer(i64::from(slot)));
            }
            (b"countkeysinslot", 3) => match number(request.arg(2)).filter(|&slot| slot < u64::from(SLOTS)) {
                Some(slot) => {
                    let keys = keys_in_slot(&door, slot as u16);
                    self.reply(|writer| writer.integer(i64::try_from(keys).unwrap_or(i64::MAX)));
                }
                None => self.error("ERR Invalid slot"),
            },
            (
                b"meet" | b"forget" | b"failover" | b"setslot" | b"replicate" | b"addslots" | b"addslotsrange"
                | b"delslots" | b"delslotsrange" | b"flushslots" | b"reset" | b"bumpepoch" | b"set-config-epoch"
                | b"saveconfig",
                _,
            ) => self.error("ERR members and slots follow from [[member]] in quorate.toml, not from CLUSTER commands"),
            (other, _) => {
                let shown = other.escape_ascii();
                self.error(format_args!(
                    "ERR unknown subcommand or wrong number of arguments for 'cluster|{shown}'; there are SLOTS, \
                     SHARDS, NODES, INFO, MYID, KEYSLOT, COUNTKEYSINSLOT"
                ));
            }
        }
    }
}

/// Runs of slots with the same homes in the same order, the first reachable home leading.
fn ranges(door: &Door) -> Vec<(u16, u16, Vec<usize>)> {
    let mut ranges: Vec<(u16, u16, Vec<usize>)> = Vec::new();
    for (first, last, mut homes) in door.cluster.slot_ranges() {
        // A stable sort: those that can be reached first, each group in its order of preference.
        homes.sort_by_key(|&home| !door.is_reachable(home));
        match ranges.last_mut() {
            Some(before) if before.2 == homes => before.1 = last,
            Some(_) | None => ranges.push((first, last, homes)),
        }
    }
    ranges
}

fn write_slots(writer: &mut Writer<'_>, door: &Door) {
    let ranges = ranges(door);
    writer.array(ranges.len());
    for (first, last, homes) in ranges {
        writer.array(2 + homes.len());
        writer.integer(i64::from(first));
        writer.integer(i64::from(last));
        for home in homes {
            let member = &door.cluster.members()[home];
            writer.array(3);
            writer.bulk(member.host.as_bytes());
            writer.integer(i64::from(member.port));
            writer.bulk(door.cluster.hex_id(home).as_bytes());
        }
    }
}

fn write_shards(writer: &mut Writer<'_>, door: &Door) {
    let mut shards: BTreeMap<Vec<usize>, Vec<(u16, u16)>> = BTreeMap::new();
    for (first, last, homes) in ranges(door) {
        shards.entry(homes).or_default().push((first, last));
    }
    writer.array(shards.len());
    for (homes, slots) in shards {
        writer.map(2);
        writer.bulk(b"slots");
        writer.array(slots.len() * 2);
        for (first, last) in slots {
            writer.integer(i64::from(first));
            writer.integer(i64::from(last));
        }
        writer.bulk(b"nodes");
        writer.array(homes.len());
        for (place, &home) in homes.iter().enumerate() {
            let member = &door.cluster.members()[home];
            writer.map(7);
            writer.bulk(b"id");
            writer.bulk(door.cluster.hex_id(home).as_bytes());
            writer.bulk(b"port");
            writer.integer(i64::from(member.port));
            writer.bulk(b"ip");
            writer.bulk(member.host.as_bytes());
            writer.bulk(b"endpoint");
            writer.bulk(member.host.as_bytes());
            writer.bulk(b"role");
            writer.bulk(if place == 0 { b"master" } else { b"replica" });
            writer.bulk(b"replication-offset");
            writer.integer(0);
            writer.bulk(b"health");
            writer.bulk(if door.is_reachable(home) { b"online" } else { b"fail" });
        }
    }
}

/// One line per member, in the words of Redis: every member is a master, of the slots that it leads.
fn nodes(door: &Door) -> String {
    let mut led: Vec<Vec<(u16, u16)>> = vec![Vec::new(); door.cluster.members().len()];
    for (first, last, homes) in ranges(door) {
        match led[homes[0]].last_mut() {
            Some(before) if before.1 + 1 == first => before.1 = last,
            Some(_) | None => led[homes[0]].push((first, last)),
        }
    }
    let mut text = String::new();
    for (index, member) in door.cluster.members().iter().enumerate() {
        let flags = match (index == door.cluster.me(), door.is_reachable(index)) {
            (true, _) => "myself,master",
            (false, true) => "master",
            (false, false) => "master,fail",
        };
        let link = if door.is_reachable(index) { "connected" } else { "disconnected" };
        let (id, host, port, bus) = (door.cluster.hex_id(index), &member.host, member.port, member.peer_port);
        let epoch = index + 1;
        write!(text, "{id} {host}:{port}@{bus} {flags} - 0 0 {epoch} {link}").expect(STRING);
        for &(first, last) in &led[index] {
            if first == last { write!(text, " {first}") } else { write!(text, " {first}-{last}") }.expect(STRING);
        }
        text.push('\n');
    }
    text
}

const STRING: &str = "a String takes all that is written to it";

fn info(door: &Door) -> String {
    let state = if door.figures().is_ready { "ok" } else { "fail" };
    let (known, epoch) = (door.cluster.members().len(), door.metrics.epoch.get());
    format!(
        "cluster_enabled:1\r\ncluster_state:{state}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:{known}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n"
    )
}

/// About how many keys of a slot this node holds: its records spread evenly over the slots it is a home of.
fn keys_in_slot(door: &Door, slot: u16) -> u64 {
    let me = door.cluster.me();
    let mut homed = 0;
    let mut is_home = false;
    for (first, last, homes) in door.cluster.slot_ranges() {
        if homes.contains(&me) {
            homed += u64::from(last - first) + 1;
            is_home |= (first..=last).contains(&slot);
        }
    }
    if is_home { door.figures().keys_estimate.div_ceil(homed) } else { 0 }
}
