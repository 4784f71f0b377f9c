//! One process: from settings to a serving node, and back to an orderly end.
//!
//! ```text
//! bind (clear errors first) -> recover the disk -> found, recover, or stay blank -> serve -> drain -> flush -> end
//! ```
//!
//! Everything of the node runs on the thread that calls [`serve`], in one single-threaded runtime; beside it there are
//! only threads that wait for the disk.
//!
//! [`run`] is the whole process as `quorate serve` means it: logs, admin port, signals, [`serve`].
//!
//! What must not start does not: a data directory of another node or another founding record, a log that has lost
//! acknowledged state, a directory that another process works in. Each is told with what, where, and what to do.

mod process;
mod recover;

pub use process::{Ended, run};

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_core::config::{Config as NodeConfig, Founding};
use quorate_core::effect::BlankReason;
use quorate_core::id::NodeId;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tracing::{error, info, warn};

use crate::disk::DirectoryError;
use crate::driver::{Host, Pulse, accept_clients, why_blank};
use crate::peer::{Peers, dial, listen};
use crate::resp::{Door, Figures};
use crate::storage::{DiskOptions, Failure, StartError};
use recover::{Recovered, recover};

/// File descriptors kept for peers, files and the admin port.
const FILES_RESERVED: u64 = 64;

/// Everything one process needs to know, checked.
#[derive(Debug)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// The cluster.
    pub founding: Founding,
    /// Patience and limits of the node.
    pub node: NodeConfig,
    /// Where the other members listen for peers, as `host:port`.
    pub peer_addresses: BTreeMap<NodeId, String>,
    /// Where this node listens for peers.
    pub listen_peer: String,
    /// Where this node listens for clients.
    pub listen_client: String,
    /// Where everything durable lies.
    pub data_dir: PathBuf,
    /// Whether an empty data directory may found a new member.
    pub bootstrap: bool,
    /// How data is kept.
    pub engine: EngineSettings,
    /// Client connections at once.
    pub clients_max: usize,
    /// How long a call to a peer may take to be answered.
    pub connect_timeout: Duration,
    /// Bytes that may wait for one peer.
    pub peer_bytes_max: usize,
    /// How long an orderly end may take for what was asked before it.
    pub drain_max: Duration,
}

/// How data is kept.
#[derive(Clone, Debug)]
pub enum EngineSettings {
    /// A log and a tree.
    Lsm(DiskOptions),
    /// Nothing is durable.
    Memory,
}

/// Where a started server can be reached.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Clients.
    pub client: SocketAddr,
    /// Peers.
    pub peer: SocketAddr,
    /// How long the start took.
    pub took: Duration,
    /// Records that were replayed.
    pub replayed: u64,
    /// Why the node stays out from the start, if it does.
    pub blank: Option<String>,
    /// Shows that the driver is alive.
    pub pulse: Arc<Pulse>,
}

/// Why a server did not start, or had to stop. Nothing unacknowledged was promised to anybody.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port cannot be had.
    #[error("cannot listen for {what} on {address}: {source}")]
    Bind {
        /// Clients or peers.
        what: &'static str,
        /// Which address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What is in it cannot be opened.
    #[error("the data in {} cannot be opened: {source}. Nothing was changed; mend what it names, or restore this \
             directory", data_dir.display())]
    Store {
        /// Where.
        data_dir: PathBuf,
        /// Why.
        source: StartError,
    },
    /// Acknowledged state is gone.
    #[error("acknowledged state is lost: {what} of the log in {} cannot be read any more. This node must not serve, \
             since it would deny writes that it acknowledged; its peers hold them. Restore the directory if there is a \
             newer copy of the disk, or leave this member down", log.display())]
    Lost {
        /// Which records.
        what: String,
        /// Where.
        log: PathBuf,
    },
    /// The data directory belongs to somebody else.
    #[error("the data in {} belongs to {theirs} of cluster {cluster:016x}, and the configuration says that this is \
             {ours}: one of the two paths is wrong", data_dir.display())]
    OtherNode {
        /// Where.
        data_dir: PathBuf,
        /// Whose it is.
        theirs: NodeId,
        /// Of which cluster.
        cluster: u64,
        /// Who we are told to be.
        ours: NodeId,
    },
    /// The configuration changed since the cluster was founded.
    #[error("the members, partitions or keyspaces of the configuration differ from those that the data in {} was \
             founded with; they cannot be changed yet. Restore the configuration, or found a new cluster in an empty \
             directory", data_dir.display())]
    OtherFounding {
        /// Where.
        data_dir: PathBuf,
    },
    /// The disk failed while serving.
    #[error("{failure}. This node has stopped, so that nothing is acknowledged that may be lost. Look at the disk of \
             {} (the system's log names the device), then start again: the log is recovered from what the disk holds",
            data_dir.display())]
    Disk {
        /// Where.
        data_dir: PathBuf,
        /// What failed.
        failure: Failure,
    },
    /// The system refused something ordinary.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ServeError {
    /// The code that the process should end with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Bind { .. } | Self::OtherNode { .. } | Self::OtherFounding { .. } => 2,
            Self::Directory(_) | Self::Store { .. } | Self::Lost { .. } | Self::Disk { .. } | Self::System { .. } => 74,
        }
    }
}

