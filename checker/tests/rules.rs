//! One story for every rule of judging registers and every known pitfall.

use quorate_checker::{
    Anomaly, FailedCas, History, Kind, Level, Method, Options, Report, Value, Verdict, check_history, read_jsonl,
    verify,
};

/// Operations as `client call key? [start end]`, for example `a put 1 0-5`, `b get 1 6-8`, `c cas 1>2 3-4`.
///
/// An end of `?` is an unknown outcome, a trailing `!` a definite failure, `@x` a version, `~one` a level, `=v` what a
/// failed swap saw. `nil` is absent, numbers are texts.
fn history(text: &str) -> History {
    let mut history = History::new();
    let key = history.key("k");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let client = history.client(words[0]);
        let value = |text: &str| if text == "nil" { Value::Absent } else { Value::text(text) };
        let (shown, times) = if words[1] == "del" { ("nil", words[2]) } else { (words[2], words[3]) };
        let failed = times.ends_with('!');
        let (start, end) = times.trim_end_matches('!').split_once('-').expect("start-end");
        let start: i64 = start.parse().expect("a time");
        let until = end.parse().unwrap_or(start);
        use quorate_checker::Operation;
        let mut operation = match (words[1], shown.split_once('>')) {
            ("get", _) => Operation::new(client, key, Kind::Read, value(shown), start, until),
            ("cas", Some((from, to))) => Operation::cas(client, key, value(from), value(to), start, until),
            _ => Operation::new(client, key, Kind::Write, value(shown), start, until),
        };
        for extra in &words[2..] {
            if let Some(version) = extra.strip_prefix('@') {
                operation = operation.with_version(Value::text(version));
            } else if let Some(level) = extra.strip_prefix('~') {
                operation = operation.at_level(Level::from_name(level).expect("a level"));
            } else if let Some(seen) = extra.strip_prefix('=') {
                operation = operation.having_seen(value(seen));
            }
        }
        if end.starts_with('?') {
            operation = operation.unknown();
        }
        history.push(if failed { operation.failed() } else { operation });
    }
    history
}

fn judge(text: &str, failed_cas: FailedCas) -> Report {
    let history = history(text);
    let options = Options { failed_cas, certificates: true, ..Options::deterministic(100_000) };
    let report = check_history(&history, &options);
    verify(&history, &report.keys[0], &options).expect("the certificate holds");
    report
}

fn ok(text: &str) -> Report {
    let report = judge(text, FailedCas::Mismatch);
    assert_eq!(report.verdict, Verdict::Ok, "{text}\n{:?}", report.keys);
    report
}

fn broken(text: &str) -> (Anomaly, Vec<u32>) {
    let report = judge(text, FailedCas::Mismatch);
    assert_eq!(report.verdict, Verdict::Violation, "{text}");
    let violation = report.keys[0].violation.clone().expect("a violation has its reason");
    (violation.anomaly, violation.operations)
}

#[test]
fn intervals_are_closed() {
    ok("a put 1 0-5\n b get nil 5-6");
    assert_eq!(broken("a put 1 0-5\n b get nil 6-7"), (Anomaly::Overlap, vec![0, 1]));
}

#[test]
fn a_stale_read_is_named_with_the_two_writes_and_nothing_else() {
    let text = "a put 1 0-1\n a put 2 2-3\n c get 2 3-3\n c put 9 100-101\n b get 1 4-5\n d get 2 6-7";
    let (anomaly, mut operations) = broken(text);
    operations.sort_unstable();
    assert_eq!((anomaly, operations), (Anomaly::Overlap, vec![0, 1, 4]));
}

#[test]
fn a_value_that_nobody_wrote_and_one_whose_write_failed_are_told_apart() {
    assert_eq!(broken("a get 7 0-1"), (Anomaly::NeverWritten, vec![0]));
    assert_eq!(broken("a put 7 0-1!\n b get 7 2-3"), (Anomaly::AbortedRead, vec![1, 0]));
    // Only a write that failed is no reason, if another may have written the same.
    ok("a put 7 0-1!\n c put 7 0-?\n b get 7 2-3");
}

