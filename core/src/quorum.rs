//! Counting distinct answers until there are enough, or until there can never be.
//!
//! A tally knows the homes that were asked, by name: an answer from anybody else counts for nothing, and an answer
//! given twice counts once. Pure and table-tested; it sends nothing and waits for nothing.

use crate::id::NodeId;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Answers of the homes of one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    needed: u8,
    homes: Vec<NodeId>,
    /// One bit a home, in the order of `homes`.
    acks: u16,
    nacks: u16,
}

/// What the answers so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both outcomes are still possible.
    Pending,
    /// Enough homes said yes.
    Reached,
    /// So many said no that the rest cannot be enough.
    Unreachable,
}

impl Tally {
    /// Waits for `needed` of these homes.
    pub fn new(needed: u8, homes: &[NodeId]) -> Self {
        assert!(needed >= 1);
        assert!(usize::from(needed) <= homes.len(), "a quorum larger than the set can never be reached");
        assert!(homes.len() <= 16);
        Self { needed, homes: homes.to_vec(), acks: 0, nacks: 0 }
    }

    fn bit(&self, home: NodeId) -> Option<u16> {
        self.homes.iter().position(|&known| known == home).map(|at| 1 << at)
    }

    /// A home said yes. A later yes overrides an earlier no: the home has done it after all.
    pub fn ack(&mut self, from: NodeId) -> Verdict {
        if let Some(bit) = self.bit(from) {
            self.acks |= bit;
            self.nacks &= !bit;
        }
        self.verdict()
    }

    /// A home said no. A no after a yes is late and changes nothing.
    pub fn nack(&mut self, from: NodeId) -> Verdict {
        if let Some(bit) = self.bit(from) {
            self.nacks |= bit & !self.acks;
        }
        self.verdict()
    }

    /// What the answers so far mean.
    pub fn verdict(&self) -> Verdict {
        let acks = self.acks.count_ones();
        let possible = self.homes.len() as u32 - self.nacks.count_ones();
        if acks >= u32::from(self.needed) {
            Verdict::Reached
        } else if possible < u32::from(self.needed) {
            Verdict::Unreachable
        } else {
            Verdict::Pending
        }
    }

    /// Homes that have said nothing yet, in order.
    pub fn silent(&self) -> impl Iterator<Item = NodeId> + '_ {
        let answered = self.acks | self.nacks;
        self.homes.iter().enumerate().filter(move |(at, _)| answered & (1 << at) == 0).map(|(_, &home)| home)
    }

    /// Homes that said yes, in order.
    pub fn acked(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.homes.iter().enumerate().filter(|(at, _)| self.acks & (1 << at) != 0).map(|(_, &home)| home)
    }

    /// How many said yes.
    pub fn acks(&self) -> u8 {
        self.acks.count_ones() as u8
    }

    /// How many are needed.
    pub fn needed(&self) -> u8 {
        self.needed
    }

    /// The homes asked, in order of preference.
    pub fn homes(&self) -> &[NodeId] {
        &self.homes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a line such as `needed=2 asked=3  ack 1, nack 2` and says what the tally thinks at its end.
    fn judge(line: &str) -> Verdict {
        let (head, events) = line.split_once("  ").unwrap();
        let number = |name: &str| -> u32 {
            let at = head.find(name).unwrap() + name.len();
            head[at..].split(' ').next().unwrap().parse().unwrap()
        };
        let homes: Vec<_> = (1..=number("asked=")).map(NodeId).collect();
        let mut tally = Tally::new(number("needed=") as u8, &homes);
        for event in events.split(", ").filter(|event| !event.is_empty()) {
            let (word, home) = event.split_once(' ').unwrap();
            let home = NodeId(home.parse().unwrap());
            match word {
                "ack" => tally.ack(home),
                "nack" => tally.nack(home),
                other => panic!("no event {other}"),
            };
        }
        tally.verdict()
    }

    #[test]
    fn a_quorum_counts_distinct_homes_that_were_asked() {
        use Verdict::{Pending, Reached, Unreachable};
        for (line, expected) in [
            ("needed=2 asked=3  ", Pending),
            ("needed=2 asked=3  ack 1", Pending),
            ("needed=2 asked=3  ack 1, ack 1", Pending),
            ("needed=2 asked=3  ack 1, ack 9", Pending),
            ("needed=2 asked=3  ack 1, ack 3", Reached),
            ("needed=2 asked=3  ack 1, nack 2", Pending),
            ("needed=2 asked=3  nack 1, nack 2", Unreachable),
            ("needed=2 asked=3  nack 1, nack 1", Pending),
            ("needed=2 asked=3  nack 1, nack 2, ack 2", Pending),
            ("needed=2 asked=3  ack 1, nack 1, ack 2", Reached),
            ("needed=1 asked=1  nack 1", Unreachable),
            ("needed=3 asked=3  nack 2", Unreachable),
            ("needed=3 asked=3  ack 1, ack 2, ack 3", Reached),
        ] {
            assert_eq!(judge(line), expected, "{line}");
        }
    }
}
