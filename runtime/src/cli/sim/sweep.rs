//! One sweep: seeds on all cores, failures told the moment they are found, a summary at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use quorate_sim::failure::SeedLine;
use quorate_sim::hunt::{News, Summary, Sweep, sweep};
use quorate_sim::{DrawOptions, draw, run as run_plan};

use super::failures::Failures;
use super::{Run, summary};
use crate::cli::console::{Console, Format, Progress, finish};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::{panics, units};

/// Of so many seeds one is run twice; failing seeds always are.
const VERIFIED_ONE_IN: u64 = 20;

/// What the threads of a sweep share.
struct Watch<'a> {
    progress: Progress,
    failures: Failures<'a>,
    out: Box<dyn std::io::Write + Send>,
    written: std::io::Result<()>,
    /// Digests of the seeds that will be run again.
    to_verify: BTreeMap<u64, u64>,
    done: u64,
    slowest: (u64, u64),
}

pub(super) fn run(run: &Run, console: &Console) -> Ended {
    if run.count() == 0 {
        return Err(Failure { exit: Exit::NothingRun, error: anyhow::anyhow!("no seed was selected") });
    }
    panics::quiet();
    let options = run.selection.options();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).or_exit(Exit::Io)?;
    }
    let started = Instant::now();
    if console.format == Format::Text {
        summary::head(run, console);
    }
    let watch = Mutex::new(Watch {
        progress: console.progress(run.count(), "seeds"),
        failures: Failures::new(run, console),
        out: console.result_from_threads(&run.file)?,
        written: Ok(()),
        to_verify: BTreeMap::new(),
        done: 0,
        slowest: (0, 0),
    });
    let sweep_options = Sweep {
        options: options.clone(),
        seeds: run.range(),
        shard: run.shard,
        threads: run.threads(),
        failures_max: run.fail_fast,
    };
    let out_of_time = AtomicBool::new(false);
    let summary = sweep(&sweep_options, &stop, &|news| {
        if run.time.is_some_and(|time| started.elapsed() >= time) {
            out_of_time.store(true, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        }
        watch.lock().expect("a watcher does not panic").on(&news, console, started);
    });
    let mut watch = watch.into_inner().expect("a watcher does not panic");
    let diverged =
        if run.no_verify_determinism { Vec::new() } else { verify(&options, &watch.to_verify, run.threads()) };
    watch.progress.end();
    finish(watch.written)?;
    let findings = summary::Findings {
        summary: &summary,
        diverged: &diverged,
        unstable: watch.failures.unstable(),
        verified: watch.to_verify.len() as u64,
        took: started.elapsed(),
        slowest: watch.slowest,
        uncovered: if run.require_coverage { summary.audit.uncovered(&options) } else { Vec::new() },
    };
    watch.failures.write_list()?;
    watch.failures.print_rest(console);
    finish(watch.out.write_all(summary::render(run, console, &findings).as_bytes()).and_then(|()| watch.out.flush()))?;
    Ok(exit(&summary, &findings, out_of_time.into_inner()))
}

fn exit(summary: &Summary, findings: &summary::Findings<'_>, out_of_time: bool) -> Exit {
    if !findings.diverged.is_empty() || findings.unstable > 0 {
        Exit::Diverged
    } else if summary.failures() > 0 || !findings.uncovered.is_empty() {
        Exit::Violation
    } else if summary.interrupted && !out_of_time {
        Exit::Interrupted
    } else if !summary.bad.is_empty() {
        Exit::Unknown
    } else if summary.seeds == 0 {
        Exit::NothingRun
    } else {
        Exit::Ok
    }
}

impl Watch<'_> {
    fn on(&mut self, news: &News<'_>, console: &Console, started: Instant) {
        let (News::Passed(report) | News::Failed(_, report)) = news;
        self.done += 1;
        if report.events > self.slowest.1 {
            self.slowest = (report.seed, report.events);
        }
        if report.seed.is_multiple_of(VERIFIED_ONE_IN) {
            self.to_verify.insert(report.seed, report.digest);
        }
        if console.format == Format::Jsonl && self.written.is_ok() {
            let line = serde_json::to_string(&SeedLine::of(report)).expect("plain data");
            self.written = writeln!(self.out, "{line}");
        }
        if let News::Failed(plan, report) = news {
            self.failures.on(plan, report, &self.progress);
        }
        let (done, failures) = (self.done, self.failures.len());
        self.progress.at(done, || {
            let rate = done as f64 / started.elapsed().as_secs_f64().max(1e-3);
            let failed = if failures == 0 { String::new() } else { format!(", {failures} FAILED") };
            format!("{} seeds/s{failed}", units::grouped(rate as u64))
        });
    }
}

/// Runs seeds again and names those that came out otherwise.
fn verify(options: &DrawOptions, digests: &BTreeMap<u64, u64>, threads: usize) -> Vec<u64> {
    let seeds: Vec<(u64, u64)> = digests.iter().map(|(seed, digest)| (*seed, *digest)).collect();
    let diverged = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for chunk in seeds.chunks(seeds.len().div_ceil(threads).max(1)) {
            let diverged = &diverged;
            scope.spawn(move || {
                for (seed, digest) in chunk {
                    if run_plan(&draw(*seed, options)).digest != *digest {
                        diverged.lock().expect("nobody panics with this lock").push(*seed);
                    }
                }
            });
        }
    });
    let mut diverged = diverged.into_inner().expect("nobody panics with this lock");
    diverged.sort_unstable();
    diverged
}
