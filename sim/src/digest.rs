//! One number that says whether two runs were the same: a fold over everything that happened.
//!
//! Folded multiplication (the mixing step of wyhash): two words cost one multiplication, so it can be always on.

use serde::{Deserialize, Serialize};

/// The fold so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x71d6_7fff_eda6_0000)
    }
}

impl Digest {
    /// Takes two words in.
    pub(crate) fn fold(&mut self, a: u64, b: u64) {
        let wide = u128::from(self.0 ^ a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
        // Added, so that a factor of zero does not wipe out what came before.
        self.0 = ((wide as u64) ^ ((wide >> 64) as u64)).wrapping_add(self.0.rotate_left(23)).wrapping_add(a);
    }

    /// The number.
    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[(u64, u64)]) -> u64 {
        let mut digest = Digest::default();
        words.iter().for_each(|&(a, b)| digest.fold(a, b));
        digest.value()
    }

    #[test]
    fn order_and_every_word_matter() {
        let base = of(&[(1, 2), (3, 4)]);
        let others = [&[(3, 4), (1, 2)][..], &[(1, 2), (3, 5)], &[(0, 2), (3, 4)], &[(1, 2)], &[(2, 1), (3, 4)]];
        for other in others {
            assert_ne!(of(other), base, "{other:?}");
        }
        let zeroing = 0xe703_7ed1_a0b4_28db;
        assert_ne!(of(&[(1, 1), (5, zeroing)]), of(&[(2, 1), (5, zeroing)]), "a zero factor forgets nothing");
    }
}
