//! The node and a queue alone: how fast the core is before anything is simulated around it.
//!
//! Five nodes, three copies, half gets and half puts of 8-byte values over 10,000 keys at QUORUM, a closed loop of
//! clients, messages that take 1 to 10 ms and are passed as values, storage that ends at once. The same workload as
//! the hand-written loops and simulators it is compared with, and the same last line:
//!
//! ```text
//! cargo run --release -p quorate-sim --example bench_host -- --clients 64 --ops 400000
//! ```
//!
//! A delivery is what they count: a client's request, a question to a home, its answer, the client's answer: 8 for each
//! operation. What a node says to itself is handed over without a network and counts as what it is, a delivery.
#![allow(clippy::disallowed_types, reason = "a table of the bench host that is never walked")]

use bytes::Bytes;
use quorate_core::config::{Config, Founding, Keyspace, Member, Mode};
use quorate_core::durable::{DurableState, StoreOp, StoreOutcome};
use quorate_core::id::{CallId, ClusterId, Key, LogPosition, NodeId};
use quorate_core::input::{ClientRequest, Command, Consistency};
use quorate_core::time::{Instant, Now, WallTime};
use quorate_core::version::{Record, Version};
use quorate_core::{Effect, Effects, Input, Node, Standing};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

const SERVERS: u32 = 5;
const KEYS: u64 = 10_000;

/// Looked up and never walked, so its order decides nothing.
type Rows = HashMap<Key, Record, BuildHasherDefault<Folded>>;

/// One multiplication for each 8 bytes: keys here are numbers that nobody chose to collide.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }
    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = wide as u64 ^ (wide >> 64) as u64;
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

struct Host {
    node: Node,
    rows: Rows,
    facts: DurableState,
    position: u64,
    wake: Option<Instant>,
}

struct Event {
    to: u32,
    input: Input,
}

struct World {
    hosts: Vec<Host>,
    /// Time, sequence and slot in one word: one comparison orders two events.
    heap: BinaryHeap<Reverse<u128>>,
    events: Slab<Event>,
    sequence: u64,
    now: u64,
    random: u64,
    deliveries: u64,
    done: u64,
    ops: u64,
    effects: Effects,
    keys: Vec<Key>,
}

impl World {
    fn random(&mut self) -> u64 {
        // SplitMix64: a benchmark's dice, not the simulator's streams.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn after(&mut self, delay: u64, to: u32, input: Input) {
        let slot = self.events.insert(Event { to, input });
        self.sequence += 1;
        self.heap.push(Reverse(u128::from(self.now + delay) << 64 | u128::from(self.sequence << 24 | slot as u64)));
    }

    fn latency(&mut self) -> u64 {
        1_000 + self.random() % 9_000
    }

    fn ask(&mut self, client: u64) {
        let dice = self.random();
        let key = self.keys[(dice >> 8) as usize % self.keys.len()].clone();
        let to = (dice >> 40) as u32 % SERVERS;
        let command = if dice & 1 == 0 {
            Command::Put { value: Bytes::copy_from_slice(&dice.to_le_bytes()), context: None, presented: None }
        } else {
            Command::Get
        };
        self.ops += 1;
        let call = CallId { connection: client, sequence: self.ops };
        let request = ClientRequest { id: None, key, timeout: None, consistency: Consistency::Quorum, command };
        let delay = self.latency();
        self.after(delay, to, Input::Client { call, request });
    }

    fn step(&mut self) -> bool {
        let Some(Reverse(key)) = self.heap.pop() else { return false };
        let Event { to, input } = self.events.remove(key as usize & 0xff_ffff);
        self.now = (key >> 64) as u64;
        self.feed(to, input);
        true
    }

