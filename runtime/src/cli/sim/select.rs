//! What is run: a scenario with its settings, and a seed or a trace of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use quorate_sim::plan::Scenario;
use quorate_sim::{DrawOptions, Plan, Session, SnapshotError, draw};
use quorate_traces::{FaultKind, PlanTrace, TraceError};

use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::version;

/// What is drawn from a seed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// What kind of run; see `quorate sim list`
    #[arg(long, default_value = "default", value_parser = scenario, value_name = "NAME")]
    pub(crate) scenario: Scenario,
    /// Kinds of faults, separated by commas: all, none, or names and groups of `quorate sim list`
    #[arg(long, default_value = "all", value_parser = Faults::from_str, value_name = "LIST")]
    pub(crate) faults: Faults,
    /// Settles what the seed would draw: nodes=5, ops=200
    #[arg(long, value_parser = Setting::from_str, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
}

/// The kinds that are on, and the words that chose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) kinds: Vec<FaultKind>,
    pub(crate) words: String,
}

/// Words for several kinds at once.
pub(crate) const GROUPS: [(&str, &[FaultKind]); 4] = [
    (
        "network",
        &[
            FaultKind::Partition,
            FaultKind::OneWay,
            FaultKind::Ring,
            FaultKind::Flap,
            FaultKind::Filter,
            FaultKind::Loss,
            FaultKind::Duplicate,
            FaultKind::Replay,
            FaultKind::Corrupt,
            FaultKind::SlowLink,
        ],
    ),
    (
        "disk",
        &[
            FaultKind::SyncFails,
            FaultKind::WriteFails,
            FaultKind::DiskFull,
            FaultKind::SlowDisk,
            FaultKind::Rot,
            FaultKind::Misdirect,
            FaultKind::Wipe,
            FaultKind::Restore,
            FaultKind::Lying,
        ],
    ),
    ("skew", &[FaultKind::ClockSkew, FaultKind::ClockStep, FaultKind::ClockFreeze, FaultKind::ClockDrift]),
    ("client", &[FaultKind::ClientGone, FaultKind::ClientRetry]),
];

impl FromStr for Faults {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Vec::new();
        for word in text.split(',') {
            let group = GROUPS.iter().find(|(name, _)| *name == word);
            match (word, group, FaultKind::from_name(word)) {
                ("all", ..) => kinds.extend(FaultKind::ALL),
                ("none", ..) => {}
                (_, Some((_, group)), _) => kinds.extend(*group),
                (_, None, Some(kind)) => kinds.push(kind),
                (_, None, None) => return Err(format!("'{word}' is no kind of fault; see: quorate sim list")),
            }
        }
        kinds.sort_unstable_by_key(|kind| *kind as usize);
        kinds.dedup();
        Ok(Faults { kinds, words: text.to_string() })
    }
}

/// One `--set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Nodes(u32),
    Ops(u32),
}

impl FromStr for Setting {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |value: &str, range: Range<u32>| {
            let number = value.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("'{value}' must be {} to {}", range.start, range.end - 1))
        };
        match text.split_once('=') {
            Some(("nodes", value)) => number(value, 1..101).map(Setting::Nodes),
            Some(("ops", value)) => number(value, 1..100_001).map(Setting::Ops),
            Some(_) | None => Err(format!("'{text}' cannot be set; nodes=N and ops=N can")),
        }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Nodes(nodes) => write!(f, "nodes={nodes}"),
            Setting::Ops(ops) => write!(f, "ops={ops}"),
        }
    }
}

/// A scenario by its name.
pub(super) fn scenario(name: &str) -> Result<Scenario, String> {
    let known = || Scenario::ALL.map(Scenario::name).join(", ");
    Scenario::from_name(name).ok_or_else(|| format!("there is no scenario '{name}'; there are {}", known()))
}

impl Selection {
    pub(crate) fn options(&self) -> DrawOptions {
        let mut options = DrawOptions { faults: self.faults.kinds.clone(), ..DrawOptions::of(self.scenario) };
        for setting in &self.set {
            match setting {
                Setting::Nodes(nodes) => options.nodes = Some(*nodes),
                Setting::Ops(ops) => options.ops = Some(*ops),
            }
        }
        options
    }

    /// The flags that make the same choice again.
    pub(crate) fn flags(&self) -> String {
        let mut flags = String::new();
        if self.scenario != Scenario::default() {
            flags += &format!(" --scenario {}", self.scenario.name());
        }
        if self.faults.words != "all" {
            flags += &format!(" --faults {}", self.faults.words);
        }
        for setting in &self.set {
            flags += &format!(" --set {setting}");
        }
        flags
    }

