//! `quorate replay TRACE|SEED`: the same run again, its verdict and its digest.
//!
//! Ends as the run does: 0 if every promise holds, 1 if one is broken. Where the trace was recorded by the same sources
//! the digests must be equal too; if they are not, that is what is told (exit code 5). A node trace is lived again step
//! by step, and the first step that is answered otherwise is named.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use clap::Args;
use quorate_sim::failure::{Circumstances, block};
use quorate_sim::{EVENTS_MAX, Report, VerdictWord, run, run_until};
use quorate_traces::{NodeTrace, PlanTrace};
use serde_json::json;

use super::console::{Console, Format, ResultFile};
use super::exit::{Ended, Exit, Failure};
use super::sim::select::{Selection, Subject, exit_of};
use super::{panics, version};

/// Run a trace or a seed again
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// A plan trace, a node trace, or a seed
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    subject: Subject,
    #[command(flatten)]
    selection: Selection,
    /// Stop after so many events
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,
    #[command(flatten)]
    file: ResultFile,
}

impl Replay {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        panics::quiet();
        if let Subject::File(file) = &self.subject
            && file.to_string_lossy().ends_with(".node.jsonl")
        {
            return self.node(file, console);
        }
        let (plan, trace) = self.selection.plan(&self.subject)?;
        let report = match self.until {
            Some(step) => run_until(&plan, step.min(EVENTS_MAX)),
            None => run(&plan),
        };
        let parted = trace.as_ref().and_then(|trace| parted(trace, &report, self.until.is_some()));
        let text = match console.format {
            Format::Text => {
                let about = match &self.subject {
                    Subject::File(file) => Circumstances {
                        commit: version::commit_state(),
                        trace_file: file.display().to_string(),
                        ..Circumstances::default()
                    },
                    Subject::Seed(_) => Circumstances { commit: version::commit_state(), ..Circumstances::default() },
                };
                self.text(&report, parted.as_deref(), &block(&plan, &report, &about), trace.as_ref())
            }
            Format::Json | Format::Jsonl => {
                let first = report.first();
                let object = json!({
                    "schema": "quorate.replay/1", "seed": format!("{:#x}", report.seed), "verdict": report.verdict,
                    "property": first.map(|violation| violation.property.name()),
                    "key": first.and_then(|violation| violation.key.as_deref()),
                    "words": first.map(|violation| violation.words.as_str()),
                    "events": report.events, "sim_time_us": report.sim_time,
                    "digest": format!("q:{:016x}", report.digest), "parted": parted,
                });
                format!("{object}\n")
            }
        };
        console.print(&self.file, &text)?;
        Ok(match report.verdict {
            _ if parted.is_some() => Exit::Diverged,
            VerdictWord::Violation => Exit::Violation,
            // A run that was asked to stop early is not expected to come to a verdict.
            VerdictWord::Unknown if self.until.is_some() => Exit::Ok,
            VerdictWord::Unknown => Exit::Unknown,
            VerdictWord::Ok => Exit::Ok,
        })
    }

    fn text(&self, report: &Report, parted: Option<&str>, block: &str, trace: Option<&PlanTrace>) -> String {
        let mut text = block.to_string();
        let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
        if let Some(parted) = parted {
            line(format!("NONDETERMINISTIC  {parted}"));
        }
        if let Some(trace) = trace
            && trace.core != version::CORE
        {
            line(format!(
                "recorded by other sources (core {}, here {}): digests are not compared",
                trace.core,
                version::CORE
            ));
        }
        let verdict = match report.verdict {
            VerdictWord::Ok => "ok",
            VerdictWord::Violation => "violation",
            VerdictWord::Unknown if self.until.is_some() => "not judged: it was stopped early",
            VerdictWord::Unknown => "unknown",
        };
        let directives = trace.map_or(String::new(), |trace| match trace.plan.directives.len() {
            0 => String::new(),
            count => format!(", {} of {count} directives matched", report.directives_matched),
        });
        line(format!(
            "seed {:#x}: {verdict}, {} events, {} s of virtual time, digest q:{:016x}{directives}",
            report.seed,
            report.events,
            report.sim_time as f64 / 1e6,
            report.digest,
        ));
        text
    }

    fn node(&self, file: &Path, console: &Console) -> Ended {
        let trace = NodeTrace::load(file).map_err(|error| Failure { exit: exit_of(&error), error: error.into() })?;
        let steps = trace.steps.len();
        let (text, exit) = match trace.replay() {
            Ok(_) => (format!("OK  {steps} steps, each answered as it was recorded\n"), Exit::Ok),
            Err(divergence) => {
                let at = divergence.step;
                let step = &trace.steps[at];
                let text = format!(
                    "FAIL  step {at} of {steps} is answered otherwise\n  input     {:?}\n  recorded  {:?}\n  now       {:?}\n",
                    step.input, divergence.recorded, divergence.replayed
                );
                (text, Exit::Diverged)
            }
        };
        console.print(&self.file, &console.verdict(&text))?;
        Ok(exit)
    }
}

/// Where a run by the same sources leaves what was recorded; nothing if it does not, or if the sources are others.
pub(crate) fn parted(trace: &PlanTrace, report: &Report, early: bool) -> Option<String> {
    if trace.core.is_empty() || trace.core != version::CORE {
        return None;
    }
    let now = report.checkpoints.iter();
    for recorded in trace.checkpoints.iter().filter(|recorded| recorded.step <= report.events) {
        let same = now.clone().find(|now| now.step == recorded.step).is_some_and(|now| now.digest == recorded.digest);
        if !same {
            return Some(format!("this run has left the recorded one at or before event {}", recorded.step));
        }
    }
    let end = trace.end.filter(|_| !early)?;
    let same = end.end == report.events && end.digest == report.digest;
    (!same).then(|| {
        format!(
            "this run ends after {} events with q:{:016x}, the recorded one after {} with q:{:016x}",
            report.events, report.digest, end.end, end.digest
        )
    })
}
