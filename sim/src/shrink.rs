//! Making a failing plan small: what is left is what it takes.
//!
//! Delta debugging (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, TSE 2002) over the
//! schedule: faults first, then operations, each time in halves, quarters and so on down to single records; then what is
//! left is made simpler (keys, clients, values, levels, contexts, durations, clocks, latencies, nodes). A smaller plan
//! counts only if it breaks the same promise.
//!
//! Since every stream of chance is split by purpose and link, taking a record out leaves the others where they were.

use crate::Stopwatch;
use crate::oracle::Property;
use crate::report::Report;
use crate::run::{decisions, run};
use quorate_traces::names::Blob;
use quorate_traces::{ClockPlan, FaultKind, Latency, Level, Plan, Scheduler};

/// Values up to so many bytes are left as they are.
const SHORT: usize = 12;

/// A failing plan, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// What it comes to.
    pub report: Report,
    /// How many runs it took.
    pub runs: u64,
    /// Whether time ran out first.
    pub out_of_time: bool,
}

/// Makes a failing plan small, for at most so many milliseconds of the stopwatch.
///
/// `None` if the plan does not fail.
pub fn shrink(plan: &Plan, stopwatch: &dyn Stopwatch, budget_ms: u64) -> Option<Shrunk> {
    let report = run(plan);
    let property = report.first()?.property;
    let deadline = stopwatch.elapsed_ms() + budget_ms;
    let mut search = Search { best: plan.clone(), report, property, runs: 1, stopwatch, deadline };
    loop {
        let before = search.size();
        search.lists();
        search.decree();
        search.simplify();
        if search.size() == before || search.is_out_of_time() {
            break;
        }
    }
    let out_of_time = search.is_out_of_time();
    Some(Shrunk { plan: search.best, report: search.report, runs: search.runs, out_of_time })
}

struct Search<'a> {
    best: Plan,
    report: Report,
    property: Property,
    runs: u64,
    stopwatch: &'a dyn Stopwatch,
    deadline: u64,
}

