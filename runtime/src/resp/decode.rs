//! Requests out of bytes: arrays of bulk strings, and inline commands for whoever types by hand.
//!
//! A request grows in the connection's read buffer until its last byte is there. The decoder keeps its place between
//! reads, so no byte is looked at twice beyond the 32 of a length line, and remembers where each argument lies, so
//! nothing is copied to decode it. There is no recursion: a request is one array of strings and nothing deeper.
//!
//! Every length is checked against [`Bounds`] when it is declared, before anything is set aside for it.
//!
//! Whoever speaks HTTP or TLS to this port is told so ([`Malformed::Http`], [`Malformed::Tls`]); nothing that follows
//! is read as a command.

use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// How much a request may be. Smaller for a client that has not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a whole request, lengths and line ends included.
    pub frame_bytes_max: usize,
    /// Arguments, the command's name included.
    pub args_max: usize,
}

/// How far the request at the front of the buffer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed: so many in all, counted from the request's first, as far as is known.
    Incomplete {
        /// At least this many.
        bytes_needed: usize,
    },
    /// It is all there.
    Complete {
        /// Its length.
        frame_bytes: usize,
    },
}

/// Bytes that are no request. Nothing of them was executed; the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The count after `*` is not a number, or its line does not end.
    Count,
    /// More arguments than allowed.
    TooManyArgs {
        /// How many are.
        args_max: usize,
    },
    /// Something else stands where an argument's `$` should.
    NotABulk {
        /// What.
        found: u8,
    },
    /// The length after `$` is not a number, or negative, or its line does not end.
    Length,
    /// The request is longer than allowed.
    FrameTooLong {
        /// How long it may be.
        bytes_max: usize,
    },
    /// An argument is not followed by CR LF.
    BulkEnd,
    /// An inline command whose quotes do not close, or are followed by something other than a space.
    Quotes,
    /// The first byte begins neither a request nor text.
    Binary {
        /// The byte.
        first: u8,
    },
    /// An HTTP request.
    Http,
    /// A TLS handshake.
    Tls,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("Protocol error: invalid multibulk length"),
            Self::TooManyArgs { args_max } => {
                write!(f, "Protocol error: invalid multibulk length, at most {args_max} arguments are taken here")
            }
            Self::NotABulk { found } => write!(f, "Protocol error: expected '$', got '{}'", found.escape_ascii()),
            Self::Length => f.write_str("Protocol error: invalid bulk length"),
            Self::FrameTooLong { bytes_max } => {
                write!(f, "Protocol error: request too long, at most {bytes_max} bytes are taken here")
            }
            Self::BulkEnd => f.write_str("Protocol error: an argument does not end with CR LF"),
            Self::Quotes => f.write_str("Protocol error: unbalanced quotes in request"),
            Self::Binary { first } => write!(f, "Protocol error: byte 0x{first:02x} begins no request"),
            Self::Http => f.write_str("this port speaks the Redis protocol, not HTTP; nothing was executed"),
            Self::Tls => f.write_str("this port speaks plain text, not TLS; nothing was executed"),
        }
    }
}
impl std::error::Error for Malformed {}

/// The longest length line, CR LF included: a sign and 19 digits would fit in 24.
const LENGTH_LINE_BYTES_MAX: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// At a request's first byte.
    #[default]
    Start,
    /// At the length line of one of so many arguments.
    Length { args_left: usize },
    /// In an argument of so many bytes; so many arguments come after it.
    Bulk { bytes: usize, args_left: usize },
    /// In an inline command.
    Inline,
    /// The request is complete and has not been taken yet.
    Complete,
}

/// The decoder of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    stage: Stage,
    /// The next byte to look at, counted from the request's first.
    at: usize,
    /// Where the arguments lie: in the request's bytes, or in `inline`.
    args: Vec<Range<u32>>,
    is_inline: bool,
    /// The arguments of an inline command, quotes and escapes resolved.
    inline: Vec<u8>,
}

