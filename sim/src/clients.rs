//! The clients: who asks what, how long they wait, and what they make of the answers.
//!
//! A client does one operation at a time. An operation may take several calls: a retry with the same id at the same
//! coordinator while the first call is still open, or a retry that presents the version which an indeterminate answer
//! named. All of them are one operation in the history, from the first call to the last answer.
//!
//! A call belongs to a connection, and so to one process: if that process dies, the call is reset, and nothing of it is
//! asked of the next process. A client that gives up closes its connection, and the node learns of it.

use crate::clock::WALL_START;
use crate::history::Ending;
use crate::oracle::{Judgement, Monotonic, Told};
use crate::rng::Dice;
use crate::turn::value_hash;
use crate::world::{Event, World};
use bytes::Bytes;
use quorate_core::effect::{ClientResponse, Notice, Outcome};
use quorate_core::id::{CallId, NodeId, OperationId};
use quorate_core::input::{ClientRequest, Command, Consistency};
use quorate_core::time::WallTime;
use quorate_core::version::{Dot, Hlc, Version};
use quorate_core::{Effect, Effects, Input};
use quorate_traces::{Do, FaultKind, Level, Patience, Retry};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How a coordinator says that a call has become part of a request that it works on already.
const JOINED: &str = "coordinator: a retry joined its first attempt";

/// And how it says that it begins one anew for a call whose version is chosen.
const REPEATS: &str = "coordinator: a retry repeats the store phase";

/// One client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Operations whose time has come while it was busy.
    waiting: VecDeque<u32>,
    active: Option<u32>,
    /// Some of its operations carry what it has seen: only then is it kept.
    pub(crate) presents: bool,
    /// The version it last saw of each key.
    seen: BTreeMap<u32, Version>,
}

/// One call.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    pub(crate) op: u32,
    pub(crate) node: u32,
    /// The process that its connection leads to.
    generation: u32,
    /// Which of the operation's calls it is.
    pub(crate) attempt: u32,
}

/// What a client hears of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Heard {
    /// An answer.
    Response(Box<ClientResponse>),
    /// The connection broke while the call was open.
    Reset,
    /// There was nobody to ask: the call never began.
    NoConnection,
}

impl Heard {
    pub(crate) fn fold(&self) -> u64 {
        match self {
            Self::Response(response) => {
                let kind = match &response.outcome {
                    Outcome::Value(value) => value_hash(value),
                    Outcome::Missing => 2,
                    Outcome::Stored => 3,
                    Outcome::Unavailable(_) => 4,
                    Outcome::Overloaded { .. } => 5,
                    Outcome::Refused(_) => 6,
                    Outcome::Unknown => 7,
                };
                kind ^ response.version.hlc.as_ticks().rotate_left(17) ^ u64::from(response.acks)
            }
            Self::Reset => 8,
            Self::NoConnection => 9,
        }
    }
}

/// How far an operation has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) invoke: u64,
    pub(crate) ret: Option<u64>,
    /// Absent until it is done.
    pub(crate) ending: Option<Ending>,
    pub(crate) version: Option<Version>,
    pub(crate) value: Option<Bytes>,
    pub(crate) acks: u8,
    pub(crate) via: u32,
    /// Calls that may still be answered.
    outstanding: Vec<u32>,
    attempts: u32,
    /// Words between client and node so far.
    words: u32,
    /// A call of it may have had an effect.
    uncertain: bool,
    /// What an indeterminate answer named.
    named: Option<Version>,
    retried: bool,
    /// What a read must see at least.
    floor: Version,
}

impl Progress {
    pub(crate) fn is_done(&self) -> bool {
        self.ending.is_some()
    }
    pub(crate) fn is_failed(&self) -> bool {
        self.ending == Some(Ending::Failed)
    }
}

impl World {
    /// How long the next word between an operation's client and its node takes: it follows from the operation alone.
    fn op_latency(&mut self, op: u32) -> u64 {
        let progress = &mut self.progress[op as usize];
        progress.words += 1;
        let identity = u64::from(self.ops[op as usize].op) << 20 ^ u64::from(progress.words);
        Dice(self.client_seed ^ identity.rotate_left(24)).latency(&self.plan.shape.net.client_latency)
    }

    /// How many homes an operation waits for.
    pub(crate) fn needed(&self, op: u32) -> u8 {
        let (asked, facts) = (&self.ops[op as usize], &self.keys[self.op_keys[op as usize] as usize]);
        let of_keyspace = match (facts.register, asked.what) {
            (true, _) => facts.majority(),
            (false, Do::Get) => facts.rw.0,
            (false, Do::Put | Do::Delete) => facts.rw.1,
        };
        match asked.level {
            Level::Keyspace => of_keyspace,
            Level::One => 1,
            Level::Two => 2,
            Level::Quorum => facts.majority(),
            Level::All => facts.n(),
            Level::Homes(homes) => homes,
        }
    }

