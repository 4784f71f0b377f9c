//! `quorate replay TRACE|SEED`: the same run again, its verdict and its digest.
//!
//! Ends as the run does: 0 if every promise holds, 1 if one is broken. Where the trace was recorded by the same sources
//! the digests must be equal too; if they are not, that is what is told (exit code 5). A node trace is lived again step
//! by step, and the first step that is answered otherwise is named.
//!
//! A run can be stopped at an event, a time or a condition, walked through in both directions (`--interactive`), and
//! written down as a snapshot, from which another process of the same build goes on.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use quorate_sim::failure::{Circumstances, block};
use quorate_sim::{Condition, EVENTS_MAX, Halt, Journey, Moment, Report, Session, VerdictWord};
use quorate_traces::{NodeTrace, PlanTrace};
use serde_json::json;

use super::console::{Console, Format, ResultFile};
use super::exit::{Ended, Exit, Failure};
use super::sim::select::{Selection, Subject, exit_of};
use super::walk::{Place, interact, save, walk_to, whereabouts};
use super::{panics, version};

/// Run a trace, a snapshot or a seed again, to its end or step by step
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// A plan trace, a node trace, a snapshot (.snap), or a seed
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    subject: Subject,
    #[command(flatten)]
    selection: Selection,
    /// Stop after so many events, or at a virtual time such as 1.5s
    #[arg(long, value_name = "STEP|TIME")]
    until: Option<Place>,
    /// Stop after the first event that fits, such as 'event=deliver & node=n2 & kind=Store'; also message=, op=, fault=,
    /// mark=
    #[arg(long = "break", value_name = "EXPR")]
    stop: Vec<String>,
    /// Take commands from stdin: step, back, until, break, go, show, save, quit
    #[arg(long)]
    interactive: bool,
    /// Write the whole world down where the run stopped; `quorate replay FILE` goes on from there
    #[arg(long, value_name = "FILE.snap")]
    save_snapshot: Option<PathBuf>,
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
        let stops: Result<Vec<Condition>, String> = self.stop.iter().map(|words| words.parse()).collect();
        let stops = stops.map_err(Failure::usage)?;
        let (session, trace) = self.selection.begin(&self.subject)?;
        if self.interactive {
            let mut journey = Journey::new(session);
            if let Some(place) = self.until {
                walk_to(&mut journey, place);
            }
            return interact(journey, self.stop.iter().cloned().zip(stops).collect());
        }
        let (session, halt) = self.walk(session, &stops);
        if let Some(file) = &self.save_snapshot {
            let bytes = save(&session, file)?;
            console.note(format!("{}: {bytes} bytes after event {}", file.display(), session.events()));
        }
        let early = session.next_moment().is_some();
        let place = if early { whereabouts(&session) } else { String::new() };
        let plan = session.plan().clone();
        let report = session.report();
        let parted = trace.as_ref().and_then(|trace| parted(trace, &report, early));
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
                let stop = match &halt {
                    Some(moment) => format!("stop {moment}\n"),
                    None => String::new(),
                };
                let text = text(&report, parted.as_deref(), &block(&plan, &report, &about), trace.as_ref(), early);
                format!("{stop}{text}{place}")
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
                    "stopped_at": halt.map(|moment| moment.to_string()),
                });
                format!("{object}\n")
            }
        };
        console.print(&self.file, &text)?;
        Ok(match report.verdict {
            _ if parted.is_some() => Exit::Diverged,
            VerdictWord::Violation => Exit::Violation,
            // A run that was asked to stop early is not expected to come to a verdict.
            VerdictWord::Unknown if early => Exit::Ok,
            VerdictWord::Unknown => Exit::Unknown,
            VerdictWord::Ok => Exit::Ok,
        })
    }

    /// As far as was asked; and the event that it was asked to stop after, if it came.
    fn walk(&self, mut session: Session, stops: &[Condition]) -> (Session, Option<Moment>) {
        if stops.is_empty()
            && let None | Some(Place::Step(_)) = self.until
        {
            let step = if let Some(Place::Step(step)) = self.until { step } else { EVENTS_MAX };
            session.walk_to(step.min(EVENTS_MAX));
            return (session, None);
        }
        let mut journey = Journey::new(session);
        let last = match self.until {
            None => EVENTS_MAX,
            Some(Place::Step(step)) => step.min(EVENTS_MAX),
            Some(place @ Place::Time(_)) => {
                let (from, mut scout) = (journey.session().events(), journey.clone());
                walk_to(&mut scout, place);
                scout.session().events().max(from)
            }
        };
        let halt = journey.go_until(stops, last);
        let moment = if let Halt::Condition(moment) = halt { Some(moment) } else { None };
        (journey.into_session(), moment)
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

fn text(report: &Report, parted: Option<&str>, block: &str, trace: Option<&PlanTrace>, early: bool) -> String {
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
        VerdictWord::Unknown if early => "not judged: it was stopped early",
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
