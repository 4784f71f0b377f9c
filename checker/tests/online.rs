//! The online judge: the same verdicts, at the first illegal return, in the memory of what is open.

mod common;

use common::{Random, draw_history, draw_shape, is_linearizable};
use quorate_checker::{
    Anomaly, ClientId, FailedCas, History, KeyId, Kind, Level, NEVER, Online, Operation, Options, Time, Value, Verdict,
    write_jsonl,
};

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

#[test]
fn a_read_that_says_nothing_or_asks_for_little_is_never_illegal_online() {
    let value = |text: &str| Value::text(text);
    for (level, shown, legal) in [
        (Level::Unspecified, Value::Any, true),
        (Level::One, value("nobody wrote this"), true),
        (Level::Quorum, value("nobody wrote this"), false),
        (Level::Unspecified, value("nobody wrote this"), false),
    ] {
        let mut online = Online::new(&Options::default());
        let read = Operation::new(ClientId(0), KeyId(0), Kind::Read, shown, 0, 1).at_level(level);
        online.on_invoke(0, &read);
        assert_eq!(online.on_return(0, &read).is_ok(), legal, "{read:?}");
    }
}

#[test]
fn a_crowd_of_open_calls_costs_memory_only_while_it_is_open() {
    // Reads that hold everything, writes that hold themselves, or nothing but writes one after the other.
    for (reads, writes) in [(100, 0), (0, 100), (0, 0), (100, 100)] {
        let mut script = Script::new();
        let reads: Vec<_> = (0..reads).map(|_| script.begin(Kind::Read, -1, 0)).collect();
        let writes: Vec<_> = (0..writes).map(|at| script.begin(Kind::Write, at, 0)).collect();
        for at in 200..300 {
            let write = script.begin(Kind::Write, at, at);
            assert!(script.end(write, at, None));
        }
        for (id, mut read) in reads {
            read.value = Value::Int(299);
            assert!(script.end((id, read), 300, None));
        }
        for write in writes {
            assert!(script.end(write, 300, None));
        }
        let mut most = 0;
        for at in 301..5_000 {
            let write = script.begin(Kind::Write, at, at);
            assert!(script.end(write, at, None));
            most = most.max(if at > 2_000 { script.online.standing().held } else { 0 });
        }
        assert!(most < 200, "{most} things were held at once");
        assert_eq!(script.online.standing().verdict(), Verdict::Ok);
    }
}

#[test]
fn what_is_swept_away_is_only_what_nobody_can_see_any_more() {
    // A read that begins when the limit of the old write ends may still see it, however many writes are open.
    let mut script = Script::new();
    let (old, crowd) = (script.begin(Kind::Write, 1, 0), (10..60).map(|at| (Kind::Write, at)));
    assert!(script.end(old, 5, None));
    let new = script.begin(Kind::Write, 2, 6);
    crowd.for_each(|(kind, at)| _ = script.begin(kind, at, 7));
    let (at_limit, behind) = (script.begin(Kind::Read, 1, 10), script.begin(Kind::Read, 1, 10));
    assert!(script.end(new, 10, None));
    assert!(script.end(at_limit, 11, None));
    let late = script.begin(Kind::Read, 1, 11);
    assert!(script.end(behind, 12, None));
    assert!(!script.end(late, 12, None));

    // A write that was seen and overwritten long ago may still return, and still may not fail.
    for fails in [false, true] {
        let mut script = Script::new();
        let (slow, slower) = (script.begin(Kind::Write, 1, 0), script.begin(Kind::Write, 2, 0));
        for (at, value) in [(1, 1), (3, 2)] {
            let read = script.begin(Kind::Read, value, at);
            assert!(script.end(read, at + 1, None));
        }
        for at in 100..200 {
            let write = script.begin(Kind::Write, at, at);
            assert!(script.end(write, at, None));
        }
        // Two writes of one value are told apart by sweeping all away that is over.
        for (kind, at) in [(Kind::Write, 201), (Kind::Write, 203), (Kind::Read, 205)] {
            let call = script.begin(kind, 77, at);
            assert!(script.end(call, at + 1, None));
        }
        // The slow write is over all the same: nobody may read it any more.
        let mut twin = script.online.clone();
        let stale = Operation::new(ClientId(0), KeyId(0), Kind::Read, Value::Int(1), 250, 251);
        twin.on_invoke(1_000, &stale);
        assert!(twin.on_return(1_000, &stale).is_err());
        let (id, mut slow) = slow;
        if fails {
            slow = slow.failed();
        }
        assert_eq!(script.end((id, slow), 300, None), !fails);
        assert!(script.end(slower, 300, None));
    }
}

