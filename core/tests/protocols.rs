//! What the protocols promise, told as stories on a cluster of which every step is visible.

mod story;

use quorate_core::config::Config;
use quorate_core::effect::{BlankReason, Outcome, Refused, Unavailable};
use quorate_core::input::{ClientRequest, Consistency};
use quorate_core::message::IdentityRefusal;
use quorate_core::time::Duration;
use quorate_core::version::Version;
use quorate_core::{Input, Standing};
use story::{Cluster, delete, get, key, named, presenting, put, value};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_one_coordinator_stored_another_reads() {
    for k in ["plain", "reg/x"] {
        let mut cluster = Cluster::new(5);
        assert_eq!(cluster.put(1, k, "a").outcome, Outcome::Stored);
        assert_eq!(value(&cluster.get(4, k)), "a");
        let written = cluster.put(2, k, "b");
        let read = cluster.get(5, k);
        assert_eq!(value(&read), "b");
        assert_eq!(read.version, written.version, "an answer carries the version it saw");
    }
}

#[test]
fn a_deleted_key_is_missing_and_its_miss_names_the_tombstone() {
    for k in ["plain", "reg/x"] {
        let mut cluster = Cluster::new(3);
        cluster.put(1, k, "a");
        let deleted = cluster.answer(2, delete(k)).unwrap();
        let miss = cluster.get(3, k);
        assert_eq!(miss.outcome, Outcome::Missing);
        assert_eq!(miss.version, deleted.version);
    }
}

#[test]
fn an_old_write_that_arrives_late_does_not_come_back_over_a_tombstone() {
    let mut cluster = Cluster::new(3);
    let late = cluster.ask(1, put("k", "old"));
    // Only the coordinator's own copy has it; the messages to the others wait.
    cluster.cut(&[1], &[2, 3]);
    cluster.deliver();
    cluster.heal();
    cluster.answer(2, delete("k")).unwrap();
    cluster.run_for(SECOND);
    assert!(cluster.answers.contains_key(&late));
    assert_eq!(cluster.get(3, "k").outcome, Outcome::Missing);
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable_on_enough_homes() {
    for k in ["plain", "reg/x"] {
        let mut cluster = Cluster::new(3);
        // One write before, so that no lease is waited for.
        cluster.put(1, k, "before");
        for id in [1, 2, 3] {
            cluster.hosts.get_mut(&id).unwrap().holds_back = true;
        }
        let call = cluster.ask(1, put(k, "a"));
        cluster.deliver();
        // A register write first reads: reads end at once where disks are asked in order.
        for id in [1, 2, 3] {
            if k.starts_with("reg/") {
                cluster.release_storage(id);
            }
        }
        cluster.deliver();
        assert!(!cluster.answers.contains_key(&call));
        cluster.release_storage(2);
        cluster.deliver();
        assert!(!cluster.answers.contains_key(&call), "one durable copy is not two");
        cluster.release_storage(3);
        cluster.deliver();
        assert_eq!(cluster.answers[&call].outcome, Outcome::Stored);
        for id in [2, 3] {
            cluster.hosts.get_mut(&id).unwrap().holds_back = false;
        }
        cluster.crash(1);
        cluster.restart(1);
        cluster.settle();
        assert_eq!(value(&cluster.get(1, k)), "a");
    }
}

#[test]
fn a_write_that_may_have_happened_is_unknown_and_names_its_version() {
    for k in ["plain", "reg/x"] {
        let mut cluster = Cluster::new(3);
        cluster.put(1, k, "before");
        let call = cluster.ask(1, put(k, "a"));
        if k.starts_with("reg/") {
            // The query is answered; then the network goes.
            cluster.deliver_between(1, 2);
            cluster.deliver_between(2, 1);
        }
        cluster.drop_waiting();
        cluster.cut(&[1], &[2, 3]);
        cluster.run_for(SECOND);
        let unknown = cluster.answers[&call].clone();
        assert_eq!(unknown.outcome, Outcome::Unknown);
        assert_ne!(unknown.version, Version::ABSENT);
        cluster.heal();
        // Presenting the version elsewhere repeats the same write: one effect, one version.
        let again = cluster.answer(3, presenting(put(k, "a"), unknown.version)).unwrap();
        assert_eq!((again.outcome, again.version), (Outcome::Stored, unknown.version));
        assert_eq!(cluster.get(2, k).version, unknown.version);
    }
}

#[test]
fn a_write_that_never_left_is_refused_definitely() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "before");
    cluster.cut(&[1], &[2, 3]);
    let call = cluster.ask(1, put("reg/x", "a"));
    cluster.run_for(SECOND);
    let answer = &cluster.answers[&call];
    assert_eq!(answer.outcome, Outcome::Unavailable(Unavailable::TimedOut { have: 1, need: 2 }));
    cluster.heal();
    cluster.run_for(SECOND);
    assert_eq!(value(&cluster.get(3, "reg/x")), "before");
}

