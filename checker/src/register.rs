//! The near-linear judge of a register key whose reads name their writes.
//!
//! Each cluster (a write and its observers) is a block of operations that must stand together; a compare-and-set that
//! observed `a` and wrote `b` glues cluster `b` right behind cluster `a`, so chains of them form one block. Inside a
//! block the order is given: write, its reads, the swap, its reads, ... A block `A` must come before a block `B` if
//! some operation of `A` ends before some operation of `B` starts, that is if `f(A) < s(B)`, where `f` is the smallest
//! end and `s` the largest start of a block. The key is linearizable exactly if no block is torn inside and that
//! relation has no cycle, and a cycle always contains one of length two. So it is enough to look at pairs:
//! forward zones (`f < s`) must not overlap, and no backward zone (`s <= f`) may lie strictly inside a forward one.
//!
//! Cost: one sort. Writes of unknown outcome have no end and cost nothing. Both answers come with their reason:
//! a witness order, or the few operations that cannot be ordered.
//!
//! Source: Gibbons, Korach, *Testing shared memories* (SIAM J. Comput. 1997), section 4; zones for compare-and-set
//! chains are ours.

use crate::cluster::{Cluster, Clusters, INITIAL, NONE, interval};
use crate::history::{OperationId, Outcome, Time};
use crate::value::FastSet;
use crate::{Anomaly, History};

/// A violation in operations: what, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) anomaly: Anomaly,
    /// The smallest set that shows it, in the order in which words want it.
    pub(crate) operations: Vec<OperationId>,
}

/// A time with the operation it belongs to.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Time,
    by: OperationId,
}

const BEFORE_ALL: Mark = Mark { at: Time::MIN, by: NONE };

/// Smallest end and largest start of the observers of one cluster.
#[derive(Clone, Copy, Debug)]
struct Reads {
    ends: Mark,
    starts: Mark,
}

/// One block as the zone test sees it.
#[derive(Clone, Copy, Debug)]
struct Zone {
    /// Smallest end.
    f: Mark,
    /// Largest start.
    s: Mark,
    root: u32,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.f.at < self.s.at
    }
}

/// An operation that may show where its block stands; the initial value has no operation and is before everything.
#[derive(Clone, Copy, Debug)]
struct Telling {
    id: OperationId,
    start: Time,
    end: Time,
}

/// The shape of one key's blocks.
struct Blocks<'a> {
    history: &'a History,
    ids: &'a [OperationId],
    clusters: &'a Clusters,
    reads: Vec<Reads>,
    /// For each cluster the one that a compare-and-set glued behind it.
    next: Vec<u32>,
}

/// Judges one key. `Ok` holds a witness order of the live operations if one was asked for.
pub(crate) fn judge(
    history: &History,
    ids: &[OperationId],
    clusters: &Clusters,
    witness: bool,
) -> Result<Vec<OperationId>, Conflict> {
    let blocks = Blocks::new(history, ids, clusters)?;
    let (mut forward, backward) = blocks.zones()?;
    sort_by_end(&mut forward);
    for pair in forward.windows(2) {
        if pair[1].f.at < pair[0].s.at {
            return Err(blocks.conflict(&pair[0], &pair[1]));
        }
    }
    // The position of a backward zone: its largest start, or the end of the forward zone around that.
    let mut backward_at = Vec::with_capacity(backward.len());
    for zone in &backward {
        let around = forward[..forward.partition_point(|other| other.f.at < zone.s.at)].last();
        match around {
            Some(other) if zone.f.at < other.s.at => return Err(blocks.conflict(other, zone)),
            Some(other) => backward_at.push(zone.s.at.max(other.s.at)),
            None => backward_at.push(zone.s.at),
        }
    }
    if !witness {
        return Ok(Vec::new());
    }
    let mut order: Vec<(Time, bool, u32)> = Vec::with_capacity(forward.len() + backward.len());
    order.extend(forward.iter().map(|zone| (zone.f.at, true, zone.root)));
    order.extend(backward.iter().zip(backward_at).map(|(zone, at)| (at, false, zone.root)));
    drop(forward);
    order.sort_unstable();
    Ok(blocks.witness(order.into_iter().map(|(_, _, root)| root)))
}

/// By smallest end. A record is mostly in the order of returns, so zones are at their places or a few before them.
fn sort_by_end(zones: &mut [Zone]) {
    const STEPS_EACH_MAX: usize = 8;
    let mut steps_left = zones.len() * STEPS_EACH_MAX;
    for at in 1..zones.len() {
        let end = zones[at].f.at;
        let later = zones[..at].iter().rev().take_while(|other| other.f.at > end).count();
        if later > steps_left {
            return zones.sort_unstable_by_key(|zone| zone.f.at);
        }
        steps_left -= later;
        zones[at - later..=at].rotate_right(1);
    }
}

