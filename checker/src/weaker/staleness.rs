//! How stale reads were: by how long, and by how many versions.
//!
//! A read that shows write `w` is stale by `t` if some write that began after `w` had ended was itself over `t` before
//! the read began; `t` is the largest such. It is stale by `k` versions if `k` writes lie wholly between `w` and the
//! read. Both are what is certain, so concurrent writes do not count. The smallest `D` for which a key would be
//! linearizable had every read begun `D` earlier is found by bisection over the zone test.
//!
//! Source: Golab, Li, Shah, *Analyzing consistency properties for fun and profit* (PODC 2011).

use std::fmt::Write;

use rayon::prelude::*;

use crate::check::Options;
use crate::cluster::{Clusters, NONE, Rules};
use crate::history::{Clock, History, KeyId, Kind, NEVER, OperationId, TIME_MIN, Time};
use crate::register;

/// How stale the reads of a history were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staleness {
    /// Reads that were measured.
    pub reads: u64,
    /// Reads of keys on which answers do not name their writes.
    pub unmeasured: u64,
    /// By how long each stale read was stale, ascending; fresh reads are left out.
    pub times: Vec<Time>,
    /// By how many versions each stale read was stale, ascending; fresh reads are left out.
    pub versions: Vec<u32>,
    /// The smallest `D` with which every measured key would be linearizable, if there is one.
    pub delta: Option<Time>,
}

impl Staleness {
    /// The share of reads, in parts per million, that were stale by more than `t`.
    pub fn ppm_older_than(&self, t: Time) -> u64 {
        let older = self.times.len() - self.times.partition_point(|time| *time <= t);
        older as u64 * 1_000_000 / self.reads.max(1)
    }

    /// The share of reads, in parts per million, that were stale by more than `k` versions.
    pub fn ppm_behind(&self, k: u32) -> u64 {
        let behind = self.versions.len() - self.versions.partition_point(|versions| *versions <= k);
        behind as u64 * 1_000_000 / self.reads.max(1)
    }

    pub(crate) fn text(&self, clock: Clock) -> String {
        let mut text = String::new();
        let share = |ppm: u64| format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
        let at = |percent: usize| self.times.get(self.times.len() * percent / 100).or(self.times.last()).copied();
        let _ = writeln!(text, "staleness of {} reads ({} not measured)", self.reads, self.unmeasured);
        let _ = writeln!(text, "  stale at all      {}", share(self.ppm_behind(0)));
        if let (Some(median), Some(p99), Some(most)) = (at(50), at(99), self.times.last()) {
            let (median, p99, most) = (clock.show(median), clock.show(p99), clock.show(*most));
            let _ = writeln!(text, "  stale reads by    median {median}, 99% {p99}, most {most}");
            let more = [0, 1, 2, 5, 10].map(|k| format!("P(> {k} versions) {}", share(self.ppm_behind(k))));
            let _ = writeln!(text, "  {}", more.join("  "));
        }
        let delta = match self.delta {
            Some(delta) => format!("{} earlier reads would make every key linearizable", clock.show(delta)),
            None => "no shift of the reads makes every key linearizable".to_string(),
        };
        let _ = writeln!(text, "  delta-atomicity   {delta}");
        text
    }

    pub(crate) fn json(&self) -> String {
        let at = |percent: usize| self.times.get(self.times.len() * percent / 100).or(self.times.last()).copied();
        let delta = self.delta.map_or("null".to_string(), |delta| delta.to_string());
        let behind: Vec<String> = (0..10).map(|k| self.ppm_behind(k).to_string()).collect();
        format!(
            "{{\"reads\":{},\"unmeasured\":{},\"stale\":{},\"t_p50\":{},\"t_p99\":{},\"t_max\":{},\"ppm_behind\":[{}],\"delta\":{delta}}}",
            self.reads,
            self.unmeasured,
            self.versions.len(),
            at(50).unwrap_or(0),
            at(99).unwrap_or(0),
            self.times.last().copied().unwrap_or(0),
            behind.join(",")
        )
    }
}

/// Measures every key.
pub fn measure(history: &History, options: &Options) -> Staleness {
    let rules = Rules { eventual_too: true, ..options.rules() };
    let by_key = history.by_key();
    let keys = (0..by_key.keys() as u32).into_par_iter();
    let each: Vec<Staleness> = keys.map(|key| of_key(history, by_key.of(KeyId(key)), &rules)).collect();
    let mut all = Staleness { delta: Some(0), ..Staleness::default() };
    for key in each {
        all.reads += key.reads;
        all.unmeasured += key.unmeasured;
        all.times.extend(key.times);
        all.versions.extend(key.versions);
        all.delta = all.delta.zip(key.delta).map(|(a, b)| a.max(b));
    }
    all.times.sort_unstable();
    all.versions.sort_unstable();
    all
}

