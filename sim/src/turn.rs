//! One input of one node: what it does to the node, and how its effects are carried out.

use crate::host::Life;
use crate::network::{Fate, kind_of};
use crate::oracle::{Broken, Judgement, Property, Told, Violation, node_name, show};
use crate::world::{Event, World};
use bytes::{Bytes, BytesMut};
use quorate_core::durable::{StoreOp, StoreOutcome};
use quorate_core::effect::{ClientResponse, Notice, Outcome, PhaseKind};
use quorate_core::id::{CallId, Key, NodeId, RequestId, StoreToken};
use quorate_core::message::{Body, Message, ReplicaRequest, Sender};
use quorate_core::time::Now;
use quorate_core::version::{Actor, Content, Version};
use quorate_core::{Effect, Effects, Input, Standing, wire};
use quorate_traces::{FaultKind, NodeTrace};
use std::collections::VecDeque;

type Ended = VecDeque<(StoreToken, StoreOutcome)>;

/// What stands for a content in the oracles.
pub(crate) fn content_hash(content: &Content) -> u64 {
    match content {
        Content::Value(value) => value_hash(value),
        Content::Tombstone => 0,
    }
}

/// What stands for a value; 0 is kept for "nothing".
pub(crate) fn value_hash(value: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(value).max(1)
}

impl World {
    /// Hands an input to a node, carries out what follows, and hands it the reads that end at once.
    pub(crate) fn feed(&mut self, node: usize, input: Input) {
        let mut ended = Ended::new();
        let mut next = Some(input);
        while let Some(input) = next {
            if !self.turn(node, input, &mut ended) {
                return;
            }
            let Some(running) = self.hosts[node].running() else { return };
            let synced = running.store.synced();
            next = ended.pop_front().map(|(token, outcome)| Input::Stored { token, outcome, synced });
        }
        self.seal(node);
        self.wake_later(node);
        self.note_reached(node);
    }