impl<'a> Blocks<'a> {
    fn new(history: &'a History, ids: &'a [OperationId], clusters: &'a Clusters) -> Result<Self, Conflict> {
        let none = Reads { ends: Mark { at: Time::MAX, by: NONE }, starts: BEFORE_ALL };
        let (reads, next) = (vec![none; clusters.all.len()], vec![NONE; clusters.all.len()]);
        let mut blocks = Blocks { history, ids, clusters, reads, next };
        for (id, cluster) in ids.iter().zip(&clusters.of) {
            if *cluster == NONE || clusters.all[*cluster as usize].writer == *id {
                continue;
            }
            let (start, end) = interval(history, *id);
            let reads = &mut blocks.reads[*cluster as usize];
            if reads.ends.by == NONE || end < reads.ends.at {
                reads.ends = Mark { at: end, by: *id };
            }
            if start > reads.starts.at {
                reads.starts = Mark { at: start, by: *id };
            }
        }
        let mut twice = None;
        for (number, cluster) in clusters.all.iter().enumerate().filter(|(_, cluster)| cluster.live) {
            if cluster.source != NONE {
                let other = std::mem::replace(&mut blocks.next[cluster.source as usize], number as u32);
                twice = twice.or((other != NONE).then_some((other, number as u32)));
            }
        }
        if let Some(swaps) = twice {
            return Err(blocks.swapped_twice(swaps));
        }
        Ok(blocks)
    }

    fn swapped_twice(&self, (one, other): (u32, u32)) -> Conflict {
        let swap = &self.clusters.all[other as usize];
        let mut operations = vec![self.clusters.all[one as usize].writer, swap.writer];
        // What the two swaps stand on: the write, or the chain of swaps that ends in it.
        let mut cluster = swap.source;
        while cluster != NONE && self.clusters.all[cluster as usize].writer != NONE {
            let Cluster { writer, source, .. } = self.clusters.all[cluster as usize];
            if operations.contains(&writer) {
                break;
            }
            operations.push(writer);
            cluster = source;
        }
        self.add_observers(&mut operations);
        Conflict { anomaly: Anomaly::SwappedTwice, operations }
    }

    /// All zones, forward ones first, or what tears a block.
    fn zones(&self) -> Result<(Vec<Zone>, Vec<Zone>), Conflict> {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        let mut walked = 0usize;
        for (root, cluster) in self.clusters.all.iter().enumerate() {
            if !cluster.live || cluster.source != NONE {
                continue;
            }
            let zone = self.zone(root as u32, &mut walked)?;
            if zone.is_forward() { forward.push(zone) } else { backward.push(zone) }
        }
        let live = self.clusters.all.iter().filter(|cluster| cluster.live).count();
        assert!(walked <= live, "each cluster belongs to one block");
        if walked < live { Err(self.cycle()) } else { Ok((forward, backward)) }
    }

    /// Walks the levels of one block: no operation may end before one of an earlier level starts.
    fn zone(&self, root: u32, walked: &mut usize) -> Result<Zone, Conflict> {
        let mut zone = Zone { f: Mark { at: Time::MAX, by: NONE }, s: BEFORE_ALL, root };
        let mut cluster = root;
        while cluster != NONE {
            *walked += 1;
            let writer = self.clusters.all[cluster as usize].writer;
            if writer == NONE {
                zone.f = BEFORE_ALL;
            } else {
                let (start, end) = interval(self.history, writer);
                self.pass_level(&mut zone, Mark { at: end, by: writer }, Mark { at: start, by: writer })?;
            }
            let Reads { ends, starts } = self.reads[cluster as usize];
            if ends.by != NONE {
                self.pass_level(&mut zone, ends, starts)?;
            }
            cluster = self.next[cluster as usize];
        }
        Ok(zone)
    }

    fn pass_level(&self, zone: &mut Zone, ends: Mark, starts: Mark) -> Result<(), Conflict> {
        if ends.at < zone.s.at {
            return Err(self.torn(zone.root, zone.s.by, ends.by));
        }
        if ends.at < zone.f.at || zone.f.by == NONE && zone.root != INITIAL {
            zone.f = ends;
        }
        if starts.at > zone.s.at {
            zone.s = starts;
        }
        Ok(())
    }

