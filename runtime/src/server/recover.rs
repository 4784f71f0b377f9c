//! From a data directory to a node: whose it is, what was lost, and who may found.

use std::sync::Arc;

use quorate_core::Node;
use quorate_core::config::Founding;
use quorate_core::id::{LogPosition, NodeId};
use quorate_core::store::Opened;
use quorate_core::wal::Lost;
use tokio::sync::Notify;
use tracing::warn;

use super::{EngineSettings, ServeError, Settings};
use crate::disk::FileDisk;
use crate::storage::{Bell, DiskStore, Engine, MemoryStore};

/// A node as its disk left it.
pub(super) struct Recovered {
    pub(super) node: Node,
    pub(super) engine: Engine<FileDisk>,
    pub(super) replayed: u64,
}

/// Opens what the data directory holds, and decides through which door the node comes in: found, recovered, or blank.
pub(super) fn recover(settings: &Settings, bell: &Arc<Notify>) -> Result<Recovered, ServeError> {
    let seed = entropy()?;
    let Settings { me, founding, node: config, .. } = settings;
    let found = || Node::found(*me, founding.clone(), config.clone(), seed);
    let options = match &settings.engine {
        EngineSettings::Memory => {
            let node = if settings.bootstrap { found() } else { Node::blank() };
            return Ok(Recovered { node, engine: Engine::Memory(MemoryStore::default()), replayed: 0 });
        }
        EngineSettings::Lsm(options) => options,
    };
    let log = settings.data_dir.join("log");
    let disk = FileDisk::open(&log)?;
    let second = disk.another();
    let mut options = options.clone();
    options.log.salt = entropy()?;
    let ring = Arc::clone(bell);
    let bell: Bell = Arc::new(move || ring.notify_one());
    let (store, opened) = DiskStore::open(disk, second, &settings.data_dir.join("tree"), options, &bell)
        .map_err(|source| ServeError::Store { data_dir: settings.data_dir.clone(), source })?;
    let Opened { facts, recovered, replayed, lost, cut } = opened;
    if !lost.is_empty() {
        return Err(ServeError::Lost { what: name_lost(&lost), log });
    }
    if let Some(cut) = cut {
        warn!(ev = "node.start", segment = %cut.segment, "an unfinished write at the end of the log was cut; nothing \
              in it had been acknowledged");
    }
    let node = match &facts.identity {
        Some(identity) => {
            check_identity(settings, identity.me, &identity.founding)?;
            Node::recover(config.clone(), seed, &facts, recovered)
        }
        // Only a directory that nothing was ever written to may found a member.
        None if settings.bootstrap && recovered == LogPosition(0) => found(),
        None => Node::blank(),
    };
    Ok(Recovered { node, engine: Engine::Disk(Box::new(store)), replayed })
}

fn check_identity(settings: &Settings, theirs: NodeId, founding: &Founding) -> Result<(), ServeError> {
    let data_dir = || settings.data_dir.clone();
    if theirs != settings.me || founding.cluster() != settings.founding.cluster() {
        let cluster = founding.cluster().0;
        return Err(ServeError::OtherNode { data_dir: data_dir(), theirs, cluster, ours: settings.me });
    }
    if *founding != settings.founding {
        return Err(ServeError::OtherFounding { data_dir: data_dir() });
    }
    Ok(())
}

fn name_lost(lost: &[Lost]) -> String {
    const NAMED: usize = 3;
    let mut names: Vec<String> = lost
        .iter()
        .take(NAMED)
        .map(|Lost { first, last, .. }| match last {
            Some(last) if last == first => format!("record {first}"),
            Some(last) => format!("records {first} to {last}"),
            None => format!("everything from record {first} on"),
        })
        .collect();
    if lost.len() > NAMED {
        names.push(format!("{} more places", lost.len() - NAMED));
    }
    names.join(", ")
}

fn entropy() -> Result<u64, ServeError> {
    getrandom::u64().map_err(|error| ServeError::System { what: "no randomness", source: error.into() })
}
