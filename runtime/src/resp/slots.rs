//! Requests under way on one connection, in the order in which they came.
//!
//! A slot opens when a request is taken and closes when its reply has been written; slots close in order. One request
//! may ask the node several things ([`Join`]), each under a number of its own: `slot << 12 | part`.
//!
//! A client expects its own requests to take effect in the order in which it sent them, answered or not. The node works
//! on many at once, so [`KeyMarks`] remembers which keys are being read and written: a request that could overtake one
//! before it waits.

use super::Door;
use super::words::{self, Asked};
use crate::metrics::Op;
use bytes::Bytes;
use quorate_core::effect::{ClientResponse, Outcome};
use quorate_core::id::Key;
use quorate_core::input::Consistency;
use quorate_core::time::Now;
use std::collections::VecDeque;

/// Bits of a call's number that name the part of a request.
const PART_BITS: u32 = 12;
/// Added to the part in the second step of a two-step part.
pub(super) const SECOND_STEP: usize = 1 << (PART_BITS - 1);

/// A call's number.
pub(super) fn sequence(slot: u64, part: usize) -> u64 {
    assert!(part < 1 << PART_BITS);
    slot << PART_BITS | part as u64
}

/// The slot and part that a call's number names.
pub(super) fn slot_and_part(sequence: u64) -> (u64, usize) {
    (sequence >> PART_BITS, (sequence & ((1 << PART_BITS) - 1)) as usize)
}

/// One request that has not been answered.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    /// What its calls do; a second step always deletes.
    pub(super) op: Op,
    /// What is written once the state allows.
    pub(super) shape: Shape,
    pub(super) asked: Asked,
    /// When it was taken, on the host's monotonic clock.
    pub(super) started_micros: u64,
    /// Bytes that it may occupy, counted against the connection.
    pub(super) charge: usize,
    /// How many keys it has marked.
    pub(super) marks: usize,
    /// The client does not want the reply.
    pub(super) is_silent: bool,
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum State {
    /// One call is at the node.
    Waiting,
    /// It is answered.
    Answered(ClientResponse),
    /// Several calls make one reply.
    Joining(Box<Join>),
    /// The reply stands already, and waits for those before it.
    Written(Bytes),
}

/// What a reply looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The value, or nothing.
    Value,
    /// `OK`.
    Ok,
    /// How long the value is.
    Length,
    /// `string` or `none`.
    Type,
    /// The value and what is known about it.
    ReadMeta,
    /// The context of a write.
    Context,
    /// What is known about a write.
    WriteMeta,
    /// Whatever the join says.
    Joined,
}

impl Slot {
    /// A reply that stands already.
    pub(super) fn written(reply: Bytes) -> Self {
        let (op, shape, asked) = (Op::Get, Shape::Joined, Asked::new(None, Consistency::Keyspace, true));
        let state = State::Written(reply);
        Self { state, op, shape, asked, started_micros: 0, charge: 0, marks: 0, is_silent: false }
    }

    /// Takes in the answer of one call. Returns the key whose second step is due.
    pub(super) fn on_answer(&mut self, now: Now, part: usize, response: ClientResponse, door: &Door) -> Option<Key> {
        let op = if part >= SECOND_STEP { Op::Del } else { self.op };
        let micros = now.monotonic.as_micros().saturating_sub(self.started_micros);
        let result = words::result(&response.outcome);
        door.metrics.request_ended(op, self.asked.level(), result, micros);
        if words::is_shortfall(&response.outcome) {
            door.metrics.quorum_short(op);
        }
        match &mut self.state {
            State::Waiting => {
                self.state = State::Answered(response);
                None
            }
            State::Joining(join) => {
                let part = part % SECOND_STEP;
                let asked = || {
                    let keyspace = join.key(part).and_then(|key| door.cluster.founding().keyspace(key.bytes()));
                    Asked::new(keyspace, self.asked.consistency, op == Op::Get)
                };
                let failure = words::is_failure(&response.outcome).then(|| words::error(&response, &asked())).flatten();
                join.on_answer(part, response.outcome, failure)
            }
            State::Answered(_) | State::Written(_) => panic!("a call is answered once"),
        }
    }

    /// Bytes of values that wait in it.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Waiting => 0,
            State::Written(bytes) => bytes.len(),
            State::Answered(response) => words::value_bytes(&response.outcome),
            State::Joining(join) => join.value_bytes,
        }
    }

    /// Whether its reply can be written.
    pub(super) fn is_finished(&self) -> bool {
        match &self.state {
            State::Waiting => false,
            State::Answered(_) | State::Written(_) => true,
            State::Joining(join) => join.open == 0,
        }
    }
}

