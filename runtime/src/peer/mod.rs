//! Connections between nodes: one for each pair, called by the member with the lower number.
//!
//! Two neighbours share one speaking tube. One connection serves both directions, so the acknowledgement of what one
//! says rides on what the other answers; and since it is fixed who calls, the two never call each other at once. The
//! first thing each says is a hello ([`quorate_core::wire::Hello`]); who does not fit is told so by name in our log,
//! counted, and hung up on.
//!
//! | file       | what it knows                                                                    |
//! |------------|----------------------------------------------------------------------------------|
//! | `outbox`   | what waits for one peer: bounded, urgent before long                             |
//! | `link`     | a pair of nodes: its socket, its outbox, which connection is the current one     |
//! | `dial`     | calling: timeouts, backoff with jitter, the hello                                |
//! | `answer`   | being called: the listener, strangers within bounds, the hello                   |
//! | `counters` | figures                                                                          |
//!
//! A connection that is silent is not dead: half-open ones are found by the kernel, through keepalive probes (idle) and
//! the user timeout (unacknowledged data), within about [`HALF_OPEN_AFTER`]. A newer connection of a peer replaces the
//! older one, because a peer that was cut off may call again before we have noticed.
//!
//! Nothing here decides who is a member or which message counts: that is the node's, by incarnation and boot.

mod answer;
mod counters;
mod dial;
mod link;
mod outbox;

pub use answer::listen;
pub use counters::PeerCounters;
pub use dial::dial;
pub use link::{PeerHost, Peers};
use outbox::Outbox;

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use quorate_core::wire::{FrameError, Hello};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// A peer that vanished without a word is noticed after about this long.
pub const HALF_OPEN_AFTER: Duration = Duration::from_secs(5);
/// How long the other side may take for its hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// Unsent bytes that the kernel takes beyond what is on the wire: what an urgent frame may have to wait for there.
const KERNEL_BYTES_MAX: u32 = 128 << 10;

/// What every peer connection is set to.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(2)).with_interval(Duration::from_secs(1)).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some(HALF_OPEN_AFTER))?;
        socket.set_tcp_notsent_lowat(KERNEL_BYTES_MAX)?;
    }
    Ok(())
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it said nothing within {} s", HELLO_PATIENCE.as_secs())]
    Silent,
    #[error("what it sent is no hello: {0}")]
    Malformed(FrameError),
}

/// Reads the hello that the other side says first; what follows it stays in `buffer`.
async fn read_hello(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<Hello, GreetingError> {
    let greeting = async {
        loop {
            if let Some(hello) = Hello::take(buffer).map_err(GreetingError::Malformed)? {
                return Ok(hello);
            }
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    };
    tokio::time::timeout(HELLO_PATIENCE, greeting).await.unwrap_or(Err(GreetingError::Silent))
}
