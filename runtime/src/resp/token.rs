//! `CTX` tokens: a version as text that clients pass back without looking inside.
//!
//! `q1`, then 28 bytes of version and 4 of checksum in hexadecimal. The checksum is no secret; it is there so that a
//! token cut short, mistyped or made of something else is refused instead of understood.

use quorate_core::id::{Incarnation, NodeId};
use quorate_core::version::{Actor, Dot, Hlc, Version};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

const PREFIX: &[u8; 2] = b"q1";
const VERSION_BYTES: usize = 28;
const BYTES: usize = VERSION_BYTES + 4;
/// How long a token is.
const TEXT_BYTES: usize = PREFIX.len() + 2 * BYTES;

/// The text is no token that a reply carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAToken;

impl fmt::Display for NotAToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CTX is not a token that a reply carried; pass back what Q.GET META or Q.PUT returned")
    }
}
impl std::error::Error for NotAToken {}

/// The token of a version.
pub fn encode(version: Version) -> String {
    let Version { hlc, dot: Dot { actor: Actor { node, incarnation }, sequence } } = version;
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend(hlc.as_ticks().to_be_bytes());
    bytes.extend(node.0.to_be_bytes());
    bytes.extend(incarnation.0.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(checksum(&bytes));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex = digits.map(|digit| char::from_digit(u32::from(digit), 16).expect("a digit is below 16"));
    std::str::from_utf8(PREFIX).expect("the prefix is ASCII").chars().chain(hex).collect()
}

/// The version of a token.
///
/// # Errors
/// [`NotAToken`] unless [`encode`] made the text.
pub fn decode(text: &[u8]) -> Result<Version, NotAToken> {
    if text.len() != TEXT_BYTES {
        return Err(NotAToken);
    }
    let hex = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    let (version, sum) = bytes.split_at(VERSION_BYTES);
    if sum != checksum(version) {
        return Err(NotAToken);
    }
    let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| version[at + index]));
    let node = u32::from_be_bytes(std::array::from_fn(|index| version[8 + index]));
    let actor = Actor { node: NodeId(node), incarnation: Incarnation(number(12)) };
    let hlc = Hlc::from_ticks(number(0)).ok_or(NotAToken)?;
    Ok(Version { hlc, dot: Dot { actor, sequence: number(20) } })
}

fn digit(byte: u8) -> Result<u8, NotAToken> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(NotAToken),
    }
}

fn checksum(version: &[u8]) -> [u8; 4] {
    (xxh3_64(version) as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_its_version_back() {
        for text in ["17.n2.i9.4", "0.n0.i0.0", "9223372036854775807.n4294967295.i18446744073709551615.1"] {
            let version: Version = text.parse().unwrap();
            let token = encode(version);
            assert_eq!(token.len(), TEXT_BYTES);
            assert_eq!(decode(token.as_bytes()), Ok(version));
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        let token = encode("17.n2.i9.4".parse().unwrap()).into_bytes();
        for cut in 0..token.len() {
            assert_eq!(decode(&token[..cut]), Err(NotAToken));
            let mut damaged = token.clone();
            damaged[cut] = if damaged[cut] == b'0' { b'1' } else { b'0' };
            assert_eq!(decode(&damaged), Err(NotAToken), "byte {cut}");
        }
        assert_eq!(decode("é".repeat(TEXT_BYTES / 2).as_bytes()), Err(NotAToken));
        assert_eq!(decode(&token.to_ascii_uppercase()), Err(NotAToken));
    }
}
