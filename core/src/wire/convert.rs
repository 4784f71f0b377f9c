//! Messages to letters and back: the one place where what came from outside is judged.
//!
//! Outward nothing can fail: the domain types cannot hold what the format cannot. Inward every field is looked at, and
//! the first one that holds what no peer of ours writes is named in the error. Whether a well-formed message makes
//! *sense* (is the epoch right, is this a home of the key) is the protocols' business, not ours.

use super::error::{Fault, FrameError};
use super::frame::Kind;
use super::structs as meta;
use crate::config::Config;
use crate::id::{Boot, Epoch, Incarnation, Key, LogPosition, NodeId, RequestId};
use crate::message::{Body, Found, IdentityMessage, IdentityRefusal, Message, Refusal, ReplicaReply, ReplicaRequest};
use crate::message::{Sender, StampRule, Wanted};
use crate::version::{Actor, Content, Dot, Hlc, Record, Version};
use bytes::Bytes;
use prost::Message as _;

/// A message as it travels: the page that prost writes, and the value behind it.
pub(super) struct Letter {
    pub(super) meta: Meta,
    pub(super) tail: Bytes,
}

macro_rules! metas {
    ($($kind:ident),*) => {
        /// The meta of one message; its variant is the frame's kind.
        #[allow(clippy::large_enum_variant, reason = "it lives for one call, on the stack")]
        pub(super) enum Meta {
            $($kind(meta::$kind)),*
        }

        impl Meta {
            pub(super) fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }
            pub(super) fn encoded_len(&self) -> usize {
                match self { $(Self::$kind(meta) => meta.encoded_len()),* }
            }
            /// Fills `room`, which is as long as [`Self::encoded_len`] says.
            pub(super) fn encode(&self, mut room: &mut [u8]) {
                match self { $(Self::$kind(meta) => meta.encode(&mut room)),* }
                    .expect("the room is as long as prost asked for");
                assert!(room.is_empty(), "prost writes as much as it announced");
            }
        }
    };
}
metas!(Hello, Introduce, Known, Refused, Stranger, Query, Store, Found, Stored, Refusal);

fn malformed(field: &'static str, fault: Fault) -> FrameError {
    FrameError::Malformed { field, fault }
}

impl From<&Message> for Letter {
    fn from(message: &Message) -> Self {
        let Message { sender: Sender { incarnation, boot, position }, clock, epoch, ref body } = *message;
        let head = Some(meta::Head {
            incarnation: incarnation.0,
            boot: boot.0,
            position: position.0,
            clock: clock.as_ticks(),
            epoch: epoch.0,
        });
        match body {
            Body::Identity(message) => Self { meta: identity(head, message), tail: Bytes::new() },
            Body::Replica(message) => request(head, message),
            Body::ReplicaReply(message) => reply(head, message),
        }
    }
}

fn identity(head: Option<meta::Head>, message: &IdentityMessage) -> Meta {
    match *message {
        IdentityMessage::Introduce { nonce, recovered, founding } => {
            Meta::Introduce(meta::Introduce { head, nonce, recovered: recovered.0, founding })
        }
        IdentityMessage::Known { boot, nonce } => Meta::Known(meta::Known { head, boot: boot.0, nonce }),
        IdentityMessage::Refused { boot, nonce, reason } => {
            let (reason, known, heard) = match reason {
                IdentityRefusal::OtherIncarnation { known } => {
                    (meta::IdentityReason::OtherIncarnation, Some(known.0), None)
                }
                IdentityRefusal::SeenTwice => (meta::IdentityReason::SeenTwice, None, None),
                IdentityRefusal::StateLost { heard } => (meta::IdentityReason::StateLost, None, Some(heard.0)),
                IdentityRefusal::OtherFounding => (meta::IdentityReason::OtherFounding, None, None),
            };
            Meta::Refused(meta::Refused { head, boot: boot.0, nonce, reason: Some(reason.into()), known, heard })
        }
        IdentityMessage::Stranger { boot } => Meta::Stranger(meta::Stranger { head, boot: boot.0 }),
    }
}

