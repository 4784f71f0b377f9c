//! Messages as bytes: what goes in comes out, and what no peer of ours writes is refused by name.

mod cost;
mod draw;
mod hello;
mod raw;
mod refused;

use crate::raw::{Raw, field, meta_of, nested};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_core::id::{Boot, ClusterId, Epoch, Incarnation, Key, LogPosition, NodeId, RequestId};
use quorate_core::message::{Body, Found, IdentityMessage, IdentityRefusal, Message, Refusal, ReplicaReply};
use quorate_core::message::{ReplicaRequest, Sender, StampRule, Wanted};
use quorate_core::version::{Actor, Content, Dot, Hlc, Record, Version};
use quorate_core::wire::{self, Decoder, FrameError, Hello, Limits, Priority};

const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef);
const PAYLOAD_MAX: usize = 64 * 1024 - 40;
const MESSAGE_MAX: usize = 1024 * 1024 + PAYLOAD_MAX;

/// Bytes of which no two neighbouring parts are alike, so that a part out of place is seen.
fn value(bytes: usize, salt: u8) -> Bytes {
    (0..bytes).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8 ^ salt).collect::<Vec<_>>().into()
}

fn message(body: Body) -> Message {
    let sender = Sender { incarnation: Incarnation(0x1111), boot: Boot(2), position: LogPosition(300) };
    Message { sender, clock: Hlc::from_ticks(1_700_000_000_000_000_000).unwrap(), epoch: Epoch(5), body }
}
fn request() -> RequestId {
    RequestId { boot: Boot(2), counter: 77, slot: 9 }
}
fn version() -> Version {
    let actor = Actor { node: NodeId(3), incarnation: Incarnation(0x2222) };
    Version { hlc: Hlc::from_ticks(1_600_000_000_000_000_000).unwrap(), dot: Dot { actor, sequence: 41 } }
}
fn key() -> Key {
    Key::new(Bytes::from_static(b"apple")).unwrap()
}
fn store(content: Content) -> Message {
    let record = Record { version: version(), content };
    let stamp = StampRule::Fresh;
    message(Body::Replica(ReplicaRequest::Store { request: request(), phase: 1, key: key(), record, stamp }))
}
fn store_of(bytes: usize, salt: u8) -> Message {
    store(Content::Value(value(bytes, salt)))
}
fn stranger() -> Message {
    message(Body::Identity(IdentityMessage::Stranger { boot: Boot(8) }))
}

fn whole(message: &Message) -> Bytes {
    wire::encode(CLUSTER, 0, message).into_bytes()
}
fn decoder() -> Decoder {
    Decoder::new(CLUSTER, Limits::default())
}
fn decode_all(decoder: &mut Decoder, input: &mut BytesMut) -> Result<Vec<Message>, FrameError> {
    let mut messages = Vec::new();
    while let Some(message) = decoder.next(input)? {
        messages.push(message);
    }
    Ok(messages)
}

