//! A text that can be written, read, swapped and appended to.
//!
//! Only texts that some answer shows can matter, and of those only the beginnings. So the shown texts are sorted, and
//! a state is a beginning of one of them: the first shown text that begins so, and a length. Whatever is not the
//! beginning of a shown text is one state, *lost*: no answer is legal there until something overwrites it. Appends of
//! many clients at once then branch only as far as some answer agrees with them.

use std::borrow::Cow;

use crate::Value;
use crate::cluster::Rules;
use crate::history::{History, Kind, OperationId, Outcome};
use crate::model::{Calls, Model, States};
use crate::search::Call;
use crate::value::FastMap;
use crate::{FailedCas, model};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Op {
    Put(Value),
    Append(Value),
    Swap(Value, Value),
    Get(Value),
    Differ(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Absent,
    /// The beginning of shown text number `first` that is `len` bytes long.
    Text {
        first: u32,
        len: u32,
    },
    Lost,
}

/// The texts of one key.
#[derive(Clone, Debug)]
pub(crate) struct Kv {
    init: Value,
    shown: Vec<Vec<u8>>,
    ops: Vec<Op>,
    states: States<State>,
    known: FastMap<(u32, u32), Option<u32>>,
}

fn text(value: &Value) -> Cow<'_, [u8]> {
    match value.as_bytes() {
        Some(bytes) => Cow::Borrowed(bytes),
        None => Cow::Owned(value.to_string().into_bytes()),
    }
}

impl Kv {
    /// The state that holds exactly this text.
    fn holding(&self, value: &Value) -> State {
        if value.is_absent() { State::Absent } else { self.extend(0, 0, &text(value)) }
    }

    /// The state after appending to the beginning of length `len` that the texts from `first` on share.
    fn extend(&self, first: u32, len: u32, appended: &[u8]) -> State {
        let first = first as usize;
        let (begin, len) = (&self.shown.get(first).map_or(&[][..], |text| &text[..len as usize]), len as usize);
        let shares = |text: &Vec<u8>| text.starts_with(begin);
        let range = &self.shown[first..first + self.shown[first..].partition_point(shares)];
        let at = range.partition_point(|text| &text[len..] < appended);
        match range.get(at) {
            Some(text) if text[len..].starts_with(appended) => {
                State::Text { first: (first + at) as u32, len: (len + appended.len()) as u32 }
            }
            _ => State::Lost,
        }
    }

    fn holds(&self, state: State, value: &Value) -> bool {
        match state {
            State::Absent => value.is_absent(),
            State::Text { first, len } => {
                !value.is_absent() && self.shown[first as usize][..len as usize] == *text(value)
            }
            State::Lost => false,
        }
    }

    fn after(&self, state: State, op: &Op) -> Option<State> {
        match op {
            Op::Put(value) => Some(self.holding(value)),
            Op::Append(value) => Some(match state {
                State::Absent => self.extend(0, 0, &text(value)),
                State::Text { first, len } => self.extend(first, len, &text(value)),
                State::Lost => State::Lost,
            }),
            Op::Swap(expected, value) => self.holds(state, expected).then(|| self.holding(value)),
            Op::Get(value) => self.holds(state, value).then_some(state),
            Op::Differ(value) => (!self.holds(state, value)).then_some(state),
        }
    }
}

impl Model for Kv {
    fn initial(&mut self) -> u32 {
        let state = self.holding(&self.init.clone());
        self.states.number(state, 0)
    }

    fn step(&mut self, state: u32, op: u32) -> Option<u32> {
        if let Some(known) = self.known.get(&(state, op)) {
            return *known;
        }
        let next = self.after(*self.states.get(state), &self.ops[op as usize]);
        let next = next.map(|next| self.states.number(next, 0));
        self.known.insert((state, op), next);
        next
    }

    fn hides(&self, op: u32) -> bool {
        matches!(self.ops[op as usize], Op::Put(_))
    }

    fn always_hides(&self) -> bool {
        false
    }

    fn is_lost(&self, state: u32) -> bool {
        *self.states.get(state) == State::Lost
    }

    fn bytes(&self) -> usize {
        self.states.bytes() + self.known.len() * 32
    }
}

/// The model and the calls of one key.
pub(crate) fn compile(history: &History, ids: &[OperationId], rules: &Rules) -> Result<(Kv, Vec<Call>), OperationId> {
    let mut calls = Calls::new();
    let mut shown: Vec<Vec<u8>> = vec![];
    let mut show = |value: &Value| {
        if !value.is_absent() {
            shown.push(text(value).into_owned());
        }
    };
    show(&rules.init);
    for id in ids {
        let operation = history.operation(*id);
        let value = operation.value.clone();
        let (op, pure) = match (operation.kind, operation.outcome) {
            (Kind::Read, Outcome::Ok) if value == Value::Any || operation.level.is_eventual() => continue,
            (Kind::Read, Outcome::Ok) => {
                show(&value);
                (Op::Get(value), true)
            }
            (Kind::Read, _) => continue,
            (Kind::Cas, Outcome::Fail) if rules.failed_cas == FailedCas::Mismatch => match operation.seen() {
                Some(seen) if seen != operation.expected() => {
                    show(seen);
                    (Op::Get(seen.clone()), true)
                }
                _ => {
                    show(operation.expected());
                    (Op::Differ(operation.expected().clone()), true)
                }
            },
            (_, Outcome::Fail) => continue,
            (Kind::Write, _) => (Op::Put(value), false),
            (Kind::Append, _) => (Op::Append(value), false),
            (Kind::Cas, _) => {
                show(operation.expected());
                (Op::Swap(operation.expected().clone(), value), false)
            }
            (Kind::Add | Kind::Remove | Kind::Enqueue | Kind::Dequeue, _) => return Err(*id),
        };
        calls.push(history, *id, op, pure);
    }
    shown.sort_unstable();
    shown.dedup();
    let (ops, calls) = calls.finish();
    let states = model::States::new();
    Ok((Kv { init: rules.init.clone(), shown, ops, states, known: FastMap::default() }, calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_no_answer_begins_with_is_lost_until_it_is_overwritten() {
        let kv = Kv {
            init: Value::Absent,
            shown: ["", "a", "ab", "abc", "b"].map(|text| text.as_bytes().to_vec()).to_vec(),
            ops: Vec::new(),
            states: States::new(),
            known: FastMap::default(),
        };
        let append = |state, text: &str| kv.after(state, &Op::Append(Value::text(text))).expect("always legal");
        let ab = append(append(State::Absent, "a"), "b");
        assert!(kv.holds(ab, &Value::text("ab")) && !kv.holds(ab, &Value::text("abc")));
        assert_eq!(ab, append(State::Absent, "ab"));
        assert_eq!(append(ab, "b"), State::Lost);
        assert_eq!(append(State::Lost, "a"), State::Lost);
        assert_eq!(kv.after(State::Lost, &Op::Put(Value::text("ab"))), Some(ab));
        // Empty is not absent.
        assert!(!kv.holds(State::Absent, &Value::text("")));
        assert!(kv.holds(kv.holding(&Value::text("")), &Value::text("")));
    }
}
