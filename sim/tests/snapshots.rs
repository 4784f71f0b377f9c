//! A run that was saved and gone on with is the run that was not; another future is another run; and where two part.

use quorate_core::id::NodeId;
use quorate_sim::bisect::bisect;
use quorate_sim::causality::why;
use quorate_sim::plan::Scenario;
use quorate_sim::shrink::shrink;
use quorate_sim::{
    Change, Condition, DrawOptions, EVENTS_MAX, Halt, Journey, Met, Session, SnapshotError, Stopwatch, VerdictWord,
    draw, run,
};
use quorate_traces::{Act, CrashPoint, Directive, DiskFate, Fault, FaultRecord};

struct Unhurried;

impl Stopwatch for Unhurried {
    fn elapsed_ms(&self) -> u64 {
        0
    }
}

/// A cheap sequence of numbers: which step to stop at.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word ^ (word >> 29)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how many pairs to try is no part of a run")]
fn a_saved_run_goes_on_as_if_it_had_not_been() {
    let count = std::env::var("QUORATE_SNAPSHOT_PAIRS").map_or(200, |count| count.parse().expect("a number"));
    for seed in 0..count {
        // Every eighth of a cluster that breaks its promise: what the judge knew is part of a run.
        let scenario = if seed % 8 == 7 { Scenario::UnsafeQuorum } else { Scenario::Default };
        let plan = draw(seed, &DrawOptions::of(scenario));
        let whole = run(&plan);
        let mut session = Session::new(&plan).expect("the plan fits");
        session.walk_to(mix(seed + 1) % whole.events.max(1));
        let bytes = session.save("this build");
        let mut resumed = Session::load(&bytes, "this build").expect("it was just saved");
        assert_eq!((resumed.events(), resumed.digest()), (session.events(), session.digest()));
        resumed.walk_to(EVENTS_MAX);
        let resumed = resumed.report();
        assert_eq!(resumed.digest, whole.digest, "seed {seed}");
        assert!(resumed == whole, "seed {seed}: equal folds, unequal reports");
    }
}

#[test]
fn damaged_and_foreign_snapshots_are_refused() {
    let mut session = Session::new(&draw(1, &DrawOptions::default())).expect("the plan fits");
    session.walk_to(100);
    let bytes = session.save("this build");
    let refused = |bytes: &[u8]| Session::load(bytes, "this build").map(|_| ()).expect_err("it is not whole");
    assert_eq!(refused(b""), SnapshotError::Format);
    assert_eq!(refused(&bytes[..30]), SnapshotError::Damaged);
    assert_eq!(refused(&bytes[..bytes.len() - 1]), SnapshotError::Damaged);
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    assert_eq!(refused(&flipped), SnapshotError::Damaged);
    let other = Session::load(&bytes, "another").map(|_| ()).expect_err("it is of another build");
    assert_eq!(other, SnapshotError::OtherBuild { core: "this build".into() });
}

#[test]
fn a_branch_has_another_future_and_the_same_past() {
    let plan = draw(3, &DrawOptions::default());
    let whole = run(&plan);
    let mut session = Session::new(&plan).expect("the plan fits");
    session.walk_to(whole.events / 3);
    let mut branch = session.clone();
    branch.reseed(99);
    branch.walk_to(EVENTS_MAX);
    assert_ne!(branch.digest(), whole.digest);
    let mut crashed = session.clone();
    let (point, disk) = (CrashPoint::Now, DiskFate::LoseUnsynced);
    crashed.add_fault(FaultRecord { at: 0, fault: Fault::Crash { n: NodeId(1), point, disk, down: 5_000 } });
    crashed.walk_to(session.events() + 5);
    session.walk_to(session.events() + 5);
    assert_ne!(crashed.digest(), session.digest());
}

#[test]
fn a_walk_goes_back_to_what_it_was() {
    let plan = draw(8, &DrawOptions::default());
    let mut journey = Journey::new(Session::new(&plan).expect("the plan fits"));
    let mut digests = vec![journey.session().digest()];
    while journey.step().is_some() {
        digests.push(journey.session().digest());
    }
    let end = journey.session().events();
    assert_eq!((end as usize, run(&plan).digest), (digests.len() - 1, journey.session().digest()));
    for turn in 0..60 {
        let step = mix(turn) % (end + 1);
        assert_eq!(journey.go_to(step), Halt::There);
        assert_eq!((journey.session().events(), journey.session().digest()), (step, digests[step as usize]));
    }
    assert_eq!(journey.go_to(end + 1), Halt::Over);
}