    fn feed(&mut self, to: u32, input: Input) {
        let now = Now {
            monotonic: Instant::from_micros(self.now),
            wall: WallTime::from_micros(1_700_000_000_000_000 + self.now),
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.hosts[to as usize].node.handle(now, input, &mut effects);
        for effect in effects.drain() {
            match effect {
                Effect::Send { to: peer, message } => {
                    let delay = self.latency();
                    let from = NodeId(to + 1);
                    self.after(delay, peer.0 - 1, Input::Message { from, message });
                }
                Effect::Store { token, op } => {
                    let host = &mut self.hosts[to as usize];
                    let outcome = host.carry_out(op);
                    let synced = LogPosition(host.position);
                    self.after(0, to, Input::Stored { token, outcome, synced });
                }
                Effect::Reply { call, .. } => {
                    self.done += 1;
                    self.ask(call.connection);
                }
                Effect::Notice(_) => {}
            }
        }
        self.effects = effects;
        let host = &mut self.hosts[to as usize];
        if let Some(deadline) = host.node.next_deadline()
            && host.wake.is_none_or(|wake| deadline < wake || wake <= now.monotonic)
        {
            host.wake = Some(deadline);
            let delay = deadline.as_micros().saturating_sub(self.now);
            self.after(delay, to, Input::Tick);
        }
    }
}

impl Host {
    fn carry_out(&mut self, op: StoreOp) -> StoreOutcome {
        match op {
            StoreOp::Read { key } => StoreOutcome::Found { record: self.rows.get(&key).cloned() },
            StoreOp::Persist { fact } => {
                self.position += 1;
                self.facts.learn(fact);
                StoreOutcome::Persisted
            }
            StoreOp::Merge { key, record } => {
                self.position += 1;
                match self.rows.entry(key) {
                    Entry::Vacant(vacant) => {
                        let new = record.version;
                        vacant.insert(record);
                        StoreOutcome::Merged { old: Version::ABSENT, new }
                    }
                    Entry::Occupied(mut held) => {
                        let old = held.get().version;
                        let merged = Record::merge(Some(held.get().clone()), record);
                        let new = merged.version;
                        held.insert(merged);
                        StoreOutcome::Merged { old, new }
                    }
                }
            }
        }
    }
}

fn world() -> World {
    let member = |id: u32| Member { id: NodeId(id), zone: "z".into(), rack: format!("r{id}") };
    let all = Keyspace { prefix: Bytes::new(), mode: Mode::Lww, n: 3, r: 2, w: 2 };
    let members = (1..=SERVERS).map(member).collect();
    let founding = Founding::checked(ClusterId(1), members, 256, 3, vec![all]).expect("a cluster that can be");
    let hosts = (1..=SERVERS)
        .map(|id| Host {
            node: Node::found(NodeId(id), founding.clone(), Config::default(), u64::from(id)),
            rows: Rows::default(),
            facts: DurableState::default(),
            position: 0,
            wake: None,
        })
        .collect();
    let keys = (0..KEYS).map(|key| Key::new(Bytes::copy_from_slice(&key.to_be_bytes())).expect("8 bytes")).collect();
    World {
        hosts,
        heap: BinaryHeap::new(),
        events: Slab::new(),
        sequence: 0,
        now: 0,
        random: 7,
        deliveries: 0,
        done: 0,
        ops: 0,
        effects: Effects::default(),
        keys,
    }
}

fn argument(name: &str, default: u64) -> u64 {
    let all: Vec<String> = std::env::args().collect();
    let at = all.iter().position(|argument| argument == name);
    at.and_then(|at| all.get(at + 1)?.parse().ok()).unwrap_or(default)
}

/// Seconds that this thread has been on a processor: stands a busy machine.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    text.split_whitespace().next().expect("three numbers").parse::<f64>().expect("nanoseconds") / 1e9
}

fn main() {
    let (ops, clients) = (argument("--ops", 400_000), argument("--clients", 64));
    let mut world = world();
    for server in 0..SERVERS {
        world.feed(server, Input::Tick);
    }
    while world.hosts.iter().any(|host| host.node.standing() != Standing::Member) {
        assert!(world.step(), "the founding completes");
    }
    for client in 0..clients {
        world.ask(client);
    }
    let (start, start_at) = (cpu_seconds(), world.now);
    while world.done < ops {
        assert!(world.step(), "clients never stop asking");
    }
    let cpu = cpu_seconds() - start;
    world.deliveries = world.done * 8;
    let simulated = (world.now - start_at) as f64 / 1e6;
    println!(
        "quorate-core\tops={}\tmsgs={}\twall_s={cpu:.4}\tcpu_s={cpu:.4}\tmsgs/cpu_s={:.0}\tops/cpu_s={:.0}\tsim_s={simulated:.2}\tsim/cpu={:.1}\tVmHWM_kB=0\t",
        world.done,
        world.deliveries,
        world.deliveries as f64 / cpu,
        world.done as f64 / cpu,
        simulated / cpu,
    );
}
