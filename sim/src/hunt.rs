//! Sweeps: many seeds on all cores, one seed per thread, and a result that does not depend on the threads.
//!
//! Every run is single-threaded and deterministic; only the sweep around it uses threads. What is found is reported the
//! moment it is found, and put in order of seeds at the end.

use crate::audit::Audit;
use crate::plan::{DrawOptions, draw};
use crate::report::Report;
use crate::run::run;
use quorate_traces::{Plan, VerdictWord};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is swept.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What is drawn from each seed.
    pub options: DrawOptions,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Every `shard.1`-th of them, from the `shard.0`-th on.
    pub shard: (u64, u64),
    /// How many threads.
    pub threads: usize,
    /// Ends after so many failures; `None` goes on.
    pub failures_max: Option<u64>,
}

/// Something that happened in a sweep.
#[derive(Debug)]
pub enum News<'a> {
    /// A seed has been run, and nothing was broken.
    Passed(&'a Report),
    /// A seed has failed.
    Failed(&'a Plan, &'a Report),
}

/// What became of one seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedResult {
    /// The seed.
    #[serde(with = "quorate_traces::names::seed")]
    pub seed: u64,
    /// In one word.
    pub verdict: VerdictWord,
    /// The kind of failure.
    pub signature: Option<String>,
    /// What happened.
    pub words: Option<String>,
    /// The fold over the run.
    #[serde(with = "quorate_traces::names::digest")]
    pub digest: u64,
    /// How many events.
    pub events: u64,
}

/// What became of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Those that did not end well, in order.
    pub bad: Vec<SeedResult>,
    /// Events of all runs.
    pub events: u64,
    /// Messages of all runs.
    pub deliveries: u64,
    /// Virtual time of all runs, in microseconds.
    pub sim_time: u64,
    /// Client operations of all runs.
    pub operations: u64,
    /// What fired and mattered, and the marks reached.
    pub audit: Audit,
    /// The seed with the most events, the first of equals; and how many.
    pub largest: (u64, u64),
    /// The digests of all runs, folded in order of seeds: one number for the whole sweep.
    #[serde(with = "quorate_traces::names::digest")]
    pub digest: u64,
    /// It was asked to stop before the end.
    pub interrupted: bool,
}

impl Summary {
    /// How many seeds broke a promise.
    pub fn failures(&self) -> u64 {
        self.bad.iter().filter(|result| result.verdict == VerdictWord::Violation).count() as u64
    }

    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.events += report.events;
        self.deliveries += report.deliveries;
        self.sim_time += report.sim_time;
        self.operations += report.history.len() as u64;
        self.audit.add(&report.audit);
        self.largest = larger(self.largest, (report.seed, report.events));
        // Addition commutes, so the threads' order leaves no mark.
        self.digest = self.digest.wrapping_add(report.digest ^ report.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if report.verdict != VerdictWord::Ok {
            self.bad.push(SeedResult {
                seed: report.seed,
                verdict: report.verdict,
                signature: report.signature(),
                words: report.first().map(|violation| violation.words.clone()),
                digest: report.digest,
                events: report.events,
            });
        }
    }

    /// Adds what another sweep of the same options found.
    pub fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.sim_time += other.sim_time;
        self.operations += other.operations;
        self.audit.add(&other.audit);
        self.largest = larger(self.largest, other.largest);
        self.digest = self.digest.wrapping_add(other.digest);
        self.interrupted |= other.interrupted;
        self.bad.extend(other.bad.iter().cloned());
        self.bad.sort_by_key(|result| result.seed);
    }
}

/// Of two seeds the one with more events, the first of equals.
pub(crate) fn larger(one: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    match one.1.cmp(&other.1) {
        std::cmp::Ordering::Greater => one,
        std::cmp::Ordering::Less => other,
        std::cmp::Ordering::Equal => one.min(other),
    }
}

/// Runs every seed. `news` is called from many threads, one at a time; `stop` may be set by anybody.
pub fn sweep(sweep: &Sweep, stop: &AtomicBool, news: &(dyn Fn(News<'_>) + Sync)) -> Summary {
    let next = AtomicU64::new(sweep.seeds.start + sweep.shard.0);
    let failures = AtomicU64::new(0);
    let total = Mutex::new(Summary::default());
    let one = Mutex::new(());
    let work = || {
        let mut mine = Summary::default();
        loop {
            let enough = sweep.failures_max.is_some_and(|max| failures.load(Ordering::Relaxed) >= max);
            if enough || stop.load(Ordering::Relaxed) {
                mine.interrupted = stop.load(Ordering::Relaxed);
                break;
            }
            let seed = next.fetch_add(sweep.shard.1.max(1), Ordering::Relaxed);
            if seed >= sweep.seeds.end {
                break;
            }
            let plan = draw(seed, &sweep.options);
            let report = run(&plan);
            mine.add(&report);
            let _one_at_a_time = one.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if report.verdict == VerdictWord::Violation {
                failures.fetch_add(1, Ordering::Relaxed);
                news(News::Failed(&plan, &report));
            } else {
                news(News::Passed(&report));
            }
        }
        total.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).merge(&mine);
    };
    std::thread::scope(|scope| {
        for _ in 1..sweep.threads.max(1) {
            scope.spawn(work);
        }
        work();
    });
    total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}