#[test]
fn swaps_that_only_stand_on_each_other_are_all_named_online() {
    let mut online = Online::new(&Options::default());
    let swap = |from, to| Operation::cas(ClientId(0), KeyId(0), Value::Int(from), Value::Int(to), 0, 9);
    online.on_invoke(7, &swap(1, 2));
    online.on_invoke(8, &swap(2, 1));
    let illegal = online.on_return(7, &swap(1, 2)).expect_err("a cycle");
    assert_eq!((illegal.anomaly, illegal.call, illegal.others), (Anomaly::SwapCycle, 7, vec![7, 8]));
}

#[test]
fn an_undecided_key_holds_nothing_and_still_wants_its_calls_in_the_order_of_time() {
    let mut script = Script::new();
    let (one, other) = (script.begin(Kind::Write, 1, 10), script.begin(Kind::Write, 1, 10));
    let read = script.begin(Kind::Read, 1, 11);
    assert!(script.end(read, 12, None));
    let standing = script.online.standing();
    assert_eq!((standing.undecided_keys, standing.held), (1, 0));
    let backwards = std::panic::AssertUnwindSafe(|| _ = script.begin(Kind::Write, 2, 11));
    assert!(std::panic::catch_unwind(backwards).is_err());
    assert!(script.end(one, 13, None) && script.end(other, 14, None));
}

#[test]
fn a_version_leaves_a_doubt_only_where_two_writes_could_have_it() {
    let (client, key) = (ClientId(0), KeyId(0));
    let call = |kind, value: Value| Operation::new(client, key, kind, value, 10, 90);
    // Whose version is told, of two writes of one value, and when; and then a read with some version.
    for (told, read, undecided) in [
        // What no other has is that of the only write whose version is not known.
        (vec![(1, "v1")], "v9", false),
        (vec![(2, "v2")], "v9", false),
        (vec![(1, "v1")], "v1", false),
        (vec![(1, "v1"), (2, "v2")], "v9", true),
        (vec![], "v9", true),
    ] {
        let mut online = Online::new(&Options::default());
        let (first, second) = (call(Kind::Write, Value::Int(1)), call(Kind::Write, Value::Int(1)));
        online.on_invoke(1, &first);
        // The first will never be answered, and its version may come after that.
        let mut unknown = first.unknown();
        unknown.ret = 10;
        assert!(online.on_return(1, &unknown).is_ok());
        for (id, version) in told.iter().filter(|(id, _)| *id == 1) {
            online.on_version(*id, key, Value::text(version));
        }
        online.on_invoke(2, &second);
        for (id, version) in told.iter().filter(|(id, _)| *id == 2) {
            online.on_version(*id, key, Value::text(version));
        }
        let seen = call(Kind::Read, Value::Int(1)).with_version(Value::text(read));
        online.on_invoke(3, &seen);
        assert!(online.on_return(3, &seen).is_ok());
        assert_eq!(online.is_undecided(key), undecided, "told: {told:?}, read: {read}");
    }
    // A miss under some floor does not name the version of the initial value: the next may be under another.
    let mut online = Online::new(&Options::default());
    for (id, version) in [(1, "v3"), (2, "v5")] {
        let mut miss = call(Kind::Read, Value::Absent).with_version(Value::text(version));
        (miss.invoke, miss.ret) = (10 * id, 10 * id + 1);
        online.on_invoke(id as u64, &miss);
        assert!(online.on_return(id as u64, &miss).is_ok());
        assert_eq!(online.is_undecided(key), id == 2);
        let mut delete = call(Kind::Write, Value::Absent);
        delete.invoke = 10 * id + 2;
        online.on_invoke(9 + id as u64, &delete);
    }
}
