//! A table of rows that clones share: worlds are cloned for snapshots and branches, and most rows differ in none of them.
//!
//! Rows lie in chunks. The first change in a chunk after a clone copies that chunk alone; who reads copies nothing.

use quorate_core::shared::Shared;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Index, IndexMut};

/// Rows by number, in chunks of so many.
#[derive(Clone, Debug)]
pub(crate) struct Table<T, const CHUNK: usize = 64> {
    chunks: Vec<Shared<Vec<T>>>,
}

impl<T, const CHUNK: usize> Default for Table<T, CHUNK> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T, const CHUNK: usize> Table<T, CHUNK> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// A row, if there is one of this number.
    pub(crate) fn get(&self, row: usize) -> Option<&T> {
        self.chunks.get(row / CHUNK)?.get(row % CHUNK)
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl<T: Clone, const CHUNK: usize> Table<T, CHUNK> {
    /// So many equal rows; they take room only as they change.
    pub(crate) fn of(row: T, rows: usize) -> Self {
        let full = Shared::new(vec![row; CHUNK.min(rows)]);
        let mut chunks = vec![full; rows.div_ceil(CHUNK)];
        if let Some(last) = chunks.last_mut().filter(|_| !rows.is_multiple_of(CHUNK)) {
            last.change().truncate(rows % CHUNK);
        }
        Self { chunks }
    }

    /// One more row.
    pub(crate) fn push(&mut self, row: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.change().push(row),
            Some(_) | None => self.chunks.push(Shared::new(vec![row])),
        }
    }

    /// All rows in order, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flat_map(|chunk| chunk.change().iter_mut())
    }
}

impl<T: Clone, const CHUNK: usize> FromIterator<T> for Table<T, CHUNK> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        let mut table = Self::default();
        rows.into_iter().for_each(|row| table.push(row));
        table
    }
}

impl<T, const CHUNK: usize> Index<usize> for Table<T, CHUNK> {
    type Output = T;
    fn index(&self, row: usize) -> &T {
        &self.chunks[row / CHUNK][row % CHUNK]
    }
}

impl<T: Clone, const CHUNK: usize> IndexMut<usize> for Table<T, CHUNK> {
    fn index_mut(&mut self, row: usize) -> &mut T {
        &mut self.chunks[row / CHUNK].change()[row % CHUNK]
    }
}

impl<T: Serialize, const CHUNK: usize> Serialize for Table<T, CHUNK> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut rows = to.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|row| rows.serialize_element(row))?;
        rows.end()
    }
}

impl<'de, T: Clone + Deserialize<'de>, const CHUNK: usize> Deserialize<'de> for Table<T, CHUNK> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_what_a_vector_would() {
        for rows in [0, 1, 3, 4, 5, 8, 11] {
            let mut table = Table::<usize, 4>::of(7, rows);
            assert_eq!((table.len(), table.iter().count()), (rows, rows));
            table.push(9);
            table.iter_mut().for_each(|row| *row += 1);
            let expected: Vec<usize> = (0..rows).map(|_| 8).chain([10]).collect();
            assert!(table.iter().eq(&expected));
            assert_eq!((table.get(rows), table.get(rows + 1)), (Some(&10), None));
            let bytes = postcard::to_allocvec(&table).unwrap();
            assert_eq!(bytes, postcard::to_allocvec(&expected).unwrap());
            assert!(postcard::from_bytes::<Table<usize, 4>>(&bytes).unwrap().iter().eq(&expected));
        }
    }

    #[test]
    fn a_clone_sees_no_change_and_copies_one_chunk_for_it() {
        let mut table: Table<usize, 4> = (0..10).collect();
        let before = table.clone();
        table[5] = 99;
        table.push(10);
        assert!(before.iter().copied().eq(0..10));
        assert_eq!((table[4], table[5], table[10]), (4, 99, 10));
        let shared = |chunk: usize| std::ptr::eq(&*table.chunks[chunk], &*before.chunks[chunk]);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, false]);
    }
}
