//! Faults happen: what each record of the schedule does to the world, and how it is undone.

use crate::host::{Doom, Life};
use crate::network::KINDS;
use crate::world::{Event, World};
use quorate_core::Input;
use quorate_core::id::{Key, NodeId};
use quorate_core::placement::Placement;
use quorate_core::wal::{Disk, DiskError};
use quorate_traces::names::Blob;
use quorate_traces::{CrashPoint, DiskFate, Fault, FaultKind};

/// Rot waits for a moment at which the log can tell it from a torn tail, and looks again after so long.
const ROT_AGAIN: u64 = 5_000;

impl World {
    pub(crate) fn schedule_fault(&mut self, fault: usize) {
        let record = &self.plan.faults[fault];
        let (at, until) = (record.at, record.fault.until());
        let taken = match record.fault {
            Fault::Restore { taken, .. } => Some(taken.min(at)),
            _ => None,
        };
        let number = fault as u32;
        self.at(at, 0, Event::Begin { fault: number });
        if let Some(until) = until {
            self.at(until.max(at), 0, Event::Finish { fault: number });
        }
        if let Some(taken) = taken {
            self.at(taken, 0, Event::BackUp { fault: number });
        }
    }

    /// Whether all members have counted at least once: before that, harm to a disk would stop the founding for good.
    fn is_founded(&self) -> bool {
        self.hosts.iter().all(|host| host.was_member)
    }

    pub(crate) fn begin_fault(&mut self, number: usize) {
        if self.phase.is_healed() {
            return;
        }
        let fault = self.plan.faults[number].fault.clone();
        let kind = fault.kind();
        let now = self.now;
        match fault {
            Fault::Partition { .. }
            | Fault::OneWay { .. }
            | Fault::Ring { .. }
            | Fault::RackCut { .. }
            | Fault::RegionCut { .. }
            | Fault::HomesCut { .. } => self.cut(&fault, true),
            Fault::Flap { .. } => self.flap(number, true),
            Fault::Filter { .. }
            | Fault::Loss { .. }
            | Fault::Duplicate { .. }
            | Fault::Replay { .. }
            | Fault::Corrupt { .. }
            | Fault::Throttle { .. }
            | Fault::LargeLost { .. }
            | Fault::SlowLink { .. } => self.set_weather(&fault, true),
            Fault::Reset { a, b } => self.reset(index(a), index(b)),
            Fault::SlowNode { n, by, .. } => self.hosts[index(n)].slow_inputs.0 += by,
            Fault::ReadFails { n, down } => {
                self.crash(index(n), DiskFate::KeepUnsynced, down);
                self.hosts[index(n)].disk.arm(crate::disk::Fault::ReadFails);
            }
            Fault::CreateFails { n, down } => self.arm(index(n), crate::disk::Fault::CreateFails, down),
            Fault::Truncate { n, file, left, down } => {
                if !self.is_founded() {
                    return;
                }
                self.truncate(index(n), file, left, down);
            }
            Fault::Crash { n, point, disk, down } => self.doom(index(n), Doom { point, disk, down }),
            Fault::PowerLoss { disk, down } => {
                for node in 0..self.hosts.len() {
                    let later = self.hosts[node].stream.below(down.max(1)) * node as u64;
                    self.crash(node, disk, down + later);
                }
                self.audit.mattered(kind);
            }
            Fault::Pause { n, until } => self.pause(index(n), until),
            Fault::SyncFails { n, persisted, visible, down } => {
                self.arm(index(n), crate::disk::Fault::SyncFails { persisted, visible }, down);
            }
            Fault::WriteFails { n, sectors, down } => {
                self.arm(index(n), crate::disk::Fault::WriteFails { sectors, error: DiskError::Io }, down);
            }
            Fault::DiskFull { n, .. } => self.hosts[index(n)].disk.set_capacity(0),
            Fault::SlowDisk { n, by, .. } => self.hosts[index(n)].slow_by += by,
            Fault::Rot { n, sector, bit } => {
                if !self.rot(number, index(n), sector, bit) {
                    return;
                }
            }
            Fault::Misdirect { n, sectors, write } => {
                let fault = match write {
                    true => crate::disk::Fault::WriteMisdirected { sectors },
                    false => crate::disk::Fault::ReadMisdirected { sectors },
                };
                self.harm(index(n));
                self.hosts[index(n)].disk.arm(fault);
            }
            Fault::Wipe { n, down } => {
                if !self.is_founded() {
                    return;
                }
                self.harm(index(n));
                self.crash(index(n), DiskFate::LoseUnsynced, down);
                self.hosts[index(n)].wipe();
                self.audit.mattered(kind);
            }
            Fault::Restore { n, marked, down, .. } => {
                if !self.is_founded() {
                    return;
                }
                self.harm(index(n));
                self.crash(index(n), DiskFate::LoseUnsynced, down);
                if self.hosts[index(n)].restore(number as u32, marked) {
                    self.audit.mattered(kind);
                }
            }
            Fault::Lying { n, .. } => {
                self.hosts[index(n)].disk.set_lying(true);
                self.audit.mattered(kind);
            }
            Fault::ClockStep { n, by } => {
                self.hosts[index(n)].clock.step(now, by);
                self.audit.mattered(kind);
            }
            Fault::ClockFreeze { n, .. } => {
                self.hosts[index(n)].clock.set_frozen(now, true);
                self.audit.mattered(kind);
            }
            Fault::ClockDrift { n, ppm } => {
                self.hosts[index(n)].clock.set_drift(now, ppm);
                self.audit.mattered(kind);
                self.wake_later(index(n));
            }
        }
        self.audit.fired(kind);
    }