    /// The time of an operation has come.
    pub(crate) fn op_due(&mut self, op: u32) {
        let client = &mut self.clients[self.ops[op as usize].client as usize];
        match client.active {
            Some(_) => client.waiting.push_back(op),
            None => self.begin_op(op),
        }
    }

    fn begin_op(&mut self, op: u32) {
        let asked = &self.ops[op as usize];
        let (key, needed) = (self.op_keys[op as usize] as usize, self.needed(op));
        self.clients[asked.client as usize].active = Some(op);
        let via = asked.via.0 - 1;
        let (gone, retry) = (asked.gone, asked.retry);
        if let (Do::Put, Some(value)) = (asked.what, &asked.value) {
            self.oracles.values.tried(key, value_hash(&value.0));
        }
        let floor = self.oracles.monotonic.floor(key, &self.keys[key], needed);
        let progress = &mut self.progress[op as usize];
        *progress = Progress { invoke: self.now, floor, via, ..Progress::default() };
        self.tell_judge(Told::Began { op });
        let call = self.call(op, via);
        if self.ops[op as usize].forged.is_some() {
            self.audit.fired(FaultKind::ClientForged);
        }
        if let Some(after) = gone {
            self.audit.fired(FaultKind::ClientGone);
            self.at(self.now + after, via as usize, Event::GaveUp { call });
        }
        if let Some(Retry::SameId { after }) = retry {
            self.at(self.now + after, via as usize, Event::Again { op });
        }
    }

    /// Sends a call of an operation to a node.
    fn call(&mut self, op: u32, via: u32) -> u32 {
        let call = self.calls.len() as u32;
        let generation = self.hosts[via as usize].generation;
        let progress = &mut self.progress[op as usize];
        let attempt = progress.attempts;
        progress.attempts += 1;
        self.calls.push(CallRecord { op, node: via, generation, attempt });
        self.oracles.answers.call_made();
        progress.outstanding.push(call);
        progress.via = via;
        let latency = self.op_latency(op);
        self.at(self.now + latency, via as usize, Event::Ask { call });
        let Patience { client, request, .. } = self.plan.shape.patience;
        // The last reads wait for their answers, whatever clients did before.
        let patience = if (op as usize) < self.plan.ops.len() { client } else { client.max(10 * request) };
        self.at(self.now + patience, via as usize, Event::GaveUp { call });
        call
    }

    /// A call arrives at its node.
    pub(crate) fn ask(&mut self, call: u32) {
        let CallRecord { op, node, generation, .. } = self.calls[call as usize];
        let host = &self.hosts[node as usize];
        if host.running().is_none() || host.generation != generation {
            let latency = self.op_latency(op);
            return self.at(self.now + latency, node as usize, Event::Answer { call, heard: Heard::NoConnection });
        }
        let request = self.request(op, call);
        self.oracles.answers.call_arrived(call as usize);
        let id = CallId { connection: u64::from(self.ops[op as usize].client), sequence: u64::from(call) };
        self.feed(node as usize, Input::Client { call: id, request });
    }

    /// The version that an operation's calls carry as seen, if any. While a client waits it sees nothing new.
    pub(crate) fn context_of(&self, op: u32, now: u64) -> Option<Version> {
        let asked = &self.ops[op as usize];
        if let Some(ahead) = asked.forged {
            return Some(forged(now, ahead));
        }
        let seen = || self.clients[asked.client as usize].seen.get(&self.op_keys[op as usize]).copied();
        asked.context.then(seen).flatten()
    }

    fn request(&self, op: u32, call: u32) -> ClientRequest {
        let (asked, progress) = (&self.ops[op as usize], &self.progress[op as usize]);
        let key = self.op_keys[op as usize];
        let context = self.context_of(op, self.now);
        // Only the retry presents what the first attempt chose, even if its client has given up in the meantime.
        let presented = progress.named.filter(|_| self.calls[call as usize].attempt > 0);
        let command = match asked.what {
            Do::Get => Command::Get,
            Do::Put => {
                let value = asked.value.as_ref().map(|value| value.0.clone()).unwrap_or_default();
                Command::Put { value, context, presented }
            }
            Do::Delete => Command::Delete { context, presented },
        };
        let consistency = match asked.level {
            Level::Keyspace => Consistency::Keyspace,
            Level::One => Consistency::One,
            Level::Two => Consistency::Two,
            Level::Quorum => Consistency::Quorum,
            Level::All => Consistency::All,
            Level::Homes(homes) => Consistency::Homes(homes),
        };
        let id = asked.id.then(|| {
            let client = Bytes::from(format!("c{}", asked.client));
            OperationId::checked(client, u64::from(op) + 1).expect("a short name")
        });
        ClientRequest { id, key: self.keys[key as usize].key.clone(), timeout: None, consistency, command }
    }

