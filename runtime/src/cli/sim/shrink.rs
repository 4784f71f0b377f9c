//! `quorate sim shrink TRACE|SEED`: what is left is what it takes.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use quorate_sim::failure::{Circumstances, block, trace};
use quorate_sim::shrink::shrink;
use quorate_traces::Origin;
use serde_json::json;

use super::WallTime;
use super::select::{Selection, Subject};
use crate::cli::console::{Console, Format, ResultFile};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::{panics, units, version};

/// Make a failing run small
#[derive(Args, Debug)]
pub(crate) struct Shrink {
    /// A trace, or a seed
    #[arg(value_parser = Subject::from_str, value_name = "TRACE|SEED")]
    subject: Subject,
    #[command(flatten)]
    selection: Selection,
    /// How long to try
    #[arg(long, default_value = "60s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// Where the small trace goes
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Shrink {
    pub(super) fn run(&self, console: &Console) -> Ended {
        panics::quiet();
        let (plan, known) = self.selection.plan(&self.subject)?;
        let Some(small) = shrink(&plan, &WallTime::start(), self.time.as_millis() as u64) else {
            let error = anyhow::anyhow!("this run does not fail; there is nothing to make small");
            return Err(Failure { exit: Exit::NothingRun, error });
        };
        let name = match (&self.output, &known) {
            (Some(file), _) => file_stem(file),
            (None, Some(trace)) => format!("{}-small", trace.name),
            (None, None) => format!("{:x}", plan.shape.seed),
        };
        let file = self
            .output
            .clone()
            .unwrap_or_else(|| PathBuf::from("target/quorate/sim").join(format!("{name}.trace.jsonl")));
        let origin = Origin {
            seed: plan.shape.seed,
            commit: version::COMMIT.to_string(),
            shrunk_from_events: known.as_ref().and_then(|known| known.origin.shrunk_from_events),
            ..known.map(|known| known.origin).unwrap_or_default()
        };
        trace(&name, version::CORE, &small.plan, &small.report, origin).save(&file).or_exit(Exit::Io)?;
        let records = (small.plan.ops.len(), small.plan.faults.len());
        let text = match console.format {
            Format::Text => {
                let about = Circumstances {
                    commit: version::commit_state(),
                    trace_file: file.display().to_string(),
                    ..Circumstances::default()
                };
                let why = if small.out_of_time { "time ran out" } else { "nothing more can be taken out" };
                let from = (plan.ops.len(), plan.faults.len());
                format!(
                    "{}from {} operations and {} faults to {} and {} in {} runs; {why}\n",
                    block(&small.plan, &small.report, &about),
                    from.0,
                    from.1,
                    records.0,
                    records.1,
                    small.runs,
                )
            }
            Format::Json | Format::Jsonl => {
                let object = json!({
                    "schema": "quorate.shrink/1", "file": file.display().to_string(), "operations": records.0,
                    "faults": records.1, "runs": small.runs, "out_of_time": small.out_of_time,
                    "digest": format!("q:{:016x}", small.report.digest),
                });
                format!("{object}\n")
            }
        };
        console.print(&ResultFile::default(), &text)?;
        Ok(Exit::Violation)
    }
}

fn file_stem(file: &std::path::Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_string()
}
