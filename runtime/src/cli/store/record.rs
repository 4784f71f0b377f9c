//! Records what clients saw, as a history that `quorate check` reads: one line per operation, when it has ended.
//!
//! One clock for all clients: microseconds since the recorder began. An operation whose outcome is unknown is written
//! as `info` without an end, and its client must go on under a new name ([`Names`]): a client that may still have an
//! operation open cannot begin another.

use std::io::{self, Write};
use std::time::Instant;

use serde_json::{Value, json};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Ok,
    /// Definitely without effect.
    Fail,
    /// Nobody knows.
    Unknown,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Delete,
}

/// One operation that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'a> {
    pub(crate) client: &'a str,
    pub(crate) verb: Verb,
    pub(crate) key: &'a str,
    /// What was written, or what a read found; none for a delete and for a miss.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) invoked_us: u64,
    pub(crate) returned_us: u64,
    pub(crate) ending: Ending,
    pub(crate) version: Option<&'a str>,
    pub(crate) via: Option<&'a str>,
    pub(crate) level: Option<&'a str>,
}

/// Writes a history as it happens.
pub(crate) struct Recorder {
    started: Instant,
    to: Box<dyn Write>,
    /// The first error in writing; nothing is written after it, and it is reported at the end.
    failed: Option<io::Error>,
}

impl Recorder {
    pub(crate) fn new(to: Box<dyn Write>) -> Self {
        let mut recorder = Recorder { started: Instant::now(), to, failed: None };
        recorder.line(r#"{"quorate_history":1,"model":"kv","clock":"us"}"#);
        recorder
    }

    /// Now, by the clock of the history.
    pub(crate) fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    pub(crate) fn add(&mut self, operation: &Operation<'_>) {
        self.line(&line(operation));
    }

    /// Brings everything to the file so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.to.flush(),
        }
    }

    fn line(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = self.to.write_all(line.as_bytes()).and_then(|()| self.to.write_all(b"\n")).err();
        }
    }
}

fn line(operation: &Operation<'_>) -> String {
    let Operation { client, verb, key, value, invoked_us, returned_us, ending, version, via, level } = operation;
    let verb_name = match verb {
        Verb::Get => "get",
        Verb::Put => "put",
        Verb::Delete => "del",
    };
    let mut line = format!("{{\"p\":{},\"f\":\"{verb_name}\",\"k\":{}", json!(client), json!(key));
    let value = match (verb, value) {
        (Verb::Delete, _) => None,
        (Verb::Get, None) if *ending != Ending::Ok => None,
        (Verb::Get | Verb::Put, value) => Some(value.map_or(Value::Null, text_or_base64)),
    };
    if let Some(value) = value {
        line += &format!(",\"v\":{value}");
    }
    let (result, returned) = match ending {
        Ending::Ok => ("ok", json!(returned_us)),
        Ending::Fail => ("fail", json!(returned_us)),
        Ending::Unknown => ("info", Value::Null),
    };
    line += &format!(",\"inv\":{invoked_us},\"ret\":{returned},\"r\":\"{result}\"");
    for (name, text) in [("ver", version), ("via", via), ("level", level)] {
        if let Some(text) = text {
            line += &format!(",\"{name}\":{}", json!(text));
        }
    }
    line.push('}');
    line
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"b64": base64(bytes)}),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// The names of one client over time: `c3`, and after an operation of unknown outcome `c3.1`, `c3.2`, ...
#[derive(Clone, Debug)]
pub(crate) struct Names {
    base: String,
    lives: u32,
    current: String,
}

impl Names {
    pub(crate) fn new(base: String) -> Self {
        Names { current: base.clone(), base, lives: 0 }
    }

    pub(crate) fn current(&self) -> &str {
        &self.current
    }

    /// The client's last operation may still be open: whoever goes on is somebody else.
    pub(crate) fn renew(&mut self) {
        self.lives += 1;
        self.current = format!("{}.{}", self.base, self.lives);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_what_the_checker_reads() {
        let operation = |verb, value, ending| Operation {
            client: "c1",
            verb,
            key: "lin:k",
            value,
            invoked_us: 10,
            returned_us: 20,
            ending,
            version: Some("7.n1.i1.1"),
            via: Some("n1"),
            level: None,
        };
        let mut text = String::new();
        for operation in [
            operation(Verb::Put, Some(b"v1".as_slice()), Ending::Ok),
            operation(Verb::Get, Some(b"v1"), Ending::Ok),
            operation(Verb::Get, None, Ending::Fail),
            operation(Verb::Delete, None, Ending::Unknown),
            operation(Verb::Get, None, Ending::Ok),
            operation(Verb::Put, Some(b"\xff\x00"), Ending::Ok),
        ] {
            text += &line(&operation);
            text.push('\n');
        }
        let history = quorate_checker::read_jsonl(text.as_bytes()).unwrap();
        use quorate_checker::{Kind, Outcome, Value};
        let seen: Vec<_> = history
            .operations()
            .iter()
            .map(|op| (op.kind, op.outcome, op.value.clone(), op.version().is_some()))
            .collect();
        assert_eq!(seen[0], (Kind::Write, Outcome::Ok, Value::text("v1"), true));
        assert_eq!(seen[1], (Kind::Read, Outcome::Ok, Value::text("v1"), true));
        assert_eq!((seen[2].0, seen[2].1), (Kind::Read, Outcome::Fail));
        assert_eq!(seen[3], (Kind::Write, Outcome::Unknown, Value::Absent, true));
        assert_eq!(seen[4], (Kind::Read, Outcome::Ok, Value::Absent, true));
        assert_eq!(seen[5].2, Value::bytes(b"\xff\x00"));
    }

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_client_that_does_not_know_goes_on_under_a_new_name() {
        let mut names = Names::new("c3".to_string());
        assert_eq!(names.current(), "c3");
        names.renew();
        names.renew();
        assert_eq!(names.current(), "c3.2");
    }
}
