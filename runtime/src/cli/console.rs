//! What goes where: results to stdout, progress and diagnostics to stderr.
//!
//! Colour follows `--color`, then `NO_COLOR`, then `CLICOLOR_FORCE`, then whether the stream is a terminal. A progress
//! bar is drawn on a terminal only; elsewhere one line every ten seconds says how far it is.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::exit::{Exit, Failure, OrExit};

/// Flags that every command has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// Form of the result on stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Everywhere")]
    pub(crate) format: Format,
    /// Say less: no progress, no notes
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Say more; twice for more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Everywhere")]
    pub(crate) verbose: u8,
    /// When to colour; NO_COLOR and CLICOLOR_FORCE are kept
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN", help_heading = "Everywhere")]
    pub(crate) color: When,
    /// Draw no progress bar (automatic where stderr is no terminal or CI=true)
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) no_progress: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line, as things happen
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// Where a result is written instead of stdout.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ResultFile {
    /// Write the result to FILE instead of stdout
    #[arg(short, long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The two streams of a command, and how to write to them.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: u8,
    bar: bool,
    stdout_color: bool,
    stderr_color: bool,
}

impl Console {
    pub(crate) fn new(globals: &Globals) -> Self {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
        Console {
            format: globals.format,
            quiet: globals.quiet,
            verbose: globals.verbose,
            bar: !globals.no_progress && !ci && !globals.quiet && io::stderr().is_terminal(),
            stdout_color: is_colored(globals.color, io::stdout().is_terminal()),
            stderr_color: is_colored(globals.color, io::stderr().is_terminal()),
        }
    }

    /// A note for whoever watches; never part of the result.
    pub(crate) fn note(&self, line: impl Display) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// A warning or an error: said even when quiet.
    pub(crate) fn complain(&self, word: &str, line: impl Display) {
        eprintln!("{}: {line}", paint(self.stderr_color, word, AnsiColor::Red));
    }

    /// Colours a verdict word of a line for stdout: green at an `OK`, red at a `FAIL`.
    pub(crate) fn verdict(&self, line: &str) -> String {
        let color = match line.split(' ').next() {
            Some("OK") => AnsiColor::Green,
            Some("UNKNOWN") => AnsiColor::Yellow,
            Some("FAIL" | "NONDETERMINISTIC") => AnsiColor::Red,
            Some(_) | None => return line.to_string(),
        };
        let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
        format!("{}{rest}", paint(self.stdout_color, word, color))
    }

    /// The stream for the result.
    pub(crate) fn result(&self, file: &ResultFile) -> Result<Box<dyn Write>, Failure> {
        match &file.output {
            Some(path) => create(path),
            None => Ok(Box::new(BufWriter::new(io::stdout().lock()))),
        }
    }

    /// The same, for results that threads write one after the other.
    pub(crate) fn result_from_threads(&self, file: &ResultFile) -> Result<Box<dyn Write + Send>, Failure> {
        match &file.output {
            Some(path) => Ok(Box::new(open(path)?)),
            None => Ok(Box::new(io::stdout())),
        }
    }

    /// Writes one result to stdout or the named file.
    pub(crate) fn print(&self, file: &ResultFile, text: &str) -> Result<(), Failure> {
        let mut out = self.result(file)?;
        finish(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// A progress line for work of a known length.
    pub(crate) fn progress(&self, length: u64, unit: &'static str) -> Progress {
        let bar = if self.bar { ProgressBar::new(length) } else { ProgressBar::hidden() };
        if self.bar {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(" {prefix} {bar:20} {pos}/{len}  {elapsed}  {msg}");
            bar.set_style(style.expect("a fixed template").progress_chars("██░"));
            bar.set_prefix(unit);
        }
        let plain = !self.bar && !self.quiet;
        Progress { bar, plain, unit, length, started: Instant::now(), next_line: PLAIN_INTERVAL }
    }
}

/// Without a terminal, one line this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How far a piece of work is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
    unit: &'static str,
    length: u64,
    started: Instant,
    next_line: Duration,
}

impl Progress {
    /// So many are done; `message` says more.
    pub(crate) fn at(&mut self, done: u64, message: impl FnOnce() -> String) {
        if !self.plain {
            self.bar.set_position(done);
            return self.bar.set_message(message());
        }
        let elapsed = self.started.elapsed();
        if elapsed >= self.next_line {
            self.next_line = elapsed + PLAIN_INTERVAL;
            eprintln!("{} {done}/{}  {}  {}", self.unit, self.length, super::units::show(elapsed), message());
        }
    }

    /// Prints lines above the bar.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// A file for output, with its folder.
pub(crate) fn create(path: &Path) -> Result<Box<dyn Write>, Failure> {
    Ok(Box::new(open(path)?))
}

fn open(path: &Path) -> Result<BufWriter<File>, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all).or_exit(Exit::Io)?;
    let file = File::create(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display())).or_exit(Exit::Io)?;
    Ok(BufWriter::new(file))
}

/// A reader that has gone (`| head`) is no failure of ours.
pub(crate) fn finish(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.or_exit(Exit::Io),
    }
}

fn is_colored(when: When, is_terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if set("NO_COLOR") => false,
        When::Auto if std::env::var("CLICOLOR_FORCE").is_ok_and(|force| !force.is_empty() && force != "0") => true,
        When::Auto => is_terminal && std::env::var("TERM").map_or(true, |term| term != "dumb"),
    }
}

fn paint(colored: bool, text: &str, color: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(color.into()));
    if colored { format!("{style}{text}{style:#}") } else { text.to_string() }
}
