//! Every verdict against a judge that tries every order, and every certificate against the verifier.
//!
//! `QUORATE_CHECKER_HISTORIES` sets how many histories are drawn (default 20,000).

mod common;

use common::{Random, draw_history, draw_shape, is_linearizable};
use quorate_checker::{FailedCas, Identity, Method, Options, Verdict, check_history, verify, write_jsonl};

fn histories() -> u64 {
    std::env::var("QUORATE_CHECKER_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

/// Seeds beyond the default range that alone showed a mutant: a state in which less can be hidden beat one in which more
/// can.
const TELLING: [u64; 1] = [62_795];

#[test]
fn verdicts_equal_brute_force_and_certificates_verify() {
    let mut tally = std::collections::BTreeMap::new();
    for seed in (0..histories()).chain(TELLING) {
        let mut random = Random(seed);
        let shape = draw_shape(&mut random);
        let history = draw_history(&mut random, shape);
        let failed_cas = if random.chance(70) { FailedCas::Mismatch } else { FailedCas::Never };
        let options = Options { failed_cas, certificates: true, ..Options::deterministic(1_000_000) };
        let report = check_history(&history, &options);
        let by_version = report.keys[0].identity == Identity::Version;
        let expected = if is_linearizable(&history, failed_cas, by_version) { Verdict::Ok } else { Verdict::Violation };
        let show = || {
            let mut text = Vec::new();
            write_jsonl(&history, &mut text).expect("memory takes everything");
            format!("seed {seed} {shape:?} {failed_cas:?} {:?}\n{}", report.keys[0], String::from_utf8_lossy(&text))
        };
        assert_eq!(report.verdict, expected, "{}", show());
        let may_be_large = report.keys[0].method == Method::Search && expected == Verdict::Violation;
        match verify(&history, &report.keys[0], &options) {
            Ok(true) => {}
            Ok(false) => panic!("no certificate: {}", show()),
            Err(refusal) => assert!(may_be_large, "{refusal}: {}", show()),
        }
        *tally.entry((report.keys[0].method, report.keys[0].identity, report.verdict)).or_insert(0u64) += 1;
    }
    println!("{tally:?}");
    // Every judge must have been at work, with both answers.
    for method in [Method::Zones, Method::Search] {
        for verdict in [Verdict::Ok, Verdict::Violation] {
            assert!(tally.get(&(method, Identity::Value, verdict)).is_some_and(|count| *count > 100), "{tally:?}");
        }
    }
    assert!(tally.keys().any(|(_, identity, _)| *identity == Identity::Version));
}
