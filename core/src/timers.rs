//! The deadlines a node is waiting for. The host only ever needs the soonest one.
//!
//! Setting a timer that is already set moves it. Timers that are due at once fire in the order of their deadlines, and
//! equal deadlines in the order of [`Timer`], so that a run never depends on how they were stored.

use crate::id::RequestId;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use serde::{Deserialize, Serialize};

/// What a node may be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// When to introduce ourselves again to members that have not accepted this boot yet.
    Introduce,
    /// When the wall of a restarted node has caught up with its clock, and waiting writes may have their stamps.
    Stamps,
    /// When to ask silent homes again, or to end a request whose deadline has come.
    Request(RequestId),
}

/// The table of what is due when.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Timers {
    soonest: BTreeSet<(Instant, Timer)>,
    deadlines: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Sets or moves a timer.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.deadlines.insert(timer, at) {
            self.soonest.remove(&(before, timer));
        }
        self.soonest.insert((at, timer));
    }

    /// Forgets a timer; nothing happens if it is not set.
    pub fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.deadlines.remove(&timer) {
            self.soonest.remove(&(at, timer));
        }
    }

    /// Whether a timer is set.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.deadlines.contains_key(&timer)
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// When the soonest timer is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.soonest.first().map(|&(at, _)| at)
    }

    /// Removes and returns the soonest timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.soonest.first()?;
        if at > now {
            return None;
        }
        self.soonest.pop_first();
        self.deadlines.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Boot;

    fn request(counter: u64) -> Timer {
        Timer::Request(RequestId { boot: Boot(1), counter, slot: 0 })
    }
    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn due_timers_come_by_deadline_then_by_name() {
        let mut timers = Timers::default();
        timers.set(request(2), at(5));
        timers.set(request(1), at(5));
        timers.set(Timer::Introduce, at(9));
        timers.set(request(3), at(7));
        timers.set(request(3), at(1));
        assert_eq!(timers.next_deadline(), Some(at(1)));
        let mut due = alloc::vec::Vec::new();
        while let Some(timer) = timers.pop_due(at(5)) {
            due.push(timer);
        }
        assert_eq!(due, [request(3), request(1), request(2)]);
        assert_eq!(timers.next_deadline(), Some(at(9)));
        timers.cancel(Timer::Introduce);
        assert!(timers.is_empty());
    }
}