    /// A call was handed to a coordinator: unless it was turned away at once, or joined an earlier call, it is counted.
    pub(crate) fn call_taken(&mut self, node: usize, call: CallId, effects: &Effects) {
        let answered = |effect: &Effect| matches!(effect, Effect::Reply { call: answered, .. } if *answered == call);
        // Whoever begins a request sends or stores something, even if it ends in the same input.
        let began = |effect: &Effect| match effect {
            Effect::Send { .. } | Effect::Store { .. } | Effect::Notice(Notice::Chosen { .. }) => true,
            Effect::Notice(Notice::Mark(mark)) => mark == REPEATS,
            Effect::Reply { .. } | Effect::Notice(_) => false,
        };
        let joined = |effect: &Effect| matches!(effect, Effect::Notice(Notice::Mark(mark)) if mark == JOINED);
        let any = |is: &dyn Fn(&Effect) -> bool| effects.as_slice().iter().any(is);
        if any(&joined) || (any(&answered) && !any(&began)) {
            return;
        }
        self.oracles.answers.accepted(node, self.calls[call.sequence as usize].op);
    }

    /// A coordinator answers; the client hears of it a little later.
    pub(crate) fn reply_to_client(&mut self, call: u32, response: ClientResponse) {
        let CallRecord { op, node, .. } = self.calls[call as usize];
        let latency = self.op_latency(op);
        let node = node as usize;
        let heard = Heard::Response(Box::new(response));
        self.at(self.now + latency, node, Event::Answer { call, heard });
    }

    /// A process has died: its connections break.
    pub(crate) fn connections_reset(&mut self, node: usize) {
        for call in 0..self.calls.len() {
            if self.calls[call].node as usize == node && self.oracles.answers.is_open(call) {
                self.oracles.answers.call_lost(call);
                let latency = self.op_latency(self.calls[call].op);
                self.at(self.now + latency, node, Event::Answer { call: call as u32, heard: Heard::Reset });
            }
        }
    }

    /// A client hears of a call.
    pub(crate) fn answer(&mut self, call: u32, heard: Heard) {
        let op = self.calls[call as usize].op;
        let progress = &mut self.progress[op as usize];
        let Some(at) = progress.outstanding.iter().position(|&open| open == call) else { return };
        progress.outstanding.swap_remove(at);
        match heard {
            Heard::Reset => progress.uncertain = true,
            Heard::NoConnection => {}
            Heard::Response(response) => {
                let ClientResponse { outcome, version, acks } = *response;
                let refused = matches!(outcome, Outcome::Refused(_));
                if self.ops[op as usize].forged.is_some_and(|ahead| refused || version > forged(self.now, ahead)) {
                    self.audit.mattered(FaultKind::ClientForged);
                }
                let progress = &mut self.progress[op as usize];
                progress.acks = acks;
                match outcome {
                    Outcome::Value(value) => return self.read(op, version, Some(value)),
                    Outcome::Missing => return self.read(op, version, None),
                    Outcome::Stored => return self.finish(op, Ending::Ok, Some(version)),
                    Outcome::Unknown => {
                        progress.uncertain = true;
                        progress.named = Some(version).filter(|version| !version.is_absent()).or(progress.named);
                    }
                    Outcome::Unavailable(_) | Outcome::Overloaded { .. } | Outcome::Refused(_) => {}
                }
            }
        }
        self.consider(op);
    }

    /// No success yet: waits for other calls, tries again, or accepts how it stands.
    fn consider(&mut self, op: u32) {
        let (progress, asked) = (&mut self.progress[op as usize], &self.ops[op as usize]);
        if !progress.outstanding.is_empty() {
            return;
        }
        if let (Some(Retry::Present { after, .. }), Some(_), false) = (asked.retry, progress.named, progress.retried) {
            progress.retried = true;
            let at = self.now + after;
            return self.at(at, 0, Event::Again { op });
        }
        let is_read = asked.what == Do::Get;
        let (ending, named) = match progress.uncertain && !is_read {
            true => (Ending::Unknown, progress.named),
            false => (Ending::Failed, None),
        };
        self.finish(op, ending, named);
    }

    /// The client asks again.
    pub(crate) fn again(&mut self, op: u32) {
        let progress = &self.progress[op as usize];
        if progress.is_done() {
            return;
        }
        match self.ops[op as usize].retry {
            Some(Retry::Present { via, .. }) => {
                self.audit.fired(FaultKind::ClientRetry);
                self.audit.mattered(FaultKind::ClientRetry);
                self.call(op, via.0 - 1);
            }
            Some(Retry::SameId { .. }) => {
                let Some(&first) = progress.outstanding.first() else { return };
                let CallRecord { node, generation, .. } = self.calls[first as usize];
                self.audit.fired(FaultKind::ClientRetry);
                if self.hosts[node as usize].generation == generation {
                    self.audit.mattered(FaultKind::ClientRetry);
                    self.call(op, node);
                }
            }
            None => unreachable!("only who retries asks again"),
        }
    }

