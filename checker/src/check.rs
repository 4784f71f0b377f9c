//! The front door: judge a history, key by key.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rayon::prelude::*;

use crate::certificate::{Identity, Key, Refusal};
use crate::cluster::{Clusters, Role, Rules, Trouble, role};
use crate::history::{History, KeyId, Kind, OperationId, Outcome, Time};
use crate::model::ModelKind;
use crate::register::{self, Conflict};
use crate::sweep::{self, Swept};
use crate::{Value, explain, inequality, search};

/// What a failed compare-and-set tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedCas {
    /// At some moment of its interval the key held another value than the expected one.
    #[default]
    Mismatch,
    /// It never happened and tells nothing: Jepsen's `:fail`.
    Never,
}

/// What a search may use. It answers unknown rather than use more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// States looked at per key. Deterministic, so the one to use where a run must repeat exactly.
    pub states: u64,
    /// Bytes held at once, over all keys that are judged at the same time. In a run over files the history itself counts
    /// too.
    pub bytes: usize,
    /// Wall time over the whole history; `None` for no limit.
    pub time: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { states: u64::MAX, bytes: 2 << 30, time: Some(Duration::from_secs(60)) }
    }
}

/// How to judge.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which object the keys are.
    pub model: ModelKind,
    /// What every key holds before the first write.
    pub init: Value,
    /// What a failed compare-and-set tells.
    pub failed_cas: FailedCas,
    /// Keep witness orders in the report: four bytes an operation.
    pub certificates: bool,
    /// What a search may use.
    pub budget: Budget,
    /// Judge keys on several threads. Off, everything happens on the caller's thread.
    pub parallel: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            model: ModelKind::Auto,
            init: Value::Absent,
            failed_cas: FailedCas::Mismatch,
            certificates: false,
            budget: Budget::default(),
            parallel: true,
        }
    }
}

impl Options {
    /// For judging inside a deterministic run: one thread, no clock, a budget in states.
    pub fn deterministic(states: u64) -> Self {
        Options { budget: Budget { states, bytes: 256 << 20, time: None }, parallel: false, ..Options::default() }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules { init: self.init.clone(), failed_cas: self.failed_cas, eventual_too: false }
    }
}

/// The answer, for one key or for a whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Some order explains every answer.
    Ok,
    /// The budget ended before an answer was found.
    Unknown,
    /// No order explains every answer.
    Violation,
}

impl Verdict {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Unknown => "unknown",
            Verdict::Violation => "violation",
        }
    }

    /// The exit code of the command line: 0, 1 or 3.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Violation => 1,
            Verdict::Unknown => 3,
        }
    }
}

/// What kind of violation it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// An answer shows a value that nobody wrote.
    NeverWritten,
    /// An answer shows a value whose only write definitely failed.
    AbortedRead,
    /// Two compare-and-sets both replaced the same write.
    SwappedTwice,
    /// Compare-and-sets that only stand on each other.
    SwapCycle,
    /// An operation was over before one began that must come first.
    Torn,
    /// Two groups of operations must each come before the other.
    Overlap,
    /// A search tried every order.
    NoOrder,
}

impl Anomaly {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::NeverWritten => "never-written",
            Anomaly::AbortedRead => "aborted-read",
            Anomaly::SwappedTwice => "swapped-twice",
            Anomaly::SwapCycle => "swap-cycle",
            Anomaly::Torn => "torn",
            Anomaly::Overlap => "overlap",
            Anomaly::NoOrder => "no-order",
        }
    }
}

/// A key that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: KeyId,
    /// What kind of violation.
    pub anomaly: Anomaly,
    /// Operations that cannot be ordered, the telling ones first. From the near-linear judge they are few and all
    /// needed; from a search they are those that it had before it gave up, until minimised.
    pub operations: Vec<OperationId>,
    /// The same in one sentence.
    pub words: String,
}

/// Why a key stayed unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Which budget ended.
    pub budget: &'static str,
    /// Everything that returned up to this time has an order.
    pub proven_until: i64,
    /// Operations that were open where the search got stuck.
    pub window: Vec<OperationId>,
}