    /// One input. False if the node died of it, or the run is over.
    fn turn(&mut self, node: usize, input: Input, ended: &mut Ended) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        let read = self.hosts[node].clock.read(self.now);
        let call = match &input {
            Input::Client { call, .. } => Some(*call),
            Input::Message { .. }
            | Input::ClientGone { .. }
            | Input::Stored { .. }
            | Input::PeerLost { .. }
            | Input::Tick => None,
        };
        self.handle(node, read, input, &mut effects);
        let fatal = match self.hosts[node].doom {
            Some(_) => self.hosts[node].fatal_effects(),
            None => None,
        };
        if let Some(call) = call {
            self.call_taken(node, call, &effects);
        }
        self.watch(node, read);
        for (done, effect) in effects.drain().enumerate() {
            if fatal == Some(done) {
                break;
            }
            self.perform(node, effect, ended);
        }
        self.effects = effects;
        if fatal.is_some() {
            self.crash_as_doomed(node);
        }
        fatal.is_none() && self.violations.is_empty()
    }

    fn handle(&mut self, node: usize, read: Now, input: Input, effects: &mut Effects) {
        let Life::Up(running) = &mut self.hosts[node].life else { unreachable!("only a running node is fed") };
        match &mut self.recording {
            Some((recorded, trace)) if *recorded == node => {
                let trace = trace.get_or_insert_with(|| NodeTrace::new(&running.node, ""));
                running.node.handle(read, input.clone(), effects);
                trace.record(read, input, effects);
            }
            Some(_) | None => running.node.handle(read, input, effects),
        }
    }

    /// The cheap looks after each input.
    fn watch(&mut self, node: usize, read: Now) {
        let Some(running) = self.hosts[node].running() else { return };
        let (clock, standing) = (running.node.clock(), running.node.standing());
        if let Some(clock) = clock
            && !self.plan.shape.phases.durability_void
        {
            let judgement = self.oracles.clocks.shows(node, read.wall, clock);
            self.judge(None, &[], judgement);
        }
        if standing == Standing::Member && !self.hosts[node].was_member {
            self.hosts[node].was_member = true;
        }
    }

    /// A broken promise ends the run.
    pub(crate) fn judge(&mut self, key: Option<usize>, ops: &[u32], judgement: Judgement) {
        if let Err(Broken { property, words }) = judgement {
            self.break_promise(property, key, words, ops);
        }
    }

    pub(crate) fn break_promise(&mut self, property: Property, key: Option<usize>, words: String, ops: &[u32]) {
        let ops = ops.iter().map(|&op| self.ops[op as usize].op).collect();
        let key = key.map(|key| self.keys[key].name.clone());
        self.violations.push(Violation { property, key, words, at: self.now, ops });
    }

    fn perform(&mut self, node: usize, effect: Effect, ended: &mut Ended) {
        match effect {
            Effect::Send { to, message } => self.send(node, to, &message),
            Effect::Reply { call, response } => self.reply(node, call, response),
            Effect::Store { token, op } => self.store(node, token, op, ended),
            Effect::Notice(notice) => self.notice(node, notice),
        }
    }

    fn send(&mut self, node: usize, to: NodeId, message: &Message) {
        self.boot_is_new(node, &message.sender);
        let cluster = self.founding.cluster();
        let bytes = wire::encode(cluster, 0, message).into_bytes();
        let to = to.0 - 1;
        let (name, mut fate) = self.network.send(self.now, node as u32, to, kind_of(&message.body), bytes.len());
        if let (Some(asked), Body::Replica(ReplicaRequest::Query { request, .. })) = (&mut self.asked, &message.body)
            && asked.insert((node as u32, to, request.boot.0, request.counter))
        {
            fate = Fate::default();
        }
        if let Some(kind) = fate.because
            && (fate.first.is_none() || fate.second.is_some() || delays(kind))
        {
            self.audit.mattered(kind);
        }
        if let Some(at) = fate.second {
            self.flying += 1;
            let copy = Event::Deliver { name, bytes: bytes.clone(), flipped: false, repeated: true };
            self.at(at, to as usize, copy);
        }
        if let Some(at) = fate.first {
            self.flying += 1;
            let flipped = fate.flipped.is_some();
            let bytes = match fate.flipped {
                Some(bit) => flip(&bytes, bit),
                None => bytes,
            };
            self.at(at, to as usize, Event::Deliver { name, bytes, flipped, repeated: false });
        }
    }

    /// A1, of boots: no two processes of one life speak under the same number.
    fn boot_is_new(&mut self, node: usize, sender: &Sender) {
        let host = &mut self.hosts[node];
        let now = (sender.incarnation, sender.boot, host.generation);
        let before = host.spoke_as.replace(now);
        let repeats = before.is_some_and(|(incarnation, boot, generation)| {
            incarnation == sender.incarnation && boot >= sender.boot && generation != host.generation
        });
        if repeats && !host.harmed && !self.plan.shape.phases.durability_void {
            let words = format!("{} speaks under boot {} again after a restart", node_name(node), sender.boot.0);
            self.break_promise(Property::UniqueDots, None, words, &[]);
        }
    }

    fn store(&mut self, node: usize, token: StoreToken, op: StoreOp, ended: &mut Ended) {
        let watched = match &op {
            StoreOp::Merge { key, record } => {
                let key = self.key_number(key);
                let judgement = self.oracles.dots.written(key, record.version, content_hash(&record.content));
                if !self.plan.shape.phases.durability_void {
                    self.judge(Some(key), &[], judgement);
                }
                Some((key, record.version, true))
            }
            StoreOp::Read { key } => Some((self.key_number(key), Version::ABSENT, false)),
            StoreOp::Persist { .. } => None,
        };
        let Life::Up(running) = &mut self.hosts[node].life else { return };
        let outcome = running.store.submit(token, op);
        let merge = watched.filter(|(_, _, merges)| *merges).map(|(key, version, _)| (key, version));
        match &outcome {
            None => {
                running.keys_waiting.push_back(merge.map(|(key, _)| key as u32));
                self.oracles.durable.submitted(node, merge);
            }
            // A merge that ends before any batch was written is in the log's memory all the same, and nowhere else.
            Some(StoreOutcome::Merged { new, .. }) => {
                self.oracles.durable.submitted(node, merge);
                if let Some((key, _)) = merge {
                    self.shown(node, key, *new);
                }
            }
            Some(StoreOutcome::Found { record }) => {
                if let Some((key, ..)) = watched {
                    let version = record.as_ref().map_or(Version::ABSENT, |record| record.version);
                    self.shown(node, key, version);
                }
            }
            Some(StoreOutcome::Persisted) => self.oracles.durable.submitted(node, None),
            Some(StoreOutcome::Failed { .. }) => {}
        }
        ended.extend(outcome.map(|outcome| (token, outcome)));
    }

    /// A node shows a version of a key to others.
    pub(crate) fn shown(&mut self, node: usize, key: usize, version: Version) {
        if self.plan.shape.phases.durability_void {
            return;
        }
        let judgement = self.oracles.durable.reported(node, key, version);
        self.judge(Some(key), &[], judgement);
        let judgement = self.oracles.values.shows(node, key, version);
        self.judge(Some(key), &[], judgement);
    }

    pub(crate) fn key_number(&self, key: &Key) -> usize {
        self.key_index.find(&self.keys, key.bytes())
    }

    fn reply(&mut self, node: usize, call: CallId, response: ClientResponse) {
        let number = call.sequence as usize;
        let judgement = self.oracles.answers.answered(node, number);
        let op = self.calls.get(number).map(|call| call.op);
        self.judge(None, op.as_slice(), judgement);
        let Some(op) = op else { return };
        if response.outcome == Outcome::Stored {
            self.acknowledged(op, response.version);
        }
        self.reply_to_client(number as u32, response);
    }

    /// A coordinator calls a write done.
    fn acknowledged(&mut self, op: u32, version: Version) {
        let key = self.op_keys[op as usize] as usize;
        let judgement = self.oracles.answers.write_answered(op, version);
        self.judge(Some(key), &[op], judgement);
        if self.plan.shape.phases.durability_void {
            return;
        }
        let needed = self.needed(op);
        let facts = &self.keys[key];
        let judgement = self.oracles.durable.acknowledged(key, &facts.homes, version, needed);
        self.oracles.ledger.acknowledged(key, facts, &self.oracles.durable, version, op);
        self.judge(Some(key), &[op], judgement);
    }

    fn notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Mark(mark) => self.audit.mark(mark),
            Notice::Ready => self.audit.mark("notice: ready".into()),
            Notice::PeerRefused { .. } => self.audit.mark("notice: a peer was refused".into()),
            Notice::ClockRefused { .. } => {
                self.audit.mark("notice: a clock was refused".into());
                self.audit.mattered(FaultKind::ClockSkew);
            }
            Notice::Blank(reason) => {
                self.audit.mark("notice: blank".into());
                if !self.hosts[node].harmed && !self.plan.shape.phases.durability_void {
                    let words = format!("{} stays out ({reason:?}), but nothing harmed its disk", node_name(node));
                    self.break_promise(Property::Liveness, None, words, &[]);
                }
            }
            Notice::Chosen { request, key, version } => self.chosen(node, request, &key, version),
            Notice::PhaseDone { key, phase, version, homes, .. } => {
                let key = self.key_number(&key);
                if self.keys[key].register && !self.plan.shape.phases.durability_void {
                    self.phase_done(key, phase, version, &homes);
                }
            }
        }
    }

    fn chosen(&mut self, node: usize, request: RequestId, key: &Key, version: Version) {
        let key = self.key_number(key);
        let judgement = match self.plan.shape.phases.durability_void {
            true => Ok(()),
            false => self.oracles.dots.chosen(version),
        };
        self.oracles.clocks.stamped(node);
        let op = self.oracles.answers.op_of(node, request.counter);
        self.judge(Some(key), op.as_slice(), judgement);
        let Some(op) = op else {
            let words =
                format!("{} chose {version} for request {}, which nobody made", node_name(node), request.counter);
            return self.break_promise(Property::OneEffect, Some(key), words, &[]);
        };
        assert_eq!(self.op_keys[op as usize] as usize, key, "requests are counted as coordinators count them");
        let judgement = self.oracles.answers.chose(node, self.hosts[node].generation, op, version);
        self.judge(Some(key), &[op], judgement);
        self.tell_judge(Told::Chose { op });
        let progress = &self.progress[op as usize];
        // Of an operation that is done its client may have seen more since.
        let seen = self.context_of(op, progress.invoke).filter(|_| !progress.is_done());
        if let Some(seen) = seen.filter(|seen| version <= *seen) {
            let words =
                format!("op {op} had seen {} and was given {}, which buries nothing", show(seen), show(version));
            self.break_promise(Property::NothingVanishes, Some(key), words, &[op]);
        }
        if self.progress[op as usize].is_failed() {
            self.oracles.values.failed(key, version);
        }
    }

    fn phase_done(&mut self, key: usize, phase: PhaseKind, version: Version, homes: &[NodeId]) {
        let hosts = &self.hosts;
        let life = |node: NodeId| Actor { node, incarnation: hosts[node.0 as usize - 1].incarnation };
        match phase {
            PhaseKind::Store | PhaseKind::WriteBack => self.oracles.quorums.store_done(key, version, homes, life),
            PhaseKind::Query => {
                let judgement = self.oracles.quorums.query_done(key, homes, life);
                self.judge(Some(key), &[], judgement);
            }
        }
    }
}

fn delays(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::SlowLink | FaultKind::Throttle)
}

fn flip(bytes: &Bytes, bit: u64) -> Bytes {
    let mut bytes = BytesMut::from(&bytes[..]);
    let at = (bit % (bytes.len() as u64 * 8)) as usize;
    bytes[at / 8] ^= 1 << (at % 8);
    bytes.freeze()
}
