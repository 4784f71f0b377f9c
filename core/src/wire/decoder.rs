//! Frames become messages again.
//!
//! A frame that holds its whole message is not copied: key and value are slices of it. The frames of a longer message
//! are gathered in one buffer of the declared length, at most [`Limits::streams_max`] of them at a time, so one peer
//! never makes us hold more than [`Limits::bytes_max`].
//!
//! State: one [`Assembly`] per stream that has begun and not ended, and the first error: it is final, since nobody
//! knows where the next frame would begin.

use super::convert::open;
use super::error::FrameError;
use super::frame::{HEADER_BYTES, Header, Kind, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::id::ClusterId;
use crate::message::Message;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};

/// What one peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message. At most and by default [`MESSAGE_BYTES_MAX`].
    pub message_bytes_max: usize,
    /// Messages of more than one frame that may be under way at once. Default 8: a sender that keeps to it can let
    /// eight long values share a connection fairly, and no peer holds more than 8.5 MiB of our memory.
    pub streams_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes_max: MESSAGE_BYTES_MAX, streams_max: 8 }
    }
}

impl Limits {
    /// The most bytes that unfinished messages of one peer can take.
    pub fn bytes_max(&self) -> usize {
        self.message_bytes_max * self.streams_max
    }
}

/// Turns the bytes of one connection, in one direction, into messages.
#[derive(Clone, Debug)]
pub struct Decoder {
    cluster: ClusterId,
    limits: Limits,
    open: Vec<Assembly>,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder for a new connection of a member of `cluster`.
    pub fn new(cluster: ClusterId, limits: Limits) -> Self {
        assert!(limits.message_bytes_max <= MESSAGE_BYTES_MAX, "the format knows no longer messages");
        Self { cluster, limits, open: Vec::new(), failed: None }
    }

    /// Takes complete frames from the front of `input` up to the end of a message, and returns it; `None` when more
    /// bytes are needed. To be called again until it says `None`.
    ///
    /// # Errors
    /// [`FrameError`]: the peer, or the way to it, is not sound. The connection must be closed; every further call
    /// returns the same error, and what was gathered is given up.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(input).inspect_err(|error| {
            self.failed = Some(*error);
            self.open = Vec::new();
        })
    }

    /// Bytes that unfinished messages take now; at most [`Limits::bytes_max`].
    pub fn held_bytes(&self) -> usize {
        self.open.iter().map(|assembly| assembly.buffer.capacity()).sum()
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Message>, FrameError> {
        loop {
            let Some(header) = Header::read(input, self.limits.message_bytes_max)? else { return Ok(None) };
            let Some(frame) = input.get(..header.frame_bytes()) else { return Ok(None) };
            let kind = header.verify(frame)?;
            header.belongs_to(self.cluster)?;
            let slot = self.open.iter().position(|assembly| assembly.stream == header.stream);
            if header.is_whole() {
                if slot.is_some() {
                    return Err(FrameError::BrokenStream { stream: header.stream });
                }
                let mut payload = input.split_to(header.frame_bytes()).freeze();
                payload.advance(HEADER_BYTES);
                return open(kind, header.meta_bytes, payload).map(Some);
            }
            let slot = match slot {
                Some(slot) => slot,
                None if self.open.len() >= self.limits.streams_max => {
                    return Err(FrameError::TooManyStreams { max: self.limits.streams_max as u32 });
                }
                None => {
                    self.open.push(Assembly::begin(&header, kind)?);
                    self.open.len() - 1
                }
            };
            self.open[slot].append(&header, kind, &frame[HEADER_BYTES..])?;
            input.advance(header.frame_bytes());
            if header.is_last() {
                return self.open.swap_remove(slot).end().map(Some);
            }
        }
    }
}

/// A message of which some frames have come.
#[derive(Clone, Debug)]
struct Assembly {
    stream: u32,
    kind: Kind,
    message_bytes: u32,
    meta_bytes: u32,
    buffer: BytesMut,
}

impl Assembly {
    /// # Errors
    /// `BrokenStream` when the first frame that is seen is not the first of its message.
    fn begin(header: &Header, kind: Kind) -> Result<Self, FrameError> {
        let Header { stream, message_bytes, meta_bytes, offset, .. } = *header;
        if offset != 0 {
            return Err(FrameError::BrokenStream { stream });
        }
        Ok(Self { stream, kind, message_bytes, meta_bytes, buffer: BytesMut::with_capacity(message_bytes as usize) })
    }

    /// # Errors
    /// `BrokenStream` when the frame is not the next one of this message.
    fn append(&mut self, header: &Header, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
        let continues = self.kind == kind
            && self.stream == header.stream
            && self.message_bytes == header.message_bytes
            && self.meta_bytes == header.meta_bytes
            && self.buffer.len() == header.offset as usize;
        if !continues {
            return Err(FrameError::BrokenStream { stream: header.stream });
        }
        self.buffer.extend_from_slice(payload);
        Ok(())
    }

    fn end(self) -> Result<Message, FrameError> {
        assert_eq!(self.buffer.len(), self.message_bytes as usize, "offsets leave no gap");
        open(self.kind, self.meta_bytes, self.buffer.freeze())
    }
}

/// The message that `bytes` holds, all its frames one behind the other and nothing else. For hosts that carry whole
/// messages; a message of one frame is not copied.
///
/// # Errors
/// [`FrameError`], as from [`Decoder::next`]; `Truncated` and `Trailing` where the length does not fit.
pub fn decode_whole(cluster: ClusterId, mut bytes: Bytes) -> Result<Message, FrameError> {
    let mut assembly: Option<Assembly> = None;
    loop {
        let Some(header) = Header::read(&bytes, MESSAGE_BYTES_MAX)? else {
            return Err(FrameError::Truncated { missing: HEADER_BYTES - bytes.len() });
        };
        let left = (header.message_bytes - header.offset) as usize;
        let expected = left + left.div_ceil(PAYLOAD_BYTES_MAX) * HEADER_BYTES;
        if bytes.len() < expected {
            return Err(FrameError::Truncated { missing: expected - bytes.len() });
        }
        if bytes.len() > expected {
            return Err(FrameError::Trailing { bytes: bytes.len() - expected });
        }
        let kind = header.verify(&bytes[..header.frame_bytes()])?;
        header.belongs_to(cluster)?;
        if header.is_whole() && assembly.is_none() {
            bytes.advance(HEADER_BYTES);
            return open(kind, header.meta_bytes, bytes);
        }
        let gathered = match &mut assembly {
            Some(gathered) => gathered,
            None => assembly.insert(Assembly::begin(&header, kind)?),
        };
        gathered.append(&header, kind, &bytes[HEADER_BYTES..header.frame_bytes()])?;
        bytes.advance(header.frame_bytes());
        if header.is_last() {
            return assembly.take().expect("just appended to").end();
        }
    }
}
