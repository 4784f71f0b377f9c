//! Readers: from bytes of a known or recognised format to a [`History`].
//!
//! A reader either understands a file wholly or says which line it did not understand; a history is never judged by
//! the half that could be read.

mod json;

mod jsonl;

use std::io::{self, Read};

use crate::history::History;
pub(crate) use json::encode_base64;

/// Why a history could not be read. Nothing of it was judged.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A line does not mean anything in this format.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
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

/// Reads a history in our own form, one JSON object a line.
pub fn read_jsonl(input: impl Read) -> Result<History, ReadError> {
    jsonl::read(input)
}
