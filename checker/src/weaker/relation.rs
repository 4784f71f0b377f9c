//! Session order and reads-from, and the causal order they make.
//!
//! A node is an operation that matters: a write that happened, or an answer that shows one. Each has a vector clock
//! over sessions, so that "causally before" is one comparison. An operation of unknown outcome ends no session: it
//! stands in one of its own, behind what its client had done before.

use crate::check::Options;
use crate::cluster::{Clusters, NONE, Rules, Trouble};
use crate::history::{History, KeyId, Kind, OperationId, Outcome};
use crate::value::FastMap;
use crate::weaker::Broken;
use crate::{describe, register};

/// Number of a node; [`NONE`] stands for the initial value.
pub(crate) type Node = u32;

/// Why there is no relation.
pub(crate) enum Unrelated {
    /// An answer shows what nobody wrote.
    ThinAir(Broken),
    /// It is not known which write some answer shows, or in which order a client called.
    Unknown(&'static str),
}

/// Which answers show which writes, and what came causally before what.
pub(crate) struct Relation<'a> {
    pub(crate) history: &'a History,
    /// In an order that respects causality, unless that has a cycle.
    pub(crate) nodes: Vec<OperationId>,
    pub(crate) key: Vec<KeyId>,
    pub(crate) session: Vec<u32>,
    /// Position in its session, from 1.
    pub(crate) index: Vec<u32>,
    /// The node before it in its client's order.
    pub(crate) before: Vec<Node>,
    /// The write it shows; `None` if it shows none.
    pub(crate) shows: Vec<Option<Node>>,
    pub(crate) is_write: Vec<bool>,
    pub(crate) sessions: usize,
    /// Writes of a key by session, in session order.
    pub(crate) writes: FastMap<KeyId, Vec<(u32, Vec<Node>)>>,
    /// Failed swaps that tell only what the value was not: they stand nowhere here.
    pub(crate) leaves_out: usize,
    clocks: Vec<u32>,
    /// Nodes on a causal cycle, if there is one.
    pub(crate) cycle: Option<Vec<Node>>,
}

impl<'a> Relation<'a> {
    pub(crate) fn new(history: &'a History, options: &Options) -> Result<Self, Unrelated> {
        Self::build(history, options, false)
    }

    /// With the writes of unknown outcome that nobody observed: a final dump may still show them.
    pub(crate) fn of_all_writes(history: &'a History, options: &Options) -> Result<Self, Unrelated> {
        Self::build(history, options, true)
    }

    fn build(history: &'a History, options: &Options, all_writes: bool) -> Result<Self, Unrelated> {
        let rules = Rules { eventual_too: true, ..options.rules() };
        let mut writer_of = vec![None; history.len()];
        let mut matters = vec![false; history.len()];
        let by_key = history.by_key();
        let mut leaves_out = 0;
        for key in 0..by_key.keys() as u32 {
            leaves_out += relate_key(history, by_key.of(KeyId(key)), &rules, &mut writer_of, &mut matters)?;
        }
        if all_writes {
            for (operation, matters) in history.operations().iter().zip(&mut matters) {
                *matters |= operation.outcome == Outcome::Unknown && matches!(operation.kind, Kind::Write | Kind::Cas);
            }
        }
        let mut relation = Relation {
            history,
            nodes: Vec::new(),
            key: Vec::new(),
            session: Vec::new(),
            index: Vec::new(),
            before: Vec::new(),
            shows: Vec::new(),
            is_write: Vec::new(),
            sessions: history.clients().len(),
            writes: FastMap::default(),
            leaves_out,
            clocks: Vec::new(),
            cycle: None,
        };
        relation.place(&matters)?;
        if relation.nodes.len().saturating_mul(relation.sessions) > options.budget.bytes / 4 {
            return Err(Unrelated::Unknown("the vector clocks do not fit into the budget of memory"));
        }
        let mut node_of = vec![NONE; history.len()];
        for (node, id) in relation.nodes.iter().enumerate() {
            node_of[*id as usize] = node as Node;
        }
        let node = |id: OperationId| if id == NONE { NONE } else { node_of[id as usize] };
        relation.shows = relation.nodes.iter().map(|id| writer_of[*id as usize].map(node)).collect();
        relation.list_writes();
        relation.tick();
        Ok(relation)
    }

