//! The hybrid logical clock: calendar time where it can be, a counter where it must be.
//!
//! A stamp is a `u64` of *ticks*, 1,000 to the microsecond. The clock shows the larger of "one tick after the last
//! stamp" and "the wall now", so it never goes back, follows causality, and stays near the wall. A wall that jumps
//! back only makes it count ticks until the wall has caught up.
//!
//! State: the largest stamp given out, the largest reading of a peer, and the bound below which stamps may be given out.
//! The bound is durable ahead of use ([`crate::stamps`]), so a restarted clock starts above everything it ever showed
//! (invariant A4). A peer's reading may lie above the bound: it is remembered, the next stamp waits for a bound that
//! covers it, and until then it is not shown to others.
//! A peer's clock that runs ahead of our wall by more than the allowed drift is never adopted.

use crate::time::{Duration, WallTime};
use serde::{Deserialize, Serialize};

/// A stamp of the hybrid clock, in ticks of a nanosecond's name (1,000 to the microsecond of wall time).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc(u64);

const TICKS_PER_MICRO: u64 = 1_000;

impl Hlc {
    /// Before every stamp.
    pub const ZERO: Self = Self(0);
    /// The largest stamp that is accepted from outside: half the range, so that no successor can overflow.
    pub const MAX: Self = Self(u64::MAX / 2);

    /// A stamp of so many ticks, or `None` above [`Self::MAX`].
    pub const fn from_ticks(ticks: u64) -> Option<Self> {
        if ticks <= Self::MAX.0 { Some(Self(ticks)) } else { None }
    }
    /// In ticks.
    pub const fn as_ticks(self) -> u64 {
        self.0
    }
    /// The stamp that the wall alone would give; saturates at [`Self::MAX`].
    pub const fn of_wall(wall: WallTime) -> Self {
        let ticks = wall.as_micros().saturating_mul(TICKS_PER_MICRO);
        if ticks <= Self::MAX.0 { Self(ticks) } else { Self::MAX }
    }
    /// How far this stamp lies ahead of a wall, rounded up; zero if it does not.
    pub const fn ahead_of(self, wall: WallTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(Self::of_wall(wall).0).div_ceil(TICKS_PER_MICRO))
    }
    /// The next stamp after this one.
    #[must_use]
    pub const fn successor(self) -> Self {
        Self(self.0 + 1)
    }
    /// This stamp moved later; saturates at [`Self::MAX`].
    #[must_use]
    pub const fn later_by(self, span: Duration) -> Self {
        let ticks = self.0.saturating_add(span.as_micros().saturating_mul(TICKS_PER_MICRO));
        if ticks <= Self::MAX.0 { Self(ticks) } else { Self::MAX }
    }
}

/// A stamp runs ahead of our wall by more than the allowed drift. It was not adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockAhead {
    /// How far ahead, in microseconds.
    pub by_micros: u64,
}

/// A node's clock. See the module's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HybridClock {
    last: Hlc,
    seen: Hlc,
    bound: Hlc,
}

impl HybridClock {
    /// A clock that has never shown anything above `bound`, which is durable.
    pub fn recover(bound: Hlc) -> Self {
        Self { last: bound, seen: Hlc::ZERO, bound }
    }

    /// The largest stamp given out, or the bound this clock was recovered with.
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// The largest reading of a peer since this clock was recovered, as far as the durable bound covers it.
    pub fn heard(&self) -> Hlc {
        self.seen.min(self.bound)
    }

    /// What this clock shows to others: the largest stamp given out or adopted, as far as the durable bound covers it.
    pub fn shown(&self) -> Hlc {
        self.last.max(self.heard())
    }

    /// The bound below or at which stamps may be given out.
    pub fn bound(&self) -> Hlc {
        self.bound
    }

    /// Raises the bound, once the new one is durable.
    pub fn allow(&mut self, bound: Hlc) {
        assert!(bound >= self.bound, "a durable bound never goes back");
        self.bound = bound;
    }

    /// What the next stamp would be: above everything given out or adopted, and not behind the wall.
    pub fn preview(&self, wall: WallTime) -> Hlc {
        self.last.max(self.seen).successor().max(Hlc::of_wall(wall))
    }

    /// Gives out a stamp above everything given out or adopted and above `floor`, or `None` while the durable bound is
    /// too low.
    ///
    /// A `floor` above this clock (the tag of a register seen elsewhere) shapes the stamp without moving the clock:
    /// one node's fast clock must not drag along every node that reads its versions.
    pub fn stamp(&mut self, wall: WallTime, floor: Hlc) -> Option<Hlc> {
        let own = self.preview(wall);
        if own > self.bound {
            return None;
        }
        self.last = own;
        Some(own.max(floor.successor()))
    }

