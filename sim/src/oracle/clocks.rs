//! A4: a node's clock never goes back, not across restarts either, and never runs away from the node's own wall.
//!
//! The bound: the largest wall reading so far, the allowed drift, one tick for each stamp given out, and for each boot
//! the millisecond of ticks that its lease adds while the wall stands behind.

use super::{Judgement, Property, broken};
use quorate_core::time::WallTime;
use quorate_core::version::Hlc;
use serde::{Deserialize, Serialize};

const TICKS_PER_BOOT: u64 = 1_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Clocks {
    drift_max_ticks: u64,
    nodes: Vec<Seen>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    last: u64,
    wall_max_ticks: u64,
    allowance: u64,
}

impl Clocks {
    pub(crate) fn new(nodes: usize, drift_max: u64) -> Self {
        Self { drift_max_ticks: drift_max.saturating_mul(1_000), nodes: vec![Seen::default(); nodes] }
    }

    pub(crate) fn booted(&mut self, node: usize) {
        self.nodes[node].allowance += TICKS_PER_BOOT;
    }

    pub(crate) fn stamped(&mut self, node: usize) {
        self.nodes[node].allowance += 1;
    }

    /// A new life of a node owes nothing to the one before.
    pub(crate) fn reborn(&mut self, node: usize) {
        self.nodes[node].last = 0;
    }

    /// What a node's clock shows after an input.
    pub(crate) fn shows(&mut self, node: usize, wall: WallTime, clock: Hlc) -> Judgement {
        let seen = &mut self.nodes[node];
        let ticks = clock.as_ticks();
        seen.wall_max_ticks = seen.wall_max_ticks.max(Hlc::of_wall(wall).as_ticks());
        if ticks < seen.last {
            let words = format!("the clock went back from {} to {ticks}", seen.last);
            return broken(Property::ClockForward, words);
        }
        seen.last = ticks;
        let limit = seen.wall_max_ticks.saturating_add(self.drift_max_ticks).saturating_add(seen.allowance);
        if ticks > limit {
            return broken(Property::ClockForward, format!("the clock shows {ticks}, above its bound {limit}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_or_runs_away_is_seen() {
        let at = |ticks| Hlc::from_ticks(ticks).unwrap();
        let mut clocks = Clocks::new(1, 500);
        assert!(clocks.shows(0, WallTime::from_micros(10), at(10_000)).is_ok());
        assert!(clocks.shows(0, WallTime::from_micros(3), at(10_001)).is_ok());
        assert!(clocks.shows(0, WallTime::from_micros(3), at(10_000)).is_err(), "it went back");
        assert!(clocks.shows(0, WallTime::from_micros(3), at(510_000)).is_ok());
        assert!(clocks.shows(0, WallTime::from_micros(3), at(510_001)).is_err(), "it ran away");
        clocks.booted(0);
        assert!(clocks.shows(0, WallTime::from_micros(3), at(1_510_000)).is_ok());
    }
}
