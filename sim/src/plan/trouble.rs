//! Drawing what goes wrong: which kinds, how much of each, and when.

use super::shape::Drawn;
use super::{DrawOptions, Scenario};
use crate::network::KINDS;
use crate::rng::Stream;
use quorate_core::id::NodeId;
use quorate_traces::names::Blob;
use quorate_traces::{CrashPoint, DiskFate, Fault, FaultKind, FaultRecord, Plan};

const SECOND: u64 = 1_000_000;
const MILLION: u64 = 1_000_000;

/// Who may be hit, and when.
struct Field {
    nodes: Vec<NodeId>,
    /// Nodes whose disks may be harmed for good.
    victims: Vec<NodeId>,
    /// Times at which things go wrong together; empty if they come one by one.
    storms: Vec<u64>,
    from: u64,
    to: u64,
    trip: u64,
    request: u64,
    racks: u32,
    regions: u32,
    /// The key of the first operation, which is often the hot one.
    key: Option<Blob>,
}

pub(super) fn draw(options: &DrawOptions, drawn: &Drawn, plan: &mut Plan, stream: &mut Stream) {
    let mut field = field(options, drawn, stream);
    field.key = plan.ops.first().map(|op| op.key.clone());
    // Few kinds often, many kinds seldom, now and then none at all.
    let odds = stream.pick(&[0, 3, 5, 8, 12]);
    for &kind in FaultKind::ALL {
        let (on, count) = (stream.below(20) < odds, stream.decades(1, 5));
        let void = matches!(kind, FaultKind::Misdirect | FaultKind::Restore | FaultKind::Lying);
        let forced = match options.scenario {
            Scenario::UnsafeQuorum => kind == FaultKind::Partition,
            // What makes durability void is the point of such a run.
            _ => drawn.void && void,
        };
        if !options.allows(kind) || !(on || forced) {
            continue;
        }
        for _ in 0..count {
            let at = field.time(stream);
            if let Some(fault) = fault(kind, at, &field, drawn, stream) {
                if options.allows(FaultKind::Crash) && stream.one_in(2) {
                    plan.faults.extend(again(&fault, at, &field, stream));
                }
                plan.faults.push(FaultRecord { at, fault });
            }
        }
    }
    plan.faults.sort_by_key(|record| record.at);
}

fn field(options: &DrawOptions, drawn: &Drawn, stream: &mut Stream) -> Field {
    let cluster = &drawn.shape.cluster;
    let nodes: Vec<NodeId> = (1..=cluster.nodes).map(NodeId).collect();
    let copies = cluster.keyspaces.iter().map(|keyspace| keyspace.n).min().unwrap_or(1);
    let minority = (copies.saturating_sub(1) / 2) as usize;
    // A cluster whose every disk was wiped is a new cluster: somebody must remember the old one.
    let most = if options.scenario == Scenario::Unlimited { nodes.len() - 1 } else { minority };
    let mut victims = nodes.clone();
    stream.shuffle(&mut victims);
    victims.truncate(stream.below(most as u64 + 1).max(u64::from(most > 0)) as usize);
    // Now and then before the cluster stands.
    let from = if stream.one_in(8) { 1 } else { drawn.work_from };
    let to = drawn.shape.phases.heal_at;
    let storms = match stream.one_in(2) {
        true => (0..stream.between(1, 3)).map(|_| stream.between(from, to - 1)).collect(),
        false => Vec::new(),
    };
    Field {
        nodes,
        victims,
        storms,
        from,
        to,
        trip: drawn.trip,
        request: drawn.shape.patience.request,
        racks: cluster.racks,
        regions: cluster.regions,
        key: None,
    }
}

impl Field {
    fn time(&self, stream: &mut Stream) -> u64 {
        match self.storms.is_empty() {
            true => stream.between(self.from, self.to - 1),
            false => (stream.pick(&self.storms) + stream.below(4 * self.trip + 1)).min(self.to - 1),
        }
    }

    fn node(&self, stream: &mut Stream) -> NodeId {
        stream.pick(&self.nodes)
    }

    fn victim(&self, stream: &mut Stream) -> Option<NodeId> {
        (!self.victims.is_empty()).then(|| stream.pick(&self.victims))
    }

    /// Two sides, each with somebody; now and then somebody sees both.
    fn sides(&self, stream: &mut Stream) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
        if self.nodes.len() < 2 {
            return None;
        }
        let mut shuffled = self.nodes.clone();
        stream.shuffle(&mut shuffled);
        let bridge = usize::from(self.nodes.len() > 2 && stream.one_in(5));
        let cut = stream.between(1, (shuffled.len() - bridge - 1) as u64) as usize;
        let (mut a, mut b) = (shuffled[..cut].to_vec(), shuffled[cut..shuffled.len() - bridge].to_vec());
        a.sort_unstable();
        b.sort_unstable();
        Some((a, b))
    }

    fn until(&self, at: u64, stream: &mut Stream) -> u64 {
        let length = stream.decades((2 * self.trip).max(100), (self.to - self.from).max(4 * self.trip).max(200));
        (at + length).min(self.to)
    }
}

