//! `quorate sim merge DIR…`: the shards of one sweep, added up to what the whole would have said.

use std::path::{Path, PathBuf};

use clap::Args;
use quorate_sim::tally::Tally;

use super::artefacts::{REPORT, write_reports};
use crate::cli::console::{Console, Format, ResultFile};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::units::grouped;

/// Add up the reports of a sweep's shards
#[derive(Args, Debug)]
pub(crate) struct Merge {
    /// Folders that `quorate sim --shard I/N --report json --out DIR` wrote, or their report.json
    #[arg(required = true, value_name = "DIR")]
    parts: Vec<PathBuf>,
    /// The folder for the whole: report.json, junit.xml, summary.md and failures.txt
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

impl Merge {
    pub(super) fn run(&self, console: &Console) -> Ended {
        let mut merged: Option<Tally> = None;
        let mut failures = Vec::new();
        for part in &self.parts {
            let file = if part.is_dir() { part.join(REPORT) } else { part.clone() };
            let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
            let text = std::fs::read_to_string(&file).map_err(named).or_exit(Exit::Io)?;
            let fits = |error: String| Failure::usage(format!("{}: {error}", file.display()));
            let tally = Tally::read(&text).map_err(fits)?;
            match &mut merged {
                None => merged = Some(tally),
                Some(merged) => merged.add(&tally).map_err(fits)?,
            }
            // Absent where nothing failed.
            if let Ok(list) = std::fs::read_to_string(file.with_file_name("failures.txt")) {
                failures.extend(list.lines().map(str::to_string));
            }
        }
        let merged = merged.expect("at least one part was named");
        let missing = merged.missing();
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(|part| format!("{part}/{}", merged.swept.shards)).collect();
            let error = anyhow::anyhow!("these shards are missing: {}", names.join(" "));
            return Err(Failure { exit: Exit::Unknown, error });
        }
        let whole = merged.whole();
        write_reports(&whole, &self.output, &super::artefacts::ALL)?;
        write_list(&self.output, failures)?;
        let text = match console.format {
            Format::Text => text(&whole, self.parts.len(), console),
            Format::Json | Format::Jsonl => whole.write(),
        };
        console.print(&ResultFile::default(), &text)?;
        Ok(exit(&whole))
    }
}

fn write_list(folder: &Path, mut lines: Vec<String>) -> Result<(), Failure> {
    lines.sort();
    lines.dedup();
    match lines.is_empty() {
        true => Ok(()),
        false => std::fs::write(folder.join("failures.txt"), lines.join("\n") + "\n").or_exit(Exit::Io),
    }
}

fn exit(whole: &Tally) -> Exit {
    if !whole.diverged.is_empty() {
        Exit::Diverged
    } else if whole.failures().next().is_some() {
        Exit::Violation
    } else if whole.interrupted || !whole.bad.is_empty() {
        Exit::Unknown
    } else if whole.seeds == 0 {
        Exit::NothingRun
    } else {
        Exit::Ok
    }
}

fn text(whole: &Tally, parts: usize, console: &Console) -> String {
    let mut text = format!(
        "{parts} reports  scenario={}  seeds {}..{}  {} events  digest q:{:016x}\n",
        whole.swept.scenario,
        whole.swept.from,
        whole.swept.to,
        grouped(whole.events),
        whole.digest,
    );
    for (kind, results) in whole.kinds() {
        text += &format!("  {kind} in {} seeds, first {:#x}\n", results.len(), results[0].seed);
    }
    let seeds = grouped(whole.seeds);
    let last = match (exit(whole), whole.failures().count()) {
        (Exit::Diverged, _) => {
            format!("NONDETERMINISTIC  {} of {seeds} seeds came out otherwise the second time", whole.diverged.len())
        }
        (Exit::Ok, _) => format!("OK  {seeds} seeds, 0 violations"),
        (_, 0) => format!("UNKNOWN  0 violations in {seeds} seeds, {} without a verdict", whole.bad.len()),
        (_, 1) => format!("FAIL  1 violation in {seeds} seeds"),
        (_, count) => format!("FAIL  {} violations in {seeds} seeds", grouped(count as u64)),
    };
    text + &console.verdict(&last) + "\n"
}
