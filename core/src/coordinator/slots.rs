//! A table of requests in flight: each keeps its slot until it ends, and the slot that was freed last is taken next.
//!
//! A slab, but one whose order of free slots is part of its written state. Slots travel in messages, so a node that was
//! written down and read back must hand out the same ones as if nothing had been; `slab` forgets that order.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slots<T> {
    entries: Vec<Option<T>>,
    /// Empty slots; the last one is taken next.
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The slot that the next [`Self::insert`] takes.
    pub(super) fn vacant(&self) -> usize {
        self.free.last().map_or(self.entries.len(), |&slot| slot as usize)
    }

    pub(super) fn insert(&mut self, entry: T) {
        match self.free.pop() {
            Some(slot) => self.entries[slot as usize] = Some(entry),
            None => self.entries.push(Some(entry)),
        }
    }

    pub(super) fn remove(&mut self, slot: usize) -> T {
        let entry = self.entries[slot].take().expect("only what is there is removed");
        self.free.push(slot as u32);
        entry
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.entries.get_mut(slot)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// In order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_ref()?)))
    }

    /// In order of their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(slot, entry)| Some((slot, entry.as_mut()?)))
    }
}

impl<T> Index<usize> for Slots<T> {
    type Output = T;
    fn index(&self, slot: usize) -> &T {
        self.entries[slot].as_ref().expect("only what is there is looked at")
    }
}

impl<T> IndexMut<usize> for Slots<T> {
    fn index_mut(&mut self, slot: usize) -> &mut T {
        self.entries[slot].as_mut().expect("only what is there is looked at")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_was_written_down_hands_out_the_same_slots() {
        let mut slots = Slots::default();
        (0..5).for_each(|entry| slots.insert(entry));
        for slot in [3, 0, 4] {
            assert_eq!(slots.remove(slot), slot);
        }
        let written = postcard::to_allocvec(&slots).unwrap();
        let mut read: Slots<usize> = postcard::from_bytes(&written).unwrap();
        for table in [&mut slots, &mut read] {
            let taken: Vec<usize> = (0..4)
                .map(|entry| {
                    let slot = table.vacant();
                    table.insert(10 + entry);
                    assert_eq!(table[slot], 10 + entry);
                    slot
                })
                .collect();
            assert_eq!(taken, [4, 0, 3, 5]);
            assert_eq!((table.len(), table.iter().count()), (6, 6));
        }
    }
}
