//! Whole runs: files in, verdicts, texts and an exit code out.
//!
//! A command line needs nothing but this module: it names the sources, sets [`RunOptions`], prints what comes back
//! and exits with [`RunReport::exit_code`]. Files are judged side by side; each is dropped once its report is written.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rayon::prelude::*;

use crate::check::{check_history_with, verify_all};
use crate::history::History;
use crate::read::{self, Format, ReadError, Recorded};
use crate::weaker::{self, Ladder, Level};
use crate::{FailedCas, Options, Report, Value, Verdict, minimize, render};

/// Where a history comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input, `-` on the command line.
    Stdin,
}

impl Source {
    /// The source that an argument names.
    pub fn from_argument(argument: &str) -> Self {
        if argument == "-" { Source::Stdin } else { Source::File(argument.into()) }
    }

    /// The name used in output.
    pub fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Stdin => "-".to_string(),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Source::File(path) => Box::new(File::open(path)?),
            Source::Stdin => Box::new(io::stdin().lock()),
        })
    }
}

/// Which question to ask of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Is every key linearizable?
    #[default]
    Linearizable,
    /// Does this weaker level hold?
    Weaker(Level),
    /// Which levels hold?
    Strongest,
}

impl Asked {
    /// The question behind the argument of `--level`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "linearizable" => Some(Asked::Linearizable),
            "strongest" => Some(Asked::Strongest),
            other => Level::from_name(other).map(Asked::Weaker),
        }
    }
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How to judge. Its `init` and `failed_cas` are those of the format unless given here below.
    pub options: Options,
    /// The format, if not by content.
    pub format: Option<Format>,
    /// The columns of CSV, if not by the first row.
    pub columns: Option<String>,
    /// What keys hold at first, if not what the format says.
    pub init: Option<Value>,
    /// What a failed compare-and-set tells, if not what the format says.
    pub failed_cas: Option<FailedCas>,
    /// Which question to ask.
    pub asked: Asked,
    /// Have every certificate verified by the independent verifier.
    pub verify: bool,
    /// Make counterexamples of searches small.
    pub minimize: bool,
    /// Judge events as they stream in, in the memory of what is open; our own form only.
    pub stream: bool,
}

/// What is going on, for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A source is being read.
    Reading(&'a str),
    /// A source was read and has this many operations.
    Judging(&'a str, usize),
    /// This many of the keys of a source are done.
    Keys(&'a str, usize, usize),
    /// A source is done.
    Done(&'a str, Verdict),
}

/// What became of one source.
#[derive(Debug)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// The verdict, or why the source could not be read.
    pub outcome: Result<FileVerdict, ReadError>,
}

/// What was found out about one source.
#[derive(Debug)]
pub struct FileVerdict {
    /// Ok, violation or unknown.
    pub verdict: Verdict,
    /// How many operations.
    pub operations: usize,
    /// The report for readers.
    pub text: String,
    /// The report for programs: one JSON object without line breaks.
    pub json: String,
    /// How many certificates were verified.
    pub verified: usize,
}

/// What became of all sources.
#[derive(Debug, Default)]
pub struct RunReport {
    /// In the order given.
    pub files: Vec<FileReport>,
}

impl RunReport {
    /// 0 ok, 1 violation, 2 bad input, 3 unknown, 4 nothing was given; the first of 1, 2, 3 that any source calls for.
    pub fn exit_code(&self) -> u8 {
        if self.files.is_empty() {
            return 4;
        }
        let any = |wanted: Verdict| {
            self.files.iter().any(|file| file.outcome.as_ref().is_ok_and(|found| found.verdict == wanted))
        };
        if any(Verdict::Violation) {
            1
        } else if self.files.iter().any(|file| file.outcome.is_err()) {
            2
        } else if any(Verdict::Unknown) {
            3
        } else {
            0
        }
    }

    /// Everything for readers.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            match &file.outcome {
                Ok(found) => text.push_str(&found.text),
                Err(error) => text.push_str(&format!("{}: {error}\nBAD INPUT  {}\n", file.name, file.name)),
            }
        }
        text
    }

    /// Everything for programs: one JSON object a line.
    pub fn json(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            match &file.outcome {
                Ok(found) => text.push_str(&found.json),
                Err(error) => text.push_str(&render::error_json(&file.name, error)),
            }
            text.push('\n');
        }
        text
    }
}

/// Judges every source, several at a time.
pub fn run(sources: &[Source], options: &RunOptions, progress: &(dyn Fn(Progress<'_>) + Sync)) -> RunReport {
    let judge = |source: &Source| {
        let name = source.name();
        let outcome = judge_source(source, &name, options, progress);
        if let Ok(found) = &outcome {
            progress(Progress::Done(&name, found.verdict));
        }
        FileReport { name, outcome }
    };
    let files = if options.options.parallel && sources.len() > 1 {
        sources.par_iter().map(judge).collect()
    } else {
        sources.iter().map(judge).collect()
    };
    RunReport { files }
}

fn judge_source(
    source: &Source,
    name: &str,
    options: &RunOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<FileVerdict, ReadError> {
    progress(Progress::Reading(name));
    let input = source.open()?;
    if options.stream {
        let judged = settled(options, Format::Jsonl);
        let report = read::check_stream(input, &judged)?;
        return Ok(FileVerdict {
            verdict: report.verdict,
            operations: report.operations as usize,
            text: render::stream_text(name, &report),
            json: render::stream_json(name, &report),
            verified: 0,
        });
    }
    let Recorded { history, format } = read::read(input, options.format, options.columns.as_deref())?;
    progress(Progress::Judging(name, history.len()));
    let judged = settled(options, format);
    let mut report = check_history_with(&history, &judged, &|done, all| progress(Progress::Keys(name, done, all)));
    let verified = finish(&history, &mut report, &judged, options);
    let ladder = match options.asked {
        Asked::Linearizable => None,
        Asked::Weaker(level) => Some(weaker::check_level(&history, &report, &judged, level)),
        Asked::Strongest => Some(weaker::ladder(&history, &report, &judged)),
    };
    let verdict = match (&ladder, options.asked) {
        (Some(ladder), Asked::Weaker(level)) => ladder.verdict(level),
        _ => report.verdict,
    };
    let shown = render::Shown { name, format, history: &history, report: &report, ladder: ladder.as_ref(), verdict };
    Ok(FileVerdict {
        verdict,
        operations: history.len(),
        text: shown.text(verified),
        json: shown.json(verified),
        verified,
    })
}

/// The options with what the format says filled in.
fn settled(options: &RunOptions, format: Format) -> Options {
    Options {
        init: options.init.clone().unwrap_or_else(|| format.init()),
        failed_cas: options.failed_cas.unwrap_or(format.failed_cas()),
        certificates: options.options.certificates || options.verify,
        ..options.options.clone()
    }
}

/// Minimises and verifies as asked; how many certificates held.
///
/// # Panics
/// If a certificate does not hold: then a judge is wrong, and no verdict of it may be trusted.
fn finish(history: &History, report: &mut Report, judged: &Options, options: &RunOptions) -> usize {
    if options.minimize {
        report.keys.iter_mut().for_each(|key| minimize(history, key, judged));
    }
    if !options.verify {
        return 0;
    }
    match verify_all(history, report, judged) {
        Ok(verified) => verified,
        Err((key, refusal)) => panic!("the certificate of key {} does not hold: {refusal}", history.key_name(key)),
    }
}

/// A ladder for callers who have a history in memory.
pub fn strongest(history: &History, options: &Options) -> Ladder {
    let report = crate::check_history(history, options);
    weaker::ladder(history, &report, options)
}
