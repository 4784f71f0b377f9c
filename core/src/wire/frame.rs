//! The frame: a header of 40 bytes and up to 64 KiB less 40 of payload.
//!
//! All numbers are little-endian:
//!
//! | offset | bytes | field         | meaning                                                                      |
//! |--------|-------|---------------|------------------------------------------------------------------------------|
//! | 0      | 4     | magic         | `QRTm`                                                                       |
//! | 4      | 1     | version       | of this header: 1                                                            |
//! | 5      | 1     | kind          | of the message: which prost struct its meta is                               |
//! | 6      | 1     | priority      | what may overtake it: 0 control, 1 small, 2 bulk                             |
//! | 7      | 1     | flags         | bit 0: the last frame of its message; the others are 0                       |
//! | 8      | 8     | cluster       | whom it is meant for                                                         |
//! | 16     | 4     | stream        | which message of the connection it is a part of                              |
//! | 20     | 4     | message bytes | of the whole message: meta and tail                                          |
//! | 24     | 4     | meta bytes    | where in the message the tail begins                                         |
//! | 28     | 4     | offset        | where in the message this payload stands                                     |
//! | 32     | 4     | payload bytes | of this frame                                                                |
//! | 36     | 4     | checksum      | crc32c of the 36 bytes before and of the payload                             |
//!
//! Every frame but the last is full. So who wants to make us keep a buffer of 1 MiB must send 64 KiB first, and the
//! last flag and the payload's length follow from the other fields: a header that contradicts itself is refused before
//! its payload has arrived.

use super::convert::Meta;
use super::error::{Fault, FrameError};
use crate::config::Config;
use crate::id::ClusterId;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};

/// No frame is longer, header included: what a control message waits for at most.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// No message is longer, meta and value together: a value of 1 MiB and a meta that fits one frame.
pub const MESSAGE_BYTES_MAX: usize = Config::VALUE_BYTES_LIMIT + META_BYTES_MAX;

pub(super) const HEADER_BYTES: usize = 40;
pub(super) const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES;
/// The meta fits the first frame, so its longest field, a key of 4 KiB, has ample room.
const META_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

const MAGIC: [u8; 4] = *b"QRTm";
pub(super) const VERSION: u8 = 1;
const FLAG_LAST: u8 = 1;
const CHECKSUM_AT: usize = 36;

/// Which frames may overtake which: a waiting frame of a lower order goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// What keeps the cluster together.
    Control,
    /// Messages of up to [`Priority::SMALL_BYTES_MAX`] bytes.
    Small,
    /// Longer ones.
    Bulk,
}

impl Priority {
    /// The longest message that counts as small, in bytes: 131 µs on a link of 1 Gbit/s, about the network's own delay.
    pub const SMALL_BYTES_MAX: usize = 16 << 10;

    fn of(kind: Kind, message_bytes: usize) -> Self {
        match kind {
            Kind::Hello | Kind::Introduce | Kind::Known | Kind::Refused | Kind::Stranger => Self::Control,
            Kind::Query | Kind::Store | Kind::Found | Kind::Stored | Kind::Refusal => {
                if message_bytes <= Self::SMALL_BYTES_MAX { Self::Small } else { Self::Bulk }
            }
        }
    }
    fn number(self) -> u8 {
        match self {
            Self::Control => 0,
            Self::Small => 1,
            Self::Bulk => 2,
        }
    }
}

/// The kinds of messages. A number is never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello = 1,
    Introduce = 16,
    Known = 17,
    Refused = 18,
    Stranger = 19,
    Query = 32,
    Store = 33,
    Found = 48,
    Stored = 49,
    Refusal = 50,
}

impl Kind {
    fn from_number(number: u8) -> Result<Self, FrameError> {
        Ok(match number {
            1 => Self::Hello,
            16 => Self::Introduce,
            17 => Self::Known,
            18 => Self::Refused,
            19 => Self::Stranger,
            32 => Self::Query,
            33 => Self::Store,
            48 => Self::Found,
            49 => Self::Stored,
            50 => Self::Refusal,
            theirs => return Err(FrameError::UnexpectedKind { theirs }),
        })
    }
}

/// What a header says, less what follows from the rest of it.
///
/// One that was read has lengths within their bounds that fit each other; its other fields mean nothing before
/// [`Header::verify`] has seen the whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    kind: u8,
    priority: u8,
    cluster: ClusterId,
    pub(super) stream: u32,
    pub(super) message_bytes: u32,
    pub(super) meta_bytes: u32,
    pub(super) offset: u32,
}

