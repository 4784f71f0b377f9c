//! `quorate check`: judge recorded histories, from our store or from anybody's. A thin shell around
//! [`quorate_checker::run`]: it names the sources, draws the progress, prints the reports and picks the exit code.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use clap::{Args, ValueEnum};
use quorate_checker::weaker::eventual::Conflicts;
use quorate_checker::{
    Asked, Budget, FailedCas, Format as HistoryFormat, ModelKind, Options, Progress, RunOptions, RunReport, Source,
    Value, run,
};

use super::console::{Console, Format, ResultFile, finish};
use super::exit::{Ended, Exit, Failure};
use super::units;

/// Judge recorded histories: does some order explain every answer?
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// History files, judged side by side; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// What the keys are: auto, register, cas, kv, set, counter, queue
    #[arg(long, default_value = "auto", value_parser = model, value_name = "MODEL")]
    model: ModelKind,
    /// The promise to hold the history to: linearizable, sequential, causal, session, eventual; strongest names the
    /// strongest that holds, shows why the next does not, and measures staleness
    ///
    /// Finer ones: causal-convergence, per-key-sequential, read-your-writes, monotonic-reads, monotonic-writes,
    /// writes-follow-reads. With strongest the exit code is that of linearizable.
    #[arg(long, default_value = "linearizable", value_parser = level, value_name = "LEVEL")]
    level: Asked,
    /// The form of the files: auto, jsonl, jepsen-edn, jepsen-log, porcupine-kv, csv
    #[arg(long, default_value = "auto", value_parser = form, value_name = "FORM")]
    from: Form,
    /// Names of the columns of a CSV file that has no line of names
    #[arg(long, value_name = "NAMES")]
    columns: Option<String>,
    /// What every key holds before the first write: null, a number, or a text; what the form says by default
    #[arg(long, value_name = "VALUE")]
    init: Option<String>,
    /// What a failed compare-and-set tells: that the value was another one, or that it never happened; what the form
    /// says by default
    #[arg(long, value_enum, value_name = "MEANING")]
    failed_cas: Option<FailedCasFlag>,
    /// What each replica holds at the end, as JSON lines; judges convergence and lost writes too
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// How the replicas of that dump resolve concurrent writes
    #[arg(long, value_enum, default_value_t = ConflictsFlag::Lww, requires = "dump", value_name = "HOW")]
    conflicts: ConflictsFlag,
    /// Judge events as they come in, in the memory of what is open; our own form only
    #[arg(long, conflicts_with_all = ["level", "dump", "minimize", "verify", "export_edn", "columns", "from", "model"])]
    stream: bool,
    /// Make counterexamples of a search as small as single removals can
    #[arg(long)]
    minimize: bool,
    /// Answer unknown rather than take longer
    #[arg(long, default_value = "60s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// Answer unknown rather than use more memory for reading and judging
    #[arg(long, default_value = "2GiB", value_parser = units::size, value_name = "SIZE")]
    mem: u64,
    /// Verify every verdict by its certificate, independently of the judge that found it
    #[arg(long)]
    verify: bool,
    /// Write the history that was read to FILE, as Jepsen EDN
    #[arg(long, value_name = "FILE")]
    export_edn: Option<PathBuf>,
    #[command(flatten)]
    file: ResultFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailedCasFlag {
    Mismatch,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConflictsFlag {
    /// The last writer wins
    Lww,
    /// All are kept
    Siblings,
}

/// A form of histories; none is told by the content.
type Form = Option<HistoryFormat>;

fn form(name: &str) -> Result<Form, String> {
    match HistoryFormat::from_name(name) {
        None if name == "auto" => Ok(None),
        None => Err(format!("'{name}' is none of auto, jsonl, jepsen-edn, jepsen-log, porcupine-kv, csv")),
        form => Ok(form),
    }
}

fn model(name: &str) -> Result<ModelKind, String> {
    let model = ModelKind::from_name(name);
    model.ok_or_else(|| format!("'{name}' is none of auto, register, cas, kv, set, counter, queue"))
}

fn level(name: &str) -> Result<Asked, String> {
    let level = Asked::from_name(name);
    level.ok_or_else(|| format!("'{name}' is none of linearizable, sequential, causal, session, eventual, strongest"))
}

impl Check {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let sources: Vec<Source> = self.files.iter().map(|file| Source::from_argument(file)).collect();
        if sources.iter().filter(|source| **source == Source::Stdin).count() > 1 {
            return Err(Failure::usage("stdin can be read once"));
        }
        if sources.len() > 1 && (self.export_edn.is_some() || self.dump.is_some()) {
            return Err(Failure::usage("--dump and --export-edn belong to one history"));
        }
        let mut out = console.result(&self.file)?;
        let watch = Watch::new(console, sources.len());
        let report = run(&sources, &self.options(), &|progress| watch.see(progress));
        watch.end();
        for file in &report.files {
            if let Err(error) = &file.outcome {
                console.complain("error", format!("{}: {error}", file.name));
            }
        }
        finish(out.write_all(shown(&report, console).as_bytes()).and_then(|()| out.flush()))?;
        Ok(exit(&report))
    }

    fn options(&self) -> RunOptions {
        let bytes = usize::try_from(self.mem).unwrap_or(usize::MAX);
        RunOptions {
            options: Options {
                model: self.model,
                budget: Budget { states: u64::MAX, bytes, time: Some(self.time) },
                ..Options::default()
            },
            format: self.from,
            columns: self.columns.clone(),
            init: self.init.as_deref().map(value),
            failed_cas: self.failed_cas.map(|meaning| match meaning {
                FailedCasFlag::Mismatch => FailedCas::Mismatch,
                FailedCasFlag::Never => FailedCas::Never,
            }),
            asked: self.level,
            verify: self.verify,
            minimize: self.minimize,
            stream: self.stream,
            dump: self.dump.clone(),
            conflicts: match self.conflicts {
                ConflictsFlag::Lww => Conflicts::LastWriterWins,
                ConflictsFlag::Siblings => Conflicts::Siblings,
            },
            export_edn: self.export_edn.clone(),
        }
    }
}

