//! The front door: RESP2 and RESP3, as any Redis client speaks them, without a socket in sight.
//!
//! A [`Session`] is one connection as a value. The host reads bytes into [`Session::read_buffer`], calls
//! [`Session::advance`], carries the [`SessionCall`]s that come out to the node, brings every answer back with
//! [`Session::complete`], and writes what stands in [`Session::output`]. Replies leave in the order of their requests,
//! whatever order the answers come in. Nothing here reads a clock, opens a socket or waits.
//!
//! ```text
//! socket -> read_buffer -> decode -> session -> SessionCall -> node
//! socket <- output      <- reply  <- session <- complete    <- node
//! ```
//!
//! What a session must know of the node that hosts it stands in one [`Door`] per node, which all its sessions share:
//! who the members are (fixed), which of them can be reached and a few figures (kept up to date by the host), the
//! limits and the password.
//!
//! The host's turn, in full:
//!
//! ```text
//! while session.wants_input() and the socket has bytes:   read into session.read_buffer()
//! session.advance(now, &mut calls)                        also after completions, once per turn and dirty session
//! for call in calls: node.handle(Client { call: CallId { connection, call.sequence }, request: call.request })
//! on Reply { call, response }:  session.complete(now, call.sequence, response, &mut calls)    (may append calls)
//! once per turn: write session.output() with one writev;  session.close() says whether to close after (or at once)
//! every second or so: session.on_tick(now)
//! connections and calls under way are counted by the host, ended requests by the session
//! on a lost connection: the host tells the node `ClientGone` for each of session.waiting_calls(), then drops it
//! ```

mod answer;
mod client;
mod cluster;
mod commands;
mod data;
mod decode;
mod door;
mod options;
mod output;
mod reply;
mod server;
mod session;
mod slots;
pub mod token;
mod words;

pub use decode::{Bounds, Decoder, Malformed, Progress, Request};
pub use door::{ClusterView, Door, Figures, MemberView, SessionLimits};
pub use output::Output;
pub use reply::{Protocol, Writer};
pub use session::Session;

use quorate_core::input::ClientRequest;

/// One request of a session for the node. Its answer must come back through [`Session::complete`].
#[derive(Debug, PartialEq, Eq)]
pub struct SessionCall {
    /// Unique on its connection, never reused: the second half of the core's `CallId`.
    pub sequence: u64,
    /// What the client asks.
    pub request: ClientRequest,
}

/// What the host should do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Keep it open.
    No,
    /// Write what is in the output, then close. No further input is taken.
    AfterOutput,
    /// Close without writing: the client does not take its answers, or did not finish what it began in time.
    Now(CloseReason),
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// More answers waited than [`SessionLimits::output_bytes_max`], or many for too long.
    OutputFull,
    /// It did not authenticate in time.
    AuthenticationTimeout,
    /// A request that had begun did not end in time.
    RequestTimeout,
    /// Nothing came for longer than the configured idle time.
    Idle,
}
