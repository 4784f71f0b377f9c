//! Clusters: which operation saw which write.
//!
//! A cluster is one write and everything that observed it. Where each value is written once, or each answer carries
//! its version, every read names its cluster, and the near-linear judge of [`crate::register`] can work. Where a read
//! could belong to several clusters this module says so ([`Trouble::Ambiguous`]) and decides nothing.
//!
//! What is left out, and why that changes no verdict:
//! - reads without an answer, and writes that definitely failed;
//! - writes of unknown outcome that nobody observed: a register without them allows the same observations. This is a
//!   fixpoint, because an unknown compare-and-set keeps the unknown writer of its source alive.
//!
//! A failed compare-and-set that does not tell what it saw says only "not this value". It belongs to no cluster and is
//! returned apart, in [`Clusters::inequalities`].

use std::collections::VecDeque;

use crate::history::{Kind, NEVER, OperationId, Outcome, TIME_MIN, Time};
use crate::value::FastMap;
use crate::writers::Writers;
use crate::{FailedCas, History, Identity, Value};

/// Stands for "none" where an operation or cluster number is stored.
pub(crate) const NONE: u32 = u32::MAX;

/// The cluster of the initial value: a virtual write before everything.
pub(crate) const INITIAL: u32 = 0;

/// What a judge has to know beyond the history.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) init: Value,
    pub(crate) failed_cas: FailedCas,
    /// Reads at an eventual level count too: for the weaker levels.
    pub(crate) eventual_too: bool,
}

/// One write and what observed it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// The operation that wrote, or [`NONE`] for the initial value.
    pub(crate) writer: OperationId,
    /// The cluster whose value the writer expected, if it is a compare-and-set.
    pub(crate) source: u32,
    /// Another write of the same value exists: observers cannot tell which they saw.
    repeated: bool,
    /// Is the writer known to have happened, or needed by an observer?
    pub(crate) live: bool,
}

impl Cluster {
    /// A cluster of a write that is known to have happened.
    pub(crate) fn confirmed(writer: OperationId, source: u32) -> Self {
        Cluster { writer, source, repeated: false, live: true }
    }
}

/// All clusters of one key.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    /// The initial cluster first.
    pub(crate) all: Vec<Cluster>,
    /// For each operation of the key, in the order given: its cluster, or [`NONE`] if it constrains nothing.
    pub(crate) of: Vec<u32>,
    /// Failed compare-and-sets that only say "not this value".
    pub(crate) inequalities: Vec<OperationId>,
    /// How observers were attributed.
    pub(crate) identity: Identity,
    /// Some attribution was one of several: what follows is no violation, but an order found is an order.
    pub(crate) is_guessed: bool,
}

/// Why there are no clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This operation could have observed more than one write.
    Ambiguous(OperationId),
    /// The last of these operations observed a value that nobody wrote; each is needed by the one before it.
    NeverWritten(Vec<OperationId>),
}

impl Clusters {
    /// The same clusters over operations with other numbers.
    pub(crate) fn renumbered(&self, number: impl Fn(OperationId) -> OperationId) -> Self {
        let mut clusters = self.clone();
        for cluster in clusters.all.iter_mut().filter(|cluster| cluster.writer != NONE && cluster.live) {
            cluster.writer = number(cluster.writer);
        }
        clusters
    }

    /// Attributes every operation of one register key, by version where possible, else by value.
    pub(crate) fn of_key(history: &History, ids: &[OperationId], rules: &Rules) -> Result<Self, Trouble> {
        let versions = ids.iter().any(|id| history.operation(*id).version().is_some());
        // A doubt about versions is no verdict: the values decide then.
        if versions && let Some(clusters) = Builder::new(history, ids, rules).by_version() {
            return Ok(clusters);
        }
        Builder::new(history, ids, rules).by_value()
    }
}