#[test]
fn an_unknown_write_may_happen_late_or_never_but_only_once() {
    ok("a put 1 0-?\n b get nil 5-6\n b get 1 7-8");
    ok("a put 1 0-?\n b get nil 5-6");
    broken("a put 1 0-?\n b put 2 1-2\n b get 1 3-4\n b get 2 5-6");
    // Its end is not the time at which its client gave up.
    ok("a put 1 0-?\n b put 2 10-11\n b get 1 90-91");
}

#[test]
fn an_unknown_swap_keeps_the_unknown_writer_of_its_source_alive() {
    ok("a put 1 0-?\n b cas 1>2 1-?\n c get 2 5-6");
    broken("b cas 1>2 1-?\n c get 2 5-6");
    broken("a put 1 0-?\n b cas 1>2 1-?\n c get 2 5-6\n c get 1 7-8");
}

#[test]
fn swaps_make_chains_and_each_write_is_used_up_once() {
    ok("a put 1 0-1\n a cas 1>2 2-3\n a cas 2>3 4-5\n b get 2 2-5\n b get 3 5-6");
    assert_eq!(broken("a put 1 0-1\n a cas 1>2 2-9\n b cas 1>3 2-9").0, Anomaly::SwappedTwice);
    assert_eq!(broken("a cas 1>2 0-9\n b cas 2>1 0-9").0, Anomaly::SwapCycle);
    assert_eq!(broken("a cas 1>2 0-9").0, Anomaly::NeverWritten);
    assert_eq!(broken("a put 1 0-1\n a cas 1>2 2-3\n a cas 2>3 4-5\n b get 2 6-7").0, Anomaly::Torn);
    // A chain stands together: nothing fits between its links.
    broken("a put 1 0-1\n a cas 1>2 10-11\n b put 9 4-5");
}

#[test]
fn a_failed_swap_is_an_observation_only_where_the_source_says_so() {
    let text = "a put 1 0-1\n b cas 1>2 2-3!\n b get 1 4-5";
    broken(text);
    assert_eq!(judge(text, FailedCas::Never).verdict, Verdict::Ok);
    ok("a put 1 0-1\n b cas 5>2 2-3!\n b get 1 4-5");
    // What it saw is as good as a read.
    broken("a put 1 0-1\n a put 2 2-3\n b cas 5>6 4-5! =1");
    // "Not 1" needs an unknown write that nobody read.
    ok("a put 1 0-1\n c put 9 0-?\n b cas 1>2 2-3!\n a put 3 4-5");
}

#[test]
fn null_zero_and_empty_are_kept_apart() {
    ok("a put 0 0-1\n b get 0 2-3");
    broken("a put 0 0-1\n b get nil 2-3");
    let empty = r#"{"p":"a","f":"put","k":"k","v":"","inv":0,"ret":1,"r":"ok"}
{"p":"a","f":"get","k":"k","v":null,"inv":2,"ret":3,"r":"ok"}"#;
    let history = read_jsonl(empty.as_bytes()).expect("two lines");
    assert_eq!(check_history(&history, &Options::default()).verdict, Verdict::Violation);
}

#[test]
fn the_initial_value_is_a_write_before_everything() {
    ok("b get nil 0-1\n a put 1 2-3");
    broken("a put 1 0-1\n b get 1 2-3\n b get nil 4-5");
    let history = history("b get 5 0-1\n a put 1 2-3");
    let options = Options { init: Value::text("5"), ..Options::default() };
    assert_eq!(check_history(&history, &options).verdict, Verdict::Ok);
}

#[test]
fn deletes_are_writes_of_absent() {
    ok("a put 1 0-1\n a del 2-3\n b get nil 4-5\n a put 2 6-7\n a del 8-9\n b get nil 10-11");
    broken("a put 1 0-1\n a del 2-3\n b get 1 4-5");
    // Two deletes that are never open at one time need no search; two that are do.
    assert_eq!(ok("a put 1 0-1\n a del 2-3\n b get nil 4-5").keys[0].method, Method::Zones);
    let both = ok("a put 1 0-1\n a del 2-9\n c del 2-9\n b get nil 4-5");
    assert_eq!(both.keys[0].method, Method::Search);
}

