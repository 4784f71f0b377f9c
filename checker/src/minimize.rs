//! Making a counterexample small.
//!
//! A search gives up at the first illegal return and hands over everything invoked until then. Leaving an operation
//! out is allowed only if what is left still speaks for the whole key: no operation that stays may have observed it.
//! Under that rule operations are taken out in ever smaller runs until no single one can go. What the near-linear judge
//! hands over is small already, and has a story that its sentence tells.

use rayon::prelude::*;

use crate::certificate::Key;
use crate::check::{Anomaly, KeyReport, Options, Report};
use crate::explain;
use crate::history::{History, OperationId};
use crate::register::Conflict;
use crate::search::{self, Answer, Clock};

/// States that one trial may look at: a trial that needs more keeps its operations.
const TRIAL_STATES: u64 = 200_000;

/// Makes the violation that a search found on one key as small as single removals can, or as the time of the budget
/// allows; does nothing to other keys.
pub fn minimize(history: &History, report: &mut KeyReport, options: &Options) {
    let by_key = history.by_key();
    key(history, by_key.of(report.key), report, options, &clock(options, 1));
}

/// The same for every key of a report. They share the time of the budget, and those at one time its memory.
pub(crate) fn minimize_all(history: &History, report: &mut Report, options: &Options) {
    let at_once = if options.parallel { rayon::current_num_threads().max(1) } else { 1 };
    let (by_key, clock) = (history.by_key(), clock(options, at_once));
    let each = |report: &mut KeyReport| key(history, by_key.of(report.key), report, options, &clock);
    if options.parallel {
        report.keys.par_iter_mut().for_each(each);
    } else {
        report.keys.iter_mut().for_each(each);
    }
}

fn clock(options: &Options, at_once: usize) -> Clock {
    let bytes = options.budget.bytes / at_once;
    Clock::start(crate::Budget { states: TRIAL_STATES, bytes, ..options.budget })
}

fn key(history: &History, ids: &[OperationId], report: &mut KeyReport, options: &Options, clock: &Clock) {
    let Some(violation) = report.violation.as_mut().filter(|one| one.anomaly == Anomaly::NoOrder) else { return };
    let rules = options.rules();
    let key = Key::new(history, ids, &rules, report.model, report.identity);
    let is_violation = |operations: &[OperationId]| {
        if key.missing_from(operations).is_some() {
            return false;
        }
        let mut sorted = operations.to_vec();
        sorted.sort_unstable();
        let found = search::key(history, &sorted, &rules, report.model, false, clock);
        matches!(found, Ok(found) if matches!(found.answer, Answer::Violation(_)))
    };
    let mut kept = violation.operations.clone();
    let mut run = kept.len().div_ceil(2);
    loop {
        let mut shrunk = false;
        let mut begin = 0;
        while begin < kept.len() {
            let end = (begin + run).min(kept.len());
            let without = [&kept[..begin], &kept[end..]].concat();
            if is_violation(&without) {
                kept = without;
                shrunk = true;
            } else {
                begin = end;
            }
        }
        if run == 1 && !shrunk {
            break;
        }
        run = run.div_ceil(2).max(1);
    }
    violation.operations = kept;
    let conflict = Conflict { anomaly: violation.anomaly, operations: violation.operations.clone() };
    violation.words = explain::words(history, &conflict);
}
