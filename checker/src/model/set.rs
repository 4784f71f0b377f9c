//! A set: elements are added and removed, a read returns all of them.

use crate::Value;
use crate::cluster::Rules;
use crate::history::{History, Kind, OperationId, Outcome};
use crate::model::{Calls, Model, States};
use crate::search::Call;
use crate::value::FastMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Add(u32),
    Remove(u32),
    Read(Vec<u64>),
    /// A read of something that is no set of known elements: never legal.
    Impossible,
}

/// One key; a state is a bit per element.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    initial: Vec<u64>,
    ops: Vec<Op>,
    states: States<Vec<u64>>,
}

impl Model for Set {
    fn initial(&mut self) -> u32 {
        let bytes = self.initial.len() * 8;
        self.states.number(self.initial.clone(), bytes)
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        let held = self.states.get(state);
        let (element, present) = match &self.ops[op as usize] {
            Op::Read(read) => return (read == held).then_some(state),
            Op::Impossible => return None,
            Op::Add(element) => (*element as usize, true),
            Op::Remove(element) => (*element as usize, false),
        };
        let bit = 1 << (element % 64);
        if (held[element / 64] & bit != 0) == present {
            return Some(state);
        }
        let mut next = held.clone();
        next[element / 64] ^= bit;
        let bytes = next.len() * 8;
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
pub(crate) fn compile(history: &History, ids: &[OperationId], rules: &Rules) -> Result<(Set, Vec<Call>), OperationId> {
    let mut numbers: FastMap<&Value, u32> = FastMap::default();
    let of_init = match &rules.init {
        Value::List(items) => items.as_slice(),
        _ => &[],
    };
    let changed = ids.iter().map(|id| history.operation(*id));
    let changed = changed.filter(|operation| matches!(operation.kind, Kind::Add | Kind::Remove));
    for value in of_init.iter().chain(changed.map(|operation| &operation.value)) {
        let next = numbers.len() as u32;
        numbers.entry(value).or_insert(next);
    }
    let words = numbers.len().div_ceil(64);
    let bits = |items: &[Value]| {
        let mut bits = vec![0u64; words];
        for item in items {
            let number = numbers.get(item)?;
            bits[*number as usize / 64] |= 1 << (number % 64);
        }
        Some(bits)
    };
    let mut calls = Calls::new();
    for id in ids {
        let operation = history.operation(*id);
        let (op, pure) = match (operation.kind, operation.outcome, &operation.value) {
            (_, Outcome::Fail, _) | (Kind::Read, Outcome::Unknown, _) | (Kind::Read, _, Value::Any) => continue,
            (Kind::Read, _, _) if operation.level.is_eventual() => continue,
            (Kind::Read, _, Value::List(items)) => (bits(items).map_or(Op::Impossible, Op::Read), true),
            (Kind::Read, _, Value::Absent) => (Op::Read(vec![0; words]), true),
            (Kind::Add, _, value) => (Op::Add(numbers[value]), false),
            (Kind::Remove, _, value) => (Op::Remove(numbers[value]), false),
            _ => return Err(*id),
        };
        calls.push(history, *id, op, pure);
    }
    let (ops, calls) = calls.finish();
    let initial = bits(of_init).expect("elements of the initial value are numbered");
    Ok((Set { initial, ops, states: States::new() }, calls))
}
