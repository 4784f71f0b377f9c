//! A counter: numbers are added, a read returns the sum.

use crate::Value;
use crate::cluster::Rules;
use crate::history::{History, Kind, OperationId, Outcome};
use crate::model::{Calls, Model, States};
use crate::search::Call;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Add(i64),
    Read(i64),
}

/// One key; a state is the sum.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    initial: i64,
    ops: Vec<Op>,
    states: States<i64>,
}

impl Model for Counter {
    fn initial(&mut self) -> u32 {
        self.states.number(self.initial, 0)
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        let sum = *self.states.get(state);
        match self.ops[op as usize] {
            Op::Add(number) => Some(self.states.number(sum.checked_add(number)?, 0)),
            Op::Read(read) => (read == sum).then_some(state),
        }
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
) -> Result<(Counter, Vec<Call>), OperationId> {
    let mut calls = Calls::new();
    for id in ids {
        let operation = history.operation(*id);
        let (op, pure) = match (operation.kind, operation.outcome, &operation.value) {
            (_, Outcome::Fail, _) | (Kind::Read, Outcome::Unknown, _) | (Kind::Read, _, Value::Any) => continue,
            (Kind::Read, _, _) if operation.level.is_eventual() => continue,
            (Kind::Read, _, Value::Int(read)) => (Op::Read(*read), true),
            (Kind::Read, _, Value::Absent) => (Op::Read(0), true),
            (Kind::Add, _, Value::Int(number)) => (Op::Add(*number), false),
            _ => return Err(*id),
        };
        calls.push(history, *id, op, pure);
    }
    let (ops, calls) = calls.finish();
    let initial = if let Value::Int(number) = rules.init { number } else { 0 };
    Ok((Counter { initial, ops, states: States::new() }, calls))
}
