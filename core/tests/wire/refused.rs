//! What is refused, by which name, and at what price.

use crate::*;
use quorate_core::wire::Fault;

pub(crate) fn malformed(field: &'static str, fault: Fault) -> FrameError {
    FrameError::Malformed { field, fault }
}

#[test]
fn every_flipped_bit_of_a_frame_is_seen() {
    let bytes = whole(&store_of(100, 7));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = BytesMut::from(&bytes[..]);
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(wire::decode_whole(CLUSTER, damaged.clone().freeze()).is_err(), "bit {bit}");
        assert!(decoder().next(&mut damaged).is_err(), "bit {bit}");
        // Behind the header only the checksum can tell, and it must.
        if bit >= 36 * 8 {
            assert_eq!(decoder().next(&mut damaged), Err(FrameError::Checksum), "bit {bit}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_later_header_is_seen() {
    let bytes = whole(&store_of(PAYLOAD_MAX * 2, 7));
    for start in [wire::FRAME_BYTES_MAX, 2 * wire::FRAME_BYTES_MAX] {
        for bit in start * 8..(start + 48) * 8 {
            let mut damaged = BytesMut::from(&bytes[..]);
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(wire::decode_whole(CLUSTER, damaged.clone().freeze()).is_err(), "bit {bit}");
            assert!(decoder().next(&mut damaged).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn what_is_not_a_frame_of_this_cluster_is_refused_by_name() {
    let good = || Raw::of(19, &meta_of(&stranger()), &[]);
    let bytes = good().payload_bytes;
    let long = || {
        let payload = vec![0; PAYLOAD_MAX];
        Raw::of(33, &payload, &[]).but(|raw| (raw.message_bytes, raw.meta_bytes, raw.flags) = (1 << 20, 90, 0))
    };
    let too_long = |declared, max: usize| FrameError::TooLong { declared, max: max as u32 };
    let (length, cluster) = (Fault::Length, ClusterId(CLUSTER.0 + 1));
    let cases: Vec<(&str, Bytes, FrameError)> = vec![
        ("HTTP", Bytes::from_static(b"GET / HTTP/1.1\r\n"), FrameError::BadMagic { theirs: *b"GET " }),
        ("TLS", Bytes::from_static(b"\x16\x03\x01\x02\x00\x01"), FrameError::BadMagic { theirs: [22, 3, 1, 2] }),
        ("RESP", Bytes::from_static(b"*1\r\n"), FrameError::BadMagic { theirs: *b"*1\r\n" }),
        ("first byte wrong", Bytes::from_static(b"q"), FrameError::BadMagic { theirs: *b"q\0\0\0" }),
        ("zeros", Bytes::from_static(&[0; 100]), FrameError::BadMagic { theirs: [0; 4] }),
        ("ones", Bytes::from_static(&[255; 100]), FrameError::BadMagic { theirs: [255; 4] }),
        ("version 0", good().but(|raw| raw.version = 0).bytes(), FrameError::Version { theirs: 0 }),
        ("version 2", good().but(|raw| raw.version = 2).bytes(), FrameError::Version { theirs: 2 }),
        ("version 2, 5 bytes", Bytes::from_static(b"QRTm\x02"), FrameError::Version { theirs: 2 }),
        ("cluster", good().but(|raw| raw.cluster += 1).bytes(), FrameError::OtherCluster { theirs: cluster }),
        ("kind 0", good().but(|raw| raw.kind = 0).bytes(), FrameError::UnexpectedKind { theirs: 0 }),
        ("kind 20", good().but(|raw| raw.kind = 20).bytes(), FrameError::UnexpectedKind { theirs: 20 }),
        ("hello", good().but(|raw| raw.kind = 1).bytes(), FrameError::UnexpectedKind { theirs: 1 }),
        ("priority", good().but(|raw| raw.priority = 3).bytes(), malformed("priority", Fault::UnknownNumber)),
        ("no flag", good().but(|raw| raw.flags = 0).bytes(), malformed("flags", Fault::OutOfRange)),
        ("flag 2", good().but(|raw| raw.flags = 3).bytes(), malformed("flags", Fault::OutOfRange)),
        ("last too early", long().but(|raw| raw.flags = 1).bytes(), malformed("flags", Fault::OutOfRange)),
        ("message 0", good().but(|raw| raw.message_bytes = 0).bytes(), malformed("meta bytes", length)),
        ("all lengths 0", Raw::of(19, &[], &[]).bytes(), malformed("offset", length)),
        ("message 2^31", good().but(|raw| raw.message_bytes = 1 << 31).bytes(), too_long(1 << 31, MESSAGE_MAX)),
        ("message -1", good().but(|raw| raw.message_bytes = u32::MAX).bytes(), too_long(u32::MAX, MESSAGE_MAX)),
        (
            "message max + 1",
            good().but(|raw| raw.message_bytes = MESSAGE_MAX as u32 + 1).bytes(),
            too_long(MESSAGE_MAX as u32 + 1, MESSAGE_MAX),
        ),
        ("meta 2^31", good().but(|raw| raw.meta_bytes = 1 << 31).bytes(), too_long(1 << 31, PAYLOAD_MAX)),
        ("meta beyond", good().but(|raw| raw.meta_bytes += 1).bytes(), malformed("meta bytes", length)),
        ("payload 2^31", good().but(|raw| raw.payload_bytes = 1 << 31).bytes(), too_long(1 << 31, PAYLOAD_MAX)),
        ("payload 0", good().but(|raw| raw.payload_bytes = 0).bytes(), malformed("payload bytes", length)),
        ("payload short", good().but(|raw| raw.payload_bytes -= 1).bytes(), malformed("payload bytes", length)),
        ("offset 1", good().but(|raw| raw.offset = 1).bytes(), malformed("offset", length)),
        ("offset beyond", good().but(|raw| raw.offset = bytes).bytes(), malformed("offset", length)),
        ("offset 2^31", good().but(|raw| raw.offset = 1 << 31).bytes(), malformed("offset", length)),
        (
            "begins in the middle",
            long().but(|raw| (raw.offset, raw.message_bytes) = (PAYLOAD_MAX as u32, 1 << 20)).bytes(),
            FrameError::BrokenStream { stream: 0 },
        ),
    ];
    for (case, bytes, expected) in cases {
        let mut decoder = decoder();
        let mut input = BytesMut::from(&bytes[..]);
        let mut decoded = None;
        let allocated = allocation_counter::measure(|| decoded = Some(decoder.next(&mut input)));
        assert_eq!(decoded, Some(Err(expected)), "{case}");
        assert!(allocated.bytes_max < 1024, "{case}: {} bytes allocated", allocated.bytes_max);
        assert_eq!(decoder.next(&mut BytesMut::from(&good().bytes()[..])), Err(expected), "{case}: the error is final");
        assert!(!expected.to_string().is_empty());
    }
}

/// What is wrong, the kind, meta and tail of the frame, and what it is refused with.
type Case<'a> = (&'a str, u8, Vec<u8>, &'a [u8], FrameError);

/// The later of two values of a field counts, so a well-formed meta with a field behind it is that meta, changed.
#[test]
fn a_field_that_no_peer_writes_is_refused_by_name() {
    let above_max = (Hlc::MAX.as_ticks() + 1).to_le_bytes();
    let varint_max = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let over_a_mebibyte = [0x81, 0x80, 0x40];
    let store_meta = || meta_of(&store(Content::Tombstone));
    let value_meta = || meta_of(&store_of(3, 0));
    let with = |mut meta: Vec<u8>, more: Vec<u8>| {
        meta.extend(more);
        meta
    };
    let identity =
        |reason| meta_of(&message(Body::Identity(IdentityMessage::Refused { boot: Boot(1), nonce: 2, reason })));
    let refused = |refusal| {
        meta_of(&message(Body::ReplicaReply(ReplicaReply::Refused { request: request(), phase: 1, refusal })))
    };
    let stored =
        meta_of(&message(Body::ReplicaReply(ReplicaReply::Stored { request: request(), phase: 1, held: version() })));
    let head_bytes = 2 + usize::from(stored[1]);
    let head_and_request_bytes = head_bytes + 2 + usize::from(stored[head_bytes + 1]);
    let found = [&stored[..], &field(4, 0, &[2])].concat();
    use Fault::*;
    let cases: Vec<Case<'_>> = vec![
        ("nothing", 19, field(2, 0, &[1]), b"", malformed("head", Absent)),
        (
            "clock",
            33,
            with(store_meta(), nested(1, &field(4, 1, &above_max))),
            b"",
            malformed("head.clock", OutOfRange),
        ),
        ("hlc", 33, with(store_meta(), nested(4, &field(1, 1, &above_max))), b"", malformed("version.hlc", OutOfRange)),
        ("held", 49, with(stored.clone(), nested(3, &field(1, 1, &above_max))), b"", malformed("held.hlc", OutOfRange)),
        ("no request", 49, stored[..head_bytes].to_vec(), b"", malformed("request", Absent)),
        ("no held", 49, stored[..head_and_request_bytes].to_vec(), b"", malformed("held", Absent)),
        ("no version", 48, stored[..head_and_request_bytes].to_vec(), b"", malformed("version", Absent)),
        ("no wanted", 32, stored[..head_and_request_bytes].to_vec(), b"", malformed("wanted", Absent)),
        (
            "phase 256",
            33,
            with(store_meta(), nested(2, &field(4, 0, &[0x80, 2]))),
            b"",
            malformed("request.phase", OutOfRange),
        ),
        ("empty key", 33, with(store_meta(), field(3, 2, &[0])), b"", malformed("key", Length)),
        (
            "key of 4,097 bytes",
            33,
            with(store_meta(), field(3, 2, &[&[0x81, 0x20][..], &[b'k'; 4097]].concat())),
            b"",
            malformed("key", Length),
        ),
        (
            "key of 2^31 bytes",
            33,
            with(store_meta(), field(3, 2, &[0x80, 0x80, 0x80, 0x80, 8])),
            b"",
            malformed("meta", Unreadable),
        ),
        ("key of 2^64 - 1 bytes", 33, with(store_meta(), field(3, 2, &varint_max)), b"", malformed("meta", Unreadable)),
        ("stamp 0", 33, with(store_meta(), field(5, 0, &[0])), b"", malformed("stamp", UnknownNumber)),
        ("stamp 3", 33, with(store_meta(), field(5, 0, &[3])), b"", malformed("stamp", UnknownNumber)),
        ("no content", 33, with(store_meta(), field(7, 0, &[0])), b"", malformed("content", Absent)),
        ("value and tombstone", 33, with(value_meta(), field(7, 0, &[1])), b"abc", malformed("tombstone", Unexpected)),
        ("tombstone with tail", 33, store_meta(), b"abc", malformed("value", Unexpected)),
        ("nothing with tail", 48, stored.clone(), b"abc", malformed("value", Unexpected)),
        ("tail too short", 33, value_meta(), b"ab", malformed("value", Length)),
        ("tail too long", 33, value_meta(), b"abcd", malformed("value", Length)),
        ("tail missing", 48, found, b"", malformed("value", Length)),
        (
            "value of 1 MiB + 1",
            33,
            with(value_meta(), field(6, 0, &over_a_mebibyte)),
            b"abc",
            malformed("value_bytes", OutOfRange),
        ),
        ("tail where none belongs", 19, meta_of(&stranger()), b"a", malformed("value", Unexpected)),
        (
            "reason 0",
            18,
            with(identity(IdentityRefusal::SeenTwice), field(4, 0, &[0])),
            b"",
            malformed("reason", UnknownNumber),
        ),
        (
            "reason 5",
            18,
            with(identity(IdentityRefusal::SeenTwice), field(4, 0, &[5])),
            b"",
            malformed("reason", UnknownNumber),
        ),
        (
            "no known",
            18,
            with(identity(IdentityRefusal::SeenTwice), field(4, 0, &[1])),
            b"",
            malformed("known", Absent),
        ),
        (
            "no heard",
            18,
            with(identity(IdentityRefusal::SeenTwice), field(4, 0, &[3])),
            b"",
            malformed("heard", Absent),
        ),
        (
            "heard",
            18,
            with(identity(IdentityRefusal::SeenTwice), field(6, 0, &[3])),
            b"",
            malformed("heard", Unexpected),
        ),
        ("refusal 6", 50, with(refused(Refusal::NotAHome), field(3, 0, &[6])), b"", malformed("reason", UnknownNumber)),
        ("no by_micros", 50, with(refused(Refusal::NotAHome), field(3, 0, &[1])), b"", malformed("by_micros", Absent)),
        ("current", 50, with(refused(Refusal::NotAHome), field(5, 0, &[1])), b"", malformed("current", Unexpected)),
        ("tag 0", 19, with(meta_of(&stranger()), vec![0, 0]), b"", malformed("meta", Unreadable)),
        ("wrong wire type", 19, with(meta_of(&stranger()), field(2, 1, &[0; 8])), b"", malformed("meta", Unreadable)),
        ("cut short", 19, with(meta_of(&stranger()), field(2, 0, &[])), b"", malformed("meta", Unreadable)),
        (
            "varint without end",
            19,
            with(meta_of(&stranger()), field(2, 0, &[255; 11])),
            b"",
            malformed("meta", Unreadable),
        ),
        (
            "10,000 open groups",
            19,
            with(meta_of(&stranger()), vec![15 << 3 | 3; 10_000]),
            b"",
            malformed("meta", Unreadable),
        ),
    ];
    for (case, kind, meta, tail, expected) in cases {
        let bytes = Raw::of(kind, &meta, tail).bytes();
        let mut decoded = None;
        let allocated = allocation_counter::measure(|| decoded = Some(wire::decode_whole(CLUSTER, bytes)));
        assert_eq!(decoded, Some(Err(expected)), "{case}");
        assert!(allocated.bytes_max < 4096, "{case}: {} bytes allocated", allocated.bytes_max);
    }
}

#[test]
fn a_message_cut_short_or_too_long_is_no_whole_message() {
    for message in [store_of(100, 0), store_of(PAYLOAD_MAX * 2, 0)] {
        let bytes = whole(&message);
        for end in [0, 3, 39, 40, 41, bytes.len() - 1] {
            let cut = wire::decode_whole(CLUSTER, bytes.slice(..end));
            assert!(
                matches!(cut, Err(FrameError::Truncated { missing }) if missing <= bytes.len() - end),
                "{end}: {cut:?}"
            );
        }
        let longer = Bytes::from([&bytes[..], b"!"].concat());
        assert_eq!(wire::decode_whole(CLUSTER, longer), Err(FrameError::Trailing { bytes: 1 }));
    }
}

fn frames(stream: u32, message: &Message) -> Vec<Bytes> {
    let frame = |frame: wire::Frame| frame.chunks().flat_map(|chunk| chunk.to_vec()).collect::<Vec<_>>().into();
    wire::encode(CLUSTER, stream, message).into_frames().map(frame).collect()
}

#[test]
fn a_frame_that_does_not_continue_its_stream_is_refused() {
    let long = store_of(PAYLOAD_MAX * 3, 1);
    let [ours, other] = [frames(4, &long), frames(4, &store_of(PAYLOAD_MAX * 4, 2))];
    let broken = Err(FrameError::BrokenStream { stream: 4 });
    for (case, sent) in [
        ("a frame is missing", vec![&ours[0], &ours[2]]),
        ("a frame comes twice", vec![&ours[0], &ours[1], &ours[1]]),
        ("it begins anew", vec![&ours[0], &ours[0]]),
        ("another message goes on", vec![&ours[0], &other[1]]),
        ("a short message between", vec![&ours[0], &frames(4, &stranger())[0]]),
        ("the beginning is missing", vec![&ours[1]]),
    ] {
        let mut input = BytesMut::from(&sent.into_iter().flatten().copied().collect::<Vec<_>>()[..]);
        assert_eq!(decode_all(&mut decoder(), &mut input), broken, "{case}");
    }
}

#[test]
fn a_peer_cannot_make_us_hold_more_than_its_limits() {
    let limits = Limits { streams_max: 3, ..Limits::default() };
    let mut decoder = Decoder::new(CLUSTER, limits);
    for stream in 0..3 {
        let mut input = BytesMut::from(&frames(stream, &store_of(1 << 20, 0))[0][..]);
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(input.is_empty());
    }
    assert!(decoder.held_bytes() > 3 << 20);
    assert!(decoder.held_bytes() <= limits.bytes_max());
    let mut input = BytesMut::from(&frames(3, &store_of(1 << 20, 0))[0][..]);
    assert_eq!(decoder.next(&mut input), Err(FrameError::TooManyStreams { max: 3 }));
    assert_eq!(decoder.held_bytes(), 0);

    let mut decoder = Decoder::new(CLUSTER, Limits { message_bytes_max: 10_000, ..Limits::default() });
    let mut input = BytesMut::from(&whole(&store_of(10_000, 0))[..]);
    assert!(matches!(decoder.next(&mut input), Err(FrameError::TooLong { max: 10_000, .. })));
}
