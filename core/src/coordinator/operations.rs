//! Operation ids: a retry at the same coordinator finds what its first attempt chose.
//!
//! Bounded: the oldest finished operations are forgotten first. Per client the highest forgotten number is kept, so a
//! retry that comes too late is told so instead of being carried out a second time. That memory is bounded as well:
//! beyond as many clients as there are remembered operations, and at least [`CLIENTS_MIN`], the first client by name is
//! forgotten, and a retry of its would be a new operation, as it is at every other coordinator and after a restart.

use crate::effect::Refused;
use crate::id::{Key, OperationId, RequestId};
use crate::version::{Content, Version};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Clients whose highest forgotten number is kept, however few operations are remembered: some dozen bytes each.
const CLIENTS_MIN: usize = 1_024;

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct Operations {
    known: BTreeMap<OperationId, Operation>,
    /// Finished operations, oldest first.
    finished: VecDeque<OperationId>,
    /// Per client, the highest number that was forgotten.
    forgotten: BTreeMap<Bytes, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Operation {
    key: Key,
    content_hash: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum State {
    InFlight { request: RequestId, chosen: Option<Version> },
    Chosen(Version),
}

/// What a retry finds.
pub(super) enum Found {
    Never,
    InFlight(RequestId),
    Chosen(Version),
}

/// What is to be done with a request that carries an id.
pub(super) enum Known {
    /// Carry it out.
    New,
    /// Repeat the store phase under this version.
    Chosen(Version),
    /// It was answered, or joined to its first attempt.
    Handled,
}

fn hash(content: Option<&Content>) -> u64 {
    match content {
        Some(Content::Value(value)) => xxhash_rust::xxh3::xxh3_64_with_seed(value, 1),
        Some(Content::Tombstone) | None => 0,
    }
}

impl Operations {
    /// What is known of an operation.
    ///
    /// # Errors
    /// [`Refused::IdReused`] when the id named another operation, [`Refused::IdTooOld`] when it may have been forgotten.
    pub(super) fn find(&self, id: &OperationId, key: &Key, content: Option<&Content>) -> Result<Found, Refused> {
        let Some(operation) = self.known.get(id) else {
            let is_forgotten = self.forgotten.get(&id.client).is_some_and(|&highest| id.sequence <= highest);
            return if is_forgotten { Err(Refused::IdTooOld) } else { Ok(Found::Never) };
        };
        if operation.key != *key || operation.content_hash != hash(content) {
            return Err(Refused::IdReused);
        }
        Ok(match operation.state {
            State::InFlight { request, .. } => Found::InFlight(request),
            State::Chosen(version) => Found::Chosen(version),
        })
    }

    /// What the attempt before chose; absent when it is still on its way to a version. `None` if there was no attempt.
    pub(super) fn attempted(&self, id: &OperationId) -> Option<Version> {
        Some(match self.known.get(id)?.state {
            State::InFlight { chosen, .. } => chosen.unwrap_or(Version::ABSENT),
            State::Chosen(version) => version,
        })
    }

    /// An operation begins, for the first time or again.
    pub(super) fn begin(&mut self, id: OperationId, request: RequestId, key: &Key, content: Option<&Content>) {
        let state = State::InFlight { request, chosen: None };
        let operation = Operation { key: key.clone(), content_hash: hash(content), state };
        if self.known.insert(id.clone(), operation).is_some() {
            self.finished.retain(|finished| *finished != id);
        }
    }

    /// Its version is chosen.
    pub(super) fn chose(&mut self, id: &OperationId, version: Version) {
        let operation = self.known.get_mut(id).expect("an operation in flight is known");
        let State::InFlight { chosen, .. } = &mut operation.state else { unreachable!("it is in flight") };
        *chosen = Some(version);
    }

    /// It was answered. Without a chosen version nothing happened, and a retry may begin anew. True if an older one was
    /// forgotten for it.
    pub(super) fn end(&mut self, id: &OperationId, version: Option<Version>, limit: usize) -> bool {
        let operation = self.known.get_mut(id).expect("an operation in flight is known");
        match version {
            Some(version) => {
                operation.state = State::Chosen(version);
                self.finished.push_back(id.clone());
            }
            None => {
                self.known.remove(id);
            }
        }
        let forgets = self.finished.len() > limit;
        while self.finished.len() > limit {
            let oldest = self.finished.pop_front().expect("longer than its limit");
            self.known.remove(&oldest);
            let highest = self.forgotten.entry(oldest.client).or_default();
            *highest = oldest.sequence.max(*highest);
        }
        while self.forgotten.len() > limit.max(CLIENTS_MIN) {
            self.forgotten.pop_first();
        }
        forgets
    }
}
