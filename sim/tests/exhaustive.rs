//! Every schedule of a few register operations, to a depth.

use quorate_core::id::NodeId;
use quorate_sim::exhaustive::{Explored, Scope, explore};
use quorate_traces::Do;

/// Says how far it went, for whoever asks with `--nocapture`.
fn explored(scope: &Scope) -> Explored {
    let found = explore(scope);
    println!("{} operations, {} losses, {} crashes: {found:?}", scope.ops.len(), scope.losses, scope.crashes);
    found
}

fn scope(ops: &[(u32, Do)], losses: u8, crashes: u8, depth: u32) -> Scope {
    let ops = ops.iter().map(|&(via, what)| (NodeId(via), what)).collect();
    Scope { nodes: 3, ops, losses, crashes, depth, states_max: 60_000 }
}

#[test]
fn a_write_and_two_reads_in_every_order() {
    let found = explored(&scope(&[(1, Do::Put), (1, Do::Get), (2, Do::Get)], 0, 0, 10));
    assert_eq!(found.broken, None);
    assert!(found.depth >= 7, "{found:?}");
}

#[test]
fn one_write_with_a_crash_and_a_loss_to_its_end() {
    let found = explored(&scope(&[(1, Do::Put)], 1, 1, 40));
    assert_eq!(found.broken, None);
    assert!(found.complete || found.states >= 60_000, "{found:?}");
}

#[test]
fn two_writes_with_a_loss() {
    let found = explored(&scope(&[(1, Do::Put), (2, Do::Delete)], 1, 0, 9));
    assert_eq!(found.broken, None);
    assert!(found.depth >= 6, "{found:?}");
}
