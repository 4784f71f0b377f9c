//! Stamps and dots for new writes, given out only under a durable lease.
//!
//! A cloakroom that prints its numbers in books: before the first number of a book is used, the fact that the book was
//! opened is in the log. After a crash the next book begins where the last opened one would have ended, so no number is
//! ever handed out twice, and no stamp lies below one that was shown (invariants A1 and A4).
//!
//! State: the hybrid clock, the next dot, what is leased, whether a longer lease is being made durable, and how long the
//! clock of a restarted node still runs ahead of its wall.
//! The clock's lease reaches as far beyond the wall as a peer's clock may run ahead of ours: a restarted node then never
//! starts further in the future than its peers accept. Under load it is renewed ahead of need, when half is used.
//! But it does start ahead of the wall, and a stamp from there would beat writes that begin later elsewhere. So until the
//! wall has caught up, or could have, new stamps for `lww` keyspaces are held back, and peers are told only what this
//! boot has heard itself: else they would follow a clock that is nobody's.
//!
//! Sources: riak_kv#679 and pull requests 1094 and 1643 there (silent loss through reused dots); CockroachDB waits for
//! the upper bound of its clock after a restart in the same way.

use crate::config::Config;
use crate::durable::Leases;
use crate::time::{Duration, Instant, Now, WallTime};
use crate::version::{Actor, ClockAhead, Dot, Hlc, HybridClock, Version};
use serde::{Deserialize, Serialize};

/// What one lease adds beyond the clock's own reading: room for a million stamps while the wall stands still.
const TICKS_LEASE: Duration = Duration::from_millis(1);

/// See the module's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamps {
    clock: HybridClock,
    next_sequence: u64,
    leased: Leases,
    /// The lease that is being made durable.
    asked: Option<Leases>,
    hold: Hold,
}

/// Whether the clock of a restarted node still runs ahead of its wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Hold {
    /// Nobody has looked at the wall yet.
    Unjudged,
    /// Until then; no longer if that has passed.
    Until(Instant),
}

impl Stamps {
    /// Starts above everything that may have been given out.
    pub(crate) fn recover(leases: Leases) -> Self {
        Self {
            clock: HybridClock::recover(leases.hlc),
            // Sequence 0 is never a write's: it is the dot of "absent".
            next_sequence: leases.sequence.max(1),
            leased: leases,
            asked: None,
            hold: Hold::Unjudged,
        }
    }

    /// Looks at the wall for the first time in this boot. How long the clock is held is bounded by `clock_drift_max`: a
    /// wall that was set back by more does not catch up soon, and then ticks must do.
    pub(crate) fn look_at_wall(&mut self, now: Now, config: &Config) {
        if self.hold == Hold::Unjudged {
            let ahead = self.clock.last().successor().ahead_of(now.wall);
            self.hold = Hold::Until(now.monotonic + ahead.min(config.clock_drift_max));
        }
    }

    /// When new stamps for `lww` keyspaces may be given out, if not yet.
    pub(crate) fn held_until(&self, now: Instant) -> Option<Instant> {
        match self.hold {
            Hold::Until(at) if now < at => Some(at),
            Hold::Until(_) => None,
            Hold::Unjudged => unreachable!("every boot begins with a look at the wall"),
        }
    }

    /// What this node's clock has shown at most.
    pub(crate) fn clock(&self) -> Hlc {
        self.clock.shown()
    }

    /// The reading that peers are to follow.
    pub(crate) fn reading(&self, now: Instant) -> Hlc {
        if self.held_until(now).is_some() { self.clock.heard() } else { self.clock.shown() }
    }

    /// A version for a new write, above everything shown and above `floor`; `None` until a longer lease is durable.
    pub(crate) fn version(&mut self, actor: Actor, wall: WallTime, floor: Hlc) -> Option<Version> {
        if self.next_sequence >= self.leased.sequence {
            return None;
        }
        let hlc = self.clock.stamp(wall, floor)?;
        let dot = Dot { actor, sequence: self.next_sequence };
        self.next_sequence += 1;
        Some(Version { hlc, dot })
    }

    /// Follows a peer's clock, unless it runs too far ahead.
    pub(crate) fn observe(&mut self, wall: WallTime, seen: Hlc, config: &Config) -> Result<(), ClockAhead> {
        self.clock.observe(wall, seen, config.clock_drift_max)
    }

    /// The longer lease that should be made durable now, if any: one at a time, ahead of need.
    pub(crate) fn renewal(&mut self, wall: WallTime, config: &Config) -> Option<Leases> {
        if self.asked.is_some() {
            return None;
        }
        let next = self.clock.preview(wall);
        let half_drift = half(config.clock_drift_max);
        let wall_short = Hlc::of_wall(wall).later_by(half_drift) > self.leased.hlc;
        let ticks_short = next.later_by(half(TICKS_LEASE)) > self.leased.hlc;
        let sequence_short = self.next_sequence + config.sequence_lease / 2 >= self.leased.sequence;
        if !wall_short && !ticks_short && !sequence_short {
            return None;
        }
        // A clock ahead of its wall (after a restart, or a step back) is granted ticks only: granting time again would
        // let a node that crashes in a loop run away from its peers.
        let hlc = Hlc::of_wall(wall).later_by(config.clock_drift_max).max(next.later_by(TICKS_LEASE));
        let hlc = self.leased.hlc.max(hlc);
        let sequence = self.leased.sequence.max(self.next_sequence + config.sequence_lease);
        self.asked = Some(Leases { hlc, sequence });
        self.asked
    }

