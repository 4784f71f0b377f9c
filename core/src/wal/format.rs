//! The bytes of a batch, and the only code that knows them.
//!
//! All numbers are little-endian. A batch starts at a multiple of 512 bytes of its segment:
//!
//! | offset | bytes | field      | meaning                                                                  |
//! |--------|-------|------------|--------------------------------------------------------------------------|
//! | 0      | 4     | magic      | `QWL1`                                                                   |
//! | 4      | 4     | checksum   | crc32c of everything from offset 8 to the end of the index               |
//! | 8      | 8     | salt       | of the segment, which no other segment shares                            |
//! | 16     | 4     | offset     | of this batch in the segment: a misdirected write is no batch            |
//! | 20     | 4     | bytes      | of the whole batch, padding included: the next one starts behind them    |
//! | 24     | 8     | batch      | number of this batch, rising through the life of the log                 |
//! | 32     | 8     | first      | position of the first record; everything before it was durable when this batch was sealed (the mark) |
//! | 40     | 4     | previous   | checksum field of the batch before: one that was cut away never fits     |
//! | 44     | 4     | records    | number of records; 0 in a batch that is only a mark                      |
//! | 48     | 12 each | index    | length, label and crc32c of each record                                  |
//! |        |       | records    | one behind the other, then zeros up to `bytes`                           |
//!
//! The header's checksum covers the checksums of the records, so a header that reads well names exactly which record
//! does not. Decoding checks every number against the room there is before it allocates.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{Position, SegmentId};

/// Batches start at multiples of this, whatever block size wrote them: where recovery looks for them after damage.
pub(super) const SECTOR_BYTES: u32 = 512;
/// Bytes before the index.
pub(super) const HEADER_BYTES: u32 = 48;
/// Bytes of the index per record.
pub(super) const INDEX_BYTES: u32 = 12;
/// No batch of any configuration is longer; bounds what a reader of a foreign file allocates.
pub(super) const BATCH_BYTES_LIMIT: u32 = 64 << 20;
/// No batch of any configuration has more records.
pub(super) const BATCH_RECORDS_LIMIT: u32 = 65_536;

const MAGIC: [u8; 4] = *b"QWL1";
/// Where the part of the header begins that its checksum covers.
const CHECKED_FROM: usize = 8;

/// The length of a batch with `records` records of `payload` bytes together, padded to `block_bytes`.
pub(super) fn batch_bytes(records: u32, payload: u64, block_bytes: u32) -> u64 {
    let bare = u64::from(HEADER_BYTES) + u64::from(INDEX_BYTES) * u64::from(records) + payload;
    bare.next_multiple_of(u64::from(block_bytes))
}

/// What the index says of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) bytes: u32,
    pub(super) label: u32,
    pub(super) checksum: u32,
}

/// A batch without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) segment: SegmentId,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    pub(super) batch: u64,
    pub(super) first: Position,
    pub(super) previous: u32,
    pub(super) index: Vec<Entry>,
}

impl Header {
    /// The newest position that was durable when this batch was sealed.
    pub(super) fn mark(&self) -> Position {
        Position(self.first.0 - 1)
    }

    /// The position of the last record in this batch, or the mark of a batch without records.
    pub(super) fn last(&self) -> Position {
        Position(self.mark().0 + self.index.len() as u64)
    }

    /// Where the records begin, from the start of the batch.
    pub(super) fn payload_at(&self) -> u32 {
        HEADER_BYTES + INDEX_BYTES * self.index.len() as u32
    }

    /// Header and index, and the checksum in them that the next batch will name as its `previous`.
    pub(super) fn encode(&self) -> (Bytes, u32) {
        assert!(self.offset.is_multiple_of(SECTOR_BYTES) && self.bytes.is_multiple_of(SECTOR_BYTES));
        assert!(self.first > Position::ZERO && self.index.len() <= BATCH_RECORDS_LIMIT as usize);
        let mut out = BytesMut::with_capacity(self.payload_at() as usize);
        out.put_slice(&MAGIC);
        out.put_u32_le(0);
        out.put_u64_le(self.segment.salt);
        out.put_u32_le(self.offset);
        out.put_u32_le(self.bytes);
        out.put_u64_le(self.batch);
        out.put_u64_le(self.first.0);
        out.put_u32_le(self.previous);
        out.put_u32_le(self.index.len() as u32);
        for entry in &self.index {
            out.put_u32_le(entry.bytes);
            out.put_u32_le(entry.label);
            out.put_u32_le(entry.checksum);
        }
        assert_eq!(out.len(), self.payload_at() as usize);
        let checksum = crc32c::crc32c(&out[CHECKED_FROM..]);
        out[4..8].copy_from_slice(&checksum.to_le_bytes());
        (out.freeze(), checksum)
    }
}

