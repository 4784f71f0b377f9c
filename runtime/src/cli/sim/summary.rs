//! What a sweep says at its beginning and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use quorate_sim::Property;
use quorate_sim::hunt::Summary;
use quorate_traces::FaultKind;
use serde_json::{Value, json};

use super::Run;
use crate::cli::console::{Console, Format};
use crate::cli::units::{grouped, show};
use crate::cli::version;

/// Everything the end of a sweep tells.
pub(super) struct Findings<'a> {
    pub(super) summary: &'a Summary,
    /// Seeds that came out otherwise when run again.
    pub(super) diverged: &'a BTreeSet<u64>,
    /// How many seeds were run twice.
    pub(super) verified: u64,
    pub(super) took: Duration,
    /// Kinds of faults that never began and rare branches that were never taken, where that counts.
    pub(super) uncovered: Vec<&'static str>,
}

/// The first line.
pub(super) fn head(run: &Run, console: &Console) {
    if console.quiet {
        return;
    }
    let range = run.range();
    let nodes = run.selection.options().nodes.map(|nodes| format!("  {nodes} nodes")).unwrap_or_default();
    let (at, of) = run.shard();
    let shard = if of > 1 { format!("  shard {at}/{of}") } else { String::new() };
    println!(
        "quorate {} ({})  scenario={}{nodes}  seeds {}..{}{shard}  faults={}  -j {}",
        env!("CARGO_PKG_VERSION"),
        version::short_commit(),
        run.selection.scenario.name(),
        range.start,
        range.end,
        run.selection.faults.words,
        run.threads(),
    );
}

pub(super) fn render(run: &Run, console: &Console, findings: &Findings<'_>) -> String {
    match console.format {
        Format::Text => text(run, console, findings),
        Format::Json | Format::Jsonl => format!("{}\n", object(run, findings)),
    }
}

/// How many seeds broke each property first.
fn broken(summary: &Summary) -> BTreeMap<&str, u64> {
    let mut broken = BTreeMap::new();
    for signature in summary.bad.iter().filter_map(|result| result.signature.as_deref()) {
        *broken.entry(signature.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    broken
}

fn text(run: &Run, console: &Console, findings: &Findings<'_>) -> String {
    let Findings { summary, took, .. } = findings;
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    let seconds = took.as_secs_f64().max(1e-3);
    let sim = Duration::from_micros(summary.sim_time);
    line(format!(
        " seeds {}/{}  {}  {:.1} seeds/s  {} events  {} operations  sim time {} ({}x real)",
        grouped(summary.seeds),
        grouped(run.count()),
        show(*took),
        summary.seeds as f64 / seconds,
        grouped(summary.events),
        grouped(summary.operations),
        show(sim),
        grouped((sim.as_secs_f64() / seconds) as u64),
    ));
    let broken = broken(summary);
    let words: Vec<String> = Property::ALL
        .iter()
        .map(|property| match broken.get(property.name()) {
            None => format!("{} ok", property.name()),
            Some(count) => format!("{} BROKEN in {count} seeds", property.name()),
        })
        .collect();
    for (at, row) in words.chunks(6).enumerate() {
        line(format!("{:<11}{}", if at == 0 { "properties" } else { "" }, row.join(" · ")));
    }
    let fired: Vec<String> = (summary.audit.kinds())
        .filter(|(_, count)| count.planned > 0)
        .map(|(kind, count)| format!("{} {} ({})", kind.name(), grouped(count.fired), grouped(count.mattered)))
        .collect();
    for (at, row) in fired.chunks(7).enumerate() {
        line(format!("{:<11}{}", if at == 0 { "faults" } else { "" }, row.join(" · ")));
    }
    let marks = summary.audit.marks();
    let never = summary.audit.never_fired();
    let never = if never.is_empty() { "none".to_string() } else { names(&never) };
    let unreached = summary.audit.never_reached();
    let known = quorate_sim::Audit::all_marks().count();
    line(format!(
        "coverage   {} of {known} rare branches reached · planned faults that never began: {never}",
        known - unreached.len()
    ));
    if console.verbose > 0 {
        unreached.iter().for_each(|mark| line(format!("               never  {mark}")));
    }
    if console.verbose > 0 {
        for (mark, count) in &marks {
            line(format!("           {:>9}  {mark}", grouped(*count)));
        }
    }
    let twice = findings.verified;
    line(format!(
        "largest seed {:#x} ({} events) · {} seeds run twice, {} differed",
        summary.largest.0,
        grouped(summary.largest.1),
        twice,
        findings.diverged.len(),
    ));
    line(console.verdict(&last_line(run, findings)));
    text
}

fn names(kinds: &[FaultKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn last_line(run: &Run, findings: &Findings<'_>) -> String {
    let Findings { summary, diverged, uncovered, .. } = findings;
    let (seeds, failures) = (grouped(summary.seeds), summary.failures());
    let interrupted = if summary.interrupted { " (interrupted)" } else { "" };
    if !diverged.is_empty() {
        let of = diverged.iter().map(|seed| format!("{seed:#x}")).collect::<Vec<_>>().join(" ");
        let count = diverged.len();
        return format!(
            "NONDETERMINISTIC  {count} of {seeds} seeds came out otherwise the second time: {of}{interrupted}"
        );
    }
    if failures > 0 {
        let plural = if failures == 1 { "violation" } else { "violations" };
        let list = run.out.join("failures.txt");
        return format!("FAIL  {failures} {plural} in {seeds} seeds (seed list: {}){interrupted}", list.display());
    }
    if !uncovered.is_empty() {
        return format!("FAIL  0 violations in {seeds} seeds, but these never came about: {}", uncovered.join(", "));
    }
    match summary.bad.len() {
        0 => format!("OK  {seeds} seeds, 0 violations{interrupted}"),
        unknown => format!("UNKNOWN  0 violations in {seeds} seeds, {unknown} without a verdict{interrupted}"),
    }
}

fn object(run: &Run, findings: &Findings<'_>) -> Value {
    let Findings { summary, diverged, took, uncovered, .. } = findings;
    let faults: serde_json::Map<String, Value> = (summary.audit.kinds())
        .map(|(kind, count)| {
            let value = json!({"planned": count.planned, "fired": count.fired, "mattered": count.mattered});
            (kind.name().to_string(), value)
        })
        .collect();
    let bad: Vec<Value> = (summary.bad.iter())
        .map(|result| {
            json!({
                "seed": format!("{:#x}", result.seed), "verdict": result.verdict,
                "signature": result.signature, "digest": format!("q:{:016x}", result.digest),
            })
        })
        .collect();
    let verdict = last_line(run, findings);
    json!({
        "t": "summary", "schema": "quorate.sim/1",
        "verdict": verdict.split(' ').next().unwrap_or_default().to_lowercase(),
        "commit": version::COMMIT, "core": version::CORE,
        "scenario": run.selection.scenario.name(), "seeds": summary.seeds, "failures": summary.failures(),
        "events": summary.events, "deliveries": summary.deliveries, "operations": summary.operations,
        "sim_time_us": summary.sim_time, "us": took.as_micros() as u64,
        "digest": format!("q:{:016x}", summary.digest), "run_twice": findings.verified,
        "diverged": diverged.iter().map(|seed| format!("{seed:#x}")).collect::<Vec<_>>(),
        "uncovered": uncovered,
        "broken": broken(summary), "faults": faults, "marks": summary.audit.marks(),
        "unreached": summary.audit.never_reached(), "bad": bad, "interrupted": summary.interrupted,
    })
}
