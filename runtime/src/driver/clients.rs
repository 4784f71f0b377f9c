//! Client connections: sockets around sessions.
//!
//! One long-lived task per connection reads, once per turn, and lets the session take what is whole; whoever ends the
//! turn writes, once per turn and connection. Between the two stand only the node and this table.
//!
//! State per connection: the session, the writing half of the socket, the waker of the task, and why the task waits
//! (the socket takes no more; the session wants no input before something was answered; the client will send no more).

use std::io::{self, IoSlice};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Buf;
use quorate_core::effect::ClientResponse;
use quorate_core::id::CallId;
use quorate_core::time::{Instant, Now};
use slab::Slab;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::resp::{Close, Door, Session, SessionCall};

/// Pieces of output that one write offers.
const PIECES_MAX: usize = 32;

/// All client connections of a node.
#[derive(Debug)]
pub(super) struct Clients {
    door: Rc<Door>,
    table: Slab<Client>,
    /// Makes connection numbers unique where places in the table are not.
    generation: u32,
    /// Connections with something to write, or with a request that may have room now.
    dirty: Vec<usize>,
    is_draining: bool,
}

#[derive(Debug)]
struct Client {
    number: u64,
    session: Session,
    writer: OwnedWriteHalf,
    task: Option<Waker>,
    /// The socket took no more; the task waits for it.
    is_blocked: bool,
    /// The task does not read until the session wants input again.
    is_paused: bool,
    is_dirty: bool,
    /// The client sends no more, but may still take its answers.
    has_ended: bool,
    /// The socket is of no use any more.
    is_broken: bool,
}

impl Clients {
    pub(super) fn new(door: Rc<Door>) -> Self {
        Self { door, table: Slab::new(), generation: 0, dirty: Vec::new(), is_draining: false }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// A new connection; returns its number.
    pub(super) fn add(&mut self, writer: OwnedWriteHalf, peer: String, now: Now) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let place = self.table.vacant_entry();
        let number = u64::from(self.generation) << 32 | place.key() as u64;
        let session = Session::new(Rc::clone(&self.door), number, peer, now);
        place.insert(Client {
            number,
            session,
            writer,
            task: None,
            is_blocked: false,
            is_paused: false,
            is_dirty: false,
            has_ended: false,
            is_broken: false,
        });
        self.door.metrics.client_came();
        number
    }

    /// The connection is gone; returns the calls that nobody waits for any more.
    pub(super) fn remove(&mut self, number: u64) -> Vec<CallId> {
        let place = self.place(number).expect("a connection's task ends once");
        let client = self.table.remove(place);
        self.door.metrics.client_went();
        let waiting = client.session.waiting_calls();
        waiting.into_iter().map(|sequence| CallId { connection: number, sequence }).collect()
    }

    /// The answer of a call. A connection that is gone takes none.
    pub(super) fn complete(&mut self, now: Now, call: CallId, response: ClientResponse, calls: &mut Vec<SessionCall>) {
        let Some(place) = self.place(call.connection) else { return };
        self.table[place].session.complete(now, call.sequence, response, calls);
        self.mark(place);
    }

    /// Lets the requests that waited for room have it. True when one was taken or answered.
    pub(super) fn advance_blocked(&mut self, now: Now, calls: &mut Vec<(u64, SessionCall)>) -> bool {
        let mut progress = false;
        let mut taken = Vec::new();
        for at in 0..self.dirty.len() {
            let Some(client) = self.table.get_mut(self.dirty[at]) else { continue };
            if !client.session.is_blocked() {
                continue;
            }
            let before = client.session.output().len();
            client.session.advance(now, &mut taken);
            progress |= !taken.is_empty() || client.session.output().len() != before;
            calls.extend(taken.drain(..).map(|call| (client.number, call)));
        }
        progress
    }

    /// Writes what has become ready, one vectored write for each socket that takes it.
    pub(super) fn write(&mut self) {
        for place in std::mem::take(&mut self.dirty) {
            let Some(client) = self.table.get_mut(place) else { continue };
            client.is_dirty = false;
            let wrote = !client.is_blocked && client.write();
            if client.session.is_blocked() && wrote {
                // Room was made: the request that waits for it is tried once more in this turn.
                self.mark(place);
            } else {
                client.wake_if_due(self.is_draining);
            }
        }
    }

