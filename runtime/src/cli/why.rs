//! `quorate trace why` and `quorate trace diff`: why a run fails, and where two runs part.
//!
//! What is necessary is found by running again without it; from when on nothing could be done, by running other futures.

use std::fmt::Write;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use quorate_sim::bisect::{Parting, bisect};
use quorate_sim::causality::{self, why};
use quorate_sim::run;
use serde_json::{Value, json};

use super::console::{Console, Format, ResultFile};
use super::exit::{Ended, Exit, Failure, OrExit};
use super::sim::WallTime;
use super::sim::select::{Selection, Subject};
use super::sim::verify::part;
use super::units;

/// Records of one kind that are listed in text.
const LISTED_MAX: usize = 24;

/// Name what a failure needs, and from when on it was inevitable
#[derive(Args, Debug)]
pub(super) struct Why {
    /// A plan trace that fails, or a seed; a shrunk one is answered sooner
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    subject: Subject,
    #[command(flatten)]
    selection: Selection,
    /// How long to ask
    #[arg(long, default_value = "60s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    #[command(flatten)]
    file: ResultFile,
}

impl Why {
    pub(super) fn run(&self, console: &Console) -> Ended {
        let (plan, _) = self.selection.plan(&self.subject)?;
        let Some(why) = why(&plan, &WallTime::start(), self.time.as_millis() as u64) else {
            let error = anyhow::anyhow!("this run does not fail; there is nothing to explain");
            return Err(Failure { exit: Exit::NothingRun, error });
        };
        let text = match console.format {
            Format::Text => {
                let report = run(&plan);
                let words = report.first().map(|violation| violation.words.as_str()).unwrap_or_default();
                text(&why, words, (plan.ops.len(), plan.faults.len()))
            }
            Format::Json | Format::Jsonl => format!("{}\n", object(&why)),
        };
        console.print(&self.file, &text)?;
        Ok(Exit::Violation)
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

fn text(why: &causality::Why, words: &str, of: (usize, usize)) -> String {
    let mut text = format!("{} is broken after {} events\n  {words}\n", why.property.name(), why.events);
    let mut section = |title: String, lines: Vec<String>| {
        writeln!(text, "{title}").expect("a string takes all");
        let more = lines.len().saturating_sub(LISTED_MAX);
        lines.into_iter().take(LISTED_MAX).for_each(|line| text += &format!("  {line}\n"));
        if more > 0 {
            text += &format!("  … and {more} more\n");
        }
    };
    let ops = why.ops.iter().map(|op| {
        let key = String::from_utf8_lossy(&op.key.0).into_owned();
        format!("{}  op {} c{} {:?} {key} via {}", seconds(op.at), op.op, op.client, op.what, op.via)
    });
    section(format!("necessary operations, {} of {}", why.ops.len(), of.0), ops.collect());
    let faults = why.faults.iter().map(|record| {
        let nodes: String = record.fault.nodes().iter().map(|node| format!(" {node}")).collect();
        format!("{}  {}{nodes}", seconds(record.at), record.fault.kind().name())
    });
    section(format!("necessary faults, {} of {}", why.faults.len(), of.1), faults.collect());
    if !why.directives.is_empty() {
        let lines = why.directives.iter().map(|directive| format!("{}  {:?}", directive.message, directive.act));
        section("necessary decisions about messages".to_string(), lines.collect());
    }
    let messages =
        why.messages.iter().map(|(step, at, message)| format!("{}  event {step:<6} {message}", seconds(*at)));
    section(format!("necessary messages, {}", why.messages.len()), messages.collect());
    text += &match why.inevitable_from {
        Some((step, at)) => {
            format!("inevitable from event {step}, {}: every future tried from there fails\n", seconds(at))
        }
        None => "never inevitable: with other luck in the last event some futures do not fail\n".to_string(),
    };
    if why.out_of_time {
        text += "time ran out: not everything was asked about (--time)\n";
    }
    text
}

fn object(why: &causality::Why) -> Value {
    let message = |(step, at, name): &(u64, u64, quorate_traces::MessageName)| json!({"step": step, "at": at, "m": name.to_string()});
    json!({
        "schema": "quorate.why/1", "property": why.property.name(), "events": why.events,
        "operations": why.ops, "faults": why.faults, "directives": why.directives,
        "messages": why.messages.iter().map(message).collect::<Vec<_>>(),
        "inevitable_from": why.inevitable_from.map(|(step, at)| json!({"step": step, "at": at})),
        "out_of_time": why.out_of_time,
    })
}

/// Find the first event at which two runs part, with the states of the nodes that differ
#[derive(Args, Debug)]
pub(super) struct Diff {
    /// A plan trace, a snapshot or a seed
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    left: Subject,
    /// Another
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    right: Subject,
    #[command(flatten)]
    selection: Selection,
    /// Walk each in a process of its own: what differs between processes alone is seen only so
    #[arg(long)]
    apart: bool,
    #[command(flatten)]
    file: ResultFile,
}

impl Diff {
    pub(super) fn run(&self, console: &Console) -> Ended {
        if self.apart {
            return self.run_apart(console);
        }
        let (left, _) = self.selection.begin(&self.left)?;
        let (right, _) = self.selection.begin(&self.right)?;
        let parting = bisect(left, right);
        let text = match (console.format, &parting) {
            (Format::Text, None) => "OK  the two runs are one\n".to_string(),
            (Format::Text, Some(parting)) => parting.to_string(),
            (Format::Json | Format::Jsonl, parting) => format!("{}\n", difference(parting.as_ref())),
        };
        console.print(&self.file, &console.verdict(&text))?;
        Ok(if parting.is_some() { Exit::Violation } else { Exit::Ok })
    }

    fn run_apart(&self, console: &Console) -> Ended {
        let subjects = [&self.left, &self.right].map(ToString::to_string);
        let parted = part([&subjects[0], &subjects[1]], &self.selection.flags()).or_exit(Exit::Io)?;
        console
            .print(&self.file, &parted.clone().unwrap_or_else(|| console.verdict("OK  the two runs are one") + "\n"))?;
        Ok(match parted {
            None => Exit::Ok,
            // The same input has given two different runs.
            Some(_) if self.left == self.right => Exit::Diverged,
            Some(_) => Exit::Violation,
        })
    }
}

fn difference(parting: Option<&Parting>) -> Value {
    let show = |moment: &Option<quorate_sim::Moment>| moment.as_ref().map(|moment| moment.to_string());
    let parting = parting.map(|parting| {
        let node = |(node, fields): &(quorate_core::id::NodeId, Vec<quorate_sim::Difference>)| {
            let fields: Vec<Value> = (fields.iter())
                .map(|field| json!({"path": field.path, "left": field.left, "right": field.right}))
                .collect();
            json!({"node": node.to_string(), "fields": fields})
        };
        json!({
            "step": parting.step, "left": show(&parting.left), "right": show(&parting.right),
            "nodes": parting.nodes.iter().map(node).collect::<Vec<_>>(),
        })
    });
    json!({"schema": "quorate.diff/1", "parting": parting})
}
