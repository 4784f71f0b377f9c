//! A register with writes, deletes and compare-and-sets.
//!
//! A state is the number of the value held. Values that nothing observes share one number: no answer can tell them
//! apart.

use crate::Value;
use crate::cluster::{Role, Rules, role};
use crate::history::{History, OperationId};
use crate::model::{Calls, Model};
use crate::search::Call;
use crate::value::FastMap;

/// What a call does to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Write(u32),
    Swap(u32, u32),
    Observe(u32),
    Differ(u32),
}

/// The distinct calls of one key.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    ops: Vec<Op>,
    initial: u32,
}

/// The number of every value that nothing observes.
const UNOBSERVED: u32 = 0;
const INITIAL: u32 = 1;

impl Register {
    pub(crate) fn op(&self, op: u32) -> Op {
        self.ops[op as usize]
    }

    /// The same register beginning with another value.
    pub(crate) fn beginning_with(&self, initial: u32) -> Self {
        Register { ops: self.ops.clone(), initial }
    }
}

impl Model for Register {
    fn initial(&mut self) -> u32 {
        self.initial
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        match self.ops[op as usize] {
            Op::Write(value) => Some(value),
            Op::Swap(expected, value) => (state == expected).then_some(value),
            Op::Observe(value) => (state == value).then_some(state),
            Op::Differ(value) => (state != value).then_some(state),
        }
    }

    fn hides(&self, op: u32) -> bool {
        matches!(self.ops[op as usize], Op::Write(_))
    }

    fn always_hides(&self) -> bool {
        true
    }

    fn is_lost(&self, _state: u32) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// The model and the calls of one register key.
pub(crate) fn compile(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
) -> Result<(Register, Vec<Call>), OperationId> {
    let mut numbers: FastMap<&Value, u32> = FastMap::default();
    numbers.insert(&rules.init, INITIAL);
    for id in ids {
        if let Role::Observe(value) | Role::Differ(value) | Role::Swap(value, _) = role(history, *id, rules) {
            let next = numbers.len() as u32 + 1;
            numbers.entry(value).or_insert(next);
        }
    }
    let number = |value| numbers.get(value).copied().unwrap_or(UNOBSERVED);
    let mut calls = Calls::new();
    for id in ids {
        let (op, pure) = match role(history, *id, rules) {
            Role::Nothing => continue,
            Role::Write(value) => (Op::Write(number(value)), false),
            Role::Swap(expected, value) => (Op::Swap(number(expected), number(value)), false),
            Role::Observe(value) => (Op::Observe(number(value)), true),
            Role::Differ(value) => (Op::Differ(number(value)), true),
        };
        calls.push(history, *id, op, pure);
    }
    let (ops, calls) = calls.finish();
    Ok((Register { ops, initial: INITIAL }, calls))
}
