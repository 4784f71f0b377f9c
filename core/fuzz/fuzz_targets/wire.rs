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
    // In pieces, as a connection gives them; not so many that a long input takes long.
    for piece in bytes.chunks(1 + bytes.len() / 64 + usize::from(how >> 1) * 509) {
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

/// Frames as `data` describes them, 4 bytes and a part of the payload at a time.
///
/// Each of five streams has a shape (kind, number of parts, lengths) from the first 30 bytes, so that frames of a stream
/// fit together unless a mutation says otherwise. A payload begins with as many bytes of `data` as its frame asks for,
/// and the rest of it is zeros: an input that had to hold 64 KiB for a full frame would never get to a second one.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some((shapes, mut data)) = data.split_first_chunk::<30>() else { return bytes };
    while let Some((&[stream, part, odd, given], rest)) = data.split_first_chunk::<4>() {
        let shape = &shapes[usize::from(stream % 5) * 6..][..6];
        // Now and then a frame of another message on the same stream.
        let kind = if odd & 0xc0 == 0xc0 { odd & 0x3f } else { shape[0] };
        let parts = usize::from(shape[1] % 4);
        let last = 1 + usize::from(u16::from_le_bytes([shape[2], shape[3]])) % PAYLOAD_BYTES_MAX;
        let meta_bytes = usize::from(u16::from_le_bytes([shape[4], shape[5]]));
        let message_bytes = parts * PAYLOAD_BYTES_MAX + last;
        let offset = usize::from(part % 4) * PAYLOAD_BYTES_MAX;
        let payload_bytes = message_bytes.saturating_sub(offset).min(PAYLOAD_BYTES_MAX);
        let is_last = offset + payload_bytes >= message_bytes;
        let start = bytes.len();
        bytes.extend(b"QRTm");
        bytes.extend([1, kind, odd % 3, u8::from(is_last)]);
        bytes.extend(CLUSTER.0.to_le_bytes());
        bytes.extend(u32::from(stream % 5).to_le_bytes());
        for length in [message_bytes, meta_bytes, offset, payload_bytes] {
            bytes.extend((length as u32).to_le_bytes());
        }
        let (given, rest) = rest.split_at(rest.len().min(payload_bytes).min(given.into()));
        let mut payload = given.to_vec();
        payload.resize(payload_bytes, 0);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[start..]), &payload);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(payload);
        data = rest;
    }
    bytes
}