impl Header {
    /// Bytes of this frame's payload: as many as fit.
    pub(super) fn payload_bytes(&self) -> usize {
        ((self.message_bytes - self.offset) as usize).min(PAYLOAD_BYTES_MAX)
    }
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes()
    }
    pub(super) fn is_last(&self) -> bool {
        self.offset as usize + self.payload_bytes() == self.message_bytes as usize
    }
    /// Whether this frame holds its whole message.
    pub(super) fn is_whole(&self) -> bool {
        self.message_bytes as usize <= PAYLOAD_BYTES_MAX
    }

    fn write(&self, meta: &[u8], value: &[u8]) -> [u8; HEADER_BYTES] {
        debug_assert_eq!(meta.len() + value.len(), self.payload_bytes());
        let mut bytes = [0; HEADER_BYTES];
        let flags = if self.is_last() { FLAG_LAST } else { 0 };
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&[VERSION, self.kind, self.priority, flags]);
        bytes[8..16].copy_from_slice(&self.cluster.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.stream.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.message_bytes.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.meta_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..36].copy_from_slice(&(self.payload_bytes() as u32).to_le_bytes());
        let checksum = crc32c_append(crc32c_append(crc32c(&bytes[..CHECKSUM_AT]), meta), value);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the front of `input`; `None` when more bytes are needed to tell. Another protocol is
    /// recognised by its first wrong byte.
    ///
    /// # Errors
    /// `BadMagic`, `Version`, `TooLong`, or `Malformed` for lengths that contradict each other.
    pub(super) fn read(input: &[u8], message_bytes_max: usize) -> Result<Option<Self>, FrameError> {
        let front = &input[..input.len().min(MAGIC.len())];
        if front != &MAGIC[..front.len()] {
            let mut theirs = [0; 4];
            theirs[..front.len()].copy_from_slice(front);
            return Err(FrameError::BadMagic { theirs });
        }
        if let Some(&theirs) = input.get(4)
            && theirs != VERSION
        {
            return Err(FrameError::Version { theirs });
        }
        let Some(bytes) = input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let header = Self {
            kind: bytes[5],
            priority: bytes[6],
            cluster: ClusterId(u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32),
            stream: u32_at(bytes, 16),
            message_bytes: u32_at(bytes, 20),
            meta_bytes: u32_at(bytes, 24),
            offset: u32_at(bytes, 28),
        };
        bounded(header.message_bytes, message_bytes_max)?;
        bounded(header.meta_bytes, META_BYTES_MAX)?;
        bounded(u32_at(bytes, 32), PAYLOAD_BYTES_MAX)?;
        let malformed = |field| Err(FrameError::Malformed { field, fault: Fault::Length });
        if header.meta_bytes > header.message_bytes {
            return malformed("meta bytes");
        }
        if header.offset >= header.message_bytes || !(header.offset as usize).is_multiple_of(PAYLOAD_BYTES_MAX) {
            return malformed("offset");
        }
        if u32_at(bytes, 32) as usize != header.payload_bytes() {
            return malformed("payload bytes");
        }
        if bytes[7] != if header.is_last() { FLAG_LAST } else { 0 } {
            return Err(FrameError::Malformed { field: "flags", fault: Fault::OutOfRange });
        }
        Ok(Some(header))
    }

    /// Judges a frame whose header this is, and returns its kind.
    ///
    /// # Errors
    /// `Checksum` before all others, so that a damaged frame is not taken for a frame of another cluster; then
    /// `UnexpectedKind`, and `Malformed` for a priority that names nothing.
    pub(super) fn verify(&self, frame: &[u8]) -> Result<Kind, FrameError> {
        let payload = &frame[HEADER_BYTES..];
        debug_assert_eq!(payload.len(), self.payload_bytes());
        if crc32c_append(crc32c(&frame[..CHECKSUM_AT]), payload) != u32_at(frame, CHECKSUM_AT) {
            return Err(FrameError::Checksum);
        }
        if self.priority > Priority::Bulk.number() {
            return Err(FrameError::Malformed { field: "priority", fault: Fault::UnknownNumber });
        }
        Kind::from_number(self.kind)
    }

    /// Whom the frame is meant for.
    pub(super) fn cluster(&self) -> ClusterId {
        self.cluster
    }
    /// # Errors
    /// `OtherCluster`.
    pub(super) fn belongs_to(&self, ours: ClusterId) -> Result<(), FrameError> {
        if self.cluster == ours { Ok(()) } else { Err(FrameError::OtherCluster { theirs: self.cluster }) }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn bounded(declared: u32, max: usize) -> Result<(), FrameError> {
    if declared as usize <= max { Ok(()) } else { Err(FrameError::TooLong { declared, max: max as u32 }) }
}

/// One frame to be written: `head`, then `value`, with nothing between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The header, and in the first frame of a message the meta.
    pub head: Bytes,
    /// This frame's part of the value; empty when there is none.
    pub value: Bytes,
}

