//! Comma-separated values with named columns, one operation a row.
//!
//! The names come from the caller or from the first row: `client` (or `process`, `p`), `op` (`f`), `key` (`k`),
//! `value` (`v`, `to`), `from` (`expected`), `seen`, `invoke` (`start`, `inv`), `return` (`end`, `ret`), `result`
//! (`r`), `version` (`ver`), `level`; `-` passes a column over. An empty field is absent, a quoted empty one the empty
//! text, a number a number unless it is quoted. An empty `return` means that the operation never ended; without a
//! `result` column what has ended is ok.

use super::ReadError;
use super::jsonl::kind_of;
use super::room::Room;
use crate::Value;
use crate::history::{Clock, History, Kind, Level, NEVER, Operation, Outcome, TIME_MIN, Time};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Client,
    Called,
    Key,
    Value,
    Expected,
    Seen,
    Invoke,
    Return,
    Result,
    Version,
    Level,
    Skip,
}

fn column(name: &str) -> Option<Column> {
    Some(match name.trim().to_ascii_lowercase().as_str() {
        "client" | "process" | "p" => Column::Client,
        "op" | "operation" | "f" => Column::Called,
        "key" | "k" => Column::Key,
        "value" | "v" | "to" => Column::Value,
        "from" | "expected" => Column::Expected,
        "seen" => Column::Seen,
        "invoke" | "start" | "inv" => Column::Invoke,
        "return" | "end" | "ret" => Column::Return,
        "result" | "outcome" | "r" => Column::Result,
        "version" | "ver" => Column::Version,
        "level" => Column::Level,
        "-" | "" => Column::Skip,
        _ => return None,
    })
}

pub(crate) fn read(bytes: &[u8], columns: Option<&str>, room: &mut Room) -> Result<History, ReadError> {
    let mut rows = Rows { bytes, at: 0, line: 1 };
    let (names, named_at) = match columns {
        Some(columns) => (columns.split(',').map(|name| name.trim().to_string()).collect(), 0),
        None => {
            let header = rows.next_row()?.ok_or_else(|| ReadError::at(1, "the file is empty"))?;
            (header.into_iter().map(|field| field.text).collect::<Vec<String>>(), 1)
        }
    };
    let columns = names
        .iter()
        .map(|name| column(name).ok_or_else(|| ReadError::at(named_at, format!("unknown column \"{name}\""))));
    let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
    for (needed, name) in [(Column::Called, "op"), (Column::Invoke, "invoke"), (Column::Return, "return")] {
        if !columns.contains(&needed) {
            return Err(ReadError::at(named_at, format!("there is no column \"{name}\"")));
        }
    }
    let mut history = History::new();
    history.set_clock(Clock::Ticks);
    loop {
        let line = rows.line;
        let Some(fields) = rows.next_row()? else { return Ok(history) };
        if fields.iter().all(|field| field.text.is_empty() && !field.quoted) {
            continue;
        }
        let mut operation = row(&mut history, &columns, &fields).map_err(|reason| ReadError::at(line, reason))?;
        operation.line = line as u32;
        room.take_operation(&operation)?;
        room.take_names(&history, line)?;
        history.push(operation);
    }
}

