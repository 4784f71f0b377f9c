//! Chance, split into named streams: one per purpose, link, disk and client.
//!
//! Each stream is a ChaCha8 generator of its own, so taking one fault out of a plan leaves every draw of every other
//! stream where it was; without that, shrinking a failing run would change it beyond recognition.
//!
//! Sampling is our own, in integers, and pinned by test vectors below: a recorded run must outlive the random number
//! libraries' changes of heart. A message's fate is one word of its link's stream, whatever is switched on, and
//! [`Dice`] splits that word into as many throws as are needed.

use quorate_traces::Latency;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The order of events at one time.
    Ties = 1,
    /// One directed link.
    Link = 2,
    /// One node's disk and crashes.
    Disk = 3,
    /// Client latencies.
    Client = 4,
    /// A node's own generator.
    Node = 5,
    /// Drawing plans: shape.
    Shape = 6,
    /// Drawing plans: operations.
    Ops = 7,
    /// Drawing plans: faults.
    Faults = 8,
}

/// A stream of chance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of this seed for this purpose; `index` tells links, disks and clients apart.
    pub(crate) fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0; 32];
        let mut dice = Dice(seed);
        for (at, chunk) in key.chunks_exact_mut(8).enumerate() {
            let word = if at == 3 { index } else { dice.word() };
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(purpose as u64);
        Self(rng)
    }

    /// 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 32 bits.
    pub(crate) fn half_word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `n`, each as likely.
    ///
    /// # Panics
    /// If `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing is below 0");
        // Lemire 2019: multiply, and reject the few words that would be counted once too often.
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.word()) * u128::from(n);
            if wide as u64 >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A number from `min` to `max`, both included.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        assert!(min <= max);
        min + self.below(max - min + 1)
    }

    /// True one time in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these, each as likely.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number between the two, each order of magnitude as likely.
    pub(crate) fn decades(&mut self, min: u64, max: u64) -> u64 {
        assert!(min >= 1 && min <= max);
        let (low, high) = (min.ilog2(), max.ilog2());
        let bits = self.between(u64::from(low), u64::from(high)) as u32;
        let (floor, ceiling) = (1u64 << bits, (1u64 << bits) * 2 - 1);
        self.between(floor.max(min), ceiling.min(max))
    }

    /// Puts them in a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    /// One wait.
    pub(crate) fn latency(&mut self, latency: &Latency) -> u64 {
        Dice(self.word()).latency(latency)
    }
}

/// Throws that all follow from one word (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub u64);

impl Dice {
    /// 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `n`; for the small `n` of a simulation the bias is far below one in a billion.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "nothing is below 0");
        ((u128::from(self.word()) * u128::from(n)) >> 64) as u64
    }

    /// True so many times in a million.
    pub(crate) fn chance(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// One wait.
    pub(crate) fn latency(&mut self, latency: &Latency) -> u64 {
        match *latency {
            Latency::Uniform { min, max } => min + self.below(max.saturating_sub(min).saturating_add(1)),
            Latency::Exponential { min, mean } => min.saturating_add(self.exponential(mean)),
            Latency::HeavyTail { min, unit, max } => {
                let doublings = (self.word().leading_zeros() / 2).min(24);
                let step = unit.saturating_mul(1 << doublings);
                min.saturating_add(step / 2 + self.below(step / 2 + 1)).min(max.max(min))
            }
        }
    }

    /// -ln(U) times `mean`, in integers: leading zeros count whole halvings, the rest is interpolated.
    fn exponential(&mut self, mean: u64) -> u64 {
        const LN_2_BITS_16: u128 = 45_426;
        let word = self.word() | 1;
        let zeros = word.leading_zeros();
        let fraction = (word << zeros << 1) >> 48;
        let halvings_bits_16 = (u128::from(zeros + 1) << 16) - u128::from(fraction);
        let wait = (u128::from(mean) * halvings_bits_16 * LN_2_BITS_16) >> 32;
        u64::try_from(wait).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change here breaks every recorded seed: these vectors are the contract.
    #[test]
    fn sampling_is_pinned() {
        let mut stream = Stream::new(7, Purpose::Link, 3);
        let words: Vec<u64> = (0..3).map(|_| stream.word()).collect();
        let below: Vec<u64> = (0..5).map(|_| stream.below(10)).collect();
        let mut dice = Dice(42);
        let latencies: Vec<u64> =
            (0..4).map(|_| dice.latency(&Latency::Exponential { min: 100, mean: 1_000 })).collect();
        let tails: Vec<u64> =
            (0..4).map(|_| dice.latency(&Latency::HeavyTail { min: 10, unit: 100, max: 10_000 })).collect();
        let found = format!("{words:x?} {below:?} {latencies:?} {tails:?}");
        assert_eq!(found, PINNED, "the generator draws other numbers than it did");
    }

    const PINNED: &str = "[3af7f1018c8a5a15, bcedd4044a9c2df9, e21908fe141df381] [6, 5, 5, 3, 7] \
                          [458, 1985, 1406, 1225] [384, 190, 91, 159]";

    #[test]
    fn exponential_waits_have_their_mean() {
        let mut dice = Dice(1);
        let sum: u64 = (0..100_000).map(|_| dice.exponential(1_000)).sum();
        assert!((940..1_060).contains(&(sum / 100_000)), "{}", sum / 100_000);
    }

    #[test]
    fn heavy_tails_stay_in_bounds_and_reach_far() {
        let mut dice = Dice(2);
        let latency = Latency::HeavyTail { min: 10, unit: 100, max: 50_000 };
        let waits: Vec<u64> = (0..100_000).map(|_| dice.latency(&latency)).collect();
        assert!(waits.iter().all(|wait| (10..=50_000).contains(wait)));
        assert!(waits.iter().any(|&wait| wait > 20_000));
        assert!(waits.iter().filter(|&&wait| wait <= 110).count() > 50_000);
    }

    #[test]
    fn streams_do_not_share_their_draws() {
        let mut words: Vec<u64> = Vec::new();
        for purpose in [Purpose::Ties, Purpose::Link, Purpose::Disk] {
            for index in 0..4 {
                words.push(Stream::new(1, purpose, index).word());
            }
        }
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 12);
    }
}
