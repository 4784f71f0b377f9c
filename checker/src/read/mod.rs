//! Readers: from bytes of a named or recognised format to a [`History`].
//!
//! A reader either understands a file wholly or says which line it did not understand; a history is never judged by
//! the half that could be read.

mod csv;
mod edn;
mod jepsen;
mod jepsen_log;
mod json;
mod jsonl;
mod pairing;
mod room;
mod stream;

use std::io::{self, Read};

use crate::history::{History, Time};
use crate::{FailedCas, Options, Value};
pub(crate) use json::encode_base64;
pub(crate) use room::Room;
pub use stream::{StreamReport, check_stream};

/// Why a history could not be read. Nothing of it was judged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A line does not mean anything in this format.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1; 0 where no line is at fault.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There is more than may be held in memory. Nothing is known about the history.
    #[error("line {line}: the history needs more than the {bytes_max} bytes that it may")]
    Memory {
        /// The line that did not fit, counted from 1; 0 where it is not known.
        line: u64,
        /// [`crate::Budget::bytes`].
        bytes_max: usize,
    },
    /// The bytes could not be had.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ReadError {
    pub(crate) fn at(line: u64, reason: impl Into<String>) -> Self {
        ReadError::Line { line, reason: reason.into() }
    }
}

/// The forms of histories that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Our own: one JSON object a line.
    Jsonl,
    /// Jepsen's EDN.
    JepsenEdn,
    /// Jepsen's text logs.
    JepsenLog,
    /// Porcupine's key-value EDN.
    PorcupineKv,
    /// Comma-separated values with named columns.
    Csv,
}

impl Format {
    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::JepsenEdn => "jepsen-edn",
            Format::JepsenLog => "jepsen-log",
            Format::PorcupineKv => "porcupine-kv",
            Format::Csv => "csv",
        }
    }

    /// The format of that name; `auto` is none.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Format::Jsonl, Format::JepsenEdn, Format::JepsenLog, Format::PorcupineKv, Format::Csv];
        all.into_iter().find(|format| format.name() == name)
    }

    /// The format that the first bytes of a file suggest.
    pub fn recognise(begin: &[u8]) -> Option<Self> {
        let text = begin.trim_ascii_start();
        let contains = |wanted: &str| text.windows(wanted.len()).any(|window| window == wanted.as_bytes());
        match text.first()? {
            b'{' if text[1..].trim_ascii_start().starts_with(b"\"") => Some(Format::Jsonl),
            _ if contains(jepsen_log::MARK) => Some(Format::JepsenLog),
            b'{' | b'[' | b'(' | b';' | b'#' => {
                Some(if contains(":key") { Format::PorcupineKv } else { Format::JepsenEdn })
            }
            _ => {
                let first = text.split(|byte| *byte == b'\n').next()?;
                first.contains(&b',').then_some(Format::Csv)
            }
        }
    }

    /// What a failed compare-and-set tells in this form, unless the caller knows better.
    pub fn failed_cas(self) -> FailedCas {
        match self {
            Format::JepsenEdn => FailedCas::Never,
            Format::Jsonl | Format::JepsenLog | Format::PorcupineKv | Format::Csv => FailedCas::Mismatch,
        }
    }

    /// What keys hold at first in this form, unless the caller knows better.
    pub fn init(self) -> Value {
        match self {
            Format::PorcupineKv => Value::text(""),
            Format::Jsonl | Format::JepsenEdn | Format::JepsenLog | Format::Csv => Value::Absent,
        }
    }
}

/// A history and the form it came in.
#[derive(Debug)]
pub struct Recorded {
    /// What was recorded.
    pub history: History,
    /// In which form.
    pub format: Format,
}

impl Recorded {
    /// How to judge it unless the caller knows better: what keys hold at first, and what a failed compare-and-set tells,
    /// differ from form to form. The history alone does not say it.
    pub fn options(&self) -> Options {
        Options { init: self.format.init(), failed_cas: self.format.failed_cas(), ..Options::default() }
    }
}

/// Bytes that are looked at to recognise a format.
const RECOGNISED_BYTES: u64 = 64 << 10;

/// Reads a history. `format` and `columns` (for CSV) may be left to the content.
pub fn read(input: impl Read, format: Option<Format>, columns: Option<&str>) -> Result<Recorded, ReadError> {
    read_within(input, format, columns, &mut Room::endless())
}

/// The same, if it fits into the room.
pub(crate) fn read_within(
    mut input: impl Read,
    format: Option<Format>,
    columns: Option<&str>,
    room: &mut Room,
) -> Result<Recorded, ReadError> {
    let mut begin = Vec::new();
    input.by_ref().take(RECOGNISED_BYTES).read_to_end(&mut begin)?;
    let recognised = format.or_else(|| columns.map(|_| Format::Csv)).or_else(|| Format::recognise(&begin));
    let mut format = recognised.ok_or_else(|| ReadError::at(1, "this is no history in a form known here"))?;
    let mut input = io::Cursor::new(begin).chain(input);
    if format == Format::Jsonl {
        return Ok(Recorded { history: jsonl::read(input, room)?, format });
    }
    let bytes = read_whole(&mut input, room)?;
    let history = match format {
        Format::Jsonl => unreachable!("read above"),
        Format::JepsenEdn | Format::PorcupineKv => {
            let jepsen = jepsen::read(&bytes, room)?;
            format = if jepsen.has_keys { Format::PorcupineKv } else { Format::JepsenEdn };
            jepsen.history
        }
        Format::JepsenLog => jepsen_log::read(&bytes, room)?,
        Format::Csv => csv::read(&bytes, columns, room)?,
    };
    Ok(Recorded { history, format })
}

/// Reads a history in our own form, one JSON object a line.
pub fn read_jsonl(input: impl Read) -> Result<History, ReadError> {
    jsonl::read(input, &mut Room::endless())
}

/// The text of a form that is read whole.
fn read_whole(input: &mut impl Read, room: &mut Room) -> Result<Vec<u8>, ReadError> {
    const STEP_BYTES: u64 = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        let read = input.take(STEP_BYTES).read_to_end(&mut bytes)?;
        if read == 0 {
            return Ok(bytes);
        }
        room.take(read, 0)?;
    }
}

/// One line of a dump: time if it says one, replica, key, values.
pub(crate) fn json_dump_line(line: &[u8]) -> Result<(Option<Time>, String, String, Vec<Value>), String> {
    let (mut at, mut replica, mut key, mut values) = (None, None, None, Vec::new());
    let mut scanner = json::Scanner::new(line.trim_ascii());
    scanner.object(|scanner, name| {
        match name {
            b"at" => at = Some(scanner.integer()?),
            b"n" => replica = Some(scanner.value()?.to_string()),
            b"k" => key = Some(scanner.value()?),
            b"v" => values.push(scanner.value()?),
            b"vs" => match scanner.value()? {
                Value::List(items) => values.extend(items.iter().cloned()),
                _ => return Err("\"vs\" is a list".to_string()),
            },
            _ => scanner.skip_value()?,
        }
        Ok(())
    })?;
    scanner.end()?;
    let key = key.ok_or("\"k\" (the key) is missing")?;
    let key =
        key.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok().map(str::to_string)).unwrap_or(key.to_string());
    Ok((at, replica.ok_or("\"n\" (the replica) is missing")?, key, values))
}
