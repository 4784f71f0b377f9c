//! Being called: strangers are heard within bounds, until they have said who they are.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use quorate_core::id::NodeId;
use quorate_core::wire::{Hello, HelloError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tracing::warn;

use super::link::{PeerHost, serve};
use super::{GreetingError, prepare, read_hello};

/// Connections that may be without a hello at once; more are hung up on. A cluster of 4,096 members that starts at once
/// tries again.
const STRANGERS_MAX: usize = 256;
/// The pause after a failed accept: the system has no file descriptors left, and asking at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a caller is not served.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error("{0}")]
    Refused(#[from] HelloError),
    #[error("it says it is {theirs}, but {theirs} is called by this node and never calls it")]
    NotItsTurn { theirs: NodeId },
}

impl From<io::Error> for AnswerError {
    fn from(error: io::Error) -> Self {
        Self::Greeting(error.into())
    }
}

/// Answers calls for ever, and serves each caller that fits.
pub async fn listen<H: PeerHost>(host: Rc<H>, listener: TcpListener) {
    let strangers = Rc::new(Cell::new(0));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(ev = "peer.accept", "cannot accept a peer's connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if strangers.get() >= STRANGERS_MAX {
            host.peers(|peers| peers.count(|counters| counters.silent += 1));
            continue;
        }
        strangers.set(strangers.get() + 1);
        let (host, strangers) = (Rc::clone(&host), Rc::clone(&strangers));
        spawn_local(async move {
            let caller = stream.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
            let greeted = greet(&*host, stream).await;
            strangers.set(strangers.get() - 1);
            match greeted {
                Ok((peer, stream, buffer)) => serve(&*host, peer, stream, buffer).await,
                Err(error) => {
                    note(&*host, &error);
                    warn!(ev = "peer.refused", caller, "closed a connection: {error}");
                }
            }
        });
    }
}

fn note<H: PeerHost>(host: &H, error: &AnswerError) {
    host.peers(|peers| {
        peers.count(|counters| match error {
            AnswerError::Refused(_) | AnswerError::NotItsTurn { .. } => counters.refused += 1,
            AnswerError::Greeting(GreetingError::Malformed(_)) => counters.malformed += 1,
            AnswerError::Greeting(GreetingError::Silent | GreetingError::Io(_)) => counters.silent += 1,
        });
    });
}

async fn greet<H: PeerHost>(host: &H, mut stream: TcpStream) -> Result<(NodeId, TcpStream, BytesMut), AnswerError> {
    prepare(&stream)?;
    let mut buffer = BytesMut::new();
    let theirs = read_hello(&mut stream, &mut buffer).await?;
    let (ours, judged) = host.peers(|peers| {
        let ours = Hello::new(peers.founding(), peers.me(), theirs.from);
        (ours, theirs.accept(peers.founding(), peers.me(), None))
    });
    // Before we hang up, so that both logs can name what does not fit.
    stream.write_all(&ours.encode()).await?;
    let peer = judged?;
    if peer > ours.from {
        return Err(AnswerError::NotItsTurn { theirs: peer });
    }
    Ok((peer, stream, buffer))
}
