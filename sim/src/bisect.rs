//! Two runs that should be equal and are not: where they part.
//!
//! Both are walked side by side until their folds differ; then the event before, and every node whose state differs, are
//! what to look at.

use crate::session::Session;
use quorate_core::id::NodeId;

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// After so many events the folds differ for the first time.
    pub step: u64,
    /// The event of the left run, in words.
    pub left: Option<String>,
    /// The event of the right run.
    pub right: Option<String>,
    /// Nodes whose states differ then, with the lines that do: left, right.
    pub nodes: Vec<(NodeId, Vec<(String, String)>)>,
}

/// Walks two runs side by side. `None` if they end equal.
pub fn bisect(mut left: Session, mut right: Session) -> Option<Parting> {
    loop {
        let (left_next, right_next) = (left.next(), right.next());
        let (left_went, right_went) = (left.step(), right.step());
        if left.digest() != right.digest() || left_went != right_went {
            let nodes = (1..=left.nodes().max(right.nodes())).map(NodeId);
            let differing = nodes.filter_map(|node| {
                let (ours, theirs) = (left.node(node).unwrap_or_default(), right.node(node).unwrap_or_default());
                (ours != theirs).then(|| (node, differing_lines(&ours, &theirs)))
            });
            let nodes = differing.collect();
            return Some(Parting { step: left.events(), left: left_next, right: right_next, nodes });
        }
        if !left_went {
            return None;
        }
    }
}

/// The first lines that differ, a few of them.
fn differing_lines(left: &str, right: &str) -> Vec<(String, String)> {
    const LINES_MAX: usize = 8;
    let pairs = left.lines().zip(right.lines()).filter(|(left, right)| left != right);
    let mut lines: Vec<_> = pairs.map(|(left, right)| (left.trim().to_owned(), right.trim().to_owned())).collect();
    lines.truncate(LINES_MAX);
    lines
}
