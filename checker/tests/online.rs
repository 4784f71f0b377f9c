//! The online judge: the same verdicts, at the first illegal return, in the memory of what is open.

mod common;

use common::{Random, draw_history, draw_shape, is_linearizable};
use quorate_checker::{FailedCas, History, Kind, NEVER, Online, Operation, Options, Time, Value, Verdict, write_jsonl};

/// Invocations and returns in the order of time, invocations first where times are equal.
fn events(history: &History) -> Vec<(Time, bool, u64)> {
    let mut events = Vec::new();
    for (id, operation) in history.operations().iter().enumerate() {
        events.push((operation.invoke, false, id as u64));
        // A client learns of an unknown outcome at some moment; it may as well be the last.
        events.push((operation.ret, true, id as u64));
    }
    events.sort();
    events
}

/// The history as it was known right after (or, with `without`, right before) a return.
fn prefix(history: &History, events: &[(Time, bool, u64)], last: usize, without: bool) -> History {
    let mut known = History::new();
    let key = known.key("k");
    let returned =
        |id: u64| events[..last + usize::from(!without)].contains(&(history.operation(id as u32).ret, true, id));
    for (_, is_return, id) in &events[..=last] {
        if *is_return {
            continue;
        }
        let mut operation = history.operation(*id as u32).clone();
        operation.client = known.client(&format!("c{}", operation.client.0));
        operation.key = key;
        match operation.kind {
            _ if returned(*id) => known.push(operation),
            Kind::Read => continue,
            _ => known.push(operation.unknown()),
        };
    }
    known
}