impl Search<'_> {
    fn size(&self) -> (usize, usize, usize) {
        (
            self.best.faults.len() + self.best.ops.len(),
            self.best.directives.len(),
            self.best.shape.cluster.nodes as usize,
        )
    }

    fn is_out_of_time(&self) -> bool {
        self.stopwatch.elapsed_ms() >= self.deadline
    }

    /// Keeps a plan if it fails the same way.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if self.is_out_of_time() || plan == self.best {
            return false;
        }
        self.runs += 1;
        let report = run(&plan);
        let same = report.first().is_some_and(|violation| violation.property == self.property);
        if same {
            (self.best, self.report) = (plan, report);
        }
        same
    }

    fn lists(&mut self) {
        self.list(|plan| plan.faults.len(), |plan, at| drop(plan.faults.drain(at)));
        self.list(|plan| plan.ops.len(), |plan, at| drop(plan.ops.drain(at)));
        self.list(|plan| plan.directives.len(), |plan, at| drop(plan.directives.drain(at)));
    }

    /// Rates become decrees about the few messages that matter, where that makes the plan smaller.
    fn decree(&mut self) {
        let is_rate = |kind| {
            use FaultKind as K;
            matches!(kind, K::Loss | K::Filter | K::Corrupt | K::Duplicate | K::Replay | K::LargeLost)
        };
        if !self.best.faults.iter().any(|record| is_rate(record.fault.kind())) {
            return;
        }
        let (before, report) = (self.best.clone(), self.report.clone());
        let mut decreed = before.clone();
        decreed.directives.extend(decisions(&before));
        decreed.faults.retain(|record| !is_rate(record.fault.kind()));
        if self.try_plan(decreed) {
            self.lists();
            if records(&self.best) > records(&before) {
                (self.best, self.report) = (before, report);
            }
        }
    }

    /// Takes out as many records of a list as it can, in chunks of half of it, a quarter, and so on.
    fn list(&mut self, length: impl Fn(&Plan) -> usize, cut: impl Fn(&mut Plan, std::ops::Range<usize>)) {
        let mut chunk = length(&self.best);
        while chunk > 0 {
            let mut at = 0;
            while at < length(&self.best) {
                let end = (at + chunk).min(length(&self.best));
                let mut smaller = self.best.clone();
                cut(&mut smaller, at..end);
                if !self.try_plan(smaller) {
                    at = end;
                }
                if self.is_out_of_time() {
                    return;
                }
            }
            chunk /= 2;
        }
    }

    /// Tries plainer settings, one after the other.
    fn simplify(&mut self) {
        let changes: [&dyn Fn(&mut Plan); 11] = [
            &|plan| plan.shape.scheduler = Scheduler::Latency,
            &|plan| plan.shape.clocks.fill(ClockPlan { skew: 0, drift_ppm: 0, tick: 1 }),
            &|plan| plan.shape.net.latency = Latency::Uniform { min: 1_000, max: 1_000 },
            &|plan| plan.shape.net.client_latency = Latency::Uniform { min: 1, max: 1 },
            &|plan| (plan.shape.net.rack_penalty, plan.shape.net.bandwidth) = (0, 0),
            &|plan| plan.shape.net.region_penalty = 0,
            &|plan| plan.shape.phases.ask_twice = false,
            &|plan| plan.shape.disk.write = Latency::Uniform { min: 10, max: 10 },
            &|plan| plan.shape.disk.sync = Latency::Uniform { min: 100, max: 100 },
            &|plan| plan.shape.disk.flush_after_batches = 1_000,
            &|plan| plan.shape.phases.heal_at = latest(plan) + 1_000,
        ];
        for change in changes {
            let mut plainer = self.best.clone();
            change(&mut plainer);
            self.try_plan(plainer);
        }
        for at in 0..self.best.ops.len() {
            let mut plainer = self.best.clone();
            let op = &mut plainer.ops[at];
            (op.level, op.context, op.gone, op.retry, op.id) = (Level::Keyspace, false, None, None, false);
            op.forged = None;
            self.try_plan(plainer);
        }
        self.shorten();
        self.fewer_names();
        self.drop_nodes();
    }

    /// Fewer keys and clients, and values as short as can be.
    fn fewer_names(&mut self) {
        for at in 0..self.best.ops.len() {
            let mut plainer = self.best.clone();
            plainer.ops[at].key = plainer.ops[0].key.clone();
            self.try_plan(plainer);
            let mut plainer = self.best.clone();
            if let Some(short) = short_name(&plainer, at) {
                let long = std::mem::replace(&mut plainer.ops[at].key, short.clone());
                plainer.ops.iter_mut().filter(|op| op.key == long).for_each(|op| op.key = short.clone());
                self.try_plan(plainer);
            }
            let mut plainer = self.best.clone();
            plainer.ops[at].client = plainer.ops[0].client;
            self.try_plan(plainer);
            let mut plainer = self.best.clone();
            if plainer.ops[at].value.as_ref().is_some_and(|value| value.0.len() > SHORT) {
                plainer.ops[at].value = Some(Blob::text(&format!("v{at}")));
                self.try_plan(plainer);
            }
        }
    }

    /// Faults end sooner and nodes come back sooner, by halves.
    fn shorten(&mut self) {
        for at in 0..self.best.faults.len() {
            while let Some(until) = self.best.faults[at].fault.until() {
                let begin = self.best.faults[at].at;
                let half = begin + until.saturating_sub(begin) / 2;
                let mut shorter = self.best.clone();
                *shorter.faults[at].fault.until_mut().expect("it has an end") = half;
                if half <= begin || !self.try_plan(shorter) {
                    break;
                }
            }
            loop {
                let mut shorter = self.best.clone();
                let Some(down) = shorter.faults[at].fault.down_mut() else { break };
                *down /= 2;
                if !self.try_plan(shorter) {
                    break;
                }
            }
        }
    }

    /// Leaves out the last node while nobody needs it.
    fn drop_nodes(&mut self) {
        loop {
            let mut smaller = self.best.clone();
            let last = smaller.shape.cluster.nodes;
            let named = smaller.ops.iter().any(|op| op.via.0 == last)
                || smaller.faults.iter().any(|record| record.fault.nodes().iter().any(|node| node.0 == last));
            if named || last <= u32::from(smaller.shape.cluster.rf) {
                return;
            }
            smaller.shape.cluster.nodes -= 1;
            smaller.shape.clocks.pop();
            if !self.try_plan(smaller) {
                return;
            }
        }
    }
}

/// Another key of the same keyspace for one that is long.
fn short_name(plan: &Plan, at: usize) -> Option<Blob> {
    let key = &plan.ops[at].key.0;
    let keyspaces = plan.shape.cluster.keyspaces.iter().filter(|keyspace| key.starts_with(keyspace.prefix.as_bytes()));
    let prefix = &keyspaces.max_by_key(|keyspace| keyspace.prefix.len())?.prefix;
    (key.len() > prefix.len() + SHORT).then(|| Blob::text(&format!("{prefix}s{at}")))
}

fn records(plan: &Plan) -> usize {
    plan.ops.len() + plan.faults.len() + plan.directives.len()
}

/// When the last thing of a plan begins or ends.
fn latest(plan: &Plan) -> u64 {
    let ops = plan.ops.iter().map(|op| op.at);
    let faults = plan.faults.iter().map(|record| record.fault.until().unwrap_or(record.at));
    ops.chain(faults).max().unwrap_or(0)
}