fn request(head: Option<meta::Head>, message: &ReplicaRequest) -> Letter {
    match message {
        ReplicaRequest::Query { request, phase, key, wanted } => {
            let wanted = match wanted {
                Wanted::Record => meta::Wanted::Record,
                Wanted::Version => meta::Wanted::Version,
            };
            let request = request_meta(*request, *phase);
            let meta = meta::Query { head, request, key: key.bytes().clone(), wanted: Some(wanted.into()) };
            Letter { meta: Meta::Query(meta), tail: Bytes::new() }
        }
        ReplicaRequest::Store { request, phase, key, record: Record { version, content }, stamp } => {
            let stamp = match stamp {
                StampRule::Fresh => meta::StampRule::Fresh,
                StampRule::Existing => meta::StampRule::Existing,
            };
            let (value_bytes, tombstone, tail) = content_meta(Some(content));
            let meta = meta::Store {
                head,
                request: request_meta(*request, *phase),
                key: key.bytes().clone(),
                version: version_meta(*version),
                stamp: Some(stamp.into()),
                value_bytes,
                tombstone,
            };
            Letter { meta: Meta::Store(meta), tail }
        }
    }
}

fn reply(head: Option<meta::Head>, message: &ReplicaReply) -> Letter {
    let (meta, tail) = match message {
        ReplicaReply::Found { request, phase, found: Found { version, content } } => {
            let (value_bytes, tombstone, tail) = content_meta(content.as_ref());
            let (request, version) = (request_meta(*request, *phase), version_meta(*version));
            (Meta::Found(meta::Found { head, request, version, value_bytes, tombstone }), tail)
        }
        ReplicaReply::Stored { request, phase, held } => {
            let request = request_meta(*request, *phase);
            (Meta::Stored(meta::Stored { head, request, held: version_meta(*held) }), Bytes::new())
        }
        ReplicaReply::Refused { request, phase, refusal } => {
            let (reason, by_micros, current) = match *refusal {
                Refusal::ClockAhead { by_micros } => (meta::RefusalReason::ClockAhead, Some(by_micros), None),
                Refusal::StaleEpoch { current } => (meta::RefusalReason::StaleEpoch, None, Some(current.0)),
                Refusal::NotAHome => (meta::RefusalReason::NotAHome, None, None),
                Refusal::DiskFull => (meta::RefusalReason::DiskFull, None, None),
                Refusal::StorageFailed => (meta::RefusalReason::StorageFailed, None, None),
            };
            let request = request_meta(*request, *phase);
            (
                Meta::Refusal(meta::Refusal { head, request, reason: Some(reason.into()), by_micros, current }),
                Bytes::new(),
            )
        }
    };
    Letter { meta, tail }
}

fn request_meta(request: RequestId, phase: u8) -> Option<meta::Request> {
    let RequestId { boot, counter, slot } = request;
    Some(meta::Request { boot: boot.0, counter, slot, phase: phase.into() })
}

fn version_meta(version: Version) -> Option<meta::Version> {
    let Version { hlc, dot: Dot { actor: Actor { node, incarnation }, sequence } } = version;
    Some(meta::Version { hlc: hlc.as_ticks(), node: node.0, incarnation: incarnation.0, sequence })
}

fn content_meta(content: Option<&Content>) -> (Option<u32>, bool, Bytes) {
    match content {
        Some(Content::Value(value)) => {
            (Some(u32::try_from(value.len()).expect("values are bounded")), false, value.clone())
        }
        Some(Content::Tombstone) => (None, true, Bytes::new()),
        None => (None, false, Bytes::new()),
    }
}

