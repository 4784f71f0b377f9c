//! Why a run failed: which records are necessary, and from when on nothing could be done.
//!
//! *Necessary* is what counterfactual runs say: leave one record out, or lose one message, and the violation is gone.
//! *Inevitable* is asked of the future: from a moment t, do all branches with other luck fail the same way? Going back in
//! steps of 1, 2, 4, ... from the end finds the latest moment at which some branch still escapes.

use crate::Stopwatch;
use crate::oracle::Property;
use crate::run::{EVENTS_MAX, run};
use crate::session::Session;
use quorate_traces::{Act, Directive, FaultRecord, MessageName, Op, Plan};
use std::collections::BTreeSet;

/// Futures that are tried from one moment.
const BRANCHES: u64 = 8;
/// Messages that are lost in turn, the last ones first.
const MESSAGES_MAX: usize = 1_000;

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Why {
    /// What is broken.
    pub property: Property,
    /// Faults without which it is not.
    pub faults: Vec<FaultRecord>,
    /// Operations without which it is not.
    pub ops: Vec<Op>,
    /// Decisions about messages without which it is not.
    pub directives: Vec<Directive>,
    /// Messages without which it is not: the event at which each arrives, when, and its name; in order.
    pub messages: Vec<(u64, u64, MessageName)>,
    /// Events after which every branch failed, and the virtual time then.
    pub inevitable_from: Option<(u64, u64)>,
    /// Events of the whole run.
    pub events: u64,
    /// Whether time ran out first: then some records were not asked about.
    pub out_of_time: bool,
}

/// Asks why a plan fails, for at most so many milliseconds. `None` if it does not.
pub fn why(plan: &Plan, stopwatch: &dyn Stopwatch, budget_ms: u64) -> Option<Why> {
    let report = run(plan);
    let property = report.first()?.property;
    let deadline = stopwatch.elapsed_ms() + budget_ms;
    let in_time = || stopwatch.elapsed_ms() < deadline;
    let fails = |plan: &Plan| run(plan).first().is_some_and(|violation| violation.property == property);
    let without = |cut: &dyn Fn(&mut Plan)| {
        let mut other = plan.clone();
        cut(&mut other);
        !fails(&other)
    };
    let faults = (0..plan.faults.len()).filter(|&at| in_time() && without(&|plan| drop(plan.faults.remove(at))));
    let faults = faults.map(|at| plan.faults[at].clone()).collect();
    let ops = (0..plan.ops.len()).filter(|&at| in_time() && without(&|plan| drop(plan.ops.remove(at))));
    let ops = ops.map(|at| plan.ops[at].clone()).collect();
    let lines = (0..plan.directives.len()).filter(|&at| in_time() && without(&|plan| drop(plan.directives.remove(at))));
    let directives = lines.map(|at| plan.directives[at].clone()).collect();
    let inevitable_from = inevitable_from(plan, property, report.events, &in_time);
    let lost = |message: &MessageName| {
        let message = message.clone();
        without(&|plan| plan.directives.push(Directive { message: message.clone(), act: Act::Drop, by: None }))
    };
    let arrivals = arrivals(plan);
    let last = arrivals.into_iter().rev().take(MESSAGES_MAX);
    let mut messages: Vec<_> = last.filter(|(_, _, message)| in_time() && lost(message)).collect();
    messages.reverse();
    let out_of_time = !in_time();
    Some(Why { property, faults, ops, directives, messages, inevitable_from, events: report.events, out_of_time })
}

/// Every message that arrives, the first time it does.
fn arrivals(plan: &Plan) -> Vec<(u64, u64, MessageName)> {
    let Ok(mut session) = Session::new(plan) else { return Vec::new() };
    let (mut arrivals, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some(moment) = session.next_moment() {
        if let Some(message) = moment.message
            && seen.insert(message.clone())
        {
            arrivals.push((moment.step, moment.at, message));
        }
        session.step();
    }
    arrivals
}

/// The earliest moment found from which every branch fails.
fn inevitable_from(plan: &Plan, property: Property, events: u64, in_time: &dyn Fn() -> bool) -> Option<(u64, u64)> {
    let at = |step: u64| {
        let mut session = Session::new(plan).ok()?;
        session.walk_to(step);
        Some(session)
    };
    let doomed = |step: u64| {
        let Some(session) = at(step) else { return false };
        (0..BRANCHES).all(|seed| {
            let mut branch = session.clone();
            branch.reseed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step);
            branch.walk_to(EVENTS_MAX);
            branch.report().first().is_some_and(|violation| violation.property == property)
        })
    };
    // The last event itself breaks the promise; go back in growing steps while every branch fails.
    let (mut earliest, mut back) = (None, 1);
    let mut escape = 0;
    while in_time() && back <= events {
        let step = events - back;
        if !doomed(step) {
            escape = step;
            break;
        }
        earliest = Some(step);
        back *= 2;
    }
    let mut latest = earliest?;
    while latest > escape + 1 && in_time() {
        let middle = escape + (latest - escape) / 2;
        if doomed(middle) { latest = middle } else { escape = middle }
    }
    Some((latest, at(latest)?.now()))
}