fn row(history: &mut History, columns: &[Column], fields: &[Field]) -> Result<Operation, String> {
    if fields.len() != columns.len() {
        return Err(format!("{} fields where {} columns are named", fields.len(), columns.len()));
    }
    let field = |wanted: Column| columns.iter().position(|column| *column == wanted).map(|at| &fields[at]);
    let text = |wanted: Column| field(wanted).map_or("", |field| field.text.as_str());
    let value = |wanted: Column| field(wanted).map_or(Value::Absent, Field::value);
    let time = |wanted: Column| -> Result<Option<Time>, String> {
        match text(wanted).trim() {
            "" => Ok(None),
            text => match text.parse::<Time>() {
                Ok(time) if (TIME_MIN..NEVER).contains(&time) => Ok(Some(time)),
                _ => Err(format!("\"{text}\" is no time")),
            },
        }
    };
    let called = text(Column::Called).trim().to_ascii_lowercase();
    let kind = kind_of(called.as_bytes()).ok_or_else(|| format!("unknown operation \"{called}\""))?;
    let invoke = time(Column::Invoke)?.ok_or("the time of invocation is missing")?;
    let ret = time(Column::Return)?;
    if ret.is_some_and(|ret| ret < invoke) {
        return Err("an operation returns before it was invoked".to_string());
    }
    let outcome = match text(Column::Result).trim() {
        "" if ret.is_some() => Outcome::Ok,
        "" | "info" | "unknown" | "timeout" => Outcome::Unknown,
        "ok" => Outcome::Ok,
        "fail" => Outcome::Fail,
        other => return Err(format!("unknown result \"{other}\"")),
    };
    if outcome == Outcome::Ok && ret.is_none() {
        return Err("an operation is ok but has no time of return".to_string());
    }
    let (client, key) = (history.client(text(Column::Client)), history.key(text(Column::Key)));
    let mut operation = Operation::new(client, key, kind, value(Column::Value), invoke, ret.unwrap_or(NEVER));
    operation.outcome = outcome;
    if outcome == Outcome::Unknown {
        operation.ret = NEVER;
    }
    if kind == Kind::Cas {
        operation.set_expected(value(Column::Expected));
    }
    if field(Column::Seen).is_some_and(|field| field.quoted || !field.text.is_empty()) {
        operation.set_seen(Some(value(Column::Seen)));
    }
    if !text(Column::Version).is_empty() {
        operation.set_version(Some(value(Column::Version)));
    }
    let level = text(Column::Level).trim();
    operation.level = Level::from_name(level).ok_or_else(|| format!("unknown level \"{level}\""))?;
    Ok(operation)
}

struct Field {
    text: String,
    quoted: bool,
}

impl Field {
    fn value(&self) -> Value {
        match self.text.parse() {
            _ if self.quoted => Value::text(&self.text),
            Ok(number) => Value::Int(number),
            Err(_) if self.text.is_empty() => Value::Absent,
            Err(_) => Value::text(&self.text),
        }
    }
}

struct Rows<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Rows<'_> {
    fn next_row(&mut self) -> Result<Option<Vec<Field>>, ReadError> {
        if self.at >= self.bytes.len() {
            return Ok(None);
        }
        let begin = self.line;
        let mut fields = Vec::new();
        loop {
            let (field, last) = self.field().map_err(|reason| ReadError::at(begin, reason))?;
            fields.push(field);
            if last {
                return Ok(Some(fields));
            }
        }
    }

    /// One field, and whether it ends its row.
    fn field(&mut self) -> Result<(Field, bool), String> {
        let mut bytes = Vec::new();
        let quoted = self.bytes.get(self.at) == Some(&b'"');
        if quoted {
            self.at += 1;
            loop {
                let byte = *self.bytes.get(self.at).ok_or("a quoted field is not closed")?;
                self.at += 1;
                match byte {
                    b'"' if self.bytes.get(self.at) == Some(&b'"') => {
                        bytes.push(b'"');
                        self.at += 1;
                    }
                    b'"' => break,
                    byte => {
                        self.line += u64::from(byte == b'\n');
                        bytes.push(byte);
                    }
                }
            }
        }
        loop {
            let byte = self.bytes.get(self.at).copied();
            self.at += 1;
            let last = match byte {
                Some(b',') => false,
                Some(b'\r') => continue,
                Some(b'\n') | None => true,
                Some(_) if quoted => return Err("something follows a quoted field".to_string()),
                Some(byte) => {
                    bytes.push(byte);
                    continue;
                }
            };
            self.line += u64::from(last);
            let text = String::from_utf8(bytes).map_err(|_| "a field is not UTF-8".to_string())?;
            return Ok((Field { text, quoted }, last));
        }
    }
}
