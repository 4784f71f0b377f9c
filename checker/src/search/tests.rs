use std::time::Duration;

use super::common::{Random, draw_history, draw_shape, is_linearizable, objects};
use super::*;
use crate::certificate::Key;
use crate::{FailedCas, Identity, Kind, Operation, Options, Value};

fn judge<const N: usize>(calls: &[Call], model: &AnyModel, deep: bool) -> Answer {
    judge_within::<N>(calls, model, deep, Options::deterministic(1_000_000).budget).answer
}

fn judge_within<const N: usize>(calls: &[Call], model: &AnyModel, deep: bool, budget: Budget) -> Found {
    let (clock, never) = (Clock::start(budget), AtomicBool::new(false));
    let mut explorer = Explorer::<_, N>::new(calls, Window::new(calls), model.clone(), &clock, &never);
    let answer = if deep { depth::judge(&mut explorer) } else { frontier::judge(&mut explorer) };
    Found { answer, states: explorer.states }
}

fn rules() -> Rules {
    Rules { init: Value::Absent, failed_cas: FailedCas::Mismatch, eventual_too: false }
}

/// The calls of all operations of a history of one register.
fn register(history: &History) -> (Vec<Call>, AnyModel) {
    let ids: Vec<u32> = (0..history.len() as u32).collect();
    let (model, calls) = model::compile(history, &ids, &rules(), ModelKind::Register).expect("a register");
    (calls, model)
}

#[test]
fn a_clock_ends_with_the_first_unit_beyond_its_budget() {
    let clock = Clock::start(Budget { states: 5, bytes: 100, time: None });
    assert_eq!([clock.ended(5, 100), clock.ended(6, 100), clock.ended(5, 101)], [None, Some("states"), Some("memory")]);
    let other = clock.with(7, 70);
    assert_eq!([other.ended(7, 70), other.ended(8, 70), other.ended(7, 71)], [None, Some("states"), Some("memory")]);
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
        let Answer::Unknown(blocked) = better(unknown(broad), unknown(deep)) else { panic!("two unknowns are one") };
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
    let rules = rules();
    let (model, calls) = model::compile(&history, &[0, 1, 2, 3], &rules, ModelKind::Register).expect("a register");
    for deep in [false, true] {
        let Answer::Ok(order) = judge::<1>(&calls, &model, deep) else { panic!("2, then 1, which both reads saw") };
        assert_eq!(order, [0, 3, 1, 2]);
    }
}

