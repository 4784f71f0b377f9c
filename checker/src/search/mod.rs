//! The search for keys whose answers do not name their writes.
//!
//! Deciding such a key is NP-complete, so a search may need exponential time; what is promised instead is a budget in
//! states, bytes and time, and `unknown` with the proven prefix when it ends. In practice the work follows the number
//! of operations open at once, not the length of the history.
//!
//! Two engines: [`frontier`] carries every possible state along and proves violations; [`depth`] follows one order and
//! finds witnesses. Either alone can be hopeless where the other is quick, so a small try of the first is followed by
//! a race of both. Where a register is certain to hold one value at a quiet moment, the two sides are judged apart,
//! on several threads ([`parts`]).
//!
//! A problem is a list of [`Call`]s and a [`Model`] that numbers its states; the engines know nothing else.

mod depth;
mod explorer;
mod frontier;
mod parts;
mod window;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::check::{Blocked, Budget};
use crate::cluster::Rules;
use crate::history::{History, OperationId, Time};
use crate::model::{self, AnyModel, Model, ModelKind};
use explorer::Explorer;
use window::Window;

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
    /// Its answer tells something about the state.
    pub(crate) observes: bool,
    /// The number under which the model knows it. Calls with equal numbers are interchangeable.
    pub(crate) op: u32,
}

/// What a search found out.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A witness order of all required calls and some optional ones.
    Ok(Vec<OperationId>),
    /// The operations that had been invoked when no order was left, the last to return at the end.
    Violation(Vec<OperationId>),
    /// The budget ended.
    Unknown(Blocked),
}

/// An answer and what it cost.
#[derive(Debug)]
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
        let is_late = || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        self.spent(states, bytes).or_else(|| is_late().then_some("time"))
    }

    /// The same without a look at the time, which costs as much as a state.
    fn spent(&self, states: u64, bytes: usize) -> Option<&'static str> {
        if states > self.budget.states {
            Some("states")
        } else if bytes > self.budget.bytes {
            Some("memory")
        } else {
            None
        }
    }

    fn with(&self, states: u64, bytes: usize) -> Self {
        Clock { budget: Budget { states, bytes, ..self.budget }, ..*self }
    }
}

/// What is held for each call while a search lasts: the call in the list and in its part, its events and slots, and
/// its place in the order.
pub(crate) const CALL_BYTES: usize = 2 * size_of::<Call>() + 2 * size_of::<window::Event>() + 32;

/// Judges one key by search. An error names an operation that the model does not know.
pub(crate) fn key(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    kind: ModelKind,
    parallel: bool,
    clock: &Clock,
) -> Result<Found, OperationId> {
    let Some(left) = clock.budget.bytes.checked_sub(ids.len().saturating_mul(CALL_BYTES)) else {
        let blocked = Blocked { budget: "memory", proven_until: Time::MIN, window: Vec::new() };
        return Ok(Found { answer: Answer::Unknown(blocked), states: 0 });
    };
    let clock = clock.with(clock.budget.states, left);
    let (model, calls) = model::compile(history, ids, rules, kind)?;
    if let (true, AnyModel::Register(register)) = (parallel, &model)
        && let Some(found) = parts::judge(&calls, register, &clock, parts::PART_CALLS_MIN)
    {
        return Ok(found);
    }
    Ok(run(&calls, model, parallel, &clock))
}

/// Runs the engines wide enough for the number of calls that are open at once.
fn run(calls: &[Call], model: impl Model + Sync, parallel: bool, clock: &Clock) -> Found {
    let window = Window::new(calls);
    match window.width() {
        0..=64 => engines::<_, 1>(calls, window, model, parallel, clock),
        65..=256 => engines::<_, 4>(calls, window, model, parallel, clock),
        257..=1024 => engines::<_, 16>(calls, window, model, parallel, clock),
        _ => {
            let budget = "more than 1024 operations open at once";
            let blocked = Blocked { budget, proven_until: Time::MIN, window: Vec::new() };
            Found { answer: Answer::Unknown(blocked), states: 0 }
        }
    }
}

/// How many states each engine alone is given, breadth first, before the race begins: enough for a key where hardly
/// anything is open at once, and little against what it costs to wake threads.
fn try_states(calls: usize) -> u64 {
    2_000 + 8 * calls as u64
}

fn engines<M: Model + Sync, const N: usize>(
    calls: &[Call],
    window: Window,
    model: M,
    parallel: bool,
    clock: &Clock,
) -> Found {
    let never = AtomicBool::new(false);
    let attempt = |judge: fn(&mut Explorer<'_, M, N>) -> Answer, states: u64| {
        let tried = clock.with(try_states(calls.len()).min(states), clock.budget.bytes);
        let mut explorer = Explorer::<_, N>::new(calls, window.clone(), model.clone(), &tried, &never);
        (judge(&mut explorer), explorer.states)
    };
    // Where one engine held too much, the other may still find an order with little.
    let ends = |answer: &Answer, spent: u64| {
        let more = matches!(answer, Answer::Unknown(blocked) if blocked.budget != "time");
        !more || spent >= clock.budget.states
    };
    let (broad, spent) = attempt(frontier::judge, clock.budget.states);
    if ends(&broad, spent) {
        return Found { answer: broad, states: spent };
    }
    let (deep, more) = attempt(depth::judge, clock.budget.states - spent);
    let (answer, spent) = (better(broad, deep), spent + more);
    if ends(&answer, spent) {
        return Found { answer, states: spent };
    }
    let rest = clock.budget.states - spent;
    let half = clock.with(rest / 2, clock.budget.bytes / 2);
    let stop = AtomicBool::new(false);
    let breadth = || {
        let mut explorer = Explorer::<_, N>::new(calls, window.clone(), model.clone(), &half, &stop);
        (settle(frontier::judge(&mut explorer), &stop, parallel), explorer.states)
    };
    let depth = || {
        let mut explorer = Explorer::<_, N>::new(calls, window.clone(), model.clone(), &half, &stop);
        (settle(depth::judge(&mut explorer), &stop, parallel), explorer.states)
    };
    // Without threads they take turns: depth first, since what was easy for breadth is already done.
    let ((broad, broad_states), (deep, deep_states)) = if parallel {
        rayon::join(breadth, depth)
    } else {
        let deep = depth();
        if matches!(deep.0, Answer::Unknown(_)) { (breadth(), deep) } else { ((answer, 0), deep) }
    };
    let states = spent + broad_states + deep_states;
    Found { answer: better(broad, deep), states }
}

/// Tells the other engine to stop once this one has an answer.
fn settle(answer: Answer, stop: &AtomicBool, parallel: bool) -> Answer {
    if parallel && !matches!(answer, Answer::Unknown(_)) {
        stop.store(true, Ordering::Relaxed);
    }
    answer
}

fn better(broad: Answer, deep: Answer) -> Answer {
    match (broad, deep) {
        (Answer::Unknown(broad), Answer::Unknown(deep)) => {
            Answer::Unknown(if broad.proven_until >= deep.proven_until { broad } else { deep })
        }
        // Breadth first gives the earliest violation.
        (Answer::Unknown(_), deep) => deep,
        (broad, _) => broad,
    }
}

#[cfg(test)]
#[path = "../../tests/common/mod.rs"]
mod common;

#[cfg(test)]
mod tests;
