//! Per-key sequential consistency, also called coherence: for each key one order that respects each client's own.
//!
//! A write and its observers are a block that must stand together; swaps glue blocks into one, whose levels (write,
//! its reads, the swap, its reads, ...) have a given order. A client that touches one block and then another puts the
//! first before the second. So a key has an order exactly if no client goes back a level inside a block and the blocks
//! have no cycle. Linear, unlike sequential consistency over several keys.
//!
//! Source: Gibbons, Korach, *Testing shared memories* (SIAM J. Comput. 1997), section 5, with a read map.

use super::Broken;
use super::relation::{Node, Relation, topological};
use crate::cluster::NONE;
use crate::history::KeyId;
use crate::value::FastMap;

/// Where an operation stands: the write at the bottom of its block, [`NONE`] for the initial value, and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    root: Node,
    level: u32,
}

/// Judges every key.
pub(crate) fn judge(relation: &Relation<'_>) -> Result<(), Broken> {
    let places = places(relation)?;
    // What each client did last on each key; an operation of unknown outcome is nobody's last.
    let mut last: FastMap<(u32, KeyId), Node> = FastMap::default();
    let mut edges: FastMap<(Node, Node), (Node, Node)> = FastMap::default();
    for node in 0..relation.nodes.len() as Node {
        let client = relation.history.operation(relation.nodes[node as usize]).client.0;
        let place = (client, relation.key[node as usize]);
        let is_open = relation.session[node as usize] != client;
        let before = if is_open { last.get(&place).copied() } else { last.insert(place, node) };
        let Some(before) = before else { continue };
        let (from, to) = (places[before as usize], places[node as usize]);
        if from.root == to.root && from.level > to.level || from.root != to.root && to.root == NONE {
            let words = format!("{}, but its client had done this before: ", relation.show(node));
            let mut nodes = vec![node, before];
            nodes.extend(relation.shows[node as usize].filter(|shown| *shown != NONE && *shown != before));
            nodes.extend(relation.shows[before as usize].filter(|shown| *shown != NONE && *shown != node));
            return Err(relation.broken(words + &relation.show(before), &nodes));
        }
        // The initial value is before every other block.
        if from.root != to.root && from.root != NONE {
            edges.entry((from.root, to.root)).or_insert((before, node));
        }
    }
    let mut arrows: Vec<(Node, Node)> = edges.keys().copied().collect();
    arrows.sort_unstable();
    match topological(relation.nodes.len(), arrows.iter().copied()) {
        Ok(_) => Ok(()),
        Err(cycle) => {
            // The cycle runs backwards: each block comes after the next one named.
            let next = |at: usize| cycle[(at + 1) % cycle.len()];
            let mut nodes: Vec<Node> = cycle.clone();
            nodes.extend(cycle.iter().enumerate().flat_map(|(at, to)| {
                let (before, node) = edges[&(next(at), *to)];
                [before, node]
            }));
            nodes.sort_unstable();
            nodes.dedup();
            let words = "the clients disagree about the order of these writes of one key".to_string();
            Err(relation.broken(words, &nodes))
        }
    }
}

/// The place of every node, or swaps that cannot stand in one order.
fn places(relation: &Relation<'_>) -> Result<Vec<Place>, Broken> {
    let count = relation.nodes.len();
    let mut places: Vec<Option<Place>> = vec![None; count];
    let mut swapped_by: FastMap<(KeyId, Node), Node> = FastMap::default();
    for node in 0..count as Node {
        if let (true, Some(shown)) = (relation.is_write[node as usize], relation.shows[node as usize])
            && let Some(other) = swapped_by.insert((relation.key[node as usize], shown), node)
        {
            let words = format!("{} and {}, but both replaced one write", relation.show(other), relation.show(node));
            return Err(relation.broken(words, &[other, node, shown]));
        }
    }
    for node in 0..count as Node {
        // Down the swaps to a write whose place is known, then up again.
        let mut path: Vec<Node> = Vec::new();
        let mut at = node;
        let mut place = loop {
            if at == NONE {
                break Place { root: NONE, level: 0 };
            }
            if let Some(place) = places[at as usize] {
                break place;
            }
            let Some(shown) = relation.shows[at as usize] else {
                let place = Place { root: at, level: 0 };
                places[at as usize] = Some(place);
                break place;
            };
            path.push(at);
            if path.len() > count {
                path.truncate(count.min(8));
                let words = "these swaps only ever replaced what followed from them".to_string();
                return Err(relation.broken(words, &path));
            }
            at = shown;
        };
        for node in path.into_iter().rev() {
            // Writes stand on even levels, their observers on the odd ones above.
            let level = place.level + if relation.is_write[node as usize] { 2 } else { 1 };
            place = Place { level, ..place };
            places[node as usize] = Some(place);
        }
    }
    Ok(places.into_iter().map(|place| place.expect("every node was placed")).collect())
}
