//! What a counterexample may leave out, and what it may not.

mod common;

use common::{Random, Shape, draw_history, draw_shape};
use quorate_checker::{
    Anomaly, History, KeyReport, Kind, Operation, Options, Refusal, Value, Verdict, Violation, check_history, minimize,
    verify,
};

fn options() -> Options {
    Options { certificates: true, ..Options::deterministic(1_000_000) }
}

fn judged(history: &History) -> KeyReport {
    check_history(history, &options()).keys.remove(0)
}

#[test]
fn no_part_of_an_orderable_history_passes_for_a_counterexample() {
    let mut orderable = 0;
    for seed in 0..40_000 {
        let mut random = Random(seed);
        let shape = Shape { lies: 0, ..draw_shape(&mut random) };
        let history = draw_history(&mut random, shape);
        let report = judged(&history);
        if report.verdict != Verdict::Ok {
            continue;
        }
        let part: Vec<u32> = (0..history.len() as u32).filter(|_| random.chance(60)).collect();
        match claimed(&history, part) {
            Err(Refusal::Orderable) => orderable += 1,
            Err(Refusal::WriterMissing(_)) => {}
            other => panic!("seed {seed}: {other:?} {report:?}\n{:?}", history.operations()),
        }
    }
    assert!(orderable > 2_000, "{orderable} parts were closed");
}

#[test]
fn writes_that_were_surely_replaced_are_left_out_of_a_counterexample() {
    let mut history = History::new();
    let (key, one, two) = (history.key("k"), history.client("one"), history.client("two"));
    let write = |value: i64, from: i64| Operation::new(one, key, Kind::Write, value.into(), from, from + 4);
    for round in 0..30 {
        history.push(write(1 + round % 2, 10 * round));
    }
    // Of an operation that may still come nothing is explained that was over before.
    history.push(Operation::cas(two, key, 1.into(), 7.into(), 400, 401).unknown());
    history.push(Operation::new(two, key, Kind::Read, 1.into(), 410, 420));
    history.push(write(1, 430));
    let mut report = judged(&history);
    assert_eq!(report.verdict, Verdict::Violation);
    assert_eq!(verify(&history, &report, &options()), Ok(true), "what began after the last answer is not asked for");
    minimize(&history, &mut report, &options());
    let operations = &report.violation.as_ref().expect("a violation").operations;
    assert_eq!(*operations, vec![28, 29, 31], "the last write of the value, what replaced it, and the late answer");
    assert_eq!(verify(&history, &report, &options()), Ok(true));
    // One write of the value belongs to the story, and what replaced it makes it one.
    for (left_out, refusal) in [(0, Refusal::WriterMissing(0)), (1, Refusal::Orderable)] {
        let mut less = report.clone();
        less.violation.as_mut().expect("a violation").operations.remove(left_out);
        assert_eq!(verify(&history, &less, &options()), Err(refusal));
    }
    // A write that only touches the one that replaced it may come after it.
    let touching = |history: &History, at: usize, ret: i64| {
        let mut changed = History::new();
        let (key, client) = (changed.key("k"), changed.client("one"));
        for (number, operation) in history.operations().iter().enumerate() {
            let mut operation = operation.clone();
            (operation.client, operation.key) = (client, key);
            if number == at {
                operation.ret = ret;
            }
            changed.push(operation);
        }
        changed
    };
    assert_eq!(verify(&touching(&history, 26, 289), &report, &options()), Ok(true));
    assert_eq!(verify(&touching(&history, 26, 290), &report, &options()), Err(Refusal::WriterMissing(26)));
    assert_eq!(verify(&touching(&history, 29, 409), &report, &options()), Ok(true));
    assert!(verify(&touching(&history, 29, 410), &report, &options()).is_err());
}