#[test]
fn both_engines_and_the_parts_agree_with_brute_force() {
    let rules = rules();
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

/// One client that writes and reads what it wrote, so many times, beginning at 1.
fn alternating(rounds: usize) -> History {
    let mut history = History::new();
    let (key, client) = (history.key("k"), history.client("c"));
    for round in 0..rounds as i64 {
        for (kind, start) in [(Kind::Write, 4 * round + 1), (Kind::Read, 4 * round + 3)] {
            history.push(Operation::new(client, key, kind, Value::Int(round % 2), start, start + 1));
        }
    }
    history
}

#[test]
fn a_long_order_survives_the_compaction_of_its_trail() {
    let history = alternating(50_000);
    let (calls, model) = register(&history);
    for deep in [false, true] {
        let Answer::Ok(order) = judge::<1>(&calls, &model, deep) else { panic!("one client, one order") };
        assert_eq!(order, (0..100_000).collect::<Vec<u32>>());
    }
}

#[test]
fn more_interchangeable_optional_calls_than_sixteen_bits_count_may_be_used() {
    let mut history = History::new();
    let (key, client) = (history.key("k"), history.client("c"));
    for at in 0..70_000 {
        history.push(Operation::new(client, key, Kind::Add, Value::Int(1), at, at + 1).unknown());
    }
    for (start, total) in [(80_000, 66_000), (90_000, 70_001)] {
        history.push(Operation::new(client, key, Kind::Read, Value::Int(total), start, start + 1));
    }
    let options = Options { model: ModelKind::Counter, ..Options::deterministic(1_000_000) };
    let report = crate::check_history(&history, &options);
    assert_eq!(report.keys[0].violation.as_ref().map(|violation| violation.anomaly), Some(crate::Anomaly::NoOrder));
}

#[test]
fn both_engines_say_where_the_budget_ended_and_count_as_proven_only_what_returned_before() {
    // Each round has one write to place; the last of 256 ends together with the one before it.
    let mut history = alternating(300);
    let other = history.client("d");
    let (ties, key) = (4 * 254 + 1, history.operation(0).key);
    history.push(Operation::new(other, key, Kind::Write, Value::Int(0), ties, ties + 1));
    let (calls, model) = register(&history);
    let budget = |states, bytes| Budget { states, bytes, time: None };
    for (deep, budget, named) in [
        (false, budget(255, 100_000), "states"),
        (true, budget(255, 100_000), "states"),
        (false, budget(1_000, 18_500), "memory"),
        (true, budget(1_000, 51_100), "memory"),
    ] {
        let found = judge_within::<1>(&calls, &model, deep, budget);
        let Answer::Unknown(blocked) = found.answer else { panic!("300 to place") };
        assert_eq!(
            (blocked.budget, found.states, blocked.window, blocked.proven_until),
            (named, 256, vec![600], 1_016)
        );
    }
}

#[test]
fn the_time_and_the_other_engine_are_looked_at_now_and_then() {
    let (calls, model) = register(&alternating(300));
    let budget = Budget { states: 1_000, bytes: 1 << 20, time: None };
    for deep in [false, true] {
        for (time, stops, named) in [(Some(Duration::ZERO), false, "time"), (None, true, "another engine was faster")] {
            let (clock, stop) = (Clock::start(Budget { time, ..budget }), AtomicBool::new(stops));
            let mut explorer = Explorer::<_, 1>::new(&calls, Window::new(&calls), model.clone(), &clock, &stop);
            let answer = if deep { depth::judge(&mut explorer) } else { frontier::judge(&mut explorer) };
            let Answer::Unknown(blocked) = answer else { panic!("300 to place") };
            assert_eq!((blocked.budget, explorer.states), (named, 64));
        }
    }
}

/// The states that an engine needs for so many operations, and whether they have an order.
fn states(model: ModelKind, words: &[(Kind, Value, i64, i64)], deep: bool) -> (u64, bool) {
    let mut history = History::new();
    let key = history.key("k");
    for (number, (kind, value, start, end)) in words.iter().enumerate() {
        let client = history.client(&format!("c{number}"));
        let operation = Operation::new(client, key, *kind, value.clone(), *start, (*end).max(*start));
        history.push(if end < start { operation.unknown() } else { operation });
    }
    let ids: Vec<u32> = (0..history.len() as u32).collect();
    let (model, calls) = model::compile(&history, &ids, &rules(), model).expect("calls of the model");
    let budget = Budget { states: 4_000, bytes: 1 << 30, time: None };
    let found = judge_within::<1>(&calls, &model, deep, budget);
    (found.states, matches!(found.answer, Answer::Ok(_)))
}

#[test]
fn what_need_not_be_tried_costs_few_states() {
    let many = |kind, count, end| (0..count).map(move |at| (kind, Value::Int(at % 7), 0, end));
    let after = |kind, value, at| (kind, value, at, at + 1);
    let int = |value| Value::Int(value);
    let text = |text: &str| Value::text(text);
    let letters = |count: u8| (0..count).map(|at| (Kind::Append, text(&char::from(b'a' + at).to_string()), 0, 10));
    let adds = (0..40).map(|at| (Kind::Add, int(1 + at % 2), 0, -1));
    for (what, model, expected, states_max, words) in [
        (
            "writes that nobody sees",
            ModelKind::Register,
            true,
            60,
            many(Kind::Write, 30, 10).chain([after(Kind::Read, int(3), 20)]).collect::<Vec<_>>(),
        ),
        (
            "writes that nobody sees, and an answer that none explains",
            ModelKind::Register,
            false,
            60,
            many(Kind::Write, 30, 10).chain([after(Kind::Read, int(9), 20)]).collect(),
        ),
        (
            "writes of unknown outcome",
            ModelKind::Register,
            true,
            60,
            many(Kind::Write, 30, -1).chain([after(Kind::Read, int(3), 20), after(Kind::Read, int(4), 22)]).collect(),
        ),
        (
            "writes of unknown outcome, and an answer that none explains",
            ModelKind::Register,
            false,
            60,
            many(Kind::Write, 30, -1).chain([after(Kind::Read, int(3), 20), after(Kind::Read, int(9), 22)]).collect(),
        ),
        (
            "texts written over and over as they were",
            ModelKind::Kv,
            false,
            60,
            (0..10).map(|_| (Kind::Write, text("a"), 0, 10)).chain([after(Kind::Read, text("b"), 20)]).collect(),
        ),
        (
            "values written over and over as they were",
            ModelKind::Register,
            false,
            60,
            (0..10).map(|_| (Kind::Write, int(1), 0, 10)).chain([after(Kind::Read, int(2), 20)]).collect(),
        ),
        (
            "texts that a later answer shows in one order",
            ModelKind::Kv,
            true,
            60,
            letters(12).chain([after(Kind::Read, text("abcdefghijkl"), 20)]).collect(),
        ),
        (
            "texts that no order makes",
            ModelKind::Kv,
            false,
            60,
            letters(12).chain([after(Kind::Read, text("lkjihgfedcb"), 20)]).collect(),
        ),
        (
            "sums of unknown numbers",
            ModelKind::Counter,
            true,
            3_100,
            adds.chain((1..=10).map(|at| after(Kind::Read, int(3 * at), 10 * at))).collect(),
        ),
    ] {
        for deep in [false, true] {
            let (states, is_ok) = states(model, &words, deep);
            assert!(states <= states_max && is_ok == expected, "{what}, {deep}: {states} {is_ok}");
        }
    }
}

#[test]
fn an_engine_that_holds_too_much_stops_soon() {
    let (calls, model) = register(&crowded(80));
    let states = |deep, bytes| {
        let found = judge_within::<4>(&calls, &model, deep, Budget { states: 400_000, bytes, time: None });
        let Answer::Unknown(blocked) = found.answer else { panic!("too much to try") };
        assert_eq!(blocked.budget, "memory");
        found.states
    };
    for deep in [false, true] {
        // Breadth holds several configurations for each that it has looked at, depth fewer.
        let (few, many) = if deep { (1_800, 3_000) } else { (600, 1_000) };
        for times in [4, 8, 16] {
            let states = states(deep, (times as usize) << 20);
            assert!((times * few..times * many).contains(&states), "{deep} {times} {states}");
        }
    }
}

#[test]
fn after_a_try_each_engine_has_half_of_what_is_left() {
    let (calls, model) = register(&crowded(80));
    let (states, bytes) = (400_000, 48 << 20);
    let alone =
        |deep, states, bytes| judge_within::<4>(&calls, &model, deep, Budget { states, bytes, time: None }).states;
    let together = |states, bytes, parallel| {
        let clock = Clock::start(Budget { states, bytes, time: None });
        run(&calls, model.clone(), parallel, &clock).states
    };
    let try_states = try_states(calls.len());
    assert_eq!(try_states, 2_000 + 8 * 82);
    let tried = alone(false, try_states, bytes) + alone(true, try_states, bytes);
    let few = [500, try_states].map(|states| (states, alone(false, states, bytes)));
    // The memory ends first, or the states.
    let memory_halves = alone(false, states, bytes / 2) + alone(true, states, bytes / 2);
    let half = (60_000 - tried) / 2;
    let state_halves = alone(false, half, bytes / 2) + alone(true, half, bytes / 2);
    for parallel in [false, true] {
        assert_eq!(together(states, bytes, parallel), tried + memory_halves);
        assert_eq!(together(60_000, bytes, parallel), tried + state_halves);
        // What the try of breadth leaves of a budget is all that the try of depth has.
        let (budget, broad) = (try_states + 500, alone(false, try_states, bytes));
        assert_eq!(together(budget, bytes, parallel), broad + alone(true, budget - broad, bytes));
        // A budget that is no larger than the try is used once.
        assert_eq!(few.map(|(states, _)| (states, together(states, bytes, parallel))), few);
    }
}

#[test]
fn what_begins_after_the_first_illegal_return_is_no_part_of_the_counterexample() {
    let mut history = History::new();
    let key = history.key("k");
    let int = Value::Int;
    let list = |items: &[i64]| Value::List(items.iter().map(|item| int(*item)).collect::<Vec<Value>>().into());
    for (kind, value, start, end) in [
        (Kind::Add, int(1), 0, 1),
        (Kind::Read, list(&[2]), 2, 3),
        (Kind::Add, int(5), 0, 100),
        (Kind::Read, list(&[1]), 0, 100),
        (Kind::Add, int(7), 10, 11),
    ] {
        let client = history.client(&format!("c{start}{end}"));
        history.push(Operation::new(client, key, kind, value, start, end));
    }
    let ids: Vec<u32> = (0..history.len() as u32).collect();
    let (model, calls) = model::compile(&history, &ids, &rules(), ModelKind::Set).expect("a set");
    for deep in [false, true] {
        let Answer::Violation(operations) = judge::<1>(&calls, &model, deep) else { panic!("2 was never added") };
        assert_eq!(operations, [0, 2, 1]);
    }
}

#[test]
fn depth_has_its_turn_where_breadth_held_too_much_but_not_where_the_time_is_over() {
    let (calls, model) = register(&only(&crowded(60), &(0..60).collect::<Vec<u32>>()));
    let budget = Budget { states: 10_000, bytes: 500_000, time: None };
    assert!(matches!(judge_within::<1>(&calls, &model, false, budget).answer, Answer::Unknown(_)));
    for parallel in [false, true] {
        let judged = |time| run(&calls, model.clone(), parallel, &Clock::start(Budget { time, ..budget }));
        assert!(matches!(judged(None).answer, Answer::Ok(_)));
        let late = judged(Some(Duration::ZERO));
        assert!(matches!(late.answer, Answer::Unknown(blocked) if blocked.budget == "time") && late.states == 64);
    }
}

#[test]
fn both_engines_agree_with_brute_force_about_every_model() {
    let rules = rules();
    for kind in [ModelKind::Kv, ModelKind::Set, ModelKind::Counter, ModelKind::Queue] {
        for seed in 0..3_000 {
            let (history, words) = objects::draw(&mut Random(seed), kind);
            let expected = objects::is_linearizable(kind, &words, 0, &objects::Object::default());
            let ids: Vec<u32> = (0..history.len() as u32).collect();
            let (model, calls) = model::compile(&history, &ids, &rules, kind).expect("calls of that model");
            for deep in [false, true] {
                match judge::<1>(&calls, &model, deep) {
                    Answer::Ok(order) => {
                        assert!(expected, "{kind:?} {seed} {deep}");
                        let key = Key::new(&history, &ids, &rules, kind, Identity::Value);
                        assert_eq!(key.verify_order(&order), Ok(()), "{kind:?} {seed} {deep}");
                    }
                    Answer::Violation(_) => assert!(!expected, "{kind:?} {seed} {deep}"),
                    Answer::Unknown(blocked) => panic!("{kind:?} {seed} {deep} {blocked:?}"),
                }
            }
        }
    }
}