/// How a key was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Every answer named its write: near-linear.
    Zones,
    /// A search over orders.
    Search,
}

impl Method {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Method::Zones => "zones",
            Method::Search => "search",
        }
    }
}

/// What was found out about one key.
#[derive(Clone, Debug)]
pub struct KeyReport {
    /// The key.
    pub key: KeyId,
    /// How many operations it has.
    pub operations: usize,
    /// Which object it was judged as.
    pub model: ModelKind,
    /// The answer.
    pub verdict: Verdict,
    /// How it was found.
    pub method: Method,
    /// How answers were tied to writes.
    pub identity: Identity,
    /// States that a search looked at.
    pub states: u64,
    /// One order that explains every answer, if asked for and found.
    pub witness: Option<Vec<OperationId>>,
    /// Why no order explains every answer.
    pub violation: Option<Violation>,
    /// Why there is no answer.
    pub blocked: Option<Blocked>,
}

/// What was found out about a history.
#[derive(Clone, Debug)]
pub struct Report {
    /// The worst verdict of all keys.
    pub verdict: Verdict,
    /// One report per key, in order of key.
    pub keys: Vec<KeyReport>,
    /// How many operations were judged.
    pub operations: usize,
}

impl Report {
    /// The violations, in order of key.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.keys.iter().filter_map(|key| key.violation.as_ref())
    }

    /// The first violation by time of its last return: what a reader wants to see first.
    pub fn first_violation(&self, history: &History) -> Option<&Violation> {
        let end = |violation: &Violation| {
            violation.operations.iter().map(|id| history.operation(*id).end()).filter(|end| *end < i64::MAX).max()
        };
        self.violations().min_by_key(|violation| (end(violation), violation.key))
    }
}

/// Judges every key of a history.
pub fn check_history(history: &History, options: &Options) -> Report {
    check_history_with(history, options, &|_, _| {})
}

/// Judges every key of a history and tells how many of how many keys are done.
pub fn check_history_with(history: &History, options: &Options, done: &(dyn Fn(usize, usize) + Sync)) -> Report {
    let rules = options.rules();
    // Small histories are judged faster than threads are woken.
    const PARALLEL_OPERATIONS_MIN: usize = 20_000;
    let parallel = options.parallel && history.len() >= PARALLEL_OPERATIONS_MIN;
    let by_key = history.by_key();
    let count = by_key.keys() as u32;
    // Keys that are judged at the same time share the memory.
    let at_once = if parallel { rayon::current_num_threads().clamp(1, by_key.keys().max(1)) } else { 1 };
    let clock = search::Clock::start(Budget { bytes: options.budget.bytes / at_once, ..options.budget });
    let finished = AtomicUsize::new(0);
    let judge = |key: u32| {
        let report = judge_key(history, KeyId(key), by_key.of(KeyId(key)), &rules, options, &clock);
        done(finished.fetch_add(1, Ordering::Relaxed) + 1, count as usize);
        report
    };
    let keys: Vec<KeyReport> =
        if parallel { (0..count).into_par_iter().map(judge).collect() } else { (0..count).map(judge).collect() };
    let verdict = keys.iter().map(|key| key.verdict).max().unwrap_or(Verdict::Ok);
    Report { verdict, keys, operations: history.len() }
}

fn judge_key(
    history: &History,
    key: KeyId,
    ids: &[OperationId],
    rules: &Rules,
    options: &Options,
    clock: &search::Clock,
) -> KeyReport {
    let mut report = KeyReport {
        key,
        operations: ids.len(),
        model: options.model,
        verdict: Verdict::Ok,
        method: Method::Zones,
        identity: Identity::Value,
        states: 0,
        witness: None,
        violation: None,
        blocked: None,
    };
    let kind = match options.model {
        // A text that nobody appends to is a register.
        ModelKind::Auto | ModelKind::Kv => ModelKind::suggested(history, ids),
        asked => asked,
    };
    report.model = kind;
    if kind == ModelKind::Register {
        judge_register(history, ids, rules, options, clock, &mut report);
    } else {
        search_key(history, ids, rules, options, clock, &mut report);
    }
    report
}

