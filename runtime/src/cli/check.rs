//! `quorate check`: judge a recorded history, from our store or from anybody's. A thin shell around `quorate-checker`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use quorate_checker::{
    Budget, FailedCas, Format as HistoryFormat, History, ModelKind, Options, ReadError, Recorded, Report, Value,
    Verdict, check_history, describe, minimize, read, verify,
};
use serde_json::json;

use super::console::{Console, Format, ResultFile, finish};
use super::exit::{Ended, Exit, Failure, OrExit};
use super::units;

/// Judge recorded histories: does some order explain every answer?
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// History files; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the keys are: auto, register, cas, kv, set, counter, queue
    #[arg(long, default_value = "auto", value_parser = model, value_name = "MODEL")]
    model: ModelKind,
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
    /// Make counterexamples of a search as small as single removals can
    #[arg(long)]
    minimize: bool,
    /// Answer unknown rather than take longer
    #[arg(long, default_value = "60s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// Answer unknown rather than use more memory
    #[arg(long, default_value = "2GiB", value_parser = units::size, value_name = "SIZE")]
    mem: u64,
    /// Verify every verdict by its certificate, independently of the judge that found it
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    file: ResultFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailedCasFlag {
    Mismatch,
    Never,
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

/// Violations shown in full, per file.
const SHOWN_MAX: usize = 3;

impl Check {
    pub(crate) fn run(&self, console: &Console) -> Ended {
        let mut worst = Verdict::Ok;
        let mut out = console.result(&self.file)?;
        let mut objects = Vec::new();
        for file in &self.files {
            let name = file.display().to_string();
            let Recorded { history, format } = self.read(file)?;
            let options = self.options(format);
            let started = Instant::now();
            let mut report = check_history(&history, &options);
            if self.minimize {
                report.keys.iter_mut().for_each(|key| minimize(&history, key, &options));
            }
            let judged = Judged { name: &name, history: &history, report: &report, took: started.elapsed() };
            let verified = if self.verify { Some(judged.verify(&options)?) } else { None };
            worst = worst.max(report.verdict);
            let text = match console.format {
                Format::Text => judged.text(console, verified),
                Format::Jsonl => format!("{}\n", judged.object(verified)),
                Format::Json => {
                    objects.push(judged.object(verified));
                    continue;
                }
            };
            finish(out.write_all(text.as_bytes()))?;
        }
        if console.format == Format::Json {
            let document = json!({"schema": "quorate.check/1", "verdict": worst.name(), "files": objects});
            finish(writeln!(out, "{document}"))?;
        }
        finish(out.flush())?;
        Ok(match worst {
            Verdict::Ok => Exit::Ok,
            Verdict::Violation => Exit::Violation,
            Verdict::Unknown => Exit::Unknown,
        })
    }

    /// Reads a history from a file or from stdin.
    fn read(&self, file: &Path) -> Result<Recorded, Failure> {
        let input: Box<dyn Read> = if file.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let opened = File::open(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()));
            Box::new(BufReader::new(opened.or_exit(Exit::Io)?))
        };
        read(input, self.from, self.columns.as_deref()).map_err(|error| {
            let exit = if matches!(error, ReadError::Io(_)) { Exit::Io } else { Exit::Usage };
            Failure { exit, error: anyhow::anyhow!("{}: {error}", file.display()) }
        })
    }

    fn options(&self, form: HistoryFormat) -> Options {
        let bytes = usize::try_from(self.mem).unwrap_or(usize::MAX);
        Options {
            model: self.model,
            init: self.init.as_deref().map_or(form.init(), value),
            failed_cas: match self.failed_cas {
                None => form.failed_cas(),
                Some(FailedCasFlag::Mismatch) => FailedCas::Mismatch,
                Some(FailedCasFlag::Never) => FailedCas::Never,
            },
            certificates: self.verify,
            budget: Budget { states: u64::MAX, bytes, time: Some(self.time) },
            parallel: true,
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

struct Judged<'a> {
    name: &'a str,
    history: &'a History,
    report: &'a Report,
    took: Duration,
}

impl Judged<'_> {
    /// How many keys carried a certificate that holds. One that does not is a bug of the checker.
    fn verify(&self, options: &Options) -> Result<usize, Failure> {
        let mut verified = 0;
        for key in &self.report.keys {
            let name = self.history.key_name(key.key);
            let held = verify(self.history, key, options)
                .map_err(|refusal| anyhow::anyhow!("the verdict on key {name} is wrong: {refusal}"))
                .or_exit(Exit::Bug)?;
            verified += usize::from(held);
        }
        Ok(verified)
    }

    fn text(&self, console: &Console, verified: Option<usize>) -> String {
        let Judged { name, history, report, took } = self;
        let mut text = String::new();
        let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
        for violation in report.violations().take(SHOWN_MAX) {
            line(format!(
                "key {}: {} ({})",
                history.key_name(violation.key),
                violation.words,
                violation.anomaly.name()
            ));
            for id in &violation.operations {
                let operation = history.operation(*id);
                let began = history.clock().show(operation.invoke);
                line(format!("  line {:>6}  {} (began {began})", operation.line, describe(history, *id)));
            }
        }
        let hidden = report.violations().count().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            line(format!("… and {hidden} more keys"));
        }
        for key in report.keys.iter().filter(|key| key.blocked.is_some()).take(SHOWN_MAX) {
            let blocked = key.blocked.as_ref().expect("filtered");
            line(format!(
                "key {}: the budget of {} ended after {} states; everything that returned up to {} has an order",
                history.key_name(key.key),
                blocked.budget,
                units::grouped(key.states),
                history.clock().show(blocked.proven_until),
            ));
        }
        let word = match report.verdict {
            Verdict::Ok => "OK",
            Verdict::Violation => "FAIL",
            Verdict::Unknown => "UNKNOWN",
        };
        let count = |verdict| report.keys.iter().filter(|key| key.verdict == verdict).count();
        let of_keys = match report.verdict {
            Verdict::Ok => "linearizable".to_string(),
            Verdict::Violation => format!("{} keys are not linearizable", count(Verdict::Violation)),
            Verdict::Unknown => format!("no verdict on {} keys", count(Verdict::Unknown)),
        };
        let certified = verified.map_or(String::new(), |keys| format!(", {keys} keys verified by certificate"));
        line(console.verdict(&format!(
            "{word}  {name}: {of_keys}; {} operations, {} keys, {}{certified}",
            units::grouped(report.operations as u64),
            units::grouped(report.keys.len() as u64),
            units::show(*took),
        )));
        text
    }

    fn object(&self, verified: Option<usize>) -> serde_json::Value {
        let Judged { name, history, report, took } = self;
        let violations: Vec<_> = report
            .violations()
            .map(|violation| {
                let operations: Vec<_> = violation.operations.iter().map(|id| describe(history, *id)).collect();
                let lines: Vec<_> = violation.operations.iter().map(|id| history.operation(*id).line).collect();
                json!({
                    "key": history.key_name(violation.key), "anomaly": violation.anomaly.name(),
                    "words": violation.words, "operations": operations, "lines": lines,
                })
            })
            .collect();
        json!({
            "file": name, "verdict": report.verdict.name(), "operations": report.operations,
            "keys": report.keys.len(), "us": took.as_micros() as u64, "verified_keys": verified,
            "violations": violations,
        })
    }
}
