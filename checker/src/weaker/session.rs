//! The four session guarantees.
//!
//! Each says that an answer must show some write or a newer one. "Older" is what is certain: the initial value, or a
//! write causally before. Sessions are walked once, in an order that respects causality.
//!
//! Source: Terry et al., *Session guarantees for weakly consistent replicated data* (PDIS 1994).

use super::Broken;
use super::relation::{Node, Relation};
use crate::cluster::NONE;
use crate::history::KeyId;
use crate::value::FastMap;

/// Calls `each` with every node in the order of invocation and what it shows, if anything.
fn walk(relation: &Relation<'_>, mut each: impl FnMut(Node, Option<Node>) -> Result<(), Broken>) -> Result<(), Broken> {
    if let Some(cycle) = &relation.cycle {
        return Err(relation.broken("these each came causally before the next, in a circle".to_string(), cycle));
    }
    (0..relation.nodes.len() as Node).try_for_each(|node| each(node, relation.shows[node as usize]))
}

/// An answer shows `shown` although it must show `due` or newer.
fn check(relation: &Relation<'_>, node: Node, shown: Node, due: Node, why: &str) -> Result<(), Broken> {
    if shown == due || !relation.is_before(shown, due) {
        return Ok(());
    }
    let words = format!("{}, but {why}: {}", relation.show(node), relation.show(due));
    Err(relation.broken(words, &[node, due, shown]))
}

/// A client sees its own writes.
pub(crate) fn read_your_writes(relation: &Relation<'_>) -> Result<(), Broken> {
    let mut own: FastMap<(u32, KeyId), Node> = FastMap::default();
    walk(relation, |node, shown| {
        let place = (relation.session[node as usize], relation.key[node as usize]);
        if let (Some(shown), Some(due)) = (shown, own.get(&place)) {
            check(relation, node, shown, *due, "its client had written before")?;
        }
        if relation.is_write[node as usize] {
            own.insert(place, node);
        }
        Ok(())
    })
}

/// A client never reads something older than it has read.
pub(crate) fn monotonic_reads(relation: &Relation<'_>) -> Result<(), Broken> {
    // Per client and key the last write shown from each session; earlier ones of that session are older still.
    let mut read: FastMap<(u32, KeyId), FastMap<u32, Node>> = FastMap::default();
    walk(relation, |node, shown| {
        let Some(shown) = shown else { return Ok(()) };
        let known = read.entry((relation.session[node as usize], relation.key[node as usize])).or_default();
        for due in known.values() {
            check(relation, node, shown, *due, "its client had already read something newer")?;
        }
        if shown != NONE {
            let last = known.entry(relation.session[shown as usize]).or_insert(shown);
            if relation.index[*last as usize] < relation.index[shown as usize] {
                *last = shown;
            }
        }
        Ok(())
    })
}

/// What clients have read from each session, and how far into it.
#[derive(Default)]
struct Reach(FastMap<u32, FastMap<u32, u32>>);

impl Reach {
    fn of(&self, session: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.get(&session).into_iter().flatten().map(|(author, until)| (*author, *until))
    }

    fn add(&mut self, relation: &Relation<'_>, node: Node, shown: Node) {
        let authors = self.0.entry(relation.session[node as usize]).or_default();
        let until = authors.entry(relation.session[shown as usize]).or_insert(0);
        *until = relation.index[shown as usize].max(*until);
    }
}

/// The writes of one client are seen in its order.
pub(crate) fn monotonic_writes(relation: &Relation<'_>) -> Result<(), Broken> {
    let mut reach = Reach::default();
    walk(relation, |node, shown| {
        let Some(shown) = shown else { return Ok(()) };
        let until: FastMap<u32, u32> = reach.of(relation.session[node as usize]).collect();
        // What came before the latest write that was read, not that write itself.
        let before = |author: u32| until.get(&author).map_or(0, |until| until - 1);
        let due = relation.last_writes(relation.key[node as usize], before);
        for due in due {
            check(relation, node, shown, due, "its client had read a later write of the client of this")?;
        }
        if shown != NONE {
            reach.add(relation, node, shown);
        }
        Ok(())
    })
}

/// A write is seen only together with what its client had read before.
pub(crate) fn writes_follow_reads(relation: &Relation<'_>) -> Result<(), Broken> {
    // What each client read of each key, with its own position at that time, repeats left out.
    let mut read: FastMap<(u32, KeyId), Vec<(u32, Node)>> = FastMap::default();
    walk(relation, |node, shown| {
        let Some(shown) = shown.filter(|shown| *shown != NONE) else { return Ok(()) };
        let list = read.entry((relation.session[node as usize], relation.key[node as usize])).or_default();
        if list.last().is_none_or(|(_, last)| *last != shown) {
            list.push((relation.index[node as usize], shown));
        }
        Ok(())
    })?;
    let mut reach = Reach::default();
    walk(relation, |node, shown| {
        let Some(shown) = shown else { return Ok(()) };
        for (author, until) in reach.of(relation.session[node as usize]) {
            let list = read.get(&(author, relation.key[node as usize])).map(Vec::as_slice).unwrap_or_default();
            for (_, due) in &list[..list.partition_point(|(at, _)| *at < until)] {
                check(relation, node, shown, *due, "its client had read a write that followed a read of this")?;
            }
        }
        if shown != NONE {
            reach.add(relation, node, shown);
        }
        Ok(())
    })
}