fn judge_register(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    options: &Options,
    clock: &search::Clock,
    report: &mut KeyReport,
) {
    match Clusters::of_key(history, ids, rules) {
        Ok(clusters) => {
            report.identity = clusters.identity;
            match judge_zones(history, ids, &clusters, rules, options, report) {
                Ok(true) => return,
                Ok(false) => return search_key(history, ids, rules, options, clock, report),
                Err(_) if clusters.is_guessed => {}
                Err(conflict) => {
                    let key = Key::new(history, ids, rules, ModelKind::Register, clusters.identity);
                    return report.fail(history, shrunk(history, conflict, rules, &key));
                }
            }
        }
        Err(Trouble::NeverWritten(path)) => return report.fail(history, never_written(history, ids, path, rules)),
        Err(Trouble::Ambiguous(_)) => {}
    }
    // Some value was written more than once. Perhaps never at one time. A sweep holds no more than a search.
    let fits = ids.len().saturating_mul(search::CALL_BYTES) <= clock.budget.bytes;
    let swept = if fits { sweep::attribute(history, ids, rules) } else { Swept::Undecided };
    if let Swept::Clusters(clusters) = &swept {
        report.identity = clusters.identity;
        if let Ok(true) = judge_zones(history, ids, clusters, rules, options, report) {
            return;
        }
    }
    search_key(history, ids, rules, options, clock, report);
    let versions = || ids.iter().any(|id| history.operation(*id).version().is_some());
    if let (Verdict::Unknown, Swept::Illegal(id, stop)) = (report.verdict, swept)
        && !versions()
    {
        let others = stop.others.into_iter().filter(|other| *other != u64::MAX).map(|other| other as OperationId);
        let mut operations = vec![id];
        operations.extend(others.filter(|other| *other != id));
        report.blocked = None;
        report.fail(history, Conflict { anomaly: stop.anomaly, operations });
    }
}

/// Judges by zones. False where the zones hold but a failed call finds no place: a search must decide.
fn judge_zones(
    history: &History,
    ids: &[OperationId],
    clusters: &Clusters,
    rules: &Rules,
    options: &Options,
    report: &mut KeyReport,
) -> Result<bool, Conflict> {
    let wanted = options.certificates || !clusters.inequalities.is_empty();
    let mut order = register::judge(history, ids, clusters, wanted)?;
    if !clusters.inequalities.is_empty() {
        match inequality::insert(history, &order, &clusters.inequalities, rules) {
            Some(fitted) => order = fitted,
            None => return Ok(false),
        }
    }
    report.witness = options.certificates.then_some(order);
    Ok(true)
}

/// Leaves out what is not needed. What an answer shows stays with it, so a part that still has no order speaks for the
/// whole key.
fn shrunk(history: &History, mut conflict: Conflict, rules: &Rules, key: &Key<'_>) -> Conflict {
    // Longer ones are chains of swaps, which stand on each other.
    const SHRUNK_MAX: usize = 32;
    // Two swaps of one write are told as two, even where one of them would be wrong alone.
    if conflict.anomaly != Anomaly::Overlap {
        return conflict;
    }
    let mut at = 0;
    while at < conflict.operations.len() && conflict.operations.len() <= SHRUNK_MAX {
        let mut without = conflict.operations.clone();
        without.remove(at);
        let mut sorted = without.clone();
        sorted.sort_unstable();
        let still = match Clusters::of_key(history, &sorted, rules) {
            Ok(clusters) if key.missing_from(&sorted).is_none() => {
                register::judge(history, &sorted, &clusters, false).is_err()
            }
            _ => false,
        };
        if still {
            conflict.operations = without;
        } else {
            at += 1;
        }
    }
    conflict
}

