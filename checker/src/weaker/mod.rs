//! Weaker levels on the same input: which promise does hold?
//!
//! linearizable > sequential > causal convergence > causal > the four session guarantees > no value out of thin air.
//! Per key: linearizability, per-key sequential consistency (below sequential, beside causal), and how stale reads were
//! ([`staleness`]). Over the whole history: the rest, from session order and from which write each answer shows. Where an answer could show several writes, the levels that need to
//! know are unknown. Convergence and lost writes are judged from final dumps ([`eventual`]).

mod causal;
pub mod eventual;
mod per_key;
mod relation;
mod sequential;
mod session;
pub mod staleness;

use std::fmt::Write;

use crate::check::{Options, Report, Verdict};
use crate::history::{History, OperationId};
use crate::render::put_operation;
use crate::timeline::timeline;
use crate::write::put_text;
use relation::{Relation, Unrelated};
pub use staleness::Staleness;

/// A promise about a whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One order that respects real time explains every answer.
    Linearizable,
    /// One order that respects each client's own order explains every answer.
    Sequential,
    /// Causal, and all agree on one order of the writes of a key (CCv).
    CausalConvergence,
    /// No answer misses what causally came before it (CC).
    Causal,
    /// For each key one order that respects each client's own order (coherence).
    PerKeySequential,
    /// A client sees its own writes.
    ReadYourWrites,
    /// A client never reads something older than it has read.
    MonotonicReads,
    /// The writes of one client are seen in its order.
    MonotonicWrites,
    /// A write is seen only together with what its client had read before.
    WritesFollowReads,
    /// Every value read was written.
    NoThinAir,
}

/// From the strongest down.
const ALL: [Level; 10] = [
    Level::Linearizable,
    Level::Sequential,
    Level::CausalConvergence,
    Level::Causal,
    Level::PerKeySequential,
    Level::ReadYourWrites,
    Level::MonotonicReads,
    Level::MonotonicWrites,
    Level::WritesFollowReads,
    Level::NoThinAir,
];

impl Level {
    /// The name used in output.
    pub fn name(self) -> &'static str {
        match self {
            Level::Linearizable => "linearizable",
            Level::Sequential => "sequential",
            Level::CausalConvergence => "causal-convergence",
            Level::Causal => "causal",
            Level::PerKeySequential => "per-key-sequential",
            Level::ReadYourWrites => "read-your-writes",
            Level::MonotonicReads => "monotonic-reads",
            Level::MonotonicWrites => "monotonic-writes",
            Level::WritesFollowReads => "writes-follow-reads",
            Level::NoThinAir => "eventual",
        }
    }

    /// The level of that name. `session` names the weakest chain of the four guarantees, so all of them are asked.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "session" => Some(Level::WritesFollowReads),
            "ccv" => Some(Level::CausalConvergence),
            "coherence" => Some(Level::PerKeySequential),
            other => ALL.into_iter().find(|level| level.name() == other),
        }
    }

    fn is_session(self) -> bool {
        matches!(
            self,
            Level::ReadYourWrites | Level::MonotonicReads | Level::MonotonicWrites | Level::WritesFollowReads
        )
    }
}

/// What was found out about one level.
#[derive(Clone, Debug)]
pub struct LevelReport {
    /// Which level.
    pub level: Level,
    /// Does it hold?
    pub verdict: Verdict,
    /// Why not, or why nobody knows.
    pub words: String,
    /// The operations that show that it does not hold.
    pub operations: Vec<OperationId>,
}

impl LevelReport {
    fn ok(level: Level) -> Self {
        LevelReport { level, verdict: Verdict::Ok, words: String::new(), operations: Vec::new() }
    }

    fn unknown(level: Level, words: &str) -> Self {
        LevelReport { level, verdict: Verdict::Unknown, words: words.to_string(), operations: Vec::new() }
    }

    fn violation(level: Level, broken: Broken) -> Self {
        LevelReport { level, verdict: Verdict::Violation, words: broken.words, operations: broken.operations }
    }
}

/// A level does not hold: why, and which operations show it.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) words: String,
    pub(crate) operations: Vec<OperationId>,
}

/// The levels of one history, from the strongest down.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// What was asked, in order.
    pub levels: Vec<LevelReport>,
    /// How stale the reads were, key by key taken together.
    pub staleness: Option<Staleness>,
}

impl Ladder {
    /// The verdict on one level; for a session guarantee that of all four.
    pub fn verdict(&self, asked: Level) -> Verdict {
        let wanted = |report: &&LevelReport| report.level == asked || asked.is_session() && report.level.is_session();
        self.levels.iter().filter(wanted).map(|report| report.verdict).max().unwrap_or(Verdict::Unknown)
    }

    /// The strongest level that holds. The session guarantees have no order among themselves.
    pub fn strongest(&self) -> Option<Level> {
        self.levels.iter().find(|report| report.verdict == Verdict::Ok).map(|report| report.level)
    }

    /// The first level, from the top, that does not hold.
    pub fn first_broken(&self) -> Option<&LevelReport> {
        self.levels.iter().find(|report| report.verdict == Verdict::Violation)
    }

    pub(crate) fn text(&self, history: &History) -> String {
        let mut text = String::from("levels\n");
        let mut drawn: &[OperationId] = &[];
        for report in &self.levels {
            let words = if report.words.is_empty() { String::new() } else { format!("  {}", report.words) };
            let line = format!("  {:<20} {:<9}{words}", report.level.name(), report.verdict.name());
            let _ = writeln!(text, "{}", line.trim_end());
            // A violation of linearizability has its own picture already, and one picture may do for several levels.
            if report.level == Level::Linearizable {
                drawn = &report.operations;
            } else if report.verdict == Verdict::Violation && drawn != report.operations {
                drawn = &report.operations;
                for line in timeline(history, &drawn[..drawn.len().min(DRAWN_MAX)]).lines() {
                    let _ = writeln!(text, "      {line}");
                }
            }
        }
        if let Some(staleness) = &self.staleness {
            text.push_str(&staleness.text(history.clock()));
        }
        text
    }

