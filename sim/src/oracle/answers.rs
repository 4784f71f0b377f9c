//! B5: an operation has at most one version within a coordinator's life; and every call is answered exactly once.
//!
//! Which version belongs to which operation is found by counting: a coordinator numbers the requests it accepts from 1,
//! in the order in which they arrive.

use super::{Judgement, Property, broken, node_name, show};
use crate::table::Table;
use quorate_core::version::Version;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// For each node the operations it has accepted in this boot, in order.
    accepted: Vec<Vec<u32>>,
    /// For each operation the versions that were chosen for it, by node and boot; most have one.
    chosen: Table<Vec<Choice>>,
    /// Calls that a node has and has not answered, and calls it has answered, by number.
    calls: Table<CallState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    node: u32,
    generation: u32,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CallState {
    /// On its way, or lost with a crash.
    Elsewhere,
    /// A node works on it.
    Open,
    /// Answered.
    Answered,
    /// Nobody waits any more: an answer is allowed, not owed.
    Gone,
}

impl Answers {
    pub(crate) fn new(nodes: usize, ops: usize) -> Self {
        Self { accepted: vec![Vec::new(); nodes], chosen: Table::of(Vec::new(), ops), calls: Table::default() }
    }

    /// One more operation than was planned.
    pub(crate) fn op_added(&mut self) {
        self.chosen.push(Vec::new());
    }

    /// A new call; they are numbered in order.
    pub(crate) fn call_made(&mut self) {
        self.calls.push(CallState::Elsewhere);
    }

    pub(crate) fn call_arrived(&mut self, call: usize) {
        self.calls[call] = CallState::Open;
    }

    /// The node that had it has crashed.
    pub(crate) fn call_lost(&mut self, call: usize) {
        self.calls[call] = CallState::Elsewhere;
    }

    pub(crate) fn call_gone(&mut self, call: usize) {
        if self.calls[call] == CallState::Open {
            self.calls[call] = CallState::Gone;
        }
    }

    pub(crate) fn is_open(&self, call: usize) -> bool {
        self.calls[call] == CallState::Open
    }

    pub(crate) fn answered(&mut self, node: usize, call: usize) -> Judgement {
        match self.calls.get(call).copied() {
            Some(CallState::Open) => {
                self.calls[call] = CallState::Answered;
                Ok(())
            }
            Some(CallState::Gone) => Ok(()),
            state => {
                let name = node_name(node);
                broken(Property::AnsweredOnce, format!("{name} answered call {call}, which is {state:?} for it"))
            }
        }
    }

    /// A boot of a node begins: its coordinator counts from 1 again.
    pub(crate) fn booted(&mut self, node: usize) {
        self.accepted[node].clear();
    }

    /// A coordinator has accepted an operation.
    pub(crate) fn accepted(&mut self, node: usize, op: u32) {
        self.accepted[node].push(op);
    }

    /// Which operation a coordinator's request is.
    pub(crate) fn op_of(&self, node: usize, counter: u64) -> Option<u32> {
        self.accepted[node].get(usize::try_from(counter).ok()?.checked_sub(1)?).copied()
    }

    /// A coordinator chose a version for one of its requests.
    pub(crate) fn chose(&mut self, node: usize, generation: u32, op: u32, version: Version) -> Judgement {
        let (node, choices) = (node as u32, &mut self.chosen[op as usize]);
        let before = choices.iter().find(|choice| choice.node == node && choice.generation == generation);
        if let Some(before) = before {
            let (first, second) = (show(before.version), show(version));
            return broken(Property::OneEffect, format!("one coordinator chose {first} and then {second} for op {op}"));
        }
        choices.push(Choice { node, generation, version });
        Ok(())
    }

    /// The version that was chosen last for an operation.
    pub(crate) fn version_of(&self, op: u32) -> Option<Version> {
        self.chosen[op as usize].last().map(|choice| choice.version)
    }

    /// All versions that were chosen for an operation: more than one if coordinators crashed between its attempts.
    pub(crate) fn versions_of(&self, op: u32) -> impl Iterator<Item = Version> + '_ {
        self.chosen[op as usize].iter().map(|choice| choice.version)
    }

    /// A write was answered with a version: it is one that was chosen for it.
    pub(crate) fn write_answered(&self, op: u32, version: Version) -> Judgement {
        if version.is_absent() || self.versions_of(op).any(|chosen| chosen == version) {
            return Ok(());
        }
        let words = format!("op {op} was answered with {}, which was never chosen for it", show(version));
        broken(Property::OneEffect, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::version::Hlc;

    fn version(ticks: u64) -> Version {
        Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT }
    }

    #[test]
    fn two_answers_to_one_call_are_seen() {
        let mut answers = Answers::new(1, 1);
        answers.call_made();
        assert!(answers.answered(0, 0).is_err(), "it has not arrived");
        answers.call_arrived(0);
        assert!(answers.answered(0, 0).is_ok());
        assert!(answers.answered(0, 0).is_err());
        assert!(answers.answered(0, 7).is_err(), "no such call");
    }

    #[test]
    fn two_versions_for_one_operation_are_seen() {
        let mut answers = Answers::new(2, 3);
        answers.accepted(0, 2);
        assert_eq!(answers.op_of(0, 1), Some(2));
        assert_eq!(answers.op_of(0, 2), None);
        assert!(answers.chose(0, 1, 2, version(5)).is_ok());
        assert!(
            answers.chose(0, 2, 2, version(6)).is_ok(),
            "another life of the coordinator knows nothing of the first"
        );
        assert!(answers.chose(0, 2, 2, version(7)).is_err());
        assert!(answers.write_answered(2, version(5)).is_ok());
        assert!(answers.write_answered(2, version(9)).is_err());
    }
}
