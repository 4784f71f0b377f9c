//! What a sweep found, as a file that can be added to others: the same seeds give the same bytes, however they were
//! spread over threads, processes and machines.
//!
//! So nothing in here comes from a clock or from the order in which threads finished. Shards are added with
//! [`Tally::add`]; when all are in, the result is the tally of the sweep that was never split.

use crate::audit::Count;
use crate::hunt::{SeedResult, Summary};
use crate::oracle::Property;
use quorate_traces::VerdictWord;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The version of the form.
const SCHEMA: u32 = 1;
/// Failing seeds of one property that a report names.
const NAMED_MAX: usize = 50;

/// Which sweep: tallies of equal sweeps can be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// The version of this form.
    schema: u32,
    /// The commit of the build.
    pub commit: String,
    /// Fingerprint of the sources that decide what a run does.
    pub core: String,
    /// The scenario.
    pub scenario: String,
    /// The flags that select the same runs again.
    pub flags: String,
    /// The first seed.
    pub from: u64,
    /// The seed after the last.
    pub to: u64,
    /// Into how many shards it was split.
    pub shards: u64,
}

/// The result of a sweep, or of some of its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Of what.
    pub swept: Swept,
    /// Which shards are in.
    pub parts: BTreeSet<u64>,
    /// Seeds that were run.
    pub seeds: u64,
    /// Of these, how many did not end well, in order.
    pub bad: Vec<SeedResult>,
    /// Events of all runs.
    pub events: u64,
    /// Messages of all runs.
    pub deliveries: u64,
    /// Client operations of all runs.
    pub operations: u64,
    /// Virtual time of all runs, in microseconds.
    pub sim_time: u64,
    /// One number for all digests.
    #[serde(with = "quorate_traces::names::digest")]
    pub digest: u64,
    /// The seed with the most events, the first of equals; and how many.
    pub largest: (u64, u64),
    /// Seeds that were run again in another process.
    pub run_twice: u64,
    /// Those that came out otherwise.
    pub diverged: BTreeSet<u64>,
    /// For each kind of fault: planned, fired, mattered.
    pub faults: BTreeMap<String, Count>,
    /// The marks reached.
    pub marks: BTreeMap<String, u64>,
    /// It was stopped before its end.
    pub interrupted: bool,
}

impl Swept {
    /// A sweep over these seeds.
    pub fn new(
        commit: &str,
        core: &str,
        scenario: &str,
        flags: &str,
        seeds: std::ops::Range<u64>,
        shards: u64,
    ) -> Self {
        let (commit, core, scenario, flags) = (commit.into(), core.into(), scenario.into(), flags.into());
        Self { schema: SCHEMA, commit, core, scenario, flags, from: seeds.start, to: seeds.end, shards }
    }
}

impl Tally {
    /// The result of one shard. A sweep that was not split is its only one.
    pub fn new(swept: Swept, part: u64, summary: &Summary, run_twice: u64, diverged: BTreeSet<u64>) -> Self {
        let faults = summary.audit.kinds().filter(|(_, count)| *count != Count::default());
        let marks = summary.audit.marks();
        Self {
            swept,
            parts: BTreeSet::from([part]),
            seeds: summary.seeds,
            bad: summary.bad.clone(),
            events: summary.events,
            deliveries: summary.deliveries,
            operations: summary.operations,
            sim_time: summary.sim_time,
            digest: summary.digest,
            largest: summary.largest,
            run_twice,
            diverged,
            faults: faults.map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
            marks: marks.into_iter().map(|(mark, count)| (mark.to_owned(), count)).collect(),
            interrupted: summary.interrupted,
        }
    }

