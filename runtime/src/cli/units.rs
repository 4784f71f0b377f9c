//! Durations, sizes, rates and counts as people write them: `250ms`, `10s`, `1MiB`, `1e5`.
//!
//! A bare number is refused where a unit would be guessed.

use std::time::Duration;

#[cfg_attr(not(feature = "store"), allow(dead_code))]
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// `250ms`, `1.5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    scaled(text, &UNITS)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("'{text}' is no duration; write a number with its unit, such as 250ms, 10s or 2m"))
}

/// `256B`, `4KiB`, `1MiB`; a bare number is bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bare = text.parse::<u64>().ok();
    bare.or_else(|| scaled(text, &SIZES))
        .ok_or_else(|| format!("'{text}' is no size; write bytes, or a number with its unit, such as 4KiB or 1MiB"))
}

/// `1000`, `1e5`, `10k`.
#[cfg_attr(not(feature = "store"), allow(dead_code))]
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let exponent = || {
        let (digits, exponent) = text.split_once(['e', 'E'])?;
        digits.parse::<u64>().ok()?.checked_mul(10u64.checked_pow(exponent.parse().ok()?)?)
    };
    let plain = text.replace('_', "").parse::<u64>().ok();
    plain
        .or_else(exponent)
        .or_else(|| scaled(text, &[("k", 1_000), ("M", 1_000_000)]))
        .ok_or_else(|| format!("'{text}' is no count; write 1000, 1e5 or 10k"))
}

/// A decimal number with a unit from the table, rounded down to the smallest unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(*factor)?;
    let part = part.parse::<u64>().ok()?.checked_mul(*factor)? / 10u64.pow(part.len() as u32);
    whole.checked_add(part)
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `212 ms`, `9.8 s`, `3 m 20 s`: three figures are enough to read.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.0} us", nanos as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.2} ms", nanos as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} ms", nanos as f64 / 1e6),
        1_000_000_000..120_000_000_000 => format!("{:.1} s", nanos as f64 / 1e9),
        _ => format!("{} m {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, nanos) in [
            ("250ms", Some(250_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("2m", Some(120_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("10us", Some(10_000)),
            ("0s", Some(0)),
            ("10", None),
            ("", None),
            ("ms", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(duration(text).ok().map(|duration| duration.as_nanos()), nanos, "{text}");
        }
    }

    #[test]
    fn sizes_and_counts_read_as_people_write_them() {
        for (text, bytes) in [
            ("256", Some(256)),
            ("4KiB", Some(4_096)),
            ("1MB", Some(1_000_000)),
            ("1 MiB", Some(1 << 20)),
            ("1mib", None),
            ("1TiBs", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
        for (text, number) in
            [("1000", Some(1_000)), ("1e5", Some(100_000)), ("10k", Some(10_000)), ("1e99", None), ("many", None)]
        {
            assert_eq!(count(text).ok(), number, "{text}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
