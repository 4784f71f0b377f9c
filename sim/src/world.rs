//! The loop: take the soonest event, hand it to whom it concerns, carry out what follows.
//!
//! ```text
//! while let Some(event) = queue.pop() {
//!     node.handle(clock.of(node, now), event.input, &mut effects);
//!     for effect in effects.drain() { perform(effect) }       // network, disk, clients: each draws from its own stream
//!     wake_at(node.next_deadline());
//! }
//! ```
//!
//! State: machines, network, clients, oracles, the queue, and the fold over everything that happened. All of it is a
//! value: cloned or written out between two events it goes on exactly as it would have.

use crate::audit::Audit;
use crate::clients::{CallRecord, Client, Heard, Progress};
use crate::digest::Digest;
use crate::found::{KeyIndex, config_of, founding_of, key_facts};
use crate::host::{Host, Life};
use crate::network::{Name, Network};
use crate::oracle::{KeyFacts, Oracles, Property, Violation};
use crate::phases::Phase;
use crate::rng::{Dice, Purpose, Stream};
use crate::table::Table;
use bytes::Bytes;
use quorate_core::config::{Config, Founding};
use quorate_core::id::NodeId;
use quorate_core::placement::Placement;
use quorate_core::shared::Shared;
use quorate_core::wal::Position;
use quorate_core::{Effects, Input, wire};
use quorate_traces::{Checkpoint, FaultKind, NodeTrace, Plan, Scheduler};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many events between two checkpoints of the digest, each with one node's state in it.
const CHECKPOINT_EVENTS: u64 = 1_024;

/// Something that is going to happen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A frame arrives.
    Deliver { name: Name, bytes: Bytes, flipped: bool, repeated: bool },
    /// A node wanted to be woken.
    Wake { node: u32, generation: u32 },
    /// A batch has been written and is synced.
    Sync { node: u32, generation: u32 },
    /// The log has been idle for a while.
    Mark { node: u32, generation: u32 },
    /// A segment has been made.
    Prepared { node: u32, generation: u32 },
    /// A flush of the tree has ended.
    Flushed { node: u32, generation: u32, position: Position },
    /// A machine that is down starts a process.
    Restart { node: u32, generation: u32 },
    /// A node that stood still goes on.
    Resume { node: u32 },
    /// A fault begins.
    Begin { fault: u32 },
    /// A fault ends.
    Finish { fault: u32 },
    /// A flapping cut changes.
    Flap { fault: u32, cut: bool },
    /// A copy of a disk is taken, to be put back later.
    BackUp { fault: u32 },
    /// A client's operation is due.
    Op { op: u32 },
    /// A client's call arrives.
    Ask { call: u32 },
    /// What a client hears of a call.
    Answer { call: u32, heard: Heard },
    /// A client has waited long enough.
    GaveUp { call: u32 },
    /// A node learns that a client has gone.
    Gone { call: u32 },
    /// A client asks again.
    Again { op: u32 },
    /// Everything is healed.
    Heal,
    /// Is everything done?
    Probe,
}

/// A whole cluster in one thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct World {
    #[serde(with = "crate::as_json")]
    pub(crate) plan: Arc<Plan>,
    pub(crate) config: Config,
    pub(crate) founding: Founding,
    pub(crate) now: u64,
    pub(crate) queue: crate::queue::Queue<Event>,
    /// What the order of events at one time follows from.
    pub(crate) tie_seed: u64,
    /// Priorities of nodes, where the scheduler has them.
    priorities: Vec<u32>,
    /// How many of their changes have happened.
    changes: usize,
    pub(crate) hosts: Table<Host, 1>,
    pub(crate) network: Network,
    pub(crate) flying: u64,
    pub(crate) clients: Vec<Client>,
    /// What the latencies of clients follow from.
    pub(crate) client_seed: u64,
    #[serde(with = "crate::as_json")]
    pub(crate) ops: Arc<Vec<quorate_traces::Op>>,
    /// The number of the next operation that is not in the plan.
    pub(crate) next_op: u32,
    /// For each operation the number of its key.
    pub(crate) op_keys: Table<u32>,
    pub(crate) progress: Table<Progress>,
    pub(crate) calls: Table<CallRecord>,
    pub(crate) keys: Shared<Vec<KeyFacts>>,
    pub(crate) key_index: Shared<KeyIndex>,
    pub(crate) oracles: Oracles,
    pub(crate) violations: Vec<Violation>,
    pub(crate) phase: Phase,
    /// Questions of last reads that were lost once: link, boot and request. Absent while none has to be.
    pub(crate) asked: Option<BTreeSet<(u32, u32, u64, u64)>>,
    pub(crate) audit: Audit,
    pub(crate) digest: Digest,
    pub(crate) events: u64,
    pub(crate) deliveries: u64,
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// No digest is kept: only to measure what it costs.
    #[serde(skip)]
    pub(crate) unfolded: bool,
    /// Empty between two inputs.
    #[serde(skip)]
    pub(crate) effects: Effects,
    /// Where a node is written down for a checkpoint; empty between two.
    #[serde(skip)]
    written: Vec<u8>,
    /// The node that is recorded, and its life so far.
    #[serde(skip)]
    pub(crate) recording: Option<(usize, Option<NodeTrace>)>,
}