#[test]
fn a_read_that_saw_a_new_value_makes_every_later_read_see_it() {
    for k in ["plain", "reg/x"] {
        let mut cluster = Cluster::new(3);
        cluster.put(1, k, "old");
        // A write reaches its coordinator alone.
        let call = cluster.ask(1, put(k, "new"));
        cluster.deliver_between(1, 2);
        cluster.deliver_between(2, 1);
        cluster.drop_waiting();
        cluster.crash(2);
        assert!(!cluster.answers.contains_key(&call) || k == "plain");
        // A read through 1 and 3 finds it, and must leave it on a majority.
        let seen = cluster.ask(3, get(k));
        cluster.run_for(SECOND);
        let seen = value(&cluster.answers[&seen]);
        cluster.restart(2);
        cluster.settle();
        cluster.crash(1);
        cluster.run_for(SECOND);
        let later = cluster.ask(2, get(k));
        cluster.run_for(SECOND);
        assert_eq!(value(&cluster.answers[&later]), seen, "{k}");
    }
}

#[test]
fn a_register_write_goes_above_a_tag_from_a_fast_clock() {
    let mut cluster = Cluster::new(3);
    cluster.hosts.get_mut(&1).unwrap().wall_ahead = 3_600_000_000;
    let fast = cluster.put(1, "reg/x", "from the future");
    assert_eq!(fast.outcome, Outcome::Stored);
    let slow = cluster.put(2, "reg/x", "from today");
    assert!(slow.version > fast.version);
    assert_eq!(value(&cluster.get(3, "reg/x")), "from today");
    // And the fast clock drags nobody along.
    assert!(cluster.hosts[&2].node.clock() < Some(fast.version.hlc));
}

#[test]
fn an_lww_write_from_the_far_future_is_refused_by_its_homes() {
    let mut cluster = Cluster::new(3);
    cluster.hosts.get_mut(&1).unwrap().wall_ahead = 3_600_000_000;
    let call = cluster.ask(1, put("k", "from the future"));
    cluster.run_for(SECOND);
    // Its own copy may have it, so it is not called failed.
    assert_eq!(cluster.answers[&call].outcome, Outcome::Unknown);
    assert!(cluster.held(2, "k").is_none());
    assert!(cluster.held(3, "k").is_none());
}

#[test]
fn a_retry_with_its_id_finds_what_the_first_attempt_chose() {
    let mut cluster = Cluster::new(3);
    let first = cluster.answer(1, named(put("reg/x", "a"), 1)).unwrap();
    cluster.put(2, "reg/x", "b");
    let again = cluster.answer(1, named(put("reg/x", "a"), 1)).unwrap();
    assert_eq!((again.outcome, again.version), (Outcome::Stored, first.version));
    assert_eq!(value(&cluster.get(3, "reg/x")), "b", "the retry did not write again");
    let reused = cluster.answer(1, named(put("reg/x", "c"), 1)).unwrap();
    assert_eq!(reused.outcome, Outcome::Refused(Refused::IdReused));
}

#[test]
fn a_retry_joins_an_attempt_that_is_still_under_way() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "before");
    let first = cluster.ask(1, named(put("reg/x", "a"), 1));
    let second = cluster.ask(1, named(put("reg/x", "a"), 1));
    cluster.deliver();
    assert_eq!(cluster.answers[&first], cluster.answers[&second]);
}

