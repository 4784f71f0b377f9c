//! This node's copy of the data: it acknowledges only what is durable, and shows only what is durable.
//!
//! A notary: what you bring is entered in the book first, and only what stands in the book is read out. A `Store`
//! becomes a merge, a `Query` a read; storage answers when the merge is on disk, and reads what is on disk. An older
//! version that arrives late changes nothing and is acknowledged all the same, because a higher one is durable here.
//!
//! State: for each storage operation under way, whom to answer. Nothing here survives a crash, and nothing needs to:
//! a coordinator that gets no answer asks again.

use crate::context::Context;
use crate::durable::{StoreError, StoreOp, StoreOutcome};
use crate::effect::Notice;
use crate::id::{Epoch, Key, NodeId, Owner, RequestId, StoreToken};
use crate::message::{Body, Found, Refusal, ReplicaReply, ReplicaRequest, StampRule, Wanted};
use crate::reach::sometimes;
use crate::version::{Content, Record, Version, judge_stamp};
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Replica {
    pending: BTreeMap<StoreToken, Pending>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pending {
    from: NodeId,
    request: RequestId,
    phase: u8,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    Query { wanted: Wanted },
    Store { version: Version },
}

impl Replica {
    pub(crate) fn on_message(&mut self, cx: &mut Context<'_>, from: NodeId, epoch: Epoch, asked: ReplicaRequest) {
        let (ReplicaRequest::Query { request, phase, .. } | ReplicaRequest::Store { request, phase, .. }) = asked;
        if let Err(refusal) = admit(cx, from, epoch, &asked) {
            cx.send(from, Body::ReplicaReply(ReplicaReply::Refused { request, phase, refusal }));
            return;
        }
        let (op, kind) = match asked {
            ReplicaRequest::Query { key, wanted, .. } => (StoreOp::Read { key }, Kind::Query { wanted }),
            ReplicaRequest::Store { key, record, .. } => {
                let version = record.version;
                (StoreOp::Merge { key, record }, Kind::Store { version })
            }
        };
        let token = cx.store(Owner::Replica, op);
        let previous = self.pending.insert(token, Pending { from, request, phase, kind });
        assert!(previous.is_none(), "store tokens are never reused");
    }

    pub(crate) fn on_stored(&mut self, cx: &mut Context<'_>, token: StoreToken, outcome: StoreOutcome) {
        let pending = self.pending.remove(&token).expect("storage ends what was asked for, once");
        let Pending { from, request, phase, kind } = pending;
        let reply = match (kind, outcome) {
            (Kind::Query { wanted }, StoreOutcome::Found { record }) => {
                match &record {
                    None => sometimes!(cx, "replica: a question about what is absent"),
                    Some(Record { content: Content::Tombstone, .. }) => {
                        sometimes!(cx, "replica: a question about what was deleted");
                    }
                    Some(Record { content: Content::Value(_), .. }) => {}
                }
                ReplicaReply::Found { request, phase, found: found(record, wanted) }
            }
            (Kind::Store { version }, StoreOutcome::Merged { old, new }) => {
                assert!(new >= version, "what is held now is at least what came");
                assert!(new >= old, "a merge never goes back");
                if new > version {
                    sometimes!(cx, "replica: a write arrived after a newer one");
                } else if old == new {
                    sometimes!(cx, "replica: a write arrived again");
                }
                ReplicaReply::Stored { request, phase, held: new }
            }
            (Kind::Query { .. } | Kind::Store { .. }, StoreOutcome::Failed { error }) => {
                let refusal = match error {
                    StoreError::Full => {
                        sometimes!(cx, "replica: the disk is full");
                        Refusal::DiskFull
                    }
                    StoreError::Corrupt | StoreError::Io => Refusal::StorageFailed,
                };
                ReplicaReply::Refused { request, phase, refusal }
            }
            (kind, outcome) => unreachable!("{kind:?} cannot end as {outcome:?}"),
        };
        cx.send(from, Body::ReplicaReply(reply));
    }
}

/// Whether this node may serve the request at all.
fn admit(cx: &mut Context<'_>, from: NodeId, epoch: Epoch, asked: &ReplicaRequest) -> Result<(), Refusal> {
    if epoch != cx.shared.epoch {
        return Err(Refusal::StaleEpoch { current: cx.shared.epoch });
    }
    let (ReplicaRequest::Query { key, .. } | ReplicaRequest::Store { key, .. }) = asked;
    if !is_home(cx, key) {
        return Err(Refusal::NotAHome);
    }
    if let ReplicaRequest::Store { record, stamp: StampRule::Fresh, .. } = asked
        && let Err(ahead) = judge_stamp(cx.now.wall, record.version.hlc, cx.shared.config.clock_drift_max)
    {
        sometimes!(cx, "replica: a write is stamped too far in the future");
        cx.notice(Notice::ClockRefused { peer: from, by_micros: ahead.by_micros });
        return Err(Refusal::ClockAhead { by_micros: ahead.by_micros });
    }
    Ok(())
}

fn is_home(cx: &Context<'_>, key: &Key) -> bool {
    let Some(keyspace) = cx.shared.founding.keyspace(key.bytes()) else { return false };
    cx.shared.placement.preference_list(key, keyspace.n).contains(&cx.shared.me)
}

fn found(record: Option<Record>, wanted: Wanted) -> Found {
    match (record, wanted) {
        (None, _) => Found { version: Version::ABSENT, content: None },
        (Some(record), Wanted::Version) => Found { version: record.version, content: None },
        (Some(record), Wanted::Record) => Found { version: record.version, content: Some(record.content) },
    }
}
