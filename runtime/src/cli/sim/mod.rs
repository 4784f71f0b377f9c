//! `quorate sim`: many seeds, each a whole cluster in one thread, each judged. And `sim list`, `sim shrink`, `sim branch`,
//! `sim merge`.

mod artefacts;
mod branch;
mod failures;
mod list;
mod merge;
pub(crate) mod select;
mod shrink;
mod summary;
mod sweep;
pub(crate) mod verify;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::console::{Console, ResultFile};
use super::exit::{Ended, Failure};
use super::units;
use artefacts::Form;
use select::Selection;

/// Simulate: run seeds, judge each, and make what fails small
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Sim {
    #[command(subcommand)]
    command: Option<SimCommand>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand, Debug)]
enum SimCommand {
    List(list::List),
    Shrink(shrink::Shrink),
    Branch(branch::Branch),
    Merge(merge::Merge),
    #[command(hide = true)]
    Digests(verify::Digests),
}

/// Flags of a sweep.
#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    selection: Selection,
    /// One seed, decimal or 0x hexadecimal
    #[arg(long, value_parser = select::seed, conflicts_with = "seeds", value_name = "SEED")]
    seed: Option<u64>,
    /// Seeds from A to before B
    #[arg(long, default_value = "0..200", value_parser = select::seeds, value_name = "A..B")]
    seeds: Range<u64>,
    /// Every N-th seed from the I-th on, counted from 0; by default what a Slurm array or a Kubernetes indexed job
    /// (with QUORATE_SHARDS) says, else 0/1
    #[arg(long, value_parser = shard, value_name = "I/N")]
    shard: Option<(u64, u64)>,
    /// Seeds at once; as many as there are cores by default
    #[arg(short, long, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    jobs: Option<u16>,
    /// Begin no further seed after this long
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    time: Option<Duration>,
    /// End after so many failing seeds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    fail_fast: Option<u64>,
    /// How long to make each of the first failures smaller
    #[arg(long, default_value = "10s", value_parser = units::duration, value_name = "TIME")]
    shrink: Duration,
    /// Where traces of failures, failures.txt and reports go
    #[arg(long, default_value = "target/quorate/sim", value_name = "DIR")]
    out: PathBuf,
    /// Reports to write there; github by itself where GITHUB_ACTIONS is true
    #[arg(long, value_delimiter = ',', value_enum, value_name = "LIST")]
    report: Vec<Form>,
    /// Fail if a kind of fault that was planned never began
    #[arg(long)]
    require_coverage: bool,
    /// Do not run a share of the seeds, and all that fail, again in another process
    #[arg(long)]
    no_verify_determinism: bool,
    #[command(flatten)]
    file: ResultFile,
}

impl Sim {
    pub(crate) fn run(self, console: &Console) -> Ended {
        match self.command {
            None => {
                let shard = match (self.run.shard, self.run.seed) {
                    (Some(shard), _) => shard,
                    // One seed is asked for by somebody who means it, not by an array of jobs.
                    (None, Some(_)) => (0, 1),
                    (None, None) => shard_of(&|name| std::env::var(name).ok()).map_err(Failure::usage)?,
                };
                sweep::run(&Run { shard: Some(shard), ..self.run }, console)
            }
            Some(SimCommand::List(list)) => list.run(console),
            Some(SimCommand::Shrink(shrink)) => shrink.run(console),
            Some(SimCommand::Branch(branch)) => branch.run(console),
            Some(SimCommand::Merge(merge)) => merge.run(console),
            Some(SimCommand::Digests(digests)) => digests.run(),
        }
    }
}

impl Run {
    fn range(&self) -> Range<u64> {
        self.seed.map_or(self.seeds.clone(), |seed| seed..seed.saturating_add(1))
    }

    fn shard(&self) -> (u64, u64) {
        self.shard.unwrap_or((0, 1))
    }

    /// How many seeds that is.
    fn count(&self) -> u64 {
        let (range, (at, of)) = (self.range(), self.shard());
        let from = range.start.saturating_add(at);
        range.end.saturating_sub(from).div_ceil(of)
    }

    /// The forms of report that are asked for, by flag or by surroundings.
    fn forms(&self) -> Vec<Form> {
        let mut forms = self.report.clone();
        if artefacts::is_github() && !forms.contains(&Form::Github) {
            forms.push(Form::Github);
        }
        forms
    }

    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }
}

/// `0/4`.
fn shard(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once('/').and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
    let fits = parsed.filter(|(at, of)| at < of);
    fits.ok_or_else(|| format!("'{text}' is no shard; write 0/4 to 3/4"))
}

/// The shard that an array of jobs gives to this one: Slurm's variables, or Kubernetes' with `QUORATE_SHARDS`.
fn shard_of(variable: &dyn Fn(&str) -> Option<String>) -> Result<(u64, u64), String> {
    let number = |name: &str| match variable(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => value.parse::<u64>().map(Some).map_err(|_| format!("{name} is '{value}', not a number")),
    };
    let slurm = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_COUNT")?);
    let (at, of) = match (slurm, number("JOB_COMPLETION_INDEX")?, number("QUORATE_SHARDS")?) {
        ((Some(id), Some(count)), _, _) => {
            let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
            let stride = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
            (id.saturating_sub(first) / stride, count)
        }
        (_, Some(index), Some(count)) => (index, count),
        _ => return Ok((0, 1)),
    };
    if at < of { Ok((at, of)) } else { Err(format!("the job array says that this is shard {at} of {of}")) }
}

/// Wall time for the simulator's budgets.
#[derive(Debug)]
pub(crate) struct WallTime(std::time::Instant);

impl WallTime {
    pub(crate) fn start() -> Self {
        WallTime(std::time::Instant::now())
    }
}

impl quorate_sim::Stopwatch for WallTime {
    fn elapsed_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_jobs_gives_each_its_shard() {
        let slurm = [("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_MIN", "4")];
        let stride = [("SLURM_ARRAY_TASK_ID", "8"), ("SLURM_ARRAY_TASK_COUNT", "3"), ("SLURM_ARRAY_TASK_STEP", "4")];
        let kubernetes = [("JOB_COMPLETION_INDEX", "2"), ("QUORATE_SHARDS", "64")];
        for (variables, shard) in [
            (&slurm[..], Ok((3, 4))),
            (&slurm[..2], Err(())),
            (&stride, Ok((2, 3))),
            (&kubernetes, Ok((2, 64))),
            (&kubernetes[..1], Ok((0, 1))),
            (&[("SLURM_ARRAY_TASK_ID", "x")], Err(())),
            (&[], Ok((0, 1))),
        ] {
            let value = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| value.to_string());
            assert_eq!(shard_of(&value).map_err(drop), shard, "{variables:?}");
        }
    }

    #[test]
    fn a_shard_lies_within_its_number() {
        assert_eq!(shard("3/4"), Ok((3, 4)));
        for text in ["4/4", "0/0", "1", "a/b", "-1/2"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }
}
