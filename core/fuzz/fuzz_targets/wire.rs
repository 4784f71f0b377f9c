//! Hostile bytes against the decoders of what peers send.
//!
//! The first byte chooses how the rest is used: as it is, or as frames whose magic, cluster, lengths and checksums are
//! put right, so that the bytes reach the reassembly, prost and the validation behind them. Whatever is accepted must
//! read the same when it is written again, and no decoder may hold more than its limits.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use quorate_core::id::ClusterId;
use quorate_core::wire::{self, Decoder, Hello, Limits};

const CLUSTER: ClusterId = ClusterId(7);
const PAYLOAD_BYTES_MAX: usize = wire::FRAME_BYTES_MAX - 40;
const LIMITS: Limits = Limits { message_bytes_max: 200_000, streams_max: 3 };

fuzz_target!(|data: &[u8]| {
    let Some((&how, data)) = data.split_first() else { return };
    let bytes = if how & 1 == 0 { data.to_vec() } else { mended(data) };
    if let Ok(message) = wire::decode_whole(CLUSTER, Bytes::from(bytes.clone())) {
        let again = wire::encode(CLUSTER, 0, &message).into_bytes();
        assert_eq!(wire::decode_whole(CLUSTER, again), Ok(message));
    }
    if let Ok(Some(hello)) = Hello::take(&mut BytesMut::from(&bytes[..])) {
        assert_eq!(Hello::take(&mut BytesMut::from(&hello.encode()[..])), Ok(Some(hello)));
    }
    let mut decoder = Decoder::new(CLUSTER, LIMITS);
    let mut input = BytesMut::new();
    // In pieces, as a connection gives them.
    for piece in bytes.chunks(1 + usize::from(how >> 1) * 509) {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(_)) => assert!(decoder.held_bytes() <= LIMITS.bytes_max()),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.held_bytes(), 0);
                    assert_eq!(decoder.next(&mut input), Err(error), "the first error is final");
                    return;
                }
            }
        }
        assert!(input.len() < wire::FRAME_BYTES_MAX + piece.len(), "a complete frame was left");
    }
});

/// Frames as `data` describes them, 9 bytes and their payload at a time: kind, priority, stream, which part of how
/// many, lengths of meta and of the last part.
fn mended(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((&[kind, priority, stream, part, parts, meta_low, meta_high, last_low, last_high], rest)) =
        data.split_first_chunk::<9>()
    {
        let parts = usize::from(parts % 4);
        let last = 1 + usize::from(u16::from_le_bytes([last_low, last_high])) % PAYLOAD_BYTES_MAX;
        let message_bytes = parts * PAYLOAD_BYTES_MAX + last;
        let meta_bytes = usize::from(u16::from_le_bytes([meta_low, meta_high]));
        let offset = usize::from(part % 4) * PAYLOAD_BYTES_MAX;
        let payload_bytes = message_bytes.saturating_sub(offset).min(PAYLOAD_BYTES_MAX);
        let is_last = offset + payload_bytes >= message_bytes;
        let start = bytes.len();
        bytes.extend(b"QRTm");
        bytes.extend([1, kind, priority % 4, u8::from(is_last)]);
        bytes.extend(CLUSTER.0.to_le_bytes());
        bytes.extend(u32::from(stream % 5).to_le_bytes());
        for length in [message_bytes, meta_bytes, offset, payload_bytes] {
            bytes.extend((length as u32).to_le_bytes());
        }
        // What the input has no bytes for is zeros, so that a short input can make a full frame.
        let (given, rest) = rest.split_at(rest.len().min(payload_bytes));
        let mut payload = given.to_vec();
        payload.resize(payload_bytes, 0);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[start..]), &payload);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(payload);
        data = rest;
    }
    bytes
}
