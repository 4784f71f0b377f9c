//! What waits to be written to one peer, bounded in bytes, the urgent before the long.
//!
//! A post office with one van. Letters that keep the cluster together go first, then a tray of small ones, then
//! parcels; a parcel was cut into slices when it came in, and the van takes one tray and one slice at a time, so nothing
//! urgent ever waits for more than what is on its way.
//!
//! State: the trays, the slices, and what the van holds (bytes that are being written and keep their order). When there
//! is no room a message is dropped and counted: sends may be lost, and whoever misses an answer asks again.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use quorate_core::id::ClusterId;
use quorate_core::message::Message;
use quorate_core::wire::{self, Frame, Priority};

/// Small messages are gathered in trays of about this size: a control message waits for one tray and one frame at most.
const TRAY_BYTES: usize = 48 << 10;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Outbox {
    cluster: ClusterId,
    bytes_max: usize,
    control: BytesMut,
    small: VecDeque<BytesMut>,
    /// An emptied tray, for the next one.
    spare: BytesMut,
    bulk: VecDeque<Frame>,
    /// Bytes in `small` and `bulk`.
    queued_bytes: usize,
    /// Being written: these bytes, then this frame.
    active: BytesMut,
    active_frame: Option<Frame>,
    stream: u32,
    /// Messages that found no room.
    dropped: u64,
}

impl Outbox {
    /// An empty one that holds at most `bytes_max` bytes.
    pub(super) fn new(cluster: ClusterId, bytes_max: usize) -> Self {
        Self {
            cluster,
            bytes_max,
            control: BytesMut::new(),
            small: VecDeque::new(),
            spare: BytesMut::new(),
            bulk: VecDeque::new(),
            queued_bytes: 0,
            active: BytesMut::new(),
            active_frame: None,
            stream: 0,
            dropped: 0,
        }
    }

