//! A register with writes, deletes and compare-and-sets.
//!
//! A state is the number of the value held. Values that nothing observes share one number: no answer can tell them
//! apart.

use crate::cluster::{Role, Rules, interval, role};
use crate::history::{History, OperationId, Outcome};
use crate::model::Model;
use crate::search::Call;
use crate::value::FastMap;

/// What a call does to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Op {
    Write(u32),
    Swap(u32, u32),
    Observe(u32),
    Differ(u32),
}

/// The distinct calls of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    ops: Vec<Op>,
}

/// The number of every value that nothing observes.
const UNOBSERVED: u32 = 0;
const INITIAL: u32 = 1;

impl Model for Register {
    fn initial(&mut self) -> u32 {
        INITIAL
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        match self.ops[op as usize] {
            Op::Write(value) => Some(value),
            Op::Swap(expected, value) => (state == expected).then_some(value),
            Op::Observe(value) => (state == value).then_some(state),
            Op::Differ(value) => (state != value).then_some(state),
        }
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// The model and the calls of one register key.
pub(crate) fn compile(history: &History, ids: &[OperationId], rules: &Rules) -> (Register, Vec<Call>) {
    let mut numbers = FastMap::default();
    numbers.insert(&rules.init, INITIAL);
    for id in ids {
        if let Role::Observe(value) | Role::Differ(value) | Role::Swap(value, _) = role(history, *id, rules) {
            let next = numbers.len() as u32 + 1;
            numbers.entry(value).or_insert(next);
        }
    }
    let number = |value| numbers.get(value).copied().unwrap_or(UNOBSERVED);
    let mut register = Register::default();
    let mut known: FastMap<Op, u32> = FastMap::default();
    let mut calls = Vec::with_capacity(ids.len());
    for id in ids {
        let (op, pure) = match role(history, *id, rules) {
            Role::Nothing => continue,
            Role::Write(value) => (Op::Write(number(value)), false),
            Role::Swap(expected, value) => (Op::Swap(number(expected), number(value)), false),
            Role::Observe(value) => (Op::Observe(number(value)), true),
            Role::Differ(value) => (Op::Differ(number(value)), true),
        };
        let op = *known.entry(op).or_insert_with(|| {
            register.ops.push(op);
            register.ops.len() as u32 - 1
        });
        let (start, end) = interval(history, *id);
        let optional = history.operation(*id).outcome == Outcome::Unknown;
        calls.push(Call { id: *id, start, end, optional, pure, op });
    }
    (register, calls)
}
