//! Which level holds: known histories, and brute force for the levels that have a plain definition.

mod common;

use common::Random;
use quorate_checker::weaker::{Level, Staleness, staleness};
use quorate_checker::{History, Kind, Operation, Options, Value, Verdict, strongest};

/// Lines of `client: w x 1, r y 2` — each client's calls one after the other; client by client in real time unless a
/// call carries `@start-end`.
fn history(lines: &[&str]) -> History {
    let mut history = History::new();
    let mut now = 0;
    for line in lines {
        let (client, calls) = line.split_once(':').expect("client: calls");
        let client = history.client(client);
        for call in calls.split(',') {
            let words: Vec<&str> = call.split_whitespace().collect();
            let key = history.key(words[1]);
            let value = if words[2] == "nil" { Value::Absent } else { Value::text(words[2]) };
            let kind = if words[0] == "w" { Kind::Write } else { Kind::Read };
            let (start, end) = match words.get(3).and_then(|at| at.strip_prefix('@')?.split_once('-')) {
                Some((start, end)) => (start.parse().expect("a time"), end.parse().expect("a time")),
                None => (now, now + 5),
            };
            now = now.max(end) + 5;
            history.push(Operation::new(client, key, kind, value, start, end));
        }
    }
    history
}

/// The levels that do not hold.
fn broken(history: &History) -> Vec<&'static str> {
    let ladder = strongest(history, &Options::deterministic(1_000_000));
    let broken = ladder.levels.iter().filter(|report| report.verdict != Verdict::Ok);
    broken.map(|report| report.level.name()).collect()
}

