//! B1: the history of every linearizable key has an order that explains all answers. The checker judges.
//!
//! Its online judge is told of each call as it begins and ends, and vouches for each answer at once. Where it does not,
//! because the answer is illegal or because equal values leave it in doubt, the checker judges the history of that key so
//! far, as a whole, and so at each answer from then on: a run stops at its first illegal return, with words and with as
//! few operations as it takes. The online judge goes by versions, too: what it calls illegal may be an order of values.

use super::{KeyFacts, Property, Violation};
use crate::history::{Ending, OpRecord};
use crate::table::Table;
use quorate_checker as checker;
use quorate_checker::{ClientId, KeyId, Kind, Operation, Verdict};
use quorate_core::version::Version;
use quorate_traces::Do;
use serde::{Deserialize, Serialize};

/// States that a search may look at per key before it answers "unknown".
const STATES_MAX: u64 = 2_000_000;

/// The judge that listens.
///
/// What it knows follows from the calls in the order in which it was told of them. Only that order is saved with a run:
/// whoever loads one lets a new judge hear everything again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Linear {
    told: Table<Told, 256>,
    /// Keys for whose answers the online judge does not vouch any more.
    #[serde(skip)]
    in_doubt: Vec<u32>,
    /// One for each key, so that clones share those that hear nothing new.
    #[serde(skip)]
    judges: Table<checker::Online, 4>,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    /// A client asks for it.
    Began { op: u32 },
    /// Its version was chosen; of several only the first is told.
    Chose { op: u32 },
    /// Its client knows how it ended.
    Ended { op: u32 },
}

impl Told {
    /// Of which operation.
    pub(crate) fn op(self) -> u32 {
        let (Self::Began { op } | Self::Chose { op } | Self::Ended { op }) = self;
        op
    }
}

fn listener() -> checker::Online {
    let options = checker::Options::deterministic(STATES_MAX);
    checker::Online::new(&options).with_versions_told(version_of(Version::ABSENT))
}

impl Linear {
    pub(crate) fn new(keys: usize) -> Self {
        Self { told: Table::default(), in_doubt: Vec::new(), judges: Table::of(listener(), keys) }
    }

    /// All that was told, to be told once more. Nothing is known until it has been.
    pub(crate) fn forget(&mut self, keys: usize) -> Vec<Told> {
        std::mem::replace(self, Self::new(keys)).told.iter().copied().collect()
    }

    /// Something happened to an operation on a linearizable key.
    pub(crate) fn hear(&mut self, told: Told, record: &OpRecord, chosen: Option<Version>) {
        self.told.push(told);
        if self.is_in_doubt(record.key) {
            return;
        }
        let (op, key) = (u64::from(told.op()), KeyId(record.key));
        let judge = &mut self.judges[record.key as usize];
        match told {
            Told::Began { .. } => judge.on_invoke(op, &operation_of(record, ClientId(record.client), key)),
            Told::Chose { .. } => {
                chosen.into_iter().for_each(|version| judge.on_version(op, key, version_of(version)));
            }
            Told::Ended { .. } => {
                let mut operation = operation_of(record, ClientId(record.client), key);
                if (record.what, record.ending) == (Do::Get, Ending::Ok) {
                    // What reads the initial value says so.
                    operation = operation.with_version(version_of(record.version.unwrap_or(Version::ABSENT)));
                }
                if judge.on_return(op, &operation).is_err() || judge.is_undecided(key) {
                    self.in_doubt.push(record.key);
                }
            }
        }
    }

    /// Whether the answers of a key have to be judged as a whole.
    pub(crate) fn is_in_doubt(&self, key: u32) -> bool {
        self.in_doubt.contains(&key)
    }
}

