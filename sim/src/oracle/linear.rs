//! B1: the history of every linearizable key has an order that explains all answers. The checker judges.

use super::{KeyFacts, Property, Violation};
use crate::history::{Ending, OpRecord};
use quorate_checker as checker;
use quorate_checker::{Kind, Operation, Verdict};
use quorate_core::version::Version;
use quorate_traces::Do;

/// States that a search may look at per key before it answers "unknown".
const STATES_MAX: u64 = 2_000_000;

/// The history of the keys for which `wanted` says so, as the checker and the history files have it.
pub(crate) fn history_of(
    ops: &[OpRecord],
    keys: &[KeyFacts],
    wanted: impl Fn(&KeyFacts) -> bool,
) -> (checker::History, Vec<u32>) {
    let mut history = checker::History::new();
    let mut numbers = Vec::with_capacity(ops.len());
    for record in ops {
        let facts = &keys[record.key as usize];
        let Some(operation) = wanted(facts).then(|| operation_of(record, facts, &mut history)).flatten() else {
            continue;
        };
        history.push(operation);
        numbers.push(record.op);
    }
    (history, numbers)
}

fn operation_of(record: &OpRecord, facts: &KeyFacts, history: &mut checker::History) -> Option<Operation> {
    let kind = match record.what {
        Do::Get => Kind::Read,
        Do::Put | Do::Delete => Kind::Write,
    };
    // A read without an answer says nothing.
    if kind == Kind::Read && record.ending != Ending::Ok {
        return None;
    }
    let client = history.client(&format!("c{}", record.client));
    let key = history.key(&facts.name);
    let value = record.value.as_ref().map_or(checker::Value::Absent, |bytes| value_of(bytes));
    let (invoke, ret) = (record.invoke as i64, record.ret.unwrap_or(record.invoke) as i64);
    let mut operation = Operation::new(client, key, kind, value, invoke, ret);
    match record.ending {
        Ending::Ok => {}
        Ending::Failed => operation = operation.failed(),
        Ending::Unknown => operation = operation.unknown(),
    }
    if let Some(version) = record.version.filter(|version| !version.is_absent()) {
        operation = operation.with_version(version_of(version));
    }
    Some(operation)
}

fn value_of(bytes: &[u8]) -> checker::Value {
    match bytes.first() {
        Some(&byte) if bytes.len() > 64 && bytes.iter().all(|other| *other == byte) => {
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

/// Judges the linearizable keys. `Err(())` where the budget ended first.
pub(crate) fn judge(ops: &[OpRecord], keys: &[KeyFacts]) -> Result<Option<Violation>, ()> {
    let (history, numbers) = history_of(ops, keys, |facts| facts.linearizable);
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
        assert_eq!(judge(&ops, &keys), Ok(None));
        ops[2].version = ops[0].version;
        let violation = judge(&ops, &keys).unwrap().expect("the read is stale");
        assert_eq!((violation.property, violation.key.as_deref()), (Property::Linearizable, Some("k")));
        assert!(violation.ops.contains(&3));
    }
}
