//! Three real processes on loopback: real sockets, real disks in a temporary directory, real kills.
#![cfg(feature = "store")]

mod cluster_support;

use cluster_support::{Cluster, Reply, peer_talk};
use std::time::Duration;

#[test]
fn a_write_on_one_node_is_read_on_the_others_and_survives_kills() {
    // A register, and a key whose later write wins only as long as clocks and stamps keep the order of time: on one
    // machine they must.
    for key in ["lin:k", "k"] {
        survives_kills(key);
    }
}

fn survives_kills(key: &str) {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.client(0).ask(&["SET", key, "one"]), Reply::status("OK"));
    for node in 0..3 {
        assert_eq!(cluster.client(node).ask(&["GET", key]), Reply::bulk("one"), "node {node}");
    }
    for victim in 0..3 {
        let (alive, value) = ((victim + 1) % 3, format!("without {victim}"));
        cluster.kill(victim);
        assert_eq!(cluster.client(alive).ask(&["SET", key, &value]), Reply::status("OK"));
        assert_eq!(cluster.client((victim + 2) % 3).ask(&["GET", key]), Reply::bulk(&value));
        cluster.restart(victim);
        cluster.wait_for(victim, Duration::from_secs(5), &["GET", key], &Reply::bulk(&value));
    }
    for node in 0..3 {
        cluster.kill(node);
    }
    for node in 0..3 {
        cluster.restart(node);
    }
    cluster.wait_for(1, Duration::from_secs(5), &["GET", key], &Reply::bulk("without 2"));
}

#[test]
fn a_large_value_and_a_long_pipeline_come_back_whole() {
    let cluster = Cluster::start(3);
    let large = "v".repeat(1 << 20);
    assert_eq!(cluster.client(0).ask(&["SET", "large", &large]), Reply::status("OK"));
    assert_eq!(cluster.client(1).ask(&["GET", "large"]), Reply::bulk(&large));
    let mut client = cluster.client(2);
    let values: Vec<(String, String)> = (0..3_000).map(|at| (format!("key{at}"), format!("value {at}"))).collect();
    values.iter().for_each(|(key, value)| client.say(&["SET", key, value]));
    values.iter().for_each(|_| assert_eq!(client.hear(), Reply::status("OK")));
    let mut other = cluster.client(0);
    values.iter().for_each(|(key, _)| other.say(&["GET", key]));
    values.iter().for_each(|(_, value)| assert_eq!(other.hear(), Reply::bulk(value)));
}

#[test]
fn a_client_that_asks_and_does_not_read_costs_bounded_memory() {
    const ASKED: usize = 300;
    let cluster = Cluster::start(3);
    let large = "v".repeat(1 << 20);
    assert_eq!(cluster.client(0).ask(&["SET", "large", &large]), Reply::status("OK"));
    let before = cluster.memory(0);
    let mut lazy = cluster.client(0);
    (0..ASKED).for_each(|_| lazy.say(&["GET", "large"]));
    // Others are served meanwhile, and the node keeps no more than its limits for one connection allow.
    for at in 0..50 {
        assert_eq!(cluster.client(0).ask(&["SET", &format!("k{at}"), "v"]), Reply::status("OK"));
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = cluster.memory(0).saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB for answers that nobody takes", grown >> 20);
    // It was slowed down, not cut off: what it asked for is there when it reads at last.
    (0..ASKED).for_each(|at| assert!(lazy.hear() == Reply::bulk(&large), "answer {at}"));
}

#[test]
fn what_no_peer_sends_closes_that_connection_and_harms_nothing_else() {
    let cluster = Cluster::start(3);
    assert_eq!(cluster.client(0).ask(&["SET", "k", "v"]), Reply::status("OK"));
    for (name, bytes, why) in peer_talk(&cluster) {
        assert!(cluster.peer_hangs_up(1, &bytes), "{name}: the connection must be closed");
        cluster.wait_for_log(1, why);
        assert_eq!(cluster.client(1).ask(&["GET", "k"]), Reply::bulk("v"), "{name}: the node must go on");
    }
}

#[test]
fn a_node_that_lost_its_disk_stays_out_and_one_founded_anew_is_refused() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.client(0).ask(&["SET", "k", "v"]), Reply::status("OK"));
    cluster.kill(2);
    cluster.wipe(2);
    cluster.bootstrap = false;
    cluster.restart(2);
    let out = cluster.client(2).ask(&["GET", "k"]);
    assert!(out.is_error(), "a blank node answers no request: {out:?}");
    assert_eq!(cluster.client(1).ask(&["GET", "k"]), Reply::bulk("v"), "its peers go on");
    cluster.kill(2);
    cluster.wipe(2);
    cluster.bootstrap = true;
    cluster.restart(2);
    std::thread::sleep(Duration::from_millis(1_500));
    let out = cluster.client(2).ask(&["GET", "k"]);
    assert!(out.is_error(), "its peers remember another life of it: {out:?}");
    assert!(cluster.log(2).contains("founded anew"), "the log says why:\n{}", cluster.log(2));
    assert_eq!(cluster.client(1).ask(&["GET", "k"]), Reply::bulk("v"), "its peers go on");
}

#[test]
fn a_stopped_node_answers_what_it_took_and_leaves_nothing_to_replay() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client(0);
    (0..500).for_each(|at| client.say(&["SET", &format!("k{at}"), "v"]));
    assert_eq!(client.hear(), Reply::status("OK"));
    cluster.terminate(0);
    // What was read before the stop is answered; then the connection closes.
    let answered = 1 + (1..500).take_while(|_| client.try_hear() == Some(Reply::status("OK"))).count();
    assert!(cluster.wait_exit(0).success(), "an orderly stop is a success: {}", cluster.log(0));
    cluster.restart(0);
    assert!(cluster.log(0).contains("replayed 0"), "{}", cluster.log(0));
    cluster.wait_for(0, Duration::from_secs(5), &["GET", &format!("k{}", answered - 1)], &Reply::bulk("v"));
}

#[test]
fn a_data_directory_in_use_or_of_another_node_is_refused_by_name() {
    let mut cluster = Cluster::start(3);
    let message = cluster.run_beside(0, 0);
    assert!(message.contains("in use by another process"), "{message}");
    cluster.kill(1);
    let message = cluster.run_beside(2, 1);
    assert!(message.contains("belongs to n2") && message.contains("n3"), "{message}");
}

#[test]
fn without_a_log_nothing_survives_and_the_cluster_says_so() {
    let mut cluster = Cluster::start_in_memory(3);
    assert_eq!(cluster.client(0).ask(&["SET", "k", "v"]), Reply::status("OK"));
    assert_eq!(cluster.client(2).ask(&["GET", "k"]), Reply::bulk("v"));
    cluster.kill(1);
    cluster.restart(1);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(cluster.client(1).ask(&["GET", "k"]).is_error(), "it forgot its identity with its data");
    assert_eq!(cluster.client(2).ask(&["GET", "k"]), Reply::bulk("v"));
}

/// Not a test: what the child processes run.
#[test]
#[ignore = "run by the other tests, in processes of their own"]
fn one_node() {
    cluster_support::serve_as_told();
}
