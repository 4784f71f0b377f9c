//! The search for keys whose answers do not name their writes.
//!
//! Deciding such a key is NP-complete, so a search may need exponential time; what is promised instead is a budget in
//! states, bytes and time, and `unknown` with the proven prefix when it ends. In practice the work follows the number
//! of operations open at once, not the length of the history.
//!
//! A problem is a list of [`Call`]s and a [`Model`] that numbers its states; the engines know nothing else.

pub(crate) mod frontier;

use std::time::Instant;

use crate::check::{Blocked, Budget, Options};
use crate::cluster::Rules;
use crate::history::{History, OperationId, Time};
use crate::model::{self, Model};

/// One operation as the engines see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) id: OperationId,
    pub(crate) start: Time,
    pub(crate) end: Time,
    /// It may never have happened.
    pub(crate) optional: bool,
    /// It never changes the state, so where it is legal it can be taken at once.
    pub(crate) pure: bool,
    /// The number under which the model knows it. Calls with equal numbers are interchangeable.
    pub(crate) op: u32,
}

/// What a search found out.
pub(crate) enum Answer {
    /// A witness order of all required calls and some optional ones.
    Ok(Vec<OperationId>),
    /// The operations that had been invoked when no order was left, the last to return at the end.
    Violation(Vec<OperationId>),
    /// The budget ended.
    Unknown(Blocked),
}

/// An answer and what it cost.
pub(crate) struct Found {
    pub(crate) answer: Answer,
    pub(crate) states: u64,
}

/// The budget and when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) budget: Budget,
    deadline: Option<Instant>,
}

impl Clock {
    pub(crate) fn start(budget: Budget) -> Self {
        Clock { budget, deadline: budget.time.map(|time| Instant::now() + time) }
    }

    /// Which part of the budget has ended, if any.
    pub(crate) fn ended(&self, states: u64, bytes: usize) -> Option<&'static str> {
        if states > self.budget.states {
            Some("states")
        } else if bytes > self.budget.bytes {
            Some("memory")
        } else if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some("time")
        } else {
            None
        }
    }
}

/// Judges a register key by search.
pub(crate) fn register(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    _options: &Options,
    clock: &Clock,
) -> Found {
    let (model, calls) = model::register::compile(history, ids, rules);
    run(calls, model, clock)
}

/// Runs the engine wide enough for the number of calls that are open at once.
pub(crate) fn run(calls: Vec<Call>, model: impl Model, clock: &Clock) -> Found {
    match open_at_once_max(&calls) {
        0..=64 => frontier::run::<1>(&calls, model, clock),
        65..=256 => frontier::run::<4>(&calls, model, clock),
        257..=1024 => frontier::run::<16>(&calls, model, clock),
        _ => {
            let blocked = Blocked { budget: "concurrency above 1024", proven_until: Time::MIN, window: Vec::new() };
            Found { answer: Answer::Unknown(blocked), states: 0 }
        }
    }
}

fn open_at_once_max(calls: &[Call]) -> usize {
    let mut events: Vec<(Time, bool)> = Vec::with_capacity(calls.len() * 2);
    for call in calls.iter().filter(|call| !call.optional) {
        events.push((call.start, false));
        events.push((call.end, true));
    }
    events.sort_unstable();
    let (mut open, mut most) = (0usize, 0usize);
    for (_, is_end) in events {
        if is_end {
            open -= 1;
        } else {
            open += 1;
            most = most.max(open);
        }
    }
    most
}
