//! The same seed gives the same run: twice in one process, in another process, written down and read back.

use quorate_sim::plan::Scenario;
use quorate_sim::{DrawOptions, draw, record, run};
use quorate_traces::{Expect, NodeTrace, Origin, PlanTrace, VerdictWord};
use std::process::Command;

const CHILD: &str = "QUORATE_DETERMINISM_CHILD";

fn digests() -> String {
    let mut text = String::new();
    for scenario in [Scenario::Default, Scenario::Network, Scenario::Disk] {
        for seed in 0..60 {
            let report = run(&draw(seed, &DrawOptions::of(scenario)));
            text.push_str(&format!("{} {seed} {:016x} {}\n", scenario.name(), report.digest, report.events));
        }
    }
    text
}

/// Not a test of its own: what the other process prints.
#[test]
fn child_prints_its_digests() {
    if std::env::var_os(CHILD).is_some() {
        println!("{}", digests());
    }
}

#[test]
fn a_seed_gives_one_digest_in_two_processes() {
    let here = digests();
    let program = std::env::current_exe().expect("a test knows its binary");
    let mut child = Command::new(program);
    child.args(["child_prints_its_digests", "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().expect("the test binary runs");
    let there = String::from_utf8_lossy(&output.stdout);
    assert!(here.lines().count() == 180);
    for line in here.lines() {
        assert!(there.contains(line), "another process did not print: {line}");
    }
}

#[test]
fn seeds_differ_from_one_another() {
    let mut digests: Vec<u64> = (0..50).map(|seed| run(&draw(seed, &DrawOptions::default())).digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 50);
}

#[test]
fn a_plan_that_was_written_down_runs_the_same() {
    for seed in 0..40 {
        let plan = draw(seed, &DrawOptions::default());
        let report = run(&plan);
        let trace = PlanTrace {
            name: "again".into(),
            core: String::new(),
            expect: Expect { verdict: VerdictWord::Ok, property: None, key: None },
            origin: Origin::default(),
            plan,
            checkpoints: report.checkpoints.clone(),
            end: None,
        };
        let again = run(&PlanTrace::read(&trace.write()).expect("what is written can be read").plan);
        assert_eq!(again, report);
    }
}

#[test]
fn a_node_that_was_recorded_lives_the_same_life_again() {
    for seed in 0..20 {
        let plan = draw(seed, &DrawOptions::default());
        let (report, trace) = record(&plan, quorate_core::id::NodeId(1));
        assert_eq!(report, run(&plan), "recording changes nothing");
        let Some(trace) = trace else { continue };
        let mut trace = NodeTrace::read(&trace.write()).expect("what is written can be read");
        trace.replay().unwrap_or_else(|divergence| panic!("seed {seed} diverges: {divergence:?}"));
        // And a replay that should differ does.
        if let Some(step) = trace.steps.iter().position(|step| !step.effects.is_empty()) {
            trace.steps[step].effects.pop();
            assert_eq!(trace.replay().expect_err("an effect is missing").step, step);
        }
    }
}
