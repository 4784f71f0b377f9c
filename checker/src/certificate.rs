//! Certificates: what a judge hands over so that nobody has to trust it.
//!
//! An `ok` carries a witness, one order of the operations that explains every answer; a `violation` carries the few
//! operations that cannot be ordered. The verifiers here know no judge: they replay the order on a plain register, or
//! take the few operations and try every order. They are short on purpose.
//!
//! A witness is valid if it contains every operation that constrains the key exactly once (those of unknown outcome
//! may be missing), no operation stands behind one that started after its end, and each answer is what a register
//! would have said. Linear in the length of the key.

use std::collections::{HashMap, HashSet};

use crate::Value;
use crate::cluster::{NONE, Role, Rules, interval, role};
use crate::history::{History, OperationId, Outcome, Time};

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

/// One register key as the verifiers see it: plain replay, nothing else.
pub(crate) struct Key<'a> {
    history: &'a History,
    ids: &'a [OperationId],
    rules: &'a Rules,
    writer_of: HashMap<&'a Value, OperationId>,
    identity: Identity,
}

/// What the register holds, and who wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State<'a> {
    value: &'a Value,
    writer: OperationId,
}

impl<'a> Key<'a> {
    pub(crate) fn new(history: &'a History, ids: &'a [OperationId], rules: &'a Rules, identity: Identity) -> Self {
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
        Key { history, ids, rules, writer_of, identity }
    }

    fn initial(&self) -> State<'a> {
        State { value: &self.rules.init, writer: NONE }
    }

    /// What a register holds after an operation; `None` if it would not have answered so.
    fn step(&self, state: State<'a>, id: OperationId) -> Option<State<'a>> {
        match role(self.history, id, self.rules) {
            Role::Nothing => None,
            Role::Write(new) => Some(State { value: new, writer: id }),
            Role::Swap(expected, new) => (expected == state.value).then_some(State { value: new, writer: id }),
            Role::Observe(seen) => (seen == state.value && self.may_see(id, state.writer)).then_some(state),
            Role::Differ(other) => (other != state.value && self.may_see(id, state.writer)).then_some(state),
        }
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
        let unknown = self.history.operation(id).outcome == Outcome::Unknown;
        !unknown && !matches!(role(self.history, id, self.rules), Role::Nothing)
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
            state = self.step(state, *id).ok_or(Refusal::Illegal(*id))?;
        }
        match self.ids.iter().zip(in_order).find(|(id, in_order)| !in_order && self.is_required(**id)) {
            Some((id, _)) => Err(Refusal::Missing(*id)),
            None => Ok(()),
        }
    }

    /// Verifies that some operations, on their own, already have no order, and that this says something about the
    /// whole key: every write that they could have observed is among them.
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
        for id in self.ids.iter().filter(|id| !conflict.contains(id)) {
            let (Role::Write(value) | Role::Swap(_, value)) = role(self.history, *id, self.rules) else { continue };
            if conflict.iter().any(|observer| self.could_observe(*observer, *id, value)) {
                return Err(Refusal::WriterMissing(*id));
            }
        }
        if self.is_orderable(conflict) { Err(Refusal::Orderable) } else { Ok(()) }
    }

    fn could_observe(&self, observer: OperationId, writer: OperationId, value: &Value) -> bool {
        match role(self.history, observer, self.rules) {
            Role::Nothing | Role::Write(_) => false,
            Role::Swap(expected, _) => expected == value,
            Role::Observe(seen) => seen == value && self.may_see(observer, writer),
            Role::Differ(_) => self.may_see(observer, writer),
        }
    }

    /// Tries every order of at most [`TRIED_MAX`] operations, remembering the dead ends.
    fn is_orderable(&self, ids: &[OperationId]) -> bool {
        let all = ids.iter().enumerate();
        let required: u64 = all.clone().filter(|(_, id)| self.is_required(**id)).map(|(at, _)| 1 << at).sum();
        let mut dead = HashSet::new();
        let mut stack = vec![(0u64, self.initial())];
        while let Some((done, state)) = stack.pop() {
            if done & required == required {
                return true;
            }
            if !dead.insert((done, state)) {
                continue;
            }
            let open = all.clone().filter(|(at, _)| required & !done & 1 << at != 0);
            let deadline = open.map(|(_, id)| interval(self.history, *id).1).min().expect("one is still open");
            for (at, id) in all.clone().filter(|(at, _)| done & 1 << at == 0) {
                if interval(self.history, *id).0 <= deadline
                    && let Some(next) = self.step(state, *id)
                {
                    stack.push((done | 1 << at, next));
                }
            }
        }
        false
    }
}

/// The most operations a counterexample may have to be verified by trying every order.
const TRIED_MAX: usize = 64;
