//! Violations in words: the one sentence a reader wants first.

use crate::history::{History, Kind, OperationId, Outcome};
use crate::register::Conflict;
use crate::{Anomaly, Value};

/// `c2 read reg/k3 → v4 at 1.902s`.
pub fn describe(history: &History, id: OperationId) -> String {
    let operation = history.operation(id);
    let clock = history.clock();
    let (client, key) = (history.client_name(operation.client), history.key_name(operation.key));
    let key = if key.is_empty() { String::new() } else { format!(" {key}") };
    let value = &operation.value;
    let call = match operation.kind {
        Kind::Read => format!("read{key} → {value}"),
        Kind::Write if *value == Value::Absent => format!("deleted{key}"),
        Kind::Write => format!("wrote{key} = {value}"),
        Kind::Cas if operation.outcome == Outcome::Fail => {
            let seen = operation.seen().map(|seen| format!(" (it held {seen})")).unwrap_or_default();
            format!("could not swap{key} from {} to {value}{seen}", operation.expected())
        }
        Kind::Cas => format!("swapped{key} from {} to {value}", operation.expected()),
        Kind::Append => format!("appended {value} to{key}"),
        Kind::Add => format!("added {value} to{key}"),
        Kind::Remove => format!("removed {value} from{key}"),
        Kind::Enqueue => format!("enqueued {value} in{key}"),
        Kind::Dequeue => format!("dequeued {value} from{key}"),
    };
    match operation.outcome {
        Outcome::Unknown => format!("{client} may have {call} from {}", clock.show(operation.invoke)),
        Outcome::Ok | Outcome::Fail => format!("{client} {call} at {}", clock.show(operation.ret)),
    }
}

/// More operations than this are not listed in a sentence.
const LISTED_MAX: usize = 8;

/// The sentence for a conflict of one register key.
pub(crate) fn words(history: &History, conflict: &Conflict) -> String {
    let ids = &conflict.operations;
    let show = |id: OperationId| describe(history, id);
    let clock = history.clock();
    let start = |id: OperationId| clock.show(history.operation(id).invoke);
    let end = |id: OperationId| clock.show(history.operation(id).end());
    match conflict.anomaly {
        Anomaly::NeverWritten => format!("{}, but nobody ever wrote that value", show(ids[0])),
        Anomaly::AbortedRead => {
            format!("{}, but the only write of that value definitely failed ({})", show(ids[0]), show(ids[1]))
        }
        Anomaly::SwappedTwice => {
            format!("{} and {}, but that value was written once and each swap used it up", show(ids[0]), show(ids[1]))
        }
        Anomaly::SwapCycle => {
            format!("{}, but the value it expected was only ever written by swaps that followed from it", show(ids[0]))
        }
        Anomaly::Torn => format!(
            "{}, and that was over before {} began at {}, which must come first",
            show(ids[0]),
            show(ids[1]),
            start(ids[1])
        ),
        Anomaly::Overlap => overlap(history, ids),
        Anomaly::NoOrder if ids.len() <= LISTED_MAX => overlap(history, ids),
        Anomaly::NoOrder => format!(
            "no order of the operations up to {} explains every answer; the last to return was: {}",
            end(ids[ids.len() - 1]),
            show(ids[ids.len() - 1])
        ),
    }
}

/// Two blocks that must each precede the other. The common shape is a stale read.
fn overlap(history: &History, ids: &[OperationId]) -> String {
    let clock = history.clock();
    let writes = |id: &OperationId| matches!(history.operation(*id).kind, Kind::Write | Kind::Cas);
    let stale = ids.iter().find_map(|read| {
        let operation = history.operation(*read);
        // What nobody here wrote was there at first.
        let initial = !ids.iter().any(|id| writes(id) && history.operation(*id).value == operation.value);
        let newer = ids.iter().find(|newer| {
            let other = history.operation(**newer);
            writes(newer)
                && other.value != operation.value
                && other.outcome == Outcome::Ok
                && other.ret < operation.invoke
                && (initial
                    || ids.iter().any(|id| {
                        let old = history.operation(*id);
                        writes(id) && old.value == operation.value && old.end() < other.invoke
                    }))
        })?;
        (operation.kind == Kind::Read).then_some((*read, *newer))
    });
    if let Some((read, newer)) = stale {
        let newer = history.operation(newer);
        let what = if newer.value.is_absent() { "delete".to_string() } else { format!("write of {}", newer.value) };
        let value = &history.operation(read).value;
        let undone = if value.is_absent() { "deleted it".to_string() } else { format!("overwrote it with {value}") };
        return format!(
            "{}, but {}'s {what} was acknowledged at {} and nothing {undone} after that",
            describe(history, read),
            history.client_name(newer.client),
            clock.show(newer.ret),
        );
    }
    let mut text = String::from("these cannot be ordered: ");
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            text.push_str("; ");
        }
        text.push_str(&format!("{} (from {})", describe(history, *id), clock.show(history.operation(*id).invoke)));
    }
    text
}
