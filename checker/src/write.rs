//! Writers: a history as a file.

use std::io::{self, Write};

use crate::Value;
use crate::history::{Clock, History, Kind, Level, NEVER, Operation, Outcome, Time};
use crate::read::encode_base64;

/// Writes a history in our own form, a header and one line per operation.
pub fn write_jsonl(history: &History, mut to: impl Write) -> io::Result<()> {
    writeln!(to, "{{\"quorate_history\":1,\"model\":\"kv\",\"clock\":\"{}\"}}", history.clock().name())?;
    let mut line = String::new();
    for operation in history.operations() {
        line.clear();
        write_operation(history, operation, &mut line);
        line.push('\n');
        to.write_all(line.as_bytes())?;
    }
    to.flush()
}

/// Writes a history as Jepsen EDN: one map per event, in the order of time, keys as independent `[key value]` pairs.
///
/// Clients become numbers. Versions and levels have no place there and are left out. Times become nanoseconds, as Jepsen
/// has them; those of a clock without unit stay as they are. A miss becomes `nil`, which readers of this form take as an
/// answer that tells nothing, and a failed compare-and-set one that never happened: a verdict on the export may be
/// weaker, never stricter.
pub fn write_jepsen_edn(history: &History, mut to: impl Write) -> io::Result<()> {
    let tick_ns = match history.clock() {
        Clock::Ns | Clock::Ticks => 1,
        Clock::Us => 1_000,
        Clock::Ms => 1_000_000,
    };
    // What has no room in nanoseconds keeps its own unit: the order is what matters.
    let fits = |time: Time| time.checked_mul(tick_ns).is_some_and(|time| time < NEVER);
    let ends = |operation: &Operation| fits(operation.invoke) && (operation.end() == NEVER || fits(operation.ret));
    let factor = if history.operations().iter().all(ends) { tick_ns } else { 1 };
    let mut events: Vec<(i64, bool, u32)> = Vec::with_capacity(history.len() * 2);
    for (id, operation) in history.operations().iter().enumerate() {
        events.push((operation.invoke, false, id as u32));
        if operation.end() != NEVER {
            events.push((operation.ret, true, id as u32));
        }
    }
    events.sort_unstable();
    // An unknown outcome ends its process, so its client goes on as another one.
    let mut process: Vec<u32> = (0..history.clients().len() as u32).collect();
    let mut next_process = process.len() as u32;
    let mut process_of = vec![0; history.len()];
    for (index, (time, is_end, id)) in events.into_iter().enumerate() {
        let operation = history.operation(id);
        if !is_end {
            let client = operation.client.0 as usize;
            process_of[id as usize] = process[client];
            if operation.end() == NEVER {
                process[client] = next_process;
                next_process += 1;
            }
        }
        let phase = match operation.outcome {
            _ if !is_end => "invoke",
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            Outcome::Unknown => "info",
        };
        let (called, mut value) = match operation.kind {
            Kind::Read => ("read", String::new()),
            Kind::Write => ("write", edn(&operation.value)),
            Kind::Cas => ("cas", format!("[{} {}]", edn(operation.expected()), edn(&operation.value))),
            Kind::Append => ("append", edn(&operation.value)),
            Kind::Add => ("add", edn(&operation.value)),
            Kind::Remove => ("remove", edn(&operation.value)),
            Kind::Enqueue => ("enqueue", edn(&operation.value)),
            Kind::Dequeue => ("dequeue", String::new()),
        };
        if value.is_empty() {
            let known = is_end && operation.outcome == Outcome::Ok;
            value = if known { edn(&operation.value) } else { "nil".to_string() };
        }
        let mut key = String::new();
        put_text(history.key_name(operation.key), &mut key);
        let (process, time) = (process_of[id as usize], time * factor);
        writeln!(
            to,
            "{{:process {process}, :type :{phase}, :f :{called}, :value [{key} {value}], :time {time}, :index {index}}}"
        )?;
    }
    to.flush()
}

