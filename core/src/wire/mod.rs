//! Messages as bytes: what one node writes on a connection and another reads from it.
//!
//! A message is a letter: a short page that prost writes (the *meta*) and, behind it, the value as it is (the *tail*).
//! The value is no prost field, so that N copies of a write share one buffer on their way out and a reader gets it as
//! a slice of what it read. A letter that fits travels as one *frame*; a longer one is cut into frames of one *stream*,
//! so that frames of other streams can go between them: a value of 1 MiB delays a heartbeat by one frame, not sixteen.
//! The simulator and the TCP runtime carry the same bytes.
//!
//! | file      | what it knows                                                                             |
//! |-----------|-------------------------------------------------------------------------------------------|
//! | `frame`   | the header, its checksum, and where a message is cut                                      |
//! | `decoder` | how frames become messages again, within [`Limits`]                                       |
//! | `structs` | the meta of every message as prost sees it; nothing checks it there                       |
//! | `convert` | messages to meta and back: the one place where what came from outside is judged           |
//! | `hello`   | the first frame of a connection in each direction; only the TCP runtime uses it           |
//! | `error`   | everything that can be wrong with bytes                                                   |
//!
//! Mixed versions: a prost field that this build does not know is skipped; a kind or an enum number that it does not
//! know is an error, because whoever sends it expects something that would not happen. Frames of another version of
//! the header are refused by their number.
//!
//! State: none, but for [`Decoder`], which holds the streams that have begun and not ended. Every length is compared
//! with its bound before anything is allocated for it.
//!
//! ```
//! use quorate_core::id::{Boot, ClusterId, Epoch, Incarnation, LogPosition};
//! use quorate_core::message::{Body, IdentityMessage, Message, Sender};
//! use quorate_core::version::Hlc;
//! use quorate_core::wire;
//!
//! let cluster = ClusterId(7);
//! let sender = Sender { incarnation: Incarnation(9), boot: Boot(1), position: LogPosition(0) };
//! let body = Body::Identity(IdentityMessage::Stranger { boot: Boot(3) });
//! let message = Message { sender, clock: Hlc::ZERO, epoch: Epoch(0), body };
//!
//! let bytes = wire::encode(cluster, 0, &message).into_bytes();
//! assert_eq!(wire::decode_whole(cluster, bytes.clone()), Ok(message));
//! let elsewhere = wire::decode_whole(ClusterId(8), bytes).unwrap_err();
//! assert_eq!(elsewhere.to_string(), "the frame belongs to cluster-7, another cluster");
//! ```

mod convert;
mod decoder;
mod error;
mod frame;
mod hello;
mod structs;

pub use decoder::{Decoder, Limits, decode_whole};
pub use error::{Fault, FrameError};
pub use frame::{Encoded, FRAME_BYTES_MAX, Frame, MESSAGE_BYTES_MAX, Priority};
pub use hello::{Hello, HelloError};

use crate::id::ClusterId;
use crate::message::Message;
use convert::Letter;

/// A message as frames, ready to be written.
///
/// `stream` names the frames of this message on its connection. It may be any number for a message of one frame; a
/// longer message needs one that no unfinished message of the connection has. The value is not copied: it is in the
/// result as the same reference-counted buffer.
///
/// # Panics
/// When the message's value is longer than [`crate::config::Config::VALUE_BYTES_LIMIT`]: no coordinator lets one in.
pub fn encode(cluster: ClusterId, stream: u32, message: &Message) -> Encoded {
    let Letter { meta, tail } = Letter::from(message);
    frame::cut(cluster, stream, &meta, tail)
}