/// The message whose meta and tail `payload` holds. Key and value are slices of it.
///
/// # Errors
/// `Malformed` names the first field that holds what no peer of ours writes; `UnexpectedKind` for a hello, which the
/// runtime takes from a connection before it makes a decoder for the rest.
pub(super) fn open(kind: Kind, meta_bytes: u32, payload: Bytes) -> Result<Message, FrameError> {
    // From the page to the message in one step for each kind: a common enum between them would be moved three times.
    match kind {
        Kind::Hello => Err(FrameError::UnexpectedKind { theirs: kind as u8 }),
        Kind::Introduce => {
            let meta::Introduce { head, nonce, recovered, founding } = read_alone(meta_bytes, payload)?;
            let recovered = LogPosition(recovered);
            message_from(head, Body::Identity(IdentityMessage::Introduce { nonce, recovered, founding }))
        }
        Kind::Known => {
            let meta::Known { head, boot, nonce } = read_alone(meta_bytes, payload)?;
            message_from(head, Body::Identity(IdentityMessage::Known { boot: Boot(boot), nonce }))
        }
        Kind::Refused => {
            let refused: meta::Refused = read_alone(meta_bytes, payload)?;
            let (boot, nonce, reason) = (Boot(refused.boot), refused.nonce, identity_refusal(&refused)?);
            message_from(refused.head, Body::Identity(IdentityMessage::Refused { boot, nonce, reason }))
        }
        Kind::Stranger => {
            let meta::Stranger { head, boot } = read_alone(meta_bytes, payload)?;
            message_from(head, Body::Identity(IdentityMessage::Stranger { boot: Boot(boot) }))
        }
        Kind::Query => {
            let query: meta::Query = read_alone(meta_bytes, payload)?;
            message_from(query.head, Body::Replica(query_from(query)?))
        }
        Kind::Store => {
            let (store, tail) = read::<meta::Store>(meta_bytes, payload)?;
            message_from(store.head, Body::Replica(store_from(store, tail)?))
        }
        Kind::Found => {
            let (found, tail) = read::<meta::Found>(meta_bytes, payload)?;
            let (request, phase) = request_from(found.request)?;
            let version = version_from(found.version, "version", "version.hlc")?;
            let content = content_from(found.value_bytes, found.tombstone, tail)?;
            let reply = ReplicaReply::Found { request, phase, found: Found { version, content } };
            message_from(found.head, Body::ReplicaReply(reply))
        }
        Kind::Stored => {
            let meta::Stored { head, request, held } = read_alone(meta_bytes, payload)?;
            let (request, phase) = request_from(request)?;
            let held = version_from(held, "held", "held.hlc")?;
            message_from(head, Body::ReplicaReply(ReplicaReply::Stored { request, phase, held }))
        }
        Kind::Refusal => {
            let meta: meta::Refusal = read_alone(meta_bytes, payload)?;
            let (request, phase) = request_from(meta.request)?;
            let refusal = refusal_from(&meta)?;
            message_from(meta.head, Body::ReplicaReply(ReplicaReply::Refused { request, phase, refusal }))
        }
    }
}

/// The meta of a message, and what stands behind it.
fn read<M: prost::Message + Default>(meta_bytes: u32, mut payload: Bytes) -> Result<(M, Bytes), FrameError> {
    let tail = payload.split_off(meta_bytes as usize);
    let meta = M::decode(payload).map_err(|_| malformed("meta", Fault::Unreadable))?;
    Ok((meta, tail))
}

/// The meta of a message that carries no value.
pub(super) fn read_alone<M: prost::Message + Default>(meta_bytes: u32, payload: Bytes) -> Result<M, FrameError> {
    if payload.len() != meta_bytes as usize {
        return Err(malformed("value", Fault::Unexpected));
    }
    M::decode(payload).map_err(|_| malformed("meta", Fault::Unreadable))
}

fn message_from(head: Option<meta::Head>, body: Body) -> Result<Message, FrameError> {
    let meta::Head { incarnation, boot, position, clock, epoch } = head.ok_or(malformed("head", Fault::Absent))?;
    let sender = Sender { incarnation: Incarnation(incarnation), boot: Boot(boot), position: LogPosition(position) };
    Ok(Message { sender, clock: hlc_from(clock, "head.clock")?, epoch: Epoch(epoch), body })
}

fn identity_refusal(meta: &meta::Refused) -> Result<IdentityRefusal, FrameError> {
    let reason = number::<meta::IdentityReason>(meta.reason, "reason")?;
    let is_known = reason == meta::IdentityReason::OtherIncarnation;
    let is_heard = reason == meta::IdentityReason::StateLost;
    let known = Incarnation(detail(meta.known, is_known, "known")?);
    let heard = LogPosition(detail(meta.heard, is_heard, "heard")?);
    Ok(match reason {
        meta::IdentityReason::OtherIncarnation => IdentityRefusal::OtherIncarnation { known },
        meta::IdentityReason::SeenTwice => IdentityRefusal::SeenTwice,
        meta::IdentityReason::StateLost => IdentityRefusal::StateLost { heard },
        meta::IdentityReason::OtherFounding => IdentityRefusal::OtherFounding,
    })
}

fn query_from(meta: meta::Query) -> Result<ReplicaRequest, FrameError> {
    let (request, phase) = request_from(meta.request)?;
    let wanted = match number(meta.wanted, "wanted")? {
        meta::Wanted::Record => Wanted::Record,
        meta::Wanted::Version => Wanted::Version,
    };
    Ok(ReplicaRequest::Query { request, phase, key: key_from(meta.key)?, wanted })
}