    /// Adds other shards of the same sweep. What is in already changes nothing.
    ///
    /// # Errors
    /// It is of another sweep, or only some of its shards are new; in words.
    pub fn add(&mut self, other: &Self) -> Result<(), String> {
        if self.swept != other.swept {
            return Err(format!("another sweep: {:?} is not {:?}", other.swept, self.swept));
        }
        if other.parts.is_subset(&self.parts) {
            return Ok(());
        }
        if !other.parts.is_disjoint(&self.parts) {
            return Err("some of its shards are in already, and some are not".to_owned());
        }
        self.parts.extend(&other.parts);
        self.seeds += other.seeds;
        self.bad.extend(other.bad.iter().cloned());
        self.bad.sort_by_key(|result| result.seed);
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.operations += other.operations;
        self.sim_time += other.sim_time;
        self.digest = self.digest.wrapping_add(other.digest);
        self.largest = crate::hunt::larger(self.largest, other.largest);
        self.run_twice += other.run_twice;
        self.diverged.extend(&other.diverged);
        for (kind, theirs) in &other.faults {
            let mine = self.faults.entry(kind.clone()).or_default();
            mine.planned += theirs.planned;
            mine.fired += theirs.fired;
            mine.mattered += theirs.mattered;
        }
        for (mark, count) in &other.marks {
            *self.marks.entry(mark.clone()).or_default() += count;
        }
        self.interrupted |= other.interrupted;
        Ok(())
    }

    /// The shards that are missing.
    pub fn missing(&self) -> Vec<u64> {
        (0..self.swept.shards).filter(|part| !self.parts.contains(part)).collect()
    }

    /// All shards are in: what is left is the tally of a sweep that was not split.
    pub fn whole(mut self) -> Self {
        assert!(self.missing().is_empty(), "every shard is in");
        self.swept.shards = 1;
        self.parts = BTreeSet::from([0]);
        self
    }

    /// Seeds that broke a promise.
    pub fn failures(&self) -> impl Iterator<Item = &SeedResult> {
        self.bad.iter().filter(|result| result.verdict == VerdictWord::Violation)
    }

    /// The file's form: JSON with keys in a fixed order.
    pub fn write(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// It is no tally, or of another version; in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let tally: Self = serde_json::from_str(text).map_err(|error| format!("not a sweep's report: {error}"))?;
        match tally.swept.schema {
            SCHEMA => Ok(tally),
            other => Err(format!("a report of form {other}; this program reads {SCHEMA}")),
        }
    }

    fn broken_by(&self, property: Property) -> Vec<&SeedResult> {
        let is_of = |result: &&SeedResult| {
            let signature = result.signature.as_deref().unwrap_or_default();
            signature.split(' ').next() == Some(property.name())
        };
        self.failures().filter(is_of).collect()
    }

    fn again(&self, seed: u64) -> String {
        format!("quorate sim{} --seed {seed:#x}", self.swept.flags)
    }

