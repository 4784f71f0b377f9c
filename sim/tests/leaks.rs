//! What would make two runs of one seed differ is seen by their digests: five leaks, planted here, each caught.
//!
//! Each leak lets something outside the plan decide one thing in the middle of a run, as a node or host with that bug
//! would. Two processes run the same seed; a determinism check that let any of these pass would be worth nothing.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "these are the leaks")]

use quorate_core::id::NodeId;
use quorate_sim::{DrawOptions, EVENTS_MAX, Session, draw};
use quorate_traces::{CrashPoint, DiskFate, Fault, FaultRecord};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

const CHILD: &str = "QUORATE_LEAK_CHILD";
const LEAKS: [&str; 5] = ["map order", "system time", "entropy", "address", "thread race"];

/// A number that no plan holds.
fn leaked(leak: &str) -> u64 {
    match leak {
        "map order" => {
            let map: HashMap<u64, ()> = (0..64).map(|key| (key, ())).collect();
            map.keys().fold(0u64, |order, key| order.wrapping_mul(31) ^ key)
        }
        "system time" => {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
            since.as_nanos() as u64
        }
        "entropy" => RandomState::new().hash_one(1),
        "address" => {
            let somewhere = Box::new(1u8);
            std::ptr::from_ref(&*somewhere) as u64
        }
        "thread race" => {
            let (order, start) = (AtomicU64::new(1), Barrier::new(4));
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let (order, start) = (&order, &start);
                    scope.spawn(move || {
                        start.wait();
                        for _ in 0..2_000 {
                            let update = |order: u64| Some(order.wrapping_mul(31).wrapping_add(thread));
                            order.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).expect("always some");
                            // On a busy machine threads would otherwise finish one after the other.
                            std::thread::yield_now();
                        }
                    });
                }
            });
            order.into_inner()
        }
        _ => 7,
    }
}

/// A run in which a leak decides how long a node stays down.
fn digest(leak: &str) -> u64 {
    let mut session = Session::new(&draw(11, &DrawOptions::default())).expect("the plan fits");
    session.walk_to(150);
    let (point, disk) = (CrashPoint::Now, DiskFate::KeepUnsynced);
    let down = 1_000 + leaked(leak) % 10_000;
    session.add_fault(FaultRecord { at: 0, fault: Fault::Crash { n: NodeId(1), point, disk, down } });
    session.walk_to(EVENTS_MAX);
    session.digest()
}

/// Not a test of its own: what the other process prints.
#[test]
fn child_prints_its_digest() {
    if let Ok(leak) = std::env::var(CHILD) {
        println!("digest={:016x}", digest(&leak));
    }
}

fn in_a_process(leak: &str) -> String {
    let mut child = Command::new(std::env::current_exe().expect("a test knows its binary"));
    child.args(["child_prints_its_digest", "--exact", "--nocapture"]).env(CHILD, leak);
    let output = String::from_utf8_lossy(&child.output().expect("the test binary runs").stdout).into_owned();
    let digest = output.split("digest=").nth(1).and_then(|rest| rest.get(..16));
    digest.expect("the child prints its digest").to_owned()
}

#[test]
fn each_leak_is_caught_by_a_second_process_and_a_sound_run_is_not() {
    let sound = [in_a_process("none"), in_a_process("none")];
    assert_eq!(sound[0], sound[1]);
    for leak in LEAKS {
        let first = in_a_process(leak);
        // One value in nine thousand is equal by chance, so several are asked for.
        assert!((0..3).any(|_| in_a_process(leak) != first), "{leak} went unseen");
    }
}
