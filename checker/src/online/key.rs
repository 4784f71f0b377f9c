//! One key judged while it happens.
//!
//! The zones of [`crate::register`] kept open: for each block (a write, its observers, the swaps glued behind it) the
//! smallest end `f` and the largest start `s`. Block `A` must precede `B` as soon as `f(A) < s(B)`; from then on no
//! operation of `A` may start after `f(B)`, so `A` has a *limit*, the smallest such `f(B)`. An operation of `A` that
//! started behind the limit makes a cycle. Once every call that is open, or still to come, starts behind the limit,
//! `A` can have no more members and is forgotten. Memory is that of the calls and blocks that are open.
//!
//! Forgetting also means that a value may be written again later without doubt about what a read saw. Where two open
//! blocks hold the same value, the version in the answer decides; where that does not help, or the version is not that
//! of the only write it could be, the key is *undecided* and nothing is claimed about it.

use std::collections::VecDeque;

use super::CallId;
use crate::history::{Kind, NEVER, Operation, Outcome, Time};
use crate::value::{FastMap, FastSet};
use crate::{Anomaly, FailedCas, Value};

const NONE: CallId = CallId::MAX;

/// Number of a cluster, given out in the order of opening.
pub(crate) type ClusterNumber = u32;

/// What became of a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It belongs to this cluster, if to any.
    Judged(Option<ClusterNumber>),
    NotJudged,
}

/// A write that is known to have happened, and the write its swap replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed {
    pub(crate) cluster: ClusterNumber,
    pub(crate) writer: CallId,
    pub(crate) source: Option<ClusterNumber>,
}

/// Why a return is illegal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) anomaly: Anomaly,
    pub(crate) others: Vec<CallId>,
}

/// One write, known from its invocation on.
#[derive(Clone, Debug)]
struct Cluster {
    value: Value,
    version: Option<Value>,
    expected: Option<Value>,
    writer: CallId,
    start: Time,
    /// The block it belongs to, once something shows that the write happened.
    block: Option<u32>,
    /// The cluster before it in its block.
    before: Option<ClusterNumber>,
    /// The swap that replaced it.
    swapped_by: Option<CallId>,
    /// The smallest end in the block behind the observers: they must not have started later. The write itself began
    /// before anything that could be behind it ended.
    limit_reads: Time,
}

#[derive(Clone, Debug)]
struct Block {
    number: u32,
    f: Time,
    s: Time,
    limit: Time,
    f_by: CallId,
    s_by: CallId,
    limit_by: [CallId; 2],
    clusters: Vec<ClusterNumber>,
}

/// A call that has begun and may still return.
#[derive(Clone, Copy, Debug)]
struct Pending {
    start: Time,
    cluster: Option<ClusterNumber>,
}

/// Judges one key online.
#[derive(Clone, Debug)]
pub(crate) struct OnlineKey {
    init: Value,
    /// The version of each write is told before an answer can carry it.
    told: bool,
    now: Time,
    pub(crate) undecided: bool,
    clusters: FastMap<ClusterNumber, Cluster>,
    next_cluster: ClusterNumber,
    by_value: FastMap<Value, Vec<ClusterNumber>>,
    /// In order of `f`.
    blocks: VecDeque<Block>,
    next_block: u32,
    pending: FastMap<CallId, Pending>,
    /// Open calls that may still join an old block, in order of start; closed ones go at the next sweep.
    holding: VecDeque<(Time, CallId)>,
    /// Clusters and open calls that were left by the last sweep.
    swept_at: usize,
    confirmed: Option<Vec<Confirmed>>,
}

impl OnlineKey {
    pub(crate) fn new(init: Value, init_version: Option<Value>) -> Self {
        let mut key = OnlineKey {
            init: init.clone(),
            told: init_version.is_some(),
            now: Time::MIN,
            undecided: false,
            clusters: FastMap::default(),
            next_cluster: 0,
            by_value: FastMap::default(),
            blocks: VecDeque::new(),
            next_block: 0,
            pending: FastMap::default(),
            holding: VecDeque::new(),
            swept_at: 0,
            confirmed: None,
        };
        let initial = key.open_cluster(init, None, NONE, Time::MIN);
        key.open_block(initial, Time::MIN, NONE);
        if let Some(cluster) = key.clusters.get_mut(&initial) {
            cluster.version = init_version;
        }
        key
    }

    /// Blocks, open calls and writes in memory.
    pub(super) fn held(&self) -> usize {
        self.blocks.len() + self.pending.len() + self.clusters.len()
    }