    /// The plan of a trace file, or of a seed; and the trace if it was one.
    pub(crate) fn plan(&self, subject: &Subject) -> Result<(Plan, Option<PlanTrace>), Failure> {
        match subject {
            Subject::Seed(seed) => Ok((draw(*seed, &self.options()), None)),
            Subject::File(file) => {
                let trace = load(file)?;
                Ok((trace.plan.clone(), Some(trace)))
            }
        }
    }
}

impl Selection {
    /// The beginning of a run, or where a snapshot was taken; and the trace if it was one.
    pub(crate) fn begin(&self, subject: &Subject) -> Result<(Session, Option<PlanTrace>), Failure> {
        if let Subject::File(file) = subject
            && file.extension().is_some_and(|extension| extension == "snap")
        {
            return Ok((load_snapshot(file)?, None));
        }
        let (plan, trace) = self.plan(subject)?;
        Ok((Session::new(&plan).map_err(Failure::usage)?, trace))
    }
}

/// Reads a snapshot, which only the build that wrote it can go on with.
fn load_snapshot(file: &Path) -> Result<Session, Failure> {
    let named = |error: std::io::Error| anyhow::anyhow!("{}: {error}", file.display());
    let bytes = std::fs::read(file).map_err(named).or_exit(Exit::Io)?;
    Session::load(&bytes, version::CORE).map_err(|error| {
        let exit = match error {
            SnapshotError::OtherBuild { .. } => Exit::Incompatible,
            SnapshotError::Format | SnapshotError::Damaged => Exit::Usage,
        };
        Failure { exit, error: anyhow::anyhow!("{}: {error}", file.display()) }
    })
}

/// Reads a plan trace.
pub(crate) fn load(file: &Path) -> Result<PlanTrace, Failure> {
    PlanTrace::load(file).map_err(|error| Failure { exit: exit_of(&error), error: error.into() })
}

/// What a trace that cannot be read means.
pub(crate) fn exit_of(error: &TraceError) -> Exit {
    match error {
        TraceError::File { .. } => Exit::Io,
        TraceError::Line { error, .. } if error.problem.contains("this program reads") => Exit::Incompatible,
        TraceError::TooLong { .. } | TraceError::Line { .. } => Exit::Usage,
    }
}

/// `0x1b2c`, `42`, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Seed(u64),
    File(PathBuf),
}

impl FromStr for Subject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(seed(text).map_or_else(|_| Subject::File(PathBuf::from(text)), Subject::Seed))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Seed(seed) => write!(f, "{seed:#x}"),
            Subject::File(file) => write!(f, "{}", file.display()),
        }
    }
}

/// A seed, decimal or hexadecimal.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("'{text}' is no seed; write 42 or 0x1b2c"))
}

/// `0..200`: the end is not part of it.
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (start, end) = text.split_once("..").ok_or_else(|| format!("'{text}': write seeds as 0..200"))?;
    Ok(seed(start)?..seed(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_subjects_read_as_people_write_them() {
        assert_eq!("0x1b2c".parse(), Ok(Subject::Seed(0x1b2c)));
        assert_eq!("42".parse(), Ok(Subject::Seed(42)));
        assert_eq!("a.trace.jsonl".parse(), Ok(Subject::File("a.trace.jsonl".into())));
        assert_eq!(seeds("10..0x20"), Ok(10..32));
        for text in ["", "10", "a..b", "1..-2"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn faults_are_chosen_by_name_and_group() {
        let kinds = |text: &str| text.parse::<Faults>().map(|faults| faults.kinds);
        assert_eq!(kinds("all").unwrap(), FaultKind::ALL);
        assert_eq!(kinds("none").unwrap(), []);
        assert_eq!(kinds("crash,partition,crash").unwrap(), [FaultKind::Partition, FaultKind::Crash]);
        assert_eq!(kinds("skew").unwrap().len(), 4);
        assert!(kinds("crash,gremlins").is_err());
    }

    #[test]
    fn a_selection_tells_the_flags_that_repeat_it() {
        let selection = Selection {
            scenario: Scenario::Disk,
            faults: "crash,network".parse().unwrap(),
            set: vec![Setting::Nodes(5), Setting::Ops(7)],
        };
        assert_eq!(selection.flags(), " --scenario disk --faults crash,network --set nodes=5 --set ops=7");
        assert_eq!(selection.options().nodes, Some(5));
        assert!("nodes=0".parse::<Setting>().is_err());
        assert!("color=red".parse::<Setting>().is_err());
    }
}