/// A value as flags name it: a number is a number, `null` is nothing, everything else is text.
fn value(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) => Value::Int(number),
        Err(_) if text == "null" => Value::Absent,
        Err(_) => Value::text(text),
    }
}

fn shown(report: &RunReport, console: &Console) -> String {
    match console.format {
        Format::Text => report
            .files
            .iter()
            .filter_map(|file| file.outcome.as_ref().ok())
            .flat_map(|found| found.text.lines())
            .map(|line| console.verdict(line) + "\n")
            .collect(),
        Format::Jsonl => report.json(),
        Format::Json => {
            let verdict = report.verdict().map_or("null".to_string(), |verdict| format!("\"{}\"", verdict.name()));
            let files: Vec<String> = report.files.iter().map(|file| file.json()).collect();
            let (exit, files) = (report.exit_code(), files.join(","));
            format!("{{\"schema\":\"quorate.check/1\",\"verdict\":{verdict},\"exit\":{exit},\"files\":[{files}]}}\n")
        }
    }
}

fn exit(report: &RunReport) -> Exit {
    let code = report.exit_code();
    let row = Exit::TABLE.iter().find(|(_, of_row, _)| *of_row == code);
    row.map(|(exit, ..)| *exit).expect("the checker ends in ways that stand in the table")
}

/// Draws how far it is: files done, and what is going on in the one that moved last.
struct Watch(Mutex<(u64, super::console::Progress)>);

impl Watch {
    fn new(console: &Console, files: usize) -> Self {
        Watch(Mutex::new((0, console.progress(files as u64, "files"))))
    }

    fn see(&self, progress: Progress<'_>) {
        const MEGABYTE: u64 = 1_000_000;
        if let Progress::Keys(_, done, all) = progress
            && done % (all / 256 + 1) != 0
        {
            return;
        }
        let mut watch = self.0.lock().expect("drawing does not panic");
        let (done, bar) = &mut *watch;
        *done += u64::from(matches!(progress, Progress::Done(..)));
        bar.at(*done, || match progress {
            Progress::Reading(name, read, Some(all)) => {
                format!("{name}: read {} of {} MB", units::grouped(read / MEGABYTE), units::grouped(all / MEGABYTE))
            }
            Progress::Reading(name, read, None) => format!("{name}: read {} MB", units::grouped(read / MEGABYTE)),
            Progress::Judging(name, operations) => {
                format!("{name}: judging {} operations", units::grouped(operations as u64))
            }
            Progress::Keys(name, keys, all) => {
                format!("{name}: {} of {} keys", units::grouped(keys as u64), units::grouped(all as u64))
            }
            Progress::Done(name, verdict) => format!("{name}: {}", verdict.name()),
        });
    }

    fn end(self) {
        let (_, bar) = self.0.into_inner().expect("drawing does not panic");
        bar.end();
    }
}

#[cfg(test)]
mod tests {
    use quorate_checker::{FileReport, ReadError, Refusal, RunError};

    use super::*;

    #[test]
    fn every_end_of_a_file_has_its_row_in_the_table() {
        let ended = |outcome| RunReport { files: vec![FileReport { name: "h".to_string(), outcome: Err(outcome) }] };
        let refused = RunError::Certificate { key: "k".to_string(), refusal: Refusal::Illegal(0) };
        assert_eq!(exit(&ended(refused)), Exit::Bug);
        assert_eq!(exit(&ended(ReadError::Memory { line: 9, bytes_max: 1 }.into())), Exit::Unknown);
        assert_eq!(exit(&ended(ReadError::Line { line: 9, reason: String::new() }.into())), Exit::Usage);
        assert_eq!(exit(&ended(ReadError::from(std::io::Error::other("disk")).into())), Exit::Io);
        assert_eq!(exit(&RunReport::default()), Exit::NothingRun);
    }

    #[test]
    fn flags_name_values_as_people_write_them() {
        for (text, named) in [
            ("7", Value::Int(7)),
            ("-1", Value::Int(-1)),
            ("null", Value::Absent),
            ("", Value::text("")),
            ("v7", Value::text("v7")),
        ] {
            assert_eq!(value(text), named, "{text}");
        }
    }
}