fn of_key(history: &History, ids: &[OperationId], rules: &Rules) -> Staleness {
    let is_read = |id: &&OperationId| history.operation(**id).kind == Kind::Read;
    let clusters = Clusters::of_key(history, ids, rules).ok().filter(|clusters| !clusters.is_guessed);
    let Some(clusters) = clusters else {
        let unmeasured = ids.iter().filter(is_read).count() as u64;
        return Staleness { unmeasured, delta: Some(0), ..Staleness::default() };
    };
    // Writes by start, with the smallest end from each on; and all ends.
    let writes = clusters.all.iter().filter(|cluster| cluster.live && cluster.writer != NONE);
    let mut writes: Vec<(Time, Time)> =
        writes.map(|cluster| history.operation(cluster.writer)).map(|write| (write.invoke, write.end())).collect();
    writes.sort_unstable();
    let mut smallest_end = vec![NEVER; writes.len() + 1];
    for at in (0..writes.len()).rev() {
        smallest_end[at] = smallest_end[at + 1].min(writes[at].1);
    }
    let mut staleness = Staleness { delta: delta(history, ids, &clusters), ..Staleness::default() };
    // (start of the read, first write that began after its write had ended)
    let mut reads: Vec<(Time, usize)> = Vec::new();
    for (id, cluster) in ids.iter().zip(&clusters.of).filter(|(id, cluster)| **cluster != NONE && is_read(id)) {
        staleness.reads += 1;
        let ended = match clusters.all[*cluster as usize].writer {
            NONE => TIME_MIN - 1,
            writer => history.operation(writer).end(),
        };
        let after = writes.partition_point(|(start, _)| *start <= ended);
        let start = history.operation(*id).invoke;
        if smallest_end[after] < start {
            staleness.times.push(start - smallest_end[after]);
            reads.push((start, after));
        }
    }
    staleness.versions = versions_behind(&writes, reads);
    staleness
}

/// For each read how many writes from its first on were over before it began: a sweep with a tree of counts.
fn versions_behind(writes: &[(Time, Time)], mut reads: Vec<(Time, usize)>) -> Vec<u32> {
    let mut by_end: Vec<(Time, usize)> = writes.iter().enumerate().map(|(at, (_, end))| (*end, at)).collect();
    by_end.sort_unstable();
    reads.sort_unstable();
    let mut tree = vec![0u32; writes.len() + 1];
    let (mut ended, mut versions) = (0, Vec::with_capacity(reads.len()));
    for (start, after) in reads {
        while ended < by_end.len() && by_end[ended].0 < start {
            let mut at = by_end[ended].1 + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
            ended += 1;
        }
        let mut before = 0;
        let mut at = after;
        while at > 0 {
            before += tree[at];
            at &= at - 1;
        }
        versions.push(ended as u32 - before);
    }
    versions
}

/// The smallest shift of read starts with which the key is linearizable.
fn delta(history: &History, ids: &[OperationId], clusters: &Clusters) -> Option<Time> {
    if register::judge(history, ids, clusters, false).is_ok() {
        return Some(0);
    }
    let mut own = history.subset(ids);
    let positions: Vec<OperationId> = (0..ids.len() as OperationId).collect();
    // The clusters name operations of the whole history; those of the subset are numbered by position.
    let clusters = clusters.renumbered(|id| ids.binary_search(&id).expect("an operation of this key") as OperationId);
    let first = own.operations().iter().map(|operation| operation.invoke).min()?;
    let last = own.operations().iter().map(|operation| operation.invoke).max()?;
    let starts: Vec<Time> = own.operations().iter().map(|operation| operation.invoke).collect();
    let mut holds = |shift: Time| {
        for (operation, start) in own.operations_mut().iter_mut().zip(&starts) {
            if operation.kind == Kind::Read {
                operation.invoke = start.saturating_sub(shift).max(TIME_MIN);
            }
        }
        register::judge(&own, &positions, &clusters, false).is_ok()
    };
    let (mut low, mut high) = (0, last.saturating_sub(first).saturating_add(1));
    if !holds(high) {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle }
    }
    Some(high)
}
