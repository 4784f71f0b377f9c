//! Two runs that should be equal and are not: where they part.
//!
//! Both are walked side by side until their folds differ; then the event before, and every node whose state differs, are
//! what to look at.

use crate::difference::{Difference, differences};
use crate::moment::Moment;
use crate::session::Session;
use quorate_core::id::NodeId;
use std::fmt;

/// Fields of one node that are named.
const FIELDS_MAX: usize = 12;

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// After so many events the folds differ for the first time.
    pub step: u64,
    /// The event of the left run; `None` if it had none left.
    pub left: Option<Moment>,
    /// The event of the right run.
    pub right: Option<Moment>,
    /// Nodes whose states differ then, with the first fields that do.
    pub nodes: Vec<(NodeId, Vec<Difference>)>,
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |moment: &Option<Moment>| moment.as_ref().map_or("its end".to_owned(), |moment| moment.to_string());
        writeln!(f, "the runs part at event {}", self.step)?;
        writeln!(f, "  left   {}", show(&self.left))?;
        writeln!(f, "  right  {}", show(&self.right))?;
        for (node, fields) in &self.nodes {
            writeln!(f, "  {node} differs afterwards")?;
            for Difference { path, left, right } in fields {
                writeln!(f, "    {path}\n      left   {left}\n      right  {right}")?;
            }
        }
        Ok(())
    }
}

/// Walks two runs side by side. `None` if they end equal.
pub fn bisect(mut left: Session, mut right: Session) -> Option<Parting> {
    loop {
        let (left_next, right_next) = (left.next_moment(), right.next_moment());
        let (left_went, right_went) = (left.step(), right.step());
        if left.digest() != right.digest() || left_went != right_went {
            let nodes = (1..=left.nodes().max(right.nodes())).map(NodeId);
            let differing = nodes.filter_map(|node| {
                let (ours, theirs) = (left.node(node).unwrap_or_default(), right.node(node).unwrap_or_default());
                (ours != theirs).then(|| (node, differences(&ours, &theirs, FIELDS_MAX)))
            });
            let nodes = differing.collect();
            return Some(Parting {
                step: left.events().max(right.events()),
                left: left_next,
                right: right_next,
                nodes,
            });
        }
        if !left_went {
            return None;
        }
    }
}
