use super::*;
use crate::check::Budget;
use crate::cluster::Rules;
use crate::model::{self, AnyModel};
use crate::{FailedCas, History, Kind, ModelKind, Operation, Options, Value};

/// What the words say, a client for each: `put 1 0-5`, `get 1 6-7`, `cas 1>2 8-9`, `maybe 3 0` for a write of unknown
/// outcome.
fn compiled(words: &str) -> (Register, Vec<Call>) {
    let mut history = History::new();
    let key = history.key("k");
    for (number, words) in words.split(", ").enumerate() {
        let client = history.client(&format!("c{number}"));
        let [kind, value, times] = words.split(' ').collect::<Vec<&str>>()[..] else { panic!("{words}") };
        let int = |text: &str| Value::Int(text.parse().expect("a number"));
        let (start, end) = times.split_once('-').unwrap_or((times, times));
        let (start, end) = (start.parse().expect("a time"), end.parse().expect("a time"));
        history.push(match (kind, value.split_once('>')) {
            ("put", None) => Operation::new(client, key, Kind::Write, int(value), start, end),
            ("get", None) => Operation::new(client, key, Kind::Read, int(value), start, end),
            ("maybe", None) => Operation::new(client, key, Kind::Write, int(value), start, end).unknown(),
            ("cas", Some((from, to))) => Operation::cas(client, key, int(from), int(to), start, end),
            ("maybe", Some((from, to))) => Operation::cas(client, key, int(from), int(to), start, end).unknown(),
            ("not", None) => Operation::cas(client, key, int(value), int(value), start, end).failed(),
            _ => panic!("{words}"),
        });
    }
    let ids: Vec<u32> = (0..history.len() as u32).collect();
    let rules = Rules { init: Value::Absent, failed_cas: FailedCas::Mismatch, eventual_too: false };
    let (model, calls) = model::compile(&history, &ids, &rules, ModelKind::Register).expect("a register");
    let AnyModel::Register(register) = model else { unreachable!() };
    (register, calls)
}

/// The operations of each part.
fn parts(words: &str, calls_min: usize) -> Vec<Vec<u32>> {
    let (register, calls) = compiled(words);
    let parts = cut(&calls, &register, calls_min).unwrap_or_default();
    parts.iter().map(|part| part.calls.iter().map(|call| call.id).collect()).collect()
}

#[test]
fn a_key_is_cut_where_nothing_is_open_and_the_last_write_is_certain() {
    let none: [&[u32]; 0] = [];
    for (words, expected) in [
        // What is read in between belongs to the part before.
        ("put 1 0-1, get 1 2-3, put 2 4-5, get 2 6-7", &[&[0][..], &[1], &[2], &[3]][..]),
        // Intervals are closed: at 2 the write may still be open.
        ("put 1 0-2, get 1 2-3", &none),
        ("put 1 0-9, get 1 2-3, get 1 4-5", &none),
        // Either write may have been the last, until another begins after both.
        ("put 1 0-2, put 2 1-3, get 2 4-5, put 1 6-7, get 1 8-9", &[&[0, 1, 2, 3], &[4]]),
        ("put 1 0-2, put 2 2-3, get 2 4-5", &none),
        ("put 1 0-1, cas 1>2 2-3, get 2 4-5", &[&[0], &[1], &[2]]),
        // A write that began first may end last.
        ("put 1 0-9, put 2 1-3, put 1 5-6, get 1 10-11", &none),
    ] {
        assert_eq!(parts(words, 1), expected, "{words}");
    }
    let four = "put 1 0-1, get 1 2-3, put 2 4-5, get 2 6-7";
    assert_eq!(parts(four, 2), [[0, 1], [2, 3]]);
    assert_eq!(parts(four, 3), [&[0, 1, 2][..], &[3]]);
    let (register, calls) = compiled("put 1 0-1, get 1 2-3, put 2 4-5, get 2 6-7, put 1 8-9, get 1 10-11");
    let clock = Clock::start(Options::deterministic(1_000).budget);
    let is_cut = |calls_min| judge(&calls, &register, &clock, calls_min).is_some();
    assert_eq!([1, 3, 4].map(is_cut), [true, true, false], "two parts must have enough calls");
}

