//! What the authors of the histories say of them.

use quorate_checker::Verdict;

/// Logs of an etcd register, `jepsen/etcd_000.log` to `etcd_102.log`, first judged by Knossos and by Horn's checker; the
/// cluster of number 95 did not start.
const ETCD_LOGS: u32 = 103;
const ETCD_EMPTY: u32 = 95;
const ETCD_OK: [u32; 23] = [2, 5, 7, 18, 25, 31, 38, 45, 48, 49, 51, 53, 56, 67, 75, 76, 80, 87, 92, 98, 100, 101, 102];

/// Texts with append, by porcupine's author.
const APPEND: [(&str, Verdict); 6] = [
    ("c01-ok", Verdict::Ok),
    ("c01-bad", Verdict::Violation),
    ("c10-ok", Verdict::Ok),
    ("c10-bad", Verdict::Violation),
    ("c50-ok", Verdict::Ok),
    ("c50-bad", Verdict::Violation),
];

/// Files of the peer's `test_data`, each with its published verdict.
pub fn verdicts() -> impl Iterator<Item = (String, Verdict)> {
    let etcd = (0..ETCD_LOGS).filter(|log| *log != ETCD_EMPTY).map(|log| {
        let verdict = if ETCD_OK.contains(&log) { Verdict::Ok } else { Verdict::Violation };
        (format!("jepsen/etcd_{log:03}.log"), verdict)
    });
    etcd.chain(APPEND.into_iter().map(|(name, verdict)| (format!("kv/{name}.txt"), verdict)))
}
