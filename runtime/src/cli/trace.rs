//! `quorate trace check-all|show|record|why|diff`: the committed corpus, and a look into a trace.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use clap::{Args, Subcommand};
use quorate_core::id::NodeId;
use quorate_sim::{record, run};
use quorate_traces::{NodeTrace, PlanTrace, VerdictWord};
use serde_json::{Value, json};

use super::console::{Console, Format, ResultFile, create, finish};
use super::exit::{Ended, Exit, Failure, OrExit};
use super::replay::parted;
use super::sim::select::{Selection, Subject, exit_of, load};
use super::{panics, units, version, why};

/// Look at recorded runs, and check them all
#[derive(Args, Debug)]
pub(crate) struct Trace {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Subcommand, Debug)]
enum TraceCommand {
    CheckAll(CheckAll),
    Show(Show),
    Record(Record),
    Why(why::Why),
    Diff(why::Diff),
}

/// Run every trace of a folder and compare with what it expects
#[derive(Args, Debug)]
struct CheckAll {
    /// The folder; folders in it too
    #[arg(default_value = "traces")]
    folder: PathBuf,
    #[command(flatten)]
    file: ResultFile,
}

/// Print a trace as people read it
#[derive(Args, Debug)]
struct Show {
    trace: PathBuf,
    /// Only what concerns this node, such as n2
    #[arg(long, value_parser = node, value_name = "NODE")]
    node: Option<NodeId>,
    /// Only operations on this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    file: ResultFile,
}

/// Run a trace or a seed and record one node's life, for `quorate replay`
#[derive(Args, Debug)]
struct Record {
    /// A plan trace, or a seed
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    subject: Subject,
    #[command(flatten)]
    selection: Selection,
    /// Which node, such as n2
    #[arg(long, value_parser = node, value_name = "NODE")]
    node: NodeId,
    /// Where the node trace goes: NAME.node.jsonl
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0);
    number.map(NodeId).ok_or_else(|| format!("'{text}' is no node; write n1, n2, ..."))
}

impl Trace {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        panics::quiet();
        match &self.command {
            TraceCommand::CheckAll(check) => check.run(console),
            TraceCommand::Show(show) => show.run(console),
            TraceCommand::Record(record) => record.run(console),
            TraceCommand::Why(why) => why.run(console),
            TraceCommand::Diff(diff) => diff.run(console),
        }
    }
}

/// What became of one trace.
struct Checked {
    file: PathBuf,
    /// Why it is not as expected.
    problem: Option<(Exit, String)>,
    verdict: String,
    compared_digests: bool,
}

impl CheckAll {
    fn run(&self, console: &Console) -> Ended {
        let started = Instant::now();
        let mut files = Vec::new();
        collect(&self.folder, &mut files)?;
        files.sort();
        if files.is_empty() {
            let error = anyhow::anyhow!("there is no trace in {}", self.folder.display());
            return Err(Failure { exit: Exit::NothingRun, error });
        }
        let checked: Vec<Checked> = files.into_iter().map(check).collect();
        let bad = checked.iter().filter(|checked| checked.problem.is_some()).count();
        let digests = checked.iter().filter(|checked| checked.compared_digests).count();
        let mut out = console.result(&self.file)?;
        let text = match console.format {
            Format::Text => {
                let mut text: String = checked.iter().map(|checked| checked.line(console)).collect();
                let word = if bad == 0 { "OK" } else { "FAIL" };
                let took = units::show(started.elapsed());
                let last = format!(
                    "{word}  {} traces, {bad} not as expected, {digests} digests compared, {took}",
                    checked.len()
                );
                text += &console.verdict(&last);
                text + "\n"
            }
            Format::Jsonl => checked.iter().map(|checked| format!("{}\n", checked.object())).collect(),
            Format::Json => {
                let traces: Vec<Value> = checked.iter().map(Checked::object).collect();
                format!("{}\n", json!({"schema": "quorate.check-all/1", "bad": bad, "traces": traces}))
            }
        };
        finish(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
        // A mismatch outweighs a trace that cannot be read any more.
        let exits: Vec<Exit> = checked.iter().filter_map(|checked| Some(checked.problem.as_ref()?.0)).collect();
        let order = [Exit::Violation, Exit::Diverged, Exit::Usage, Exit::Io, Exit::Incompatible];
        Ok(order.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Ok))
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(named).or_exit(Exit::Io)? {
        let path = entry.map_err(named).or_exit(Exit::Io)?.path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            collect(&path, files)?;
        } else if name.ends_with(".trace.jsonl") || name.ends_with(".node.jsonl") {
            files.push(path);
        }
    }
    Ok(())
}

fn check(file: PathBuf) -> Checked {
    if file.to_string_lossy().ends_with(".node.jsonl") {
        return check_node(file);
    }
    let trace = match load(&file) {
        Ok(trace) => trace,
        Err(failure) => {
            let problem = Some((failure.exit, format!("{:#}", failure.error)));
            return Checked { file, problem, verdict: "unreadable".to_string(), compared_digests: false };
        }
    };
    let report = run(&trace.plan);
    let property = report.first().map(|violation| violation.property.name());
    let expected = &trace.expect;
    let same_property = expected.property.as_deref().is_none_or(|expected| property == Some(expected));
    let problem = if report.verdict != expected.verdict || !same_property {
        let words = report.first().map(|violation| violation.words.as_str()).unwrap_or("every promise holds");
        let expected = describe(expected.verdict, expected.property.as_deref());
        Some((Exit::Violation, format!("expected {expected}, came to {}: {words}", describe(report.verdict, property))))
    } else {
        parted(&trace, &report, false).map(|words| (Exit::Diverged, words))
    };
    Checked {
        file,
        problem,
        verdict: describe(report.verdict, property),
        compared_digests: trace.core == version::CORE,
    }
}

