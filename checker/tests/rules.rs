//! One story for every rule of judging registers and every known pitfall.

mod common;

use common::{Random, draw_history, draw_shape};
use quorate_checker::weaker::{self, staleness};
use quorate_checker::{
    Anomaly, FailedCas, Format, History, Identity, Kind, Level, Method, Operation, Options, Outcome, Report, Value,
    Verdict, check_history, read, read_jsonl, strongest, verify,
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
fn a_read_of_what_was_there_before_an_acknowledged_write_is_told_in_one_sentence() {
    for (text, ending) in [
        (
            "a put 1 0-1\n b get nil 4-5",
            "a's write of 1 was acknowledged at 0.000001s and nothing deleted it after that",
        ),
        (
            "a put 1 0-1\n a del 2-3\n b get 1 4-5",
            "a's delete was acknowledged at 0.000003s and nothing overwrote it with 1 after that",
        ),
    ] {
        let words = judge(text, FailedCas::Mismatch).keys[0].violation.clone().expect("it is stale").words;
        assert!(words.starts_with("b read") && words.ends_with(ending), "{words}");
    }
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

/// The verdict on one of the weaker levels.
fn level(history: &History, level: weaker::Level) -> Verdict {
    strongest(history, &Options::deterministic(100_000)).verdict(level)
}

#[test]
fn a_read_without_an_answer_constrains_nothing() {
    ok("a put 1 0-1\n b get 7 2-?\n b get 8 3-4!");
}

#[test]
fn a_nil_read_is_a_wildcard_in_jepsens_form_and_absent_in_ours() {
    let edn = "{:process 0, :type :invoke, :f :write, :value 1, :time 0}
{:process 0, :type :ok, :f :write, :value 1, :time 1}
{:process 1, :type :invoke, :f :read, :value nil, :time 2}
{:process 1, :type :ok, :f :read, :value nil, :time 3}";
    let recorded = read(edn.as_bytes(), Some(Format::JepsenEdn), None).expect("four events");
    assert_eq!(check_history(&recorded.history, &Options::default()).verdict, Verdict::Ok);
    broken("a put 1 0-1\n b get nil 2-3");
}

#[test]
fn a_client_with_two_calls_open_is_judged_but_has_no_session() {
    let text = "a put 1 0-9\n a put 2 5-15\n b get 2 16-17";
    ok(text);
    // Nobody knows the order of its calls. What is linearizable keeps every weaker promise all the same.
    assert_eq!(level(&history(text), weaker::Level::MonotonicWrites), Verdict::Ok);
    let stale = history("a put 1 0-9\n a put 2 5-15\n b get 2 16-17\n b get nil 18-19");
    assert_eq!(level(&stale, weaker::Level::MonotonicWrites), Verdict::Unknown);
}

#[test]
fn an_operation_cannot_return_before_it_began() {
    let line = r#"{"p":"a","f":"put","k":"k","v":1,"inv":5,"ret":4,"r":"ok"}"#;
    let error = read_jsonl(line.as_bytes()).expect_err("time runs forward").to_string();
    assert!(error.starts_with("line 1: "), "{error}");
}

#[test]
fn a_client_is_not_bound_by_a_call_that_it_gave_up() {
    // Read-your-writes does not hold a client to a write whose outcome it never learned.
    let gave_up = history("a put 1 0-?\n a get nil 10-11\n a get 1 12-13");
    assert_eq!(level(&gave_up, weaker::Level::ReadYourWrites), Verdict::Ok);
    assert_eq!(check_history(&gave_up, &Options::default()).verdict, Verdict::Ok);
    let knew = history("a put 1 0-5\n a get nil 10-11\n a get 1 12-13");
    assert_eq!(level(&knew, weaker::Level::ReadYourWrites), Verdict::Violation);
}

#[test]
fn a_retry_that_is_a_new_operation_leaves_the_first_unknown() {
    // The first attempt may still land, after another write: the value comes back.
    ok("a put 1 0-?\n b put 1 5-6\n c put 2 7-8\n c get 2 9-10\n d get 1 11-12");
    broken("b put 1 5-6\n c put 2 7-8\n c get 2 9-10\n d get 1 11-12");
    // It lands once: not a second time after the next write.
    broken("a put 1 0-?\n c put 2 7-8\n d get 1 11-12\n c put 3 13-14\n d get 3 15-16\n d get 1 17-18");
}

#[test]
fn widening_intervals_never_makes_a_violation_and_shrinking_may() {
    let (mut widened, mut hidden) = (0, 0);
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let shape = draw_shape(&mut random);
        let sharp = draw_history(&mut random, shape);
        let mut wide = History::new();
        wide.key("k");
        for operation in sharp.operations() {
            let mut operation = operation.clone();
            operation.client = wide.client(&format!("c{}", operation.client.0));
            operation.invoke -= random.below(4) as i64;
            if operation.outcome != Outcome::Unknown {
                operation.ret += random.below(4) as i64;
            }
            wide.push(operation);
        }
        let judge = |history: &History| check_history(history, &Options::deterministic(1_000_000)).verdict;
        match (judge(&sharp), judge(&wide)) {
            (Verdict::Ok, wide) => {
                assert_eq!(wide, Verdict::Ok, "seed {seed}");
                widened += 1;
            }
            // The other way round, shrinking turned what is right into a violation.
            (_, Verdict::Ok) => hidden += 1,
            _ => {}
        }
    }
    assert!(widened > 1_000 && hidden > 50, "{widened} {hidden}");
}

#[test]
fn eventual_reads_stay_in_the_session_and_staleness_sets() {
    let text = "a put 1 0-1\n a put 2 2-3\n b get 2 4-5\n b get 1 6-7 ~one";
    ok(text);
    let history = history(text);
    assert_eq!(level(&history, weaker::Level::Linearizable), Verdict::Ok);
    assert_eq!(level(&history, weaker::Level::MonotonicReads), Verdict::Violation);
    let measured = staleness::measure(&history, &Options::default());
    assert_eq!((measured.reads, measured.versions), (2, vec![1]));
}

#[test]
fn a_swap_to_the_value_it_expects_is_noticed_and_searched() {
    let report = ok("a put 1 0-9\n b cas 1>1 0-9\n c cas 1>1 0-9\n d get 1 2-3\n e put 2 10-11\n e get 2 12-13");
    assert_eq!(report.keys[0].method, Method::Search);
    broken("a put 1 0-9\n b cas 1>1 0-9\n c cas 1>1 0-9\n e put 2 10-11\n d cas 1>1 12-13");
}

#[test]
fn a_failed_swap_that_tells_nothing_leaves_the_weaker_levels_open() {
    // It says that the key held something else than 1, and nobody knows what.
    let silent = history("a put 1 0-1\n a put 2 2-3\n b get 1 4-5\n c cas 1>3 6-7!");
    assert_eq!(level(&silent, weaker::Level::Causal), Verdict::Unknown);
    let said = history("a put 1 0-1\n a put 2 2-3\n b get 1 4-5\n c cas 1>3 6-7! =2");
    assert_eq!(level(&said, weaker::Level::Causal), Verdict::Ok);
}

#[test]
fn a_counterexample_shows_that_its_unknown_writes_happened_and_nothing_that_is_not_needed() {
    let stories: [(&str, Anomaly, &[u32]); 9] = [
        // The swap began last, and only an early read shows that it happened at all.
        ("a put 1 0-1\n b cas 1>2 10-?\n c get 2 5-13\n d put 3 4-4", Anomaly::Overlap, &[0, 1, 2, 3]),
        (
            "a put 1 0-1\n b cas 1>2 2-?\n c cas 1>3 2-?\n d get 2 5-6\n e get 3 5-6",
            Anomaly::SwappedTwice,
            &[0, 1, 2, 3, 4],
        ),
        // Seen through another swap, of unknown outcome or not.
        (
            "a put 9 0-1\n a put 1 0-1\n b cas 1>2 2-?\n c cas 1>3 2-?\n d cas 3>4 2-?\n e get 4 5-6\n f get 2 5-6",
            Anomaly::SwappedTwice,
            &[1, 2, 3, 4, 5, 6],
        ),
        (
            "a put 9 0-1\n a put 1 0-1\n b cas 1>2 2-?\n c cas 1>3 2-?\n d cas 3>4 2-9\n f get 2 5-6",
            Anomaly::SwappedTwice,
            &[1, 2, 3, 4, 5],
        ),
        // Two swaps that surely happened show their write themselves.
        ("a put 1 0-?\n b cas 1>2 2-3\n c cas 1>3 2-3\n d get 1 0-9", Anomaly::SwappedTwice, &[0, 1, 2]),
        ("a cas 1>2 0-?\n b cas 2>1 0-?\n c get 1 5-6", Anomaly::SwapCycle, &[0, 1, 2]),
        ("a cas 1>2 0-9\n b cas 2>1 0-?\n c get 1 5-6", Anomaly::SwapCycle, &[0, 1]),
        // What stands behind the tear in its chain is no part of it.
        ("a put 1 5-6\n b get 1 0-1\n c cas 1>2 7-8\n d cas 2>3 9-10", Anomaly::Torn, &[0, 1]),
        // The end of the second write touches the late read, so it takes the early one to show the order.
        ("a put 1 0-5\n b put 2 6-20\n c get 2 10-11\n d get 1 20-21", Anomaly::Overlap, &[0, 1, 2, 3]),
    ];
    for (text, anomaly, operations) in stories {
        let (found, mut shown) = broken(text);
        shown.sort_unstable();
        assert_eq!((found, &shown[..]), (anomaly, operations), "{text}");
    }
}

#[test]
fn a_version_ties_an_answer_to_its_write_where_the_value_would_not() {
    // Version, value and identity: what was judged by version, and what had to be judged by value.
    let (violation, fine) = (Verdict::Violation, Verdict::Ok);
    let stories = [
        // A version that no other write has is that of the write of unknown outcome, which comes once.
        (
            "a put 2 0-1 @v1\n c put 2 0-?\n b get 2 2-3 @v7\n b put 3 4-5 @v8\n b get 2 6-7 @v7",
            violation,
            Identity::Version,
        ),
        (
            "a put 2 0-1 @v1\n c put 2 0-?\n b put 3 4-5 @v8\n b get 2 6-7 @v7\n b get 2 8-9 @v7",
            fine,
            Identity::Version,
        ),
        // Among two the first is a guess. Where the swap does not fit, it was the write.
        (
            "a put 1 0-1 @v1\n c cas 1>2 0-?\n d put 2 0-?\n a put 3 2-3 @v3\n b get 3 4-5 @v3\n b get 2 6-7 @v7",
            fine,
            Identity::Value,
        ),
        // A failed swap that says only "not 5" but carries a version saw that version's write.
        ("a put 1 0-1 @v1\n a put 2 2-3 @v2\n b cas 5>6 4-5! @v1", violation, Identity::Version),
        ("a put 1 0-1 @v1\n a put 2 2-3 @v2\n b cas 5>6 4-5! @v2\n c cas 5>6 6-7!", fine, Identity::Version),
        // One that no write has is no reason to trust the others.
        ("a put 1 0-1 @v1\n a put 2 2-3 @v2\n b cas 5>6 4-5! @v9", fine, Identity::Value),
        // "Not 2" with the version of 2: the versions leave a doubt, and the values decide.
        ("a put 1 0-1 @v1\n a put 2 2-9 @v2\n b cas 2>6 4-5! @v2", fine, Identity::Value),
        // A read with the version of another value, likewise.
        ("a put 1 0-1 @v1\n a put 2 2-9 @v2\n b get 1 4-5 @v2", fine, Identity::Value),
    ];
    for (text, verdict, identity) in stories {
        let report = judge(text, FailedCas::Mismatch);
        assert_eq!((report.verdict, report.keys[0].identity), (verdict, identity), "{text}\n{report:?}");
    }
}

#[test]
fn a_failed_swap_needs_no_search_where_the_order_has_room_for_it() {
    for text in [
        "a put 1 0-1\n b cas 5>2 2-3!",
        // Intervals are closed: it may come before what ends when it begins, and after what begins when it ends.
        "a put 1 0-5\n b cas 1>2 5-6!",
        "a put 1 5-6\n b cas nil>2 4-5!",
        // The second would have room before the first, which had ended.
        "a put 1 0-100\n b put 2 1-100\n c cas nil>9 2-3!\n c cas 2>9 4-5!",
        "a put 1 0-100\n c cas nil>9 2-4!\n d cas 1>9 4-5!",
    ] {
        assert_eq!(ok(text).keys[0].method, Method::Zones, "{text}");
    }
    // Only another order has room.
    assert_eq!(ok("a put 1 0-9\n b put 2 0-9\n c cas 2>9 10-11!").keys[0].method, Method::Search);
}
