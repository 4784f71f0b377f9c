//! The committed traces: each comes to what it says, and the page that lists them is up to date.

use quorate_sim::failure::trace;
use quorate_sim::plan::Scenario;
use quorate_sim::{DrawOptions, draw, run};
use quorate_traces::corpus::{CORPUS_BYTES_MAX, TRACE_BYTES_MAX, index, load_all};
use quorate_traces::{FaultKind, Origin, PlanTrace, VerdictWord};
use std::path::Path;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/corpus"))
}

#[test]
fn every_committed_trace_comes_to_what_it_says() {
    let traces = load_all(folder()).expect("the corpus can be read");
    assert!(traces.len() >= 4);
    for committed in &traces {
        let trace = &committed.trace;
        assert_eq!(
            committed.file.file_name().and_then(|name| name.to_str()),
            Some(&*format!("{}.trace.jsonl", trace.name))
        );
        let report = run(&trace.plan);
        assert_eq!(report.verdict, trace.expect.verdict, "{}: {:?}", trace.name, report.first());
        let property = report.first().map(|violation| violation.property.name());
        assert_eq!(property, trace.expect.property.as_deref(), "{}", trace.name);
        assert!(report.directives_matched as usize == trace.plan.directives.len(), "{}: stale directives", trace.name);
    }
    assert!(traces.iter().any(|committed| committed.trace.expect.verdict == VerdictWord::Violation));
    let crash = |committed: &quorate_traces::corpus::Committed| {
        committed.trace.plan.faults.iter().any(|record| record.fault.kind() == FaultKind::Crash)
    };
    assert!(traces.iter().any(crash), "a crash is among what is replayed");
}

#[test]
fn the_corpus_stays_small() {
    let traces = load_all(folder()).expect("the corpus can be read");
    for committed in &traces {
        assert!(committed.bytes <= TRACE_BYTES_MAX, "{} has {} bytes", committed.trace.name, committed.bytes);
    }
    assert!(traces.iter().map(|committed| committed.bytes).sum::<u64>() <= CORPUS_BYTES_MAX);
}

#[test]
fn the_page_that_lists_them_is_up_to_date() {
    let page = index(&load_all(folder()).expect("the corpus can be read"));
    let file = folder().join("README.md");
    if std::env::var_os("QUORATE_WRITE_INDEX").is_some() {
        std::fs::write(&file, &page).expect("the page can be written");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), page, "see the page's own first paragraph");
}

#[test]
fn a_trace_needs_no_generator() {
    // What the same seed draws when the generator is asked for something else, as another version of it might.
    let other = DrawOptions { ops: Some(7), ..DrawOptions::default() };
    for seed in 0..10 {
        let plan = draw(seed, &DrawOptions::default());
        assert_ne!(draw(seed, &other), plan);
        let report = run(&plan);
        let trace = trace("kept", "", &plan, &report, Origin { seed, ..Origin::default() });
        let again = PlanTrace::read(&trace.write()).expect("what is written can be read");
        assert_eq!(run(&again.plan), report);
    }
    // The committed traces were drawn by generators of their own days, and none of them is what its seed draws now.
    for committed in load_all(folder()).expect("the corpus can be read") {
        let scenario = Scenario::from_name(&committed.trace.plan.scenario).expect("a scenario that still exists");
        assert_ne!(draw(committed.trace.origin.seed, &DrawOptions::of(scenario)), committed.trace.plan);
    }
}
