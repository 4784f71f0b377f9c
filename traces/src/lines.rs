//! JSON lines, read with care: bounded, strict, and every error names the file and the line.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// The longest line of a trace.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;
/// The longest trace.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Why a trace could not be read or written. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file system said no.
    #[error("{}: {source}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too long to be a trace.
    #[error("{}: longer than {FILE_BYTES_MAX} bytes", file.display())]
    TooLong {
        /// Which file.
        file: PathBuf,
    },
    /// A line is not what it should be.
    #[error("{}: {error}", file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Which line, and what is wrong with it.
        error: LineError,
    },
}

/// One line as JSON, checked to be an object.
pub(crate) struct Line<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    pub(crate) fields: serde_json::Map<String, Value>,
}

impl Line<'_> {
    pub(crate) fn wrong(&self, problem: impl Into<String>) -> LineError {
        LineError { line: self.number, problem: problem.into() }
    }

    /// The line as one of our types. A field that the type does not know is an error, not a thing to overlook.
    pub(crate) fn parse<T: DeserializeOwned + Serialize>(&self) -> Result<T, LineError> {
        let parsed: T = serde_json::from_str(self.text).map_err(|error| self.wrong(plain(&error)))?;
        let known = serde_json::to_value(&parsed).expect("what was read can be written");
        match unknown(&Value::Object(self.fields.clone()), &known) {
            None => Ok(parsed),
            Some(field) => Err(self.wrong(format!("unknown field `{field}`"))),
        }
    }
}

/// The first field of `read` that `known` has not.
fn unknown(read: &Value, known: &Value) -> Option<String> {
    match (read, known) {
        (Value::Object(read), Value::Object(known)) => read.iter().find_map(|(name, value)| match known.get(name) {
            None if value.is_null() => None,
            // A default that was written out.
            None if *value == Value::Bool(false) => None,
            None => Some(name.clone()),
            Some(known) => unknown(value, known).map(|inner| format!("{name}.{inner}")),
        }),
        (Value::Array(read), Value::Array(known)) => {
            read.iter().zip(known).find_map(|(read, known)| unknown(read, known))
        }
        _ => None,
    }
}

/// The parser's words without its own line numbers, which always say 1.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => format!("{} (column {})", &text[..at], error.column()),
        None => text,
    }
}

/// The lines of a text that are not empty.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, LineError>> {
    text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(|(at, text)| {
        let number = at + 1;
        if text.len() > LINE_BYTES_MAX {
            return Err(LineError { line: number, problem: format!("longer than {LINE_BYTES_MAX} bytes") });
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Line { number, text, fields }),
            Ok(_) => Err(LineError { line: number, problem: "not a JSON object".into() }),
            Err(error) => Err(LineError { line: number, problem: plain(&error) }),
        }
    })
}

/// The text of a file that is not too long.
pub(crate) fn read_file(file: &std::path::Path) -> Result<String, TraceError> {
    let failed = |source| TraceError::File { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(TraceError::TooLong { file: file.to_owned() });
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// Appends a value as one line.
pub(crate) fn push_line<T: Serialize>(text: &mut String, value: &T) {
    text.push_str(&serde_json::to_string(value).expect("our types have string keys"));
    text.push('\n');
}
