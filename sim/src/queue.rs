//! What happens next: a heap of packed keys over a table of events.
//!
//! A key is time, tie and slot in one `u128`, so that ordering two events is one comparison. The tie follows from the
//! seed: events of one microsecond come in an order that nobody chose, and each seed explores another.
//! Up to a few thousand pending events nothing in the standard library is faster than its binary heap. Most of what is
//! far away (the plan's operations, the ends of patience) is pushed in order, and stands in a line of its own: there it
//! costs no comparisons, and the heap stays small.

use crate::table::Table;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Pending events, soonest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "E: Clone + Deserialize<'de>"))]
pub(crate) struct Queue<E> {
    keys: BinaryHeap<Reverse<u128>>,
    /// Keys that were each pushed behind all before them, in order.
    line: VecDeque<u128>,
    events: Table<Option<E>>,
    /// Empty slots; the last one is taken next. Part of a snapshot: equal ties come in the order of their slots.
    free: Vec<u32>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { keys: BinaryHeap::new(), line: VecDeque::new(), events: Table::default(), free: Vec::new() }
    }
}

impl<E: Clone> Queue<E> {
    /// Adds an event; of two at one time the one with the lower tie comes first.
    pub(crate) fn push(&mut self, at: u64, tie: u32, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot as usize] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() as u32 - 1
            }
        };
        let key = u128::from(at) << 64 | u128::from(tie) << 32 | u128::from(slot);
        match self.line.back() {
            Some(last) if key < *last => self.keys.push(Reverse(key)),
            Some(_) | None => self.line.push_back(key),
        }
    }

    /// Takes the soonest.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        let in_line = self.soonest()? == self.line.front().copied().unwrap_or(u128::MAX);
        let key = if in_line { self.line.pop_front() } else { self.keys.pop().map(|Reverse(key)| key) }?;
        let slot = key as u32;
        self.free.push(slot);
        let event = self.events[slot as usize].take().expect("a key names an event");
        Some(((key >> 64) as u64, event))
    }

    /// Looks at the soonest.
    pub(crate) fn peek(&self) -> Option<(u64, &E)> {
        let key = self.soonest()?;
        Some(((key >> 64) as u64, self.events[key as u32 as usize].as_ref()?))
    }

    fn soonest(&self) -> Option<u128> {
        let heaped = self.keys.peek().map(|Reverse(key)| *key);
        heaped.into_iter().chain(self.line.front().copied()).min()
    }

    /// Takes out all events of some kind, soonest first.
    pub(crate) fn extract(&mut self, which: impl Fn(&E) -> bool) -> Vec<(u64, E)> {
        let events = &mut self.events;
        let is_taken = |key: u128| events[key as u32 as usize].as_ref().is_some_and(&which);
        // A heap's inner order is not part of its value; in order of keys the slots become free in one order only.
        let pending = self.keys.iter().map(|Reverse(key)| *key).chain(self.line.iter().copied());
        let mut keys: Vec<u128> = pending.filter(|key| is_taken(*key)).collect();
        keys.sort_unstable();
        self.keys.retain(|Reverse(key)| keys.binary_search(key).is_err());
        self.line.retain(|key| keys.binary_search(key).is_err());
        let mut take = |key: u128| {
            self.free.push(key as u32);
            Some(((key >> 64) as u64, events[key as u32 as usize].take()?))
        };
        keys.into_iter().filter_map(&mut take).collect()
    }

    /// Whether an event of some kind is pending. Looks at all of them.
    pub(crate) fn any(&self, which: impl Fn(&E) -> bool) -> bool {
        self.events.iter().flatten().any(which)
    }

    /// Whether none is pending.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_by_tie() {
        let mut queue = Queue::default();
        for (at, tie, name) in [(5, 9, "d"), (5, 1, "c"), (0, 7, "a"), (u64::MAX, 0, "e"), (4, u32::MAX, "b")] {
            queue.push(at, tie, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, name)| name).collect();
        assert_eq!(order, ["a", "b", "c", "d", "e"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_taken_out_never_comes() {
        let mut queue = Queue::default();
        (0..20u64).for_each(|at| queue.push(at / 2, 0, at));
        let taken: Vec<u64> = queue.extract(|event| event % 3 == 0).into_iter().map(|(_, event)| event).collect();
        assert_eq!(taken, [0, 3, 6, 9, 12, 15, 18]);
        queue.push(3, 1, 99);
        let rest: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(rest.len(), 14);
        assert!(rest.iter().all(|event| *event == 99 || event % 3 != 0));
    }
}
