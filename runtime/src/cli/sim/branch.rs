//! `quorate sim branch TRACE@STEP`: other futures of one moment of a run.
//!
//! With `--seeds` the same past has so many futures with other luck; with `--set` one thing is made otherwise, and the
//! question is whether it still fails.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::str::FromStr;

use clap::Args;
use quorate_core::id::NodeId;
use quorate_sim::plan::Scenario;
use quorate_sim::{Change, EVENTS_MAX, Journey, Met, Report, Session};
use serde_json::{Value, json};

use super::select::{self, Faults, Selection, Setting, Subject};
use crate::cli::console::{Console, Format, ResultFile};
use crate::cli::exit::{Ended, Exit, Failure};
use crate::cli::walk::{Place, walk_to};
use crate::cli::{panics, units};

/// Futures with other luck, if neither seeds nor changes are named.
const SEEDS: Range<u64> = 0..16;
/// How long a node is down, stands still or is cut off if nothing else is said.
const LENGTH: u64 = 100_000;

/// Run other futures of one moment: with other luck, or with one thing changed
#[derive(Args, Debug)]
pub(crate) struct Branch {
    /// A trace, a snapshot or a seed, and the event or the time to branch at: run.trace.jsonl@812, 0x1b2c@1.5s
    #[arg(value_parser = Point::from_str, value_name = "TRACE@STEP")]
    point: Point,
    /// What kind of run a seed is; see `quorate sim list`
    #[arg(long, default_value = "default", value_parser = select::scenario, value_name = "NAME")]
    scenario: Scenario,
    /// Kinds of faults that a seed may draw
    #[arg(long, default_value = "all", value_parser = Faults::from_str, value_name = "LIST")]
    faults: Faults,
    /// Draw chance anew from each of these seeds (16 of them if nothing is changed)
    #[arg(long, value_parser = select::seeds, value_name = "A..B")]
    seeds: Option<Range<u64>>,
    /// Make one thing otherwise: 'drop n4>n3/Store#7', 'delay n4>n3/Store#7 50ms', 'crash n2', 'pause n2 1s', 'cut n2
    /// 1s', heal. For a seed also what it would draw: nodes=5, ops=200
    #[arg(long, value_parser = Set::from_str, value_name = "CHANGE")]
    set: Vec<Set>,
    #[command(flatten)]
    file: ResultFile,
}

/// What `--set` can say here.
#[derive(Clone, Debug)]
enum Set {
    Setting(Setting),
    Change(Change),
}

impl FromStr for Set {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains('=') {
            true => text.parse().map(Set::Setting),
            false => change(text).map(Set::Change),
        }
    }
}

/// A moment of a run.
#[derive(Clone, Debug)]
struct Point {
    subject: Subject,
    place: Place,
}

impl FromStr for Point {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (subject, place) = text.rsplit_once('@').ok_or_else(|| format!("'{text}': write TRACE@STEP"))?;
        Ok(Point { subject: subject.parse()?, place: place.parse()? })
    }
}

/// One thing made otherwise, as people write it.
fn change(text: &str) -> Result<Change, String> {
    const WRONG: &str = "write 'drop MESSAGE', 'delay MESSAGE 50ms', 'crash n2', 'pause n2 1s', 'cut n2 1s' or 'heal'";
    let words: Vec<&str> = text.split_whitespace().collect();
    let node = |word: &str| {
        let number = word.strip_prefix('n').and_then(|digits| digits.parse().ok()).filter(|number| *number > 0);
        number.map(NodeId).ok_or_else(|| format!("'{word}' is no node; write n1, n2, ..."))
    };
    let length = |word: Option<&&str>| match word {
        Some(word) => units::duration(word).map(|time| time.as_micros() as u64),
        None => Ok(LENGTH),
    };
    match (words.first().copied(), words.get(1).copied(), words.len()) {
        (Some("drop"), Some(message), 2) => Ok(Change::Drop(message.parse::<quorate_traces::MessageName>()?)),
        (Some("delay"), Some(message), 2 | 3) => {
            Ok(Change::Delay(message.parse::<quorate_traces::MessageName>()?, length(words.get(2))?))
        }
        (Some("crash"), Some(named), 2 | 3) => Ok(Change::Crash(node(named)?, length(words.get(2))?)),
        (Some("pause"), Some(named), 2 | 3) => Ok(Change::Pause(node(named)?, length(words.get(2))?)),
        (Some("cut"), Some(named), 2 | 3) => Ok(Change::Cut(node(named)?, length(words.get(2))?)),
        (Some("heal"), None, 1) => Ok(Change::Heal),
        _ => Err(format!("'{text}' is no change; {WRONG}")),
    }
}

/// One future: how it differs, and what it came to.
struct Future {
    words: String,
    report: Report,
}

