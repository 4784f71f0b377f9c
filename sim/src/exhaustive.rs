//! Small scope, exhaustively: every schedule of a few operations, breadth first, to a depth.
//!
//! Most bugs of a protocol show in small cases if only all of them are tried (Jackson's small scope hypothesis). Here
//! time stands still and nothing is drawn: from each state every message on its way may arrive or, so often as allowed,
//! be lost; every node's oldest storage operation may end; every operation may begin; a node may stop for good. States
//! that look alike are visited once. Each answer is judged by the checker at once, so what is found first is shortest.
//!
//! The nodes are the core's own; storage is a map that ends one operation at a time, in order.

use crate::oracle::Property;
use bytes::Bytes;
use quorate_checker::{self as checker, Kind, Operation, Verdict};
use quorate_core::config::{Config, Founding, Keyspace, Member, Mode};
use quorate_core::durable::{StoreOp, StoreOutcome};
use quorate_core::effect::{ClientResponse, Outcome};
use quorate_core::id::{CallId, ClusterId, Key, LogPosition, NodeId, StoreToken};
use quorate_core::input::{ClientRequest, Command, Consistency};
use quorate_core::message::Message;
use quorate_core::time::{Instant, Now, WallTime};
use quorate_core::version::{Record, Version};
use quorate_core::{Effect, Effects, Input, Node, Standing};
use quorate_traces::Do;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is explored.
#[derive(Clone, Debug)]
pub struct Scope {
    /// How many nodes, each a home of the one key.
    pub nodes: u32,
    /// The operations, each by a client of its own: its coordinator and what it does.
    pub ops: Vec<(NodeId, Do)>,
    /// How many messages may be lost.
    pub losses: u8,
    /// How many nodes may stop for good.
    pub crashes: u8,
    /// How many steps a schedule has at most.
    pub depth: u32,
    /// How many states are visited at most.
    pub states_max: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// States that look different.
    pub states: usize,
    /// Steps from one to another.
    pub steps: u64,
    /// All schedules were followed to this many steps.
    pub depth: u32,
    /// No schedule goes on beyond what was followed.
    pub complete: bool,
    /// The shortest schedule that breaks a promise, and which.
    pub broken: Option<(Property, Vec<String>, String)>,
}

#[derive(Clone)]
struct State {
    nodes: Vec<Option<Node>>,
    rows: Vec<BTreeMap<Key, Record>>,
    stores: Vec<VecDeque<(StoreToken, StoreOp)>>,
    ended: Vec<u64>,
    flying: Vec<(NodeId, NodeId, Message)>,
    calls: Vec<Call>,
    losses: u8,
    crashes: u8,
    step: u32,
    /// Where the schedule that leads here is written down.
    path: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Call {
    begun: Option<u32>,
    ended: Option<u32>,
    answer: Option<ClientResponse>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin(usize),
    Arrive(usize),
    Lose(usize),
    End(usize),
    Stop(usize),
}

const NOW: Now = Now { monotonic: Instant::from_micros(1_000_000), wall: WallTime::from_micros(1_700_000_000_000_000) };

fn key(name: &'static str) -> Key {
    Key::new(Bytes::from_static(name.as_bytes())).expect("a short name")
}

/// Follows every schedule of a scope, breadth first.
pub fn explore(scope: &Scope) -> Explored {
    let first = State::founded(scope);
    let mut seen = BTreeSet::from([first.fingerprint()]);
    // For each state its predecessor and the step in words.
    let mut paths: Vec<(usize, String)> = vec![(0, String::new())];
    let mut found = Explored { states: 1, steps: 0, depth: 0, complete: true, broken: None };
    let mut frontier = vec![first];
    for depth in 1..=scope.depth {
        let mut next = Vec::new();
        for state in &frontier {
            for step in state.steps(scope) {
                found.steps += 1;
                let mut after = state.clone();
                let words = after.words(step, scope);
                after.take(step, scope);
                let print = after.fingerprint();
                if !seen.insert(print) {
                    continue;
                }
                paths.push((state.path, words));
                after.path = paths.len() - 1;
                if let Some((property, words)) = after.judge(scope) {
                    found.broken = Some((property, schedule(&paths, after.path), words));
                    (found.states, found.depth, found.complete) = (seen.len(), depth, false);
                    return found;
                }
                next.push(after);
            }
            if seen.len() >= scope.states_max {
                (found.states, found.complete) = (seen.len(), false);
                return found;
            }
        }
        found.depth = depth;
        frontier = next;
        if frontier.is_empty() {
            found.states = seen.len();
            return found;
        }
    }
    (found.states, found.complete) = (seen.len(), false);
    found
}

fn schedule(paths: &[(usize, String)], mut at: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while at != 0 {
        let (before, words) = &paths[at];
        steps.push(words.clone());
        at = *before;
    }
    steps.reverse();
    steps
}

impl State {
    /// All nodes founded and known to one another, each with a lease of stamps.
    fn founded(scope: &Scope) -> Self {
        let count = scope.nodes;
        let member = |id: u32| Member { id: NodeId(id), zone: "z".into(), rack: "r".into() };
        let n = count as u8;
        let keyspace = Keyspace { prefix: Bytes::new(), mode: Mode::Register, n, r: 1, w: 1 };
        let founding = Founding::checked(ClusterId(1), (1..=count).map(member).collect(), 16, n, vec![keyspace]);
        let founding = founding.expect("a small cluster");
        let node = |id: u32| Some(Node::found(NodeId(id), founding.clone(), Config::default(), u64::from(id)));
        let empty = || vec![VecDeque::new(); count as usize];
        let mut state = Self {
            nodes: (1..=count).map(node).collect(),
            rows: vec![BTreeMap::new(); count as usize],
            stores: empty(),
            ended: vec![0; count as usize],
            flying: Vec::new(),
            calls: vec![Call::default(); scope.ops.len()],
            losses: scope.losses,
            crashes: scope.crashes,
            step: 0,
            path: 0,
        };
        (0..count as usize).for_each(|node| state.feed(node, Input::Tick));
        state.settle();
        // A first write through each node, of another key, takes out its lease.
        for node in 0..count as usize {
            let call = CallId { connection: u64::MAX, sequence: node as u64 };
            let request = request(key("warm"), Do::Put, Bytes::from_static(b"w"));
            state.feed(node, Input::Client { call, request });
            state.settle();
        }
        let members = state.nodes.iter().flatten().all(|node| node.standing() == Standing::Member);
        assert!(members, "a cluster without faults is founded");
        state
    }