    /// Adopts a peer's clock reading, unless it runs too far ahead of our wall.
    ///
    /// # Errors
    /// [`ClockAhead`]: the reading is more than `drift_max` ahead of `wall`; the clock is unchanged.
    pub fn observe(&mut self, wall: WallTime, seen: Hlc, drift_max: Duration) -> Result<(), ClockAhead> {
        judge(wall, seen, drift_max)?;
        self.seen = self.seen.max(seen);
        Ok(())
    }
}

/// Whether a stamp is acceptable beside our wall.
///
/// # Errors
/// [`ClockAhead`] when `stamp` is more than `drift_max` ahead of `wall`.
pub(crate) fn judge(wall: WallTime, stamp: Hlc, drift_max: Duration) -> Result<(), ClockAhead> {
    let limit = Hlc::of_wall(wall).later_by(drift_max);
    if stamp <= limit {
        return Ok(());
    }
    Err(ClockAhead { by_micros: (stamp.0 - Hlc::of_wall(wall).0) / TICKS_PER_MICRO })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: Duration = Duration::from_millis(500);

    fn wall(millis: u64) -> WallTime {
        WallTime::from_micros(millis * 1_000)
    }
    fn open_clock() -> HybridClock {
        let mut clock = HybridClock::recover(Hlc::ZERO);
        clock.allow(Hlc::MAX);
        clock
    }

    #[test]
    fn stamps_rise_while_the_wall_stands_still_or_jumps_back() {
        let mut clock = open_clock();
        let first = clock.stamp(wall(10), Hlc::ZERO).unwrap();
        let second = clock.stamp(wall(10), Hlc::ZERO).unwrap();
        let third = clock.stamp(wall(3), Hlc::ZERO).unwrap();
        assert_eq!(first, Hlc::of_wall(wall(10)));
        assert!(first < second);
        assert!(second < third);
    }

    #[test]
    fn nothing_is_stamped_above_the_durable_bound() {
        let mut clock = HybridClock::recover(Hlc::ZERO);
        assert_eq!(clock.stamp(wall(10), Hlc::ZERO), None);
        clock.allow(Hlc::of_wall(wall(11)));
        assert!(clock.stamp(wall(10), Hlc::ZERO).is_some());
        assert_eq!(clock.stamp(wall(12), Hlc::ZERO), None);
    }

    #[test]
    fn a_recovered_clock_starts_above_all_it_showed() {
        let mut clock = open_clock();
        clock.allow(Hlc::MAX);
        let shown = clock.stamp(wall(10), Hlc::ZERO).unwrap();
        let mut recovered = HybridClock::recover(Hlc::of_wall(wall(11)));
        recovered.allow(Hlc::of_wall(wall(2_000)));
        assert!(recovered.stamp(wall(1), Hlc::ZERO).unwrap() > shown);
    }

    #[test]
    fn a_far_future_peer_is_refused_and_not_adopted() {
        let mut clock = open_clock();
        let far = Hlc::of_wall(wall(10_000));
        assert_eq!(clock.observe(wall(1), far, DRIFT), Err(ClockAhead { by_micros: 9_999_000 }));
        assert!(clock.stamp(wall(2), Hlc::ZERO).unwrap() < far);
    }

    #[test]
    fn a_reading_above_the_bound_is_not_forgotten() {
        let mut clock = HybridClock::recover(Hlc::of_wall(wall(10)));
        let reading = Hlc::of_wall(wall(300));
        clock.observe(wall(10), reading, DRIFT).unwrap();
        assert_eq!(clock.stamp(wall(11), Hlc::ZERO), None, "a stamp below what was seen would be out of order");
        assert_eq!(clock.shown(), Hlc::of_wall(wall(10)), "what no bound covers is not shown");
        clock.allow(Hlc::of_wall(wall(400)));
        assert_eq!(clock.shown(), reading);
        assert_eq!(clock.stamp(wall(12), Hlc::ZERO), Some(reading.successor()));
    }

    #[test]
    fn a_floor_shapes_the_stamp_but_does_not_move_the_clock() {
        let mut clock = open_clock();
        let far = Hlc::of_wall(wall(10_000));
        assert_eq!(clock.stamp(wall(1), far), Some(far.successor()));
        assert!(clock.stamp(wall(2), Hlc::ZERO).unwrap() < far);
    }
}