/// A node trace is for the sources that wrote it; elsewhere its snapshot may not even be readable.
fn check_node(file: PathBuf) -> Checked {
    let outcome = NodeTrace::load(&file);
    let (problem, verdict, compared_digests) = match outcome {
        Ok(trace) if trace.core != version::CORE => (None, "of other sources", false),
        Ok(trace) => match trace.replay() {
            Ok(_) => (None, "every step as recorded", true),
            Err(divergence) => {
                let words = format!("step {} is answered otherwise", divergence.step);
                (Some((Exit::Diverged, words)), "diverged", true)
            }
        },
        Err(error) => (Some((exit_of(&error), error.to_string())), "unreadable", false),
    };
    Checked { file, problem, verdict: verdict.to_string(), compared_digests }
}

fn describe(verdict: VerdictWord, property: Option<&str>) -> String {
    let word = match verdict {
        VerdictWord::Ok => "ok",
        VerdictWord::Violation => "violation",
        VerdictWord::Unknown => "unknown",
    };
    property.map_or(word.to_string(), |property| format!("{word} of {property}"))
}

impl Checked {
    fn line(&self, console: &Console) -> String {
        let file = self.file.display();
        match &self.problem {
            None => format!("{}\n", console.verdict(&format!("OK  {file}  {}", self.verdict))),
            Some((Exit::Incompatible, words)) => format!("STALE  {file}  {words}\n"),
            Some((_, words)) => format!("{}\n", console.verdict(&format!("FAIL  {file}  {words}"))),
        }
    }

    fn object(&self) -> Value {
        let (file, problem) = (self.file.display().to_string(), self.problem.as_ref().map(|(_, words)| words));
        json!({"file": file, "verdict": self.verdict, "problem": problem, "digests": self.compared_digests})
    }
}

impl Show {
    fn run(&self, console: &Console) -> Ended {
        let trace = load(&self.trace)?;
        let text = match console.format {
            Format::Text => self.text(&trace),
            // The file's own lines are its machine form.
            Format::Json | Format::Jsonl => trace.write(),
        };
        console.print(&self.file, &text)?;
        Ok(Exit::Ok)
    }

    fn text(&self, trace: &PlanTrace) -> String {
        let PlanTrace { name, core, expect, origin, plan, end, .. } = trace;
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
        line(format!(
            "{name}  scenario={}  expects {}",
            plan.scenario,
            describe(expect.verdict, expect.property.as_deref())
        ));
        if !origin.story.is_empty() {
            line(origin.story.clone());
        }
        let commit = origin.commit.get(..7).unwrap_or(&origin.commit);
        line(format!("seed {:#x}  commit {commit}  core {core}", origin.seed));
        let cluster = &plan.shape.cluster;
        line(format!(
            "{} nodes, rf {}, {} partitions, {} racks",
            cluster.nodes, cluster.rf, cluster.partitions, cluster.racks
        ));
        for space in &cluster.keyspaces {
            line(format!("keyspace {:?}  {:?}  n={} r={} w={}", space.prefix, space.mode, space.n, space.r, space.w));
        }
        let mut rows: Vec<(u64, String)> = Vec::new();
        for op in &plan.ops {
            let key = String::from_utf8_lossy(&op.key.0);
            let is_named =
                self.node.is_none_or(|node| op.via == node) && self.key.as_ref().is_none_or(|named| *named == key);
            if is_named {
                let value = op.value.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
                rows.push((op.at, format!("op {:<4} c{} {:?} {key}{value} via {}", op.op, op.client, op.what, op.via)));
            }
        }
        for record in plan.faults.iter().filter(|_| self.key.is_none()) {
            let nodes = record.fault.nodes();
            if self.node.is_none_or(|node| nodes.contains(&node)) {
                rows.push((record.at, format!("{:?}", record.fault)));
            }
        }
        rows.sort_by_key(|(at, _)| *at);
        for (at, words) in rows {
            line(format!("{:>12.6}s  {words}", at as f64 / 1e6));
        }
        for directive in &plan.directives {
            line(format!("{}  {:?}", directive.message, directive.act));
        }
        if let Some(end) = end {
            line(format!("ends after {} events with q:{:016x}", end.end, end.digest));
        }
        text
    }
}

impl Record {
    fn run(&self, console: &Console) -> Ended {
        let (plan, _) = self.selection.plan(&self.subject)?;
        if self.node.0 > plan.shape.cluster.nodes {
            return Err(Failure::usage(format!("this cluster has n1 to n{}", plan.shape.cluster.nodes)));
        }
        let (_, trace) = record(&plan, self.node);
        let Some(mut trace) = trace else {
            let error = anyhow::anyhow!("{} never ran", self.node);
            return Err(Failure { exit: Exit::NothingRun, error });
        };
        trace.core = version::CORE.to_string();
        let mut out = create(&self.output)?;
        finish(out.write_all(trace.write().as_bytes()).and_then(|()| out.flush()))?;
        console.note(format!("{} steps of {} in {}", trace.steps.len(), self.node, self.output.display()));
        Ok(Exit::Ok)
    }
}