    /// Adds a message, or drops it when there is no room.
    pub(super) fn push(&mut self, message: &Message) {
        // A number for the stream that no unfinished message has: whole messages use 0, cut ones count from 1.
        let stream = self.stream.wrapping_add(1).max(1);
        let encoded = wire::encode(self.cluster, stream, message);
        if self.len() + encoded.len() > self.bytes_max {
            self.dropped += 1;
            return;
        }
        match encoded.priority() {
            Priority::Control => append(&mut self.control, encoded.chunks()),
            Priority::Small => {
                self.queued_bytes += encoded.len();
                if self.small.back().is_none_or(|tray| tray.len() >= TRAY_BYTES) {
                    self.small.push_back(std::mem::take(&mut self.spare));
                }
                // Copying a small value is cheaper than two more pieces for the kernel to walk.
                append(self.small.back_mut().expect("just made"), encoded.chunks());
            }
            Priority::Bulk => {
                self.stream = stream;
                self.queued_bytes += encoded.len();
                self.bulk.extend(encoded.into_frames());
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        let active_frame = self.active_frame.as_ref().map_or(0, Frame::len);
        self.control.len() + self.queued_bytes + self.active.len() + active_frame
    }

    /// Messages that found no room so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets everything: the connection it was meant for is gone. What was half written must not be continued on
    /// another one.
    pub(super) fn clear(&mut self) {
        let before = std::mem::replace(self, Self::new(self.cluster, self.bytes_max));
        self.dropped = before.dropped;
    }

    /// Writes as much as `write` takes, most urgent first. `Ok(true)` when everything is out.
    ///
    /// # Errors
    /// Those of `write`, but for `WouldBlock`, which gives `Ok(false)`, and `Interrupted`, after which it goes on.
    pub(super) fn write(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<bool> {
        loop {
            self.load();
            let frame = self.active_frame.as_ref();
            let pieces =
                [&self.active[..], frame.map_or(&[], |frame| &frame.head), frame.map_or(&[], |frame| &frame.value)];
            let mut slices = [IoSlice::new(&[]); 3];
            let mut filled = 0;
            for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
                slices[filled] = IoSlice::new(piece);
                filled += 1;
            }
            if filled == 0 {
                return Ok(true);
            }
            match write(&slices[..filled]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Loads the van when it is empty: all that is urgent, one tray of small messages, one frame of a long one.
    fn load(&mut self) {
        if !self.active.is_empty() || self.active_frame.is_some() {
            return;
        }
        if let Some(tray) = self.small.pop_front() {
            self.queued_bytes -= tray.len();
            let emptied = std::mem::replace(&mut self.active, tray);
            self.spare = emptied;
        }
        if !self.control.is_empty() {
            self.control.extend_from_slice(&self.active);
            self.active.clear();
            std::mem::swap(&mut self.active, &mut self.control);
        }
        self.active_frame = self.bulk.pop_front();
        self.queued_bytes -= self.active_frame.as_ref().map_or(0, Frame::len);
    }

    fn advance(&mut self, mut written: usize) {
        let step = written.min(self.active.len());
        written -= step;
        // `clear` keeps the memory for the next tray, where `advance` would give it up piece by piece.
        if step == self.active.len() {
            self.active.clear()
        } else {
            self.active.advance(step)
        }
        let Some(frame) = &mut self.active_frame else { return };
        for piece in [&mut frame.head, &mut frame.value] {
            let step = written.min(piece.len());
            piece.advance(step);
            written -= step;
        }
        if frame.len() == 0 {
            self.active_frame = None;
        }
    }
}

fn append<'a>(buffer: &mut BytesMut, chunks: impl Iterator<Item = &'a Bytes>) {
    chunks.for_each(|chunk| buffer.extend_from_slice(chunk));
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::id::{Boot, Epoch, Incarnation, Key, LogPosition, RequestId};
    use quorate_core::message::{Body, IdentityMessage, ReplicaRequest, Sender, StampRule};
    use quorate_core::version::{Content, Hlc, Record, Version};
    use quorate_core::wire::{Decoder, FRAME_BYTES_MAX, Limits};

    const CLUSTER: ClusterId = ClusterId(5);

    fn message(body: Body) -> Message {
        let sender = Sender { incarnation: Incarnation(1), boot: Boot(1), position: LogPosition(3) };
        Message { sender, clock: Hlc::ZERO, epoch: Epoch(1), body }
    }
    fn store(counter: u64, bytes: usize) -> Message {
        let version = Version { hlc: Hlc::from_ticks(counter).unwrap(), ..Version::ABSENT };
        let record = Record { version, content: Content::Value(vec![7; bytes].into()) };
        message(Body::Replica(ReplicaRequest::Store {
            request: RequestId { boot: Boot(1), counter, slot: 0 },
            phase: 0,
            key: Key::new(Bytes::from_static(b"key")).unwrap(),
            record,
            stamp: StampRule::Fresh,
        }))
    }
    fn stranger() -> Message {
        message(Body::Identity(IdentityMessage::Stranger { boot: Boot(9) }))
    }
    /// A socket that takes `per_call` bytes per call until `room` is used up.
    fn socket<'a>(
        taken: &'a mut Vec<u8>,
        per_call: usize,
        room: &'a mut usize,
    ) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> + 'a {
        move |slices| {
            if *room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let offered = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = taken.len();
            taken.extend(offered.take(per_call.min(*room)));
            let count = taken.len() - before;
            *room -= count;
            Ok(count)
        }
    }
    fn decoded(bytes: &[u8]) -> Vec<Message> {
        let mut decoder = Decoder::new(CLUSTER, Limits::default());
        let mut input = BytesMut::from(bytes);
        let mut messages = Vec::new();
        while let Some(message) = decoder.next(&mut input).unwrap() {
            messages.push(message);
        }
        assert!(input.is_empty());
        messages
    }

    #[test]
    fn everything_arrives_whole_however_the_socket_cuts_it() {
        for per_call in [7, 5_000, 1 << 20] {
            let mut outbox = Outbox::new(CLUSTER, 16 << 20);
            let sent = [store(1, 10), store(2, 200_000), stranger(), store(3, 20_000), store(4, 0)];
            sent.iter().for_each(|message| outbox.push(message));
            let mut taken = Vec::new();
            while !outbox.write(socket(&mut taken, per_call, &mut 100_000)).unwrap() {}
            assert_eq!(outbox.len(), 0);
            let arrived = decoded(&taken);
            assert_eq!(arrived[0], stranger(), "control goes first");
            assert_eq!(arrived.len(), sent.len());
            assert!(sent.iter().all(|message| arrived.contains(message)));
        }
    }

    #[test]
    fn what_is_urgent_waits_for_one_frame_of_a_long_value_at_most() {
        let mut outbox = Outbox::new(CLUSTER, 16 << 20);
        outbox.push(&store(1, 1 << 20));
        let (mut taken, mut first) = (Vec::new(), 10);
        assert!(!outbox.write(socket(&mut taken, usize::MAX, &mut first)).unwrap(), "the socket is full at once");
        outbox.push(&stranger());
        outbox.push(&store(2, 100));
        while !outbox.write(socket(&mut taken, usize::MAX, &mut 1_000)).unwrap() {}
        let arrived = decoded(&taken);
        assert_eq!(arrived, [stranger(), store(2, 100), store(1, 1 << 20)]);
        let small_at = taken.windows(100).position(|window| window == [7; 100]);
        assert!(small_at.is_some(), "the values are there");
        let mut decoder = Decoder::new(CLUSTER, Limits::default());
        let mut early = BytesMut::from(&taken[..FRAME_BYTES_MAX + 1_000]);
        assert_eq!(decoder.next(&mut early), Ok(Some(stranger())), "within a frame of where it was sent");
    }

    #[test]
    fn a_full_outbox_drops_and_counts() {
        let mut outbox = Outbox::new(CLUSTER, 100_000);
        for counter in 0..10 {
            outbox.push(&store(counter, 30_000));
        }
        assert_eq!(outbox.dropped(), 7);
        assert!(outbox.len() <= 100_000);
        outbox.clear();
        assert_eq!(outbox.len(), 0);
        assert_eq!(outbox.dropped(), 7, "what was lost stays counted");
        outbox.push(&stranger());
        let mut taken = Vec::new();
        assert!(outbox.write(socket(&mut taken, usize::MAX, &mut 1_000)).unwrap());
        assert_eq!(decoded(&taken), [stranger()], "nothing of before");
    }
}
