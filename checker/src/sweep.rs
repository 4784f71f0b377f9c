//! Naming writes by sweeping over time.
//!
//! Where a value is written twice, a read of it may still have one possible source: the online judge forgets a write
//! once nothing open or still to come can have seen it, and what it has forgotten needs no telling apart. So deletes,
//! and values that return after a while, do not send a key to the search. What this hands over is an attribution; the
//! verdict and its witness come from the judge of zones as for any other key.

use crate::cluster::{Cluster, Clusters, NONE, Rules, interval};
use crate::history::{History, NEVER, OperationId, Outcome, Time};
use crate::online::{Answer, Confirmed, OnlineKey, Stop};
use crate::value::FastMap;
use crate::{FailedCas, Identity};

/// What a sweep found.
pub(crate) enum Swept {
    /// Every answer named its write.
    Clusters(Clusters),
    /// Some answer could have come from several writes.
    Undecided,
    /// This operation could not have been answered so, given those before it.
    Illegal(OperationId, Stop),
}

/// Attributes the operations of one register key.
pub(crate) fn attribute(history: &History, ids: &[OperationId], rules: &Rules) -> Swept {
    let mut events: Vec<(Time, bool, u32)> = Vec::with_capacity(ids.len() * 2);
    for (at, id) in ids.iter().enumerate() {
        let (start, end) = interval(history, *id);
        events.push((start, false, at as u32));
        // An unknown outcome is as good as known at once: the operation itself will never tell more.
        events.push((if end == NEVER { start } else { end }, true, at as u32));
    }
    events.sort_unstable();
    let mut key = OnlineKey::new(rules.init.clone(), None);
    key.keep_confirmed();
    let mut of = vec![NONE; ids.len()];
    let mut inequalities = Vec::new();
    for (_, is_return, at) in events {
        let id = ids[at as usize];
        let operation = history.operation(id);
        if !is_return {
            key.on_invoke(u64::from(id), operation);
            continue;
        }
        match key.on_return(u64::from(id), operation, rules.failed_cas) {
            Ok(_) if key.undecided => return Swept::Undecided,
            Ok(Answer::Judged(cluster)) => of[at as usize] = cluster.unwrap_or(NONE),
            Ok(Answer::NotJudged) => {
                debug_assert!(rules.failed_cas == FailedCas::Mismatch && operation.outcome == Outcome::Fail);
                inequalities.push(id);
            }
            Err(stop) => return Swept::Illegal(id, stop),
        }
    }
    Swept::Clusters(gather(ids, of, inequalities, key.take_confirmed()))
}

/// Numbers the confirmed clusters from the initial one on.
fn gather(
    ids: &[OperationId],
    mut of: Vec<u32>,
    inequalities: Vec<OperationId>,
    confirmed: Vec<Confirmed>,
) -> Clusters {
    let numbers: FastMap<u32, u32> = confirmed.iter().zip(0..).map(|(one, at)| (one.cluster, at)).collect();
    let all = confirmed.iter().map(|one| {
        let writer = if one.writer == u64::MAX { NONE } else { one.writer as OperationId };
        Cluster::confirmed(writer, one.source.map_or(NONE, |source| numbers[&source]))
    });
    let all: Vec<Cluster> = all.collect();
    for cluster in of.iter_mut().filter(|cluster| **cluster != NONE) {
        *cluster = numbers[cluster];
    }
    // A write of unknown outcome is known to have happened only by its observers.
    for (number, cluster) in all.iter().enumerate().filter(|(_, cluster)| cluster.writer != NONE) {
        let at = ids.binary_search(&cluster.writer).expect("a write of this key");
        of[at] = number as u32;
    }
    Clusters { all, of, inequalities, identity: Identity::Value, is_guessed: false }
}