/// What a request over several keys does with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinKind {
    /// `MGET`: all values.
    Values,
    /// `EXISTS`: how many are there.
    Count,
    /// `DEL`: each is read, then deleted whatever the read said; how many were there.
    Delete,
    /// `MSET`: all stored.
    Store,
}

/// One of several keys of a request.
#[derive(Debug)]
pub(super) enum Part {
    /// At the node.
    Open(Key),
    /// In the second step; whether the first found a value.
    OpenAgain(Key, bool),
    /// There is nothing.
    Missing,
    /// There was a value, or it was stored.
    Done,
    /// The value.
    Value(Bytes),
    /// It ended badly.
    Failed,
}

/// A request over several keys, being put together.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) kind: JoinKind,
    pub(super) parts: Vec<Part>,
    /// How many parts are at the node.
    pub(super) open: usize,
    /// The first bad end: which part, and its words.
    pub(super) failure: Option<(usize, String)>,
    /// Bytes of all values.
    pub(super) value_bytes: usize,
}

impl Join {
    /// A join that waits for all of these.
    pub(super) fn new(kind: JoinKind, parts: Vec<Part>) -> Self {
        let open = parts.len();
        Self { kind, parts, open, failure: None, value_bytes: 0 }
    }

    /// Takes in one answer; `failure` are its words when it ended badly. Returns the key whose second step is due.
    pub(super) fn on_answer(&mut self, part: usize, outcome: Outcome, failure: Option<String>) -> Option<Key> {
        let place = &mut self.parts[part];
        let before = std::mem::replace(place, Part::Failed);
        if let Some(words) = failure {
            self.open -= 1;
            self.failure.get_or_insert((part, words));
            return None;
        }
        let found = matches!(outcome, Outcome::Value(_) | Outcome::Stored);
        match before {
            Part::Open(key) if self.kind == JoinKind::Delete => {
                *place = Part::OpenAgain(key.clone(), found);
                return Some(key);
            }
            Part::OpenAgain(_, true) => *place = Part::Done,
            Part::OpenAgain(_, false) => *place = Part::Missing,
            Part::Open(_) => {
                *place = match outcome {
                    Outcome::Value(value) if self.kind == JoinKind::Values => {
                        self.value_bytes += value.len();
                        Part::Value(value)
                    }
                    _ if found => Part::Done,
                    _ => Part::Missing,
                }
            }
            Part::Missing | Part::Done | Part::Value(_) | Part::Failed => panic!("a call is answered once"),
        }
        self.open -= 1;
        None
    }

    /// The key of a part that is at the node.
    fn key(&self, part: usize) -> Option<&Key> {
        match &self.parts[part] {
            Part::Open(key) | Part::OpenAgain(key, _) => Some(key),
            Part::Missing | Part::Done | Part::Value(_) | Part::Failed => None,
        }
    }

    /// How many parts came to something.
    pub(super) fn done(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Done | Part::Value(_))).count()
    }

    /// What a failed request is told: the words, and how far the other keys came.
    pub(super) fn failure_text(&self) -> Option<String> {
        let (part, words) = self.failure.as_ref()?;
        let keys = self.parts.len();
        Some(match self.kind {
            JoinKind::Store => format!("{words} (key {} of {keys}; {} stored)", part + 1, self.done()),
            JoinKind::Delete => {
                let deleted = self.parts.iter().filter(|part| matches!(part, Part::Done | Part::Missing)).count();
                format!("{words} (key {} of {keys}; {deleted} deleted)", part + 1)
            }
            JoinKind::Values | JoinKind::Count => words.clone(),
        })
    }
}

/// Which keys the requests under way read and write: 31 bits of hash each, the lowest bit set for a write.
///
/// Two keys with one hash only make a request wait that need not.
#[derive(Debug, Default)]
pub(super) struct KeyMarks(VecDeque<u32>);

impl KeyMarks {
    /// The mark of a key.
    pub(super) fn mark(key: &[u8], is_write: bool) -> u32 {
        (xxhash_rust::xxh3::xxh3_64(key) as u32) << 1 | u32::from(is_write)
    }

    /// Whether a read of this key would meet a write under way, or the reverse.
    pub(super) fn has_opposite(&self, mark: u32) -> bool {
        self.contains(mark ^ 1)
    }

    /// Whether a write of this key would meet another.
    pub(super) fn has_write(&self, mark: u32) -> bool {
        self.contains(mark | 1)
    }

    fn contains(&self, mark: u32) -> bool {
        let (front, back) = self.0.as_slices();
        front.contains(&mark) || back.contains(&mark)
    }

    /// Adds the marks of the newest request.
    pub(super) fn extend(&mut self, marks: impl IntoIterator<Item = u32>) {
        self.0.extend(marks);
    }

    /// Removes the marks of the oldest request.
    pub(super) fn remove_oldest(&mut self, count: usize) {
        self.0.drain(..count);
    }

    /// Whether nothing is marked.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
