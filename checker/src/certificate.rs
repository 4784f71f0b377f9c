//! Certificates: what a judge hands over so that nobody has to trust it.
//!
//! An `ok` carries a witness, one order of the operations that explains every answer; a `violation` carries the few
//! operations that cannot be ordered. The verifiers here know no judge: they replay the order on a plain register, or
//! take the few operations and try every order. They are short on purpose.
//!
//! A witness is valid if it contains every operation that constrains the key exactly once (those of unknown outcome
//! may be missing), no operation stands behind one that started after its end, and each answer is what a register
//! would have said. Linear in the length of the key.

mod closed;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::Value;
use crate::cluster::{NONE, Role, Rules, interval, role};
use crate::history::{History, Kind, OperationId, Outcome, Time};
use crate::model::ModelKind;

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The order names an operation that is not of this key, or names one twice.
    #[error("operation {0} does not belong into the order, or stands in it twice")]
    Foreign(OperationId),
    /// The order leaves out an operation that took effect.
    #[error("operation {0} took effect but is missing from the order")]
    Missing(OperationId),
    /// The order puts an operation behind one that started after its end.
    #[error("operation {0} ended before one that stands earlier in the order started")]
    AgainstTime(OperationId),
    /// The register would have answered otherwise.
    #[error("operation {0} could not have been answered so at its place in the order")]
    Illegal(OperationId),
    /// The operations of a counterexample can be ordered after all.
    #[error("the operations of the counterexample can be ordered")]
    Orderable,
    /// A counterexample leaves out a write of a value that its operations observed.
    #[error("operation {0} wrote a value that the counterexample observes, but is not part of it")]
    WriterMissing(OperationId),
    /// A counterexample is too large to try every order.
    #[error("a counterexample of {0} operations is too large to verify by trying")]
    TooLarge(usize),
}

/// How a judge told which write an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// By the value alone.
    Value,
    /// By the version that the answer carried, where a write of this key carries the same.
    Version,
}

/// One key as the verifiers see it: plain replay, nothing else.
pub(crate) struct Key<'a> {
    history: &'a History,
    ids: &'a [OperationId],
    rules: &'a Rules,
    model: ModelKind,
    writer_of: HashMap<&'a Value, OperationId>,
    identity: Identity,
}

