//! Texts with append, sets, counters and queues against a judge that tries every order on a plain object.

mod common;

use common::Random;
use quorate_checker::{
    Anomaly, History, Kind, ModelKind, NEVER, Operation, Options, Outcome, Refusal, Value, Verdict, Violation,
    check_history, minimize, verify, write_jsonl,
};
use std::sync::Arc;

/// The plain object: a list of small numbers stands for all of them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Object(Option<Vec<i64>>);

fn list(items: &[i64]) -> Value {
    Value::List(Arc::new(items.iter().map(|item| Value::Int(*item)).collect()))
}

fn text(items: &[i64]) -> Value {
    Value::text(&items.iter().map(|item| format!("{item}.")).collect::<String>())
}

/// What a read shows.
fn shown(model: ModelKind, object: &Object) -> Value {
    let items = object.0.clone().unwrap_or_default();
    match model {
        ModelKind::Kv => object.0.as_ref().map_or(Value::Absent, |items| text(items)),
        ModelKind::Set => {
            let mut items = items;
            items.sort();
            items.dedup();
            list(&items)
        }
        ModelKind::Counter => Value::Int(items.iter().sum()),
        _ => list(&items),
    }
}

/// The call, and the object after it; `None` if it would have been answered otherwise.
fn apply(model: ModelKind, object: &Object, call: &Operation, number: i64) -> Option<Object> {
    let mut items = object.0.clone().unwrap_or_default();
    match (call.kind, call.outcome) {
        (Kind::Read, _) => return (shown(model, object) == call.value).then(|| object.clone()),
        (Kind::Write, _) => items = vec![number],
        (Kind::Append | Kind::Enqueue, _) => items.push(number),
        (Kind::Add, _) => items.push(number),
        (Kind::Remove, _) => items.retain(|item| *item != number),
        (Kind::Dequeue, outcome) => {
            let first = if items.is_empty() { None } else { Some(items.remove(0)) };
            if outcome == Outcome::Ok && first.map_or(Value::Absent, Value::Int) != call.value {
                return None;
            }
        }
        (Kind::Cas, outcome) => {
            let fits = shown(model, object) == *call.expected();
            return match outcome {
                Outcome::Fail => (!fits).then(|| object.clone()),
                Outcome::Ok | Outcome::Unknown => fits.then(|| Object(Some(vec![number]))),
            };
        }
    }
    Some(Object(Some(items)))
}

fn is_linearizable(model: ModelKind, calls: &[(Operation, i64)], done: u32, object: &Object) -> bool {
    let left = || (0..calls.len()).filter(|at| done >> at & 1 == 0);
    if left().all(|at| calls[at].0.outcome == Outcome::Unknown) {
        return true;
    }
    left().any(|at| {
        let start = calls[at].0.invoke;
        let too_early = left().any(|other| calls[other].0.end() < start);
        !too_early
            && apply(model, object, &calls[at].0, calls[at].1)
                .is_some_and(|next| is_linearizable(model, calls, done | 1 << at, &next))
    })
}

fn draw(random: &mut Random, model: ModelKind) -> (History, Vec<(Operation, i64)>) {
    let mut history = History::new();
    let key = history.key("k");
    let mut drawn: Vec<(i64, Operation, i64)> = Vec::new();
    let mut now = [0i64; 4];
    let lies = [0, 20][random.below(2) as usize];
    for _ in 0..1 + random.below(7) {
        let number = 1 + random.below(3) as i64;
        let at = random.below(4) as usize;
        let client = history.client(&format!("c{at}"));
        let start = now[at] + random.below(3) as i64;
        let end = start + random.below(4) as i64;
        now[at] = end + random.below(2) as i64;
        let (kind, value) = match (model, random.below(5)) {
            (_, 0 | 1) => (Kind::Read, Value::Absent),
            (ModelKind::Kv, 2) if random.chance(50) => (Kind::Cas, text(&[number])),
            (ModelKind::Kv, 2) => (Kind::Write, text(&[number])),
            (ModelKind::Kv, _) => (Kind::Append, text(&[number])),
            (ModelKind::Set, 2) => (Kind::Remove, Value::Int(number)),
            (ModelKind::Set | ModelKind::Counter, _) => (Kind::Add, Value::Int(number)),
            (_, 2) => (Kind::Dequeue, Value::Absent),
            _ => (Kind::Enqueue, Value::Int(number)),
        };
        let mut operation = Operation::new(client, key, kind, value, start, end);
        if random.chance(15) {
            operation = operation.unknown();
            now[at] += 1_000;
        }
        drawn.push((start + random.below((end - start + 1) as u64) as i64, operation, number));
    }
    drawn.sort_by_key(|(point, ..)| *point);
    let mut object = Object::default();
    for (_, operation, number) in &mut drawn {
        if operation.kind == Kind::Cas {
            // What is expected is often what is there.
            let there = shown(model, &object);
            let expected = if random.chance(70) { there.clone() } else { text(&[*number]) };
            let Operation { client, key, value, invoke, ret, outcome, .. } = operation.clone();
            let swap = Operation::cas(client, key, expected.clone(), value, invoke, ret);
            *operation = match outcome {
                Outcome::Unknown => swap.unknown(),
                _ if expected == there => swap,
                _ => swap.failed(),
            };
        }
        if operation.kind == Kind::Read || operation.kind == Kind::Dequeue && operation.outcome == Outcome::Ok {
            operation.value = match operation.kind {
                Kind::Read => shown(model, &object),
                _ => object.0.as_ref().and_then(|items| items.first()).map_or(Value::Absent, |item| Value::Int(*item)),
            };
        }
        if operation.outcome == Outcome::Ok || random.chance(50) {
            // A swap of unknown outcome that does not fit does nothing.
            object = apply(model, &object, operation, *number).unwrap_or(object);
        }
        if operation.kind == Kind::Read && random.chance(lies) {
            operation.value = shown(model, &Object(Some(vec![*number])));
        }
    }
    drawn.retain(|(_, operation, _)| operation.kind != Kind::Read || operation.outcome == Outcome::Ok);
    drawn.sort_by_key(|(point, operation, _)| if operation.ret == NEVER { *point } else { operation.ret });
    let calls: Vec<(Operation, i64)> = drawn.into_iter().map(|(_, operation, number)| (operation, number)).collect();
    for (operation, _) in &calls {
        history.push(operation.clone());
    }
    (history, calls)
}

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
