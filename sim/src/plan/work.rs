//! Drawing what clients do: two independent generators, since what one never does the other may.
//!
//! *Mixed*: each client does this and that at its own pace. *Rounds*: several clients turn to one key at about the same
//! time, through different coordinators; some write, the others read twice in a row. The second meets what needs a read
//! of a half-done write and then another read.

use super::shape::Drawn;
use super::{DrawOptions, Scenario};
use crate::rng::Stream;
use quorate_core::id::NodeId;
use quorate_core::placement::{SLOTS, slot};
use quorate_traces::names::Blob;
use quorate_traces::{Do, FaultKind, Level, Op, PlanMode, Retry};

/// What a workload has in common.
struct Taste {
    keys: Vec<(Blob, bool)>,
    clients: u32,
    /// Out of a hundred operations.
    reads: u64,
    deletes: u64,
    /// How many different values there are; `None` if each is new.
    values: Option<u64>,
    empty_values: bool,
    levels: bool,
    contexts: bool,
    gone: bool,
    retries: bool,
    /// Every write is asked twice with its id.
    eager: bool,
    /// Everybody asks the same node.
    via: Option<NodeId>,
    forges: bool,
    /// Now and then a value longer than is allowed, or a level that a register does not have.
    careless: bool,
}

pub(super) fn draw(options: &DrawOptions, drawn: &Drawn, stream: &mut Stream) -> Vec<Op> {
    let count = options.ops.unwrap_or_else(|| stream.between(20, 80) as u32);
    let taste = taste(options, drawn, stream);
    let rounds = options.scenario == Scenario::UnsafeQuorum || stream.one_in(2);
    let mut ops = Vec::with_capacity(count as usize);
    let span = drawn.work_to - drawn.work_from;
    let mut next = drawn.work_from;
    while ops.len() < count as usize {
        let left = count - ops.len() as u32;
        if rounds {
            round(&taste, drawn, next, left, &mut ops, stream);
        } else {
            let client = stream.below(u64::from(taste.clients)) as u32;
            let key = taste.key(stream);
            let what = taste.what(stream);
            ops.push(taste.op(next, client, what, key, drawn, stream));
        }
        let share = span / u64::from(count);
        next = drawn.work_from + share * ops.len() as u64 + stream.below(share.max(1));
    }
    ops.sort_by_key(|op| op.at);
    ops.iter_mut().enumerate().for_each(|(at, op)| op.op = at as u32 + 1);
    ops
}

fn round(taste: &Taste, drawn: &Drawn, at: u64, left: u32, ops: &mut Vec<Op>, stream: &mut Stream) {
    let key = taste.key(stream);
    let writers = stream.between(1, 2) as u32;
    for client in 0..taste.clients.min(left) {
        let begin = at + stream.below(3 * drawn.trip + 1);
        if client < writers {
            let what = if stream.below(100) < taste.deletes { Do::Delete } else { Do::Put };
            ops.push(taste.op(begin, client, what, key.clone(), drawn, stream));
        } else {
            for _ in 0..2 {
                ops.push(taste.op(begin, client, Do::Get, key.clone(), drawn, stream));
            }
        }
    }
}

fn taste(options: &DrawOptions, drawn: &Drawn, stream: &mut Stream) -> Taste {
    let keyspaces = &drawn.shape.cluster.keyspaces;
    let focus = stream.below(4);
    let count = stream.pick(&[1, 1, 2, 3, 6]);
    let special = stream.below(12);
    let keys = (0..count).map(|number| {
        // All register, all lww, or both.
        let index = match focus {
            0 => 0,
            1 => keyspaces.len() - 1,
            _ => stream.below(keyspaces.len() as u64) as usize,
        };
        let keyspace = &keyspaces[index];
        let name = match special {
            0 => border_key(&keyspace.prefix, drawn.shape.cluster.partitions, stream),
            1 if number == 0 => long_key(&keyspace.prefix),
            2 if keyspace.prefix.is_empty() => ((b'a' + number as u8) as char).to_string(),
            _ => format!("{}k{number}", keyspace.prefix),
        };
        (Blob::text(&name), keyspace.mode == PlanMode::Lww)
    });
    let keys = keys.collect();
    // What is judged as linearizable must be asked for so.
    let one_level = matches!(options.scenario, Scenario::UnsafeQuorum | Scenario::OneClock);
    let eager = stream.one_in(4);
    Taste {
        keys,
        clients: stream.between(2, 6) as u32,
        reads: if eager { 20 } else { stream.pick(&[20, 50, 50, 80]) },
        deletes: stream.pick(&[0, 10, 30]),
        values: stream.pick(&[None, None, Some(1), Some(3)]),
        empty_values: stream.one_in(6),
        levels: !one_level && stream.one_in(3),
        contexts: stream.one_in(3),
        gone: options.allows(FaultKind::ClientGone) && stream.one_in(4),
        retries: options.allows(FaultKind::ClientRetry) && stream.one_in(2),
        eager,
        // What a coordinator remembers of its clients is put to the test where all of them come to the same one.
        via: stream
            .one_in(if eager { 2 } else { 6 })
            .then(|| NodeId(stream.below(u64::from(drawn.shape.cluster.nodes)) as u32 + 1)),
        forges: options.allows(FaultKind::ClientForged) && stream.one_in(6),
        careless: !one_level && stream.one_in(6),
    }
}

