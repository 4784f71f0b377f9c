//! The verifier refuses what has been tampered with.

mod common;

use common::{Random, draw_history, draw_shape};
use quorate_checker::{
    History, KeyReport, Kind, ModelKind, Operation, Options, Refusal, Value, Verdict, check_history, verify,
};
use std::sync::Arc;

fn options() -> Options {
    Options { certificates: true, ..Options::deterministic(1_000_000) }
}

fn judged(history: &History) -> KeyReport {
    check_history(history, &options()).keys.remove(0)
}

/// Changes a witness so that it cannot be right any more, whatever the history; `None` if it is too short for that.
fn tamper(random: &mut Random, history: &History, witness: &mut Vec<u32>) -> Option<&'static str> {
    let at = random.below(witness.len() as u64) as usize;
    let operation = history.operation(witness[at]);
    match random.below(4) {
        0 => {
            // Unknown outcomes may be left out, unless something observed them.
            let must_be_there = operation.end() < i64::MAX;
            witness.remove(at);
            must_be_there.then_some("one left out")
        }
        1 => {
            witness.insert(random.below(witness.len() as u64) as usize, witness[at]);
            Some("one twice")
        }
        2 => {
            witness[at] = history.len() as u32 + random.below(9) as u32;
            Some("one that does not exist")
        }
        _ => {
            // Two that stand in the order of time, exchanged.
            let other = (0..at).find(|other| history.operation(witness[*other]).end() < operation.invoke)?;
            witness.swap(at, other);
            Some("two against time")
        }
    }
}

#[test]
fn ten_thousand_tampered_witnesses_are_refused() {
    let (mut refused, mut seed) = (0, 0);
    while refused < 10_000 {
        seed += 1;
        let mut random = Random(seed);
        let shape = draw_shape(&mut random);
        let history = draw_history(&mut random, shape);
        let mut report = judged(&history);
        let Some(witness) = report.witness.as_mut().filter(|witness| !witness.is_empty()) else { continue };
        let Some(what) = tamper(&mut random, &history, witness) else { continue };
        assert!(verify(&history, &report, &options()).is_err(), "seed {seed}: {what} was accepted");
        refused += 1;
    }
}

#[test]
fn a_witness_is_refused_for_a_history_with_one_answer_changed() {
    let (mut refused, mut seed) = (0, 0);
    while refused < 3_000 {
        seed += 1;
        let mut random = Random(seed);
        let mut shape = draw_shape(&mut random);
        shape.versions = false;
        let history = draw_history(&mut random, shape);
        let report = judged(&history);
        let read = history
            .operations()
            .iter()
            .position(|operation| operation.kind == Kind::Read && operation.end() < i64::MAX);
        let (Some(_), Some(read)) = (&report.witness, read) else { continue };
        let mut changed = History::new();
        changed.key("k");
        for (at, operation) in history.operations().iter().enumerate() {
            let mut operation = operation.clone();
            operation.client = changed.client(&format!("c{}", operation.client.0));
            if at == read {
                operation.value = Value::text("nobody wrote this");
            }
            changed.push(operation);
        }
        assert_eq!(verify(&changed, &report, &options()), Err(Refusal::Illegal(read as u32)), "seed {seed}");
        refused += 1;
    }
}

#[test]
fn a_counterexample_that_proves_nothing_is_refused() {
    let (mut refused, mut seed) = (0, 0);
    while refused < 2_000 {
        seed += 1;
        let mut random = Random(seed);
        let mut shape = draw_shape(&mut random);
        // A swap to the value it expects is a violation of its own where nobody else wrote that value.
        (shape.lies, shape.values) = (30, 0);
        let history = draw_history(&mut random, shape);
        let mut report = judged(&history);
        let Some(violation) = &mut report.violation else { continue };
        // From the near-linear judge every required operation is needed. Failed calls are there for the story, and may
        // be a violation of their own.
        let story = violation.anomaly == quorate_checker::Anomaly::AbortedRead;
        if report.method != quorate_checker::Method::Zones || violation.operations.len() < 2 || story {
            continue;
        }
        let needed = |id: &u32| history.operation(*id).outcome == quorate_checker::Outcome::Ok;
        let Some(at) = violation.operations.iter().position(needed) else { continue };
        let removed = violation.operations.remove(at);
        let result = verify(&history, &report, &options());
        assert!(result.is_err(), "seed {seed}: without {removed} it still proves: {report:?}");
        refused += 1;
    }
}

