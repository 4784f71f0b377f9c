//! Failed compare-and-sets that tell only what the value was *not*, fitted into a witness.
//!
//! The zone test cannot hold "the value was not 3". But a witness order of everything else often has room: inside the
//! interval of each such call there must be one place where the value differs. Taken in order of invocation, each goes
//! to its earliest place, which leaves the most room for those after it. If one finds no place in this order another
//! order may still have one, so the answer is then "not here", not "violation".

use crate::cluster::{Role, Rules, interval, role};
use crate::history::{History, OperationId, Time};

/// The order with all the failed calls in it, or `None` if one of them finds no place in this order.
pub(crate) fn insert(
    history: &History,
    order: &[OperationId],
    differ: &[OperationId],
    rules: &Rules,
) -> Option<Vec<OperationId>> {
    // Gap g lies before order[g]. A call may go to gap g if no operation at or after g ended before it started, and
    // none before g started after it ended.
    let mut by_end: Vec<(Time, usize)> =
        order.iter().enumerate().map(|(at, id)| (interval(history, *id).1, at)).collect();
    by_end.sort_unstable();
    let mut start_max = Vec::with_capacity(order.len());
    let mut latest = Time::MIN;
    let mut values = vec![&rules.init];
    for id in order {
        latest = latest.max(interval(history, *id).0);
        start_max.push(latest);
        values.push(match role(history, *id, rules) {
            Role::Write(value) | Role::Swap(_, value) | Role::Observe(value) => value,
            Role::Nothing | Role::Differ(_) => values[values.len() - 1],
        });
    }
    let mut pending = differ.to_vec();
    pending.sort_unstable_by_key(|id| interval(history, *id).0);
    let (mut ended, mut first_gap) = (0, 0);
    // Placed calls by end, so that a later call never goes before one that ended earlier.
    let mut placed: Vec<(Time, usize, OperationId)> = Vec::new();
    let mut placed_by_end = std::collections::BinaryHeap::new();
    for id in pending {
        let (start, end) = interval(history, id);
        while ended < by_end.len() && by_end[ended].0 < start {
            first_gap = first_gap.max(by_end[ended].1 + 1);
            ended += 1;
        }
        while let Some(std::cmp::Reverse((end, gap))) = placed_by_end.peek()
            && *end < start
        {
            first_gap = first_gap.max(*gap);
            placed_by_end.pop();
        }
        let last_gap = start_max.partition_point(|latest| *latest <= end);
        let Role::Differ(other) = role(history, id, rules) else { continue };
        let gap = (first_gap..=last_gap).find(|gap| values[*gap] != other)?;
        placed.push((start, gap, id));
        placed_by_end.push(std::cmp::Reverse((end, gap)));
    }
    placed.sort_unstable_by_key(|(start, gap, _)| (*gap, *start));
    let mut merged = Vec::with_capacity(order.len() + placed.len());
    let mut next = placed.into_iter().peekable();
    for gap in 0..=order.len() {
        while let Some((_, _, id)) = next.next_if(|(_, at, _)| *at == gap) {
            merged.push(id);
        }
        merged.extend(order.get(gap));
    }
    Some(merged)
}
