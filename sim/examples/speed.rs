//! How fast the simulator is, row by row, in seconds of processor time of this thread.
//!
//! ```text
//! cargo run --release -p quorate-sim --example speed            # every row
//! cargo run --release -p quorate-sim --example speed -- shipped seeds
//! ```
//!
//! Rows: shipped, idle, busy, seeds, digest, snapshot, large, start. The core alone is `bench_host`.
//! Each rate is the best of three rounds: a busy machine only ever makes them slower.

use quorate_core::id::NodeId;
use quorate_sim::plan::Scenario;
use quorate_sim::{DrawOptions, EVENTS_MAX, Report, Session, VerdictWord, draw, run};
use quorate_traces::names::Blob;
use quorate_traces::{
    ClockPlan, Cluster, CrashPoint, DiskFate, DiskPlan, Do, Fault, FaultRecord, KeyspacePlan, Latency, Level,
    NetworkPlan, Op, Patience, Phases, Plan, PlanMode, Scheduler, Shape,
};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// Seconds that this thread has been on a processor.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    text.split_whitespace().next().expect("three numbers").parse::<f64>().expect("nanoseconds") / 1e9
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = cpu_seconds();
    let done = work();
    (cpu_seconds() - start, done)
}

/// The fastest of three.
fn best<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    (0..3).map(|_| timed(&mut work)).min_by(|a, b| a.0.total_cmp(&b.0)).expect("three rounds")
}

/// Five nodes, three copies at QUORUM, messages of 1 to 10 ms.
fn plan(nodes: u32, ops: Vec<Op>, faults: Vec<FaultRecord>, end: u64) -> Plan {
    let keyspaces =
        vec![KeyspacePlan { prefix: String::new(), mode: PlanMode::Lww, n: 3, r: 2, w: 2, linearizable: false }];
    let net = NetworkPlan {
        latency: Latency::Uniform { min: MS, max: 10 * MS },
        region_penalty: 0,
        rack_penalty: 0,
        client_latency: Latency::Uniform { min: MS, max: 10 * MS },
        fifo: false,
        bandwidth: 0,
    };
    let disk = DiskPlan {
        write: Latency::Uniform { min: 10, max: 50 },
        sync: Latency::Exponential { min: 50, mean: 50 },
        segment_bytes: 4 << 20,
        batch_bytes_max: 1 << 20,
        block_bytes: 4_096,
        flush_after_batches: 1_000,
        flush: 5 * MS,
    };
    let patience = Patience {
        request: SECOND,
        resend: 100 * MS,
        introduce: 250 * MS,
        drift_max: 500 * MS,
        sequence_lease: 65_536,
        in_flight_max: 16_384,
        remembered_max: 65_536,
        value_bytes_max: 8 << 10,
        client: 10 * SECOND,
    };
    let shape = Shape {
        seed: 7,
        cluster: Cluster { nodes, rf: 3, partitions: 256, racks: 1, regions: 1, keyspaces },
        patience,
        net,
        disk,
        clocks: vec![ClockPlan { skew: 0, drift_ppm: 0, tick: 1 }; nodes as usize],
        scheduler: Scheduler::Latency,
        phases: Phases { heal_at: end, live_within: Some(120 * SECOND), ask_twice: false, durability_void: false },
    };
    Plan { scenario: "speed".to_owned(), shape, ops, faults, directives: Vec::new() }
}

/// Half gets and half puts of 8 bytes by so many clients, each at its own pace.
fn ops(count: u32, clients: u32, keys: u64, nodes: u32, from: u64, every: u64) -> Vec<Op> {
    let mut dice = 0x1234_5678_9abc_def1u64;
    let mut draw = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice
    };
    let op = |op: u32| {
        let word = draw();
        let put = word & 1 == 0;
        Op {
            at: from + every * u64::from(op),
            op: op + 1,
            client: op % clients,
            what: if put { Do::Put } else { Do::Get },
            key: Blob::text(&format!("{:08}", (word >> 8) % keys)),
            value: put.then(|| Blob::text(&format!("{:08x}", word as u32))),
            via: NodeId(1 + (word >> 40) as u32 % nodes),
            level: Level::Quorum,
            context: false,
            forged: None,
            id: false,
            gone: None,
            retry: None,
        }
    };
    (0..count).map(op).collect()
}

/// Something every second: a cut, a crash, loss, a pause.
fn faults(nodes: u32, seconds: u64) -> Vec<FaultRecord> {
    let fault = |second: u64| {
        let n = NodeId(1 + second as u32 % nodes);
        let at = second * SECOND;
        let others = (1..=nodes).map(NodeId).filter(|other| *other != n).collect();
        let fault = match second % 4 {
            0 => Fault::Partition { a: vec![n], b: others, until: at + 300 * MS },
            1 => Fault::Crash { n, point: CrashPoint::Now, disk: DiskFate::LoseUnsynced, down: 200 * MS },
            2 => Fault::Loss { per_million: 20_000, until: at + 500 * MS },
            _ => Fault::Pause { n, until: at + 200 * MS },
        };
        FaultRecord { at, fault }
    };
    (1..seconds).map(fault).collect()
}

/// Walks to its end without judging the whole history, which costs what a checker costs and nothing per event.
fn walk(plan: &Plan) -> Session {
    let mut session = Session::new(plan).expect("a plan that fits");
    session.walk_to(EVENTS_MAX);
    assert!(session.violations().is_empty(), "{:?}", session.violations());
    session
}

fn row(what: &str, goal: &str, measured: String) {
    println!("| {what} | {goal} | {measured} |");
}

