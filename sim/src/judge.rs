//! What clients did and saw, told to the judge of histories while it happens.

use crate::history::{Ending, OpRecord};
use crate::oracle::{self, Told, Violation};
use crate::world::World;
use quorate_traces::Do;

/// Told beside the marks, and hoped never to be: a history for which the checker found no answer in time.
const CHECKER_GAVE_UP: &str = "checker: the budget ended first";

impl World {
    /// Something happened to an operation: the run is over with the first answer that no order explains.
    pub(crate) fn tell_judge(&mut self, told: Told) {
        let key = self.op_keys[told.op() as usize];
        if !self.is_judged(key) || !self.violations.is_empty() {
            return;
        }
        self.hear(told);
        if !matches!(told, Told::Ended { .. }) || !self.oracles.linear.is_in_doubt(key) {
            return;
        }
        match oracle::judge_linearizable(&self.history(), &self.keys, |judged| judged == key) {
            Ok(Some(violation)) => self.violations.push(Violation { at: self.now, ..violation }),
            Ok(None) => {}
            Err(()) => self.audit.mark(CHECKER_GAVE_UP.into()),
        }
    }

    fn hear(&mut self, told: Told) {
        let record = self.record_of(told.op());
        let chosen = self.oracles.answers.versions_of(told.op()).next();
        self.oracles.linear.hear(told, &record, chosen);
    }

    /// Whether the history of a key must have an order.
    fn is_judged(&self, key: u32) -> bool {
        self.keys[key as usize].linearizable && !self.plan.shape.phases.durability_void
    }

    /// A run was loaded: its judge hears again what it heard.
    pub(crate) fn tell_judge_again(&mut self) {
        for told in self.oracles.linear.forget(self.keys.len()) {
            self.hear(told);
        }
    }

    /// The end of a run, where assertions are compiled in: the history as a whole is judged once more.
    pub(crate) fn judge_again(&self) {
        let whole = oracle::judge_linearizable(&self.history(), &self.keys, |key| self.is_judged(key));
        assert!(matches!(whole, Ok(None) | Err(())), "nothing was found while it happened, but then {whole:?}");
    }

    /// What clients did and saw.
    pub(crate) fn history(&self) -> Vec<OpRecord> {
        let begun = self.progress.iter().enumerate().filter(|(_, progress)| progress.invoke > 0 || progress.is_done());
        begun.map(|(op, _)| self.record_of(op as u32)).collect()
    }

    fn record_of(&self, op: u32) -> OpRecord {
        let (asked, progress) = (&self.ops[op as usize], &self.progress[op as usize]);
        let chosen = || self.oracles.answers.version_of(op);
        OpRecord {
            op: asked.op,
            client: asked.client,
            key: self.op_keys[op as usize],
            what: asked.what,
            value: match asked.what {
                Do::Get => progress.value.clone(),
                Do::Put => asked.value.as_ref().map(|value| value.0.clone()),
                Do::Delete => None,
            },
            invoke: progress.invoke,
            ret: progress.ret,
            ending: progress.ending.unwrap_or(Ending::Unknown),
            version: progress.version.or_else(chosen),
            via: quorate_core::id::NodeId(progress.via + 1),
            acks: progress.acks,
        }
    }
}
