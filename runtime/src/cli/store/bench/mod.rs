//! `quorate bench`: load on a store that speaks RESP, ours or redis, measured the same way.
//!
//! Closed loop (`--rate 0`): each client sends its next batch of `--pipeline` requests when the last batch is answered.
//! Open loop (`--rate N`): requests are due at fixed instants, and a latency runs from the instant at which the request
//! was *due*, so that a stalled server cannot hide by keeping its clients from asking.

mod draw;
mod pace;
mod report;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::console::{Console, ResultFile};
use super::super::exit::{Ended, Exit, Failure, OrExit};
use super::super::units;
use draw::{Distribution, Mix};

/// Put a store under load and measure it
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Nodes to ask, separated by commas; clients are spread over them
    #[arg(long, default_value = "127.0.0.1:6379", value_delimiter = ',', value_name = "HOST:PORT")]
    addr: Vec<String>,
    /// Connections
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    clients: u32,
    /// Requests per second over all clients, each due at its instant; 0 is as fast as answers come
    #[arg(long, default_value = "0", value_parser = units::count, value_name = "N")]
    rate: u64,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// How long to run before measuring
    #[arg(long, default_value = "1s", value_parser = units::duration, value_name = "TIME")]
    warmup: Duration,
    /// Reads to writes
    #[arg(long, default_value = "90:10", value_name = "R:W")]
    mix: Mix,
    /// How many keys
    #[arg(long, default_value = "1e5", value_parser = units::count, value_name = "N")]
    keys: u64,
    /// How keys are chosen: uniform, or zipf:EXPONENT
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    dist: Distribution,
    /// Bytes of a value; at least 24, so that each says who wrote it
    #[arg(long, default_value = "256", value_parser = units::size, value_name = "SIZE")]
    size: u64,
    /// Requests that a client has on the way at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    pipeline: u32,
    /// What keys begin with; it decides the keyspace
    #[arg(long, default_value = "bench:", value_name = "TEXT")]
    prefix: String,
    /// Ask with Q.GET and Q.PUT at this level instead of GET and SET
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// Write what every client saw to FILE, for `quorate check`; the keys are then new ones of this run
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// What the random choices are drawn from
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    #[command(flatten)]
    file: ResultFile,
}

/// A value names its writer, its number and its length.
const SIZE_MIN: u64 = 24;
const SIZE_MAX: u64 = 1 << 20;

impl Bench {
    pub(crate) fn run(mut self, console: &Console) -> Ended {
        if !(SIZE_MIN..=SIZE_MAX).contains(&self.size) {
            return Err(Failure::usage("--size must lie between 24 bytes and 1 MiB"));
        }
        if self.keys == 0 || self.time.is_zero() {
            return Err(Failure::usage("--keys and --time must be more than nothing"));
        }
        if self.record.is_some() {
            // What earlier runs left behind would be values that nobody in this history wrote.
            let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            self.prefix += &format!("{:x}:", since.as_micros());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Io)?;
        let measured = runtime.block_on(run::run(&self, console))?;
        console.print(&self.file, &report::render(&self, &measured, console.format))?;
        if measured.answered == 0 {
            return Ok(if measured.unreachable { Exit::Unreachable } else { Exit::Temporary });
        }
        Ok(Exit::Ok)
    }
}
