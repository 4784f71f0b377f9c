//! The proof that a seed is the whole truth: run again in another process, it must come out the same.
//!
//! Map order, addresses and entropy differ between processes and not within one, so the second run has a process of its
//! own: this program, asked for digests on stdin. Where two runs differ, two more processes walk the seed side by side,
//! and the first event after which they differ is named, with the fields of each node's state that do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::Args;
use quorate_sim::{Difference, differences, draw, run};

use super::select::{self, Selection};
use crate::cli::exit::{Ended, Exit, Failure, OrExit};
use crate::cli::panics;

/// Fields of one node that are told.
const FIELDS_MAX: usize = 12;
/// Nodes that a cluster has at most.
const NODES_MAX: u32 = 100;

/// Print the digest of each seed on stdin
#[derive(Args, Debug)]
pub(crate) struct Digests {
    #[command(flatten)]
    selection: Selection,
}

impl Digests {
    pub(super) fn run(&self) -> Ended {
        panics::quiet();
        let options = self.selection.options();
        for line in io::stdin().lock().lines() {
            let line = line.or_exit(Exit::Io)?;
            let seed = select::seed(line.trim()).map_err(Failure::usage)?;
            let report = run(&draw(seed, &options));
            println!("{seed:#x} {:016x} {}", report.digest, report.events);
        }
        Ok(Exit::Ok)
    }
}

/// This program again, with other arguments, spoken to through pipes.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Other {
    fn start(arguments: &[&str], flags: &str) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).args(flags.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, input, output })
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        let input = self.input.as_mut().expect("until it is closed");
        writeln!(input, "{words}")?;
        input.flush()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_string())
    }

    /// Nothing more is asked; the rest of what it says.
    fn end(mut self) -> io::Result<String> {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        self.child.wait()?;
        Ok(rest)
    }
}

/// Runs seeds again in other processes and names those whose digests are not these.
pub(super) fn verify(
    selection: &Selection,
    digests: &BTreeMap<u64, u64>,
    processes: usize,
) -> io::Result<BTreeSet<u64>> {
    let seeds: Vec<(u64, u64)> = digests.iter().map(|(seed, digest)| (*seed, *digest)).collect();
    let flags = selection.flags();
    let check = |chunk: &[(u64, u64)]| -> io::Result<BTreeSet<u64>> {
        let mut other = Other::start(&["sim", "digests"], &flags)?;
        let mut diverged = BTreeSet::new();
        for (seed, digest) in chunk {
            other.say(&format!("{seed:#x}"))?;
            let line = other.line()?;
            if line.split(' ').nth(1) != Some(&format!("{digest:016x}")) {
                diverged.insert(*seed);
            }
        }
        other.end().map(|_| diverged)
    };
    let chunks: Vec<&[(u64, u64)]> = seeds.chunks(seeds.len().div_ceil(processes.max(1)).max(1)).collect();
    let results: Vec<io::Result<BTreeSet<u64>>> = std::thread::scope(|scope| {
        let checks: Vec<_> = chunks.into_iter().map(|chunk| scope.spawn(move || check(chunk))).collect();
        checks.into_iter().map(|check| check.join().expect("it catches what it runs")).collect()
    });
    results.into_iter().try_fold(BTreeSet::new(), |mut all, some| {
        all.append(&mut some?);
        Ok(all)
    })
}

/// Where two processes part on the way through one seed, in words.
pub(super) fn parting(selection: &Selection, seed: u64) -> io::Result<String> {
    let subject = format!("{seed:#x}");
    let parted = part([&subject, &subject], &selection.flags())?;
    Ok(parted.unwrap_or_else(|| "they part nowhere when they are walked side by side\n".to_string()))
}

/// Walks two subjects side by side, each in a process of its own. `None` if they end equal.
pub(crate) fn part(subjects: [&str; 2], flags: &str) -> io::Result<Option<String>> {
    let start = |subject: &str| Other::start(&["replay", subject, "--interactive", "--until", "0"], flags);
    let [mut left, mut right] = [start(subjects[0])?, start(subjects[1])?];
    // Each says first where it is: a line, and what comes next.
    let mut heads = [left.line()?, right.line()?];
    left.line()?;
    right.line()?;
    let mut steps = 0u64;
    while heads[0] == heads[1] {
        // A run that is over says so instead of another step.
        if heads[0].is_empty() || heads[0].starts_with("after event") && steps > 0 {
            return Ok(None);
        }
        left.say("step")?;
        right.say("step")?;
        heads = [left.line()?, right.line()?];
        steps += 1;
    }
    for other in [&mut left, &mut right] {
        for node in 1..=NODES_MAX {
            other.say(&format!("show n{node}"))?;
        }
    }
    let place = match steps {
        0 => "they differ from the beginning".to_string(),
        step => format!("first differing event {step}"),
    };
    let mut text = format!("{place}\n  first   {}\n  second  {}\n", heads[0], heads[1]);
    let (left, right) = (states(&left.end()?), states(&right.end()?));
    for (node, state) in &left {
        let other = right.get(node).map(String::as_str).unwrap_or_default();
        let fields = differences(state, other, FIELDS_MAX);
        if !fields.is_empty() {
            writeln!(text, "  {node} differs").expect("a string takes all");
        }
        for Difference { path, left, right } in fields {
            writeln!(text, "    {path}\n      first   {left}\n      second  {right}").expect("a string takes all");
        }
    }
    Ok(Some(text))
}

/// The sections of an interactive walk's output that show nodes.
fn states(output: &str) -> BTreeMap<String, String> {
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in output.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            current = head.split(' ').next().map(str::to_string);
        } else if let Some(node) = &current {
            let state = states.entry(node.clone()).or_default();
            state.push_str(line);
            state.push('\n');
        }
    }
    states
}
