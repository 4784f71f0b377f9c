//! Our own form: one JSON object a line.
//!
//! ```json
//! {"quorate_history":1,"model":"kv","clock":"us"}
//! {"p":"c1","f":"put","k":"reg/k3","v":"v7","inv":1620000,"ret":1640000,"r":"ok","ver":"9f3a.n1.7","level":"quorum"}
//! {"p":"c2","f":"cas","k":"reg/k3","from":"v7","to":"v8","inv":1650000,"ret":null,"r":"info"}
//! {"p":"c3","f":"get","k":"reg/k3","inv":1660000}
//! {"p":"c3","ret":1670000,"r":"ok","v":"v8"}
//! ```
//! A line with `inv` and one of `ret` and `r` is a whole operation; with `inv` alone it opens one, with no `inv` it
//! ends the one its client has open. `"ret":null` or an operation never ended is unknown, and so is `"r":"info"`. A
//! failed compare-and-set may say what it saw (`"seen"`). Unknown fields are ignored; a line of another kind is an
//! error unless its first field starts with `x-`.
//!
//! Large inputs are cut at line ends and scanned on several threads.

use std::io::{BufRead, ErrorKind, Read};

use rayon::prelude::*;

use super::ReadError;
use super::json::Scanner;
use super::room::Room;
use crate::Value;
use crate::history::{ClientId, Clock, History, KeyId, Kind, Level, NEVER, Names, Operation, Outcome, TIME_MIN, Time};
use crate::value::FastMap;

/// Scanned by one thread at a time, and small enough to lie in its cache.
const CHUNK_BYTES: usize = 256 << 10;
/// So many chunks are read by one thread before others are even started, and so many are given to each at a time.
const CHUNKS_EACH: usize = 4;
/// A little less than a line of ours usually has; what is reserved and not used costs nothing.
const LINE_BYTES_USUAL: usize = 48;
/// A line longer than this is refused: more than a 1 MiB value in base64 needs.
const LINE_BYTES_MAX: usize = 64 << 20;

/// One line, with the names of its chunk.
pub(crate) enum Item {
    Whole(Operation),
    Invoke(Operation),
    Return(Operation, Given),
    Clock(Clock),
}

/// Which fields a closing line carried; the others are those of its opening line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    value: bool,
    version: bool,
    seen: bool,
    level: bool,
}

/// The lines of one chunk.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) items: Vec<Item>,
    pub(crate) clients: Names,
    pub(crate) keys: Names,
    lines: u64,
    failed: Option<(u64, String)>,
}

/// Reads everything.
pub(crate) fn read(input: impl Read, room: &mut Room) -> Result<History, ReadError> {
    let mut history = History::new();
    let mut opened: FastMap<ClientId, u32> = FastMap::default();
    for_each_chunk(input, |chunk, first_line| {
        let clients: Vec<ClientId> =
            (0..chunk.clients.len()).map(|n| history.client(chunk.clients.name(n as u32))).collect();
        let keys: Vec<KeyId> = (0..chunk.keys.len()).map(|n| history.key(chunk.keys.name(n as u32))).collect();
        room.take_names(&history, first_line + 1)?;
        let place = |mut operation: Operation| {
            operation.client = clients[operation.client.0 as usize];
            operation.key = keys[operation.key.0 as usize];
            operation.line = operation.line.saturating_add(first_line as u32);
            operation
        };
        history.operations_mut().reserve(chunk.items.len());
        for item in chunk.items.drain(..) {
            match item {
                Item::Clock(clock) => history.set_clock(clock),
                Item::Whole(operation) => {
                    let operation = place(operation);
                    room.take_operation(&operation)?;
                    history.push(operation);
                }
                Item::Invoke(operation) => {
                    let operation = place(operation);
                    room.take_operation(&operation)?;
                    let (client, line) = (operation.client, u64::from(operation.line));
                    let id = history.push(operation.unknown());
                    if opened.insert(client, id).is_some() {
                        let name = history.client_name(client);
                        return Err(ReadError::at(line, format!("client {name} already has an operation open")));
                    }
                }
                Item::Return(operation, given) => {
                    let line = u64::from(operation.line) + first_line;
                    let client = clients[operation.client.0 as usize];
                    let Some(id) = opened.remove(&client) else {
                        let name = history.client_name(client);
                        return Err(ReadError::at(line, format!("client {name} has no operation open")));
                    };
                    room.take(operation.bytes_behind(), line)?;
                    let open = &mut history.operations_mut()[id as usize];
                    close(open, operation, given).map_err(|reason| ReadError::at(line, reason))?;
                }
            }
        }
        Ok(())
    })?;
    Ok(history)
}

