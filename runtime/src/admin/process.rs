//! What the system says about this process, read when somebody asks. Linux tells it under `/proc/self`; elsewhere the
//! figures stay at zero.

use crate::metrics::Metrics;
use std::fs;

/// Brings the `process_*` metrics up to date.
pub(super) fn measure(metrics: &Metrics) {
    // A file that cannot be read leaves the last figure: a scrape is no place to fail.
    if let Some(pages) = fs::read_to_string("/proc/self/statm").ok().as_deref().and_then(resident_pages) {
        metrics.process_memory_bytes.set(pages.saturating_mul(PAGE_BYTES));
    }
    if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
        metrics.process_cpu_seconds.set(ticks as f64 / TICKS_PER_SECOND);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the listing itself.
        metrics.process_open_fds.set(entries.count() as i64 - 1);
    }
}

/// Memory pages of the machines this runs on; larger pages would only make the figure too small.
const PAGE_BYTES: i64 = 4_096;
/// The unit of `/proc/self/stat` on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

fn resident_pages(statm: &str) -> Option<i64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// User and system time. The second field is the program's name in brackets and may hold anything, so fields are counted
/// from its end.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_the_program_is_called() {
        let stat = "17 (quo) rate (x) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 99 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("17 (x) S"), None);
        assert_eq!(resident_pages("1000 200 50 1 0 90 0"), Some(200));
        assert_eq!(resident_pages(""), None);
    }
}
