//! Random small histories and a judge that tries every order: slow, plain, and written without a look at the library.
#![allow(dead_code)]

pub(crate) mod objects;

use quorate_checker::{FailedCas, History, Kind, NEVER, Operation, OperationId, Outcome, Value};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What kinds of history to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) operations: u64,
    pub(crate) clients: u64,
    /// 0 for values written once each.
    pub(crate) values: u64,
    pub(crate) cas: bool,
    pub(crate) deletes: bool,
    pub(crate) versions: bool,
    /// Percent of answers that are drawn instead of true.
    pub(crate) lies: u64,
    pub(crate) unknowns: u64,
}

pub(crate) fn draw_shape(random: &mut Random) -> Shape {
    Shape {
        operations: 1 + random.below(8),
        clients: 1 + random.below(4),
        values: if random.chance(50) { 0 } else { 1 + random.below(3) },
        cas: random.chance(50),
        deletes: random.chance(30),
        versions: random.chance(20),
        lies: [0, 10, 30][random.below(3) as usize],
        unknowns: [0, 15, 40][random.below(3) as usize],
    }
}

struct Drawn {
    operation: Operation,
    point: i64,
    happens: bool,
}

/// A history of one key: a true register run with some answers replaced by lies.
pub(crate) fn draw_history(random: &mut Random, shape: Shape) -> History {
    let mut history = History::new();
    let key = history.key("k");
    let clients: Vec<_> = (0..shape.clients).map(|client| history.client(&format!("c{client}"))).collect();
    let mut now = vec![0i64; shape.clients as usize];
    let mut drawn: Vec<Drawn> = Vec::new();
    let mut fresh = 100;
    for _ in 0..shape.operations {
        let client = random.below(shape.clients) as usize;
        let start = now[client] + random.below(3) as i64;
        let end = start + random.below(4) as i64;
        now[client] = end + random.below(2) as i64;
        let mut value = |random: &mut Random| {
            if shape.values == 0 {
                fresh += 1;
                Value::Int(fresh)
            } else {
                Value::Int(random.below(shape.values) as i64)
            }
        };
        let mut operation = match random.below(10) {
            0..=3 => Operation::new(clients[client], key, Kind::Read, Value::Absent, start, end),
            4..=6 => Operation::new(clients[client], key, Kind::Write, value(random), start, end),
            7 if shape.deletes => Operation::new(clients[client], key, Kind::Write, Value::Absent, start, end),
            _ if shape.cas => {
                let expected = value(random);
                Operation::cas(clients[client], key, expected, value(random), start, end)
            }
            _ => Operation::new(clients[client], key, Kind::Read, Value::Absent, start, end),
        };
        let mut happens = true;
        if random.chance(shape.unknowns) {
            operation = operation.unknown();
            happens = random.chance(50);
            // The client of an unknown operation is not used again.
            now[client] = end + 1000;
        } else if operation.kind == Kind::Write && random.chance(10) {
            operation = operation.failed();
            happens = false;
        }
        let point = start + random.below((end - start + 1 + if happens { 2 } else { 0 }).max(1) as u64) as i64;
        drawn.push(Drawn { operation, point: if happens { point.min(end) } else { point }, happens });
    }
    run(random, shape, &mut drawn);
    drawn.sort_by_key(|drawn| if drawn.operation.ret == NEVER { drawn.point } else { drawn.operation.ret });
    for drawn in drawn {
        history.push(drawn.operation);
    }
    history
}

