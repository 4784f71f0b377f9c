//! What happens next: a heap of packed keys over a table of events.
//!
//! A key is time, tie and slot in one `u128`, so that ordering two events is one comparison. The tie follows from the
//! seed: events of one microsecond come in an order that nobody chose, and each seed explores another.
//! Up to a few thousand pending events nothing in the standard library is faster than its binary heap.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Pending events, soonest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Queue<E> {
    keys: BinaryHeap<Reverse<u128>>,
    events: Vec<Option<E>>,
    /// Empty slots; the last one is taken next. Part of a snapshot: equal ties come in the order of their slots.
    free: Vec<u32>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { keys: BinaryHeap::with_capacity(256), events: Vec::with_capacity(256), free: Vec::new() }
    }
}

impl<E> Queue<E> {
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
        self.keys.push(Reverse(u128::from(at) << 64 | u128::from(tie) << 32 | u128::from(slot)));
    }

    /// Takes the soonest.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(key) = self.keys.pop()?;
        let slot = key as u32;
        self.free.push(slot);
        let event = self.events[slot as usize].take().expect("a key names an event");
        Some(((key >> 64) as u64, event))
    }

    /// Looks at the soonest.
    pub(crate) fn peek(&self) -> Option<(u64, &E)> {
        let Reverse(key) = self.keys.peek()?;
        Some(((key >> 64) as u64, self.events[*key as u32 as usize].as_ref()?))
    }

    /// Whether none is pending.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
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
