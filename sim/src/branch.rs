//! Other futures of one moment: the same past, and one thing changed.
//!
//! "Would it still fail if this message had not arrived?" is asked of a [`Session`] that stands where the message is on
//! its way or not sent yet: it is changed, and walked to its end.

use crate::session::Session;
use quorate_core::id::NodeId;
use quorate_traces::{Act, CrashPoint, Directive, DiskFate, Fault, FaultRecord, MessageName};

/// One thing that is made otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message is lost, on its way or when it is sent.
    Drop(MessageName),
    /// A message arrives so many microseconds later.
    Delay(MessageName, u64),
    /// A node's process dies now, without what it had not synced, and stays down for so many microseconds.
    Crash(NodeId, u64),
    /// A node stands still for so many microseconds.
    Pause(NodeId, u64),
    /// Nothing passes between a node and the others for so many microseconds.
    Cut(NodeId, u64),
    /// Everything is healed now.
    Heal,
}

/// What a change met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It has been made.
    Now,
    /// The message is on its way, and has been changed.
    OnItsWay,
    /// The message has not been sent yet; if it ever is, it fares as decreed.
    Ahead,
}

impl Session {
    /// Makes one thing otherwise, from here on.
    pub fn change(&mut self, change: &Change) -> Met {
        let now = self.now();
        match change {
            Change::Drop(message) if self.take_flying(message, None) => return Met::OnItsWay,
            Change::Delay(message, by) if self.take_flying(message, Some(*by)) => return Met::OnItsWay,
            Change::Drop(message) => {
                self.add_directive(Directive { message: message.clone(), act: Act::Drop, by: None });
                return Met::Ahead;
            }
            Change::Delay(message, by) => {
                self.add_directive(Directive { message: message.clone(), act: Act::Delay, by: Some(*by) });
                return Met::Ahead;
            }
            Change::Crash(n, down) => {
                let (point, disk) = (CrashPoint::Now, DiskFate::LoseUnsynced);
                self.add_fault(FaultRecord { at: now, fault: Fault::Crash { n: *n, point, disk, down: *down } });
            }
            Change::Pause(n, length) => {
                let until = now.saturating_add(*length);
                self.add_fault(FaultRecord { at: now, fault: Fault::Pause { n: *n, until } });
            }
            Change::Cut(n, length) => {
                let b = (1..=self.nodes()).map(NodeId).filter(|other| other != n).collect();
                let until = now.saturating_add(*length);
                self.add_fault(FaultRecord { at: now, fault: Fault::Partition { a: vec![*n], b, until } });
            }
            Change::Heal => self.heal(),
        }
        Met::Now
    }
}
