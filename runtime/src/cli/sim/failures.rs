//! What a sweep does with the seeds that fail: run again, make smaller, write down, tell.
//!
//! The first of each kind is told in full, at most three kinds; the others are counted. Every failing seed gets a trace,
//! up to a bound, and a line in `failures.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quorate_sim::failure::{Circumstances, block, trace};
use quorate_sim::shrink::shrink;
use quorate_sim::{Plan, Report};
use quorate_traces::Origin;

use super::artefacts::{Form, annotation};
use super::verify::{parting, verify};
use super::{Run, WallTime};
use crate::cli::console::{Console, Format, Progress};
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::{panics, version};

/// Kinds of failures that are told in full.
const TOLD_MAX: usize = 3;
/// Failing seeds whose traces are written.
const WRITTEN_MAX: u64 = 1_000;
/// Failing seeds that are run again, each in a process of its own.
const VERIFIED_MAX: u64 = 1_000;

pub(super) struct Failures<'a> {
    run: &'a Run,
    console: &'a Console,
    /// How many seeds of each kind, and the first of them.
    kinds: BTreeMap<String, (u64, u64)>,
    lines: Vec<String>,
    count: u64,
    unstable: BTreeSet<u64>,
    /// The first error in writing a trace.
    failed: Option<Failure>,
}

impl<'a> Failures<'a> {
    pub(super) fn new(run: &'a Run, console: &'a Console) -> Self {
        Failures {
            run,
            console,
            kinds: BTreeMap::new(),
            lines: Vec::new(),
            count: 0,
            unstable: BTreeSet::new(),
            failed: None,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Failing seeds that came out otherwise when run again.
    pub(super) fn unstable(&self) -> &BTreeSet<u64> {
        &self.unstable
    }

    pub(super) fn on(&mut self, plan: &Plan, report: &Report, progress: &Progress) {
        self.count += 1;
        let place = panics::place();
        match self.is_stable(report) {
            Ok(true) => {}
            Ok(false) => {
                self.unstable.insert(report.seed);
                let parting = parting(&self.run.selection, report.seed).unwrap_or_else(|error| error.to_string());
                let text = format!("NONDETERMINISTIC  seed {:#x}  two processes differ\n{parting}", report.seed);
                progress.above(|| self.tell(&text, None));
                return;
            }
            Err(failure) => drop(self.failed.get_or_insert(failure)),
        }
        let kind = report.signature().unwrap_or_default();
        let told_kinds = self.kinds.len();
        let known = self.kinds.entry(kind).or_insert((0, report.seed));
        known.0 += 1;
        if known.0 > 1 || told_kinds >= TOLD_MAX {
            let file = self.keep(plan, report, None);
            return self.lines.push(self.line(report, file));
        }
        let budget = self.run.shrink.as_millis() as u64;
        let small = shrink(plan, &WallTime::start(), budget);
        let (plan, small_report) = small.as_ref().map_or((plan, report), |small| (&small.plan, &small.report));
        let file = self.keep(plan, small_report, Some(report.events));
        let about = Circumstances {
            commit: version::commit_state(),
            trace_file: file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
            seed_command: format!("quorate sim{} --seed {:#x}", self.run.selection.flags(), report.seed),
            shrunk_from_events: Some(report.events),
        };
        let mut text = block(plan, small_report, &about);
        if let Some(place) = place {
            text += &format!("  panicked at {place}\n");
        }
        self.lines.push(self.line(report, file));
        let file = (!about.trace_file.is_empty()).then_some(about.trace_file.as_str());
        progress.above(|| self.tell(&text, file));
    }

    /// Whether another process comes to the same digest.
    fn is_stable(&self, report: &Report) -> Result<bool, Failure> {
        if self.run.no_verify_determinism || self.count > VERIFIED_MAX {
            return Ok(true);
        }
        let digests = BTreeMap::from([(report.seed, report.digest)]);
        Ok(verify(&self.run.selection, &digests, 1).or_exit(Exit::Io)?.is_empty())
    }

    /// Writes the trace of a failing run.
    fn keep(&mut self, plan: &Plan, report: &Report, shrunk_from: Option<u64>) -> Option<PathBuf> {
        if self.count > WRITTEN_MAX {
            return None;
        }
        let origin = Origin {
            seed: report.seed,
            commit: version::COMMIT.to_string(),
            violated: None,
            shrunk_from_events: shrunk_from,
            story: String::new(),
        };
        let name = format!("{:x}", report.seed);
        let file = self.run.out.join(format!("{name}.trace.jsonl"));
        let saved = trace(&name, version::CORE, plan, report, origin).save(&file).or_exit(Exit::Io);
        match saved {
            Ok(()) => Some(file),
            Err(failure) => {
                self.failed.get_or_insert(failure);
                None
            }
        }
    }

    fn line(&self, report: &Report, file: Option<PathBuf>) -> String {
        let again = match file {
            Some(file) => format!("quorate replay {}", file.display()),
            None => format!("quorate sim{} --seed {:#x}", self.run.selection.flags(), report.seed),
        };
        format!("{:#x}  {}  {again}", report.seed, report.signature().unwrap_or_default())
    }

    /// A failure is a result in text; in machine output its line is the result, and this goes to whoever watches.
    fn tell(&self, text: &str, file: Option<&str>) {
        if self.console.format == Format::Text {
            for line in text.lines() {
                println!("{}", self.console.verdict(line));
            }
        } else {
            eprint!("{text}");
        }
        if self.run.forms().contains(&Form::Github) {
            let mut lines = text.lines();
            let (title, words) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default().trim());
            let replay = file.map(|file| format!(" — replay: quorate replay {file}")).unwrap_or_default();
            // A workflow command is read from either stream, and stdout may be a machine's.
            eprintln!("{}", annotation(file, title, &format!("{words}{replay}")));
        }
    }

    /// Writes `failures.txt`, if there is anything to write.
    pub(super) fn write_list(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        if self.lines.is_empty() {
            return Ok(());
        }
        self.lines.sort();
        std::fs::create_dir_all(&self.run.out).or_exit(Exit::Io)?;
        std::fs::write(self.run.out.join("failures.txt"), self.lines.join("\n") + "\n").or_exit(Exit::Io)
    }

    /// Tells how many more there were of each kind.
    pub(super) fn print_rest(&self, console: &Console) {
        if console.format != Format::Text {
            return;
        }
        for (kind, (count, first)) in &self.kinds {
            if *count > 1 {
                println!("… and {} more of this kind: {kind} (first seed {first:#x})", count - 1);
            }
        }
    }
}
