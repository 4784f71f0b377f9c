//! A pair of nodes: the connection between them, and what waits to be written on it.
//!
//! State per peer: the outbox; the writing half of the current connection, by its number; the waker of the task that
//! reads it. The task reads, and waits for a full socket to take more; all other writing is done once per turn by
//! whoever ends the turn ([`Peers::flush`]).

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use quorate_core::config::Founding;
use quorate_core::id::NodeId;
use quorate_core::message::Message;
use quorate_core::wire::{Decoder, FrameError, Limits};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tracing::{info, warn};

use super::{Outbox, PeerCounters};

/// What peer connections ask of the node's host.
pub trait PeerHost: 'static {
    /// Access to the links.
    fn peers<R>(&self, access: impl FnOnce(&mut Peers) -> R) -> R;
    /// A peer said something. The messages are taken out.
    fn heard(&self, from: NodeId, messages: &mut Vec<Message>);
    /// A connection that was up is gone, or was replaced.
    fn lost(&self, peer: NodeId);
    /// A connection is up.
    fn connected(&self, peer: NodeId);
}

/// All links of one node.
#[derive(Debug)]
pub struct Peers {
    me: NodeId,
    founding: Founding,
    links: Vec<Link>,
    /// Links with something new to write.
    dirty: Vec<usize>,
    connections: u64,
    counters: PeerCounters,
}

/// One peer.
#[derive(Debug)]
struct Link {
    peer: NodeId,
    outbox: Outbox,
    connection: Option<Connection>,
    is_dirty: bool,
}

#[derive(Debug)]
struct Connection {
    /// Tells a replaced connection's task that it is over.
    number: u64,
    writer: OwnedWriteHalf,
    /// The socket took no more; the reading task waits for it.
    is_blocked: bool,
    reader: Option<Waker>,
}

impl Peers {
    /// Links to every other member, none of them up. Each holds at most `outbox_bytes_max` bytes.
    pub fn new(me: NodeId, founding: Founding, outbox_bytes_max: usize) -> Self {
        let cluster = founding.cluster();
        let others = founding.members().iter().map(|member| member.id).filter(|&id| id != me);
        let links = others
            .map(|peer| {
                let outbox = Outbox::new(cluster, outbox_bytes_max);
                Link { peer, outbox, connection: None, is_dirty: false }
            })
            .collect();
        Self { me, founding, links, dirty: Vec::new(), connections: 0, counters: PeerCounters::default() }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// The founding record by which peers are judged.
    pub fn founding(&self) -> &Founding {
        &self.founding
    }

    /// Queues a message; it leaves with the next [`Self::flush`]. Lost where there is no connection or no room.
    pub fn send(&mut self, to: NodeId, message: &Message) {
        let index = self.index(to);
        let link = &mut self.links[index];
        if link.connection.is_none() {
            self.counters.unreachable += 1;
            return;
        }
        self.counters.sent += 1;
        link.outbox.push(message);
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(index);
        }
    }

    /// Writes what was queued since the last time, one vectored write for each socket that takes it.
    pub fn flush(&mut self) {
        while let Some(index) = self.dirty.pop() {
            self.links[index].is_dirty = false;
            self.write(index);
        }
    }

    fn write(&mut self, index: usize) {
        let Link { outbox, connection, .. } = &mut self.links[index];
        let Some(connection) = connection else { return };
        if connection.is_blocked {
            return;
        }
        match outbox.write(|slices| connection.writer.try_write_vectored(slices)) {
            Ok(true) => {}
            // The reading task waits for the socket; an error will reach it as well, and it is the one that cleans up.
            Ok(false) | Err(_) => {
                connection.is_blocked = true;
                if let Some(reader) = &connection.reader {
                    reader.wake_by_ref();
                }
            }
        }
    }

