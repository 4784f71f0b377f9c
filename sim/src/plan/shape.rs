//! Drawing the cluster, its patience, its network, disks, clocks and scheduler.

use super::{DrawOptions, Scenario};
use crate::rng::Stream;
use quorate_traces::{
    ClockPlan, Cluster, DiskPlan, FaultKind, KeyspacePlan, Latency, NetworkPlan, Patience, Phases, PlanMode, Scheduler,
    Shape,
};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// A shape and what the other draws need to know of it.
pub(super) struct Drawn {
    pub(super) shape: Shape,
    /// When operations begin.
    pub(super) work_from: u64,
    /// When the last one begins.
    pub(super) work_to: u64,
    /// A typical trip of a message.
    pub(super) trip: u64,
    /// Values may be large.
    pub(super) large_values: bool,
    /// Disks may lie, or come back unmarked.
    pub(super) void: bool,
}

pub(super) fn draw(seed: u64, options: &DrawOptions, stream: &mut Stream) -> Drawn {
    let cluster = cluster(options, stream);
    let trip = *[100, 500, 2 * MS, 10 * MS].get(stream.below(4) as usize).expect("one of four");
    let large_values = options.scenario == Scenario::Default && stream.one_in(10);
    let net = network(trip, cluster.regions, large_values, stream);
    let (disk, sync) = disk(large_values, stream);
    let (scheduler, window) = scheduler(trip, stream);
    let patience = patience(trip + net.rack_penalty + net.region_penalty + sync + window, large_values, stream);
    let settled = 30 * MS + 30 * trip;
    // Now and then clients come before the cluster has been founded.
    let work_from = if stream.one_in(12) { 1 } else { settled };
    let span = stream.decades(100 * trip.max(500), 3 * SECOND);
    let work_to = work_from + span;
    let heal_at = work_to + stream.decades(MS, 300 * MS);
    let void_allowed = [FaultKind::Lying, FaultKind::Misdirect].iter().any(|&kind| options.allows(kind));
    let void = void_allowed && options.scenario != Scenario::UnsafeQuorum && stream.one_in(25);
    let live_within = (options.scenario != Scenario::Unlimited).then_some(120 * SECOND);
    let phases = Phases { heal_at, live_within, ask_twice: stream.one_in(4), durability_void: void };
    let clocks = clocks(options, cluster.nodes, stream);
    let shape = Shape { seed, cluster, patience, net, disk, clocks, scheduler, phases };
    Drawn { shape, work_from, work_to, trip, large_values, void }
}

fn cluster(options: &DrawOptions, stream: &mut Stream) -> Cluster {
    let unsafe_quorum = options.scenario == Scenario::UnsafeQuorum;
    let drawn = stream.pick(&[3, 3, 3, 3, 3, 3, 5, 5, 4, 7]);
    let nodes = options.nodes.unwrap_or(if unsafe_quorum { 3 } else { drawn }).max(1);
    let most = nodes.min(5) as u8;
    let rf = if most > 3 { stream.pick(&[3, 3, most]) } else { most };
    let majority = rf / 2 + 1;
    let n = if rf >= 3 && stream.one_in(8) { stream.between(1, u64::from(rf)) as u8 } else { rf };
    let n_majority = n / 2 + 1;
    let (r, w) = match stream.below(8) {
        0..=4 => (n_majority, n_majority),
        5 => (1, n),
        6 => (n, 1),
        _ => (stream.between(1, u64::from(n)) as u8, stream.between(1, u64::from(n)) as u8),
    };
    let lww_prefix = if stream.one_in(12) { "" } else { "lww/" };
    let keyspace = |prefix: &str, mode, n, r, w, linearizable| KeyspacePlan {
        prefix: prefix.to_owned(),
        mode,
        n,
        r,
        w,
        linearizable,
    };
    let keyspaces = match options.scenario {
        Scenario::UnsafeQuorum => vec![keyspace("lww/", PlanMode::Lww, rf, 1, 1, true)],
        Scenario::OneClock => vec![keyspace("lww/", PlanMode::Lww, rf, majority, majority, true)],
        Scenario::Default | Scenario::Quiet | Scenario::Network | Scenario::Disk | Scenario::Unlimited => vec![
            keyspace("reg/", PlanMode::Register, rf, majority, majority, true),
            keyspace(lww_prefix, PlanMode::Lww, n, r, w, false),
        ],
    };
    let (racks, regions) = (stream.pick(&[1, 1, 1, 2, 3]), stream.pick(&[1, 1, 1, 1, 2, 3]));
    Cluster { nodes, rf, partitions: 16, racks, regions, keyspaces }
}