impl Taste {
    /// The first key is the hot one.
    fn key(&self, stream: &mut Stream) -> (Blob, bool) {
        let at = if stream.one_in(2) { 0 } else { stream.below(self.keys.len() as u64) };
        self.keys[at as usize].clone()
    }

    fn what(&self, stream: &mut Stream) -> Do {
        match stream.below(100) {
            percent if percent < self.reads => Do::Get,
            _ if stream.below(100) < self.deletes => Do::Delete,
            _ => Do::Put,
        }
    }

    fn value(&self, drawn: &Drawn, stream: &mut Stream) -> Blob {
        if self.empty_values && stream.one_in(4) {
            return Blob::text("");
        }
        if drawn.large_values && stream.one_in(8) {
            let fill = stream.below(256) as u8;
            let length = stream.pick(&[70_000, 300_000, 1 << 20, 1 << 20]);
            return Blob(vec![fill; length].into());
        }
        if self.careless && stream.one_in(20) {
            return Blob(vec![b'x'; drawn.shape.patience.value_bytes_max as usize + 1].into());
        }
        match self.values {
            Some(few) => Blob::text(&format!("v{}", stream.below(few))),
            None => Blob::text(&format!("v{}", stream.word() % 1_000_000_000)),
        }
    }

    fn op(
        &self,
        at: u64,
        client: u32,
        what: Do,
        (key, is_lww): (Blob, bool),
        drawn: &Drawn,
        stream: &mut Stream,
    ) -> Op {
        let nodes = u64::from(drawn.shape.cluster.nodes);
        let patience = &drawn.shape.patience;
        let value = self.value(drawn, stream);
        let via = NodeId(stream.below(nodes) as u32 + 1);
        let via = self.via.unwrap_or(via);
        let other = NodeId(stream.below(nodes) as u32 + 1);
        let level = stream.pick(&[Level::Keyspace, Level::Keyspace, Level::One, Level::Two, Level::Quorum, Level::All]);
        let (context, gone, retry) = (stream.one_in(3), stream.one_in(5), stream.below(3));
        let after = stream.decades(1, patience.request);
        let writes = what != Do::Get;
        let (forge, ahead) = (stream.one_in(4), stream.decades(100, 20_000_000) as i64);
        let ahead = if stream.one_in(3) { -ahead } else { ahead };
        let careless = self.careless && stream.one_in(8);
        let gone = (self.gone && gone).then_some(after);
        let retry = match retry {
            _ if !self.retries || !writes || gone.is_some() => None,
            _ if self.eager => Some(Retry::SameId { after }),
            0 => Some(Retry::SameId { after }),
            1 => Some(Retry::Present { after, via: other }),
            _ => None,
        };
        Op {
            at,
            // Numbered when all are drawn.
            op: 0,
            client,
            what,
            key,
            value: (what == Do::Put).then_some(value),
            via,
            level: if careless || (self.levels && is_lww) { level } else { Level::Keyspace },
            context: self.contexts && writes && context,
            forged: (self.forges && writes && forge).then_some(ahead),
            id: matches!(retry, Some(Retry::SameId { .. })),
            gone,
            retry,
        }
    }
}

/// A key in the first or last slot of some partition.
fn border_key(prefix: &str, partitions: u16, stream: &mut Stream) -> String {
    let width = SLOTS / partitions;
    (stream.below(1_000)..)
        .map(|number| format!("{prefix}b{number}"))
        .find(|key| matches!(slot(key.as_bytes()) % width, 0) || slot(key.as_bytes()) % width == width - 1)
        .expect("some key falls on a border")
}

/// As long as keys may be.
fn long_key(prefix: &str) -> String {
    let mut key = prefix.to_owned();
    key.extend(std::iter::repeat_n('x', quorate_core::id::Key::BYTES_MAX - prefix.len()));
    key
}