#[test]
fn values_written_twice_are_noticed_per_key() {
    let same = ok("a put 1 0-9\n b put 1 0-9\n c get 1 2-3\n c put 2 20-21\n c get 2 22-23");
    assert_eq!(same.keys[0].method, Method::Search);
    broken("a put 1 0-9\n b put 1 0-9\n c put 2 20-21\n c get 1 22-23");
    ok("a put 1 0-1\n b cas 1>1 2-3\n c get 1 4-5");
    // A swap that brings an old value back.
    ok("a put 1 0-1\n a put 2 2-3\n a cas 2>1 4-5\n b get 1 6-7");
    broken("a put 1 0-1\n a put 2 2-3\n a cas 2>1 4-5\n b get 2 6-7");
}

#[test]
fn versions_tell_equal_values_apart() {
    let stale = "a put 1 0-1 @v1\n a put 2 2-3 @v2\n a put 1 4-5 @v3\n b get 1 6-7 @v1";
    broken(stale);
    ok("a put 1 0-1 @v1\n a put 2 2-3 @v2\n a put 1 4-5 @v3\n b get 1 6-7 @v3");
    // A tombstone has a version too; an unknown write gets its from whoever read it.
    ok("a put 1 0-1 @v1\n a del 2-3 @v2\n b get nil 4-5 @v2");
    ok("a put 1 0-1 @v1\n c put 2 0-?\n b get 2 2-3 @v7\n b get 2 4-5 @v7");
}

#[test]
fn reads_at_an_eventual_level_are_not_held_to_linearizability() {
    ok("a put 1 0-1\n a put 2 2-3\n b get 1 4-5 ~one");
    broken("a put 1 0-1\n a put 2 2-3\n b get 1 4-5 ~quorum");
}

#[test]
fn a_read_that_did_not_say_what_it_saw_constrains_nothing() {
    let text = r#"{"p":"a","f":"put","k":"k","v":1,"inv":0,"ret":1,"r":"ok"}
{"p":"a","f":"get","k":"k","v":{"any":1},"inv":2,"ret":3,"r":"ok"}"#;
    let history = read_jsonl(text.as_bytes()).expect("two lines");
    assert_eq!(check_history(&history, &Options::default()).verdict, Verdict::Ok);
}

#[test]
fn keys_are_judged_apart() {
    let text = r#"{"p":"a","f":"put","k":"x","v":1,"inv":0,"ret":1,"r":"ok"}
{"p":"a","f":"get","k":"y","v":null,"inv":2,"ret":3,"r":"ok"}
{"p":"a","f":"get","k":"z","v":1,"inv":4,"ret":5,"r":"ok"}"#;
    let history = read_jsonl(text.as_bytes()).expect("three lines");
    let report = check_history(&history, &Options::default());
    let verdicts: Vec<Verdict> = report.keys.iter().map(|key| key.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Violation]);
}

#[test]
fn a_budget_is_kept_and_says_where_the_search_got_stuck() {
    // Many writes of few values, all open at once, and an answer that only trying can refute.
    let mut text = String::new();
    for at in 0..40 {
        text.push_str(&format!("w{at} put {} 0-100\n", at % 3));
        text.push_str(&format!("s{at} cas {}>{} 0-100\n", at % 3, (at + 1) % 3));
    }
    text.push_str("r get 0 200-201\n r get 1 202-203");
    let history = history(&text);
    let options = Options::deterministic(500);
    let report = check_history(&history, &options);
    assert_eq!(report.verdict, Verdict::Unknown);
    let blocked = report.keys[0].blocked.clone().expect("unknown has its reason");
    assert_eq!(blocked.budget, "states");
    assert!(blocked.window.len() > 10 && report.keys[0].states < 2_000, "{blocked:?}");
}