/// One message of every kind.
fn every_kind() -> Vec<Message> {
    let (request, phase) = (request(), 1);
    let identity = |identity| message(Body::Identity(identity));
    let reply = |reply| message(Body::ReplicaReply(reply));
    let reason = IdentityRefusal::StateLost { heard: LogPosition(900) };
    let query = ReplicaRequest::Query { request, phase, key: key(), wanted: Wanted::Version };
    let found = Found { version: version(), content: Some(Content::Value(Bytes::from_static(b"red"))) };
    let refusal = Refusal::ClockAhead { by_micros: 600_000 };
    vec![
        identity(IdentityMessage::Introduce { nonce: 6, recovered: LogPosition(280), founding: 7 }),
        identity(IdentityMessage::Known { boot: Boot(2), nonce: 6 }),
        identity(IdentityMessage::Refused { boot: Boot(2), nonce: 6, reason }),
        stranger(),
        message(Body::Replica(query)),
        store(Content::Value(Bytes::from_static(b"red"))),
        store(Content::Tombstone),
        reply(ReplicaReply::Found { request, phase, found }),
        reply(ReplicaReply::Stored { request, phase, held: version() }),
        reply(ReplicaReply::Refused { request, phase, refusal }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The format is a promise between builds. If this fails, either the change is a mistake or the version must rise.
#[test]
fn the_bytes_of_every_kind_are_pinned() {
    let line = |message: Message| format!("{} {}\n", message.body.kind(), hex(&whole(&message)));
    let lines: String = every_kind().into_iter().map(line).collect();
    assert_eq!(lines, include_str!("golden.txt"));
}

#[test]
fn the_frame_is_as_its_table_says() {
    let message = store_of(100, 1);
    let expected = Raw::of(33, &meta_of(&message), &value(100, 1)).but(|raw| raw.stream = 5).bytes();
    assert_eq!(wire::encode(CLUSTER, 5, &message).into_bytes(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_message_comes_out_as_it_went_in(message in draw::message(), stream: u32) {
        let encoded = wire::encode(CLUSTER, stream, &message);
        let bytes = encoded.clone().into_bytes();
        prop_assert_eq!(encoded.len(), bytes.len());
        for frame in encoded.frames() {
            prop_assert!(frame.len() <= wire::FRAME_BYTES_MAX);
        }
        prop_assert_eq!(wire::decode_whole(CLUSTER, bytes.clone()), Ok(message.clone()));
        let mut input = BytesMut::from(&bytes[..]);
        let mut decoder = decoder();
        prop_assert_eq!(decoder.next(&mut input), Ok(Some(message)));
        prop_assert_eq!(decoder.next(&mut input), Ok(None));
        prop_assert!(input.is_empty());
        prop_assert_eq!(decoder.held_bytes(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_of_several_streams_may_interleave(
        messages in proptest::collection::vec(draw::message(), 1..8),
        choices in proptest::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let mut queues: Vec<_> = messages.iter().enumerate()
            .map(|(stream, message)| (wire::encode(CLUSTER, stream as u32, message).into_frames().peekable(), message))
            .collect();
        let (mut input, mut expected) = (BytesMut::new(), Vec::new());
        let mut choices = choices.iter().cycle();
        while !queues.is_empty() {
            let at = choices.next().unwrap().index(queues.len());
            let (frames, message) = &mut queues[at];
            frames.next().unwrap().chunks().for_each(|chunk| input.extend_from_slice(chunk));
            if frames.peek().is_none() {
                expected.push((*message).clone());
                drop(queues.remove(at));
            }
        }
        let mut decoder = decoder();
        prop_assert_eq!(decode_all(&mut decoder, &mut input), Ok(expected));
        prop_assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn whatever_the_pieces_the_messages_are_the_same(
        messages in proptest::collection::vec(draw::message(), 1..5),
        pieces in proptest::collection::vec(1usize..100_000, 1..20),
    ) {
        let mut bytes = Bytes::from(messages.iter().flat_map(whole).collect::<Vec<_>>());
        let (mut decoder, mut input, mut decoded) = (decoder(), BytesMut::new(), Vec::new());
        for piece in pieces.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            input.extend_from_slice(&bytes.split_to(bytes.len().min(*piece)));
            decoded.extend(decode_all(&mut decoder, &mut input).unwrap());
        }
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn random_bytes_are_refused_or_wait_for_more(bytes: Vec<u8>, framed: bool, kind: u8) {
        let bytes = if framed { Raw::of(kind, &bytes, &[]).bytes() } else { bytes.into() };
        let _anything_but_a_panic = wire::decode_whole(CLUSTER, bytes.clone());
        let _anything_but_a_panic = decoder().next(&mut BytesMut::from(&bytes[..]));
        let _anything_but_a_panic = Hello::take(&mut BytesMut::from(&bytes[..]));
    }

    /// The checksum fits, so the damage reaches prost and the validation behind it.
    #[test]
    fn a_damaged_meta_never_panics(at: prop::sample::Index, byte: u8, tail in 0usize..4) {
        for message in every_kind() {
            let mut meta = meta_of(&message);
            let kind = whole(&message)[5];
            *at.get_mut(&mut meta) = byte;
            if let Ok(decoded) = wire::decode_whole(CLUSTER, Raw::of(kind, &meta, &value(tail, 0)).bytes()) {
                prop_assert_eq!(wire::decode_whole(CLUSTER, whole(&decoded)), Ok(decoded));
            }
        }
    }
}

#[test]
fn a_decoder_that_is_fed_byte_by_byte_gives_the_same_messages() {
    let messages = [stranger(), store_of(0, 0), store_of(100, 1), store_of(PAYLOAD_MAX * 2, 2), stranger()];
    let (mut decoder, mut input, mut decoded) = (decoder(), BytesMut::new(), Vec::new());
    for byte in messages.iter().flat_map(whole) {
        input.extend_from_slice(&[byte]);
        decoded.extend(decoder.next(&mut input).unwrap());
    }
    assert_eq!(decoded, messages);
}

#[test]
fn values_of_every_length_around_a_frame_come_out_as_they_went_in() {
    let meta_bytes = meta_of(&store_of(65_000, 0)).len();
    let full = PAYLOAD_MAX - meta_bytes;
    for (bytes, frames) in [
        (0, 1),
        (100, 1),
        (full, 1),
        (full + 1, 2),
        (full + PAYLOAD_MAX, 2),
        (full + PAYLOAD_MAX + 1, 3),
        (1 << 20, 17),
    ] {
        let encoded = wire::encode(CLUSTER, 0, &store_of(bytes, 3));
        assert_eq!(encoded.frames().count(), frames, "{bytes}");
        assert_eq!(wire::decode_whole(CLUSTER, encoded.into_bytes()), Ok(store_of(bytes, 3)), "{bytes}");
    }
}

#[test]
fn a_field_of_a_later_version_is_skipped() {
    for message in every_kind() {
        let bytes = whole(&message);
        let meta = meta_of(&message);
        let tail = &bytes[40 + meta.len()..];
        let unknown = [
            field(15, 0, &[7]),
            field(15, 1, &[7; 8]),
            nested(15, b"what nobody knows yet"),
            field(15, 5, &[7; 4]),
            nested(1, &field(14, 0, &[1])),
        ]
        .concat();
        let later = Raw::of(bytes[5], &[&unknown, &meta[..], &unknown].concat(), tail).bytes();
        assert_eq!(wire::decode_whole(CLUSTER, later), Ok(message));
    }
}

#[test]
fn what_keeps_the_cluster_together_overtakes_what_is_long() {
    let priority = |message: &Message| wire::encode(CLUSTER, 0, message).priority();
    assert!(Priority::Control < Priority::Small && Priority::Small < Priority::Bulk);
    assert_eq!(priority(&stranger()), Priority::Control);
    assert_eq!(priority(&store_of(100, 0)), Priority::Small);
    assert_eq!(priority(&store_of(Priority::SMALL_BYTES_MAX, 0)), Priority::Bulk);
}