    pub(crate) fn finish_fault(&mut self, number: usize) {
        if self.phase.is_healed() {
            return;
        }
        let fault = self.plan.faults[number].fault.clone();
        let now = self.now;
        match &fault {
            Fault::Partition { .. }
            | Fault::OneWay { .. }
            | Fault::Ring { .. }
            | Fault::RackCut { .. }
            | Fault::RegionCut { .. }
            | Fault::HomesCut { .. } => self.cut(&fault, false),
            Fault::Filter { .. }
            | Fault::Loss { .. }
            | Fault::Duplicate { .. }
            | Fault::Replay { .. }
            | Fault::Corrupt { .. }
            | Fault::Throttle { .. }
            | Fault::LargeLost { .. }
            | Fault::SlowLink { .. } => self.set_weather(&fault, false),
            Fault::SlowNode { n, by, .. } => {
                let each = &mut self.hosts[index(*n)].slow_inputs.0;
                *each = each.saturating_sub(*by);
            }
            Fault::DiskFull { n, .. } => self.hosts[index(*n)].disk.set_capacity(u64::MAX),
            Fault::SlowDisk { n, by, .. } => {
                let host = &mut self.hosts[index(*n)];
                host.slow_by = host.slow_by.saturating_sub(*by);
            }
            Fault::Lying { n, .. } => self.hosts[index(*n)].disk.set_lying(false),
            Fault::ClockFreeze { n, .. } => self.hosts[index(*n)].clock.set_frozen(now, false),
            // A flapping cut opens by itself, a pause ends with its own event; the rest is over in an instant.
            Fault::Flap { .. }
            | Fault::Pause { .. }
            | Fault::Crash { .. }
            | Fault::PowerLoss { .. }
            | Fault::SyncFails { .. }
            | Fault::WriteFails { .. }
            | Fault::Rot { .. }
            | Fault::Misdirect { .. }
            | Fault::Wipe { .. }
            | Fault::Restore { .. }
            | Fault::Reset { .. }
            | Fault::ReadFails { .. }
            | Fault::CreateFails { .. }
            | Fault::Truncate { .. }
            | Fault::ClockStep { .. }
            | Fault::ClockDrift { .. } => {}
        }
    }

