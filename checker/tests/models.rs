//! Texts with append, sets, counters and queues against a judge that tries every order on a plain object.

mod common;

use common::Random;
use common::objects::{Object, draw, is_linearizable};
use quorate_checker::{
    Anomaly, History, Kind, ModelKind, Operation, Options, Refusal, Value, Verdict, Violation, check_history, minimize,
    verify, write_jsonl,
};

/// How many histories are drawn of each model.
fn drawn() -> u64 {
    std::env::var("QUORATE_CHECKER_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(30_000)
}

#[test]
fn a_write_that_leaves_a_text_as_it_was_hides_what_was_appended_before() {
    let mut history = History::new();
    let key = history.key("k");
    let mut push = |name: &str, kind, shown: &str, from, until| {
        let client = history.client(name);
        history.push(Operation::new(client, key, kind, Value::text(shown), from, until));
    };
    push("a", Kind::Append, "1.", 1, 1);
    push("b", Kind::Append, "2.", 2, 3);
    // Nobody ever sees this one: it came before the write of what was there anyway.
    push("c", Kind::Append, "3.", 2, 4);
    push("a", Kind::Write, "1.", 2, 4);
    push("d", Kind::Read, "1.2.", 6, 8);
    let options = Options { certificates: true, ..Options::deterministic(1_000) };
    for unknown in [false, true] {
        let mut changed = history.clone();
        if unknown {
            changed = History::new();
            for (at, operation) in history.operations().iter().enumerate() {
                changed.client(history.client_name(operation.client));
                changed.key("k");
                changed.push(if at == 3 { operation.clone().unknown() } else { operation.clone() });
            }
        }
        let report = check_history(&changed, &options);
        assert_eq!(report.verdict, Verdict::Ok, "the write is unknown: {unknown}");
        assert_eq!(verify(&changed, &report.keys[0], &options), Ok(true));
    }
}

#[test]
fn every_model_agrees_with_brute_force_and_every_certificate_verifies_and_no_other() {
    for model in [ModelKind::Kv, ModelKind::Set, ModelKind::Counter, ModelKind::Queue] {
        let (mut violations, mut orderable) = (0, 0);
        for seed in 0..drawn() {
            let mut random = Random(seed);
            let (history, calls) = draw(&mut random, model);
            let expected = is_linearizable(model, &calls, 0, &Object::default());
            let options = Options { model, certificates: true, ..Options::deterministic(100_000) };
            let mut report = check_history(&history, &options);
            let show = || {
                let mut text = Vec::new();
                write_jsonl(&history, &mut text).expect("memory takes everything");
                format!("{model:?} seed {seed} {:?}\n{}", report.keys.first(), String::from_utf8_lossy(&text))
            };
            assert_eq!(report.verdict, if expected { Verdict::Ok } else { Verdict::Violation }, "{}", show());
            let Some(key) = report.keys.first() else { continue };
            assert_eq!(verify(&history, key, &options), Ok(true), "{}", show());
            if expected {
                let operations = (0..history.len() as u32).filter(|_| random.chance(70)).collect();
                let (key, anomaly, words) = (key.key, Anomaly::NoOrder, String::new());
                let mut part = report.keys[0].clone();
                (part.verdict, part.witness) = (Verdict::Violation, None);
                part.violation = Some(Violation { key, anomaly, operations, words });
                let refusal = verify(&history, &part, &options).expect_err("no part of it proves anything");
                orderable += usize::from(refusal == Refusal::Orderable);
            } else {
                violations += 1;
                let before = key.violation.clone().expect("a violation").operations.len();
                minimize(&history, &mut report.keys[0], &options);
                let after = report.keys[0].violation.clone().expect("a violation").operations.len();
                assert!(after <= before);
                assert_eq!(verify(&history, &report.keys[0], &options), Ok(true), "minimised");
            }
        }
        assert!(violations > 100, "{model:?}: {violations} violations");
        assert!(orderable > 100, "{model:?}: {orderable} parts were closed");
    }
}

#[test]
fn the_calls_on_a_key_tell_what_it_is() {
    let (int, list) = (Value::Int(1), Value::List(vec![Value::Int(1)].into()));
    let table = [
        ("read and written", vec![(Kind::Write, int.clone()), (Kind::Read, int.clone())], ModelKind::Register),
        ("lists read and written", vec![(Kind::Write, list.clone()), (Kind::Read, list.clone())], ModelKind::Register),
        ("appended to", vec![(Kind::Write, int.clone()), (Kind::Append, int.clone())], ModelKind::Kv),
        ("added to, numbers read", vec![(Kind::Add, int.clone()), (Kind::Read, int.clone())], ModelKind::Counter),
        ("added to, never read", vec![(Kind::Add, int.clone())], ModelKind::Counter),
        ("added to, lists read", vec![(Kind::Add, int.clone()), (Kind::Read, list.clone())], ModelKind::Set),
        ("a list added", vec![(Kind::Add, list)], ModelKind::Counter),
        ("taken from", vec![(Kind::Remove, int.clone())], ModelKind::Set),
        ("put into", vec![(Kind::Enqueue, int.clone())], ModelKind::Queue),
        ("taken out of", vec![(Kind::Dequeue, int)], ModelKind::Queue),
    ];
    for (what, calls, model) in table {
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        for (at, (kind, value)) in calls.into_iter().enumerate() {
            history.push(Operation::new(client, key, kind, value, at as i64 * 2, at as i64 * 2 + 1));
        }
        let report = check_history(&history, &Options::deterministic(1_000));
        assert_eq!(report.keys[0].model, model, "{what}");
    }
}
