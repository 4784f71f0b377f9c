//! Draws messages of every kind, with lengths around every border.

use crate::{PAYLOAD_MAX, value};
use proptest::prelude::*;
use quorate_core::id::{Boot, Epoch, Incarnation, Key, LogPosition, NodeId, RequestId};
use quorate_core::message::{Body, Found, IdentityMessage, IdentityRefusal, Message, Refusal, ReplicaReply};
use quorate_core::message::{ReplicaRequest, Sender, StampRule, Wanted};
use quorate_core::version::{Actor, Content, Dot, Hlc, Record, Version};

fn hlc() -> impl Strategy<Value = Hlc> {
    (0..=Hlc::MAX.as_ticks()).prop_map(|ticks| Hlc::from_ticks(ticks).unwrap())
}
fn version() -> impl Strategy<Value = Version> {
    let some = (hlc(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(hlc, node, incarnation, sequence)| {
        let actor = Actor { node: NodeId(node), incarnation: Incarnation(incarnation) };
        Version { hlc, dot: Dot { actor, sequence } }
    });
    prop_oneof![1 => Just(Version::ABSENT), 9 => some]
}
fn content() -> impl Strategy<Value = Content> {
    let bytes = prop_oneof![
        4 => 0usize..200,
        1 => Just(0usize),
        2 => PAYLOAD_MAX - 300..PAYLOAD_MAX + 300,
        1 => 0usize..=1 << 20,
        1 => Just(1usize << 20),
    ];
    let value = (bytes, any::<u8>()).prop_map(|(bytes, salt)| Content::Value(value(bytes, salt)));
    prop_oneof![1 => Just(Content::Tombstone), 5 => value]
}
fn key() -> impl Strategy<Value = Key> {
    let bytes = prop_oneof![4 => 1usize..40, 1 => Just(Key::BYTES_MAX), 1 => 1..=Key::BYTES_MAX];
    (bytes, any::<u8>()).prop_map(|(bytes, salt)| Key::new(value(bytes, salt)).unwrap())
}
fn identity() -> impl Strategy<Value = IdentityMessage> {
    let reason = prop_oneof![
        any::<u64>().prop_map(|known| IdentityRefusal::OtherIncarnation { known: Incarnation(known) }),
        Just(IdentityRefusal::SeenTwice),
        any::<u64>().prop_map(|heard| IdentityRefusal::StateLost { heard: LogPosition(heard) }),
        Just(IdentityRefusal::OtherFounding),
    ];
    prop_oneof![
        any::<[u64; 3]>().prop_map(|[nonce, recovered, founding]| IdentityMessage::Introduce {
            nonce,
            recovered: LogPosition(recovered),
            founding
        }),
        any::<[u64; 2]>().prop_map(|[boot, nonce]| IdentityMessage::Known { boot: Boot(boot), nonce }),
        (any::<[u64; 2]>(), reason).prop_map(|([boot, nonce], reason)| IdentityMessage::Refused {
            boot: Boot(boot),
            nonce,
            reason
        }),
        any::<u64>().prop_map(|boot| IdentityMessage::Stranger { boot: Boot(boot) }),
    ]
}
fn request() -> impl Strategy<Value = RequestId> {
    (any::<[u64; 2]>(), any::<u32>()).prop_map(|([boot, counter], slot)| RequestId { boot: Boot(boot), counter, slot })
}
fn replica() -> impl Strategy<Value = ReplicaRequest> {
    let wanted = prop_oneof![Just(Wanted::Record), Just(Wanted::Version)];
    let stamp = prop_oneof![Just(StampRule::Fresh), Just(StampRule::Existing)];
    prop_oneof![
        (request(), any::<u8>(), key(), wanted).prop_map(|(request, phase, key, wanted)| ReplicaRequest::Query {
            request,
            phase,
            key,
            wanted
        }),
        (request(), any::<u8>(), key(), version(), content(), stamp).prop_map(
            |(request, phase, key, version, content, stamp)| {
                let record = Record { version, content };
                ReplicaRequest::Store { request, phase, key, record, stamp }
            }
        ),
    ]
}
fn reply() -> impl Strategy<Value = ReplicaReply> {
    let refusal = prop_oneof![
        any::<u64>().prop_map(|by_micros| Refusal::ClockAhead { by_micros }),
        any::<u64>().prop_map(|epoch| Refusal::StaleEpoch { current: Epoch(epoch) }),
        Just(Refusal::NotAHome),
        Just(Refusal::DiskFull),
        Just(Refusal::StorageFailed),
    ];
    let found = (version(), proptest::option::of(content())).prop_map(|(version, content)| Found { version, content });
    prop_oneof![
        (request(), any::<u8>(), found).prop_map(|(request, phase, found)| ReplicaReply::Found {
            request,
            phase,
            found
        }),
        (request(), any::<u8>(), version()).prop_map(|(request, phase, held)| ReplicaReply::Stored {
            request,
            phase,
            held
        }),
        (request(), any::<u8>(), refusal).prop_map(|(request, phase, refusal)| ReplicaReply::Refused {
            request,
            phase,
            refusal
        }),
    ]
}
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let body = prop_oneof![
        identity().prop_map(Body::Identity),
        replica().prop_map(Body::Replica),
        reply().prop_map(Body::ReplicaReply),
    ];
    (any::<[u64; 4]>(), hlc(), body).prop_map(|([incarnation, boot, position, epoch], clock, body)| {
        let (incarnation, boot, position) = (Incarnation(incarnation), Boot(boot), LogPosition(position));
        Message { sender: Sender { incarnation, boot, position }, clock, epoch: Epoch(epoch), body }
    })
}