    /// Puts the operations that matter into sessions.
    fn place(&mut self, matters: &[bool]) -> Result<(), Unrelated> {
        let mut ids: Vec<OperationId> = (0..self.history.len() as u32).filter(|id| matters[*id as usize]).collect();
        ids.sort_by_key(|id| (self.history.operation(*id).invoke, self.history.operation(*id).end()));
        let clients = self.history.clients().len();
        let mut last: Vec<(Node, u32, i64)> = vec![(NONE, 0, i64::MIN); clients];
        for id in ids {
            let operation = self.history.operation(id);
            let (before, count, ended) = last[operation.client.0 as usize];
            if operation.invoke < ended {
                return Err(Unrelated::Unknown("a client had two operations open at once"));
            }
            let node = self.nodes.len() as Node;
            self.nodes.push(id);
            self.key.push(operation.key);
            self.before.push(before);
            self.is_write.push(operation.kind != Kind::Read && operation.outcome != Outcome::Fail);
            if operation.outcome == Outcome::Unknown {
                self.session.push(self.sessions as u32);
                self.index.push(1);
                self.sessions += 1;
            } else {
                self.session.push(operation.client.0);
                self.index.push(count + 1);
                last[operation.client.0 as usize] = (node, count + 1, operation.ret);
            }
        }
        Ok(())
    }

    fn list_writes(&mut self) {
        for node in 0..self.nodes.len() {
            if self.is_write[node] {
                let of_key = self.writes.entry(self.key[node]).or_default();
                match of_key.iter_mut().find(|(session, _)| *session == self.session[node]) {
                    Some((_, nodes)) => nodes.push(node as Node),
                    None => of_key.push((self.session[node], vec![node as Node])),
                }
            }
        }
    }

    /// Vector clocks in causal order.
    fn tick(&mut self) {
        let count = self.nodes.len();
        let shows: Vec<Node> = self.shows.iter().map(|shown| shown.unwrap_or(NONE)).collect();
        let edges =
            (0..count as Node).flat_map(|node| [(self.before[node as usize], node), (shows[node as usize], node)]);
        let order = match topological(count, edges.filter(|(from, _)| *from != NONE)) {
            Ok(order) => order,
            Err(cycle) => {
                self.cycle = Some(cycle);
                return;
            }
        };
        let width = self.sessions;
        self.clocks = vec![0; count * width];
        for node in order {
            for from in [self.before[node as usize], shows[node as usize]] {
                if from != NONE {
                    for session in 0..width {
                        let theirs = self.clocks[from as usize * width + session];
                        let own = &mut self.clocks[node as usize * width + session];
                        *own = theirs.max(*own);
                    }
                }
            }
            self.clocks[node as usize * width + self.session[node as usize] as usize] = self.index[node as usize];
        }
    }

    /// How far into a session this node has seen, itself included.
    pub(crate) fn seen(&self, node: Node, session: u32) -> u32 {
        self.clocks[node as usize * self.sessions + session as usize]
    }

    /// Is `a` causally before `b`? The initial value is before everything.
    pub(crate) fn is_before(&self, a: Node, b: Node) -> bool {
        a != b && b != NONE && (a == NONE || self.seen(b, self.session[a as usize]) >= self.index[a as usize])
    }

