//! A cluster small enough to tell stories with: messages wait until they are delivered, storage ends when it is told to.
//!
//! Not a simulator: no chance, no disk, no time but what a story lets pass. What is asked of storage becomes durable at
//! once unless the story holds it back; a crash forgets whatever was held back.

use bytes::Bytes;
use quorate_core::config::{Config, Founding, Keyspace, Member, Mode};
use quorate_core::durable::{DurableState, StoreOp, StoreOutcome};
use quorate_core::effect::{ClientResponse, Outcome};
use quorate_core::id::{CallId, ClusterId, Key, LogPosition, NodeId, OperationId, StoreToken};
use quorate_core::input::{ClientRequest, Command, Consistency};
use quorate_core::message::Message;
use quorate_core::time::{Duration, Instant, Now, WallTime};
use quorate_core::version::{Record, Version};
use quorate_core::{Effect, Effects, Input, Node, Standing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a story's node keeps on its disk.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<Key, Record>,
    pub(crate) facts: DurableState,
    pub(crate) position: u64,
}

pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    held_back: VecDeque<(StoreToken, StoreOp)>,
    pub(crate) holds_back: bool,
    pub(crate) wall_ahead: i64,
    up: bool,
}

pub(crate) struct Cluster {
    pub(crate) hosts: BTreeMap<u32, Host>,
    pub(crate) founding: Founding,
    config: Config,
    now: Instant,
    waiting: VecDeque<(u32, u32, Message)>,
    cut: BTreeSet<(u32, u32)>,
    pub(crate) answers: BTreeMap<u64, ClientResponse>,
    calls: u64,
}

const START_OF_WALLS: u64 = 1_700_000_000_000_000;

impl Cluster {
    /// `n` nodes, three copies; keys `reg/…` are registers, all others lww with R = W = 2.
    pub(crate) fn new(n: u32) -> Self {
        Self::with(n, Config::default())
    }

    pub(crate) fn with(n: u32, config: Config) -> Self {
        let mut cluster = Self::founded_with(n, config);
        cluster.settle();
        for host in cluster.hosts.values() {
            assert_eq!(host.node.standing(), Standing::Member);
        }
        cluster
    }

    pub(crate) fn unfounded(n: u32) -> Self {
        Self::founded_with(n, Config::default())
    }