/// Calls of one key, which of them are shown, and what the verifier says of that.
#[test]
fn what_stands_between_a_write_and_an_answer_is_told_by_time() {
    const V: i64 = 1;
    let call = |kind, value: i64, from, until| {
        let mut names = History::new();
        Operation::new(names.client("c"), names.key("k"), kind, value.into(), from, until)
    };
    let write = |value, from, until| call(Kind::Write, value, from, until);
    let read = |value, from, until| call(Kind::Read, value, from, until);
    let swap = |expected: i64, value: i64, from, until| {
        let Operation { client, key, .. } = call(Kind::Cas, value, from, until);
        Operation::cas(client, key, expected.into(), value.into(), from, until)
    };
    let table = [
        (
            "the write that was over last began first; still what ended before the other began is hidden",
            vec![write(V, 0, 10), write(V, 44, 46), write(8, 50, 52), write(9, 40, 60), read(V, 70, 80)],
            vec![0, 2, 3, 4],
            Ok(true),
        ),
        (
            "an answer that was asked for earlier and over later saw more",
            vec![write(V, 0, 10), write(V, 20, 22), write(8, 30, 32), read(V, 29, 90), read(V, 40, 50)],
            vec![0, 2, 3, 4],
            Err(Refusal::WriterMissing(1)),
        ),
        (
            "the same, told the other way round",
            vec![write(V, 0, 10), write(V, 20, 22), write(8, 30, 32), read(V, 29, 90), read(V, 40, 50)],
            vec![0, 2, 4, 3],
            Err(Refusal::WriterMissing(1)),
        ),
        (
            "a swap stands between as a write does",
            vec![write(V, 5, 6), write(V, 0, 21), write(7, 20, 22), swap(7, 8, 30, 32), read(V, 40, 50)],
            vec![0, 2, 3, 4],
            Ok(true),
        ),
        (
            "a failed swap saw none of what was replaced before it was asked for",
            vec![write(8, 0, 10), write(V, 20, 22), swap(V, 9, 40, 50).failed()],
            vec![1, 2],
            Ok(true),
        ),
        (
            "a failed swap may have seen what was not surely replaced",
            vec![write(8, 0, 20), write(V, 20, 22), swap(V, 9, 40, 50).failed()],
            vec![1, 2],
            Err(Refusal::WriterMissing(0)),
        ),
    ];
    for (what, operations, shown, expected) in table {
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        for operation in operations {
            assert_eq!((operation.client, operation.key), (client, key));
            history.push(operation);
        }
        assert_eq!(claimed(&history, shown), expected, "{what}");
    }
}

#[test]
fn what_is_there_at_first_needs_no_write_to_be_shown() {
    let mut history = History::new();
    let (client, key) = (history.client("c"), history.key("k"));
    history.push(Operation::new(client, key, Kind::Write, Value::Absent, 0, 1));
    history.push(Operation::new(client, key, Kind::Write, 8.into(), 10, 20));
    history.push(Operation::new(client, key, Kind::Read, Value::Absent, 30, 40));
    assert_eq!(claimed(&history, vec![1, 2]), Ok(true));
}

/// What the verifier says to these operations as a counterexample.
fn claimed(history: &History, operations: Vec<u32>) -> Result<bool, Refusal> {
    let mut report = judged(history);
    let (key, anomaly, words) = (report.key, Anomaly::NoOrder, String::new());
    (report.verdict, report.witness) = (Verdict::Violation, None);
    report.violation = Some(Violation { key, anomaly, operations, words });
    verify(history, &report, &options())
}

#[test]
fn a_story_of_the_near_linear_judge_is_left_as_it_is() {
    let mut history = History::new();
    let (client, key) = (history.client("c"), history.key("k"));
    history.push(Operation::new(client, key, Kind::Write, 3.into(), 0, 1).failed());
    history.push(Operation::new(client, key, Kind::Read, 3.into(), 2, 3));
    let mut report = judged(&history);
    let before = report.violation.clone().expect("an aborted read");
    assert_eq!((before.anomaly, before.operations.len()), (Anomaly::AbortedRead, 2));
    minimize(&history, &mut report, &options());
    assert_eq!(report.violation, Some(before));
}