fn shipped() {
    let mut plan = plan(5, ops(60_000, 64, 10_000, 5, 200 * MS, 1), Vec::new(), 200 * SECOND);
    plan.shape.phases.heal_at = 201 * MS;
    let (cpu, session) = best(|| walk(&plan));
    let rate = 60_000.0 * 8.0 / cpu;
    let (off, _) = best(|| {
        let mut session = Session::new(&plan).expect("a plan that fits");
        session.unfold();
        session.walk_to(EVENTS_MAX);
    });
    row(
        "the simulator as shipped: encoding, checksums, log, digest, oracles",
        ">= 1 M deliveries/s",
        format!("{:.2} M ({:.2} M events/s)", rate / 1e6, session.events() as f64 / cpu / 1e6),
    );
    row(
        "digest overhead",
        "<= 8 %",
        format!("{:.1} % ({cpu:.3} s with, {off:.3} s without)", (cpu / off - 1.0) * 100.0),
    );
}

fn paced(per_second: u64, seconds: u64, words: &str, goal: &str) {
    let count = (per_second * seconds) as u32;
    let plan = plan(5, ops(count, 32, 10_000, 5, 200 * MS, SECOND / per_second), faults(5, seconds), seconds * SECOND);
    let (cpu, session) = best(|| walk(&plan));
    let simulated = session.now() as f64 / 1e6;
    row(
        words,
        goal,
        format!(
            "{:.2} M events/s, {:.0} x real time ({simulated:.0} s)",
            session.events() as f64 / cpu / 1e6,
            simulated / cpu
        ),
    );
}

fn seeds() {
    const SEEDS: u64 = 2_000;
    let options = DrawOptions { nodes: Some(3), ops: Some(50), ..DrawOptions::of(Scenario::Default) };
    let (cpu, events) = best(|| {
        let reports = (0..SEEDS).map(|seed| run(&draw(seed, &options)));
        reports
            .map(|report: Report| {
                assert!(report.verdict == VerdictWord::Ok, "seed {:#x}: {:?}", report.seed, report.first());
                report.events
            })
            .sum::<u64>()
    });
    row(
        "seeds: 3 nodes, 50 operations, all faults, oracles and the checker",
        ">= 1,000 per core-second",
        format!("{:.0} ({:.0} events each)", SEEDS as f64 / cpu, events as f64 / SEEDS as f64),
    );
}

fn snapshot() {
    let plan = plan(5, ops(40_000, 64, 10_000, 5, 200 * MS, 50), Vec::new(), 10 * SECOND);
    let mut session = Session::new(&plan).expect("a plan that fits");
    while session.now() < 2 * SECOND {
        session.step();
    }
    // Many at once: the processor's time is told in steps of some milliseconds.
    const CLONES: u32 = 200;
    let (clones, _) = best(|| (0..CLONES).for_each(|_| drop(std::hint::black_box(session.clone()))));
    let clone = clones / f64::from(CLONES);
    let (save, bytes) = best(|| session.save("speed"));
    let (load, _) = best(|| Session::load(&bytes, "speed").expect("just saved"));
    row("snapshot, 5 nodes, 10,000 keys: clone, and drop it", "<= 1 ms", format!("{:.2} ms", clone * 1e3));
    row(
        "the same, serialised",
        "<= 50 ms",
        format!("{:.1} ms, {:.1} MB; read back {:.1} ms", save * 1e3, bytes.len() as f64 / 1e6, load * 1e3),
    );
}

fn large() {
    let rate = |nodes: u32| {
        let plan = plan(nodes, ops(40_000, 64, 500, nodes, 2 * SECOND, 50), Vec::new(), 5 * SECOND);
        let mut session = Session::new(&plan).expect("a plan that fits");
        while session.now() < 2 * SECOND && session.step() {}
        let (from, before) = (cpu_seconds(), session.events());
        session.walk_to(EVENTS_MAX);
        assert!(session.violations().is_empty());
        (session.events() - before) as f64 / (cpu_seconds() - from)
    };
    let (five, many) = (rate(5), rate(500));
    row(
        "500 nodes, events/s against 5 nodes",
        ">= 50 %",
        format!("{:.0} % ({:.2} M and {:.2} M)", many / five * 100.0, many / 1e6, five / 1e6),
    );
}

fn start() {
    const TIMES: u32 = 200;
    let options = DrawOptions { nodes: Some(5), ..DrawOptions::default() };
    let (cpu, _) = best(|| {
        for seed in 0..TIMES {
            std::hint::black_box(Session::new(&draw(u64::from(seed), &options)).expect("a plan that fits"));
        }
    });
    row("a seed starts (drawn, founded, 5 nodes)", "<= 1 ms", format!("{:.3} ms", cpu * 1e3 / f64::from(TIMES)));
    let report = run(&draw(1, &options));
    std::hint::black_box(report);
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("it is in there");
    let kilobytes: f64 = peak.split_whitespace().nth(1).expect("a number").parse().expect("kB");
    row("memory at most, 5 nodes", "<= 64 MiB", format!("{:.1} MiB", kilobytes / 1024.0));
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|own| own == name);
    println!("| what | goal | measured |\n|---|---|---|");
    // First, while nothing large has been in memory.
    if is_wanted("start") {
        start();
    }
    if is_wanted("shipped") {
        shipped();
    }
    if is_wanted("idle") {
        let goal = ">= 1 M events/s; 5,000 x";
        paced(20, 60, "5 nodes with faults, 20 operations/s", goal);
    }
    if is_wanted("busy") {
        paced(1_000, 10, "5 nodes with faults, 1,000 operations/s", ">= 50 x real time");
    }
    if is_wanted("seeds") {
        seeds();
    }
    if is_wanted("snapshot") {
        snapshot();
    }
    if is_wanted("large") {
        large();
    }
}
