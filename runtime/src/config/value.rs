//! Single values of the configuration: how each is written, read and shown.

use quorate_core::time::Duration;
use std::fmt;

/// A value that can stand behind a key.
pub(super) trait Setting: Sized {
    /// What a value looks like, for messages.
    const LOOKS: &'static str;
    /// Of the file.
    fn from_toml(value: &toml::Value) -> Option<Self>;
    /// Of a flag or the environment.
    fn from_text(text: &str) -> Option<Self>;
    /// As the file would say it.
    fn show(&self) -> String;
}

impl Setting for String {
    const LOOKS: &'static str = "a text";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for bool {
    const LOOKS: &'static str = "true or false";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        value.as_bool()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! counts {
    ($($count:ty, $looks:literal);+) => { $(
        impl Setting for $count {
            const LOOKS: &'static str = $looks;
            fn from_toml(value: &toml::Value) -> Option<Self> {
                value.as_integer().and_then(|value| value.try_into().ok())
            }
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
counts! { u8, "a number from 0 to 255"; u16, "a number from 0 to 65535"; u32, "a number"; usize, "a number" }

/// A length of time, written `250ms`, `10s`, `3h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// Units of time in microseconds, the longest first.
const TIMES: [(&str, u64); 5] = [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

impl Span {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl Setting for Span {
    const LOOKS: &'static str = "a time such as 250ms, 10s or 3h";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        Self::from_text(value.as_str()?)
    }
    fn from_text(text: &str) -> Option<Self> {
        scaled(text, &TIMES).map(|micros| Self(Duration::from_micros(micros)))
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        let (unit, factor) = TIMES.iter().find(|(_, factor)| micros.is_multiple_of(*factor)).unwrap_or(&("us", 1));
        write!(f, "{}{unit}", micros / factor)
    }
}

/// A number of bytes, written `1048576`, `64KiB`, `1MiB`, `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units of size in bytes.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Setting for Size {
    const LOOKS: &'static str = "a size such as 64KiB, 1MiB or 2GB";
    fn from_toml(value: &toml::Value) -> Option<Self> {
        match value {
            toml::Value::Integer(bytes) => (*bytes).try_into().ok().map(Self),
            other => Self::from_text(other.as_str()?),
        }
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| scaled(text, &SIZES)).map(Self)
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(factor);
        match SIZES.iter().take(4).find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Whole digits, then a unit of the table.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The name of a list that is closest to `wrong`, if one is close.
pub(super) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = names.into_iter().map(|name| (distance(wrong, name), name)).min()?;
    (close.0 <= (wrong.len() / 3).max(2)).then_some(close.1)
}

/// How many letters must be added, removed or changed to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_and_shown() {
        for (text, micros, shown) in [
            ("250ms", 250_000, "250ms"),
            ("1000ms", 1_000_000, "1s"),
            ("90s", 90_000_000, "90s"),
            ("3h", 10_800_000_000, "3h"),
            ("0s", 0, "0s"),
        ] {
            let span = Span::from_text(text).unwrap();
            assert_eq!((span.0.as_micros(), span.to_string().as_str()), (micros, shown));
        }
        for (text, bytes, shown) in
            [("1MiB", 1 << 20, "1MiB"), ("1048576", 1 << 20, "1MiB"), ("1MB", 1_000_000, "1000000B"), ("0", 0, "0B")]
        {
            let size = Size::from_text(text).unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
        for wrong in ["", "ms", "5", "-5s", "1.5s", "5 s", "5x", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(Span::from_text(wrong), None, "{wrong}");
        }
        for wrong in ["", "MiB", "1mib", "-1", "1 MiB", "18446744073709551615KiB"] {
            assert_eq!(Size::from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_when_near() {
        let names = ["client", "peer", "admin"];
        assert_eq!(nearest("clinet", names), Some("client"));
        assert_eq!(nearest("pear", names), Some("peer"));
        assert_eq!(nearest("grpc", names), None);
    }
}
