//! Jepsen's EDN histories, and porcupine's key-value form of them.
//!
//! ```edn
//! {:process 0, :type :invoke, :f :cas, :value [3 [1 2]], :time 3291485317, :index 0}
//! {:process 0, :type :ok, :f :get, :key "4", :value "x 0 1 y"}
//! ```
//! One map after another, or all in one vector or list. Events of the nemesis (any process that is no number) are
//! passed over. Where every value is a pair, keys are independent and each pair is a key and a value. A read that ended
//! with nil says nothing (Knossos treats it so); in the key-value form it says "absent". Without usable times the
//! position of an event is its time.

use std::borrow::Cow;

use super::ReadError;
use super::edn::{Edn, Reader};
use super::pairing::{Event, Pairing, Phase};
use super::room::Room;
use crate::Value;
use crate::history::{History, Kind, Time};

struct Line<'a> {
    line: u64,
    process: i64,
    phase: Phase,
    kind: Kind,
    key: Option<Cow<'a, str>>,
    value: Edn<'a>,
    time: Option<Time>,
}

/// What was found in the file.
pub(crate) struct Jepsen {
    pub(crate) history: History,
    /// The form with keys of its own.
    pub(crate) has_keys: bool,
}

pub(crate) fn read(bytes: &[u8], room: &mut Room) -> Result<Jepsen, ReadError> {
    let lines = lines(bytes, room)?;
    let has_keys = lines.iter().any(|line| line.key.is_some());
    let independent = !has_keys && is_independent(&lines);
    let mut pairing = Pairing::new(room);
    for Line { line, process, phase, kind, key, value, time } in lines {
        let (key, value) = match value {
            Edn::Many(mut pair) if independent && pair.len() == 2 => {
                let (value, key) = (pair.pop().expect("two"), pair.pop().expect("two"));
                (key.name(), value)
            }
            value => (key.unwrap_or_default(), value),
        };
        let (expected, value) = match (kind, value) {
            (Kind::Cas, Edn::Many(pair)) if pair.len() == 2 => (Some(pair[0].value()), pair[1].value()),
            (Kind::Cas, _) if phase == Phase::Invoke => {
                return Err(ReadError::at(line, "the value of a cas is a pair [old new]"));
            }
            (Kind::Read, Edn::Nil) if !has_keys => (None, Value::Any),
            (_, value) => (None, value.value()),
        };
        let client = &process.to_string();
        pairing.push(Event { line, client, phase, kind, key: &key, value, expected, time })?;
    }
    Ok(Jepsen { history: pairing.finish(), has_keys })
}

fn lines<'a>(bytes: &'a [u8], room: &mut Room) -> Result<Vec<Line<'a>>, ReadError> {
    let mut reader = Reader::new(bytes);
    let mut inside = false;
    let mut lines = Vec::new();
    while let Some(byte) = reader.next_byte() {
        let line = reader.line();
        match byte {
            b'[' | b'(' if !inside => {
                inside = true;
                reader.pass();
                continue;
            }
            b']' | b')' if inside => {
                reader.pass();
                continue;
            }
            _ => {}
        }
        let form = reader.form().map_err(|reason| ReadError::at(line, reason))?;
        // A form and what its event keeps of it live side by side for a moment, and all events until the last is read.
        room.take(form.as_ref().map_or(0, Edn::bytes), line)?;
        lines.extend(form.map(|form| event(form, line)).transpose()?.flatten());
    }
    Ok(lines)
}

/// One event; `None` for those of the nemesis.
fn event(form: Edn<'_>, line: u64) -> Result<Option<Line<'_>>, ReadError> {
    let wrong = |reason: &str| ReadError::at(line, reason);
    let Edn::Map(pairs) = form else { return Err(wrong("an event is a map")) };
    let (mut process, mut phase, mut called, mut time, mut key, mut shown) = (None, None, None, None, None, Edn::Nil);
    for (name, value) in pairs {
        let Edn::Keyword(name) = name else { continue };
        match name {
            "process" => process = Some(value),
            "type" => phase = Some(value),
            "f" => called = Some(value),
            "time" => time = Some(value),
            "key" => key = Some(value.name()),
            "value" => shown = value,
            _ => {}
        }
    }
    let process = match process {
        Some(Edn::Int(process)) => process,
        Some(_) => return Ok(None),
        None => return Err(wrong(":process is missing")),
    };
    let phase = match phase {
        Some(Edn::Keyword(name)) => Phase::from_name(name).ok_or_else(|| wrong(&format!("unknown :type :{name}")))?,
        _ => return Err(wrong(":type is missing")),
    };
    let kind = match called {
        Some(Edn::Keyword(name)) => kind_of(name).ok_or_else(|| wrong(&format!("unknown :f :{name}")))?,
        _ => return Err(wrong(":f is missing")),
    };
    let time = match time {
        Some(Edn::Int(time)) => Some(time),
        _ => None,
    };
    Ok(Some(Line { line, process, phase, kind, key, value: shown, time }))
}

/// The call behind a Jepsen `:f`.
pub(crate) fn kind_of(name: &str) -> Option<Kind> {
    super::jsonl::kind_of(name.as_bytes())
}

/// Is every value a pair of a key and a value?
fn is_independent(lines: &[Line<'_>]) -> bool {
    let is_pair = |value: &Edn<'_>| matches!(value, Edn::Many(items) if items.len() == 2);
    let mut telling = false;
    for line in lines {
        match (&line.value, line.kind) {
            (Edn::Nil, _) => {}
            (value, _) if !is_pair(value) => return false,
            (Edn::Many(items), Kind::Cas) => telling |= is_pair(&items[1]),
            _ => telling = true,
        }
    }
    telling
}