/// The fixed part of a header that claims to be a batch of `segment` at `offset`: how many bytes header and index
/// take. None if it cannot be one. Says nothing about the checksum.
pub(super) fn header_bytes(fixed: &[u8], segment: SegmentId, offset: u32, room: u64) -> Option<u32> {
    let fixed: &[u8; HEADER_BYTES as usize] = fixed.first_chunk()?;
    let ours = fixed[..4] == MAGIC && u64_at(fixed, 8) == segment.salt && u32_at(fixed, 16) == offset;
    let (bytes, records) = (u32_at(fixed, 20), u32_at(fixed, 44));
    // The checksum comes later, so every number may still be anything.
    let bounded = bytes <= BATCH_BYTES_LIMIT && bytes.is_multiple_of(SECTOR_BYTES) && records <= BATCH_RECORDS_LIMIT;
    if !ours || !bounded || u64::from(bytes) > room {
        return None;
    }
    let length = HEADER_BYTES + INDEX_BYTES * records;
    // A first position of 0 would leave the mark below zero; the last position and the next batch must be numbers.
    let first = u64_at(fixed, 32);
    let counts = first > 0 && first.checked_add(u64::from(records)).is_some() && u64_at(fixed, 24) < u64::MAX;
    (length <= bytes && counts).then_some(length)
}

/// Decodes header and index, `bytes` being exactly as long as [`header_bytes`] said. Also returns the checksum.
pub(super) fn decode(bytes: &[u8], segment: SegmentId, offset: u32, room: u64) -> Option<(Header, u32)> {
    if header_bytes(bytes, segment, offset, room)? as usize != bytes.len() {
        return None;
    }
    let checksum = u32_at(bytes, 4);
    if crc32c::crc32c(&bytes[CHECKED_FROM..]) != checksum {
        return None;
    }
    let index: Vec<Entry> = bytes[HEADER_BYTES as usize..]
        .chunks_exact(INDEX_BYTES as usize)
        .map(|entry| Entry { bytes: u32_at(entry, 0), label: u32_at(entry, 4), checksum: u32_at(entry, 8) })
        .collect();
    let header = Header {
        segment,
        offset,
        bytes: u32_at(bytes, 20),
        batch: u64_at(bytes, 24),
        first: Position(u64_at(bytes, 32)),
        previous: u32_at(bytes, 40),
        index,
    };
    let payload: u64 = header.index.iter().map(|entry| u64::from(entry.bytes)).sum();
    (u64::from(header.payload_at()) + payload <= u64::from(header.bytes)).then_some((header, checksum))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const SEGMENT: SegmentId = SegmentId { sequence: 1, salt: 0x5a17, bytes: 4_096 };

    fn header() -> Header {
        let entry = |label| Entry { bytes: 10, label, checksum: 77 };
        let index = vec![entry(1), entry(2)];
        Header { segment: SEGMENT, offset: 512, bytes: 512, batch: 9, first: Position(40), previous: 5, index }
    }

    /// The encoded header with a word changed and the checksum made good again, as only an enemy would.
    fn forged(at: usize, word: u32) -> Vec<u8> {
        let mut bytes = header().encode().0.to_vec();
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (bytes, checksum) = header().encode();
        assert_eq!(header_bytes(&bytes, SEGMENT, 512, 512), Some(HEADER_BYTES + 2 * INDEX_BYTES));
        assert_eq!(decode(&bytes, SEGMENT, 512, 512), Some((header(), checksum)));
        assert_eq!((header().mark(), header().last()), (Position(39), Position(41)));
    }

    #[test]
    fn no_bit_of_header_or_index_can_turn_unseen() {
        let (bytes, _) = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut turned = bytes.to_vec();
            turned[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&turned, SEGMENT, 512, 512), None, "bit {bit}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_although_the_checksum_is_right() {
        let table = [
            ("an offset that is not here", 16, 1_024),
            ("more bytes than there is room", 20, 1_024),
            ("bytes that are no sectors", 20, 500),
            ("no bytes", 20, 0),
            ("a position of zero", 32, 0),
            ("more records than the limit", 44, BATCH_RECORDS_LIMIT + 1),
            ("more records than there are bytes", 44, 100),
            ("fewer records than were read", 44, 1),
            ("a record longer than the batch", 48, 500),
            ("records whose sum overflows a word", 48, u32::MAX),
        ];
        for (what, at, word) in table {
            assert_eq!(decode(&forged(at, word), SEGMENT, 512, 512), None, "{what}");
        }
        assert!(decode(&forged(44, 2), SEGMENT, 512, 512).is_some(), "the forger can forge");
        for length in 0..header().encode().0.len() {
            assert_eq!(decode(&header().encode().0[..length], SEGMENT, 512, 512), None, "{length} bytes of it");
        }
    }

    #[test]
    fn the_last_position_and_the_last_batch_must_have_a_successor() {
        for (at, refused) in [(24, true), (32, true), (40, false)] {
            let mut extreme = header().encode().0.to_vec();
            let width = if at == 40 { 4 } else { 8 };
            extreme[at..at + width].fill(0xff);
            let checksum = crc32c::crc32c(&extreme[CHECKED_FROM..]);
            extreme[4..8].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(decode(&extreme, SEGMENT, 512, 512).is_none(), refused, "at {at}");
        }
    }
}
