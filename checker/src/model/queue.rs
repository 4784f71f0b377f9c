//! A queue: first in, first out; taking from an empty one returns nothing.

use crate::Value;
use crate::cluster::Rules;
use crate::history::{History, Kind, OperationId, Outcome};
use crate::model::{Calls, Model, States};
use crate::search::Call;
use crate::value::FastMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Enqueue(u32),
    /// Took this element, or found nothing.
    Dequeue(Option<u32>),
    /// Took whatever was there; nobody knows what.
    DequeueAny,
    Read(Vec<u32>),
}

/// One key; a state is the elements in order.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    initial: Vec<u32>,
    ops: Vec<Op>,
    states: States<Vec<u32>>,
}

impl Model for Queue {
    fn initial(&mut self) -> u32 {
        let bytes = self.initial.len() * 4;
        self.states.number(self.initial.clone(), bytes)
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        let held = self.states.get(state);
        let next = match &self.ops[op as usize] {
            Op::Enqueue(element) => [held.as_slice(), &[*element]].concat(),
            Op::Dequeue(None) => return held.is_empty().then_some(state),
            Op::Dequeue(Some(element)) => held.strip_prefix(&[*element])?.to_vec(),
            Op::DequeueAny if held.is_empty() => return Some(state),
            Op::DequeueAny => held[1..].to_vec(),
            Op::Read(read) => return (read == held).then_some(state),
        };
        let bytes = next.len() * 4;
        Some(self.states.number(next, bytes))
    }

    fn hides(&self, _op: u32) -> bool {
        false
    }

    fn always_hides(&self) -> bool {
        false
    }

    fn is_lost(&self, _state: u32) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        self.states.bytes()
    }
}

/// The model and the calls of one key.
pub(crate) fn compile(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
) -> Result<(Queue, Vec<Call>), OperationId> {
    let mut numbers: FastMap<Value, u32> = FastMap::default();
    let mut number = |value: &Value| {
        let next = numbers.len() as u32;
        *numbers.entry(value.clone()).or_insert(next)
    };
    let initial = match &rules.init {
        Value::List(items) => items.iter().map(&mut number).collect(),
        _ => Vec::new(),
    };
    let mut calls = Calls::new();
    for id in ids {
        let operation = history.operation(*id);
        let (op, pure) = match (operation.kind, operation.outcome, &operation.value) {
            (_, Outcome::Fail, _) | (Kind::Read, Outcome::Unknown, _) | (Kind::Read, _, Value::Any) => continue,
            (Kind::Read, _, Value::List(items)) => (Op::Read(items.iter().map(&mut number).collect()), true),
            (Kind::Enqueue, _, value) => (Op::Enqueue(number(value)), false),
            (Kind::Dequeue, Outcome::Unknown, _) => (Op::DequeueAny, false),
            (Kind::Dequeue, Outcome::Ok, Value::Absent) => (Op::Dequeue(None), true),
            (Kind::Dequeue, Outcome::Ok, value) => (Op::Dequeue(Some(number(value))), false),
            _ => return Err(*id),
        };
        calls.push(history, *id, op, pure);
    }
    let (ops, calls) = calls.finish();
    Ok((Queue { initial, ops, states: States::new() }, calls))
}
