//! What faults have switched on: rates for all links, cuts and slowness of single ones.

use super::Fate;
use crate::rng::Dice;
use quorate_traces::FaultKind;
use serde::{Deserialize, Serialize};

/// The state of the network beyond its plan. Rates are per million messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Weather {
    /// Messages that are lost.
    pub(crate) loss: u32,
    /// Messages that arrive twice.
    pub(crate) duplicate: u32,
    /// Messages that are kept and come again, and for how long at most.
    pub(crate) replay: (u32, u64),
    /// Messages in which a bit turns.
    pub(crate) corrupt: u32,
    /// Kinds that do not pass, as bits.
    pub(crate) filtered: u16,
    /// Limits of the links in bytes a second; the lowest holds.
    pub(crate) throttles: Vec<u64>,
    /// The longest messages that pass; the lowest holds.
    pub(crate) longest: Vec<u64>,
    /// For each link: how many cuts hold, and the kind of the last one.
    cuts: Vec<(u8, Option<FaultKind>)>,
    slow: Vec<u64>,
    nodes: u32,
}

impl Weather {
    /// A clear sky over so many nodes.
    pub(crate) fn new(nodes: u32) -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            replay: (0, 0),
            corrupt: 0,
            filtered: 0,
            throttles: Vec::new(),
            longest: Vec::new(),
            cuts: Vec::new(),
            slow: Vec::new(),
            nodes,
        }
    }

    /// The sky clears.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.nodes);
    }

    fn links(&self) -> usize {
        (self.nodes * self.nodes) as usize
    }

    /// One more cut of a link.
    pub(crate) fn add_cut(&mut self, link: u32, kind: FaultKind) {
        let links = self.links();
        self.cuts.resize(links, (0, None));
        let cut = &mut self.cuts[link as usize];
        *cut = (cut.0.saturating_add(1), Some(kind));
    }

    /// One cut less.
    pub(crate) fn remove_cut(&mut self, link: u32) {
        if let Some((count, _)) = self.cuts.get_mut(link as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether a link is cut, and by what.
    pub(crate) fn cut(&self, link: u32) -> Option<FaultKind> {
        match self.cuts.get(link as usize) {
            Some(&(count, kind)) if count > 0 => kind,
            Some(_) | None => None,
        }
    }

    /// A link becomes slower, or faster again.
    pub(crate) fn slow_down(&mut self, link: u32, by: u64, on: bool) {
        let links = self.links();
        self.slow.resize(links, 0);
        let slow = &mut self.slow[link as usize];
        *slow = if on { slow.saturating_add(by) } else { slow.saturating_sub(by) };
    }

    /// How much slower a link is.
    pub(crate) fn slowed(&self, link: u32) -> u64 {
        self.slow.get(link as usize).copied().unwrap_or(0)
    }

    /// What the rates do to one message.
    pub(super) fn touch(&self, fate: &mut Fate, (kind, bytes): (u8, usize), dice: &mut Dice, now: u64) {
        // Four throws in a fixed order, whichever rates are on: one more rate changes no other throw.
        let (lost, repeated, kept, damaged) = (
            dice.chance_or_skip(self.loss),
            dice.chance_or_skip(self.duplicate),
            dice.chance_or_skip(self.replay.0),
            { dice.chance_or_skip(self.corrupt) },
        );
        let extra = dice.word();
        let first = fate.first.unwrap_or(now);
        if repeated {
            fate.second = Some(first + 1 + extra % (first - now).max(1_000));
            fate.because = Some(FaultKind::Duplicate);
        }
        if kept {
            fate.second = Some(first + 1 + extra % self.replay.1.max(1));
            fate.because = Some(FaultKind::Replay);
        }
        if damaged {
            fate.flipped = Some(extra);
            fate.because = Some(FaultKind::Corrupt);
        }
        if lost {
            *fate = Fate { because: Some(FaultKind::Loss), ..Fate::default() };
        }
        if self.filtered >> kind & 1 == 1 {
            *fate = Fate { because: Some(FaultKind::Filter), ..Fate::default() };
        }
        if self.longest.iter().any(|&longest| bytes as u64 > longest) {
            *fate = Fate { because: Some(FaultKind::LargeLost), ..Fate::default() };
        }
    }
}

impl Dice {
    /// A throw that is made even if its rate is zero.
    fn chance_or_skip(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }
}