#[test]
fn each_level_is_told_from_the_next() {
    // A stale read by somebody else breaks nothing but real time.
    assert_eq!(broken(&history(&["a: w x 1, w x 2", "b: r x 1"])), ["linearizable"]);
    // Two that see the other's write last: no one order (store buffers).
    let stores = ["a: w x 1 @0-1, r y nil @2-3", "b: w y 1 @4-5, r x nil @6-7"];
    assert_eq!(broken(&history(&stores)), ["linearizable", "sequential"]);
    // Two that disagree for ever about the order of two writes.
    let split = ["a: w x 1", "b: w x 2", "c: r x 1, r x 2", "d: r x 2, r x 1"];
    let expected = ["linearizable", "sequential", "causal-convergence", "per-key-sequential"];
    assert_eq!(broken(&history(&split)), expected);
    // Seen through a third: causality lost, sessions intact but for writes-follow-reads.
    let through = ["a: w x 1", "b: r x 1, w y 1", "c: r y 1, r x nil"];
    let above = ["linearizable", "sequential", "causal-convergence", "causal"];
    let with = |last: &[&'static str]| [&above[..], last].concat();
    assert_eq!(broken(&history(&through)), with(&["writes-follow-reads"]));
    let per_key = "per-key-sequential";
    assert_eq!(broken(&history(&["a: w x 1, r x nil"])), with(&[per_key, "read-your-writes"]));
    assert_eq!(broken(&history(&["a: w x 1", "b: r x 1, r x nil"])), with(&[per_key, "monotonic-reads"]));
    assert_eq!(broken(&history(&["a: w x 1, w y 1", "b: r y 1, r x nil"])), with(&["monotonic-writes"]));
    assert_eq!(broken(&history(&["a: r x 7"])).len(), 10, "a value out of thin air keeps no promise");
    assert_eq!(broken(&history(&["a: w x 1", "b: r x 1"])).len(), 0);
}

#[test]
fn a_circle_of_reads_from_the_future_is_no_causal_order() {
    let circle = ["a: r x 1 @0-1, w y 1 @2-3", "b: r y 1 @0-1, w x 1 @2-3"];
    assert!(broken(&history(&circle)).contains(&"causal"));
}

#[test]
fn a_level_that_does_not_fit_into_the_memory_is_unknown() {
    let lines: Vec<String> = (0..20).map(|client| format!("c{client}: w x {client}, r x {client}, r y nil")).collect();
    let all: Vec<String> = (0..20).map(|value| format!("r x {value}")).collect();
    let late = format!("late: {}", all.join(", "));
    let history = history(&lines.iter().map(String::as_str).chain([late.as_str()]).collect::<Vec<_>>());
    let judged = |bytes: usize, level: Level| {
        let mut options = Options::deterministic(1_000_000);
        options.budget.bytes = bytes;
        strongest(&history, &options).verdict(level)
    };
    assert_eq!(judged(1 << 20, Level::CausalConvergence), Verdict::Ok);
    assert_eq!(judged(1 << 20, Level::Causal), Verdict::Ok);
    // Room for the vector clocks, not for the demands on an order of writes; then not even for those.
    assert_eq!(judged(8 << 10, Level::CausalConvergence), Verdict::Unknown);
    assert_eq!(judged(8 << 10, Level::Causal), Verdict::Ok);
    assert_eq!(judged(1 << 10, Level::Causal), Verdict::Unknown);
}

#[test]
fn staleness_counts_what_is_certain() {
    let history = history(&[
        "a: w x 1 @0-10, w x 2 @20-30, w x 3 @40-50, w x 4 @60-70",
        "b: r x 1 @80-90, r x 3 @100-110, r x 4 @120-130",
    ]);
    let measured = staleness::measure(&history, &Options::default());
    // The first is three versions and 50 old, since 2 was over at 30; the second one version and 30.
    let expected = Staleness { reads: 3, unmeasured: 0, times: vec![30, 50], versions: vec![1, 3], delta: Some(50) };
    assert_eq!(measured, expected);
    assert_eq!(
        (measured.ppm_behind(0), measured.ppm_behind(1), measured.ppm_older_than(49)),
        (666_666, 333_333, 333_333)
    );
    // Concurrent writes do not count, and thin air cannot be mended by a shift.
    let fresh = history_of("a: w x 1 @0-10, w x 2 @20-30", "b: r x 1 @25-26");
    assert_eq!(staleness::measure(&fresh, &Options::default()).times, Vec::<i64>::new());
    let future = history_of("a: w x 1 @20-30", "b: r x 1 @0-5");
    assert_eq!(staleness::measure(&future, &Options::default()).delta, None);
}

fn history_of(a: &str, b: &str) -> History {
    history(&[a, b])
}

/// Unique values on two keys by three clients, answers drawn at random among what is ever written.
fn draw(random: &mut Random) -> History {
    let mut history = History::new();
    let keys = [history.key("x"), history.key("y")];
    let clients: Vec<_> = ["a", "b", "c"].map(|name| history.client(name)).to_vec();
    let mut written: Vec<(usize, i64)> = vec![];
    let count = 3 + random.below(7) as i64;
    let mut calls = Vec::new();
    for at in 0..count {
        let (client, key) = (random.below(3) as usize, random.below(2) as usize);
        if random.chance(50) {
            written.push((key, at));
            calls.push((client, key, Kind::Write, Value::Int(at)));
        } else {
            calls.push((client, key, Kind::Read, Value::Absent));
        }
    }
    for (at, (client, key, kind, mut value)) in calls.into_iter().enumerate() {
        if kind == Kind::Read && random.chance(80) {
            let of_key: Vec<i64> = written.iter().filter(|(other, _)| *other == key).map(|(_, value)| *value).collect();
            if !of_key.is_empty() {
                value = Value::Int(of_key[random.below(of_key.len() as u64) as usize]);
            }
        }
        let at = 10 * at as i64;
        history.push(Operation::new(clients[client], keys[key], kind, value, at, at + 5));
    }
    history
}

/// One order that respects each client's own: tried in full.
fn is_sequential(history: &History, next: &mut Vec<usize>, sessions: &[Vec<u32>], held: &mut [Value; 2]) -> bool {
    if (0..sessions.len()).all(|session| next[session] == sessions[session].len()) {
        return true;
    }
    for session in 0..sessions.len() {
        let Some(id) = sessions[session].get(next[session]) else { continue };
        let operation = history.operation(*id);
        let key = operation.key.0 as usize;
        if operation.kind == Kind::Read && held[key] != operation.value {
            continue;
        }
        let before = held[key].clone();
        if operation.kind == Kind::Write {
            held[key] = operation.value.clone();
        }
        next[session] += 1;
        let found = is_sequential(history, next, sessions, held);
        next[session] -= 1;
        held[key] = before;
        if found {
            return true;
        }
    }
    false
}

/// The causal order by closure, and the two bad patterns by their definition.
fn is_causal(history: &History) -> bool {
    let count = history.len();
    let operation = |at: usize| history.operation(at as u32);
    let writer = |at: usize| {
        let same = |other: &usize| {
            operation(*other).kind == Kind::Write
                && operation(*other).key == operation(at).key
                && operation(*other).value == operation(at).value
        };
        (0..count).find(same)
    };
    let is_edge = |a: usize, b: usize| {
        a < b && operation(a).client == operation(b).client || operation(b).kind == Kind::Read && writer(b) == Some(a)
    };
    let mut before: Vec<Vec<bool>> = (0..count).map(|a| (0..count).map(|b| is_edge(a, b)).collect()).collect();
    for via in 0..count {
        for a in 0..count {
            for b in 0..count {
                before[a][b] |= before[a][via] && before[via][b];
            }
        }
    }
    let reads = (0..count).filter(|at| operation(*at).kind == Kind::Read);
    (0..count).all(|at| !before[at][at])
        && reads.into_iter().all(|read| {
            (0..count).all(|other| {
                let newer = operation(other).kind == Kind::Write
                    && operation(other).key == operation(read).key
                    && before[other][read];
                !newer || writer(read).is_some_and(|shown| shown == other || !before[shown][other])
            })
        })
}

#[test]
fn sequential_and_causal_agree_with_brute_force() {
    let (mut tally, mut coherent) = ([0; 4], 0);
    for seed in 0..4_000 {
        let mut random = Random(seed);
        let history = draw(&mut random);
        let ladder = strongest(&history, &Options::deterministic(1_000_000));
        let holds = |level: Level| match ladder.verdict(level) {
            Verdict::Ok => true,
            Verdict::Violation => false,
            Verdict::Unknown => panic!("seed {seed}: {level:?} unknown"),
        };
        let sessions: Vec<Vec<u32>> = (0..3)
            .map(|client| (0..history.len() as u32).filter(|id| history.operation(*id).client.0 == client).collect())
            .collect();
        let sequential = is_sequential(&history, &mut vec![0; 3], &sessions, &mut [Value::Absent, Value::Absent]);
        let causal = is_causal(&history);
        assert_eq!(holds(Level::Sequential), sequential, "seed {seed}: {:#?}", history.operations());
        assert_eq!(holds(Level::Causal), causal, "seed {seed}: {:#?}", history.operations());
        let per_key = (0..2).all(|key| {
            let of_key = |session: &Vec<u32>| -> Vec<u32> {
                session.iter().copied().filter(|id| history.operation(*id).key.0 == key).collect()
            };
            let sessions: Vec<Vec<u32>> = sessions.iter().map(of_key).collect();
            is_sequential(&history, &mut vec![0; 3], &sessions, &mut [Value::Absent, Value::Absent])
        });
        assert_eq!(holds(Level::PerKeySequential), per_key, "seed {seed}: {:#?}", history.operations());
        assert!(!sequential || per_key);
        coherent += u32::from(per_key && !sequential);
        // The order of strength itself.
        assert!(!holds(Level::Linearizable) || sequential);
        assert!(!sequential || holds(Level::CausalConvergence));
        assert!(!holds(Level::CausalConvergence) || causal);
        if causal {
            let guarantees =
                [Level::ReadYourWrites, Level::MonotonicReads, Level::MonotonicWrites, Level::WritesFollowReads];
            assert!(guarantees.into_iter().all(holds), "seed {seed}");
        }
        tally[usize::from(sequential) + 2 * usize::from(causal)] += 1;
    }
    assert!(tally[0] > 300 && tally[2] > 20 && tally[3] > 300 && coherent > 20, "{tally:?} {coherent}");
}