/// What the object holds.
#[derive(Clone, PartialEq, Eq, Hash)]
enum State<'a> {
    /// A value, and who wrote it.
    Register(&'a Value, OperationId),
    Text(Option<Vec<u8>>),
    Set(BTreeSet<&'a Value>),
    Sum(i64),
    Queue(VecDeque<&'a Value>),
}

impl State<'_> {
    /// What lies behind its pointers.
    fn bytes(&self) -> usize {
        match self {
            State::Register(..) | State::Text(None) | State::Sum(_) => 0,
            State::Text(Some(text)) => text.len(),
            State::Set(items) => items.len() * size_of::<&Value>(),
            State::Queue(items) => items.len() * size_of::<&Value>(),
        }
    }
}

impl<'a> Key<'a> {
    pub(crate) fn new(
        history: &'a History,
        ids: &'a [OperationId],
        rules: &'a Rules,
        model: ModelKind,
        identity: Identity,
    ) -> Self {
        let mut writer_of = HashMap::new();
        if identity == Identity::Version {
            for id in ids {
                if let (Role::Write(_) | Role::Swap(..), Some(version)) =
                    (role(history, *id, rules), history.operation(*id).version())
                {
                    writer_of.insert(version, *id);
                }
            }
        }
        Key { history, ids, rules, model, writer_of, identity }
    }

    fn initial(&self) -> State<'a> {
        let init = &self.rules.init;
        let items: &[Value] = if let Value::List(items) = init { items } else { &[] };
        match self.model {
            ModelKind::Auto | ModelKind::Register => State::Register(init, NONE),
            ModelKind::Kv => State::Text(text(init)),
            ModelKind::Set => State::Set(items.iter().collect()),
            ModelKind::Counter => State::Sum(if let Value::Int(sum) = init { *sum } else { 0 }),
            ModelKind::Queue => State::Queue(items.iter().collect()),
        }
    }

    /// Applies an operation; false if the object would not have answered so.
    fn apply(&self, state: &mut State<'a>, id: OperationId) -> bool {
        let operation = self.history.operation(id);
        let value = &operation.value;
        if self.is_nothing(id) {
            return false;
        }
        match state {
            State::Register(held, writer) => return self.apply_register(held, writer, id),
            State::Text(held) => match role(self.history, id, self.rules) {
                Role::Write(new) => *held = text(new),
                Role::Swap(expected, new) if *held == text(expected) => *held = text(new),
                Role::Observe(seen) => return *held == text(seen),
                Role::Differ(other) => return *held != text(other),
                Role::Nothing if operation.kind == Kind::Append => {
                    held.get_or_insert_default().extend(text(value).unwrap_or_default());
                }
                Role::Nothing | Role::Swap(..) => return false,
            },
            State::Set(held) => match (operation.kind, value) {
                (Kind::Add, _) => drop(held.insert(value)),
                (Kind::Remove, _) => drop(held.remove(value)),
                (Kind::Read, Value::List(items)) => return *held == items.iter().collect(),
                (Kind::Read, Value::Absent) => return held.is_empty(),
                _ => return false,
            },
            State::Sum(sum) => match (operation.kind, value) {
                (Kind::Add, Value::Int(number)) => match sum.checked_add(*number) {
                    Some(next) => *sum = next,
                    None => return false,
                },
                (Kind::Read, Value::Int(read)) => return read == sum,
                (Kind::Read, Value::Absent) => return *sum == 0,
                _ => return false,
            },
            State::Queue(held) => match (operation.kind, operation.outcome, value) {
                (Kind::Enqueue, _, _) => held.push_back(value),
                (Kind::Dequeue, Outcome::Unknown, _) => drop(held.pop_front()),
                (Kind::Dequeue, _, Value::Absent) => return held.is_empty(),
                (Kind::Dequeue, _, _) => return held.pop_front() == Some(value),
                (Kind::Read, _, Value::List(items)) => return held.iter().copied().eq(items.iter()),
                _ => return false,
            },
        }
        true
    }

    fn apply_register(&self, held: &mut &'a Value, writer: &mut OperationId, id: OperationId) -> bool {
        match role(self.history, id, self.rules) {
            Role::Nothing => return false,
            Role::Write(new) => (*held, *writer) = (new, id),
            Role::Swap(expected, new) if expected == *held => (*held, *writer) = (new, id),
            Role::Swap(..) => return false,
            Role::Observe(seen) => return seen == *held && self.may_see(id, *writer),
            Role::Differ(other) => return other != *held && self.may_see(id, *writer),
        }
        true
    }

    /// Does the operation constrain nothing under this model?
    fn is_nothing(&self, id: OperationId) -> bool {
        let operation = self.history.operation(id);
        if matches!(operation.kind, Kind::Read | Kind::Write | Kind::Cas) {
            return matches!(role(self.history, id, self.rules), Role::Nothing);
        }
        operation.outcome == Outcome::Fail || matches!(self.model, ModelKind::Auto | ModelKind::Register)
    }

    /// An answer that carries a version came from the write that carries the same, or, where none does, from one that
    /// carries none.
    fn may_see(&self, id: OperationId, writer: OperationId) -> bool {
        let Some(version) = self.history.operation(id).version() else { return true };
        match self.writer_of.get(version) {
            Some(known) => *known == writer,
            None if self.identity == Identity::Value || writer == NONE => true,
            None => self.history.operation(writer).version().is_none(),
        }
    }

    fn is_required(&self, id: OperationId) -> bool {
        self.history.operation(id).outcome != Outcome::Unknown && !self.is_nothing(id)
    }

    /// Verifies a witness order against the whole key.
    pub(crate) fn verify_order(&self, order: &[OperationId]) -> Result<(), Refusal> {
        let mut in_order = vec![false; self.ids.len()];
        let mut state = self.initial();
        let mut latest_start = Time::MIN;
        for id in order {
            let at = self.ids.binary_search(id).map_err(|_| Refusal::Foreign(*id))?;
            if std::mem::replace(&mut in_order[at], true) {
                return Err(Refusal::Foreign(*id));
            }
            let (start, end) = interval(self.history, *id);
            if end < latest_start {
                return Err(Refusal::AgainstTime(*id));
            }
            latest_start = latest_start.max(start);
            if !self.apply(&mut state, *id) {
                return Err(Refusal::Illegal(*id));
            }
        }
        match self.ids.iter().zip(in_order).find(|(id, in_order)| !in_order && self.is_required(**id)) {
            Some((id, _)) => Err(Refusal::Missing(*id)),
            None => Ok(()),
        }
    }

    /// Verifies that some operations, on their own, already have no order, and that this says something about the
    /// whole key: every call that they could have observed is among them.
    pub(crate) fn verify_conflict(&self, conflict: &[OperationId]) -> Result<(), Refusal> {
        if conflict.len() > TRIED_MAX {
            return Err(Refusal::TooLarge(conflict.len()));
        }
        for (at, id) in conflict.iter().enumerate() {
            if self.ids.binary_search(id).is_err() || conflict[..at].contains(id) {
                return Err(Refusal::Foreign(*id));
            }
        }
        // A failed call may be there for the story alone, and then the rest already has no order. It would only ask for
        // more writes: one that tells what was *not* could be explained by any of them.
        let failed = |id: &OperationId| self.history.operation(*id).outcome == Outcome::Fail;
        let (story, rest): (Vec<_>, Vec<_>) = conflict.iter().copied().partition(failed);
        match self.verify_closed(&rest) {
            Err(_) if !story.is_empty() => self.verify_closed(conflict),
            result => result,
        }
    }

    fn verify_closed(&self, conflict: &[OperationId]) -> Result<(), Refusal> {
        if let Some(missing) = self.missing_from(conflict) {
            return Err(Refusal::WriterMissing(missing));
        }
        match self.is_orderable(conflict) {
            Some(true) => Err(Refusal::Orderable),
            Some(false) => Ok(()),
            None => Err(Refusal::TooLarge(conflict.len())),
        }
    }

    /// Tries every order of at most [`TRIED_MAX`] operations, remembering the dead ends; `None` if they are too many.
    fn is_orderable(&self, ids: &[OperationId]) -> Option<bool> {
        let all = ids.iter().enumerate();
        let required: u64 = all.clone().filter(|(_, id)| self.is_required(**id)).map(|(at, _)| 1 << at).sum();
        let (mut dead, mut held) = (HashSet::new(), 0);
        let mut stack = vec![(0u64, self.initial())];
        while let Some((done, state)) = stack.pop() {
            if done & required == required {
                return Some(true);
            }
            if dead.len() > DEAD_ENDS_MAX || held > HELD_BYTES_MAX {
                return None;
            }
            let is_left = |(at, _): &(usize, &OperationId)| done & 1 << at == 0;
            if !dead.insert((done, state.clone())) || self.is_lost(&state, all.clone().filter(is_left)) {
                continue;
            }
            let open = all.clone().filter(|(at, _)| required & !done & 1 << at != 0);
            let deadline = open.map(|(_, id)| interval(self.history, *id).1).min().expect("one is still open");
            let before = stack.len();
            for (at, id) in all.clone().filter(is_left) {
                let mut next = state.clone();
                if interval(self.history, *id).0 > deadline || !self.apply(&mut next, *id) {
                    continue;
                }
                held += next.bytes();
                // What only looks may as well look now: whatever order there is, it has a place here too.
                let operation = self.history.operation(*id);
                let only_looks = operation.kind == Kind::Read || operation.outcome == Outcome::Fail;
                if only_looks {
                    stack.truncate(before);
                }
                stack.push((done | 1 << at, next));
                if only_looks {
                    break;
                }
            }
        }
        Some(false)
    }

    /// Is there a text that only grows from here, and an answer still to come that does not begin with it?
    fn is_lost<'i>(&self, state: &State<'_>, mut left: impl Iterator<Item = (usize, &'i OperationId)> + Clone) -> bool {
        let State::Text(Some(held)) = state else { return false };
        let hides = |id: OperationId| matches!(role(self.history, id, self.rules), Role::Write(_) | Role::Swap(..));
        let refutes = |id: OperationId| match role(self.history, id, self.rules) {
            Role::Observe(seen) => text(seen).is_none_or(|seen| !seen.starts_with(held)),
            _ => false,
        };
        !left.clone().any(|(_, id)| hides(*id)) && left.any(|(_, id)| refutes(*id))
    }
}

/// A value as a text that can be appended to; `None` if absent.
fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Absent => None,
        value => Some(value.as_bytes().map_or_else(|| value.to_string().into_bytes(), <[u8]>::to_vec)),
    }
}

/// The most operations a counterexample may have to be verified by trying every order.
const TRIED_MAX: usize = 64;
/// The most dead ends that are remembered while trying.
const DEAD_ENDS_MAX: usize = 200_000;
/// The most that all states which were tried may take beside their entries, so that large texts do not fill the memory.
const HELD_BYTES_MAX: usize = 64 << 20;