    /// The last write of a key in each session that lies at or before a position.
    pub(crate) fn last_writes(&self, key: KeyId, until: impl Fn(u32) -> u32) -> impl Iterator<Item = Node> {
        let of_key = self.writes.get(&key).map(Vec::as_slice).unwrap_or_default();
        of_key.iter().filter_map(move |(session, nodes)| {
            let until = until(*session);
            let at = nodes.partition_point(|node| self.index[*node as usize] <= until);
            at.checked_sub(1).map(|at| nodes[at])
        })
    }

    pub(crate) fn show(&self, node: Node) -> String {
        if node == NONE { "the initial value".to_string() } else { describe(self.history, self.nodes[node as usize]) }
    }

    pub(crate) fn broken(&self, words: String, nodes: &[Node]) -> Broken {
        let mut operations: Vec<OperationId> =
            nodes.iter().filter(|node| **node != NONE).map(|node| self.nodes[*node as usize]).collect();
        operations.dedup();
        Broken { words, operations }
    }
}

/// Which write each answer of one key shows; how many operations say only what they did not see.
fn relate_key(
    history: &History,
    ids: &[OperationId],
    rules: &Rules,
    writer_of: &mut [Option<OperationId>],
    matters: &mut [bool],
) -> Result<usize, Unrelated> {
    let clusters = match Clusters::of_key(history, ids, rules) {
        Ok(clusters) if !clusters.is_guessed => clusters,
        Ok(_) | Err(Trouble::Ambiguous(_)) => {
            return Err(Unrelated::Unknown("an answer could show several writes of the same value"));
        }
        Err(Trouble::NeverWritten(path)) => {
            let conflict = register::Conflict { anomaly: crate::Anomaly::NeverWritten, operations: path };
            let words = crate::explain::words(history, &conflict);
            return Err(Unrelated::ThinAir(Broken { words, operations: conflict.operations }));
        }
    };
    for (id, cluster) in ids.iter().zip(&clusters.of).filter(|(_, cluster)| **cluster != NONE) {
        matters[*id as usize] = true;
        let cluster = &clusters.all[*cluster as usize];
        if cluster.writer != *id {
            writer_of[*id as usize] = Some(cluster.writer);
        } else if cluster.source != NONE {
            writer_of[*id as usize] = Some(clusters.all[cluster.source as usize].writer);
        }
    }
    Ok(clusters.inequalities.len())
}

/// The nodes in an order that respects the edges, or the nodes of a cycle.
pub(crate) fn topological(
    count: usize,
    edges: impl Iterator<Item = (Node, Node)> + Clone,
) -> Result<Vec<Node>, Vec<Node>> {
    let mut waiting = vec![0u32; count];
    let mut starts = vec![0usize; count + 1];
    for (from, to) in edges.clone() {
        waiting[to as usize] += 1;
        starts[from as usize + 1] += 1;
    }
    for at in 1..=count {
        starts[at] += starts[at - 1];
    }
    let mut fill = starts.clone();
    let mut targets = vec![0; starts[count]];
    for (from, to) in edges.clone() {
        targets[fill[from as usize]] = to;
        fill[from as usize] += 1;
    }
    let mut order: Vec<Node> = (0..count as Node).filter(|node| waiting[*node as usize] == 0).collect();
    let mut at = 0;
    while at < order.len() {
        let node = order[at] as usize;
        at += 1;
        for to in &targets[starts[node]..starts[node + 1]] {
            waiting[*to as usize] -= 1;
            if waiting[*to as usize] == 0 {
                order.push(*to);
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    // Walk backwards along edges between nodes that are left until one comes up twice.
    let mut into: FastMap<Node, Node> = FastMap::default();
    for (from, to) in edges.filter(|(from, to)| waiting[*from as usize] > 0 && waiting[*to as usize] > 0) {
        into.insert(to, from);
    }
    let mut node = *into.keys().min().expect("what is left has a cycle");
    let mut seen = Vec::new();
    while !seen.contains(&node) {
        seen.push(node);
        node = into[&node];
    }
    let begin = seen.iter().position(|other| *other == node).expect("just found");
    Err(seen.split_off(begin))
}