/// `step` is what one message with its work at the other end takes, when nothing is wrong.
fn patience(step: u64, large_values: bool, stream: &mut Stream) -> Patience {
    let trip = step;
    // Time for two phases and a resend of each: a healthy cluster can serve.
    let least = if large_values { 300 * MS } else { 0 };
    let request = stream.pick(&[100 * MS, 300 * MS, SECOND, 2 * SECOND]).max(12 * step).max(least);
    let resend = stream.decades((2 * trip).max(MS), (request / 2).max(3 * trip)).max(MS);
    let client = stream.pick(&[request / 2, request + 10 * MS, 2 * request, 10 * request]);
    Patience {
        request,
        resend,
        introduce: stream.pick(&[10 * MS, 50 * MS, 250 * MS]).max(2 * trip),
        drift_max: stream.pick(&[500 * MS, 500 * MS, 50 * MS, 5 * SECOND]),
        sequence_lease: stream.pick(&[1, 2, 5, 64, 65_536]),
        in_flight_max: stream.pick(&[16_384, 16_384, 16_384, 2, 5]),
        remembered_max: stream.pick(&[65_536, 65_536, 1, 1, 3]),
        value_bytes_max: if large_values { 1 << 20 } else { 8 << 10 },
        client,
    }
}

fn network(trip: u64, regions: u32, large_values: bool, stream: &mut Stream) -> NetworkPlan {
    let latency = match stream.below(4) {
        0 => Latency::Uniform { min: trip / 2, max: trip * 3 / 2 },
        1 => Latency::Uniform { min: 1, max: trip * 4 },
        2 => Latency::Exponential { min: trip / 4, mean: trip },
        _ => Latency::HeavyTail { min: trip / 4, unit: trip, max: (trip * 500).min(2 * SECOND) },
    };
    NetworkPlan {
        latency,
        rack_penalty: stream.pick(&[0, 0, trip, 5 * trip]),
        region_penalty: if regions > 1 { stream.pick(&[5 * trip, 20 * trip]) } else { 0 },
        client_latency: Latency::Uniform { min: 1, max: stream.pick(&[2, trip, 4 * trip, 40 * trip]).max(2) },
        fifo: stream.one_in(2),
        bandwidth: if large_values { 0 } else { stream.pick(&[0, 0, 0, 20_000_000]) },
    }
}

fn disk(large_values: bool, stream: &mut Stream) -> (DiskPlan, u64) {
    let sync = stream.pick(&[20, 200, 2 * MS, 10 * MS]);
    let (segment_bytes, batch_bytes_max) = if large_values {
        (4 << 20, 4 << 20)
    } else {
        // Small segments are left and recycled within a run.
        stream.pick(&[(64 << 10, 64 << 10), (64 << 10, 32 << 10), (256 << 10, 64 << 10)])
    };
    let plan = DiskPlan {
        write: Latency::Uniform { min: 5, max: sync.max(10) / 2 + 5 },
        sync: Latency::Exponential { min: sync / 2, mean: sync / 2 },
        segment_bytes,
        batch_bytes_max,
        block_bytes: stream.pick(&[512, 4_096, 4_096]),
        flush_after_batches: stream.pick(&[1, 4, 16, 1_000]),
        flush: stream.pick(&[100, 5 * MS, 100 * MS]),
    };
    (plan, sync)
}

fn clocks(options: &DrawOptions, nodes: u32, stream: &mut Stream) -> Vec<ClockPlan> {
    const HOUR: u64 = 3_600 * SECOND;
    let skewed = options.allows(FaultKind::ClockSkew) && stream.one_in(2);
    let (most, drift) = (stream.pick(&[MS, 100 * MS, SECOND, HOUR]), stream.pick(&[0, 0, 100, 100_000, 500_000]));
    let tick = stream.pick(&[1, 1, 1, MS, SECOND]);
    let future = skewed && stream.one_in(6);
    let prophet = stream.below(u64::from(nodes)) as u32;
    let clock = |node: u32, stream: &mut Stream| {
        let skew = stream.between(0, 2 * most) as i64 - most as i64;
        let drift_ppm = stream.between(0, 2 * drift) as i64 - drift as i64;
        match skewed {
            // A clock from the far future: ten years ahead.
            true if future && node == prophet => ClockPlan { skew: 10 * 365 * 24 * HOUR as i64, drift_ppm, tick },
            true => ClockPlan { skew, drift_ppm, tick },
            false => ClockPlan { skew: 0, drift_ppm: 0, tick: 1 },
        }
    };
    (0..nodes).map(|node| clock(node, stream)).collect()
}

/// The scheduler, and how long its windows are.
fn scheduler(trip: u64, stream: &mut Stream) -> (Scheduler, u64) {
    let window = stream.pick(&[trip, 4 * trip]).max(50);
    match stream.below(100) {
        0..=39 => (Scheduler::Latency, 0),
        40..=74 => (Scheduler::Uniform { window }, window),
        75..=89 => {
            let depth = stream.between(3, 10);
            let mut changes: Vec<u64> = (0..depth).map(|_| stream.decades(60, 2_000)).collect();
            changes.sort_unstable();
            (Scheduler::Pct { window, changes }, window)
        }
        _ => (Scheduler::DelayBounded { per_million: stream.pick(&[5_000, 30_000, 100_000]), by: 40 * trip }, 0),
    }
}