/// One key of another model: a history, its witness, and answers that do not fit.
fn story(model: ModelKind, calls: &[(Kind, Value)]) -> (History, KeyReport, Options) {
    let mut history = History::new();
    let (client, key) = (history.client("c"), history.key("k"));
    for (at, (kind, value)) in calls.iter().enumerate() {
        history.push(Operation::new(client, key, *kind, value.clone(), 10 * at as i64, 10 * at as i64 + 5));
    }
    let options = Options { model, ..options() };
    let report = check_history(&history, &options).keys.remove(0);
    (history, report, options)
}

fn list(items: &[i64]) -> Value {
    Value::List(Arc::new(items.iter().map(|item| Value::Int(*item)).collect()))
}

#[test]
fn each_model_refuses_each_wrong_answer() {
    use Kind::{Add, Append, Dequeue, Enqueue, Read, Remove, Write};
    let (absent, one, two) = (Value::Absent, Value::Int(1), Value::Int(2));
    let text = Value::text;
    // Each story is true; each wrong answer replaces the value at its place.
    let stories = [
        (
            ModelKind::Kv,
            vec![
                (Read, absent.clone()),
                (Append, text("a")),
                (Append, text("b")),
                (Read, text("ab")),
                (Write, text("c")),
                (Read, text("c")),
            ],
            vec![(0, text("a")), (3, text("a")), (3, absent.clone()), (3, text("ba")), (5, text("abc"))],
        ),
        (
            ModelKind::Set,
            vec![
                (Read, absent.clone()),
                (Add, one.clone()),
                (Read, list(&[1])),
                (Remove, one.clone()),
                (Read, list(&[])),
                (Add, two.clone()),
                (Read, list(&[2])),
            ],
            vec![(0, list(&[1])), (2, list(&[])), (2, absent.clone()), (4, list(&[1])), (6, list(&[1, 2]))],
        ),
        (
            ModelKind::Counter,
            vec![
                (Read, absent.clone()),
                (Add, two.clone()),
                (Read, two.clone()),
                (Add, one.clone()),
                (Read, Value::Int(3)),
            ],
            vec![(0, one.clone()), (2, absent.clone()), (2, one.clone()), (4, two.clone())],
        ),
        (
            ModelKind::Queue,
            vec![
                (Dequeue, absent.clone()),
                (Enqueue, one.clone()),
                (Enqueue, two.clone()),
                (Read, list(&[1, 2])),
                (Dequeue, one.clone()),
                (Dequeue, two.clone()),
                (Dequeue, absent.clone()),
            ],
            vec![(0, one.clone()), (3, list(&[2, 1])), (4, two.clone()), (5, absent.clone()), (6, two.clone())],
        ),
    ];
    for (model, calls, lies) in stories {
        let (history, report, options) = story(model, &calls);
        assert_eq!((report.model, report.verdict), (model, Verdict::Ok));
        assert_eq!(verify(&history, &report, &options), Ok(true));
        for (at, lie) in lies {
            let mut wrong = calls.clone();
            wrong[at].1 = lie.clone();
            let (wrong_history, wrong_report, _) = story(model, &wrong);
            assert_eq!(wrong_report.verdict, Verdict::Violation, "{model:?} {at} {lie}");
            assert_eq!(verify(&wrong_history, &wrong_report, &options), Ok(true), "{model:?} {at} {lie}");
            // The old witness does not fit the new answers.
            assert_eq!(verify(&wrong_history, &report, &options), Err(Refusal::Illegal(at as u32)), "{model:?} {lie}");
        }
    }
}

#[test]
fn a_counterexample_of_strangers_or_with_one_operation_twice_is_refused() {
    let mut history = History::new();
    let (a, b, key, other) = (history.client("a"), history.client("b"), history.key("k"), history.key("other"));
    history.push(Operation::new(a, key, Kind::Write, Value::Int(1), 0, 5));
    history.push(Operation::new(b, key, Kind::Read, Value::Absent, 10, 15));
    history.push(Operation::new(a, other, Kind::Read, Value::Int(9), 20, 25));
    let report = judged(&history);
    assert_eq!(verify(&history, &report, &options()), Ok(true));
    for added in [0, 2, 7] {
        let mut wrong = report.clone();
        wrong.violation.as_mut().expect("a stale read").operations.push(added);
        assert_eq!(verify(&history, &wrong, &options()), Err(Refusal::Foreign(added)));
    }
}

