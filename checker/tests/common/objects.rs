//! Random small histories of texts, sets, counters and queues, and a judge that tries every order on a plain object.

use std::sync::Arc;

use quorate_checker::{History, Kind, ModelKind, NEVER, Operation, Outcome, Value};

use super::Random;

/// The plain object: a list of small numbers stands for all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object(Option<Vec<i64>>);

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

pub(crate) fn is_linearizable(model: ModelKind, calls: &[(Operation, i64)], done: u32, object: &Object) -> bool {
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

pub(crate) fn draw(random: &mut Random, model: ModelKind) -> (History, Vec<(Operation, i64)>) {
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