/// What an operation of a register key means for the judge.
pub(crate) enum Role<'a> {
    /// It constrains nothing.
    Nothing,
    /// It wrote the value, or may have.
    Write(&'a Value),
    /// It replaced the first value by the second, or may have.
    Swap(&'a Value, &'a Value),
    /// It observed the value.
    Observe(&'a Value),
    /// It observed that the value was another one.
    Differ(&'a Value),
}

/// Reads one operation of a register key under the rules.
#[inline]
pub(crate) fn role<'a>(history: &'a History, id: OperationId, rules: &Rules) -> Role<'a> {
    let operation = history.operation(id);
    match (operation.kind, operation.outcome) {
        (Kind::Read, Outcome::Ok) if matches!(operation.value, Value::Any) => Role::Nothing,
        (Kind::Read, Outcome::Ok) if operation.level.is_eventual() && !rules.eventual_too => Role::Nothing,
        (Kind::Read, Outcome::Ok) => Role::Observe(&operation.value),
        (Kind::Write, Outcome::Ok | Outcome::Unknown) => Role::Write(&operation.value),
        (Kind::Cas, Outcome::Ok | Outcome::Unknown) => Role::Swap(operation.expected(), &operation.value),
        (Kind::Cas, Outcome::Fail) if rules.failed_cas == FailedCas::Mismatch => match operation.seen() {
            Some(seen) if seen != operation.expected() => Role::Observe(seen),
            _ => Role::Differ(operation.expected()),
        },
        _ => Role::Nothing,
    }
}

struct Builder<'a> {
    history: &'a History,
    ids: &'a [OperationId],
    rules: &'a Rules,
    clusters: Clusters,
    by_value: Writers,
    by_version: FastMap<&'a Value, u32>,
    /// Clusters of writes whose answer carried no version, by value, in the order of the record.
    unversioned: FastMap<&'a Value, VecDeque<u32>>,
}

impl<'a> Builder<'a> {
    fn new(history: &'a History, ids: &'a [OperationId], rules: &'a Rules) -> Self {
        let initial = Cluster { writer: NONE, source: NONE, repeated: false, live: true };
        let writes = ids.iter().filter(|id| history.operation(**id).kind != Kind::Read).count();
        let mut all = Vec::with_capacity(writes + 1);
        all.push(initial);
        Builder {
            history,
            ids,
            rules,
            clusters: Clusters {
                all,
                of: vec![NONE; ids.len()],
                inequalities: Vec::new(),
                identity: Identity::Value,
                is_guessed: false,
            },
            by_value: Writers::with_capacity(writes + 1),
            by_version: FastMap::default(),
            unversioned: FastMap::default(),
        }
    }

    fn by_value(mut self) -> Result<Clusters, Trouble> {
        self.open_clusters();
        for (at, id) in self.ids.iter().enumerate() {
            match role(self.history, *id, self.rules) {
                Role::Nothing | Role::Write(_) => {}
                Role::Swap(..) => {
                    let own = self.clusters.of[at];
                    if self.clusters.all[own as usize].live {
                        self.settle(*id, own)?;
                    }
                }
                Role::Observe(value) => {
                    let cluster = self.written_once(*id, value)?;
                    self.clusters.of[at] = cluster;
                    self.settle(*id, cluster)?;
                }
                Role::Differ(_) => self.clusters.inequalities.push(*id),
            }
        }
        Ok(self.forget_dead())
    }

    /// Attribution by the versions in the answers. `None` where they leave a doubt: then the values must decide.
    fn by_version(mut self) -> Option<Clusters> {
        self.open_clusters();
        self.clusters.identity = Identity::Version;
        self.open_versions()?;
        for (at, id) in self.ids.iter().enumerate() {
            match role(self.history, *id, self.rules) {
                Role::Nothing | Role::Write(_) => {}
                Role::Swap(..) => {
                    let own = self.clusters.of[at];
                    if self.clusters.all[own as usize].live {
                        self.settle(*id, own).ok()?;
                    }
                }
                Role::Observe(value) => {
                    let cluster = self.of_version(*id, value)?;
                    self.clusters.of[at] = cluster;
                    self.settle(*id, cluster).ok()?;
                }
                Role::Differ(expected) => match self.history.operation(*id).version() {
                    Some(version) => {
                        let cluster = *self.by_version.get(version)?;
                        if self.value_of(cluster) == expected {
                            return None;
                        }
                        self.clusters.of[at] = cluster;
                        self.settle(*id, cluster).ok()?;
                    }
                    None => self.clusters.inequalities.push(*id),
                },
            }
        }
        Some(self.forget_dead())
    }

    /// One cluster per write, and the table from values to clusters.
    fn open_clusters(&mut self) {
        self.by_value.find_or_insert(&self.rules.init, INITIAL, |_| unreachable!("it is the first"));
        for (at, id) in self.ids.iter().enumerate() {
            let (Role::Write(value) | Role::Swap(_, value)) = role(self.history, *id, self.rules) else { continue };
            let number = self.clusters.all.len() as u32;
            let live = self.history.operation(*id).outcome == Outcome::Ok;
            let value_of = |number| value_of(self.history, self.rules, &self.clusters.all, number);
            let other = self.by_value.find_or_insert(value, number, value_of);
            if let Some(other) = other {
                self.clusters.all[other as usize].repeated = true;
            }
            let repeated = other.is_some();
            self.clusters.all.push(Cluster { writer: *id, source: NONE, repeated, live });
            self.clusters.of[at] = number;
        }
    }