#[test]
fn a_counterexample_may_leave_out_what_found_an_empty_queue_but_not_what_may_have_emptied_it() {
    let options = Options { model: ModelKind::Queue, ..options() };
    let story = |emptied: Operation| {
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        history.push(Operation::new(client, key, Kind::Enqueue, Value::Int(1), 2, 3));
        history.push(emptied);
        history.push(Operation::new(client, key, Kind::Dequeue, Value::Absent, 10, 11));
        history
    };
    let mut names = History::new();
    let (client, key) = (names.client("c"), names.key("k"));
    let early = Operation::new(client, key, Kind::Dequeue, Value::Absent, 0, 1);
    // Lost: one was put in and nobody took it out. The early look into the empty queue may be left out.
    let lost = story(early.clone());
    let mut report = check_history(&lost, &options).keys.remove(0);
    report.violation.as_mut().expect("lost").operations = vec![0, 2];
    assert_eq!(verify(&lost, &report, &options), Ok(true));
    // A dequeue of unknown outcome may have taken it.
    let taken = story(early.unknown());
    assert_eq!(check_history(&taken, &options).verdict, Verdict::Ok);
    assert_eq!(verify(&taken, &report, &options), Err(Refusal::WriterMissing(1)));
}

#[test]
fn a_text_is_swapped_only_where_it_is_what_the_swap_expected() {
    let options = Options { model: ModelKind::Kv, ..options() };
    let story = |expected: &str, failed: bool, shown: &str| {
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        history.push(Operation::new(client, key, Kind::Append, Value::text("ab"), 0, 5));
        let swap = Operation::cas(client, key, Value::text(expected), Value::text("x"), 10, 15);
        history.push(if failed { swap.failed() } else { swap });
        history.push(Operation::new(client, key, Kind::Read, Value::text(shown), 20, 25));
        let report = check_history(&history, &options).keys.remove(0);
        (history, report)
    };
    let (right, wrong) = (story("ab", false, "x"), story("b", true, "ab"));
    for (history, report) in [&right, &wrong] {
        assert_eq!((report.verdict, verify(history, report, &options)), (Verdict::Ok, Ok(true)));
    }
    for (expected, failed, shown, refused) in
        [("a", false, "x", 1), ("ab", false, "ab", 2), ("ab", true, "ab", 1), ("b", true, "x", 2)]
    {
        let (history, report) = story(expected, failed, shown);
        assert_eq!((report.verdict, verify(&history, &report, &options)), (Verdict::Violation, Ok(true)));
        // The order that explained the other answers does not explain these.
        let witness = if failed { &wrong.1 } else { &right.1 };
        assert_eq!(verify(&history, witness, &options), Err(Refusal::Illegal(refused)), "{expected} {failed} {shown}");
    }
}

#[test]
fn what_could_not_be_answered_after_a_lost_text_is_part_of_the_counterexample() {
    let options = Options { model: ModelKind::Kv, ..options() };
    let (client, key) = (quorate_checker::ClientId(0), quorate_checker::KeyId(0));
    let text = Value::text;
    let swap = |from| Operation::cas(client, key, text(from), text("x"), 10, 15);
    let read = |shown, start| Operation::new(client, key, Kind::Read, text(shown), start, start + 5);
    // Once "ab" stands there no answer shows a text that begins so; what is legal all the same proves nothing.
    for (after, needed) in [
        (vec![swap("a")], 2),
        (vec![swap("b").failed(), read("x", 20)], 3),
        (vec![swap("b").failed(), read("x", 12)], 3),
        (vec![swap("b").failed(), swap("a")], 3),
        (vec![swap("b").failed(), swap("c").failed(), read("x", 20), read("x", 30)], 4),
    ] {
        let mut history = History::new();
        let (_, _) = (history.client("c"), history.key("k"));
        history.push(Operation::new(client, key, Kind::Append, text("ab"), 0, 5));
        after.into_iter().for_each(|operation| _ = history.push(operation));
        let report = check_history(&history, &options).keys.remove(0);
        assert_eq!((report.verdict, verify(&history, &report, &options)), (Verdict::Violation, Ok(true)), "{report:?}");
        assert_eq!(report.violation.expect("a violation has its reason").operations.len(), needed);
    }
}

