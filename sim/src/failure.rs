//! What a failing run prints: what, which seed, why, and how to see it again.

use crate::oracle::Violation;
use crate::report::Report;
use quorate_traces::{Expect, Fault, Origin, Plan, PlanTrace, VerdictWord};
use serde::Serialize;
use std::fmt::Write;

/// What the failure block needs to know beyond the run.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The commit, with its cleanliness: `3f2c1ab (clean)`.
    pub commit: String,
    /// Where the trace was written.
    pub trace_file: String,
    /// The command that runs the seed again.
    pub seed_command: String,
    /// How many events the run had before it was made small.
    pub shrunk_from_events: Option<u64>,
}

/// The block of a failure, as text.
pub fn block(plan: &Plan, report: &Report, about: &Circumstances) -> String {
    let mut text = String::new();
    let Some(first) = report.first() else { return text };
    let key = first.key.as_ref().map(|key| format!("  key {key}")).unwrap_or_default();
    let property = first.property.name();
    let Circumstances { commit, trace_file, seed_command, shrunk_from_events } = about;
    let seed = report.seed;
    let mut line = |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a String takes everything");
    line(format_args!(
        "FAIL  seed {seed:#018x}  scenario={}  commit {commit}  property {property}{key}",
        report.scenario
    ));
    line(format_args!("  {}", first.words));
    for op in ops_of(report, first) {
        line(format_args!("    {op}"));
    }
    let (ops, faults) = (plan.ops.len(), plan.faults.len());
    let clients = plan.ops.iter().map(|op| op.client).collect::<std::collections::BTreeSet<_>>().len();
    let from = shrunk_from_events.map(|events| format!("; shrunk from {events} events")).unwrap_or_default();
    line(format_args!(
        "  repro    {} nodes, {clients} clients, {ops} operations, {faults} faults, {} events{from}",
        plan.shape.cluster.nodes, report.events
    ));
    for record in plan.faults.iter().take(6) {
        line(format_args!("    {}s  {}", seconds(record.at), fault_words(&record.fault)));
    }
    if faults > 6 {
        line(format_args!("    … and {} more faults", faults - 6));
    }
    if !trace_file.is_empty() {
        line(format_args!("  replay   quorate replay {trace_file}"));
    }
    if !seed_command.is_empty() {
        line(format_args!("  raw seed {seed_command}      (this commit only)"));
    }
    line(format_args!("  digest   q:{:016x}", report.digest));
    if !trace_file.is_empty() {
        let name = format!("{property}-{seed:x}");
        line(format_args!("  to keep it: cp {trace_file} traces/corpus/{name}.trace.jsonl"));
    }
    text
}

/// The operations that a violation names, one line each.
fn ops_of(report: &Report, violation: &Violation) -> Vec<String> {
    let named = report.history.iter().filter(|record| violation.ops.contains(&record.op));
    let show = |record: &crate::OpRecord| {
        let key = report.keys.get(record.key as usize).map_or("?", |key| key);
        let value = record.value.as_ref().map(|value| quorate_traces::names::Blob(value.clone()).to_string());
        let value = value.unwrap_or_else(|| "nothing".to_owned());
        let (what, arrow) = match record.what {
            quorate_traces::Do::Get => ("get", "→"),
            quorate_traces::Do::Put => ("put", "="),
            quorate_traces::Do::Delete => ("delete", "="),
        };
        let ret = record.ret.map_or("never".to_owned(), |ret| format!("{}s", seconds(ret)));
        let version = record.version.map(|version| format!(" {version}")).unwrap_or_default();
        format!(
            "op {} c{} {what} {key} {arrow} {value}  {}s–{ret}  {:?} via {}{version}",
            record.op,
            record.client,
            seconds(record.invoke),
            record.ending,
            record.via
        )
    };
    named.map(show).collect()
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn fault_words(fault: &Fault) -> String {
    let nodes: Vec<String> = fault.nodes().iter().map(ToString::to_string).collect();
    let until = fault.until().map(|until| format!(" until {}s", seconds(until))).unwrap_or_default();
    format!("{} {}{until}", fault.kind().name(), nodes.join(" ")).trim_end().to_owned()
}

/// One line of machine output about a seed.
#[derive(Debug, Serialize)]
pub struct SeedLine<'a> {
    /// Always `seed`.
    pub t: &'static str,
    /// The seed.
    pub seed: String,
    /// In one word.
    pub verdict: VerdictWord,
    /// The promise that was broken.
    pub property: Option<&'static str>,
    /// Of which key.
    pub key: Option<&'a str>,
    /// What happened.
    pub words: Option<&'a str>,
    /// How many events.
    pub events: u64,
    /// The fold over them.
    pub digest: String,
}

impl<'a> SeedLine<'a> {
    /// The line of a report.
    pub fn of(report: &'a Report) -> Self {
        let first = report.first();
        Self {
            t: "seed",
            seed: format!("{:#x}", report.seed),
            verdict: report.verdict,
            property: first.map(|violation| violation.property.name()),
            key: first.and_then(|violation| violation.key.as_deref()),
            words: first.map(|violation| violation.words.as_str()),
            events: report.events,
            digest: format!("q:{:016x}", report.digest),
        }
    }
}

/// The trace of a run: its plan, what it came to, and its digests.
pub fn trace(name: &str, core: &str, plan: &Plan, report: &Report, origin: Origin) -> PlanTrace {
    let first = report.first();
    PlanTrace {
        name: name.to_owned(),
        core: core.to_owned(),
        expect: Expect {
            verdict: report.verdict,
            property: first.map(|violation| violation.property.name().to_owned()),
            key: first.and_then(|violation| violation.key.clone()),
        },
        origin,
        plan: plan.clone(),
        checkpoints: report.checkpoints.clone(),
        end: Some(quorate_traces::End { end: report.events, digest: report.digest }),
    }
}
