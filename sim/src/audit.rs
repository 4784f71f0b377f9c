//! Did the faults do anything? Per kind: how many were planned, how many began, and how often one changed what happened.
//!
//! A fault that is switched on and never matters tests nothing; a sweep says so. Rare branches report themselves as
//! marks, and are counted here too: those of the core ([`quorate_core::reach`]) and a few of the simulator's own. Since
//! all of them are known beforehand, a sweep can say which were never taken.

use crate::plan::{DrawOptions, Scenario};
use quorate_core::reach;
use quorate_traces::{FaultKind, Plan};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The simulator's own marks: what becomes of machines, and notices that are rare.
pub(crate) const OWN_MARKS: [&str; 10] = [
    "notice: ready",
    "notice: a peer was refused",
    "notice: a clock was refused",
    "notice: blank",
    "host: founded",
    "host: recovered",
    "host: blank",
    "host: the disk failed and the node stopped",
    "host: the store could not be opened",
    "last reads: a register was read once more",
];

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
    marks: BTreeMap<Cow<'static, str>, u64>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { counts: vec![Count::default(); FaultKind::ALL.len()], marks: BTreeMap::new() }
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
        planned(FaultKind::ClientForged, plan.ops.iter().filter(|op| op.forged.is_some()).count());
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
        *self.marks.entry(mark).or_default() += 1;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            mine.planned += theirs.planned;
            mine.fired += theirs.fired;
            mine.mattered += theirs.mattered;
        }
        for (mark, count) in &other.marks {
            *self.marks.entry(mark.clone()).or_default() += count;
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

    /// Every mark that there is, in the order of its table.
    pub fn all_marks() -> impl Iterator<Item = &'static str> {
        reach::MARKS.iter().copied().chain(OWN_MARKS)
    }

    /// Marks that were never reached.
    pub fn never_reached(&self) -> Vec<&'static str> {
        Self::all_marks().filter(|mark| !self.marks.contains_key(*mark)).collect()
    }

    /// What a sweep with these options should have done and has not: kinds of faults that were planned and never
    /// began, and, where everything may be drawn, kinds that were never planned and marks that were never reached.
    pub fn uncovered(&self, options: &DrawOptions) -> Vec<&'static str> {
        let everything = *options == DrawOptions::of(Scenario::Default);
        let idle = |count: Count| count.fired == 0 && (everything || count.planned > 0);
        let faults = self.kinds().filter(|(_, count)| idle(*count)).map(|(kind, _)| kind.name());
        faults.chain(if everything { self.never_reached() } else { Vec::new() }).collect()
    }

    /// Kinds that were planned and never began: a sweep in which one is left is not to be trusted.
    pub fn never_fired(&self) -> Vec<FaultKind> {
        self.kinds().filter(|(_, count)| count.planned > 0 && count.fired == 0).map(|(kind, _)| kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    /// A sweep of everything in which each kind has begun and each mark was reached.
    fn full() -> Audit {
        let mut audit = Audit::default();
        audit.counts.fill(Count { planned: 3, fired: 2, mattered: 1 });
        Audit::all_marks().for_each(|mark| audit.mark(mark.into()));
        audit
    }

    #[test]
    fn a_kind_that_never_began_and_a_mark_that_was_never_reached_are_told() {
        let options = DrawOptions::default();
        assert_eq!(full().uncovered(&options), Vec::<&str>::new());
        let mut audit = full();
        audit.counts[FaultKind::Rot as usize].fired = 0;
        assert_eq!(audit.uncovered(&options), ["rot"]);
        audit.counts[FaultKind::Rot as usize].planned = 0;
        assert_eq!(audit.uncovered(&options), ["rot"], "what everything should have is missed");
        assert_eq!(audit.uncovered(&DrawOptions::of(Scenario::Network)), Vec::<&str>::new());
        let mut audit = full();
        let mark = reach::MARKS[7];
        audit.marks.remove(mark);
        assert_eq!(audit.uncovered(&options), [mark]);
        assert_eq!(audit.uncovered(&DrawOptions { nodes: Some(3), ..options }), Vec::<&str>::new());
    }

    #[test]
    fn a_sweep_too_small_for_everything_is_told_so() {
        let mut audit = Audit::default();
        (0..3).for_each(|seed| audit.add(&crate::run(&draw(seed, &DrawOptions::default())).audit));
        assert!(audit.uncovered(&DrawOptions::default()).len() > 10);
    }

    #[test]
    fn every_mark_of_the_tables_stands_in_the_sources() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
        let mut sources = String::new();
        let mut folders = vec![root.join("core/src"), root.join("sim/src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of sources") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name != "reach.rs" && name != "audit.rs") {
                    sources.push_str(&std::fs::read_to_string(path).expect("a source"));
                }
            }
        }
        let missing: Vec<&str> = Audit::all_marks().filter(|mark| !sources.contains(&format!("\"{mark}\""))).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