fn store_from(meta: meta::Store, tail: Bytes) -> Result<ReplicaRequest, FrameError> {
    let (request, phase) = request_from(meta.request)?;
    let key = key_from(meta.key)?;
    let version = version_from(meta.version, "version", "version.hlc")?;
    let stamp = match number(meta.stamp, "stamp")? {
        meta::StampRule::Fresh => StampRule::Fresh,
        meta::StampRule::Existing => StampRule::Existing,
    };
    let content = content_from(meta.value_bytes, meta.tombstone, tail)?;
    let content = content.ok_or(malformed("content", Fault::Absent))?;
    Ok(ReplicaRequest::Store { request, phase, key, record: Record { version, content }, stamp })
}

fn refusal_from(meta: &meta::Refusal) -> Result<Refusal, FrameError> {
    let reason = number::<meta::RefusalReason>(meta.reason, "reason")?;
    let by_micros = detail(meta.by_micros, reason == meta::RefusalReason::ClockAhead, "by_micros")?;
    let current = Epoch(detail(meta.current, reason == meta::RefusalReason::StaleEpoch, "current")?);
    Ok(match reason {
        meta::RefusalReason::ClockAhead => Refusal::ClockAhead { by_micros },
        meta::RefusalReason::StaleEpoch => Refusal::StaleEpoch { current },
        meta::RefusalReason::NotAHome => Refusal::NotAHome,
        meta::RefusalReason::DiskFull => Refusal::DiskFull,
        meta::RefusalReason::StorageFailed => Refusal::StorageFailed,
    })
}

/// The variant of an enum that must be there.
fn number<T: TryFrom<i32>>(number: Option<i32>, field: &'static str) -> Result<T, FrameError> {
    let number = number.ok_or(malformed(field, Fault::Absent))?;
    T::try_from(number).map_err(|_| malformed(field, Fault::UnknownNumber))
}

/// A number that belongs to one reason: there with that reason, absent (and 0) with every other.
fn detail(number: Option<u64>, belongs: bool, field: &'static str) -> Result<u64, FrameError> {
    match (number, belongs) {
        (Some(number), true) => Ok(number),
        (None, false) => Ok(0),
        (None, true) => Err(malformed(field, Fault::Absent)),
        (Some(_), false) => Err(malformed(field, Fault::Unexpected)),
    }
}

fn request_from(meta: Option<meta::Request>) -> Result<(RequestId, u8), FrameError> {
    let meta::Request { boot, counter, slot, phase } = meta.ok_or(malformed("request", Fault::Absent))?;
    let phase = u8::try_from(phase).map_err(|_| malformed("request.phase", Fault::OutOfRange))?;
    Ok((RequestId { boot: Boot(boot), counter, slot }, phase))
}

fn key_from(bytes: Bytes) -> Result<Key, FrameError> {
    Key::new(bytes).map_err(|_| malformed("key", Fault::Length))
}

fn hlc_from(ticks: u64, field: &'static str) -> Result<Hlc, FrameError> {
    Hlc::from_ticks(ticks).ok_or(malformed(field, Fault::OutOfRange))
}

fn version_from(
    meta: Option<meta::Version>,
    field: &'static str,
    hlc_field: &'static str,
) -> Result<Version, FrameError> {
    let meta::Version { hlc, node, incarnation, sequence } = meta.ok_or(malformed(field, Fault::Absent))?;
    let actor = Actor { node: NodeId(node), incarnation: Incarnation(incarnation) };
    Ok(Version { hlc: hlc_from(hlc, hlc_field)?, dot: Dot { actor, sequence } })
}

fn content_from(value_bytes: Option<u32>, tombstone: bool, tail: Bytes) -> Result<Option<Content>, FrameError> {
    match (value_bytes, tombstone) {
        (Some(_), true) => Err(malformed("tombstone", Fault::Unexpected)),
        (Some(bytes), false) if bytes as usize > Config::VALUE_BYTES_LIMIT => {
            Err(malformed("value_bytes", Fault::OutOfRange))
        }
        (Some(bytes), false) if bytes as usize != tail.len() => Err(malformed("value", Fault::Length)),
        (Some(_), false) => Ok(Some(Content::Value(tail))),
        (None, _) if !tail.is_empty() => Err(malformed("value", Fault::Unexpected)),
        (None, true) => Ok(Some(Content::Tombstone)),
        (None, false) => Ok(None),
    }
}
