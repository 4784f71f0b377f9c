//! Did the faults do anything? Per kind: how many were planned, how many began, and how often one changed what happened.
//!
//! A fault that is switched on and never matters tests nothing; a sweep says so. Rare branches of the core report
//! themselves as marks, and are counted here too.

use quorate_traces::{FaultKind, Plan};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The counts of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// In the plan.
    pub planned: u64,
    /// Begun.
    pub fired: u64,
    /// Times that it changed what happened.
    pub mattered: u64,
}

/// The counts of a run, or of many together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    counts: Vec<Count>,
    marks: Vec<(Cow<'static, str>, u64)>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { counts: vec![Count::default(); FaultKind::ALL.len()], marks: Vec::new() }
    }
}

impl Audit {
    /// What a plan contains.
    pub fn of(plan: &Plan) -> Self {
        let mut audit = Self::default();
        let mut planned = |kind: FaultKind, count: usize| audit.counts[kind as usize].planned += count as u64;
        plan.faults.iter().for_each(|record| planned(record.fault.kind(), 1));
        let skewed = plan.shape.clocks.iter().filter(|clock| clock.skew != 0).count();
        planned(FaultKind::ClockSkew, skewed);
        planned(FaultKind::ClientGone, plan.ops.iter().filter(|op| op.gone.is_some()).count());
        planned(FaultKind::ClientRetry, plan.ops.iter().filter(|op| op.retry.is_some()).count());
        // A clock that is wrong from the beginning needs no event.
        audit.counts[FaultKind::ClockSkew as usize].fired = skewed as u64;
        audit
    }

    pub(crate) fn fired(&mut self, kind: FaultKind) {
        self.counts[kind as usize].fired += 1;
    }

    pub(crate) fn mattered(&mut self, kind: FaultKind) {
        self.counts[kind as usize].mattered += 1;
    }

    pub(crate) fn mark(&mut self, mark: Cow<'static, str>) {
        match self.marks.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, count)) => *count += 1,
            None => self.marks.push((mark, 1)),
        }
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            mine.planned += theirs.planned;
            mine.fired += theirs.fired;
            mine.mattered += theirs.mattered;
        }
        for (mark, count) in &other.marks {
            match self.marks.iter_mut().find(|(known, _)| known == mark) {
                Some((_, mine)) => *mine += count,
                None => self.marks.push((mark.clone(), *count)),
            }
        }
    }

    /// The counts of each kind, in the order of [`FaultKind::ALL`].
    pub fn kinds(&self) -> impl Iterator<Item = (FaultKind, Count)> + '_ {
        FaultKind::ALL.iter().map(|&kind| (kind, self.counts[kind as usize]))
    }

    /// The counts of one kind.
    pub fn of_kind(&self, kind: FaultKind) -> Count {
        self.counts[kind as usize]
    }

    /// The marks reached, by name.
    pub fn marks(&self) -> BTreeMap<&str, u64> {
        self.marks.iter().map(|(mark, count)| (&**mark, *count)).collect()
    }

    /// Kinds that were planned and never began: a sweep in which one is left is not to be trusted.
    pub fn never_fired(&self) -> Vec<FaultKind> {
        self.kinds().filter(|(_, count)| count.planned > 0 && count.fired == 0).map(|(kind, _)| kind).collect()
    }
}
