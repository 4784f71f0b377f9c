//! Causal consistency, and causal convergence.
//!
//! Causal (CC): the causal order has no cycle, no answer shows the initial value although a write of the key came
//! causally before it, and none shows a write that another one, causally between them, had replaced. Convergence (CCv)
//! asks also that all can agree on one order of the writes of each key: a write seen by the client of an answer must
//! come before the write that the answer shows, and these demands together with causality have no cycle.
//!
//! Source: Bouajjani, Enea, Guerraoui, Hamza, *On verifying causal consistency* (POPL 2017), bad patterns CyclicCO,
//! WriteCOInitRead, WriteCORead, CyclicCF.

use super::Broken;
use super::relation::{Node, Relation, topological};
use crate::check::Options;
use crate::cluster::NONE;

/// Judges CC.
pub(crate) fn causal(relation: &Relation<'_>) -> Result<(), Broken> {
    if let Some(cycle) = &relation.cycle {
        return Err(relation.broken("these each came causally before the next, in a circle".to_string(), cycle));
    }
    for (node, shown) in shows(relation) {
        for write in seen_writes(relation, node) {
            // The last write of a session stands for the earlier ones.
            if write != shown && relation.is_before(shown, write) {
                let words = format!(
                    "{}, but {} came causally before it and after {}",
                    relation.show(node),
                    relation.show(write),
                    relation.show(shown)
                );
                return Err(relation.broken(words, &[node, write, shown]));
            }
        }
    }
    Ok(())
}

/// What one demand costs while they are sorted: itself, room to grow, its place in the table of targets.
const EDGE_BYTES: usize = 24;

/// Judges CCv; `None` if the demands do not fit into the budget of memory.
pub(crate) fn convergence(relation: &Relation<'_>, options: &Options) -> Option<Result<(), Broken>> {
    if let Err(broken) = causal(relation) {
        return Some(Err(broken));
    }
    let edges_max = options.budget.bytes / 2 / EDGE_BYTES;
    let count = relation.nodes.len();
    let mut edges: Vec<(Node, Node)> = Vec::new();
    for node in 0..count as Node {
        let before = relation.before[node as usize];
        edges.extend((before != NONE).then_some((before, node)));
    }
    for (node, shown) in shows(relation).filter(|(_, shown)| *shown != NONE) {
        edges.push((shown, node));
        edges.extend(seen_writes(relation, node).filter(|write| *write != shown).map(|write| (write, shown)));
        if edges.len() > edges_max {
            return None;
        }
    }
    Some(match topological(count, edges.iter().copied()) {
        Ok(_) => Ok(()),
        Err(cycle) => {
            let words = "the clients disagree about the order of these writes".to_string();
            let shown = cycle.iter().flat_map(|node| {
                let reader = shows(relation).find(|(_, shown)| shown == node).map(|(reader, _)| reader);
                [Some(*node), reader].into_iter().flatten()
            });
            let mut nodes: Vec<Node> = shown.collect();
            nodes.sort_unstable();
            nodes.dedup();
            Err(relation.broken(words, &nodes))
        }
    })
}

/// Every answer with the write that it shows.
fn shows<'a>(relation: &'a Relation<'_>) -> impl Iterator<Item = (Node, Node)> + 'a {
    relation.shows.iter().enumerate().filter_map(|(node, shown)| Some((node as Node, (*shown)?)))
}

/// The last write of the same key in each session that is causally before an answer.
fn seen_writes<'a>(relation: &'a Relation<'_>, node: Node) -> impl Iterator<Item = Node> + 'a {
    let (own, index) = (relation.session[node as usize], relation.index[node as usize]);
    relation.last_writes(relation.key[node as usize], move |session| {
        // A compare-and-set does not see itself.
        if session == own { index - 1 } else { relation.seen(node, session) }
    })
}