    /// Whether something was marked since the last [`Self::write`].
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Looks at the time on every connection.
    pub(super) fn on_tick(&mut self, now: Instant) {
        for (_, client) in &mut self.table {
            client.session.on_tick(now);
            client.wake_if_due(self.is_draining);
        }
    }

    /// No further input is taken from anybody; connections end when what was asked is answered.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        for (_, client) in &mut self.table {
            client.wake();
        }
    }

    /// One step of a connection's task: writes where the socket had to be waited for, reads once, and takes the
    /// requests that are whole. Ready when the connection is over.
    pub(super) fn poll(
        &mut self,
        number: u64,
        reader: &mut OwnedReadHalf,
        now: Now,
        cx: &mut Context<'_>,
        calls: &mut Vec<SessionCall>,
    ) -> Poll<()> {
        let place = self.place(number).expect("a connection is in the table as long as its task runs");
        let is_draining = self.is_draining;
        let client = &mut self.table[place];
        if client.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            client.task = Some(cx.waker().clone());
        }
        let mut step = client.poll_writing(cx);
        let mut has_input = false;
        if !client.is_over(is_draining) && !client.has_ended && !is_draining {
            has_input = client.poll_reading(reader, now, cx, calls);
            step |= has_input;
        }
        if client.is_over(is_draining) && !has_input {
            return Poll::Ready(());
        }
        if step {
            self.mark(place);
        }
        Poll::Pending
    }

    fn mark(&mut self, place: usize) {
        let client = &mut self.table[place];
        if !client.is_dirty {
            client.is_dirty = true;
            self.dirty.push(place);
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        let place = number as u32 as usize;
        self.table.get(place).is_some_and(|client| client.number == number).then_some(place)
    }
}

impl Client {
    /// Whether nothing is left to do on this connection.
    fn is_over(&mut self, is_draining: bool) -> bool {
        let is_idle =
            |client: &mut Self| client.session.output().is_empty() && client.session.waiting_calls().is_empty();
        match self.session.close() {
            Close::Now(_) => true,
            Close::AfterOutput => self.is_broken || self.session.output().is_empty(),
            Close::No => self.is_broken || ((self.has_ended || is_draining) && is_idle(self)),
        }
    }

    /// True when something was written.
    fn poll_writing(&mut self, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        while self.is_blocked && !self.is_broken {
            let socket: &TcpStream = self.writer.as_ref();
            match socket.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => wrote |= self.write(),
                Poll::Ready(Err(_)) => self.is_broken = true,
                Poll::Pending => break,
            }
        }
        wrote
    }

    /// Reads once. True when something came, or the client has ended.
    fn poll_reading(
        &mut self,
        reader: &mut OwnedReadHalf,
        now: Now,
        cx: &mut Context<'_>,
        calls: &mut Vec<SessionCall>,
    ) -> bool {
        let mut came = false;
        loop {
            self.is_paused = !self.session.wants_input();
            if self.is_paused {
                return came;
            }
            let buffer = self.session.read_buffer();
            let room = buffer.capacity() - buffer.len();
            let Poll::Ready(read) = pin!(reader.read_buf(buffer)).poll(cx) else { return came };
            match read {
                Ok(0) => {
                    self.has_ended = true;
                    return true;
                }
                Err(_) => {
                    self.is_broken = true;
                    return true;
                }
                Ok(bytes) => {
                    came = true;
                    self.session.advance(now, calls);
                    if bytes == room {
                        // There is more, but others have their turn first.
                        cx.waker().wake_by_ref();
                        return came;
                    }
                    // A read that left room has emptied the socket; the next one only asks to be woken.
                }
            }
        }
    }

    /// Writes as much as the socket takes. True when something was written.
    fn write(&mut self) -> bool {
        let mut wrote = false;
        self.is_blocked = false;
        let output = self.session.output();
        while !output.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
            let filled = output.chunks_vectored(&mut pieces);
            match self.writer.try_write_vectored(&pieces[..filled]) {
                Ok(bytes) => {
                    wrote = true;
                    output.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    self.wake();
                    return wrote;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_broken = true;
                    self.wake();
                    return wrote;
                }
            }
        }
        wrote
    }

    /// The task has something to do: read again, or end.
    fn wake_if_due(&mut self, is_draining: bool) {
        if (self.is_paused && self.session.wants_input()) || self.is_over(is_draining) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}