#[test]
fn versions_are_never_chosen_twice_across_crashes() {
    let mut cluster = Cluster::new(3);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..10 {
        for k in ["plain", "reg/x"] {
            let call = cluster.ask(1, put(k, &round.to_string()));
            cluster.run_for(SECOND);
            let version = cluster.answers[&call].version;
            assert!(seen.insert(version.dot), "dot {:?} was used twice", version.dot);
        }
        cluster.crash(1);
        cluster.restart(1);
        cluster.settle();
    }
}

#[test]
fn a_restarted_node_does_not_write_ahead_of_its_wall() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "k", "first");
    cluster.crash(1);
    cluster.restart(1);
    cluster.settle();
    // Its lease reaches beyond the wall. Were a stamp taken from there, what node 2 writes later would lose.
    cluster.cut(&[1], &[2]);
    let call = cluster.ask(1, put("k", "after the restart"));
    while !cluster.answers.contains_key(&call) {
        cluster.run_for(Duration::from_millis(10));
    }
    assert_eq!(cluster.answers[&call].outcome, Outcome::Stored);
    cluster.run_for(Duration::from_millis(10));
    cluster.put(2, "k", "last");
    cluster.heal();
    assert_eq!(value(&cluster.get(3, "k")), "last");
}

#[test]
fn a_write_is_stamped_above_every_clock_its_coordinator_has_heard() {
    let mut cluster = Cluster::new(3);
    // As far ahead as is accepted, and further than any lease that node 2 holds.
    cluster.hosts.get_mut(&1).unwrap().wall_ahead = 499_000;
    for round in 0..3 {
        let fast = cluster.put(1, "k", &format!("fast {round}"));
        let slow = cluster.put(2, "k", &format!("slow {round}"));
        assert!(slow.version > fast.version, "round {round}");
        assert_eq!(value(&cluster.get(3, "k")), format!("slow {round}"));
        cluster.run_for(SECOND);
    }
}

#[test]
fn answered_reads_that_linger_do_not_count_as_open() {
    let config = Config { in_flight_max: 8, ..Config::default() };
    let mut cluster = Cluster::with(3, config);
    cluster.put(1, "k", "v");
    cluster.cut(&[1, 2], &[3]);
    for _ in 0..100 {
        assert_eq!(value(&cluster.get(1, "k")), "v", "two homes of three are enough");
    }
    assert_eq!(cluster.hosts[&1].node.in_flight(), 0);
    cluster.hosts[&1].node.check_invariants();
}

#[test]
fn a_node_that_lost_its_disk_stays_out_until_it_is_told_otherwise() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "a");
    cluster.crash(3);
    cluster.hosts.get_mut(&3).unwrap().disk = story::Disk::default();
    cluster.restart(3);
    cluster.settle();
    assert_eq!(cluster.hosts[&3].node.standing(), Standing::Blank(BlankReason::NoIdentity));
    let refused = cluster.get(3, "reg/x");
    assert_eq!(refused.outcome, Outcome::Unavailable(Unavailable::Blank));
    assert_eq!(value(&cluster.get(1, "reg/x")), "a");
}

#[test]
fn a_wiped_node_that_is_started_as_new_is_recognised() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "a");
    cluster.crash(3);
    cluster.found_again(3);
    cluster.run_for(SECOND);
    let standing = cluster.hosts[&3].node.standing();
    let is_refused = matches!(
        standing,
        Standing::Blank(BlankReason::Refused { reason: IdentityRefusal::OtherIncarnation { .. }, .. })
    );
    assert!(is_refused, "{standing:?}");
}

#[test]
fn a_node_that_came_back_with_less_than_it_had_called_durable_is_recognised() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "a");
    let old = cluster.hosts[&3].disk.clone();
    for round in 0..5 {
        cluster.put(1, "reg/x", &round.to_string());
    }
    cluster.crash(3);
    cluster.hosts.get_mut(&3).unwrap().disk = old;
    cluster.restart(3);
    cluster.run_for(SECOND);
    let standing = cluster.hosts[&3].node.standing();
    let is_refused =
        matches!(standing, Standing::Blank(BlankReason::Refused { reason: IdentityRefusal::StateLost { .. }, .. }));
    assert!(is_refused, "{standing:?}");
}