fn fault(kind: FaultKind, at: u64, field: &Field, drawn: &Drawn, stream: &mut Stream) -> Option<Fault> {
    let until = field.until(at, stream);
    let n = field.node(stream);
    let down = stream.decades(100, SECOND);
    let per_million = stream.decades(2_000, 400_000) as u32;
    Some(match kind {
        FaultKind::Partition => {
            let (a, b) = field.sides(stream)?;
            Fault::Partition { a, b, until }
        }
        FaultKind::OneWay => {
            let (from, to) = field.sides(stream)?;
            Fault::OneWay { from, to, until }
        }
        FaultKind::Ring => Fault::Ring { until },
        FaultKind::Flap => {
            let (a, b) = field.sides(stream)?;
            Fault::Flap { a, b, period: stream.decades(field.trip, 100 * field.trip), until }
        }
        FaultKind::Filter => Fault::Filter { kind: stream.pick(&KINDS).to_owned(), until },
        FaultKind::Loss => Fault::Loss { per_million, until },
        FaultKind::Duplicate => Fault::Duplicate { per_million, until },
        FaultKind::Replay => Fault::Replay { per_million, within: stream.decades(10 * field.trip, 3 * SECOND), until },
        FaultKind::Corrupt => Fault::Corrupt { per_million, until },
        FaultKind::SlowLink => {
            let (from, to) = field.sides(stream)?;
            Fault::SlowLink { from, to, by: stream.decades(field.trip, 2 * field.request), until }
        }
        FaultKind::Crash => Fault::Crash { n, point: crash_point(stream), disk: disk_fate(stream), down },
        FaultKind::PowerLoss => Fault::PowerLoss { disk: disk_fate(stream), down },
        FaultKind::Pause => Fault::Pause { n, until },
        FaultKind::SyncFails => Fault::SyncFails { n, persisted: stream.word(), visible: stream.one_in(2), down },
        FaultKind::WriteFails => Fault::WriteFails { n, sectors: stream.below(4) as u32, down },
        FaultKind::DiskFull => Fault::DiskFull { n, until },
        FaultKind::SlowDisk => Fault::SlowDisk { n, by: stream.decades(100, SECOND), until },
        FaultKind::Rot => {
            Fault::Rot { n: field.victim(stream)?, sector: stream.below(MILLION), bit: stream.below(4_096) as u32 }
        }
        FaultKind::Misdirect => {
            let sectors = stream.between(0, 16) as i32 - 8;
            let fault = Fault::Misdirect { n: field.victim(stream)?, sectors, write: stream.one_in(2) };
            return drawn.void.then_some(fault);
        }
        FaultKind::Wipe => Fault::Wipe { n: field.victim(stream)?, down },
        FaultKind::Restore => {
            let taken = stream.between(0, at);
            let marked = !(drawn.void && stream.one_in(2));
            Fault::Restore { n: field.victim(stream)?, taken, marked, down }
        }
        FaultKind::Lying => {
            let fault = Fault::Lying { n, until };
            return drawn.void.then_some(fault);
        }
        FaultKind::ClockStep => {
            let by = stream.decades(100, 3_600 * SECOND) as i64;
            Fault::ClockStep { n, by: if stream.one_in(2) { by } else { -by } }
        }
        FaultKind::ClockFreeze => Fault::ClockFreeze { n, until },
        FaultKind::ClockDrift => {
            let ppm = stream.decades(10, MILLION) as i64;
            Fault::ClockDrift { n, ppm: if stream.one_in(2) { ppm } else { -(ppm / 2) } }
        }
        FaultKind::RackCut if field.racks < 2 => return None,
        FaultKind::RackCut => Fault::RackCut { rack: stream.below(u64::from(field.racks)) as u32, until },
        FaultKind::RegionCut if field.regions < 2 => return None,
        FaultKind::RegionCut => Fault::RegionCut { region: stream.below(u64::from(field.regions)) as u32, until },
        FaultKind::HomesCut => Fault::HomesCut { key: field.key.clone()?, until },
        FaultKind::Throttle => Fault::Throttle { bytes: stream.decades(20_000, 20_000_000), until },
        FaultKind::LargeLost => Fault::LargeLost { bytes: stream.pick(&[150, 200, 300, 1_500]), until },
        FaultKind::Reset => {
            let (a, b) = field.sides(stream)?;
            Fault::Reset { a: a[0], b: b[0] }
        }
        FaultKind::SlowNode => Fault::SlowNode { n, by: stream.decades(10, 5_000), until },
        FaultKind::ReadFails => Fault::ReadFails { n, down },
        FaultKind::CreateFails => Fault::CreateFails { n, down },
        FaultKind::Truncate => {
            let left = stream.below(MILLION) as u32;
            Fault::Truncate { n: field.victim(stream)?, file: stream.below(64), left, down }
        }
        // Drawn with the clocks and the operations.
        FaultKind::ClockSkew | FaultKind::ClientGone | FaultKind::ClientRetry | FaultKind::ClientForged => return None,
    })
}

/// A disk that was damaged is read more than once: what the first start makes of it, the second finds.
fn again(fault: &Fault, at: u64, field: &Field, stream: &mut Stream) -> Vec<FaultRecord> {
    let (Fault::Rot { n, .. } | Fault::Truncate { n, .. }) = *fault else { return Vec::new() };
    let mut crash = |at: u64| {
        let later = stream.between(at, field.to.max(at));
        let (disk, down) = (disk_fate(stream), stream.decades(100, SECOND / 10));
        FaultRecord { at: later, fault: Fault::Crash { n, point: CrashPoint::Now, disk, down } }
    };
    let first = crash(at);
    let second = crash(first.at);
    vec![first, second]
}

fn crash_point(stream: &mut Stream) -> CrashPoint {
    match stream.below(6) {
        0 | 1 => CrashPoint::Now,
        2 => CrashPoint::Handling { after: stream.below(30) as u32, effects: stream.below(4) as u32 },
        3 => CrashPoint::BeforeWrite,
        4 => CrashPoint::BeforeSync,
        _ => CrashPoint::BeforeReport,
    }
}

fn disk_fate(stream: &mut Stream) -> DiskFate {
    stream.pick(&[DiskFate::LoseUnsynced, DiskFate::KeepUnsynced, DiskFate::AnySubset, DiskFate::AnySubset])
}
