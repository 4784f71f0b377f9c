//! One sweep: seeds on all cores, failures told the moment they are found, a summary at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use quorate_sim::failure::SeedLine;
use quorate_sim::hunt::{News, Summary, Sweep, sweep};
use quorate_sim::tally::{Swept, Tally};

use super::artefacts::write_reports;
use super::failures::Failures;
use super::verify::{parting, verify};
use super::{Run, summary};
use crate::cli::console::{Console, Format, Progress, finish};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::{panics, units, version};

/// Of so many seeds one is run twice; failing seeds always are.
const VERIFIED_ONE_IN: u64 = 20;
/// Seeds whose two runs are walked through, to name where they part.
const TOLD_MAX: usize = 2;

/// What the threads of a sweep share.
struct Watch<'a> {
    progress: Progress,
    failures: Failures<'a>,
    out: Box<dyn std::io::Write + Send>,
    written: std::io::Result<()>,
    /// Digests of the seeds that will be run again.
    to_verify: BTreeMap<u64, u64>,
    done: u64,
}

pub(super) fn run(run: &Run, console: &Console) -> Ended {
    if run.count() == 0 {
        return Err(Failure { exit: Exit::NothingRun, error: anyhow::anyhow!("no seed was selected") });
    }
    panics::quiet();
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
    });
    let sweep_options = Sweep {
        options: run.selection.options(),
        seeds: run.range(),
        shard: run.shard(),
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
    if run.no_verify_determinism {
        watch.to_verify.clear();
    }
    let mut diverged = verify(&run.selection, &watch.to_verify, run.threads()).or_exit(Exit::Io)?;
    for seed in diverged.iter().take(TOLD_MAX) {
        let parting = parting(&run.selection, *seed).or_exit(Exit::Io)?;
        watch.progress.above(|| eprint!("NONDETERMINISTIC  seed {seed:#x}\n{parting}"));
    }
    diverged.extend(watch.failures.unstable());
    watch.progress.end();
    finish(watch.written)?;
    let findings = summary::Findings {
        summary: &summary,
        diverged: &diverged,
        verified: watch.to_verify.len() as u64,
        took: started.elapsed(),
        uncovered: if run.require_coverage { summary.audit.uncovered(&sweep_options.options) } else { Vec::new() },
    };
    watch.failures.write_list()?;
    let (scenario, (part, shards)) = (run.selection.scenario.name(), run.shard());
    let swept = Swept::new(version::COMMIT, version::CORE, scenario, &run.selection.flags(), run.range(), shards);
    // Failing seeds are run again too, and their number stands in the report already.
    let tally = Tally::new(swept, part, &summary, findings.verified, diverged.clone());
    write_reports(&tally, &run.out, &run.forms())?;
    watch.failures.print_rest(console);
    finish(watch.out.write_all(summary::render(run, console, &findings).as_bytes()).and_then(|()| watch.out.flush()))?;
    Ok(exit(&summary, &findings, out_of_time.into_inner()))
}

fn exit(summary: &Summary, findings: &summary::Findings<'_>, out_of_time: bool) -> Exit {
    if !findings.diverged.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_sim::plan::Scenario;
    use quorate_sim::{DrawOptions, VerdictWord};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// A small sweep of a cluster that keeps its promises, or breaks them.
    fn swept(scenario: Scenario) -> Summary {
        let options = DrawOptions::of(scenario);
        let sweep_options = Sweep { options, seeds: 0..20, shard: (0, 1), threads: 1, failures_max: None };
        sweep(&sweep_options, &AtomicBool::new(false), &|_| {})
    }

    #[test]
    fn two_different_runs_of_one_seed_weigh_more_than_a_violation_and_that_more_than_an_interruption() {
        let code = |summary: &Summary, diverged: &[u64], uncovered: &[&'static str], out_of_time| {
            let diverged = BTreeSet::from_iter(diverged.iter().copied());
            let (took, uncovered) = (Duration::ZERO, uncovered.to_vec());
            exit(
                summary,
                &summary::Findings { summary, diverged: &diverged, verified: 3, took, uncovered },
                out_of_time,
            )
        };
        let (sound, broken) = (swept(Scenario::Quiet), swept(Scenario::UnsafeQuorum));
        assert!(sound.failures() == 0 && broken.failures() > 0);
        assert_eq!(code(&sound, &[], &[], false), Exit::Ok);
        assert_eq!(code(&sound, &[], &["rot"], false), Exit::Violation);
        assert_eq!(code(&broken, &[], &[], false), Exit::Violation);
        assert_eq!(code(&broken, &[1], &["rot"], false), Exit::Diverged);
        let stopped = Summary { interrupted: true, ..swept(Scenario::Quiet) };
        assert_eq!(code(&stopped, &[], &[], false), Exit::Interrupted);
        assert_eq!(code(&stopped, &[], &[], true), Exit::Ok, "the time that was given is over");
        let mut unknown = broken;
        unknown.bad.iter_mut().for_each(|bad| bad.verdict = VerdictWord::Unknown);
        assert_eq!(code(&unknown, &[], &[], false), Exit::Unknown);
        assert_eq!(code(&Summary::default(), &[], &[], false), Exit::NothingRun);
    }
}
