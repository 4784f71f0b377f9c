//! Calling a peer: again and again, with growing pauses, until it answers and fits.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use quorate_core::id::NodeId;
use quorate_core::wire::{Hello, HelloError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::{debug, warn};

use super::link::{PeerHost, serve};
use super::{GreetingError, prepare, read_hello};

/// The pause before the second attempt; each further one doubles.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: what a returning peer waits for at most before it is called.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error("{0}")]
    Refused(#[from] HelloError),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Greeting(error.into())
    }
}

/// Calls `peer` at `address` for ever, and serves each connection that comes about.
pub async fn dial<H: PeerHost>(host: Rc<H>, peer: NodeId, address: String, connect_timeout: Duration) {
    let jitter = RandomState::new();
    let mut attempts = 0u32;
    let mut told = String::new();
    loop {
        match attempt(&*host, peer, &address, connect_timeout).await {
            Ok((stream, buffer)) => {
                attempts = 0;
                told.clear();
                serve(&*host, peer, stream, buffer).await;
            }
            Err(error) => {
                note(&*host, &error);
                // Once for each new reason: a peer that is down for a day is one line, not a hundred thousand.
                let reason = error.to_string();
                if reason == told {
                    debug!(peer = %peer, address, "still cannot connect: {reason}");
                } else {
                    warn!(ev = "peer.unreachable", peer = %peer, address, "cannot connect: {reason}");
                    told = reason;
                }
            }
        }
        tokio::time::sleep(pause(attempts, jitter.hash_one(attempts))).await;
        attempts = attempts.saturating_add(1);
    }
}

fn note<H: PeerHost>(host: &H, error: &DialError) {
    host.peers(|peers| {
        peers.count(|counters| match error {
            DialError::Refused(_) => counters.refused += 1,
            DialError::Greeting(GreetingError::Malformed(_)) => counters.malformed += 1,
            DialError::Greeting(GreetingError::Silent) => counters.silent += 1,
            DialError::Greeting(GreetingError::Io(_)) | DialError::Timeout(_) => {}
        });
    });
}

async fn attempt<H: PeerHost>(
    host: &H,
    peer: NodeId,
    address: &str,
    connect_timeout: Duration,
) -> Result<(TcpStream, BytesMut), DialError> {
    let connecting = tokio::time::timeout(connect_timeout, TcpStream::connect(address));
    let mut stream = connecting.await.map_err(|_| DialError::Timeout(connect_timeout))??;
    prepare(&stream)?;
    let ours = host.peers(|peers| Hello::new(peers.founding(), peers.me(), peer));
    stream.write_all(&ours.encode()).await?;
    let mut buffer = BytesMut::new();
    let theirs = read_hello(&mut stream, &mut buffer).await?;
    host.peers(|peers| theirs.accept(peers.founding(), peers.me(), Some(peer)))?;
    Ok((stream, buffer))
}

/// Doubles from attempt to attempt; half of it is chance, so that the callers of one peer do not come all at once.
fn pause(attempts: u32, chance: u64) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1 << attempts.min(16)).min(PAUSE_MAX);
    let micros = whole.as_micros() as u64;
    Duration::from_micros(micros / 2 + chance % (micros / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_second_and_differ() {
        assert_eq!(pause(0, 0), Duration::from_millis(10));
        assert_eq!(pause(0, 10_000), Duration::from_millis(20));
        assert_eq!(pause(1, 0), Duration::from_millis(20));
        for attempts in [6, 30, u32::MAX] {
            for chance in [0, 1, u64::MAX / 3, u64::MAX] {
                let pause = pause(attempts, chance);
                assert!((Duration::from_millis(500)..=PAUSE_MAX).contains(&pause), "{attempts} {chance} {pause:?}");
            }
        }
    }
}