    /// JUnit's XML: the scenario is the suite, each property a case; failing seeds stand in the failure's text.
    pub fn junit(&self) -> String {
        let mut cases = String::new();
        let mut failed = 0;
        let mut case = |name: &str, title: String, lines: Vec<String>| {
            let name = escape(name);
            if lines.is_empty() {
                return writeln!(cases, "    <testcase classname=\"quorate.sim\" name=\"{name}\"/>").expect("a string");
            }
            failed += 1;
            let text = escape(&lines.join("\n"));
            let title = escape(&title);
            writeln!(cases, "    <testcase classname=\"quorate.sim\" name=\"{name}\">\n      <failure message=\"{title}\">{text}</failure>\n    </testcase>").expect("a string");
        };
        for property in Property::ALL {
            let broken = self.broken_by(property);
            let line = |result: &&SeedResult| {
                format!("{}  {}", self.again(result.seed), result.words.as_deref().unwrap_or_default())
            };
            let lines = broken.iter().take(NAMED_MAX).map(line).collect();
            case(property.name(), format!("broken in {} of {} seeds", broken.len(), self.seeds), lines);
        }
        let unknown = self.bad.iter().filter(|result| result.verdict == VerdictWord::Unknown);
        let unknown: Vec<String> = unknown.map(|result| self.again(result.seed)).take(NAMED_MAX).collect();
        case("verdict", "seeds without a verdict".to_owned(), unknown);
        let diverged = self.diverged.iter().map(|seed| self.again(*seed)).take(NAMED_MAX).collect();
        case("determinism", "seeds that came out otherwise the second time".to_owned(), diverged);
        let tests = Property::ALL.len() + 2;
        let suite = escape(&self.swept.scenario);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{tests}\" failures=\"{failed}\">\n  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failed}\">\n{cases}  </testsuite>\n</testsuites>\n"
        )
    }

    /// A block of Markdown: what a pull request's reader wants to know.
    pub fn markdown(&self) -> String {
        let Swept { commit, scenario, from, to, .. } = &self.swept;
        let failures = self.failures().count();
        let verdict = match (failures, self.diverged.len(), self.interrupted) {
            (0, 0, false) => "ok".to_owned(),
            (0, 0, true) => "interrupted".to_owned(),
            (_, 0, _) => format!("**{failures} violations**"),
            (_, diverged, _) => format!("**{diverged} seeds are not deterministic**, {failures} violations"),
        };
        let mut text = format!(
            "### quorate sim: {verdict}\n\n| scenario | seeds | run | events | operations | commit |\n|---|---|---|---|---|---|\n| {scenario} | {from}..{to} | {} | {} | {} | {} |\n",
            self.seeds,
            self.events,
            self.operations,
            commit.get(..7).unwrap_or(commit),
        );
        for (kind, results) in self.kinds() {
            let first = results[0];
            let words = first.words.as_deref().unwrap_or_default();
            write!(text, "\n- **{kind}** in {} seeds: {words}\n  `{}`\n", results.len(), self.again(first.seed))
                .expect("a string");
        }
        text
    }

    /// The failing seeds by the kind of their failure.
    pub fn kinds(&self) -> BTreeMap<&str, Vec<&SeedResult>> {
        let mut kinds: BTreeMap<&str, Vec<&SeedResult>> = BTreeMap::new();
        for result in self.failures() {
            kinds.entry(result.signature.as_deref().unwrap_or_default()).or_default().push(result);
        }
        kinds
    }
}

/// Text inside XML. Characters that XML cannot hold become a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('?'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::{News, Sweep, sweep};
    use crate::plan::{DrawOptions, Scenario};
    use std::sync::atomic::AtomicBool;

    fn tally(shard: (u64, u64), threads: usize) -> Tally {
        let options = DrawOptions::of(Scenario::UnsafeQuorum);
        let plan = Sweep { options, seeds: 0..48, shard, threads, failures_max: None };
        let summary = sweep(&plan, &AtomicBool::new(false), &|_: News<'_>| {});
        let swept = Swept::new("c", "k", "unsafe-quorum", " --scenario unsafe-quorum", 0..48, shard.1);
        Tally::new(swept, shard.0, &summary, 0, BTreeSet::new())
    }

    #[test]
    fn shards_in_any_order_are_the_sweep_that_was_not_split() {
        let whole = tally((0, 1), 1);
        assert!(whole.failures().count() > 0, "a scenario that fails");
        for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
            let mut merged = tally((order[0], 5), 2);
            for part in &order[1..] {
                assert!(!merged.missing().is_empty());
                merged.add(&Tally::read(&tally((*part, 5), 2).write()).unwrap()).unwrap();
                merged.add(&tally((*part, 5), 1)).expect("what is in already changes nothing");
            }
            let merged = merged.whole();
            assert_eq!(merged.write(), whole.write());
            assert_eq!((merged.junit(), merged.markdown()), (whole.junit(), whole.markdown()));
        }
    }

    #[test]
    fn other_sweeps_are_refused() {
        let mut mine = tally((0, 2), 1);
        let mut other = tally((1, 2), 1);
        other.swept.commit = "d".to_owned();
        assert!(mine.add(&other).is_err());
        assert_eq!(mine.missing(), [1]);
        assert!(Tally::read("{}").is_err());
        assert!(Tally::read(&mine.write().replace("\"schema\": 1", "\"schema\": 2")).is_err());
    }

    #[test]
    fn xml_holds_what_it_is_given() {
        let mut tally = tally((0, 1), 1);
        tally.bad[0].words = Some("a < b & \"c\"\u{1}".to_owned());
        let xml = tally.junit();
        assert!(xml.contains("a &lt; b &amp; &quot;c&quot;?"), "{xml}");
        assert_eq!(xml.matches("<testcase").count(), Property::ALL.len() + 2);
    }
}