#[test]
fn a_walk_stops_at_what_it_was_told_to() {
    let plan = draw(8, &DrawOptions::of(Scenario::Quiet));
    let mut journey = Journey::new(Session::new(&plan).expect("the plan fits"));
    let stop: Condition = "event=deliver & node=n2 & kind=Store".parse().expect("a condition");
    let Halt::Condition(moment) = journey.go_until(std::slice::from_ref(&stop), EVENTS_MAX) else {
        panic!("one arrives")
    };
    assert!(stop.fits(&moment) && moment.step == journey.session().events());
    let before: Vec<_> = (0..moment.step - 1).map(|_| ()).collect();
    journey.go_to(0);
    assert!(before.iter().all(|()| journey.step().is_some_and(|earlier| !stop.fits(&earlier))), "it is the first");
}

#[test]
fn a_message_on_its_way_can_be_lost_and_one_not_sent_yet_too() {
    let plan = draw(8, &DrawOptions::of(Scenario::Quiet));
    let whole = run(&plan);
    let mut journey = Journey::new(Session::new(&plan).expect("the plan fits"));
    let stop: Condition = "event=op".parse().expect("a condition");
    journey.go_until(std::slice::from_ref(&stop), EVENTS_MAX);
    while journey.session().next_moment().is_none_or(|next| next.message.is_none()) {
        journey.step().expect("messages follow an operation");
    }
    let message = journey.session().next_moment().and_then(|next| next.message).expect("just seen");
    for (step, met) in [(journey.session().events(), Met::OnItsWay), (0, Met::Ahead)] {
        journey.go_to(step);
        for change in [Change::Drop(message.clone()), Change::Delay(message.clone(), 70_000)] {
            let mut other = journey.session().clone();
            assert_eq!(other.change(&change), met);
            other.walk_to(EVENTS_MAX);
            assert_ne!(other.digest(), whole.digest, "{change:?}");
            assert_eq!(other.report().verdict, VerdictWord::Ok, "one message more or less breaks nothing");
        }
    }
}

#[test]
fn two_runs_part_where_one_was_changed() {
    let plan = draw(5, &DrawOptions::of(Scenario::Network));
    let left = Session::new(&plan).expect("the plan fits");
    assert_eq!(bisect(left.clone(), left.clone()), None);
    let mut right = left.clone();
    let (point, disk) = (CrashPoint::Now, DiskFate::LoseUnsynced);
    right.add_fault(FaultRecord { at: 40_000, fault: Fault::Crash { n: NodeId(2), point, disk, down: 5_000 } });
    let parting = bisect(left, right).expect("one has a crash");
    assert_eq!(parting.right.as_ref().map(|moment| moment.event), Some("begin"), "{parting}");
}

#[test]
fn what_is_left_of_a_small_failure_is_necessary() {
    let drawn = (0..).map(|seed| draw(seed, &DrawOptions::of(Scenario::UnsafeQuorum)));
    let failing = drawn.filter(|plan| run(plan).verdict == VerdictWord::Violation).take(4);
    let mut messages = 0;
    for plan in failing {
        let small = shrink(&plan, &Unhurried, 1).expect("it fails").plan;
        let why = why(&small, &Unhurried, 1).expect("it fails");
        assert_eq!((why.ops.len(), why.faults.len()), (small.ops.len(), small.faults.len()));
        if let Some((step, _)) = why.inevitable_from {
            assert!(step < why.events);
        }
        for (_, _, message) in &why.messages {
            let mut without = small.clone();
            without.directives.push(Directive { message: message.clone(), act: Act::Drop, by: None });
            assert_ne!(run(&without).first().map(|violation| violation.property), Some(why.property));
        }
        messages += why.messages.len();
    }
    assert!(messages > 0, "some failure hangs on a single message");
}