/// Ends an open operation with what its closing line says.
pub(crate) fn close(open: &mut Operation, closing: Operation, given: Given) -> Result<(), String> {
    if closing.ret < open.invoke {
        return Err(format!("an operation ends at {} but was invoked at {}", closing.ret, open.invoke));
    }
    open.outcome = closing.outcome;
    open.ret = if closing.outcome == Outcome::Unknown { NEVER } else { closing.ret };
    if given.level {
        open.level = closing.level;
    }
    if given.version {
        open.set_version(closing.version().cloned());
    }
    if given.seen {
        open.set_seen(closing.seen().cloned());
    }
    // A read learns its value at the end; a write named it at the start.
    if given.value && matches!(open.kind, Kind::Read | Kind::Dequeue) {
        open.value = closing.value;
    } else if open.kind == Kind::Read && closing.outcome == Outcome::Ok && !given.value {
        return Err("a read ended ok without a value".to_string());
    }
    Ok(())
}

/// Calls `each` with the scanned chunks, in order, and the number of the lines before each.
pub(crate) fn for_each_chunk(
    mut input: impl Read,
    mut each: impl FnMut(&mut Chunk, u64) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    // Bytes and lines have their places for the whole file: fresh pages cost as much as scanning what is on them.
    let mut places: Vec<(Text, Chunk)> = Vec::new();
    let mut rest = Vec::new();
    let (mut lines, mut chunks) = (0, 0);
    let mut ended = false;
    while !ended {
        let mut filled = 0;
        let at_once = if chunks < CHUNKS_EACH { 1 } else { rayon::current_num_threads() * CHUNKS_EACH };
        while !ended && filled < at_once {
            if filled == places.len() {
                places.push(Default::default());
            }
            ended = places[filled].0.fill(&mut input, &mut rest)?;
            filled += 1;
        }
        chunks += filled;
        let filled = &mut places[..filled];
        if let [(text, chunk)] = filled {
            scan(text.bytes(), chunk);
        } else {
            filled.par_iter_mut().for_each(|(text, chunk)| scan(text.bytes(), chunk));
        }
        for (_, chunk) in filled {
            each(chunk, lines)?;
            if let Some((line, reason)) = chunk.failed.take() {
                return Err(ReadError::at(lines + line, reason));
            }
            lines += chunk.lines;
        }
    }
    Ok(())
}