impl World {
    /// The cluster of a plan, with everything that the plan schedules in the queue.
    pub(crate) fn new(plan: &Plan) -> Result<Self, String> {
        let shape = &plan.shape;
        let founding = founding_of(plan)?;
        let config = config_of(&shape.patience)?;
        let placement = Placement::of(&founding);
        let keys = key_facts(plan, &founding, &placement)?;
        let (nodes, seed) = (shape.cluster.nodes, shape.seed);
        let key_index = KeyIndex::of(&keys);
        let op_keys = plan.ops.iter().map(|op| key_index.find(&keys, &op.key.0) as u32).collect();
        let clients = plan.ops.iter().map(|op| op.client + 1).max().unwrap_or(0);
        let mut clients = vec![Client::default(); clients as usize];
        plan.ops.iter().filter(|op| op.context).for_each(|op| clients[op.client as usize].presents = true);
        let mut ties = Stream::new(seed, Purpose::Ties, 0);
        let tie_seed = ties.word();
        let priorities = (0..nodes).map(|_| ties.half_word() >> 9).collect();
        let places = (shape.cluster.racks, shape.cluster.regions);
        let mut world = Self {
            config,
            founding,
            now: 0,
            queue: crate::queue::Queue::default(),
            tie_seed,
            priorities,
            changes: 0,
            hosts: (0..nodes).map(|node| Host::new(seed, node, &shape.clocks[node as usize])).collect(),
            network: Network::new(seed, nodes, places, &shape.net, &shape.scheduler, &plan.directives),
            flying: 0,
            clients,
            client_seed: Stream::new(seed, Purpose::Client, 0).word(),
            ops: Arc::new(plan.ops.clone()),
            next_op: plan.ops.iter().map(|op| op.op).max().unwrap_or(0) + 1,
            op_keys,
            progress: Table::of(Progress::default(), plan.ops.len()),
            calls: Table::default(),
            oracles: Oracles::new(nodes as usize, keys.len(), plan.ops.len(), shape.patience.drift_max),
            keys: Shared::new(keys),
            key_index: Shared::new(key_index),
            violations: Vec::new(),
            phase: Phase::Faults,
            asked: None,
            audit: Audit::of(plan),
            digest: Digest::default(),
            events: 0,
            deliveries: 0,
            checkpoints: Vec::new(),
            unfolded: false,
            effects: Effects::default(),
            written: Vec::new(),
            recording: None,
            plan: Arc::new(plan.clone()),
        };
        world.schedule_plan();
        for node in 0..nodes as usize {
            world.start(node);
        }
        Ok(world)
    }

    fn schedule_plan(&mut self) {
        for op in 0..self.ops.len() {
            self.at(self.ops[op].at, 0, Event::Op { op: op as u32 });
        }
        for fault in 0..self.plan.faults.len() {
            self.schedule_fault(fault);
        }
        self.at(self.plan.shape.phases.heal_at, 0, Event::Heal);
    }

    /// Something will happen at `at`; `node` is whom it concerns, for schedulers with priorities.
    pub(crate) fn at(&mut self, at: u64, node: usize, event: Event) {
        let at = at.max(self.now);
        // A tie follows from what the event is, so one event more or less changes the order of no others.
        let tie = (Dice(self.tie_seed ^ self.identity(&event) ^ at.rotate_left(40)).word() >> 32) as u32;
        let (at, tie) = match &self.plan.shape.scheduler {
            Scheduler::Latency | Scheduler::DelayBounded { .. } => (at, tie),
            Scheduler::Uniform { window } => (at.next_multiple_of((*window).max(1)), tie),
            Scheduler::Pct { window, .. } => {
                let priority = self.priorities.get(node).copied().unwrap_or(0);
                (at.next_multiple_of((*window).max(1)), priority << 8 | tie >> 24)
            }
        };
        self.queue.push(at, tie, event);
    }

    /// Runs until something is broken, everything is done, or so many events have passed.
    pub(crate) fn run(&mut self, events_max: u64) {
        while self.violations.is_empty() && !self.phase.is_over() && self.events < events_max {
            if !self.step() {
                return;
            }
        }
    }