    pub(super) fn on_version(&mut self, id: CallId, version: Value) {
        let open = self.pending.get(&id).and_then(|pending| pending.cluster);
        // A write of unknown outcome is not pending any more, but may still be seen.
        let unknown = || self.clusters.iter().find(|(_, cluster)| cluster.writer == id).map(|(number, _)| *number);
        let Some(number) = open.or_else(unknown) else { return };
        let cluster = self.clusters.get_mut(&number).expect("open");
        let known = cluster.version.get_or_insert_with(|| version.clone());
        if *known != version && !self.told {
            self.undecided = true;
            self.forget_everything();
        }
    }

    /// Remembers every write that is known to have happened; memory then follows the length of the history.
    pub(crate) fn keep_confirmed(&mut self) {
        self.confirmed = Some(vec![Confirmed { cluster: 0, writer: NONE, source: None }]);
    }

    pub(crate) fn take_confirmed(&mut self) -> Vec<Confirmed> {
        self.confirmed.take().unwrap_or_default()
    }

    pub(crate) fn on_invoke(&mut self, id: CallId, call: &Operation) -> Option<ClusterNumber> {
        self.pass_to(call.invoke);
        if self.undecided {
            return None;
        }
        let cluster = match call.kind {
            Kind::Write => Some(self.open_cluster(call.value.clone(), None, id, call.invoke)),
            Kind::Cas => Some(self.open_cluster(call.value.clone(), Some(call.expected().clone()), id, call.invoke)),
            _ => None,
        };
        if call.kind != Kind::Write {
            self.holding.push_back((call.invoke, id));
        }
        let before = self.pending.insert(id, Pending { start: call.invoke, cluster });
        assert!(before.is_none(), "call {id} is already open");
        cluster
    }

    pub(crate) fn on_return(&mut self, id: CallId, call: &Operation, failed_cas: FailedCas) -> Result<Answer, Stop> {
        if call.ret != NEVER {
            self.pass_to(call.ret);
        }
        if self.undecided {
            return Ok(Answer::NotJudged);
        }
        let Pending { start, cluster } = *self.pending.get(&id).expect("a call returns after its invocation");
        let answer = match (call.kind, call.outcome) {
            (Kind::Read, Outcome::Ok) if call.value == Value::Any || call.level.is_eventual() => {
                Ok(Answer::Judged(None))
            }
            (Kind::Read, Outcome::Ok) => self.observe(id, start, &call.value, call.version()),
            (Kind::Write | Kind::Cas, Outcome::Ok) => {
                let cluster = cluster.expect("a write opened a cluster");
                self.written(id, cluster, call.version())
            }
            (Kind::Write, Outcome::Fail) => self.take_back(cluster),
            (Kind::Cas, Outcome::Fail) => self.take_back(cluster).and_then(|answer| match call.seen() {
                _ if failed_cas == FailedCas::Never => Ok(answer),
                Some(seen) if seen != call.expected() => self.observe(id, start, seen, call.version()),
                _ => Ok(Answer::NotJudged),
            }),
            _ => Ok(Answer::Judged(None)),
        };
        self.pending.remove(&id);
        if self.undecided {
            self.forget_everything();
        } else if self.clusters.len() + self.holding.len() > 2 * self.swept_at + 16 {
            self.sweep();
        }
        answer
    }

    fn pass_to(&mut self, time: Time) {
        assert!(time >= self.now, "calls of a key come in the order of time");
        self.now = time;
    }

    fn open_cluster(&mut self, value: Value, expected: Option<Value>, writer: CallId, start: Time) -> ClusterNumber {
        let number = self.next_cluster;
        self.next_cluster += 1;
        self.by_value.entry(value.clone()).or_default().push(number);
        let cluster = Cluster {
            value,
            version: None,
            expected,
            writer,
            start,
            block: None,
            before: None,
            swapped_by: None,
            limit_reads: Time::MAX,
        };
        self.clusters.insert(number, cluster);
        number
    }

