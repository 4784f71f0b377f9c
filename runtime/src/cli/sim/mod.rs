//! `quorate sim`: many seeds, each a whole cluster in one thread, each judged. And `sim list`, `sim shrink`.

mod failures;
mod list;
pub(crate) mod select;
mod shrink;
mod summary;
mod sweep;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::console::{Console, ResultFile};
use super::exit::Ended;
use super::units;
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
    /// Every N-th seed from the I-th on, counted from 0
    #[arg(long, default_value = "0/1", value_parser = shard, value_name = "I/N")]
    shard: (u64, u64),
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
    /// Where traces of failures and failures.txt go
    #[arg(long, default_value = "target/quorate/sim", value_name = "DIR")]
    out: PathBuf,
    /// Fail if a kind of fault that was planned never began
    #[arg(long)]
    require_coverage: bool,
    /// Do not run a share of the seeds twice
    #[arg(long)]
    no_verify_determinism: bool,
    #[command(flatten)]
    file: ResultFile,
}

impl Sim {
    pub(crate) fn run(self, console: &Console) -> Ended {
        match self.command {
            None => sweep::run(&self.run, console),
            Some(SimCommand::List(list)) => list.run(console),
            Some(SimCommand::Shrink(shrink)) => shrink.run(console),
        }
    }
}

impl Run {
    fn range(&self) -> Range<u64> {
        self.seed.map_or(self.seeds.clone(), |seed| seed..seed.saturating_add(1))
    }

    /// How many seeds that is.
    fn count(&self) -> u64 {
        let range = self.range();
        let from = range.start.saturating_add(self.shard.0);
        range.end.saturating_sub(from).div_ceil(self.shard.1)
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
    fn a_shard_lies_within_its_number() {
        assert_eq!(shard("3/4"), Ok((3, 4)));
        for text in ["4/4", "0/0", "1", "a/b", "-1/2"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }
}
