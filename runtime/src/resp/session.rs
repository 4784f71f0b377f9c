//! One connection as a value: bytes in, calls out, answers in, bytes out.
//!
//! A counter clerk who takes slips as they are pushed over, sends each to the back room at once, and hands the parcels
//! out in the order of the slips.
//!
//! State: the request being received, one slot per request that has no reply yet, the replies not yet written, and who
//! the client said it is. Limits hold for each connection: above [`SessionLimits::in_flight_max`] requests, or
//! [`SessionLimits::in_flight_bytes_max`] bytes of requests, expected answers and unwritten replies, the next request
//! waits in the read buffer and the host stops reading.
//!
//! How long an answer will be is not known when a read is sent off. A new connection is taken to read large values, so
//! that only a few reads leave at once; each answer corrects that guess. A client that asks for much and takes nothing
//! is cut off when its replies exceed [`SessionLimits::output_bytes_max`], or half of that for longer than its patience.

use super::answer;
use super::client::Client;
use super::commands::{self, Command, Kind};
use super::decode::{Bounds, Decoder, Malformed, Progress, Request, SLICE_SHARE};
use super::reply::Writer;
use super::slots::{self, JoinKind, KeyMarks, Part, Shape, Slot, State};
use super::words::{self, Asked};
use super::{Close, CloseReason, Door, Output, SessionCall, SessionLimits};
use crate::metrics::Op;
use bytes::{Buf, BytesMut};
use quorate_core::config::{Config, Mode};
use quorate_core::effect::{ClientResponse, Outcome};
use quorate_core::id::Key;
use quorate_core::input::{ClientRequest, Command as NodeCommand};
use quorate_core::time::{Duration, Instant, Now};
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

/// Room for reading that a connection has while its requests are small.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// With less room than this a read would cost more than it brings.
const READ_ROOM_MIN: usize = 4 << 10;
/// Beside a value, a reply has a header and ends.
const REPLY_OVERHEAD: usize = 64;
/// A sender that is slower than this is taken to be stuck, once its patience is over.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// One connection.
#[derive(Debug)]
pub struct Session {
    pub(super) door: Rc<Door>,
    pub(super) client: Client,
    pub(super) output: Output,
    pub(super) close: Close,
    input: BytesMut,
    /// The size of the allocation behind `input`.
    input_allocated: usize,
    /// How many more bytes the request being received needs, as far as is known.
    bytes_wanted: usize,
    decoder: Decoder,
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first_slot: u64,
    marks: KeyMarks,
    /// The marks of the request being taken.
    new_marks: Vec<u32>,
    /// How many keys it names.
    new_keys: usize,
    calls_open: usize,
    in_flight_bytes: usize,
    /// Bytes of values that are answered and wait for those before them.
    held_bytes: usize,
    /// How many bytes the next read's answer is taken to have.
    read_charge: usize,
    /// A whole request waits for room or for those before it.
    is_blocked: bool,
    born: Instant,
    heard: Instant,
    request_since: Option<Instant>,
    /// Since when the client has taken nothing of many replies, and how many bytes it had taken then.
    stalled_since: Option<(Instant, u64)>,
}

impl Session {
    /// A connection that has just been accepted. `connection` is the host's number for it, `peer` its address in words.
    pub fn new(door: Rc<Door>, connection: u64, peer: String, now: Now) -> Self {
        let client = Client::new(connection, peer, door.password.is_none(), now.monotonic);
        Self {
            door,
            client,
            output: Output::default(),
            close: Close::No,
            input: BytesMut::new(),
            input_allocated: 0,
            bytes_wanted: 1,
            decoder: Decoder::default(),
            slots: VecDeque::new(),
            first_slot: 0,
            marks: KeyMarks::default(),
            new_marks: Vec::new(),
            new_keys: 0,
            calls_open: 0,
            in_flight_bytes: 0,
            held_bytes: 0,
            read_charge: Config::VALUE_BYTES_LIMIT,
            is_blocked: false,
            born: now.monotonic,
            heard: now.monotonic,
            request_since: None,
            stalled_since: None,
        }
    }