    pub(crate) fn json(&self, history: &History) -> String {
        let mut json = String::from("{\"strongest\":");
        match self.strongest() {
            Some(level) => put_text(level.name(), &mut json),
            None => json.push_str("null"),
        }
        json.push_str(",\"each\":[");
        for (at, report) in self.levels.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (level, verdict) = (report.level.name(), report.verdict.name());
            let _ = write!(json, "{comma}{{\"level\":\"{level}\",\"verdict\":\"{verdict}\",\"words\":");
            put_text(&report.words, &mut json);
            json.push_str(",\"operations\":[");
            for (at, id) in report.operations.iter().take(100).enumerate() {
                if at > 0 {
                    json.push(',');
                }
                put_operation(history, *id, &mut json);
            }
            json.push_str("]}");
        }
        json.push(']');
        if let Some(staleness) = &self.staleness {
            json.push_str(",\"staleness\":");
            json.push_str(&staleness.json());
        }
        json.push('}');
        json
    }
}

/// Operations drawn for one level.
const DRAWN_MAX: usize = 12;

/// Judges one level (and those it stands on).
pub fn check_level(history: &History, report: &Report, options: &Options, level: Level) -> Ladder {
    let wanted = |other: Level| other == level || level.is_session() && other.is_session();
    judge(history, report, options, &wanted, false)
}

/// Judges every level.
pub fn ladder(history: &History, report: &Report, options: &Options) -> Ladder {
    judge(history, report, options, &|_| true, true)
}

fn judge(
    history: &History,
    report: &Report,
    options: &Options,
    wanted: &dyn Fn(Level) -> bool,
    staleness: bool,
) -> Ladder {
    let relation = Relation::new(history, options);
    let levels = ALL.into_iter().filter(|level| wanted(*level)).map(|level| match (&relation, level) {
        (_, Level::Linearizable) => linearizable(history, report),
        (Err(Unrelated::ThinAir(broken)), _) => LevelReport::violation(level, broken.clone()),
        (Err(Unrelated::Unknown(_)), Level::NoThinAir) => LevelReport::ok(level),
        // What is linearizable keeps every weaker promise, whichever write each answer shows.
        (Err(Unrelated::Unknown(words)), _) => {
            if report.verdict == Verdict::Ok && strict_only(history) {
                LevelReport::ok(level)
            } else {
                LevelReport::unknown(level, words)
            }
        }
        (Ok(relation), level) => {
            let found = judge_related(history, report, options, relation, level);
            let certain = report.verdict == Verdict::Ok && strict_only(history) || level == Level::NoThinAir;
            if found.verdict == Verdict::Ok && relation.leaves_out > 0 && !certain {
                LevelReport::unknown(level, "a failed swap did not say what it saw")
            } else {
                found
            }
        }
    });
    let levels = levels.collect();
    let staleness = staleness.then(|| staleness::measure(history, options));
    Ladder { levels, staleness }
}

/// Were all reads held to linearizability?
fn strict_only(history: &History) -> bool {
    !history.operations().iter().any(|operation| operation.level.is_eventual())
}

fn linearizable(history: &History, report: &Report) -> LevelReport {
    let level = Level::Linearizable;
    match (report.verdict, report.first_violation(history)) {
        (Verdict::Ok, _) => LevelReport::ok(level),
        (Verdict::Violation, Some(violation)) => {
            let (words, operations) = (violation.words.clone(), violation.operations.clone());
            LevelReport::violation(level, Broken { words, operations })
        }
        (Verdict::Violation, None) | (Verdict::Unknown, _) => LevelReport::unknown(level, "the budget ended"),
    }
}

fn judge_related(
    history: &History,
    report: &Report,
    options: &Options,
    relation: &Relation<'_>,
    level: Level,
) -> LevelReport {
    let of = |result: Result<(), Broken>| match result {
        Ok(()) => LevelReport::ok(level),
        Err(broken) => LevelReport::violation(level, broken),
    };
    match level {
        Level::Linearizable => linearizable(history, report),
        Level::Sequential if report.verdict == Verdict::Ok && strict_only(history) => LevelReport::ok(level),
        Level::Sequential => match causal::convergence(relation, options) {
            Some(Err(broken)) => LevelReport::violation(level, broken),
            // Without the cheap test the search alone decides.
            None | Some(Ok(())) => match sequential::judge(relation, options) {
                Some(Ok(())) => LevelReport::ok(level),
                Some(Err(broken)) => LevelReport::violation(level, broken),
                None => LevelReport::unknown(level, "the budget ended"),
            },
        },
        Level::CausalConvergence => match causal::convergence(relation, options) {
            Some(result) => of(result),
            None => LevelReport::unknown(level, "the budget of memory ended"),
        },
        Level::Causal => of(causal::causal(relation)),
        Level::PerKeySequential => of(per_key::judge(relation)),
        Level::ReadYourWrites => of(session::read_your_writes(relation)),
        Level::MonotonicReads => of(session::monotonic_reads(relation)),
        Level::MonotonicWrites => of(session::monotonic_writes(relation)),
        Level::WritesFollowReads => of(session::writes_follow_reads(relation)),
        Level::NoThinAir => LevelReport::ok(level),
    }
}
