//! Frames built by hand from the table in `wire/frame.rs`, not by the code under test, so the table is checked too.

use crate::{CLUSTER, whole};
use bytes::Bytes;
use quorate_core::message::Message;

/// A frame as the table in `wire/frame.rs` describes it; every field may lie.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) priority: u8,
    pub(crate) flags: u8,
    pub(crate) cluster: u64,
    pub(crate) stream: u32,
    pub(crate) message_bytes: u32,
    pub(crate) meta_bytes: u32,
    pub(crate) offset: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    pub(crate) fn of(kind: u8, meta: &[u8], tail: &[u8]) -> Self {
        let payload = [meta, tail].concat();
        let bytes = payload.len() as u32;
        Self {
            magic: *b"QRTm",
            version: 1,
            kind,
            priority: 1,
            flags: 1,
            cluster: CLUSTER.0,
            stream: 0,
            message_bytes: bytes,
            meta_bytes: meta.len() as u32,
            offset: 0,
            payload_bytes: bytes,
            payload,
        }
    }
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
    pub(crate) fn bytes(&self) -> Bytes {
        let mut bytes = self.magic.to_vec();
        bytes.extend([self.version, self.kind, self.priority, self.flags]);
        bytes.extend(self.cluster.to_le_bytes());
        for number in [self.stream, self.message_bytes, self.meta_bytes, self.offset, self.payload_bytes] {
            bytes.extend(number.to_le_bytes());
        }
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &self.payload);
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(&self.payload);
        bytes.into()
    }
}

/// The meta of a message of one frame.
pub(crate) fn meta_of(message: &Message) -> Vec<u8> {
    let bytes = whole(message);
    let meta_bytes = u32::from_le_bytes(bytes[24..28].try_into().unwrap()) as usize;
    bytes[40..40 + meta_bytes].to_vec()
}
/// A field of the meta: its tag and wire type, then what follows.
pub(crate) fn field(tag: u8, wire_type: u8, content: &[u8]) -> Vec<u8> {
    [&[tag << 3 | wire_type], content].concat()
}
pub(crate) fn nested(tag: u8, content: &[u8]) -> Vec<u8> {
    field(tag, 2, &[&[content.len() as u8], content].concat())
}
