//! What each scenario is for, in small.

use quorate_sim::hunt::{News, Sweep, sweep};
use quorate_sim::plan::Scenario;
use quorate_sim::shrink::shrink;
use quorate_sim::{DrawOptions, Property, Stopwatch, VerdictWord, draw, run};
use std::sync::atomic::AtomicBool;

fn swept(scenario: Scenario, seeds: std::ops::Range<u64>, threads: usize) -> quorate_sim::hunt::Summary {
    let plan = Sweep { options: DrawOptions::of(scenario), seeds, shard: (0, 1), threads, failures_max: None };
    sweep(&plan, &AtomicBool::new(false), &|news| {
        if let News::Failed(_, report) = news {
            assert!(scenario == Scenario::UnsafeQuorum, "{:?}", report.first());
        }
    })
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    for scenario in Scenario::ALL.into_iter().filter(|scenario| *scenario != Scenario::UnsafeQuorum) {
        let summary = swept(scenario, 10_000..10_150, 2);
        assert_eq!((summary.seeds, summary.bad), (150, vec![]), "{}", scenario.name());
    }
}

#[test]
fn reads_and_writes_of_one_copy_are_not_linearizable() {
    let summary = swept(Scenario::UnsafeQuorum, 0..30, 2);
    assert!(summary.failures() >= 8, "{} of 30", summary.failures());
    assert!(summary.bad.iter().all(|bad| bad.signature.as_deref() == Some("linearizable lww/")));
}

#[test]
fn a_run_stops_at_its_first_answer_that_no_order_explains() {
    let reports = (0..200).map(|seed| run(&draw(seed, &DrawOptions::of(Scenario::UnsafeQuorum))));
    let mut stopped = 0;
    for report in reports.filter(|report| !report.violations.is_empty()) {
        let [violation] = report.violations.as_slice() else { panic!("one is enough: {:?}", report.violations) };
        let last = report.history.iter().filter_map(|record| record.ret).max();
        assert_eq!((violation.at, Some(violation.at)), (report.sim_time, last));
        let named = |record: &&quorate_sim::OpRecord| violation.ops.contains(&record.op);
        assert!(report.history.iter().filter(named).any(|record| record.ret == last), "it is about the last answer");
        stopped += 1;
    }
    assert!(stopped > 50, "{stopped} of 200");
}

#[test]
fn a_sweep_does_not_depend_on_its_threads_or_shards() {
    let one = swept(Scenario::UnsafeQuorum, 0..40, 1);
    assert_eq!(swept(Scenario::UnsafeQuorum, 0..40, 3).digest, one.digest);
    let mut merged = quorate_sim::hunt::Summary::default();
    for shard in 0..3 {
        let options = DrawOptions::of(Scenario::UnsafeQuorum);
        let part = Sweep { options, seeds: 0..40, shard: (shard, 3), threads: 1, failures_max: None };
        merged.merge(&sweep(&part, &AtomicBool::new(false), &|_| {}));
    }
    assert_eq!((merged.seeds, merged.digest, &merged.bad), (one.seeds, one.digest, &one.bad));
}

#[test]
fn a_sweep_of_two_thousand_seeds_leaves_no_fault_and_no_rare_branch_out() {
    let summary = swept(Scenario::Default, 0..2_000, 2);
    assert_eq!(summary.audit.uncovered(&DrawOptions::default()), Vec::<&str>::new());
    for (kind, count) in summary.audit.kinds() {
        assert!(count.mattered > 0, "{} never mattered", kind.name());
    }
}

struct Unhurried;

impl Stopwatch for Unhurried {
    fn elapsed_ms(&self) -> u64 {
        0
    }
}

#[test]
fn a_failing_plan_becomes_small_and_still_fails() {
    let failing = (0..).map(|seed| draw(seed, &DrawOptions::of(Scenario::UnsafeQuorum)));
    let plan = failing.into_iter().find(|plan| run(plan).verdict == VerdictWord::Violation).expect("it fails soon");
    let small = shrink(&plan, &Unhurried, 1).expect("it fails");
    assert_eq!(small.report.first().map(|violation| violation.property), Some(Property::Linearizable));
    assert_eq!(run(&small.plan), small.report);
    let records = small.plan.ops.len() + small.plan.faults.len();
    assert!(records <= 10, "{records} records are left of {}", plan.ops.len() + plan.faults.len());
}