    /// Everything on its way arrives, everything begun ends.
    fn settle(&mut self) {
        loop {
            if let Some((from, to, message)) = (!self.flying.is_empty()).then(|| self.flying.remove(0)) {
                self.feed(to.0 as usize - 1, Input::Message { from, message });
            } else if let Some(node) = self.stores.iter().position(|stores| !stores.is_empty()) {
                self.end_store(node);
            } else {
                return;
            }
        }
    }

    fn steps(&self, scope: &Scope) -> Vec<Step> {
        let mut steps = Vec::new();
        let unbegun = (0..scope.ops.len()).filter(|&op| self.calls[op].begun.is_none());
        steps.extend(unbegun.filter(|&op| self.nodes[scope.ops[op].0.0 as usize - 1].is_some()).map(Step::Begin));
        // Equal messages are one choice.
        let different = (0..self.flying.len()).filter(|&at| !self.flying[..at].contains(&self.flying[at]));
        steps.extend(different.clone().map(Step::Arrive));
        if self.losses > 0 {
            steps.extend(different.map(Step::Lose));
        }
        steps.extend((0..self.stores.len()).filter(|&node| !self.stores[node].is_empty()).map(Step::End));
        if self.crashes > 0 {
            steps.extend((0..self.nodes.len()).filter(|&node| self.nodes[node].is_some()).map(Step::Stop));
        }
        steps
    }

    fn take(&mut self, step: Step, scope: &Scope) {
        self.step += 1;
        match step {
            Step::Begin(op) => {
                self.calls[op].begun = Some(self.step);
                let (via, what) = scope.ops[op];
                let call = CallId { connection: op as u64, sequence: 0 };
                let request = request(key("k"), what, value(op));
                self.feed(via.0 as usize - 1, Input::Client { call, request });
            }
            Step::Arrive(at) => {
                let (from, to, message) = self.flying.swap_remove(at);
                if self.nodes[to.0 as usize - 1].is_some() {
                    self.feed(to.0 as usize - 1, Input::Message { from, message });
                }
            }
            Step::Lose(at) => {
                self.losses -= 1;
                self.flying.swap_remove(at);
            }
            Step::End(node) => self.end_store(node),
            Step::Stop(node) => {
                self.crashes -= 1;
                self.nodes[node] = None;
                self.stores[node].clear();
                self.flying.retain(|(_, to, _)| to.0 as usize - 1 != node);
            }
        }
        self.flying.sort_by_cached_key(fingerprint_of);
    }

    fn words(&self, step: Step, scope: &Scope) -> String {
        let message = |at: usize| {
            let (from, to, message) = &self.flying[at];
            format!("{from}>{to}/{}", message.body.kind())
        };
        match step {
            Step::Begin(op) => format!("{:?} {} begins at {}", scope.ops[op].1, op + 1, scope.ops[op].0),
            Step::Arrive(at) => format!("{} arrives", message(at)),
            Step::Lose(at) => format!("{} is lost", message(at)),
            Step::End(node) => format!("n{}'s oldest store ends", node + 1),
            Step::Stop(node) => format!("n{} stops", node + 1),
        }
    }