    /// A client stops waiting for a call.
    pub(crate) fn gave_up(&mut self, call: u32) {
        let CallRecord { op, node, .. } = self.calls[call as usize];
        let progress = &mut self.progress[op as usize];
        let Some(at) = progress.outstanding.iter().position(|&open| open == call) else { return };
        progress.outstanding.swap_remove(at);
        progress.uncertain = true;
        if self.ops[op as usize].gone.is_some() {
            self.audit.mattered(FaultKind::ClientGone);
        }
        let latency = self.op_latency(op);
        self.at(self.now + latency, node as usize, Event::Gone { call });
        self.consider(op);
    }

    /// A node learns that nobody waits for a call any more.
    pub(crate) fn gone(&mut self, call: u32) {
        let CallRecord { op, node, generation, .. } = self.calls[call as usize];
        let host = &self.hosts[node as usize];
        if host.running().is_none() || host.generation != generation {
            return;
        }
        self.oracles.answers.call_gone(call as usize);
        let connection = u64::from(self.ops[op as usize].client);
        let call = CallId { connection, sequence: u64::from(call) };
        self.feed(node as usize, Input::ClientGone { call });
    }

    fn read(&mut self, op: u32, version: Version, value: Option<Bytes>) {
        let key = self.op_keys[op as usize] as usize;
        let hash = value.as_ref().map(|value| value_hash(value));
        let judgement = self.oracles.values.read(key, version, hash);
        self.judge(Some(key), &[op], judgement);
        let floor = self.progress[op as usize].floor;
        let judgement: Judgement = match self.plan.shape.phases.durability_void {
            true => Ok(()),
            false => Monotonic::returned(floor, version),
        };
        self.judge(Some(key), &[op], judgement);
        self.progress[op as usize].value = value;
        self.finish(op, Ending::Ok, Some(version));
    }

    fn finish(&mut self, op: u32, ending: Ending, version: Option<Version>) {
        let key = self.op_keys[op as usize];
        let needed = self.needed(op);
        let now = self.now;
        let (asked, progress) = (&self.ops[op as usize], &mut self.progress[op as usize]);
        assert!(!progress.is_done(), "an operation ends once");
        progress.ending = Some(ending);
        progress.version = version;
        progress.ret = (ending != Ending::Unknown).then_some(now);
        progress.outstanding.clear();
        let client = asked.client as usize;
        let settles = asked.what != Do::Get || needed >= self.keys[key as usize].majority();
        match (ending, version) {
            (Ending::Ok, Some(version)) => {
                if settles {
                    self.oracles.monotonic.settled(key as usize, needed, version);
                }
                let client = &mut self.clients[client];
                if client.presents {
                    client.seen.insert(key, version);
                }
            }
            (Ending::Failed, _) => {
                let chosen: Vec<Version> = self.oracles.answers.versions_of(op).collect();
                chosen.into_iter().for_each(|version| self.oracles.values.failed(key as usize, version));
            }
            (Ending::Ok | Ending::Unknown, _) => {}
        }
        self.tell_judge(Told::Ended { op });
        let client = &mut self.clients[client];
        client.active = None;
        if let Some(next) = client.waiting.pop_front() {
            self.begin_op(next);
        }
    }

    /// One more operation, beyond the plan's, due now.
    pub(crate) fn add_op(&mut self, op: quorate_traces::Op, key: u32) -> u32 {
        let number = self.ops.len() as u32;
        let client = op.client as usize;
        if self.clients.len() <= client {
            self.clients.resize(client + 1, Client::default());
        }
        std::sync::Arc::make_mut(&mut self.ops).push(op);
        self.op_keys.push(key);
        self.progress.push(Progress::default());
        self.oracles.answers.op_added();
        self.op_due(number);
        number
    }

    /// The node of an operation that is a member now, if any: not every coordinator can serve.
    pub(crate) fn coordinator(&self, from: usize) -> Option<NodeId> {
        let nodes = self.hosts.len();
        let member = |index: &usize| {
            let running = self.hosts[*index].running();
            running.is_some_and(|running| running.node.standing() == quorate_core::Standing::Member)
        };
        (0..nodes).map(|step| (from + step) % nodes).find(member).map(|index| NodeId(index as u32 + 1))
    }
}

/// A version that nobody has chosen, so far ahead of true time.
fn forged(now: u64, ahead: i64) -> Version {
    let wall = WallTime::from_micros((WALL_START + now).saturating_add_signed(ahead));
    Version { hlc: Hlc::of_wall(wall), dot: Dot::default() }
}