#[test]
fn two_nodes_with_one_identity_are_told_apart() {
    let mut cluster = Cluster::new(3);
    let copy = cluster.hosts[&3].disk.clone();
    cluster.crash(3);
    cluster.restart(3);
    cluster.settle();
    // The copy starts from the same disk, and so with the same boot counter.
    cluster.crash(3);
    let host = cluster.hosts.get_mut(&3).unwrap();
    host.disk = copy;
    host.wall_ahead = 1;
    let config = quorate_core::config::Config::default();
    let position = quorate_core::id::LogPosition(host.disk.position);
    host.node = quorate_core::Node::recover(config, 999, &host.disk.facts, position);
    cluster.restart_as_is(3);
    cluster.run_for(SECOND);
    let standing = cluster.hosts[&3].node.standing();
    let is_refused =
        matches!(standing, Standing::Blank(BlankReason::Refused { reason: IdentityRefusal::SeenTwice, .. }));
    assert!(is_refused, "{standing:?}");
}

#[test]
fn a_cluster_counts_only_when_all_its_members_know_each_other() {
    let mut cluster = Cluster::unfounded(3);
    cluster.crash(3);
    cluster.run_for(SECOND);
    assert_eq!(cluster.hosts[&1].node.standing(), Standing::Founding);
    assert_eq!(cluster.get(1, "k").outcome, Outcome::Unavailable(Unavailable::Starting));
    cluster.found_again(3);
    cluster.run_for(Duration::from_secs(10));
    assert_eq!(cluster.hosts[&1].node.standing(), Standing::Member);
    assert_eq!(cluster.hosts[&3].node.standing(), Standing::Member);
}

#[test]
fn levels_are_kept_or_refused() {
    let mut cluster = Cluster::new(3);
    let at = |request: ClientRequest, consistency| ClientRequest { consistency, ..request };
    let outcome = |cluster: &mut Cluster, request| cluster.answer(1, request).unwrap().outcome;
    assert_eq!(outcome(&mut cluster, at(put("k", "a"), Consistency::All)), Outcome::Stored);
    assert_eq!(
        outcome(&mut cluster, at(put("k", "a"), Consistency::Linearizable)),
        Outcome::Refused(Refused::NotLinearizable)
    );
    assert_eq!(outcome(&mut cluster, at(get("reg/x"), Consistency::One)), Outcome::Refused(Refused::LevelFixed));
    cluster.cut(&[1], &[2, 3]);
    // One copy is at home.
    assert!(cluster.homes("k").contains(&1));
    assert_eq!(outcome(&mut cluster, at(get("k"), Consistency::One)), Outcome::Value("a".into()));
}

#[test]
fn a_lost_message_is_asked_again() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "before");
    let call = cluster.ask(1, put("reg/x", "a"));
    cluster.drop_waiting();
    cluster.run_for(Duration::from_millis(900));
    assert_eq!(cluster.answers[&call].outcome, Outcome::Stored);
}

#[test]
fn a_snapshot_and_the_same_inputs_give_the_same_node() {
    let mut cluster = Cluster::new(3);
    cluster.put(1, "reg/x", "a");
    let bytes = postcard::to_allocvec(&cluster.hosts[&1].node).unwrap();
    let mut copy: quorate_core::Node = postcard::from_bytes(&bytes).unwrap();
    let call = quorate_core::id::CallId { connection: 9, sequence: 9 };
    let input = Input::Client { call, request: put("reg/x", "b") };
    let now = quorate_core::time::Now {
        monotonic: quorate_core::time::Instant::from_micros(60_000_000),
        wall: quorate_core::time::WallTime::from_micros(1_700_000_060_000_000),
    };
    let mut mine = quorate_core::Effects::default();
    let mut theirs = quorate_core::Effects::default();
    cluster.hosts.get_mut(&1).unwrap().node.handle(now, input.clone(), &mut mine);
    copy.handle(now, input, &mut theirs);
    assert_eq!(mine.as_slice(), theirs.as_slice());
    assert!(!mine.as_slice().is_empty());
    let after = |node: &quorate_core::Node| postcard::to_allocvec(node).unwrap();
    assert_eq!(after(&cluster.hosts[&1].node), after(&copy));
    assert!(cluster.held(1, "reg/x").is_some_and(|record| record.version > Version::ABSENT));
    assert_eq!(key("a").bytes().len(), 1);
}