    /// Whether a connection to the peer is up.
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.links[self.index(peer)].connection.is_some()
    }

    /// Figures so far.
    pub fn counters(&self) -> PeerCounters {
        let dropped = self.links.iter().map(|link| link.outbox.dropped()).sum();
        PeerCounters { dropped, ..self.counters }
    }

    /// Bytes that wait for all peers.
    pub fn bytes_waiting(&self) -> usize {
        self.links.iter().map(|link| link.outbox.len()).sum()
    }

    pub(super) fn count(&mut self, count: impl FnOnce(&mut PeerCounters)) {
        count(&mut self.counters);
    }

    /// A new connection becomes the current one. Returns its number, and whether it replaced another.
    fn attach(&mut self, peer: NodeId, writer: OwnedWriteHalf) -> (u64, bool) {
        self.connections += 1;
        self.counters.connected += 1;
        let number = self.connections;
        let index = self.index(peer);
        let link = &mut self.links[index];
        link.outbox.clear();
        let connection = Connection { number, writer, is_blocked: false, reader: None };
        let replaced = link.connection.replace(connection);
        if let Some(Connection { reader: Some(reader), .. }) = &replaced {
            reader.wake_by_ref();
        }
        if replaced.is_some() {
            self.counters.lost += 1;
        }
        (number, replaced.is_some())
    }

    /// The connection of that number is over. False when another one has replaced it before.
    fn detach(&mut self, peer: NodeId, number: u64) -> bool {
        let index = self.index(peer);
        let link = &mut self.links[index];
        if link.connection.as_ref().is_none_or(|connection| connection.number != number) {
            return false;
        }
        link.connection = None;
        link.outbox.clear();
        self.counters.lost += 1;
        true
    }

    /// Lets the task of a connection wait for its socket where it must. False when the connection was replaced.
    fn poll_writing(&mut self, peer: NodeId, number: u64, cx: &mut Context<'_>) -> io::Result<bool> {
        let index = self.index(peer);
        let Link { outbox, connection, .. } = &mut self.links[index];
        let Some(connection) = connection.as_mut().filter(|connection| connection.number == number) else {
            return Ok(false);
        };
        if connection.reader.as_ref().is_none_or(|reader| !reader.will_wake(cx.waker())) {
            connection.reader = Some(cx.waker().clone());
        }
        while connection.is_blocked {
            let socket: &TcpStream = connection.writer.as_ref();
            let Poll::Ready(ready) = socket.poll_write_ready(cx) else { break };
            ready?;
            connection.is_blocked = !outbox.write(|slices| connection.writer.try_write_vectored(slices))?;
        }
        Ok(true)
    }

    fn index(&self, peer: NodeId) -> usize {
        let found = self.links.binary_search_by_key(&peer, |link| link.peer);
        found.expect("messages go to members and come from members only")
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the peer closed it")]
    Closed,
    #[error("a newer connection replaced it")]
    Replaced,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the peer sent what no node sends: {0}")]
    Malformed(FrameError),
}

/// Bytes that one turn reads from one peer at most.
const READ_BYTES: usize = 64 << 10;

/// Serves a connection whose hellos fit, until it ends. `buffer` holds what came behind the hello.
pub(super) async fn serve<H: PeerHost>(host: &H, peer: NodeId, stream: TcpStream, buffer: BytesMut) {
    let (reader, writer) = stream.into_split();
    let (number, replaced) = host.peers(|peers| peers.attach(peer, writer));
    if replaced {
        host.lost(peer);
    }
    info!(ev = "peer.up", peer = %peer, "connected");
    host.connected(peer);
    let end = read(host, peer, number, reader, buffer).await;
    if matches!(end, End::Malformed(_)) {
        host.peers(|peers| peers.count(|counters| counters.malformed += 1));
        warn!(ev = "peer.malformed", peer = %peer, "closed: {end}");
    }
    if host.peers(|peers| peers.detach(peer, number)) {
        info!(ev = "peer.down", peer = %peer, "disconnected: {end}");
        host.lost(peer);
    }
}

async fn read<H: PeerHost>(
    host: &H,
    peer: NodeId,
    number: u64,
    mut reader: OwnedReadHalf,
    mut buffer: BytesMut,
) -> End {
    let cluster = host.peers(|peers| peers.founding.cluster());
    let mut decoder = Decoder::new(cluster, Limits::default());
    let mut messages = Vec::new();
    // What came together with the hello.
    let first = Cell::new(!buffer.is_empty());
    poll_fn(|cx| {
        match host.peers(|peers| peers.poll_writing(peer, number, cx)) {
            Ok(true) => {}
            Ok(false) => return Poll::Ready(End::Replaced),
            Err(error) => return Poll::Ready(error.into()),
        }
        if first.replace(false)
            && let Err(end) = take(host, peer, &mut decoder, &mut buffer, &mut messages)
        {
            return Poll::Ready(end);
        }
        loop {
            // Once what was read has been let go of, this finds the same memory again.
            buffer.reserve(READ_BYTES);
            let room = buffer.capacity() - buffer.len();
            let Poll::Ready(read) = pin!(reader.read_buf(&mut buffer)).poll(cx) else { return Poll::Pending };
            let bytes = match read {
                Ok(0) => return Poll::Ready(End::Closed),
                Ok(bytes) => bytes,
                Err(error) => return Poll::Ready(error.into()),
            };
            if let Err(end) = take(host, peer, &mut decoder, &mut buffer, &mut messages) {
                return Poll::Ready(end);
            }
            if bytes == room {
                // There is more, but others have their turn first.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // A read that left room has emptied the socket; the next one only asks to be woken.
        }
    })
    .await
}

fn take<H: PeerHost>(
    host: &H,
    peer: NodeId,
    decoder: &mut Decoder,
    buffer: &mut BytesMut,
    messages: &mut Vec<Message>,
) -> Result<(), End> {
    let malformed = loop {
        match decoder.next(buffer) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => break None,
            Err(error) => break Some(End::Malformed(error)),
        }
    };
    // What came whole before the damage was said all the same.
    if !messages.is_empty() {
        host.peers(|peers| peers.count(|counters| counters.received += messages.len() as u64));
        host.heard(peer, messages);
    }
    malformed.map_or(Ok(()), Err)
}