    fn open_block(&mut self, root: ClusterNumber, f: Time, f_by: CallId) {
        let number = self.next_block;
        self.next_block += 1;
        let cluster = self.clusters.get_mut(&root).expect("open");
        cluster.block = Some(number);
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.push(Confirmed { cluster: root, writer: cluster.writer, source: None });
        }
        assert!(self.blocks.back().is_none_or(|last| last.f <= f), "first ends come in order");
        self.blocks.push_back(Block {
            number,
            f,
            s: cluster.start,
            limit: Time::MAX,
            f_by,
            s_by: cluster.writer,
            limit_by: [NONE; 2],
            clusters: vec![root],
        });
    }

    fn observe(&mut self, id: CallId, start: Time, value: &Value, version: Option<&Value>) -> Result<Answer, Stop> {
        let Some(number) = self.attribute(value, version)? else { return Ok(Answer::NotJudged) };
        if !self.confirm(number, id)? {
            return Ok(Answer::NotJudged);
        }
        let cluster = &self.clusters[&number];
        if start > cluster.limit_reads {
            return Err(self.torn(number));
        }
        self.join(number, start, id)?;
        Ok(Answer::Judged(Some(number)))
    }

    fn written(&mut self, id: CallId, number: ClusterNumber, version: Option<&Value>) -> Result<Answer, Stop> {
        if !self.confirm(number, id)? {
            return Ok(Answer::NotJudged);
        }
        let cluster = self.clusters.get_mut(&number).expect("open");
        if let Some(version) = version
            && *cluster.version.get_or_insert_with(|| version.clone()) != *version
        {
            // An answer was taken for that of this write, and was another's.
            self.undecided = true;
            return Ok(Answer::NotJudged);
        }
        let start = cluster.start;
        self.join(number, start, id)?;
        Ok(Answer::Judged(Some(number)))
    }

    /// Which cluster an observer of this value belongs to; `None` makes the key undecided.
    fn attribute(&mut self, value: &Value, version: Option<&Value>) -> Result<Option<ClusterNumber>, Stop> {
        if self.by_value.get(value).is_some_and(|candidates| candidates.len() > 1) {
            // Perhaps all but one are over.
            self.sweep();
        }
        let candidates = self.by_value.get(value).map(Vec::as_slice).unwrap_or_default();
        let known = |number: &ClusterNumber| self.clusters[number].version.as_ref();
        match candidates {
            [] => return Err(Stop { anomaly: Anomaly::NeverWritten, others: Vec::new() }),
            [one] => {
                let one = *one;
                // By value this is the one write, but its version is another's: that of a write which is over and
                // forgotten, or of none. A miss may carry the version of any floor.
                let is_another = |version: &Value| known(&one).map_or(self.told, |known| known != version);
                if (self.told || *value != self.init) && version.is_some_and(is_another) {
                    self.undecided = true;
                    return Ok(None);
                }
                self.name_version(one, version);
                return Ok(Some(one));
            }
            _ => {}
        }
        if let Some(version) = version {
            let same: Vec<ClusterNumber> = candidates.iter().copied().filter(|n| known(n) == Some(version)).collect();
            let may_be = |number: &ClusterNumber| !self.told && known(number).is_none();
            let unversioned: Vec<ClusterNumber> = candidates.iter().copied().filter(may_be).collect();
            match (same.as_slice(), unversioned.as_slice()) {
                ([one], _) => return Ok(Some(*one)),
                ([], [one]) => {
                    self.name_version(*one, Some(version));
                    return Ok(Some(*one));
                }
                _ => {}
            }
        }
        self.undecided = true;
        Ok(None)
    }

    /// An observer tells the version of a write whose own answer has not. The initial value keeps none: it may be read
    /// under the version of any floor.
    fn name_version(&mut self, number: ClusterNumber, version: Option<&Value>) {
        let cluster = self.clusters.get_mut(&number).expect("open");
        if cluster.version.is_none() && cluster.writer != NONE {
            cluster.version = version.cloned();
        }
    }

    /// Notes that a write happened, and with it the writes on which its swaps stand. False if the key is undecided.
    fn confirm(&mut self, number: ClusterNumber, by: CallId) -> Result<bool, Stop> {
        let mut path = vec![number];
        loop {
            let last = *path.last().expect("not empty");
            let cluster = &self.clusters[&last];
            if cluster.block.is_some() {
                path.pop();
                break;
            }
            let Some(expected) = cluster.expected.clone() else {
                self.open_block(last, self.now, by);
                path.pop();
                break;
            };
            let Some(source) = self.attribute(&expected, None)? else { return Ok(false) };
            if path.contains(&source) {
                return Err(Stop { anomaly: Anomaly::SwapCycle, others: self.writers(&path) });
            }
            path.push(source);
        }
        // From the root outwards, each swap joins the block of its source.
        while let Some(number) = path.pop() {
            let expected = self.clusters[&number].expected.clone().expect("only swaps are left");
            let Some(source) = self.attribute(&expected, None)? else { return Ok(false) };
            let (writer, start) = (self.clusters[&number].writer, self.clusters[&number].start);
            let of_source = self.clusters.get_mut(&source).expect("open");
            if let Some(other) = of_source.swapped_by.replace(writer) {
                return Err(Stop { anomaly: Anomaly::SwappedTwice, others: vec![other, writer] });
            }
            let block = of_source.block;
            let cluster = self.clusters.get_mut(&number).expect("open");
            (cluster.block, cluster.before) = (block, Some(source));
            if let Some(confirmed) = &mut self.confirmed {
                confirmed.push(Confirmed { cluster: number, writer, source: Some(source) });
            }
            self.block_mut(number).clusters.push(number);
            self.set_limit_reads(source);
            self.join(number, start, writer)?;
        }
        Ok(true)
    }

    /// Something behind the observers of this cluster, in its block, ends now for the first time.
    fn set_limit_reads(&mut self, mut number: ClusterNumber) {
        loop {
            let now = self.now;
            let Some(cluster) = self.clusters.get_mut(&number) else { return };
            if cluster.limit_reads != Time::MAX {
                return;
            }
            cluster.limit_reads = now;
            let Some(before) = cluster.before else { return };
            number = before;
        }
    }

    /// A member with this start joins the block of the cluster: the block's largest start may grow.
    fn join(&mut self, number: ClusterNumber, start: Time, by: CallId) -> Result<(), Stop> {
        let block = self.block_mut(number);
        if start > block.s {
            (block.s, block.s_by) = (start, by);
        }
        let Block { number: own, f, s, limit, f_by, s_by, limit_by, .. } = *block;
        if s > limit {
            return Err(Stop { anomaly: Anomaly::Overlap, others: vec![f_by, s_by, limit_by[0], limit_by[1]] });
        }
        for other in self.blocks.iter_mut().take_while(|other| other.f < s).filter(|other| other.number != own) {
            if f < other.limit {
                (other.limit, other.limit_by) = (f, [f_by, s_by]);
                if other.s > f {
                    return Err(Stop { anomaly: Anomaly::Overlap, others: vec![other.f_by, other.s_by, f_by, s_by] });
                }
            }
        }
        Ok(())
    }

    fn block_mut(&mut self, of: ClusterNumber) -> &mut Block {
        let number = self.clusters[&of].block.expect("a confirmed cluster has a block");
        let at = self.blocks.partition_point(|block| block.number < number);
        &mut self.blocks[at]
    }

    /// A write that definitely failed: nobody may have seen it.
    fn take_back(&mut self, cluster: Option<ClusterNumber>) -> Result<Answer, Stop> {
        let number = cluster.expect("a write opened a cluster");
        let cluster = &self.clusters[&number];
        if cluster.block.is_some() {
            return Err(Stop { anomaly: Anomaly::AbortedRead, others: vec![cluster.writer] });
        }
        self.forget_cluster(number);
        Ok(Answer::Judged(None))
    }

    fn torn(&self, number: ClusterNumber) -> Stop {
        let cluster = &self.clusters[&number];
        Stop { anomaly: Anomaly::Torn, others: [cluster.writer].into_iter().chain(cluster.swapped_by).collect() }
    }

    fn writers(&self, clusters: &[ClusterNumber]) -> Vec<CallId> {
        clusters.iter().map(|number| self.clusters[number].writer).collect()
    }

    /// Forgets the blocks, and the clusters inside chains, that can have no more members.
    fn sweep(&mut self) {
        self.holding.retain(|(_, id)| self.pending.contains_key(id));
        let horizon = self.holding.front().map_or(self.now, |(start, _)| self.now.min(*start));
        let mut gone = Vec::new();
        // A block stays while a write of it is open: its return still has to be told apart from a stranger's.
        let open: FastSet<ClusterNumber> = self.pending.values().filter_map(|pending| pending.cluster).collect();
        self.blocks.retain_mut(|block| {
            let closed = block.limit < horizon;
            let clusters = &self.clusters;
            block.clusters.retain(|number| {
                let stays = open.contains(number) || !closed && clusters[number].limit_reads >= horizon;
                if !stays {
                    gone.push(*number);
                }
                stays
            });
            !(closed && block.clusters.is_empty())
        });
        for number in gone {
            self.forget_cluster(number);
        }
        self.swept_at = self.clusters.len() + self.holding.len();
    }

    fn forget_cluster(&mut self, number: ClusterNumber) {
        let Some(cluster) = self.clusters.remove(&number) else { return };
        if let Some(others) = self.by_value.get_mut(&cluster.value) {
            others.retain(|other| *other != number);
            if others.is_empty() {
                self.by_value.remove(&cluster.value);
            }
        }
    }

    fn forget_everything(&mut self) {
        let init = std::mem::replace(&mut self.init, Value::Absent);
        *self = OnlineKey { now: self.now, undecided: true, ..OnlineKey::new(init, None) };
        self.clusters.clear();
        self.blocks.clear();
    }
}

#[cfg(test)]
mod tests;