    /// The lease that was asked for is durable.
    pub(crate) fn leased(&mut self) {
        self.leased = self.asked.take().expect("a lease that ends was asked for");
        self.clock.allow(self.leased.hlc);
    }

    /// The lease could not be made durable; the next write asks again.
    pub(crate) fn lease_failed(&mut self) {
        let asked = self.asked.take();
        assert!(asked.is_some(), "a lease that ends was asked for");
    }

    /// Whether a lease is being made durable.
    pub(crate) fn is_renewing(&self) -> bool {
        self.asked.is_some()
    }

    pub(crate) fn invariants(&self) {
        assert!(self.next_sequence <= self.leased.sequence.max(1), "no dot beyond the durable lease");
        assert!(self.clock.shown() <= self.leased.hlc, "no stamp above the durable bound");
        assert!(self.clock.bound() == self.leased.hlc);
    }
}

fn half(span: Duration) -> Duration {
    Duration::from_micros(span.as_micros() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(millis: u64) -> WallTime {
        WallTime::from_micros(millis * 1_000)
    }
    fn renew(stamps: &mut Stamps, wall: WallTime, config: &Config) -> Leases {
        let leases = stamps.renewal(wall, config).expect("a renewal is due");
        stamps.leased();
        leases
    }

    #[test]
    fn nothing_is_given_out_before_the_lease_is_durable() {
        let config = Config::default();
        let mut stamps = Stamps::recover(Leases::default());
        assert_eq!(stamps.version(Actor::default(), wall(1), Hlc::ZERO), None);
        assert!(stamps.renewal(wall(1), &config).is_some());
        assert_eq!(stamps.version(Actor::default(), wall(1), Hlc::ZERO), None);
        assert_eq!(stamps.renewal(wall(1), &config), None, "one renewal at a time");
        stamps.leased();
        assert!(stamps.version(Actor::default(), wall(1), Hlc::ZERO).is_some());
        stamps.invariants();
    }

    #[test]
    fn a_restarted_clock_lets_its_wall_catch_up_but_not_for_ever() {
        let config = Config::default();
        let restarted = |leases, micros, wall| {
            let mut stamps = Stamps::recover(leases);
            stamps.look_at_wall(Now { monotonic: Instant::from_micros(micros), wall }, &config);
            stamps
        };
        let mut stamps = restarted(Leases::default(), 5, wall(1_000));
        assert_eq!(stamps.held_until(Instant::from_micros(5)), None, "a new clock is not ahead");
        let durable = renew(&mut stamps, wall(1_000), &config);

        // The lease reached half a second beyond the wall; 100 ms of it have passed.
        let mut stamps = restarted(durable, 7, wall(1_100));
        let (before, after) = (Instant::from_micros(400_007), Instant::from_micros(400_008));
        assert_eq!(stamps.held_until(before), Some(after));
        assert_eq!(stamps.held_until(after), None);
        assert_eq!((stamps.reading(before), stamps.reading(after)), (Hlc::ZERO, durable.hlc));
        let heard = Hlc::of_wall(wall(1_101));
        stamps.observe(wall(1_100), heard, &config).unwrap();
        assert_eq!(stamps.reading(before), heard);

        // The wall was set back by an hour.
        let stamps = restarted(Leases { hlc: Hlc::of_wall(wall(3_600_000)), ..durable }, 0, wall(1));
        assert_eq!(stamps.held_until(Instant::ZERO), Some(Instant::ZERO + config.clock_drift_max));
    }

    #[test]
    fn a_crash_never_repeats_a_dot_or_goes_back_in_time() {
        let config = Config { sequence_lease: 4, ..Config::default() };
        let mut stamps = Stamps::recover(Leases::default());
        let mut durable = renew(&mut stamps, wall(10), &config);
        let mut highest = Version::ABSENT;
        for life in 0..20 {
            // The wall steps back after every crash.
            let wall = wall(1_000 - life * 50);
            for _ in 0..7 {
                if let Some(version) = stamps.version(Actor::default(), wall, Hlc::ZERO) {
                    assert!(version.hlc > highest.hlc);
                    assert!(version.dot > highest.dot);
                    highest = version;
                }
                if stamps.renewal(wall, &config).is_some() {
                    durable = stamps.asked.unwrap();
                    stamps.leased();
                }
                stamps.invariants();
            }
            stamps = Stamps::recover(durable);
        }
        assert!(highest.dot.sequence >= 20);
    }

    #[test]
    fn a_crash_loop_does_not_run_away_from_the_wall() {
        let config = Config::default();
        let mut durable = Leases::default();
        for _ in 0..100 {
            let mut stamps = Stamps::recover(durable);
            durable = renew(&mut stamps, wall(1_000), &config);
        }
        let limit = Hlc::of_wall(wall(1_000)).later_by(config.clock_drift_max).later_by(Duration::from_millis(101));
        assert!(durable.hlc <= limit);
    }
}
