//! Names as people read them: `n4` is a node, `c1` a client, `0x1b2c` a seed; keys and values are text where they can be.
//!
//! Each submodule is for `#[serde(with = ...)]`. What does not read back as it was written is an error, never a guess.

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most bytes of one value in a file, written out or as a fill: twice what the store takes, since clients may ask for
/// too much.
pub const VALUE_BYTES_MAX: usize = 2 << 20;

/// A node, `n4`.
pub mod node {
    use super::{Deserializer, Serializer, numbered};
    use quorate_core::id::NodeId;

    /// As `n4`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(node: &NodeId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(node)
    }

    /// From `n4`.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NodeId, D::Error> {
        numbered(from, 'n').map(NodeId)
    }
}

/// Nodes, `["n1","n2"]`.
pub mod nodes {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use quorate_core::id::NodeId;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Name(#[serde(with = "super::node")] NodeId);

    /// As `["n1","n2"]`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(nodes: &[NodeId], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(nodes.iter().map(|&node| Name(node)))
    }

    /// From `["n1","n2"]`.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NodeId>, D::Error> {
        Ok(Vec::<Name>::deserialize(from)?.into_iter().map(|Name(node)| node).collect())
    }
}

/// A client, `c1`.
pub mod client {
    use super::{Deserializer, Serializer, numbered};

    /// As `c1`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(client: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("c{client}"))
    }

    /// From `c1`.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        numbered(from, 'c')
    }
}

/// A seed, `"0x1b2c"`: as text, since JSON readers round large numbers.
pub mod seed {
    use super::{Deserialize, Deserializer, Error, Serializer};

    /// As `"0x1b2c"`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(seed: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{seed:#x}"))
    }

    /// From `"0x1b2c"`.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("a seed is written 0x1b2c"))?;
        u64::from_str_radix(digits, 16).map_err(|_| D::Error::custom("a seed is written 0x1b2c"))
    }
}

/// A digest, `"q:9f3a…"`: 16 hex digits after the name of the fold.
pub mod digest {
    use super::{Deserialize, Deserializer, Error, Serializer};

    const PREFIX: &str = "q:";

    /// As `"q:9f3a0123456789ab"`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(digest: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{PREFIX}{digest:016x}"))
    }

    /// From `"q:9f3a0123456789ab"`.
    ///
    /// # Errors
    /// Anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 16);
        let digits = digits.ok_or_else(|| D::Error::custom("a digest is q: and 16 hex digits"))?;
        u64::from_str_radix(digits, 16).map_err(|_| D::Error::custom("a digest is q: and 16 hex digits"))
    }
}

fn numbered<'de, D: Deserializer<'de>>(from: D, prefix: char) -> Result<u32, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || D::Error::custom(format_args!("expected a name like {prefix}3, found {text:?}"));
    let digits = text.strip_prefix(prefix).ok_or_else(wrong)?;
    let canonical = digits == "0" || !digits.starts_with('0');
    if !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse().map_err(|_| wrong())
}

/// A key or a value: a string, `{"b64":".."}` where it is not text, `{"fill":7,"len":1048576}` where it is long and dull.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Blob(pub Bytes);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BlobText {
    Text(String),
    Base64 { b64: String },
    Fill { fill: u8, len: usize },
}

impl Blob {
    /// Of text.
    pub fn text(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=40 => write!(f, "{}", self.0.escape_ascii()),
            len => write!(f, "{}… ({len} bytes)", self.0.slice(..24).escape_ascii()),
        }
    }
}

/// Shorter ones are written out even if they repeat one byte.
const FILL_MIN: usize = 64;

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = &self.0;
        let fill = bytes.first().copied().filter(|first| bytes.len() >= FILL_MIN && bytes.iter().all(|b| b == first));
        match (fill, std::str::from_utf8(bytes)) {
            (Some(fill), _) => BlobText::Fill { fill, len: bytes.len() }.serialize(to),
            (None, Ok(text)) => to.serialize_str(text),
            (None, Err(_)) => BlobText::Base64 { b64: base64(bytes) }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = match BlobText::deserialize(from)? {
            BlobText::Text(text) => text.into_bytes(),
            BlobText::Base64 { b64 } => from_base64(&b64).ok_or_else(|| D::Error::custom("not base64"))?,
            BlobText::Fill { len, .. } if len > VALUE_BYTES_MAX => {
                return Err(D::Error::custom(format_args!("a value has at most {VALUE_BYTES_MAX} bytes")));
            }
            BlobText::Fill { fill, len } => vec![fill; len],
        };
        if bytes.len() > VALUE_BYTES_MAX {
            return Err(D::Error::custom(format_args!("a value has at most {VALUE_BYTES_MAX} bytes")));
        }
        Ok(Self(bytes.into()))
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = BASE64[(word >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// The bytes, if it is what [`base64`] writes.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.as_bytes().chunks(4) {
        let mut word = 0u32;
        for &digit in group {
            word = word << 6 | BASE64.iter().position(|&known| known == digit)? as u32;
        }
        word <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    (base64(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_read_back_as_they_were_written() {
        for bytes in [&b""[..], b"v7", b"\xff\x00\x01", b"\xff\x00", b"\xfe", &[7; 2_000], "é\"\n".as_bytes()] {
            let blob = Blob(Bytes::copy_from_slice(bytes));
            let text = serde_json::to_string(&blob).unwrap();
            assert_eq!(serde_json::from_str::<Blob>(&text).unwrap(), blob, "{text}");
        }
        assert_eq!(serde_json::to_string(&Blob(vec![7; 2_000].into())).unwrap(), r#"{"fill":7,"len":2000}"#);
    }

    #[test]
    fn names_that_are_not_canonical_are_refused() {
        for text in [r#""n01""#, r#""4""#, r#""c4""#, r#""n""#, r#""n99999999999""#, "4", r#""n+1""#] {
            let mut from = serde_json::Deserializer::from_str(text);
            assert!(node::deserialize(&mut from).is_err(), "{text}");
        }
        for text in [r#""AAA""#, r#"{"b64":"A"}"#, r#"{"b64":"AA=A"}"#, r#"{"fill":1,"len":99999999}"#] {
            let is_text = text.starts_with('"');
            assert_eq!(serde_json::from_str::<Blob>(text).is_ok(), is_text, "{text}");
        }
    }
}