impl Decoder {
    /// Looks at what has come since the last call. `input` begins with the request's first byte.
    ///
    /// # Errors
    /// [`Malformed`]: the connection cannot go on.
    pub fn step(&mut self, input: &[u8], bounds: Bounds) -> Result<Progress, Malformed> {
        loop {
            match self.stage {
                Stage::Start => {
                    let Some(&first) = input.first() else { return Ok(Progress::Incomplete { bytes_needed: 1 }) };
                    self.start(first)?;
                    if first == b'*' {
                        let Some((count, next)) = length_line(input, 1).map_err(|()| Malformed::Count)? else {
                            return Ok(Progress::Incomplete { bytes_needed: input.len() + 1 });
                        };
                        // Redis takes an empty or null array for nothing at all.
                        let count = usize::try_from(count).unwrap_or(0);
                        if count > bounds.args_max {
                            return Err(Malformed::TooManyArgs { args_max: bounds.args_max });
                        }
                        self.at = next;
                        self.stage = Stage::Length { args_left: count };
                    }
                }
                Stage::Length { args_left: 0 } => self.stage = Stage::Complete,
                Stage::Length { args_left } => {
                    let Some(&mark) = input.get(self.at) else {
                        return Ok(Progress::Incomplete { bytes_needed: self.at + 1 });
                    };
                    if mark != b'$' {
                        return Err(Malformed::NotABulk { found: mark });
                    }
                    let Some((bytes, next)) = length_line(input, self.at + 1).map_err(|()| Malformed::Length)? else {
                        return Ok(Progress::Incomplete { bytes_needed: input.len() + 1 });
                    };
                    let bytes = usize::try_from(bytes).map_err(|_| Malformed::Length)?;
                    let end = next.saturating_add(bytes).saturating_add(2);
                    if end > bounds.frame_bytes_max {
                        return Err(Malformed::FrameTooLong { bytes_max: bounds.frame_bytes_max });
                    }
                    self.at = next;
                    self.stage = Stage::Bulk { bytes, args_left: args_left - 1 };
                }
                Stage::Bulk { bytes, args_left } => {
                    let end = self.at + bytes;
                    if input.len() < end + 2 {
                        return Ok(Progress::Incomplete { bytes_needed: end + 2 });
                    }
                    if input[end..end + 2] != *b"\r\n" {
                        return Err(Malformed::BulkEnd);
                    }
                    self.args.push(self.at as u32..end as u32);
                    self.at = end + 2;
                    self.stage = Stage::Length { args_left };
                }
                Stage::Inline => {
                    if !self.inline_line(input, bounds)? {
                        return Ok(Progress::Incomplete { bytes_needed: input.len() + 1 });
                    }
                    self.stage = Stage::Complete;
                }
                Stage::Complete => return Ok(Progress::Complete { frame_bytes: self.at }),
            }
        }
    }

    /// Whether a request has begun that is not complete.
    pub fn is_within_request(&self) -> bool {
        self.stage != Stage::Start && self.stage != Stage::Complete
    }

    /// The complete request. `frame` is its bytes, still in the read buffer.
    pub fn request<'a>(&'a self, frame: &'a [u8]) -> Request<'a> {
        assert!(self.stage == Stage::Complete);
        let bytes = if self.is_inline { &self.inline } else { frame };
        Request { bytes, shared: None, args: &self.args }
    }

    /// The complete request, taken out of a read buffer of `buffer_bytes`, which lives as long as any part of `frame`.
    pub fn shared_request<'a>(&'a self, frame: &'a Bytes, buffer_bytes: usize) -> Request<'a> {
        let request = self.request(frame);
        let slice_bytes_min = buffer_bytes.div_ceil(SLICE_SHARE);
        let shared = (!self.is_inline).then_some(Shared { frame, slice_bytes_min });
        Request { shared, ..request }
    }

    /// Forgets the complete request: the next byte begins another.
    pub fn take(&mut self) {
        assert!(self.stage == Stage::Complete);
        self.args.clear();
        self.inline.clear();
        self.at = 0;
        self.is_inline = false;
        self.stage = Stage::Start;
    }

    fn start(&mut self, first: u8) -> Result<(), Malformed> {
        self.is_inline = first != b'*';
        match first {
            b'*' => Ok(()),
            // The content type of a TLS handshake record.
            0x16 => Err(Malformed::Tls),
            b'\t' | b'\r' | b'\n' | b' '..=b'~' => {
                self.stage = Stage::Inline;
                Ok(())
            }
            first => Err(Malformed::Binary { first }),
        }
    }

    /// Looks for the end of the line and splits it; false when it has not come yet.
    fn inline_line(&mut self, input: &[u8], bounds: Bounds) -> Result<bool, Malformed> {
        let too_long = Malformed::FrameTooLong { bytes_max: bounds.frame_bytes_max.min(INLINE_BYTES_MAX) };
        let bytes_max = bounds.frame_bytes_max.min(INLINE_BYTES_MAX);
        let Some(found) = memchr::memchr(b'\n', &input[self.at..]) else {
            self.at = input.len();
            return if input.len() >= bytes_max { Err(too_long) } else { Ok(false) };
        };
        let end = self.at + found;
        if end >= bytes_max {
            return Err(too_long);
        }
        self.at = end + 1;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        if is_http(line) {
            return Err(Malformed::Http);
        }
        self.split(line, bounds)?;
        Ok(true)
    }

