//! Sweeps seeds and says what was found, how fast, and what the faults did.
//!
//! `cargo run --release -p quorate-sim --example sweep -- [SCENARIO] [FROM..TO] [THREADS] [FAILURES_MAX]`

use quorate_sim::failure::{Circumstances, block};
use quorate_sim::hunt::{News, Sweep, sweep};
use quorate_sim::plan::Scenario;
use quorate_sim::{DrawOptions, Property};
use std::sync::atomic::AtomicBool;

fn main() {
    std::panic::set_hook(Box::new(|panic| {
        if std::env::args().any(|arg| arg == "-v") {
            eprintln!("{panic}");
        }
    }));
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "-v").collect();
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or_else(|| default.to_owned());
    let scenario = Scenario::from_name(&arg(0, "default")).expect("a scenario's name");
    let range = arg(1, "0..200");
    let (from, to) = range.split_once("..").expect("seeds as FROM..TO");
    let seeds = from.parse().expect("a number")..to.parse().expect("a number");
    let options = DrawOptions::of(scenario);
    let plan = Sweep {
        options,
        seeds,
        shard: (0, 1),
        threads: arg(2, "1").parse().expect("a number"),
        failures_max: Some(arg(3, "3").parse().expect("a number")),
    };
    let begin = std::time::SystemTime::now();
    let news = |news: News<'_>| {
        if let News::Failed(plan, report) = news {
            print!("{}", block(plan, report, &Circumstances::default()));
        }
    };
    let summary = sweep(&plan, &AtomicBool::new(false), &news);
    let seconds = begin.elapsed().expect("time goes on").as_secs_f64();
    let per = |count: u64| count as f64 / seconds;
    println!(
        "{} seeds, {} failed, {seconds:.2} s: {:.0} seeds/s, {:.0} events/s, {:.0} deliveries/s, {:.0}x real time, {} operations, digest {:016x}",
        summary.seeds,
        summary.failures(),
        per(summary.seeds),
        per(summary.events),
        per(summary.deliveries),
        summary.sim_time as f64 / 1e6 / seconds,
        summary.operations,
        summary.digest,
    );
    for property in Property::ALL {
        let name = property.name();
        let count = summary.bad.iter().filter(|bad| bad.signature.as_ref().is_some_and(|s| s.starts_with(name))).count();
        if count > 0 {
            println!("  {name}: {count}");
        }
    }
    let unknown = summary.bad.iter().filter(|bad| bad.signature.is_none()).map(|bad| bad.seed).collect::<Vec<_>>();
    if !unknown.is_empty() {
        println!("  unknown: {unknown:?}");
    }
    for (kind, count) in summary.audit.kinds() {
        println!("{:14} planned {:7} fired {:7} mattered {:8}", kind.name(), count.planned, count.fired, count.mattered);
    }
    for (mark, count) in summary.audit.marks() {
        println!("{count:9}  {mark}");
    }
}
