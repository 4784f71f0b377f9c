//! Time as the core sees it: whole microseconds, always handed in, never asked for.
//!
//! Two clocks, two types. [`Instant`] is monotonic and drives timers; [`WallTime`] is what a node's calendar clock
//! claims, may jump either way, and feeds the hybrid logical clock only.

use core::ops::{Add, Sub};
use serde::{Deserialize, Serialize};

/// A point on a node's monotonic clock, in microseconds since some start of the host's choosing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(u64);

/// A span of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Duration(u64);

/// What a calendar clock shows: microseconds since 1970-01-01 UTC. Never trusted, never used for timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallTime(u64);

/// Both clocks, read by the host when it delivers an input and recorded with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// For timers and deadlines.
    pub monotonic: Instant,
    /// For the hybrid logical clock.
    pub wall: WallTime,
}

impl Instant {
    /// The clock's start.
    pub const ZERO: Self = Self(0);
    /// So many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// So many milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }
    /// So many seconds; saturates.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }
    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl WallTime {
    /// So many microseconds since 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// Microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates: a deadline beyond the end of time never comes, which is what the caller means.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl Sub for Duration {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}
