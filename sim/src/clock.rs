//! A node's two clocks, and how they go wrong.
//!
//! True time is the simulator's. The *monotonic* clock runs with a drift and never back; it goes on while its node is
//! down, as a machine's does. The *wall* shows the calendar: drift, skew, steps either way, coarse ticks, and a freeze
//! during which it stands still while the monotonic clock runs on.

use quorate_core::time::{Instant, Now, WallTime};
use quorate_traces::ClockPlan;
use serde::{Deserialize, Serialize};

/// What an honest calendar shows when a run begins, in microseconds since 1970.
pub(crate) const WALL_START: u64 = 1_700_000_000_000_000;

/// Both clocks of one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostClock {
    /// When drift or wall changed last, and what the clocks showed then.
    since: u64,
    monotonic: u64,
    wall: u64,
    drift_ppm: i64,
    tick: u64,
    frozen: bool,
}

impl HostClock {
    /// The clocks when the run begins.
    pub(crate) fn new(plan: &ClockPlan) -> Self {
        let wall = WALL_START.saturating_add_signed(plan.skew);
        Self { since: 0, monotonic: 0, wall, drift_ppm: plan.drift_ppm, tick: plan.tick.max(1), frozen: false }
    }

    /// What both show at a true time.
    pub(crate) fn read(&self, at: u64) -> Now {
        let passed = self.passed(at);
        let wall = if self.frozen { self.wall } else { self.wall.saturating_add(passed) };
        Now {
            monotonic: Instant::from_micros(self.monotonic.saturating_add(passed)),
            wall: WallTime::from_micros(wall - wall % self.tick),
        }
    }

    fn passed(&self, at: u64) -> u64 {
        let elapsed = at.saturating_sub(self.since);
        if self.drift_ppm == 0 {
            return elapsed;
        }
        (i128::from(elapsed) * i128::from(1_000_000 + self.drift_ppm) / 1_000_000) as u64
    }

    /// The first true time at which the monotonic clock shows `deadline`, not before `at`.
    pub(crate) fn when(&self, deadline: Instant, at: u64) -> u64 {
        let ahead = deadline.as_micros().saturating_sub(self.monotonic);
        let elapsed = match self.drift_ppm {
            0 => ahead,
            ppm => {
                let rate = u128::from((1_000_000 + ppm).max(1) as u64);
                u64::try_from((u128::from(ahead) * 1_000_000).div_ceil(rate)).unwrap_or(u64::MAX)
            }
        };
        self.since.saturating_add(elapsed).max(at)
    }

    /// Both clocks change their speed.
    pub(crate) fn set_drift(&mut self, at: u64, ppm: i64) {
        self.rebase(at);
        self.drift_ppm = ppm.max(-999_999);
    }

    /// The wall jumps.
    pub(crate) fn step(&mut self, at: u64, by: i64) {
        self.rebase(at);
        self.wall = self.wall.saturating_add_signed(by);
    }

    /// The wall stops, or goes on from where it stands.
    pub(crate) fn set_frozen(&mut self, at: u64, frozen: bool) {
        self.rebase(at);
        self.frozen = frozen;
    }

    fn rebase(&mut self, at: u64) {
        let passed = self.passed(at);
        self.monotonic = self.monotonic.saturating_add(passed);
        if !self.frozen {
            self.wall = self.wall.saturating_add(passed);
        }
        self.since = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_met_neither_early_nor_late_at_any_speed() {
        for drift_ppm in [-500_000, -37, 0, 41, 1_000_000] {
            let mut clock = HostClock::new(&ClockPlan { skew: 5, drift_ppm, tick: 1 });
            clock.set_drift(1_003, drift_ppm / 2);
            for deadline in [0, 1, 999, 5_000, 1_234_567] {
                let deadline = Instant::from_micros(deadline);
                let at = clock.when(deadline, 1_003);
                assert!(clock.read(at).monotonic >= deadline, "{drift_ppm}");
                assert!(at == 1_003 || clock.read(at - 1).monotonic < deadline, "{drift_ppm}");
            }
        }
    }

    #[test]
    fn the_wall_steps_freezes_and_ticks_while_monotonic_time_goes_on() {
        let mut clock = HostClock::new(&ClockPlan { skew: 0, drift_ppm: 0, tick: 1_000 });
        clock.step(10_000, -3_600_000_000);
        clock.set_frozen(20_000, true);
        let frozen = clock.read(30_500);
        assert_eq!(frozen.wall.as_micros(), WALL_START + 20_000 - 3_600_000_000);
        assert_eq!(frozen.monotonic.as_micros(), 30_500);
        clock.set_frozen(40_000, false);
        assert_eq!(clock.read(41_999).wall.as_micros(), WALL_START + 21_000 - 3_600_000_000);
    }
}