#[test]
fn a_write_of_unknown_outcome_joins_the_parts_that_could_observe_it() {
    let none: [&[u32]; 0] = [];
    for (words, expected) in [
        // Nobody observes it: it is left out.
        ("put 1 0-1, maybe 9 2, get 1 3-4, put 2 5-6", &[&[0][..], &[2], &[3]][..]),
        // One part observes it, and the next has a write of its own.
        ("put 1 0-1, maybe 9 1, get 9 3-4, put 2 5-6, get 2 7-8", &[&[0], &[2, 3, 1], &[4]]),
        // What was observed may stay until a part has a write of its own.
        ("put 1 0-1, maybe 9 1, get 9 3-4, get 1 5-6, put 2 7-8, get 2 9-10", &[&[0], &[2, 3, 4, 1], &[5]]),
        ("put 1 0-1, maybe 9 1, get 9 3-4, get 1 5-6", &[&[0], &[2, 3, 1]]),
        // Two parts observe it, and it can be used only once.
        (
            "put 1 0-1, maybe 9 1, get 9 3-4, put 2 5-6, get 9 7-8, put 3 9-10, get 3 11-12",
            &[&[0], &[2, 3, 4, 5, 1], &[6]],
        ),
        // What was observed before it began is not its doing.
        ("put 9 0-1, get 9 2-3, put 1 4-5, maybe 9 5, get 9 7-8, put 2 9-10", &[&[0], &[1], &[2], &[4, 5, 3]]),
        ("put 9 0-1, get 9 2-3, maybe 9 2, put 1 4-5, get 1 6-7", &[&[0], &[1, 3, 2], &[4]]),
        // Joined parts may reach into each other.
        (
            "maybe 8 0, maybe 9 0, put 1 1-2, get 8 3-4, put 2 5-6, get 9 7-8, put 3 9-10, get 8 11-12, put 4 13-14, put 9 15-16",
            &[&[2], &[3, 4, 5, 6, 7, 8, 0, 1], &[9]],
        ),
        // "Not this" observes whatever it may be, and a swap may pass a value on.
        ("put 1 0-1, maybe 9 1, not 5 3-4, put 2 5-6", &none),
        ("put 1 0-1, maybe 1>9 1, get 1 3-4, put 2 5-6", &none),
    ] {
        assert_eq!(parts(words, 1), expected, "{words}");
    }
}

/// Writes and reads by turns, each after the one before.
fn by_turns(rounds: usize) -> String {
    let round = |round: usize| {
        let (value, start) = (round % 2, 4 * round);
        format!("put {value} {start}-{}, get {value} {}-{}", start + 1, start + 2, start + 3)
    };
    (0..rounds).map(round).collect::<Vec<String>>().join(", ")
}

#[test]
fn the_parts_of_a_key_share_its_states_and_those_at_one_time_its_memory() {
    // Six parts of fifty writes; each write is one state.
    let (register, calls) = compiled(&by_turns(300));
    let judged = |states, bytes, threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let clock = Clock::start(Budget { states, bytes, time: None });
        let found = pool.install(|| judge(&calls, &register, &clock, 100)).expect("it can be cut");
        let blocked = match found.answer {
            Answer::Ok(order) => {
                assert_eq!(order, (0..600).collect::<Vec<u32>>());
                None
            }
            Answer::Violation(operations) => panic!("{operations:?}"),
            Answer::Unknown(blocked) => Some(blocked.budget),
        };
        (blocked, found.states)
    };
    assert_eq!(judged(300, 1 << 20, 1), (None, 300));
    assert_eq!(judged(299, 1 << 20, 1), (Some("states"), 300));
    assert_eq!(judged(u64::MAX, 1 << 20, 1), (None, 300));
    let needed = (0..).step_by(4).find(|bytes| judged(300, *bytes, 1).0.is_none()).expect("a part is small");
    assert_eq!(judged(300, needed - 4, 1).0, Some("memory"));
    assert_eq!((judged(300, 2 * needed, 2).0, judged(300, 2 * needed - 4, 2).0), (None, Some("memory")));
}