/// Room for the bytes of one chunk, used again and again.
#[derive(Default)]
struct Text {
    room: Vec<u8>,
    filled: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    /// Takes in `rest` and the next bytes up to a line end, leaves what is behind that in `rest`, and tells whether the
    /// input has ended.
    fn fill(&mut self, input: &mut impl Read, rest: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.filled = 0;
        self.grow(rest.len() + CHUNK_BYTES);
        self.room[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        rest.clear();
        loop {
            let before = self.filled;
            while self.filled < self.room.len() {
                match input.read(&mut self.room[self.filled..]) {
                    Ok(0) => return Ok(true),
                    Ok(bytes) => self.filled += bytes,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(at) = self.room[before..].iter().rposition(|byte| *byte == b'\n') {
                self.filled = before + at + 1;
                rest.extend_from_slice(&self.room[self.filled..]);
                return Ok(false);
            }
            if self.filled > LINE_BYTES_MAX {
                return Err(ReadError::at(0, format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            self.grow(self.filled + CHUNK_BYTES);
        }
    }

    fn grow(&mut self, bytes: usize) {
        if self.room.is_empty() {
            // Pages of zeros that nobody touches are free.
            self.room = vec![0; bytes];
        } else if self.room.len() < bytes {
            self.room.resize(bytes, 0);
        }
    }
}

fn scan(mut text: &[u8], chunk: &mut Chunk) {
    (chunk.clients, chunk.keys, chunk.lines) = (Names::default(), Names::default(), 0);
    chunk.items.reserve(text.len() / LINE_BYTES_USUAL);
    let mut rest = text;
    while !rest.is_empty() {
        chunk.lines += 1;
        let line_bytes = rest.skip_until(b'\n').expect("memory can be read");
        let line = text[..line_bytes].trim_ascii_end();
        text = rest;
        if line.is_empty() {
            continue;
        }
        match scan_line(line, chunk) {
            Ok(Some(item)) => chunk.items.push(item),
            Ok(None) => {}
            Err(reason) => {
                chunk.failed = Some((chunk.lines, reason));
                return;
            }
        }
    }
}

#[derive(Default)]
struct Fields {
    client: Option<u32>,
    key: Option<u32>,
    kind: Option<Kind>,
    delete: bool,
    value: Option<Value>,
    expected: Option<Value>,
    seen: Option<Value>,
    version: Option<Value>,
    invoke: Option<Time>,
    ret: Option<Time>,
    outcome: Option<Outcome>,
    level: Level,
    clock: Option<Clock>,
    header: bool,
    foreign: bool,
}

fn scan_line(line: &[u8], chunk: &mut Chunk) -> Result<Option<Item>, String> {
    let mut fields = Fields::default();
    let mut scanner = Scanner::new(line);
    scanner.object(|scanner, name| field(scanner, name, &mut fields, chunk))?;
    scanner.end()?;
    if fields.header {
        return Ok(fields.clock.map(Item::Clock));
    }
    if fields.foreign {
        return Ok(None);
    }
    let client = ClientId(fields.client.ok_or("\"p\" (the client) is missing")?);
    let closing = fields.invoke.is_none();
    let kind = match fields.kind {
        Some(kind) => kind,
        None if closing => Kind::Read,
        None => return Err("\"f\" (what was called) is missing".to_string()),
    };
    let given = Given {
        value: fields.value.is_some(),
        version: fields.version.is_some(),
        seen: fields.seen.is_some(),
        level: fields.level != Level::Unspecified,
    };
    let key = match fields.key {
        Some(key) => key,
        // A closing line needs no key: it is that of its opening line.
        None if closing => 0,
        None => chunk.keys.number(""),
    };
    let whole = fields.ret.is_some() || fields.outcome.is_some();
    let ret = fields.ret.unwrap_or(NEVER);
    let outcome = match fields.outcome {
        Some(outcome) => outcome,
        None if ret < NEVER => Outcome::Ok,
        None => Outcome::Unknown,
    };
    if ret == NEVER && outcome == Outcome::Ok && whole {
        return Err("an operation is ok but has no \"ret\"".to_string());
    }
    if kind == Kind::Read && outcome == Outcome::Ok && fields.value.is_none() && whole && !closing {
        return Err("a read is ok but has no \"v\"".to_string());
    }
    if !matches!(kind, Kind::Read | Kind::Dequeue) && !fields.delete && fields.value.is_none() && !closing {
        return Err("the value written is missing".to_string());
    }
    let invoke = fields.invoke.unwrap_or(TIME_MIN);
    if invoke > ret || invoke < TIME_MIN {
        return Err(format!("an operation returns at {ret} but was invoked at {invoke}"));
    }
    let mut operation = Operation::new(client, KeyId(key), kind, fields.value.unwrap_or(Value::Absent), invoke, ret);
    operation.line = chunk.lines as u32;
    operation.level = fields.level;
    operation.outcome = outcome;
    if outcome == Outcome::Unknown {
        operation.ret = if closing { ret } else { NEVER };
    }
    match fields.expected {
        Some(expected) => operation.set_expected(expected),
        None if kind == Kind::Cas && !closing => return Err("\"from\" of a cas is missing".to_string()),
        None => {}
    }
    if fields.seen.is_some() {
        operation.set_seen(fields.seen);
    }
    if fields.version.is_some() {
        operation.set_version(fields.version);
    }
    Ok(Some(match (closing, whole) {
        (true, true) => Item::Return(operation, given),
        (true, false) => return Err("neither \"inv\" nor \"ret\" is given".to_string()),
        (false, true) => Item::Whole(operation),
        (false, false) => Item::Invoke(operation),
    }))
}

fn field(scanner: &mut Scanner<'_>, name: &[u8], fields: &mut Fields, chunk: &mut Chunk) -> Result<(), String> {
    match name {
        b"p" => fields.client = Some(name_of(scanner, &mut chunk.clients)?),
        b"k" => fields.key = Some(name_of(scanner, &mut chunk.keys)?),
        b"f" => {
            let called = scanner.string()?;
            fields.delete = matches!(&*called, b"del" | b"delete");
            fields.kind = Some(kind_of(&called).ok_or_else(|| format!("unknown \"f\": {}", called.escape_ascii()))?);
        }
        b"v" | b"to" => fields.value = Some(scanner.value()?),
        b"from" => fields.expected = Some(scanner.value()?),
        b"seen" => fields.seen = Some(scanner.value()?),
        b"ver" => fields.version = if scanner.is_null() { None } else { Some(scanner.value()?) },
        b"inv" => fields.invoke = Some(time(scanner)?),
        b"ret" => fields.ret = Some(if scanner.is_null() { NEVER } else { time(scanner)? }),
        b"r" => {
            fields.outcome = Some(match &*scanner.string()? {
                b"ok" => Outcome::Ok,
                b"fail" => Outcome::Fail,
                b"info" => Outcome::Unknown,
                other => return Err(format!("unknown \"r\": {}", other.escape_ascii())),
            });
        }
        b"level" => {
            let name = scanner.string()?;
            let level = std::str::from_utf8(&name).ok().and_then(Level::from_name);
            fields.level = level.ok_or_else(|| format!("unknown level: {}", name.escape_ascii()))?;
        }
        b"quorate_history" => {
            fields.header = true;
            match scanner.integer()? {
                1 => {}
                version => return Err(format!("history version {version} is not known here")),
            }
        }
        b"clock" => {
            let name = scanner.string()?;
            let clock = std::str::from_utf8(&name).ok().and_then(Clock::from_name);
            fields.clock = Some(clock.ok_or_else(|| format!("unknown clock: {}", name.escape_ascii()))?);
        }
        _ => {
            fields.foreign |= name.starts_with(b"x-");
            scanner.skip_value()?;
        }
    }
    Ok(())
}

/// The call of that name.
pub(crate) fn kind_of(name: &[u8]) -> Option<Kind> {
    Some(match name {
        b"get" | b"read" => Kind::Read,
        b"put" | b"write" | b"del" | b"delete" | b"set" => Kind::Write,
        b"cas" => Kind::Cas,
        b"append" => Kind::Append,
        b"add" | b"inc" => Kind::Add,
        b"remove" => Kind::Remove,
        b"enqueue" => Kind::Enqueue,
        b"dequeue" => Kind::Dequeue,
        _ => return None,
    })
}

fn time(scanner: &mut Scanner<'_>) -> Result<Time, String> {
    let time = scanner.integer()?;
    if (TIME_MIN..NEVER).contains(&time) { Ok(time) } else { Err(format!("time {time} is out of range")) }
}

/// A client or key: text, or a number.
fn name_of(scanner: &mut Scanner<'_>, names: &mut Names) -> Result<u32, String> {
    if scanner.is_string() {
        let name = scanner.string()?;
        if let Some(number) = names.known(&name) {
            return Ok(number);
        }
        return match std::str::from_utf8(&name) {
            Ok(name) => Ok(names.number(name)),
            Err(_) => Err("a client or key is not UTF-8".to_string()),
        };
    }
    match scanner.value()? {
        Value::Int(number) => Ok(names.number(&number.to_string())),
        value => match value.as_bytes().map(|bytes| std::str::from_utf8(bytes)) {
            Some(Ok(text)) => Ok(names.number(text)),
            Some(Err(_)) => Ok(names.number(&value.to_string())),
            None => Err("a client or key is a text or a number".to_string()),
        },
    }
}