impl Branch {
    pub(super) fn run(&self, console: &Console) -> Ended {
        panics::quiet();
        let (mut settings, mut changes) = (Vec::new(), Vec::new());
        for set in &self.set {
            match set {
                Set::Setting(setting) => settings.push(*setting),
                Set::Change(change) => changes.push(change.clone()),
            }
        }
        let selection = Selection { scenario: self.scenario, faults: self.faults.clone(), set: settings };
        let (session, _) = selection.begin(&self.point.subject)?;
        let mut journey = Journey::new(session);
        walk_to(&mut journey, self.point.place);
        let here = journey.into_session();
        if here.next_moment().is_none() {
            let error = anyhow::anyhow!("the run is over after {} events: it has no other future there", here.events());
            return Err(Failure { exit: Exit::NothingRun, error });
        }
        let nodes = here.nodes();
        for change in &changes {
            if let Change::Crash(node, _) | Change::Pause(node, _) | Change::Cut(node, _) = change
                && node.0 > nodes
            {
                return Err(Failure::usage(format!("this cluster has n1 to n{nodes}")));
            }
        }
        let futures = self.futures(&here, &changes);
        let text = match console.format {
            Format::Text => text(&here, &futures, console),
            Format::Json | Format::Jsonl => format!("{}\n", object(&here, &futures)),
        };
        console.print(&self.file, &text)?;
        // The first one is the run as it was.
        let fails = futures.iter().skip(1).any(|future| future.report.first().is_some());
        Ok(if fails { Exit::Violation } else { Exit::Ok })
    }

    fn futures(&self, here: &Session, changes: &[Change]) -> Vec<Future> {
        let end = |mut session: Session| {
            session.walk_to(EVENTS_MAX);
            session.report()
        };
        let mut changed = here.clone();
        let met = |met| match met {
            Met::Now => "",
            Met::OnItsWay => " (on its way)",
            Met::Ahead => " (when it is sent)",
        };
        let words: Vec<String> =
            changes.iter().map(|change| format!("{}{}", show(change), met(changed.change(change)))).collect();
        let words = words.join(", ");
        let mut futures = vec![Future { words: "as it was".to_string(), report: end(here.clone()) }];
        let seeds = self.seeds.clone().unwrap_or(if words.is_empty() { SEEDS } else { 0..0 });
        if self.seeds.is_none() && !words.is_empty() {
            futures.push(Future { words: words.clone(), report: end(changed.clone()) });
        }
        for seed in seeds {
            let mut branch = changed.clone();
            branch.reseed(seed);
            let words = if words.is_empty() { String::new() } else { format!(", {words}") };
            futures.push(Future { words: format!("seed {seed:#x}{words}"), report: end(branch) });
        }
        futures
    }
}

fn show(change: &Change) -> String {
    match change {
        Change::Drop(message) => format!("drop {message}"),
        Change::Delay(message, by) => format!("delay {message} {by}us"),
        Change::Crash(node, length) => format!("crash {node} {length}us"),
        Change::Pause(node, length) => format!("pause {node} {length}us"),
        Change::Cut(node, length) => format!("cut {node} {length}us"),
        Change::Heal => "heal".to_string(),
    }
}

/// How many of the other futures broke which property.
fn broken(futures: &[Future]) -> BTreeMap<&'static str, usize> {
    let mut broken = BTreeMap::new();
    for violation in futures.iter().skip(1).filter_map(|future| future.report.first()) {
        *broken.entry(violation.property.name()).or_default() += 1;
    }
    broken
}

fn text(here: &Session, futures: &[Future], console: &Console) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    let now = here.now();
    line(format!("from event {} at {}.{:06}s", here.events(), now / 1_000_000, now % 1_000_000));
    if let Some(next) = here.next_moment() {
        line(format!("next {next}"));
    }
    let widest = futures.iter().map(|future| future.words.chars().count()).max().unwrap_or(0);
    for Future { words, report } in futures {
        let verdict = match report.first() {
            Some(violation) => format!("{} broken: {}", violation.property.name(), violation.words),
            None => "ok".to_string(),
        };
        line(format!("  {words:widest$}  {:>6} events  q:{:016x}  {verdict}", report.events, report.digest));
    }
    let (all, broken) = (futures.len() - 1, broken(futures));
    let count: usize = broken.values().sum();
    let kinds: Vec<String> = broken.iter().map(|(property, count)| format!("{property} {count}")).collect();
    let last = match count {
        0 => format!("OK  none of {all} other futures fails"),
        _ => format!("FAIL  {count} of {all} other futures fail: {}", kinds.join(", ")),
    };
    line(console.verdict(&last));
    text
}

fn object(here: &Session, futures: &[Future]) -> Value {
    let future = |Future { words, report }: &Future| {
        json!({
            "change": words, "verdict": report.verdict, "events": report.events,
            "property": report.first().map(|violation| violation.property.name()),
            "digest": format!("q:{:016x}", report.digest),
        })
    };
    json!({
        "schema": "quorate.branch/1", "step": here.events(), "at": here.now(), "broken": broken(futures),
        "futures": futures.iter().map(future).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_points_read_as_people_write_them() {
        for (text, written) in [
            ("drop n4>n3/Store#7", "drop n4>n3/Store#7"),
            ("delay n4>n3/Store#7 50ms", "delay n4>n3/Store#7 50000us"),
            ("crash n2", "crash n2 100000us"),
            ("pause n1 1s", "pause n1 1000000us"),
            ("heal", "heal"),
        ] {
            assert_eq!(change(text).map(|change| show(&change)), Ok(written.to_string()));
        }
        for text in ["", "drop", "drop m1044", "crash 2", "crash n0", "pause n1 soon", "heal n1", "crash n1 1s 1s"] {
            assert!(change(text).is_err(), "{text}");
        }
        assert_eq!("a@b.trace.jsonl@12".parse::<Point>().map(|point| point.place), Ok(Place::Step(12)));
        assert!("7".parse::<Point>().is_err());
    }
}