    /// Where the host reads to: a buffer with room. A large value gets one that holds just it, so that it is never
    /// copied.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let is_oversized = self.input_allocated > 2 * READ_BUFFER_BYTES;
        if self.input.is_empty() && is_oversized && self.bytes_wanted < READ_BUFFER_BYTES {
            self.input = BytesMut::new();
        }
        let room = self.input.capacity() - self.input.len();
        // A buffer that a large value nearly fills is not grown: that would move the value.
        if room < self.bytes_wanted || (room < READ_ROOM_MIN && self.input.len() < READ_BUFFER_BYTES) {
            self.input.reserve(self.bytes_wanted.max(READ_BUFFER_BYTES));
            self.input_allocated = self.input.capacity();
        }
        &mut self.input
    }

    /// Whether the host should read: not while a request waits for room, and not once the connection will close.
    pub fn wants_input(&self) -> bool {
        !self.is_blocked && self.close == Close::No
    }

    /// Whether a whole request waits: [`Self::advance`] may take it after an answer came or output was written.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// What to do with the connection.
    pub fn close(&self) -> Close {
        self.close
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The calls that are at the node: for the host to name to it when the connection is lost.
    pub fn waiting_calls(&self) -> Vec<u64> {
        let mut calls = Vec::new();
        for (slot, number) in self.slots.iter().zip(self.first_slot..) {
            match &slot.state {
                State::Waiting => calls.push(slots::sequence(number, 0)),
                State::Joining(join) => {
                    for (part, state) in join.parts.iter().enumerate() {
                        match state {
                            Part::Open(_) => calls.push(slots::sequence(number, part)),
                            Part::OpenAgain(..) => calls.push(slots::sequence(number, part + slots::SECOND_STEP)),
                            Part::Missing | Part::Done | Part::Value(_) | Part::Failed => {}
                        }
                    }
                }
                State::Answered(_) | State::Written(_) => {}
            }
        }
        calls
    }

    /// Takes every request that is whole and has room; appends what the node must do to `calls`.
    pub fn advance(&mut self, now: Now, calls: &mut Vec<SessionCall>) {
        if self.close != Close::No {
            return;
        }
        // Both are lent to the request while it is carried out, which changes the rest of the session.
        let mut input = mem::take(&mut self.input);
        let mut decoder = mem::take(&mut self.decoder);
        let mut taken = 0;
        let mut has_taken = false;
        self.is_blocked = false;
        while self.close == Close::No {
            let progress = decoder.step(&input[taken..], self.bounds());
            let frame_bytes = match progress {
                Ok(Progress::Complete { frame_bytes }) => frame_bytes,
                Ok(Progress::Incomplete { bytes_needed }) => {
                    self.bytes_wanted = bytes_needed - (input.len() - taken);
                    break;
                }
                Err(malformed) => {
                    self.refuse_stream(malformed);
                    break;
                }
            };
            let frame = &input[taken..taken + frame_bytes];
            let request = decoder.request(frame);
            let command = request.arg_if(0).and_then(commands::lookup);
            if !self.has_room(command, &request) {
                self.is_blocked = true;
                self.bytes_wanted = 1;
                break;
            }
            self.heard = now.monotonic;
            has_taken = true;
            if frame_bytes * SLICE_SHARE < self.input_allocated {
                self.execute(now, command, &request, calls);
                taken += frame_bytes;
            } else {
                input.advance(taken);
                taken = 0;
                let frame = input.split_to(frame_bytes).freeze();
                let request = decoder.shared_request(&frame, self.input_allocated);
                self.execute(now, command, &request, calls);
            }
            decoder.take();
        }
        input.advance(taken);
        let has_begun = !self.is_blocked && !input.is_empty();
        let began = self.request_since.filter(|_| !has_taken).unwrap_or(now.monotonic);
        self.request_since = has_begun.then_some(began);
        self.input = input;
        self.decoder = decoder;
    }

    /// Brings the answer of a call; may append further calls. To be called once for each.
    pub fn complete(&mut self, now: Now, sequence: u64, response: ClientResponse, calls: &mut Vec<SessionCall>) {
        let (number, part) = slots::slot_and_part(sequence);
        let index = usize::try_from(number - self.first_slot).expect("fewer slots than bytes of memory");
        self.calls_open -= 1;
        let slot = self.slots.get_mut(index).expect("a call is answered while its request waits");
        if let Outcome::Value(_) | Outcome::Missing = response.outcome {
            self.read_charge = (words::value_bytes(&response.outcome) + REPLY_OVERHEAD).max(self.read_charge / 2);
        }
        let held_before = slot.held_bytes();
        let next = slot.on_answer(now, part, response, &self.door);
        self.held_bytes += slot.held_bytes() - held_before;
        if slot.is_finished() {
            self.in_flight_bytes -= mem::take(&mut slot.charge);
        }
        if let Some(key) = next {
            let command = NodeCommand::Delete { context: None, presented: None };
            let consistency = slot.asked.consistency;
            let request = ClientRequest { id: None, key, timeout: None, consistency, command };
            self.call(number, part + slots::SECOND_STEP, request, calls);
        }
        self.write_finished();
    }

    /// Looks at the time: to be called every second or so. The connection may have to close.
    pub fn on_tick(&mut self, now: Instant) {
        let limits = &self.door.limits;
        // Time for what has come already, at the slowest pace that counts as moving.
        let earned = Duration::from_micros(self.input.len() as u64 * 1_000_000 / SLOWEST_BYTES_PER_SECOND);
        let is_stuck = self.request_since.is_some_and(|since| now.since(since) > limits.patience + earned);
        let taken = self.output.written();
        self.stalled_since = match self.stalled_since {
            _ if self.output.len() <= limits.output_bytes_max / 2 => None,
            Some((since, before)) if before == taken => Some((since, before)),
            Some(_) | None => Some((now, taken)),
        };
        let is_unread = self.stalled_since.is_some_and(|(since, _)| now.since(since) > limits.patience);
        let reason = if is_unread {
            CloseReason::OutputFull
        } else if !self.client.is_authenticated && now.since(self.born) > limits.patience {
            CloseReason::AuthenticationTimeout
        } else if is_stuck {
            CloseReason::RequestTimeout
        } else if limits.idle > Duration::ZERO && self.slots.is_empty() && now.since(self.heard) > limits.idle {
            CloseReason::Idle
        } else {
            if self.input.is_empty() && now.since(self.heard) > QUIET {
                // A silent connection keeps no buffer.
                self.input = BytesMut::new();
                self.input_allocated = 0;
            }
            return;
        };
        self.close = Close::Now(reason);
    }

    fn bounds(&self) -> Bounds {
        let SessionLimits { frame_bytes_max, args_max, .. } = self.door.limits;
        if self.client.is_authenticated {
            return Bounds { frame_bytes_max, args_max };
        }
        Bounds {
            frame_bytes_max: frame_bytes_max.min(SessionLimits::FRAME_BYTES_MAX_STRANGER),
            args_max: args_max.min(SessionLimits::ARGS_MAX_STRANGER),
        }
    }

    fn refuse_stream(&mut self, malformed: Malformed) {
        self.reply(|writer| writer.error(format_args!("ERR {malformed}")));
        self.close = Close::AfterOutput;
    }

    /// Whether a request may be taken now. Leaves the marks of its keys in `new_marks`; what both reads and writes a key
    /// marks it twice.
    fn has_room(&mut self, command: Option<&Command>, request: &Request<'_>) -> bool {
        self.new_marks.clear();
        let limits = &self.door.limits;
        self.new_keys = 0;
        // Half, so that no single reply can reach the limit at which a connection is cut off.
        if self.output.len() + self.held_bytes > limits.output_bytes_max / 2 {
            return false;
        }
        let Some(command) = command else { return self.slots.len() < limits.in_flight_max };
        match command.kind {
            // What changes the connection comes after all that came before.
            Kind::Connection | Kind::Greeting => return self.slots.is_empty(),
            Kind::Answer => return self.slots.len() < limits.in_flight_max,
            Kind::Read | Kind::Write => {}
        }
        if !command.takes(request.len()) {
            return self.slots.len() < limits.in_flight_max;
        }
        let is_write = command.kind == Kind::Write;
        for place in command.key_places(request.len()) {
            let key = request.arg(place);
            self.new_keys += 1;
            self.new_marks.push(KeyMarks::mark(key, is_write));
            if is_write && command.reads_values() {
                self.new_marks.push(KeyMarks::mark(key, false));
            }
            if is_write && !self.marks.is_empty() && self.marks.has_write(KeyMarks::mark(key, true)) {
                // Writes of one key by one coordinator are ordered by their stamps, except in a register, whose stamps
                // are chosen after a query.
                let keyspace = self.door.cluster.founding().keyspace(key);
                if keyspace.is_some_and(|keyspace| keyspace.mode == Mode::Register) {
                    return false;
                }
            }
        }
        if self.new_marks.iter().any(|&mark| self.marks.has_opposite(mark)) {
            return false;
        }
        let answers = if command.reads_values() { self.new_keys } else { 0 };
        let bytes = self.in_flight_bytes + self.held_bytes + self.output.len();
        // A request that is more than all room there is goes alone.
        self.slots.is_empty()
            || (self.calls_open.max(self.slots.len()) + self.new_keys <= limits.in_flight_max
                && bytes.saturating_add(self.charge(answers, request)) <= limits.in_flight_bytes_max)
    }

    /// How many bytes a request and so many answers with values are taken to need.
    fn charge(&self, answers: usize, request: &Request<'_>) -> usize {
        self.read_charge.saturating_mul(answers).saturating_add(REPLY_OVERHEAD + request.bytes())
    }

    fn execute(
        &mut self,
        now: Now,
        command: Option<&'static Command>,
        request: &Request<'_>,
        calls: &mut Vec<SessionCall>,
    ) {
        if request.is_empty() {
            return;
        }
        self.client.begin_request();
        let Some(command) = command else { return self.unknown_command(request) };
        if !self.client.is_authenticated && command.kind != Kind::Greeting {
            return self.error("NOAUTH Authentication required.");
        }
        if !command.takes(request.len()) {
            return self.error(format_args!("ERR wrong number of arguments for '{}' command", command.text));
        }
        match command.kind {
            Kind::Read | Kind::Write => self.data_command(now, command, request, calls),
            Kind::Answer => self.answer_command(now, command.name, request),
            Kind::Connection | Kind::Greeting => self.connection_command(now, command.name, request),
        }
    }

    fn unknown_command(&mut self, request: &Request<'_>) {
        let name = request.arg(0);
        let shown = name[..name.len().min(64)].escape_ascii();
        if !self.client.is_authenticated {
            return self.error("NOAUTH Authentication required.");
        }
        match commands::instead_of(name) {
            Some(hint) => self.error(format_args!("ERR '{shown}' is not supported: {hint}")),
            None => self.error(format_args!("ERR unknown command '{shown}'")),
        }
    }

    /// Sends one request to the node and opens its slot.
    pub(super) fn send(&mut self, now: Now, reply: Pending, request: ClientRequest, calls: &mut Vec<SessionCall>) {
        let number = self.open(now, State::Waiting, reply);
        self.call(number, 0, request, calls);
    }

    /// Sends the requests of several keys and opens one slot for all.
    pub(super) fn send_joined(
        &mut self,
        now: Now,
        kind: JoinKind,
        reply: Pending,
        requests: Vec<(Key, NodeCommand)>,
        calls: &mut Vec<SessionCall>,
    ) {
        let join = slots::Join::new(kind, requests.iter().map(|(key, _)| Part::Open(key.clone())).collect());
        let consistency = reply.asked.consistency;
        let number = self.open(now, State::Joining(Box::new(join)), reply);
        for (part, (key, command)) in requests.into_iter().enumerate() {
            let request = ClientRequest { id: None, key, timeout: None, consistency, command };
            self.call(number, part, request, calls);
        }
    }

    /// What the reply of the request being taken will need.
    pub(super) fn pending(&self, op: Op, shape: Shape, asked: Asked, request: &Request<'_>) -> Pending {
        let answers = if asked.is_read { self.new_keys } else { 0 };
        let charge = self.charge(answers, request);
        Pending { op, shape, asked, charge }
    }

    fn open(&mut self, now: Now, state: State, reply: Pending) -> u64 {
        let number = self.first_slot + self.slots.len() as u64;
        let marks = self.new_marks.len();
        self.marks.extend(self.new_marks.drain(..));
        self.in_flight_bytes += reply.charge;
        let Pending { op, shape, asked, charge } = reply;
        let started_micros = now.monotonic.as_micros();
        let is_silent = self.client.is_silent();
        self.slots.push_back(Slot { state, op, shape, asked, started_micros, charge, marks, is_silent });
        number
    }

    fn call(&mut self, slot: u64, part: usize, request: ClientRequest, calls: &mut Vec<SessionCall>) {
        self.calls_open += 1;
        calls.push(SessionCall { sequence: slots::sequence(slot, part), request });
    }

    /// Writes every reply whose turn it is.
    fn write_finished(&mut self) {
        while self.slots.front().is_some_and(Slot::is_finished) {
            let slot = self.slots.pop_front().expect("it was just seen");
            self.first_slot += 1;
            self.marks.remove_oldest(slot.marks);
            self.held_bytes -= slot.held_bytes();
            if !slot.is_silent {
                answer::write(slot, self.client.protocol, &self.door.limits, &mut self.output);
            }
        }
        if self.output.len() + self.held_bytes > self.door.limits.output_bytes_max {
            self.close = Close::Now(CloseReason::OutputFull);
        }
    }

    /// Writes a reply that needs nothing of the node, after those that came before it.
    pub(super) fn reply(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        if self.client.is_silent() {
            return;
        }
        let protocol = self.client.protocol;
        if self.slots.is_empty() {
            return write(&mut Writer::new(self.output.tail(), protocol));
        }
        let mut written = BytesMut::new();
        write(&mut Writer::new(&mut written, protocol));
        self.held_bytes += written.len();
        self.slots.push_back(Slot::written(written.freeze()));
    }

    /// Writes an error.
    pub(super) fn error(&mut self, text: impl std::fmt::Display) {
        self.reply(|writer| writer.error(text));
    }
}

/// After so long a connection counts as silent.
const QUIET: Duration = Duration::from_secs(5);

/// What the reply of a request will need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    op: Op,
    shape: Shape,
    pub(super) asked: Asked,
    charge: usize,
}

#[cfg(test)]
mod tests;