#[test]
fn a_call_of_another_model_has_no_place_in_an_order_and_one_that_failed_needs_none() {
    let story = |kind: Kind, failed: bool| {
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        history.push(Operation::new(client, key, Kind::Append, Value::text("a"), 0, 5));
        let last = Operation::new(client, key, kind, Value::text("b"), 10, 15);
        history.push(if failed { last.failed() } else { last });
        history
    };
    let options = Options { model: ModelKind::Kv, ..options() };
    let report = |history: &History| check_history(history, &options).keys.remove(0);
    let (both, one) = (report(&story(Kind::Append, false)), report(&story(Kind::Append, true)));
    assert_eq!((both.witness.as_deref(), one.witness.as_deref()), (Some(&[0, 1][..]), Some(&[0][..])));
    for (kind, failed, witness, result) in [
        (Kind::Append, false, &both, Ok(true)),
        (Kind::Append, false, &one, Err(Refusal::Missing(1))),
        (Kind::Append, true, &one, Ok(true)),
        (Kind::Append, true, &both, Err(Refusal::Illegal(1))),
        (Kind::Add, false, &both, Err(Refusal::Illegal(1))),
    ] {
        assert_eq!(verify(&story(kind, failed), witness, &options), result, "{kind:?} {failed}");
    }
}

#[test]
fn a_counterexample_is_tried_up_to_64_operations() {
    let mut history = History::new();
    let (client, key) = (history.client("c"), history.key("k"));
    for at in 0..64 {
        history.push(Operation::new(client, key, Kind::Write, Value::Int(at), 10 * at, 10 * at + 5));
    }
    history.push(Operation::new(client, key, Kind::Read, Value::Int(3), 1_000, 1_001));
    let mut report = judged(&history);
    let tried = |left_out: &[u32], report: &mut KeyReport| {
        report.violation.as_mut().expect("a stale read").operations =
            (0..65).filter(|id| !left_out.contains(id)).collect();
        verify(&history, report, &options())
    };
    assert_eq!(tried(&[0], &mut report), Ok(true));
    assert_eq!(tried(&[], &mut report), Err(Refusal::TooLarge(65)));
    assert_eq!(tried(&[0, 3], &mut report), Err(Refusal::WriterMissing(3)));
}

#[test]
fn a_counterexample_of_many_that_overlap_is_tried_without_trying_every_order_of_them() {
    // Twenty that only look: which of them looked first does not matter.
    let look = |kind: Kind| {
        let mut history = History::new();
        let key = history.key("k");
        for number in 0..20 {
            let client = history.client(&format!("c{number}"));
            history.push(match kind {
                Kind::Cas => Operation::cas(client, key, 7.into(), 8.into(), 0, 100).failed(),
                _ => Operation::new(client, key, Kind::Read, Value::Absent, 0, 100),
            });
        }
        let client = history.client("late");
        history.push(Operation::new(client, key, Kind::Write, 1.into(), 200, 210));
        history.push(Operation::new(client, key, Kind::Read, Value::Absent, 300, 310));
        history
    };
    // Twelve texts appended at one time: what an answer shows tells their order.
    let mut texts = History::new();
    let key = texts.key("k");
    for letter in 'a'..='l' {
        let client = texts.client(&letter.to_string());
        texts.push(Operation::new(client, key, Kind::Append, Value::text(&letter.to_string()), 0, 100));
    }
    let client = texts.client("late");
    for (text, begun) in [("lkjihgfedcba", 200), ("abcdefghijkl", 300)] {
        texts.push(Operation::new(client, key, Kind::Read, Value::text(text), begun, begun + 10));
    }
    for (history, model) in
        [(look(Kind::Read), ModelKind::Register), (look(Kind::Cas), ModelKind::Register), (texts, ModelKind::Kv)]
    {
        let options = Options { model, ..options() };
        let mut report = check_history(&history, &options).keys.remove(0);
        let violation = report.violation.as_mut().expect("the last answer is stale");
        violation.operations = (0..history.len() as u32).collect();
        assert_eq!(verify(&history, &report, &options), Ok(true), "{model:?}");
    }
}

#[test]
fn large_texts_do_not_fill_the_memory_while_they_are_tried() {
    // Eight texts of 64 KiB appended at one time, and a write that may hide any of them: thousands of orders.
    let mut history = History::new();
    let key = history.key("k");
    for number in 0..8u8 {
        let client = history.client(&format!("c{number}"));
        let text = Value::bytes(&vec![b'a' + number; 64 << 10]);
        history.push(Operation::new(client, key, Kind::Append, text, 0, 100));
    }
    let client = history.client("late");
    history.push(Operation::new(client, key, Kind::Write, Value::text("w"), 0, 100));
    history.push(Operation::new(client, key, Kind::Read, Value::text("nobody wrote this"), 200, 210));
    let options = Options { model: ModelKind::Kv, ..options() };
    let mut report = check_history(&history, &options).keys.remove(0);
    report.violation.as_mut().expect("a lie").operations = (0..10).collect();
    assert_eq!(verify(&history, &report, &options), Err(Refusal::TooLarge(10)));
}