    /// The tables from versions to clusters; `None` if two writes carry one version.
    fn open_versions(&mut self) -> Option<()> {
        for number in 1..self.clusters.all.len() as u32 {
            let writer = self.history.operation(self.clusters.all[number as usize].writer);
            match writer.version() {
                Some(version) => {
                    if self.by_version.insert(version, number).is_some() {
                        return None;
                    }
                }
                None => self.unversioned.entry(&writer.value).or_default().push_back(number),
            }
        }
        Some(())
    }

    fn of_version(&mut self, id: OperationId, value: &'a Value) -> Option<u32> {
        let initial_is_unique = !self.clusters.all[INITIAL as usize].repeated;
        let missed = *value == self.rules.init && initial_is_unique;
        let Some(version) = self.history.operation(id).version() else {
            return if missed { Some(INITIAL) } else { self.written_once(id, value).ok() };
        };
        if let Some(cluster) = self.by_version.get(version) {
            return (self.value_of(*cluster) == value).then_some(*cluster);
        }
        match self.unversioned.get_mut(value) {
            // The initial value has no version either: it could be this write's or the initial one.
            Some(_) if *value == self.rules.init => None,
            // A write of unknown outcome has one version, so a second version cannot be its. Among several the first
            // is tried: it began first, so it fits wherever another would.
            Some(writers) => {
                let cluster = writers.pop_front()?;
                self.clusters.is_guessed |= !writers.is_empty();
                self.by_version.insert(version, cluster);
                Some(cluster)
            }
            // A miss may carry the version of a floor that nobody wrote. It is the initial value only if nobody ever
            // wrote the initial value again: a tombstone may have been collected below that floor.
            None => missed.then_some(INITIAL),
        }
    }

    fn value_of(&self, cluster: u32) -> &'a Value {
        value_of(self.history, self.rules, &self.clusters.all, cluster)
    }

    /// The one cluster an observer of this value can belong to.
    fn written_once(&self, id: OperationId, value: &Value) -> Result<u32, Trouble> {
        match self.by_value.find(value, |number| self.value_of(number)) {
            Some(cluster) if self.clusters.all[cluster as usize].repeated => Err(Trouble::Ambiguous(id)),
            Some(cluster) => Ok(cluster),
            None => Err(Trouble::NeverWritten(vec![id])),
        }
    }

    /// Notes that a write happened, since `by` observed it, and with it the writes that its swaps stand on.
    fn settle(&mut self, by: OperationId, mut cluster: u32) -> Result<(), Trouble> {
        let mut path = Vec::new();
        loop {
            let number = cluster as usize;
            self.clusters.all[number].live = true;
            let Cluster { writer, source, .. } = self.clusters.all[number];
            if writer == NONE || source != NONE {
                return Ok(());
            }
            let Role::Swap(expected, _) = role(self.history, writer, self.rules) else { return Ok(()) };
            path.extend(path.is_empty().then_some(by));
            path.push(writer);
            cluster = self.written_once(writer, expected).map_err(|trouble| match trouble {
                Trouble::NeverWritten(_) => Trouble::NeverWritten(std::mem::take(&mut path)),
                Trouble::Ambiguous(id) => Trouble::Ambiguous(id),
            })?;
            self.clusters.all[number].source = cluster;
        }
    }

    /// Takes out the writes of unknown outcome that nobody observed.
    fn forget_dead(mut self) -> Clusters {
        for cluster in &mut self.clusters.of {
            if *cluster != NONE && !self.clusters.all[*cluster as usize].live {
                *cluster = NONE;
            }
        }
        self.clusters
    }
}

/// The value of a cluster.
fn value_of<'a>(history: &'a History, rules: &'a Rules, all: &[Cluster], cluster: u32) -> &'a Value {
    match all[cluster as usize].writer {
        NONE => &rules.init,
        writer => &history.operation(writer).value,
    }
}

/// Start and end of an operation as the judges see them.
pub(crate) fn interval(history: &History, id: OperationId) -> (Time, Time) {
    let operation = history.operation(id);
    debug_assert!(operation.invoke >= TIME_MIN);
    (operation.invoke, if operation.outcome == Outcome::Unknown { NEVER } else { operation.ret })
}
