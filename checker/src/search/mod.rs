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

    fn with(&self, states: u64, bytes: usize) -> Self {
        Clock { budget: Budget { states, bytes, ..self.budget }, ..*self }
    }
}

/// Judges one key by search. An error names an operation that the model does not know.
pub(crate) fn key(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    kind: ModelKind,
    parallel: bool,
    clock: &Clock,
) -> Result<Found, OperationId> {
    let (model, calls) = model::compile(history, ids, rules, kind)?;
    if let (true, AnyModel::Register(register)) = (parallel, &model)
        && let Some(found) = parts::judge(&calls, register, clock, parts::PART_CALLS_MIN)
    {
        return Ok(found);
    }
    Ok(run(&calls, model, parallel, clock))
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

/// Breadth first alone is given this many states per call and this many more before the race begins.
const TRY_STATES_PER_CALL: u64 = 8;
const TRY_STATES: u64 = 20_000;

fn engines<M: Model + Sync, const N: usize>(
    calls: &[Call],
    window: Window,
    model: M,
    parallel: bool,
    clock: &Clock,
) -> Found {
    let never = AtomicBool::new(false);
    let try_states = (TRY_STATES + TRY_STATES_PER_CALL * calls.len() as u64).min(clock.budget.states);
    let first = clock.with(try_states, clock.budget.bytes);
    let mut explorer = Explorer::<_, N>::new(calls, window.clone(), model.clone(), &first, &never);
    let answer = frontier::judge(&mut explorer);
    let spent = explorer.states;
    drop(explorer);
    let more = matches!(&answer, Answer::Unknown(blocked) if blocked.budget == "states");
    if !more || try_states == clock.budget.states {
        return Found { answer, states: spent };
    }
    let rest = clock.budget.states - spent.min(clock.budget.states);
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
mod tests {
    use super::common::{Random, draw_history, draw_shape, is_linearizable};
    use super::*;
    use crate::certificate::Key;
    use crate::{FailedCas, Identity, Kind, Operation, Options, Value};

    fn judge<const N: usize>(calls: &[Call], model: &AnyModel, deep: bool) -> Answer {
        let (clock, never) = (Clock::start(Options::deterministic(1_000_000).budget), AtomicBool::new(false));
        let mut explorer = Explorer::<_, N>::new(calls, Window::new(calls), model.clone(), &clock, &never);
        if deep { depth::judge(&mut explorer) } else { frontier::judge(&mut explorer) }
    }

    #[test]
    fn a_clock_ends_with_the_first_unit_beyond_its_budget() {
        let clock = Clock::start(Budget { states: 5, bytes: 100, time: None });
        assert_eq!(
            [clock.ended(5, 100), clock.ended(6, 100), clock.ended(5, 101)],
            [None, Some("states"), Some("memory")]
        );
        let other = clock.with(7, 70);
        assert_eq!(
            [other.ended(7, 70), other.ended(8, 70), other.ended(7, 71)],
            [None, Some("states"), Some("memory")]
        );
        let late = Clock::start(Budget { time: Some(std::time::Duration::ZERO), ..clock.budget });
        assert_eq!([late.ended(0, 0), late.with(7, 70).ended(0, 0)], [Some("time"); 2]);
    }

    #[test]
    fn only_an_answer_stops_the_other_engine_and_of_two_unknowns_the_later_one_counts() {
        let unknown = |proven_until| Answer::Unknown(Blocked { budget: "states", proven_until, window: Vec::new() });
        for (answer, parallel, stops) in [
            (unknown(0), true, false),
            (unknown(0), false, false),
            (Answer::Ok(Vec::new()), true, true),
            (Answer::Ok(Vec::new()), false, false),
            (Answer::Violation(Vec::new()), true, true),
        ] {
            let stop = AtomicBool::new(false);
            settle(answer, &stop, parallel);
            assert_eq!(stop.into_inner(), stops);
        }
        for (broad, deep) in [(7, 3), (3, 7)] {
            let Answer::Unknown(blocked) = better(unknown(broad), unknown(deep)) else {
                panic!("two unknowns are one")
            };
            assert_eq!(blocked.proven_until, 7);
        }
    }

    /// One open call for each of so many clients, and a read that nothing explains.
    fn crowded(calls: usize) -> History {
        let mut history = History::new();
        let key = history.key("k");
        for at in 0..calls {
            let client = history.client(&format!("c{at}"));
            let value = Value::Int(at as i64 % 3);
            history.push(match at % 2 {
                0 => Operation::new(client, key, Kind::Write, value, 0, 100),
                _ => Operation::cas(client, key, value, Value::Int((at as i64 + 1) % 3), 0, 100),
            });
        }
        let client = history.client("r");
        for (at, value) in [(200, 0), (202, 1)] {
            history.push(Operation::new(client, key, Kind::Read, Value::Int(value), at, at + 1));
        }
        history
    }

    #[test]
    fn both_engines_together_use_the_states_of_the_budget_and_no_more() {
        let history = crowded(80);
        let report = crate::check_history(&history, &Options::deterministic(60_000));
        let key = &report.keys[0];
        assert_eq!(key.blocked.as_ref().map(|blocked| blocked.budget), Some("states"));
        // Each of three runs looks at the budget now and then, so it may pass its part a little.
        assert!((59_000..=61_000).contains(&key.states), "{}", key.states);
    }

    #[test]
    fn calls_open_at_once_are_counted_up_to_1024() {
        let judged = |calls| {
            let mut history = History::new();
            let key = history.key("set");
            for at in 0..calls {
                let client = history.client(&format!("c{at}"));
                history.push(Operation::new(client, key, Kind::Add, Value::Int(at), 0, 10));
            }
            let client = history.client("r");
            history.push(Operation::new(client, key, Kind::Read, Value::List(Default::default()), 0, 10));
            // What is asked is whether the search begins at all.
            let options = Options { model: ModelKind::Set, ..Options::deterministic(10) };
            let report = crate::check_history(&history, &options);
            report.keys[0].blocked.as_ref().map(|blocked| blocked.budget)
        };
        for calls in [63, 64, 255, 256] {
            assert_eq!(judged(calls), Some("states"), "{calls}");
        }
        assert_eq!(judged(1_024), Some("more than 1024 operations open at once"));
    }

    /// The history of these operations alone.
    fn only(history: &History, operations: &[u32]) -> History {
        let mut part = History::new();
        part.key("k");
        for mut operation in operations.iter().map(|id| history.operation(*id).clone()) {
            operation.client = part.client(&format!("c{}", operation.client.0));
            part.push(operation);
        }
        part
    }

    #[test]
    fn a_write_that_an_optional_one_hid_needs_no_place_of_its_own() {
        let mut history = History::new();
        let (key, clients) = (history.key("k"), ["u", "w", "r"].map(|name| history.client(name)));
        let mut push = |at: usize, kind, value, start, end| {
            history.push(Operation::new(clients[at], key, kind, Value::Int(value), start, end));
        };
        push(1, Kind::Write, 2, 0, 5);
        push(2, Kind::Read, 1, 2, 3);
        push(2, Kind::Read, 1, 6, 7);
        history.push(Operation::new(clients[0], key, Kind::Write, Value::Int(1), 0, 0).unknown());
        let rules = Rules { init: Value::Absent, failed_cas: FailedCas::Mismatch, eventual_too: false };
        let (model, calls) = model::compile(&history, &[0, 1, 2, 3], &rules, ModelKind::Register).expect("a register");
        for deep in [false, true] {
            let Answer::Ok(order) = judge::<1>(&calls, &model, deep) else { panic!("2, then 1, which both reads saw") };
            assert_eq!(order, [0, 3, 1, 2]);
        }
    }

    #[test]
    fn both_engines_and_the_parts_agree_with_brute_force() {
        let rules = Rules { init: Value::Absent, failed_cas: FailedCas::Mismatch, eventual_too: false };
        let (mut cut, mut violations) = (0, 0);
        for seed in 0..6_000 {
            let mut random = Random(seed);
            let shape = draw_shape(&mut random);
            let history = draw_history(&mut random, shape);
            let ids: Vec<u32> = (0..history.len() as u32).collect();
            let expected = is_linearizable(&history, FailedCas::Mismatch, false);
            violations += u32::from(!expected);
            let (model, calls) = model::compile(&history, &ids, &rules, ModelKind::Register).expect("a register");
            let AnyModel::Register(register) = &model else { unreachable!() };
            let clock = Clock::start(Options::deterministic(1_000_000).budget);
            let parts = parts::judge(&calls, register, &clock, 1).map(|found| found.answer);
            cut += u32::from(parts.is_some());
            let answers = [judge::<1>(&calls, &model, false), judge::<4>(&calls, &model, true)];
            for (judge, answer) in answers.into_iter().chain(parts).enumerate() {
                match answer {
                    Answer::Ok(order) => {
                        assert!(expected, "seed {seed}");
                        let key = Key::new(&history, &ids, &rules, ModelKind::Register, Identity::Value);
                        assert_eq!(key.verify_order(&order), Ok(()), "seed {seed}");
                    }
                    Answer::Violation(operations) => {
                        assert!(!expected, "seed {seed}");
                        let alone = is_linearizable(&only(&history, &operations), FailedCas::Mismatch, false);
                        assert!(!alone, "seed {seed}, judge {judge}: {operations:?}");
                    }
                    Answer::Unknown(blocked) => panic!("seed {seed} {blocked:?}"),
                }
            }
        }
        assert!(cut > 500 && violations > 300, "{cut} {violations}");
    }
}