fn run(random: &mut Random, shape: Shape, drawn: &mut [Drawn]) {
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_by_key(|at| (drawn[*at].point, *at));
    let mut held = Value::Absent;
    let mut version = 0;
    for (step, at) in order.iter().enumerate() {
        // An expected value is often what is really there, so that compare-and-sets succeed.
        if drawn[*at].operation.kind == Kind::Cas && random.chance(70) {
            let Operation { client, key, value, invoke, ret, outcome, .. } = drawn[*at].operation.clone();
            drawn[*at].operation = Operation::cas(client, key, held.clone(), value, invoke, ret);
            if outcome == Outcome::Unknown {
                drawn[*at].operation = drawn[*at].operation.clone().unknown();
            }
        }
        let lie = random.chance(shape.lies);
        let known: Vec<Value> = order[..=step].iter().map(|at| drawn[*at].operation.value.clone()).collect();
        let any = known[random.below(known.len() as u64) as usize].clone();
        let Drawn { operation, happens, .. } = &mut drawn[*at];
        let unknown = operation.outcome == Outcome::Unknown;
        match operation.kind {
            Kind::Read if !unknown => {
                operation.value = if lie { any } else { held.clone() };
                if shape.versions && !(lie && random.chance(50)) {
                    *operation = operation.clone().with_version(Value::Int(version));
                }
            }
            Kind::Write if *happens => {
                held = operation.value.clone();
                version = step as i64 + 1;
                if shape.versions && !unknown {
                    *operation = operation.clone().with_version(Value::Int(version));
                }
            }
            Kind::Cas if *happens => {
                if (*operation.expected() == held) != lie {
                    held = operation.value.clone();
                    version = step as i64 + 1;
                    if shape.versions && !unknown {
                        *operation = operation.clone().with_version(Value::Int(version));
                    }
                } else if !unknown {
                    *operation = operation.clone().failed();
                    if random.chance(50) {
                        *operation = operation.clone().having_seen(held.clone());
                    }
                }
            }
            _ => {}
        }
    }
}

/// Judges one key by trying every order. `by_version`: an answer that carries a write's version came from that write.
pub(crate) fn is_linearizable(history: &History, failed_cas: FailedCas, by_version: bool) -> bool {
    let ids: Vec<OperationId> = (0..history.len() as OperationId)
        .filter(|id| {
            let operation = history.operation(*id);
            match (operation.kind, operation.outcome) {
                (Kind::Read, outcome) => outcome == Outcome::Ok && operation.value != Value::Any,
                (Kind::Cas, Outcome::Fail) => failed_cas == FailedCas::Mismatch,
                (_, outcome) => outcome != Outcome::Fail,
            }
        })
        .collect();
    place(history, &ids, 0, &Value::Absent, None, by_version)
}

fn place(
    history: &History,
    ids: &[OperationId],
    done: u32,
    held: &Value,
    writer: Option<OperationId>,
    by_version: bool,
) -> bool {
    let left = || (0..ids.len()).filter(|at| done >> at & 1 == 0);
    let is_open = |at: usize| history.operation(ids[at]).outcome == Outcome::Unknown;
    if left().all(is_open) {
        return true;
    }
    for at in left() {
        let operation = history.operation(ids[at]);
        if left().any(|other| !is_open(other) && history.operation(ids[other]).ret < operation.invoke) {
            continue;
        }
        let from_right_write = !by_version
            || operation.version().is_none_or(|version| {
                let named = ids.iter().find(|id| {
                    let other = history.operation(**id);
                    other.kind != Kind::Read && other.outcome != Outcome::Fail && other.version() == Some(version)
                });
                let unversioned = writer.is_none_or(|writer| history.operation(writer).version().is_none());
                named.map_or(unversioned, |named| writer == Some(*named))
            });
        let next = match (operation.kind, operation.outcome) {
            (Kind::Read, _) if operation.value == *held && from_right_write => Some((held, writer)),
            (Kind::Read, _) => None,
            (Kind::Cas, Outcome::Fail) => {
                let agrees = match operation.seen() {
                    Some(seen) if seen != operation.expected() => seen == held && from_right_write,
                    _ => operation.expected() != held && from_right_write,
                };
                agrees.then_some((held, writer))
            }
            (Kind::Cas, _) => (operation.expected() == held).then_some((&operation.value, Some(ids[at]))),
            _ => Some((&operation.value, Some(ids[at]))),
        };
        if let Some((held, writer)) = next
            && place(history, ids, done | 1 << at, held, writer, by_version)
        {
            return true;
        }
    }
    false
}
