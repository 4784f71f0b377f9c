//! What happens next: a heap of packed keys over a slab of events.
//!
//! A key is time, tie and slot in one `u128`, so that ordering two events is one comparison. The tie is drawn from a
//! stream: events of one microsecond come in an order that nobody chose, and each seed explores another.
//! Up to a few thousand pending events nothing in the standard library is faster than its binary heap.

use serde::{Deserialize, Serialize};
use slab::Slab;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pending events, soonest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Queue<E> {
    keys: BinaryHeap<Reverse<u128>>,
    events: Slab<E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { keys: BinaryHeap::with_capacity(256), events: Slab::with_capacity(256) }
    }
}

impl<E> Queue<E> {
    /// Adds an event; of two at one time the one with the lower tie comes first.
    pub(crate) fn push(&mut self, at: u64, tie: u32, event: E) {
        let slot = self.events.insert(event) as u32;
        self.keys.push(Reverse(u128::from(at) << 64 | u128::from(tie) << 32 | u128::from(slot)));
    }

    /// Takes the soonest.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(key) = self.keys.pop()?;
        Some(((key >> 64) as u64, self.events.remove(key as u32 as usize)))
    }

    /// Looks at the soonest.
    pub(crate) fn peek(&self) -> Option<(u64, &E)> {
        let Reverse(key) = self.keys.peek()?;
        Some(((key >> 64) as u64, &self.events[*key as u32 as usize]))
    }

    /// Whether none is pending.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.events.is_empty()
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
}