/// Serves until `stop` resolves, then drains and ends in order. `started` is called once when clients are served.
///
/// # Errors
/// [`ServeError`].
pub fn serve<T>(
    settings: Settings,
    door: Door,
    started: impl FnOnce(&Serving),
    stop: impl Future<Output = T>,
) -> Result<T, ServeError> {
    let system = |what| move |source| ServeError::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("the runtime cannot be started"))?;
    let local = LocalSet::new();
    local.block_on(&runtime, serve_here(settings, door, started, stop))
}

async fn serve_here<T>(
    settings: Settings,
    door: Door,
    started: impl FnOnce(&Serving),
    stop: impl Future<Output = T>,
) -> Result<T, ServeError> {
    let begun = Instant::now();
    let clients = bind("clients", &settings.listen_client).await?;
    let callers = bind("peers", &settings.listen_peer).await?;
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|source| ServeError::System { what: "a socket has no address", source })
    };
    let (client, peer) = (address(&clients)?, address(&callers)?);
    let bell = Arc::new(Notify::new());
    let Recovered { node, engine, replayed } = recover(&settings, &bell)?;
    let is_blank = node.sender().is_none();
    let blank = is_blank.then(|| why_blank(BlankReason::NoIdentity));
    let peers = Peers::new(settings.me, settings.founding.clone(), settings.peer_bytes_max);
    door.set_figures(Figures { is_ready: false, ..door.figures() });
    for member in settings.founding.members() {
        door.set_reachable(member.id, false);
    }
    let host = Host::new(node, engine, peers, Rc::new(door), bell);
    let mut tasks = Vec::new();
    // A node without an identity has nothing to say to anybody, and must not look as if it were there.
    if !is_blank {
        tasks.push(spawn_local(listen(Rc::clone(&host), callers)));
        for (&other, address) in
            settings.peer_addresses.range(settings.me..).filter(|&(&other, _)| other != settings.me)
        {
            let call = dial(Rc::clone(&host), other, address.clone(), settings.connect_timeout);
            tasks.push(spawn_local(call));
        }
    }
    let clients_max = clients_max(settings.clients_max);
    let accepting = spawn_local(accept_clients(Rc::clone(&host), clients, clients_max));
    started(&Serving { client, peer, took: begun.elapsed(), replayed, blank, pulse: host.pulse() });
    let driver = Rc::clone(&host);
    let mut driving = spawn_local(async move { driver.run().await });
    let failed = |failure| ServeError::Disk { data_dir: settings.data_dir.clone(), failure };
    let stopped = tokio::select! {
        biased;
        driven = &mut driving => Err(failed(failure_of(driven))),
        reason = stop => Ok(reason),
    }?;
    accepting.abort();
    info!(ev = "node.stop", "stopping: no new requests are taken");
    tokio::select! {
        biased;
        driven = &mut driving => return Err(failed(failure_of(driven))),
        () = host.drain() => {}
        () = tokio::time::sleep(settings.drain_max) => {
            warn!(ev = "node.stop", clients = host.figures().clients, "some clients were not answered in time");
        }
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    driving.abort();
    if let Err(failure) = host.flush_storage() {
        error!(ev = "disk.error", "{failure}; the next start replays the log");
    }
    Ok(stopped)
}

/// How the driver's task ended: it runs for ever, or fails.
fn failure_of(driven: Result<Result<(), Failure>, tokio::task::JoinError>) -> Failure {
    match driven {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) => unreachable!("the driver runs until it fails"),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn bind(what: &'static str, address: &str) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ServeError::Bind { what, address: address.to_owned(), source })
}

/// Raises the limit of open files as far as it goes, and keeps some for everybody who is no client.
fn clients_max(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let whole = limit.maximum.or(limit.current);
    if limit.current < whole {
        let raised = rustix::process::Rlimit { current: whole, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit.current = whole;
        }
    }
    let room = limit.current.unwrap_or(u64::MAX).saturating_sub(FILES_RESERVED).max(1);
    let allowed = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
    if allowed < wanted {
        warn!(ev = "client.limit", wanted, allowed, "fewer client connections: raise the limit of open files");
    }
    allowed
}