/// A value as EDN.
fn edn(value: &Value) -> String {
    match value {
        Value::Absent | Value::Any => "nil".to_string(),
        Value::Int(number) => number.to_string(),
        Value::Token(token) => token.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(edn).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Short(_) | Value::Long(_) | Value::Fill { .. } => {
            let mut text = String::new();
            match value.as_bytes().map(std::str::from_utf8) {
                Some(Ok(shown)) => put_text(shown, &mut text),
                _ => put_text(&format!("{value:?}"), &mut text),
            }
            text
        }
    }
}

/// Puts the line of one operation at the end of `line`.
fn write_operation(history: &History, operation: &Operation, line: &mut String) {
    let called = match operation.kind {
        Kind::Read => "get",
        Kind::Write if operation.value.is_absent() => "del",
        Kind::Write => "put",
        Kind::Cas => "cas",
        Kind::Append => "append",
        Kind::Add => "add",
        Kind::Remove => "remove",
        Kind::Enqueue => "enqueue",
        Kind::Dequeue => "dequeue",
    };
    line.push_str("{\"p\":");
    put_text(history.client_name(operation.client), line);
    line.push_str(",\"f\":\"");
    line.push_str(called);
    line.push_str("\",\"k\":");
    put_text(history.key_name(operation.key), line);
    let is_read = matches!(operation.kind, Kind::Read | Kind::Dequeue);
    match operation.kind {
        Kind::Cas => {
            line.push_str(",\"from\":");
            put_value(operation.expected(), line);
            line.push_str(",\"to\":");
            put_value(&operation.value, line);
        }
        Kind::Write if operation.value.is_absent() => {}
        _ if is_read && operation.outcome != Outcome::Ok => {}
        _ => {
            line.push_str(",\"v\":");
            put_value(&operation.value, line);
        }
    }
    if let Some(seen) = operation.seen() {
        line.push_str(",\"seen\":");
        put_value(seen, line);
    }
    let result = match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "fail",
        Outcome::Unknown => "info",
    };
    let ret = if operation.end() == NEVER { "null".to_string() } else { operation.ret.to_string() };
    line.push_str(&format!(",\"inv\":{},\"ret\":{ret},\"r\":\"{result}\"", operation.invoke));
    if let Some(version) = operation.version() {
        line.push_str(",\"ver\":");
        put_value(version, line);
    }
    if operation.level != Level::Unspecified {
        line.push_str(",\"level\":\"");
        line.push_str(operation.level.name());
        line.push('"');
    }
    line.push('}');
}

/// A value as JSON.
pub(crate) fn put_value(value: &Value, line: &mut String) {
    match value {
        Value::Absent => line.push_str("null"),
        Value::Any => line.push_str("{\"any\":1}"),
        Value::Int(number) => line.push_str(&number.to_string()),
        Value::Token(token) if matches!(token.as_str(), "true" | "false") || token.parse::<f64>().is_ok() => {
            line.push_str(token);
        }
        Value::Token(token) => put_text(token, line),
        Value::Fill { byte, len } => line.push_str(&format!("{{\"fill\":{byte},\"len\":{len}}}")),
        Value::Short(_) | Value::Long(_) => {
            let bytes = value.as_bytes().expect("both variants are byte strings");
            match std::str::from_utf8(bytes) {
                Ok(text) => put_text(text, line),
                Err(_) => line.push_str(&format!("{{\"b64\":\"{}\"}}", encode_base64(bytes))),
            }
        }
        Value::List(items) => {
            line.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    line.push(',');
                }
                put_value(item, line);
            }
            line.push(']');
        }
    }
}

/// A text as a JSON string.
pub(crate) fn put_text(text: &str, line: &mut String) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\r' => line.push_str("\\r"),
            control if control < ' ' => line.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => line.push(other),
        }
    }
    line.push('"');
}