    /// An operation of a later level (`later`) that ended before one of an earlier level (`earlier`) began.
    fn torn(&self, root: u32, earlier: OperationId, later: OperationId) -> Conflict {
        let mut operations = vec![later, earlier];
        self.add_writers(root, &[later, earlier], &mut operations);
        Conflict { anomaly: Anomaly::Torn, operations }
    }

    /// Compare-and-sets that only stand on each other.
    fn cycle(&self) -> Conflict {
        let mut seen = vec![false; self.clusters.all.len()];
        for (number, cluster) in self.clusters.all.iter().enumerate() {
            if cluster.source == NONE {
                let mut walk = number as u32;
                while walk != NONE && cluster.live {
                    seen[walk as usize] = true;
                    walk = self.next[walk as usize];
                }
            }
        }
        let first = self.clusters.all.iter().zip(&seen).position(|(cluster, seen)| cluster.live && !seen);
        let first = first.expect("a live cluster was not walked") as u32;
        let mut operations = Vec::new();
        let mut walk = first;
        loop {
            operations.push(self.clusters.all[walk as usize].writer);
            walk = self.clusters.all[walk as usize].source;
            if walk == first {
                self.add_observers(&mut operations);
                return Conflict { anomaly: Anomaly::SwapCycle, operations };
            }
        }
    }

    /// Two blocks that must each come before the other: the fewest operations that show it.
    fn conflict(&self, a: &Zone, b: &Zone) -> Conflict {
        // In each block one operation that ended early and one that began late; the write belongs to the explanation
        // anyway, and one operation may do for both.
        let (of_a, of_b) = (self.telling(a), self.telling(b));
        let pairs =
            |of: [Telling; 3]| of.into_iter().flat_map(move |early| of.into_iter().map(move |late| (early, late)));
        let shown = pairs(of_a).flat_map(|(a_early, a_late)| {
            let fits =
                move |(b_early, b_late): &(Telling, Telling)| a_early.end < b_late.start && b_early.end < a_late.start;
            pairs(of_b).filter(fits).map(move |(b_early, b_late)| [a_early.id, b_late.id, b_early.id, a_late.id])
        });
        let writers = [of_a[0].id, of_b[0].id];
        let extra = |ids: &[OperationId; 4]| {
            let mut extra: Vec<OperationId> =
                ids.iter().copied().filter(|id| *id != NONE && !writers.contains(id)).collect();
            extra.sort_unstable();
            extra.dedup();
            extra.len()
        };
        let ids = shown.min_by_key(extra).expect("f(A) < s(B) and f(B) < s(A)");
        let [a_early, b_late, b_early, a_late] = ids;
        let mut operations = Vec::new();
        operations.extend(ids.into_iter().filter(|id| *id != NONE));
        self.add_writers(a.root, &[a_early, a_late], &mut operations);
        self.add_writers(b.root, &[b_early, b_late], &mut operations);
        self.add_observers(&mut operations);
        Conflict { anomaly: Anomaly::Overlap, operations }
    }

    /// The write of a block, the operation that ended first and the one that began last.
    fn telling(&self, zone: &Zone) -> [Telling; 3] {
        [self.clusters.all[zone.root as usize].writer, zone.f.by, zone.s.by].map(|id| {
            let (start, end) = if id == NONE { (Time::MIN, Time::MIN) } else { interval(self.history, id) };
            Telling { id, start, end }
        })
    }

    /// Adds, for each writer of unknown outcome, an observer that shows that it happened.
    fn add_observers(&self, operations: &mut Vec<OperationId>) {
        let unknown = |id: &OperationId| self.history.operation(*id).outcome == Outcome::Unknown;
        let writers: Vec<OperationId> = operations.iter().copied().filter(unknown).collect();
        for writer in writers {
            let cluster = self.cluster_of(writer);
            if !self.is_shown_by(cluster, operations) {
                operations.extend(self.path_to_observer(cluster));
            }
        }
        dedup_in_order(operations);
    }

    /// Does one of these operations, which surely happened, stand on this cluster?
    fn is_shown_by(&self, mut cluster: u32, operations: &[OperationId]) -> bool {
        let happened = |id: &&OperationId| self.history.operation(**id).outcome != Outcome::Unknown;
        let on: FastSet<u32> = operations.iter().filter(happened).map(|id| self.cluster_of(*id)).collect();
        let mut walked = FastSet::default();
        while cluster != NONE && walked.insert(cluster) {
            if on.contains(&cluster) {
                return true;
            }
            cluster = self.next[cluster as usize];
        }
        false
    }