    /// Splits a line into words as Redis does: spaces separate, quotes join, `\n \r \t \b \a \xHH` escape within double
    /// quotes.
    fn split(&mut self, line: &[u8], bounds: Bounds) -> Result<(), Malformed> {
        let mut rest = line.trim_ascii_start();
        while !rest.is_empty() {
            if self.args.len() == bounds.args_max {
                return Err(Malformed::TooManyArgs { args_max: bounds.args_max });
            }
            let start = self.inline.len() as u32;
            rest = word(rest, &mut self.inline)?.trim_ascii_start();
            self.args.push(start..self.inline.len() as u32);
        }
        Ok(())
    }
}

/// The longest inline command.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Whether a line begins an HTTP request, or is a header of one.
fn is_http(line: &[u8]) -> bool {
    let starts = |prefix: &[u8]| line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let last = line.rsplit(|&byte| byte == b' ').next().unwrap_or(line);
    starts(b"POST ") || starts(b"Host:") || (last.starts_with(b"HTTP/") && last.len() < line.len())
}

/// Reads a decimal number and CR LF from `at` on; `None` when the line has not ended yet.
fn length_line(input: &[u8], at: usize) -> Result<Option<(i64, usize)>, ()> {
    let line = &input[at..input.len().min(at + LENGTH_LINE_BYTES_MAX)];
    let (is_negative, digits) = match line.split_first() {
        Some((b'-', digits)) => (true, digits),
        Some(_) | None => (false, line),
    };
    let mut value = 0i64;
    for (index, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let digit = i64::from(byte - b'0');
                value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(())?;
            }
            b'\r' if index > 0 => {
                let next = at + usize::from(is_negative) + index + 1;
                return match input.get(next) {
                    Some(b'\n') => Ok(Some((if is_negative { -value } else { value }, next + 1))),
                    Some(_) => Err(()),
                    None => Ok(None),
                };
            }
            _ => return Err(()),
        }
    }
    if line.len() == LENGTH_LINE_BYTES_MAX { Err(()) } else { Ok(None) }
}

/// Appends the first word of `line` to `out` and returns what follows it.
fn word<'a>(line: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return ended(double_quoted(after, out)?),
            b'\'' => return ended(single_quoted(after, out)?),
            byte if byte.is_ascii_whitespace() => break,
            byte => out.push(byte),
        }
        rest = after;
    }
    Ok(rest)
}

/// A closing quote ends its word.
fn ended(rest: &[u8]) -> Result<&[u8], Malformed> {
    match rest.first() {
        Some(byte) if !byte.is_ascii_whitespace() => Err(Malformed::Quotes),
        Some(_) | None => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    loop {
        if let Some((byte, after)) = hex_escape(rest) {
            out.push(byte);
            rest = after;
            continue;
        }
        match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', escaped, after @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
            [] => return Err(Malformed::Quotes),
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    loop {
        match rest {
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                out.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
            [] => return Err(Malformed::Quotes),
        }
    }
}

/// `\xHH` at the front, and what follows it.
fn hex_escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, after @ ..] = rest else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some(((digit(*high)? << 4 | digit(*low)?) as u8, after))
}

/// One complete request: its arguments, to look at or to keep.
///
/// What is kept is copied out when it is less than a quarter of the read buffer that it would keep alive, and is a slice
/// of the buffer otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    bytes: &'a [u8],
    shared: Option<Shared<'a>>,
    args: &'a [Range<u32>],
}

#[derive(Clone, Copy, Debug)]
struct Shared<'a> {
    frame: &'a Bytes,
    slice_bytes_min: usize,
}

/// One part in so many of a read buffer may keep the whole alive.
pub(super) const SLICE_SHARE: usize = 4;

impl<'a> Request<'a> {
    /// How many arguments, the command's name included. None at all for an empty line.
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Bytes of the whole request.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// An argument, to look at.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.range(index)]
    }

    /// An argument that may be missing.
    pub fn arg_if(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.arg(index))
    }

    /// An argument, to keep.
    pub fn own(&self, index: usize) -> Bytes {
        let range = self.range(index);
        match self.shared {
            Some(shared) if range.len() >= shared.slice_bytes_min => shared.frame.slice(range),
            Some(_) | None => Bytes::copy_from_slice(&self.bytes[range]),
        }
    }

    /// Two arguments that follow one another, to keep: one piece of memory for both.
    pub fn own_two(&self, first: usize) -> (Bytes, Bytes) {
        if self.shared.is_some() {
            return (self.own(first), self.own(first + 1));
        }
        let (one, two) = (self.range(first), self.range(first + 1));
        // The few bytes of framing between them are copied along: cheaper than another allocation.
        let both = Bytes::copy_from_slice(&self.bytes[one.start..two.end]);
        (both.slice(..one.len()), both.slice(two.start - one.start..))
    }

    fn range(&self, index: usize) -> Range<usize> {
        let Range { start, end } = self.args[index];
        start as usize..end as usize
    }
}

#[cfg(test)]
mod tests;