/// An answer without a write: was there one that definitely failed?
fn never_written(history: &History, ids: &[OperationId], mut path: Vec<OperationId>, rules: &Rules) -> Conflict {
    let last = *path.last().expect("a path begins with an observer");
    let value = match role(history, last, rules) {
        Role::Observe(value) | Role::Swap(value, _) => value,
        Role::Nothing | Role::Write(_) | Role::Differ(_) => unreachable!("only observers miss a write"),
    };
    let aborted = ids.iter().copied().find(|other| {
        let other = history.operation(*other);
        other.outcome == Outcome::Fail && matches!(other.kind, Kind::Write | Kind::Cas) && other.value == *value
    });
    path.dedup();
    path.reverse();
    let anomaly = if aborted.is_some() { Anomaly::AbortedRead } else { Anomaly::NeverWritten };
    // A failed write constrains nothing, but it belongs to the story.
    path.splice(1..1, aborted);
    Conflict { anomaly, operations: path }
}

fn search_key(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    options: &Options,
    clock: &search::Clock,
    report: &mut KeyReport,
) {
    report.method = Method::Search;
    report.identity = Identity::Value;
    let found = match search::key(history, ids, rules, report.model, options.parallel, clock) {
        Ok(found) => found,
        Err(id) => {
            let budget = "a call that the model does not know";
            report.verdict = Verdict::Unknown;
            report.blocked = Some(Blocked { budget, proven_until: Time::MIN, window: vec![id] });
            return;
        }
    };
    report.states = found.states;
    match found.answer {
        search::Answer::Ok(witness) => report.witness = options.certificates.then_some(witness),
        search::Answer::Violation(operations) => {
            let operations = Key::new(history, ids, rules, report.model, Identity::Value).closed(operations);
            report.fail(history, Conflict { anomaly: Anomaly::NoOrder, operations });
        }
        search::Answer::Unknown(blocked) => {
            report.verdict = Verdict::Unknown;
            report.blocked = Some(blocked);
        }
    }
}

impl KeyReport {
    fn fail(&mut self, history: &History, conflict: Conflict) {
        self.verdict = Verdict::Violation;
        self.violation = Some(Violation {
            key: self.key,
            anomaly: conflict.anomaly,
            words: explain::words(history, &conflict),
            operations: conflict.operations,
        });
    }
}

/// Verifies what a report says about one key, without any of the code that found it: a witness order by replaying
/// it, a violation by trying every order of its few operations.
///
/// `Ok(false)` means that the report carries nothing to verify (an unknown key, or witnesses were not asked for).
pub fn verify(history: &History, report: &KeyReport, options: &Options) -> Result<bool, Refusal> {
    let rules = options.rules();
    let by_key = history.by_key();
    verify_key(history, by_key.of(report.key), report, &rules)
}

/// Verifies every key of a report; how many certificates there were and held.
///
/// A counterexample that is too large to try is not counted and not refused: [`minimize`](crate::minimize) it first.
pub fn verify_all(history: &History, report: &Report, options: &Options) -> Result<usize, (KeyId, Refusal)> {
    let (rules, by_key) = (options.rules(), history.by_key());
    let holds = |key: &KeyReport| match verify_key(history, by_key.of(key.key), key, &rules) {
        Ok(held) => Ok(usize::from(held)),
        Err(Refusal::TooLarge(_)) => Ok(0),
        Err(refusal) => Err((key.key, refusal)),
    };
    report.keys.par_iter().map(holds).sum()
}

pub(crate) fn verify_key(
    history: &History,
    ids: &[OperationId],
    report: &KeyReport,
    rules: &Rules,
) -> Result<bool, Refusal> {
    let key = Key::new(history, ids, rules, report.model, report.identity);
    match (&report.witness, &report.violation) {
        (Some(witness), None) if report.verdict == Verdict::Ok => key.verify_order(witness).map(|()| true),
        (None, Some(violation)) if report.verdict == Verdict::Violation => {
            key.verify_conflict(&violation.operations).map(|()| true)
        }
        _ => Ok(false),
    }
}