    /// The nearest operation that surely happened and saw this cluster, behind the swaps through which it saw it.
    ///
    /// Two swaps may stand on one cluster here, so `next` is not enough: this looks at every live cluster.
    fn path_to_observer(&self, from: u32) -> Vec<OperationId> {
        let mut reached = FastSet::from_iter([from]);
        let mut queue = std::collections::VecDeque::from([(from, Vec::new())]);
        while let Some((cluster, path)) = queue.pop_front() {
            let by = self.reads[cluster as usize].ends.by;
            if by != NONE {
                return [path, vec![by]].concat();
            }
            for (number, swap) in self.clusters.all.iter().enumerate() {
                if swap.live && swap.source == cluster && reached.insert(number as u32) {
                    let path = [path.clone(), vec![swap.writer]].concat();
                    if self.history.operation(swap.writer).outcome == Outcome::Ok {
                        return path;
                    }
                    queue.push_back((number as u32, path));
                }
            }
        }
        unreachable!("a write of unknown outcome is live only if something observed it")
    }

    /// Adds the writers on which these operations of one block stand: the root, and the swaps up to their levels.
    fn add_writers(&self, root: u32, of: &[OperationId], operations: &mut Vec<OperationId>) {
        let mut wanted: Vec<u32> = of.iter().filter(|id| **id != NONE).map(|id| self.cluster_of(*id)).collect();
        let mut cluster = root;
        while cluster != NONE && !wanted.is_empty() {
            let writer = self.clusters.all[cluster as usize].writer;
            if writer != NONE {
                operations.push(writer);
            }
            wanted.retain(|other| *other != cluster);
            cluster = self.next[cluster as usize];
        }
        dedup_in_order(operations);
    }

    /// The cluster of an operation; only asked when a violation is explained.
    fn cluster_of(&self, id: OperationId) -> u32 {
        let at = self.ids.iter().position(|other| *other == id).expect("an operation of this key");
        self.clusters.of[at]
    }

    fn witness(&self, roots: impl Iterator<Item = u32>) -> Vec<OperationId> {
        // Counting sort by rank of cluster; inside a cluster the writer comes first, then observers by start.
        let mut rank_of = vec![NONE; self.clusters.all.len()];
        let mut rank = 0;
        for root in roots {
            let mut cluster = root;
            while cluster != NONE {
                rank_of[cluster as usize] = rank;
                rank += 1;
                cluster = self.next[cluster as usize];
            }
        }
        let mut begins = vec![0u32; rank as usize + 1];
        for cluster in self.clusters.of.iter().filter(|cluster| **cluster != NONE) {
            begins[rank_of[*cluster as usize] as usize + 1] += 1;
        }
        for at in 1..begins.len() {
            begins[at] += begins[at - 1];
        }
        let mut order = vec![NONE; *begins.last().expect("the initial block is there") as usize];
        let mut next = begins.clone();
        for (id, cluster) in self.ids.iter().zip(&self.clusters.of).filter(|(_, cluster)| **cluster != NONE) {
            let at = &mut next[rank_of[*cluster as usize] as usize];
            order[*at as usize] = *id;
            *at += 1;
        }
        for (cluster, rank) in rank_of.iter().enumerate().filter(|(_, rank)| **rank != NONE) {
            let writer = self.clusters.all[cluster].writer;
            let group = &mut order[begins[*rank as usize] as usize..begins[*rank as usize + 1] as usize];
            group.sort_unstable_by_key(|id| (*id != writer, self.history.operation(*id).invoke));
        }
        order
    }
}

fn dedup_in_order(operations: &mut Vec<OperationId>) {
    let mut seen = FastSet::default();
    operations.retain(|id| seen.insert(*id));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_sorted_however_far_they_are_from_their_places() {
        const ZONES: i64 = 60;
        let end = |what, at: i64| match what {
            "in place" => at,
            "neighbours exchanged" => at ^ 1,
            "far from their places" => at * 37 % ZONES,
            "turned around" => ZONES - at,
            _ => (ZONES - at) / 3,
        };
        for what in ["in place", "neighbours exchanged", "far from their places", "turned around", "equal ends"] {
            let mark = |at| Mark { at, by: NONE };
            let zone = |at| Zone { f: mark(end(what, at)), s: BEFORE_ALL, root: at as u32 };
            let mut zones: Vec<Zone> = (0..ZONES).map(zone).collect();
            sort_by_end(&mut zones);
            assert!(zones.is_sorted_by_key(|zone| zone.f.at), "{what}: {zones:?}");
            let mut roots: Vec<u32> = zones.iter().map(|zone| zone.root).collect();
            roots.sort_unstable();
            assert!(roots.into_iter().eq(0..ZONES as u32), "{what}: none is lost");
        }
    }
}
