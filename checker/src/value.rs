//! Values as histories show them: compared for equality, never interpreted.
//!
//! Sixteen bytes each, so that ten million operations fit in memory: integers and texts up to fourteen bytes lie
//! inside the value, longer ones behind a shared pointer. Null, `0` and `""` are three different values, and so are
//! the number `1` and the text `"1"`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

const SHORT_BYTES_MAX: usize = 14;

/// A text of at most fourteen bytes, held in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Short {
    len: u8,
    bytes: [u8; SHORT_BYTES_MAX],
}

impl Short {
    /// The text held in place, if it is short enough.
    #[inline]
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        let mut short = Short { len: text.len() as u8, bytes: [0; SHORT_BYTES_MAX] };
        short.bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(short)
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What an operation wrote, read, expected or saw.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Nothing is stored: a miss, a tombstone, null.
    Absent,
    /// A read that did not say what it saw; it constrains nothing.
    Any,
    /// A number.
    Int(i64),
    /// A text or byte string of at most fourteen bytes.
    Short(Short),
    /// A longer text or byte string.
    Long(Arc<Vec<u8>>),
    /// `len` times the same byte: large values that recorders write in short form.
    Fill {
        /// The repeated byte.
        byte: u8,
        /// How often, in bytes.
        len: u32,
    },
    /// A token of the source format that is neither text nor integer (`true`, `1.5`, `:keyword`).
    Token(Arc<String>),
    /// A collection: the elements of a set read, a tuple.
    List(Arc<Vec<Value>>),
}

impl Value {
    /// A text or byte string.
    pub fn bytes(bytes: &[u8]) -> Self {
        match Short::new(bytes) {
            Some(short) => Value::Short(short),
            None => Value::Long(Arc::new(bytes.to_vec())),
        }
    }

    /// A text.
    pub fn text(text: &str) -> Self {
        Self::bytes(text.as_bytes())
    }

    /// The bytes, where the value is a text or byte string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Short(short) => Some(short.as_bytes()),
            Value::Long(long) => Some(long),
            Value::Absent | Value::Any | Value::Int(_) | Value::Fill { .. } | Value::Token(_) | Value::List(_) => None,
        }
    }

    fn is_same_rare(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Absent, Value::Absent) | (Value::Any, Value::Any) => true,
            (Value::Int(one), Value::Int(other)) => one == other,
            (Value::Short(one), Value::Short(other)) => one == other,
            (Value::Long(one), Value::Long(other)) => one == other,
            (Value::Fill { byte, len }, Value::Fill { byte: other_byte, len: other_len }) => {
                byte == other_byte && len == other_len
            }
            (Value::Token(one), Value::Token(other)) => one == other,
            (Value::List(one), Value::List(other)) => one == other,
            _ => false,
        }
    }

    /// What lies behind its pointer, about.
    #[inline]
    pub(crate) fn bytes_behind(&self) -> usize {
        // Two counters, the length and the place of what follows, and what the allocator adds to both parts.
        const SHARED_BYTES: usize = 64;
        match self {
            Value::Absent | Value::Any | Value::Int(_) | Value::Short(_) | Value::Fill { .. } => 0,
            Value::Long(long) => SHARED_BYTES + long.len(),
            Value::Token(token) => SHARED_BYTES + token.len(),
            Value::List(items) => {
                SHARED_BYTES + items.iter().map(|item| size_of::<Value>() + item.bytes_behind()).sum::<usize>()
            }
        }
    }

    /// Is nothing stored?
    pub fn is_absent(&self) -> bool {
        matches!(self, Value::Absent)
    }
}

/// The common variants at once: comparing values is the hot path of every judge, as is hashing them.
impl PartialEq for Value {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Short(one), Value::Short(other)) => one == other,
            (Value::Int(one), Value::Int(other)) => one == other,
            (one, other) => one.is_same_rare(other),
        }
    }
}

/// Two words for the common variants.
impl Hash for Value {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Value::Absent => state.write_u64(1),
            Value::Any => state.write_u64(2),
            Value::Int(number) => state.write_u64(*number as u64),
            Value::Short(short) => short.hash(state),
            Value::Long(long) => state.write(long),
            Value::Fill { byte, len } => state.write_u64(u64::from(*byte) << 32 | u64::from(*len)),
            Value::Token(token) => state.write(token.as_bytes()),
            Value::List(items) => items.hash(state),
        }
    }
}

impl Hash for Short {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut words = [0; 16];
        words[..SHORT_BYTES_MAX].copy_from_slice(&self.bytes);
        words[15] = self.len;
        let words = u128::from_le_bytes(words);
        state.write_u64(words as u64);
        state.write_u64((words >> 64) as u64);
    }
}

/// Folded multiplication: a few cycles a word, good enough for tables that hold what a recorder wrote.
#[derive(Clone, Copy, Default)]
pub(crate) struct Folded(u64);

/// A map keyed by values or small numbers.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Folded>>;
/// A set of values or small numbers.
pub(crate) type FastSet<K> = HashSet<K, BuildHasherDefault<Folded>>;

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        const K: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0.rotate_left(23) ^ word ^ 0xa076_1d64_78bd_642f) * K;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::bytes(bytes)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

/// Readable and bounded: long texts are cut, bytes that are not text are shown in hex.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_BYTES_MAX: usize = 32;
        match self {
            Value::Absent => f.write_str("absent"),
            Value::Any => f.write_str("?"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Fill { byte, len } => write!(f, "{len} x {byte:#04x}"),
            Value::Token(token) => f.write_str(token),
            Value::Short(_) | Value::Long(_) => {
                let bytes = self.as_bytes().expect("both variants are byte strings");
                let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
                match std::str::from_utf8(bytes) {
                    Ok("") => f.write_str("\"\"")?,
                    Ok(_) => f.write_str(&String::from_utf8_lossy(shown).replace(['\n', '\r', '\t'], " "))?,
                    Err(_) => shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?,
                }
                if shown.len() < bytes.len() { write!(f, "…({} bytes)", bytes.len()) } else { Ok(()) }
            }
            Value::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().take(SHOWN_BYTES_MAX).enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { " " })?;
                }
                f.write_str(if items.len() > SHOWN_BYTES_MAX { " …]" } else { "]" })
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_zero_and_the_empty_text_are_three_values() {
        let all = [Value::Absent, Value::Int(0), Value::text(""), Value::text("0"), Value::Any];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a == b, i == j, "{a} {b}");
            }
        }
        assert_eq!(std::mem::size_of::<Value>(), 16);
    }

    #[test]
    fn a_text_is_the_same_value_however_it_was_built() {
        for text in ["", "fourteen bytes", "fifteen bytes !", "a much longer text than fits in place"] {
            assert_eq!(Value::text(text), Value::bytes(text.as_bytes()));
            assert_eq!(Value::text(text).as_bytes(), Some(text.as_bytes()));
        }
    }
}
