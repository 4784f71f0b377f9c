//! Which calls a counterexample may leave out.
//!
//! That some operations have no order says something about their key only if each of their answers must come from one
//! of them: then any order of the whole key, cut down to them, would be an order of theirs. So every call that an answer
//! may have seen belongs to the counterexample. A write cannot have been seen by an answer that was over before the
//! write began, nor where a second write stands surely between: it began after the first had ended, and was over before
//! the answer was asked for. That second write must itself be part of the counterexample, and so must one write of each
//! value that was seen, so that the story is whole.
//!
//! Where calls add up (texts, sets, counters, queues) every change is seen by every later answer, unless a write of the
//! whole text stands between.

use std::collections::{HashMap, HashSet};

use super::Key;
use crate::Value;
use crate::cluster::{Role, interval, role};
use crate::history::{Kind, NEVER, OperationId, Outcome, Time};
use crate::model::ModelKind;

/// When the calls of a counterexample may have been seen, and by what.
struct Times {
    /// Writes that surely happened and hide what was before: when each was over, and the latest start among it and those
    /// that were over earlier.
    hiding: Vec<(Time, Time)>,
    /// When the last answer was there that surely came. What takes effect later explains nothing.
    last: Time,
}

impl Times {
    fn of(key: &Key<'_>, conflict: &[OperationId]) -> Self {
        // One of unknown outcome has no end, so it never stands surely between.
        let hides = |id: &&OperationId| matches!(role(key.history, **id, key.rules), Role::Write(_) | Role::Swap(..));
        let times = |id: &OperationId| interval(key.history, *id);
        let mut hiding: Vec<_> = conflict.iter().filter(hides).map(times).map(|(start, end)| (end, start)).collect();
        hiding.sort_unstable();
        let mut latest = Time::MIN;
        for (_, start) in &mut hiding {
            latest = latest.max(*start);
            *start = latest;
        }
        let answers = conflict.iter().filter(|id| key.answers(**id));
        let last = answers.map(|id| interval(key.history, *id).1).max().unwrap_or(Time::MIN);
        Times { hiding, last }
    }

    /// What ended before this time is surely hidden from a call that began then.
    fn since(&self, start: Time) -> Time {
        let over = self.hiding.partition_point(|(end, _)| *end < start);
        over.checked_sub(1).map_or(Time::MIN, |last| self.hiding[last].1)
    }
}

/// Answers that may have come from the same calls: when each was over, and since when calls may have been seen by it or
/// one that was over later.
#[derive(Default)]
struct Answers(Vec<(Time, Time)>);

impl Answers {
    fn push(&mut self, key: &Key<'_>, id: OperationId, times: &Times) {
        let (start, end) = interval(key.history, id);
        self.0.push((end.min(times.last), times.since(start)));
    }

    fn settle(&mut self) {
        self.0.sort_unstable();
        let mut earliest = Time::MAX;
        for (_, since) in self.0.iter_mut().rev() {
            earliest = earliest.min(*since);
            *since = earliest;
        }
    }

    /// May one of them have seen this call?
    fn may_have_seen(&self, key: &Key<'_>, id: OperationId) -> bool {
        let (start, end) = interval(key.history, id);
        let asked = self.0.partition_point(|(over, _)| *over < start);
        self.0.get(asked).is_some_and(|(_, since)| end >= *since)
    }
}

impl Key<'_> {
    /// The same conflict with what is missing from it: a value that was seen before any write of it began is told with
    /// such a write.
    pub(crate) fn closed(&self, conflict: Vec<OperationId>) -> Vec<OperationId> {
        let (mut added, mut all) = (Vec::new(), conflict.clone());
        while let Some(missing) = self.missing_from(&all) {
            added.push(missing);
            all.push(missing);
        }
        [added, conflict].concat()
    }

    /// A call outside the conflict that could explain one of its answers.
    pub(crate) fn missing_from(&self, conflict: &[OperationId]) -> Option<OperationId> {
        let inside: HashSet<OperationId> = conflict.iter().copied().collect();
        let mut outside = self.ids.iter().copied().filter(|id| !inside.contains(id) && !self.is_nothing(*id));
        let times = Times::of(self, conflict);
        if !matches!(self.model, ModelKind::Auto | ModelKind::Register) {
            let mut answers = Answers::default();
            conflict.iter().filter(|id| self.answers(**id)).for_each(|id| answers.push(self, *id, &times));
            answers.settle();
            return outside.find(|id| self.changes(*id) && answers.may_have_seen(self, *id));
        }
        let mut by_value: HashMap<&Value, Answers> = HashMap::new();
        let (mut shown, mut wanted) = (HashSet::from([&self.rules.init]), HashSet::new());
        let mut choosy = Vec::new();
        for id in conflict {
            let role = role(self.history, *id, self.rules);
            if let Role::Write(value) | Role::Swap(_, value) = role {
                shown.insert(value);
            }
            match role {
                Role::Nothing | Role::Write(_) => {}
                Role::Observe(_) | Role::Differ(_) if self.history.operation(*id).version().is_some() => {
                    choosy.push(*id);
                }
                Role::Swap(value, _) | Role::Observe(value) => {
                    wanted.extend(self.is_required(*id).then_some(value));
                    by_value.entry(value).or_default().push(self, *id, &times);
                }
                Role::Differ(_) => choosy.push(*id),
            }
        }
        by_value.values_mut().for_each(Answers::settle);
        outside.find(|id| match role(self.history, *id, self.rules) {
            Role::Write(value) | Role::Swap(_, value) => {
                wanted.contains(value) && !shown.contains(value)
                    || by_value.get(value).is_some_and(|answers| answers.may_have_seen(self, *id))
                    || choosy.iter().any(|observer| self.could_observe(*observer, *id, value, &times))
            }
            Role::Nothing | Role::Observe(_) | Role::Differ(_) => false,
        })
    }

    fn could_observe(&self, observer: OperationId, writer: OperationId, value: &Value, times: &Times) -> bool {
        let same = match role(self.history, observer, self.rules) {
            Role::Observe(seen) => seen == value,
            // It says which value it did not see, and has no version to say more.
            _ => {
                let mut answer = Answers::default();
                answer.push(self, observer, times);
                answer.may_have_seen(self, writer)
            }
        };
        same && self.may_see(observer, writer)
    }

    /// Did this call surely tell something of what was there?
    fn answers(&self, id: OperationId) -> bool {
        let kind = self.history.operation(id).kind;
        self.is_required(id) && matches!(kind, Kind::Read | Kind::Cas | Kind::Dequeue)
    }

    /// May this call, where calls add up, have changed what is there?
    fn changes(&self, id: OperationId) -> bool {
        let operation = self.history.operation(id);
        let found_nothing = operation.kind == Kind::Dequeue && operation.end() != NEVER && operation.value.is_absent();
        operation.kind != Kind::Read && operation.outcome != Outcome::Fail && !found_nothing
    }
}