    fn founded_with(n: u32, config: Config) -> Self {
        let members = (1..=n).map(|id| Member { id: NodeId(id), zone: "z".into(), rack: format!("r{id}") }).collect();
        let copies = n.min(3) as u8;
        let keyspace = |prefix: &'static str, mode| Keyspace {
            prefix: Bytes::from_static(prefix.as_bytes()),
            mode,
            n: copies,
            r: copies / 2 + 1,
            w: copies / 2 + 1,
        };
        let keyspaces = vec![keyspace("", Mode::Lww), keyspace("reg/", Mode::Register)];
        let founding = Founding::checked(ClusterId(7), members, 16, copies, keyspaces).unwrap();
        let config = config.checked().unwrap();
        let hosts = (1..=n)
            .map(|id| {
                let node = Node::found(NodeId(id), founding.clone(), config.clone(), 40 + u64::from(id));
                let disk = Disk::default();
                let held_back = VecDeque::new();
                (id, Host { node, disk, held_back, holds_back: false, wall_ahead: 0, up: true })
            })
            .collect();
        Self {
            hosts,
            founding,
            config,
            now: Instant::ZERO,
            waiting: VecDeque::new(),
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            calls: 0,
        }
    }

    fn handle(&mut self, id: u32, input: Input) {
        if !self.hosts[&id].up {
            return;
        }
        let now = Now { monotonic: self.now, wall: self.wall(id) };
        let host = self.hosts.get_mut(&id).unwrap();
        let mut effects = Effects::default();
        host.node.handle(now, input, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Send { to, message } => self.waiting.push_back((id, to.0, message)),
                Effect::Reply { call, response } => {
                    assert!(self.answers.insert(call.sequence, response).is_none(), "a call is answered once");
                }
                Effect::Store { token, op } => self.hosts.get_mut(&id).unwrap().held_back.push_back((token, op)),
                Effect::Notice(_) => {}
            }
        }
        if !self.hosts[&id].holds_back {
            self.release_storage(id);
        }
    }

    /// What the wall of `id` shows.
    pub(crate) fn wall(&self, id: u32) -> WallTime {
        let ahead = self.hosts[&id].wall_ahead;
        WallTime::from_micros(START_OF_WALLS.wrapping_add_signed(ahead) + self.now.as_micros())
    }

    /// Everything that `id` asked of its storage becomes durable, in order.
    pub(crate) fn release_storage(&mut self, id: u32) {
        while let Some((token, op)) = self.hosts.get_mut(&id).unwrap().held_back.pop_front() {
            let disk = &mut self.hosts.get_mut(&id).unwrap().disk;
            let outcome = disk.carry_out(op);
            let synced = LogPosition(disk.position);
            self.handle(id, Input::Stored { token, outcome, synced });
        }
    }

    /// Delivers messages until none is left, without letting time pass.
    pub(crate) fn deliver(&mut self) {
        while let Some((from, to, message)) = self.waiting.pop_front() {
            if !self.cut.contains(&(from, to)) {
                self.handle(to, Input::Message { from: NodeId(from), message });
            }
        }
    }

    /// Delivers only what goes from one node to another.
    pub(crate) fn deliver_between(&mut self, from: u32, to: u32) {
        let waiting = std::mem::take(&mut self.waiting);
        let (chosen, rest): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(|m| (m.0, m.1) == (from, to));
        self.waiting = rest;
        for (from, to, message) in chosen {
            self.handle(to, Input::Message { from: NodeId(from), message });
        }
    }

    pub(crate) fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Ticks and delivers until nothing moves.
    pub(crate) fn settle(&mut self) {
        for _ in 0..20 {
            for id in self.ids() {
                self.handle(id, Input::Tick);
            }
            self.deliver();
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.now = (self.now + Duration::from_millis(10)).min(until);
            for id in self.ids() {
                self.handle(id, Input::Tick);
            }
            self.deliver();
        }
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.hosts.keys().copied().collect()
    }

    pub(crate) fn cut(&mut self, a: &[u32], b: &[u32]) {
        for &a in a {
            for &b in b {
                self.cut.insert((a, b));
                self.cut.insert((b, a));
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn crash(&mut self, id: u32) {
        let host = self.hosts.get_mut(&id).unwrap();
        host.up = false;
        host.holds_back = false;
        host.held_back.clear();
    }

    pub(crate) fn restart(&mut self, id: u32) {
        let host = self.hosts.get_mut(&id).unwrap();
        let Disk { facts, position, .. } = &host.disk;
        host.node = Node::recover(self.config.clone(), 40 + u64::from(id), facts, LogPosition(*position));
        host.up = true;
        // A new boot's clock starts anew in no story: all share one.
        self.handle(id, Input::Tick);
    }

    /// Starts whatever node the story has put there.
    pub(crate) fn restart_as_is(&mut self, id: u32) {
        self.hosts.get_mut(&id).unwrap().up = true;
        self.handle(id, Input::Tick);
    }

    /// The operator starts a node as new although it was founded before.
    pub(crate) fn found_again(&mut self, id: u32) {
        let host = self.hosts.get_mut(&id).unwrap();
        host.disk = Disk::default();
        host.node = Node::found(NodeId(id), self.founding.clone(), self.config.clone(), 4_000 + u64::from(id));
        host.up = true;
        self.handle(id, Input::Tick);
    }

    pub(crate) fn ask(&mut self, on: u32, request: ClientRequest) -> u64 {
        self.calls += 1;
        let call = CallId { connection: u64::from(on), sequence: self.calls };
        self.handle(on, Input::Client { call, request });
        self.calls
    }

    /// Asks, delivers, and returns the answer if there is one without time passing.
    pub(crate) fn answer(&mut self, on: u32, request: ClientRequest) -> Option<ClientResponse> {
        let call = self.ask(on, request);
        self.deliver();
        self.answers.get(&call).cloned()
    }

    pub(crate) fn put(&mut self, on: u32, k: &str, value: &str) -> ClientResponse {
        self.answer(on, put(k, value)).expect("a put that needs no time")
    }

    pub(crate) fn get(&mut self, on: u32, k: &str) -> ClientResponse {
        self.answer(on, get(k)).expect("a get that needs no time")
    }

    pub(crate) fn homes(&self, k: &str) -> Vec<u32> {
        let placement = quorate_core::placement::Placement::of(&self.founding);
        placement.preference_list(&key(k), self.founding.rf()).iter().map(|home| home.0).collect()
    }

    pub(crate) fn held(&self, id: u32, k: &str) -> Option<&Record> {
        self.hosts[&id].disk.records.get(&key(k))
    }
}

impl Disk {
    fn carry_out(&mut self, op: StoreOp) -> StoreOutcome {
        match op {
            StoreOp::Read { key } => StoreOutcome::Found { record: self.records.get(&key).cloned() },
            StoreOp::Persist { fact } => {
                self.position += 1;
                self.facts.learn(fact);
                StoreOutcome::Persisted
            }
            StoreOp::Merge { key, record } => {
                self.position += 1;
                let held = self.records.get(&key).cloned();
                let old = held.as_ref().map_or(Version::ABSENT, |record| record.version);
                let merged = Record::merge(held, record);
                let new = merged.version;
                self.records.insert(key, merged);
                StoreOutcome::Merged { old, new }
            }
        }
    }
}

pub(crate) fn key(k: &str) -> Key {
    Key::new(Bytes::copy_from_slice(k.as_bytes())).unwrap()
}

pub(crate) fn get(k: &str) -> ClientRequest {
    let (timeout, consistency) = (None, Consistency::Keyspace);
    ClientRequest { id: None, key: key(k), timeout, consistency, command: Command::Get }
}

pub(crate) fn put(k: &str, value: &str) -> ClientRequest {
    let value = Bytes::copy_from_slice(value.as_bytes());
    ClientRequest { command: Command::Put { value, context: None, presented: None }, ..get(k) }
}

pub(crate) fn delete(k: &str) -> ClientRequest {
    ClientRequest { command: Command::Delete { context: None, presented: None }, ..get(k) }
}

/// The same request as a retry that presents a version.
pub(crate) fn presenting(mut request: ClientRequest, version: Version) -> ClientRequest {
    match &mut request.command {
        Command::Get => panic!("a get has no version"),
        Command::Put { presented, .. } | Command::Delete { presented, .. } => *presented = Some(version),
    }
    request
}

/// The same request under a client's own name.
pub(crate) fn named(request: ClientRequest, sequence: u64) -> ClientRequest {
    ClientRequest { id: OperationId::checked(Bytes::from_static(b"client"), sequence), ..request }
}

pub(crate) fn value(response: &ClientResponse) -> String {
    match &response.outcome {
        Outcome::Value(value) => String::from_utf8(value.to_vec()).unwrap(),
        Outcome::Missing => "(missing)".into(),
        other => format!("{other:?}"),
    }
}
