//! Whole runs: files in, verdicts, texts and an exit code out.
//!
//! A command line needs nothing but this module: it names the sources, sets [`RunOptions`], prints what comes back
//! and exits with [`RunReport::exit_code`]. Files are judged side by side; each is dropped once its report is written.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::certificate::Refusal;
use crate::check::{check_history_with, verify_all};
use crate::history::History;
use crate::minimize::minimize_all;
use crate::read::{self, Format, ReadError, Recorded, Room};
use crate::weaker::eventual::{Conflicts, Dump, EndReport, check_end};
use crate::weaker::{self, Ladder, Level};
use crate::write::write_jepsen_edn;
use crate::{FailedCas, Options, Report, Value, Verdict, render};

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

    /// The bytes, and how many there are where that is known.
    fn open(&self) -> io::Result<(Box<dyn Read>, Option<u64>)> {
        Ok(match self {
            Source::File(path) => {
                let file = File::open(path)?;
                let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| about.len());
                (Box::new(file), bytes)
            }
            Source::Stdin => (Box::new(io::stdin().lock()), None),
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
    /// Which levels hold? The verdict stays that on linearizability.
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
    /// What every replica held at the end, to be judged too.
    pub dump: Option<PathBuf>,
    /// How the replicas resolve concurrent writes, for judging that dump.
    pub conflicts: Conflicts,
    /// Where to write the history that was read, as Jepsen EDN.
    pub export_edn: Option<PathBuf>,
}

/// What is going on, for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// So many bytes of a source were read, of so many where that is known.
    Reading(&'a str, u64, Option<u64>),
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
    /// The verdict, or why there is none.
    pub outcome: Result<FileVerdict, RunError>,
}

/// Why a source has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be read. Nothing of it was judged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The dump that belongs to it could not be read.
    #[error("{}: {error}", file.display())]
    Dump {
        /// The dump.
        file: PathBuf,
        /// What is wrong with it.
        error: ReadError,
    },
    /// The export could not be written.
    #[error("{}: {error}", file.display())]
    Export {
        /// Where it should have gone.
        file: PathBuf,
        /// Why it did not.
        error: io::Error,
    },
    /// A certificate does not hold: a judge is wrong, and no verdict of it may be trusted.
    #[error("the verdict on key {key} is wrong, its certificate is refused: {refusal}")]
    Certificate {
        /// The key.
        key: String,
        /// What the verifier says.
        refusal: Refusal,
    },
}

impl RunError {
    /// 70 for a wrong verdict, 74 where bytes could not be had or put, 3 where memory did not suffice, 2 for bad input.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Certificate { .. } => 70,
            RunError::Read(ReadError::Io(_))
            | RunError::Dump { error: ReadError::Io(_), .. }
            | RunError::Export { .. } => 74,
            RunError::Read(ReadError::Memory { .. }) | RunError::Dump { error: ReadError::Memory { .. }, .. } => 3,
            RunError::Read(ReadError::Line { .. }) | RunError::Dump { error: ReadError::Line { .. }, .. } => 2,
        }
    }
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
    /// How long reading and judging took.
    pub took: Duration,
}

/// What became of all sources.
#[derive(Debug, Default)]
pub struct RunReport {
    /// In the order given.
    pub files: Vec<FileReport>,
}

impl RunReport {
    /// 0 ok, 1 violation, 3 unknown, 4 nothing was given, and the codes of [`RunError`]. Of several the first in the
    /// order 70, 1, 2, 74, 3.
    pub fn exit_code(&self) -> u8 {
        const ORDER: [u8; 6] = [70, 1, 2, 74, 3, 0];
        let code = |file: &FileReport| match &file.outcome {
            Ok(found) => found.verdict.exit_code(),
            Err(error) => error.exit_code(),
        };
        let rank = |code: u8| ORDER.iter().position(|other| *other == code).expect("every code has its place");
        self.files.iter().map(code).min_by_key(|code| rank(*code)).unwrap_or(4)
    }

    /// The worst verdict of all that were found; `None` if there was none.
    pub fn verdict(&self) -> Option<Verdict> {
        self.files.iter().filter_map(FileReport::verdict).max()
    }

