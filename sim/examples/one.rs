//! Runs one seed, or one trace, makes it small if it fails, and prints the block and the trace.
//!
//! `cargo run --release -p quorate-sim --example one -- SCENARIO SEED [raw] | FILE.trace.jsonl`

use quorate_sim::failure::{Circumstances, block, trace};
use quorate_sim::plan::Scenario;
use quorate_sim::shrink::shrink;
use quorate_sim::{DrawOptions, Stopwatch, draw, run};
use quorate_traces::{Origin, PlanTrace};

struct Wall(std::time::SystemTime);

impl Stopwatch for Wall {
    fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let plan = match args[0].strip_suffix(".jsonl") {
        Some(_) => PlanTrace::load(args[0].as_ref()).expect("a trace").plan,
        None => {
            let scenario = Scenario::from_name(&args[0]).expect("a scenario");
            let seed = args[1].trim_start_matches("0x");
            let radix = if args[1].starts_with("0x") { 16 } else { 10 };
            draw(u64::from_str_radix(seed, radix).expect("a seed"), &DrawOptions::of(scenario))
        }
    };
    let report = run(&plan);
    let about = Circumstances { shrunk_from_events: Some(report.events), ..Circumstances::default() };
    if report.violations.is_empty() {
        return println!("{:?}  {} events  digest {:016x}", report.verdict, report.events, report.digest);
    }
    print!("{}", block(&plan, &report, &Circumstances::default()));
    if args.iter().any(|arg| arg == "raw") {
        return;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let Some(small) = shrink(&plan, &Wall(std::time::SystemTime::now()), 20_000) else { return };
    let records = small.plan.ops.len() + small.plan.faults.len();
    println!("made small: {records} records in {} runs", small.runs);
    print!("{}", block(&small.plan, &small.report, &about));
    let origin = Origin { seed: plan.shape.seed, shrunk_from_events: Some(report.events), ..Origin::default() };
    print!("{}", trace("small", "", &small.plan, &small.report, origin).write());
}
