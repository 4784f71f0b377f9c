//! The two clocks of a real node.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate_core::time::{Instant, Now, WallTime};

/// Reads both clocks together. The monotonic one begins when this is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// A calendar before 1970 reads as its beginning: nothing of ours trusts it further than the drift rule does.
    pub(super) fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            monotonic: Instant::from_micros(micros(self.start.elapsed())),
            wall: WallTime::from_micros(micros(since_1970)),
        }
    }

    /// The moment in the words of the runtime's timers.
    pub(super) fn to_std(self, at: Instant) -> std::time::Instant {
        // A deadline beyond the end of time: an hour from now is as good, since extra ticks are harmless.
        let far = std::time::Duration::from_secs(3_600);
        let since_start = std::time::Duration::from_micros(at.as_micros());
        self.start.checked_add(since_start).unwrap_or_else(|| std::time::Instant::now() + far)
    }
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