/// The history of the keys for which `wanted` says so, as the checker and the history files have it.
fn history_of(ops: &[OpRecord], keys: &[KeyFacts], wanted: impl Fn(u32) -> bool) -> (checker::History, Vec<u32>) {
    let mut history = checker::History::new();
    let mut numbers = Vec::with_capacity(ops.len());
    // A read without an answer says nothing.
    let says = |record: &&OpRecord| wanted(record.key) && (record.what != Do::Get || record.ending == Ending::Ok);
    for record in ops.iter().filter(says) {
        let client = history.client(&format!("c{}", record.client));
        let key = history.key(&keys[record.key as usize].name);
        history.push(operation_of(record, client, key));
        numbers.push(record.op);
    }
    (history, numbers)
}

fn operation_of(record: &OpRecord, client: ClientId, key: KeyId) -> Operation {
    let kind = match record.what {
        Do::Get => Kind::Read,
        Do::Put | Do::Delete => Kind::Write,
    };
    let value = record.value.as_ref().map_or(checker::Value::Absent, |bytes| value_of(bytes));
    let (invoke, ret) = (record.invoke as i64, record.ret.unwrap_or(record.invoke) as i64);
    let mut operation = Operation::new(client, key, kind, value, invoke, ret);
    match record.ending {
        Ending::Ok => {}
        Ending::Failed => operation = operation.failed(),
        Ending::Unknown => operation = operation.unknown(),
    }
    match record.version.filter(|version| !version.is_absent()) {
        Some(version) => operation.with_version(version_of(version)),
        None => operation,
    }
}

fn value_of(bytes: &[u8]) -> checker::Value {
    match bytes.first() {
        // All bytes are equal if each is equal to the next: one comparison of memory.
        Some(&byte) if bytes.len() > 64 && bytes[1..] == bytes[..bytes.len() - 1] => {
            checker::Value::Fill { byte, len: bytes.len() as u32 }
        }
        Some(_) | None => checker::Value::bytes(bytes),
    }
}

/// A version in the fourteen bytes that the checker keeps without allocating: hybrid time and the end of the dot.
fn version_of(version: Version) -> checker::Value {
    let mut bytes = [0; 14];
    bytes[..8].copy_from_slice(&version.hlc.as_ticks().to_be_bytes());
    bytes[8..10].copy_from_slice(&(version.dot.actor.node.0 as u16).to_be_bytes());
    bytes[10..].copy_from_slice(&(version.dot.sequence as u32).to_be_bytes());
    checker::Value::bytes(&bytes)
}