    /// Everything for readers.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            match &file.outcome {
                Ok(found) => text.push_str(&found.text),
                Err(error) if file.verdict().is_some() => {
                    text.push_str(&format!("UNKNOWN  {}: {error}\n", file.name));
                }
                Err(error @ RunError::Certificate { .. }) => {
                    text.push_str(&format!("OUR FAULT  {}: {error}\n", file.name));
                }
                Err(error) => text.push_str(&format!("BAD INPUT  {}: {error}\n", file.name)),
            }
        }
        text
    }

    /// Everything for programs: one JSON object a line.
    pub fn json(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&file.json());
            text.push('\n');
        }
        text
    }
}

impl FileReport {
    /// What is known: nothing at all of an input that is bad, unknown of one that was too large to judge.
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.outcome {
            Ok(found) => Some(found.verdict),
            Err(error) => (error.exit_code() == Verdict::Unknown.exit_code()).then_some(Verdict::Unknown),
        }
    }

    /// The same for programs: one JSON object without line breaks.
    pub fn json(&self) -> String {
        match &self.outcome {
            Ok(found) => found.json.clone(),
            Err(error) => render::error_json(&self.name, error),
        }
    }
}

/// Judges every source, several at a time.
pub fn run(sources: &[Source], options: &RunOptions, progress: &(dyn Fn(Progress<'_>) + Sync)) -> RunReport {
    let side_by_side = options.options.parallel && sources.len() > 1;
    let mut options = options.clone();
    if side_by_side {
        // Files that are judged at the same time share the memory.
        options.options.budget.bytes /= rayon::current_num_threads().clamp(1, sources.len());
    }
    let judge = |source: &Source| {
        let name = source.name();
        let outcome = judge_source(source, &name, &options, progress);
        if let Ok(found) = &outcome {
            progress(Progress::Done(&name, found.verdict));
        }
        FileReport { name, outcome }
    };
    let files =
        if side_by_side { sources.par_iter().map(judge).collect() } else { sources.iter().map(judge).collect() };
    RunReport { files }
}

fn judge_source(
    source: &Source,
    name: &str,
    options: &RunOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<FileVerdict, RunError> {
    let started = Instant::now();
    let (input, bytes) = source.open().map_err(ReadError::from)?;
    let input = Counted { input, read: 0, said: 0, say: &|read| progress(Progress::Reading(name, read, bytes)) };
    if options.stream {
        let judged = settled(options, Format::Jsonl);
        let report = read::check_stream(input, &judged)?;
        let took = started.elapsed();
        return Ok(FileVerdict {
            verdict: report.verdict,
            operations: report.operations as usize,
            text: render::stream_text(name, &report, took),
            json: render::stream_json(name, &report, took),
            verified: 0,
            took,
        });
    }
    let mut room = Room::new(options.options.budget.bytes);
    let Recorded { history, format } = read::read_within(input, options.format, options.columns.as_deref(), &mut room)?;
    if let Some(file) = &options.export_edn {
        export(&history, file).map_err(|error| RunError::Export { file: file.clone(), error })?;
    }
    progress(Progress::Judging(name, history.len()));
    let mut judged = settled(options, format);
    judged.budget.bytes = room.left();
    let mut report = check_history_with(&history, &judged, &|done, all| progress(Progress::Keys(name, done, all)));
    let verified = finish(&history, &mut report, &judged, options)?;
    let ladder = match options.asked {
        Asked::Linearizable => None,
        Asked::Weaker(level) => Some(weaker::check_level(&history, &report, &judged, level)),
        Asked::Strongest => Some(weaker::ladder(&history, &report, &judged)),
    };
    let end = options.dump.as_ref().map(|file| judge_end(&history, file, options, &judged, &room)).transpose()?;
    let of_calls = match (&ladder, options.asked) {
        (Some(ladder), Asked::Weaker(level)) => ladder.verdict(level),
        _ => report.verdict,
    };
    let verdict = end.as_ref().map_or(of_calls, |end| of_calls.max(end.verdict));
    let took = started.elapsed();
    let (ladder, end) = (ladder.as_ref(), end.as_ref());
    let shown = render::Shown {
        name,
        format,
        history: &history,
        report: &report,
        asked: options.asked,
        ladder,
        end,
        verdict,
        verified,
        took,
    };
    Ok(FileVerdict { verdict, operations: history.len(), text: shown.text(), json: shown.json(), verified, took })
}

/// Says how far the reading is, now and then.
struct Counted<'a, R> {
    input: R,
    read: u64,
    said: u64,
    say: &'a dyn Fn(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        const SAID_EVERY_BYTES: u64 = 8 << 20;
        let read = self.input.read(into)?;
        self.read += read as u64;
        if self.read - self.said >= SAID_EVERY_BYTES {
            self.said = self.read;
            (self.say)(self.read);
        }
        Ok(read)
    }
}

fn export(history: &History, file: &Path) -> io::Result<()> {
    write_jepsen_edn(history, BufWriter::new(File::create(file)?))
}

fn judge_end(
    history: &History,
    file: &Path,
    options: &RunOptions,
    judged: &Options,
    room: &Room,
) -> Result<EndReport, RunError> {
    // By replica and key, values take more than their text.
    const TIMES_ITS_TEXT: usize = 4;
    let read = || -> Result<Dump, ReadError> {
        let mut input = File::open(file)?.take((room.left() / TIMES_ITS_TEXT) as u64);
        let dump = Dump::read(&mut input);
        // What was cut off is no dump, whatever it reads like.
        if input.limit() == 0 { Err(room.exhausted(0)) } else { dump }
    };
    let dump = read().map_err(|error| RunError::Dump { file: file.to_path_buf(), error })?;
    Ok(check_end(history, &dump, options.conflicts, judged))
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
fn finish(history: &History, report: &mut Report, judged: &Options, options: &RunOptions) -> Result<usize, RunError> {
    if options.minimize {
        minimize_all(history, report, judged);
    }
    if !options.verify {
        return Ok(0);
    }
    verify_all(history, report, judged)
        .map_err(|(key, refusal)| RunError::Certificate { key: history.key_name(key).to_string(), refusal })
}

/// A ladder for callers who have a history in memory.
pub fn strongest(history: &History, options: &Options) -> Ladder {
    let report = crate::check_history(history, options);
    weaker::ladder(history, &report, options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Operation, check_history};

    #[test]
    fn a_wrong_verdict_is_our_own_fault_and_outranks_every_other_end() {
        let mut history = History::new();
        let (client, key) = (history.client("c1"), history.key("reg/k"));
        for at in 0..2 {
            history.push(Operation::new(client, key, Kind::Write, Value::Int(at), at * 10, at * 10 + 5));
        }
        let options = RunOptions { verify: true, ..RunOptions::default() };
        let judged = settled(&options, Format::Jsonl);
        let mut report = check_history(&history, &judged);
        assert_eq!(finish(&history, &mut report, &judged, &options).ok(), Some(1));
        // A judge that got the order of two writes wrong.
        report.keys[0].witness.as_mut().expect("verify keeps witnesses").swap(0, 1);
        let error = finish(&history, &mut report, &judged, &options).expect_err("an order against time");
        assert!(matches!(&error, RunError::Certificate { key, .. } if key == "reg/k"), "{error}");
        let file = |outcome| FileReport { name: "h".to_string(), outcome };
        let missing = || RunError::Read(ReadError::Io(io::ErrorKind::NotFound.into()));
        let report = RunReport { files: vec![file(Err(missing())), file(Err(error)), file(Err(missing()))] };
        assert_eq!((report.exit_code(), report.verdict()), (70, None));
        assert!(report.text().contains("OUR FAULT  h: the verdict on key reg/k is wrong"), "{}", report.text());
        assert!(report.json().contains("\"verdict\":null,\"exit\":70,"), "{}", report.json());
        let unasked = RunOptions { verify: false, ..options };
        let mut wrong = check_history(&history, &judged);
        wrong.keys[0].witness.as_mut().expect("kept").swap(0, 1);
        assert_eq!(finish(&history, &mut wrong, &judged, &unasked).ok(), Some(0), "only when asked");
    }
}
