//! Which request comes next: reads to writes, which key, which value.

use std::str::FromStr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Zipf};

/// How keys are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distribution {
    Uniform,
    /// The k-th key with a probability that falls as k to this power.
    Zipf(f64),
}

impl FromStr for Distribution {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let zipf = || text.strip_prefix("zipf:")?.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent));
        match text {
            "uniform" => Ok(Distribution::Uniform),
            _ => zipf().map(Distribution::Zipf).ok_or_else(|| format!("'{text}': write uniform, or zipf:1.1")),
        }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Distribution::Uniform => f.write_str("uniform"),
            Distribution::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Reads to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    pub(super) reads: u32,
    pub(super) writes: u32,
}

impl FromStr for Mix {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(reads, writes)| {
            let mix = Mix { reads: reads.parse().ok()?, writes: writes.parse().ok()? };
            (mix.reads.checked_add(mix.writes)? > 0).then_some(mix)
        });
        parsed.ok_or_else(|| format!("'{text}': write reads to writes, such as 90:10"))
    }
}

/// One request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) key: String,
    /// What to write; none for a read.
    pub(super) value: Option<Vec<u8>>,
}

/// What one client asks for, drawn from its own stream.
pub(super) struct Drawer {
    rng: ChaCha8Rng,
    zipf: Option<Zipf<f64>>,
    keys: u64,
    mix: Mix,
    prefix: String,
    client: u32,
    written: u64,
    size: usize,
}

impl Drawer {
    pub(super) fn new(bench: &super::Bench, client: u32) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(bench.seed);
        rng.set_stream(u64::from(client));
        let zipf = match bench.dist {
            Distribution::Uniform => None,
            Distribution::Zipf(exponent) => {
                Some(Zipf::new(bench.keys as f64, exponent).expect("keys and exponent were checked"))
            }
        };
        let size = bench.size as usize;
        Drawer { rng, zipf, keys: bench.keys, mix: bench.mix, prefix: bench.prefix.clone(), client, written: 0, size }
    }

    pub(super) fn next(&mut self) -> Request {
        let number = match &self.zipf {
            None => self.rng.random_range(0..self.keys),
            Some(zipf) => zipf.sample(&mut self.rng) as u64 - 1,
        };
        let key = format!("{}{number}", self.prefix);
        let is_read = self.rng.random_range(0..self.mix.reads + self.mix.writes) < self.mix.reads;
        let value = (!is_read).then(|| {
            self.written += 1;
            value(&name(self.client, self.written), self.size)
        });
        Request { key, value }
    }
}

/// The name of a client's n-th write.
fn name(client: u32, number: u64) -> String {
    format!("c{client}.{number}")
}

/// A value of `size` bytes that begins with its name.
fn value(name: &str, size: usize) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(b' ');
    bytes.resize(size.max(bytes.len()), b'.');
    bytes
}

/// The name in a value that [`value`] made with this size; `None` if a byte of it is wrong.
pub(super) fn name_of(bytes: &[u8], size: usize) -> Option<&str> {
    let at = bytes.iter().position(|byte| *byte == b' ')?;
    let name = std::str::from_utf8(&bytes[..at]).ok()?;
    (value(name, size) == bytes).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_and_mixes_read_as_written() {
        for (text, expected) in [("uniform", Some(Distribution::Uniform)), ("zipf:1.1", Some(Distribution::Zipf(1.1)))]
        {
            assert_eq!(text.parse().ok(), expected);
        }
        for text in ["", "zipf", "zipf:", "zipf:-1", "zipf:nan", "pareto"] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
        assert_eq!("90:10".parse(), Ok(Mix { reads: 90, writes: 10 }));
        for text in ["", "90", "0:0", "-1:2", "4294967295:1"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_names_its_writer_and_shows_every_change() {
        let bytes = value("c3.17", 64);
        assert_eq!(bytes.len(), 64);
        assert_eq!(name_of(&bytes, 64), Some("c3.17"));
        for at in 0..64 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_ne!(name_of(&changed, 64), Some("c3.17"), "byte {at}");
        }
        assert_eq!(name_of(&bytes[..63], 64), None);
    }
}