impl Frame {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.head.len() + self.value.len()
    }
    /// What to write, in order, for a vectored write.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        [&self.head, &self.value].into_iter().filter(|chunk| !chunk.is_empty())
    }
}

/// A message as frames. Frames of one message keep their order; frames of other messages may go between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    priority: Priority,
    first: Frame,
    rest: Vec<Frame>,
}

impl Encoded {
    /// What may overtake it.
    pub fn priority(&self) -> Priority {
        self.priority
    }
    /// Its length in bytes, headers included.
    #[allow(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.frames().map(Frame::len).sum()
    }
    /// Its frames in order; at least one.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        core::iter::once(&self.first).chain(&self.rest)
    }
    /// Its frames in order, for a queue of frames.
    pub fn into_frames(self) -> impl Iterator<Item = Frame> {
        core::iter::once(self.first).chain(self.rest)
    }
    /// What to write, in order, when nothing goes between.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.frames().flat_map(Frame::chunks)
    }
    /// All of it in one buffer; copies, unless there is only one chunk. What [`super::decode_whole`] takes.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() && self.first.value.is_empty() {
            return self.first.head;
        }
        let mut bytes = Vec::with_capacity(self.len());
        for chunk in self.chunks() {
            bytes.extend_from_slice(chunk);
        }
        bytes.into()
    }
}

/// Cuts a message into frames. A message of one frame costs one allocation: header and meta together.
pub(super) fn cut(cluster: ClusterId, stream: u32, meta: &Meta, tail: Bytes) -> Encoded {
    let meta_bytes = meta.encoded_len();
    let message_bytes = meta_bytes + tail.len();
    let priority = Priority::of(meta.kind(), message_bytes);
    assert!(meta_bytes <= META_BYTES_MAX, "keys are bounded when they are made");
    assert!(tail.len() <= Config::VALUE_BYTES_LIMIT, "values are bounded when a coordinator admits them");

    let frames = message_bytes.div_ceil(PAYLOAD_BYTES_MAX);
    let mut heads = vec![0; frames * HEADER_BYTES + meta_bytes];
    let (first_head, other_heads) = heads.split_at_mut(HEADER_BYTES + meta_bytes);
    // Into a slice, not a growing buffer: the length is known, and prost is quicker without asking for room each time.
    meta.encode(&mut first_head[HEADER_BYTES..]);

    let mut header = Header {
        kind: meta.kind() as u8,
        priority: priority.number(),
        cluster,
        stream,
        message_bytes: message_bytes as u32,
        meta_bytes: meta_bytes as u32,
        offset: 0,
    };
    let first_part = header.payload_bytes() - meta_bytes;
    let written = header.write(&first_head[HEADER_BYTES..], &tail[..first_part]);
    first_head[..HEADER_BYTES].copy_from_slice(&written);
    if header.is_last() {
        let first = Frame { head: heads.into(), value: tail };
        return Encoded { priority, first, rest: Vec::new() };
    }

    let mut parts = Vec::with_capacity(frames - 1);
    let mut from = first_part;
    for head in other_heads.chunks_exact_mut(HEADER_BYTES) {
        header.offset += PAYLOAD_BYTES_MAX as u32;
        let part = from..from + header.payload_bytes();
        from = part.end;
        head.copy_from_slice(&header.write(&[], &tail[part.clone()]));
        parts.push(part);
    }
    assert_eq!(from, tail.len(), "every byte of the value has its frame");
    let mut heads = Bytes::from(heads);
    let first = Frame { head: heads.split_to(HEADER_BYTES + meta_bytes), value: tail.slice(..first_part) };
    let frame = |part| Frame { head: heads.split_to(HEADER_BYTES), value: tail.slice(part) };
    Encoded { priority, first, rest: parts.into_iter().map(frame).collect() }
}