    /// The directed links that a cut concerns.
    fn links_of(&self, fault: &Fault) -> Vec<(u32, u32)> {
        let across = |from: &[NodeId], to: &[NodeId]| -> Vec<(u32, u32)> {
            let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (from.0 - 1, to.0 - 1)));
            pairs.filter(|(from, to)| from != to).collect()
        };
        match fault {
            Fault::Partition { a, b, .. } | Fault::Flap { a, b, .. } => {
                let mut links = across(a, b);
                links.extend(across(b, a));
                links
            }
            Fault::OneWay { from, to, .. } | Fault::SlowLink { from, to, .. } => across(from, to),
            Fault::Ring { .. } => {
                let nodes = self.hosts.len() as u32;
                let apart = |a: u32, b: u32| a.abs_diff(b).min(nodes - a.abs_diff(b));
                let all = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
                all.filter(|&(a, b)| a != b && apart(a, b) > 1).collect()
            }
            Fault::RackCut { rack: place, .. } | Fault::RegionCut { region: place, .. } => {
                let cluster = &self.plan.shape.cluster;
                let is_rack = matches!(fault, Fault::RackCut { .. });
                let places = if is_rack { cluster.racks } else { cluster.regions };
                let inside = |node: u32| node % places.max(1) == *place;
                self.links_where(|a, b| inside(a) != inside(b))
            }
            Fault::HomesCut { key, .. } => {
                let homes = self.homes_of(key);
                self.links_where(|a, b| homes.contains(&a) || homes.contains(&b))
            }
            _ => Vec::new(),
        }
    }

    fn links_where(&self, is: impl Fn(u32, u32) -> bool) -> Vec<(u32, u32)> {
        let nodes = self.hosts.len() as u32;
        let all = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
        all.filter(|&(a, b)| a != b && is(a, b)).collect()
    }

    /// The homes of a key, which need not be one that clients ask for.
    fn homes_of(&self, key: &Blob) -> Vec<u32> {
        let Ok(key) = Key::new(key.0.clone()) else { return Vec::new() };
        let Some(keyspace) = self.founding.keyspace(key.bytes()) else { return Vec::new() };
        let placement = Placement::of(&self.founding);
        placement.preference_list(&key, keyspace.n).iter().map(|home| home.0 - 1).collect()
    }

    /// The connection of two nodes breaks, and both are told.
    fn reset(&mut self, a: usize, b: usize) {
        self.network.break_connection(a as u32, b as u32);
        for (node, peer) in [(a, b), (b, a)] {
            if self.hosts[node].running().is_some() && self.hosts[node].paused_until.is_none() {
                self.feed(node, Input::PeerLost { peer: NodeId(peer as u32 + 1) });
            }
        }
    }

    /// One file of a log loses its end while its node is down.
    fn truncate(&mut self, node: usize, file: u64, left: u32, down: u64) {
        self.harm(node);
        self.crash(node, DiskFate::LoseUnsynced, down);
        let disk = &mut self.hosts[node].disk;
        let files = disk.list().unwrap_or_default();
        let Some(&segment) = files.get((file % files.len().max(1) as u64) as usize) else { return };
        let bytes = u64::from(segment.bytes) * u64::from(left) / 1_000_000;
        if disk.truncate(segment, bytes) {
            self.audit.mattered(FaultKind::Truncate);
        }
    }

    fn cut(&mut self, fault: &Fault, on: bool) {
        for (from, to) in self.links_of(fault) {
            let link = self.network.link(from, to);
            match on {
                true => self.network.weather.add_cut(link, fault.kind()),
                false => self.network.weather.remove_cut(link),
            }
        }
    }

    /// A flapping cut closes or opens, and will do the other after its period.
    pub(crate) fn flap(&mut self, number: usize, cut: bool) {
        let record = &self.plan.faults[number];
        let Fault::Flap { period, until, .. } = record.fault else { unreachable!("only a flap flaps") };
        if self.phase.is_healed() {
            return;
        }
        let fault = record.fault.clone();
        self.cut(&fault, cut);
        if cut || self.now < until {
            let next = (self.now + period.max(1)).min(if cut { until.max(self.now + 1) } else { u64::MAX });
            self.at(next, 0, Event::Flap { fault: number as u32, cut: !cut });
        }
    }

    fn set_weather(&mut self, fault: &Fault, on: bool) {
        let links = self.links_of(fault);
        let slow: Vec<u32> = links.into_iter().map(|(from, to)| self.network.link(from, to)).collect();
        let weather = &mut self.network.weather;
        let rate = |rate: &mut u32, per_million: u32| match on {
            true => *rate = rate.saturating_add(per_million).min(1_000_000),
            false => *rate = rate.saturating_sub(per_million),
        };
        match fault {
            Fault::Loss { per_million, .. } => rate(&mut weather.loss, *per_million),
            Fault::Duplicate { per_million, .. } => rate(&mut weather.duplicate, *per_million),
            Fault::Replay { per_million, within, .. } => {
                rate(&mut weather.replay.0, *per_million);
                weather.replay.1 = *within;
            }
            Fault::Corrupt { per_million, .. } => rate(&mut weather.corrupt, *per_million),
            Fault::Filter { kind, .. } => {
                if let Some(bit) = KINDS.iter().position(|known| known == kind) {
                    weather.filtered = if on { weather.filtered | 1 << bit } else { weather.filtered & !(1 << bit) };
                }
            }
            Fault::Throttle { bytes, .. } => one_more_or_less(&mut weather.throttles, *bytes, on),
            Fault::LargeLost { bytes, .. } => one_more_or_less(&mut weather.longest, *bytes, on),
            Fault::SlowLink { by, .. } => slow.into_iter().for_each(|link| weather.slow_down(link, *by, on)),
            _ => unreachable!("no weather"),
        }
    }

    fn doom(&mut self, node: usize, doom: Doom) {
        if doom.point == CrashPoint::Now {
            if self.hosts[node].running().is_some() {
                self.audit.mattered(FaultKind::Crash);
            }
            return self.crash(node, doom.disk, doom.down);
        }
        self.hosts[node].doom = Some(doom);
    }

    fn pause(&mut self, node: usize, until: u64) {
        let host = &mut self.hosts[node];
        host.paused_until = Some(host.paused_until.unwrap_or(0).max(until));
        self.at(until, node, Event::Resume { node: node as u32 });
    }

    pub(crate) fn resume(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.paused_until.is_none_or(|until| until > self.now) {
            return;
        }
        host.paused_until = None;
        // What had come in meanwhile is there at once, in an order that nobody chose.
        for event in std::mem::take(&mut host.backlog) {
            self.at(self.now, node, event);
        }
    }

    fn arm(&mut self, node: usize, fault: crate::disk::Fault, down: u64) {
        self.hosts[node].disk.arm(fault);
        self.hosts[node].down_after_stop = down;
    }

    /// From now on this disk may have lost what it had.
    fn harm(&mut self, node: usize) {
        self.oracles.ledger.harmed(node, &self.keys, &self.oracles.durable);
        self.hosts[node].harmed = true;
    }

    /// One bit of a written sector turns. False if it had to wait.
    fn rot(&mut self, number: usize, node: usize, sector: u64, bit: u32) -> bool {
        let host = &self.hosts[node];
        let proven = match &host.life {
            Life::Up(running) => running.is_proven(),
            Life::Down { .. } => false,
        };
        if !self.is_founded() || !proven {
            self.at(self.now + ROT_AGAIN, node, Event::Begin { fault: number as u32 });
            return false;
        }
        let count = host.disk.written().count() as u64;
        let place = (count > 0).then(|| host.disk.written().nth((sector % count) as usize)).flatten();
        let Some((segment, at)) = place else { return false };
        self.harm(node);
        let bits = crate::disk::SECTOR_BYTES * 8;
        if self.hosts[node].disk.flip(segment, at * bits + u64::from(bit) % bits) {
            self.audit.mattered(FaultKind::Rot);
        }
        true
    }

    pub(crate) fn back_up(&mut self, number: usize) {
        if let Fault::Restore { n, .. } = self.plan.faults[number].fault {
            self.hosts[index(n)].back_up(number as u32);
        }
    }
}

fn one_more_or_less(list: &mut Vec<u64>, limit: u64, more: bool) {
    if more {
        list.push(limit);
    } else if let Some(at) = list.iter().position(|known| *known == limit) {
        list.swap_remove(at);
    }
}

fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}