/// Judges the keys for which `wanted` says so. `Err(())` where the budget ended first.
pub(crate) fn judge(
    ops: &[OpRecord],
    keys: &[KeyFacts],
    wanted: impl Fn(u32) -> bool,
) -> Result<Option<Violation>, ()> {
    let (history, numbers) = history_of(ops, keys, wanted);
    let report = checker::check_history(&history, &checker::Options::deterministic(STATES_MAX));
    match report.verdict {
        Verdict::Ok => Ok(None),
        Verdict::Unknown => Err(()),
        Verdict::Violation => {
            let first = report.first_violation(&history).expect("a violation says what it is");
            let ops: Vec<u32> = first.operations.iter().map(|&id| numbers[id as usize]).collect();
            let at = first.operations.iter().map(|&id| history.operation(id).invoke).max().unwrap_or(0);
            Ok(Some(Violation {
                property: Property::Linearizable,
                key: Some(history.key_name(first.key).to_owned()),
                words: first.words.clone(),
                at: at as u64,
                ops,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quorate_core::id::{Key, NodeId};
    use quorate_core::version::Hlc;

    fn op(op: u32, what: Do, value: Option<&'static str>, times: (u64, u64), ticks: u64) -> OpRecord {
        OpRecord {
            op,
            client: op,
            key: 0,
            what,
            value: value.map(|text| Bytes::from_static(text.as_bytes())),
            invoke: times.0,
            ret: Some(times.1),
            ending: Ending::Ok,
            version: Some(Version { hlc: Hlc::from_ticks(ticks).unwrap(), ..Version::ABSENT }),
            via: NodeId(1),
            acks: 2,
        }
    }

    #[test]
    fn a_stale_read_is_seen() {
        let keys = [KeyFacts {
            key: Key::new(Bytes::from_static(b"k")).unwrap(),
            name: "k".into(),
            homes: vec![0, 1, 2],
            keyspace: 0,
            register: true,
            linearizable: true,
            rw: (2, 2),
        }];
        let mut ops = vec![
            op(1, Do::Put, Some("v"), (0, 10), 1),
            op(2, Do::Put, Some("v"), (20, 30), 2),
            op(3, Do::Get, Some("v"), (40, 50), 2),
        ];
        assert_eq!(judge(&ops, &keys, |_| true), Ok(None));
        ops[2].version = ops[0].version;
        let violation = judge(&ops, &keys, |_| true).unwrap().expect("the read is stale");
        assert_eq!((violation.property, violation.key.as_deref()), (Property::Linearizable, Some("k")));
        assert!(violation.ops.contains(&3));
    }

    /// Tells of four operations one after the other: after how many of them the key is in doubt.
    fn tell(linear: &mut Linear, ops: &[OpRecord]) -> Option<usize> {
        (0..4).position(|op| {
            let record = &ops[op as usize];
            for told in [Told::Began { op }, Told::Chose { op }, Told::Ended { op }] {
                linear.hear(told, record, record.version);
            }
            linear.is_in_doubt(0)
        })
    }

    #[test]
    fn the_judge_that_listens_vouches_for_no_old_answer_and_after_loading_hears_the_same() {
        for second in ["w", "v"] {
            let mut ops = vec![
                op(0, Do::Put, Some("v"), (0, 10), 1),
                op(1, Do::Put, Some(second), (20, 30), 2),
                op(2, Do::Get, Some(second), (40, 50), 2),
                op(3, Do::Get, Some(second), (60, 70), 2),
            ];
            assert_eq!(tell(&mut Linear::new(1), &ops), None);
            ops[3].value = ops[0].value.clone();
            ops[3].version = ops[0].version;
            let mut linear = Linear::new(1);
            assert_eq!(tell(&mut linear, &ops), Some(3));

            let mut saved: Linear = postcard::from_bytes(&postcard::to_allocvec(&linear).unwrap()).unwrap();
            let told = saved.forget(1);
            assert!(told.len() == 12 && !saved.is_in_doubt(0), "nothing is known before it is told again");
            for told in told {
                saved.hear(told, &ops[told.op() as usize], ops[told.op() as usize].version);
            }
            assert!(saved.is_in_doubt(0) && saved.told.iter().eq(linear.told.iter()));
        }
    }

    #[test]
    fn an_old_answer_is_not_taken_for_that_of_a_write_under_way() {
        let ops = [
            op(0, Do::Put, Some("v"), (0, 10), 1),
            op(1, Do::Put, Some("v"), (20, 30), 2),
            op(2, Do::Get, Some("v"), (40, 60), 1),
            op(3, Do::Put, Some("v"), (50, 70), 3),
        ];
        let mut linear = Linear::new(1);
        let over = (0..2).flat_map(|op| [Told::Began { op }, Told::Chose { op }, Told::Ended { op }]);
        for told in over.chain([Told::Began { op: 2 }, Told::Began { op: 3 }, Told::Ended { op: 2 }]) {
            assert!(!linear.is_in_doubt(0));
            linear.hear(told, &ops[told.op() as usize], ops[told.op() as usize].version);
        }
        assert!(linear.is_in_doubt(0));
    }

    #[test]
    fn a_miss_before_the_first_write_is_told_from_a_delete_that_is_under_way() {
        let mut ops = [op(0, Do::Delete, None, (0, 90), 1), op(1, Do::Get, None, (10, 20), 0)];
        ops[1].version = Some(Version::ABSENT);
        let mut linear = Linear::new(1);
        for told in [Told::Began { op: 0 }, Told::Began { op: 1 }, Told::Ended { op: 1 }, Told::Ended { op: 0 }] {
            linear.hear(told, &ops[told.op() as usize], None);
        }
        assert!(!linear.is_in_doubt(0));
    }
}