#[test]
fn the_first_illegal_return_is_reported_and_no_other_verdict_differs() {
    let count = std::env::var("QUORATE_CHECKER_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let (mut legal, mut illegal, mut unclear) = (0, 0, 0);
    for seed in 0..count {
        let mut random = Random(seed ^ 0x00c0_ffee);
        let shape = draw_shape(&mut random);
        let history = draw_history(&mut random, shape);
        let mut online = Online::new(&Options::default());
        let events = events(&history);
        let mut first = None;
        for (at, (_, is_return, id)) in events.iter().enumerate() {
            let operation = history.operation(*id as u32);
            if !is_return {
                online.on_invoke(*id, operation);
                // Sometimes a version is known before its answer, and perhaps without one.
                if let (Some(version), true) = (operation.version(), operation.kind != Kind::Read && seed % 2 == 0) {
                    online.on_version(*id, operation.key, version.clone());
                }
            } else if online.on_return(*id, operation).is_err() {
                first = Some(at);
                break;
            }
        }
        let judge = |history: &History, by_version| is_linearizable(history, FailedCas::Mismatch, by_version);
        let show = || {
            let mut text = Vec::new();
            write_jsonl(&history, &mut text).expect("memory takes everything");
            format!(
                "seed {seed} {shape:?} stopped at {:?}\n{}",
                first.map(|at| events[at]),
                String::from_utf8_lossy(&text)
            )
        };
        match (first, online.standing().verdict()) {
            (Some(at), _) => {
                illegal += 1;
                assert!(!judge(&prefix(&history, &events, at, false), shape.versions), "too early: {}", show());
                if !shape.versions && online.standing().unjudged_calls == 0 {
                    assert!(judge(&prefix(&history, &events, at, true), false), "too late: {}", show());
                }
            }
            (None, Verdict::Ok) => {
                legal += 1;
                assert!(judge(&history, false), "missed: {}", show());
            }
            (None, _) => unclear += 1,
        }
    }
    println!("legal {legal} illegal {illegal} unclear {unclear}");
    assert!(legal > count / 4 && illegal > count / 20, "legal {legal} illegal {illegal} unclear {unclear}");
}

#[test]
fn memory_follows_what_is_open_not_what_has_happened() {
    for swaps in [false, true] {
        let mut random = Random(7);
        let mut history = History::new();
        let (client, key) = (history.client("c"), history.key("k"));
        let mut online = Online::new(&Options::default());
        let mut held = Value::Absent;
        let mut most = 0;
        for step in 0..100_000i64 {
            let (invoke, ret) = (10 * step, 10 * step + 8);
            let operation = if random.chance(50) {
                Operation::new(client, key, Kind::Read, held.clone(), invoke, ret)
            } else {
                let new = if random.chance(10) { Value::Absent } else { Value::Int(step) };
                let old = std::mem::replace(&mut held, new.clone());
                if swaps && !new.is_absent() {
                    Operation::cas(client, key, old, new, invoke, ret)
                } else {
                    Operation::new(client, key, Kind::Write, new, invoke, ret)
                }
            };
            online.on_invoke(step as u64, &operation);
            online.on_return(step as u64, &operation).expect("a legal return");
            most = most.max(online.standing().held);
        }
        assert_eq!(online.standing().verdict(), Verdict::Ok);
        assert!(most < 200, "{most} things were held at once");
    }
}

#[test]
fn an_open_read_may_still_return_what_was_there_when_it_began() {
    let mut history = History::new();
    let (reader, writer, key) = (history.client("r"), history.client("w"), history.key("k"));
    let mut online = Online::new(&Options::default());
    let read = |value: i64, ret: Time| Operation::new(reader, key, Kind::Read, Value::Int(value), 5, ret);
    let write = |online: &mut Online, id: i64| {
        let operation = Operation::new(writer, key, Kind::Write, Value::Int(id), 10 * id, 10 * id + 5);
        online.on_invoke(id as u64, &operation);
        online.on_return(id as u64, &operation).expect("a write is always legal");
    };
    write(&mut online, 0);
    online.on_invoke(1_000, &read(0, NEVER));
    (1..200).for_each(|id| write(&mut online, id));
    let mut twin = online.clone();
    assert!(online.on_return(1_000, &read(150, 5_000)).is_ok());
    assert!(twin.on_return(1_000, &read(-1, 5_000)).is_err());
    // Once it has returned, a read that begins later may not see the old value any more.
    let late = Operation::new(reader, key, Kind::Read, Value::Int(150), 5_001, 5_002);
    online.on_invoke(1_001, &late);
    assert!(online.on_return(1_001, &late).is_err());
}

/// Calls of one key, fed as events: client, call, value, start and end (`NEVER`: its outcome stays unknown), version.
struct Script {
    online: Online,
    history: History,
    next: u64,
}

impl Script {
    fn new() -> Self {
        Script { online: Online::new(&Options::default()), history: History::new(), next: 0 }
    }

    fn begin(&mut self, kind: Kind, value: i64, invoke: Time) -> (u64, Operation) {
        let (client, key) = (self.history.client(&format!("c{}", self.next)), self.history.key("k"));
        let operation = Operation::new(client, key, kind, Value::Int(value), invoke, NEVER);
        self.online.on_invoke(self.next, &operation);
        self.next += 1;
        (self.next - 1, operation)
    }

    fn end(&mut self, (id, mut operation): (u64, Operation), ret: Time, version: Option<&str>) -> bool {
        operation.ret = ret;
        if let Some(version) = version {
            operation = operation.with_version(Value::text(version));
        }
        self.online.on_return(id, &operation).is_ok()
    }
}

#[test]
fn what_is_held_is_blocks_and_calls_and_writes_together() {
    let mut script = Script::new();
    script.begin(Kind::Write, 1, 0);
    // The block of the initial value, the open call, and two writes: the initial one and its own.
    assert_eq!(script.online.standing().held, 4);
}

#[test]
fn versions_tell_two_open_writes_of_one_value_apart() {
    let story = |versions: [&str; 2], hold: bool| {
        let mut script = Script::new();
        // While a call that began before them is open, no write is forgotten.
        let _held = hold.then(|| script.begin(Kind::Read, 1, 0));
        let (one, other) = (script.begin(Kind::Write, 1, 0), script.begin(Kind::Write, 1, 0));
        assert!(script.end(one, 10, Some("v1")) && script.end(other, 12, Some("v2")));
        for (at, version) in [20, 30].into_iter().zip(versions) {
            let read = script.begin(Kind::Read, 1, at);
            if !script.end(read, at + 1, Some(version)) {
                break;
            }
        }
        script.online.standing().verdict()
    };
    assert_eq!(story(["v2", "v2"], true), Verdict::Ok);
    // Whichever was last, the other cannot be read again after it.
    assert_eq!(story(["v2", "v1"], true), Verdict::Violation);
    assert_eq!(story(["v1", "v2"], true), Verdict::Violation);
    // Once the first is forgotten nobody knows whose version that is, but it is not the second's.
    assert_eq!(story(["v2", "v2"], false), Verdict::Ok);
    assert_eq!(story(["v2", "v1"], false), Verdict::Unknown);
}

#[test]
fn an_open_write_has_the_version_that_an_observer_saw() {
    let mut script = Script::new();
    script.begin(Kind::Write, 1, 0);
    let read = script.begin(Kind::Read, 1, 2);
    assert!(script.end(read, 3, Some("v7")));
    // A second open write of the same value: the version says which one the next answer shows.
    script.begin(Kind::Write, 1, 4);
    let read = script.begin(Kind::Read, 1, 5);
    assert!(script.end(read, 6, Some("v7")));
    assert_eq!(script.online.standing().undecided_keys, 0);
}

#[test]
fn versions_that_are_told_early_leave_no_doubt_about_equal_values() {
    let client = quorate_checker::ClientId(0);
    let key = quorate_checker::KeyId(0);
    let delete = |from| Operation::new(client, key, Kind::Write, Value::Absent, from, 90);
    let miss = |seen| Operation::new(client, key, Kind::Read, Value::Absent, 30, 40).with_version(Value::text(seen));
    for (told, read, undecided) in
        [(true, "v2", false), (true, "v0", false), (true, "v9", true), (false, "v0", false), (false, "v2", true)]
    {
        let mut online = Online::new(&Options::default()).with_versions_told(Value::text("v0"));
        online.on_invoke(1, &delete(10));
        online.on_invoke(2, &delete(20));
        if told {
            online.on_version(1, key, Value::text("v1"));
            online.on_version(2, key, Value::text("v2"));
        }
        online.on_invoke(3, &miss(read));
        assert!(online.on_return(3, &miss(read)).is_ok());
        assert_eq!(online.is_undecided(key), undecided, "told: {told}, read: {read}");
    }
}

#[test]
fn an_answer_that_was_taken_for_that_of_an_open_write_leaves_its_key_undecided() {
    let client = quorate_checker::ClientId(0);
    let key = quorate_checker::KeyId(0);
    let call = |kind, version, from, to| {
        Operation::new(client, key, kind, Value::text("v"), from, to).with_version(Value::text(version))
    };
    for early in [false, true] {
        let mut online = Online::new(&Options::default());
        // Two writes that are over, an open one, and a read that sees the first of them once more.
        let calls = [(call(Kind::Write, "v1", 0, 10)), (call(Kind::Write, "v2", 20, 30))];
        for (id, call) in calls.iter().enumerate() {
            online.on_invoke(id as u64, call);
            assert!(online.on_return(id as u64, call).is_ok());
        }
        let (read, open) = (call(Kind::Read, "v1", 40, 60), call(Kind::Write, "v3", 50, 70));
        online.on_invoke(2, &read);
        online.on_invoke(3, &open);
        assert!(online.on_return(2, &read).is_ok());
        assert!(!online.is_undecided(key), "it may be the open one's");
        match early {
            true => online.on_version(3, key, Value::text("v3")),
            false => assert!(online.on_return(3, &open).is_ok()),
        }
        assert!(online.is_undecided(key), "it was not");
    }
}