    /// The next event. False if there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        assert!(at >= self.now, "virtual time never runs backwards");
        self.now = at;
        self.events += 1;
        if !self.unfolded {
            self.fold(&event);
        }
        self.happen(event);
        self.change_priorities();
        if self.events.is_multiple_of(CHECKPOINT_EVENTS) && !self.unfolded {
            self.checkpoint();
        }
        true
    }

    /// The event that comes next.
    pub(crate) fn next_event(&self) -> Option<(u64, &Event)> {
        self.queue.peek()
    }

    /// Takes events out of the future.
    pub(crate) fn take_events(&mut self, which: impl Fn(&Event) -> bool) -> Vec<(u64, Event)> {
        self.queue.extract(which)
    }

    fn fold(&mut self, event: &Event) {
        let what = match event {
            Event::Deliver { bytes, flipped, .. } => xxhash_rust::xxh3::xxh3_64(bytes) ^ u64::from(*flipped),
            Event::Answer { heard, .. } => heard.fold(),
            Event::Flushed { position, .. } => position.0,
            _ => 0,
        };
        let identity = self.identity(event);
        self.digest.fold(self.now, identity);
        self.digest.fold(self.events, what);
    }

    /// A number for what an event is and whom it concerns; it does not depend on what else is going to happen.
    fn identity(&self, event: &Event) -> u64 {
        let of = |kind: u64, who: u64, what: u64| kind << 56 ^ who << 32 ^ what;
        let op = |op: u32| u64::from(self.ops[op as usize].op);
        let call = |call: u32| {
            let record = &self.calls[call as usize];
            op(record.op) << 8 ^ u64::from(record.attempt)
        };
        match *event {
            Event::Deliver { name, repeated, .. } => {
                let link = u64::from(name.from) << 12 ^ u64::from(name.to);
                of(1 + u64::from(repeated), link, u64::from(name.kind) << 28 ^ u64::from(name.count))
            }
            Event::Wake { node, generation } => of(3, u64::from(node), u64::from(generation)),
            Event::Sync { node, generation } => of(4, u64::from(node), u64::from(generation)),
            Event::Mark { node, generation } => of(5, u64::from(node), u64::from(generation)),
            Event::Prepared { node, generation } => of(6, u64::from(node), u64::from(generation)),
            Event::Flushed { node, generation, .. } => of(7, u64::from(node), u64::from(generation)),
            Event::Restart { node, generation } => of(8, u64::from(node), u64::from(generation)),
            Event::Resume { node } => of(9, u64::from(node), 0),
            Event::Begin { fault } => of(10, self.fault_identity(fault), 0),
            Event::Finish { fault } => of(11, self.fault_identity(fault), 0),
            Event::Flap { fault, cut } => of(12 + u64::from(cut), self.fault_identity(fault), 0),
            Event::BackUp { fault } => of(14, self.fault_identity(fault), 0),
            Event::Op { op: number } => of(15, 0, op(number)),
            Event::Ask { call: number } => of(16, 0, call(number)),
            Event::Answer { call: number, .. } => of(17, 0, call(number)),
            Event::GaveUp { call: number } => of(18, 0, call(number)),
            Event::Gone { call: number } => of(19, 0, call(number)),
            Event::Again { op: number } => of(20, 0, op(number)),
            Event::Heal => of(21, 0, 0),
            Event::Probe => of(22, 0, 0),
        }
    }

    /// A fault is known by its kind and whom it names, not by its place in the list.
    fn fault_identity(&self, fault: u32) -> u64 {
        let record = &self.plan.faults[fault as usize];
        let node = record.fault.nodes().first().map_or(0, |node| u64::from(node.0));
        (record.fault.kind() as u64) << 12 ^ node
    }

    /// Folds one node's whole state in, each in turn.
    fn checkpoint(&mut self) {
        let step = self.events;
        let node = (step / CHECKPOINT_EVENTS) as usize % self.hosts.len();
        if let Some(running) = self.hosts[node].running() {
            let mut state = postcard::to_extend(&running.node, std::mem::take(&mut self.written)).expect("plain data");
            self.digest.fold(node as u64, xxhash_rust::xxh3::xxh3_64(&state));
            state.clear();
            self.written = state;
        }
        self.checkpoints.push(Checkpoint { step, digest: self.digest.value() });
    }

    /// At a change point the node that goes first falls behind all others.
    fn change_priorities(&mut self) {
        let Scheduler::Pct { changes, .. } = &self.plan.shape.scheduler else { return };
        if changes.get(self.changes).is_none_or(|&change| self.events < change) {
            return;
        }
        self.changes += 1;
        let lowest = self.priorities.iter().max().map_or(0, |highest| highest + 1);
        if let Some(first) = self.priorities.iter_mut().min() {
            *first = lowest;
        }
    }

    fn happen(&mut self, event: Event) {
        let concerned = match &event {
            Event::Deliver { name, .. } => Some(name.to as usize),
            Event::Wake { node, generation }
            | Event::Sync { node, generation }
            | Event::Mark { node, generation }
            | Event::Prepared { node, generation }
            | Event::Flushed { node, generation, .. } => {
                if self.hosts[*node as usize].generation != *generation {
                    return;
                }
                Some(*node as usize)
            }
            Event::Ask { call } | Event::Gone { call } => Some(self.calls[*call as usize].node as usize),
            _ => None,
        };
        // A node that stands still learns of everything when it goes on.
        if let Some(node) = concerned
            && self.hosts[node].paused_until.is_some()
        {
            self.audit.mattered(FaultKind::Pause);
            self.hosts[node].backlog.push(event);
            return;
        }
        if let Some(node) = concerned
            && self.hosts[node].is_slow()
            && let Some(later) = self.hosts[node].busy(self.now)
        {
            self.audit.mattered(FaultKind::SlowNode);
            return self.at(later, node, event);
        }
        match event {
            Event::Deliver { name, bytes, flipped, repeated } => self.deliver(name, bytes, flipped, repeated),
            Event::Wake { node, .. } => self.wake(node as usize),
            Event::Sync { node, .. } => self.sync(node as usize),
            Event::Mark { node, .. } => self.mark(node as usize),
            Event::Prepared { node, .. } => self.prepared(node as usize),
            Event::Flushed { node, position, .. } => {
                let Host { life, disk, .. } = &mut self.hosts[node as usize];
                if let Life::Up(running) = life {
                    running.flushed(position, disk);
                }
                self.note_reached(node as usize);
            }
            Event::Restart { node, generation } => {
                let host = &self.hosts[node as usize];
                if host.generation == generation && host.running().is_none() {
                    self.start(node as usize);
                }
            }
            Event::Resume { node } => self.resume(node as usize),
            Event::Begin { fault } => self.begin_fault(fault as usize),
            Event::Finish { fault } => self.finish_fault(fault as usize),
            Event::Flap { fault, cut } => self.flap(fault as usize, cut),
            Event::BackUp { fault } => self.back_up(fault as usize),
            Event::Op { op } => self.op_due(op),
            Event::Ask { call } => self.ask(call),
            Event::Answer { call, heard } => self.answer(call, heard),
            Event::GaveUp { call } => self.gave_up(call),
            Event::Gone { call } => self.gone(call),
            Event::Again { op } => self.again(op),
            Event::Heal => self.heal(),
            Event::Probe => self.probe(),
        }
    }

    fn deliver(&mut self, name: Name, bytes: Bytes, flipped: bool, repeated: bool) {
        self.flying -= 1;
        self.deliveries += 1;
        if let Some(kind) = self.network.cut_at_arrival(&name) {
            return self.audit.mattered(kind);
        }
        if !repeated && self.network.was_broken(&name) {
            return self.audit.mattered(FaultKind::Reset);
        }
        let to = name.to as usize;
        if self.hosts[to].running().is_none() {
            return self.audit.mattered(FaultKind::Crash);
        }
        let message = match wire::decode_whole(self.founding.cluster(), bytes) {
            Ok(message) => message,
            Err(_) if flipped => return self.audit.mattered(FaultKind::Corrupt),
            Err(error) => {
                let words = format!("{} arrived as it was sent and was refused: {error}", name.public());
                return self.break_promise(Property::SoundFrames, None, words, &[]);
            }
        };
        if flipped {
            let words = format!("{} was damaged on the way and was not refused", name.public());
            return self.break_promise(Property::SoundFrames, None, words, &[]);
        }
        self.feed(to, Input::Message { from: NodeId(name.from + 1), message });
    }

    fn wake(&mut self, node: usize) {
        let now = self.now;
        let Host { life: Life::Up(running), clock, .. } = &mut self.hosts[node] else { return };
        if running.wake.is_some_and(|wake| wake <= now) {
            running.wake = None;
        }
        let due = running.node.next_deadline().is_some_and(|deadline| clock.when(deadline, 0) <= now);
        if due {
            self.feed(node, Input::Tick);
        } else {
            self.wake_later(node);
        }
    }

    pub(crate) fn wake_later(&mut self, node: usize) {
        let (now, generation) = (self.now, self.hosts[node].generation);
        let Host { life: Life::Up(running), clock, .. } = &mut self.hosts[node] else { return };
        let Some(deadline) = running.node.next_deadline() else { return };
        let at = clock.when(deadline, now);
        if running.wake.is_none_or(|wake| at < wake) {
            running.wake = Some(at);
            self.at(at, node, Event::Wake { node: node as u32, generation });
        }
    }
}
