//! A key as the peer wants it: one text or number, read, written, swapped, appended to.

use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation, check_operations_timeout};
use quorate_checker::{FailedCas, History, Kind, Options, Outcome, Value, Verdict};

/// What one call did, or would have done.
#[derive(Clone, Debug)]
pub enum Call {
    /// Begins a part: the value that a key holds at first.
    Init(Value),
    Read(Value),
    Write(Value),
    Append(Value),
    /// From, to, and whether it swapped; `None` where nobody knows.
    Swap(Value, Value, Option<bool>),
}

#[derive(Clone, Debug)]
pub struct Register;

impl Model for Register {
    type State = Text;
    type Op = Call;
    type Metadata = ();

    fn init() -> Text {
        Text(Value::Absent)
    }

    fn step(state: &Text, call: &Call) -> (bool, Text) {
        let holds = |value: &Value| state.0 == *value;
        match call {
            Call::Init(value) | Call::Write(value) => (true, Text(value.clone())),
            Call::Read(value) => (holds(value), state.clone()),
            Call::Append(value) => {
                let texts = [&state.0, value].map(|value| value.as_bytes().unwrap_or_default());
                (true, Text(Value::bytes(&texts.concat())))
            }
            Call::Swap(from, to, swapped) => {
                let fits = holds(from);
                (swapped.is_none_or(|swapped| swapped == fits), if fits { Text(to.clone()) } else { state.clone() })
            }
        }
    }
}

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Value);

/// The operations of each key; `None` where some call is none of these.
pub fn parts(history: &History, options: &Options) -> Option<Vec<Vec<Operation<Register>>>> {
    let by_key = history.by_key();
    let mut parts = Vec::with_capacity(by_key.keys());
    for key in 0..by_key.keys() as u32 {
        let mut part = Vec::new();
        for id in by_key.of(quorate_checker::KeyId(key)) {
            let operation = history.operation(*id);
            let value = operation.value.clone();
            let op = match (operation.kind, operation.outcome) {
                (Kind::Read, Outcome::Ok) if value != Value::Any => Call::Read(value),
                (Kind::Read, _) | (Kind::Write | Kind::Append, Outcome::Fail) => continue,
                (Kind::Write, _) => Call::Write(value),
                (Kind::Append, _) => Call::Append(value),
                (Kind::Cas, Outcome::Fail) if options.failed_cas == FailedCas::Never => continue,
                (Kind::Cas, outcome) => {
                    let swapped = (outcome != Outcome::Unknown).then_some(outcome == Outcome::Ok);
                    Call::Swap(operation.expected().clone(), value, swapped)
                }
                _ => return None,
            };
            let (call_time, return_time) = (operation.invoke, operation.end());
            part.push(Operation { client_id: None, call_time, return_time, op, metadata: None });
        }
        if !options.init.is_absent() {
            let first = part.iter().map(|operation| operation.call_time).min().unwrap_or_default();
            let op = Call::Init(options.init.clone());
            part.push(Operation { client_id: None, call_time: first - 2, return_time: first - 1, op, metadata: None });
        }
        parts.push(part);
    }
    Some(parts)
}

/// The peer's answer: one key after the other, as each is small, and the first violation ends it.
pub fn judge(parts: &[Vec<Operation<Register>>], time_max: Duration) -> Verdict {
    let mut worst = Verdict::Ok;
    for part in parts {
        match check_operations_timeout::<Register>(part, time_max) {
            CheckResult::Ok => {}
            CheckResult::Unknown => worst = Verdict::Unknown,
            CheckResult::Illegal => return Verdict::Violation,
        }
    }
    worst
}