    fn feed(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Effects::default();
        while let Some(input) = inputs.pop_front() {
            let Some(running) = &mut self.nodes[node] else { return };
            running.handle(NOW, input, &mut effects);
            for effect in effects.drain() {
                match effect {
                    Effect::Send { to, message } => self.flying.push((NodeId(node as u32 + 1), to, message)),
                    Effect::Store { token, op: StoreOp::Read { key } } => {
                        let record = self.rows[node].get(&key).cloned();
                        let synced = LogPosition(self.ended[node]);
                        inputs.push_back(Input::Stored { token, outcome: StoreOutcome::Found { record }, synced });
                    }
                    Effect::Store { token, op } => self.stores[node].push_back((token, op)),
                    Effect::Reply { call, response } => {
                        if let Some(waiting) = self.calls.get_mut(call.connection as usize) {
                            waiting.ended = Some(self.step);
                            waiting.answer = Some(response);
                        }
                    }
                    Effect::Notice(_) => {}
                }
            }
        }
    }

    fn end_store(&mut self, node: usize) {
        let Some((token, op)) = self.stores[node].pop_front() else { return };
        self.ended[node] += 1;
        let outcome = match op {
            StoreOp::Persist { .. } => StoreOutcome::Persisted,
            StoreOp::Merge { key, record } => {
                let held = self.rows[node].remove(&key);
                let old = held.as_ref().map_or(Version::ABSENT, |held| held.version);
                let merged = Record::merge(held, record);
                let new = merged.version;
                self.rows[node].insert(key, merged);
                StoreOutcome::Merged { old, new }
            }
            StoreOp::Read { .. } => unreachable!("reads end at once"),
        };
        let synced = LogPosition(self.ended[node]);
        self.feed(node, Input::Stored { token, outcome, synced });
    }

    /// A number for everything that can still matter. Of the past: the answers, and which ended before which began.
    fn fingerprint(&self) -> u64 {
        let flying: Vec<u64> = self.flying.iter().map(fingerprint_of).collect();
        let before = |a: &Call, b: &Call| a.ended.zip(b.begun).is_some_and(|(ended, begun)| ended < begun);
        let order: Vec<bool> = self.calls.iter().flat_map(|a| self.calls.iter().map(move |b| before(a, b))).collect();
        let calls: Vec<_> = self.calls.iter().map(|call| (call.begun.is_some(), &call.answer)).collect();
        let past = (&calls, &order, self.losses, self.crashes, &flying);
        let present = (&self.nodes, &self.rows, &self.stores);
        let bytes = postcard::to_allocvec(&(past, present)).expect("plain data");
        xxhash_rust::xxh3::xxh3_64(&bytes)
    }

    /// Whether the answers so far can be explained.
    fn judge(&self, scope: &Scope) -> Option<(Property, String)> {
        if self.calls.iter().all(|call| call.ended != Some(self.step)) {
            return None;
        }
        let mut history = checker::History::new();
        let name = history.key("k");
        for (op, call) in self.calls.iter().enumerate() {
            let Some(begun) = call.begun else { continue };
            let client = history.client(&format!("c{}", op + 1));
            let written = checker::Value::bytes(&value(op));
            let (kind, wrote) = match scope.ops[op].1 {
                Do::Get => (Kind::Read, checker::Value::Any),
                Do::Put => (Kind::Write, written),
                Do::Delete => (Kind::Write, checker::Value::Absent),
            };
            let at = |step: u32| i64::from(step);
            let operation =
                |value| Operation::new(client, name, kind, value, at(begun), at(call.ended.unwrap_or(begun)));
            history.push(match call.answer.as_ref().map(|answer| &answer.outcome) {
                Some(Outcome::Value(seen)) => operation(checker::Value::bytes(seen)),
                Some(Outcome::Missing) => operation(checker::Value::Absent),
                Some(Outcome::Stored) => operation(wrote),
                Some(Outcome::Unavailable(_) | Outcome::Overloaded { .. } | Outcome::Refused(_)) => {
                    operation(wrote).failed()
                }
                Some(Outcome::Unknown) | None => operation(wrote).unknown(),
            });
        }
        let report = checker::check_history(&history, &checker::Options::deterministic(1_000_000));
        let violation = report.first_violation(&history).map(|violation| violation.words.clone());
        violation.filter(|_| report.verdict == Verdict::Violation).map(|words| (Property::Linearizable, words))
    }
}

fn fingerprint_of((from, to, message): &(NodeId, NodeId, Message)) -> u64 {
    let bytes = postcard::to_allocvec(&(from, to, message)).expect("plain data");
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

fn value(op: usize) -> Bytes {
    Bytes::from(vec![b'a' + op as u8])
}

fn request(key: Key, what: Do, value: Bytes) -> ClientRequest {
    let command = match what {
        Do::Get => Command::Get,
        Do::Put => Command::Put { value, context: None, presented: None },
        Do::Delete => Command::Delete { context: None, presented: None },
    };
    ClientRequest { id: None, key, timeout: None, consistency: Consistency::Keyspace, command }
}
